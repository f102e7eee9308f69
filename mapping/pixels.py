"""Pixels of a convolution's input in blocks of outputs and taps, as the compiled search takes them.

Blocks begin with a step's tile; the border is left out, as `blocks.Nest.spread` leaves it out.
"""

from collections.abc import Mapping as Table
from functools import cache, lru_cache
from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import window_kernels as kernels
from .nest import Loops, Unroll
from .window import Window, stored

Ints = NDArray[np.int64]
Radices = tuple[tuple[int, bool], ...]
"""The extent of each unroll of a dimension, and whether copies lie along its axis."""


def window_rows(layer: Loops) -> Ints:
    """Return the windows of a layer as `window_kernels` has them.

    Parameters
    ----------
    layer : Loops
        Any; a product has no windows.

    Returns
    -------
    (W, WINDOW_COLUMNS) int64 array
    """
    found = np.zeros((len(layer.windows), kernels.WINDOW_COLUMNS), np.int64)
    dims = tuple(layer.sizes)
    for row, window in zip(found, layer.windows, strict=True):
        outputs, taps = layer.sizes[window.out], layer.sizes[window.tap]
        behind = window.clip(window.low(0, 0), outputs, taps).above
        row[kernels.OUTS], row[kernels.TAPS] = dims.index(window.out), dims.index(window.tap)
        row[kernels.STRIDE], row[kernels.DILATION] = window.stride, window.dilation
        row[kernels.STORED], row[kernels.AHEAD] = window.size, window.padding
        row[kernels.BEHIND] = behind
        row[kernels.EVEN_OUT] = row[kernels.EVEN_TAP] = 1
        if window.padding or behind:
            row[kernels.LOST :] = _at_the_border(window, outputs, taps)
    return found


@lru_cache(maxsize=4096)
def _at_the_border(window: Window, outputs: int, taps: int) -> tuple[int, int, int]:
    """Return what `window_kernels` knows of outputs and taps that read the border.

    Outputs that read it through the tap that reads it least; whether the last x of the outputs,
    and of the taps, for any x, have no more than their share of the pixels that no other reads.
    """
    pixel = (
        np.arange(outputs)[:, None] * window.stride
        + np.arange(taps) * window.dilation
        - window.padding
    )
    inside = (pixel >= 0) & (pixel < window.size)
    lost = int((~inside).sum(axis=0).min())
    even = []
    for axis, many in enumerate((outputs, taps)):
        first = np.full(window.size, many)  # that reads each pixel
        np.minimum.at(first, pixel[inside], np.nonzero(inside)[axis])
        read = np.cumsum(np.bincount(first, minlength=many)[:many])  # by the first x + 1
        even.append(int((read * many >= read[-1] * np.arange(1, many + 1)).all()))
    return lost, even[0], even[1]


def pixel_table(
    layer: Loops,
    pers: list[tuple[str, ...]],
    way: tuple[Unroll, ...] = (),
    chains: Table[str, Ints] | None = None,
) -> Ints:
    """Return the pixels of blocks, by window, axes of copies, clip, outputs and taps.

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
    (W, axes, C, P + 1, R + 1, 3) int64 array
        Pixels of all copies, copies, pixels of the copy with most; 0 where no block is so large.
        Clips are those of `window_kernels`.
    """
    if not layer.windows:
        return _no_pixels(len(pers))
    most = [
        max([0, *(layer.sizes[dim] for dim in dims)])
        for dims in (
            [window.out for window in layer.windows],
            [window.tap for window in layer.windows],
        )
    ]
    ends = window_rows(layer)[:, [kernels.AHEAD, kernels.BEHIND]].tolist()
    clips = 1 + max([0, *map(sum, ends)])
    shape = len(layer.windows), len(pers), clips, most[0] + 1, most[1] + 1, 3
    found = np.zeros(shape, np.int64)
    for w, (window, (ahead, behind)) in enumerate(zip(layer.windows, ends, strict=True)):
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
                counts = _spread(window, ahead, behind, *radices, outputs, taps)
                found[w, p, : len(counts), outputs, taps] = counts
    return found


@cache
def _no_pixels(pers: int) -> Ints:
    """Return the table of a layer without windows."""
    return np.zeros((0, pers, 1, 1, 1, 3), np.int64)


def _extents(size: int, chains: Any) -> list[int]:
    """Return all extents that blocks have, short ones too."""
    found, tiles = {size}, set() if chains is None else set(chains.ravel().tolist())
    for tile in sorted(tiles, reverse=True):
        found |= {each for some in found for each in (min(some, tile), some % tile)}
    return sorted(found - {0})


@lru_cache(maxsize=1 << 18)
def _spread(
    window: Window,
    ahead: int,
    behind: int,
    out_radices: Radices,
    tap_radices: Radices,
    outputs: int,
    taps: int,
) -> list[tuple[int, int, int]]:
    """Return pixels of all copies, copies, pixels of the copy with most, by clip."""
    span = window.span(outputs, taps)
    lows = [0, *(-k for k in range(1, ahead + 1))]
    lows += [window.size - span + k for k in range(1, behind + 1)]
    copies = [
        window.pixels(out, tap)
        for out in _members(out_radices, outputs)
        for tap in _members(tap_radices, taps)
    ]
    found = []
    for clip, low in enumerate(lows):
        if clip == 0:
            counts = [pixels.bit_count() for pixels in copies]
        else:
            cut = window.clip(low, outputs, taps)
            counts = [stored(pixels, cut, span).bit_count() for pixels in copies]
        found.append((sum(counts), sum(map(bool, counts)), max(counts)))
    return found


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
