"""The plan of a model: its layers in order, with what stays on the chip between them."""

from collections.abc import Mapping, Set
from dataclasses import replace

from ..arch.schema import Arch
from ..mapping.keep import Plan, keep_outputs, nothing_kept
from ..mapping.whole_buffer import Traffic, operand_bytes
from ..workloads.gemm import Gemm
from ..workloads.order import Order
from .layer_bits import LayerBits


def plan_of(
    arch: Arch,
    order: Order,
    bits: Mapping[Gemm, LayerBits],
    barred: Set[str] = frozenset(),
) -> Plan:
    """Return the order of execution with what stays on the chip around each layer.

    Parameters
    ----------
    arch : Arch
    order : Order
        The layers in the order of execution.
    bits : mapping of Gemm to LayerBits
    barred : set of str
        Layers whose results do not stay (`without_a_place`).
    """
    if not arch.execution.keep_outputs:
        return nothing_kept(order)

    def bytes_of(gemm: Gemm) -> Traffic:
        """Return the bytes of all products together, which stay together; scores unmasked."""
        stored = bits[gemm]
        one = operand_bytes(gemm, stored.weight, stored.input, stored.output, masked=False)
        return replace(
            one,
            weight_bytes=one.weight_bytes * one.products,
            input_bytes=one.input_bytes * one.products,
            output_bytes=one.output_bytes * one.products,
        )

    return keep_outputs(order, bytes_of, arch.buffers.of("input").size_bytes, barred)
