"""What no schedule of a product moves less through the outermost memory, derived exactly.

Compulsory: every operand once. Segments: `docs/certificate.md` derives it. Cut an execution into
segments that each read, or begin new sums of, X bits. For any prices of an element of each operand
a segment does at most sqrt((F + X p)^3 / (27 w i o)) multiplications, where F is what full memories
are worth, p the dearest price of a bit, and w, i, o the prices of an element (Loomis and Whitney;
Hong and Kung, "I/O complexity", STOC 1981; Irony, Toledo and Tiskin, JPDC 2004). So that at least
X (multiplications / segment - 1) bits pass. Prices and X are tried from fixed lists; whichever is
best is a floor. Each tap of a convolution is a product of its own weights with all inputs, so that
of t taps a segment does at most sqrt(t) times as many (Cauchy and Schwarz); what multiplies the
border reads nothing and is left out.
"""

import math
from fractions import Fraction
from itertools import product
from typing import NamedTuple

from .count import Counted
from .pixels import blocks, passing
from .record import OPERANDS, Chip, Layer, Nest

COMPULSORY = "each operand once"
SEGMENTS = "segments of an execution (Hong and Kung 1981)"
PRICES = tuple(Fraction(1, 1 << i) for i in range(4))
MOVED = tuple(Fraction(1 << (i // 4), 8) * (4 + i % 4) / 4 for i in range(24))
"""Bits of a segment, in what full memories are worth."""


class TrafficFloor(NamedTuple):
    """Bits, the formula that says so, and those of all operands, each once."""

    bits: int
    formula: str
    once: Fraction


def dram_bits(layer: Layer, chip: Chip, nest: Nest) -> Fraction:
    """Return the bits that a mapping moves through the outermost memory."""
    counted, found = Counted(layer, chip, nest), Fraction(0)
    for move in counted.moves():
        if move.parent is chip.memories[0]:
            bits = layer.bits(move.operand, partial=move.partial, code=False)
            for visit, count in move.visits.items():
                found += counted.ends(move, visit)[0].elements * count * bits
    return found


def elements(layer: Layer, operand: str) -> int:
    """Return the elements of an operand: of a convolution's input those that are read."""
    own, sizes = layer.indexed(operand), layer.sizes
    found = math.prod(sizes[d] for d in layer.plain(own))
    for window in layer.slid(own):
        found *= passing(window, ((0, sizes[window.out]),), ((0, sizes[window.tap]),))
    return found


def multiplications(layer: Layer) -> int:
    """Return the products of two elements that are stored."""
    sizes = layer.sizes
    gone = {d for window in layer.windows for d in window[:2]}
    found = math.prod(size for d, size in enumerate(sizes) if d not in gone)
    for window in layer.windows:
        each = (blocks(sizes[d], 1) for d in window[:2])
        found *= passing(window, *map(tuple, each))
    return found


def traffic_floor(layer: Layer, chip: Chip) -> TrafficFloor:
    """Return the bits that any schedule moves through the outermost memory at least."""
    once = sum(
        (elements(layer, op) * layer.stored[op] for op in OPERANDS),
        Fraction(0),
    )
    found = 0
    for prices in product(PRICES, repeat=3):
        if max(prices) == 1:  # only their ratios matter
            found = max(found, _segments(layer, chip, prices))
    if found <= math.ceil(once):
        return TrafficFloor(math.ceil(once), COMPULSORY, once)
    return TrafficFloor(found, SEGMENTS, once)


def _segments(layer: Layer, chip: Chip, prices: tuple[Fraction, ...]) -> int:
    """Return the floor by segments for prices of a bit of each operand."""
    width = dict(layer.stored)
    width["output"] = min(width["output"], layer.partial)
    price = {op: width[op] * each for op, each in zip(OPERANDS, prices, strict=True)}
    held = {**layer.stored, "output": layer.partial}
    full = Fraction(0)
    for memory in chip.memories[1:]:
        copies = math.prod(axis.size for axis in chip.axes if axis.name in memory.per)
        if memory.words is not None:
            full += copies * memory.words * max(price[op] for op in memory.holds)
        elif memory.size_bits is not None:
            full += copies * memory.size_bits * max(price[op] / held[op] for op in memory.holds)
        else:
            return 0
    work, best = multiplications(layer), 0
    taps = math.prod(layer.sizes[window.tap] for window in layer.windows)
    for part in MOVED:
        moved = max(full, Fraction(1)) * part
        square = 27 * math.prod(price.values()) * work**2 / taps / (full + moved) ** 3
        root = math.isqrt(int(square * moved**2))  # of moved * work / segment, rounded down
        best = max(best, math.floor(root - moved))
    return best
