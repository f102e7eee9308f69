"""One way to unroll a layer over a chip's axes: what the compiled search takes, and gives back."""

from bisect import bisect_left
from functools import cached_property, lru_cache
from math import prod
from operator import neg
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arch.hierarchy import OPERANDS
from . import search_kernels
from .constraints import WHOLE
from .frame import ORDERS
from .nest import Level, Loop, Mapping, Unroll
from .packed import Packed
from .pixels import pixel_table
from .scratch_kernels import NODES
from .space import KINDS, chains, kinds_of, spread, whole_chains
from .tier_floors import floors_of, tiles_of

Ints = NDArray[np.int64]
_NONE: Ints = np.zeros(0, np.int64)
PARETO_ROOM = 1 << 14  # mappings that a front has room for


def new_front(objective: int, dims: int = 4) -> tuple[Any, Ints, Ints]:
    """Return an empty front for layers of so many dimensions, as `front_kernels` has it."""
    room = PARETO_ROOM if objective == 3 else 1
    costs = np.full((room, 2), np.inf)
    return costs, np.zeros((room, 4 + dims), np.int64), np.zeros(1, np.int64)


class Chain:
    """Tiles of a dimension at each tier below the outermost, and in one step, in descending order.

    Parameters
    ----------
    tiles : (N, G) int64 array
    size, step : int
        Extent of the dimension, and of one step.

    Attributes
    ----------
    following : (N, G) int64 array
        The next that differs in a group or outside it.
    places : (N, G - 1) int64 array
        Where each tile stands in `tier_floors.tiles_of`; of a chip of one tier a column of zeros.
    """

    def __init__(self, tiles: Ints, size: int, step: int) -> None:
        self.tiles, self.size, self.step = tiles, size, step
        self.following = _following(tiles)
        tiers = tiles.shape[1] - 1
        self.places: Ints = np.zeros((len(tiles), max(1, tiers)), np.int64)
        blocks = -(-size // np.array(tiles_of(size, step)))
        self.places[:, :tiers] = np.searchsorted(blocks, -(-size // tiles[:, :tiers]))

    def some(self, rows: Any) -> "Chain":
        """Return some of the tiles: a mask, or their places in order."""
        return Chain(self.tiles[rows], self.size, self.step)

    def up_to(self, most: tuple[int, ...]) -> "Chain":
        """Return those that are at most so large in each tier below the outermost."""
        fits = (self.tiles[:, :-1] <= np.array(most, np.int64)).all(axis=1)
        return self if fits.all() else self.some(fits)


@lru_cache(maxsize=4096)
def _whole_chain(
    size: int, step: int, indexed: tuple[bool, ...], fixed: tuple[int | None, ...]
) -> Chain:
    return Chain(chains(size, step, indexed, fixed), size, step)


@lru_cache(maxsize=4096)
def _chain_of(
    size: int,
    step: int,
    indexed: tuple[bool, ...],
    fixed: tuple[int | None, ...],
    most: tuple[int, ...],
) -> Chain:
    """Return the tiles of a dimension up to the largest that fits in each tier, made once."""
    return _whole_chain(size, step, indexed, fixed).up_to(most)


@lru_cache(maxsize=512)
def side_by_side(some: tuple[Chain, ...]) -> tuple[Ints, Ints, Ints, Ints]:
    """Return the chains of all dimensions as the compiled search takes them, made once.

    Parameters
    ----------
    some : tuple of Chain

    Returns
    -------
    chains, following, counts, places
        As `search_kernels.search_tiles` takes them.
    """
    counts: Ints = np.array([len(each.tiles) for each in some], np.int64)
    many, tiers = int(counts.max()), some[0].tiles.shape[1]
    table: Ints = np.ones((len(some), many, tiers), np.int64)
    following, places = np.zeros_like(table), np.zeros((2, many, max(1, tiers - 1)), np.int64)
    for d, each in enumerate(some):
        table[d, : counts[d]], following[d, : counts[d]] = each.tiles, each.following
    for d, each in enumerate(some[:2]):
        places[d, : counts[d]] = each.places
    return table, following, counts, places


class Unrolled:
    """The arrays of `search_kernels.search_tiles` for one way to unroll.

    Parameters
    ----------
    packed : Packed
    way : tuple of Unroll
    number : int
        By which a front names it.
    units_pj : float
        Energy of the array's units.
    """

    def __init__(
        self, packed: Packed, way: tuple[Unroll, ...], number: int, units_pj: float
    ) -> None:
        self.packed, self.way = packed, way
        layer, dims = packed.layer, packed.dims
        steps = dict.fromkeys(dims, 1)
        for each in way:
            steps[each.dim] *= each.size
        self.step_tile: Ints = np.array([*steps.values()], np.int64)
        summed = [dim for dim in dims if dim not in layer.indexes["output"]]
        self.layout = packed.layout(all(steps[dim] >= layer.sizes[dim] for dim in summed))
        self.kinds = kinds_of(layer)
        self.allowed = packed.allowed
        self.fixed = packed.fixed(number)
        self.fixed_pj = np.array([units_pj, packed.hierarchy.static_pj])

    @cached_property
    def chains(self) -> tuple[Chain, ...]:
        """The tiles of each dimension that fit with a step's tile of the others."""
        packed, steps = self.packed, self.step_tile.tolist()
        return tuple(
            self._chain(d, dim, step, packed.kept_by_tier[dim])
            for d, (dim, step) in enumerate(zip(packed.dims, steps, strict=True))
        )

    @cached_property
    def plan(self) -> tuple[Any, ...]:
        """What `cost_kernels` calls a plan."""
        packed = self.packed
        tiles = {}
        if packed.layer.windows:
            tiles = dict(zip(packed.dims, (each.tiles for each in self.chains), strict=True))
        pixels = pixel_table(packed.layer, packed.pers, self.way, tiles)
        return packed.plan(self.step_tile, *self._tables, pixels)

    def _chain(self, d: int, dim: str, step: int, indexed: tuple[bool, ...]) -> Chain:
        """Return the tiles of a dimension at each tier below the outermost, and in one step."""
        packed, size, tiers = self.packed, self.packed.layer.sizes[dim], self.packed.tiers[1:]
        fixed: tuple[int | None, ...] = ()
        if packed.constraints.entries:
            fixed = tuple(
                packed.constraints.tile((memory.name for memory in tier), dim) for tier in tiers
            )
        if self.kinds[dim] != 3 and not (packed.layer.windows and dim in "qrs"):
            return _chain_of(size, step, indexed, fixed, self._most(d, size, step))
        found = np.full((1, len(indexed) + 1), step, np.int64)
        if self.kinds[dim] != 3:
            copied = tuple(bool(tier[0].per) for tier in tiers)
            found = whole_chains(size, step, indexed, copied)
        for tier, must in enumerate(fixed):
            if must is not None:
                tiles = np.minimum(found[:, tier], size)
                found = found[tiles == (size if must == WHOLE else must)]
        return Chain(found, size, step).up_to(self._most(d, size, step))

    def _most(self, d: int, size: int, step: int) -> tuple[int, ...]:
        """Return the largest tile of a dimension that fits in each tier beside steps' of others."""
        packed, tiles = self.packed, tiles_of(size, step)
        most = [tiles[0]] * (len(packed.tiers) - 1)
        for i, (memory, tier, indexed, per) in enumerate(packed.held_rows):
            if not indexed >> d & 1 or packed.unbounded[memory]:
                continue
            whole_one, share = self._shares[per][d]
            up, down = packed.held_ratios[i]
            for e, one in enumerate(self._one_step[per]):
                if e != d and indexed >> e & 1:
                    up *= one
            elements = packed.rooms[memory] * down // up  # that one copy may have of the dimension
            if whole_one > elements:
                held = elements // share * step
                held = tiles[bisect_left(tiles, -held, key=neg)] if held >= tiles[-1] else 0
                most[tier - 1] = min(most[tier - 1], held)
        return tuple(most)

    @cached_property
    def _tables(self) -> tuple[Ints, Ints]:
        """The units that first elements of a step's tile reach, and the first unit's."""
        return _tables_of(self.way, self.packed.dims, tuple(self.packed.pers))

    @property
    def _shares(self) -> list[list[tuple[int, int]]]:
        """What one copy has of a dimension and of a step's tile of it: by axes, and dimension."""
        packed = self.packed
        sizes, dims = tuple(packed.layer.sizes.values()), packed.dims
        return _shares_of(self.way, dims, sizes, tuple(packed.pers))[0]

    @property
    def _one_step(self) -> list[list[int]]:
        """What one copy of a memory has of a step's tile of each dimension, by axes of copies."""
        packed = self.packed
        sizes, dims = tuple(packed.layer.sizes.values()), packed.dims
        return _shares_of(self.way, dims, sizes, tuple(packed.pers))[1]

    @cached_property
    def space(self) -> tuple[Any, ...]:
        """The chains, which follow which, the orders of loops and those to be tried."""
        table, following, counts, _ = side_by_side(self.chains)
        members = _members_of(self.packed.dims, bool(self.packed.layer.windows))
        return table, following, counts, ORDERS, self.allowed, members

    @property
    def nodes(self) -> int:
        """Nodes that the last search of this part spent."""
        return int(self.packed.scratch[NODES][0])

    def search(
        self, objective: int, limit: int, front: tuple[Any, ...], nodes: int = 1 << 60
    ) -> int:
        """Try all mappings of this unrolling; see `search_kernels.search_tiles`.

        Parameters
        ----------
        objective : int
            Index of the objective.
        limit : int
            Mappings to cost at most.
        front : tuple
            The best so far (`new_front`); overwritten.
        nodes : int
            To spend at most.
        """
        packed, plan = self.packed, self.plan
        packed.scratch[NODES][:] = 0, nodes
        known = self.fixed[3] and "_flat_floors" in vars(packed) and len(packed.tiers) > 1
        if known and packed.layer.windows and not self._may_be_best(objective, front):
            return 0  # many unrollings are left
        rates = packed.rates(plan)
        if not all(len(each.tiles) for each in self.chains):
            return 0
        tiles, places = packed.tier_tiles(self.step_tile.tolist()), side_by_side(self.chains)[3]
        tiers, deeper, by_kind = floors_of(tiles, plan, self.layout, rates)
        evaluated: int = search_kernels.search_tiles(
            self.space, plan, self.layout, self.fixed, self.fixed_pj, rates,
            (tiers, deeper, places, by_kind, _NONE), objective, limit, front, packed.scratch,
        )  # fmt: skip
        return evaluated

    def _may_be_best(self, objective: int, front: tuple[Any, ...]) -> bool:
        """Return whether a bound on all tiles of all unrollings leaves this one open."""
        rates, tiers = self.packed.rates_of_one, self.packed.least_tiers
        return not front[2][0] or bool(
            search_kernels.may_be_best(
                self.plan, self.fixed, self.fixed_pj, rates, tiers, objective, front,
                self.packed.scratch,
            )
        )  # fmt: skip

    def mapping(self, found: Ints) -> Mapping:
        """Return the mapping of a row that the search found."""
        _, *chosen, outer, inside, mask = found.tolist()
        some = zip(self.chains, chosen, strict=False)
        tiles = [tuple(each.tiles[i].tolist()) for each, i in some]
        orders = [outer]
        for _ in self.packed.tiers[1:]:
            orders.append(inside % len(ORDERS))
            inside //= len(ORDERS)
        return self.nest(tiles, orders, mask)

    def _ordered(self, kinds: list[int]) -> list[str]:
        """Return the dimensions of a layer, those of each kind together, a batch first."""
        return [
            dim for kind in (3, *kinds) for dim, each in self.kinds.items()
            if each == kind and dim in self.packed.dims
        ]  # fmt: skip

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
            for dim in self._ordered(ORDERS[orders[g]].tolist()):
                tile = tiles[packed.dims.index(dim)][g]
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


@lru_cache(maxsize=64)
def _members_of(dims: tuple[str, ...], windows: bool) -> Ints:
    """Return the dimensions of each kind, outermost first, -1 for none."""
    members = np.full((4, 3), -1, np.int64)
    for kind in range(4):
        some = [d for d, each in KINDS[windows].items() if each == kind and d in dims]
        members[kind, : len(some)] = [dims.index(dim) for dim in some]
    return members


@lru_cache(maxsize=512)
def _tables_of(
    way: tuple[Unroll, ...], dims: tuple[str, ...], pers: tuple[tuple[str, ...], ...]
) -> tuple[Ints, Ints]:
    """Return the units that elements reach, and the first unit's, along some axes: (A, D, x)."""
    tables = [
        [spread(tuple((u.size, u.axis in per) for u in way if u.dim == dim)) for dim in dims]
        for per in pers
    ]
    most = max(each[0].size for row in tables for each in row)
    found = np.zeros((2, len(pers), len(dims), most), np.int64)
    for p, row in enumerate(tables):
        for d, each in enumerate(row):
            for i, values in enumerate(each):
                found[i, p, d, : values.size] = values
    return found[0], found[1]


@lru_cache(maxsize=4096)
def _shares_of(
    way: tuple[Unroll, ...],
    dims: tuple[str, ...],
    sizes: tuple[int, ...],
    pers: tuple[tuple[str, ...], ...],
) -> tuple[list[list[tuple[int, int]]], list[list[int]]]:
    """Return what one copy has of each dimension and of a step's tile; and of the two's less.

    A list of dimensions for each set of axes along which there are copies.
    """
    found, least = list[list[tuple[int, int]]](), list[list[int]]()
    for row in _tables_of(way, dims, pers)[1]:
        found.append([])
        least.append([])
        for d, (dim, size) in enumerate(zip(dims, sizes, strict=True)):
            step = prod(each.size for each in way if each.dim == dim)
            full, rest = divmod(size, step)
            share = int(row[d, step])
            found[-1].append((full * share + int(row[d, rest]), share))
            least[-1].append(int(row[d, min(step, size)]))
    return found, least


def _following(chain: Ints) -> Ints:
    """Return for each chain and group the next chain that differs in the group or outside it."""
    many, groups = chain.shape
    found = np.full((many, groups), many, np.int64)
    if not many:
        return found
    changed = np.zeros(many - 1, np.bool_)
    for g in range(groups):
        changed |= chain[1:, g] != chain[:-1, g]
        ends = np.append(np.flatnonzero(changed) + 1, many)
        found[:, g] = ends[np.searchsorted(ends, np.arange(many), side="right")]
    return found
