"""The best mapping of a layer on a chip, proven: every mapping of the space is costed or bounded.

A part of the space is left out only where a bound on both clocks and energy says that it has
nothing better than what was found:

* an unrolling: clocks of its steps; energy of its array, of as many clocks, and of the tiles of the
  outer memories that would move least if a step were one element;
* a tile: those, with first load and last store, which do not depend on the order of loops, and what
  each port moves at least, the best dimension being innermost;
* an order of the outermost loops: those, with all that passes DRAM, each transfer in the longest
  window that it could have.

The most promising come first, which changes what is costed, not what is found.
"""

import math
import time
from math import prod

import numpy as np

from ..arch.hierarchy import Hierarchy, Memory
from ..datatypes.base.errors import BitlatheError, check_name
from .best import OBJECTIVES, Best, Objective
from .cost import cost
from .nest import Loops
from .operands import OperandBits
from .packed import Packed, Unrolled
from .search_kernels import hopeless
from .space import least_extents, storages, unrollings

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
        A product (`Loops.product`).
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
    number = OBJECTIVES.index(objective)
    packed = [Packed(layer, bits, hierarchy, storage) for storage in storages(hierarchy)]
    ways = unrollings(layer, hierarchy.axes)
    best, found = np.array([np.inf, np.inf]), np.zeros(5, np.int64)
    packed[0].unrolled(ways[0]).search(number, 0, best, found)  # compiles what is not yet
    started = time.perf_counter()
    winner: Unrolled | None = None
    chosen, evaluated = found.copy(), 0
    for part in packed:
        bounded = [(*part.bounds(way), way) for way in ways]
        bounded.sort(key=lambda each: (each[0], each[1], each[0] * each[1])[number])
        for cycles, energy, way in bounded:
            if hopeless(cycles, energy, best, number):
                continue
            before, unrolled = best.copy(), part.unrolled(way)
            evaluated += unrolled.search(number, limit - evaluated, best, found)
            if not np.array_equal(before, best):
                winner, chosen = unrolled, found.copy()
    seconds = time.perf_counter() - started
    if winner is None:
        raise BitlatheError(too_small(layer, bits, hierarchy))
    mapping = winner.mapping(chosen)
    return Best(
        mapping=mapping,
        cost=cost(layer, bits, mapping, hierarchy),
        mappings_evaluated=evaluated,
        search_seconds=seconds,
        optimal=evaluated < limit,
    )


def layer_problems(layer: Loops) -> str | None:
    """Return why a layer cannot be searched, or None."""
    unknown = [dim for dim in layer.sizes if dim not in ("m", "n", "k", "b")]
    if unknown or list(layer.sizes)[:3] != ["m", "n", "k"]:
        return (
            f"the search takes products, of dimensions m, n, k and b; this layer has "
            f"{', '.join(layer.sizes)}."
        )
    return None


def too_small(layer: Loops, bits: OperandBits, hierarchy: Hierarchy) -> str:
    """Return which memories cannot hold one element of each operand that must pass them."""
    found = []
    for memory in hierarchy.memories[1:]:
        held = [operand for operand in memory.holds if operand not in memory.optional]
        words = memory.words is not None
        size = memory.words if words else memory.size_bits
        needs = sum(1 if words else _least_bits(layer, bits, hierarchy, op, memory) for op in held)
        if size is not None and needs > size:
            found.append(
                f"memory {memory.name!r} is too small: one element of each operand it must hold "
                f"({', '.join(held)}) takes {needs} {'words' if words else 'bits'}, and it has "
                f"{size}, {needs - size} too few; give at least {needs}."
            )
    return " ".join(found)


def _least_bits(
    layer: Loops, bits: OperandBits, hierarchy: Hierarchy, operand: str, memory: Memory
) -> int:
    """Return what one element takes: a sum is finished where it arrives from inside once."""
    inside = hierarchy.chain(operand)[hierarchy.chain(operand).index(memory) + 1 :]
    summed = prod(size for dim, size in layer.sizes.items() if dim not in layer.indexes["output"])
    at_once = prod(
        max([1, *(u for u in least_extents(layer.sizes[dim], axis.size))])
        for axis in hierarchy.axes
        for dim in axis.dims
        if dim in layer.sizes and dim not in layer.indexes["output"]
    )
    partial = operand == "output" and not inside and at_once < summed
    return math.ceil(bits.of(operand, partial=partial))
