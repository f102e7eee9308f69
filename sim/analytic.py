"""The analytic rung: the time of a layer in closed form, the bound of array, DRAM and ports.

What a layer asks of the chip (`sim.layout`, `sim.work`, `sim.ports`) is the same on all rungs. With
``accounting.study: hpca25`` the counting is that of the BitMoD study's performance model (HPCA
2025).
"""

from ..mapping.keep import NOTHING, Kept
from ..workloads.gemm import Gemm
from .account import Time, fastest_run
from .chip import Chip
from .demand import Demand
from .layer_bits import LayerBits
from .layout import layouts
from .mapped import NestTime, Part
from .run import LayerRun


def time_of(demand: Demand) -> Time:
    """Return the least clocks that a layer takes: no wait but for the busiest of its resources."""
    cycles = demand.least_cycles
    demand.check_clocks(cycles)
    return Time(cycles=cycles, utilization=demand.utilization(cycles))


def time_of_nest(part: Part) -> NestTime:
    """Return the clocks of a product under its mapping, in closed form (`mapping.cost`)."""
    return NestTime(cycles=part.best.cost.cycles)


def run_layer(
    chip: Chip,
    gemm: Gemm,
    bits: LayerBits,
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
    chip : Chip
        The chip, already resolved for the phase and model.
    gemm : Gemm
        The layer.
    bits : LayerBits
        Stored bits per element.
    mapper : {"whole-buffer", "hpca25-whole-buffer", "output-tiled"}
        The traffic rule.
    kept : Kept
        What stays on the chip between this layer and others.
    """
    return fastest_run(gemm, layouts(chip, gemm, bits, mapper, kept), time_of)
