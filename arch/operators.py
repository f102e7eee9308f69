"""What a PE of one's own costs, counted in arithmetic operators from a table (`operators.yaml`).

Of a PE with ``clock`` operators each does one operation in a clock of work; those of ``group`` do
one for each sum of a group of weights: what a format's scales cost, up to ``scale_bits`` wide (the
others are the vector unit's work). The area is that of all of
them; ``reused`` are operations for a group's sum on operators that are counted already. At another
node than the table's energies follow the node (equal voltage), areas its square.
"""

from __future__ import annotations

import math

from pydantic import Field, model_validator

from ..datatypes.base.yamlfile import Record
from .components import operator_component
from .fields import NonNegative, PositiveInt


class Operators(Record):
    """The ``pe.operators`` section: how many of which operators, by when they work.

    Energies are in pJ, areas in um2.

    Raises
    ------
    BitlatheError
        If an operator is not in the table.
    """

    node_nm: PositiveInt = Field(description="node to which the table's figures are scaled")
    clock: dict[str, NonNegative] = Field(description="operators that work in each clock of work")
    group: dict[str, NonNegative] = Field(
        default_factory=dict, description="operators that work once for each group's sum"
    )

    reused: dict[str, NonNegative] = Field(
        default_factory=dict,
        description="operations for each group's sum on operators that are there: energy alone",
    )
    scale_bits: PositiveInt | None = Field(
        default=None,
        description="significant bits of the widest scale that `group` applies, 1: powers of two; "
        "left out: any",
    )

    @model_validator(mode="after")
    def _known(self) -> Operators:
        for name in (*self.clock, *self.group, *self.reused):
            operator_component(name)
        return self

    def __hash__(self) -> int:
        """Return a hash of what is counted, in any order."""
        parts = (self.clock, self.group, self.reused)
        return hash((self.node_nm, self.scale_bits, *(frozenset(part.items()) for part in parts)))

    @property
    def clock_pj(self) -> float:
        """Energy of a clock of work."""
        return self._sum(self.clock, "energy_pj")

    @property
    def group_pj(self) -> float:
        """Energy of what is done for the sum of one group."""
        return self._sum(self.group, "energy_pj") + self._sum(self.reused, "energy_pj")

    @property
    def area_um2(self) -> float:
        """Area of all operators."""
        return self._sum(self.clock, "area_um2") + self._sum(self.group, "area_um2")

    def _sum(self, counts: dict[str, float], figure: str) -> float:
        return math.fsum(
            count * operator_component(name).scale(figure, self.node_nm)
            for name, count in counts.items()
        )
