"""What a mapping moves, counted from its loops alone; every figure is exact.

The rules are those that `docs/mapping.md` states under Counts and Clocks. Here the visits to the
tiles of an operand are followed loop by loop: a *visit* is a run of iterations with the same tile.
Each knows whether it is the first to its tile, and whether it is the last.
"""

import math
from collections import Counter, defaultdict
from copy import copy
from fractions import Fraction
from functools import cache
from itertools import zip_longest
from math import prod
from typing import Any, NamedTuple

from .pixels import Members, by_copy, first_pixel, members, starts
from .record import OPERANDS, Chip, Layer, Memory, Nest, Window

Sizes = tuple[int, ...]
Firsts = tuple[int | None, ...]
"""The first pixel of a block in each window of an operand (`pixels`)."""
PortKey = tuple[str, int]


class Visit(NamedTuple):
    """A visit to a tile.

    ``block``: extents of its first iteration; ``steps``: until the next visit; ``head``, ``tail``:
    steps of the first, and last, time that all of the tile is used; ``new``, ``final``: whether it
    is the first, and the last, to its tile; ``ahead``: the window along which the visit before was
    to the outputs right ahead, and how many, where all else was the same.
    """

    block: Sizes
    steps: int
    head: int
    tail: int
    new: bool
    final: bool
    firsts: Firsts = ()
    ahead: tuple[int, int] | None = None


class Walk(NamedTuple):
    """Visits in order: the first, the last but one, the last, and how often which follows which."""

    first: Visit
    before: Visit | None
    last: Visit
    pairs: Counter[tuple[Visit, Visit]]


class Spread(NamedTuple):
    """Elements of a tile in all copies, the copies that have some, elements of the fullest."""

    elements: int
    copies: int
    share: int


class Move(NamedTuple):
    """Transfers of one kind between a memory and the next one in, or the array.

    ``timed``: (visit, its window, how often); ``windows``: all windows. These are in parts of a
    clock (`Counted.parts`).
    """

    operand: str
    kind: str
    partial: bool
    parent: Memory
    child: Memory | None
    outside: int
    doubled: bool
    visits: Counter[Visit]
    timed: list[tuple[Visit, int, int]]
    windows: int
    edge: Visit | None


class End(NamedTuple):
    """What a visit takes of a port: clocks; elements in all copies, and the copies, that move."""

    key: PortKey
    reads: bool
    clocks: int
    elements: int
    copies: int


class Place(NamedTuple):
    """Where an operand is kept, and how many loops stand outside."""

    memory: Memory
    outside: int
    doubled: bool


class Counted:
    """A mapping of a layer on a chip, to be counted.

    Parameters
    ----------
    layer : Layer
    chip : Chip
    nest : Nest
        Legal on the chip (`legal`).

    array : dict, optional
        What `visits` found of the array's steps: the same in every order of the same loops.

    A step takes ``step`` parts of a clock, of which it has ``parts``.
    """

    def __init__(
        self, layer: Layer, chip: Chip, nest: Nest, array: dict[str, Walk] | None = None
    ) -> None:
        self.array = {} if array is None else array
        self.layer, self.chip, self.nest = layer, chip, nest
        self.loops = [
            (layer.dims.index(dim), tile) for level in nest.levels for dim, tile in level.loops
        ]
        self.unrolls = tuple(
            tuple((axis, size) for axis, d, size in nest.spatial if d == dim) for dim in layer.dims
        )
        self.bottom, self.walk = cache(self._bottom), cache(self._walk)
        self.spread, self.pixels = cache(self._spread), cache(self._pixels)
        self.chain = cache(self._chain)
        self.all_steps = self.steps(0, layer.sizes)
        self.step, self.parts = layer.step_cycles.as_integer_ratio()

    def doubled(self, nest: Nest) -> "Counted":
        """Return the same mapping with other doubled tiles; what loops alone decide is shared."""
        found = copy(self)
        found.nest, found.chain = nest, cache(found._chain)
        return found

    def _chain(self, operand: str) -> list[Place]:
        """Return where an operand is kept, outermost first."""
        found, outside = [], 0
        for level in self.nest.levels:
            if operand in level.keeps:
                memory = self.chip.memory(level.memory)
                found.append(Place(memory, outside, operand in level.doubled))
            outside += len(level.loops)
        return found

    def _bottom(self, d: int, i: int, size: int) -> dict[int, int]:
        """Return how many steps' tiles of each extent a dimension has from loop ``i`` inwards."""
        found = {size: 1}
        for at, tile in self.loops[i:]:
            found = cut(found, tile) if at == d else found
        return found

    def steps(self, i: int, block: Sizes) -> int:
        """Return the steps of a block from loop ``i`` inwards."""
        return prod(sum(self.bottom(d, i, size).values()) for d, size in enumerate(block))

    def _one(self, i: int, end: int, own: frozenset[int], block: Sizes) -> bool:
        """Whether the loops from ``i`` to the end leave the operand one tile."""
        return all(d not in own or tile >= block[d] for d, tile in self.loops[i:end])

    def _use(self, i: int, block: Sizes, own: frozenset[int], *, last: bool) -> int:
        """Return the steps of the first, or last, use of a whole tile."""
        for j in range(i, len(self.loops)):
            d, tile = self.loops[j]
            if tile >= block[d]:
                continue
            if d in own:
                return self.steps(j, block)
            block = _with(block, d, (block[d] % tile if last else 0) or tile)
        return 1

    def whole(self, own: frozenset[int]) -> tuple[Sizes, Firsts]:
        """Return the block that is the layer, and its first pixels."""
        windows = self.layer.slid(own)
        return self.layer.sizes, tuple(self._at(w, -w.padding, self.layer.sizes) for w in windows)

    @staticmethod
    def _at(window: Window, first: int, block: Sizes) -> int | None:
        return first_pixel(window, first, block[window.out], block[window.tap])

    def _walk(
        self,
        i: int,
        end: int,
        own: frozenset[int],
        around: tuple[Sizes, Firsts],
        new: bool,
        final: bool,
        each: bool,
    ) -> Walk:
        """Return the visits to an operand's tiles; ``each``: every iteration is one."""
        block, firsts = around
        if i == end:
            head, tail = (self._use(i, block, own, last=last) for last in (False, True))
            visit = Visit(block, self.steps(i, block), head, tail, new, final, firsts)
            return Walk(visit, None, visit, Counter())
        d, tile = self.loops[i]
        if tile >= block[d]:
            return self.walk(i + 1, end, own, around, new, final, each)
        full, rest = divmod(block[d], tile)
        windows = self.layer.slid(own)
        at = next((w for w, each in enumerate(windows) if d in each[:2]), None)
        if at is not None:
            beside = d == windows[at].out and self._one(i + 1, end, own - {d}, block)
            return self._joined(
                [
                    (self.walk(i + 1, end, own, inside, new, final, each), times)
                    for inside, times in self._slid(at, d, tile, own, around)
                ],
                (at, d) if beside and not each else None,
            )
        turns = [(tile, full, new, final)] + ([(rest, 1, new, final)] if rest else [])
        if d not in own:
            if not each and self._one(i + 1, end, own, block):
                ends = [self.walk(i + 1, end, own, (_with(block, d, e), firsts), new, final, each)
                        for e in (tile, rest or tile)]  # fmt: skip
                merged = ends[0].first._replace(steps=self.steps(i, block), tail=ends[1].last.tail)
                return Walk(merged, None, merged, Counter())
            turns = [(tile, 1, new, False), (tile, full - 1 - (not rest), False, False),
                     (rest or tile, 1, False, final)]  # fmt: skip
        return self._joined(
            [
                (
                    self.walk(i + 1, end, own, (_with(block, d, extent), firsts), one, done, each),
                    times,
                )
                for extent, times, one, done in turns
                if times
            ]
        )

    def _slid(
        self, at: int, d: int, tile: int, own: frozenset[int], around: tuple[Sizes, Firsts]
    ) -> list[tuple[tuple[Sizes, Firsts], int]]:
        """Return the blocks of a loop along a window, in order; of equal ones in a row one."""
        (block, firsts), window = around, self.layer.slid(own)[at]
        pace = window.stride if d == window.out else window.dilation
        found: list[tuple[tuple[Sizes, Firsts], int]] = []
        for start in range(0, block[d], tile):
            inside, first = _with(block, d, min(tile, block[d] - start)), firsts[at]
            if first is not None:
                first = self._at(window, first + start * pace, inside)
            one = inside, (*firsts[:at], first, *firsts[at + 1 :])
            if found and found[-1][0] == one:
                found[-1] = one, found[-1][1] + 1
            else:
                found.append((one, 1))
        return found

    @staticmethod
    def _joined(parts: list[tuple[Walk, int]], along: tuple[int, int] | None = None) -> Walk:
        """Return walks, each so many times, one after the other.

        ``along``: the window and dimension that alone changes from one to the next.
        """

        def after(visit: Visit, one: Visit) -> Visit:
            return one._replace(ahead=(along[0], visit.block[along[1]])) if along else one

        pairs: Counter[tuple[Visit, Visit]] = Counter()
        before: Visit | None = None
        ahead: Visit | None = None
        for walk, times in parts:
            for pair, count in walk.pairs.items():
                pairs[pair] += count * times
            if ahead:
                pairs[ahead, after(ahead, walk.first)] += 1
            if times > 1:
                pairs[walk.last, after(walk.last, walk.first)] += times - 1
            before = walk.before or (walk.last if times > 1 else ahead)
            ahead = walk.last
        return Walk(parts[0][0].first, before, parts[-1][0].last, pairs)

    def moves(self) -> list[Move]:
        """Return all that is moved, operand by operand, outermost first."""
        found: list[Move] = []
        for operand in OPERANDS:
            places = self.chain(operand)
            for parent, child in zip_longest(places, places[1:]):
                kind = self._sums if operand == "output" else self._fetch
                found += kind(operand, parent.memory, child)
        return found

    def visits(self, operand: str, child: Place | None) -> Walk:
        """Return the visits to an operand's tiles in a memory, or those of the array: each step."""
        own = self.layer.indexed(operand)
        if child:
            return self.walk(0, child.outside, own, self.whole(own), True, True, False)
        if operand not in self.array:
            every = self.walk(0, len(self.loops), own, self.whole(own), True, True, True)
            self.array[operand] = every
        return self.array[operand]

    def _move(self, operand: str, parent: Memory, child: Place | None, *of: Any) -> Move:
        end, memory = (child.outside, child.memory) if child else (len(self.loops), None)
        kind, partial, *rest = of
        two = child is not None and child.doubled
        return Move(operand, kind, partial, parent, memory, end, two, *rest)

    def _fetch(self, operand: str, parent: Memory, child: Place | None) -> list[Move]:
        step, walk = self.step, self.visits(operand, child)
        two = child is not None and child.doubled
        visits, timed = Counter({walk.first: 1}), []
        for (ahead, visit), count in walk.pairs.items():
            visits[visit] += count
            timed.append((visit, (ahead.steps if two else ahead.tail) * step, count))
        total = self.all_steps * step
        if child and not two:
            total = sum(window * count for _, window, count in timed)
        return [
            self._move(operand, parent, child, "fetch", False, visits, timed, total, walk.first)
        ]

    def _sums(self, operand: str, parent: Memory, child: Place | None) -> list[Move]:
        """Return the writes of finished sums, of others, and what comes back."""
        step, walk = self.step, self.visits(operand, child)
        two, last, before = child is not None and child.doubled, walk.last, walk.before
        kinds = (("write", False), ("write", True), ("readback", True))
        visits: list[Counter[Visit]] = [Counter({last: 1}), Counter(), Counter()]
        timed: list[list[tuple[Visit, int, int]]] = [[], [], []]
        for (one, after), count in walk.pairs.items():
            kind = 0 if one.final else 1
            visits[kind][one] += count
            timed[kind].append((one, (after.steps if two else after.head) * step, count))
            if not after.new:
                visits[2][after] += count
                window = one.steps + after.steps if two else after.head
                timed[2].append((after, window * step, count))
        if before:
            if child and (two or last.head == last.steps):
                timed[0 if before.final else 1].append((before, last.steps * step, -1))
            if not last.new:
                window = before.steps + last.steps if two else last.head
                timed[2].append((last, window * step, -1))
        total = self.all_steps * step
        if child and not two:
            total = step * sum(after.head * count for (_, after), count in walk.pairs.items())
        return [
            self._move(operand, parent, child, kind, partial, visits[i], timed[i], total,
                       None if i else last)
            for i, (kind, partial) in enumerate(kinds)
            if visits[i] or not partial
        ]  # fmt: skip

    def _reached(self, per: tuple[str, ...], d: int, i: int, size: int) -> int:
        """Return the units along some axes that a block has elements for."""
        for at, tile in self.loops[i:]:
            size = min(size, tile) if at == d else size
        return units(self.unrolls[d], per, size)[0]

    def _most(self, per: tuple[str, ...], d: int, i: int, size: int) -> int:
        """Return the elements of a block of the unit along some axes that has most."""
        if not any(axis in per for axis, _ in self.unrolls[d]):
            return size
        return sum(
            count * units(self.unrolls[d], per, extent)[1]
            for extent, count in self.bottom(d, i, size).items()
        )

    def _spread(
        self,
        own: frozenset[int],
        at: tuple[Sizes, Firsts, tuple[int, int] | None],
        i: int,
        per: tuple[str, ...],
        same: tuple[str, ...],
        halo: tuple[str, ...],
    ) -> Spread:
        """Return how a tile lies in the copies of a memory.

        ``per``: axes along which copies have their own elements; ``same``: equal ones; ``halo``:
        those of the copies that have the pixels of the visit ahead.
        """
        (block, firsts, ahead), windows = at, self.layer.slid(own)
        elements = copies = share = 1
        gone = {d for window in windows for d in window[:2]}
        for d, size in enumerate(block):
            if d in gone:
                continue
            if d in own:
                elements *= size
                copies *= self._reached(per, d, i, size)
                share *= self._most(per, d, i, size)
            else:
                alike = self._reached(same, d, i, size)
                elements, copies = elements * alike, copies * alike
        for w, window in enumerate(windows):
            had = ahead[1] if ahead is not None and ahead[0] == w else 0
            extents = block[window.out], block[window.tap]
            found = self.pixels(window, firsts[w], extents, i, per, halo if had else per, had)
            elements *= found.elements
            copies *= found.copies
            share *= found.share
        return Spread(elements, copies, share)

    def _pixels(
        self,
        window: Window,
        first: int | None,
        extents: tuple[int, int],
        i: int,
        per: tuple[str, ...],
        inner: tuple[str, ...],
        had: int,
    ) -> Spread:
        """Return how pixels lie in copies of a memory; ``had``: outputs of the visit ahead."""

        def some(d: int, size: int) -> Members:
            tiles = tuple(tile for at, tile in self.loops[i:] if at == d)
            return members(starts(size, tiles), d, self.unrolls[d], inner)

        ahead = (had, some(window.out, had)) if had else None
        counts = by_copy(
            window, first, some(window.out, extents[0]), some(window.tap, extents[1]), per, ahead
        )
        return Spread(sum(counts), sum(map(bool, counts)), max(counts))

    def ends(self, move: Move, visit: Visit) -> list[End]:
        """Return what a visit takes of the ports at both ends."""
        own, outer = self.layer.indexed(move.operand), move.parent.per
        inner = move.child.per if move.child else self.chip.axis_names
        reached = outer if move.kind == "readback" else inner
        keeps = move.child is not None and move.child.keep_halo
        at = visit.block, visit.firsts, visit.ahead if keeps else None
        down, found = move.kind != "write", []
        for memory, per, same, reads in (
            (move.parent, outer, outer, down),
            (move.child, inner, reached, not down),
        ):
            if memory is not None:
                i = memory.port(move.operand, reads=reads)
                tile, bits = self.spread(own, at, move.outside, per, same, inner), self.width(move)
                clocks = memory.ports[i].clocks(tile.share, bits)
                found.append(End((memory.name, i), reads, clocks, tile.elements, tile.copies))
        return found

    def width(self, move: Move) -> Fraction:
        """Return the bits of an element on the way: its code where array or words end."""
        code = move.child is None or move.child.words is not None
        return self.layer.bits(move.operand, partial=move.partial, code=code)

    def held(self, place: Place, operand: str, inside: Place | None) -> tuple[int, int]:
        """Return the elements, and bits, of one tile that the fullest copy of a memory holds.

        ``inside``: the next memory that keeps the operand.
        """
        own, per, block = self.layer.indexed(operand), place.memory.per, list(self.layer.sizes)
        for d, tile in self.loops[: place.outside]:
            block[d] = min(block[d], tile)
        share = prod([self._most(per, d, place.outside, block[d]) for d in self.layer.plain(own)])
        if self.layer.slid(own):
            walk = self.visits(operand, place)
            visits = {walk.first} | {after for _, after in walk.pairs}
            at = {(visit.block, visit.firsts, None) for visit in visits}
            share = max(self.spread(own, each, place.outside, per, per, per).share for each in at)
        partial = operand == "output" and self.adds(inside)
        return share, math.ceil(share * self.layer.bits(operand, partial=partial, code=False))

    def adds(self, inside: Place | None) -> bool:
        """Return whether sums arrive more than once from the next memory that keeps them.

        They do where a loop that adds to them has a loop over other sums inside it; from the array,
        where there is any that adds.
        """
        block, added, own = list(self.layer.sizes), False, self.layer.indexed("output")
        for d, tile in self.loops[: inside.outside if inside else None]:
            if tile < block[d]:
                block[d] = tile
                if added and d in own:
                    return True
                added = added or d not in own
        return added and inside is None


def cut(extents: dict[int, int], tile: int) -> dict[int, int]:
    """Return how many tiles there are of each extent in blocks of some, the last of each short."""
    found: dict[int, int] = defaultdict(int)
    for extent, count in extents.items():
        for part, times in ((tile, extent // tile), (extent % tile, 1)):
            if part and times:
                found[part] += count * times
    return found


@cache
def units(unrolls: tuple[tuple[str, int], ...], per: tuple[str, ...], size: int) -> tuple[int, int]:
    """Return the units along some axes of a step's first elements, and elements of the first unit.

    Element x of a dimension on axes of p, q units is that of unit (x mod p, x // p mod q).
    """
    found: Counter[tuple[int, ...]] = Counter()
    for x in range(size):
        place, left = [], x
        for axis, extent in unrolls:
            if axis in per:
                place.append(left % extent)
            left //= extent
        found[tuple(place)] += 1
    return len(found), next(iter(found.values()), 0)


def _with(block: Sizes, d: int, extent: int) -> Sizes:
    return (*block[:d], extent, *block[d + 1 :])
