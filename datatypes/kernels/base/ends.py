"""The least and the largest element of each group."""

from typing import Any

import numpy as np
from numba import njit

from ...base.compiled import compiled


@njit(nogil=True)
def ends(x: Any) -> Any:
    """Return the least and the largest of a float32 vector."""
    low, high = np.float32(np.inf), np.float32(-np.inf)
    for i in range(x.size):
        low = min(low, x[i])
        high = max(high, x[i])
    return low, high


@compiled(nogil=True)
def ends_of(x: Any, group: int, low: Any, high: Any) -> None:
    """Write the least and the largest of each group of a matrix."""
    rows, k = x.shape
    for r in range(rows):
        for g in range(low.shape[1]):
            low[r, g], high[r, g] = ends(x[r, g * group : min(k, (g + 1) * group)])
