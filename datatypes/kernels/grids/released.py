"""BitMoD groups in the float16 arithmetic of the authors' released quantizer.

Every operation is computed in float32 and rounded to float16 at once, which is the float16
operation: float32 has more than twice its digits. Squares in float16 are multiples of 2**-24, so
float64 adds them exactly in any order as long as their sum is below 2**29.
Source of the types and of the order of the search: BitMoD, HPCA 2025, arXiv 2411.11745; the
rounding, the clamps and the bound are those of its released code.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Final

import numpy as np
from numba import njit

from ..base.intrinsics import (
    add_loosely,
    bits_float,
    float_bits,
    half_multiples,
    lookup,
    round_half,
)
from ..base.loops import over_groups
from ..base.scaling import absmax

SCALE_MIN: Final = np.float32(np.float16(1e-5))
SCALE_MAX: Final = np.float32(np.float16(1e4))
ERROR_MAX: Final = np.float32(1e3)


@njit(nogil=True, forceinline=True)
def reach(x: Any, s: Any) -> Any:
    """Return |x| / s in float16, a little more if x is negative: ties go down.

    The step of one in the last place of float32 takes a magnitude over a threshold it stands on,
    and over no other: float16 has none in between.
    """
    size = float_bits(round_half(abs(x) / s))
    return bits_float(np.uint32(size + (np.uint32(1) if x < 0 else np.uint32(0))))


@njit(nogil=True, forceinline=True)
def pair_means(x: Any, s: Any, special: Any, base: Any, plus: Any, minus: Any) -> Any:
    """Return the mean squared errors with +special and with -special added to the base grid.

    The squares go to the scratch vectors ``plus`` and ``minus`` first: beside sums in float64 the
    loop would fill half of each vector register.
    """
    cuts, magnitudes, _labels, _sign = base
    v, low, high = special
    vs = round_half(v * s)
    products = half_multiples(magnitudes, s)
    for i in range(x.size):
        size = abs(x[i])
        a = reach(x[i], s)
        t = round_half(lookup(a, cuts, products) - size)
        t = round_half(t * t)
        u = round_half(vs - size)
        u = round_half(u * u)
        inside = (a > low) & (a <= high)
        plus[i] = u if inside & (x[i] > 0) else t
        minus[i] = u if inside & (x[i] < 0) else t
    total_plus, total_minus = 0.0, 0.0
    for i in range(x.size):
        total_plus = add_loosely(total_plus, np.float64(plus[i]))
        total_minus = add_loosely(total_minus, np.float64(minus[i]))
    count = np.float32(x.size)
    return round_half(np.float32(total_plus) / count), round_half(np.float32(total_minus) / count)


@njit(nogil=True, forceinline=True)
def write_one(x: Any, s: Any, special: Any, negative: Any, base: Any, codes: Any, deq: Any) -> None:
    """Write codes and values of one group; the special value has the code of -0."""
    cuts, magnitudes, labels, sign = base
    v, low, high = special
    vs = round_half(v * s)
    products = half_multiples(magnitudes, s)
    for i in range(x.size):
        a = reach(x[i], s)
        below = x[i] < 0
        label = lookup(a, cuts, labels)
        q = lookup(a, cuts, products)
        inside = (a > low) & (a <= high) & (below == negative)
        label = label | (sign if below & (label > 0) else np.uint32(0))
        q = vs if inside else q
        codes[i] = np.uint8(sign if inside else label)
        deq[i] = -q if below & (q > 0) else q


@cache
def paper_kernel(
    cuts: tuple[np.float32, ...],
    magnitudes: tuple[np.float32, ...],
    inner: tuple[np.float32, np.float32, np.float32],
    outer: tuple[np.float32, np.float32, np.float32],
    unit: np.float32,
) -> Callable[..., None]:
    """Compile the search for a base grid and two special magnitudes, as `bitmod_kernel` does.

    Parameters
    ----------
    cuts, magnitudes, inner, outer
        As for `bitmod_kernel`, in multiples of `unit`; cuts and intervals are plain midpoints.
    unit : float32

    Returns
    -------
    kernel
        See `over_groups`; beside the scales stand choices. Scales are those of the grid as it is,
        not of its multiples: 0 for a group that no candidate took, infinity for one that does not
        fit float16.
    """
    labels = tuple(np.uint32(i) for i in range(len(magnitudes)))
    base = (cuts, magnitudes, labels, np.uint32(len(magnitudes)))
    top, far = magnitudes[-1], outer[0]

    @njit(nogil=True)
    def scratch(group: int) -> Any:
        half = np.zeros(group, np.float32)
        return half, np.zeros(group, np.float32), np.zeros(group, np.float32)

    @njit(nogil=True, inline="always")
    def one(x: Any, _s: Any, _c: Any, _: Any, work: Any, codes: Any, deq: Any) -> Any:
        half, plus, minus = work
        xs = half[: x.size]
        for i in range(x.size):
            xs[i] = round_half(x[i])
        m = absmax(xs)
        s0 = min(max(round_half(m / top), SCALE_MIN), SCALE_MAX)
        s1 = min(max(round_half(m / far), SCALE_MIN), SCALE_MAX)
        e0, e1 = pair_means(xs, s0, inner, base, plus, minus)
        e2, e3 = pair_means(xs, s1, outer, base, plus, minus)
        least, choice = ERROR_MAX, -1
        least, choice = (e0, 0) if e0 < least else (least, choice)
        least, choice = (e1, 1) if e1 < least else (least, choice)
        least, choice = (e2, 2) if e2 < least else (least, choice)
        least, choice = (e3, 3) if e3 < least else (least, choice)
        if choice < 0:
            codes[:] = 0
            deq[:] = 0
            return m if np.isinf(m) else np.float32(0), 0
        s, special = (s0, inner) if choice < 2 else (s1, outer)
        write_one(xs, s, special, choice & 1 == 1, base, codes, deq)
        return s / unit, choice

    return over_groups(one, scratch)
