"""How much DRAM bandwidth a layer or a model needs: the least that spares every avoidable wait.

A wait of the array for DRAM is avoidable where the transfer was asked for while the array still
worked, or where there is no room for results. What remains are waits that no bandwidth hides: the
first tile's operands, a piece whose only place was in use, results that are read back, the last
results on their way.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ...mapping.keep import Plan, layer_counts
from ...workloads.gemm import Gemm
from ..bisect import least_bits_per_clock
from ..chip import Chip
from ..layer_bits import LayerBits
from ..layout import Layout, layouts
from .layer import DEFAULT_OPTIONS, layout_to_run, run_alone
from .machine import BandwidthTooLow
from .model import layouts_of, run_plan
from .options import CycleOptions


def _suffices(run: Callable[[CycleOptions], object], options: CycleOptions, bits: int) -> bool:
    try:
        run(replace(options, bits_per_clock=bits, exposed_waits=False))
    except BandwidthTooLow:
        return False
    return True


def layer_bits_per_clock(
    ways: Sequence[Layout], *, options: CycleOptions = DEFAULT_OPTIONS
) -> float:
    """Return the least DRAM bits per clock at which no wait of a layer is avoidable.

    Infinity where even transfers of one clock come late (DRAM latency, tiles of few clocks).

    Parameters
    ----------
    ways : sequence of Layout
        The layouts in which the layer may run (`sim.layout.layouts`).
    options : CycleOptions
        As in `cycle.layer.run_layer_cycle`; the chip's own bandwidth does not matter.
    """
    layout = layout_to_run(ways, options)
    return least_bits_per_clock(
        lambda rate: _suffices(lambda given: run_alone(layout, given), options, rate)
    )


def required_bits_per_clock(
    chip: Chip, plan: Plan, bits: Mapping[Gemm, LayerBits], mapper: str = "whole-buffer"
) -> tuple[dict[str, float], float]:
    """Return what each layer needs alone, by name, and what the whole plan needs.

    A layer that runs in several ways needs the most of them; so do layers one after another.

    Parameters
    ----------
    chip : Chip
    plan : Plan
    bits : mapping of Gemm to LayerBits
    mapper : str
        As in `sim.layout.lay_out`.
    """
    needed: dict[str, float] = {}
    for gemm, kept in layer_counts(plan):
        rate = layer_bits_per_clock(layouts(chip, gemm, bits[gemm], mapper, kept))
        needed[gemm.name] = max(rate, needed.get(gemm.name, 0))
    if chip.arch.execution.overlap_layers:
        return needed, plan_bits_per_clock(chip, plan, bits, mapper)
    return needed, max(needed.values())


def plan_bits_per_clock(
    chip: Chip,
    plan: Plan,
    bits: Mapping[Gemm, LayerBits],
    mapper: str = "whole-buffer",
    *,
    options: CycleOptions = DEFAULT_OPTIONS,
) -> float:
    """Return the same as `layer_bits_per_clock` for layers that overlap (`cycle.model`).

    Parameters
    ----------
    chip, plan, bits, mapper
        As in `required_bits_per_clock`.
    options : CycleOptions
        As in `layer_bits_per_clock`.
    """
    laid_out = layouts_of(chip, plan, bits, mapper, options)
    return least_bits_per_clock(
        lambda rate: _suffices(lambda given: run_plan(chip, plan, laid_out, given), options, rate)
    )
