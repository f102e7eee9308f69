"""The mappers that give a product its mapping, by name: what `simulate` and sweeps choose from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..arch.hierarchy import Hierarchy
from .best import Best, Objective
from .kept_results import best_mapping
from .nest import Loops
from .operands import OperandBits
from .whole_buffer_nests import output_tiled_nest, whole_buffer_nest

Rank = tuple[float, float]
Rule = Callable[[Loops, OperandBits, Hierarchy], Best]
ORDERS: Mapping[Objective, Callable[[int, float], Rank]] = {
    "cycles": lambda cycles, energy_pj: (cycles, energy_pj),
    "energy": lambda cycles, energy_pj: (energy_pj, cycles),
    "edp": lambda cycles, energy_pj: (cycles * energy_pj, energy_pj),
}
"""What is least under an objective, and what breaks ties."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NestMapper:
    """A search, or a rule, that gives a product a mapping on a chip's memories.

    Attributes
    ----------
    objective : {"cycles", "energy", "edp"}
        What it makes least; of a rule, what orders the ways to run a layer.
    rule : callable, optional
        The rule; None is the search.
    """

    objective: Objective
    rule: Rule | None = None

    def map(self, layer: Loops, bits: OperandBits, hierarchy: Hierarchy) -> Best:
        """Return the mapping of a product.

        Raises
        ------
        BitlatheError
            No mapping fits the memories, or a rule does not apply to them.
        """
        if self.rule is not None:
            return self.rule(layer, bits, hierarchy)
        return best_mapping(layer, bits, hierarchy, self.objective)

    def rank(self, total: tuple[int, float]) -> Rank:
        """Return what orders ways to run a layer by (clocks, energy): the least is the best."""
        return ORDERS[self.objective](*total)


NEST_MAPPERS: Mapping[str, NestMapper] = {
    "search": NestMapper(objective="edp"),
    "search-cycles": NestMapper(objective="cycles"),
    "search-energy": NestMapper(objective="energy"),
    "nest-whole-buffer": NestMapper(objective="edp", rule=whole_buffer_nest),
    "nest-output-tiled": NestMapper(objective="edp", rule=output_tiled_nest),
}
"""``search``: the least product of energy and clocks; the next two: the least of one of them; then
the published rules as loop nests (`mapping.whole_buffer_nests`)."""
SEARCHES = tuple(name for name, mapper in NEST_MAPPERS.items() if mapper.rule is None)
"""Those of them that search."""
