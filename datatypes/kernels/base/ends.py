"""The least and the largest element of each group."""

from typing import Any

import numpy as np
from numba import njit

from ...base.compiled import compiled
from .intrinsics import bits_float, order


@njit(nogil=True, forceinline=True)
def _float_of(place: Any) -> Any:
    """Return the float32 of what `intrinsics.order` makes of it: it is its own inverse."""
    turned = np.int32(place ^ np.int32(np.int32(place >> np.int32(31)) & np.int32(0x7FFFFFFF)))
    return bits_float(np.uint32(turned))


@njit(nogil=True)
def ends(x: Any) -> Any:
    """Return the least and the largest of a float32 vector; -0 lies below +0."""
    low, high = np.int32(0x7FFFFFFF), np.int32(-0x80000000)
    # as integers, whose order the compiler is free in
    for i in range(x.size):
        place = order(x[i])
        low = min(low, place)
        high = max(high, place)
    return _float_of(low), _float_of(high)


@compiled(nogil=True)
def ends_of(x: Any, group: int, low: Any, high: Any) -> None:
    """Write the least and the largest of each group of a matrix."""
    rows, k = x.shape
    for r in range(rows):
        for g in range(low.shape[1]):
            low[r, g], high[r, g] = ends(x[r, g * group : min(k, (g + 1) * group)])
