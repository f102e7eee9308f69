"""A model's layers in their order of execution: what stays on the chip between them."""

from collections.abc import Callable
from dataclasses import replace

from ..arch.schema import Arch
from ..mapping.keep import Kept, Plan, keep_outputs, nothing_kept, placed_steps
from ..mapping.whole_buffer import Traffic, operand_bytes
from ..workloads.gemm import Gemm
from ..workloads.order import Order
from .layer_bits import LayerBits
from .run import LayerRun


def plan_of(arch: Arch, order: Order, bits_of: Callable[[Gemm], LayerBits]) -> Plan:
    """Return the order of execution with what stays on the chip around each layer."""
    if not arch.execution.keep_outputs:
        return nothing_kept(order)

    def bytes_of(gemm: Gemm) -> Traffic:
        """Return the bytes of all products together, which stay together; scores unmasked."""
        bits = bits_of(gemm)
        one = operand_bytes(gemm, bits.weight, bits.input, bits.output, masked=False)
        return replace(
            one,
            weight_bytes=one.weight_bytes * one.products,
            input_bytes=one.input_bytes * one.products,
            output_bytes=one.output_bytes * one.products,
        )

    return keep_outputs(order, bytes_of, arch.buffers.of("input").size_bytes)


def run_apart(plan: Plan, run_layer: Callable[[Gemm, Kept], LayerRun]) -> tuple[LayerRun, ...]:
    """Return a plan's layers, each on an empty chip but for what was kept.

    A layer whose instances keep different things has a row for each.
    """
    counts: dict[tuple[Gemm, Kept], int] = {}
    for placed, times in placed_steps(plan):
        what = placed.step.gemm, placed.kept
        counts[what] = counts.get(what, 0) + times
    return tuple(
        replace(run_layer(gemm, kept), count=count) for (gemm, kept), count in counts.items()
    )
