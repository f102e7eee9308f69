"""Which results stay on the chip between searched layers, where a run is better so.

Results may stay where nothing but the layers that read them works on them, or a step of the vector
unit that takes them as they come, element by element, and whose results are what is read: between
convolutions, gate and up and down, but not where a residual sum or a norm reads or leaves more, nor
where what stands between the layers moves elements, as a roll or a transpose of a traced network.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

from ..datatypes.base.errors import BitlatheError
from ..mapping.keep import NOTHING, Kept, Plan, keep_where_better, layer_counts
from ..mapping.mappers import NEST_MAPPERS
from ..mapping.staying import room_bytes
from ..workloads.gemm import Gemm
from ..workloads.order import Order, Step
from ..workloads.vector_step import OPERATIONS, QUANTIZE, VectorStep
from .chip import Chip
from .layer_bits import LayerBits
from .run import LayerRun
from .rung import Rung
from .vector import with_vector

STAY_INSTEAD = "results stay on the chip between its layers instead, and the run is better."
RunOf = Callable[[Gemm, Kept], LayerRun]
"""A layer's cost with what stays around it; raises where it has not the room."""


def kept_plan(
    order: Order,
    bits: Mapping[Gemm, LayerBits],
    steps: Sequence[VectorStep],
    run_of: RunOf,
    mapper: str,
) -> tuple[Plan, RunOf]:
    """Return an order of execution with the results that stay, and the layers' costs as found.

    Parameters
    ----------
    order : Order
        The layers in the order of execution.
    bits : mapping of Gemm to LayerBits
    steps : sequence of VectorStep
        What stands between the layers.
    run_of : callable
        A layer's cost on the rung that runs.
    mapper : str
        A search of `NEST_MAPPERS`.
    """
    found: dict[tuple[Gemm, Kept], LayerRun | None] = {}

    def run(gemm: Gemm, kept: Kept) -> LayerRun | None:
        if (gemm, kept) not in found:
            try:
                found[gemm, kept] = run_of(gemm, kept)
            except BitlatheError:
                if kept == NOTHING:
                    raise
                found[gemm, kept] = None  # no room beside what stays
        return found[gemm, kept]

    def cost_of(gemm: Gemm, kept: Kept) -> tuple[int, float] | None:
        made = run(gemm, kept)
        return None if made is None else (made.cycles, made.energy_pj["total"])

    def known(gemm: Gemm, kept: Kept) -> LayerRun:
        made = run(gemm, kept)
        assert made is not None
        return made

    def room_of(makers: tuple[Step, ...], reader: Step) -> int | None:
        return _room_of([each.gemm for each in makers], reader, bits, steps)

    return keep_where_better(order, room_of, cost_of, NEST_MAPPERS[mapper].rank), known


def with_kept(
    chip: Chip,
    order: Order,
    bits: Mapping[Gemm, LayerBits],
    steps: Sequence[VectorStep],
    rung: Rung,
    mapper: str,
    apart: tuple[LayerRun, ...],
) -> tuple[LayerRun, ...]:
    """Return a run's layers with results that stay, or without where that is not better.

    Parameters
    ----------
    chip : Chip
    order : Order
        The layers in the order of execution.
    bits : mapping of Gemm to LayerBits
    steps : sequence of VectorStep
        What stands between the layers.
    rung : Rung
        It times the layers.
    mapper : str
        A search of `NEST_MAPPERS`.
    apart : tuple of LayerRun
        The run's layers without results that stay.

    Returns
    -------
    tuple of LayerRun
        ``apart`` itself, or others with fewer clocks or less energy, and no more of either.
    """

    def run_of(gemm: Gemm, kept: Kept) -> LayerRun:
        return rung.mapped(chip, gemm, bits[gemm], mapper, kept)

    plan, known = kept_plan(order, bits, steps, run_of, mapper)
    if not any(kept.kept_bytes for _, kept in layer_counts(plan)):
        return apart
    counts = layer_counts(plan).items()
    layers: Sequence[LayerRun] = [
        replace(known(gemm, kept), count=count) for (gemm, kept), count in counts
    ]
    if chip.arch.vector_unit is not None:
        layers = with_vector(chip, steps, layers)
    before, after = _total(apart), _total(layers)
    rank = NEST_MAPPERS[mapper].rank
    better = after[0] <= before[0] and after[1] <= before[1] and rank(after) < rank(before)
    return tuple(layers) if better else apart


def _total(layers: Sequence[LayerRun]) -> tuple[int, float]:
    cycles = sum(layer.cycles * layer.count for layer in layers)
    return cycles, math.fsum(layer.energy_pj["total"] * layer.count for layer in layers)


def _room_of(
    makers: Sequence[Gemm],
    reader: Step,
    bits: Mapping[Gemm, LayerBits],
    steps: Sequence[VectorStep],
) -> int | None:
    """Return the bytes of the results of each maker, if what reads them takes them as they are."""
    if not reader.direct:
        return None
    names, read = {maker.name for maker in makers}, read_elements(reader.gemm)
    working = [step for step in steps if names & set(step.after)]
    if any(not _streams(step, names) for step in working) or (len(names) > 1 and not working):
        return None
    if any(maker.causal for maker in (*makers, reader.gemm)) or any(
        maker.conv is None and maker.batch > 1 for maker in (*makers, reader.gemm)
    ):
        return None
    if any(maker.m * maker.n * maker.batch != read for maker in makers):
        return None
    made = max(bits[maker].output for maker in makers)
    return room_bytes(read, Fraction(max(made, bits[reader.gemm].input)))


def _streams(step: VectorStep, names: set[str]) -> bool:
    """Return whether a step takes some results as they come, each element alone, and no others."""
    each = [OPERATIONS[name] for name in step.operations if name != QUANTIZE]  # in groups, as come
    return (
        step.streams
        and set(step.after) == names
        and not step.writes
        and not any(work.row_adds or work.row_multiplies or work.row_specials for work in each)
        and all(made.elements == step.elements for made in step.makes)
        and sum(read.elements for read in step.reads) == step.elements * (len(names) - 1)
    )


def read_elements(gemm: Gemm) -> int:
    """Return the elements of a layer's inputs as another layer leaves them, read or not."""
    if gemm.conv is None:
        return gemm.m * gemm.k * gemm.batch
    return gemm.sequences * gemm.conv.in_channels * gemm.conv.size[0] * gemm.conv.size[1]
