"""The ``whole-buffer`` mapper: an operand that fits its buffer is read once, else refetched whole.

The traffic rule of the BitMoD study (HPCA 2025): no tiling of the reduction dimension, so when
neither weights nor inputs fit, one of them is read again for every buffer-full of the other.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

from ..workloads.gemm import Gemm


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Bytes of a layer's operands and how often each is read from DRAM.

    ``input_kept``, ``output_kept``: inputs are on the chip already, results stay there.
    ``weight_room_bytes``, ``input_room_bytes``: what buffers give the operands; 0 where not set.
    """

    weight_bytes: int
    input_bytes: int
    output_bytes: int
    weight_reads: int = 1
    input_reads: int = 1
    input_kept: bool = False
    output_kept: bool = False
    weight_room_bytes: int = 0
    input_room_bytes: int = 0

    @property
    def weight_bits(self) -> int:
        """Weight bits moved from DRAM, refetches counted."""
        return 8 * self.weight_bytes * self.weight_reads

    @property
    def input_bits(self) -> int:
        """Input bits moved from DRAM, refetches counted."""
        return 0 if self.input_kept else 8 * self.input_bytes * self.input_reads

    @property
    def output_bits(self) -> int:
        """Output bits moved to DRAM."""
        return 0 if self.output_kept else 8 * self.output_bytes

    @property
    def total_bits(self) -> int:
        """All bits moved between DRAM and the chip."""
        return self.weight_bits + self.input_bits + self.output_bits


def operand_bytes(
    gemm: Gemm, weight_bits: Fraction, input_bits: Fraction, output_bits: Fraction
) -> Traffic:
    """Return the bytes of a layer's operands, each row padded to whole bytes, read once.

    W = ceil(K b / 8) N B, I = ceil(K b_i / 8) M B, O = ceil(N b_o / 8) M B; an input with fewer
    distinct elements than the product (a feature map before im2col) counts those.
    """
    if gemm.input_elements is None:
        inputs = math.ceil(gemm.k * input_bits / 8) * gemm.m
    else:
        inputs = math.ceil(gemm.input_elements * input_bits / 8)
    return Traffic(
        weight_bytes=math.ceil(gemm.k * weight_bits / 8) * gemm.n * gemm.batch,
        input_bytes=inputs * gemm.batch,
        output_bytes=math.ceil(gemm.n * output_bits / 8) * gemm.m * gemm.batch,
    )


def whole_buffer(once: Traffic, *, weight_buffer_bytes: int, io_buffer_bytes: int) -> Traffic:
    """Return the traffic under the whole-buffer rule.

    With p = ceil(I / S_io) and q = ceil(W / S_w): when W > S_w and I > S_io, the weights are read
    p times if p W + I < q I + W, else the inputs q times; otherwise both once.
    """
    W, I = once.weight_bytes, once.input_bytes  # noqa: E741
    if weight_buffer_bytes >= W or io_buffer_bytes >= I:
        return once
    p, q = -(-I // io_buffer_bytes), -(-W // weight_buffer_bytes)
    weight_reads, input_reads = (p, 1) if p * W + I < q * I + W else (1, q)
    return Traffic(
        weight_bytes=W,
        input_bytes=I,
        output_bytes=once.output_bytes,
        weight_reads=weight_reads,
        input_reads=input_reads,
    )


def output_tiled(once: Traffic, gemm: Gemm, *, io_buffer_bytes: int) -> Traffic:
    """Return the least traffic of a mapping that tiles the reduction dimension.

    An m x n tile of 32-bit partial sums stays in half of the input/output buffer while slices of
    K pass through; weights are then read ceil(M / m) times and inputs ceil(N / n) times, whatever
    K is. The tile with the least traffic is taken; never more than reading whole operands again.
    Used to show what the whole-buffer rule costs.
    """
    tile = io_buffer_bytes // 2 // 4
    best = None
    p = 1
    while p <= gemm.m:
        m = -(-gemm.m // p)
        n = min(gemm.n, tile // m)
        if n:
            q = -(-gemm.n // n)
            moved = p * once.weight_bytes + q * once.input_bytes
            if best is None or moved < best[0]:
                best = (moved, p, q)
        p += 1
        if best is not None and p * once.weight_bytes + once.input_bytes >= best[0]:
            break
    assert best is not None
    return Traffic(
        weight_bytes=once.weight_bytes,
        input_bytes=once.input_bytes,
        output_bytes=once.output_bytes,
        weight_reads=best[1],
        input_reads=best[2],
    )
