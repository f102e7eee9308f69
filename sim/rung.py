"""The rungs of the ladder of fidelity: how each gives a model's layers their time.

A rung's modules are loaded on use: the closed forms need none of the event machine's.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from ..arch.schema import SPLITTING
from ..datatypes.base.errors import BitlatheError
from ..mapping.keep import NOTHING, Kept, Plan, layer_counts
from ..mapping.mappers import NEST_MAPPERS
from ..workloads.gemm import Gemm
from .account import TimeOf, fastest_run
from .chip import Chip
from .layer_bits import LayerBits
from .layout import layouts
from .mapped import TimeOfNest, mapped_run, parts_of
from .run import LayerRun

Bits = Mapping[Gemm, LayerBits]
Required = tuple[Mapping[str, float], float]
"""DRAM bits per clock that layers need, by name, and the whole plan."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """A way to time a plan.

    Attributes
    ----------
    time_of : callable
        Loads the function that times a layer alone on the chip.
    time_of_nest : callable
        Loads the function that times a product under its mapping.
    run_overlapped : callable, optional
        Runs a plan whose layers overlap; without it they run one by one.
    required : callable, optional
        Finds the DRAM bandwidth that a plan needs.
    also : mapping of str to tuple of str
        Searches whose mappings are timed too, by the mapper that takes the best of all: the search
        ranks by the formula, from which this rung's clocks differ.
    """

    name: str
    time_of: Callable[[], TimeOf]
    time_of_nest: Callable[[], TimeOfNest]
    run_overlapped: Callable[[Chip, Plan, Bits, str], tuple[LayerRun, ...]] | None = None
    required: Callable[[Chip, Plan, Bits, str], Required] | None = None
    also: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def overlaps(self, chip: Chip) -> bool:
        """Return whether a chip's layers overlap on this rung."""
        return self.run_overlapped is not None and chip.arch.execution.overlap_layers

    def run(self, chip: Chip, plan: Plan, bits: Bits, mapper: str) -> tuple[LayerRun, ...]:
        """Return a plan's layers; those whose instances differ have a row for each kind.

        Parameters
        ----------
        chip : Chip
        plan : Plan
        bits : mapping of Gemm to LayerBits
        mapper : str
            One of `mapping.mappers.NEST_MAPPERS` or `mapping.bitfusion.RULES`, or as in
            `sim.layout.lay_out`.
        """
        if mapper in NEST_MAPPERS:
            return tuple(
                self.mapped(chip, gemm, bits[gemm], mapper, count=count)
                for (gemm, _), count in layer_counts(plan).items()
            )
        if mapper in SPLITTING:
            return _run_split(self.name, chip, plan, bits, mapper)
        if self.run_overlapped is not None and self.overlaps(chip):
            return self.run_overlapped(chip, plan, bits, mapper)
        time_of = self.time_of()
        return tuple(
            fastest_run(gemm, layouts(chip, gemm, bits[gemm], mapper, kept), time_of, count=count)
            for (gemm, kept), count in layer_counts(plan).items()
        )

    def mapped(
        self,
        chip: Chip,
        gemm: Gemm,
        bits: LayerBits,
        mapper: str,
        kept: Kept = NOTHING,
        *,
        count: int = 1,
    ) -> LayerRun:
        """Return a layer under the mapping of its mapper, or of those beside it, that is best.

        Parameters
        ----------
        chip : Chip
        gemm : Gemm
        bits : LayerBits
        mapper : str
            One of `mapping.mappers.NEST_MAPPERS`.
        kept : Kept
            What stays on the chip around the layer.
        count : int
            How many instances are alike.
        """
        time_of_nest, chip = self.time_of_nest(), chip.split_for(bits.split)
        runs = (
            mapped_run(
                chip, gemm, parts_of(chip, gemm, bits, name, kept), time_of_nest, count=count
            )
            for name in (mapper, *self.also.get(mapper, ()))
        )
        rank, unit = NEST_MAPPERS[mapper].rank, chip.arch.vector_unit
        best = min(runs, key=lambda run: rank((run.cycles, run.energy_pj["total"])))
        scaled = bits.unit_work.cycles(gemm.macs, unit.lanes) if unit else 0
        return replace(best, scale_cycles=scaled) if scaled else best


def _run_split(rung: str, chip: Chip, plan: Plan, bits: Bits, mapper: str) -> tuple[LayerRun, ...]:
    if rung != "analytic":
        raise BitlatheError(f"mapper {mapper!r} is a closed form: use fidelity 'analytic'.")
    if chip.arch.execution.overlap_layers:
        raise BitlatheError(
            f"mapper {mapper!r} runs one layer after the other: leave execution.overlap_layers out."
        )
    from .bitfusion import run_layers

    return run_layers(chip, plan, bits, mapper)


def _analytic_time() -> TimeOf:
    from .analytic import time_of

    return time_of


def _cycle_time() -> TimeOf:
    from .cycle.layer import time_of

    return time_of


def _analytic_nest() -> TimeOfNest:
    from .analytic import time_of_nest

    return time_of_nest


def _cycle_nest() -> TimeOfNest:
    from .cycle.nest.time import time_of_nest

    return time_of_nest


def _run_overlapped(chip: Chip, plan: Plan, bits: Bits, mapper: str) -> tuple[LayerRun, ...]:
    from .cycle.model import run_overlapped

    return run_overlapped(chip, plan, bits, mapper)


def _required(chip: Chip, plan: Plan, bits: Bits, mapper: str) -> Required:
    if mapper in NEST_MAPPERS:
        from .nest_bandwidth import parts_bits_per_clock

        layers = [gemm for gemm, _ in layer_counts(plan)]
        needed = {
            gemm.name: parts_bits_per_clock(parts_of(chip, gemm, bits[gemm], mapper))
            for gemm in layers
        }
        return needed, max(needed.values())
    from .cycle.bandwidth import required_bits_per_clock

    return required_bits_per_clock(chip, plan, bits, mapper)


RUNGS = {
    rung.name: rung
    for rung in (
        Rung(name="analytic", time_of=_analytic_time, time_of_nest=_analytic_nest),
        Rung(
            name="cycle",
            time_of=_cycle_time,
            time_of_nest=_cycle_nest,
            run_overlapped=_run_overlapped,
            required=_required,
            also={"search-cycles": ("search",)},
        ),
    )
}
