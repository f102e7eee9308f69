"""The second search of dual grain: of each channel's scale, those of its groups rounded to it."""

from typing import Any

import numpy as np

from ...base.compiled import compiled
from ..base.intrinsics import pairwise_sum
from .asym import error_of


@compiled(nogil=True)
def search_channels(
    x: Any, weights: Any, fine: Any, zeros: Any, channels: Any, best: Any, top: Any, most: Any,
    limit: Any,
) -> None:  # fmt: skip
    """Write the index of the channel scale of least error of each row, the first among equals.

    Parameters
    ----------
    x, weights : (rows, across, size) float32
        ``weights`` is (rows, across, 0) where all elements count the same.
    fine, zeros : (rows, across) float32
        Scales and zero points of the groups.
    channels : (rows, candidates) float32
    best : (rows,) int64
    top, most, limit : float32
        Largest code; largest integer group scale; largest magnitude of (code - zero) x scale.
    """
    rows, across, size = x.shape
    cost, errors = np.zeros(size, np.float64), np.zeros(across, np.float64)
    for r in range(rows):
        least, best[r] = np.inf, -1
        for t in range(channels.shape[1]):
            channel = channels[r, t]
            for a in range(across):
                zero = zeros[r, a]
                ratio = fine[r, a] / channel if channel > 0 else np.float32(1)
                whole = min(max(np.rint(ratio), np.float32(1)), most)
                span = np.floor(limit / whole)
                low, high = max(np.float32(0), zero - span), min(top, zero + span)
                scale = whole * channel
                errors[a] = error_of(x[r, a], weights[r, a], scale, zero, low, high, cost)
            error = pairwise_sum(errors, 0, across)
            if error < least:
                least, best[r] = error, t
