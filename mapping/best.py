"""What a search found, as a record and as plain data."""

from collections.abc import Mapping as Table
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

from .cost import Cost, PortLoad
from .nest import Mapping
from .read import mapping_of

Objective = Literal["cycles", "energy", "edp"]
OBJECTIVES: tuple[Objective, ...] = ("cycles", "energy", "edp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """What a search found.

    Attributes
    ----------
    mapping : Mapping
    cost : Cost
    outer_bits : dict of str to Fraction
        Bits that pass the outermost memory, by operand (`accesses.outermost_bits`).
    mappings_evaluated : int
        Mappings whose whole cost was computed.
    search_seconds : float
        Time of the search, compilation left out.
    optimal : bool
        Whether all others are known to be no better; false where a limit, or the budget, ended the
        search.
    within : float or None
        How many times what no mapping undercuts, in the objective, its cost is; 1 where it is
        optimal, None where it is counted otherwise than searched (`search.counts_all`).
    """

    mapping: Mapping
    cost: Cost
    outer_bits: Table[str, Fraction]
    mappings_evaluated: int
    search_seconds: float
    optimal: bool
    within: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain data, as `best_of` reads it."""
        cost = self.cost
        return {
            "mapping": self.mapping.to_dict(),
            "cost": {
                "cycles": cost.cycles,
                "lower_bound_cycles": cost.lower_bound_cycles,
                "compute_cycles": str(cost.compute_cycles),
                "stall_cycles": str(cost.stall_cycles),
                "first_load_cycles": cost.first_load_cycles,
                "last_store_cycles": cost.last_store_cycles,
                "ports": [
                    [load.memory, load.port, load.reads, load.writes, load.busy, str(load.stall)]
                    for load in cost.ports
                ],
                "energy_pj": dict(cost.energy_pj),
            },
            "outer_bits": {operand: str(bits) for operand, bits in self.outer_bits.items()},
            "mappings_evaluated": self.mappings_evaluated,
            "search_seconds": self.search_seconds,
            "optimal": self.optimal,
            "within": self.within,
        }


def best_of(data: dict[str, Any]) -> Best:
    """Return the record of plain data that `Best.to_dict` made."""
    cost = dict(data["cost"])
    for name in ("compute_cycles", "stall_cycles"):
        cost[name] = Fraction(cost[name])
    ports = []
    for memory, port, reads, writes, busy, stall in cost["ports"]:
        load = PortLoad(
            memory=memory, port=port, reads=reads, writes=writes, busy=busy, stall=Fraction(stall)
        )
        ports.append(load)
    cost["ports"] = tuple(ports)
    made = {
        "mapping": mapping_of(data["mapping"]),
        "cost": Cost(**cost),
        "outer_bits": {operand: Fraction(bits) for operand, bits in data["outer_bits"].items()},
    }
    return Best(**{**data, **made})
