"""What a layer asks of a chip, whatever the rung: the array's work, DRAM traffic, port accesses."""

import math
from dataclasses import dataclass
from functools import cached_property

from ..arch.schema import BufferName
from ..datatypes.base.errors import BitlatheError
from ..workloads.sizes import COUNTER_LIMIT
from .layout import Layout
from .ports import PortUse, port_cycles, port_use
from .work import Work, layer_work


@dataclass(frozen=True, kw_only=True)
class Demand:
    """A layer in a layout: the work of the array, and what goes through each buffer's ports."""

    layout: Layout
    work: Work
    ports: dict[BufferName, PortUse]

    @classmethod
    def of(cls, layout: Layout) -> "Demand":
        """Return what a layer asks of a chip in a layout."""
        work = layer_work(layout)
        return cls(layout=layout, work=work, ports=port_use(layout, work))

    @cached_property
    def dram_cycles(self) -> int:
        """Clocks in which DRAM moves bits; the BitMoD study rounds them down."""
        chip = self.layout.chip
        clocks = self.layout.traffic.total_bits / chip.dram_bits_per_clock
        return math.floor(clocks) if chip.published else math.ceil(clocks)

    @cached_property
    def port_cycles(self) -> int:
        """Clocks of the busiest SRAM port."""
        return port_cycles(self.layout.chip, self.ports)

    @cached_property
    def unit_cycles(self) -> int:
        """Clocks in which the lanes of the vector unit multiply by scales (`scales`)."""
        layout = self.layout
        unit, work = layout.chip.arch.vector_unit, layout.bits.unit_work
        return work.cycles(self.work.products, unit.lanes) if unit else 0

    @property
    def least_cycles(self) -> int:
        """The bound of array, DRAM, ports and scales: no layer takes fewer clocks."""
        array = self.work.cycles + self.work.exposed_cycles
        return max(array, self.dram_cycles, self.port_cycles, self.unit_cycles)

    def check_clocks(self, cycles: int) -> None:
        """Refuse clocks that would not be exact, and say what takes them.

        Raises
        ------
        BitlatheError
            More than 2^63 - 1 clocks.
        """
        if cycles >= COUNTER_LIMIT:
            chip, layer = self.layout.chip, self.layout.gemm.name
            raise BitlatheError(
                f"layer {layer!r} takes about 10^{math.floor(math.log10(cycles))} clocks, beyond "
                "the range of counters (2^63), with dram.bits_per_clock "
                f"{float(chip.dram_bits_per_clock):g} and dram.latency_cycles "
                f"{chip.arch.dram_latency_cycles}; use "
                "a faster DRAM, or a smaller context or batch."
            )

    def utilization(self, cycles: int) -> float:
        """Return the multiply-accumulates done over those the array could do in so many clocks."""
        layout, arch = self.layout, self.layout.chip.arch
        peak = arch.array.rows * arch.array.columns * arch.pe.lanes
        return layout.gemm.macs * layout.bits.terms / (peak * cycles) if cycles else 0.0
