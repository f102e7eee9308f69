"""Groups of integers, symmetric or with a zero point."""

from typing import Any

import numpy as np
from numba import njit

from ...base.compiled import compiled
from ..base.intrinsics import bits_float, float_bits
from ..base.scaling import absmax, divisor, stored_scale


@compiled(nogil=True)
def symmetric(x: Any, group: int, bits: int, mode: int, scales: Any, codes: Any, deq: Any) -> None:
    """Code groups in two's complement of the restricted range: scale = absmax / (2**(b-1) - 1)."""
    rows, k = x.shape
    top = np.float32((1 << (bits - 1)) - 1)
    mask = np.int32((1 << bits) - 1)
    for r in range(rows):
        for g in range(scales.shape[1]):
            a = g * group
            b = min(k, a + group)
            xs, cs, ds = x[r, a:b], codes[r, a:b], deq[r, a:b]
            m = absmax(xs)
            s = stored_scale(m / top, mode)
            d = divisor(s)
            for i in range(xs.size):
                q = np.int32(min(max(np.rint(xs[i] / d), -top), top))
                cs[i] = np.uint8(q & mask)
                ds[i] = np.float32(q) * s
            scales[r, g] = s


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


@compiled(nogil=True)
def asymmetric(
    x: Any, group: int, bits: int, mode: int, scales: Any, zeros: Any, codes: Any, deq: Any
) -> None:
    """Code groups in unsigned integers: ``w = (code - zero) * scale``, zero = round(-low / s)."""
    rows, k = x.shape
    top = np.float32((1 << bits) - 1)
    for r in range(rows):
        for g in range(scales.shape[1]):
            a = g * group
            b = min(k, a + group)
            xs, cs, ds = x[r, a:b], codes[r, a:b], deq[r, a:b]
            low, high = extent(xs)
            width = high - low
            s = stored_scale(width / top, mode)
            d = divisor(s)
            zero = min(max(np.rint(-low / d), np.float32(0)), top)
            for i in range(xs.size):
                q = min(max(np.rint(xs[i] / d) + zero, np.float32(0)), top)
                cs[i] = np.uint8(np.int32(q))
                ds[i] = (q - zero) * s
            scales[r, g] = s
            zeros[r, g] = np.uint8(zero)
