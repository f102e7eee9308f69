"""The mappers that give a product its mapping, by name: what `simulate` and sweeps choose from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..arch.hierarchy import Hierarchy
from .best import Best, Objective
from .kept_results import best_mapping
from .nest import Loops
from .operands import OperandBits

Rank = tuple[float, float]
ORDERS: Mapping[Objective, Callable[[int, float], Rank]] = {
    "cycles": lambda cycles, energy_pj: (cycles, energy_pj),
    "energy": lambda cycles, energy_pj: (energy_pj, cycles),
    "edp": lambda cycles, energy_pj: (cycles * energy_pj, energy_pj),
}
"""What is least under an objective, and what breaks ties."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NestMapper:
    """A rule that gives a product a mapping on a chip's memories.

    Attributes
    ----------
    objective : {"cycles", "energy", "edp"}
        What it makes least.
    """

    objective: Objective

    def map(self, layer: Loops, bits: OperandBits, hierarchy: Hierarchy) -> Best:
        """Return the mapping of a product.

        Raises
        ------
        BitlatheError
            No mapping fits the memories.
        """
        return best_mapping(layer, bits, hierarchy, self.objective)

    def rank(self, total: tuple[int, float]) -> Rank:
        """Return what orders ways to run a layer by (clocks, energy): the least is the best."""
        return ORDERS[self.objective](*total)


NEST_MAPPERS: Mapping[str, NestMapper] = {
    "search": NestMapper(objective="edp"),
    "search-cycles": NestMapper(objective="cycles"),
    "search-energy": NestMapper(objective="energy"),
}
"""``search``: the least product of energy and clocks; the others: the least of one of them."""
