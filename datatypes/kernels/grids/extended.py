"""BitMoD groups: four candidates from one pass, codes and values from a second.

A BitMoD type is a base grid with one special value more. The two special values of a kind (+v and
-v) share the scale and the base rounding, and an element's error with the special value is the
lesser of its errors at that value and at the base grid's. So one loop gives all four errors.

They are only good enough to tell clear winners: elements are multiplied by 1 / scale, not divided,
and summed in any order. Where two sums are closer than the bound of `error_margin`, the group is
compared again as it will be written, in float64 and in numpy's order.
Source of the types and of the order of the search: BitMoD, HPCA 2025, arXiv 2411.11745.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Final

import numpy as np
from numba import njit

from ...base.compiled import compiled
from ..base.intrinsics import LOOSE_RUN, add_loosely, bits_float, exact_error, float_bits, nearest
from ..base.scaling import absmax, clear_winner, divisor, stored_scale
from ..base.tables import error_margin, grid_table

SIGN: Final = np.uint32(0x80000000)
ZERO: Final = np.float32(0)
ONE: Final = np.float32(1)


@njit(nogil=True, forceinline=True)
def run_errors(x: Any, s0: Any, s1: Any, inner: Any, outer: Any, base: Any) -> Any:
    """Return float32 error sums with +inner and -inner under s0, +outer and -outer under s1."""
    r0, r1 = ONE / divisor(s0), ONE / divisor(s1)
    v0, v1 = inner * s0, outer * s1
    e0, e1, e2, e3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
    for i in range(x.size):
        size, positive = abs(x[i]), x[i] > 0
        t = nearest(size * r0, base)[1] * s0 - size
        u = v0 - size
        t, u = t * t, u * u
        low = min(t, u)
        e0 = add_loosely(e0, low if positive else t)
        e1 = add_loosely(e1, t if positive else low)
        t = nearest(size * r1, base)[1] * s1 - size
        u = v1 - size
        t, u = t * t, u * u
        low = min(t, u)
        e2 = add_loosely(e2, low if positive else t)
        e3 = add_loosely(e3, t if positive else low)
    return e0, e1, e2, e3


@njit(nogil=True, forceinline=True)
def errors_of(x: Any, s0: Any, s1: Any, inner: Any, outer: Any, base: Any, errors: Any) -> None:
    """Write the four error sums of a group, in float64."""
    e0, e1, e2, e3 = 0.0, 0.0, 0.0, 0.0
    for start in range(0, x.size, LOOSE_RUN):
        d0, d1, d2, d3 = run_errors(x[start : start + LOOSE_RUN], s0, s1, inner, outer, base)
        e0, e1, e2, e3 = e0 + d0, e1 + d1, e2 + d2, e3 + d3
    errors[0], errors[1], errors[2], errors[3] = e0, e1, e2, e3


@njit(nogil=True, forceinline=True)
def write_one(x: Any, s: Any, special: Any, negative: Any, base: Any, codes: Any, deq: Any) -> None:
    """Write codes and values of one group; the special value has the code of -0.

    Signs are moved as bits, and 0 is added to take one from -0: the loop has no condition but
    the special value's, whose interval is compared with y turned to the special value's side.
    """
    v, low, high = special
    d, side = divisor(s), SIGN if negative else np.uint32(0)
    sign = np.uint32(len(base[1]))
    vs = -v * s if negative else v * s
    for i in range(x.size):
        minus = np.uint32(float_bits(x[i]) & SIGN)
        a = abs(x[i]) / d
        turned = bits_float(np.uint32(float_bits(a) ^ np.uint32(minus ^ side)))
        inside = (turned > low) & (turned <= high)
        label, value = nearest(a, base)
        value = bits_float(np.uint32(float_bits(value) | minus)) + ZERO
        label |= sign if float_bits(value) >= SIGN else np.uint32(0)
        codes[i] = np.uint8(sign if inside else label)
        deq[i] = vs if inside else value * s


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
    kernel ``(x, group, mode, write, scales, choices, codes, deq)``
        x float32 (rows, k), scales float32 and choices uint8 (rows, groups), codes uint8 and deq
        float32 like x, which are scratch if not ``write``.
    """
    base = grid_table(cuts, magnitudes)
    margin = max(error_margin(np.union1d(magnitudes, v[0]), LOOSE_RUN) for v in (inner, outer))
    top, near, far = magnitudes[-1], inner[0], outer[0]

    @compiled(nogil=True)
    def kernel(
        x: Any, group: int, mode: int, write: bool, scales: Any, choices: Any, codes: Any, deq: Any
    ) -> None:
        rows, k = x.shape
        wide = np.zeros(group, np.float64)
        errors = np.zeros(4, np.float64)
        for r in range(rows):
            for g in range(scales.shape[1]):
                a = g * group
                b = min(k, a + group)
                xs, cs, ds = x[r, a:b], codes[r, a:b], deq[r, a:b]
                amax = absmax(xs)
                s0, s1 = stored_scale(amax / top, mode), stored_scale(amax / far, mode)
                errors_of(xs, s0, s1, near, far, base, errors)
                choice = clear_winner(errors, margin)
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
                if write:
                    write_one(xs, s, special, choice & 1, base, cs, ds)
                scales[r, g] = s
                choices[r, g] = choice

    return kernel


@cache
def given_kernel(
    cuts: tuple[np.float32, ...],
    magnitudes: tuple[np.float32, ...],
    inner: tuple[np.float32, np.float32, np.float32],
    outer: tuple[np.float32, np.float32, np.float32],
) -> Callable[..., None]:
    """Compile the coding under given scales: ``(x, group, scales, choices, codes, deq)``."""
    base = grid_table(cuts, magnitudes)

    @compiled(nogil=True)
    def kernel(x: Any, group: int, scales: Any, choices: Any, codes: Any, deq: Any) -> None:
        rows, k = x.shape
        for r in range(rows):
            for g in range(scales.shape[1]):
                a = g * group
                b = min(k, a + group)
                special = inner if choices[r, g] < 2 else outer
                xs, cs, ds = x[r, a:b], codes[r, a:b], deq[r, a:b]
                write_one(xs, scales[r, g], special, choices[r, g] & 1, base, cs, ds)

    return kernel
