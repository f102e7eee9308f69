"""The schema of a chip: what an architecture file may say, as frozen records.

Rows, columns and lanes of an ``array.kind: tile`` chip: each row holds one output channel, each
column one token, each PE multiplies ``lanes`` pairs of one dot product at a time. A ``systolic``
array follows the usual dataflow names (``os``, ``ws``, ``is``).
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from functools import cache
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from ..datatypes.errors import BitlatheError
from ..datatypes.scheme import Scheme
from ..datatypes.yamlfile import Record
from .components import SramCost, dram_component, pe_component, sram_cost

_SIZE_UNITS_KIB = {"B": 1 / 1024, "KiB": 1, "MiB": 1024, "GiB": 1024 * 1024}


def _size_kib(value: Any) -> Any:
    """Read ``512``, ``"512 KiB"`` or ``"2 MiB"`` as KiB."""
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"\s*([0-9.]+)\s*([A-Za-z]*)\s*", value)
    if not found or found[2] not in _SIZE_UNITS_KIB:
        raise ValueError(f"{value!r} is no size: write a number of KiB, or e.g. '512 KiB', '2 MiB'")
    return float(found[1]) * _SIZE_UNITS_KIB[found[2]]


def _scheme_text(value: str) -> str:
    try:
        return str(Scheme.parse(value))
    except BitlatheError as err:
        raise ValueError(str(err)) from None


PositiveInt = Annotated[int, Field(gt=0, le=2**31)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
SizeKiB = Annotated[Positive, BeforeValidator(_size_kib)]
Phase = Literal["prefill", "decode"]


class Technology(Record):
    """Node and clock."""

    node_nm: PositiveInt
    clock_ghz: Positive


class PE(Record):
    """The processing element: its kind, and its cost from a component table or given here."""

    kind: Literal["bit_serial", "int_mac", "fp_mac", "lut"]
    lanes: PositiveInt = 1
    numerics: Literal["hpca25", "aligned", "exact"] = "aligned"
    component: str | None = None
    energy_pj: NonNegative | None = None
    area_um2: NonNegative | None = None

    @model_validator(mode="after")
    def _has_costs(self) -> PE:
        if self.component is None and (self.energy_pj is None or self.area_um2 is None):
            raise ValueError("give 'component', or both 'energy_pj' (per clock) and 'area_um2'")
        if self.component is not None:
            pe_component(self.component)
        return self

    @property
    def clock_energy_pj(self) -> float:
        """Dynamic energy of one PE in one clock of work."""
        if self.energy_pj is not None:
            return self.energy_pj
        return pe_component(self.component or "").energy_pj

    @property
    def cell_area_um2(self) -> float:
        """Area of one PE."""
        if self.area_um2 is not None:
            return self.area_um2
        return pe_component(self.component or "").area_um2


class Array(Record):
    """The array of PEs."""

    kind: Literal["tile", "systolic"] = "tile"
    rows: PositiveInt
    columns: PositiveInt
    dataflow: Literal["os", "ws", "is"] = "os"
    timing: Literal["physical", "scalesim"] = "physical"

    @model_validator(mode="after")
    def _possible(self) -> Array:
        if self.kind == "tile" and self.dataflow != "os":
            raise ValueError("an array of kind 'tile' has dataflow 'os'; use kind: systolic")
        return self


class Buffer(Record):
    """An on-chip buffer of equal SRAM banks that are accessed together."""

    size_kib: SizeKiB
    banks: PositiveInt = 8
    component: str = "cacti7_hp"
    port_bits: PositiveInt | Literal["auto"] = "auto"

    @property
    def size_bytes(self) -> int:
        """Size in bytes, rounded down."""
        return int(self.size_kib * 1024)


class Buffers(Record):
    """One buffer for weights, one shared by inputs and outputs."""

    weight: Buffer
    io: Buffer


class Dram(Record):
    """The DRAM: bits moved per clock, and energy per bit from a table or given here."""

    bits_per_clock: Positive
    component: str | None = None
    energy_pj_per_bit: NonNegative | None = None
    latency_cycles: Annotated[int, Field(ge=0)] = 0
    burst_bits: PositiveInt = 512

    @model_validator(mode="after")
    def _has_energy(self) -> Dram:
        if self.component is None and self.energy_pj_per_bit is None:
            raise ValueError("give 'component' or 'energy_pj_per_bit'")
        if self.component is not None:
            dram_component(self.component)
        return self

    @property
    def bit_energy_pj(self) -> float:
        """Energy of one bit read or written."""
        if self.energy_pj_per_bit is not None:
            return self.energy_pj_per_bit
        return dram_component(self.component or "").energy_pj_per_bit


@cache
def _scheme_terms(scheme: str) -> int:
    return Scheme.parse(scheme).terms_per_weight


class Operand(Record):
    """How one operand is stored: a scheme, or a stated number of bits, or both.

    ``bits`` stands for the stored bits per element where a study states them (a mix of layers in
    4 and 8 bits, say); without it they are counted from the scheme.
    """

    scheme: str | None = None
    bits: Annotated[float, Field(ge=1, le=64)] | None = None

    @field_validator("scheme")
    @classmethod
    def _known_scheme(cls, value: str | None) -> str | None:
        return None if value is None else _scheme_text(value)

    @model_validator(mode="after")
    def _says_something(self) -> Operand:
        if self.scheme is None and self.bits is None:
            raise ValueError("give 'scheme' or 'bits'")
        return self

    @property
    def label(self) -> str:
        """The scheme, and the stated bits if there are any."""
        stated = None if self.bits is None else f"{self.bits:g} bits"
        return ", ".join(part for part in (self.scheme, stated) if part)

    def bits_per_element(self, axis_length: int) -> Fraction:
        """Return the stored bits per element, scales and selectors counted."""
        if self.bits is not None:
            return Fraction(self.bits)
        assert self.scheme is not None
        return Scheme.parse(self.scheme).bits_per_element(axis_length)

    @property
    def terms(self) -> int:
        """Bit-serial terms (clocks) of one element.

        From the scheme's format; for stated bits b alone, radix-4 Booth digits of the whole
        bits, ceil(floor(b) / 2).
        """
        if self.scheme is not None:
            return _scheme_terms(self.scheme)
        return math.ceil(math.floor(self.bits or 0) / 2)


def _operand(value: Any) -> Any:
    return {"scheme": value} if isinstance(value, str) else value


OperandField = Annotated[Operand, BeforeValidator(_operand)]
FP16 = Operand(scheme="fp16")


class LayerFormats(Record):
    """Formats of the operands of one kind of layer; the weight is the stationary operand."""

    weight: OperandField
    input: OperandField = FP16
    output: OperandField = FP16


class Formats(Record):
    """The chip's policy: formats by kind of layer. ``lm_head`` and ``conv`` follow ``linear``."""

    linear: LayerFormats
    attention: LayerFormats
    lm_head: LayerFormats | None = None
    conv: LayerFormats | None = None


class Accounting(Record):
    """What the energy model counts; the defaults count everything."""

    leakage: bool = Field(default=True, description="charge the buffers' leakage for the run")
    idle_pes: bool = Field(default=False, description="charge PEs that hold no work as if busy")
    layout_factor: Positive = Field(default=1.5, description="PE energy after place and route")
    serial_port_fraction: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, description="bits of a chunk that a bit-serial array's one access fetches"
    )


class Condition(Record):
    """When an override holds."""

    phase: Phase | None = None
    model: str | list[str] | None = None


class Override(Record):
    """Keys that change for one phase or some models."""

    when: Condition
    set: dict[str, Any]


class Arch(Record):
    """A chip. Build one with `load_arch`; see the fields of each part for units."""

    name: str = ""
    title: str = ""
    description: str = ""
    technology: Technology
    pe: PE
    array: Array
    buffers: Buffers
    dram: Dram
    formats: Formats
    accounting: Accounting = Accounting()
    overrides: list[Override] = Field(default_factory=list)

    @model_validator(mode="after")
    def _memories_keep_up(self) -> Arch:
        for name in ("weight", "io"):
            cost = self.sram_cost(name)
            if cost.cycle_ns > 1 / self.technology.clock_ghz:
                raise ValueError(
                    f"buffers.{name}: a bank takes {cost.cycle_ns:.3g} ns per access, the clock "
                    f"gives {1 / self.technology.clock_ghz:.3g} ns; use more banks"
                )
        return self

    @property
    def serial(self) -> bool:
        """Whether a chunk of weights takes one clock per bit-serial term."""
        return self.pe.kind == "bit_serial"

    def port_bits(self, buffer: str) -> float:
        """Return the bits of one access of ``weight`` or ``io``.

        Automatic ports follow the array: ``lanes * rows`` weights at whole nibbles, and
        ``lanes * columns`` inputs (BitMoD study, HPCA 2025), times
        ``accounting.serial_port_fraction`` for a bit-serial array.
        """
        given: int | str = getattr(self.buffers, buffer).port_bits
        if not isinstance(given, str):
            return given
        array, lanes = self.array, self.pe.lanes
        fraction = self.accounting.serial_port_fraction if self.serial else 1.0
        if buffer == "weight":
            bits = self.formats.linear.weight.bits_per_element(4096)
            # whole nibbles of the payload: scales and selectors travel beside it
            return (
                lanes
                * 4
                * math.ceil(_payload(self.formats.linear.weight, bits) / 4)
                * (array.rows)
                * fraction
            )
        bits = self.formats.linear.input.bits_per_element(4096)
        return lanes * math.ceil(bits) * array.columns * fraction

    def sram_cost(self, buffer: str) -> SramCost:
        """Return the cost of the ``weight`` or the ``io`` buffer."""
        part: Buffer = getattr(self.buffers, buffer)
        try:
            return sram_cost(
                part.component,
                node_nm=self.technology.node_nm,
                size_bytes=part.size_bytes,
                banks=part.banks,
                port_bits=self.port_bits(buffer),
            )
        except BitlatheError as err:
            raise BitlatheError(f"buffers.{buffer}: {err}") from None


def _payload(operand: Operand, bits: Fraction) -> Fraction:
    """Bits of an element's code alone where a scheme gives it, else the stated bits."""
    if operand.bits is None and operand.scheme is not None:
        return Fraction(Scheme.parse(operand.scheme).element_bits)
    return bits
