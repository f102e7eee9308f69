"""One-dimensional clusters of least error: exact, by dynamic programming over sorted elements.

The best split of the first i elements into j clusters extends a best split of fewer into j - 1;
where the last cluster starts never falls as i grows, so each layer is found by halving
(Wang and Song, Ckmeans.1d.dp, The R Journal 3/2, 2011; Groenlund et al., arXiv 1701.07204).
"""

from typing import Any

import numpy as np
from numba import njit

from ...base.compiled import compiled


@njit(nogil=True)
def spread(weight: Any, first: Any, second: Any, a: int, b: int) -> Any:
    """Return the squared error of the elements a..b-1 around their mean, from running sums."""
    w = weight[b] - weight[a]
    if w <= 0:
        return 0.0
    s = first[b] - first[a]
    return max(second[b] - second[a] - s * s / w, 0.0)


@njit(nogil=True)
def extend(before: Any, sums: Any, costs: Any, starts: Any, tasks: Any) -> None:
    """Write least errors and last starts of one cluster more, by halving.

    Parameters
    ----------
    before, costs : (n + 1,) float64
        Least errors of the first i elements, with one cluster less, and with it.
    sums : three (n + 1,) float64
        Running sums of weights, of weighted elements, and of weighted squares.
    starts : (n + 1,) int32
        Where the last cluster starts.
    tasks : (m, 4) int64
        Scratch: ranges of i, and of starts, that are still to do.
    """
    weight, first, second = sums
    n = before.size - 1
    tasks[0, 0], tasks[0, 1], tasks[0, 2], tasks[0, 3] = 0, n, 0, n
    left = 1
    while left:
        left -= 1
        low, high, least, most = tasks[left]
        middle = (low + high) // 2
        best, place = np.inf, least
        for m in range(least, min(middle, most) + 1):
            found = before[m] + spread(weight, first, second, m, middle)
            if found < best:
                best, place = found, m
        costs[middle], starts[middle] = best, place
        if low < middle:
            tasks[left, 0], tasks[left, 1] = low, middle - 1
            tasks[left, 2], tasks[left, 3] = least, place
            left += 1
        if middle < high:
            tasks[left, 0], tasks[left, 1] = middle + 1, high
            tasks[left, 2], tasks[left, 3] = place, most
            left += 1


@compiled(nogil=True)
def best_means(x: Any, weights: Any, means: Any) -> None:
    """Write the (weighted) means of the clusters of least squared error of each group, ascending.

    Parameters
    ----------
    x, weights : (groups, n) float64
        Elements ascending, and what their squared errors count.
    means : (groups, k) float64
        Empty clusters repeat their neighbor.
    """
    groups, n = x.shape
    k = means.shape[1]
    sums = (np.zeros(n + 1), np.zeros(n + 1), np.zeros(n + 1))
    before, costs = np.zeros(n + 1), np.zeros(n + 1)
    starts, tasks = np.zeros((k, n + 1), np.int32), np.zeros((64, 4), np.int64)
    for g in range(groups):
        # around the middle, lest squares lose digits
        middle = x[g, n // 2] if n else 0.0
        for i in range(n):
            w, y = weights[g, i], x[g, i] - middle
            sums[0][i + 1] = sums[0][i] + w
            sums[1][i + 1] = sums[1][i] + w * y
            sums[2][i + 1] = sums[2][i] + w * y * y
        for i in range(n + 1):
            before[i] = spread(*sums, 0, i)
        for j in range(1, k):
            extend(before, sums, costs, starts[j], tasks)
            before[:] = costs
        end = n
        for j in range(k - 1, -1, -1):
            start = starts[j, end] if j else 0
            w = sums[0][end] - sums[0][start]
            mean = (sums[1][end] - sums[1][start]) / w + middle if w > 0 else np.nan
            means[g, j] = mean
            end = start
        last = 0.0
        for j in range(k):
            if not np.isnan(means[g, j]):
                last = means[g, j]
                break
        for j in range(k):
            last = last if np.isnan(means[g, j]) else means[g, j]
            means[g, j] = last


@compiled(nogil=True)
def nearest_entries(x: Any, books: Any, codes: Any) -> None:
    """Write the place of the nearest entry of each element's book, the lower of two as near.

    Parameters
    ----------
    x : (groups, size) float64
    books : (groups, k) float64
        Ascending.
    codes : (groups, size) uint8
    """
    for g in range(x.shape[0]):
        for i in range(x.shape[1]):
            best, place = np.inf, 0
            for j in range(books.shape[1]):
                away = abs(x[g, i] - books[g, j])
                if away < best:
                    best, place = away, j
            codes[g, i] = place
