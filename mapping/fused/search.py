"""The best tiling of a chain on a chip, proven: every tiling of the space is costed or bounded.

The space: blocks of rows (whole tokens) and of columns that are the least for 1, 2, 3 ... 8 blocks
of the chain, and for twice and 1.5 times as many up to all; one place or two; the array ahead of
the vector unit or not; weights of no instance, one or two held, or sums spilled. The products of a
block are laid by their best mapping for the objective (`mapping.search`). A tiling is left out only
where clocks and energy that it does not undercut are no better than what was found: of all tilings
at once (`floors`); of its jobs in any order (`cost.bound_of`); of its schedule (`cost.scheduled`).
These have floors in the place of the products' costs (`products.floor_product`) until the products
of the most promising tiling are mapped, one by one. Ties go to less energy, or fewer clocks, then
to larger blocks.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from heapq import heappop, heappush
from typing import Any, NamedTuple

import numpy as np

from ...arch.hierarchy import OPERANDS
from ...datatypes.base.errors import BitlatheError, check_name
from ...datatypes.base.numbers import ceil_div
from ..best import OBJECTIVES, Best, Objective
from ..kept_results import best_mapping
from ..mappers import ORDERS, Rank
from ..staying import leaves_unfinished
from .chain import Chain, Ints, Lanes
from .cost import bound_of, scheduled
from .demand import Beside, Demand, beside_products, demand, with_products
from .floors import Floors, Pairs, places_of
from .near import NearChip
from .products import Asked, BlockProduct, block_product, floor_product
from .tiling import Tiling, problem

ALL_BLOCKS = 8
FEW = 64  # tilings of which floors are looked at together
ROUNDING = 1e-12  # of sums of the same terms in another order


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search found.

    Attributes
    ----------
    tiling : Tiling
    products : dict of Asked to Best
        The mappings of its blocks' products.
    tilings, tilings_costed : int
        Of the space that fit, and those of them whose whole cost was computed; the others were
        bounded.
    search_seconds : float
    """

    tiling: Tiling
    products: Mapping[Asked, Best]
    tilings: int
    tilings_costed: int
    search_seconds: float


def costed(chain: Chain, near: NearChip, lanes: Lanes, found: Found) -> Demand:
    """Return what the best tiling asks of a chip.

    Parameters
    ----------
    chain, near, lanes
        As of `search`.
    found : Found
    """
    made = {asked: block_product(best, near) for asked, best in found.products.items()}
    return demand(chain, found.tiling, near, lanes, made.__getitem__)


def extents(size: int) -> list[int]:
    """Return the sizes of blocks that are tried, each once, the largest first.

    Examples
    --------
    >>> extents(100)
    [100, 50, 34, 25, 20, 17, 15, 13, 9, 7, 5, 4, 3, 2, 1]
    """
    counts, twice = [*range(1, ALL_BLOCKS + 1)], ALL_BLOCKS
    while twice < size:
        counts += [3 * twice // 2, 2 * twice]
        twice *= 2
    return list(dict.fromkeys(ceil_div(size, blocks) for blocks in counts))


def modes(chain: Chain, lanes: Lanes, rows: int, columns: int) -> Iterator[Tiling]:
    """Yield the tilings of blocks of so many rows and columns.

    Nothing is gained by holding weights that one block of rows uses, or by spilling its sums.

    Parameters
    ----------
    chain : Chain
    lanes : Lanes
    rows, columns : int
        Of a block.
    """
    for places in (2, 1):
        for ahead in (True, False) if lanes.overlap else (False,):
            each = Tiling(rows=rows, columns=columns, places=places, ahead=ahead)
            for held in range(places + 1 if rows < chain.m else 1):
                if held < 2 or chain.instances > 1:
                    yield replace(each, held=held)
            if chain.spills and rows < chain.m and columns < chain.middle:
                yield replace(each, spilled=True)


def tilings(chain: Chain, near: NearChip, lanes: Lanes) -> Iterator[Tiling]:
    """Yield the tilings of the space that fit a chip, in a fixed order: the largest blocks first.

    Where so many columns do not fit, none more do beside more rows; where they do, fewer do, but
    for a block of all.
    """
    token, by_rows = chain.rows_per_token, list[list[Tiling]]()
    lost: dict[tuple[int, ...], int] = {}  # the fewest columns that do not fit, by mode
    for tokens in reversed(extents(ceil_div(chain.m, token))):
        rows, found = min(tokens * token, chain.m), list[Tiling]()
        fits = set[tuple[int, ...]]()
        for columns in extents(chain.middle):
            for each in modes(chain, lanes, rows, columns):
                whole = columns == chain.middle
                if each.mode in fits or (
                    (whole or columns < lost.get(each.mode, chain.middle))
                    and problem(chain, each, near) is None
                ):
                    found.append(each)
                    if not whole:
                        fits.add(each.mode)
                elif not whole:
                    lost[each.mode] = min(columns, lost.get(each.mode, columns))
        by_rows.append(found)
    for found in reversed(by_rows):
        yield from found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Room:
    """What of a chip decides which tilings fit it: its near memories, whether the unit overlaps."""

    memories: tuple[tuple[str, int | None, int | None, bool], ...]
    overlap: bool
    near: NearChip = field(compare=False)
    lanes: Lanes = field(compare=False)


class _Tilings(NamedTuple):
    """Tilings, the sizes of their blocks, and where they stand among those (`places_of`)."""

    some: tuple[Tiling, ...]
    rows: list[int]
    columns: list[int]
    places: Ints


@lru_cache(maxsize=64)
def _kept_tilings(chain: Chain, room: _Room) -> _Tilings:
    some = tuple(tilings(chain, room.near, room.lanes))
    rows, columns = (sorted({getattr(each, of) for each in some}) for of in ("rows", "columns"))
    return _Tilings(some, rows, columns, places_of(some, rows, columns))


def _tilings_of(chain: Chain, near: NearChip, lanes: Lanes) -> _Tilings:
    """Return all tilings that fit a chip, found once for chips with the same near memories."""
    memories = tuple(
        (memory.name, memory.size_bits, memory.words, memory.double_buffered)
        for memory in map(near.memory, OPERANDS)
    )
    room = _Room(memories=memories, overlap=lanes.overlap, near=near, lanes=lanes)
    return _kept_tilings(chain, room)


@lru_cache(maxsize=16)
def _floors_of(chain: Chain, near: NearChip, lanes: Lanes) -> Pairs:
    """Return clocks and energy that each tiling of the space does not undercut: (2, N)."""
    _, rows, columns, places = _tilings_of(chain, near, lanes)
    return Floors(chain, near, lanes, rows, columns).of(places)


def least(chain: Chain, near: NearChip, lanes: Lanes) -> tuple[float, float]:
    """Return clocks and energy that no tiling of the space undercuts, each alone.

    Parameters
    ----------
    chain, near, lanes
        As `search` takes them.

    Raises
    ------
    BitlatheError
        No tiling fits.
    """
    if not _tilings_of(chain, near, lanes).some:
        raise BitlatheError(f"fusion: {too_small(chain, near)}")
    cycles, energy_pj = _floors_of(chain, near, lanes).min(axis=1).tolist()
    return cycles, energy_pj


def search(
    chain: Chain,
    near: NearChip,
    lanes: Lanes,
    objective: Objective = "cycles",
    *,
    map_product: Callable[..., Best] = best_mapping,
) -> Found:
    """Return the best tiling of the space for an objective.

    Parameters
    ----------
    chain : Chain
    near : NearChip
        The chip.
    lanes : Lanes
        Its vector unit.
    objective : {"cycles", "energy", "edp"}
        What is least.
    map_product : callable
        Gives a product its mapping: loops, bits, hierarchy, objective.

    Raises
    ------
    BitlatheError
        No tiling fits: it says which memory is too small, and by how much.
    """
    check_name("objective", objective, OBJECTIVES)
    started = time.perf_counter()
    rank = ORDERS[objective]
    some = _tilings_of(chain, near, lanes).some
    if not some:
        raise BitlatheError(f"fusion: {too_small(chain, near)}")
    ladder = _Ladder(chain, near, lanes, objective, map_product)
    i, many = first_best(
        _floors_in_order(chain, near, lanes, rank), lambda i: ladder.ranks(some[i]), "blocks"
    )
    return Found(
        tiling=some[i],
        products=ladder.products_of(some[i]),
        tilings=len(some),
        tilings_costed=many,
        search_seconds=time.perf_counter() - started,
    )


Step = tuple[Rank, bool]
"""A rank that a tiling does not undercut, and whether it is its own."""


def first_best(
    floors: Iterable[tuple[Rank, int]],
    ranks: Callable[[int], Iterator[Step]],
    parts: str,
) -> tuple[int, int]:
    """Return the number of the best tiling, of equals the first, and how many were costed.

    The least promising bound is made sharper until none that is left may be better. Sums of the
    same terms in another order are equal (`ROUNDING`).

    Parameters
    ----------
    floors : iterable of ((float, float), int)
        Tilings by number, each with a rank that it does not undercut, in ascending order.
    ranks : callable
        Ever sharper such ranks of a tiling, the last of them its own, by its whole cost; where that
        does not come it does not fit after all.
    parts : str
        What tilings cut a chain into, for the error.

    Raises
    ------
    BitlatheError
        None fits.
    """
    best: tuple[Rank, int] | None = None
    waiting, sharper, many = list[tuple[Rank, int]](), dict[int, Iterator[Step]](), 0
    left = iter(floors)
    nearest = next(left, None)
    while nearest is not None or waiting:
        if nearest is not None and (not waiting or nearest <= waiting[0]):
            bound, i = nearest
            sharper[i] = ranks(i)
            nearest = next(left, None)
        else:
            bound, i = heappop(waiting)
        if best is not None and not _before((bound, i), best):
            if _less(best[0], bound):
                break  # the bounds of the others are no lower
            continue
        rank, own = next(sharper[i], (bound, None))
        if own:
            many += 1
            best = (rank, i) if best is None or _before((rank, i), best) else best
        elif own is not None:
            heappush(waiting, (max(bound, rank), i))
    if best is None:
        raise BitlatheError(
            f"fusion: unfinished sums of the {parts}' products do not fit beside what stays; "
            "give the near memories more room."
        )
    return best[1], many


def _less(one: Rank, other: Rank) -> bool:
    """Return whether a rank is less by more than sums differ that are rounded."""
    for a, b in zip(one, other, strict=True):
        if abs(a - b) > ROUNDING * abs(b):
            return a < b
    return False


def _before(one: tuple[Rank, int], other: tuple[Rank, int]) -> bool:
    """Return whether a tiling is better than another, or as good and ahead of it."""
    return _less(one[0], other[0]) or (one[1] < other[1] and not _less(other[0], one[0]))


def spilling(
    chain: Chain, near: NearChip, asked: Demand, products: Mapping[Asked, Best]
) -> frozenset[bool]:
    """Return the products whose mappings leave sums in the near memory before they are finished.

    False stands for the first, True for the second; those whose results are sums are left out.

    Parameters
    ----------
    chain : Chain
    near : NearChip
    asked : Demand
        Of a tiling.
    products : mapping of Asked to Best
        The mappings of its blocks' products.
    """
    found = set[bool]()
    for kind in asked.counts:
        rows, columns = asked.blocks.rows[kind.rows], asked.blocks.columns[kind.columns]
        for each in Asked.both(rows, columns, alone=kind.alone):
            if each.finished and each.second not in found:
                mapping = products[each].mapping
                if leaves_unfinished(each.loops(chain), mapping, near.inside):
                    found.add(each.second)
    return frozenset(found)


def _floors_in_order(
    chain: Chain, near: NearChip, lanes: Lanes, rank: Callable[[Any, Any], tuple[Any, Any]]
) -> Iterator[tuple[Rank, int]]:
    """Yield floors of all tilings with their numbers, in the order of floors, then of numbers."""
    cycles, energy = _floors_of(chain, near, lanes)
    first, second = rank(np.floor(cycles), energy)
    order = np.lexsort((second, first))  # of equals the first by number
    for i in range(0, len(order), FEW):
        some = order[i : i + FEW]
        pairs = zip(first[some].tolist(), second[some].tolist(), strict=True)
        yield from zip(pairs, some.tolist(), strict=True)


class _Ladder:
    """Bounds of tilings, from sums of jobs to their whole cost; what several ask is made once.

    With floors in the place of the products' costs: the clocks that no order of the jobs undercuts,
    then those of the schedule; this with ever more products under their mappings; at last with all.
    """

    def __init__(
        self,
        chain: Chain,
        near: NearChip,
        lanes: Lanes,
        objective: Objective,
        map_product: Callable[..., Best],
    ) -> None:
        self._chain, self._near, self._lanes = chain, near, lanes
        self._objective, self._map_product = objective, map_product
        self._best: dict[Asked, Best] = {}
        self._made: dict[Asked, BlockProduct] = {}
        self._floors: dict[Asked, BlockProduct] = {}
        self._cuts: dict[tuple[int, int, bool, bool], _Cut] = {}

    def ranks(self, tiling: Tiling) -> Iterator[Step]:
        """Yield ever sharper bounds of a tiling, and its own rank if it fits."""
        chain, near, rank = self._chain, self._near, ORDERS[self._objective]
        cut = self._cut(tiling)
        cycles, energy_pj = bound_of(chain, tiling, near, self._demand(cut))
        yield rank(cycles, energy_pj), False
        while any(each not in self._made for each in cut.products):
            cycles, energy_pj = scheduled(chain, tiling, near, self._demand(cut))
            yield rank(cycles, energy_pj), False
            self._map_one_of(cut.products)
        asked = self._demand(cut)
        if problem(chain, tiling, near, spilling(chain, near, asked, self._best)) is None:
            yield rank(*scheduled(chain, tiling, near, asked)), True

    def products_of(self, tiling: Tiling) -> dict[Asked, Best]:
        """Return the mappings of the products of a tiling that was costed."""
        return {each: self._best[each] for each in self._cut(tiling).products}

    def _cut(self, tiling: Tiling) -> "_Cut":
        """Return what a tiling asks: the same of those alike in all but their places."""
        key = tiling.rows, tiling.columns, tiling.held > 0, tiling.spilled
        if key not in self._cuts:
            beside = beside_products(self._chain, tiling, self._near, self._lanes)
            self._cuts[key] = _Cut(beside)
        return self._cuts[key]

    def _demand(self, cut: "_Cut") -> Demand:
        """Return what is asked, with floors of the products that have no mapping yet."""
        known = sum(each in self._made for each in cut.products)
        if cut.demand is None or known > cut.known:
            cut.demand = with_products(self._chain, cut.beside, self._product)
            cut.known = known
        return cut.demand

    def _product(self, asked: Asked) -> BlockProduct:
        return self._made.get(asked) or self._floor(asked)

    def _floor(self, asked: Asked) -> BlockProduct:
        if asked not in self._floors:
            self._floors[asked] = floor_product(self._chain, self._near, asked)
        return self._floors[asked]

    def _map_one_of(self, products: Mapping[Asked, int]) -> None:
        """Map one of some products: of those without a mapping the one that takes longest."""
        some = [each for each in products if each not in self._made]
        if some:
            asked = max(some, key=lambda each: self._floor(each).cycles * products[each])
            of = asked.loops(self._chain), asked.bits(self._chain)
            chip = asked.chip(self._chain, self._near)
            self._best[asked] = self._map_product(*of, chip, self._objective)
            self._made[asked] = block_product(self._best[asked], self._near)


@dataclass(slots=True)
class _Cut:
    """What tilings ask that cut a chain alike: beside their products, and in all so far."""

    beside: Beside
    demand: Demand | None = None
    known: int = 0

    @property
    def products(self) -> Mapping[Asked, int]:
        """Its products, and how often each runs."""
        return self.beside.runs


def too_small(chain: Chain, near: NearChip) -> str:
    """Return which memory cannot hold the least blocks, and by how much."""
    spilled = chain.spills and chain.m > 1 and chain.middle > 1
    least = Tiling(rows=min(chain.rows_per_token, chain.m), columns=1, spilled=spilled)
    return f"{problem(chain, least, near)} These are the least blocks."
