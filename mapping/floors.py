"""Floors of DRAM traffic: what no schedule, and no loop nest, moves less than on a chip's memories.

`traffic_floor_bits` holds for every order of a product's multiplications. Cut an execution into
segments, each of which reads, or begins new sums of, X bits together (a new sum counts as a
finished one). What a segment multiplies it had on the chip when it began, or reads, or begins; of
W weights, I inputs and O sums it does at most sqrt(W I O) multiplications (Loomis and Whitney;
Hong and Kung, "I/O complexity", STOC 1981; Irony, Toledo and Tiskin, "Communication lower bounds
for distributed-memory matrix multiplication", JPDC 2004). For any prices w, i, o of an element
W I O <= (w W + i I + o O)^3 / (27 w i o), and the sum is at most that of full memories, each filled
with what is dearest, and of X bits of the dearest operand. Every sum that is begun is written in
the end, so that reads and beginnings are no more than the traffic, which is thus at least
X (MACs / segment - 1). With one memory and equal widths the best X and prices give
2 MACs / sqrt(S) - 2 S (Smith, Lowery, Langou and van de Geijn, "A tight I/O lower bound for matrix
multiplication", 2019).

`nest_floor_bits` holds for mappings: one nest of loops, one tile of each operand in a memory. At
each multiplication the tile of some operand is the outermost. If that is a tile of m x n sums,
weights are read for at most m tokens and inputs for at most n outputs; if it is one of n x k
weights, inputs are read for at most n outputs and sums leave and return after at most k; alike for
inputs. The least of the three, of tiles that fill their memory, times the multiplications.
"""

from fractions import Fraction
from itertools import product
from math import prod, sqrt

import numpy as np

from ..arch.hierarchy import OPERANDS, Hierarchy, Memory
from .accesses import outermost_bits
from .nest import Loops, Mapping
from .operands import OperandBits

COMPULSORY = "each operand once"
SEGMENTS = "segments of an execution (Hong and Kung 1981)"
TILES = {
    "output": "a tile of sums outermost",
    "weight": "a tile of weights outermost",
    "input": "a tile of inputs outermost",
}
PRICES = tuple(2.0**-i for i in range(6))
SAFE = 1 - 1e-9  # more than the errors of floats


def traffic_bits(
    layer: Loops, bits: OperandBits, mapping: Mapping, hierarchy: Hierarchy
) -> Fraction:
    """Return the bits that a mapping moves through DRAM.

    Parameters
    ----------
    layer : Loops
    bits : OperandBits
    mapping : Mapping
    hierarchy : Hierarchy
        The first of its memories is the DRAM.
    """
    return sum(outermost_bits(layer, bits, mapping, hierarchy).values(), Fraction(0))


def compulsory_bits(layer: Loops, bits: OperandBits) -> Fraction:
    """Return the bits of all operands, each moved once."""
    return sum((layer.elements(op) * bits.of(op) for op in OPERANDS), Fraction(0))


def traffic_floor_bits(layer: Loops, bits: OperandBits, hierarchy: Hierarchy) -> tuple[int, str]:
    """Return the bits that any schedule of a layer moves through DRAM at least, and the bound.

    Of layers that are no products: each operand once.

    Parameters
    ----------
    layer : Loops
    bits : OperandBits
    hierarchy : Hierarchy
        Its memories below DRAM, all copies, are taken to be filled with any operands they hold.
    """
    once = int(compulsory_bits(layer, bits))
    if not _is_product(layer):
        return once, COMPULSORY
    found = max(
        _segments_bits(layer, bits, hierarchy, prices) for prices in product(PRICES, repeat=3)
    )
    return (once, COMPULSORY) if found <= once else (int(found), SEGMENTS)


def _segments_bits(
    layer: Loops, bits: OperandBits, hierarchy: Hierarchy, prices: tuple[float, ...]
) -> float:
    """Return the bound by segments for prices of a bit of each operand."""
    width = {op: float(bits.of(op)) for op in OPERANDS}
    width["output"] = min(width["output"], float(bits.partial))
    price = {op: width[op] * each for op, each in zip(OPERANDS, prices, strict=True)}
    full = 0.0
    for memory in hierarchy.memories[1:]:
        copies = _copies(memory, hierarchy)
        if memory.words is not None:
            full += copies * memory.words * max(price[op] for op in memory.holds)
        elif memory.size_bits is not None:
            held = {**width, "output": float(bits.partial)}
            full += copies * memory.size_bits * max(price[op] / held[op] for op in memory.holds)
        else:
            return 0.0
    moved = np.geomspace(1.0, 64.0, 97) * max(full, 1.0) / 8 / max(prices)
    segment = (full + moved * max(prices)) ** 1.5 / sqrt(27 * prod(price.values()))
    return float((moved * (layer.macs / segment - 1)).max()) * SAFE


def nest_floor_bits(layer: Loops, bits: OperandBits, hierarchy: Hierarchy) -> tuple[int, str]:
    """Return the bits that any mapping of a layer moves through DRAM at least, and the bound.

    Of layers that are no products: each operand once.

    Parameters
    ----------
    layer : Loops
    bits : OperandBits
    hierarchy : Hierarchy
        Each memory is taken to hold nothing but the tile in question.
    """
    once = compulsory_bits(layer, bits)
    if not _is_product(layer):
        return int(once), COMPULSORY
    n, k = layer.sizes["n"], layer.sizes["k"]
    m = layer.sizes["m"] * layer.sizes.get("h", 1)
    w, i, o = (float(bits.of(op)) for op in OPERANDS)
    again = 2.0 * bits.partial  # a sum that leaves unfinished and returns
    room = {op: _elements(op, bits, hierarchy) for op in OPERANDS}
    densities = {  # bits for each multiplication
        "output": _least(w, i, room["output"], m, n) + o / k,
        "weight": w / m + _least(i, again, room["weight"], n, k) - (again - o) / k,
        "input": i / n + _least(w, again, room["input"], m, k) - (again - o) / k,
    }
    outermost = min(OPERANDS, key=lambda op: densities[op])
    found = layer.macs * densities[outermost] * SAFE
    return (int(once), COMPULSORY) if found <= once else (int(found), TILES[outermost])


def _is_product(layer: Loops) -> bool:
    return set("mnk") <= set(layer.sizes) <= set("mnkbh")


def _copies(memory: Memory, hierarchy: Hierarchy) -> int:
    return prod(axis.size for axis in hierarchy.axes if axis.name in memory.per)


def _elements(operand: str, bits: OperandBits, hierarchy: Hierarchy) -> float:
    """Return the most elements of an operand that a tile can have.

    The tile of weights or inputs is the outermost: that of the first memory which the operand does
    not go past. Sums may be added up in any memory, and leave it finished.
    """
    most = float(prod(axis.size for axis in hierarchy.axes))  # what the array has at once
    width = bits.of(operand, partial=operand == "output")
    for memory in hierarchy.chain(operand)[1:]:
        copies = _copies(memory, hierarchy)
        if memory.words is not None:
            most = max(most, float(copies * memory.words))
        elif memory.size_bits is not None:
            most = max(most, float(copies * memory.size_bits / width))
        else:
            return float("inf")
        if operand != "output" and operand not in memory.optional:
            break
    return most


def _least(a: float, b: float, area: float, x_most: int, y_most: int) -> float:
    """Return the least of a / x + b / y with x y at most ``area``, x and y up to their most.

    Examples
    --------
    >>> _least(1.0, 1.0, 16.0, 100, 100), _least(1.0, 1.0, 16.0, 2, 100)
    (0.5, 0.625)
    """
    if area >= x_most * y_most:
        return a / x_most + b / y_most
    x = min(float(x_most), max(area / y_most, sqrt(area * a / b)))
    return a / x + b * x / area
