"""What a mapping moves, counted from its loops alone; every figure is exact.

The rules are those that `docs/mapping.md` states under Counts and Clocks. Here the visits to the
tiles of an operand are followed loop by loop: a *visit* is a run of iterations with the same tile.
Each knows whether it is the first to its tile, and whether it is the last.
"""

import math
from collections import Counter, defaultdict
from copy import copy
from functools import cache
from itertools import product
from math import prod
from typing import NamedTuple

from .pixels import Members, by_copy, first_pixel, members
from .record import OPERANDS, Chip, Layer, Memory, Nest, Port, Window

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

    A step takes ``step`` parts of a clock, of which it has ``parts``.
    """

    def __init__(self, layer: Layer, chip: Chip, nest: Nest) -> None:
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
            if at == d:
                inner: dict[int, int] = defaultdict(int)
                for extent, count in found.items():
                    for part, times in ((tile, extent // tile), (extent % tile, 1)):
                        if part and times:
                            inner[part] += count * times
                found = inner
        return found

    def steps(self, i: int, block: Sizes) -> int:
        """Return the steps of a block from loop ``i`` inwards."""
        return prod(sum(self.bottom(d, i, size).values()) for d, size in enumerate(block))

    def _one(self, i: int, cut: int, own: frozenset[int], block: Sizes) -> bool:
        """Whether the loops from ``i`` to the cut leave the operand one tile."""
        return all(d not in own or tile >= block[d] for d, tile in self.loops[i:cut])

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
        cut: int,
        own: frozenset[int],
        around: tuple[Sizes, Firsts],
        new: bool,
        final: bool,
    ) -> Walk:
        block, firsts = around
        if i == cut:
            head, tail = (self._use(i, block, own, last=last) for last in (False, True))
            visit = Visit(block, self.steps(i, block), head, tail, new, final, firsts)
            return Walk(visit, None, visit, Counter())
        d, tile = self.loops[i]
        if tile >= block[d]:
            return self.walk(i + 1, cut, own, around, new, final)
        full, rest = divmod(block[d], tile)
        windows = self.layer.slid(own)
        at = next((w for w, each in enumerate(windows) if d in each[:2]), None)
        if at is not None:
            beside = d == windows[at].out and self._one(i + 1, cut, own - {d}, block)
            return self._joined(
                [
                    (self.walk(i + 1, cut, own, inside, new, final), times)
                    for inside, times in self._slid(at, d, tile, own, around)
                ],
                (at, d) if beside else None,
            )
        turns = [(tile, full, new, final)] + ([(rest, 1, new, final)] if rest else [])
        if d not in own:
            ends = [self.walk(i + 1, cut, own, (_with(block, d, e), firsts), new, final)
                    for e in (tile, rest or tile)]  # fmt: skip
            if self._one(i + 1, cut, own, block):
                merged = ends[0].first._replace(steps=self.steps(i, block), tail=ends[1].last.tail)
                return Walk(merged, None, merged, Counter())
            turns = [(tile, 1, new, False), (tile, full - 1 - (not rest), False, False),
                     (rest or tile, 1, False, final)]  # fmt: skip
        return self._joined(
            [
                (self.walk(i + 1, cut, own, (_with(block, d, extent), firsts), one, end), times)
                for extent, times, one, end in turns
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
            for i, parent in enumerate(places):
                child = places[i + 1] if i + 1 < len(places) else None
                if child is None:
                    found += self._array_moves(operand, parent.memory)
                elif operand == "output":
                    found += self._sums(parent.memory, child)
                else:
                    found.append(self._fetch(operand, parent.memory, child))
        return found

    def _fetch(self, operand: str, parent: Memory, child: Place) -> Move:
        step, own = self.step, self.layer.indexed(operand)
        walk = self.walk(0, child.outside, own, self.whole(own), True, True)
        visits, timed = Counter({walk.first: 1}), []
        for (ahead, visit), count in walk.pairs.items():
            visits[visit] += count
            timed.append((visit, (ahead.steps if child.doubled else ahead.tail) * step, count))
        total = self.all_steps * step
        if not child.doubled:
            total = sum(window * count for _, window, count in timed)
        return Move(operand, "fetch", False, parent, child.memory, child.outside, child.doubled,
                    visits, timed, total, walk.first)  # fmt: skip

    def _sums(self, parent: Memory, child: Place) -> list[Move]:
        """Return the writes of finished sums, of others, and what comes back."""
        step, two = self.step, child.doubled
        own = self.layer.indexed("output")
        walk = self.walk(0, child.outside, own, self.whole(own), True, True)
        last, before = walk.last, walk.before
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
            if two or last.head == last.steps:
                timed[0 if before.final else 1].append((before, last.steps * step, -1))
            if not last.new:
                window = before.steps + last.steps if two else last.head
                timed[2].append((last, window * step, -1))
        total = self.all_steps * step
        if not two:
            total = step * sum(after.head * count for (_, after), count in walk.pairs.items())
        return [
            Move("output", kind, partial, parent, child.memory, child.outside, two,
                 visits[i], timed[i], total, None if i else last)
            for i, (kind, partial) in enumerate(kinds)
            if visits[i] or not partial
        ]  # fmt: skip

    def _array_moves(self, operand: str, parent: Memory) -> list[Move]:
        """Return what the array takes, or leaves and takes again, in each step."""
        own, step, end = self.layer.indexed(operand), self.step, len(self.loops)
        if self.layer.slid(own):
            every, first_step = self._window_steps(own)
            taken = [(visit, step, count) for visit, count in every.items()]
            taken.append((first_step, step, -1))
            return [Move(operand, "fetch", False, parent, None, end, False, every, taken,
                         self.all_steps * step, first_step)]  # fmt: skip
        up = operand == "output"
        tiles = [self.bottom(d, 0, size) for d, size in enumerate(self.layer.sizes)]
        edges = [
            [self._end(d, size, last=last) for d, size in enumerate(self.layer.sizes)]
            for last in (False, True)
        ]
        kinds: list[Counter[Visit]] = [Counter(), Counter(), Counter()]
        for block in product(*tiles):
            times = prod(tiles[d][extent] for d, extent in enumerate(block))
            at = prod(tiles[d][extent] for d, extent in enumerate(block) if d in own)
            first, last = (
                at if all(block[d] == edge[d] for d in range(len(block)) if d not in own) else 0
                for edge in edges
            )
            visit = Visit(block, 1, 1, 1, False, False)
            counts = (last, times - last, times - first) if up else (times, 0, 0)
            for visits, count in zip(kinds, counts, strict=True):
                if count:
                    visits[visit] += count
        edge = Visit(tuple(edges[up]), 1, 1, 1, False, False)
        found = []
        for kind, visits, name in zip(
            range(3), kinds, ("write" if up else "fetch", "write", "readback"), strict=True
        ):
            if not visits:
                continue
            timed = [(visit, step, count) for visit, count in visits.items()]
            if kind != 1:
                timed.append((edge, step, -1))
            found.append(
                Move(operand, name, kind > 0, parent, None, end, False, visits, timed,
                     self.all_steps * step, edge if not kind else None)
            )  # fmt: skip
        return found

    def _window_steps(self, own: frozenset[int]) -> tuple[Counter[Visit], Visit]:
        """Return the steps' visits to an operand with windows, and the first."""
        windows, sizes = self.layer.slid(own), self.layer.sizes
        gone = {d for window in windows for d in window[:2]}
        rest = [d for d in range(len(sizes)) if d not in gone]
        parts = [
            [
                (outs, rows, first_pixel(window, first, outs, rows))
                for at, outs in self._starts(window.out, 0, sizes[window.out])
                for tap_at, rows in self._starts(window.tap, 0, sizes[window.tap])
                for first in [at * window.stride + tap_at * window.dilation - window.padding]
            ]
            for window in windows
        ]
        tiles = [self.bottom(d, 0, sizes[d]) for d in rest]

        def visit(some: tuple[int, ...], ends: tuple[tuple[int, int, int | None], ...]) -> Visit:
            block = dict(zip(rest, some, strict=True))
            for window, (outs, rows, _) in zip(windows, ends, strict=True):
                block |= {window.out: outs, window.tap: rows}
            firsts = tuple(first for _, _, first in ends)
            return Visit(tuple(block[d] for d in range(len(sizes))), 1, 1, 1, False, False, firsts)

        found: Counter[Visit] = Counter()
        counted = [Counter(part) for part in parts]
        for some in product(*tiles):
            times = prod(tiles[i][extent] for i, extent in enumerate(some))
            for ends in product(*counted):
                each = prod(part[end] for part, end in zip(counted, ends, strict=True))
                found[visit(some, ends)] += times * each
        first = tuple(self._end(d, sizes[d], last=False) for d in rest)
        return found, visit(first, tuple(part[0] for part in parts))

    def _starts(self, d: int, i: int, size: int) -> list[tuple[int, int]]:
        """Return where each step's tile of a block begins, and its extent, in order."""
        at = next((j for j in range(i, len(self.loops)) if self.loops[j][0] == d), None)
        if at is None:
            return [(0, size)]
        tile = self.loops[at][1]
        return [
            (start + inner, extent)
            for start in range(0, size, tile)
            for inner, extent in self._starts(d, at + 1, min(tile, size - start))
        ]

    def _end(self, d: int, size: int, *, last: bool) -> int:
        """Return the extent of a dimension in the first, or last, step."""
        for at, tile in self.loops:
            if at == d and tile < size:
                size = (size % tile if last else 0) or tile
        return size

    def _reached(self, per: tuple[str, ...], d: int, i: int, size: int) -> int:
        """Return the units along some axes that a block has elements for."""
        for at, tile in self.loops[i:]:
            size = min(size, tile) if at == d else size
        return units(self.unrolls[d], per, size)[0]

    def most(self, per: tuple[str, ...], d: int, i: int, size: int) -> int:
        """Return the elements of a block of the unit along some axes that has most.

        Parameters
        ----------
        per : tuple of str
            The axes.
        d : int
            The dimension.
        i : int
            The first loop inside the block.
        size : int
            Extent of the block.
        """
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
                share *= self.most(per, d, i, size)
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
            return members(self._starts(d, i, size), d, self.unrolls[d], inner)

        ahead = (had, some(window.out, had)) if had else None
        counts = by_copy(
            window, first, some(window.out, extents[0]), some(window.tap, extents[1]), per, ahead
        )
        return Spread(sum(counts), sum(map(bool, counts)), max(counts))

    def ends(self, move: Move, visit: Visit) -> list[tuple[PortKey, bool, Port, Spread]]:
        """Return which port, whether it is read, the port and the tile there, at both ends."""
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
                tile = self.spread(own, at, move.outside, per, same, inner)
                found.append(((memory.name, i), reads, memory.ports[i], tile))
        return found

    def held(self, place: Place, operand: str, inside: int | None) -> tuple[int, int]:
        """Return the elements, and bits, of one tile that the fullest copy of a memory holds."""
        own, block = self.layer.indexed(operand), list(self.layer.sizes)
        for d, tile in self.loops[: place.outside]:
            block[d] = min(block[d], tile)
        share = prod(
            self.most(place.memory.per, d, place.outside, block[d]) for d in self.layer.plain(own)
        )
        if self.layer.slid(own):
            share = self._fullest(own, place)
        partial = operand == "output" and self._adds(inside)
        return share, math.ceil(share * self.layer.bits(operand, partial=partial, code=False))

    def _fullest(self, own: frozenset[int], place: Place) -> int:
        """Return the elements that a copy has at most of an operand with windows."""
        walk = self.walk(0, place.outside, own, self.whole(own), True, True)
        visits = {walk.first} | {after for _, after in walk.pairs}
        blocks = {(visit.block, visit.firsts, None) for visit in visits}
        per = place.memory.per
        return max(self.spread(own, at, place.outside, per, per, per).share for at in blocks)

    def _adds(self, inside: int | None) -> bool:
        """Whether sums arrive from inside more than once; ``inside``: loops outside the next."""
        own = self.layer.indexed("output")
        if inside is None:
            return self.all_steps != prod(
                sum(self.bottom(d, 0, self.layer.sizes[d]).values()) for d in own
            )
        walk = self.walk(0, inside, own, self.whole(own), True, True)
        return not walk.first.final or any(not after.new for _, after in walk.pairs)


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
