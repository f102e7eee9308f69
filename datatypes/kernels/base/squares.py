"""What the values that stand for a matrix err by, group by group."""

from typing import Any

import numpy as np
from numba import njit

from ...base.compiled import compiled
from .intrinsics import PAIRWISE_BLOCK, exact_error


@njit(nogil=True, forceinline=True)
def _square(x: Any, values: Any, i: int) -> Any:
    rest = np.float64(x[i] - values[i])
    return rest * rest


@njit(nogil=True, forceinline=True)
def _of_eights(x: Any, values: Any) -> Any:
    """Return what `exact_error` does of whole eights, one block of its sum, in registers."""
    a = b = c = d = e = f = g = h = 0.0
    for i in range(0, x.size, 8):
        a += _square(x, values, i)
        b += _square(x, values, i + 1)
        c += _square(x, values, i + 2)
        d += _square(x, values, i + 3)
        e += _square(x, values, i + 4)
        f += _square(x, values, i + 5)
        g += _square(x, values, i + 6)
        h += _square(x, values, i + 7)
    return ((a + b) + (c + d)) + ((e + f) + (g + h))


@compiled(nogil=True)
def squares_of(x: Any, values: Any, group: int, errors: Any) -> None:
    """Write the float64 sum of squared float32 differences of each group, in numpy's order."""
    rows, k = x.shape
    short = group % 8 == 0 and group <= PAIRWISE_BLOCK
    work = np.zeros(group, np.float64)
    for r in range(rows):
        for g in range(errors.shape[1]):
            a, b = g * group, min(k, (g + 1) * group)
            if short and b - a == group:
                errors[r, g] = _of_eights(x[r, a:b], values[r, a:b])
            else:
                errors[r, g] = exact_error(x[r, a:b], values[r, a:b], work)
