"""Pieces shared by the group kernels: maxima, scales, choice of a candidate."""

from typing import Any, Final

import numpy as np
from numba import njit

from ...base.compiled import compiled
from .intrinsics import bits_float, float_bits, round_half
from .lookup import look_up

SCALE_MODES: Final = {"fp32": 0, "fp16": 1}
GIVEN: Final = -1
# elements worked through at once: their scratch stays in the first-level cache
RUN: Final = 2048
# float32 values in the widest vector register
LANES: Final = 16
HALF_TINY: Final = np.float32(2.0**-24)
MAGNITUDE: Final = np.uint32(0x7FFFFFFF)
# between these, sums of squares lose nothing to the range of float32
NORMAL: Final = 1e-30
HUGE: Final = 1e38


@njit(nogil=True)
def absmax(x: Any) -> Any:
    """Return the largest magnitude of a float32 vector, 0 if it is empty."""
    m = np.uint32(0)
    for i in range(x.size):
        m = max(m, np.uint32(float_bits(x[i]) & MAGNITUDE))
    return bits_float(m)


@compiled(nogil=True)
def absmax_of(x: Any, group: int, found: Any) -> None:
    """Write the largest magnitude of each group of a matrix; more than inf's bits for NaN."""
    rows, k = x.shape
    for r in range(rows):
        for g in range(found.shape[1]):
            found[r, g] = absmax(x[r, g * group : min(k, (g + 1) * group)])


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
def clear_winner(errors: Any, margin: float) -> Any:
    """Return the index of the least error sum, or -1 where rounding might decide.

    That is where another is not above `margin` times the least, and where float32 might have lost
    digits to its range. Which candidate wins is a matter of chance, so no branch depends on it.
    """
    least, total = errors[0], 0.0
    for c in range(errors.size):
        least = min(least, errors[c])
        total += errors[c]
    near, winner = 0, 0
    for c in range(errors.size):
        close = int(errors[c] <= least * margin)
        near += close
        winner += c * close
    # NaN is close to nothing, but no comparison of the total with it holds
    return winner if (near == 1) & (least > NORMAL) & (total < HUGE) else -1


@njit(nogil=True)
def divide(x: Any, s: Any, y: Any) -> None:
    """Divide a group by its scale; where that is 0, write zeros."""
    if s > 0:
        for i in range(x.size):
            y[i] = x[i] / s
    else:
        for i in range(x.size):
            y[i] = np.float32(0)


@njit(nogil=True)
def divide_groups(x: Any, group: int, top: Any, mode: int, scales: Any, y: Any) -> None:
    """Divide a run of groups by their scales.

    ``scales`` are written, absmax / top rounded as ``mode`` says, unless they are `GIVEN`.
    """
    for a in range(0, x.size, group):
        b = min(x.size, a + group)
        if mode != GIVEN:
            scales[a // group] = stored_scale(absmax(x[a:b]) / top, mode)
        divide(x[a:b], scales[a // group], y[a:b])


@njit(nogil=True)
def restore_groups(codes: Any, group: int, table: Any, scales: Any, values: Any) -> None:
    """Write what the codes of a run of groups stand for."""
    for a in range(0, codes.size, group):
        b = min(codes.size, a + group)
        look_up(codes[a:b], table, np.float32(0), scales[a // group], values[a:b])
