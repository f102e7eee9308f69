"""The account of a layer, made once: from what it asks of a chip, and the time a rung gives."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from ..workloads.gemm import Gemm
from .demand import Demand
from .energy import energy_pj
from .layout import Layout
from .ports import accesses
from .run import LayerRun


@dataclass(frozen=True, slots=True, kw_only=True)
class Time:
    """Clocks of a layer, how well they use the array, and stall clocks by cause where known."""

    cycles: int
    utilization: float
    stalls: Mapping[str, int] | None = None


TimeOf = Callable[[Demand], Time]
"""What a rung is: the time of a layer from what it asks of the chip."""


def layer_run(gemm: Gemm, demand: Demand, time: Time, *, count: int) -> LayerRun:
    """Return the cost of a layer.

    Parameters
    ----------
    gemm : Gemm
        The layer; it may run as one without a mask, of whose work it uses a part.
    demand, time : Demand, Time
        What it asks of the chip as it runs, and the time that takes.
    count : int
        How many instances are alike.
    """
    chip, traffic, cycles = demand.layout.chip, demand.layout.traffic, time.cycles
    useful = Fraction(gemm.macs, demand.layout.gemm.macs)
    return LayerRun(
        name=gemm.name,
        count=count,
        m=gemm.m,
        n=gemm.n,
        k=gemm.k,
        batch=gemm.batch,
        compute_cycles=demand.work.cycles,
        dram_cycles=demand.dram_cycles,
        stall_cycles=cycles - demand.work.cycles,
        cycles=cycles,
        utilization=float(time.utilization * useful),
        dram_bits={
            "weight": traffic.weight_bits,
            "input": traffic.input_bits,
            "output": traffic.output_bits,
        },
        sram_accesses=accesses(chip, demand.ports),
        energy_pj=energy_pj(demand, cycles),
        stalls=None if time.stalls is None else dict(time.stalls),
        scale_cycles=demand.unit_cycles or None,
    )


def fastest_run(
    gemm: Gemm, layouts: Iterable[Layout], time_of: TimeOf, *, count: int | None = None
) -> LayerRun:
    """Return the cost of a layer in the fastest of some layouts; of equal ones the first.

    Parameters
    ----------
    gemm : Gemm
    layouts : iterable of Layout
    time_of : callable
        A rung's time of a layer.
    count : int, optional
        How many instances are alike; the layer's count by default.
    """
    timed = [(demand, time_of(demand)) for demand in map(Demand.of, layouts)]
    demand, time = min(timed, key=lambda way: way[1].cycles)
    return layer_run(gemm, demand, time, count=gemm.count if count is None else count)
