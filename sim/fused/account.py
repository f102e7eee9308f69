"""What a fused group costs on a chip: its time on the rung that runs, and its account."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial
from typing import Any

from ...arch.hierarchy import OPERANDS
from ...datatypes.base.numbers import units_of
from ...mapping.best import Objective
from ...mapping.fused.cost import FusedCost, cost_of
from ...mapping.fused.demand import beside_products, with_products
from ...mapping.fused.kept_results import kept_walk
from ...mapping.fused.near import NearChip
from ...mapping.fused.products import Asked, BlockProduct, block_product
from ...mapping.fused.search import Found, spilling
from ...mapping.fused.strip_search import FoundStrips
from ...mapping.fused.tiling import Need, needs
from ...workloads.gemm import Gemm
from ..chip import Chip
from ..energy import timed_energy_pj
from ..mapped import NestTime, Part, TimeOfNest, filled, nest_bits, plain, whole_stalls
from ..run import STALL_CAUSES, Filled, LayerRun, with_total
from ..vector import VECTOR
from .chains import Bits, Total, best_of
from .groups import Group


def group_run(
    chip: Chip,
    group: Group,
    bits: Bits,
    objective: Objective,
    time_of_nest: TimeOfNest,
    apart: Total | None = None,
) -> LayerRun | str:
    """Return the cost of a group on a chip; where it cannot, or need not, be fused, why.

    Parameters
    ----------
    chip : Chip
    group : Group
    bits : mapping of Gemm to LayerBits
    objective : {"cycles", "energy", "edp"}
        What its tiling makes least.
    time_of_nest : callable
        The rung's time of a product under its mapping: of each block's.
    apart : (float, float), optional
        Clocks and energy of one instance of the layers apart.
    """
    fused = best_of(chip, group, bits, objective, apart)
    if isinstance(fused, str):
        return fused
    chain, near, found = fused.chain, fused.near, fused.found
    parts, times = dict[Asked, Part](), dict[Asked, NestTime]()

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

    beside = beside_products(chain, found.tiling, near, fused.lanes)
    asked = with_products(chain, beside, product)
    cost = cost_of(chain, found.tiling, near, asked, kept_walk)
    nests = [
        (replace(parts[each], times=many * chain.instances), times[each])
        for each, many in beside.runs.items()
    ]
    chip = chip.split_for(bits[group.out].split)
    about = {"layers": list(group.names), **searched(found)}
    spilled = spilling(chain, near, asked, found.products)
    named, tiles = (group.name, group.count), needs(chain, found.tiling, spilled)
    return fused_run(chip, named, group.gemms, bits, near, cost, nests, tiles, about)


def searched(found: Found | FoundStrips) -> dict[str, Any]:
    """Return what a search of tilings found, as a run tells it.

    Parameters
    ----------
    found : Found or FoundStrips
    """
    return {
        "tiling": found.tiling.to_dict(),
        "tilings": found.tilings,
        "tilings_costed": found.tilings_costed,
        "search_seconds": found.search_seconds,
    }


def fused_run(
    chip: Chip,
    named: tuple[str, int],
    gemms: Sequence[Gemm],
    bits: Bits,
    near: NearChip,
    cost: FusedCost,
    nests: Sequence[tuple[Part, NestTime]],
    needs: Iterable[Need],
    about: dict[str, Any],
) -> LayerRun:
    """Return the cost of fused layers as one layer of a run.

    Parameters
    ----------
    chip : Chip
        Split as the layers' multipliers are.
    named : (str, int)
        Its name, and how often the model has it.
    gemms : sequence of Gemm
        Its products, in the order of execution.
    bits : mapping of Gemm to LayerBits
    near : NearChip
    cost : FusedCost
    nests : sequence of (Part, NestTime)
        The products of blocks, each with the times that it runs.
    needs : iterable of Need
        What lies in the near memories.
    about : dict
        What else is told of the group.
    """
    first = gemms[0]
    compute, cycles = math.ceil(cost.compute_cycles), cost.cycles
    peak = chip.arch.phase_pes * chip.arch.pe.lanes
    work = sum(each.macs * nest_bits(chip, each, bits[each]).step_cycles for each in gemms)
    return LayerRun(
        name=named[0],
        count=named[1],
        m=first.m,
        n=first.n,
        k=first.k,
        batch=first.batch,
        compute_cycles=compute,
        dram_cycles=cost.busy_cycles[near.outermost.name],
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
        tiles=partial(_filled, near, tuple(needs), tuple(part for part, _ in nests)),
        fused={
            **about,
            "macs": sum(each.macs for each in gemms),
            "dense_macs": sum(each.m * each.n * each.k * each.batch for each in gemms),
            "lower_bound_cycles": cost.lower_bound_cycles,
        },
    )


def _filled(near: NearChip, needs: Sequence[Need], parts: Sequence[Part]) -> dict[str, Filled]:
    """Return what blocks take of the near memories, and their products' tiles of those behind."""
    found = {name: each for name, each in filled(parts).items() if name in near.behind}
    for operand in OPERANDS:
        memory = near.memory(operand)
        if memory.words is None:
            mine = [each for each in needs if near.memory(each.operand) is memory]
            bits = sum(each.tiles * units_of(each.elements, each.bits, 1) for each in mine)
            found[memory.name] = Filled(bits, memory.size_bits)
    return found


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
