"""The search of ranges with a zero point: squared errors of groups under many scales."""

from typing import Any

import numpy as np
from numba import njit

from ...base.compiled import compiled
from ..base.intrinsics import pairwise_sum


@njit(nogil=True)
def error_of(
    x: Any, weights: Any, scale: Any, zero: Any, low: Any, high: Any, cost: Any
) -> Any:  # fmt: skip
    """Return the squared error of a group whose codes are clamped to ``low .. high``."""
    if scale > 0:
        for i in range(x.size):
            q = min(max(np.rint(x[i] / scale) + zero, low), high)
            rest = np.float64(x[i] - (q - zero) * scale)
            cost[i] = rest * rest
    else:
        # a scale of 0 stands for a group of zeros
        for i in range(x.size):
            cost[i] = np.float64(x[i]) * np.float64(x[i])
    if weights.size:
        for i in range(x.size):
            cost[i] *= weights[i]
    return pairwise_sum(cost, 0, x.size)


@compiled(nogil=True)
def search_groups(
    x: Any, weights: Any, scales: Any, zeros: Any, best: Any, top: Any
) -> None:  # fmt: skip
    """Write the index of the candidate of least error of each group, the first among equals.

    Parameters
    ----------
    x, weights : (groups, size) float32
        ``weights`` is (groups, 0) where all elements count the same.
    scales, zeros : (groups, candidates) float32
    best : (groups,) int64
    top : float32
        Largest code.
    """
    cost = np.zeros(x.shape[1], np.float64)
    for g in range(x.shape[0]):
        least, best[g] = np.inf, -1
        for t in range(scales.shape[1]):
            error = error_of(
                x[g], weights[g], scales[g, t], zeros[g, t], np.float32(0), top, cost
            )  # fmt: skip
            if error < least:
                least, best[g] = error, t
