"""The mappings that the search chooses among, and what the compiled search needs of them.

* Unrolling: each axis unrolls none of its dimensions, one, or two side by side. Of each dimension
  all extents that are the least for their number of steps, up to the axis.
* Tiles: memories lie in tiers; below the outermost each tier has one tile, for all its memories.
  A tile is a whole number of steps' tiles in every dimension (the last block may be short): all
  those that are the least for their number of blocks of the tier outside. A dimension that indexes
  nothing the tier keeps has no loop inside it but those of the next tier.
* Orders: of the loops between two tiers, all. A batch that shares nothing is outermost.
* Storage: operands that may go past a memory do or do not; of the tiles that may be doubled as
  many as fit, in every way that leaves no room for another.

A convolution is searched as a product of m = images x rows, n outputs and k = input channels, of
which every product is a kernel that slides along a row. Memories of the chip have tiles of images,
output rows p, outputs n and input channels c; columns q and taps r, s are whole in them. Memories
of which units have copies have a tile of q, r and s that is whole, or what one step does. Of the
loops between two tiers those over images, p and q stand together, in this order, and so do c, r, s;
groups are outermost. An axis that takes k unrolls two of c, r, s, one that takes m two of images,
p, q. Halos are counted as if they were never kept; the cost of the mapping that is found leaves
them out again (`mapping.cost`), which makes it less or equal.

Larger axes and memories, wider ports and narrower formats only add mappings, or make them cheaper.
"""

from dataclasses import replace
from functools import cached_property, lru_cache
from itertools import product
from math import prod

import numpy as np
from numpy.typing import NDArray

from ..arch.hierarchy import OPERANDS, Axis, Hierarchy, Memory
from ..datatypes.base.numbers import ceil_div
from .constraints import WHOLE, Constraints
from .nest import Loops, Unroll, dims_of

Ints = NDArray[np.int64]
FREE = Constraints()
_FEW_UNITS = 1 << 14


def least_extents(size: int, most: int) -> list[int]:
    """Return the extents up to ``most`` that are the least for their number of blocks of ``size``.

    Examples
    --------
    >>> least_extents(10, 10)
    [10, 5, 4, 3, 2, 1]
    """
    found, blocks = [], max(1, ceil_div(size, most))
    while blocks <= size:
        extent = ceil_div(size, blocks)
        found.append(extent)
        if extent == 1:
            break
        blocks = ceil_div(size, extent - 1)
    return found


def tiers_of(hierarchy: Hierarchy) -> tuple[tuple[Memory, ...], ...]:
    """Return the memories tier by tier, outermost first; siblings by name.

    Chip-wide memories lie above those of which units have copies; among equals a memory lies below
    all those that its operands pass first.
    """
    depth: dict[str, int] = {}
    for memory in hierarchy.memories:
        above = [
            depth[outer.name] + 1
            for operand in memory.holds
            for outer in hierarchy.chain(operand)
            if outer.name in depth and len(outer.per) == len(memory.per)
        ]
        depth[memory.name] = max(above, default=0)
    tiers: dict[tuple[int, int], list[Memory]] = {}
    for memory in hierarchy.memories:
        tiers.setdefault((len(memory.per), depth[memory.name]), []).append(memory)
    return tuple(tuple(sorted(tiers[key], key=lambda memory: memory.name)) for key in sorted(tiers))


class Ways:
    """All ways to unroll a layer over a chip's axes.

    Parameters
    ----------
    layer : Loops
    axes : tuple of Axis
    constraints : Constraints
        What an axis must unroll.

    Attributes
    ----------
    tiles : (N, D) int64 array
        What one step does of each dimension, by way.
    """

    def __init__(
        self, layer: Loops, axes: tuple[Axis, ...], constraints: Constraints = FREE
    ) -> None:
        self.choices: list[list[tuple[Unroll, ...]]] = []
        for axis in sorted(axes, key=lambda axis: axis.name):
            fixed = constraints.unrolls(axis.name)
            self.choices.append(_of_axis(layer, axis) if fixed is None else [fixed])
        self.dims = tuple(layer.sizes)
        self._sizes: Ints = np.array(list(layer.sizes.values()), np.int64)
        self._times: dict[frozenset[str], Ints] = {}
        self._busy: dict[tuple[str, ...], Ints] = {}
        self._units: dict[tuple[str, ...], Ints] = {}
        self._units_by: dict[tuple[tuple[str, ...], ...], Ints] = {}
        self._distinct: dict[tuple[tuple[str, ...], ...], Ints] = {}
        self.tiles: Ints = np.ones((1, len(self.dims)), np.int64)
        self._kinds: Ints = np.zeros((1, len(self.dims)), np.int64)
        for some in self.choices:
            sizes: Ints = np.ones((len(some), len(self.dims)), np.int64)
            for i, way in enumerate(some):
                for each in way:
                    sizes[i, self.dims.index(each.dim)] = each.size
            self.tiles = self._with(self.tiles, sizes, np.multiply)
            most = int(sizes.max()) + 1
            self._kinds = self._with(self._kinds * most, sizes, np.add)

    def _with(self, some: Ints, more: Ints, join: np.ufunc) -> Ints:
        """Return each row of some joined with each of more."""
        found: Ints = join(some[:, None, :], more[None, :, :])
        return found.reshape(-1, len(self.dims))

    def __len__(self) -> int:
        return len(self.tiles)

    def way(self, number: int) -> tuple[Unroll, ...]:
        """Return what a way unrolls, axis by axis in the order of their names."""
        found: list[Unroll] = []
        for some in reversed(self.choices):
            number, i = divmod(number, len(some))
            found[:0] = some[i]
        return tuple(found)

    @cached_property
    def counts(self) -> Ints:
        """Steps of each dimension, by way: (N, D)."""
        found: Ints = -(-self._sizes // self.tiles)
        return found

    @cached_property
    def steps(self) -> Ints:
        """Steps in all, by way."""
        found: Ints = self.counts.prod(axis=1)
        return found

    def times(self, dims: frozenset[str]) -> Ints:
        """Return the steps of some dimensions together, by way."""
        if dims not in self._times:
            some = [d for d, dim in enumerate(self.dims) if dim in dims]
            self._times[dims] = self.counts[:, some].prod(axis=1)
        return self._times[dims]

    def busy_units(self, axes: tuple[str, ...]) -> Ints:
        """Return the units of some axes that have work, summed over all steps, by way."""
        if axes not in self._busy:
            busy = np.ones(len(self), np.int64)
            for d, size in enumerate(self._sizes.tolist()):
                first, kinds = self._by_kind[d]
                dim = self.dims[d]
                busy *= np.array([busy_units(dim, size, way, axes) for way in first])[kinds]
            self._busy[axes] = busy
        return self._busy[axes]

    def units_at(self, axes: tuple[str, ...]) -> Ints:
        """Return of a whole step's tile, and of the last, by dimension: (N, D, 2, 2).

        Units along some axes that it reaches, and the elements of the first of them.
        """
        if axes not in self._units:
            found = np.zeros((len(self), len(self.dims), 2, 2), np.int64)
            for d, size in enumerate(self._sizes.tolist()):
                first, kinds = self._by_kind[d]
                rows = [units_at(self.dims[d], size, way, axes) for way in first]
                found[:, d] = np.array(rows, np.int64)[kinds]
            self._units[axes] = found
        return self._units[axes]

    def units_by(self, pers: tuple[tuple[str, ...], ...]) -> Ints:
        """Return `units_at` by axes, for all of some: (A, N, D, 2, 2)."""
        if pers not in self._units_by:
            self._units_by[pers] = np.stack([self.units_at(axes) for axes in pers])
        return self._units_by[pers]

    def distinct(self, pers: tuple[tuple[str, ...], ...]) -> Ints:
        """Return the first of each set of ways that differ only in axes that are alike.

        Parameters
        ----------
        pers : tuple of tuple of str
            Axes along which something has copies. Two axes are alike of which each has both or
            neither: a dimension on one of them, or cut over both, gives each unit the same.
        """
        if pers not in self._distinct:
            found = np.zeros(len(self), np.int64)
            for d, dim in enumerate(self.dims):
                first, kinds = self._by_kind[d]
                known: dict[tuple[tuple[int, tuple[bool, ...]], ...], int] = {}
                numbers = [known.setdefault(_radices(dim, way, pers), len(known)) for way in first]
                found = found * len(known) + np.array(numbers, np.int64)[kinds]
            self._distinct[pers] = np.sort(np.unique(found, return_index=True)[1])
        return self._distinct[pers]

    @cached_property
    def _by_kind(self) -> list[tuple[list[tuple[Unroll, ...]], Ints]]:
        """A way of each kind of unrolling of each dimension, and the kind of every way."""
        found = []
        for d in range(len(self.dims)):
            _, first, kinds = np.unique(self._kinds[:, d], return_index=True, return_inverse=True)
            found.append(([self.way(i) for i in first.tolist()], kinds.reshape(-1)))
        return found


@lru_cache(maxsize=128)
def _kept_ways(
    sizes: tuple[tuple[str, int], ...], axes: tuple[Axis, ...], constraints: Constraints
) -> Ways:
    return Ways(Loops(sizes=dict(sizes), indexes={}), axes, constraints)


def ways_of(layer: Loops, axes: tuple[Axis, ...], constraints: Constraints = FREE) -> Ways:
    """Return all ways to unroll a layer, found once for layers of the same sizes.

    Those of large arrays are many, and not kept.
    """
    if prod(axis.size for axis in axes) > _FEW_UNITS:
        return Ways(layer, axes, constraints)
    return _kept_ways(tuple(layer.sizes.items()), axes, constraints)


@lru_cache(maxsize=65536)
def spread(radices: tuple[tuple[int, bool], ...]) -> tuple[Ints, Ints]:
    """Return of the first x elements of a step's tile: units reached, elements of the first unit.

    ``radices``: extent of each unroll of the dimension, and whether copies lie along its axis.
    """
    x = np.arange(prod(size for size, _ in radices), dtype=np.int64)
    place, left, scale = np.zeros_like(x), x, 1
    for size, along in radices:
        if along:
            place += left % size * scale
            scale *= size
        left = left // size
    _, firsts = np.unique(place, return_index=True)
    new = np.zeros(x.size + 1, np.int64)
    new[firsts + 1] = 1
    return np.cumsum(new), np.concatenate(([0], np.cumsum(place == 0)))


def _radices(
    dim: str, way: tuple[Unroll, ...], pers: tuple[tuple[str, ...], ...]
) -> tuple[tuple[int, tuple[bool, ...]], ...]:
    """Return the unrolls of a dimension and where copies lie along them; alike ones as one."""
    found: list[tuple[int, tuple[bool, ...]]] = []
    for each in way:
        if each.dim == dim and each.size > 1:
            along, size = tuple(each.axis in per for per in pers), each.size
            if found and found[-1][1] == along:
                size *= found.pop()[0]
            found.append((size, along))
    return tuple(found)


def busy_units(dim: str, size: int, way: tuple[Unroll, ...], axes: tuple[str, ...]) -> int:
    """Return the units of some axes that have work of a dimension, summed over its steps.

    Parameters
    ----------
    dim : str
    size : int
        Its extent.
    way : tuple of Unroll
    axes : tuple of str
    """
    table = spread(tuple((each.size, each.axis in axes) for each in way if each.dim == dim))[0]
    full, rest = divmod(size, len(table) - 1)
    return full * int(table[-1]) + int(table[rest])


def units_at(
    dim: str, size: int, way: tuple[Unroll, ...], axes: tuple[str, ...]
) -> list[tuple[int, int]]:
    """Return the units that a whole step of a dimension reaches, and the first's elements.

    And those of the last step, where it is short. As `Ways.units_at`.

    Parameters
    ----------
    dim : str
    size : int
        Of the dimension.
    way : tuple of Unroll
    axes : tuple of str
        The axes whose units count.
    """
    reached, share = spread(
        tuple((each.size, each.axis in axes) for each in way if each.dim == dim)
    )
    step = len(reached) - 1
    return [(int(reached[x]), int(share[x])) for x in (min(step, size), size % step)]


def _of_axis(layer: Loops, axis: Axis) -> list[tuple[Unroll, ...]]:
    dims = sorted(dim for dim in set(dims_of(axis.dims)) if layer.sizes.get(dim, 1) > 1)
    alone = {dim: [u for u in least_extents(layer.sizes[dim], axis.size) if u > 1] for dim in dims}
    ways: list[tuple[Unroll, ...]] = [()]
    ways += [(Unroll(axis.name, dim, u),) for dim in dims for u in alone[dim]]
    ways += [
        (Unroll(axis.name, one, u), Unroll(axis.name, other, v))
        for i, one in enumerate(dims)
        for other in dims[i + 1 :]
        for u in alone[one]
        for v in alone[other]
        if u * v <= axis.size
    ]
    return ways


@lru_cache(maxsize=4096)
def chains(
    size: int, step: int, indexed: tuple[bool, ...], fixed: tuple[int | None, ...] = ()
) -> Ints:
    """Return the tiles of a dimension at each tier below the outermost, and in one step.

    Parameters
    ----------
    size, step : int
        Extent of the dimension, and of one step.
    indexed : tuple of bool
        Whether each tier keeps an operand that the dimension indexes.
    fixed : tuple of int or None
        The tile that it must have there, `constraints.WHOLE` for all of it; None for any.

    Examples
    --------
    >>> chains(6, 2, (True,)).tolist()
    [[6, 2], [4, 2], [2, 2]]
    """
    found: list[tuple[int, ...]] = [()]
    for kept, must in zip(indexed, fixed or (None,) * len(indexed), strict=True):
        longer = []
        for outer in found:
            around = next((tile for tile in reversed(outer) if tile), size)
            steps = ceil_div(min(size, around), step)
            inner = [tile * step for tile in least_extents(steps, steps)] if kept else [0]
            if must is not None:
                inner = _only(size if must == WHOLE else must, size, step, steps * step)
            longer += [(*outer, tile) for tile in inner]
        found = longer
    whole = np.array([(*chain, step) for chain in found], np.int64)
    whole = whole.reshape(-1, len(indexed) + 1)
    for tier in range(len(indexed) - 1, -1, -1):  # one without a tile has that of the next
        whole[:, tier] = np.where(whole[:, tier], whole[:, tier], whole[:, tier + 1])
    return whole


@lru_cache(maxsize=4096)
def whole_chains(size: int, step: int, indexed: tuple[bool, ...], copied: tuple[bool, ...]) -> Ints:
    """Return the tiles of a dimension that is whole in the memories of the chip; as `chains`.

    Parameters
    ----------
    size, step : int
    indexed : tuple of bool
    copied : tuple of bool
        Whether units have copies of each tier's memories.

    Examples
    --------
    >>> whole_chains(5, 2, (True, True), (False, True)).tolist()
    [[6, 6, 2], [6, 2, 2]]
    """
    whole = ceil_div(size, step) * step
    found: list[tuple[int, ...]] = [()]
    for kept, copies in zip(indexed, copied, strict=True):
        longer = []
        for outer in found:
            around = outer[-1] if outer else whole
            tiles = {step} if copies else {around}
            if kept:
                tiles.add(around)
            longer += [(*outer, tile) for tile in sorted(tiles, reverse=True)]
        found = longer
    return np.array([(*chain, step) for chain in found], np.int64)


ORDERED = ("p", "n", "c", "m", "q", "r", "s", "g")
"""The dimensions of a convolution as the search has them."""
KINDS = ({"m": 0, "n": 1, "k": 2, "b": 3}, {"m": 0, "p": 0, "q": 0, "n": 1, "c": 2, "r": 2, "s": 2,
         "g": 3})  # fmt: skip
"""Whose loops stand together, of a product and of a convolution, outermost first; 3 is outermost"""


def kinds_of(layer: Loops) -> dict[str, int]:
    """Return the kind of each dimension of a layer that the search takes."""
    return KINDS[bool(layer.windows)]


def searchable(layer: Loops) -> Loops:
    """Return a layer as the search takes it: the dimensions of a convolution in its order."""
    if not layer.windows:
        return layer
    sizes = {dim: layer.sizes[dim] for dim in ORDERED if dim in layer.sizes}
    return replace(layer, sizes=sizes)


def _only(tile: int, size: int, step: int, around: int) -> list[int]:
    """Return a tile alone, in whole steps, where there is room for it; all of a size is rounded."""
    rounded = ceil_div(tile, step) * step
    return [rounded] if rounded <= around and tile in (rounded, size) else []


Chains = dict[str, tuple[Memory, ...]]
"""The memories that keep each operand, outermost first."""


def storages(hierarchy: Hierarchy) -> list[Chains]:
    """Return all choices of which operands pass through which memories; most memories first."""
    optional = sorted(
        (memory.name, operand)
        for memory in hierarchy.memories[1:]
        for operand in memory.optional
        if operand in memory.holds
    )
    found = []
    for skipped in product((False, True), repeat=len(optional)):
        gone = {pair for pair, skip in zip(optional, skipped, strict=True) if skip}
        found.append(
            {
                operand: tuple(
                    memory
                    for memory in hierarchy.chain(operand)
                    if (memory.name, operand) not in gone
                )
                for operand in OPERANDS
            }
        )
    return found
