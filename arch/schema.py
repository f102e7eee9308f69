"""The schema of a chip: what an architecture file may say, as frozen records.

Rows, columns and lanes of an ``array.kind: tile`` chip: each row holds one output channel, each
column one token, each PE multiplies ``lanes`` pairs of one dot product at a time. A ``systolic``
array follows the usual dataflow names (``os``, ``ws``, ``is``).
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, model_validator

from ..datatypes.base.errors import BitlatheError
from ..datatypes.base.yamlfile import Record
from . import ports
from .dataflow import DATAFLOWS, TILE, Dataflow
from .fields import Positive, PositiveInt
from .formats import Formats, LayerFormats, Operand
from .holds import refusal
from .keys import set_key, variants_of
from .memories import Buffer, BufferName, Buffers, Dram, OperandName
from .pe import LutPE
from .pe_section import PE, PE_KEYS, Numerics, pe_record
from .priced import REGISTER_BIT_UM2, REGISTER_NODE_NM, check_priced, takers
from .sram import Macro, SramCost, least_banks, sram_cost

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


Phase = Literal["prefill", "decode"]


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
    _built_for: tuple[Formats, ...] = PrivateAttr(default=())
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
        """Whether ports, accesses and leakage are counted as the BitMoD study counts them."""
        return self.accounting.study is not None

    @property
    def variants(self) -> tuple[tuple[Array, Formats], ...]:
        """The arrays and formats that the whole chip takes, whatever phase and model runs."""
        whole = self._whole or self
        rules = tuple(rule.model_dump_json() for rule in whole.overrides)
        return _variants(whole.array, whole.formats, rules)

    @property
    def _port_needs(self) -> tuple[tuple[Array, Formats], ...]:
        """What ports are made for: all that the chip runs, and formats set aside for a run."""
        runs, whole = self.variants, self._whole or self
        return runs + tuple((array, kept) for array, _ in runs for kept in whole._built_for)

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
        if buffer == "accumulator":
            columns = max(array.columns for array, _ in self.variants)
            return columns * pe_record(self.pe).partial_sum_bits
        if self.published_accounting:
            fraction = self.accounting.serial_port_fraction
            return ports.published(buffer, self.pe, self.array, self.formats, fraction)
        return ports.widest(buffer, self.pe, self._port_needs)

    def built_as(self, other: Arch) -> Arch:
        """Return this chip with ports that also serve the formats of another: the same silicon.

        A format that is set for a run changes what runs, not what was built; it can only ask for
        wider ports.
        """
        chip = self.model_copy()
        known = {f for f in (*other._built_for, *(f for _, f in other.variants)) if self._takes(f)}
        chip._built_for = tuple(sorted(known, key=repr))
        return chip

    def _takes(self, formats: Formats) -> bool:
        """Whether the PE takes the weights and inputs of these formats."""
        try:
            check_held(self.model_copy(update={"formats": formats}))
        except BitlatheError:
            return False
        return True

    @property
    def whole(self) -> Arch | None:
        """The chip of which this is one phase; None for a chip as it was loaded."""
        return self._whole

    def resolved_from(self, whole: Arch) -> Arch:
        """Return this chip, one phase of ``whole``, with the ports and PEs of the whole."""
        chip = self.model_copy()
        chip._whole = whole._whole or whole
        return chip

    def macro(self, buffer: BufferName) -> Macro:
        """Return the kind of SRAM bank that a buffer is made of."""
        part, technology = self.buffers.named(buffer), self.technology
        return Macro.of(
            part.component,
            node_nm=technology.node_nm,
            device=technology.device,
            temperature_k=technology.temperature_k,
            ports=part.ports,
        )

    def banks(self, buffer: BufferName) -> int:
        """Return the banks of a buffer: those given, or the fewest that meet the clock."""
        part = self.buffers.named(buffer)
        if not isinstance(part.banks, str):
            return part.banks
        if part.figures is not None:
            return 1
        return least_banks(
            self.macro(buffer),
            size_bytes=part.size_bytes,
            port_bits=self.port_bits(buffer),
            clock_ghz=self.technology.clock_ghz,
        )

    def sram_cost(self, buffer: BufferName) -> SramCost:
        """Return the cost of one of the chip's buffers."""
        part = self.buffers.named(buffer)
        if part.figures is not None:
            return SramCost(**part.figures, access_ns=0.0, cycle_ns=0.0)
        try:
            return sram_cost(
                self.macro(buffer),
                size_bytes=part.size_bytes,
                banks=self.banks(buffer),
                port_bits=self.port_bits(buffer),
            )
        except BitlatheError as err:
            raise BitlatheError(f"buffers.{buffer}: {err}") from None

    @property
    def pe_area_um2(self) -> float:
        """Area of one PE, with the registers that its place in a systolic array adds.

        A second operand register (ws, is) or a register of results (os), at the area of a bit in
        the 28 nm library of BitMoD's sheet and the square of the node. Figures of one's own have
        them already.
        """
        if self.array.kind == "tile" or self.pe.own_costs:
            return self.pe.cell_area_um2
        registers: dict[str, int] = {}
        for array, formats in self._port_needs:
            kind = "result" if array.flow.sums_stay else "operand"
            bits = _register_bits(self.pe, array, formats)
            registers[kind] = max(registers.get(kind, 0), bits)
        bits = sum(registers.values())
        scale = (self.technology.node_nm / REGISTER_NODE_NM) ** 2
        return self.pe.cell_area_um2 + bits * REGISTER_BIT_UM2 * scale

    @property
    def pe_leakage_mw(self) -> float:
        """Leakage of all PEs; the BitMoD study has none."""
        return 0.0 if self.published_accounting else self.pes * self.pe.cell_leakage_mw

    @property
    def table_fill_cycles(self) -> int:
        """Clocks in which the PEs of a column fill one look-up table, an addition each a clock."""
        record = pe_record(self.pe)
        return -(-record.table_additions // self.array.rows) if isinstance(record, LutPE) else 0

    @property
    def table_fill_pj(self) -> float:
        """Energy of filling one look-up table."""
        record = pe_record(self.pe)
        return record.table_additions * self.pe.addition_pj if isinstance(record, LutPE) else 0.0

    @property
    def dram_bits_per_clock(self) -> Fraction:
        """Bits that the DRAM moves in one clock of the chip."""
        if self.dram.bits_per_clock is not None:
            return Fraction(self.dram.bits_per_clock)
        return 8 * _decimal(self.dram.gb_per_s or 0) / _decimal(self.technology.clock_ghz)

    @property
    def dram_latency_cycles(self) -> int:
        """Clocks of the chip until the first bit of a transfer arrives, rounded up."""
        if self.dram.latency_cycles is not None:
            return self.dram.latency_cycles
        part, given = self.dram.part, self.dram.latency_ns
        latency_ns = given if given is not None else part.latency_ns if part else 0.0
        return math.ceil(_decimal(latency_ns) * _decimal(self.technology.clock_ghz))

    def plain(self) -> dict[str, Any]:
        """Return the keys that a chip can be asked for, DRAM rate and latency in both units."""
        data = self.model_dump(exclude={"name", "title", "description", "overrides"})
        clock, bits = self.technology.clock_ghz, float(self.dram_bits_per_clock)
        cycles, given_ns = self.dram_latency_cycles, self.dram.latency_ns
        data["dram"] |= {
            "bits_per_clock": bits,
            "gb_per_s": bits * clock / 8,
            "latency_cycles": cycles,
            "latency_ns": cycles / clock if given_ns is None else given_ns,
            "background_mw": self.dram_background_mw,
        }
        return data

    @property
    def dram_background_mw(self) -> float:
        """Power of the DRAM's standby and refresh: given, or the component's for the bandwidth."""
        if self.dram.background_mw is not None:
            return self.dram.background_mw
        gb_per_s = float(self.dram_bits_per_clock) * self.technology.clock_ghz / 8
        return self.dram.part.background_mw_per_gb_s * gb_per_s if self.dram.part else 0.0


@lru_cache(maxsize=1024)
def _variants(
    array: Array, formats: Formats, rules: tuple[str, ...]
) -> tuple[tuple[Array, Formats], ...]:
    """Return the arrays and formats that conditional overrides (as JSON) make, each pair once."""
    data = {
        "array": array.model_dump(exclude_none=True),
        "formats": formats.model_dump(exclude_none=True),
    }
    found = []
    for changes in variants_of(map(Override.model_validate_json, rules)):
        changed = data
        for key, value in changes.items():
            changed = set_key(changed, key, value)
        found.append(
            (Array.model_validate(changed["array"]), Formats.model_validate(changed["formats"]))
        )
    return tuple(dict.fromkeys(found))


def _register_bits(pe: PE, array: Array, formats: Formats) -> int:
    """Return the bits that a PE holds beside what it computes, in one dataflow."""
    operand = array.flow.loaded
    if operand is None:
        return pe_record(pe).partial_sum_bits if pe.drain_register else 0
    if not pe.double_buffered_operand:
        return 0
    widest = max(ports.payload_bits(getattr(layer, operand)) for layer in formats.layers)
    return pe.lanes * widest


def _check_pe_in_array(arch: Arch) -> None:
    tile, pe = arch.array.kind == "tile", arch.pe
    if pe.skips and not tile:
        raise ValueError("pe.skip_zero_terms: on arrays of kind 'tile' only; leave it out")
    for key in ("double_buffered_operand", "drain_register"):
        if tile and not getattr(pe, key):
            raise ValueError(f"pe.{key}: of systolic arrays; use array.kind: systolic")
    kept, buffer = arch.array.accumulator_buffer, arch.buffers.accumulator
    if kept and buffer is None:
        raise ValueError(
            "buffers.accumulator: array.accumulator_buffer keeps partial sums in SRAM, which has a "
            "price; give its size, e.g. accumulator: {size_kib: 64}"
        )
    if buffer is not None and not kept:
        raise ValueError("buffers.accumulator: for array.accumulator_buffer: true; leave it out")


def check_memories(arch: Arch) -> None:
    """Check that every buffer has a cost, and that its banks keep up with the clock.

    Raises
    ------
    BitlatheError
        It names the buffer and says what would do.
    """
    kinds = {}
    for name in arch.buffers.priced:
        cost = arch.sram_cost(name)
        if arch.buffers.named(name).figures is not None:
            continue
        macro = arch.macro(name)
        kinds[macro.device, macro.temperature_k] = name
        if len(kinds) > 1:
            (one, kelvin), (other, others) = kinds
            raise BitlatheError(
                f"buffers.{name}: device {other} at {others} K beside {one} at {kelvin} K in "
                f"buffers.{kinds[one, kelvin]}; use one SRAM table for all buffers"
            )
        if cost.cycle_ns * arch.technology.clock_ghz > 1:
            enough = least_banks(
                macro,
                size_bytes=arch.buffers.named(name).size_bytes,
                port_bits=arch.port_bits(name),
                clock_ghz=arch.technology.clock_ghz,
            )
            raise BitlatheError(
                f"buffers.{name}: a bank takes {cost.cycle_ns:.3g} ns per access, the clock "
                f"gives {1 / arch.technology.clock_ghz:.3g} ns; use {enough} banks, or banks: auto"
            )


def check_held(arch: Arch) -> None:
    """Check that the PE can take the weights and inputs of every kind of layer.

    Raises
    ------
    BitlatheError
        It names the key, and lists the formats that the PE can take.
    """
    record = pe_record(arch.pe, as_kind=arch.published_accounting)
    if not arch.published_accounting:
        check_priced(arch, record)
    for kind, formats in arch.formats.by_kind.items():
        schemes = {name: getattr(formats, name).scheme for name in ("weight", "input")}
        if schemes["weight"] is None and arch.pe.skips:
            raise BitlatheError(
                f"formats.{kind}.weight: skip_zero_terms needs a scheme, not bits alone"
            )
        given = {name: scheme for name, scheme in schemes.items() if scheme is not None}
        for name, scheme in given.items():
            problem = refusal(record, arch.pe.kind, name, scheme)
            if problem and arch.pe.part:
                would = takers(arch.pe, arch.technology.node_nm, given)
                problem += f"; component {arch.pe.component!r} was made for these ports"
                problem += f", {' and '.join(would)} take {scheme!r}" if would else ""
            if problem:
                raise BitlatheError(f"formats.{kind}.{name}: {problem}")


def _decimal(value: float) -> Fraction:
    """Return a number as it was written: 25.6 is 128/5, not the nearest binary fraction."""
    return Fraction(str(value))
