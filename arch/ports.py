"""Widths of SRAM ports that follow the array: one width a buffer, whatever the chip runs.

A port is as wide as the widest need of any phase and kind of layer. The need is ceil(payload bits
of one step / clocks of one step): a bit-serial PE works on a step for as many clocks as its
weights have terms, a look-up PE for as many as they have bit planes, any other for one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from typing import TYPE_CHECKING

from ..datatypes.schemes.scheme import Scheme

if TYPE_CHECKING:
    from .formats import Formats, LayerFormats, Operand
    from .memories import BufferName
    from .pe_section import PE
    from .schema import Array


def payload_bits(operand: Operand) -> int:
    """Return the bits of an element's code; scales and selectors travel beside it.

    Stated bits are rounded up to whole ones, and are all code: what a mix of layers reads.

    Examples
    --------
    >>> from bitlathe.arch import Operand
    >>> payload_bits(Operand(scheme="int8@channel")), payload_bits(Operand(bits=4.5))
    (8, 5)
    """
    if operand.bits is not None or operand.scheme is None:
        return math.ceil(operand.bits or 0)
    return Scheme.parse(operand.scheme).element_bits


def step_clocks(pe: PE, weight: Operand) -> int:
    """Return the clocks of one step, no term skipped: terms, or bit planes, or one."""
    if pe.kind == "lut":
        return math.floor(weight.bits or 1) if weight.scheme is None else payload_bits(weight)
    return weight.terms if pe.kind == "bit_serial" else 1


def _elements(array: Array) -> tuple[tuple[int, bool], tuple[int, bool]]:
    """Return (elements over lanes, stationary?) of an access of weights, and of inputs.

    What stands still is loaded a row of the array an access, one a clock.
    """
    flow, sides = array.flow, (array.rows, array.columns)
    weights, inputs = sides[::-1] if flow.weights_on_columns else sides
    return (weights, flow.loaded == "weight"), (inputs, flow.loaded == "input")


def needs_bits_per_clock(pe: PE, array: Array, formats: LayerFormats) -> tuple[Fraction, Fraction]:
    """Return the bits of weights and of inputs that the array takes a clock.

    Where zero terms are skipped a step may take a single clock.
    """
    clocks = 1 if pe.skips else step_clocks(pe, formats.weight)
    weight, inputs = (
        Fraction(count * pe.lanes * payload_bits(operand), 1 if still else clocks)
        for (count, still), operand in zip(
            _elements(array), (formats.weight, formats.input), strict=True
        )
    )
    return weight, inputs


def widest(buffer: BufferName, pe: PE, variants: Iterable[tuple[Array, Formats]]) -> int:
    """Return the width that serves every step of all arrays and formats that a chip takes.

    A shared buffer gives weights and inputs in one access; a buffer of outputs alone takes a
    result of every column.
    """
    needs: list[Fraction] = []
    for array, formats in variants:
        for layer in formats.layers:
            weight, inputs = needs_bits_per_clock(pe, array, layer)
            outputs = Fraction(array.columns * payload_bits(layer.output))
            needs.append(
                {"weight": weight, "shared": weight + inputs, "output": outputs}.get(buffer, inputs)
            )
    return max(map(math.ceil, needs))


def published(buffer: BufferName, pe: PE, array: Array, formats: Formats, fraction: float) -> int:
    """Return a port of the BitMoD study (HPCA 2025): that of linear layers in one phase.

    ``lanes * rows`` weights in whole nibbles and ``lanes * columns`` inputs; a bit-serial array
    fetches ``fraction`` of them an access.
    """
    linear = formats.linear
    share = fraction if pe.kind == "bit_serial" else 1.0
    stated = linear.weight.bits or payload_bits(linear.weight)
    weight = pe.lanes * 4 * math.ceil(stated / 4) * array.rows * share
    inputs = pe.lanes * payload_bits(linear.input) * array.columns * share
    outputs = array.columns * payload_bits(linear.output)
    bits = {"weight": weight, "shared": weight + inputs, "output": outputs}.get(buffer, inputs)
    return math.ceil(bits)
