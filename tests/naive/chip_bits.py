"""Bits of a layer's operands and clocks of a step where no group waits: `sim.mapped.nest_bits`."""

from fractions import Fraction

from bitlathe.arch.formats import LayerFormats
from bitlathe.arch.schema import Arch
from bitlathe.mapping.operands import OperandBits


def operand_bits(arch: Arch, formats: LayerFormats, m: int, n: int, k: int) -> OperandBits:
    """Return the bits of a product's operands on a chip, and the clocks of a step.

    Clocks that fill a look-up table are clocks of its step. No term is skipped.

    Parameters
    ----------
    arch : Arch
    formats : LayerFormats
        Formats of the layer's weights, inputs and outputs.
    m, n, k : int
        Tokens, outputs and inputs of the product.
    """
    pe, shapes = arch.pe.record, {"weight": (n, k), "input": (m, k), "output": (m, n)}
    stored = {
        op: getattr(formats, op).bits_per_element(length, rows)
        for op, (rows, length) in shapes.items()
    }
    return OperandBits(
        **stored,
        partial=pe.partial_sum_bits,
        step_cycles=Fraction(pe.step_clocks(formats.weight) + arch.table_fill_cycles),
        **{
            f"{op}_code": min(stored[op], Fraction(getattr(formats, op).payload_bits))
            for op in shapes
        },
    )
