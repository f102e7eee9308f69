"""The elements of groups over scales of any sign, beside minima or zero points."""

from typing import Any, Final

import numpy as np
from numba import njit

from ...base.compiled import compiled
from .intrinsics import float_bits

# what stands beside a scale
KINDS: Final = {"": 0, "minimum": 1, "zero": 2}
# of shorter groups a row is divided first: loops over a group would be too short
SHORT: Final = 16
SIGN: Final = np.uint32(0x80000000)


@compiled(nogil=True)
def quotients_of(x: Any, group: int, scales: Any, shifts: Any, kind: int, out: Any) -> None:
    """Write x / scale of each group, (x + minimum) / scale, or x / scale + zero.

    One rounding to float32 an operation; under a scale of 0 the quotient is 0.
    """
    rows, k = x.shape
    for r in range(rows):
        for g in range(scales.shape[1]):
            a, b = g * group, min(k, (g + 1) * group)
            scale, shift = scales[r, g], shifts[r, g]
            if scale == 0:
                out[r, a:b] = shift if kind == 2 else np.float32(0)
            elif kind == 1:
                for i in range(a, b):
                    out[r, i] = (x[r, i] + shift) / scale
            elif kind == 2:
                for i in range(a, b):
                    out[r, i] = x[r, i] / scale + shift
            else:
                for i in range(a, b):
                    out[r, i] = x[r, i] / scale


@njit(nogil=True)
def _plain(x: Any, scale: Any, steps: Any, codes: Any) -> None:
    per, low, high, _, mask = steps
    for i in range(x.size):
        codes[i] = np.uint8(np.int32(min(max(np.rint(x[i] / scale * per), low), high)) & mask)


@njit(nogil=True)
def _with_minimum(x: Any, scale: Any, minimum: Any, steps: Any, codes: Any) -> None:
    per, low, high, _, mask = steps
    for i in range(x.size):
        y = (x[i] + minimum) / scale
        codes[i] = np.uint8(np.int32(min(max(np.rint(y * per), low), high)) & mask)


@njit(nogil=True)
def _with_zero(x: Any, scale: Any, zero: Any, steps: Any, codes: Any) -> None:
    per, low, high, _, mask = steps
    for i in range(x.size):
        y = x[i] / scale + zero
        codes[i] = np.uint8(np.int32(min(max(np.rint(y * per), low), high)) & mask)


@njit(nogil=True)
def _with_sign(x: Any, scale: Any, steps: Any, codes: Any) -> None:
    per, _, high, minus, _ = steps
    for i in range(x.size):
        y = x[i] / scale
        label = np.int32(min(np.rint(abs(y) * per), high))
        codes[i] = np.uint8(label | (minus if float_bits(y) >= SIGN else np.int32(0)))


@njit(nogil=True)
def _divide_row(
    x: Any, group: int, scales: Any, shifts: Any, kind: int, work: Any, out: Any
) -> None:
    """Write the quotients of a row of short groups, as `quotients_of` does."""
    scale, shift = work
    for g in range(scales.size):
        for i in range(g * group, min(x.size, (g + 1) * group)):
            scale[i], shift[i] = scales[g], shifts[g]
    if kind == 1:
        for i in range(x.size):
            out[i] = (x[i] + shift[i]) / scale[i] if scale[i] != 0 else np.float32(0)
    elif kind == 2:
        for i in range(x.size):
            out[i] = (x[i] / scale[i] if scale[i] != 0 else np.float32(0)) + shift[i]
    else:
        for i in range(x.size):
            out[i] = x[i] / scale[i] if scale[i] != 0 else np.float32(0)


@compiled(nogil=True)
def whole_codes_of(
    x: Any, group: int, scales: Any, shifts: Any, kind: int, steps: Any, codes: Any
) -> None:
    """Write the codes of quotients on grids of equal steps; see `tables.whole_steps`."""
    rows, k = x.shape
    _, _, _, minus, _ = steps
    y, one = np.zeros(k, np.float32), np.float32(1)
    work = (np.zeros(k, np.float32), np.zeros(k, np.float32))
    for r in range(rows):
        if group < SHORT or (minus and kind):
            _divide_row(x[r], group, scales[r], shifts[r], kind, work, y)
            if minus:
                _with_sign(y, one, steps, codes[r])
            else:
                _plain(y, one, steps, codes[r])
            continue
        for g in range(scales.shape[1]):
            a, b = g * group, min(k, (g + 1) * group)
            scale, shift = scales[r, g], shifts[r, g]
            xs, cs = x[r, a:b], codes[r, a:b]
            if scale == 0:
                xs, scale = y[:1], one  # 0, of which the first code is that of all
                _with_zero(xs, scale, shift if kind == 2 else np.float32(0), steps, cs[:1])
                cs[:] = cs[0]
            elif minus:
                _with_sign(xs, scale, steps, cs)
            elif kind == 1:
                _with_minimum(xs, scale, shift, steps, cs)
            elif kind == 2:
                _with_zero(xs, scale, shift, steps, cs)
            else:
                _plain(xs, scale, steps, cs)
