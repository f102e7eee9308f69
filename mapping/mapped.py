"""A layer on a chip under its best mapping, or a given one: what `bitlathe map` shows."""

from dataclasses import dataclass
from typing import Any

from ..arch.hierarchy import Hierarchy
from ..datatypes.base.errors import BitlatheError
from ..datatypes.base.notebook import frame, html
from .accesses import accesses
from .best import Objective
from .constraints import Constraints
from .cost import Cost, cost
from .dataflows import best_dataflow
from .floors import nest_floor_bits, traffic_bits, traffic_floor_bits
from .kept_results import FREE, best_mapping
from .legal import check, doubled
from .loop_string import mapping_of_string
from .nest import Loops, Mapping
from .operands import OperandBits

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """A layer on a chip under a mapping.

    Attributes
    ----------
    layer : Loops
    bits : OperandBits
    hierarchy : Hierarchy
    mapping : Mapping
    cost : Cost
    mappings_evaluated : int
        Mappings whose cost the search computed; 1 where one was given.
    search_seconds : float
    optimal : bool
        Whether it is known to be the best: of a convolution only where the search counts exactly
        (`mapping.space`).
    within : float or None
        How many times what no mapping undercuts in the objective its cost is (`best.Best`).
    """

    layer: Loops
    bits: OperandBits
    hierarchy: Hierarchy
    mapping: Mapping
    cost: Cost
    mappings_evaluated: int
    search_seconds: float
    optimal: bool
    within: float | None = None

    def __repr__(self) -> str:
        return f"Mapped({self.cost.cycles:,} cycles{', proven best' if self.optimal else ''})"

    def _repr_html_(self) -> str:
        facts = {"clocks": self.cost.cycles, "proven best": "yes" if self.optimal else "no"}
        return html("Mapping", facts, self.nest(), self.accesses(), self.ports())

    def to_frame(self) -> Any:
        """Return a pandas data frame of what is moved between memories.

        Raises
        ------
        BitlatheError
            pandas is not installed.
        """
        return frame(self.accesses())

    @property
    def searched(self) -> bool:
        """Whether a search found the mapping."""
        return self.optimal or self.search_seconds > 0

    @property
    def energy_pj(self) -> dict[str, float]:
        """Energy by memory, ``array``, ``static`` and, where weights pass them, ``decoders``."""
        return dict(self.cost.energy_pj)

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
            "energy_pj": self.energy_pj,
            "dram_traffic": self.traffic(),
            "mappings_evaluated": self.mappings_evaluated,
            "search_seconds": self.search_seconds,
            "optimal": self.optimal,
            "within": self.within,
            "loops": self._loops(),
            "accesses": self.accesses(),
            "ports": self.ports(),
            "mapping": self.mapping.to_dict(),
        }

    def lines(self) -> list[str]:
        """Return clocks, energy and the search in a sentence each."""
        found = self.cost
        energy = ", ".join(f"{name} {pj / 1e6:,.3f}" for name, pj in self.energy_pj.items())
        return [
            f"clocks: {found.cycles:,} (at least {found.lower_bound_cycles:,}); steps "
            f"{float(found.compute_cycles):,.0f}, stalls {float(found.stall_cycles):,.0f}, first "
            f"load {found.first_load_cycles:,}, last store {found.last_store_cycles:,}",
            f"energy (uJ): {energy}",
            self._traffic_line(),
            f"mapping: {self._search_line() if self.searched else 'given'}",
        ]

    def _search_line(self) -> str:
        """Return what is known of all other mappings."""
        costed = f"{self.mappings_evaluated:,} mappings costed in {self.search_seconds:.3f} s"
        if self.within is not None and not self.optimal:
            return (
                f"the best that the search's budget found, within {self.within:.4f} x of what no "
                f"mapping of its space undercuts; {costed}"
            )
        halos = self.layer.windows and self.hierarchy.keeps_halos
        counted = ", halos counted as never kept" if halos else ", searched in bits rounded up"
        space = f"its space{'' if self.optimal else counted}"
        return f"the best of {space}; {costed}, the others bounded"

    def traffic(self) -> dict[str, Any]:
        """Return the bits that pass DRAM, and what no schedule and no nest undercuts."""
        of = (self.layer, self.bits)
        floor, floor_of = traffic_floor_bits(*of, self.hierarchy)
        nest, nest_of = nest_floor_bits(*of, self.hierarchy)
        return {
            "bits": float(traffic_bits(*of, self.mapping, self.hierarchy)),
            "floor_bits": floor,
            "floor": floor_of,
            "nest_floor_bits": nest,
            "nest_floor": nest_of,
        }

    def _traffic_line(self) -> str:
        found = self.traffic()
        bits, floor, nest = found["bits"], found["floor_bits"], found["nest_floor_bits"]
        return (
            f"DRAM traffic: {bits / 8e6:,.3f} MB; no loop nest moves less than {nest / 8e6:,.3f} "
            f"({found['nest_floor']}), {bits / nest:.3f} x; no schedule less than "
            f"{floor / 8e6:,.3f} ({found['floor']}), {bits / floor:.3f} x"
        )

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A layer to be mapped: its loops and bits, and the chip's memories, dataflow by dataflow."""

    layer: Loops
    bits: OperandBits
    hierarchies: tuple[Hierarchy, ...]

    def best(self, objective: Objective = "cycles", constraints: Constraints = FREE) -> Mapped:
        """Return the layer under its best mapping, of those that keep to some constraints.

        Raises
        ------
        BitlatheError
            No mapping fits.
        """
        hierarchy, best = best_dataflow(
            lambda each: best_mapping(
                self.layer, self.bits, each, objective, constraints=constraints
            ),
            self.hierarchies,
            objective,
        )
        return Mapped(
            layer=self.layer,
            bits=self.bits,
            hierarchy=hierarchy,
            mapping=best.mapping,
            cost=best.cost,
            mappings_evaluated=best.mappings_evaluated,
            search_seconds=best.search_seconds,
            optimal=best.optimal,
            within=best.within,
        )

    def under(self, given: Mapping | str) -> Mapped:
        """Return the layer under a mapping, on the first dataflow that can run it.

        Parameters
        ----------
        given : Mapping or str
            A mapping, or a line (`loop_string.mapping_of_string`).

        Raises
        ------
        BitlatheError
            The chip cannot run it.
        """
        problems: list[BitlatheError] = []
        for hierarchy in self.hierarchies:
            try:
                mapping = self._taken(given, hierarchy)
            except BitlatheError as err:
                problems.append(err)
                continue
            return Mapped(
                layer=self.layer,
                bits=self.bits,
                hierarchy=hierarchy,
                mapping=mapping,
                cost=cost(self.layer, self.bits, mapping, hierarchy),
                mappings_evaluated=1,
                search_seconds=0.0,
                optimal=False,
            )
        raise problems[0]

    def _taken(self, given: Mapping | str, hierarchy: Hierarchy) -> Mapping:
        """Return a mapping that is legal; a line's holds two tiles where there is room."""
        if isinstance(given, Mapping):
            check(self.layer, self.bits, given, hierarchy)
            return given
        mapping = mapping_of_string(given, self.layer, hierarchy)
        check(self.layer, self.bits, mapping, hierarchy)
        return doubled(self.layer, self.bits, mapping, hierarchy)
