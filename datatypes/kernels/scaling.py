"""Pieces shared by the group kernels: absolute maximum, scale rounding, choice of a candidate."""

from typing import Any, Final

import numpy as np
from numba import njit

from .intrinsics import bits_float, float_bits, round_half

SCALE_MODES: Final = {"fp32": 0, "fp16": 1}
HALF_TINY: Final = np.float32(2.0**-24)
MAGNITUDE: Final = np.uint32(0x7FFFFFFF)
# float32 error sums are right to better than 2e-6 of their value above NORMAL
MARGIN: Final = np.float32(1 + 4e-6)
NORMAL: Final = np.float32(1e-30)
HUGE: Final = np.float32(1e38)


@njit(nogil=True)
def absmax(x: Any) -> Any:
    """Return the largest magnitude of a float32 vector, 0 if it is empty."""
    m = np.uint32(0)
    for i in range(x.size):
        m = max(m, float_bits(x[i]) & MAGNITUDE)
    return bits_float(m)


@njit(nogil=True)
def stored_scale(s: Any, mode: Any) -> Any:
    """Round a scale as it is stored: mode 0 float32, 1 float16; nothing positive becomes 0."""
    if mode == 0 or s == 0:
        return s
    return max(round_half(s), HALF_TINY)


@njit(nogil=True)
def divisor(s: Any) -> Any:
    """Return what to divide by: a scale of zero stands for a group of zeros."""
    return s if s > 0 else np.float32(1)


@njit(nogil=True)
def clear_winner(errors: Any) -> Any:
    """Return the index of the least float32 error, or -1 where rounding might decide."""
    best = 0
    for c in range(1, errors.size):
        if errors[c] < errors[best]:
            best = c
    low = errors[best]
    if not NORMAL < low < HUGE:
        return -1
    for c in range(errors.size):
        if c != best and not errors[c] > low * MARGIN:
            return -1
    return best
