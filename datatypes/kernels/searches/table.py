"""The search of ranges: squared errors of groups on a grid under many scales.

`search` takes any grid. `ranged_kernel` makes one for a book, whose numbers become constants: it
adds errors up loosely in float32, as the search among books does, and compares exactly only the
scales that come within the bound of `error_margin` of the least.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Final

import numpy as np
from numba import njit

from ...base.compiled import compiled
from ..base.intrinsics import LOOSE_RUN, add_loosely, nearer_square, nearest, pairwise_sum
from ..base.scaling import HUGE, NORMAL
from ..base.tables import Book, error_margin
from ..grids.codebook import CHAIN_MAX, fold

# scales below may lose digits in their inverse
LEAST_SCALE: Final = 1e-30
# of the largest element, what float32 may round a product and a difference by, and more
SLACK: Final = 2.0**-20


@njit(nogil=True)
def exact_cost(
    x: Any, weights: Any, scale: Any, cuts: Any, values: Any, y: Any, near: Any, cost: Any
) -> Any:  # fmt: skip
    """Return the float64 sum of squared errors of a group, in numpy's order.

    ``weights`` is empty where all elements count the same; ``y``, ``near`` (float32) and ``cost``
    (float64) are scratch.
    """
    size = x.size
    if scale > 0:
        for i in range(size):
            y[i] = x[i] / scale
    else:
        y[:] = 0
    near[:] = values[0]
    for c in range(cuts.size):
        for i in range(size):
            near[i] = values[c + 1] if y[i] > cuts[c] else near[i]
    for i in range(size):
        rest = np.float64(x[i] - near[i] * scale)
        cost[i] = rest * rest
    if weights.size:
        for i in range(size):
            cost[i] *= weights[i]
    return pairwise_sum(cost, 0, size)


@compiled(nogil=True)
def search(
    x: Any, weights: Any, scales: Any, least: Any, best: Any, cuts: Any, values: Any
) -> None:  # fmt: skip
    """Write the index of the scale of least error of each group, where it is below ``least``.

    Parameters
    ----------
    x, weights : (groups, size) float32
        ``weights`` is (groups, 0) where all elements count the same.
    scales : (groups, candidates) float32
        The first of equals wins; infinite ones lower nothing.
    least : (groups,) float64
        Errors to beat, lowered where they are.
    best : (groups,) int64
        Left alone where no candidate is better.
    cuts, values : (n - 1,), (n,) float32
        A grid as `tables.Book` holds it.
    """
    size = x.shape[1]
    y, near = np.zeros(size, np.float32), np.zeros(size, np.float32)
    cost = np.zeros(size, np.float64)
    for g in range(x.shape[0]):
        for t in range(scales.shape[1]):
            scale = scales[g, t]
            if scale == np.inf or (t > 0 and scale == scales[g, t - 1]):
                continue
            error = exact_cost(x[g], weights[g], scale, cuts, values, y, near, cost)
            if error < least[g]:
                least[g], best[g] = error, t


@cache
def ranged_kernel(book: Book) -> Callable[..., None] | None:
    """Return the search of one book, called as `search` is; None for long books of any values."""
    folded, top = fold(book.values), float(book.top)
    if len(book.values) > CHAIN_MAX and not folded[1][3]:
        return None
    # a term's product with its weight is one more rounding
    margin = error_margin(book.values, LOOSE_RUN + 2)

    @njit(nogil=True)
    def loose_cost(x: Any, weights: Any, scale: Any) -> Any:
        mirrored, table, others = folded
        inverse = np.float32(1) / scale
        total: Any = 0.0
        for start in range(0, x.size, LOOSE_RUN):
            part: Any = np.float32(0)
            xs, ws = x[start : start + LOOSE_RUN], weights[start : start + LOOSE_RUN]
            for i in range(xs.size):
                y = abs(xs[i]) if mirrored else xs[i]
                rest = nearest(y * inverse, table)[1] * scale - y
                square = nearer_square(rest * rest, xs[i], scale, others)
                part = add_loosely(part, square * ws[i])
            total += part
        return total

    @compiled(nogil=True)
    def kernel(
        x: Any, weights: Any, scales: Any, least: Any, best: Any, cuts: Any, values: Any
    ) -> None:  # fmt: skip
        groups, size = x.shape
        count = scales.shape[1]
        ones, costs = np.ones(size, np.float32), np.zeros(count, np.float64)
        y, near = np.zeros(size, np.float32), np.zeros(size, np.float32)
        work = np.zeros(size, np.float64)
        for g in range(groups):
            own = weights[g] if weights.shape[1] else ones
            sound, lowest = True, least[g]
            at = 0
            for i in range(size):
                at = i if abs(x[g, i]) > abs(x[g, at]) else at
            amax, weight = np.float64(abs(x[g, at])), np.float64(own[at])
            for t in range(count):
                scale = scales[g, t]
                costs[t] = np.inf
                if scale == np.inf or (t > 0 and scale == scales[g, t - 1]):
                    continue
                costs[t] = -1
                sound &= scale > LEAST_SCALE
                cut = amax * (1 - SLACK) - top * scale
                if cut > 0 and cut * cut * weight > lowest * margin:
                    costs[t] = np.inf  # the largest element alone errs more
                elif sound:
                    costs[t] = loose_cost(x[g], own, scale)
                    lowest = min(lowest, costs[t])
            # what decides whether float32 lost digits to its range
            sound &= (lowest > NORMAL) & (lowest < HUGE)
            bound = lowest * margin
            for t in range(count):
                if costs[t] == np.inf and not (scales[g, t] < np.inf):
                    continue
                if (sound and costs[t] > bound) or (t > 0 and scales[g, t] == scales[g, t - 1]):
                    continue
                scale = scales[g, t]
                error = exact_cost(x[g], weights[g], scale, cuts, values, y, near, work)
                if error < least[g]:
                    least[g], best[g] = error, t

    return kernel
