"""Which groups of a run are fused: those that make it better in the mapper's objective.

Each group is told by what it adds to the run's clocks and energy, in the place of its layers and
its part of the step between them. For clocks, or energy, those that add less than nothing are
taken. For their product: of all choices the least product of two sums lies at a corner of what the
sums can reach, where for some weight w the groups are taken for which w clocks + (1 - w) energy is
below 0; all these corners are tried. What groups do to the steps behind them is not in their sums:
the choice is assembled, and each group tried anew beside it where there are few.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from ...datatypes.base.numbers import ceil_div
from ...mapping.best import Objective
from ...mapping.mappers import NEST_MAPPERS, ORDERS
from ...workloads.gemm import Gemm
from ...workloads.vector_step import VectorStep
from ..chip import Chip
from ..mapped import TimeOfNest
from ..run import LayerRun
from ..vector import with_vector
from .account import group_run
from .apart import least_run
from .chains import NO_BETTER, Bits
from .groups import Group, groups_of, kept_apart, left_of

Layers = tuple[LayerRun, ...]
Made = tuple[Group, LayerRun]
Total = tuple[int, float]
"""Clocks and energy."""
FEW = 16
"""Groups up to which each is tried anew beside the choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fusion:
    """A run whose layers are fused where it is better so.

    Attributes
    ----------
    layers : tuple of LayerRun
        All of the run, those of the vector unit among them.
    reasons : dict of str to str
        Of the groups that are left apart, by name, why.
    made : tuple of (tuple of Gemm, LayerRun)
        The groups that are fused: their products, and what stands in the place of these.
    steps_beside : callable
        The steps of the vector unit that are left beside some of ``made``, by their places.
    """

    layers: Layers
    reasons: dict[str, str]
    made: tuple[tuple[tuple[Gemm, ...], LayerRun], ...]
    steps_beside: Callable[[Iterable[int]], Sequence[VectorStep]]


def with_fusion(
    chip: Chip,
    steps: Sequence[VectorStep],
    counts: Mapping[Gemm, int],
    alone: Callable[[Gemm], LayerRun],
    bits: Bits,
    mapper: str,
    time_of_nest: TimeOfNest,
    edges: Sequence[tuple[str, str]] = (),
) -> Fusion:
    """Return a run's layers, those of the vector unit among them, fused where the run is better.

    Parameters
    ----------
    chip : Chip
        One that has a vector unit.
    steps : sequence of VectorStep
        What stands between products.
    counts : mapping of Gemm to int
        The products in the order of execution, and how many instances are alike.
    alone : callable
        The cost of a product alone: not asked for where attention is surely better fused.
    bits : mapping of Gemm to LayerBits
    mapper : str
        A search of `NEST_MAPPERS`.
    time_of_nest : callable
        The rung's time of a product under its mapping.
    edges : sequence of (str, str)
        Names of a product and of one that reads its results.
    """
    groups = tuple(groups_of(counts, steps, edges))
    kept = cache(alone)

    def fused(floors: Mapping[Gemm, LayerRun]) -> Fusion | None:
        layers = {gemm: floors[gemm] if gemm in floors else kept(gemm) for gemm in counts}
        sure = frozenset(i for i, group in enumerate(groups) if group.out in floors)
        return _fused(chip, steps, layers, bits, mapper, time_of_nest, groups, sure)

    floors = _floors(chip, groups, counts, bits)
    found = (fused(floors) if floors else None) or fused({})
    assert found is not None, "without floors nothing is unsure"
    for group, why in kept_apart(counts, steps, edges):
        found.reasons.setdefault(group.name, why)
    return found


def _floors(
    chip: Chip, groups: Iterable[Group], counts: Mapping[Gemm, int], bits: Bits
) -> dict[Gemm, LayerRun]:
    """Return what the layers of attention take at least alone, where that is known of all.

    With as many instances as the step between them: its clocks are then whole ones of theirs, and
    no less where theirs are more.
    """
    found = dict[Gemm, LayerRun]()
    for group in groups:
        if group.attends and all(counts[gemm] == group.step.count for gemm in group.gemms):
            least = [least_run(chip, gemm, bits[gemm], counts[gemm]) for gemm in group.gemms]
            if None not in least:
                found |= {gemm: run for gemm, run in zip(group.gemms, least, strict=True) if run}
    return found


def _fused(
    chip: Chip,
    steps: Sequence[VectorStep],
    layers: Mapping[Gemm, LayerRun],
    bits: Bits,
    mapper: str,
    time_of_nest: TimeOfNest,
    groups: Sequence[Group],
    sure: frozenset[int],
) -> Fusion | None:
    """Return the layers of a run, as `with_fusion`.

    ``sure``: places of groups of whose layers alone floors are given. If the run may depend on
    them, None.
    """
    objective = NEST_MAPPERS[mapper].objective
    apart = assembled(chip, steps, layers, ())
    made, reasons, tried = list[Made](), dict[str, str](), 0
    certain = set[int]()
    for i, group in enumerate(groups):
        cycles, pj = _apart(group, layers, apart)
        each = cycles / group.count + 1, pj / group.count  # a step's part is rounded to clocks
        known = None if i in sure else each
        found = group_run(chip, group, bits, objective, time_of_nest, known)
        tried += found == NO_BETTER or not isinstance(found, str)
        if not isinstance(found, str):
            certain |= {len(made)} if i in sure else set()
            made.append((group, found))
        elif i in sure:
            return None
        else:
            reasons.setdefault(group.name, found)
    gains = [_gain(each, layers, apart) for each in made]
    if any(max(gains[i]) > 0 for i in certain):
        return None
    best = chosen(
        made,
        gains,
        lambda some: assembled(chip, steps, layers, some) if some else apart,
        objective,
        anew=tried <= FEW,
        certain=frozenset(certain),
    )
    if best is None:
        return None
    taken = [each for each in made if any(layer is each[1] for layer in best)]
    for group, _ in made:
        if not any(group is each for each, _ in taken):
            reasons.setdefault(group.name, NO_BETTER)
    return Fusion(
        layers=best,
        reasons=reasons,
        made=tuple((group.gemms, run) for group, run in taken),
        steps_beside=lambda some: steps_left(steps, [taken[i][0] for i in some]),
    )


def steps_left(steps: Iterable[VectorStep], groups: Iterable[Group]) -> list[VectorStep]:
    """Return the steps of a run beside some groups, which take their parts of them."""
    by_step: dict[VectorStep, list[Group]] = {}
    for group in groups:
        by_step.setdefault(group.step, []).append(group)
    left = (left_of(step, by_step.get(step, ())) for step in steps)
    return [step for step in left if step is not None]


def chosen(
    made: Sequence[Made],
    gains: Sequence[Total],
    layers_of: Callable[[Sequence[Made]], Layers],
    objective: Objective,
    *,
    anew: bool = True,
    certain: frozenset[int] = frozenset(),
) -> Layers | None:
    """Return a run's layers with those groups fused that make it better, never worse than none.

    Parameters
    ----------
    made : sequence of (Group, LayerRun)
    gains : sequence of (int, float)
        Clocks and energy that each adds to the run, nearly: below 0 where it is better.
    layers_of : callable
        The run's layers with some groups fused.
    objective : {"cycles", "energy", "edp"}
        What is less in a better run.
    anew : bool
        Whether each group is tried anew beside the choice, where there are few.
    certain : frozenset of int
        Places of groups of whose layers apart floors are known: None is returned where the choice
        would be another with more than the floors.
    """
    rank = ORDERS[objective]

    def tried(some: frozenset[int]) -> tuple[tuple[float, float], Layers]:
        layers = layers_of([made[i] for i in sorted(some)])
        return rank(*total_of(layers)), layers

    taken = frozenset[int]()
    least, best = tried(taken)
    some = choice(gains, total_of(best), objective)
    if some:
        at, layers = tried(some)
        if at < least:
            taken, least, best = some, at, layers
    if not certain <= taken:
        return None
    for i in range(len(made)) if anew and len(made) <= FEW else ():
        at, layers = tried(taken ^ {i})
        if at < least and i in certain:
            return None
        if at < least:
            taken, least, best = taken ^ {i}, at, layers
    return best


def choice(gains: Sequence[Total], base: Total, objective: Objective) -> frozenset[int]:
    """Return the places of the groups whose gains, added to a run's totals, make it best.

    Parameters
    ----------
    gains : sequence of (int, float)
        Clocks and energy that each group adds.
    base : (int, float)
        Those of the run without them.
    objective : {"cycles", "energy", "edp"}
        What is least.
    """
    rank = ORDERS[objective]
    if objective != "edp":
        return frozenset(i for i, gain in enumerate(gains) if rank(*gain) < (0, 0))
    trades = [i for i, (cycles, pj) in enumerate(gains) if cycles * pj < 0]

    def turn(i: int) -> float:
        cycles, pj = (abs(each) for each in gains[i])
        return pj / (pj + cycles)  # the weight of clocks at which it gains nothing

    # weight 0: what saves energy, or clocks where it takes no more energy
    some = {i for i, (cycles, pj) in enumerate(gains) if (pj, cycles) < (0, 0)}
    corners = [frozenset(some)]
    for i in sorted(trades, key=turn):
        some ^= {i}
        corners.append(frozenset(some))
    return min(corners, key=lambda each: rank(*summed_totals(base, [gains[i] for i in each])))


def summed_totals(base: Total, gains: Iterable[Total]) -> Total:
    """Return clocks and energy with what some groups add."""
    some = [base, *gains]
    return sum(cycles for cycles, _ in some), math.fsum(pj for _, pj in some)


def _gain(each: Made, layers: Mapping[Gemm, LayerRun], apart: Layers) -> Total:
    """Return what a group adds to the run in which all layers are apart."""
    group, run = each
    cycles, pj = _apart(group, layers, apart)
    return run.cycles * run.count - cycles, run.energy_pj["total"] * run.count - pj


def _apart(group: Group, layers: Mapping[Gemm, LayerRun], apart: Layers) -> Total:
    """Return what the layers of a group take apart, with its part of the step between them."""
    step = group.step
    gone = [(layers[gemm], gemm.count) for gemm in group.gemms]
    share = group.count * group.rows / (step.count * step.rows)
    alike = (step.name, step.rows, ceil_div(step.elements, step.rows), step.count)
    unit = (one for one in apart if (one.name, one.m, one.n, one.count) == alike)
    found = next(unit)
    cycles = sum(one.cycles * count for one, count in gone)
    pj = math.fsum(one.energy_pj["total"] * count for one, count in gone)
    return (
        cycles + round(found.cycles * step.count * share),
        pj + found.energy_pj["total"] * step.count * share,
    )


def total_of(layers: Iterable[LayerRun]) -> Total:
    """Return the clocks and the energy of a run's layers."""
    some = list(layers)
    cycles = sum(layer.cycles * layer.count for layer in some)
    return cycles, math.fsum(layer.energy_pj["total"] * layer.count for layer in some)


def assembled(
    chip: Chip,
    steps: Sequence[VectorStep],
    layers: Mapping[Gemm, LayerRun],
    fused: Sequence[Made],
) -> Layers:
    """Return a run's layers with some groups in the place of theirs, and the other steps.

    Parameters
    ----------
    chip : Chip
    steps : sequence of VectorStep
    layers : mapping of Gemm to LayerRun
    fused : sequence of (Group, LayerRun)
    """
    instead = {group.into[0]: run for group, run in fused}
    gone = {gemm for group, _ in fused for gemm in group.gemms[1:]}
    runs = [instead.get(gemm, run) for gemm, run in layers.items() if gemm not in gone]
    return with_vector(chip, steps_left(steps, [group for group, _ in fused]), runs)
