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

from ..base.intrinsics import LOOSE_RUN, add_loosely, bits_float, float_bits, nearest
from ..base.loops import best_of, best_under, given_of
from ..base.scaling import divisor, stored_scale
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


# a special magnitude and the interval ``low < |y| <= high`` that it takes
Special = tuple[np.float32, np.float32, np.float32]
Floats = tuple[np.float32, ...]


def _writer(cuts: Floats, magnitudes: Floats, inner: Special, outer: Special) -> Callable[..., Any]:
    """Return the writing of a group with one of the four special values; see `best_of`."""
    base = grid_table(cuts, magnitudes)

    @njit(nogil=True, inline="always")
    def write(x: Any, s: Any, choice: Any, _: Any, codes: Any, deq: Any) -> None:
        special = inner if choice < 2 else outer
        write_one(x, s, special, choice & 1, base, codes, deq)

    return write


@cache
def bitmod_kernel(
    cuts: Floats, magnitudes: Floats, inner: Special, outer: Special
) -> Callable[..., None]:
    """Compile the search for a base grid and two special magnitudes; see `best_of`.

    Parameters
    ----------
    cuts, magnitudes : tuple of float32
        The base grid's magnitudes by code, and the cuts between them.
    inner, outer : (value, low, high)
        `inner` lies inside the base grid (extra resolution), `outer` beyond it (extra asymmetry).
    """
    base = grid_table(cuts, magnitudes)
    margin = max(error_margin(np.union1d(magnitudes, v[0]), LOOSE_RUN) for v in (inner, outer))
    top, near, far = magnitudes[-1], inner[0], outer[0]

    @njit(nogil=True, inline="always")
    def rough(x: Any, m: Any, mode: Any, errors: Any, scales: Any) -> None:
        s0, s1 = stored_scale(m / top, mode), stored_scale(m / far, mode)
        scales[0], scales[1], scales[2], scales[3] = s0, s0, s1, s1
        errors_of(x, s0, s1, near, far, base, errors)

    return best_of(4, margin, rough, _writer(cuts, magnitudes, inner, outer))


@cache
def under_kernel(
    cuts: Floats, magnitudes: Floats, inner: Special, outer: Special
) -> Callable[..., None]:
    """Compile the search under given scales, one for +-inner and one for +-outer; `best_under`.

    Parameters are those of `bitmod_kernel`.
    """
    base = grid_table(cuts, magnitudes)
    margin = max(error_margin(np.union1d(magnitudes, v[0]), LOOSE_RUN) for v in (inner, outer))
    near, far = inner[0], outer[0]

    @njit(nogil=True, inline="always")
    def rough(x: Any, scales: Any, errors: Any) -> None:
        errors_of(x, scales[0], scales[2], near, far, base, errors)

    return best_under(4, margin, rough, _writer(cuts, magnitudes, inner, outer))


@cache
def given_kernel(
    cuts: Floats, magnitudes: Floats, inner: Special, outer: Special
) -> Callable[..., None]:
    """Compile the coding under given scales and choices; see `given_of`."""
    return given_of(_writer(cuts, magnitudes, inner, outer))
