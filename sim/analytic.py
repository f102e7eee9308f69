"""The analytic rung: clocks, accesses and energy of one layer on one chip, in closed form.

Of `sim.layout` (what is read how often), `sim.work` (what the array does) and `sim.ports` (what
goes through the buffers) it takes the bounds. With ``accounting.study: hpca25`` the counting is
that of the BitMoD study's performance model (HPCA 2025).
"""

import math
from dataclasses import dataclass, replace
from fractions import Fraction

from ..arch.schema import Arch, BufferName
from ..datatypes.base.errors import BitlatheError
from ..mapping.keep import NOTHING, Kept
from ..mapping.whole_buffer import Traffic
from ..workloads.gemm import COUNTER_LIMIT, Gemm
from .energy import ChipCosts, timed_energy_pj
from .layer_bits import LayerBits
from .layout import Layout, lay_out
from .ports import PortUse, accesses, port_cycles, port_use, read_energy_pj
from .run import LayerRun, with_total
from .work import Work, layer_work


def check_clocks(arch: Arch, layer: str, cycles: int) -> None:
    """Refuse a layer whose clocks would not be exact, and say what takes them.

    Raises
    ------
    BitlatheError
        More than 2^63 - 1 clocks.
    """
    if cycles >= COUNTER_LIMIT:
        raise BitlatheError(
            f"layer {layer!r} takes some 10^{math.floor(math.log10(cycles))} clocks, beyond "
            "the range of counters (2^63), with dram.bits_per_clock "
            f"{float(arch.dram_bits_per_clock):g} and dram.latency_cycles "
            f"{arch.dram_latency_cycles}; use "
            "a faster DRAM, or a smaller context or batch."
        )


def _dram_cycles(arch: Arch, traffic: Traffic) -> int:
    """Return the clocks that DRAM moves bits; the BitMoD study rounds them down."""
    clocks = traffic.total_bits / arch.dram_bits_per_clock
    return math.floor(clocks) if arch.published_accounting else math.ceil(clocks)


def _dram_energy_pj(arch: Arch, traffic: Traffic) -> float:
    read_pj, write_pj = arch.dram.read_bit_pj, arch.dram.write_bit_pj
    return traffic.total_bits * read_pj + traffic.output_bits * (write_pj - read_pj)


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What a layer asks of a chip: its layout, the array's work, what goes through each port."""

    layout: Layout
    work: Work
    ports: dict[BufferName, PortUse]

    @property
    def port_cycles(self) -> int:
        """Clocks of the busiest SRAM port."""
        return port_cycles(self.layout.arch, self.ports)


def demand_of(
    arch: Arch,
    gemm: Gemm,
    bits: LayerBits,
    costs: ChipCosts,
    mapper: str,
    kept: Kept = NOTHING,
) -> Demand:
    """Return what a layer asks of a chip; arguments as in `run_layer`."""
    return demand_in(lay_out(arch, gemm, bits, mapper, kept), costs)


def demand_in(layout: Layout, costs: ChipCosts) -> Demand:
    """Return what a layer asks of a chip in a layout."""
    arch, gemm, bits = layout.arch, layout.gemm, layout.bits
    work = layer_work(arch, gemm, bits, layout)
    return Demand(layout=layout, work=work, ports=port_use(arch, costs, layout, work))


def bound(demand: Demand, costs: ChipCosts) -> LayerRun:
    """Return a layer at the bounds of array, DRAM and ports (`run_layer`)."""
    layout, work = demand.layout, demand.work
    arch, gemm, traffic = layout.arch, layout.gemm, layout.traffic
    dram_cycles = _dram_cycles(arch, traffic)
    cycles = max(work.cycles + work.exposed_cycles, dram_cycles, demand.port_cycles)
    check_clocks(arch, gemm.name, cycles)
    pes = arch.array.rows * arch.array.columns
    busy = pes * work.cycles if arch.accounting.idle_pes else work.busy_pe_cycles
    layout_factor = arch.accounting.layout_factor
    words_pj = (use.words * costs.word_write_pj(name) for name, use in demand.ports.items())
    energy_pj = {
        "pe": layout_factor * arch.pe.clock_energy_pj * busy
        + layout_factor * arch.table_fill_pj * work.table_fills,
        "sram_read": read_energy_pj(arch, costs, demand.ports),
        "sram_write": math.fsum(words_pj),
        "dram": _dram_energy_pj(arch, traffic),
        **timed_energy_pj(arch, costs, cycles),
    }
    peak = pes * arch.pe.lanes
    return LayerRun(
        name=gemm.name,
        count=gemm.count,
        m=gemm.m,
        n=gemm.n,
        k=gemm.k,
        batch=gemm.batch,
        compute_cycles=work.cycles,
        dram_cycles=dram_cycles,
        stall_cycles=cycles - work.cycles,
        cycles=cycles,
        utilization=gemm.macs * layout.bits.terms / (peak * cycles) if cycles else 0.0,
        dram_bits={
            "weight": traffic.weight_bits,
            "input": traffic.input_bits,
            "output": traffic.output_bits,
        },
        sram_accesses=accesses(arch, demand.ports),
        energy_pj=with_total(energy_pj),
    )


def run_layer(
    arch: Arch,
    gemm: Gemm,
    bits: LayerBits,
    costs: ChipCosts,
    mapper: str = "whole-buffer",
    *,
    kept: Kept = NOTHING,
) -> LayerRun:
    """Return the cost of one layer.

    Clocks: compute = steps x terms (terms = 1 on a bit-parallel array; with skipped terms the
    clocks of their row folds), array = compute + exposed loads and drains, DRAM =
    ceil(bits moved / bits per clock), ports as in `sim.ports`; layer = the largest of array, DRAM
    and ports. SRAM reads: what each step asks for (`Work`), in whole accesses and banks; writes:
    every operand word by word as it arrives, each costing its share of a port. Partial sums are
    read and written at the accumulator's width. A masked layer runs as if it had no mask where
    that takes fewer clocks.

    Parameters
    ----------
    arch : Arch
        The chip, already resolved for the phase and model.
    gemm : Gemm
        The layer.
    bits : LayerBits
        Stored bits per element.
    costs : ChipCosts
        The chip's buffers, looked up.
    mapper : {"whole-buffer", "hpca25-whole-buffer", "output-tiled"}
        The traffic rule.
    kept : Kept
        What stays on the chip between this layer and others.
    """
    run = bound(demand_of(arch, gemm, bits, costs, mapper, kept), costs)
    dense = without_mask(arch, gemm)
    if dense is None:
        return run
    return unmasked_if_faster(
        gemm, run, bound(demand_of(arch, dense, bits, costs, mapper, kept), costs)
    )


def without_mask(arch: Arch, gemm: Gemm) -> Gemm | None:
    """Return a masked layer without its mask, which a chip may run instead; None without one.

    The BitMoD study's chips take the mask as it is.
    """
    if gemm.causal is None or arch.published_accounting:
        return None
    return replace(gemm, causal=None, window=None)


def unmasked_if_faster(gemm: Gemm, masked: LayerRun, dense: LayerRun) -> LayerRun:
    """Return the faster way to run a masked layer."""
    if masked.cycles <= dense.cycles:
        return masked
    return run_unmasked(gemm, dense)


def run_unmasked(gemm: Gemm, dense: LayerRun) -> LayerRun:
    """Return a masked layer that ran as if it had no mask; utilization counts what that leaves."""
    useful = Fraction(gemm.macs, gemm.m * gemm.n * gemm.k * gemm.batch)
    return replace(dense, utilization=float(dense.utilization * useful))
