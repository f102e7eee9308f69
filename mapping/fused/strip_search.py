"""The best strips of a chain of convolutions on a chip, proven: each tiling is costed or bounded.

The space: rows that are the least for 1, 2, 3 ... 8 strips, and for twice and 1.5 times as many up
to one row; of every map whose strips overlap the halo kept, or made again; one place or two;
filters held, or fetched with every strip. The products of strips are laid by their best mapping
(`mapping.search`), of the rows that lie there: the border moves nothing. A tiling is left out only
where its bound (`strip_cost.bound`), with floors in the place of the products' costs, is no better
than what was found. Ties go to less energy, or fewer clocks, then to the first in the order above.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product

from ...datatypes.base.errors import BitlatheError, check_name
from ..best import OBJECTIVES, Best, Objective
from ..kept_results import best_mapping
from ..mappers import ORDERS, Rank
from ..staying import leaves_unfinished
from .chain import Lanes
from .cost import FusedCost
from .near import NearChip
from .products import BlockProduct, block_product, floor_of, inside_of
from .search import extents, first_best
from .strip_cost import AskedRows, StripDemand, asked_of, bound, cost, demand
from .strips import ConvChain, StripTiling, problem, strips


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundStrips:
    """What a search found.

    Attributes
    ----------
    tiling : StripTiling
    products : dict of AskedRows to Best
        The mappings of its strips' products.
    tilings, tilings_costed : int
        Of the space that fit, and those of them whose whole cost was computed.
    search_seconds : float
    """

    tiling: StripTiling
    products: Mapping[AskedRows, Best]
    tilings: int
    tilings_costed: int
    search_seconds: float


def tilings(chain: ConvChain, near: NearChip) -> Iterator[StripTiling]:
    """Yield the tilings of the space that fit a chip, in a fixed order: the largest strips first.

    Parameters
    ----------
    chain : ConvChain
    near : NearChip
    """
    for rows in extents(chain.rows):
        halos = [rows < chain.rows and chain.halo(i) for i in range(len(chain.layers))]
        for kept in product(*((True, False) if halo else (False,) for halo in halos)):
            for places, held in product((2, 1), (True, False)):
                each = StripTiling(rows=rows, kept=kept, places=places, held=held)
                if problem(chain, each, near) is None:
                    yield each


def search(
    chain: ConvChain,
    near: NearChip,
    lanes: Lanes,
    objective: Objective = "cycles",
    *,
    map_product: Callable[..., Best] = best_mapping,
) -> FoundStrips:
    """Return the best tiling of the space for an objective.

    Parameters
    ----------
    chain : ConvChain
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
    started, rank = time.perf_counter(), ORDERS[objective]
    some = list(tilings(chain, near))
    if not some:
        raise BitlatheError(f"fusion: {too_small(chain, near)}")

    @cache
    def mapped(asked: AskedRows) -> Best:
        layer = chain.layers[asked.layer]
        inside = inside_of(near, layer.unit_pj)
        return map_product(asked.loops(chain), layer.bits, inside, objective)

    def floor(asked: AskedRows) -> BlockProduct:
        layer = chain.layers[asked.layer]
        return floor_of(asked.loops(chain), layer.bits, inside_of(near, layer.unit_pj), near)

    floors = Demands(chain, near, lanes, cache(floor))
    demands = Demands(chain, near, lanes, lambda asked: block_product(mapped(asked), near))
    bounds = []
    for i, each in enumerate(some):
        cycles, energy_pj = bound(chain, near, floors.of(each))
        bounds.append((rank(cycles, energy_pj), i))

    def ranks(i: int) -> Iterator[tuple[Rank, bool]]:
        asked = demands.of(some[i])
        if problem(chain, some[i], near, spilling(chain, near, some[i], mapped)) is None:
            found = cost(chain, some[i], near, asked)
            yield rank(found.cycles, found.total_pj), True

    best, costed = first_best(sorted(bounds), ranks, "strips")
    tiling = some[best]
    return FoundStrips(
        tiling=tiling,
        products={asked: mapped(asked) for asked in products_of(chain, tiling)},
        tilings=len(some),
        tilings_costed=costed,
        search_seconds=time.perf_counter() - started,
    )


class Demands:
    """What tilings ask of a chip: those alike in all but their places ask the same.

    Parameters
    ----------
    chain, near, lanes, product_of
        As of `strip_cost.demand`.
    """

    def __init__(
        self,
        chain: ConvChain,
        near: NearChip,
        lanes: Lanes,
        product_of: Callable[[AskedRows], BlockProduct],
    ) -> None:
        self._asked = chain, near, lanes, product_of
        self._found: dict[tuple[int, tuple[bool, ...], bool], StripDemand] = {}

    def of(self, tiling: StripTiling) -> StripDemand:
        """Return what a tiling asks."""
        chain, near, lanes, product_of = self._asked
        key = tiling.rows, tiling.kept, tiling.held
        if key not in self._found:
            self._found[key] = demand(chain, tiling, near, lanes, product_of)
        return self._found[key]


def products_of(chain: ConvChain, tiling: StripTiling) -> list[AskedRows]:
    """Return the products of a tiling's strips, each once.

    Parameters
    ----------
    chain : ConvChain
    tiling : StripTiling
    """
    found = dict[AskedRows, None]()
    for strip in strips(chain, tiling):
        found.update(dict.fromkeys(asked_of(strip)))
    return list(found)


def spilling(
    chain: ConvChain, near: NearChip, tiling: StripTiling, mapped: Callable[[AskedRows], Best]
) -> frozenset[int]:
    """Return the layers whose mappings leave sums in the near memory before they are finished.

    Parameters
    ----------
    chain : ConvChain
    near : NearChip
    tiling : StripTiling
    mapped : callable
        The mapping of a strip's product.
    """
    return frozenset(
        asked.layer
        for asked in products_of(chain, tiling)
        if leaves_unfinished(asked.loops(chain), mapped(asked).mapping, near.inside)
    )


def fused_cost(
    chain: ConvChain,
    near: NearChip,
    lanes: Lanes,
    found: FoundStrips,
    product_of: Callable[[AskedRows], BlockProduct] | None = None,
) -> FusedCost:
    """Return what the best tiling costs.

    Parameters
    ----------
    chain, near, lanes
        As of `search`.
    found : FoundStrips
    product_of : callable, optional
        The products' costs as a rung finds them; those of the mappings by default.
    """
    made = {asked: block_product(best, near) for asked, best in found.products.items()}
    asked = demand(chain, found.tiling, near, lanes, product_of or made.__getitem__)
    return cost(chain, found.tiling, near, asked)


def too_small(chain: ConvChain, near: NearChip) -> str:
    """Return why no strips fit, those of a row for want of how much room.

    Parameters
    ----------
    chain : ConvChain
    near : NearChip
    """
    least = StripTiling(rows=1, kept=(False,) * len(chain.layers), places=1, held=False)
    return f"{problem(chain, least, near)} These are the least strips."
