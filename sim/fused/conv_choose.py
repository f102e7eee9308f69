"""Which chains of convolutions of a run are fused: those that make it better, no layer in two.

For clocks, or energy, the best division of the layers into chains and single layers is found
exactly, layer by layer. For their product: of all divisions the least product of two sums lies at a
corner of what the sums can reach, where w clocks + v energy is least for some weights; corners are
found between those that are known, until there are no more.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from ...mapping.best import Objective
from ...mapping.mappers import NEST_MAPPERS, ORDERS
from ...workloads.gemm import Gemm
from ...workloads.transformer.matrix import Product
from ...workloads.vector_step import VectorStep, merged_steps
from ..chip import Chip
from ..layer_bits import LayerBits
from ..mapped import TimeOfNest
from ..run import LayerRun
from ..vector import with_vector
from .chains import NO_BETTER
from .choose import Fusion, Layers, Total, summed_totals, total_of
from .conv_chains import ConvGroup, conv_groups, conv_run

Spans = tuple[int, int]
"""From which layer on, and up to which."""
Price = Callable[[int, float], tuple[float, ...]]
"""What clocks and energy cost; the first of it counts first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A convolution network as it runs: its products in order, and the steps between them."""

    products: tuple[Product, ...]
    steps: tuple[VectorStep, ...]


def with_fused_convolutions(
    chip: Chip,
    network: Network,
    layers: Mapping[Gemm, LayerRun],
    bits: Mapping[Gemm, LayerBits],
    mapper: str,
    time_of_nest: TimeOfNest,
) -> Fusion:
    """Return a run's layers, those of the vector unit among them, fused where the run is better.

    Its reasons are those of the longest chains of which nothing is fused.

    Parameters
    ----------
    chip : Chip
        One that has a vector unit.
    network : Network
        Each layer by itself.
    layers : mapping of Gemm to LayerRun
        The products, each alone, equal ones once.
    bits : mapping of Gemm to LayerBits
        Of the same.
    mapper : str
        A search of `NEST_MAPPERS`.
    time_of_nest : callable
        The rung's time of a product under its mapping.
    """
    objective = NEST_MAPPERS[mapper].objective
    of = {_bare(gemm): gemm for gemm in layers}
    alone = [layers[of[_bare(product.gemm)]] for product in network.products]
    every_bits = {p.gemm: bits[of[_bare(p.gemm)]] for p in network.products}
    groups = {(i, j): group for i, j, group in conv_groups(network.products, network.steps)}
    found, kept = dict[Spans, LayerRun](), dict[object, LayerRun | str]()
    reasons = dict[Spans, str]()
    for span, group in groups.items():
        if group.alike not in kept:
            kept[group.alike] = conv_run(chip, group, every_bits, objective, time_of_nest)
        run = kept[group.alike]
        if isinstance(run, str):
            reasons[span] = run
        else:
            names = {"layers": list(group.names), "maker": group.gemms[-1].name}
            found[span] = replace(run, name=group.name, fused={**(run.fused or {}), **names})

    def assembled(some: Iterable[Spans]) -> Layers:
        return _assembled(
            chip, network, alone, {span: (groups[span], found[span]) for span in some}
        )

    apart = assembled(())
    gains = {
        span: _gain(run, alone[slice(*span)], groups[span], network, apart)
        for span, run in found.items()
    }
    taken = divided(gains, total_of(apart), objective)
    rank, best = ORDERS[objective], apart
    least, chosen = rank(*total_of(apart)), frozenset[Spans]()
    for some in (taken, *(taken - {span} for span in sorted(taken))):
        layers_of = assembled(sorted(some)) if some else apart
        at = rank(*total_of(layers_of))
        if at < least:
            least, best, chosen = at, layers_of, some
    told = dict[str, str]()
    for (i, j), group in groups.items():
        inside = any(a <= i and j <= b and (a, b) != (i, j) for a, b in groups)
        if not inside and not any(a < j and i < b for a, b in chosen):
            told.setdefault(group.name, reasons.get((i, j), NO_BETTER))
    spans = sorted(chosen)

    def steps_beside(some: Iterable[int]) -> list[VectorStep]:
        gone = {step for i in some for each in groups[spans[i]].steps for step in each}
        return [step for step in network.steps if step not in gone]

    return Fusion(
        layers=best,
        reasons=told,
        made=tuple((groups[span].gemms, found[span]) for span in spans),
        steps_beside=steps_beside,
    )


def divided(gains: Mapping[Spans, Total], base: Total, objective: Objective) -> frozenset[Spans]:
    """Return the spans, none of which meet, whose gains make a run best.

    Parameters
    ----------
    gains : mapping of (int, int) to (int, float)
        Clocks and energy that each adds to the run.
    base : (int, float)
        Those of the run without them.
    objective : {"cycles", "energy", "edp"}
        What is least.
    """
    ends = {
        "cycles": _least(gains, lambda cycles, pj: (cycles, pj)),
        "energy": _least(gains, lambda cycles, pj: (pj, cycles)),
    }
    if objective != "edp":
        return ends[objective]

    def summed(some: frozenset[Spans]) -> Total:
        return summed_totals((0, 0.0), [gains[each] for each in some])

    corners = set(ends.values())
    waiting = [(ends["cycles"], ends["energy"])]
    while waiting:
        pair = waiting.pop()
        (c0, e0), (c1, e1) = map(summed, pair)
        w, v = e0 - e1, c1 - c0  # the line through both: w clocks + v energy is the same
        if w <= 0 or v <= 0:
            continue
        some = _least(gains, partial(_weighed, w, v))
        cycles, pj = summed(some)
        if some not in corners and w * cycles + v * pj < w * c0 + v * e0:
            corners.add(some)
            waiting += [(pair[0], some), (some, pair[1])]
    rank = ORDERS[objective]

    def at(some: frozenset[Spans]) -> tuple[tuple[float, float], list[Spans]]:
        return rank(*summed_totals(base, [gains[each] for each in some])), sorted(some)

    return min(corners, key=at)


def _weighed(w: float, v: float, cycles: int, pj: float) -> tuple[float, ...]:
    return (w * cycles + v * pj,)


def _least(gains: Mapping[Spans, Total], price: Price) -> frozenset[Spans]:
    """Return the spans, none of which meet, whose prices sum to the least."""
    end = max((j for _, j in gains), default=0)
    zero = tuple(0.0 for _ in price(0, 0.0))
    best: list[tuple[tuple[float, ...], frozenset[Spans]]] = [(zero, frozenset())]
    for j in range(1, end + 1):
        least = best[j - 1]
        for i in range(j):
            if (i, j) in gains:
                sums = tuple(a + b for a, b in zip(best[i][0], price(*gains[i, j]), strict=True))
                if sums < least[0]:
                    least = sums, best[i][1] | {(i, j)}
        best.append(least)
    return best[-1][1]


def _gain(
    run: LayerRun,
    gone: Sequence[LayerRun],
    group: ConvGroup,
    network: Network,
    apart: Layers,
) -> Total:
    """Return what a chain adds to the run in which all layers are apart: for its steps, too."""
    units = {layer.name: layer for layer in apart if layer.unit is not None}
    stands = _stands(network.products)
    named = {_alike(step, stands): step.name for step in reversed(network.steps)}
    steps = [units[named[_alike(step, stands)]] for some in group.steps for step in some]
    every = [*gone, *steps]
    cycles = run.cycles - sum(each.cycles for each in every)
    return cycles, run.energy_pj["total"] - math.fsum(each.energy_pj["total"] for each in every)


def _alike(step: VectorStep, stands: Mapping[str, str]) -> VectorStep:
    after = tuple(dict.fromkeys(stands[name] for name in step.after))
    return replace(step, name="", after=after, count=1)


def _bare(gemm: Gemm) -> Gemm:
    return replace(gemm, name="", count=1)


def _stands(products: Sequence[Product]) -> dict[str, str]:
    """Return the first of the layers that are equal, by the name of each."""
    first: dict[Gemm, str] = {}
    return {p.gemm.name: first.setdefault(_bare(p.gemm), p.gemm.name) for p in products}


def _assembled(
    chip: Chip,
    network: Network,
    alone: Sequence[LayerRun],
    fused: Mapping[Spans, tuple[ConvGroup, LayerRun]],
) -> Layers:
    """Return a run's layers with some chains in the place of theirs; equal ones stand once."""
    starts = {i: (j, *each) for (i, j), each in fused.items()}
    first: dict[object, tuple[LayerRun, tuple[str, ...]]] = {}
    count: dict[object, int] = {}
    stands, gone = dict[str, str](), set[str]()
    key: object
    i = 0
    while i < len(network.products):
        if i in starts:
            j, group, run = starts[i]
            names, key = tuple(gemm.name for gemm in group.gemms), group.alike
            gone.update(step.name for some in group.steps for step in some)
        else:
            gemm = network.products[i].gemm
            j, names, key = i + 1, (gemm.name,), _bare(gemm)
            run = replace(alone[i], name=gemm.name)
        _, leaders = first.setdefault(key, (run, names))
        count[key] = count.get(key, 0) + 1
        stands |= dict(zip(names, leaders, strict=True))
        i = j
    runs = [replace(run, count=count[key]) for key, (run, _) in first.items()]
    left = [step for step in network.steps if step.name not in gone]
    return with_vector(chip, merged_steps(left, stands), runs)
