"""The search of OliVe's ranges: squared errors of groups in outlier-victim pairs."""

from typing import Any

import numpy as np
from numba import njit

from ...base.compiled import compiled
from ..base.intrinsics import pairwise_sum


@njit(nogil=True)
def _outlier(magnitude: Any, levels: Any, cuts: Any) -> Any:
    """Return the outlier level nearest a magnitude, of which the level above starts past a cut."""
    value = levels[0]
    for i in range(cuts.size):
        value = levels[i + 1] if magnitude > cuts[i] else value
    return value


@njit(nogil=True)
def _pairs(size: Any, scale: Any, out: Any, lonely: Any, levels: Any, cuts: Any, cost: Any) -> None:
    """Replace the errors of the pairs that hold an outlier; ``size`` are magnitudes of a group."""
    for i in range(0, size.size - 1, 2):
        if i == lonely or not (out[i] or out[i + 1]):
            continue
        left, right = size[i] / scale, size[i + 1] / scale
        first = out[i] and (left >= right or not out[i + 1])
        kept, victim = (i, i + 1) if first else (i + 1, i)
        rest = size[kept] - _outlier(left if first else right, levels, cuts) * scale
        cost[kept] = np.float64(rest) * np.float64(rest)
        cost[victim] = np.float64(size[victim]) * np.float64(size[victim])


@compiled(nogil=True)
def search(
    x: Any, weights: Any, trials: Any, across: int, last: int, top: Any, threshold: Any,
    levels: Any, cuts: Any, best: Any,
) -> None:  # fmt: skip
    """Write the index of the trial scale of least error of each group, -1 if none has an error.

    Parameters
    ----------
    x, weights : (groups, size) float32
        ``weights`` is (groups, 0) where all elements count the same.
    trials : (groups, candidates) float32
        Scales; the first of equals wins.
    across, last : int
        Groups of a row, and elements of the last one of a row.
    top, threshold : float32
        Largest normal magnitude; outliers lie above the threshold.
    levels, cuts : (n,), (n - 1,) float32
    best : (groups,) int64
    """
    count, length = x.shape
    size, out = np.zeros(length, np.float32), np.zeros(length, np.bool_)
    cost = np.zeros(length, np.float64)
    for g in range(count):
        short = last if g % across == across - 1 else length
        # an element without a partner is no outlier: its flag would have no place
        lonely = short - 1 if short % 2 else -1
        for i in range(length):
            size[i] = abs(x[g, i])
        least, best[g] = np.inf, -1
        for t in range(trials.shape[1]):
            scale = trials[g, t]
            some = 0
            if scale > 0:
                for i in range(length):
                    y = size[i] / scale
                    out[i] = y > threshold
                    some += out[i]
                    rest = np.float64(size[i] - min(np.rint(y), top) * scale)
                    cost[i] = rest * rest
            else:
                for i in range(length):
                    cost[i] = np.float64(size[i]) * np.float64(size[i])
            if some:
                _pairs(size, scale, out, lonely, levels, cuts, cost)
            if weights.shape[1]:
                for i in range(length):
                    cost[i] *= weights[g, i]
            error = pairwise_sum(cost, 0, length)
            if error < least:
                least, best[g] = error, t
