"""A layer, a chip and one way to unroll as the arrays that the compiled search takes."""

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import permutations
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arch.hierarchy import OPERANDS, Hierarchy, Memory
from ..datatypes.base.errors import BitlatheError
from . import cost_kernels as kernels
from . import search_kernels
from .nest import Level, Loop, Loops, Mapping, Unroll
from .operands import OperandBits
from .space import Chains, chains, least_extents, step_counts, step_tiles, tiers_of

Ints = NDArray[np.int64]
ORDERS: Ints = np.array(list(permutations(range(3))), np.int64)
COUNTER_BITS = 62
KINDS: tuple[tuple[int, bool, tuple[str, str]], ...] = (
    (kernels.FETCH, False, ("read", "write")),
    (kernels.FINISHED, False, ("write", "read")),
    (kernels.PARTIAL, True, ("write", "read")),
    (kernels.READBACK, True, ("read", "write")),
)
"""Kinds of transfers: number, whether of unfinished sums, what they do at parent and child."""


@dataclass(frozen=True, slots=True)
class _Move:
    operand: str
    parent: Memory
    child: Memory | None
    stage: int


@lru_cache(maxsize=65536)
def _spread(radices: tuple[tuple[int, bool], ...]) -> tuple[Ints, Ints]:
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


class Packed:
    """Everything about a layer on a chip that does not depend on how it is unrolled.

    Parameters
    ----------
    layer : Loops
        A product; dimensions m, n, k and, where it has one, b.
    bits : OperandBits
    hierarchy : Hierarchy
    storage : dict of str to tuple of Memory
        The memories that keep each operand (`mapping.space.storages`).
    """

    def __init__(
        self, layer: Loops, bits: OperandBits, hierarchy: Hierarchy, storage: Chains
    ) -> None:
        self.layer, self.bits, self.hierarchy, self.storage = layer, bits, hierarchy, storage
        self.tiers = tiers_of(hierarchy)
        self.tier = {m.name: i for i, tier in enumerate(self.tiers) for m in tier}
        self.dims = tuple(layer.sizes)
        self.sizes: Ints = np.array(list(layer.sizes.values()), np.int64)
        self.ports = sorted(
            (memory.name, i) for memory in hierarchy.memories for i in range(len(memory.ports))
        )
        self.places = sorted(
            (self.tier[memory.name], memory.name, operand)
            for operand in OPERANDS
            for memory in storage[operand][1:]
        )
        self.moves = [
            _Move(operand, parent, child, stage if child else -1)
            for operand in OPERANDS
            for stage, (parent, child) in enumerate(
                zip(storage[operand], (*storage[operand][1:], None), strict=True)
            )
        ]
        self.pers = sorted({memory.per for memory in hierarchy.memories} | {hierarchy.axis_names})
        self.pace = bits.step_cycles.as_integer_ratio()
        self._pack_moves()
        self._pack_places()
        self._check_range()

    def _mask(self, operand: str) -> int:
        return sum(1 << self.dims.index(dim) for dim in self.layer.indexes[operand])

    def _pack_moves(self) -> None:
        many = len(self.moves)
        self.move_rows = np.zeros((many, 5), np.int64)
        self.ratio = np.ones((many, 4, 2, 2), np.int64)
        self.port_of = np.full((many, 4, 2), -1, np.int64)
        self.axes = np.zeros((many, 4, 2, 2), np.int64)
        self.access_pj, self.beside_pj = np.zeros((many, 4, 2)), np.zeros((many, 4, 2))
        for t, move in enumerate(self.moves):
            child = move.child
            place = 0
            if child is not None:
                place = self.places.index((self.tier[child.name], child.name, move.operand))
            self.move_rows[t] = (
                OPERANDS.index(move.operand),
                self._mask(move.operand),
                self.tier[child.name] if child else len(self.tiers),
                place,
                move.stage if move.operand != "output" else -1,
            )
            for kind, partial, ways in KINDS:
                if (kind == kernels.FETCH) == (move.operand != "output"):
                    self._pack_ends(t, move, kind, partial, ways)

    def _pack_ends(
        self, t: int, move: _Move, kind: int, partial: bool, ways: tuple[str, str]
    ) -> None:
        bits, outer = self.bits, move.parent.per
        whole = bits.of(move.operand, partial=partial)
        coded = move.child is None or move.child.words is not None
        width = bits.code(move.operand, partial=partial) if coded else whole
        inner = move.child.per if move.child else self.hierarchy.axis_names
        reached = outer if kind == kernels.READBACK else inner
        self.axes[t, kind, 0] = self.pers.index(outer)
        self.axes[t, kind, 1] = self.pers.index(inner), self.pers.index(reached)
        for end, memory in enumerate((move.parent, move.child)):
            if memory is None:
                continue
            i = memory.port(ways[end], move.operand)  # type: ignore[arg-type]
            port = memory.ports[i]
            pj = port.read_pj if ways[end] == "read" else port.write_pj
            self.port_of[t, kind, end] = self.ports.index((memory.name, i))
            self.ratio[t, kind, end] = (width / port.width_bits).as_integer_ratio()
            self.access_pj[t, kind, end] = pj
            self.beside_pj[t, kind, end] = float((whole - width) / port.width_bits) * pj

    def _pack_places(self) -> None:
        many = len(self.places)
        names = sorted(memory.name for memory in self.hierarchy.memories)
        self.place_rows = np.zeros((many, 6), np.int64)
        self.held_ratio = np.ones((many, 2, 2), np.int64)
        self.room = np.full(len(names), np.iinfo(np.int64).max, np.int64)
        self.doublable = 0
        for memory in self.hierarchy.memories:
            for size in (memory.size_bits, memory.words):
                if size is not None:
                    self.room[names.index(memory.name)] = size
        for i, (tier, name, operand) in enumerate(self.places):
            memory = self.hierarchy.memory(name)
            chain = [each.name for each in self.storage[operand]]
            inside = chain[chain.index(name) + 1 :]
            self.place_rows[i] = (
                names.index(name),
                tier,
                self._mask(operand),
                self.pers.index(memory.per),
                OPERANDS.index(operand),
                self.tier[inside[0]] if inside else len(self.tiers),
            )
            if memory.words is None:
                for partial in (False, True):
                    width = self.bits.of(operand, partial=partial and operand == "output")
                    self.held_ratio[i, int(partial)] = width.as_integer_ratio()
            self.doublable |= (1 << i) if memory.double_buffered else 0

    def _check_range(self) -> None:
        """Refuse what 64-bit counters do not hold."""
        most = max(int(self.ratio.max()), int(self.held_ratio.max(initial=1)))
        clocks = self.layer.macs * max(self.pace) * most * 8
        if clocks.bit_length() > COUNTER_BITS:
            raise BitlatheError(
                f"{self.layer.macs} multiply-accumulates at widths and rates with denominators "
                f"of up to {most} do not fit the search's 64-bit counters; use rounder bits of an "
                "element, or a rounder DRAM bandwidth."
            )

    def _moved_pj(self, t: int, elements: float, more: Any = 0.0) -> Any:
        """Return the energy of elements that a transfer moves once, and ``more`` again."""
        rates = self.ratio[t, :, :, 0] / self.ratio[t, :, :, 1] * self.access_pj[t]
        pj = np.where(self.port_of[t] >= 0, rates, 0.0).sum(axis=1)
        if self.moves[t].operand != "output":
            return pj[kernels.FETCH] * (elements + more)
        again = pj[kernels.PARTIAL] + pj[kernels.READBACK]
        return pj[kernels.FINISHED] * elements + again * more

    def _elements(self, operand: str) -> float:
        return float(prod(self.layer.sizes[dim] for dim in self.layer.indexes[operand]))

    @cached_property
    def floor_pj(self) -> float:
        """Least energy of what memories move between them, whatever the unrolling.

        That of the first tier's best tiles with a step's tile of one element, which has the blocks
        of any other tiles and needs no more room; transfers further in happen once.
        """
        deeper = 0.0
        for t, move in enumerate(self.moves):
            if 1 < self.move_rows[t, kernels.TIER] < len(self.tiers):
                deeper += self._moved_pj(t, self._elements(move.operand))
        tiles = [
            np.array(least_extents(self.layer.sizes[dim], self.layer.sizes[dim]))
            if dim != "b"
            else np.array([1])
            for dim in self.dims
        ]
        grid = dict(zip(self.dims, np.ix_(*tiles), strict=True))
        fits = self._roomy(grid)
        if not fits.any():
            return deeper
        return deeper + min(self._outer_pj(grid, fits, innermost) for innermost in self.dims[:3])

    def _outer_pj(self, grid: dict[str, Any], fits: Any, innermost: str) -> float:
        """Return the least energy of the first tier's transfers with one dimension innermost."""
        total = np.zeros(fits.shape)
        for t, move in enumerate(self.moves):
            if self.move_rows[t, kernels.TIER] == 1:
                again: Any = 1.0
                for dim, tile in grid.items():
                    if dim not in self.layer.indexes[move.operand] and dim != innermost:
                        again = again * -(-self.layer.sizes[dim] // tile)
                elements = self._elements(move.operand)
                total = total + self._moved_pj(t, elements, elements * (again - 1.0))
        return float(total[fits].min())

    def _roomy(self, grid: dict[str, Any]) -> Any:
        """Return which tiles the chip-wide memories of the first tier hold."""
        shape = tuple(tile.size for tile in grid.values())
        needs: dict[int, Any] = {}
        for (tier, name, operand), row, ratio in zip(
            self.places, self.place_rows, self.held_ratio, strict=True
        ):
            if tier == 1 and not self.hierarchy.memory(name).per:
                share: Any = 1
                for dim in self.layer.indexes[operand]:
                    share = share * grid[dim]
                held = -(-share * ratio[0, 0] // ratio[0, 1])
                needs[int(row[0])] = needs.get(int(row[0]), 0) + held
        fits = np.ones(shape, np.bool_)
        for memory, needed in needs.items():
            fits &= np.broadcast_to(needed <= self.room[memory], shape)
        return fits

    @cached_property
    def waiting_cycles(self) -> int:
        """Clocks of fill and drain, and of the latencies of the first load."""
        latency: dict[int, int] = {}
        for move in self.moves:
            if move.operand != "output" and move.child is not None:
                stage = latency.get(move.stage, 0)
                latency[move.stage] = max(stage, move.parent.latency_cycles)
        return self.hierarchy.fill_cycles + sum(latency.values())

    def units_pj(self, way: tuple[Unroll, ...]) -> float:
        """Return the energy of the array's units: those with work, step by step."""
        return self.hierarchy.array_pj(lambda axes: self._busy(way, axes), self.bits.step_cycles)

    def _busy(self, way: tuple[Unroll, ...], axes: tuple[str, ...]) -> int:
        """Return the units of some axes that have work, summed over all steps."""
        busy, tiles = 1, step_tiles(self.layer, way)
        for dim, size in self.layer.sizes.items():
            table = _spread(tuple((u.size, u.axis in axes) for u in way if u.dim == dim))[0]
            full, rest = divmod(size, tiles[dim])
            busy *= full * int(table[-1]) + int(table[rest])
        return busy

    def bounds(self, way: tuple[Unroll, ...]) -> tuple[int, float]:
        """Return clocks and energy that no mapping of a way to unroll undercuts."""
        counts = dict(zip(self.dims, step_counts(self.layer, way), strict=True))
        cycles = math.ceil(prod(counts.values()) * self.bits.step_cycles) + self.waiting_cycles
        energy = self.units_pj(way) + self.floor_pj + cycles * self.hierarchy.static_pj
        for pj, more_pj, again, elements in self._array_pj:
            times = prod(counts[dim] for dim in again)
            energy += elements * (pj + more_pj * (times - 1))
        return cycles, energy * (1 - 1e-9)

    @cached_property
    def _array_pj(self) -> list[tuple[float, float, tuple[str, ...], float]]:
        """What the array moves: pJ an element, again, the dimensions of which steps repeat it."""
        found = []
        for t, move in enumerate(self.moves):
            if move.child is None:
                again = tuple(d for d in self.dims if d not in self.layer.indexes[move.operand])
                once, twice = float(self._moved_pj(t, 1.0)), float(self._moved_pj(t, 1.0, 1.0))
                found.append((once, twice - once, again, self._elements(move.operand)))
        return found

    def unrolled(self, way: tuple[Unroll, ...]) -> "Unrolled":
        """Return the arrays for one way to unroll."""
        return Unrolled(self, way)


class Unrolled:
    """The arrays of `search_kernels.search_tiles` for one way to unroll."""

    def __init__(self, packed: Packed, way: tuple[Unroll, ...]) -> None:
        self.packed, self.way = packed, way
        layer, dims = packed.layer, packed.dims
        steps = step_tiles(layer, way)
        self.step_tile: Ints = np.array([steps[dim] for dim in dims], np.int64)
        longest = int(self.step_tile.max()) + 1
        shape = (len(packed.pers), len(dims), longest)
        reached, share = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for p, per in enumerate(packed.pers):
            for d, dim in enumerate(dims):
                radices = tuple((u.size, u.axis in per) for u in way if u.dim == dim)
                tables = _spread(radices)
                for table, values in zip((reached, share), tables, strict=True):
                    table[p, d, : values.size] = values
        plan = (packed.move_rows, packed.axes, self.step_tile, reached, share)
        pace: Ints = np.array(packed.pace, np.int64)
        summed = [d for d, dim in enumerate(dims) if dim not in layer.indexes["output"]]
        once = all(steps[dims[d]] >= layer.sizes[dims[d]] for d in summed)
        layout = (
            packed.place_rows,
            packed.held_ratio,
            packed.room,
            np.array([int(once)], np.int64),
        )
        prices = (packed.ratio, packed.port_of, packed.access_pj, packed.beside_pj, pace)
        self.orders = ORDERS
        self.prepared = (packed.sizes, plan, prices, layout)
        kept = [
            {dim for memory in tier for op in OPERANDS if memory in packed.storage[op]
             for dim in layer.indexes[op]}
            for tier in packed.tiers[1:]
        ]  # fmt: skip
        lists = [
            np.ones((1, len(kept) + 1), np.int64)
            if dim == "b" and steps[dim] == 1
            else chains(layer.sizes[dim], steps[dim], tuple(dim in some for some in kept))
            for dim in dims
        ]
        self.chain_lists = [self._fitting(d, each, share) for d, each in enumerate(lists)]
        self.counts: Ints = np.array([len(each) for each in self.chain_lists], np.int64)
        self.chains = np.ones((len(dims), int(self.counts.max()), len(kept) + 1), np.int64)
        for d, each in enumerate(self.chain_lists):
            self.chains[d, : len(each)] = each
        self.fixed: Ints = np.array(
            [packed.waiting_cycles, len(packed.ports), packed.doublable, 1], np.int64
        )
        self.fixed_pj = np.array(
            [packed.units_pj(way), packed.floor_pj, packed.hierarchy.static_pj]
        )

    def _fitting(self, d: int, chain: Ints, share: Ints) -> Ints:
        """Leave out the chains of a dimension that do not fit with a step's tile of the others."""
        packed, step = self.packed, int(self.step_tile[d])
        fits = np.ones(len(chain), np.bool_)
        for row, ratio in zip(packed.place_rows, packed.held_ratio, strict=True):
            memory, tier, indexed, per = row[:4].tolist()
            if not indexed >> d & 1:
                continue
            others = prod(
                int(share[per, e, min(self.step_tile[e], packed.sizes[e])])
                for e in range(len(packed.dims))
                if e != d and indexed >> e & 1
            )
            tiles = np.minimum(chain[:, tier - 1], packed.sizes[d])
            mine = tiles // step * share[per, d, step] + share[per, d, tiles % step]
            held = -(-mine * others * ratio[0, 0] // ratio[0, 1])
            fits &= held <= packed.room[memory]
        return chain[fits]

    def search(self, objective: int, limit: int, best: Any, found: Ints) -> int:
        """Try all mappings of this unrolling; see `search_kernels.search_tiles`.

        Parameters
        ----------
        objective : int
            Index of the objective.
        limit : int
            Mappings to cost at most.
        best : (2,) float64 array
            Clocks and energy of the best mapping so far; overwritten.
        found : (5,) int64 array
            Which mapping that is; overwritten.
        """
        if not self.counts.all():
            return 0
        evaluated: int = search_kernels.search_tiles(
            self.chains,
            self.counts,
            (*self.prepared, self.orders),
            self.fixed,
            self.fixed_pj,
            objective,
            limit,
            best,
            found,
        )
        return evaluated

    def mapping(self, found: Ints) -> Mapping:
        """Return the mapping that the search found."""
        number, outer, inside, mask = (int(value) for value in found[:4])
        tiles = []
        for each in self.chain_lists:
            tiles.append(tuple(each[number % len(each)].tolist()))
            number //= len(each)
        orders = [outer]
        for _ in self.packed.tiers[1:]:
            orders.append(inside % len(self.orders))
            inside //= len(self.orders)
        return self.nest(tiles, orders, mask)

    def nest(self, tiles: list[tuple[int, ...]], orders: list[int], mask: int) -> Mapping:
        """Return the mapping of tiles (of each dimension), orders (of each group) and doublings."""
        packed, levels = self.packed, []
        extent = dict(packed.layer.sizes)
        for g, tier in enumerate(packed.tiers):
            kept = [
                (memory.name, tuple(op for op in OPERANDS if memory in packed.storage[op]))
                for memory in tier
            ]
            loops = []
            for d in ([3] if len(packed.dims) > 3 else []) + self.orders[orders[g]].tolist():
                dim, tile = packed.dims[d], tiles[d][g]
                if tile < extent[dim]:
                    loops.append(Loop(dim, tile))
                    extent[dim] = tile
            named = [(name, keeps) for name, keeps in kept if keeps]
            for i, (name, keeps) in enumerate(named):
                doubled = tuple(
                    op for op in keeps if g and mask >> packed.places.index((g, name, op)) & 1
                )
                last = i == len(named) - 1
                levels.append(
                    Level(
                        memory=name,
                        keeps=keeps,
                        loops=tuple(loops) if last else (),
                        doubled=doubled,
                    )
                )
            if not named and loops:
                inner = levels.pop()
                levels.append(
                    Level(
                        memory=inner.memory,
                        keeps=inner.keeps,
                        loops=(*inner.loops, *loops),
                        doubled=inner.doubled,
                    )
                )
        return Mapping(levels=tuple(levels), spatial=self.way)
