"""A product on a chip under its best mapping, or a given one: what `bitlathe map` shows."""

from dataclasses import dataclass
from typing import Any

from ..arch.hierarchies import hierarchies_of
from ..arch.hierarchy import Hierarchy
from ..arch.schema import Arch
from .accesses import accesses
from .best import Objective
from .chip_bits import operand_bits
from .cost import Cost, cost
from .dataflows import best_dataflow
from .kept_results import best_mapping
from .legal import check, problems
from .nest import Loops, Mapping

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """A layer on a chip under a mapping.

    Attributes
    ----------
    layer : Loops
    hierarchy : Hierarchy
    mapping : Mapping
    cost : Cost
    mappings_evaluated : int
        Mappings whose cost the search computed; 1 where one was given.
    search_seconds : float
    optimal : bool
        Whether it is known to be the best.
    """

    layer: Loops
    hierarchy: Hierarchy
    mapping: Mapping
    cost: Cost
    mappings_evaluated: int
    search_seconds: float
    optimal: bool

    def to_dict(self) -> dict[str, Any]:
        """Return plain data: the figures, the loops outermost first, and the mapping whole."""
        found = self.cost
        return {
            "cycles": found.cycles,
            "lower_bound_cycles": found.lower_bound_cycles,
            "compute_cycles": float(found.compute_cycles),
            "stall_cycles": float(found.stall_cycles),
            "first_load_cycles": found.first_load_cycles,
            "last_store_cycles": found.last_store_cycles,
            "energy_pj": dict(found.energy_pj),
            "mappings_evaluated": self.mappings_evaluated,
            "search_seconds": self.search_seconds,
            "optimal": self.optimal,
            "loops": self._loops(),
            "accesses": self.accesses(),
            "ports": self.ports(),
            "mapping": self.mapping.to_dict(),
        }

    def lines(self) -> list[str]:
        """Return clocks, energy and the search in a sentence each."""
        found = self.cost
        energy = ", ".join(f"{name} {pj / 1e6:,.3f}" for name, pj in found.energy_pj.items())
        searched = (
            f"the best of its space; {self.mappings_evaluated:,} mappings costed in "
            f"{self.search_seconds:.3f} s, the others bounded"
        )
        return [
            f"clocks: {found.cycles:,} (at least {found.lower_bound_cycles:,}); steps "
            f"{float(found.compute_cycles):,.0f}, stalls {float(found.stall_cycles):,.0f}, first "
            f"load {found.first_load_cycles:,}, last store {found.last_store_cycles:,}",
            f"energy (uJ): {energy}",
            f"mapping: {searched if self.optimal else 'given'}",
        ]

    def _loops(self) -> Rows:
        """Return the loops, outermost first, with the memory each stands in."""
        mapping = self.mapping
        memories = [level.memory for level in mapping.levels for _ in level.loops]
        bounds = mapping.bounds(self.layer.sizes)
        return [
            {
                "memory": memory,
                "dim": loop.dim,
                "bound": bound.blocks,
                "tile": bound.tile,
                "last": bound.last,
            }
            for memory, loop, bound in zip(memories, mapping.loops, bounds, strict=True)
        ]

    def nest(self) -> Rows:
        """Return the nest as rows: memories and what they keep, loops and their bounds."""
        return [
            {"nest": "  " * row.depth + row.what, "": row.detail}
            for row in self.mapping.rows(self.layer.sizes)
        ]

    def accesses(self) -> Rows:
        """Return what moves between each memory and the next: elements, exactly."""
        return [
            {
                "operand": row.operand,
                "kind": f"{row.kind}, unfinished" if row.partial else row.kind,
                "parent": row.parent,
                "child": row.child or "array",
                "visits": row.visits,
                "parent_elements": row.parent_elements,
                "child_elements": row.child_elements,
            }
            for row in accesses(self.layer, self.mapping, self.hierarchy)
        ]

    def ports(self) -> Rows:
        """Return what goes through each port, and how long it delays the array."""
        rows = []
        for load in self.cost.ports:
            port = self.hierarchy.memory(load.memory).ports[load.port]
            rows.append(
                {
                    "memory": load.memory,
                    "port": port.direction,
                    "bits": float(port.width_bits),
                    "reads": load.reads,
                    "writes": load.writes,
                    "busy_cycles": load.busy,
                    "stall_cycles": float(load.stall),
                    "energy_pj": port.energy_pj(load.reads, load.writes),
                }
            )
        return rows


def map_product(
    arch: Arch,
    m: int,
    n: int,
    k: int,
    objective: Objective = "cycles",
    *,
    mapping: Mapping | None = None,
) -> Mapped:
    """Return a product of a chip's linear layers under its best mapping, or a given one.

    Parameters
    ----------
    arch : Arch
    m, n, k : int
        Tokens, outputs, inputs.
    objective : {"cycles", "energy", "edp"}
        What the search makes least.
    mapping : Mapping, optional
        The one to take.

    Raises
    ------
    BitlatheError
        A mapping that the chip cannot run, or a chip on which none fits.
    """
    hierarchies, layer = hierarchies_of(arch), Loops.product(m, n, k)
    bits = operand_bits(arch, arch.formats.linear, n, k)
    if mapping is not None:
        takes = (each for each in hierarchies if not problems(layer, bits, mapping, each))
        hierarchy = next(takes, hierarchies[0])
        check(layer, bits, mapping, hierarchy)
        found, evaluated, seconds, optimal = (
            cost(layer, bits, mapping, hierarchy),
            1,
            0.0,
            False,
        )
    else:
        hierarchy, best = best_dataflow(
            lambda each: best_mapping(layer, bits, each, objective), hierarchies, objective
        )
        mapping, found, evaluated = best.mapping, best.cost, best.mappings_evaluated
        seconds, optimal = best.search_seconds, best.optimal
    return Mapped(
        layer=layer,
        hierarchy=hierarchy,
        mapping=mapping,
        cost=found,
        mappings_evaluated=evaluated,
        search_seconds=seconds,
        optimal=optimal,
    )
