"""Widths of SRAM ports that follow the array: one width a buffer, whatever the chip runs.

A port is as wide as the widest need of any phase and kind of layer. The need is ceil(payload bits
of one step / clocks of one step): a bit-serial PE works on a step for as many clocks as its
weights have terms, a look-up PE for as many as they have bit planes, any other for one.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

from .formats import Formats, LayerFormats
from .memories import BufferName
from .parts import Array
from .pe_base import PEKind
from .splitting import split_array


def _elements(array: Array) -> tuple[tuple[int, bool], tuple[int, bool]]:
    """Return (elements over lanes, stationary?) of an access of weights, and of inputs.

    What stands still is loaded a row of the array an access, one a clock.
    """
    flow, sides = array.flow, (array.rows, array.columns)
    weights, inputs = sides[::-1] if flow.weights_on_columns else sides
    return (weights, flow.loaded == "weight"), (inputs, flow.loaded == "input")


def needs_bits_per_clock(
    pe: PEKind, array: Array, formats: LayerFormats
) -> tuple[Fraction, Fraction]:
    """Return the bits of weights and of inputs that the array takes a clock.

    Where zero terms are skipped a step may take a single clock.
    """
    clocks = 1 if pe.skip_zero_terms else pe.step_clocks(formats.weight)
    lanes, array = split_array(pe, array, formats)
    weight, inputs = (
        Fraction(count * lanes * operand.payload_bits, 1 if still else clocks)
        for (count, still), operand in zip(
            _elements(array), (formats.weight, formats.input), strict=True
        )
    )
    return weight, inputs


def weights_at_once(pe: PEKind, array: Array, formats: LayerFormats) -> int:
    """Return the weights that enter the array in one clock, those of all lanes."""
    lanes, array = split_array(pe, array, formats)
    return lanes * _elements(array)[0][0]


@lru_cache(maxsize=1024)
def widest(buffer: BufferName, pe: PEKind, variants: tuple[tuple[Array, Formats], ...]) -> int:
    """Return the width in bits that serves every step of all arrays and formats of a chip.

    A shared buffer gives weights and inputs in one access; a buffer of outputs alone takes a
    result of every column.
    """
    needs: list[Fraction] = []
    for array, formats in variants:
        for layer in formats.layers:
            weight, inputs = needs_bits_per_clock(pe, array, layer)
            columns = split_array(pe, array, layer)[1].columns
            outputs = Fraction(columns * layer.output.payload_bits)
            needs.append(
                {"weight": weight, "shared": weight + inputs, "output": outputs}.get(buffer, inputs)
            )
    return max(map(math.ceil, needs))


def published(
    buffer: BufferName, pe: PEKind, array: Array, formats: Formats, fraction: float
) -> int:
    """Return the port width in bits that the BitMoD study (HPCA 2025) counts, in one phase.

    An access is ``lanes * rows`` weights in whole nibbles, ``lanes * columns`` inputs, or
    ``columns`` outputs of a linear layer.

    Parameters
    ----------
    buffer : str
        ``weight``, ``input``, ``io``, ``output`` or ``shared``.
    pe, array, formats : PEKind, Array, Formats
        Those of the chip in this phase.
    fraction : float
        Part of those weights and inputs that one access of a bit-serial array fetches.
    """
    linear = formats.linear
    share = fraction if pe.serial else 1.0
    stated = linear.weight.bits or linear.weight.payload_bits
    weight = pe.lanes * 4 * math.ceil(stated / 4) * array.rows * share
    inputs = pe.lanes * linear.input.payload_bits * array.columns * share
    outputs = array.columns * linear.output.payload_bits
    bits = {"weight": weight, "shared": weight + inputs, "output": outputs}.get(buffer, inputs)
    return math.ceil(bits)
