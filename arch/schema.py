"""The schema of a chip: what an architecture file may say, as frozen records.

Rows, columns and lanes of an ``array.kind: tile`` chip: each row holds one output channel, each
column one token, each PE multiplies ``lanes`` pairs of one dot product at a time. A ``systolic``
array follows the usual dataflow names (``os``, ``ws``, ``is``).
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr, model_validator

from ..datatypes.base.errors import BitlatheError
from ..datatypes.base.notebook import flat, frame, html
from ..datatypes.base.numbers import ceil_div
from ..datatypes.base.yamlfile import Record
from . import ports
from .beside import Beside
from .components import name_of
from .formats import Formats, LayerFormats, Operand
from .keys import Override, nested, set_key, variants_of
from .level_checks import check_levels
from .levels import LevelsField
from .memories import Buffer, BufferName, Buffers, Dram, OperandName
from .parts import Accounting, Array, Cores, Execution, Technology
from .pe import PE
from .pe_base import PESection, Split
from .priced import REGISTER_BIT_UM2, REGISTER_NODE_NM, check_priced, takers
from .scaling import Figure, factor
from .splitting import WHOLE, check_one_side, sides, split_array
from .sram import Macro, SramCost, least_banks, sram_cost
from .supports import refusal
from .synthesized import PECosts, synthesized_costs, weight_keys
from .vector import Lane, VectorUnit

__all__ = [
    "Arch",
    "Buffer",
    "BufferName",
    "Buffers",
    "LayerFormats",
    "Operand",
    "OperandName",
    "check_memories",
    "check_supported",
]


SPLITTING = ("bitfusion", "ant-os", "ant-ws")
"""The rules of the BitFusion and ANT studies, which split multipliers (`mapping.bitfusion`)."""
MapperName = Literal["whole-buffer", "hpca25-whole-buffer", "bitfusion", "ant-os", "ant-ws"]


def _cores(value: Any) -> Any:
    return {"size": value} if isinstance(value, int) else value


class Arch(Record):
    """A chip. Build one with `load_arch`; see the fields of each part for units.

    ``mapper`` is the traffic rule that the chip names. `resolve` gives the chip as it is in one
    phase; its silicon (PEs, ports, buffers) stays that of the whole chip. A chip gives ``buffers``,
    or ``memories``: any hierarchy (`arch.levels`). Without ``vector`` nothing counts what stands
    between matrix products.
    """

    name: str = Field(default="", description="name in results; the file's by default")
    title: str = Field(default="", description="title in lists and charts")
    description: str = Field(
        default="", description="what the chip is, and where its figures are from"
    )
    technology: Technology = Field(description="node, clock, transistors and temperature")
    pe: PE = Field(description="the processing element: kind, arithmetic, cost")
    array: Array = Field(description="the array of PEs: kind, shape, dataflow")
    buffers: Buffers = Field(
        default=Buffers(), description="on-chip buffers, one layout of three; or memories"
    )
    memories: LevelsField = Field(
        default=(),
        description="any hierarchy of memories below the DRAM, outermost first; or buffers",
    )
    cores: Annotated[Cores, BeforeValidator(_cores)] = Field(
        default=Cores(), description="copies of the array side by side: their number, or a section"
    )
    vector: VectorUnit | None = Field(
        default=None,
        description="unit for what stands between products; without it that is not counted",
    )
    beside: Beside = Field(
        default=Beside(),
        description="what the vector unit computes next to the products of linear layers",
    )
    dram: Dram = Field(description="DRAM beside the chip; or the first entry of memories")
    formats: Formats = Field(description="formats of weights, inputs and results by kind of layer")
    accounting: Accounting = Field(default=Accounting(), description="what the energy model counts")
    execution: Execution = Field(default=Execution(), description="how one layer follows another")
    overrides: list[Override] = Field(
        default_factory=list, description="keys that change for one phase or some models"
    )
    mapper: MapperName | None = Field(
        default=None,
        description="the rule by which layers are laid on the chip; without it the best loop nests",
    )
    _whole: Arch | None = PrivateAttr(default=None)
    _built_for: tuple[Formats, ...] = PrivateAttr(default=())
    _unsplit: Arch | None = PrivateAttr(default=None)
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

    def __repr__(self) -> str:
        array = f"{self.array.kind} {self.array.rows} x {self.array.columns}"
        return f"Arch({self.name!r}: {array} of {self.pe.kind}, {self.pe.lanes} lanes)"

    def _repr_html_(self) -> str:
        sections = self.model_dump(mode="json", exclude_defaults=True, exclude={"name", "title"})
        told = flat({key: value for key, value in sections.items() if key != "description"})
        rows = [{"key": key, "value": str(value)} for key, value in told.items()]
        return html(self.title or self.name, {"": self.description}, rows)

    def to_frame(self) -> Any:
        """Return a pandas data frame of one row: what the chip's file says, keys by dots.

        Raises
        ------
        BitlatheError
            pandas is not installed.
        """
        return frame([self.model_dump(mode="json", exclude_defaults=True)])

    @model_validator(mode="after")
    def _memories_fit(self) -> Arch:
        _check_form(self)
        return self

    @model_validator(mode="after")
    def _results_can_stay(self) -> Arch:
        if self.execution.keep_outputs and not self.memories and self.buffers.io is None:
            raise ValueError("execution.keep_outputs needs the buffers weight and io")
        return self

    @model_validator(mode="after")
    def _pe_fits(self) -> Arch:
        _check_pe_in_array(self)
        check_supported(self)
        _ = self.pe_costs  # synthesis may have none
        _check_vector(self)
        _check_decoder(self)
        return self

    @property
    def published_accounting(self) -> bool:
        """Whether ports, accesses and leakage are counted as the BitMoD study counts them."""
        return self.accounting.study is not None

    @property
    def variants(self) -> tuple[tuple[Array, Formats], ...]:
        """The arrays and formats that the whole chip takes, whatever phase and model runs."""
        return self._known_variants

    @cached_property
    def _known_variants(self) -> tuple[tuple[Array, Formats], ...]:
        whole = self._whole or self
        return _variants(whole.array, whole.formats, tuple(whole.overrides))

    @property
    def weights(self) -> tuple[tuple[str, Operand], ...]:
        """The weights of all layers, those of rules among them, in any phase, by kind of layer."""
        every = (formats.by_kind.items() for _, formats in self.variants)
        return tuple((kind, layer.weight) for layers in every for kind, layer in layers)

    @property
    def _port_needs(self) -> tuple[tuple[Array, Formats], ...]:
        """What ports are made for: all that the chip runs, and formats set aside for a run."""
        runs, whole = self.variants, self._whole or self
        return runs + tuple((array, kept) for array, _ in runs for kept in whole._built_for)

    @property
    def pes(self) -> int:
        """PEs on the chip: those of the largest array of any phase and model."""
        return self.cores.size * max(array.rows * array.columns for array, _ in self.variants)

    @property
    def phase_pes(self) -> int:
        """PEs of the array as it is in this phase, all cores together."""
        return self.cores.size * self.array.rows * self.array.columns

    def port_bits(self, buffer: BufferName) -> int:
        """Return the bits of one access of a buffer: those given, or what the array needs.

        The width belongs to the chip, not to the phase, the model or the layer that runs
        (`arch.ports`). Chips that count SRAM as the BitMoD study does have a width for each phase.
        """
        given = self.buffers.named(buffer).port_bits
        if not isinstance(given, str):
            return given
        if buffer == "accumulator":
            pe = self.unsplit.pe.record
            columns = max(
                split_array(pe, array, layer)[1].columns
                for array, formats in self.variants
                for layer in formats.layers
            )
            return columns * pe.partial_sum_bits
        if self.published_accounting:
            fraction = self.accounting.serial_port_fraction
            return ports.published(buffer, self.pe.record, self.array, self.formats, fraction)
        return self.widest_port(buffer)

    def widest_port(self, buffer: BufferName) -> int:
        """Return the bits that serve every step of all that the chip runs (`arch.ports`)."""
        if buffer not in self._known_widths:
            pe = self.unsplit.pe.record
            self._known_widths[buffer] = ports.widest(buffer, pe, self._port_needs)
        return self._known_widths[buffer]

    @cached_property
    def _known_widths(self) -> dict[BufferName, int]:
        return {}

    def built_as(self, other: Arch) -> Arch:
        """Return this chip with ports that also serve the formats of another: the same silicon.

        A format that is set for a run changes what runs, not what was built; it can only ask for
        wider ports.
        """
        chip = self.model_copy()
        known = dict.fromkeys((*other._built_for, *(f for _, f in other.variants)))
        chip._built_for = tuple(filter(self._takes, known))
        return chip

    def _takes(self, formats: Formats) -> bool:
        """Return whether the PE takes the weights and inputs of these formats."""
        try:
            check_supported(self.model_copy(update={"formats": formats}))
        except BitlatheError:
            return False
        return True

    @property
    def whole(self) -> Arch | None:
        """The chip that this one is a phase of; None for a chip as it was loaded."""
        return self._whole

    def resolved_from(self, whole: Arch) -> Arch:
        """Return this chip, one phase of ``whole``, with the ports and PEs of the whole."""
        chip = self.model_copy()
        chip._whole = whole._whole or whole
        return chip

    def split_for(self, split: Split) -> Arch:
        """Return this chip as it runs a kind of layer for which its multipliers split.

        Area, leakage and ports stay those of the chip; parts of a PE that are PEs of their own
        share its energy.

        Parameters
        ----------
        split : (int, int)
            Multipliers in place of one, along weights and along activations.
        """
        built = self.unsplit
        if split == WHOLE:
            return built
        pe, array = built.pe, built.array
        lanes, rows, columns = sides(pe.record, array, split)
        parts = rows * columns // (array.rows * array.columns)
        shared: dict[str, Any] = {"lanes": lanes, "energy_pj": pe.clock_energy_pj / parts}
        longer = {"rows": rows, "columns": columns}
        changed = {
            "pe": pe.model_copy(update=shared),
            "array": array.model_copy(update=longer),
        }
        chip = built.model_copy(update=changed).resolved_from(built)
        chip._unsplit = built
        return chip

    @property
    def unsplit(self) -> Arch:
        """The chip as it was built: no multiplier is split (`split_for`)."""
        return self._unsplit or self

    def macro(self, buffer: BufferName) -> Macro:
        """Return the kind of SRAM bank that a buffer is made of."""
        part, technology = self.buffers.named(buffer), self.technology
        return Macro.of(
            part.component,
            node_nm=technology.node_nm,
            device=technology.device,
            temperature_k=technology.temperature_k,
            ports=part.ports,
            scaled=technology.scaled,
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
        """Return the cost of one of the chip's buffers.

        Raises
        ------
        BitlatheError
            If its SRAM table has no such node, bank size or bus width.
        """
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
    def pe_costs(self) -> PECosts:
        """Area, energy of a clock of work and leakage of one PE: published, given, or synthesized.

        Raises
        ------
        BitlatheError
            Synthesis prices it, and this PE was not measured.
        """
        pe, whole = self.pe, self._whole or self
        if pe.area_source != "synthesis":
            return PECosts(
                pe.cell_area_um2 * self._scaled("area", pe.area_um2),
                pe.clock_energy_pj * self._scaled("energy", pe.energy_pj),
                pe.cell_leakage_mw * self._scaled("energy", pe.leakage_mw),
            )
        weights = weight_keys(self.weights) if pe.record.serial else ("",)
        sides, node_nm = whole.array, self.technology.node_nm
        made_nm = REGISTER_NODE_NM if self.technology.scaled else node_nm
        found = synthesized_costs(pe.record, weights, sides.rows, sides.columns, made_nm)
        if not self.technology.scaled:
            return found
        area, energy = (factor(figure, made_nm, node_nm) for figure in ("area", "energy"))
        return PECosts(
            found.area_um2 * area,
            found.energy_pj * energy,
            found.leakage_mw * energy,
            found.table_addition_pj * energy,
        )

    def _scaled(self, figure: Figure, own: float | None) -> float:
        """Return what a figure of the PE is multiplied by at the chip's node; 1 for its own."""
        part, technology = self.pe.part, self.technology
        if part is None or own is not None or not technology.scaled:
            return 1.0
        return factor(figure, part.node_nm, technology.node_nm)

    @property
    def pe_area_um2(self) -> float:
        """Area of one PE, with the registers that its place in a systolic array adds.

        A second operand register (ws, is) or a register of results (os), at the area of a bit in
        the 28 nm library of BitMoD's sheet, scaled by the square of the node. An ``area_um2`` that
        the chip gives itself includes them already; where it gives memories, registers are some.
        """
        cell_um2 = self.pe_costs.area_um2
        if self.array.kind == "tile" or self.pe.own_costs or self.memories:
            return cell_um2
        registers: dict[str, int] = {}
        for array, formats in self._port_needs:
            kind = "result" if array.flow.sums_stay else "operand"
            bits = _register_bits(self.pe, array, formats)
            registers[kind] = max(registers.get(kind, 0), bits)
        bits = sum(registers.values())
        node_nm = self.technology.node_nm
        scale = (node_nm / REGISTER_NODE_NM) ** 2
        if self.technology.scaled:
            scale = factor("area", REGISTER_NODE_NM, node_nm)
        return cell_um2 + bits * REGISTER_BIT_UM2 * scale

    @property
    def decoders(self) -> int:
        """Decoders of weights at the border: one for each that enters the array in a clock."""
        pe = self.unsplit.pe.record
        return self.cores.size * max(
            ports.weights_at_once(pe, array, layer)
            for array, formats in self.variants
            for layer in formats.layers
        )

    @property
    def decoder_area_um2(self) -> float:
        """Area of all decoders of weights; 0 where none is stated."""
        decoder, own = self.pe.decoder, self.pe.decoder_um2 or 0.0
        one = decoder.area_um2(self.technology.node_nm) if decoder else own
        return self.decoders * one if one else 0.0

    @property
    def decoded_pj(self) -> float:
        """Energy of one weight that is decoded, layout factor included; 0 without operators."""
        decoder, factor = self.pe.decoder, self.accounting.layout_factor
        return factor * decoder.weight_pj(self.technology.node_nm) if decoder else 0.0

    @property
    def pe_leakage_mw(self) -> float:
        """Leakage of all PEs; the BitMoD study has none."""
        return 0.0 if self.published_accounting else self.pes * self.pe_costs.leakage_mw

    @property
    def vector_lane(self) -> Lane | None:
        """What a lane of the vector unit costs; None without one."""
        unit = self.vector_unit
        return None if unit is None else unit.lane(self.technology.node_nm)

    @property
    def vector_area_um2(self) -> float:
        """Area of all lanes of the vector unit; 0 without one."""
        unit, lane = self.vector_unit, self.vector_lane
        return 0.0 if unit is None or lane is None else unit.lanes * lane.area_um2

    @property
    def vector_leakage_mw(self) -> float:
        """Leakage of all lanes of the vector unit; 0 without one."""
        unit, lane = self.vector_unit, self.vector_lane
        return 0.0 if unit is None or lane is None else unit.lanes * lane.leakage_mw

    @property
    def vector_unit(self) -> VectorUnit | None:
        """The vector unit; None where the chip gives none, or one without lanes."""
        return self.vector if self.vector is not None and self.vector.lanes else None

    def scales_inputs(self, weight: Operand) -> bool:
        """Return whether the vector unit multiplies inputs by the scales of single columns.

        Where a scale belongs to an input over all outputs that the array takes at once, floating
        inputs take it, and no product needs a scale of its own. A decoder scales weights itself.

        Parameters
        ----------
        weight : Operand
            Of a linear layer.
        """
        scheme = weight.scheme
        return (
            weight.scales_columns
            and scheme is not None
            and scheme.granularity.rows % self.array.rows == 0
            and self.vector_unit is not None
            and self.pe.decoder is None
            and self.array.kind == "tile"
            and self.pe.kind in ("bit_serial", "fp_mac")
            and self.pe.record.ports["activation"] in ("fp32", "fp16", "bf16")
        )

    def unit_pj(self, adds: float, multiplies: float) -> float:
        """Return the energy of operations of the vector unit, layout factor included.

        Parameters
        ----------
        adds, multiplies : float
        """
        lane = self.vector_lane
        if lane is None:
            return 0.0
        work = adds * lane.add_pj + multiplies * lane.multiply_pj
        return self.accounting.layout_factor * work

    def fill_cycles(self, additions: int) -> int:
        """Return the clocks in which a column's PEs make so many additions, each one a clock."""
        return ceil_div(additions, self.array.rows)

    @property
    def table_fill_cycles(self) -> int:
        """Clocks in which the PEs of a column fill one look-up table."""
        return self.fill_cycles(self.pe.record.table_additions)

    @property
    def table_addition_pj(self) -> float:
        """Energy of an addition that fills look-up tables; 0 where there are none."""
        if not self.pe.record.table_additions:
            return 0.0
        own = self.pe.table_addition_pj
        if own is None and self.pe.area_source == "synthesis":
            return self.pe_costs.table_addition_pj
        if own is None and self.pe.part and self.pe.part.table_addition_pj is None:
            own = self.pe.energy_pj
        return self.pe.addition_pj * self._scaled("energy", own)

    @property
    def table_fill_pj(self) -> float:
        """Energy of filling one look-up table."""
        return self.pe.record.table_additions * self.table_addition_pj

    @property
    def dram_bits_per_clock(self) -> Fraction:
        """Bits that the DRAM moves in one clock of the chip, refresh left out."""
        moved = 1 - _decimal(self.dram.refresh_fraction)
        if self.dram.bits_per_clock is not None:
            return moved * Fraction(self.dram.bits_per_clock)
        return moved * 8 * _decimal(self.dram.gb_per_s or 0) / _decimal(self.technology.clock_ghz)

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
        data["memories"] = {
            level.name: data["memories"][i] for i, level in enumerate(self.memories)
        }
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
        moved = 1 - self.dram.refresh_fraction
        gb_per_s = float(self.dram_bits_per_clock) * self.technology.clock_ghz / 8 / moved
        return self.dram.part.background_mw_per_gb_s * gb_per_s if self.dram.part else 0.0


@lru_cache(maxsize=1024)
def _variants(
    array: Array, formats: Formats, rules: tuple[Override, ...]
) -> tuple[tuple[Array, Formats], ...]:
    """Return the arrays and formats that conditional overrides make, each pair once."""
    data = {"array": nested(array), "formats": nested(formats)}
    found = []
    for changes in variants_of(rules):
        changed = data
        for key, value in changes.items():
            changed = set_key(changed, key, value)
        found.append(
            (Array.model_validate(changed["array"]), Formats.model_validate(changed["formats"]))
        )
    return tuple(dict.fromkeys(found))


def _register_bits(pe: PESection, array: Array, formats: Formats) -> int:
    """Return the bits of registers that a dataflow adds to a PE."""
    operand = array.flow.loaded
    if operand is None:
        return pe.record.partial_sum_bits if pe.drain_register else 0
    if not pe.double_buffered_operand:
        return 0
    widest: int = max(getattr(layer, operand).payload_bits for layer in formats.layers)
    return pe.lanes * widest


def _check_form(arch: Arch) -> None:
    """Check that a chip gives buffers or memories, and no keys of the other form."""
    array, short, wrong = arch.array, arch.buffers.given, "the chip gives memories"
    if not short and not arch.memories:
        raise ValueError("buffers: missing; give them, or memories, any hierarchy")
    refused = {
        "buffers": (short, "it gives buffers too; leave one of them out"),
        "array.accumulator_buffer": (array.accumulator_buffer, "list one for sums"),
        "array.timing": (array.timing != "physical", "their timing is physical; leave it out"),
        "accounting.study": (arch.published_accounting, "studies count buffers; leave it out"),
    }
    if not arch.memories:
        wrong = "the chip gives buffers"
        refused = {
            "array.rows.dims": (array.row_dims is not None, ""),
            "array.columns.dims": (array.column_dims is not None, ""),
            "array.dataflow": (not isinstance(array.dataflow, str), "one dataflow; "),
            "cores": (arch.cores != Cores(), ""),
        }
    for key, (given, why) in refused.items():
        if given and arch.memories:
            raise ValueError(f"{key}: {wrong}; {why}")
        if given:
            raise ValueError(f"{key}: {wrong}, {why or 'which have none; '}memories take it")
    if arch.memories:
        check_levels(arch.memories, array, arch.dram.name, arch.pe.record)


def _check_pe_in_array(arch: Arch) -> None:
    tile, pe = arch.array.kind == "tile", arch.pe
    if pe.record.skip_zero_terms and not tile:
        raise ValueError("pe.skip_zero_terms: on arrays of kind 'tile' only; leave it out")
    for key in ("double_buffered_operand", "drain_register"):
        if tile and not getattr(pe, key):
            raise ValueError(f"pe.{key}: of systolic arrays; use array.kind: systolic")
    splits = getattr(pe, "split_bits", None) is not None
    if splits and not pe.own_costs and "split_bits" not in pe.unpriced:
        raise ValueError(
            "pe.split_bits: no component has a multiplier that splits; give energy_pj and "
            "area_um2 of your own PE, or name it in pe.unpriced"
        )
    check_one_side(pe.record, arch.array)
    _check_scaled_inputs(arch)
    kept, buffer = arch.array.accumulator_buffer, arch.buffers.accumulator
    if kept and buffer is None:
        raise ValueError(
            "buffers.accumulator: array.accumulator_buffer keeps partial sums in SRAM, which has a "
            "price; give its size, e.g. accumulator: {size_kib: 64}"
        )
    if buffer is not None and not kept:
        raise ValueError("buffers.accumulator: for array.accumulator_buffer: true; leave it out")


def _check_scaled_inputs(arch: Arch) -> None:
    """Check that the outputs of a block of the array have the same scales of columns."""
    for kind, layer in arch.formats.by_kind.items():
        rows = 1 if layer.weight.scheme is None else layer.weight.scheme.granularity.rows
        first = arch.pe.record.takes_scales_first(layer.weight)
        if first and rows % arch.array.rows:
            raise ValueError(
                f"formats.{kind}.weight: {layer.weight.label} has scales for {rows} outputs, and "
                f"the array takes {arch.array.rows} at once; use array.rows: a divisor of {rows}"
            )


def _check_decoder(arch: Arch) -> None:
    """Check that what a decoder of operators takes can be counted on the chip."""
    decoder = arch.pe.decoder
    if decoder is None:
        return
    if arch.memories or "weight" not in arch.buffers.names:
        raise ValueError(
            "pe.decoder: it stands behind a buffer of weights alone; give buffers.weight, or "
            "decoder_um2 in its place"
        )
    if arch.published_accounting or arch.mapper in SPLITTING:
        raise ValueError(
            "pe.decoder: the chip's study or rule counts none; give decoder_um2 in its place"
        )
    if decoder.entries and decoder.table_of == "output" and arch.array.kind != "tile":
        raise ValueError(
            "pe.decoder.table_of: 'output' is for arrays of kind 'tile', a row an output; use "
            "'layer'"
        )


def _check_vector(arch: Arch) -> None:
    """Check that the vector unit stands beside a memory of the chip, and what it does beside."""
    unit = arch.vector_unit
    if arch.beside.asked:
        if unit is None:
            raise ValueError("beside: it is work of the vector unit; give 'vector' with lanes")
        for key in ("keep_outputs", "overlap_layers"):
            if getattr(arch.execution, key):
                raise ValueError(f"beside: not counted with execution.{key}; leave one out")
    if unit is None:
        return
    if arch.published_accounting:
        raise ValueError("vector: accounting.study counts no vector unit; leave it out")
    if unit.memory is not None:
        holding: list[str] = [
            name for name in arch.buffers.names if name in ("io", "output", "shared")
        ]
        holding += [level.name for level in arch.memories if "output" in level.holds]
        if unit.memory not in holding:
            raise ValueError(
                f"vector.memory: {unit.memory!r} is no memory that holds results; "
                f"use {' or '.join(holding)}"
            )


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


def check_supported(arch: Arch) -> None:
    """Check that the PE can take the weights and inputs of every kind of layer.

    Raises
    ------
    BitlatheError
        It names the key, and lists the formats that the PE can take.
    """
    if arch.published_accounting:
        record = arch.pe.record_without_component
    else:
        record = arch.pe.record
        check_priced(arch.pe, arch.technology, record)
    for kind, formats in arch.formats.by_kind.items():
        schemes = {name: getattr(formats, name).scheme for name in ("weight", "input")}
        if schemes["weight"] is None and arch.pe.record.skip_zero_terms:
            raise BitlatheError(
                f"formats.{kind}.weight: skip_zero_terms needs a scheme, not bits alone"
            )
        given = {name: scheme for name, scheme in schemes.items() if scheme is not None}
        for name, scheme in given.items():
            problem = refusal(record, name, scheme)
            if problem and arch.pe.part:
                would = takers(arch.pe, arch.technology.node_nm, given)
                problem += f"; component {name_of(arch.pe.component)!r} was made for these ports"
                problem += f", {' and '.join(would)} take {str(scheme)!r}" if would else ""
            if problem:
                raise BitlatheError(f"formats.{kind}.{name}: {problem}")


def _decimal(value: float) -> Fraction:
    """Return a number as it was written: 25.6 is 128/5, not the nearest binary fraction."""
    return Fraction(str(value))
