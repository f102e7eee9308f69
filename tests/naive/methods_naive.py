"""Calibration methods in exact fractions, an element at a time."""

from fractions import Fraction

import numpy as np


def inverse(matrix):
    """Invert a regular matrix of fractions by Gauss and Jordan."""
    n = len(matrix)
    rows = [
        [*map(Fraction, row), *(Fraction(i == j) for j in range(n))] for i, row in enumerate(matrix)
    ]
    for p in range(n):
        at = next(r for r in range(p, n) if rows[r][p])
        rows[p], rows[at] = rows[at], rows[p]
        rows[p] = [v / rows[p][p] for v in rows[p]]
        for r in range(n):
            if r != p and rows[r][p]:
                rows[r] = [a - rows[r][p] * b for a, b in zip(rows[r], rows[p], strict=True)]
    return [row[n:] for row in rows]


def nearest(value, table):
    """Return the number of a table nearest a value, the lower of two as near."""
    return min(table, key=lambda v: (abs(v - value), v))


def gptq(weights, inputs, tables, order, damping):
    """Round by the rule of the paper: errors go to later columns by the inverse Hessian.

    `tables[r][c]` holds the numbers that weight (r, c) may become. The Hessian's inverse loses a
    column at each step (equations 2 and 3 of arXiv 2210.17323).
    """
    x = [[Fraction(float(v)) for v in row] for row in inputs]
    n = len(x[0])
    hessian = [[sum(row[i] * row[j] for row in x) for j in range(n)] for i in range(n)]
    extra = Fraction(damping) * sum(hessian[i][i] for i in range(n)) / n
    for i in range(n):
        hessian[i][i] += extra
    left = inverse(hessian)
    w = [[Fraction(float(v)) for v in row] for row in weights]
    done = np.zeros(np.shape(weights))
    for j in order:
        for r, row in enumerate(w):
            q = nearest(row[j], [Fraction(float(v)) for v in tables[r][j]])
            done[r, j] = float(q)
            error = (row[j] - q) / left[j][j]
            for k in range(n):
                row[k] -= error * left[j][k]
        left = [
            [left[a][b] - left[a][j] * left[j][b] / left[j][j] for b in range(n)] for a in range(n)
        ]
        left[j][j] = Fraction(1)  # gone; never read again but by its own row
    return done


def product(inputs, weights):
    """Return inputs times transposed weights in fractions."""
    x = [[Fraction(float(v)) for v in row] for row in inputs]
    w = [[Fraction(float(v)) for v in row] for row in weights]
    return [[sum(a * b for a, b in zip(t, r, strict=True)) for r in w] for t in x]
