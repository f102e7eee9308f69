"""The best mapping of a layer on a chip, proven: every mapping of the space is costed or bounded.

A part of the space is left out only where a bound on both clocks and energy says that it has
nothing better than what was found:

* an unrolling: clocks of its steps; energy of its array, of as many clocks, and of the tiles of the
  outer memories that would move least if a step were one element;
* tiles of the outer tiers, whatever is further in: those, with first load and last store of those
  tiers, and what each port moves at least, the best dimension being innermost. A smaller tile of
  the first tier moves no less, so one that is hopeless without its first load and last store
  excludes the smaller ones;
* an order of the outermost loops: those, with all that passes DRAM, each transfer in the longest
  window that it could have.

Transfers below the first tier are repeated for every block of an outer tier that does not index
them, where a whole block has several of their tiles, and happen once where inner tiles are open.
The most promising come first, which changes what is costed, not what is found.
"""

import math
import time
from dataclasses import replace
from fractions import Fraction
from functools import cache
from math import prod
from typing import Any

import numpy as np

from ..arch.hierarchy import OPERANDS, Axis, Hierarchy, Memory, Port
from ..datatypes.base.errors import BitlatheError, check_name
from .best import OBJECTIVES, Best, Objective
from .cost import cost
from .front_kernels import hopeless
from .nest import Loops, dims_of
from .operands import OperandBits
from .packed import Packed
from .space import ORDERED, Ways, least_extents, searchable, storages
from .unrolled import Unrolled, new_front

NO_LIMIT = 1 << 60


def search(
    layer: Loops,
    bits: OperandBits,
    hierarchy: Hierarchy,
    objective: Objective = "cycles",
    *,
    limit: int = NO_LIMIT,
) -> Best:
    """Return the best mapping of the space (`mapping.space`) for an objective.

    Parameters
    ----------
    layer : Loops
        A product (`Loops.product`) or a convolution (`Loops.conv`).
    bits : OperandBits
    hierarchy : Hierarchy
    objective : {"cycles", "energy", "edp"}
        What is least. Of mappings that are equal in it the one with less energy is taken, or with
        fewer clocks.
    limit : int
        Mappings to cost at most. The best of those is returned.

    Raises
    ------
    BitlatheError
        No mapping fits: it says which memory is too small, and what would do.
    """
    check_name("objective", objective, OBJECTIVES)
    wrong = layer_problems(layer)
    if wrong:
        raise BitlatheError(wrong)
    _compile()
    return _searched(layer, bits, hierarchy, OBJECTIVES.index(objective), limit)[0]


def _searched(
    layer: Loops, bits: OperandBits, hierarchy: Hierarchy, objective: int, limit: int
) -> list[Best]:
    """Return the best mapping of an objective, or the front of both, fewest clocks first."""
    asked, layer = layer, searchable(layer)
    ways = Ways(layer, hierarchy.axes)
    parts = [Packed(layer, bits, hierarchy, storage) for storage in storages(hierarchy)]
    started = time.perf_counter()
    front, evaluated = new_front(objective, max(4, len(layer.sizes))), 0
    for i, part in enumerate(parts):
        cycles, energy = part.bounds(ways, traffic=objective != 0)
        units_pj = part.units_pj(ways)
        for way in np.lexsort((cycles, energy, *_keys(cycles, energy, objective))).tolist():
            if not hopeless(cycles[way], energy[way], front, objective):
                unrolled = Unrolled(part, ways.way(way), i * len(ways) + way, units_pj[way])
                evaluated += unrolled.search(objective, limit - evaluated, front)
            elif objective < 3:
                break  # the others have no better bounds
    seconds = time.perf_counter() - started
    if not front[2][0]:
        raise BitlatheError(too_small(layer, bits, hierarchy))
    bests = []
    for row in front[1][: front[2][0]]:
        storage, way = divmod(int(row[0]), len(ways))
        mapping = Unrolled(parts[storage], ways.way(way), 0, 0.0).mapping(row)
        bests.append(
            Best(
                mapping=mapping,
                cost=cost(asked, bits, mapping, hierarchy),
                mappings_evaluated=evaluated,
                search_seconds=seconds,
                optimal=evaluated < limit and counts_all(asked, hierarchy),
            )
        )
    return bests


def _keys(cycles: Any, energy: Any, objective: int) -> tuple[Any, ...]:
    """Return what ways to unroll are sorted by, the most important last."""
    if objective == 0:
        return energy, cycles
    return (cycles, energy) if objective == 1 else (cycles, cycles * energy)


@cache
def _compile() -> None:
    """Load the compiled kernels, or compile them, so that searches are timed without."""
    ports = (Port(direction="both", width_bits=Fraction(1)),)
    memories = tuple(
        Memory(name=name, holds=OPERANDS, size_bits=size, ports=ports)
        for name, size in (("outer", None), ("inner", 3))
    )
    bits = OperandBits(weight=Fraction(1), input=Fraction(1), output=Fraction(1), partial=1)
    chip = Hierarchy(memories=memories, axes=(Axis(name="x", size=1, dims=("n",)),))
    _searched(Loops.product(1, 1, 1), bits, chip, 1, NO_LIMIT)


def counts_all(layer: Loops, hierarchy: Hierarchy) -> bool:
    """Return whether the search counts a layer as `cost` does: no border, and no halo is kept."""
    border = any(
        window.touched(layer.sizes[window.out], layer.sizes[window.tap])
        < stored.touched(layer.sizes[window.out], layer.sizes[window.tap])
        for window, stored in zip(layer.windows, searchable(layer).windows, strict=True)
    )
    halos = layer.windows and any(each.keep_halo for each in hierarchy.memories)
    return not border and not halos


def layer_problems(layer: Loops) -> str | None:
    """Return why a layer cannot be searched, or None."""
    dims = list(layer.sizes)
    if layer.windows and sorted(set(ORDERED[:7]) - set(dims)) == [] and set(dims) <= set(ORDERED):
        return None
    if layer.windows or dims[:3] != ["m", "n", "k"] or set(dims[3:]) - {"b"}:
        return (
            f"the search takes products, of dimensions m, n, k and b, and convolutions, of m, n, "
            f"c, p, q, r, s and g; this layer has {', '.join(layer.sizes)}."
        )
    return None


def too_small(layer: Loops, bits: OperandBits, hierarchy: Hierarchy) -> str:
    """Return which memories cannot hold the least tile of each operand that must pass them.

    That is one element; of a convolution in a memory of the chip a row of outputs, what it reads of
    a channel, and a channel's kernel.
    """
    found = []
    for memory in hierarchy.memories[1:]:
        held = [operand for operand in memory.holds if operand not in memory.optional]
        words = memory.words is not None
        size = memory.words if words else memory.size_bits
        needs = sum(
            _least_elements(layer, op, memory)
            if words
            else _least_bits(layer, bits, hierarchy, op, memory)
            for op in held
        )
        if size is not None and needs > size:
            rows = layer.windows and not memory.per
            found.append(
                f"memory {memory.name!r} is too small: {'a row' if rows else 'one element'} of "
                f"each operand it must hold ({', '.join(held)}) takes {needs} "
                f"{'words' if words else 'bits'}, and it has {size}, {needs - size} too few; give "
                f"at least {needs}."
            )
    return " ".join(found) or "no mapping of the layer fits the chip's memories; enlarge them."


def _least_elements(layer: Loops, operand: str, memory: Memory) -> int:
    if not layer.windows or memory.per:
        return 1
    sizes = {dim: size if dim in "qrs" else 1 for dim, size in layer.sizes.items()}
    return replace(layer, sizes=sizes).elements(operand)


def _least_bits(
    layer: Loops, bits: OperandBits, hierarchy: Hierarchy, operand: str, memory: Memory
) -> int:
    """Return what the least tile takes: a sum is finished where it arrives from inside once."""
    inside = hierarchy.chain(operand)[hierarchy.chain(operand).index(memory) + 1 :]
    summed = prod(size for dim, size in layer.sizes.items() if dim not in layer.indexes["output"])
    at_once = prod(
        max([1, *(u for u in least_extents(layer.sizes[dim], axis.size))])
        for axis in hierarchy.axes
        for dim in dims_of(axis.dims)
        if dim in layer.sizes and dim not in layer.indexes["output"]
    )
    partial = operand == "output" and not inside and at_once < summed
    elements = _least_elements(layer, operand, memory)
    return math.ceil(elements * bits.of(operand, partial=partial))
