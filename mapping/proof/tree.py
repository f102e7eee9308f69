"""Parts of the space and how they are split: a tree whose leaves are bounded or enumerated.

A tree is plain data: ``["floor", bound, choices]`` where `bounds.Unrolled.floors` holds, its
objective rounded down, of so many choices of tiles; ``["room", choices]`` where nothing fits;
``["all"]``, one choice, where every mapping is costed whose
innermost loops' floor does not exclude it; else ``[tier, dimension, tile, tree, tree]``: the part
whose tile is at most that, and the part where it is larger. Nothing else is possible, so that
no mapping is in neither.
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise, product
from math import prod

from .bounds import Innermost, Pair, Side, Unrolled, least
from .cost import total
from .count import Counted, Walk
from .record import KINDS, Loop, Nest
from .space import doublings, loops_between, nest


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A storage, a way to unroll, and some chains of each dimension."""

    unrolled: Unrolled
    sides: tuple[Side, ...]

    def narrowed(self) -> "Part":
        """Return the part without tiles that have no room whatever the others are."""
        return Part(unrolled=self.unrolled, sides=self.unrolled.narrowed(self.sides))

    @property
    def choices(self) -> int:
        """Choices of tiles in the part: one tile a tier and dimension."""
        return prod(len(side.chains) for side in self.sides)

    @property
    def single(self) -> bool:
        """Whether one chain is left of each dimension."""
        return all(len(side.chains) == 1 for side in self.sides)

    def floors(self, among: Container[Innermost] | None = None) -> dict[Innermost, Pair]:
        """Return what mappings take at least, by their innermost loops; all, or those among."""
        return self.unrolled.floors(self.sides, among)

    def floor(self, objective: str) -> Fraction | None:
        """Return what all mappings take of an objective at least; None if nothing fits."""
        floors = self.floors()
        return least(floors.values(), objective) if floors else None

    def has_tile(self, tier: int, d: int, tile: int) -> bool:
        """Whether a tile is one of those that the part chooses among."""
        return any(min(chain[tier], chain[0]) == tile for chain in self.sides[d].chains)

    def split(self, tier: int, d: int, tile: int) -> "tuple[Part | None, Part | None]":
        """Return the parts with a tile of at most ``tile``, and with a larger one."""
        found = []
        for half in self.sides[d].split(tier, tile):
            sides = (*self.sides[:d], half, *self.sides[d + 1 :]) if half else None
            found.append(Part(unrolled=self.unrolled, sides=sides) if sides else None)
        return found[0], found[1]

    def mappings(self, objective: str, enough: Fraction) -> Iterator[tuple[Fraction, Nest | None]]:
        """Yield the objective of every mapping; of those left out their floor, without a mapping.

        Parameters
        ----------
        objective : str
        enough : Fraction
            A floor above this excludes.
        """
        floors = self.floors()
        hopeless = {at: pair.of(objective) > enough for at, pair in floors.items()}
        for at, pair in floors.items():
            if hopeless[at]:
                yield pair.of(objective), None
        if all(hopeless.values()):
            return
        for counted in self._counted(hopeless):
            yield total(counted, counted.moves()).of(objective), counted.nest

    def _counted(self, hopeless: dict[Innermost, bool]) -> Iterator[Counted]:
        layer, groups = self.unrolled.layer, self.unrolled.groups
        tiles = [[side.chains[0][tier] for side in self.sides] for tier in range(len(groups) + 1)]
        between = [loops_between(layer, outer, inner) for outer, inner in pairwise(tiles)]
        array = dict[str, Walk]()
        for orders in product(*between):
            if all(hopeless.get(at, True) for at in self._innermost(orders)):
                continue
            parts = self.unrolled.way, self.unrolled.storage, groups, orders
            single = Counted(layer, self.unrolled.chip, nest(*parts, frozenset()), array)
            for two in doublings(single):
                yield single.doubled(nest(*parts, two))

    def _innermost(self, orders: tuple[tuple[Loop, ...], ...]) -> list[Innermost]:
        """Return the floors that hold for loops in some order: with none, those of any loop."""
        inner: list[int | None] = [None]
        if self.unrolled.deep:
            inner = [*self._last(orders[1])] or [None]
        return [(x, y) for x in self._last(orders[0]) or range(3) for y in inner]

    def _last(self, loops: tuple[Loop, ...]) -> list[int]:
        kinds = [KINDS[dim] for dim, _ in loops]
        return [kinds[-1]] if kinds and kinds[-1] < 3 else []
