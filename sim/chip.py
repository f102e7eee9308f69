"""A chip as one phase and model find it: its buffers, PE and area, looked up once."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

from ..arch.dataflow import Dataflow
from ..arch.hierarchies import hierarchies_of
from ..arch.hierarchy import Hierarchy
from ..arch.pe_base import PEKind, Split
from ..arch.schema import Arch, BufferName, OperandName
from ..arch.silicon import VECTOR_UNIT, areas_um2, array_areas_um2, leakages_mw
from ..arch.splitting import WHOLE
from ..arch.sram import SramCost
from ..arch.vector import VectorUnit
from ..datatypes.base.errors import BitlatheError
from ..datatypes.base.numbers import ceil_div
from .run import with_total

WORD_BITS = 64  # SRAM is filled word by word


@dataclass(frozen=True, slots=True, kw_only=True)
class Sram:
    """One of a chip's buffers: its size, its ports and banks, what an access costs."""

    name: BufferName
    size_bytes: int
    port_bits: int
    banks: int
    ports: int
    double_buffered: bool
    cost: SramCost

    @classmethod
    def of(cls, arch: Arch, name: BufferName) -> "Sram":
        """Look up a buffer of a chip."""
        buffer = arch.buffers.named(name)
        return cls(
            name=name,
            size_bytes=buffer.size_bytes,
            port_bits=arch.port_bits(name),
            banks=arch.banks(name),
            ports=buffer.ports,
            double_buffered=buffer.double_buffered,
            cost=arch.sram_cost(name),
        )

    def accesses(self, size_bits: int) -> int:
        """Return the accesses that so many bits at once take."""
        return ceil_div(size_bits, self.port_bits)

    def banks_enabled(self, size_bits: int) -> int:
        """Return the banks that hold so many bits, over all accesses."""
        return ceil_div(size_bits * self.banks, self.port_bits)

    @property
    def places(self) -> int:
        """Pieces that the buffer holds at least: two where it is double buffered."""
        return 2 if self.double_buffered else 1

    @property
    def word_write_pj(self) -> float:
        """Energy of one 64-bit word that is written: its share of a port."""
        return self.cost.write_pj / (self.port_bits / WORD_BITS)


@dataclass(frozen=True, kw_only=True, eq=False)
class Chip:
    """A resolved chip and its buffers; the rest follows, and is looked up once.

    ``built`` is the whole chip, of one whose multipliers are split for a kind of layer.
    """

    arch: Arch
    sram: Mapping[BufferName, Sram]
    built: "Chip | None" = None

    @classmethod
    def of(cls, arch: Arch) -> "Chip":
        """Look up the buffers of a chip that is resolved for a phase and model."""
        return cls(arch=arch, sram={name: Sram.of(arch, name) for name in arch.buffers.priced})

    def split_for(self, split: Split) -> "Chip":
        """Return the chip as it runs layers for which its multipliers split (`Arch.split_for`).

        Its buffers, area and leakage stay as they are.
        """
        whole = self.built or self
        if split == WHOLE:
            return whole
        if split not in whole._split:
            whole._split[split] = replace(whole, arch=whole.arch.split_for(split), built=whole)
        return whole._split[split]

    @cached_property
    def _split(self) -> dict[Split, "Chip"]:
        return {}

    @cached_property
    def flow(self) -> Dataflow:
        """How products lie on the array."""
        return self.arch.array.flow

    @cached_property
    def hierarchies(self) -> tuple[Hierarchy, ...]:
        """Its memories and axes, one hierarchy for each of its dataflows (`hierarchies_of`)."""
        return hierarchies_of(self.arch)

    @property
    def vector(self) -> VectorUnit:
        """Its vector unit.

        Raises
        ------
        BitlatheError
            The chip has none.
        """
        if self.arch.vector_unit is None:
            raise BitlatheError(f"chip {self.arch.name!r} has no vector unit; give it vector.")
        return self.arch.vector_unit

    @cached_property
    def pe(self) -> PEKind:
        """The record of the PE: its ports and its arithmetic."""
        return self.arch.pe.record

    @cached_property
    def published(self) -> bool:
        """Whether ports, accesses and leakage are counted as the BitMoD study counts them."""
        return self.arch.published_accounting

    @cached_property
    def buffer_of(self) -> dict[OperandName, BufferName]:
        """The buffer that holds each operand."""
        return self.arch.buffers.layout

    def holding(self, operand: OperandName) -> Sram:
        """Return the buffer that holds an operand."""
        return self.sram[self.buffer_of[operand]]

    @cached_property
    def sums(self) -> Sram:
        """The buffer of unfinished sums: the accumulator buffer, or that of results.

        ``scalesim`` timing knows no accumulator buffer.
        """
        array = self.arch.array
        if array.accumulator_buffer and array.timing == "physical" and "accumulator" in self.sram:
            return self.sram["accumulator"]
        return self.holding("output")

    @cached_property
    def sums_beside_inputs(self) -> bool:
        """Whether unfinished sums share a buffer with the inputs."""
        return self.sums is self.holding("input")

    @cached_property
    def sum_bits(self) -> int:
        """Bits of an unfinished sum."""
        return self.pe.partial_sum_bits

    @cached_property
    def dram_bits_per_clock(self) -> Fraction:
        """Bits that the DRAM moves in one clock."""
        return self.arch.dram_bits_per_clock

    @cached_property
    def dram_background_mw(self) -> float:
        """Power of the DRAM's standby and refresh."""
        return self.arch.dram_background_mw

    @cached_property
    def leakage_mw(self) -> float:
        """Leakage of all memories, PEs and the vector unit."""
        if self.built is not None:
            return self.built.leakage_mw
        if self.arch.memories:
            return math.fsum(leakages_mw(self.arch).values())
        buffers = math.fsum(buffer.cost.leakage_mw for buffer in self.sram.values())
        return buffers + self.arch.pe_leakage_mw + self.arch.vector_leakage_mw

    @cached_property
    def area_um2(self) -> dict[str, float]:
        """Area by component: PE array (cells, before place and route), memories, vector unit.

        As `arch.silicon` has it, of buffers that were looked up already.
        """
        if self.built is not None:
            return self.built.area_um2
        if self.arch.memories:
            return with_total(areas_um2(self.arch))
        parts = array_areas_um2(self.arch)
        parts |= {f"{name}_buffer": buffer.cost.area_um2 for name, buffer in self.sram.items()}
        unit = {VECTOR_UNIT: self.arch.vector_area_um2} if self.arch.vector_unit else {}
        return with_total({**parts, **unit})
