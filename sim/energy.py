"""What a chip's parts cost: area, energy of an access, power that is drawn all the time."""

import math
from dataclasses import dataclass

from ..arch.schema import Arch, BufferName, OperandName
from ..arch.sram import SramCost
from .run import with_total

WORD_BITS = 64  # SRAM is filled word by word


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipCosts:
    """What a chip's buffers cost, looked up once per run; ``layout``: the buffer of an operand."""

    layout: dict[OperandName, BufferName]
    buffers: dict[BufferName, SramCost]
    port_bits: dict[BufferName, int]
    banks: dict[BufferName, int]
    pe_leakage_mw: float = 0.0

    @classmethod
    def of(cls, arch: Arch) -> "ChipCosts":
        """Look up the buffers of a chip."""
        names = arch.buffers.priced
        return cls(
            layout=arch.buffers.layout,
            buffers={name: arch.sram_cost(name) for name in names},
            port_bits={name: arch.port_bits(name) for name in names},
            banks={name: arch.banks(name) for name in names},
            pe_leakage_mw=arch.pe_leakage_mw,
        )

    @property
    def leakage_mw(self) -> float:
        """Leakage of all buffers and PEs."""
        return math.fsum(cost.leakage_mw for cost in self.buffers.values()) + self.pe_leakage_mw

    def word_write_pj(self, name: BufferName) -> float:
        """Return the energy of one 64-bit word that is written: its share of a port."""
        return self.buffers[name].write_pj / (self.port_bits[name] / WORD_BITS)


def area_um2(arch: Arch, costs: ChipCosts) -> dict[str, float]:
    """Return the chip's area by component: PE array (cells, before place and route), buffers."""
    return with_total(
        {
            "pe_array": arch.pes * arch.pe_area_um2,
            **{f"{name}_buffer": cost.area_um2 for name, cost in costs.buffers.items()},
        }
    )


def timed_energy_pj(arch: Arch, costs: ChipCosts, cycles: int) -> dict[str, float]:
    """Return the energy that runs with the clocks: leakage of the chip, background of DRAM."""
    time_ns = cycles / arch.technology.clock_ghz
    energy_pj = {"leakage": costs.leakage_mw * time_ns if arch.accounting.leakage else 0.0}
    if arch.dram_background_mw:
        energy_pj["dram_background"] = arch.dram_background_mw * time_ns
    return energy_pj
