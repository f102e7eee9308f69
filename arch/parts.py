"""The small sections of a chip's schema: technology, array, accounting, execution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from ..datatypes.base.errors import unknown_name
from ..datatypes.base.yamlfile import Record
from .dataflow import DATAFLOWS, SYSTOLIC, TILE, Dataflow, FlowName
from .fields import Clock, Positive, PositiveInt


class Technology(Record):
    """Node, clock, and the transistors and temperature of all parts of the chip.

    ``device``: high performance, low operating power, low standby power (ITRS, as CACTI has them).
    """

    meant: ClassVar[Mapping[str, str]] = {
        "node": "'node_nm'",
        "process": "'node_nm'",
        "clock": "'clock_ghz'",
        "frequency": "'clock_ghz'",
        "voltage": "'device', whose supply the SRAM table has",
    }

    node_nm: PositiveInt = Field(
        description="process node, for SRAM tables and the scaling of areas"
    )
    scaled: bool = Field(
        default=False,
        description="component tables of other nodes are scaled to this one, 7 to 65 nm",
    )
    clock_ghz: Clock = Field(
        description="clock of the whole chip; a number of GHz, or text as 250 MHz"
    )
    device: Literal["hp", "lop", "lstp"] | None = Field(
        default=None,
        description="transistors of SRAM: high performance, low operating or standby power",
    )
    temperature_k: Literal[300, 360] | None = Field(
        default=None, description="temperature at which SRAM leaks"
    )


DIMENSIONS = ("m", "n", "k", "b", "h", "c", "p", "q", "r", "s", "g")
"""Dimensions of layers: tokens (images), outputs, inputs, products, those that share weights;
of convolutions inputs, rows and columns of outputs, of the kernel, groups."""


_SPELLED: Mapping[str, FlowName] = {
    "os": "os",
    "ws": "ws",
    "is": "is",
    "output_stationary": "os",
    "weight_stationary": "ws",
    "input_stationary": "is",
}


def _flows(value: Any) -> FlowName | tuple[FlowName, ...]:
    """Read one dataflow, or a list of several."""
    given = list(value) if isinstance(value, list | tuple) else [value]
    listed: list[FlowName] = []
    for each in given:
        if not isinstance(each, str) or each not in _SPELLED:
            known = "'os', 'ws' or 'is'"
            raise PydanticCustomError("literal_error", f"Input should be {known}")
        listed.append(_SPELLED[each])
    if len(set(listed)) != len(listed):
        raise ValueError("a dataflow is listed twice; once will do")
    if not listed:
        raise ValueError("an empty list; name one or more of os, ws and is")
    return listed[0] if len(listed) == 1 else tuple(listed)


def _dims_of(value: Any) -> tuple[str, ...]:
    """Read a list of dimensions."""
    dims = (value,) if isinstance(value, str) else value
    if not isinstance(dims, list | tuple) or not dims:
        raise ValueError(f"give a list of dimensions: some of {', '.join(DIMENSIONS)}")
    for dim in dims:
        if not isinstance(dim, str) or dim not in DIMENSIONS:
            raise ValueError(unknown_name("dimension", str(dim), DIMENSIONS))
        if list(dims).count(dim) > 1:
            raise ValueError(f"{dim!r} is listed twice; once will do")
    return tuple(dims)


def _dims(value: Any) -> Any:
    """Read the dimensions of an axis: a list, or one for each dataflow, as pairs."""
    pairs = value.items() if isinstance(value, dict) else _pairs(value)
    if pairs is None:
        return _dims_of(value)
    for flow, _ in pairs:
        if not isinstance(flow, str) or flow not in SYSTOLIC:
            raise ValueError(unknown_name("dataflow", str(flow), SYSTOLIC))
    return tuple((flow, _dims_of(dims)) for flow, dims in pairs)


def _pairs(value: Any) -> list[tuple[Any, Any]] | None:
    """Return a list of pairs (dataflow, dims) as read before; None of a list of dims."""
    listed = isinstance(value, list | tuple) and len(value) > 0
    if not listed or not all(isinstance(each, list | tuple) and len(each) == 2 for each in value):
        return None
    return [(flow, dims) for flow, dims in value]


Flows = Annotated[FlowName | tuple[FlowName, ...], BeforeValidator(_flows)]
ByFlow = tuple[tuple[FlowName, tuple[str, ...]], ...]
Dims = Annotated[tuple[str, ...] | ByFlow, BeforeValidator(_dims)]


def _in_flow(dims: tuple[str, ...] | ByFlow | None, dataflow: FlowName) -> tuple[str, ...] | None:
    """Return the dims of an axis in a dataflow; None where none are given for it."""
    found = [each for each in dims or () if isinstance(each, str)]
    by_flow = {each[0]: each[1] for each in dims or () if not isinstance(each, str)}
    return tuple(found) or by_flow.get(dataflow)


def apart(value: Any, key: str, dims_key: str) -> Any:
    """Return a section where ``key: {size: ..., dims: ...}`` stands as two keys.

    Raises
    ------
    ValueError
        No size, another key, or dims that no layer has; it names the key.

    Examples
    --------
    >>> apart({"rows": {"size": 4, "dims": ["k"]}}, "rows", "row_dims")
    {'rows': 4, 'row_dims': ('k',)}
    """
    given = value.get(key) if isinstance(value, dict) else None
    if not isinstance(given, dict):
        return value
    unknown = sorted(set(given) - {"size", "dims"})
    if unknown:
        raise ValueError(f"{key}: {unknown_name('key', unknown[0], ('size', 'dims'))}")
    if "size" not in given:
        raise ValueError(f"{key}: 'size' is missing")
    found = {**value, key: given["size"]}
    if "dims" not in given:
        return found
    try:
        return {**found, dims_key: _dims(given["dims"])}
    except ValueError as err:
        raise ValueError(f"{key}.dims: {err}") from None


class Array(Record):
    """The array of PEs.

    ``accumulator_buffer``: partial sums of a systolic array stay at its edge instead of going to
    the input/output buffer and back. Where the chip gives ``memories``, ``rows`` and ``columns``
    may be ``{size: ..., dims: ...}``, the dimensions that each may unroll (``row_dims``,
    ``column_dims``), and ``dataflow`` a list, of which each layer takes one.
    """

    meant: ClassVar[Mapping[str, str]] = {
        "type": "'kind'",
        "size": "'rows' and 'columns'",
        "shape": "'rows' and 'columns'",
        "dims": "'rows' and 'columns'",
        "height": "'rows'",
        "width": "'columns'",
    }

    kind: Literal["tile", "systolic"] = Field(
        default="tile",
        description="tile: PEs share operands along rows and columns; systolic: they hand them on",
    )
    rows: PositiveInt = Field(
        description="PEs along the first axis (tile: output channels); or {size, dims}"
    )
    columns: PositiveInt = Field(
        description="PEs along the second axis (tile: tokens); or {size, dims}"
    )
    row_dims: Dims | None = Field(
        default=None, description="with memories: dimensions of a layer that rows may unroll"
    )
    column_dims: Dims | None = Field(
        default=None, description="with memories: dimensions of a layer that columns may unroll"
    )
    dataflow: Flows = Field(
        default="os",
        description="what stays in PEs: outputs, weights, inputs; with memories a list of them",
    )
    timing: Literal["physical", "scalesim"] = Field(
        default="physical",
        description="clocks of a systolic array: as its registers work, or as SCALE-Sim counts",
    )
    accumulator_buffer: bool = Field(
        default=False,
        description="systolic: partial sums stay at the array's edge, not in the io buffer",
    )

    @model_validator(mode="before")
    @classmethod
    def _sides_apart(cls, value: Any) -> Any:
        value = apart(apart(value, "rows", "row_dims"), "columns", "column_dims")
        if not isinstance(value, dict) or "kind" in value:
            return value
        listed = isinstance(value.get("dataflow"), list | tuple)
        sides = any(value.get(key) is not None for key in ("row_dims", "column_dims"))
        skewed = listed or (sides and value.get("dataflow", "os") != "os")
        return {**value, "kind": "systolic"} if skewed else value

    @model_validator(mode="after")
    def _possible(self) -> Array:
        if self.kind == "tile" and self.dataflows != ("os",):
            raise ValueError("an array of kind 'tile' has dataflow 'os'; use kind: systolic")
        if self.kind == "tile" and self.accumulator_buffer:
            raise ValueError("accumulator_buffer is of systolic arrays; use kind: systolic")
        for key, dims in (("rows", self.row_dims), ("columns", self.column_dims)):
            missing = [flow for flow in self.dataflows if _in_flow(dims, flow) is None]
            if dims is not None and missing:
                raise ValueError(f"{key}.dims: those of dataflow {missing[0]!r} are missing")
        return self

    @property
    def dataflows(self) -> tuple[FlowName, ...]:
        """The dataflows that it can have; a layer takes one."""
        return (self.dataflow,) if isinstance(self.dataflow, str) else self.dataflow

    @property
    def flow(self) -> Dataflow:
        """How products lie on the array: in the first of its dataflows."""
        return self.flow_of(self.dataflows[0])

    def flow_of(self, dataflow: FlowName) -> Dataflow:
        """Return how products lie on the array in one of its dataflows."""
        return TILE if self.kind == "tile" else DATAFLOWS[dataflow]

    def dims_of(self, dataflow: FlowName) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return the dimensions that rows and columns may unroll in one of its dataflows."""
        flow = self.flow_of(dataflow)
        rows, columns = (_in_flow(dims, dataflow) for dims in (self.row_dims, self.column_dims))
        return rows or (flow.rows,), columns or (flow.columns,)


class Cores(Record):
    """Copies of the array side by side, and the dimensions that may be divided among them.

    ``multicast``: what several take alike of a memory that they share is read once, else once a
    core.
    """

    size: PositiveInt = Field(default=1, description="copies of the array")
    multicast: bool = Field(
        default=True, description="what several cores take alike of a shared memory is read once"
    )
    dims: Annotated[tuple[str, ...], BeforeValidator(_dims_of)] = Field(
        default=("b", "h", "m", "n"),
        description="dimensions of a layer that may be divided among cores",
    )


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
