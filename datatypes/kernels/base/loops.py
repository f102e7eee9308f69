"""Makers of kernels: a loop over the groups of each row, and the choice among candidates in it.

A maker takes compiled functions and closes over them. `base.compiled` keeps what it makes on disk
under the names of those functions and the numbers that they close over themselves.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit

from ...base.compiled import compiled
from .intrinsics import exact_error
from .scaling import absmax, clear_winner

Function = Callable[..., Any]


@njit(nogil=True)
def no_scratch(_: int) -> Any:
    """Return no scratch."""
    return ()


def over_groups(one: Function, scratch: Function = no_scratch) -> Callable[..., None]:
    """Compile the coding of a matrix from that of a group.

    Parameters
    ----------
    one : compiled function
        ``one(x, scale, beside, facts, work, codes, deq)`` codes the values ``x`` of a group:
        writes ``codes`` and ``deq`` and returns the scale, and the choice or zero point beside
        it, that are stored. It is handed those that are stored already.
    scratch : compiled function
        ``scratch(group)`` makes ``work`` for groups of a size.

    Returns
    -------
    kernel ``(x, group, facts, scales, beside, codes, deq)``
        x and deq float32 (rows, k), codes uint8 like x, scales and beside (rows, groups); facts
        are a tuple of whole numbers.
    """

    @compiled(nogil=True)
    def kernel(
        x: Any, group: int, facts: Any, scales: Any, beside: Any, codes: Any, deq: Any
    ) -> None:
        rows, k = x.shape
        work = scratch(group)
        for r in range(rows):
            for g in range(scales.shape[1]):
                a = g * group
                b = min(k, a + group)
                xs, cs, ds = x[r, a:b], codes[r, a:b], deq[r, a:b]
                s, c = one(xs, scales[r, g], beside[r, g], facts, work, cs, ds)
                scales[r, g] = s
                beside[r, g] = c

    return kernel


def best_of(count: int, margin: float, rough: Function, write: Function) -> Callable[..., None]:
    """Compile the coding of groups with the best of ``count`` candidates, the first of equals.

    The facts of the kernel are the mode of the scales, and whether codes and values are wanted;
    beside the scales it writes choices.

    Parameters
    ----------
    count : int
    margin : float
        How much larger a rough sum must be to be larger for certain; see `tables.error_margin`.
    rough : compiled function
        ``rough(x, amax, mode, errors, scales)`` writes rough error sums, float64, and the scales
        of all candidates.
    write : compiled function
        ``write(x, scale, choice, places, codes, deq)`` writes what a group comes to; ``places``
        is int32 scratch. Where rough sums are too close, candidates are compared by that, in
        float64 and in numpy's order.
    """

    # by force, as it closes over a number: by name, it might be a kept kernel's with another number
    @njit(nogil=True, forceinline=True)
    def scratch(group: int) -> Any:
        wide, places = np.zeros(group, np.float64), np.zeros(group, np.int32)
        return wide, places, np.zeros(count, np.float64), np.zeros(count, np.float32)

    @njit(nogil=True, inline="always")
    def one(x: Any, _s: Any, _c: Any, facts: Any, work: Any, codes: Any, deq: Any) -> Any:
        mode, wanted = facts
        wide, places, errors, trial = work
        rough(x, absmax(x), mode, errors, trial)
        choice = clear_winner(errors, margin)
        if choice < 0:
            least = np.inf
            choice = 0
            for c in range(count):
                write(x, trial[c], c, places, codes, deq)
                error = exact_error(x, deq, wide)
                if error < least:
                    least = error
                    choice = c
        if wanted:
            write(x, trial[choice], choice, places, codes, deq)
        return trial[choice], choice

    return over_groups(one, scratch)


def best_under(count: int, margin: float, rough: Function, write: Function) -> Callable[..., None]:
    """Compile the coding of groups with the best of ``count`` candidates, each under its own scale.

    Parameters
    ----------
    count, margin, write
        As for `best_of`.
    rough : compiled function
        ``rough(x, scales, errors)`` writes rough error sums, float64.

    Returns
    -------
    kernel ``(x, group, given, choices, codes, deq)``
        given float32 (rows, groups, count), all others as for `over_groups`.
    """

    @compiled(nogil=True)
    def kernel(x: Any, group: int, given: Any, choices: Any, codes: Any, deq: Any) -> None:
        rows, k = x.shape
        wide, places = np.zeros(group, np.float64), np.zeros(group, np.int32)
        errors = np.zeros(count, np.float64)
        for r in range(rows):
            for g in range(given.shape[1]):
                a, b = g * group, min(k, (g + 1) * group)
                xs, cs, ds, scales = x[r, a:b], codes[r, a:b], deq[r, a:b], given[r, g]
                rough(xs, scales, errors)
                choice = clear_winner(errors, margin)
                if choice < 0:
                    least = np.inf
                    choice = 0
                    for c in range(count):
                        write(xs, scales[c], c, places, cs, ds)
                        error = exact_error(xs, ds, wide)
                        if error < least:
                            least = error
                            choice = c
                write(xs, scales[choice], choice, places, cs, ds)
                choices[r, g] = choice

    return kernel


def given_of(write: Function) -> Callable[..., None]:
    """Compile the coding of groups under the scales and choices that stand there already."""

    @njit(nogil=True)
    def scratch(group: int) -> Any:
        return np.zeros(group, np.int32)

    @njit(nogil=True, inline="always")
    def one(x: Any, s: Any, choice: Any, _: Any, places: Any, codes: Any, deq: Any) -> Any:
        write(x, s, choice, places, codes, deq)
        return s, choice

    return over_groups(one, scratch)
