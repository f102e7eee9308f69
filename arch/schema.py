"""The schema of a chip: what an architecture file may say, as frozen records.

Rows, columns and lanes of an ``array.kind: tile`` chip: each row holds one output channel, each
column one token, each PE multiplies ``lanes`` pairs of one dot product at a time. A ``systolic``
array follows the usual dataflow names (``os``, ``ws``, ``is``).
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from fractions import Fraction
from functools import cache, lru_cache
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, field_validator, model_validator

from ..datatypes.errors import BitlatheError
from ..datatypes.scheme import Scheme
from ..datatypes.yamlfile import Record
from .components import SramCost, dram_component, pe_component, sram_cost
from .holds import refusal
from .numerics import PENumerics, numerics_of
from .pe import PE_KINDS, AntPE, IntMacPE, OlivePE, PEKind

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


class Numerics(Record):
    """Arithmetic of a bit-serial PE: a preset, and the fields of `PENumerics` that differ."""

    preset: Literal["hpca25", "aligned", "exact"] = "aligned"
    guard_bits: int | None = None
    reference: Literal["lanes", "lanes_and_accumulator"] | None = None
    alignment: Literal["floor", "sticky"] | None = None
    rounding: Literal["floor", "nearest_even"] | None = None
    overflow: Literal["wrap", "saturate"] | None = None
    accumulator_bits: int | None = None
    sum_bits: int | None = None
    exponent_bits: int | None = None

    @property
    def record(self) -> PENumerics:
        """The numerics as `sim.pe` takes them."""
        given = self.model_dump(exclude={"preset"}, exclude_none=True)
        base = numerics_of(self.preset)
        return replace(base, name="custom", **given) if given else base


def _numerics(value: Any) -> Any:
    return {"preset": value} if isinstance(value, str) else value


# keys of the `pe` section that describe its arithmetic, by kind: key -> field of the kind's record
_MAC_KEYS = ("activation_bits", "weight_bits", "accumulator_bits", "overflow")
PE_KEYS: dict[str, tuple[str, ...]] = {
    "bit_serial": (
        *("activation", "numerics", "scale_bits", "group_gap"),
        *("skip_zero_terms", "skip_sync", "skip_weights"),
    ),
    "int_mac": _MAC_KEYS,
    "fp_mac": ("activation", "weight", "product", "accumulator", "overflow"),
    "lut": ("table", "accumulator"),
    "ant": _MAC_KEYS,
    "olive": _MAC_KEYS,
}


class PE(Record):
    """The processing element: kind, arithmetic, registers; its cost from a table or given here.

    Keys that are left out take the value of the kind's record (`arch.pe`); keys of other kinds
    are refused. ``lanes`` are the inputs of a table for kind ``lut``.
    """

    kind: Literal["bit_serial", "int_mac", "fp_mac", "lut", "ant", "olive"]
    lanes: PositiveInt = 1
    activation: str | None = None
    numerics: Annotated[Numerics | None, BeforeValidator(_numerics)] = None
    scale_bits: int | None = None
    group_gap: int | None = None
    skip_zero_terms: bool | None = None
    skip_sync: Literal["lane", "row", "column", "array"] | None = None
    skip_weights: Literal["gaussian", "student_t"] | None = None
    activation_bits: int | None = None
    weight_bits: int | None = None
    accumulator_bits: int | None = None
    overflow: Literal["wrap", "saturate", "inf"] | None = None
    weight: str | None = None
    product: str | None = None
    accumulator: str | None = None
    table: str | None = None
    double_buffered_operand: bool = True
    drain_register: bool = True
    component: str | None = None
    energy_pj: NonNegative | None = None
    area_um2: NonNegative | None = None

    @model_validator(mode="after")
    def _of_its_kind(self) -> PE:
        mine = PE_KEYS[self.kind]
        others = {key for keys in PE_KEYS.values() for key in keys} - set(mine)
        for key in sorted(others):
            if getattr(self, key) is not None:
                raise ValueError(
                    f"{key} is no key of kind {self.kind!r}, whose keys are {', '.join(mine)}"
                )
        try:
            pe_record(self)
        except BitlatheError as err:  # it names the record's field: the key is the same
            raise ValueError(str(err).partition(".")[2]) from None
        return self

    @property
    def skips(self) -> bool:
        """Whether clocks of zero terms are left out."""
        return bool(self.skip_zero_terms)

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


@cache
def pe_record(pe: PE) -> PEKind:
    """Return the record of a chip's PE, as the functions of `sim.pe` take it.

    Raises
    ------
    BitlatheError
        A width out of range, an unknown format.
    """
    given = {key: getattr(pe, key) for key in PE_KEYS[pe.kind] if getattr(pe, key) is not None}
    given.pop("skip_weights", None)
    if pe.numerics is not None:
        given["numerics"] = pe.numerics.record
    if pe.kind in ("ant", "olive"):
        mac = IntMacPE(**{"weight_bits": 4, **given, "lanes": pe.lanes})
        return AntPE(mac=mac) if pe.kind == "ant" else OlivePE(mac=mac)
    lanes = "inputs" if pe.kind == "lut" else "lanes"
    return PE_KINDS[pe.kind](**{**given, lanes: pe.lanes})


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


class Buffer(Record):
    """An on-chip buffer of equal SRAM banks that are accessed together.

    ``double_buffered``: the next piece comes in beside the one in use; without it a piece has the
    whole buffer, and the next waits until the array is done with it. ``ports``: 2 reads and writes
    at once; 1 does one of them a clock.
    """

    size_kib: SizeKiB
    banks: PositiveInt = 8
    component: str = "cacti7_hp"
    port_bits: PositiveInt | Literal["auto"] = "auto"
    double_buffered: bool = True
    ports: Literal[1, 2] = 2

    @property
    def size_bytes(self) -> int:
        """Size in bytes, rounded down."""
        return int(self.size_kib * 1024)


BufferName = Literal["weight", "io", "input", "output", "shared"]
OperandName = Literal["weight", "input", "output"]
_LAYOUTS: tuple[dict[OperandName, BufferName], ...] = (
    {"weight": "weight", "input": "io", "output": "io"},
    {"weight": "weight", "input": "input", "output": "output"},
    {"weight": "shared", "input": "shared", "output": "shared"},
)
SHARES = (4, 2, 6, 1, 7)
"""Eighths of a shared buffer that weights may have, in the order in which they are tried."""


class Buffers(Record):
    """One buffer for weights and one for inputs and outputs; or one an operand; or one for all."""

    weight: Buffer | None = None
    io: Buffer | None = None
    input: Buffer | None = None
    output: Buffer | None = None
    shared: Buffer | None = None

    @model_validator(mode="after")
    def _one_layout(self) -> Buffers:
        given = {name for name in type(self).model_fields if getattr(self, name) is not None}
        if not any(given == set(layout.values()) for layout in _LAYOUTS):
            known = ", or ".join(", ".join(dict.fromkeys(each.values())) for each in _LAYOUTS)
            raise ValueError(f"buffers are {', '.join(sorted(given)) or 'none'}; give {known}")
        return self

    @property
    def layout(self) -> dict[OperandName, BufferName]:
        """The buffer that holds each operand."""
        return next(
            each
            for each in _LAYOUTS
            if getattr(self, each["weight"]) and getattr(self, each["input"])
        )

    @property
    def names(self) -> tuple[BufferName, ...]:
        """The buffers of the chip."""
        return tuple(dict.fromkeys(self.layout.values()))

    def named(self, name: BufferName) -> Buffer:
        """Return one of the chip's buffers."""
        found: Buffer = getattr(self, name)
        return found

    def of(self, operand: OperandName) -> Buffer:
        """Return the buffer that holds an operand."""
        return self.named(self.layout[operand])

    @property
    def rooms_bytes(self) -> tuple[tuple[int, int], ...]:
        """Bytes that weights and inputs may have: one choice, or the shares of a shared buffer."""
        if self.shared is None:
            return ((self.of("weight").size_bytes, self.of("input").size_bytes),)
        size = self.shared.size_bytes
        return tuple((size * part // 8, size - size * part // 8) for part in SHARES)


class Dram(Record):
    """The DRAM: bits moved per clock, and energy per bit from a table or given here.

    ``background_mw`` is drawn whether bits move or not (refresh, idle interface).
    """

    bits_per_clock: Positive
    component: str | None = None
    energy_pj_per_bit: NonNegative | None = None
    latency_cycles: Annotated[int, Field(ge=0)] = 0
    burst_bits: PositiveInt = 512
    background_mw: NonNegative = 0.0

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


# by the scheme, not its text: a format may stand in a file that changes
@lru_cache(maxsize=1024)
def _scheme_terms(scheme: Scheme) -> int:
    return scheme.terms_per_weight


@lru_cache(maxsize=4096)
def _stored_bits(scheme: Scheme, axis_length: int) -> Fraction:
    return scheme.bits_per_element(axis_length)


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
        return _stored_bits(Scheme.parse(self.scheme), axis_length)

    @property
    def terms(self) -> int:
        """Bit-serial terms (clocks) of one element.

        From the scheme's format; for stated bits b alone, radix-4 Booth digits of the whole
        bits, ceil(floor(b) / 2).
        """
        if self.scheme is not None:
            return _scheme_terms(Scheme.parse(self.scheme))
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


class Execution(Record):
    """How one layer follows another."""

    overlap_layers: bool = Field(
        default=False, description="fetch a layer's first operands beside the layer before"
    )
    keep_outputs: bool = Field(
        default=False, description="results that fit the io buffer stay there until last read"
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
    execution: Execution = Execution()
    overrides: list[Override] = Field(default_factory=list)
    _settings: dict[str, Any] = PrivateAttr(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """The keys that `load_arch` set by hand, for results to name; no part of the chip."""
        return self._settings

    def with_settings(self, settings: dict[str, Any]) -> Arch:
        """Return the same chip with the keys that were set to make it."""
        chip = self.model_copy()
        chip._settings = settings
        return chip

    @model_validator(mode="after")
    def _memories_keep_up(self) -> Arch:
        for name in self.buffers.names:
            cost = self.sram_cost(name)
            if cost.cycle_ns > 1 / self.technology.clock_ghz:
                raise ValueError(
                    f"buffers.{name}: a bank takes {cost.cycle_ns:.3g} ns per access, the clock "
                    f"gives {1 / self.technology.clock_ghz:.3g} ns; use more banks"
                )
        return self

    @model_validator(mode="after")
    def _results_can_stay(self) -> Arch:
        if self.execution.keep_outputs and self.buffers.io is None:
            raise ValueError("execution.keep_outputs needs the buffers weight and io")
        return self

    @model_validator(mode="after")
    def _pe_fits(self) -> Arch:
        _check_pe_in_array(self)
        check_held(self)
        return self

    @property
    def serial(self) -> bool:
        """Whether a chunk of weights takes one clock per bit-serial term."""
        return self.pe.kind == "bit_serial"

    def port_bits(self, buffer: BufferName) -> float:
        """Return the bits of one access of a buffer.

        Automatic ports follow the array: ``lanes * rows`` weights at whole nibbles, and
        ``lanes * columns`` inputs (BitMoD study, HPCA 2025), times
        ``accounting.serial_port_fraction`` for a bit-serial array. A shared buffer gives both in
        one access; a buffer of outputs alone takes ``columns`` of them.
        """
        given = self.buffers.named(buffer).port_bits
        if not isinstance(given, str):
            return given
        if buffer == "output":
            bits = self.formats.linear.output.bits_per_element(4096)
            return math.ceil(bits) * self.array.columns
        if buffer == "shared":
            return self._weight_port_bits() + self._input_port_bits()
        return self._weight_port_bits() if buffer == "weight" else self._input_port_bits()

    @property
    def _port_fraction(self) -> float:
        return self.accounting.serial_port_fraction if self.serial else 1.0

    def _weight_port_bits(self) -> float:
        # whole nibbles of the payload: scales and selectors travel beside it
        weight = self.formats.linear.weight
        payload = _payload(weight, weight.bits_per_element(4096))
        return self.pe.lanes * 4 * math.ceil(payload / 4) * self.array.rows * self._port_fraction

    def _input_port_bits(self) -> float:
        bits = self.formats.linear.input.bits_per_element(4096)
        return self.pe.lanes * math.ceil(bits) * self.array.columns * self._port_fraction

    def sram_cost(self, buffer: BufferName) -> SramCost:
        """Return the cost of one of the chip's buffers."""
        part = self.buffers.named(buffer)
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


def _check_pe_in_array(arch: Arch) -> None:
    tile, pe = arch.array.kind == "tile", arch.pe
    if pe.skips and not tile:
        raise ValueError("pe.skip_zero_terms: on arrays of kind 'tile' only; leave it out")
    for key in ("double_buffered_operand", "drain_register"):
        if tile and not getattr(pe, key):
            raise ValueError(f"pe.{key}: of systolic arrays; use array.kind: systolic")


def check_held(arch: Arch) -> None:
    """Check that the PE can take the weights and inputs of every kind of layer.

    Raises
    ------
    BitlatheError
        It names the key, and lists the formats that the PE can take.
    """
    record = pe_record(arch.pe)
    for kind in ("linear", "attention", "lm_head", "conv"):
        formats: LayerFormats | None = getattr(arch.formats, kind)
        for name in ("weight", "input") if formats is not None else ():
            operand: Operand = getattr(formats, name)
            if operand.scheme is None:
                if name == "weight" and arch.pe.skips:
                    raise BitlatheError(
                        f"formats.{kind}.weight: skip_zero_terms needs a scheme, not bits alone"
                    )
                continue
            problem = refusal(record, arch.pe.kind, name, operand.scheme)
            if problem:
                raise BitlatheError(f"formats.{kind}.{name}: {problem}")


def _payload(operand: Operand, bits: Fraction) -> Fraction:
    """Bits of an element's code alone where a scheme gives it, else the stated bits."""
    if operand.bits is None and operand.scheme is not None:
        return Fraction(Scheme.parse(operand.scheme).element_bits)
    return bits
