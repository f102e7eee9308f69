"""How a layer lies on a chip, for both rungs: what is read how often, what passes by, pieces of K.

One operand stays in its buffer, the other passes by in blocks. A block that does not fit half its
buffer over all of K is cut along K where groups of weights end (anywhere in a group that is all of
K), in as few pieces as let two of them be in the buffer at once. Sums of unfinished outputs then
wait beside the inputs, or in the output buffer, until the next piece comes.
"""

from dataclasses import dataclass, replace
from typing import Literal

from ..datatypes.base.errors import BitlatheError
from ..datatypes.base.numbers import ceil_div, units_of
from ..mapping.keep import NOTHING, Kept
from ..mapping.whole_buffer import (
    NO_SUMS,
    Capacity,
    Sums,
    Traffic,
    operand_bytes,
    output_tiled,
    whole_buffer,
)
from ..workloads.gemm import Gemm, VisibleBlock
from .chip import Chip
from .layer_bits import LayerBits
from .mappers import rule_of

Streamed = Literal["weight", "input"]


def token_rows(chip: Chip) -> int:
    """Return the rows of M in a block of tokens under a mask: a fold of the array's tokens."""
    array = chip.arch.array
    return array.flow.along("m", array.rows, array.columns) or array.rows


def cropped(gemm: Gemm) -> Gemm:
    """Return a masked layer without the entries at either end that no row sees.

    Examples
    --------
    >>> cropped(Gemm(name="qk", m=4, n=20, k=64, causal="n", window=3, visible_before=9)).n
    6
    """
    if gemm.causal is None:
        return gemm
    low, high = gemm.seen(0, gemm.m)
    if low >= high:
        return gemm
    before = gemm.visible_before - low
    if gemm.causal == "n":
        return replace(gemm, n=high - low, visible_before=before)
    return replace(gemm, k=high - low, visible_before=before)


def visible_blocks(chip: Chip, gemm: Gemm) -> tuple[VisibleBlock, ...]:
    """Return the blocks of tokens of a masked layer that see something."""
    return gemm.visible_blocks(token_rows(chip))


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A layer on a chip.

    Attributes
    ----------
    chip, gemm, bits
        The layer, and the chip.
    kept : Kept
        What stays on the chip between this layer and others.
    traffic : Traffic
        What is read how often.
    stream : {"weight", "input"}
        The operand that passes by in blocks while the other stays.
    half_bytes : dict
        The most that a piece of an operand may take, so that two of them fit where its buffer is
        double buffered.
    pooled : bool
        The rule of the BitMoD study: all products together, masks save no traffic.
    sequences_apart : int
        Sequences whose rows share no tile, though they share the weights (BitMoD study).
    live_sum_bytes : int
        Bytes of unfinished sums that wait at once.
    """

    chip: Chip
    gemm: Gemm
    bits: LayerBits
    kept: Kept
    traffic: Traffic
    stream: Streamed
    half_bytes: dict[str, int]
    pooled: bool = False
    sequences_apart: int = 1
    live_sum_bytes: int = 0

    def pieces(self, rows: int, k: int) -> int:
        """Return the pieces of K of a streamed block of ``rows`` rows (or outputs) of k elements.

        1 where it is not cut; where K lies on the rows of the array, as many as there are folds.

        Raises
        ------
        BitlatheError
            Half the buffer is too small for a single group.
        """
        arch, bits, half = self.chip.arch, self.bits, self.half_bytes[self.stream]
        size_bytes = block_bytes(self.gemm, bits, self.stream, rows, k)
        if size_bytes <= half:
            return 1
        lanes, chunks = arch.pe.lanes, bits.chunks(k, arch.pe.lanes)
        if not self.chip.flow.sums_stay:
            unit, units = min(arch.array.rows, chunks), ceil_div(chunks, arch.array.rows)
            what = f"a fold of {arch.array.rows} rows of the array"
        elif 0 < bits.group < k:
            unit, units = ceil_div(bits.group, lanes), ceil_div(k, bits.group)
            what = f"a group of {bits.group} weights along K"
        else:
            unit, units, what = 1, chunks, f"{lanes} along K"
        fit = half * chunks // (size_bytes * unit)  # units in a piece
        if fit < 1:
            buffer = self.chip.holding(self.stream)
            parts = "half of it" if buffer.double_buffered else "it"
            whose = "outputs" if self.stream == "weight" else "tokens"
            raise BitlatheError(
                f"layer {self.gemm.name!r}: buffers.{buffer.name} is too small: {parts}, "
                f"{half} bytes, must hold {what} of {rows} {whose}, "
                f"{ceil_div(size_bytes * unit, chunks)} bytes; use a larger buffer."
            )
        return max(ceil_div(size_bytes, half), ceil_div(units, fit))

    def waiting(self, m: int, n: int, k: int) -> tuple[int, int, int]:
        """Return (times, tokens, outputs): the sums of so many wait so often for a piece of K.

        None do where one tile after the other uses the pieces of a block: its sums stay in the PEs.
        The BitMoD study leaves all of them there. On systolic arrays with K on the rows sums wait
        between folds instead.
        """
        if self.chip.published:
            return 0, 0, 0
        block_m, block_n = self.block(m, n)
        weights = self.stream == "weight"
        pieces = self.pieces(min(block_n, n) if weights else min(block_m, m), k)  # or refused
        if not self.chip.flow.sums_stay:
            return 0, 0, 0
        times = pieces - 1
        if weights:
            return times, _together(m, block_m, self.traffic.weight_reads), n
        return times, m, _together(n, block_n, self.traffic.input_reads)

    @property
    def live_sums(self) -> int:
        """Unfinished sums that wait at once: the most of any part."""
        gemm, traffic = self.gemm, self.traffic
        if self.chip.published:
            return 0
        if gemm.causal is None:
            block_m, block_n = self.block_in_groups(gemm.m, gemm.n)
            m = _largest(gemm.m, block_m, traffic.weight_reads)
            n = _largest(gemm.n, block_n, traffic.input_reads)
            return self._live_sums(m, n, gemm.k)
        if self.chip.flow.sums_stay:
            return 0  # one block of tokens at a time
        blocks = visible_blocks(self.chip, gemm)
        return max((self._live_sums(each.m, each.n, each.k) for each in blocks), default=0)

    def _live_sums(self, m: int, n: int, k: int) -> int:
        """Return the unfinished sums that wait at once in an m x n x k part."""
        array, flow = self.chip.arch.array, self.chip.flow
        block_m, block_n = self.block(m, n)
        if not flow.sums_stay:
            if self.chip.sums.name == "accumulator" or not folds_k(self.chip, self.bits, k):
                return 0
            passing = flow.extents(min(block_m, m), min(block_n, n), k).streamed
            return passing * min(array.columns, flow.extents(m, n, k).columns)
        weights = self.stream == "weight"
        block, (stays, size) = (
            (min(block_n, n), (m, block_m)) if weights else (min(block_m, m), (n, block_n))
        )
        return block * stays if stays > size and self.pieces(block, k) > 1 else 0

    def block(self, m: int, n: int) -> tuple[int, int]:
        """Return (m, n) of a block of an m x n part, before it is cut into groups.

        On ws and is arrays the dimension that passes through the PEs is whole where its operand
        stays in its buffer, else as long as half that buffer, and the room for sums, hold.
        """
        array = self.chip.arch.array
        block_m = array.flow.along("m", array.rows, array.columns)
        block_n = array.flow.along("n", array.rows, array.columns)
        if block_m is None:
            block_m = m if self.stream == "weight" else self._passing("input", m)
        if block_n is None:
            block_n = n if self.stream == "input" else self._passing("weight", n)
        return block_m, block_n

    def block_in_groups(self, m: int, n: int) -> tuple[int, int]:
        """Return (m, n) of a block of all m x n outputs, none longer than its group.

        A part is cut into groups only where there is no mask.
        """
        streamed, (block_m, block_n) = self.chip.flow.streamed, self.block(m, n)
        if self.gemm.causal is None and streamed == "m":
            block_m = min(block_m, ceil_div(m, self.traffic.weight_reads))
        if self.gemm.causal is None and streamed == "n":
            block_n = min(block_n, ceil_div(n, self.traffic.input_reads))
        return block_m, block_n

    def _passing(self, operand: Streamed, extent: int) -> int:
        """Return how much of a dimension passes through the PEs at once, its operand streamed."""
        row = max(1, block_bytes(self.gemm, self.bits, operand, 1, self.gemm.k))
        half, chip = self.half_bytes[operand], self.chip
        if not self.sums_wait:
            return max(1, min(extent, half // row))
        other = self.gemm.n if operand == "input" else self.gemm.m
        sums = min(chip.arch.array.columns, other) * chip.sum_bits  # bits, of a row that passes
        places = chip.holding("input").places
        if not chip.sums_beside_inputs:
            fit = min(half // row, 8 * chip.sums.size_bytes // sums)
        elif operand == "input":
            fit = 8 * half * places // (8 * row * places + sums)
        else:  # inputs have the other half
            fit = min(half // row, 8 * (self.half_bytes["input"] * places // 2) // sums)
        return max(1, min(extent, fit))

    @property
    def sums_wait(self) -> bool:
        """Whether sums between folds of K wait in a buffer (systolic arrays with K on the rows)."""
        return (
            not self.chip.flow.sums_stay
            and not self.chip.published
            and folds_k(self.chip, self.bits, self.gemm.k)
        )


def _together(extent: int, block: int, groups: int) -> int:
    """Return how much of a dimension lies in groups of several blocks (`cycle.lower`).

    Groups are of whole blocks, the longer ones first.

    Examples
    --------
    >>> _together(20, 4, 2), _together(18, 4, 3), _together(18, 4, 5)
    (20, 16, 0)
    """
    blocks = ceil_div(extent, block)
    groups = min(groups, blocks)
    return extent if blocks // groups > 1 else blocks % groups * 2 * block


def _largest(extent: int, block: int, groups: int) -> int:
    """Return the extent of the largest group of whole blocks."""
    blocks = ceil_div(extent, block)
    return min(extent, ceil_div(blocks, min(groups, blocks)) * block)


def block_bytes(gemm: Gemm, bits: LayerBits, stream: Streamed, rows: int, k: int) -> int:
    """Return the bytes of a block of weights or inputs.

    Parameters
    ----------
    gemm : Gemm
    bits : LayerBits
    stream : {"weight", "input"}
    rows : int
        Outputs of the weights, or tokens of the inputs.
    k : int
        Elements along K.
    """
    if stream == "weight":
        return units_of(k, bits.weight) * rows
    if gemm.input_elements is None:
        return units_of(k, bits.input) * rows
    return ceil_div(units_of(gemm.input_elements, bits.input) * rows, gemm.m)


def _half_bytes(chip: Chip, traffic: Traffic, kept: Kept) -> dict[str, int]:
    """Return the most that one piece of each operand may take."""
    weights, inputs = traffic.weight_room_bytes, _free_bytes(traffic.input_room_bytes, kept)
    return {
        "weight": max(1, weights // chip.holding("weight").places),
        "input": max(1, inputs // chip.holding("input").places),
    }


def _free_bytes(input_room: int, kept: Kept) -> int:
    """Return the bytes that inputs have beside what is kept; all of it if they are kept."""
    return input_room if kept.input else max(1, input_room - kept.kept_bytes)


def layouts(
    chip: Chip, gemm: Gemm, bits: LayerBits, mapper: str, kept: Kept = NOTHING
) -> tuple[Layout, ...]:
    """Return the layouts in which a chip may run a layer: a masked one also without its mask.

    The BitMoD study's chips take the mask as it is.

    Parameters
    ----------
    chip, gemm, bits, mapper, kept
        As in `lay_out`.
    """
    ways = [gemm]
    if gemm.causal is not None and not chip.published:
        ways.append(replace(gemm, causal=None, window=None))
    return tuple(lay_out(chip, way, bits, mapper, kept) for way in ways)


def lay_out(chip: Chip, gemm: Gemm, bits: LayerBits, mapper: str, kept: Kept = NOTHING) -> Layout:
    """Return how a mapper lays a layer on a chip.

    Parameters
    ----------
    chip, gemm, bits
        Chip and layer.
    mapper : str
        One of `MAPPERS`, or ``output-tiled``.
    kept : Kept
        What stays on the chip between this layer and others.

    Raises
    ------
    BitlatheError
        Half a buffer is too small for a single group of a block.
    """
    chip, mapper = chip.split_for(bits.split), rule_of(chip.arch, mapper)
    pooled = "hpca25-whole-buffer" in (mapper, chip.arch.mapper)
    traffic = replace(
        _least_traffic(chip, gemm, bits, mapper, kept, pooled=pooled),
        input_kept=kept.input,
        output_kept=kept.output,
    )
    stream = _stream(chip, gemm, traffic)
    half = _half_bytes(chip, traffic, kept)
    beside = stream == "input" and chip.sums_beside_inputs
    if beside and _waiting_sums(chip, gemm, bits, half).of_outputs:
        half["input"] = max(1, half["input"] // 2)  # the sums have the other half
    layout = Layout(
        chip=chip,
        gemm=gemm,
        bits=bits,
        kept=kept,
        traffic=traffic,
        stream=stream,
        half_bytes=half,
        pooled=pooled,
        sequences_apart=gemm.sequences if pooled else 1,
    )
    return replace(layout, live_sum_bytes=ceil_div(layout.live_sums * chip.sum_bits, 8))


def _least_traffic(
    chip: Chip, gemm: Gemm, bits: LayerBits, mapper: str, kept: Kept, *, pooled: bool
) -> Traffic:
    """Return the traffic of a layer; of the shares of a shared buffer, the first with the least."""
    seen = gemm if pooled else cropped(gemm)
    once = operand_bytes(seen, bits.weight, bits.input, bits.output, masked=not pooled)
    sums_room = None if chip.sums_beside_inputs else chip.sums.size_bytes
    found = []
    for weight_room, input_room in chip.arch.buffers.capacity_splits:
        roomy = replace(once, weight_room_bytes=weight_room, input_room_bytes=input_room)
        moved = whole_buffer(
            roomy,
            Capacity(weight=weight_room, input=_free_bytes(input_room, kept), sums=sums_room),
            sums=_waiting_sums(chip, gemm, bits, _half_bytes(chip, roomy, kept)),
            live_weight_bytes=_live_weights(chip, seen, once),
            pooled=pooled,
        )
        if mapper == "output-tiled" and not (moved.weights_fit or moved.inputs_fit):
            tiled = output_tiled(moved, gemm, io_buffer_bytes=input_room)
            moved = min(moved, tiled, key=lambda t: t.total_bits)
        found.append(moved)
    return min(found, key=lambda t: t.total_bits)


def _stream(chip: Chip, gemm: Gemm, traffic: Traffic) -> Streamed:
    """Return the operand that passes by: the one that is read again, or does not fit."""
    if gemm.causal is not None or traffic.weight_reads > 1:
        return "weight"
    if traffic.input_reads > 1:
        return "input"
    fits, both = traffic.weights_fit, traffic.inputs_fit
    inputs_loaded = chip.flow.loaded == "input"
    return "input" if fits and (not both or inputs_loaded) else "weight"


def folds_k(chip: Chip, bits: LayerBits, k: int) -> bool:
    """Return whether a systolic array with K on its rows needs several folds of it."""
    return bits.chunks(k, chip.arch.pe.lanes) > chip.arch.array.rows


def _waiting_sums(chip: Chip, gemm: Gemm, bits: LayerBits, half: dict[str, int]) -> Sums:
    """Return the bytes of unfinished sums that wait while one operand stays, over the product."""
    if chip.published or gemm.causal is not None:
        return NO_SUMS
    array, flow, sum_bits = chip.arch.array, chip.flow, chip.sum_bits
    if not flow.sums_stay:
        if not folds_k(chip, bits, gemm.k):
            return NO_SUMS
        size = flow.extents(gemm.m, gemm.n, gemm.k)
        waiting = ceil_div(size.streamed * min(size.columns, array.columns) * sum_bits, 8)
        return Sums(of_rows=waiting) if flow.streamed == "m" else Sums(of_outputs=waiting)
    n, m = (array.columns, array.rows) if flow.weights_on_columns else (array.rows, array.columns)

    def live(stream: Streamed, passes: int, block: int, stays: int, of_it: int) -> int:
        rows = min(passes, block)
        cut = block_bytes(gemm, bits, stream, rows, gemm.k) > half[stream]
        return ceil_div(stays * rows * sum_bits, 8) if cut and stays > of_it else 0

    return Sums(
        of_rows=live("weight", gemm.n, n, gemm.m, m),
        of_outputs=live("input", gemm.m, m, gemm.n, n),
    )


def _live_weights(chip: Chip, gemm: Gemm, once: Traffic) -> int | None:
    """Return the bytes of keys or values that an attention window needs at once."""
    if gemm.window is None:
        return None
    tokens = ceil_div(token_rows(chip), gemm.rows_per_token) + 1
    extent = gemm.n if gemm.causal == "n" else gemm.k
    live = min(extent, gemm.window + tokens)
    return ceil_div(once.weight_bytes * live, extent)
