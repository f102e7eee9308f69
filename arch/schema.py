"""The schema of a chip: what an architecture file may say, as frozen records.

Rows, columns and lanes of an ``array.kind: tile`` chip: each row holds one output channel, each
column one token, each PE multiplies ``lanes`` pairs of one dot product at a time. A ``systolic``
array follows the usual dataflow names (``os``, ``ws``, ``is``).
"""

from __future__ import annotations

import math
from dataclasses import replace
from fractions import Fraction
from functools import cache, lru_cache
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, field_validator, model_validator

from ..datatypes.errors import BitlatheError
from ..datatypes.scheme import Scheme
from ..datatypes.yamlfile import Record
from . import ports
from .components import SramCost, pe_component, sram_cost
from .fields import NonNegative, Positive, PositiveInt
from .holds import refusal
from .keys import set_key, variants_of
from .memories import Buffer, BufferName, Buffers, Dram, OperandName
from .numerics import PENumerics, numerics_of
from .pe import PE_KINDS, AntPE, IntMacPE, OlivePE, PEKind

__all__ = [
    "PE",
    "PE_KEYS",
    "Accounting",
    "Arch",
    "Array",
    "Buffer",
    "BufferName",
    "Buffers",
    "Condition",
    "Dram",
    "Execution",
    "Formats",
    "LayerFormats",
    "Numerics",
    "Operand",
    "OperandName",
    "Override",
    "Technology",
    "check_held",
    "check_memories",
    "pe_record",
]


def _scheme_text(value: str) -> str:
    try:
        return str(Scheme.parse(value))
    except BitlatheError as err:
        raise ValueError(str(err)) from None


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
    gate_zero_terms: bool | None = None
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
    sram: Literal["steps", "hpca25"] = Field(
        default="steps", description="SRAM ports and accesses: bits of a step, or the study's rule"
    )
    serial_port_fraction: Annotated[float, Field(gt=0, le=1)] = Field(
        default=1.0, description="bits of a chunk that a bit-serial array's one access fetches"
    )
    logits: Literal["last", "all"] = Field(
        default="last", description="tokens of a prefill that the output head works on"
    )

    @model_validator(mode="after")
    def _fraction_is_published(self) -> Accounting:
        if self.sram != "hpca25" and self.serial_port_fraction != 1.0:
            raise ValueError(
                "serial_port_fraction is part of the study's rule for SRAM; use sram: hpca25, or "
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


class Condition(Record):
    """When an override holds."""

    phase: Phase | None = None
    model: str | list[str] | None = None


class Override(Record):
    """Keys that change for one phase or some models."""

    when: Condition
    set: dict[str, Any]


class Arch(Record):
    """A chip. Build one with `load_arch`; see the fields of each part for units.

    ``mapper`` is the traffic rule that the chip names. `resolve` gives the chip as it is in one
    phase; its silicon (PEs, ports, buffers) stays that of the whole chip.
    """

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
    mapper: Literal["whole-buffer", "hpca25-whole-buffer"] | None = None
    _whole: Arch | None = PrivateAttr(default=None)
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

    @property
    def published_accounting(self) -> bool:
        """Whether SRAM ports and accesses are counted as the BitMoD study counts them."""
        return self.accounting.sram == "hpca25"

    @property
    def variants(self) -> tuple[tuple[Array, Formats], ...]:
        """The arrays and formats that the whole chip takes, whatever phase and model runs."""
        whole = self._whole or self
        data = whole.model_dump(include={"array", "formats"}, exclude_none=True)
        found = []
        for changes in variants_of(whole.overrides):
            changed = data
            for key, value in changes.items():
                changed = set_key(changed, key, value)
            found.append(
                (Array.model_validate(changed["array"]), Formats.model_validate(changed["formats"]))
            )
        return tuple(found)

    @property
    def pes(self) -> int:
        """PEs on the chip: those of the largest array of any phase and model."""
        return max(array.rows * array.columns for array, _ in self.variants)

    def port_bits(self, buffer: BufferName) -> int:
        """Return the bits of one access of a buffer: those given, or what the array needs.

        The width belongs to the chip, not to the phase, the model or the layer that runs
        (`arch.ports`). Chips that count SRAM as the BitMoD study does have a width for each phase.
        """
        given = self.buffers.named(buffer).port_bits
        if not isinstance(given, str):
            return given
        if self.published_accounting:
            fraction = self.accounting.serial_port_fraction
            return ports.published(buffer, self.pe, self.array, self.formats, fraction)
        return ports.widest(buffer, self.pe, self.variants)

    def resolved_from(self, whole: Arch) -> Arch:
        """Return this chip, one phase of ``whole``, with the ports and PEs of the whole."""
        chip = self.model_copy()
        chip._whole = whole._whole or whole
        return chip

    @property
    def dram_bits_per_clock(self) -> Fraction:
        """Bits that the DRAM moves in one clock of the chip."""
        if self.dram.gb_per_s is None:
            return Fraction(self.dram.bits_per_clock or 0)
        return 8 * _decimal(self.dram.gb_per_s) / _decimal(self.technology.clock_ghz)

    @property
    def dram_latency_cycles(self) -> int:
        """Clocks of the chip until the first bit of a transfer arrives, rounded up."""
        if self.dram.latency_ns is None:
            return self.dram.latency_cycles or 0
        return math.ceil(_decimal(self.dram.latency_ns) * _decimal(self.technology.clock_ghz))

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


def check_memories(arch: Arch) -> None:
    """Check that every buffer has a cost, and that its banks keep up with the clock.

    Raises
    ------
    BitlatheError
        It names the buffer and says what would do.
    """
    for name in arch.buffers.names:
        cost = arch.sram_cost(name)
        if cost.cycle_ns > 1 / arch.technology.clock_ghz:
            raise BitlatheError(
                f"buffers.{name}: a bank takes {cost.cycle_ns:.3g} ns per access, the clock "
                f"gives {1 / arch.technology.clock_ghz:.3g} ns; use more banks"
            )


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


def _decimal(value: float) -> Fraction:
    """Return a number as it was written: 25.6 is 128/5, not the nearest binary fraction."""
    return Fraction(str(value))
