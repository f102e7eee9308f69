"""What a certificate is about, in lines to hold against the chip and the layer that were meant.

A file whose chip was changed together with its figures is a true proof about another chip: these
lines show it.
"""

from collections.abc import Iterable
from fractions import Fraction

from .record import OPERANDS, Chip, Layer, Memory, Stored


def plain(value: Fraction) -> str:
    """Return a number in at most six digits.

    Examples
    --------
    >>> plain(Fraction(4)), plain(Fraction(67, 16)), plain(Fraction(1, 3))
    ('4', '4.1875', '0.333333')
    """
    return str(value.numerator) if value.denominator == 1 else f"{float(value):.6g}"


def bits_line(of: Stored, unit_pj: Fraction) -> str:
    """Return bits of elements, clocks of a step and energy of a unit in words.

    Parameters
    ----------
    of : Stored
        Bits and clocks.
    unit_pj : Fraction
        Of a unit in each clock of a step.
    """
    bits = ", ".join(f"{operand} {plain(of.bits[operand])}" for operand in OPERANDS)
    return (
        f"bits: {bits}, unfinished {plain(of.partial_bits)}; "
        f"clocks a step: {plain(of.step_cycles)}, pJ of a unit in each: {plain(unit_pj)}"
    )


def layer_line(layer: Layer, unit_pj: Fraction) -> str:
    """Return a product or a convolution in a line."""
    sizes = ", ".join(f"{dim} {size}" for dim, size in zip(layer.dims, layer.sizes, strict=True))
    slid = "".join(
        f"; {layer.dims[w.out]}: {w.size} pixels, stride {w.stride}, dilation {w.dilation}, "
        f"border {w.padding}"
        for w in layer.windows
    )
    return f"layer: {sizes}{slid}; {bits_line(layer.of, unit_pj)}"


def chips_lines(chips: Iterable[Chip]) -> list[str]:
    """Return the chip in all the dataflows that are proven: a line each, and one a memory."""
    some, found = list(chips), list[str]()
    for i, chip in enumerate(some):
        axes = " x ".join(f"{axis.name} {axis.size} ({''.join(axis.dims)})" for axis in chip.axes)
        table = f", of a table {plain(chip.table_pj)}" if chip.table_cycles else ""
        found.append(
            f"dataflow {i + 1} of {len(some)}: {axes}; "
            f"pJ of a clock: {plain(chip.static_pj)}{table}"
        )
        found += [f"  {memory.name}: {_memory(memory)}" for memory in chip.memories]
    return found


def _memory(memory: Memory) -> str:
    size = [f"{memory.size_bits:,} bits"] if memory.size_bits is not None else []
    size += [f"{memory.words:,} words"] if memory.words is not None else []
    ports = [
        f"{port.direction} {plain(port.width_bits)} bits at {plain(port.read_pj)}, "
        f"{plain(port.write_pj)} pJ"
        for port in memory.ports
    ]
    per = [f"one for each of {', '.join(memory.per)}"] if memory.per else []
    return "; ".join([f"{', '.join(memory.holds)}", *size, *per, *ports])
