"""A layer and a chip as the arrays that the compiled search takes, however it is unrolled."""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from itertools import permutations
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arch.hierarchy import OPERANDS, Hierarchy, Memory
from ..datatypes.base.errors import BitlatheError
from ..datatypes.base.numbers import ceil_div
from . import bound_kernels, nest_kernels, shared_kernels
from . import cost_kernels as kernels
from .bound_kernels import NONE
from .constraints import Constraints
from .nest import Loops, Unroll, dims_of
from .operands import OperandBits
from .pixels import pixel_table
from .space import FREE, Chains, Ways, busy_units, kinds_of, step_tiles, tiers_of
from .tier_floors import TierTiles, floors_of, tiles_of

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
ORDERS: Ints = np.array(list(permutations(range(3))), np.int64)
COUNTER_BITS = 62
LESS = 1 - 1e-9  # below a sum of floats by more than their rounding errors
_CELLS_OF_A_WAY = 300  # tiles of two dimensions that are bounded in the time of a way
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


@lru_cache(maxsize=256)
def _allowed(tiers: tuple[tuple[str, ...], ...], constraints: Constraints) -> NDArray[np.bool_]:
    found = np.zeros((len(tiers), len(ORDERS), 8), np.bool_)
    for g, names in enumerate(tiers):
        for i, order in enumerate(ORDERS.tolist()):
            for live in range(8):
                some = [d for d in order if live >> d & 1]
                none = [d for d in range(3) if not live >> d & 1]
                found[g, i, live] = order == some + none and constraints.allows(
                    list(names), ["mnk"[kind] for kind in some]
                )
    return found


class Packed:
    """Everything about a layer on a chip that does not depend on how it is unrolled.

    Parameters
    ----------
    layer : Loops
        A product, of dimensions m, n, k and, where it has one, b; or a convolution
        (`mapping.space.searchable`).
    bits : OperandBits
    hierarchy : Hierarchy
    storage : dict of str to tuple of Memory
        The memories that keep each operand (`mapping.space.storages`).
    constraints : Constraints
        What tiles and orders must keep to.
    """

    def __init__(
        self,
        layer: Loops,
        bits: OperandBits,
        hierarchy: Hierarchy,
        storage: Chains,
        constraints: Constraints = FREE,
    ) -> None:
        self.constraints = constraints
        self._bounded: tuple[Ways, Ints, Floats] | None = None
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
        known = {memory.per for memory in hierarchy.memories} | {hierarchy.axis_names}
        self.pers = sorted(known | {self._apart(move) for move in self.moves})
        self.pace = bits.step_cycles.as_integer_ratio()
        self._pack_moves()
        self._pack_places()
        self._check_range()

    def _apart(self, move: _Move) -> tuple[str, ...]:
        """Return the axes whose units read what a parent gives one by one."""
        inner = move.child.per if move.child else self.hierarchy.axis_names
        return self.hierarchy.read_apart(move.parent.per, inner)

    def _mask(self, operand: str) -> int:
        return sum(1 << self.dims.index(dim) for dim in self.layer.indexes[operand])

    def _pack_moves(self) -> None:
        many = len(self.moves)
        self.move_rows = np.zeros((many, kernels.MOVE_COLUMNS), np.int64)
        self.ends = np.zeros((many, 4, 2, kernels.END_COLUMNS), np.int64)
        self.ends[..., kernels.PORT] = -1
        self.ends[..., kernels.UP : kernels.DOWN + 1] = 1
        self.pj = np.zeros((many, 4, 2, 2))
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
                move.parent.latency_cycles if child else 0,
            )
            for kind, partial, ways in KINDS:
                if (kind == kernels.FETCH) == (move.operand != "output"):
                    self._pack_ends(t, move, kind, partial, ways)

    def _pack_ends(
        self, t: int, move: _Move, kind: int, partial: bool, ways: tuple[str, str]
    ) -> None:
        bits, outer = self.bits, move.parent.per
        stored, width = bits.of(move.operand, partial=partial), self.width(move, partial=partial)
        inner = move.child.per if move.child else self.hierarchy.axis_names
        reached = outer if kind == kernels.READBACK else inner
        apart = self._apart(move) if kind == kernels.FETCH else ()
        self.ends[t, kind, 0, kernels.OWN : kernels.APART] = self.pers.index(apart or outer)
        self.ends[t, kind, 0, kernels.APART] = bool(apart)
        self.ends[t, kind, 1, kernels.OWN] = self.pers.index(inner)
        self.ends[t, kind, 1, kernels.REACHED] = self.pers.index(reached)
        for end, memory in enumerate((move.parent, move.child)):
            if memory is None:
                continue
            i = memory.port(ways[end], move.operand)  # type: ignore[arg-type]
            port = memory.ports[i]
            pj = port.read_pj if ways[end] == "read" else port.write_pj
            at = self.ends[t, kind, end]
            at[kernels.PORT] = self.ports.index((memory.name, i))
            piece = port.width_bits if port.burst_bits is None else Fraction(port.burst_bits)
            ratio = (width / piece).as_integer_ratio()
            if port.burst_bits is not None:
                clocks = (piece / port.width_bits).as_integer_ratio()
                at[kernels.BURST_UP], at[kernels.BURST_DOWN] = clocks
            if max(ratio).bit_length() > COUNTER_BITS:
                raise BitlatheError(
                    f"memory {memory.name!r}: a port of {float(port.width_bits):g} bits a clock "
                    f"takes {move.operand}s at {ratio[0]}/{ratio[1]} clocks an element, which the "
                    "search's 64-bit counters do not hold; give a rounder width."
                )
            at[kernels.UP], at[kernels.DOWN] = ratio
            self.pj[t, kind, end] = pj, float((stored - width) / port.width_bits) * pj

    def width(self, move: _Move, *, partial: bool) -> Fraction:
        """Return the bits of an element on the way: its code where the array or registers end."""
        if move.child is None or move.child.words is not None:
            return self.bits.code(move.operand, partial=partial)
        return self.bits.of(move.operand, partial=partial)

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
        """Refuse what 64-bit counters do not hold: bits of a tile, and clocks of a layer.

        A tile's bits are counted as elements times a numerator, of one product of a batch; clocks
        of all transfers are at most the multiply-accumulates times the clocks of an element and the
        latency, in units of the pace.
        """
        ratios = self.ends[..., kernels.UP : kernels.DOWN + 1].reshape(-1, 2)
        most = max(int(ratios.max()), int(self.held_ratio.max(initial=1)))
        elements = max(self.layer.elements(operand) for operand in OPERANDS)
        elements = 4 * elements if self.layer.windows else elements // self.layer.sizes.get("b", 1)
        slowest = 1 + max(int(up) // int(down) for up, down in ratios)
        slowest *= 1 + int(self.ends[..., kernels.BURST_UP].max())
        late = max(memory.latency_cycles for memory in self.hierarchy.memories)
        clocks = self.layer.macs * max(self.pace) * (8 * slowest + 2 * late)
        if max(elements * most, clocks).bit_length() > COUNTER_BITS:
            raise BitlatheError(
                f"{self.layer.macs} multiply-accumulates at widths and rates with denominators "
                f"of up to {most} do not fit the search's 64-bit counters; use rounder bits of an "
                "element, or a rounder DRAM bandwidth."
            )

    def plan(self, step_tile: Ints, reached: Ints, shares: Ints, pixels: Ints) -> tuple[Any, ...]:
        """Return what `cost_kernels` calls a plan, for one way to unroll.

        Parameters
        ----------
        step_tile, reached, shares, pixels : int64 array
            As `cost_kernels` has them.
        """
        pace: Ints = np.array(self.pace, np.int64)
        kinds: Ints = np.array([kinds_of(self.layer)[dim] for dim in self.dims], np.int64)
        pairs = [(self.dims.index(w.out), self.dims.index(w.tap)) for w in self.layer.windows]
        windows: Ints = np.array(pairs, np.int64).reshape(-1, 2)
        return (
            self.move_rows, self.ends, self.pj, self.sizes, step_tile, pace, reached, shares,
            windows, pixels, kinds,
        )  # fmt: skip

    def layout(self, once: bool) -> tuple[Ints, Ints, Ints, Ints]:
        """Return the places, bits of an element there, room, and whether one step adds all up."""
        return self.place_rows, self.held_ratio, self.room, np.array([int(once)], np.int64)

    @cached_property
    def scratch(self) -> tuple[Any, ...]:
        """The arrays that `search_kernels.search_tiles` computes in (`scratch_kernels`)."""
        groups, many, ports = len(self.tiers), len(self.dims), len(self.ports)
        loops, places, moves = groups * many, len(self.places), len(self.moves)
        slots = 1 + (1 << shared_kernels.SLOT_BITS * (groups - 1))
        sums = kernels.SUM_ROWS, kernels.SUM_COLUMNS

        def ints(*shape: int) -> Ints:
            return np.zeros(shape, np.int64)

        return (
            ints(ports, kernels.PORT_COLUMNS),  # sums of the ports for what the array takes
            ints(ports, kernels.PORT_COLUMNS),  # and for a mapping
            ints(moves, slots, *sums),  # sums of transfers by slot (`shared_kernels`)
            np.zeros((moves, slots)),  # and their energy
            ints(kernels.WORK_ROWS, max(4, loops)),
            ints(loops + 2, many + 2),
            ints(groups, many),  # tiles
            (ints(loops), ints(loops)),  # loops: dimensions, tiles
            ints(groups + 1),  # loops outside each tier
            ints(1 << places),  # sets of doubled places that fit
            ints(places),  # places that hold unfinished sums
            ints(places, 2),  # what one tile takes at each place
            ints(len(self.room)),
            ints(4 + groups, max(many, ports) + 2),  # edges
            np.zeros((4, ports)),  # clocks that ports take at least (`bound_kernels`)
            np.zeros(bound_kernels.OUT),  # bounds
            ints(many),  # chains
            ints(groups, many),  # chains to try of each level: the first,
            ints(groups, many),  # and where they end
            ints(groups + 1),  # candidates of each level: the next one,
            ints(groups + 1),  # and where they end
            np.zeros((3, 1 + 2 * ports)),  # energy and clocks that tiers without tiles take,
            np.zeros((groups, 1 + 2 * ports)),  # and those of each level take, at least
            ints(groups),  # clocks beside the steps, by level
            ints(len(ORDERS), ports, nest_kernels.ORDER_COLUMNS),  # what outermost loops move,
            np.zeros(len(ORDERS)),  # and its energy
            ints(2),  # chains of the first two dimensions
            (  # counts of the mapping kept last: of transfers and ports, clocks of the edges
                ints(moves, *sums),
                ints(ports, kernels.PORT_COLUMNS),
                ints(2),
            ),
            ints(moves, slots, ports, kernels.PORT_COLUMNS),  # what slots take of the ports,
            ints(moves, slots + 1),  # and which are filled
            (ints(len(ORDERS), moves, *sums), np.zeros((len(ORDERS), moves))),  # two outer tiles
            (  # of a nest: order of each group, kinds with loops, slots of one tile; places of
                # unfinished sums, how many sets of doubled places fit, clocks of the last store
                ints(groups),
                ints(groups),
                ints(moves),
                ints(3),
            ),
            ints(*sums),  # sums of what has no window
        )

    def rates(self, plan: tuple[Any, ...]) -> tuple[Any, Any, Any]:
        """Return what one element takes; see `bound_kernels.move_rates`."""
        many = len(self.moves)
        found = np.zeros((many, 4, len(self.ports))), np.zeros((many, 2)), np.zeros(many)
        bound_kernels.move_rates(plan, found)
        return found

    def _elements(self, operand: str) -> float:
        return float(self.layer.elements(operand))

    @cached_property
    def _flat(self) -> tuple[tuple[Any, ...], tuple[Any, Any, Any]]:
        """The plan, and what one element takes, with a step's tile of one element."""
        dims = len(self.dims)
        table = np.zeros((len(self.pers), dims, 2), np.int64)
        table[:, :, 1] = 1
        plan = self.plan(np.ones(dims, np.int64), table, table, pixel_table(self.layer, self.pers))
        return plan, self.rates(plan)

    @property
    def rates_of_one(self) -> tuple[Any, Any, Any]:
        """What one element takes, with a step's tile of one."""
        return self._flat[1]

    @cached_property
    def once_pj(self) -> float:
        """Energy of what memories move between them, each element once."""
        energy = self._flat[1][1]
        return math.fsum(
            float(energy[t, 0]) * self._elements(move.operand)
            for t, move in enumerate(self.moves)
            if move.child is not None
        )

    @cached_property
    def allowed(self) -> NDArray[np.bool_]:
        """Which orders of a tier's loops are to be tried, by which kinds have a loop.

        Those without a loop stand last there, ascending: any other place is the same nest.
        """
        names = tuple(tuple(memory.name for memory in tier) for tier in self.tiers)
        return _allowed(names, self.constraints)

    @cached_property
    def floor(self) -> tuple[float, float]:
        """Least clocks of the busiest port, and energy, of what memories move, however unrolled.

        That of each tier's best tiles with a step's tile of one element, which has the blocks of
        any other tiles and needs no more room. Copies of a memory have as much room as all of them,
        and share what goes through their ports.
        """
        tiers = self.least_tiers
        if not len(tiers) or tiers[0, 0].min() >= NONE:
            return 0.0, self.once_pj
        busiest = self._tier_floors[0, 1 + len(self.ports) :].max(axis=0)
        return float(busiest.min()), max(self.once_pj, float(tiers[0, 0, 0, 0]))

    @cached_property
    def _tier_floors(self) -> Floats:
        """What no tiles of a tier undercut with a step's tile of one element (`floors_of`)."""
        plan, (clocks, energy, elements) = self._flat
        places, ratios, room, once = self.layout(self._may_sum_at_once)
        axes = {axis.name: axis.size for axis in self.hierarchy.axes}
        copies = {m.name: prod(axes[name] for name in m.per) for m in self.hierarchy.memories}
        most = np.iinfo(np.int64).max
        held = zip(sorted(copies), room.tolist(), strict=True)
        room = np.array([min(most, size * copies[name]) for name, size in held], np.int64)
        shared = np.array([copies[name] for name, _ in self.ports])
        return floors_of(
            self.tier_tiles([1] * len(self.dims)),
            plan,
            (places, ratios, room, once),
            (clocks / shared, energy, elements),
        )[0]

    @cached_property
    def least_tiers(self) -> Floats:
        """What no tiles of a tier undercut, however unrolled: (G - 1, 1 + 2 P, 1, 1).

        Clocks of which some may be spared are left out: larger steps may spare more.
        """
        if len(self.tiers) == 1:
            return np.zeros((0, 1 + 2 * len(self.ports), 1, 1))
        found: Floats = self._tier_floors.min(axis=(2, 3), keepdims=True)
        found[:, 1 : 1 + len(self.ports)] = 0.0
        return found

    @property
    def _may_sum_at_once(self) -> bool:
        """Whether some way to unroll may add up all of a result in one step."""
        return all(
            prod(axis.size for axis in self.hierarchy.axes if dim in dims_of(axis.dims)) >= size
            for dim, size in self.layer.sizes.items()
            if dim not in self.layer.indexes["output"]
        )

    def tier_tiles(self, steps: list[int]) -> TierTiles:
        """Return the tiles that tiers may have.

        Parameters
        ----------
        steps : list of int
            What a step of the array does of each dimension.
        """
        kinds, lists = kinds_of(self.layer), []
        least = np.array([steps] * (len(self.tiers) - 1), np.int64).reshape(-1, len(steps))
        for d, (dim, size) in enumerate(self.layer.sizes.items()):
            tiles = tiles_of(int(size), steps[d])
            if kinds[dim] == 3:
                tiles = (steps[d],)
            elif self.layer.windows and dim in "qrs":
                for tier, memories in enumerate(self.tiers[1:]):
                    least[tier, d] = steps[d] if memories[0].per else tiles[0]
            lists.append(tiles)
        return TierTiles(lists=tuple(lists), least=least)

    @cached_property
    def waiting_cycles(self) -> int:
        """Clocks of fill and drain, and of the latencies of the first load, at least."""
        latency: dict[int, int] = {}
        for move in self.moves:
            if move.operand != "output" and move.child is not None:
                own = move.parent.latency_cycles
                latency[move.stage] = min(latency.get(move.stage, own), own)
        return self.hierarchy.fill_cycles + sum(latency.values())

    def units_pj(self, ways: Ways) -> NDArray[np.float64]:
        """Return the energy of the array's units with work, by way to unroll, step by step."""
        chip = self.hierarchy
        total = np.zeros(len(ways))
        for axes in sorted({chip.units, chip.table_units}):
            one = chip.array_pj(lambda some: int(some == axes), self.bits.step_cycles)  # noqa: B023
            if one:
                total += ways.busy_units(axes) * one
        return total

    def steps_of(self, way: tuple[Unroll, ...]) -> int:
        """Return the steps of the array that a way to unroll takes."""
        tiles = step_tiles(self.layer, way)
        return prod(ceil_div(size, tiles[dim]) for dim, size in self.layer.sizes.items())

    def busy_units(self, way: tuple[Unroll, ...], axes: tuple[str, ...]) -> int:
        """Return the units of some axes that have work, summed over all steps of a way."""
        return prod(busy_units(dim, size, way, axes) for dim, size in self.layer.sizes.items())

    def bounds(self, ways: Ways) -> tuple[Ints, Floats]:
        """Return clocks and energy that no mapping undercuts, by way to unroll.

        What the array takes and leaves is rounded up to whole accesses all together, and memories
        move each element once.
        """
        cycles, energy = self.step_bounds(ways)
        return cycles, (energy + self.once_pj + cycles * self.hierarchy.static_pj) * LESS

    def floor_bounds(
        self, ways: Ways, some: Ints, cycles: Ints, energy: Floats
    ) -> tuple[Ints, Floats]:
        """Return sharper bounds of some ways, with what memories move at least.

        Where the ways are so few that looking into each takes less they stay as they are.

        Parameters
        ----------
        ways : Ways
        some : (N,) int64 array
            Numbers of ways.
        cycles, energy : (N,) arrays
            Their bounds so far.
        """
        tiles = self.tier_tiles([1] * len(self.dims)).lists
        if len(some) * _CELLS_OF_A_WAY < len(tiles[0]) * len(tiles[1]):
            return cycles, energy
        least, least_pj = self.floor
        found = np.maximum(cycles, math.ceil(least))
        more = least_pj - self.once_pj + (found - cycles) * self.hierarchy.static_pj
        return found, energy + more * LESS

    def step_bounds(self, ways: Ways) -> tuple[Ints, NDArray[np.float64]]:
        """Return clocks of the steps, and energy of the array and what it takes, by way."""
        if self._bounded is not None and self._bounded[0] is ways:
            return self._bounded[1:]
        up, down = self.pace
        cycles: Ints = -(-(ways.steps * up) // down) + self.waiting_cycles
        energy = self.units_pj(ways)
        rates = self._flat[1][1]
        for t, move in enumerate(self.moves):
            if move.child is None:
                times = np.ones(len(ways), np.int64)
                for d, dim in enumerate(self.dims):
                    if dim not in self.layer.indexes[move.operand]:
                        times = times * ways.counts[:, d]
                once, again = rates[t].tolist()
                energy += self._elements(move.operand) * (once + again * (times - 1))
        self._bounded = ways, cycles, energy
        return cycles, energy
