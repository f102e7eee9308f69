"""Rows of a quantized tensor, by number, slice, list or mask: codes and scales, never unpacked."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError
from ..coding.coded import Coded
from ..schemes.granularity import Granularity
from ..schemes.layout import Layout

Index = NDArray[np.int64]


def rows_of(coded: Coded, key: Any) -> Coded:
    """Return chosen rows of the first axis, as numpy would; a single one without that axis.

    Consecutive rows share memory with the tensor.

    Parameters
    ----------
    coded : Coded
    key : int, slice, or list or array of int or bool

    Raises
    ------
    BitlatheError
        Raised if the first axis is the quantized one, a row does not exist, a block of several
        rows would be cut, or the key is of another kind.
    """
    old = coded.layout
    if old.axis == 0:
        raise BitlatheError("the first axis is the quantized one: its groups cannot be sliced")
    if isinstance(key, np.ndarray) and key.ndim == 0:
        key = key[()]
    length = old.shape[0]
    picked = _picked(key, length)
    lines = _spread(picked, old.rows // length if length else 0)
    blocks = _blocks(lines, coded, coded.scheme.granularity.rows)
    single = isinstance(key, int | np.integer)
    shape = old.shape[1:] if single else (len(picked), *old.shape[1:])
    axes = tuple(range(old.axis - single, old.axis - single + old.axes))
    groups = _as_slice(_spread(blocks, old.across))
    shape_of = _level_slices(coded, lines)
    layout = Layout.of(shape, axes, coded.scheme.granularity)
    outer = coded.outer_scales
    if not layout.groups:  # no group, no second-level scale
        outer = outer[:0]
    elif coded.scheme.scale_format.outer == "row":
        outer = outer[_as_slice(blocks)]
    return replace(
        coded,
        layout=layout,
        codes=coded.codes[_as_slice(lines)],
        scales=coded.scales[groups],
        outer_scales=outer,
        zeros=None if coded.zeros is None else coded.zeros[groups],
        choices=None if coded.choices is None else coded.choices[groups],
        upper_scales=tuple(
            raw[shape_of(level.granularity)]
            for level, raw in zip(coded.scheme.levels[1:], coded.upper_scales, strict=True)
        ),
        offsets=tuple(
            raw[shape_of(level.granularity)]
            for level, raw in zip(
                coded.scheme.offset.levels if coded.scheme.offset else (),
                coded.offsets,
                strict=True,
            )
        ),
    )


def _level_slices(coded: Coded, lines: Index) -> Callable[[Granularity], slice | Index]:
    """Return which of a level's groups some lines of the matrix take, given what shares them."""

    def groups(shape: Granularity) -> slice | Index:
        _, across = shape.blocks(coded.layout.rows, coded.layout.columns)
        return _as_slice(_spread(_blocks(lines, coded, shape.rows), across))

    return groups


def _picked(key: Any, length: int) -> Index:
    """Return the numbers of the chosen rows."""
    every = np.arange(length)
    numbers = isinstance(key, int | np.integer | list | np.ndarray) and not isinstance(key, bool)
    if not (numbers or isinstance(key, slice)):
        raise BitlatheError(
            "choose rows of a quantized tensor by number, slice, or list or mask of rows: q[3], "
            f"q[10:20], q[::2], q[[0, 5]]; got {key!r}"
        )
    try:
        # an empty list is one of floats to numpy
        found = every[np.array(key, np.int64) if isinstance(key, list) and not key else key]
    except (IndexError, TypeError, ValueError) as problem:
        raise BitlatheError(f"rows of a quantized tensor of {length}: {problem}") from None
    if found.ndim > 1:
        raise BitlatheError(f"rows of a quantized tensor: a flat list, got shape {found.shape}")
    return np.atleast_1d(found)


def _spread(starts: Index, each: int) -> Index:
    """Return the places of things that take `each` places one after the other."""
    return (starts[:, None] * each + np.arange(each)).reshape(-1)


def _as_slice(index: Index) -> slice | Index:
    """Return consecutive places as a slice, which shares memory; others as they are."""
    if not index.size:
        return slice(0, 0)
    return slice(int(index[0]), int(index[-1]) + 1) if (np.diff(index) == 1).all() else index


def _blocks(lines: Index, coded: Coded, tall: int) -> Index:
    """Return the rows of blocks of some lines of the matrix, which must be all of their lines."""
    if tall == 0:  # one block for all rows
        return np.zeros(int(lines.size > 0), np.int64)
    found = lines[::tall] // tall
    every = _spread(found, tall)
    whole = every[every < coded.layout.rows]
    if not np.array_equal(whole, lines) or (every[: len(lines)] != lines).any():
        raise BitlatheError(
            f"the rows cut a block of {tall} rows, which share scales; slice at multiples of it"
        )
    return found
