"""The two searches of dual-grain quantisation: of each group's range, of each channel's scale."""

from typing import Any

import numpy as np
from numba import njit

from ...base.compiled import compiled
from ..base.intrinsics import pairwise_sum


@njit(nogil=True)
def _error(
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
    x: Any, weights: Any, scales: Any, zeros: Any, top: Any, best: Any
) -> None:  # fmt: skip
    """Write the index of the candidate of least error of each group, the first among equals.

    Parameters
    ----------
    x, weights : (groups, size) float32
        ``weights`` is (groups, 0) where all elements count the same.
    scales, zeros : (groups, candidates) float32
    top : float32
        Largest code.
    best : (groups,) int64
    """
    cost = np.zeros(x.shape[1], np.float64)
    for g in range(x.shape[0]):
        least, best[g] = np.inf, -1
        for t in range(scales.shape[1]):
            error = _error(
                x[g], weights[g], scales[g, t], zeros[g, t], np.float32(0), top, cost
            )  # fmt: skip
            if error < least:
                least, best[g] = error, t


@compiled(nogil=True)
def search_channels(
    x: Any, weights: Any, fine: Any, zeros: Any, channels: Any, top: Any, most: Any, limit: Any,
    best: Any,
) -> None:  # fmt: skip
    """Write the index of the channel scale of least error of each row, the first among equals.

    Parameters
    ----------
    x, weights : (rows x across, size) float32
    fine, zeros : (rows x across,) float32
        Scales and zero points of the groups.
    channels : (rows, candidates) float32
    top, most, limit : float32
        Largest code; largest integer group scale; largest magnitude of (code - zero) x scale.
    best : (rows,) int64
    """
    rows, across = channels.shape[0], fine.size // channels.shape[0]
    cost, errors = np.zeros(x.shape[1], np.float64), np.zeros(across, np.float64)
    for r in range(rows):
        least, best[r] = np.inf, -1
        for t in range(channels.shape[1]):
            channel = channels[r, t]
            for a in range(across):
                g = r * across + a
                ratio = fine[g] / channel if channel > 0 else np.float32(1)
                whole = min(max(np.rint(ratio), np.float32(1)), most)
                room = np.floor(limit / whole)
                low, high = max(np.float32(0), zeros[g] - room), min(top, zeros[g] + room)
                errors[a] = _error(
                    x[g], weights[g], whole * channel, zeros[g], low, high, cost
                )  # fmt: skip
            error = pairwise_sum(errors, 0, across)
            if error < least:
                least, best[r] = error, t
