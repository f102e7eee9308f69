"""The small sections of a chip's schema: technology, array, accounting, execution."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ..datatypes.base.yamlfile import Record
from .dataflow import DATAFLOWS, TILE, Dataflow
from .fields import Positive, PositiveInt


class Technology(Record):
    """Node, clock, and the transistors and temperature of all parts of the chip.

    ``device``: high performance, low operating power, low standby power (ITRS, as CACTI has them).
    """

    node_nm: PositiveInt
    clock_ghz: Positive
    device: Literal["hp", "lop", "lstp"] | None = None
    temperature_k: Literal[300, 360] | None = None


class Array(Record):
    """The array of PEs.

    ``accumulator_buffer``: partial sums of a systolic array stay at its edge instead of going to
    the input/output buffer and back.
    """

    kind: Literal["tile", "systolic"] = "tile"
    rows: PositiveInt
    columns: PositiveInt
    dataflow: Literal["os", "ws", "is"] = "os"
    timing: Literal["physical", "scalesim"] = "physical"
    accumulator_buffer: bool = False

    @model_validator(mode="after")
    def _possible(self) -> Array:
        if self.kind == "tile" and self.dataflow != "os":
            raise ValueError("an array of kind 'tile' has dataflow 'os'; use kind: systolic")
        if self.kind == "tile" and self.accumulator_buffer:
            raise ValueError("accumulator_buffer is of systolic arrays; use kind: systolic")
        return self

    @property
    def flow(self) -> Dataflow:
        """How products lie on the array."""
        return TILE if self.kind == "tile" else DATAFLOWS[self.dataflow]


class Accounting(Record):
    """What the energy model counts; the defaults count everything."""

    leakage: bool = Field(
        default=True, description="charge the leakage of buffers and PEs for the run"
    )
    idle_pes: bool = Field(default=False, description="charge PEs that hold no work as if busy")
    layout_factor: Positive = Field(default=1.5, description="PE energy after place and route")
    study: Literal["hpca25"] | None = Field(
        default=None, description="count ports, accesses and leakage, and take formats, as it does"
    )
    serial_port_fraction: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, description="bits of a chunk that a bit-serial array's one access fetches"
    )
    logits: Literal["last", "all"] = Field(
        default="last", description="tokens of a prefill that the output head works on"
    )

    @model_validator(mode="after")
    def _fraction_is_published(self) -> Accounting:
        if self.study is None and self.serial_port_fraction != 1.0:
            raise ValueError(
                "serial_port_fraction is part of a study's rule for SRAM; use study: hpca25, or "
                "leave it out"
            )
        return self


class Execution(Record):
    """How one layer follows another."""

    overlap_layers: bool = Field(
        default=False, description="fetch a layer's first operands beside the layer before"
    )
    keep_outputs: bool = Field(
        default=False, description="results that fit the io buffer stay there until last read"
    )
