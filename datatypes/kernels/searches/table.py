"""The search of ranges: squared errors of groups on a grid under many scales.

`search` takes any grid. `ranged_kernel` makes one for a book, whose numbers become constants: it
adds errors up loosely in float32, as the search among books does, and compares exactly only the
scales that come within the bound of `error_margin` of the least. Every eighth scale is tried
first; the others are given up as soon as what they have lost is beyond that bound.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Final

import numpy as np
from numba import njit

from ...base.compiled import compiled
from ..base.intrinsics import (
    EXPONENT,
    LOOSE_RUN,
    add_loosely,
    bits_float,
    float_bits,
    lookup,
    nearer_square,
    nearest,
    pairwise_sum,
)
from ..base.scaling import HUGE, NORMAL, absmax, divide
from ..base.tables import Book, error_margin
from ..grids.codebook import CHAIN_MAX, fold

# scales below may lose digits in their inverse
LEAST_SCALE: Final = 1e-30
# of the largest element, what float32 may round a product and a difference by, and more
SLACK: Final = 2.0**-20
# scales tried first: one of so many
APART: Final = 8
# elements whose errors are added before a scale is given up, or not
STEP: Final = 64


@njit(nogil=True)
def exact_cost(
    x: Any, weights: Any, scale: Any, cuts: Any, values: Any, y: Any, near: Any, cost: Any
) -> Any:  # fmt: skip
    """Return the float64 sum of squared errors of a group, in numpy's order.

    ``weights`` is empty where all elements count the same; ``y``, ``near`` (float32) and ``cost``
    (float64) are scratch.
    """
    size = x.size
    divide(x, scale, y)
    near[:] = values[0]
    for c in range(cuts.size):
        for i in range(size):
            near[i] = values[c + 1] if y[i] > cuts[c] else near[i]
    return _summed(x, weights, scale, near, cost)


@njit(nogil=True)
def _summed(x: Any, weights: Any, scale: Any, near: Any, cost: Any) -> Any:
    """Return the float64 sum of squared errors of elements coded as the numbers ``near``."""
    for i in range(x.size):
        rest = np.float64(x[i] - near[i] * scale)
        cost[i] = rest * rest
    if weights.size:
        for i in range(x.size):
            cost[i] *= weights[i]
    return pairwise_sum(cost, 0, x.size)


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


@njit(nogil=True, forceinline=True)
def _near(a: Any, table: Any) -> Any:
    """Return the value nearest a magnitude as `nearest` does, quicker for steps of one size."""
    _, magnitudes, _, m, least = table
    if m == 0 or (float_bits(magnitudes[-1]) ^ least) & EXPONENT:
        return nearest(a, table)[1]
    big = bits_float(np.uint32((least & EXPONENT) + ((np.uint32(23) - m) << np.uint32(23))))
    return (min(a, magnitudes[-1]) + big) - big


@njit(nogil=True)
def _largest(x: Any, weights: Any) -> Any:
    """Return the largest magnitude of a group and what it weighs, of the first of equals."""
    amax = absmax(x)
    if weights.size:
        for i in range(x.size):
            if abs(x[i]) == amax:
                return np.float64(amax), np.float64(weights[i])
    return np.float64(amax), 1.0


def _costs(book: Book, weighted: bool) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return the loose sum of squared errors of a book, infinite beyond a limit, and the exact."""
    folded, every_cut, every_value = fold(book.values), book.cuts, book.values

    # inlined by force, here and below: what is called by name, a kept kernel of another book may
    # have, too, as numba counts names anew in each process
    @njit(nogil=True, forceinline=True)
    def loose_cost(x: Any, weights: Any, scale: Any, limit: Any) -> Any:
        mirrored, table, others = folded
        inverse = np.float32(1) / scale
        total: Any = 0.0
        for start in range(0, x.size, STEP):
            part: Any = np.float32(0)
            xs = x[start : start + STEP]
            for i in range(xs.size):
                y = abs(xs[i]) if mirrored else xs[i]
                rest = _near(y * inverse, table) * scale - y
                square = nearer_square(rest * rest, xs[i], scale, others)
                part = add_loosely(part, square * weights[start + i] if weighted else square)
            total += part
            if total > limit:
                return np.inf
        return total

    @njit(nogil=True, forceinline=True)
    def book_cost(x: Any, weights: Any, scale: Any, y: Any, near: Any, cost: Any) -> Any:
        divide(x, scale, y)
        for i in range(x.size):
            near[i] = lookup(y[i], every_cut, every_value)
        return _summed(x, weights, scale, near, cost)

    return loose_cost, book_cost


@cache
def ranged_kernel(book: Book, weighted: bool) -> Callable[..., None] | None:
    """Return the search of one book, called as `search` is; None for long books of any values.

    Parameters
    ----------
    book : Book
    weighted : bool
        Whether ``weights`` are given.
    """
    if len(book.values) > CHAIN_MAX and not fold(book.values)[1][3]:
        return None
    loose_cost, book_cost = _costs(book, weighted)
    # a term's product with its weight is one more rounding
    margin, top = error_margin(book.values, LOOSE_RUN + 2), float(book.top)

    @njit(nogil=True, forceinline=True)
    def all_costs(x: Any, weights: Any, scales: Any, beaten: Any, costs: Any) -> Any:
        """Write loose errors, infinite where beyond the bound; return whether sound, the least."""
        sound, lowest = True, beaten
        amax, weight = _largest(x, weights)
        costs[:] = np.inf
        for turn in range(2):
            for t in range(scales.size):
                scale = scales[t]
                mine = (t % APART == 0) == (turn == 0) and scale < np.inf
                if not mine or (t > 0 and scale == scales[t - 1]):
                    continue
                costs[t] = -1
                sound &= scale > LEAST_SCALE
                cut = amax * (1 - SLACK) - top * scale
                if cut > 0 and cut * cut * weight > lowest * margin:
                    costs[t] = np.inf  # the largest element alone errs more
                elif sound:
                    costs[t] = loose_cost(x, weights, scale, lowest * margin)
                    lowest = min(lowest, costs[t])
        return sound, lowest

    @compiled(nogil=True)
    def kernel(
        x: Any, weights: Any, scales: Any, least: Any, best: Any, _cuts: Any, _values: Any
    ) -> None:  # fmt: skip
        groups, size = x.shape
        count = scales.shape[1]
        costs = np.zeros(count, np.float64)
        y, near = np.zeros(size, np.float32), np.zeros(size, np.float32)
        work = np.zeros(size, np.float64)
        for g in range(groups):
            sound, lowest = all_costs(x[g], weights[g], scales[g], least[g], costs)
            # what decides whether float32 lost digits to its range
            sound &= (lowest > NORMAL) & (lowest < HUGE)
            bound = lowest * margin
            for t in range(count):
                if costs[t] == np.inf and not (scales[g, t] < np.inf):
                    continue
                if (sound and costs[t] > bound) or (t > 0 and scales[g, t] == scales[g, t - 1]):
                    continue
                error = book_cost(x[g], weights[g], scales[g, t], y, near, work)
                if error < least[g]:
                    least[g], best[g] = error, t

    return kernel
