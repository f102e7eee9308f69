"""Dataflows: what the rows and columns of an array unroll, what passes by, what stays in the PEs.

The dimensions are those of a product (m, k) x (k, n): tokens m, outputs n, and the reduction k,
whose ``lanes`` of one PE are multiplied in one clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple

Dimension = Literal["m", "n", "k"]
FlowName = Literal["os", "ws", "is"]
LoadedOperand = Literal["weight", "input"]


class Extents(NamedTuple):
    """Sizes along the rows, along the columns, and in time."""

    rows: int
    columns: int
    streamed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataflow:
    """How a product lies on an array.

    Attributes
    ----------
    name : str
        As chips name it; ``tile`` for arrays of that kind.
    rows, columns, streamed : {"m", "n", "k"}
        The dimension that the rows unroll, the columns, and the one that passes in time.
    lanes : {"k"}
        The dimension of which one PE multiplies several elements in a clock.
    stationary : {"output", "weight", "input"}
        The operand that stays in the PEs.
    """

    name: str
    rows: Dimension
    columns: Dimension
    streamed: Dimension
    stationary: Literal["output", "weight", "input"]
    lanes: Dimension = "k"

    def extents(self, m: int, n: int, k: int) -> Extents:
        """Return a product's sizes along the rows, along the columns, and in time.

        Examples
        --------
        >>> DATAFLOWS["ws"].extents(m=2, n=3, k=5)
        Extents(rows=5, columns=3, streamed=2)
        """
        size = {"m": m, "n": n, "k": k}
        return Extents(size[self.rows], size[self.columns], size[self.streamed])

    def along(self, dimension: Dimension, rows: int, columns: int) -> int | None:
        """Return the PEs of a rows x columns array along a dimension; None for what streams."""
        return {self.rows: rows, self.columns: columns}.get(dimension)

    @property
    def loaded(self) -> LoadedOperand | None:
        """The operand that is loaded into the PEs, a row an access; None where sums stay there."""
        return None if self.stationary == "output" else self.stationary

    @property
    def sums_stay(self) -> bool:
        """Whether a sum stays in its PE until it is finished; else K lies on the rows."""
        return self.stationary == "output"

    @property
    def weights_on_columns(self) -> bool:
        """Whether the columns, not the rows, take in weights; the others take in inputs."""
        return self.columns == "n"


SYSTOLIC: Mapping[str, Dataflow] = MappingProxyType(
    {
        flow.name: flow
        for flow in (
            Dataflow(name="os", rows="m", columns="n", streamed="k", stationary="output"),
            Dataflow(name="ws", rows="k", columns="n", streamed="m", stationary="weight"),
            Dataflow(name="is", rows="k", columns="m", streamed="n", stationary="input"),
        )
    }
)
TILE = Dataflow(name="tile", rows="n", columns="m", streamed="k", stationary="output")
DATAFLOWS: Mapping[str, Dataflow] = MappingProxyType({**SYSTOLIC, TILE.name: TILE})
