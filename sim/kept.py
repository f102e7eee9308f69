"""Which results stay on the chip between searched layers, where a run is better so.

Results may stay where nothing but the layers that read them works on them, or steps of the vector
unit that take all of them and leave in their place what is read, element by element or row by row:
between convolutions, through norms and residual sums, gate and up and down. They do not where what
stands between the layers moves elements, as a roll or a transpose of a traced network, where a step
makes more of them, or where others of them are read besides (`without_a_place`). The stream that
layers add to has no room: it is stored where it is made, and read from DRAM by the next sum.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import partial

from ..datatypes.base.errors import BitlatheError
from ..mapping.keep import NOTHING, Kept, Plan, keep_where_better, layer_counts, nothing_kept
from ..mapping.mappers import NEST_MAPPERS
from ..mapping.staying import room_bytes
from ..workloads.gemm import Gemm
from ..workloads.order import Order, Step, steps_of
from ..workloads.shares import Read
from ..workloads.vector_step import VectorStep
from .chip import Chip
from .fused.choose import FEW, Fusion
from .layer_bits import LayerBits
from .run import LayerRun
from .rung import Rung
from .vector import with_vector

STAY_INSTEAD = "results stay on the chip between layers instead, and the run is better."


@dataclass(frozen=True, slots=True, kw_only=True)
class Between:
    """What stands between layers: steps, and names of layers whose results may not stay."""

    steps: Sequence[VectorStep]
    moved: Set[str] = frozenset()


RunOf = Callable[[Gemm, Kept], LayerRun]
"""A layer's cost with what stays around it; raises where it has not the room."""


def kept_plan(
    order: Order,
    bits: Mapping[Gemm, LayerBits],
    between: Between,
    run_of: RunOf,
    mapper: str,
    fused: Set[Gemm] = frozenset(),
) -> tuple[Plan, RunOf]:
    """Return an order of execution with the results that stay, and the layers' costs as found.

    Parameters
    ----------
    order : Order
        The layers in the order of execution.
    bits : mapping of Gemm to LayerBits
    between : Between
    run_of : callable
        A layer's cost on the rung that runs.
    mapper : str
        A search of `NEST_MAPPERS`.
    fused : set of Gemm
        Layers that are fused: beside these nothing stays, of theirs or of others.
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
        if gemm in fused:
            return None if kept.kept_bytes else (0, 0.0)
        made = run(gemm, kept)
        return None if made is None else (made.cycles, made.energy_pj["total"])

    def known(gemm: Gemm, kept: Kept) -> LayerRun:
        made = run(gemm, kept)
        assert made is not None
        return made

    def room_of(makers: tuple[Step, ...], reader: Step) -> int | None:
        gemms = [each.gemm for each in makers]
        return None if fused & {*gemms, reader.gemm} else _room_of(gemms, reader, bits, between)

    return keep_where_better(order, room_of, cost_of, NEST_MAPPERS[mapper].rank), known


def with_kept(
    chip: Chip,
    order: Order,
    bits: Mapping[Gemm, LayerBits],
    between: Between,
    rung: Rung,
    mapper: str,
    without: tuple[LayerRun, ...],
    fusion: Fusion | None = None,
) -> tuple[LayerRun, ...]:
    """Return a run's layers with results that stay, or without where that is not better.

    Results stay between layers that are not fused; all those that are fused, all but one of them,
    or none, are tried with what then stays.

    Parameters
    ----------
    chip : Chip
    order : Order
        The layers in the order of execution.
    bits : mapping of Gemm to LayerBits
    between : Between
    rung : Rung
        It times the layers.
    mapper : str
        A search of `NEST_MAPPERS`.
    without : tuple of LayerRun
        The run's layers without results that stay.
    fusion : Fusion, optional
        How these are fused.

    Returns
    -------
    tuple of LayerRun
        ``without`` itself, or better ones: with no more clocks and energy than without what stays.
    """
    costs: dict[tuple[Gemm, Kept], LayerRun] = {}

    def run_of(gemm: Gemm, kept: Kept) -> LayerRun:
        if (gemm, kept) not in costs:
            costs[gemm, kept] = rung.mapped(chip, gemm, bits[gemm], mapper, kept)
        return costs[gemm, kept]

    made = fusion.made if fusion is not None and _are_in(fusion, order) else ()
    rank, best = NEST_MAPPERS[mapper].rank, without
    for some in _choices(len(made)):
        instead = {_one(gemm): run for i in some for gemm, run in _in_place(*made[i])}
        plan, known = kept_plan(order, bits, between, run_of, mapper, fused=instead.keys())
        if not any(kept.kept_bytes for _, kept in layer_counts(plan)):
            continue
        beside = between.steps if fusion is None or not some else fusion.steps_beside(some)
        found = [
            _assembled(chip, each, instead, known, beside) for each in (plan, nothing_kept(order))
        ]
        now, base = map(_total, found)
        if now[0] <= base[0] and now[1] <= base[1] and rank(now) < rank(_total(best)):
            best = found[0]
    return best


def _assembled(
    chip: Chip,
    plan: Plan,
    instead: Mapping[Gemm, LayerRun | None],
    known: RunOf,
    steps: Sequence[VectorStep],
) -> tuple[LayerRun, ...]:
    """Return the layers of a plan, with groups in the place of theirs, and the steps between."""
    layers = tuple(
        run
        for (gemm, kept), count in layer_counts(plan).items()
        for run in _of_layer(gemm, instead, partial(known, gemm, kept), count)
    )
    return layers if chip.arch.vector_unit is None else with_vector(chip, steps, layers)


def _choices(many: int) -> list[tuple[int, ...]]:
    """Return which of some groups are tried together: all, all but one, none; each once."""
    every = tuple(range(many))
    but_one = [every[:i] + every[i + 1 :] for i in every] if many <= FEW else []
    return list(dict.fromkeys([every, *but_one, ()]))


def _are_in(fusion: Fusion, order: Order) -> bool:
    """Return whether the products that are fused are those of an order, by the same names."""
    known = {step.gemm for step in steps_of(order)}
    return all(_one(gemm) in known for gemms, _ in fusion.made for gemm in gemms)


def _in_place(gemms: Sequence[Gemm], run: LayerRun) -> Iterator[tuple[Gemm, LayerRun | None]]:
    """Yield what stands in the place of each product of a group: of the first, all of it."""
    for i, gemm in enumerate(gemms):
        yield gemm, None if i else run


def _of_layer(
    gemm: Gemm,
    instead: Mapping[Gemm, LayerRun | None],
    alone: Callable[[], LayerRun],
    count: int,
) -> Iterator[LayerRun]:
    """Yield a layer of a run, or the group that begins with it."""
    if gemm not in instead:
        yield replace(alone(), count=count)
        return
    run = instead[gemm]
    if run is not None:
        yield run


def _one(gemm: Gemm) -> Gemm:
    return replace(gemm, count=1)


def _total(layers: Sequence[LayerRun]) -> tuple[int, float]:
    cycles = sum(layer.cycles * layer.count for layer in layers)
    return cycles, math.fsum(layer.energy_pj["total"] * layer.count for layer in layers)


def _room_of(
    makers: Sequence[Gemm],
    reader: Step,
    bits: Mapping[Gemm, LayerBits],
    between: Between,
) -> int | None:
    """Return the bytes of the results of each maker; None where they may not stay for a reader."""
    names, read = {maker.name for maker in makers}, Read(reader.gemm, "input").elements
    if not reader.direct or names & between.moved:
        return None
    behind = [step for step in between.steps if names & set(step.after)]
    working = [step for step in behind if not step.streams or step.reads or step.writes]
    if len(names) > 1 and not working:
        return None
    if any(set(step.after) != names or _has_state(step) for step in working):
        return None
    if any(maker.causal for maker in (*makers, reader.gemm)):
        return None
    left = {each.elements for step in working for each in step.writes}  # by a norm of some rows
    made = max(maker.m * maker.n * maker.batch for maker in makers)
    if any(maker.m * maker.n * maker.batch != made for maker in makers) or (
        read != made and read not in left
    ):
        return None
    each = max(bits[maker].output for maker in makers)
    return room_bytes(made, Fraction(max(each, bits[reader.gemm].input)))


def _has_state(step: VectorStep) -> bool:
    return any(each.kept for each in (*step.reads, *step.writes))
