"""One way to unroll a layer over a chip's axes: what the compiled search takes, and gives back."""

from functools import cached_property, lru_cache
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arch.hierarchy import OPERANDS
from . import cell_kernels, search_kernels
from .constraints import WHOLE
from .frame import ORDERS
from .nest import Level, Loop, Mapping, Unroll
from .packed import Packed
from .pixels import pixel_table
from .scratch_kernels import NODES
from .space import chains, kinds_of, spread, whole_chains
from .tier_floors import floors_of

Ints = NDArray[np.int64]
_NONE: Ints = np.zeros(0, np.int64)
PARETO_ROOM = 1 << 14  # mappings that a front has room for


def new_front(objective: int, dims: int = 4) -> tuple[Any, Ints, Ints]:
    """Return an empty front for layers of so many dimensions, as `front_kernels` has it."""
    room = PARETO_ROOM if objective == 3 else 1
    costs = np.full((room, 2), np.inf)
    return costs, np.zeros((room, 4 + dims), np.int64), np.zeros(1, np.int64)


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
        self.allowed = packed.allowed.copy()
        self.fixed: Ints = np.array(
            [packed.hierarchy.fill_cycles, len(packed.ports), packed.doublable, 1, number],
            np.int64,
        )  # fmt: skip
        self.fixed_pj = np.array([units_pj, packed.hierarchy.static_pj])

    @cached_property
    def chain_lists(self) -> list[Ints]:
        """The tiles of each dimension, tier by tier, that fit with a step's tile of the others."""
        packed = self.packed
        return [
            self._fitting(d, self._chains(dim, step, packed.kept_by_tier[dim]))
            for d, (dim, step) in enumerate(zip(packed.dims, self.step_tile.tolist(), strict=True))
        ]

    @cached_property
    def plan(self) -> tuple[Any, ...]:
        """What `cost_kernels` calls a plan."""
        packed = self.packed
        tiles = {}
        if packed.layer.windows:
            tiles = dict(zip(packed.dims, self.chain_lists, strict=True))
        pixels = pixel_table(packed.layer, packed.pers, self.way, tiles)
        return packed.plan(self.step_tile, *self._tables, pixels)

    def _chains(self, dim: str, step: int, indexed: tuple[bool, ...]) -> Ints:
        """Return the tiles of a dimension at each tier below the outermost, and in one step."""
        size, tiers = self.packed.layer.sizes[dim], self.packed.tiers[1:]
        fixed = tuple(
            self.packed.constraints.tile((memory.name for memory in tier), dim) for tier in tiers
        )
        if self.kinds[dim] != 3 and not (self.packed.layer.windows and dim in "qrs"):
            return chains(size, step, indexed, fixed)
        found = np.full((1, len(indexed) + 1), step, np.int64)
        if self.kinds[dim] != 3:
            copied = tuple(bool(tier[0].per) for tier in tiers)
            found = whole_chains(size, step, indexed, copied)
        for tier, must in enumerate(fixed):
            if must is not None:
                tiles = np.minimum(found[:, tier], size)
                found = found[tiles == (size if must == WHOLE else must)]
        return found

    @cached_property
    def _tables(self) -> tuple[Ints, Ints]:
        """The units that first elements of a step's tile reach, and the first unit's."""
        return _tables_of(self.way, self.packed.dims, tuple(self.packed.pers))

    @cached_property
    def space(self) -> tuple[Any, ...]:
        """The chains, which follow which, the orders of loops and those to be tried."""
        lists = self.chain_lists
        counts: Ints = np.array([len(each) for each in lists], np.int64)
        shape = (len(lists), int(counts.max()), len(self.packed.tiers))
        table, following = np.ones(shape, np.int64), np.zeros(shape, np.int64)
        for d, each in enumerate(lists):
            table[d, : len(each)] = each
            following[d, : len(each)] = _kept_following(each.tobytes(), each.shape)
        members = np.full((4, 3), -1, np.int64)
        for kind in range(4):
            some = [d for d in self.kinds if self.kinds[d] == kind and d in self.packed.dims]
            members[kind, : len(some)] = [self.packed.dims.index(dim) for dim in some]
        return table, following, counts, ORDERS, self.allowed, members

    def _fitting(self, d: int, chain: Ints) -> Ints:
        """Leave out the chains of a dimension that do not fit with a step's tile of the others."""
        packed, step, size = self.packed, int(self.step_tile[d]), int(self.packed.sizes[d])
        if not len(chain):
            return chain
        fits, largest = np.ones(len(chain), np.bool_), chain[0].tolist()
        for i, (memory, tier, indexed, per) in enumerate(packed.held_rows):
            if not indexed >> d & 1 or packed.unbounded[memory]:
                continue
            share = self._tables[1][per, d]
            others = prod(
                one for e, one in enumerate(self._one_step[per]) if e != d and indexed >> e & 1
            )
            up, down = packed.held_ratio[i, 0].tolist()
            most = min(largest[tier - 1], size)  # smaller ones take no more
            mine = most // step * int(share[step]) + int(share[most % step])
            if -(-mine * others * up // down) <= packed.room[memory]:
                continue
            tiles = np.minimum(chain[:, tier - 1], size)
            held = -(-(tiles // step * share[step] + share[tiles % step]) * others * up // down)
            fits &= held <= packed.room[memory]
        return chain if fits.all() else chain[fits]

    @cached_property
    def _one_step(self) -> list[list[int]]:
        """What one copy of a memory has of a step's tile of each dimension, by axes of copies."""
        most = np.minimum(self.step_tile, self.packed.sizes)
        found: list[list[int]] = self._tables[1][:, range(len(most)), most].tolist()
        return found

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
        if known and packed.layer.windows:  # many unrollings are left
            of_one = packed.rates_of_one, packed.least_tiers
            if not self._may_be_best(*of_one, objective, front):
                return 0
        rates = packed.rates(plan)
        if known and not packed.layer.windows:
            flat, room = packed.cells
            if not cell_kernels.cells_may_be_best(
                plan, self.layout, self.fixed, self.fixed_pj, rates, flat, room, objective, front,
                packed.scratch,
            ):  # fmt: skip
                return 0
        tiles = packed.tier_tiles(self.step_tile.tolist())
        tiers, deeper, by_kind = floors_of(tiles, plan, self.layout, rates)
        if not self._may_be_best(rates, tiers, objective, front):
            return 0
        if not all(len(each) for each in self.chain_lists):
            return 0
        places = tiles.places(packed.sizes, self.chain_lists)
        evaluated: int = search_kernels.search_tiles(
            self.space, plan, self.layout, self.fixed, self.fixed_pj, rates,
            (tiers, deeper, places, by_kind, _NONE), objective, limit, front, packed.scratch,
        )  # fmt: skip
        return evaluated

    def _may_be_best(
        self, rates: tuple[Any, ...], tiers: Any, objective: int, front: tuple[Any, ...]
    ) -> bool:
        """Return whether a bound on all tiles of the first tier leaves this unrolling open."""
        if not self.fixed[3] or not len(tiers) or not front[2][0]:
            return True
        return bool(
            search_kernels.may_be_best(
                self.plan, self.fixed, self.fixed_pj, rates, tiers, objective, front,
                self.packed.scratch,
            )
        )  # fmt: skip

    def mapping(self, found: Ints) -> Mapping:
        """Return the mapping of a row that the search found."""
        _, *chosen, outer, inside, mask = found.tolist()
        tiles = [tuple(each[i].tolist()) for each, i in zip(self.chain_lists, chosen, strict=False)]
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
def _kept_following(content: bytes, shape: tuple[int, ...]) -> Ints:
    return _following(np.frombuffer(content, np.int64).reshape(shape))


def _following(chain: Ints) -> Ints:
    """Return for each chain and group the next chain that differs in the group or outside it."""
    many, groups = chain.shape
    found = np.full((many, groups), many, np.int64)
    changed = np.zeros(many - 1, np.bool_)
    for g in range(groups):
        changed |= chain[1:, g] != chain[:-1, g]
        ends = np.append(np.flatnonzero(changed) + 1, many)
        found[:, g] = ends[np.searchsorted(ends, np.arange(many), side="right")]
    return found
