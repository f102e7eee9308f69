"""How a layer lies on a chip, for both rungs: what is read how often, what passes by, pieces of K.

One operand stays in its buffer, the other passes by in blocks. A block that does not fit half its
buffer over all of K is cut along K where groups of weights end (anywhere in a group that is all of
K), in as few pieces as let two of them be in the buffer at once. Sums of unfinished outputs then
wait beside the inputs, or in the output buffer, until the next piece comes.
"""

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from ..arch.schema import Arch, BufferName, pe_record
from ..datatypes.errors import BitlatheError
from ..mapping.keep import NOTHING, Kept
from ..mapping.whole_buffer import (
    NO_SUMS,
    Rooms,
    Sums,
    Traffic,
    operand_bytes,
    output_tiled,
    whole_buffer,
)
from ..workloads.gemm import Gemm
from .layer_bits import LayerBits

Streamed = Literal["weight", "input"]
MAPPERS = ("whole-buffer", "hpca25-whole-buffer")


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


def flow_of(arch: Arch) -> str:
    """Return ``tile``, or the dataflow of a systolic array."""
    return "tile" if arch.array.kind == "tile" else arch.array.dataflow


def mapper_of(arch: Arch, mapper: str) -> str:
    """Return the mapper that runs: a chip that names one takes it for ``whole-buffer`` too."""
    return arch.mapper or mapper if mapper == "whole-buffer" else mapper


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A layer on a chip.

    Attributes
    ----------
    gemm, bits
        The layer.
    traffic : Traffic
        What is read how often.
    stream : {"weight", "input"}
        The operand that passes by in blocks while the other stays.
    half_bytes : dict
        The most that a piece of an operand may take, so that two of them fit where its buffer is
        double buffered.
    sum_bits : int
        Bits of an unfinished sum.
    sequences_apart : int
        Sequences whose rows share no tile, though they share the weights (BitMoD study).
    live_sum_bytes : int
        Bytes of unfinished sums that wait at once.
    """

    arch: Arch
    gemm: Gemm
    bits: LayerBits
    traffic: Traffic
    stream: Streamed
    half_bytes: dict[str, int]
    sum_bits: int
    sequences_apart: int = 1
    live_sum_bytes: int = 0

    def pieces(self, rows: int, k: int) -> int:
        """Return the pieces of K of a streamed block of ``rows`` rows (or outputs) of k elements.

        1 where it is not cut; where K lies on the rows of the array, as many as there are folds.

        Raises
        ------
        BitlatheError
            Half the buffer does not hold a single group.
        """
        arch, bits, half = self.arch, self.bits, self.half_bytes[self.stream]
        size_bytes = block_bytes(self.gemm, bits, self.stream, rows, k)
        if size_bytes <= half:
            return 1
        lanes, chunks = arch.pe.lanes, bits.chunks(k, arch.pe.lanes)
        if flow_of(arch) in ("ws", "is"):
            unit, units = min(arch.array.rows, chunks), _ceil(chunks, arch.array.rows)
            what = f"a fold of {arch.array.rows} rows of the array"
        elif 0 < bits.group < k:
            unit, units = _ceil(bits.group, lanes), _ceil(k, bits.group)
            what = f"a group of {bits.group} weights along K"
        else:
            unit, units, what = 1, chunks, f"{lanes} along K"
        fit = half * chunks // (size_bytes * unit)  # units in a piece
        if fit < 1:
            name = arch.buffers.layout[self.stream]
            parts = "half of it" if arch.buffers.named(name).double_buffered else "it"
            whose = "outputs" if self.stream == "weight" else "tokens"
            raise BitlatheError(
                f"layer {self.gemm.name!r}: buffers.{name} is too small: {parts}, {half} bytes, "
                f"must hold {what} of {rows} {whose}, {_ceil(size_bytes * unit, chunks)} bytes; "
                "use a larger buffer."
            )
        return max(_ceil(size_bytes, half), _ceil(units, fit))

    def pieces_of_k(self, m: int, n: int, k: int) -> int:
        """Return the pieces of K whose sums wait, of an m x n x k part; 1 where none do.

        The BitMoD study leaves unfinished sums in the PEs. On systolic arrays with K on the rows
        sums wait between folds instead.
        """
        flow = flow_of(self.arch)
        if self.arch.published_accounting:
            return 1
        block_m, block_n = self.block(m, n)
        pieces = self.pieces(min(block_n, n) if self.stream == "weight" else min(block_m, m), k)
        return 1 if flow in ("ws", "is") else pieces

    def block(self, m: int, n: int) -> tuple[int, int]:
        """Return (m, n) of a block of an m x n part, before it is cut into groups.

        On ws and is arrays the dimension that passes through the PEs is whole where its operand
        stays in its buffer, else as long as half that buffer, and the room for sums, hold.
        """
        array, flow = self.arch.array, flow_of(self.arch)
        if flow == "tile":
            return array.columns, array.rows
        if flow == "os":
            return array.rows, array.columns
        if flow == "ws":
            return (m if self.stream == "weight" else self._passing("input", m)), array.columns
        return array.columns, (n if self.stream == "input" else self._passing("weight", n))

    def _passing(self, operand: Streamed, extent: int) -> int:
        """Return how much of a dimension passes through the PEs at once, its operand streamed."""
        row = max(1, block_bytes(self.gemm, self.bits, operand, 1, self.gemm.k))
        half = self.half_bytes[operand]
        if not self.sums_wait:
            return max(1, min(extent, half // row))
        sums = _ceil(self.arch.array.columns * self.sum_bits, 8)  # of a row of what passes
        room = _sums_room(self.arch)
        if room is not None:
            fit = min(half // row, room // sums)
        elif operand == "input":
            places = 2 if self.arch.buffers.of("input").double_buffered else 1
            fit = half * places // (row * places + sums)
        else:
            fit = min(half // row, self.half_bytes["input"] // sums)
        return max(1, min(extent, fit))

    def passes(self, m: int, n: int) -> int:
        """Return how often a stationary operand is loaded: parts of the dimension that passes."""
        flow = flow_of(self.arch)
        if flow not in ("ws", "is"):
            return 1
        block_m, block_n = self.block(m, n)
        if flow == "ws":
            return _ceil(m, min(block_m, _ceil(m, self.traffic.weight_reads)))
        return _ceil(n, min(block_n, _ceil(n, self.traffic.input_reads)))

    @property
    def sums_wait(self) -> bool:
        """Whether sums between folds of K wait in a buffer (systolic arrays with K on the rows)."""
        array = self.arch.array
        waits = array.kind == "systolic" and array.dataflow != "os"
        return (
            waits
            and not self.arch.published_accounting
            and folds_k(self.arch, self.bits, self.gemm.k)
        )


def block_bytes(gemm: Gemm, bits: LayerBits, stream: Streamed, rows: int, k: int) -> int:
    """Return the bytes of ``rows`` outputs of weights, or tokens of inputs, over k of K."""
    if stream == "weight":
        return _ceil_bytes(k * bits.weight) * rows
    if gemm.input_elements is None:
        return _ceil_bytes(k * bits.input) * rows
    return _ceil(_ceil_bytes(gemm.input_elements * bits.input) * rows, gemm.m)


def _ceil_bytes(size_bits: Fraction) -> int:
    return math.ceil(size_bits / 8)


def _half_bytes(arch: Arch, traffic: Traffic, kept: Kept) -> dict[str, int]:
    """Return the most that one piece of each operand may take."""
    inputs = traffic.input_room_bytes
    rooms = {
        "weight": traffic.weight_room_bytes,
        "input": inputs if kept.input else max(1, inputs - kept.held_bytes),
    }
    return {
        operand: max(1, room // (2 if arch.buffers.of(operand).double_buffered else 1))  # type: ignore[arg-type]
        for operand, room in rooms.items()
    }


def lay_out(arch: Arch, gemm: Gemm, bits: LayerBits, mapper: str, kept: Kept = NOTHING) -> Layout:
    """Return how a mapper lays a layer on a chip.

    Of the shares of a shared buffer, the first with the least traffic.

    Parameters
    ----------
    arch, gemm, bits
        Chip and layer.
    mapper : str
        One of `MAPPERS`, or ``output-tiled``.
    kept : Kept
        What stays on the chip between this layer and others.
    """
    mapper = mapper_of(arch, mapper)
    pooled = mapper == "hpca25-whole-buffer" or arch.mapper == "hpca25-whole-buffer"
    once = operand_bytes(gemm, bits.weight, bits.input, bits.output, masked=not pooled)
    sum_bits = pe_record(arch.pe).partial_sum_bits
    found: Traffic | None = None
    for weight_room, input_room in arch.buffers.rooms_bytes:
        roomy = replace(once, weight_room_bytes=weight_room, input_room_bytes=input_room)
        rooms = Rooms(weight=weight_room, input=input_room, sums=_sums_room(arch))
        half = _half_bytes(arch, roomy, kept)
        moved = whole_buffer(
            roomy,
            rooms,
            sums=_live_sums(arch, gemm, bits, half, sum_bits),
            live_weight_bytes=_live_weights(arch, gemm, once),
            pooled=pooled,
        )
        if mapper == "output-tiled" and not (moved.weights_fit or moved.inputs_fit):
            tiled = output_tiled(moved, gemm, io_buffer_bytes=input_room)
            moved = min(moved, tiled, key=lambda t: t.total_bits)
        if found is None or moved.total_bits < found.total_bits:
            found = moved
    assert found is not None
    traffic = replace(found, input_kept=kept.input, output_kept=kept.output)
    stream = _stream(arch, gemm, traffic)
    half = _half_bytes(arch, traffic, kept)
    beside = _sums_room(arch) is None
    sums = _live_sums(arch, gemm, bits, half, sum_bits)
    if stream == "input" and beside and sums.of_outputs:
        half["input"] = max(1, half["input"] // 2)  # the sums have the other half of the buffer
    rows_sums, outputs_sums = (
        _ceil(sums.of_rows, traffic.weight_reads),
        _ceil(sums.of_outputs, traffic.input_reads),
    )
    return Layout(
        arch=arch,
        gemm=gemm,
        bits=bits,
        traffic=traffic,
        stream=stream,
        half_bytes=half,
        sum_bits=sum_bits,
        sequences_apart=gemm.sequences if pooled else 1,
        live_sum_bytes=rows_sums if stream == "weight" else outputs_sums,
    )


def _stream(arch: Arch, gemm: Gemm, traffic: Traffic) -> Streamed:
    """Return the operand that passes by: the one that is read again, or does not fit."""
    if gemm.causal is not None or traffic.weight_reads > 1:
        return "weight"
    if traffic.input_reads > 1:
        return "input"
    fits, both = traffic.weights_fit, traffic.inputs_fit
    return "input" if fits and (not both or flow_of(arch) == "is") else "weight"


def sums_home(arch: Arch) -> BufferName:
    """Return the buffer that holds unfinished sums: the accumulator buffer, or that of results.

    ``scalesim`` timing knows no accumulator buffer.
    """
    array = arch.array
    if array.accumulator_buffer and array.timing == "physical" and arch.buffers.accumulator:
        return "accumulator"
    return arch.buffers.layout["output"]


def _sums_room(arch: Arch) -> int | None:
    """Return the bytes of the buffer that holds unfinished sums; None if inputs share it."""
    home = sums_home(arch)
    return None if home == arch.buffers.layout["input"] else arch.buffers.named(home).size_bytes


def folds_k(arch: Arch, bits: LayerBits, k: int) -> bool:
    """Whether a systolic array that holds K on its rows needs several folds of it."""
    return bits.chunks(k, arch.pe.lanes) > arch.array.rows


def _live_sums(
    arch: Arch, gemm: Gemm, bits: LayerBits, half: dict[str, int], sum_bits: int
) -> Sums:
    """Return the bytes of unfinished sums that wait while one operand stays, over the product."""
    if arch.published_accounting or gemm.causal is not None:
        return NO_SUMS
    array, flow = arch.array, flow_of(arch)
    if flow in ("ws", "is"):
        if not folds_k(arch, bits, gemm.k):
            return NO_SUMS
        if flow == "ws":
            return Sums(of_rows=_ceil(gemm.m * min(gemm.n, array.columns) * sum_bits, 8))
        return Sums(of_outputs=_ceil(gemm.n * min(gemm.m, array.columns) * sum_bits, 8))
    m, n = (array.columns, array.rows) if flow == "tile" else (array.rows, array.columns)
    m, n = min(m, gemm.m), min(n, gemm.n)

    def cut(stream: Streamed, rows: int) -> bool:
        return block_bytes(gemm, bits, stream, rows, gemm.k) > half[stream]

    return Sums(
        of_rows=_ceil(gemm.m * n * sum_bits, 8) if cut("weight", n) else 0,
        of_outputs=_ceil(gemm.n * m * sum_bits, 8) if cut("input", m) else 0,
    )


def _live_weights(arch: Arch, gemm: Gemm, once: Traffic) -> int | None:
    """Return the bytes of keys or values that an attention window needs at once."""
    if gemm.window is None:
        return None
    block = arch.array.columns if arch.array.kind == "tile" else arch.array.rows
    tokens = _ceil(block, gemm.rows_per_token) + 1
    extent = gemm.n if gemm.causal == "n" else gemm.k
    live = min(extent, gemm.window + tokens)
    return _ceil(once.weight_bytes * live, extent)
