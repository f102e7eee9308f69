"""Pixels of a convolution's input in blocks of outputs and taps, as the compiled search takes them.

Blocks begin with a step's tile, and the border is stored; `blocks.Nest.spread` counts without
either.
"""

from collections.abc import Mapping as Table
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .nest import Loops, Unroll
from .window import Window

Ints = NDArray[np.int64]
Radices = tuple[tuple[int, bool], ...]
"""The extent of each unroll of a dimension, and whether copies lie along its axis."""


def pixel_table(
    layer: Loops,
    pers: list[tuple[str, ...]],
    way: tuple[Unroll, ...] = (),
    chains: Table[str, Ints] | None = None,
) -> Ints:
    """Return the pixels of blocks, by window, axes of copies, outputs and taps.

    Parameters
    ----------
    layer : Loops
    pers : list of tuple of str
        Axes along which memories have copies.
    way : tuple of Unroll
        What is unrolled.
    chains : dict of str to (N, G) int64 array, optional
        Tiles of each dimension, tier by tier; only whole dimensions if left out.

    Returns
    -------
    (W, axes, P + 1, R + 1, 3) int64 array
        Pixels of all copies, copies, pixels of the copy with most; 0 where no block is so large.
    """
    most = [
        max([0, *(layer.sizes[dim] for dim in dims)])
        for dims in (
            [window.out for window in layer.windows],
            [window.tap for window in layer.windows],
        )
    ]
    found = np.zeros((len(layer.windows), len(pers), most[0] + 1, most[1] + 1, 3), np.int64)
    for w, window in enumerate(layer.windows):
        extents = [
            _extents(layer.sizes[dim], None if chains is None else chains[dim])
            for dim in (window.out, window.tap)
        ]
        for p, per in enumerate(pers):
            radices = [
                tuple((each.size, each.axis in per) for each in way if each.dim == dim)
                for dim in (window.out, window.tap)
            ]
            for outputs, taps in product(*extents):
                found[w, p, outputs, taps] = _spread(window, *radices, outputs, taps)
    return found


def _extents(size: int, chains: Any) -> list[int]:
    """Return all extents that blocks have, short ones too."""
    found, tiles = {size}, set() if chains is None else set(chains.ravel().tolist())
    for tile in sorted(tiles, reverse=True):
        found |= {each for some in found for each in (min(some, tile), some % tile)}
    return sorted(found - {0})


@lru_cache(maxsize=1 << 18)
def _spread(
    window: Window, out_radices: Radices, tap_radices: Radices, outputs: int, taps: int
) -> tuple[int, int, int]:
    """Return pixels of all copies, copies, pixels of the copy with most."""
    counts = [
        window.pixels(out, tap).bit_count()
        for out in _members(out_radices, outputs)
        for tap in _members(tap_radices, taps)
    ]
    return sum(counts), len(counts), max(counts)


@lru_cache(maxsize=4096)
def _members(radices: Radices, extent: int) -> list[list[int]]:
    """Return the elements of a block that each copy has."""
    found: dict[tuple[int, ...], list[int]] = {}
    step = prod(size for size, _ in radices)
    for x in range(extent):
        place, left = [], x % step
        for size, along in radices:
            if along:
                place.append(left % size)
            left //= size
        found.setdefault(tuple(place), []).append(x)
    return list(found.values())
