"""BitMoD groups: four candidates from two passes.

A BitMoD type is a base grid with one special value more. The two special values of a kind (+v and
-v) share the scale and the base rounding, so a pass over the group gives both errors: they differ
only where |x| / scale lies in the special value's interval, on its own side of zero.
Source of the types and of the order of the search: BitMoD, HPCA 2025, arXiv 2411.11745.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import njit

from .intrinsics import exact_error, halving_sum, lookup
from .scaling import absmax, clear_winner, divisor, stored_scale


@njit(nogil=True)
def pair_errors(x: Any, s: Any, special: Any, base: Any, plus: Any, minus: Any) -> Any:
    """Return the float32 error sums with +special and with -special added to the base grid."""
    cuts, magnitudes, _labels, _sign = base
    v, low, high = special
    d = divisor(s)
    vs = v * s
    for i in range(x.size):
        xi = x[i]
        size = abs(xi)
        a = size / d
        t = lookup(a, cuts, magnitudes) * s - size
        t = t * t
        u = vs - size
        u = u * u
        inside = (a > low) & (a <= high)
        plus[i] = u if inside & (xi > 0) else t
        minus[i] = u if inside & (xi < 0) else t
    n = plus.size
    for i in range(x.size, n):
        plus[i] = np.float32(0)
        minus[i] = np.float32(0)
    return halving_sum(plus, n), halving_sum(minus, n)


@njit(nogil=True)
def write_one(x: Any, s: Any, special: Any, negative: Any, base: Any, codes: Any, deq: Any) -> None:
    """Write codes and values of one group; the special value has the code of -0."""
    cuts, magnitudes, labels, sign = base
    v, low, high = special
    d = divisor(s)
    side = np.float32(-1) if negative else np.float32(1)
    vs = side * v * s
    for i in range(x.size):
        y = x[i] / d
        a = abs(y)
        towards = y * side
        q = lookup(a, cuts, magnitudes) * s
        label = lookup(a, cuts, labels)
        below = (y < 0) & (label > 0)
        label = label | (sign if below else np.uint8(0))
        inside = (towards > low) & (towards <= high)
        codes[i] = sign if inside else label
        deq[i] = vs if inside else (-q if below else q)


@cache
def bitmod_kernel(
    cuts: tuple[np.float32, ...],
    magnitudes: tuple[np.float32, ...],
    inner: tuple[np.float32, np.float32, np.float32],
    outer: tuple[np.float32, np.float32, np.float32],
) -> Callable[..., None]:
    """Compile the search for a base grid and two special magnitudes.

    Parameters
    ----------
    cuts, magnitudes : tuple of float32
        The base grid's magnitudes by code, and the cuts between them.
    inner, outer : (value, low, high)
        Special magnitude and the interval ``low < |y| <= high`` it takes; `inner` lies inside
        the base grid (extra resolution), `outer` beyond it (extra asymmetry).

    Returns
    -------
    kernel ``(x, group, width, mode, codes, scales, choices, deq)``, see `codebook.search_kernel`
    """
    labels = tuple(np.uint8(i) for i in range(len(magnitudes)))
    base = (cuts, magnitudes, labels, np.uint8(len(magnitudes)))
    top, far = magnitudes[-1], outer[0]

    @njit(nogil=True, cache=True)
    def kernel(
        x: Any, group: int, width: int, mode: int, codes: Any, scales: Any, choices: Any, deq: Any
    ) -> None:
        rows, k = x.shape
        plus = np.zeros(width, np.float32)
        minus = np.zeros(width, np.float32)
        wide = np.zeros(group, np.float64)
        errors = np.zeros(4, np.float32)
        for r in range(rows):
            for g in range(scales.shape[1]):
                a = g * group
                b = min(k, a + group)
                xs, cs, ds = x[r, a:b], codes[r, a:b], deq[r, a:b]
                m = absmax(xs)
                s0, s1 = stored_scale(m / top, mode), stored_scale(m / far, mode)
                errors[0], errors[1] = pair_errors(xs, s0, inner, base, plus, minus)
                errors[2], errors[3] = pair_errors(xs, s1, outer, base, plus, minus)
                choice = clear_winner(errors)
                if choice < 0:
                    least = np.inf
                    choice = 0
                    for c in range(4):
                        s, special = (s0, inner) if c < 2 else (s1, outer)
                        write_one(xs, s, special, c & 1, base, cs, ds)
                        error = exact_error(xs, ds, wide)
                        if error < least:
                            least = error
                            choice = c
                s, special = (s0, inner) if choice < 2 else (s1, outer)
                write_one(xs, s, special, choice & 1, base, cs, ds)
                scales[r, g] = s
                choices[r, g] = choice

    return kernel
