"""The search of ranges: squared errors of groups on a grid under many scales."""

from typing import Any

import numpy as np

from ...base.compiled import compiled
from ..base.intrinsics import pairwise_sum


@compiled(nogil=True)
def search(
    x: Any, weights: Any, scales: Any, least: Any, best: Any, cuts: Any, values: Any
) -> None:  # fmt: skip
    """Write the index of the scale of least error of each group, where it is below ``least``.

    Parameters
    ----------
    x, weights : (groups, size) float32
        ``weights`` is (groups, 0) where all elements count the same.
    scales : (groups, candidates) float32
        The first of equals wins; infinite ones lower nothing.
    least : (groups,) float64
        Errors to beat, lowered where they are.
    best : (groups,) int64
        Left alone where no candidate is better.
    cuts, values : (n - 1,), (n,) float32
        A grid as `tables.Book` holds it.
    """
    size = x.shape[1]
    y, near = np.zeros(size, np.float32), np.zeros(size, np.float32)
    cost = np.zeros(size, np.float64)
    for g in range(x.shape[0]):
        for t in range(scales.shape[1]):
            scale = scales[g, t]
            if scale == np.inf or (t > 0 and scale == scales[g, t - 1]):
                continue
            if scale > 0:
                for i in range(size):
                    y[i] = x[g, i] / scale
            else:
                y[:] = 0
            near[:] = values[0]
            for c in range(cuts.size):
                for i in range(size):
                    near[i] = values[c + 1] if y[i] > cuts[c] else near[i]
            for i in range(size):
                rest = np.float64(x[g, i] - near[i] * scale)
                cost[i] = rest * rest
            if weights.shape[1]:
                for i in range(size):
                    cost[i] *= weights[g, i]
            error = pairwise_sum(cost, 0, size)
            if error < least[g]:
                least[g], best[g] = error, t
