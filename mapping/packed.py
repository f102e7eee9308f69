"""A layer and a chip as the arrays that the compiled search takes, however it is unrolled."""

import math
from dataclasses import replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arch.hierarchy import OPERANDS, Hierarchy
from ..datatypes.base.errors import BitlatheError
from . import (
    alike_kernels,
    bound_kernels,
    cell_kernels,
    nest_kernels,
    pair_kernels,
    shared_kernels,
    window_kernels,
)
from . import cost_kernels as kernels
from .bound_kernels import NONE
from .constraints import Constraints
from .frame import COUNTER_BITS, ORDERS, frame_of
from .nest import Loops, dims_of
from .operands import OperandBits
from .pixels import pixel_table, window_rows
from .space import FREE, Chains, Ways, kinds_of
from .tier_floors import TierTiles, floors_of, tiles_alike, tiles_of

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
LESS = 1 - 1e-9  # below a sum of floats by more than their rounding errors
_CELLS_OF_A_WAY = 300  # tiles of two dimensions that are bounded in the time of a way


class TooFineError(BitlatheError):
    """Bits of elements whose denominators 64-bit counters do not hold."""


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
        self._units: tuple[Ways, Floats] | None = None
        self._open: tuple[Ways, tuple[Ints, tuple[Any, ...]]] | None = None
        self._steps: list[tuple[int, ...]] | None = None
        self.layer, self.bits, self.hierarchy, self.storage = layer, bits, hierarchy, storage
        self.dims = tuple(layer.sizes)
        self.sizes: Ints = np.array(list(layer.sizes.values()), np.int64)
        frame = frame_of(layer.indexes, self.dims, bits, hierarchy, storage, constraints)
        self.frame = frame
        self.tiers, self.ports, self.places = frame.tiers, frame.ports, frame.places
        self.moves, self.pers, self.pace = frame.moves, frame.pers, frame.pace
        self.move_rows, self.ends, self.pj = frame.move_rows, frame.ends, frame.pj
        self.place_rows, self.held_ratio = frame.place_rows, frame.held_ratio
        self.room, self.doublable, self.width = frame.room, frame.doublable, frame.width
        self.allowed, self.unbounded = frame.allowed, frame.unbounded
        self.rooms, self.held_ratios = frame.rooms, frame.held_ratios
        self.kept_by_tier, self.end_ports = frame.kept_by_tier, frame.end_ports
        kinds = kinds_of(layer)
        self._kinds: Ints = np.array([kinds[dim] for dim in self.dims], np.int64)
        self._pace: Ints = np.array(self.pace, np.int64)
        self._windows = window_rows(layer)
        self._check_range()

    def _check_range(self) -> None:
        """Refuse what 64-bit counters do not hold: bits of a tile, and clocks of a layer.

        A tile's bits are counted as elements times a numerator, of one product of a batch; clocks
        of all transfers are at most the multiply-accumulates times the clocks of an element and the
        latency, in units of the pace.
        """
        most = self.frame.most
        elements = max(self.layer.elements(operand) for operand in OPERANDS)
        elements = 4 * elements if self.layer.windows else elements // self.layer.sizes.get("b", 1)
        slowest = 8 * self.frame.slowest + 2 * self.frame.latest
        clocks = self.layer.macs * max(self.pace) * slowest
        if max(elements * most, clocks).bit_length() > COUNTER_BITS:
            raise TooFineError(
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
        return (
            self.move_rows, self.ends, self.pj, self.sizes, step_tile, self._pace, reached, shares,
            self._windows, pixels, self._kinds,
        )  # fmt: skip

    @cached_property
    def held_rows(self) -> list[tuple[int, int, int, int]]:
        """Memory, tier, dimensions of which a tile has all elements, axes of copies, by place."""
        return [
            (memory, tier, indexed & ~self._slid(indexed), per)
            for memory, tier, indexed, per in self.place_rows[:, :4].tolist()
        ]

    def _slid(self, indexed: int) -> int:
        """Return the taps of an operand's windows, as a mask: a block has a pixel an output.

        And the outputs, where some may read nothing but border.
        """
        layer, dims = self.layer, self.dims
        if not layer.windows:
            return 0
        outs = sum(1 << dims.index(window.out) for window in layer.windows)
        taps = sum(1 << dims.index(window.tap) for window in layer.windows)
        if (outs | taps) & ~indexed:
            return 0
        border = layer.elements("input") < layer.bordered().elements("input")
        return outs | taps if border else taps

    def layout(self, once: bool) -> tuple[Ints, Ints, Ints, Ints]:
        """Return the places, bits of an element there, room, and whether one step adds all up."""
        return self.place_rows, self.held_ratio, self.room, np.array([int(once)], np.int64)

    @cached_property
    def scratch(self) -> tuple[Any, ...]:
        """The arrays that `search_kernels.search_tiles` computes in (`scratch_kernels`).

        Zeros at first: those that a search of a layer of as many dimensions, on a chip of as many
        memories and ports, has given back (`give_back`), or new ones.
        """
        free = _FREE.get(self._shape)
        found: tuple[Any, ...] = free.pop() if free else _scratch_for(*self._shape)
        _clear(found)
        return found

    def give_back(self) -> None:
        """Leave the arrays that were computed in to other searches."""
        if "scratch" in vars(self):
            _FREE.setdefault(self._shape, []).append(vars(self).pop("scratch"))

    @cached_property
    def _shape(self) -> tuple[Any, ...]:
        """What decides how large the arrays are (`_scratch_for`)."""
        border = self._windows[:, window_kernels.AHEAD] + self._windows[:, window_kernels.BEHIND]
        return (
            len(self.tiers), len(self.dims), len(self.ports), len(self.places), len(self.moves),
            len(self.room), tuple(border.tolist()),
        )  # fmt: skip

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
    def _flat_floors(self) -> tuple[TierTiles, Floats, Floats, Floats]:
        """What no tiles of a tier undercut with a step's tile of one element (`floors_of`).

        Without what comes again block by block: it leaves out no more unrollings, and takes long.
        """
        plan, (clocks, energy, elements) = self._flat
        places, ratios, room, once = self.layout(self._may_sum_at_once)
        axes = {axis.name: axis.size for axis in self.hierarchy.axes}
        copies = {m.name: prod(axes[name] for name in m.per) for m in self.hierarchy.memories}
        most = np.iinfo(np.int64).max
        held = zip(sorted(copies), room.tolist(), strict=True)
        room = np.array([min(most, size * copies[name]) for name, size in held], np.int64)
        shared = np.array([copies[name] for name, _ in self.ports])
        tiles = self._flat_tiles
        layout, rates = (places, ratios, room, once), (clocks / shared, energy, elements)
        return tiles, *floors_of(tiles, plan, layout, rates, with_blocks=False)

    @property
    def _flat_tiles(self) -> TierTiles:
        """The tiles that tiers may have with a step's tile of one element.

        Of a product's m, n and k those of as many blocks as ways that are left may have
        (`floor_bounds`).
        """
        tiles = self.tier_tiles([1] * len(self.dims))
        if self._steps is None or self.layer.windows:
            return tiles
        some = (tiles_alike(*each) for each in zip(self.sizes.tolist()[:3], self._steps))  # noqa: B905
        return replace(tiles, lists=(*some, *tiles.lists[3:]))

    @property
    def _tier_floors(self) -> Floats:
        return self._flat_floors[1]

    def hopeless_ways(
        self, ways: Ways, some: Ints, first: int, objective: int, front: tuple[Any, ...]
    ) -> int:
        """Return how many ways, of some in order, come before one that may be best.

        By what bounds all tiles of the first tier (`cell_kernels`); 0 where that is not known.

        Parameters
        ----------
        ways : Ways
        some : (N,) int64 array
            Numbers of ways.
        first : int
            The number of the first of all ways.
        objective : int
        front : tuple
            The best so far (`unrolled.new_front`).
        """
        known = "_flat_floors" in vars(self) and len(self.tiers) > 1
        if not known or self.layer.windows:
            return 0
        if self._open is None or self._open[0] is not ways:
            self._open = ways, self._room_of_ways(ways)
        fixed, args = self._open[1]
        fixed[-1] = first
        flat, room = self._cells
        many: int = cell_kernels.first_open(
            some, (ways.tiles, ways.units_by(tuple(self.pers))), self.units_pj(ways), *args, flat,
            room, objective, front, self.scratch,
        )  # fmt: skip
        return many

    def _room_of_ways(self, ways: Ways) -> tuple[Ints, tuple[Any, ...]]:
        """Return what is fixed, and the arrays in which `cell_kernels` unrolls way by way."""
        dims, most = len(self.dims), int(ways.tiles.max())
        reached, shares = np.zeros((2, len(self.pers), dims, most + 1), np.int64)
        pixels = pixel_table(self.layer, self.pers)
        plan = self.plan(np.ones(dims, np.int64), reached, shares, pixels)
        fixed = self.fixed(0)
        fixed_pj = np.array([0.0, self.hierarchy.static_pj])
        return fixed, (plan, self.layout(False), fixed, fixed_pj, self.rates(plan))

    def fixed(self, number: int) -> Ints:
        """Return what is fixed of an unrolling (`search_kernels.search_tiles`), by its number."""
        return np.array(
            [self.hierarchy.fill_cycles, len(self.ports), self.doublable, 1, number], np.int64
        )

    @cached_property
    def _cells(self) -> tuple[tuple[Ints, Ints, Floats, Floats], tuple[Any, ...]]:
        """What bounds tiles by their numbers of blocks, and room (`cell_kernels`).

        Clocks of which some may be spared are left out: larger steps may spare more.
        """
        tiles, tiers, deeper, _ = self._flat_floors
        counts: Ints = np.array([len(some) for some in tiles.lists[:2]], np.int64)
        extents: Ints = np.ones((2, int(counts.max())), np.int64)
        for d, some in enumerate(tiles.lists[:2]):
            extents[d, : len(some)] = some
        ports, places = len(self.ports), len(self.places)
        tiers, deeper = tiers[:1].copy(), deeper[:, :1].copy()
        tiers[:, 1 : 1 + ports] = deeper[:, :, 1 : 1 + ports] = 0.0
        room = (
            np.ones(tiles.least.shape, np.int64),
            np.zeros(places, np.int64),
            np.zeros((places, 2), np.int64),
            np.zeros(len(self.room), np.int64),
            np.zeros((3, ports)),
            np.zeros((5, 1 + 2 * ports)),
            np.zeros((1, 1 + 2 * ports, 1, 1)),
        )
        return (extents, counts, tiers, deeper), room

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
        if self._units is not None and self._units[0] is ways:
            return self._units[1]
        chip = self.hierarchy
        total = np.zeros(len(ways))
        for axes in sorted({chip.units, chip.table_units}):
            one = chip.array_pj(lambda some: int(some == axes), self.bits.step_cycles)  # noqa: B023
            if one:
                total += ways.busy_units(axes) * one
        self._units = ways, total
        return total

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

        Where the ways are so few that looking into each takes less they stay as they are. From here
        on floors are those of ways with steps that these have.

        Parameters
        ----------
        ways : Ways
        some : (N,) int64 array
            Numbers of ways.
        cycles, energy : (N,) arrays
            Their bounds so far.
        """
        if "_flat_floors" not in vars(self):
            self._steps = [tuple(np.unique(steps).tolist()) for steps in ways.tiles[some].T]
        tiles = self._flat_tiles.lists
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
        energy = self.units_pj(ways).copy()
        rates = self._flat[1][1]
        for t, move in enumerate(self.moves):
            if move.child is None:
                once, again = rates[t].tolist()
                rest = ways.times(frozenset(self.dims) - set(self.layer.indexes[move.operand])) - 1
                energy += self._elements(move.operand) * (once + again * rest)
        self._bounded = ways, cycles, energy
        return cycles, energy


_FREE: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
"""Arrays of searches that have ended, by their shape; as many as were in use at once."""


def _clear(arrays: tuple[Any, ...]) -> None:
    for each in arrays:
        if isinstance(each, tuple):
            _clear(each)
        else:
            each.fill(0)


def _scratch_for(
    groups: int,
    many: int,
    ports: int,
    places: int,
    moves: int,
    memories: int,
    border: tuple[int, ...],
) -> tuple[Any, ...]:
    """Return the arrays of `Packed.scratch`.

    ``many``: dimensions. ``border``: pixels of it, by window.
    """
    loops = groups * many
    slots = 1 + (1 << shared_kernels.SLOT_BITS * (groups - 1))
    by_order = slots + len(ORDERS)  # and two tiles of the first tier
    sums = kernels.SUM_ROWS, kernels.SUM_COLUMNS
    clips, slid = 1 + max(border, default=0), len(border)
    differ = sum(2 * groups * (each + 3) for each in border)  # blocks of a loop, at the border

    def ints(*shape: int) -> Ints:
        return np.zeros(shape, np.int64)

    return (
        ints(ports, kernels.PORT_COLUMNS),  # sums of the ports for what the array takes
        ints(ports, kernels.PORT_COLUMNS),  # and for a mapping
        ints(moves, by_order, *sums),  # sums of transfers by slot (`shared_kernels`)
        np.zeros((moves, by_order)),  # and their energy
        ints(kernels.WORK_ROWS, max(4, loops, many + slid, clips)),
        ints(loops + 2 + differ, max(pair_kernels.PENDING, many + 2 + slid)),
        ints(groups, many),  # tiles
        (ints(loops), ints(loops), ints(loops)),  # loops: dimensions, tiles, groups
        ints(groups + 1),  # loops outside each tier
        ints(1 << places),  # sets of doubled places that fit
        ints(places),  # places that hold unfinished sums
        ints(places, 2),  # what one tile takes at each place
        ints(memories),
        ints(4 + groups, max(many, ports) + 2),  # edges
        np.zeros((4, ports)),  # clocks that ports take at least (`bound_kernels`)
        np.zeros(bound_kernels.OUT),  # bounds
        ints(many),  # chains
        ints(groups, many),  # chains to try of each level: the first,
        ints(groups, many),  # and where they end
        ints(groups + 1),  # candidates of each level: the next one,
        ints(groups + 1),  # and where they end
        np.zeros((8, 1 + 2 * ports)),  # energy and clocks that tiers without tiles take,
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
        ints(moves, by_order, ports, kernels.PORT_COLUMNS),  # what slots take of the ports,
        ints(moves, slots + shared_kernels.EDGED),  # and which are filled
        (  # of a nest: order of each group, kinds with loops, slots of one tile; places of
            # unfinished sums, how many sets of doubled places fit, clocks of the last store
            ints(groups),
            ints(groups),
            ints(moves),
            ints(3),
        ),
        ints(*sums),  # sums of what has no window
        _book_for(groups, 0 if border else many, moves),
        ints(2),  # nodes that were spent, and how many may be
    )


def _book_for(groups: int, dims: int, moves: int) -> tuple[Any, ...]:
    """Return the arrays in which transfers of products are looked up (`alike_kernels`).

    Convolutions have none: ``dims`` is 0.
    """
    tiles = groups**dims
    pairs = 2 + (2 << 3 * (groups - 1))  # each loop of three dimensions leaves a rest
    if dims == 0 or groups > alike_kernels.MOST_GROUPS:  # these have none
        dims = tiles = pairs = 0
    return (
        np.zeros(dims * alike_kernels.NODES * alike_kernels.NODE_COLUMNS, np.int64),
        np.zeros((dims, groups + 1), np.int64),
        np.zeros((moves, dims * alike_kernels.NODES), np.int64),
        np.zeros((moves, tiles * alike_kernels.ENTRY), np.int64),
        np.zeros((moves, alike_kernels.FACTS), np.int64),
        np.zeros((moves, 2 * kernels.SUM_ROWS)),
        np.zeros(alike_kernels.NODES, np.int64),
        np.zeros((moves, pair_kernels.PARTS, pairs * pair_kernels.PAIR), np.int64),
        np.zeros((moves, pair_kernels.PARTS, pair_kernels.HEADS), np.int64),
    )
