"""The visits that a loop nest pays to the tiles of an operand, counted without walking it.

A tile is fetched when its coordinates change. A loop over a dimension that does not index the
operand repeats the visits inside it, but for one: where there is a single tile inside, it stays.
With a short last block that depends on the block, so the nest is followed from the outermost loop
down with the sizes of the current block, and equal visits are counted together.
"""

from collections import Counter
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Literal

from .nest import Loops, Mapping

Sizes = tuple[int, ...]
Edge = Literal["all", "first", "last"]


@dataclass(frozen=True, slots=True)
class Visit:
    """A visit to a tile.

    Attributes
    ----------
    block : tuple of int
        The tile's extent in each dimension of the layer, those that do not index it included:
        what is done with it before the next loop that does, or that fetches it anew.
    steps : int
        Steps of the array until the next visit.
    last_pass : int
        Steps of the last turn of the loops that use the whole tile again: what it has to be
        replaced in, element by element, where there is no second tile.
    """

    block: Sizes
    steps: int
    last_pass: int


Visits = Counter[Visit]


class Nest:
    """The loops of a mapping over a layer, ready to be counted.

    Parameters
    ----------
    layer : Loops
    mapping : Mapping
    """

    def __init__(self, layer: Loops, mapping: Mapping) -> None:
        self.layer, self.mapping = layer, mapping
        self.dims = tuple(layer.sizes)
        self.sizes: Sizes = tuple(layer.sizes.values())
        self.loops = tuple((self.dims.index(loop.dim), loop.tile) for loop in mapping.loops)

    def relevant(self, operand: str) -> frozenset[int]:
        """Return the dimensions that index an operand, by position."""
        return frozenset(self.dims.index(dim) for dim in self.layer.indexes[operand])

    def _blocks(self, i: int, sizes: Sizes) -> list[tuple[Sizes, int]]:
        """Return the sizes inside one iteration of loop ``i``, first to last, and how many."""
        dim, tile = self.loops[i]
        if tile >= sizes[dim]:
            return [(sizes, 1)]
        full, rest = divmod(sizes[dim], tile)
        found = [(_with(sizes, dim, tile), full)]
        return [*found, (_with(sizes, dim, rest), 1)] if rest else found

    def steps(self, i: int, sizes: Sizes) -> int:
        """Return the steps of the loops from ``i`` inwards over a block."""
        steps = 1
        for dim, size in enumerate(sizes):
            steps *= sum(self.bottom(dim, i, size).values())
        return steps

    def bottom(self, dim: int, i: int, size: int) -> Counter[int]:
        """Return how many steps' tiles of each size a dimension has, from loop ``i`` inwards."""
        found = Counter({size: 1})
        for at, tile in self.loops[i:]:
            if at != dim:
                continue
            inner: Counter[int] = Counter()
            for block, count in found.items():
                full, rest = divmod(block, tile)
                if full:
                    inner[tile] += full * count
                if rest:
                    inner[rest] += count
            found = inner
        return found

    def visits(
        self, relevant: frozenset[int], cut: int, edge: Edge = "all", *, of_one_tile: bool = False
    ) -> Visits:
        """Return the visits to the tiles inside the outermost ``cut`` loops.

        Parameters
        ----------
        relevant : frozenset of int
            Dimensions that index the operand.
        cut : int
            Loops outside the tile.
        edge : {"all", "first", "last"}
            All visits, or only the first, or last, to each tile.
        of_one_tile : bool
            Only those to the first, or last, tile.
        """
        return self._visits(0, cut, relevant, self.sizes, edge, of_one_tile)

    def _visits(
        self,
        i: int,
        cut: int,
        relevant: frozenset[int],
        sizes: Sizes,
        edge: Edge,
        of_one_tile: bool,
    ) -> Visits:
        if i == cut:
            steps, last_pass = self.steps(i, sizes), self._last_pass(i, relevant, sizes)
            return Counter({Visit(sizes, steps, last_pass): 1})
        blocks, indexed = self._blocks(i, sizes), self.loops[i][0] in relevant
        if not indexed and self._single(i + 1, cut, relevant, sizes):
            first, last = (
                next(iter(self._visits(i + 1, cut, relevant, block, edge, of_one_tile)))
                for block, _ in (blocks[0], blocks[-1])
            )
            return Counter({Visit(first.block, self.steps(i, sizes), last.last_pass): 1})
        if edge != "all" and (of_one_tile or not indexed):
            blocks = [(blocks[-1 if edge == "last" else 0][0], 1)]
        found: Visits = Counter()
        for block, count in blocks:
            for visit, times in self._visits(
                i + 1, cut, relevant, block, edge, of_one_tile
            ).items():
                found[visit] += times * count
        return found

    def _single(self, i: int, cut: int, relevant: frozenset[int], sizes: Sizes) -> bool:
        """Whether the loops from ``i`` to the cut make one tile of the block."""
        return all(dim not in relevant or tile >= sizes[dim] for dim, tile in self.loops[i:cut])

    def _last_pass(self, i: int, relevant: frozenset[int], sizes: Sizes) -> int:
        for j in range(i, len(self.loops)):
            dim, tile = self.loops[j]
            if dim not in relevant:
                sizes = self._blocks(j, sizes)[-1][0]
            elif tile < sizes[dim]:
                return self.steps(j, sizes)
        return 1

    def step_visits(
        self, relevant: frozenset[int], edge: Edge = "all", *, of_one_tile: bool = False
    ) -> Visits:
        """Return what the array takes, or leaves, step by step: it keeps nothing."""
        tiles: list[Counter[int]] = []
        for dim, size in enumerate(self.sizes):
            sizes = self.bottom(dim, 0, size)
            if edge != "all" and (of_one_tile or dim not in relevant):
                sizes = Counter({self._end_tile(dim, size, edge): 1})
            tiles.append(sizes)
        return Counter(
            {
                Visit(block, 1, 1): prod(
                    sizes[size] for sizes, size in zip(tiles, block, strict=True)
                )
                for block in product(*tiles)
            }
        )

    def _end_tile(self, dim: int, size: int, edge: Edge) -> int:
        """Return the first, or last, step's tile of a dimension."""
        for at, tile in self.loops:
            if at == dim and tile < size:
                size = tile if edge == "first" else size % tile or tile
        return size

    # the units of the array, which share a step's tile: element x of a dimension that is unrolled
    # over axes of p, q, ... units is the work of unit (x mod p, x // p mod q, ...)

    def _unrolls(self, dim: int) -> list[tuple[str, int]]:
        return [
            (each.axis, each.size) for each in self.mapping.spatial if each.dim == self.dims[dim]
        ]

    def copies(self, per: tuple[str, ...], dim: int, i: int, size: int) -> int:
        """Return how many units along some axes a block of a dimension reaches.

        Parameters
        ----------
        per : tuple of str
            The axes.
        dim : int
        i : int
            The first loop inside the block.
        size : int
            Extent of the block.
        """
        for at, tile in self.loops[i:]:
            size = min(size, tile) if at == dim else size
        return len({_unit(self._unrolls(dim), per, x) for x in range(size)})

    def share(self, per: tuple[str, ...], dim: int, i: int, size: int) -> int:
        """Return how many elements of a block the unit has that has most; arguments as `copies`.

        Parameters
        ----------
        per : tuple of str
            Axes along which units have elements of their own.
        dim : int
            The dimension, by its number.
        i : int
            Loops outside the block.
        size : int
            Elements of the block along the dimension.
        """
        unrolls = self._unrolls(dim)
        if not any(axis in per for axis, _ in unrolls):
            return size
        origin = _unit(unrolls, per, 0)
        return sum(
            count * sum(_unit(unrolls, per, x) == origin for x in range(tile))
            for tile, count in self.bottom(dim, i, size).items()
        )


def _unit(unrolls: list[tuple[str, int]], per: tuple[str, ...], x: int) -> tuple[int, ...]:
    """Return the place along some axes of element ``x`` of a step's tile."""
    place = []
    for axis, size in unrolls:
        if axis in per:
            place.append(x % size)
        x //= size
    return tuple(place)


def _with(sizes: Sizes, dim: int, size: int) -> Sizes:
    return (*sizes[:dim], size, *sizes[dim + 1 :])
