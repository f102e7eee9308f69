"""How far the codes of a group reach: which elements were cut off."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..coding.coded import Coded
from .dequantize import tables_of

Bools = NDArray[np.bool_]


def cut_off(coded: Coded, array: NDArray[Any]) -> Bools:
    """Return which elements lie more than half a step beyond the ends of their group.

    The step is that between the last two values of the group at that end, as in
    `Format.encode`; elements nearer to an end round to it as to any other value.

    Parameters
    ----------
    coded : Coded
    array : (...) float, of the tensor's shape
        What was quantized; finite.

    Returns
    -------
    (...) bool
    """
    layout = coded.layout
    if layout.groups == 0:
        return np.zeros(array.shape, np.bool_)
    found = tables_of(coded, np.dtype(np.float64))
    low, high = np.array([_ends(table) for table in found.tables]).T
    member = np.zeros(layout.groups, np.int64) if found.choices is None else found.choices
    zero = np.zeros(layout.groups) if found.zeros is None else found.zeros.astype(np.float64)
    scale = found.scales.astype(np.float64)
    x = layout.split(layout.matrix(np.asarray(array, np.float64)))
    under = x < ((low[member] - zero) * scale)[:, None]
    over = x > ((high[member] - zero) * scale)[:, None]
    return np.asarray(layout.tensor(layout.join(under | over)))


def _ends(table: NDArray[np.float64]) -> tuple[float, float]:
    """Return where values of a table round past its ends."""
    v = np.unique(table[np.isfinite(table)])
    if v.size < 2:
        return float(v[0]), float(v[0])
    return float(v[0] - (v[1] - v[0]) / 2), float(v[-1] + (v[-1] - v[-2]) / 2)
