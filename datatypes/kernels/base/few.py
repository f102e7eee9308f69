"""Scales of formats with few values, by rules that go up or down."""

from typing import Any

import numpy as np

from ...base.compiled import compiled
from .scaling import RUN


@compiled(nogil=True)
def few_scales(
    span: Any, above: Any, unit: float, values: Any, up: bool, codes: Any, lost: Any, raw: Any
) -> None:
    """Write the patterns of the last values with ``value * units <= span``; if up, the first >=.

    Parameters
    ----------
    span : (n,) float32
        0 for a group of zeros.
    above : (n,) float32
        Product of the scales above each.
    unit : float
        What a scale of 1 under those above reaches: units = above * unit, 1 where that is 0.
    values : (m,) float64
        Positive, ascending; the ends stand for what lies beyond them.
    up : bool
    codes : (m,) uint32
        Patterns of the values.
    lost : uint32
        Pattern of a group of zeros.
    raw : (n,) uint32
    """
    last = np.int32(values.size - 1)
    places, units = np.zeros(RUN, np.int32), np.zeros(RUN, np.float64)
    for start in range(0, span.size, RUN):
        n = min(RUN, span.size - start)
        xs, out = span[start : start + n], raw[start : start + n]
        for i in range(n):
            upper = above[start + i]
            units[i] = upper * unit if upper > 0 else 1.0
            places[i] = np.int32(0 if up else -1)
        for j in range(values.size):
            value = values[j]
            if up:
                for i in range(n):
                    places[i] += np.int32(value * units[i] < xs[i])
            else:
                for i in range(n):
                    places[i] += np.int32(value * units[i] <= xs[i])
        for i in range(n):
            code = codes[min(max(places[i], np.int32(0)), last)]
            out[i] = code if xs[i] > 0 else lost
