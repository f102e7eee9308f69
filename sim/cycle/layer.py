"""The cycle rung: one layer on one chip, tile by tile and transfer by transfer.

Traffic, accesses and energy per access are those of the analytic rung; what the two differ in is
time. A tile starts when its operands have arrived and the tile before has freed the array.
"""

from collections.abc import Sequence
from dataclasses import replace

from ...arch.schema import Arch
from ...mapping.keep import NOTHING, Kept
from ...workloads.gemm import Gemm
from ..analytic import Demand, bound, check_clocks, demand_of, unmasked_if_faster, without_mask
from ..energy import ChipCosts, timed_energy_pj
from ..layer_bits import LayerBits
from ..layout import Layout, lay_out
from ..run import LayerRun, with_total
from .lower import Scheduler, program_of
from .machine import Machine
from .options import CycleOptions
from .program import BANDWIDTH, Program, total_stalls

DEFAULT_OPTIONS = CycleOptions()


def run_layer_cycle(
    arch: Arch,
    gemm: Gemm,
    bits: LayerBits,
    costs: ChipCosts,
    mapper: str = "whole-buffer",
    *,
    options: CycleOptions = DEFAULT_OPTIONS,
    kept: Kept = NOTHING,
) -> LayerRun:
    """Return the cost of one layer at clock resolution, with its stalls by cause.

    ``cycles`` runs from the first transfer of an empty chip to the last result in DRAM, and is
    ``compute_cycles`` plus the sum of ``stalls``:

    * weights, inputs: the array waits and DRAM brings that operand of the next tile;
    * bandwidth: the array waits and DRAM moves something else, or an SRAM port is too narrow;
    * outputs: no room for results, or the last results are on their way to DRAM;
    * rescale: the group rescale unit is busy;
    * pipeline: fill, drain, operand loads into the PEs.

    Parameters
    ----------
    arch, gemm, bits, costs, mapper
        As in `analytic.run_layer`.
    options : CycleOptions
        What is counted.
    kept : Kept
        As in `analytic.run_layer`.

    Examples
    --------
    >>> from bitlathe.arch import load_arch
    >>> from bitlathe.sim.simulation import layer_bits
    >>> chip, layer = load_arch("bitmod"), Gemm(name="x", m=256, n=4096, k=4096)
    >>> run = run_layer_cycle(chip, layer, layer_bits(chip, layer), ChipCosts.of(chip))
    >>> run.cycles == run.compute_cycles + sum(run.stalls.values())
    True
    """
    run = _run(demand_of(arch, gemm, bits, costs, mapper, kept), costs, options, kept)
    dense = without_mask(arch, gemm)
    if dense is None:
        return run
    demand = demand_of(arch, dense, bits, costs, mapper, kept)
    return unmasked_if_faster(gemm, run, _run(demand, costs, options, kept))


def _run(demand: Demand, costs: ChipCosts, options: CycleOptions, kept: Kept) -> LayerRun:
    """Return a layer with its mask as it is."""
    machine = _alone(demand.layout, options, kept)
    cycles = machine.finish()
    base = bound(demand, costs)
    assert machine.busy == base.compute_cycles, (machine.busy, base.compute_cycles)
    ports = demand.port_cycles if options.memory else 0
    return timed(demand.layout.arch, costs, base, cycles, machine.stalls, ports)


def _alone(layout: Layout, options: CycleOptions, kept: Kept) -> Machine:
    """Return the machine after a layer on an empty chip, its last results not yet in DRAM."""
    machine, program = new_machine(layout.arch, options), layer_program(layout, options, kept)
    machine.begin(program)
    machine.run(program.nodes)
    return machine


def layout_to_run(
    arch: Arch,
    gemm: Gemm,
    bits: LayerBits,
    mapper: str,
    options: CycleOptions,
    kept: Kept = NOTHING,
) -> Layout:
    """Return the layout of a layer among others: without its mask where it alone is faster so.

    At the chip's own bandwidth; clocks that a port needs beyond the array's count for neither.
    """
    layout, dense = lay_out(arch, gemm, bits, mapper, kept), without_mask(arch, gemm)
    if dense is None:
        return layout
    other = lay_out(arch, dense, bits, mapper, kept)
    plain = replace(options, bits_per_clock=None, exposed_waits=True)
    masked, whole = (_alone(each, plain, kept).finish() for each in (layout, other))
    return other if whole < masked else layout


def new_machine(arch: Arch, options: CycleOptions) -> Machine:
    """Return the machine of a chip, empty."""
    return Machine(arch.dram_latency_cycles if options.memory else 0, options)


def layer_program(layout: Layout, options: CycleOptions, kept: Kept) -> Program:
    """Return the program of a layer."""
    return program_of(Scheduler(layout, options, kept))


def timed(
    arch: Arch,
    costs: ChipCosts,
    base: LayerRun,
    cycles: int,
    stalls: Sequence[int],
    port_cycles: int,
) -> LayerRun:
    """Return a layer of the analytic rung with the time of this one, waits by cause.

    Tiles wait for their own accesses; what the busiest port needs beyond that (operands that come
    in beside results that are written) is added at the end.
    """
    waits = list(stalls)
    if port_cycles > cycles:
        waits[BANDWIDTH] += port_cycles - cycles
        cycles = port_cycles
    check_clocks(arch, base.name, cycles)
    energy_pj = {part: value for part, value in base.energy_pj.items() if part != "total"}
    energy_pj |= timed_energy_pj(arch, costs, cycles)
    return replace(
        base,
        cycles=cycles,
        stall_cycles=cycles - base.compute_cycles,
        utilization=base.utilization * base.cycles / cycles if cycles else 0.0,
        energy_pj=with_total(energy_pj),
        stalls=total_stalls(waits),
    )
