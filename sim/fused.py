"""Attention fused on the chip: scores, softmax and mix as one group, where that is better.

Under a search, on chips with a vector unit: the group's blocks, its time on the rung that runs, and
its account. Layers stay apart where the run is no worse so (`chosen`).
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

from ..arch.hierarchy import OPERANDS, Hierarchy
from ..datatypes.base.errors import BitlatheError
from ..mapping.best import Objective
from ..mapping.fused.blocks import Blocks
from ..mapping.fused.chain import SOFTMAX, Chain, Lanes, Mask, Steps
from ..mapping.fused.cost import FusedCost, cost_of
from ..mapping.fused.demand import demand
from ..mapping.fused.kept_results import best_fusion, kept_walk
from ..mapping.fused.near import NearChip, near_chip, why_not
from ..mapping.fused.products import Asked, BlockProduct, block_product
from ..mapping.fused.search import BestFusion
from ..mapping.mappers import NEST_MAPPERS, ORDERS
from ..workloads.gemm import Gemm
from ..workloads.vector_step import OPERATIONS, QUANTIZE, VectorStep
from .chip import Chip
from .energy import timed_energy_pj
from .layer_bits import LayerBits
from .mapped import NestTime, Part, TimeOfNest, nest_bits, nest_hierarchy, plain, whole_stalls
from .policy import formats_of
from .run import STALL_CAUSES, LayerRun, with_total
from .vector import VECTOR, group_size, with_vector

Layers = tuple[LayerRun, ...]
Bits = Mapping[Gemm, LayerBits]
ONE_BY_ONE = 16
"""Groups that are tried one by one; more are fused all, or none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Layers that may be fused: products that follow each other, and the step between them."""

    scores: Gemm
    mix: Gemm
    softmax: VectorStep

    @property
    def name(self) -> str:
        """Name of the group: of its products, the first word once where they share it."""
        first, second = self.scores.name, self.mix.name
        shared = f"{first.split('_')[0]}_"
        return f"{first}+{second.removeprefix(shared)}"

    @property
    def names(self) -> tuple[str, str, str]:
        """Names of its layers, in the order of execution."""
        return self.scores.name, self.softmax.name, self.mix.name


def groups_of(gemms: Iterable[Gemm], steps: Sequence[VectorStep]) -> Iterator[Group]:
    """Yield the attention of a pass: scores and their mix with the softmax between them.

    Parameters
    ----------
    gemms : iterable of Gemm
        Products in the order of execution.
    steps : sequence of VectorStep
        What stands between them. A softmax that does more than that, and products that another
        step works on, are left alone.
    """
    products = list(gemms)
    left = Counter({step: step.count for step in steps})
    others = {name for step in steps for name in step.after if not _is_softmax(step)}
    for i, scores in enumerate(products):
        if scores.role != "scores" or scores.name in others:
            continue
        mix = next((each for each in products[i + 1 :] if _mixes(scores, each)), None)
        softmax = next((step for step in left if _follows(step, scores)), None)
        if mix is None or mix.name in others or softmax is None or left[softmax] < scores.count:
            continue
        products[products.index(mix, i + 1)] = scores  # no other scores' mix
        left[softmax] -= scores.count
        yield Group(scores=scores, mix=mix, softmax=softmax)


def _is_softmax(step: VectorStep) -> bool:
    return step.operations == ("softmax",) and len(step.after) == 1


def _follows(step: VectorStep, scores: Gemm) -> bool:
    elements = scores.macs // scores.k
    same = (step.after, step.rows, step.elements)
    return _is_softmax(step) and same == ((scores.name,), scores.m * scores.batch, elements)


def _mixes(scores: Gemm, mix: Gemm) -> bool:
    """Return whether a product takes the results of some scores, mask and all."""
    of_mask = ("rows_per_token", "visible_before", "window", "batch", "count", "m")
    return (
        mix.role == "mix"
        and mix.k == scores.n
        and (mix.causal is None) == (scores.causal is None)
        and all(getattr(mix, name) == getattr(scores, name) for name in of_mask)
    )


def lanes_of(chip: Chip) -> Lanes:
    """Return a chip's vector unit as chains find it."""
    unit, factor = chip.vector, chip.arch.accounting.layout_factor
    lane = unit.lane(chip.arch.technology.node_nm)
    return Lanes(
        lanes=unit.lanes,
        special_cycles=lane.special_cycles,
        add_pj=factor * lane.add_pj,
        multiply_pj=factor * lane.multiply_pj,
        special_pj=factor * lane.special_pj,
        overlap=unit.overlap,
    )


def softmax_steps(chip: Chip, width: int) -> Steps:
    """Return the steps of a softmax whose results the second product takes as its inputs.

    Parameters
    ----------
    chip : Chip
    width : int
        Elements of a row.
    """
    formats = formats_of(chip.arch, "attention")
    if formats.input.label == formats.output.label:
        return SOFTMAX
    group = group_size(formats.input, width)
    return SOFTMAX._replace(quantize=OPERATIONS[QUANTIZE], group=0 if group == width else group)


def chain_of(chip: Chip, group: Group, bits: Bits, hierarchy: Hierarchy) -> Chain:
    """Return a group as a chain on a chip, with the stored bits and clocks of its products.

    Parameters
    ----------
    chip : Chip
    group : Group
    bits : mapping of Gemm to LayerBits
    hierarchy : Hierarchy
        The chip's memories.
    """
    scores, mix = group.scores, group.mix
    first, second = (nest_bits(chip, each, bits[each]) for each in (scores, mix))
    units = [nest_hierarchy(chip, each, bits[each], hierarchy).unit_pj for each in (scores, mix)]
    mask = None
    if scores.causal is not None:
        mask = Mask(
            rows_per_token=scores.rows_per_token,
            before=scores.visible_before,
            window=scores.window,
        )
    return Chain(
        m=scores.m,
        middle=scores.n,
        out=mix.n,
        inner=scores.k,
        instances=scores.batch,
        first=first,
        second=second,
        first_pj=units[0],
        second_pj=units[1],
        steps=softmax_steps(chip, scores.n),
        mask=mask,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fused:
    """A group's chain on a chip under its best tiling."""

    chain: Chain
    near: NearChip
    lanes: Lanes
    best: BestFusion


def best_of(chip: Chip, group: Group, bits: Bits, objective: Objective) -> Fused | None:
    """Return a group under its best tiling over a chip's dataflows; None where none fits.

    Parameters
    ----------
    chip : Chip
    group : Group
    bits : mapping of Gemm to LayerBits
    objective : {"cycles", "energy", "edp"}
        What is least.
    """
    lanes, found = lanes_of(chip), list[Fused]()
    for hierarchy in chip.hierarchies:
        if why_not(hierarchy) is not None:
            continue
        chain, near = chain_of(chip, group, bits, hierarchy), near_chip(hierarchy)
        try:
            best = best_fusion(chain, near, lanes, objective)
        except BitlatheError:  # too small for the least blocks, or for a product's least tiles
            continue
        found.append(Fused(chain=chain, near=near, lanes=lanes, best=best))
    rank = ORDERS[objective]
    return min(
        found,
        key=lambda each: rank(each.best.cost.cycles, each.best.cost.total_pj),
        default=None,
    )


def group_run(
    chip: Chip, group: Group, bits: Bits, objective: Objective, time_of_nest: TimeOfNest
) -> LayerRun | None:
    """Return the cost of a group on a chip; None where its least blocks do not fit.

    Parameters
    ----------
    chip : Chip
    group : Group
    bits : mapping of Gemm to LayerBits
    objective : {"cycles", "energy", "edp"}
        What its tiling makes least.
    time_of_nest : callable
        The rung's time of a product under its mapping: of each block's.
    """
    fused = best_of(chip, group, bits, objective)
    if fused is None:
        return None
    chain, near, found = fused.chain, fused.near, fused.best.found
    blocks = Blocks.of(chain, found.tiling.rows, found.tiling.columns)
    parts, times = dict[Asked, Part](), dict[Asked, NestTime]()
    runs: Counter[Asked] = Counter()

    def product(asked: Asked) -> BlockProduct:
        best = found.products[asked]
        parts[asked] = Part(
            loops=asked.loops(chain),
            bits=asked.bits(chain),
            hierarchy=asked.chip(chain, near),
            best=best,
            times=1,
        )
        times[asked] = time_of_nest(parts[asked])
        return block_product(best, near, times[asked].cycles)

    held = found.tiling.held > 0
    asked = demand(chain, blocks, near, fused.lanes, product, held=held)
    for kind, many in asked.counts.items():
        rows, columns = blocks.rows[kind.rows], blocks.columns[kind.columns]
        for each in Asked.both(rows, columns, alone=kind.alone):
            runs[each] += many * chain.instances
    cost = cost_of(chain, found.tiling, near, asked, kept_walk)
    nests = [(replace(parts[each], times=many), times[each]) for each, many in runs.items()]
    return _layer_run(chip, group, fused, cost, bits, nests)


def _layer_run(
    chip: Chip,
    group: Group,
    fused: Fused,
    cost: FusedCost,
    bits: Bits,
    nests: Sequence[tuple[Part, NestTime]],
) -> LayerRun:
    scores, mix = group.scores, group.mix
    compute, near = math.ceil(cost.compute_cycles), fused.near
    found, cycles = fused.best.found, cost.cycles
    peak = chip.arch.phase_pes * chip.arch.pe.lanes
    work = sum(each.macs * nest_bits(chip, each, bits[each]).step_cycles for each in (scores, mix))
    outermost = near.outermost.name
    return LayerRun(
        name=group.name,
        count=scores.count,
        m=scores.m,
        n=scores.n,
        k=scores.k,
        batch=scores.batch,
        compute_cycles=compute,
        dram_cycles=cost.busy_cycles[outermost],
        stall_cycles=cycles - compute,
        cycles=cycles,
        utilization=float(work / (peak * cycles)),
        dram_bits={operand: math.ceil(cost.outer_bits[operand]) for operand in OPERANDS},
        sram_accesses=_sram_accesses(near, cost),
        energy_pj=_energy_pj(chip, cost),
        stalls=_stalls(cost, nests, cycles - compute),
        binds=max(cost.busy_cycles, key=lambda name: cost.busy_cycles[name]),
        busy_cycles=dict(cost.busy_cycles),
        mapping=tuple(plain(part, time) for part, time in nests),
        fused={
            "layers": list(group.names),
            "macs": scores.macs + mix.macs,
            "dense_macs": sum(each.m * each.n * each.k * each.batch for each in (scores, mix)),
            "tiling": found.tiling.to_dict(),
            "tilings": found.tilings,
            "tilings_costed": found.tilings_costed,
            "lower_bound_cycles": cost.lower_bound_cycles,
            "search_seconds": found.search_seconds,
        },
    )


def _sram_accesses(near: NearChip, cost: FusedCost) -> dict[str, int]:
    """Return the accesses of the memories on the chip; registers left out."""
    found: dict[str, int] = {}
    for memory in near.whole.memories[1:]:
        if memory.words is None:
            for i, way in enumerate(("read", "write")):
                found[f"{memory.name}_{way}"] = sum(
                    each[i] for at, each in cost.accesses.items() if at.memory == memory.name
                )
    return found


def _energy_pj(chip: Chip, cost: FusedCost) -> dict[str, float]:
    parts = {
        "pe": cost.energy_pj["array"],
        **{name: cost.energy_pj[name] for name in ("sram_read", "sram_write", "dram", VECTOR)},
    }
    return with_total({**parts, **timed_energy_pj(chip, cost.cycles)})


def _stalls(
    cost: FusedCost, nests: Sequence[tuple[Part, NestTime]], total: int
) -> dict[str, int] | None:
    """Return the clocks of waits by cause: within products, between them, for a port beside."""
    found = dict.fromkeys((*STALL_CAUSES, VECTOR), Fraction(0))
    for part, time in nests:
        if time.stalls is None:
            return None
        for cause, clocks in time.stalls.items():
            found[cause] += clocks * part.times
    for cause, waited in zip(("weights", "inputs", VECTOR, "outputs"), cost.waits, strict=True):
        found[cause] += waited
    found["bandwidth"] += total - math.floor(sum(found.values()))
    return whole_stalls(found, total)


def with_fusion(
    chip: Chip,
    steps: Sequence[VectorStep],
    layers: Mapping[Gemm, LayerRun],
    bits: Bits,
    mapper: str,
    time_of_nest: TimeOfNest,
) -> Layers:
    """Return a run's layers, those of the vector unit among them, fused where the run is better.

    Parameters
    ----------
    chip : Chip
        One that has a vector unit.
    steps : sequence of VectorStep
        What stands between products.
    layers : mapping of Gemm to LayerRun
        The products, each alone, in the order of execution.
    bits : mapping of Gemm to LayerBits
    mapper : str
        A search of `NEST_MAPPERS`.
    time_of_nest : callable
        The rung's time of a product under its mapping.
    """
    objective = NEST_MAPPERS[mapper].objective
    made = [
        (group, run)
        for group in groups_of(layers, steps)
        if (run := group_run(chip, group, bits, objective, time_of_nest)) is not None
    ]
    return chosen(made, lambda some: assembled(chip, steps, layers, some), objective)


def chosen(
    made: Sequence[tuple[Group, LayerRun]],
    layers_of: Callable[[Sequence[tuple[Group, LayerRun]]], Layers],
    objective: Objective,
) -> Layers:
    """Return a run's layers with those groups fused that make it better, never worse than none.

    Each group is tried beside those that were taken; many all at once.

    Parameters
    ----------
    made : sequence of (Group, LayerRun)
    layers_of : callable
        The run's layers with some groups fused.
    objective : {"cycles", "energy", "edp"}
        What is less in a better run.
    """
    taken: list[tuple[Group, LayerRun]] = []
    best = layers_of(taken)
    least = _rank(best, objective)
    for some in [[each] for each in made] if len(made) <= ONE_BY_ONE else [made]:
        trial = layers_of([*taken, *some])
        at = _rank(trial, objective)
        if at < least:
            taken, best, least = [*taken, *some], trial, at
    return best


def _rank(layers: Layers, objective: Objective) -> tuple[float, float]:
    cycles = sum(layer.cycles * layer.count for layer in layers)
    energy_pj = math.fsum(layer.energy_pj["total"] * layer.count for layer in layers)
    return ORDERS[objective](cycles, energy_pj)


def assembled(
    chip: Chip,
    steps: Sequence[VectorStep],
    layers: Mapping[Gemm, LayerRun],
    fused: Sequence[tuple[Group, LayerRun]],
) -> Layers:
    """Return a run's layers with some groups in the place of theirs, and the other steps.

    Parameters
    ----------
    chip : Chip
    steps : sequence of VectorStep
    layers : mapping of Gemm to LayerRun
    fused : sequence of (Group, LayerRun)
    """
    instead = {group.scores: run for group, run in fused}
    gone = {group.mix for group, _ in fused}
    less = Counter({group.softmax: 0 for group, _ in fused})
    for group, _ in fused:
        less[group.softmax] += group.scores.count
    left = [replace(step, count=step.count - less[step]) for step in steps if _left(step, less)]
    runs = [instead.get(gemm, run) for gemm, run in layers.items() if gemm not in gone]
    return with_vector(chip, left, runs)


def _left(step: VectorStep, less: Counter[VectorStep]) -> bool:
    return step.count > less[step]
