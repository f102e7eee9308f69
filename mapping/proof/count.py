"""What a mapping costs, counted from its loops alone; every figure is exact.

The rules are those that `docs/mapping.md` states under Counts and Clocks. Here the visits to the
tiles of an operand are followed loop by loop: a *visit* is a run of iterations with the same tile.
Each knows whether it is the first to its tile, and whether it is the last.
"""

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import product
from math import prod
from typing import NamedTuple

from .record import OPERANDS, Chip, Layer, Memory, Nest, Port

Sizes = tuple[int, ...]
PortKey = tuple[str, int]


class Visit(NamedTuple):
    """A visit to a tile.

    ``block``: extents of its first iteration; ``steps``: until the next visit; ``head``, ``tail``:
    steps of the first, and last, time that all of the tile is used; ``new``, ``final``: whether it
    is the first, and the last, to its tile.
    """

    block: Sizes
    steps: int
    head: int
    tail: int
    new: bool
    final: bool


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

    ``timed``: (visit, clocks of its window, how often); ``windows``: clocks of all windows.
    """

    operand: str
    kind: str
    partial: bool
    parent: Memory
    child: Memory | None
    outside: int
    doubled: bool
    visits: Counter[Visit]
    timed: list[tuple[Visit, Fraction, int]]
    windows: Fraction
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
        self.spread = cache(self._spread)
        self.all_steps = self.steps(0, layer.sizes)

    def chain(self, operand: str) -> list[Place]:
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

    def _walk(
        self, i: int, cut: int, own: frozenset[int], block: Sizes, new: bool, final: bool
    ) -> Walk:
        if i == cut:
            head, tail = (self._use(i, block, own, last=last) for last in (False, True))
            visit = Visit(block, self.steps(i, block), head, tail, new, final)
            return Walk(visit, None, visit, Counter())
        d, tile = self.loops[i]
        if tile >= block[d]:
            return self.walk(i + 1, cut, own, block, new, final)
        full, rest = divmod(block[d], tile)
        turns = [(tile, full, new, final)] + ([(rest, 1, new, final)] if rest else [])
        if d not in own:
            ends = [self.walk(i + 1, cut, own, _with(block, d, e), new, final)
                    for e in (tile, rest or tile)]  # fmt: skip
            if self._one(i + 1, cut, own, block):
                merged = ends[0].first._replace(steps=self.steps(i, block), tail=ends[1].last.tail)
                return Walk(merged, None, merged, Counter())
            turns = [(tile, 1, new, False), (tile, full - 1 - (not rest), False, False),
                     (rest or tile, 1, False, final)]  # fmt: skip
        return self._joined(
            [
                (self.walk(i + 1, cut, own, _with(block, d, extent), one, end), times)
                for extent, times, one, end in turns
                if times
            ]
        )

    @staticmethod
    def _joined(parts: list[tuple[Walk, int]]) -> Walk:
        """Return walks, each so many times, one after the other."""
        pairs: Counter[tuple[Visit, Visit]] = Counter()
        before: Visit | None = None
        ahead: Visit | None = None
        for walk, times in parts:
            for pair, count in walk.pairs.items():
                pairs[pair] += count * times
            if ahead:
                pairs[ahead, walk.first] += 1
            if times > 1:
                pairs[walk.last, walk.first] += times - 1
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
        step, own = self.layer.step_cycles, self.layer.indexed(operand)
        walk = self.walk(0, child.outside, own, self.layer.sizes, True, True)
        visits, timed = Counter({walk.first: 1}), []
        for (ahead, visit), count in walk.pairs.items():
            visits[visit] += count
            timed.append((visit, (ahead.steps if child.doubled else ahead.tail) * step, count))
        total = self.all_steps * step
        if not child.doubled:
            total = sum((window * count for _, window, count in timed), Fraction(0))
        return Move(operand, "fetch", False, parent, child.memory, child.outside, child.doubled,
                    visits, timed, total, walk.first)  # fmt: skip

    def _sums(self, parent: Memory, child: Place) -> list[Move]:
        """Return the writes of finished sums, of others, and what comes back."""
        step, two = self.layer.step_cycles, child.doubled
        walk = self.walk(
            0, child.outside, self.layer.indexed("output"), self.layer.sizes, True, True
        )
        last, before = walk.last, walk.before
        kinds = (("write", False), ("write", True), ("readback", True))
        visits: list[Counter[Visit]] = [Counter({last: 1}), Counter(), Counter()]
        timed: list[list[tuple[Visit, Fraction, int]]] = [[], [], []]
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
        own, step, end = self.layer.indexed(operand), self.layer.step_cycles, len(self.loops)
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
        self, own: frozenset[int], block: Sizes, i: int, per: tuple[str, ...], same: tuple[str, ...]
    ) -> Spread:
        """Return how a tile lies in the copies of a memory.

        ``per``: axes along which copies have their own elements; ``same``: equal ones.
        """
        elements = copies = share = 1
        for d, size in enumerate(block):
            if d in own:
                elements *= size
                copies *= self._reached(per, d, i, size)
                share *= self.most(per, d, i, size)
            else:
                alike = self._reached(same, d, i, size)
                elements, copies = elements * alike, copies * alike
        return Spread(elements, copies, share)

    def ends(self, move: Move, visit: Visit) -> list[tuple[PortKey, bool, Port, Spread]]:
        """Return which port, whether it is read, the port and the tile there, at both ends."""
        own, outer = self.layer.indexed(move.operand), move.parent.per
        inner = move.child.per if move.child else self.chip.axis_names
        reached = outer if move.kind == "readback" else inner
        down, found = move.kind != "write", []
        for memory, per, same, reads in (
            (move.parent, outer, outer, down),
            (move.child, inner, reached, not down),
        ):
            if memory is not None:
                i = memory.port(move.operand, reads=reads)
                tile = self.spread(own, visit.block, move.outside, per, same)
                found.append(((memory.name, i), reads, memory.ports[i], tile))
        return found

    def held(self, place: Place, operand: str, inside: int | None) -> tuple[int, int]:
        """Return the elements, and bits, of one tile that the fullest copy of a memory holds."""
        own, block = self.layer.indexed(operand), list(self.layer.sizes)
        for d, tile in self.loops[: place.outside]:
            block[d] = min(block[d], tile)
        share = prod(self.most(place.memory.per, d, place.outside, block[d]) for d in own)
        partial = operand == "output" and self._adds(inside)
        return share, math.ceil(share * self.layer.bits(operand, partial=partial, code=False))

    def _adds(self, inside: int | None) -> bool:
        """Whether sums arrive from inside more than once; ``inside``: loops outside the next."""
        own = self.layer.indexed("output")
        if inside is None:
            return self.all_steps != prod(
                sum(self.bottom(d, 0, self.layer.sizes[d]).values()) for d in own
            )
        walk = self.walk(0, inside, own, self.layer.sizes, True, True)
        return not walk.first.final or any(not after.new for _, after in walk.pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Clocks, exact energies in pJ, and what goes through each port.

    ``ports``: reads, writes, busy clocks and clocks of stalls, by memory and number.
    """

    cycles: int
    compute: Fraction
    stall: Fraction
    first_load: int
    last_store: int
    ports: dict[PortKey, tuple[int, int, int, Fraction]]
    energy_pj: dict[str, Fraction]

    @property
    def total_pj(self) -> Fraction:
        """Energy in all."""
        return sum(self.energy_pj.values(), Fraction(0))

    def of(self, objective: str) -> Fraction:
        """Return the objective's value: clocks, pJ, or their product."""
        energy = Fraction(1) if objective == "cycles" else self.total_pj
        return energy * (1 if objective == "energy" else self.cycles)


def cost(layer: Layer, chip: Chip, nest: Nest) -> Cost:
    """Return what a legal mapping costs.

    Parameters
    ----------
    layer : Layer
    chip : Chip
    nest : Nest
    """
    counted = Counted(layer, chip, nest)
    return total(counted, counted.moves())


def total(counted: Counted, moves: list[Move]) -> Cost:
    """Return what moves cost that have been counted."""
    layer, chip = counted.layer, counted.chip
    keys = [(memory.name, i) for memory in chip.memories for i in range(len(memory.ports))]
    compute = counted.all_steps * layer.step_cycles
    accesses = {key: [0, 0] for key in keys}
    busy = dict.fromkeys(keys, 0)
    beside = {memory.name: Fraction(0) for memory in chip.memories}
    for move in moves:
        width = code_bits(layer, move)
        extra = layer.bits(move.operand, partial=move.partial, code=False) - width
        for visit, count in move.visits.items():
            for key, reads, port, tile in counted.ends(move, visit):
                taken = port.clocks(tile.share * width)
                accesses[key][not reads] += taken * tile.copies * count
                busy[key] += taken * count
                if extra:
                    moved = tile.elements * count * extra / port.width
                    beside[key[0]] += moved * _pj(chip, key, reads=reads)
    stalls = _stalls(counted, moves, compute, keys)
    first, last = edges(counted, moves)
    stall = max(stalls.values())
    bound = max(math.ceil(compute), *busy.values())
    cycles = max(bound, math.ceil(compute + stall) + first + last + chip.fill_cycles)
    energy = beside
    for key, (read, written) in accesses.items():
        energy[key[0]] += read * _pj(chip, key, reads=True) + written * _pj(chip, key, reads=False)
    energy["array"] = array_pj(layer, chip, counted)
    energy["static"] = cycles * chip.static_pj
    return Cost(
        cycles=cycles,
        compute=compute,
        stall=stall,
        first_load=first,
        last_store=last,
        ports={key: (accesses[key][0], accesses[key][1], busy[key], stalls[key]) for key in keys},
        energy_pj=energy,
    )


def _stalls(
    counted: Counted, moves: list[Move], compute: Fraction, keys: list[PortKey]
) -> dict[PortKey, Fraction]:
    """Return the clocks by which each port delays the array."""
    zero = Fraction(0)
    beyond, inside, late = (dict.fromkeys(keys, zero) for _ in range(3))
    windows: dict[PortKey, dict[tuple[str, str | None], Fraction]] = {key: {} for key in keys}
    for move in moves:
        width, waits, slow = code_bits(counted.layer, move), latency(move), zero
        sums: dict[PortKey, list[Fraction]] = {}
        for visit, window, count in move.timed:
            slowest: int = 0
            for key, _, port, tile in counted.ends(move, visit):
                taken = port.clocks(tile.share * width)
                both = sums.setdefault(key, [zero, zero])
                both[0] += max(zero, Fraction(taken) - window) * count
                both[1] += min(Fraction(taken), window) * count
                slowest = max(slowest, taken)
            slow += max(zero, Fraction(slowest + waits) - window) * count
        for key, (over, within) in sums.items():
            beyond[key] += max(zero, over)
            inside[key] += max(zero, within)
            edge = move.operand, move.child.name if move.child else None
            windows[key][edge] = move.windows
        if waits:
            at = move.parent.name, move.parent.port(move.operand, reads=True)
            alone = move.kind == "fetch" and not move.doubled
            late[at] = max(late[at], slow if alone else slow / 2)
    return {
        key: max(
            beyond[key] + max(zero, inside[key] - min(compute, sum(windows[key].values(), zero))),
            late[key],
        )
        for key in keys
    }


def edges(counted: Counted, moves: list[Move]) -> tuple[int, int]:
    """Return the clocks of first load and last store."""
    loads: dict[int, list[tuple[int, dict[PortKey, int], int]]] = defaultdict(list)
    last = 0
    for operand in OPERANDS:
        own = [move for move in moves if move.operand == operand and move.edge]
        for stage, move in enumerate(own):
            assert move.edge is not None
            width = code_bits(counted.layer, move)
            clocks = {
                key: port.clocks(tile.share * width)
                for key, _, port, tile in counted.ends(move, move.edge)
            }
            if operand == "output":
                last += max(clocks.values())
            elif move.child is not None:
                loads[stage].append((max(clocks.values()) + latency(move), clocks, latency(move)))
    return sum(map(first_load, loads.values())), last


def first_load(loads: list[tuple[int, dict[PortKey, int], int]]) -> int:
    """Return the clocks of first loads beside each other, by (alone, clocks by port, latency)."""
    queued: Counter[PortKey] = Counter()
    for _, clocks, _ in loads:
        queued.update(clocks)
    together = max(queued.values()) + min(waits for _, _, waits in loads)
    return max(together, *(alone for alone, _, _ in loads))


def code_bits(layer: Layer, move: Move) -> Fraction:
    """Return the bits of an element on the way: its code where array or words end."""
    code = move.child is None or move.child.words is not None
    return layer.bits(move.operand, partial=move.partial, code=code)


def latency(move: Move) -> int:
    """Return the clocks until what a parent sends is there."""
    return move.parent.latency if move.kind != "write" and move.child is not None else 0


def _pj(chip: Chip, key: PortKey, *, reads: bool) -> Fraction:
    port = chip.memory(key[0]).ports[key[1]]
    return port.read_pj if reads else port.write_pj


def array_pj(layer: Layer, chip: Chip, counted: Counted) -> Fraction:
    """Return the energy of units and tables that have work, step by step."""

    def busy(axes: tuple[str, ...]) -> int:
        return prod(
            sum(units(counted.unrolls[d], axes, extent)[0] * count
                for extent, count in counted.bottom(d, 0, size).items())
            for d, size in enumerate(layer.sizes)
        )  # fmt: skip

    worked = busy(chip.units) * (layer.step_cycles - chip.table_cycles) * chip.unit_pj
    return worked + busy(chip.table_units) * chip.table_pj


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
