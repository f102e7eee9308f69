"""Energy of a layer by component: PEs, SRAM, DRAM, and what is drawn all the time."""

import math

from .chip import Chip
from .demand import Demand
from .ports import read_energy_pj
from .run import with_total


def energy_pj(demand: Demand, cycles: int) -> dict[str, float]:
    """Return the energy of a layer that takes so many clocks, by component with its total.

    SRAM is written word by word, each costing its share of a port.
    """
    chip, work, traffic = demand.layout.chip, demand.work, demand.layout.traffic
    arch = chip.arch
    pes, factor = arch.array.rows * arch.array.columns, arch.accounting.layout_factor
    busy = pes * work.cycles if arch.accounting.idle_pes else work.busy_pe_cycles
    read_pj, write_pj = arch.dram.read_bit_pj, arch.dram.write_bit_pj
    unit = demand.layout.bits.unit_work
    scaled = (float(each * work.products) for each in unit)
    parts = {
        "pe": factor * arch.pe_costs.energy_pj * busy
        + factor * arch.table_addition_pj * work.table_additions
        + factor * arch.pe.group_sum_pj * work.group_sums
        + arch.decoded_pj * work.decoded
        + arch.unit_pj(*scaled),
        "sram_read": read_energy_pj(chip, demand.ports),
        "sram_write": math.fsum(
            use.words * chip.sram[name].word_write_pj for name, use in demand.ports.items()
        ),
        "dram": traffic.total_bits * read_pj + traffic.output_bits * (write_pj - read_pj),
        **timed_energy_pj(chip, cycles),
    }
    return with_total(parts)


def timed_energy_pj(chip: Chip, cycles: int) -> dict[str, float]:
    """Return the energy that runs with the clocks: leakage of the chip, background of DRAM."""
    arch = chip.arch
    time_ns = cycles / arch.technology.clock_ghz
    energy_pj = {"leakage": chip.leakage_mw * time_ns if arch.accounting.leakage else 0.0}
    if chip.dram_background_mw:
        energy_pj["dram_background"] = chip.dram_background_mw * time_ns
    return energy_pj
