"""The cycle rung: one layer on one chip, tile by tile and transfer by transfer.

Traffic, accesses and energy per access are those of all rungs; what they differ in is time. A tile
starts when its operands have arrived and the tile before has freed the array.
"""

from collections.abc import Sequence
from dataclasses import replace

from ...mapping.keep import NOTHING, Kept
from ...workloads.gemm import Gemm
from ..account import Time, fastest_run
from ..chip import Chip
from ..demand import Demand
from ..layer_bits import LayerBits
from ..layout import Layout, layouts
from ..run import LayerRun
from .lower import layer_program
from .machine import Machine, total_stalls
from .options import CycleOptions
from .program import BANDWIDTH

DEFAULT_OPTIONS = CycleOptions()


def run_layer_cycle(
    chip: Chip,
    gemm: Gemm,
    bits: LayerBits,
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
    chip, gemm, bits, mapper
        As in `analytic.run_layer`.
    options : CycleOptions
        What is counted.
    kept : Kept
        As in `analytic.run_layer`.

    Examples
    --------
    >>> from bitlathe.arch import load_arch
    >>> from bitlathe.sim.policy import layer_bits
    >>> chip, layer = Chip.of(load_arch("bitmod")), Gemm(name="x", m=256, n=4096, k=4096)
    >>> run = run_layer_cycle(chip, layer, layer_bits(chip.arch, layer))
    >>> run.cycles == run.compute_cycles + sum(run.stalls.values())
    True
    """
    ways = layouts(chip, gemm, bits, mapper, kept)
    return fastest_run(gemm, ways, lambda demand: time_of(demand, options))


def time_of(demand: Demand, options: CycleOptions = DEFAULT_OPTIONS) -> Time:
    """Return the time of a layer on an empty chip."""
    machine = run_alone(demand.layout, options)
    cycles = machine.finish()
    return timed(demand, options, cycles=cycles, busy=machine.busy, stalls=machine.stalls)


def timed(
    demand: Demand, options: CycleOptions, *, cycles: int, busy: int, stalls: Sequence[int]
) -> Time:
    """Return the time of a layer that took so many clocks on the machine, with its waits.

    Tiles wait for their own accesses; what the busiest port needs beyond that (operands that come
    in beside results that are written) is added at the end, and what the vector unit needs beyond
    all of it, to multiply by scales.

    Parameters
    ----------
    demand : Demand
    options : CycleOptions
    cycles, busy : int
        Clocks of the layer, and those with work.
    stalls : sequence of int
        Clocks of waits, in the order of `run.STALL_CAUSES`.
    """
    assert busy == demand.work.cycles, (busy, demand.work.cycles)
    waits, least = list(stalls), demand.least_cycles
    beyond = demand.port_cycles - cycles if options.memory else 0
    if beyond > 0:
        waits[BANDWIDTH] += beyond
        cycles += beyond
    late = max(0, demand.unit_cycles - cycles)
    cycles += late
    demand.check_clocks(cycles)
    found = total_stalls(waits)
    return Time(
        cycles=cycles,
        utilization=demand.utilization(least) * least / cycles if cycles else 0.0,
        stalls={**found, "vector": late} if late else found,
    )


def run_alone(layout: Layout, options: CycleOptions) -> Machine:
    """Return the machine after a layer on an empty chip, its last results not yet in DRAM."""
    machine, program = new_machine(layout.chip, options), layer_program(layout, options)
    machine.begin(program)
    machine.run(program.nodes)
    return machine


def layout_to_run(ways: Sequence[Layout], options: CycleOptions) -> Layout:
    """Return the layout of a layer among others: of some, the one that alone is fastest.

    At the chip's own bandwidth; clocks that a port needs beyond the array's do not count.
    """
    if len(ways) == 1:
        return ways[0]
    plain = replace(options, bits_per_clock=None, exposed_waits=True)
    return min(ways, key=lambda layout: run_alone(layout, plain).finish())


def new_machine(chip: Chip, options: CycleOptions) -> Machine:
    """Return the machine of a chip, empty."""
    return Machine(chip.arch.dram_latency_cycles if options.memory else 0, options)
