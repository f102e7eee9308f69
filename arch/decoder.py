"""What turns stored weights into those of the PEs' ports, at the border of the array.

A decoder stands before each weight that enters the array in a clock. It may read a table: a
learned book, a curve, the values of a grid; what a group's scale or an offset takes is its
operators, too. Attention's keys and values pass it as they are.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ..datatypes.base.yamlfile import Record
from .components import operator_component
from .fields import NonNegative, PositiveInt

MOST_ENTRIES = 1 << 16


class Decoder(Record):
    """The ``pe.decoder`` section: its operators, and the table that it reads.

    Each operator does one operation for each weight that enters the array, in step with it. A table
    that is loaded takes a clock an entry, in which the array does nothing else.

    Raises
    ------
    BitlatheError
        If an operator is not in the table of components.
    """

    operators: dict[str, NonNegative] = Field(
        description="operators of a decoder, one operation each for a weight that enters"
    )
    entries: Annotated[int, Field(ge=0, le=MOST_ENTRIES)] = Field(
        default=0, description="entries of a table that is loaded before its weights, one a clock"
    )
    scale_bits: PositiveInt | None = Field(
        default=None,
        description="significant bits of the widest scale of a group that it multiplies by, "
        "1: powers of two; left out: any",
    )
    table_of: Literal["layer", "output"] = Field(
        default="layer",
        description="what has such a table: a layer, or each output (tile arrays; each block)",
    )

    @model_validator(mode="after")
    def _known(self) -> Decoder:
        for name in self.operators:
            operator_component(name)
        return self

    def __hash__(self) -> int:
        """Return a hash of what is counted, in any order."""
        counts = frozenset(self.operators.items())
        return hash((counts, self.entries, self.scale_bits, self.table_of))

    def weight_pj(self, node_nm: int) -> float:
        """Return the energy of one weight that is decoded, at a node."""
        return self._sum("energy_pj", node_nm)

    def area_um2(self, node_nm: int) -> float:
        """Return the area of one decoder at a node."""
        return self._sum("area_um2", node_nm)

    def _sum(self, figure: str, node_nm: int) -> float:
        return math.fsum(
            count * operator_component(name).scale(figure, node_nm)
            for name, count in self.operators.items()
        )

    def block_clocks(self, first: bool) -> int:
        """Return the clocks in which a block of outputs loads its tables, at its first inputs."""
        return self.entries if first and self.table_of == "output" else 0

    @property
    def layer_clocks(self) -> int:
        """Clocks in which a layer's table is loaded; 0 where each output has its own."""
        return self.entries if self.table_of == "layer" else 0
