"""How far the codes of a group reach: which elements were cut off."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..coding.coded import Coded
from ..coding.coders import coder_of
from ..coding.levels import offsets_of
from ..formats.grid import MAX_BITS
from .dequantize import group_scales, tables_of

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
    if coded.scheme.element_bits > MAX_BITS:  # fp32 has no scale, and no table
        return coded.scheme.formats[0].grid.overflows(array)
    x = layout.split(layout.matrix(np.asarray(array, np.float64)))
    # a negative scale turns the grid around
    low, high = np.sort(_reach(coded), axis=0)[..., None]
    return np.asarray(layout.tensor(layout.join((x < low) | (x > high))))


def _reach(coded: Coded) -> NDArray[np.float64]:
    """Return what both ends of each group's grid stand for, (2, groups)."""
    if coded.scheme.coder_facts.extra_bits:
        top = coder_of(coded.scheme).ends(coded.scheme)[0] * group_scales(coded).astype(np.float64)
        return np.array([-top, top])
    groups, offset, beside = coded.layout.groups, coded.scheme.offset, offsets_of(coded)
    if offset is None or beside is None:
        found = tables_of(coded, np.dtype(np.float64))
        tables, choices, scale = list(found.tables), found.choices, found.scales.astype(np.float64)
        zero = np.zeros(groups) if found.zeros is None else found.zeros.astype(np.float64)
    else:
        tables, choices = [f.values for f in coded.scheme.formats], coded.choices
        scale, zero = group_scales(coded).astype(np.float64), beside.astype(np.float64)
    member = np.zeros(groups, np.int64) if choices is None else choices
    ends = np.array([_ends(table) for table in tables]).T[:, member]
    if offset is None:
        return np.asarray((ends - zero) * scale)
    values = ends * scale - zero if offset.kind == "minimum" else (ends - zero) * scale
    # of a group of one value the scale is 0, which cuts nothing off
    return np.where(scale == 0, [[-np.inf], [np.inf]], values)


def _ends(table: NDArray[np.float64]) -> tuple[float, float]:
    """Return where values of a table round past its ends."""
    v = np.unique(table[np.isfinite(table)])
    if v.size < 2:
        return float(v[0]), float(v[0])
    return float(v[0] - (v[1] - v[0]) / 2), float(v[-1] + (v[-1] - v[-2]) / 2)
