"""What a fused group costs on a chip: its time on the rung that runs, and its account."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from ...arch.hierarchy import OPERANDS
from ...mapping.best import Objective
from ...mapping.fused.cost import FusedCost, cost_of
from ...mapping.fused.demand import demand
from ...mapping.fused.kept_results import kept_walk
from ...mapping.fused.near import NearChip
from ...mapping.fused.products import Asked, BlockProduct, block_product
from ..chip import Chip
from ..energy import timed_energy_pj
from ..mapped import NestTime, Part, TimeOfNest, nest_bits, plain, whole_stalls
from ..run import STALL_CAUSES, LayerRun, with_total
from ..vector import VECTOR
from .chains import Bits, Fused, best_of
from .groups import Group


def group_run(
    chip: Chip, group: Group, bits: Bits, objective: Objective, time_of_nest: TimeOfNest
) -> LayerRun | str:
    """Return the cost of a group on a chip; where it cannot be fused, why.

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
    if isinstance(fused, str):
        return fused
    chain, near, found = fused.chain, fused.near, fused.best.found
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

    asked = demand(chain, found.tiling, near, fused.lanes, product)
    blocks = asked.blocks
    for kind, many in asked.counts.items():
        rows, columns = blocks.rows[kind.rows], blocks.columns[kind.columns]
        first, second = Asked.both(rows, columns, alone=kind.alone)
        runs[first] += many * chain.instances * chain.matrices
        runs[second] += many * chain.instances
    cost = cost_of(chain, found.tiling, near, asked, kept_walk)
    nests = [(replace(parts[each], times=many), times[each]) for each, many in runs.items()]
    chip = chip.split_for(bits[group.out].split)
    return _layer_run(chip, group, fused, cost, bits, nests)


def _layer_run(
    chip: Chip,
    group: Group,
    fused: Fused,
    cost: FusedCost,
    bits: Bits,
    nests: Sequence[tuple[Part, NestTime]],
) -> LayerRun:
    into = group.into[0]
    compute, near = math.ceil(cost.compute_cycles), fused.near
    found, cycles = fused.best.found, cost.cycles
    peak = chip.arch.phase_pes * chip.arch.pe.lanes
    work = sum(each.macs * nest_bits(chip, each, bits[each]).step_cycles for each in group.gemms)
    outermost = near.outermost.name
    return LayerRun(
        name=group.name,
        count=group.count,
        m=into.m,
        n=into.n,
        k=into.k,
        batch=into.batch,
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
            "macs": sum(each.macs for each in group.gemms),
            "dense_macs": sum(each.m * each.n * each.k * each.batch for each in group.gemms),
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
