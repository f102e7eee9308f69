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


@njit(nogil=True)
def _error(
    weights: Any, scale: Any, lonely: Any, facts: Any, size: Any, out: Any, cost: Any
) -> Any:  # fmt: skip
    """Return the squared error of a group; ``size`` holds its magnitudes, the rest is scratch."""
    top, threshold, levels, cuts = facts
    some = 0
    if scale > 0:
        for i in range(size.size):
            y = size[i] / scale
            out[i] = y > threshold
            some += out[i]
            rest = np.float64(size[i] - min(np.rint(y), top) * scale)
            cost[i] = rest * rest
    else:
        for i in range(size.size):
            cost[i] = np.float64(size[i]) * np.float64(size[i])
    if some:
        _pairs(size, scale, out, lonely, levels, cuts, cost)
    if weights.size:
        for i in range(size.size):
            cost[i] *= weights[i]
    return pairwise_sum(cost, 0, size.size)


@compiled(nogil=True)
def search(
    x: Any, weights: Any, trials: Any, best: Any, last: int, top: Any, threshold: Any,
    levels: Any, cuts: Any,
) -> None:  # fmt: skip
    """Write the index of the trial scale of least error of each group, -1 if none has an error.

    Parameters
    ----------
    x, weights : (rows, across, size) float32
        ``weights`` is (rows, across, 0) where all elements count the same.
    trials : (rows, across, candidates) float32
        Scales; the first of equals wins.
    best : (rows, across) int64
    last : int
        Elements of the last group of a row.
    top, threshold : float32
        Largest normal magnitude; outliers lie above the threshold.
    levels, cuts : (n,), (n - 1,) float32
    """
    rows, across, length = x.shape
    facts = (top, threshold, levels, cuts)
    size, out = np.zeros(length, np.float32), np.zeros(length, np.bool_)
    cost = np.zeros(length, np.float64)
    for r in range(rows):
        for g in range(across):
            short = last if g == across - 1 else length
            # an element without a partner is no outlier: its flag would have no place
            lonely = short - 1 if short % 2 else -1
            for i in range(length):
                size[i] = abs(x[r, g, i])
            least, best[r, g] = np.inf, -1
            for t in range(trials.shape[2]):
                error = _error(weights[r, g], trials[r, g, t], lonely, facts, size, out, cost)
                if error < least:
                    least, best[r, g] = error, t
