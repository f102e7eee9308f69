"""Groups of integers, symmetric or with a zero point."""

from typing import Any, Final

import numpy as np
from numba import njit

from ..base.intrinsics import bits_float, float_bits
from ..base.loops import over_groups
from ..base.scaling import absmax, divisor, stored_scale


@njit(nogil=True, inline="always")
def _symmetric(x: Any, _s: Any, _z: Any, facts: Any, _w: Any, codes: Any, deq: Any) -> Any:
    """Code a group in two's complement, restricted range: scale = absmax / (2**(b-1) - 1)."""
    bits, mode = facts
    top = np.float32((1 << (bits - 1)) - 1)
    mask = np.int32((1 << bits) - 1)
    s = stored_scale(absmax(x) / top, mode)
    d = divisor(s)
    for i in range(x.size):
        q = np.int32(min(max(np.rint(x[i] / d), -top), top))
        codes[i] = np.uint8(q & mask)
        deq[i] = np.float32(q) * s
    return s, 0


@njit(nogil=True)
def extent(x: Any) -> Any:
    """Return the least and the largest value of a group, stretched to contain 0."""
    lowest, highest = np.uint32(0), np.uint32(0)
    # magnitudes order as their bit patterns do, and maxima of integers need no care for NaN
    for i in range(x.size):
        size = float_bits(abs(x[i]))
        lowest = max(lowest, size if x[i] < 0 else np.uint32(0))
        highest = max(highest, size if x[i] > 0 else np.uint32(0))
    return -bits_float(lowest), bits_float(highest)


@njit(nogil=True, inline="always")
def _asymmetric(x: Any, _s: Any, _z: Any, facts: Any, _w: Any, codes: Any, deq: Any) -> Any:
    """Code a group in unsigned integers: ``w = (code - zero) * scale``, zero = round(-low / s)."""
    bits, mode = facts
    top = np.float32((1 << bits) - 1)
    low, high = extent(x)
    width = high - low
    s = stored_scale(width / top, mode)
    d = divisor(s)
    zero = min(max(np.rint(-low / d), np.float32(0)), top)
    for i in range(x.size):
        q = min(max(np.rint(x[i] / d) + zero, np.float32(0)), top)
        codes[i] = np.uint8(np.int32(q))
        deq[i] = (q - zero) * s
    return s, np.uint8(zero)


# the facts of both: bits and the mode of the scales
symmetric: Final = over_groups(_symmetric)
asymmetric: Final = over_groups(_asymmetric)
