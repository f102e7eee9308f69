"""The best tiling of a chain on a chip, proven: every tiling of the space is costed or bounded.

The space: blocks of rows (whole tokens) and of columns that are the least for 1, 2, 3 ... 8 blocks
of the chain, and for twice and 1.5 times as many up to all; one place or two; the array ahead of
the vector unit or not; weights of no instance, one or two held, or sums spilled. The products of a
block are laid by their best mapping for the objective (`mapping.search`). A tiling is left out only
where `cost.lower_bound` and the energy of it, with floors in the place of the products' costs
(`products.floor_product`), are no better than what was found. Ties go to less energy, or fewer
clocks, then to larger blocks.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
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
from .cost import FusedCost, bound_of, cost_of
from .demand import Demand, demand
from .floors import Floors, Pairs, places_of
from .near import NearChip
from .products import Asked, BlockProduct, ProductOf, block_product, floor_product
from .tiling import Tiling, problem

ALL_BLOCKS = 8
SAME = 1 - 1e-12  # sums of the same terms in another order


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


@dataclass(frozen=True, slots=True, kw_only=True)
class BestFusion:
    """The best tiling of a chain, and what it costs."""

    found: Found
    cost: FusedCost


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
    products: dict[Asked, Best] = {}

    def mapped(asked: Asked) -> BlockProduct:
        if asked not in products:
            products[asked] = map_product(
                asked.loops(chain), asked.bits(chain), asked.chip(chain, near), objective
            )
        return block_product(products[asked], near)

    demands = _Demands(chain, near, lanes, mapped)

    def ranked(i: int) -> tuple[float, float] | None:
        asked = demands.of(some[i])
        if problem(chain, some[i], near, spilling(chain, near, asked, products)):
            return None  # unfinished sums need more room than is left
        found = cost_of(chain, some[i], near, asked)
        return rank(found.cycles, found.total_pj)

    i, many = first_best(_by_bounds(chain, near, lanes, some, rank), ranked, "blocks")
    used: dict[Asked, Best] = {}
    demands.again(some[i], lambda asked: used.setdefault(asked, products[asked]))
    return Found(
        tiling=some[i],
        products=used,
        tilings=len(some),
        tilings_costed=many,
        search_seconds=time.perf_counter() - started,
    )


def first_best(
    bounds: Iterable[tuple[int, tuple[float, float]]],
    ranked: Callable[[int], tuple[float, float] | None],
    parts: str,
) -> tuple[int, int]:
    """Return the number of the best tiling, of equals the first, and how many were costed.

    Parameters
    ----------
    bounds : iterable of (int, (float, float))
        Tilings by number, each with its bound, in the order of bounds.
    ranked : callable
        The rank of a tiling by its whole cost; None where it does not fit after all.
    parts : str
        What tilings cut a chain into, for the error.

    Raises
    ------
    BitlatheError
        None fits.
    """
    best: tuple[tuple[float, float], int] | None = None
    many = 0
    for i, bound in bounds:
        if best is not None and bound > best[0]:
            break  # the bounds of the others are no lower
        many += 1
        at = ranked(i)
        if at is not None and (best is None or (at, i) < best):
            best = at, i
    if best is None:
        raise BitlatheError(
            f"fusion: unfinished sums of the {parts}' products do not fit beside what stays; "
            "give the near memories more room."
        )
    return best[1], many


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


def _by_bounds(
    chain: Chain,
    near: NearChip,
    lanes: Lanes,
    some: Sequence[Tiling],
    rank: Callable[[Any, Any], tuple[Any, Any]],
) -> Iterator[tuple[int, tuple[float, float]]]:
    """Yield tilings by number, each with its bound, in the order of bounds, then of numbers.

    The bound of a tiling is found where a floor that is found for all at once says that it may be
    the next.
    """
    cycles, energy = _floors_of(chain, near, lanes)
    first, second = rank(np.floor(cycles), energy)
    order = np.lexsort((second, first)).tolist()  # of equals the first by number
    floors = list(zip(first[order].tolist(), second[order].tolist(), order, strict=True))
    demands = _Demands(chain, near, lanes, lambda each: floor_product(chain, near, each))
    waiting, at = list[tuple[Rank, int]](), 0
    while at < len(floors) or waiting:
        if at == len(floors) or (waiting and waiting[0][0] < floors[at][:2]):
            bound, i = heappop(waiting)
            yield i, bound
            continue
        *floor, i = floors[at]
        at += 1
        found, energy_pj = bound_of(chain, some[i], near, demands.of(some[i]))
        heappush(waiting, (max((floor[0], floor[1]), rank(found, energy_pj * SAME)), i))


class _Demands:
    """What tilings ask of a chip: those alike in all but their places ask the same."""

    def __init__(self, chain: Chain, near: NearChip, lanes: Lanes, product_of: ProductOf) -> None:
        self._asked = chain, near, lanes
        self._product_of = cache(product_of)
        self._found: dict[tuple[int, int, bool, bool], Demand] = {}

    def of(self, tiling: Tiling) -> Demand:
        """Return what a tiling asks."""
        chain, near, lanes = self._asked
        key = tiling.rows, tiling.columns, tiling.held > 0, tiling.spilled
        if key not in self._found:
            self._found[key] = demand(chain, tiling, near, lanes, self._product_of)
        return self._found[key]

    def again(self, tiling: Tiling, see: Callable[[Asked], object]) -> None:
        """Let ``see`` have the products that a tiling asks for."""
        chain, near, lanes = self._asked

        def seen(asked: Asked) -> BlockProduct:
            see(asked)
            return self._product_of(asked)

        demand(chain, tiling, near, lanes, seen)


def too_small(chain: Chain, near: NearChip) -> str:
    """Return which memory cannot hold the least blocks, and by how much."""
    spilled = chain.spills and chain.m > 1 and chain.middle > 1
    least = Tiling(rows=min(chain.rows_per_token, chain.m), columns=1, spilled=spilled)
    return f"{problem(chain, least, near)} These are the least blocks."
