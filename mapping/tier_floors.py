"""What the transfers of each tier take at least, as the tables that the compiled search looks up.

A tier's tiles are taken alone, as if they were the only ones: tiles outside of them can only cut
them further, and more often. Of each number of blocks of a dimension the least tile stands for all.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..datatypes.base.numbers import ceil_div
from . import bound_kernels
from .space import least_extents

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class TierTiles:
    """The tiles that tiers may have.

    Attributes
    ----------
    lists : tuple of tuple of int
        Of each dimension the tiles in descending order, one for each number of blocks.
    least : (G - 1, D) int64 array
        The smallest tile of each dimension in each tier.
    """

    lists: tuple[tuple[int, ...], ...]
    least: Ints


@lru_cache(maxsize=4096)
def tiles_of(size: int, step: int) -> tuple[int, ...]:
    """Return the tiles of a dimension in whole steps, the largest first.

    Examples
    --------
    >>> tiles_of(10, 3)
    (12, 6, 3)
    """
    steps = -(-size // step)
    return tuple(tile * step for tile in least_extents(steps, steps))


@lru_cache(maxsize=4096)
def tiles_alike(size: int, steps: tuple[int, ...]) -> tuple[int, ...]:
    """Return the tiles of as many blocks as tiles in whole steps of some sizes have.

    Of each number of blocks the least tile, the largest first.

    Examples
    --------
    >>> tiles_of(10, 1), tiles_alike(10, (3, 5))
    ((10, 5, 4, 3, 2, 1), (10, 5, 3))
    """
    blocks = {ceil_div(size, tile) for step in steps for tile in tiles_of(size, step)}
    return tuple(tile for tile in tiles_of(size, 1) if ceil_div(size, tile) in blocks)


def floors_of(
    tiles: TierTiles,
    plan: tuple[Any, ...],
    layout: tuple[Ints, ...],
    rates: tuple[Any, Any, Any],
    *,
    with_blocks: bool = True,
) -> tuple[Floats, Floats, Floats]:
    """Return the least energy, and clocks of ports, by tiles of the first two dimensions.

    Parameters
    ----------
    tiles : TierTiles
    plan, layout, rates : tuple
        As `bound_kernels` takes them.
    with_blocks : bool
        Whether what comes again for each block of the first tier is in the bounds
        (`bound_kernels.inside_blocks`): they are sharper, and take twice as long.

    Returns
    -------
    tiers : (G - 1, 1 + 2 P, M, N) float64 array
        What transfers into a tier with these tiles take, and into all tiers further in: energy,
        clocks with those that may be spared left out, and all. `bound_kernels.NONE` or more where
        nothing has room.
    deeper : (2, G - 1, 1 + 2 P, M, N) float64 array
        What those further in take alone: with the sums that they repeat, and without.
    by_kind : (3, G - 2, 1 + 2 P, M, N) float64 array
        What each tier below the first takes alone, with such tiles or smaller ones, by the kind of
        dimensions that is innermost of the loops outside; none without blocks.
    """
    groups, dims = tiles.least.shape[0], len(tiles.lists)
    ports = rates[0].shape[2]
    extents, counts = _extents_of(tiles.lists)
    scratch = _room_for(groups, dims, ports, len(layout[0]), len(layout[2]), len(tiles.lists[1]))
    found = np.empty((2, groups, 1 + 2 * ports, len(tiles.lists[0]), len(tiles.lists[1])))
    deeper = np.zeros(found.shape)
    by_kind = np.empty((3, max(0, groups - 1) * with_blocks, *found.shape[2:]))
    bound_kernels.tier_floors(
        extents, counts, tiles.least, plan, layout, rates, scratch, found, deeper, by_kind
    )
    return np.maximum(found[0], found[1]), deeper, by_kind


@lru_cache(maxsize=1024)
def _extents_of(lists: tuple[tuple[int, ...], ...]) -> tuple[Ints, Ints]:
    """Return the tiles of all dimensions as one array, and how many each has."""
    extents: Ints = np.ones((len(lists), max(map(len, lists))), np.int64)
    for d, some in enumerate(lists):
        extents[d, : len(some)] = some
    return extents, np.array([len(some) for some in lists], np.int64)


@lru_cache(maxsize=256)
def _room_for(
    groups: int, dims: int, ports: int, places: int, memories: int, tiles: int
) -> tuple[Any, ...]:
    """Return the arrays that `bound_kernels.tier_floors` computes in."""
    return (
        np.ones((groups, dims), np.int64),
        np.zeros(places, np.int64),
        np.zeros((places, 2), np.int64),
        np.zeros(memories, np.int64),
        np.zeros((3, ports)),
        np.zeros((8, 1 + 2 * ports)),
        np.zeros(places, np.int64),
        np.zeros(tiles, np.int64),
        np.zeros(tiles, np.int64),
        np.zeros((tiles, 2, 1 + 2 * ports)),
    )
