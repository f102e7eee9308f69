"""The best tilings of chains, and walks of their schedules, found once and kept on disk.

By what decides them, as `mapping.kept_results` keeps mappings: a result that is kept loads no
compiler.
"""

from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from ...datatypes.base.kept_lines import Kept, key_of
from ...datatypes.base.sources import PACKAGE, digest_of
from .. import kept_results
from ..best import Best, Objective, best_of
from ..budget import budget_nodes
from .chain import Chain, Lanes
from .cost import FusedCost, cost_of
from .demand import Demand
from .near import NearChip
from .products import Asked
from .search import Found, costed, least, search
from .strip_cost import AskedRows
from .strip_search import FoundStrips
from .strip_search import search as search_strips
from .strips import ConvChain, StripTiling
from .tiling import Tiling
from .walk import Walked, walk_arguments, walked


def best_fusion(
    chain: Chain, near: NearChip, lanes: Lanes, objective: Objective = "cycles"
) -> Found:
    """Return the best tiling of a chain, searched the first time and looked up from then on.

    Parameters
    ----------
    chain, near, lanes, objective
        As `search.search` takes them.

    Raises
    ------
    BitlatheError
        No tiling fits.
    """
    key = key_of(chain, near.whole, lanes, objective, budget_nodes())
    return FUSIONS.get(key, lambda: search(chain, near, lanes, objective))


def fusion_cost(chain: Chain, near: NearChip, lanes: Lanes, found: Found) -> FusedCost:
    """Return what the best tiling of a chain costs.

    Parameters
    ----------
    chain, near, lanes
        As `search.search` takes them.
    found : Found
    """
    asked = costed(chain, near, lanes, found)
    return cost_of(chain, found.tiling, near, asked, kept_walk)


def least_fusion(chain: Chain, near: NearChip, lanes: Lanes) -> tuple[float, float]:
    """Return clocks and energy that no tiling of a chain undercuts, as `search.least`, found once.

    Parameters
    ----------
    chain, near, lanes
        As `search.search` takes them.

    Raises
    ------
    BitlatheError
        No tiling fits.
    """
    return FLOORS.get(key_of(chain, near.whole, lanes), lambda: least(chain, near, lanes))


def kept_walk(chain: Chain, tiling: Tiling, near: NearChip, asked: Demand) -> Walked:
    """Return the clocks of a schedule, as `walk.walked` does, found once.

    Parameters
    ----------
    chain, tiling, near, asked
        As of `cost.cost_of`.
    """
    of_blocks, *others = walk_arguments(chain, tiling, near, asked)
    parts = [*of_blocks, *others]
    digest = sha256(b"|".join(np.ascontiguousarray(each).tobytes() for each in parts)).hexdigest()
    return WALKS.get(key_of(digest), lambda: walked(chain, tiling, near, asked))


@cache
def sources_digest() -> str:
    """Return the digest of the sources that decide what is found."""
    fused = digest_of(Path(__file__).parent.glob("*.py"), PACKAGE)
    return sha256(f"{fused} {kept_results.sources_digest()}".encode()).hexdigest()


def _data_of_found(found: Found | FoundStrips) -> dict[str, Any]:
    return {
        "tiling": found.tiling.to_dict(),
        "products": [[list(asked), best.to_dict()] for asked, best in found.products.items()],
        "tilings": found.tilings,
        "tilings_costed": found.tilings_costed,
        "search_seconds": found.search_seconds,
    }


def _found_of_data(data: dict[str, Any]) -> Found:
    products: dict[Asked, Best] = {Asked(*asked): best_of(best) for asked, best in data["products"]}
    return Found(**{**data, "tiling": Tiling(**data["tiling"]), "products": products})


def _data_of_walk(walk: Walked) -> dict[str, Any]:
    return {"cycles": walk.cycles, "waits": list(walk.waits)}


def _walk_of_data(data: dict[str, Any]) -> Walked:
    weights, inputs, vector, results = data["waits"]
    return Walked(data["cycles"], (weights, inputs, vector, results))


def best_strips(
    chain: ConvChain, near: NearChip, lanes: Lanes, objective: Objective = "cycles"
) -> FoundStrips:
    """Return the best strips of convolutions, searched the first time and looked up from then on.

    Parameters
    ----------
    chain, near, lanes, objective
        As `strip_search.search` takes them.

    Raises
    ------
    BitlatheError
        No strips fit.
    """
    key = key_of(chain, near.whole, lanes, objective, budget_nodes())
    return STRIPS.get(key, lambda: search_strips(chain, near, lanes, objective))


def _strips_of_data(data: dict[str, Any]) -> FoundStrips:
    tiling = StripTiling(**{**data["tiling"], "kept": tuple(data["tiling"]["kept"])})
    products = {AskedRows(*asked): best_of(best) for asked, best in data["products"]}
    return FoundStrips(**{**data, "tiling": tiling, "products": products})


STRIPS = Kept("strips", sources_digest, _data_of_found, _strips_of_data)
"""The best strips that were found."""
FUSIONS = Kept("fusions", sources_digest, _data_of_found, _found_of_data)
"""The best tilings that were found."""
FLOORS = Kept(
    "fusion_floors",
    sources_digest,
    lambda least: {"cycles": least[0], "energy_pj": least[1]},
    lambda data: (float(data["cycles"]), float(data["energy_pj"])),
)
"""What no tiling of a chain undercuts."""
WALKS = Kept("walks", sources_digest, _data_of_walk, _walk_of_data)
"""The schedules that were walked."""
