"""How much DRAM bandwidth a layer or a model needs: the least that spares every avoidable wait.

A wait of the array for DRAM is avoidable where the transfer was asked for while the array still
worked, or where there is no room for results. What remains are waits that no bandwidth hides: the
first tile's operands, a piece whose only place was in use, results that are read back, the last
results on their way.
"""

import math
from collections.abc import Callable
from dataclasses import replace

from ...arch.schema import Arch
from ...mapping.keep import NOTHING, Kept, Plan, placed_steps
from ...workloads.gemm import Gemm
from ..layer_bits import LayerBits
from .layer import DEFAULT_OPTIONS, layer_program, layout_to_run, new_machine
from .machine import BandwidthTooLow
from .model import layouts_of, walk_layouts
from .options import CycleOptions

MOST_BITS_PER_CLOCK = 2**40
"""A transfer of any size takes a clock."""


def least_bits_per_clock(suffices: Callable[[int], bool]) -> float:
    """Return the least whole bits per clock that suffice, by bisection; infinity if none do.

    Examples
    --------
    >>> least_bits_per_clock(lambda bits: bits >= 100)
    100
    """
    if not suffices(MOST_BITS_PER_CLOCK):
        return math.inf
    high = 1
    while not suffices(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return high


def _suffices(run: Callable[[CycleOptions], object], options: CycleOptions, bits: int) -> bool:
    try:
        run(replace(options, bits_per_clock=bits, exposed_waits=False))
    except BandwidthTooLow:
        return False
    return True


def layer_bits_per_clock(
    arch: Arch,
    gemm: Gemm,
    bits: LayerBits,
    mapper: str = "whole-buffer",
    *,
    options: CycleOptions = DEFAULT_OPTIONS,
    kept: Kept = NOTHING,
) -> float:
    """Return the least DRAM bits per clock at which no wait of a layer is avoidable.

    Infinity where even transfers of one clock come late (DRAM latency, tiles of few clocks).

    Parameters
    ----------
    arch, gemm, bits, mapper, options, kept
        As in `cycle.run_layer_cycle`; the chip's own bandwidth does not matter.
    """
    layout = layout_to_run(arch, gemm, bits, mapper, options, kept)

    def run(given: CycleOptions) -> None:
        machine = new_machine(arch, given)
        program = layer_program(layout, given, kept)
        machine.begin(program)
        machine.run(program.nodes)

    return least_bits_per_clock(lambda rate: _suffices(run, options, rate))


def required_bits_per_clock(
    arch: Arch, plan: Plan, bits_of: Callable[[Gemm], LayerBits], mapper: str = "whole-buffer"
) -> tuple[dict[str, float], float]:
    """Return what each layer needs alone, by name, and what the whole plan needs.

    A layer that runs in several ways needs the most of them; so do layers one after another.
    """
    needed: dict[str, float] = {}
    for gemm, kept in dict.fromkeys((p.step.gemm, p.kept) for p, _ in placed_steps(plan)):
        rate = layer_bits_per_clock(arch, gemm, bits_of(gemm), mapper, kept=kept)
        needed[gemm.name] = max(rate, needed.get(gemm.name, 0))
    if arch.execution.overlap_layers:
        return needed, plan_bits_per_clock(arch, plan, bits_of, mapper)
    return needed, max(needed.values())


def plan_bits_per_clock(
    arch: Arch,
    plan: Plan,
    bits_of: Callable[[Gemm], LayerBits],
    mapper: str = "whole-buffer",
    *,
    options: CycleOptions = DEFAULT_OPTIONS,
) -> float:
    """Return the same as `layer_bits_per_clock` for layers that overlap (`cycle_model.walk`)."""
    layouts = layouts_of(arch, plan, bits_of, mapper, options)
    return least_bits_per_clock(
        lambda rate: _suffices(
            lambda given: walk_layouts(arch, plan, layouts, given), options, rate
        )
    )
