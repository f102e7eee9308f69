"""What layers take at least by themselves: those that are surely better fused are not searched.

Of each of a layer's products: its steps with the results of the last of them, each operand once
through each memory and port, the energy of both, and what runs with the clocks.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

from ...arch.hierarchy import OPERANDS, Hierarchy
from ...mapping.fused.demand import Sums
from ...mapping.fused.moves import transfer
from ...mapping.fused.near import NearChip, PortAt, near_chip, why_not
from ...mapping.fused.products import floor_of
from ...mapping.nest import Loops
from ...mapping.operands import OperandBits
from ...workloads.gemm import Gemm
from ..chip import Chip
from ..layer_bits import LayerBits
from ..mapped import nest_bits, nest_hierarchy, ways_of
from ..run import LayerRun


class _Least(NamedTuple):
    """Clocks, clocks of DRAM, energy, that nothing undercuts, each by itself."""

    cycles: int
    dram_cycles: int
    energy_pj: float


def least_run(chip: Chip, gemm: Gemm, bits: LayerBits, count: int) -> LayerRun | None:
    """Return a layer of which no figure is above that of the layer under any mapping, on any rung.

    None where a memory beside the outermost may be passed by: then nothing is known of it.

    Parameters
    ----------
    chip : Chip
    gemm : Gemm
        A product, no convolution.
    bits : LayerBits
    count : int
        How many instances are alike.
    """
    chip = chip.split_for(bits.split)
    stored = nest_bits(chip, gemm, bits)
    chips = [nest_hierarchy(chip, gemm, bits, each) for each in chip.hierarchies]
    if gemm.conv is not None or not all(map(_is_passed, chips)):
        return None
    found = [
        _together(
            (_least(Loops.product(*sizes, batch=gemm.batch), stored, near), times)
            for sizes, times in way.items()
        )
        for near in map(near_chip, chips)
        for way in ways_of(chip, gemm)
    ]
    cycles = min(each.cycles for each in found)
    once = {"weight": gemm.n * gemm.k, "input": gemm.m * gemm.k, "output": gemm.m * gemm.n}
    return LayerRun(
        name=gemm.name,
        count=count,
        m=gemm.m,
        n=gemm.n,
        k=gemm.k,
        batch=gemm.batch,
        compute_cycles=cycles,
        dram_cycles=min(each.dram_cycles for each in found),
        stall_cycles=0,
        cycles=cycles,
        utilization=0.0,
        dram_bits={each: math.ceil(once[each] * stored.of(each)) for each in OPERANDS},
        sram_accesses={},
        energy_pj={"total": min(each.energy_pj for each in found)},
    )


def _is_passed(hierarchy: Hierarchy) -> bool:
    """Return whether all operands pass memories beside the outermost, whole elements of them."""
    if why_not(hierarchy) is not None:
        return False
    near = ((each, near_chip(hierarchy).memory(each)) for each in OPERANDS)
    return all(each not in memory.optional and memory.words is None for each, memory in near)


def _together(some: Iterable[tuple[_Least, int]]) -> _Least:
    """Return the least of products one after another."""
    cycles, dram_cycles, energy_pj = zip(
        *((each.cycles * n, each.dram_cycles * n, each.energy_pj * n) for each, n in some),
        strict=True,
    )
    return _Least(sum(cycles), sum(dram_cycles), math.fsum(energy_pj))


def _least(loops: Loops, bits: OperandBits, near: NearChip) -> _Least:
    total, outermost = Sums(near), near.outermost
    total.product(floor_of(loops, bits, near.inside, near), 1)
    for operand in OPERANDS:
        each = (operand, 1, loops.elements(operand), bits.of(operand))
        total.outer(transfer(near, *each, leaves=operand == "output"), 1)
    ports = (PortAt(outermost.name, i) for i in range(len(outermost.ports)))
    cycles = max(total.array_cycles, *total.busy.values())
    moved_pj = math.fsum(pj for each in total.pj.values() for pj in each)
    return _Least(
        cycles,
        max(total.busy.get(at, 0) for at in ports),
        moved_pj + cycles * near.whole.static_pj,
    )
