"""Arrays as slow and obvious as possible: objects, lists, one Python clock at a time.

Shares no code with the package. Values are Python integers, fractions or numpy float32 scalars;
``add`` is what an adder of the array does to the exact (or float32) sum it is given.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Adder:
    """Accumulator of a PE: where it starts, how a product and how a sum join it."""

    zero: Any = 0
    product: Any = lambda total, x, w: total + x * w
    sums: Any = lambda total, part: total + part


def cut(total, step):
    """[(start, length), ...] covering ``total`` in steps."""
    return [(s, min(step, total - s)) for s in range(0, total, step)]


@dataclass
class Result:
    cycles: int = 0
    macs: int = 0
    reads: dict = field(default_factory=lambda: {"a": 0, "b": 0, "partial": 0})
    writes: int = 0
    out: dict = field(default_factory=dict)


def stream_output_stationary(a, b, rows, columns, res, adder):
    """Stream one fold; return (clocks, accumulators). a: list of rows, b: list of columns."""
    depth = len(a[0])
    at_left = {}
    at_top = {}
    acc = {(i, j): adder.zero for i in range(rows) for j in range(columns)}
    seen = dict.fromkeys(acc, 0)
    clock = 0
    while any(n < depth for n in seen.values()):
        new_left, new_top = {}, {}
        for i in range(rows):
            if 0 <= clock - i < depth:
                new_left[i, 0] = a[i][clock - i]
                res.reads["a"] += 1
            for j in range(1, columns):
                if (i, j - 1) in at_left:
                    new_left[i, j] = at_left[i, j - 1]
        for j in range(columns):
            if 0 <= clock - j < depth:
                new_top[0, j] = b[j][clock - j]
                res.reads["b"] += 1
            for i in range(1, rows):
                if (i - 1, j) in at_top:
                    new_top[i, j] = at_top[i - 1, j]
        at_left, at_top = new_left, new_top
        assert at_left.keys() == at_top.keys()
        for pe in at_left:
            acc[pe] = adder.product(acc[pe], at_left[pe], at_top[pe])
            seen[pe] += 1
            res.macs += 1
        clock += 1
    return clock, acc


def output_stationary(a, b, R, C, drain_register, adder):
    """a: M rows of K, b: N columns of K."""
    res = Result()
    now = 0  # clock at which the array may take the next fold
    drained = 0  # clock at which the drain is empty
    for j0, columns in cut(len(b), C):
        for i0, rows in cut(len(a), R):
            clocks, acc = stream_output_stationary(
                a[i0 : i0 + rows], b[j0 : j0 + columns], rows, columns, res, adder
            )
            end = now + clocks
            while end < drained:  # wait, clock by clock, for the drain
                end += 1
            drained = end
            for i in range(rows):
                for j in range(columns):
                    res.out[i0 + i, j0 + j] = acc[i, j]
                    res.writes += 1
                drained += 1
            now = end if drain_register else drained
    res.cycles = drained
    return res


def stream_stationary(a, w, rows, columns, res, adder):
    """Stream all tokens through one fold; return (clocks, {(token, column): sum})."""
    moving, sums, out = {}, {}, {}
    clock = 0
    while len(out) < len(a) * columns:
        new = {}
        for i in range(rows):
            if 0 <= clock - i < len(a):
                new[i, 0] = (clock - i, a[clock - i][i])
                res.reads["a"] += 1
            for j in range(1, columns):
                if (i, j - 1) in moving:
                    new[i, j] = moving[i, j - 1]
        new_sums = {}
        for (i, j), (token, value) in new.items():
            res.macs += 1
            above_token, above = sums[i - 1, j] if i else (token, adder.zero)
            assert above_token == token
            new_sums[i, j] = (token, adder.product(above, value, w[i][j]))
            if i == rows - 1:
                out[token, j] = new_sums[i, j][1]
        moving, sums = new, new_sums
        clock += 1
    return clock, out


def weight_stationary(a, w, R, C, double_buffered, adder, buffer=False):
    """a: M rows of K, w: K rows of N; ``buffer`` holds unfinished sums beside the array."""
    res = Result()
    folds = [(k, j) for j in cut(len(w[0]), C) for k in cut(len(w), R)]
    loaded = folds[0][0][1]  # clock at which the next fold's operands are in place
    free = 0  # clock at which the array is free
    for number, ((k0, rows), (j0, columns)) in enumerate(folds):
        start = max(free, loaded)
        res.reads["b"] += rows * columns
        clocks, sums = stream_stationary(
            [row[k0 : k0 + rows] for row in a],
            [row[j0 : j0 + columns] for row in w[k0 : k0 + rows]],
            rows,
            columns,
            res,
            adder,
        )
        free = start + clocks
        for (token, j), value in sums.items():
            where = token, j0 + j
            if where in res.out:
                res.reads["partial"] += 0 if buffer else 1
                res.out[where] = adder.sums(res.out[where], value)
            else:
                res.out[where] = value
            finished = k0 + rows == len(w)
            res.writes += 1 if finished or not buffer else 0
        if number + 1 < len(folds):
            loaded = (start if double_buffered else free) + folds[number + 1][0][1]
    res.cycles = free
    return res


def input_stationary(a, w, R, C, double_buffered, adder, buffer=False):
    """The weight stationary array on the transposed product."""
    res = weight_stationary(transpose(w), transpose(a), R, C, double_buffered, adder, buffer)
    res.out = {(i, j): v for (j, i), v in res.out.items()}
    res.reads["a"], res.reads["b"] = res.reads["b"], res.reads["a"]
    return res


def transpose(rows):
    return [list(column) for column in zip(*rows, strict=True)]


def scalesim(m, n, k, R, C, dataflow):
    """Walk the folds as SCALE-Sim does: full length each, every element of a fold read once."""
    row_size, column_size, length = {"os": (m, n, k), "ws": (k, n, m), "is": (k, m, n)}[dataflow]
    clocks = inputs = weights = outputs = 0
    used = []
    for _, c in cut(column_size, C):
        for _, r in cut(row_size, R):
            clocks += (0 if dataflow == "os" else R) + R + C + length - 2
            left, right, result = {
                "os": (r * length, length * c, r * c),
                "ws": (length * r, r * c, length * c),
                "is": (r * c, length * r, length * c),
            }[dataflow]
            inputs, weights, outputs = inputs + left, weights + right, outputs + result
            used.append(r * c / (R * C))
    return clocks, inputs, weights, outputs, sum(used) / len(used)
