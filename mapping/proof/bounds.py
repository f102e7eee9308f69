"""What no mapping of a part of the space undercuts: the formulas that a certificate names.

A part is one storage, one way to unroll, and for every dimension some chains of tiles. `floors`
gives pairs of clocks and energy, one for each choice of the loop that is innermost of those between
two tiers; each mapping of the part takes at least as much of both as one of the pairs.

Transfers. A tile is fetched again for every block of the dimension that does not index it, unless
that dimension's loop is the innermost of its group with more than one iteration (then the tile
stays). So with loop x innermost in the outermost group an operand that x indexes is moved once for
each of those blocks, the other one once. Further in the same holds of what lies in whole blocks of
x, and of what lies in whole blocks of an outer tier with more than one tile of the operand: two
blocks in a row do not end and begin with the same tile. All of it is monotone in the tiles, so that
the largest tile of a part counts for blocks, the smallest for what is loaded first.

Clocks. A port is busy for what is moved, in bits over its width; the clocks of a mapping are at
least those, and at least those of the steps with first load, last store and fill beside. Energy.
Every access of a port, rounded down to a fraction of one, the units' work, and the least clocks'
static energy.
"""

import math
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cache
from itertools import product
from math import floor, prod
from typing import NamedTuple

from .cost import ends_of, first_load, passed
from .count import Counted, cut, units
from .pixels import blocks, by_copy, first_pixel, members, passing, starts
from .record import OPERANDS, OTHER, Chip, Layer, Level, Memory, Nest, Window
from .space import Chain, Storage, Way, chains, kept_by, steps_of, tiers

ZERO = Fraction(0)
UNIT = 1 << 128
"""Prices of an element are rounded down to 1 / UNIT of a clock, or of a pJ."""
Innermost = tuple[int, int | None]
"""Kinds of the loops innermost in the outermost group, and in the one inside; None: no loop."""


class Pair(NamedTuple):
    """Clocks, and energy in units of ``1 / UNIT`` pJ, that mappings take at least."""

    cycles: int
    energy: int

    def of(self, objective: str) -> Fraction:
        """Return what follows for the objective."""
        pj = 1 if objective == "cycles" else Fraction(self.energy, UNIT)
        return Fraction(pj * (1 if objective == "energy" else self.cycles))


def least(pairs: Iterable[Pair], objective: str) -> Fraction:
    """Return the least of an objective over pairs."""
    by = {"cycles": lambda pair: pair[0], "energy": lambda pair: pair[1], "edp": prod}
    return min(pairs, key=by[objective]).of(objective)


@cache
def price(
    memory: Memory, operand: str, reads: bool, stored: Fraction, code: Fraction
) -> tuple[int, int, int]:
    """Return the port that an element passes, and its clocks and pJ there, over ``UNIT``.

    Parameters
    ----------
    memory : Memory
    operand : str
    reads : bool
        Whether it is read; else written.
    stored, code : Fraction
        Its bits that take energy, and those that take clocks.
    """
    i = memory.port(operand, reads=reads)
    port = memory.ports[i]
    pj = stored / port.width_bits * port.pj(reads=reads)
    pj += memory.decoding_pj(operand, reads=reads)
    return i, floor(code / port.width_bits * UNIT), floor(pj * UNIT)


class Indexed(NamedTuple):
    """An operand: its dimensions outside of windows, windows over it, dimensions that do not index.

    ``other``: the kind of the latter.
    """

    plain: tuple[int, ...]
    windows: tuple[Window, ...]
    over: tuple[int, ...]
    other: int

    @classmethod
    def of(cls, layer: Layer, operand: str) -> "Indexed":
        """Return what an operand of a layer is."""
        own, other = layer.indexed(operand), OTHER[operand]
        return cls(layer.plain(own), layer.slid(own), layer.of_kind(other), other)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rate:
    """What elements take that pass between two memories, in units of ``1 / UNIT``.

    Attributes
    ----------
    operand : str
    parent, child : Memory
    tier : int
        The child's.
    stage : int
        Place among the operand's transfers, outermost first.
    own : Indexed
    clocks : dict of int to list of int
        By port: clocks of an element that passes for the first, or only, time, and each other.
    pj : list of int
        Energy of an element that passes for the first time, and each other.
    """

    operand: str
    parent: Memory
    child: Memory
    tier: int
    stage: int
    own: Indexed
    clocks: dict[int, list[int]]
    pj: list[int]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Side:
    """Some chains of a dimension, and what follows from all of them, tier by tier.

    Attributes
    ----------
    chains : tuple of tuple of int
    low, high : tuple of int
        Least and largest tile, cut to the dimension.
    last : tuple of int
        Least extent of the very last tile.
    blocks : tuple of int
        Least number of tiles of the whole dimension.
    whole : tuple of int
        Elements, at least, in tiles that are not short, nor in a short one.
    halves : dict
        What `split` found.
    """

    chains: tuple[Chain, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]
    last: tuple[int, ...]
    blocks: tuple[int, ...]
    whole: tuple[int, ...]
    halves: "dict[tuple[int, int], tuple[Side | None, Side | None]]" = field(default_factory=dict)

    @classmethod
    @cache
    def of(cls, some: tuple[Chain, ...]) -> "Side":
        """Return what follows from some chains."""
        tiers, rows = len(some[0]), [_facts(chain) for chain in some]
        least = tuple(map(min, zip(*rows, strict=True)))
        low, last, blocks, whole = (least[i * tiers : (i + 1) * tiers] for i in range(4))
        high = tuple(map(max, zip(*(row[:tiers] for row in rows), strict=True)))
        return cls(chains=some, low=low, high=high, last=last, blocks=blocks, whole=whole)

    def split(self, tier: int, tile: int) -> "tuple[Side | None, Side | None]":
        """Return the chains with a tile of at most ``tile`` in a tier, and those with a larger."""
        if (tier, tile) not in self.halves:
            small, large = list[Chain](), list[Chain]()
            for chain in self.chains:
                (small if min(chain[tier], chain[0]) <= tile else large).append(chain)
            self.halves[tier, tile] = (
                Side.of(tuple(small)) if small else None,
                Side.of(tuple(large)) if large else None,
            )
        return self.halves[tier, tile]


@cache
def _passing(window: Window, tier: int, outputs: tuple[Chain, ...], taps: tuple[Chain, ...]) -> int:
    """Return the pixels of all tiles of a tier at least, each tile's once."""
    some = ({chain[: tier + 1] for chain in chains} for chains in (outputs, taps))
    return min(
        passing(window, *(starts(chain[0], chain[1:]) for chain in each)) for each in product(*some)
    )


@cache
def _facts(chain: Chain) -> tuple[int, ...]:
    """Return of each tier the tile; the last tile; the number of tiles; elements in whole ones."""
    size = chain[0]
    tiles, last, blocks, whole = [size], [size], [1], [size]
    classes = {size: 1}
    for tile in chain[1:]:
        classes = cut(classes, tile)
        end = last[-1]
        last.append(end if tile >= end else end % tile or tile)
        tiles.append(min(tile, tiles[-1]))
        blocks.append(sum(classes.values()))
        around = tiles[-2]
        whole.append(whole[-1] // around * (around // tiles[-1]) * tiles[-1])
    return (*tiles, *last, *blocks, *whole)


class Room(NamedTuple):
    """A memory of a tier: its size in bits or words, and what it holds, by operand.

    ``own``: the operands; ``elements``: the size of an element, over ``UNIT``; ``copies``: units
    that a step's tile reaches, by dimension.
    """

    tier: int
    per: tuple[str, ...]
    size: int
    own: tuple[Indexed, ...]
    elements: tuple[int, ...]
    copies: tuple[int, ...]


class Unrolled:
    """One storage and one way to unroll: what all its mappings have in common.

    Parameters
    ----------
    layer : Layer
    chip : Chip
    storage : Storage
    way : Way
    """

    def __init__(self, layer: Layer, chip: Chip, storage: Storage, way: Way) -> None:
        self.layer, self.chip, self.storage, self.way = layer, chip, storage, way
        self.groups, self.steps = tiers(chip), steps_of(layer, way)
        self.kept = [kept_by(storage, tier) for tier in self.groups[1:]]
        keys = [(memory.name, i) for memory in chip.memories for i in range(len(memory.ports))]
        self.ports = {key: i for i, key in enumerate(keys)}
        self.unrolls = tuple(
            tuple((axis, size) for axis, d, size in way if d == dim) for dim in layer.dims
        )
        self.deep = len(self.groups) > 2 and not layer.windows
        self.most, self.fullest = cache(self._most), cache(self._fullest)
        self.rates = [
            self._rate(operand, stage)
            for operand in OPERANDS
            for stage in range(len(storage[operand]) - 1)
        ]
        self.static = floor(chip.static_pj * UNIT)
        self._array()
        rooms = [
            self._room(tier, memory)
            for tier, some in enumerate(self.groups[1:], 1)
            for memory in some
        ]
        self.rooms = [room for room in rooms if room]

    def sides(self) -> tuple[Side, ...]:
        """Return all chains of every dimension."""
        copied = [bool(tier[0].per) for tier in self.groups[1:]]
        return tuple(
            Side.of(chains(self.layer, d, step, self.kept, copied))
            for d, step in enumerate(self.steps)
        )

    def _array(self) -> None:
        """Count what the array takes and leaves: the same under all tiles and orders."""
        levels = [
            Level(memory=self.storage[op][-1].name, keeps=(op,), doubled=(), loops=())
            for op in OPERANDS
        ]
        loops = tuple(zip(self.layer.dims, self.steps, strict=True))
        levels[-1] = Level(memory=levels[-1].memory, keeps=("output",), doubled=(), loops=loops)
        counted = Counted(self.layer, self.chip, Nest(levels=tuple(levels), spatial=self.way))
        moves = counted.moves()
        ends = [ends_of(counted, move) for move in moves]
        alone = passed(counted, moves, ends)
        self.compute = math.ceil(counted.all_steps * self.layer.step_cycles)
        self.busy = [alone.busy[key] * UNIT for key in self.ports]
        self.fixed_pj = floor(sum(alone.energy_pj.values(), ZERO) * UNIT)

    def _rate(self, operand: str, stage: int) -> Rate:
        """Return what elements of an operand take between two memories that keep it."""
        parent, child = self.storage[operand][stage : stage + 2]
        kinds = [("fetch", False)]
        if operand == "output":
            kinds = [("write", False), ("write", True), ("readback", True)]
        clocks, pj = dict[int, list[int]](), [0, 0]
        for kind, partial in kinds:
            for port, each, energy in self._ends(operand, parent, child, kind, partial=partial):
                row = clocks.setdefault(port, [0, 0])
                for again in (False, True):
                    if kind == "fetch" or again == partial:
                        row[again] += each
                        pj[again] += energy
        return Rate(
            operand=operand,
            parent=parent,
            child=child,
            tier=next(i for i, some in enumerate(self.groups) if child in some),
            stage=stage,
            own=Indexed.of(self.layer, operand),
            clocks=clocks,
            pj=pj,
        )

    def _ends(
        self, operand: str, parent: Memory, child: Memory, kind: str, *, partial: bool
    ) -> Iterator[tuple[int, int, int]]:
        """Yield, at both ends, the port, and clocks and energy that an element takes at least."""
        own, down = self.layer.indexed(operand), kind != "write"
        stored = self.layer.bits(operand, partial=partial, code=False)
        width = self.layer.bits(operand, partial=partial, code=child.words is not None)
        for memory, reads, same in (
            (parent, down, parent.per),
            (child, not down, parent.per if kind == "readback" else child.per),
        ):
            i, clocks, pj = price(memory, operand, reads, stored, width)
            copies = prod(units(self.unrolls[d], memory.per, self.steps[d])[0] for d in own)
            alike = prod(self._least_units(d, same) for d in range(len(self.steps)) if d not in own)
            yield self.ports[memory.name, i], clocks // copies, pj * alike

    def _least_units(self, d: int, per: tuple[str, ...]) -> int:
        """Return the units along some axes that the least step's tile of a dimension reaches."""
        size, step = self.layer.sizes[d], self.steps[d]
        inside = [min(size, step)] + ([size % step] if size % step else [])
        return min(units(self.unrolls[d], per, extent)[0] for extent in inside)

    def _most(self, per: tuple[str, ...], d: int, tile: int) -> int:
        """Return the elements of a tile of the unit along some axes that has most."""
        step = self.steps[d]
        unrolls = self.unrolls[d]
        if not any(axis in per for axis, _ in unrolls):
            return tile
        rest = units(unrolls, per, tile % step)[1] if tile % step else 0
        return tile // step * units(unrolls, per, step)[1] + rest

    def share(self, own: Indexed, per: tuple[str, ...], tiles: list[int]) -> int:
        """Return the elements of the first tile of the copy of a memory that has most."""
        found = 1
        for d in own.plain:
            found *= self.most(per, d, tiles[d])
        for window in own.windows:
            found *= self.fullest(window, per, tiles[window.out], tiles[window.tap])
        return found

    def _fullest(self, window: Window, per: tuple[str, ...], outputs: int, taps: int) -> int:
        """Return the pixels of a window's first block of the copy that has most."""
        some, rows = (
            members(blocks(extent, self.steps[d]), d, self.unrolls[d], per)
            for d, extent in zip(window[:2], (outputs, taps), strict=True)
        )
        first = first_pixel(window, -window.padding, outputs, taps)
        return max(by_copy(window, first, some, rows, per))

    def elements(self, rate: Rate, sides: tuple[Side, ...]) -> int:
        """Return the elements of all tiles of an operand at least, each tile once."""
        found = prod(self.layer.sizes[d] for d in rate.own.plain)
        for window in rate.own.windows:
            tier = 0 if rate.child.keep_halo else rate.tier
            found *= _passing(window, tier, *(sides[d].chains for d in window[:2]))
        return found

    def _fit(self, sides: tuple[Side, ...]) -> bool:
        """Return whether the least tiles have room, those of unfinished sums as if finished."""
        for room in self.rooms:
            tiles = [side.low[room.tier] for side in sides]
            shares = [self.share(own, room.per, tiles) for own in room.own]
            both = zip(shares, room.elements, strict=True)
            if sum(-(-share * each // UNIT) for share, each in both) > room.size:
                return False
        return True

    def narrowed(self, sides: tuple[Side, ...]) -> tuple[Side, ...]:
        """Return sides without the tiles that have no room beside the least of all others."""
        found = list(sides)
        for room in self.rooms:
            low = [side.low[room.tier] for side in found]
            for d, side in enumerate(found):
                most = self._most_tile(low, room, d)
                if most is not None and most < side.high[room.tier]:
                    kept, _ = side.split(room.tier, most)
                    if kept is None:
                        return sides  # the least do not fit: `floors` says so
                    found[d] = kept
        return tuple(found)

    def _room(self, tier: int, memory: Memory) -> "Room | None":
        """Return what a memory has room for."""
        words = memory.words is not None
        size = memory.words if words else memory.size_bits
        held = [operand for operand in OPERANDS if memory in self.storage[operand]]
        if size is None or not held:
            return None
        each = [Fraction(1) if words else self.layer.stored[operand] for operand in held]
        inside = any(rate.operand == "output" and rate.parent is memory for rate in self.rates)
        summed = self.layer.of_kind(OTHER["output"])
        again = any(self.layer.sizes[d] > self.steps[d] for d in summed) and not inside
        if "output" in held and not words and again:  # the array's sums
            each[held.index("output")] = self.layer.partial
        return Room(
            tier=tier,
            per=memory.per,
            size=size,
            own=tuple(Indexed.of(self.layer, operand) for operand in held),
            elements=tuple(floor(bits * UNIT) for bits in each),
            copies=tuple(
                units(self.unrolls[d], memory.per, step)[0] for d, step in enumerate(self.steps)
            ),
        )

    def _most_tile(self, low: list[int], room: "Room", d: int) -> int | None:
        """Return the largest tile of a dimension that may fit, or None if it takes no room."""
        beside = slope = 0
        for own, each in zip(room.own, room.elements, strict=True):
            share = each * self.share(own, room.per, low)
            if d in own.plain:
                slope += share // self.most(room.per, d, low[d])
            else:
                beside += share
        return (room.size * UNIT - beside) * room.copies[d] // slope if slope else None

    def floors(
        self, sides: tuple[Side, ...], among: Container[Innermost] | None = None
    ) -> dict[Innermost, Pair]:
        """Return, by the loops innermost of the two outer groups, what mappings take at least.

        Nothing where none fits.

        Parameters
        ----------
        sides : tuple of Side
            The chains of each dimension.
        among : container of Innermost, optional
            Loops that are asked for; all if left out.
        """
        if not self._fit(sides):
            return {}
        edge = sum(self.edges(sides)) + self.chip.fill_cycles
        inner: list[int | None] = [None]
        if self.deep:
            inner = [0, 1, 2]
            if not any(side.low[1] > side.high[2] for side in sides[:3]):
                inner.append(None)
        once = [self.elements(rate, sides) for rate in self.rates]
        again = [
            [self._again(rate, sides, elements, inner, stays=stays) for stays in (False, True)]
            for rate, elements in zip(self.rates, once, strict=True)
        ]
        found = dict[Innermost, Pair]()
        for x in range(3):
            rows = [both[x == rate.own.other] for rate, both in zip(self.rates, again, strict=True)]
            for i, y in enumerate(inner):
                if among is None or (x, y) in among:
                    found[x, y] = self._floor(once, [row[i] for row in rows], edge)
        return found

    def _floor(self, once: list[int], more: list[int], edge: int) -> Pair:
        """Return the floor where elements move once and again as often, by transfer."""
        busy, energy = list(self.busy), self.fixed_pj
        for rate, first, again in zip(self.rates, once, more, strict=True):
            energy += rate.pj[0] * first + rate.pj[1] * again
            for port, (each, other) in rate.clocks.items():
                busy[port] += each * first + other * again
        cycles = max(-(-max(busy) // UNIT), self.compute + edge)
        return Pair(cycles, energy + cycles * self.static)

    def _again(
        self,
        rate: Rate,
        sides: tuple[Side, ...],
        elements: int,
        inner: list[int | None],
        *,
        stays: bool,
    ) -> list[int]:
        """Return how often elements move at least, the first time of each apart, by inner loop.

        ``stays``: whether the loop innermost in the outermost group does not index the operand.
        """
        over = [sides[d].blocks for d in rate.own.over]
        times = 1 if stays else prod([blocks[1] for blocks in over])
        found = once = elements * (times - 1)
        if rate.tier == 1:
            return [found] * len(inner)
        for around in range(1, rate.tier):
            repeated = max(times, prod([blocks[around] for blocks in over])) - times
            for d in rate.own.plain if repeated else ():
                side = sides[d]
                if side.low[around] > side.high[rate.tier]:  # several tiles in a whole block
                    part = elements // self.layer.sizes[d] * side.whole[around]
                    found = max(found, once + part * repeated)
        if rate.tier > 2:
            return [found] * len(inner)
        repeated = max(times, prod([blocks[2] for blocks in over])) - times
        return [
            found
            if y is None or y == rate.own.other
            else max(found, once + elements // self.layer.sizes[y] * sides[y].whole[1] * repeated)
            for y in inner
        ]

    def edges(self, sides: tuple[Side, ...]) -> tuple[int, int]:
        """Return the least clocks of first load and last store."""
        loads: dict[int, list[tuple[int, dict[int, int], int]]] = {}
        last = 0
        for rate in self.rates:
            up = rate.operand == "output"
            tiles = [(side.last if up else side.low)[rate.tier] for side in sides]
            width = self.layer.bits(rate.operand, partial=False, code=rate.child.words is not None)
            clocks = {}
            for memory, reads in ((rate.parent, not up), (rate.child, up)):
                i = memory.port(rate.operand, reads=reads)
                share = self.share(rate.own, memory.per, tiles)
                clocks[self.ports[memory.name, i]] = memory.ports[i].clocks(share, width)
            if up:
                last += max(clocks.values())
            else:
                waits = rate.parent.latency_cycles
                loads.setdefault(rate.stage, []).append(
                    (max(clocks.values()) + waits, clocks, waits)
                )
        return sum(map(first_load, loads.values())), last
