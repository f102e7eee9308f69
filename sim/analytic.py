"""The analytic rung: closed forms for clocks, accesses and energy of one layer on one chip.

Clocks, traffic and accesses follow the performance model of the BitMoD study (HPCA 2025),
written for any array, buffer and format; what the study leaves out (leakage, idle PEs, K tiling)
is an option of the chip.
"""

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

from ..arch.components import SramCost
from ..arch.schema import Arch, BufferName, LayerFormats, Operand, OperandName, pe_record
from ..datatypes.errors import BitlatheError
from ..datatypes.scheme import Scheme
from ..mapping.keep import NOTHING, Kept
from ..mapping.whole_buffer import Traffic, operand_bytes, output_tiled, whole_buffer
from ..workloads.gemm import Gemm
from .run import LayerRun, with_total

if TYPE_CHECKING:
    from .array.term_clocks import TermClocks

WORD_BITS = 64  # SRAM is filled word by word
COUNTER_LIMIT = 2**53  # beyond it a count is no longer exact in JSON readers and in floats


@cache
def group_scale(scheme: str | None) -> tuple[int, int]:
    """Return (weights that share a scale along K, 0 for all; bits of an integer scale, or 0)."""
    if scheme is None:
        return 0, 0
    parsed = Scheme.parse(scheme)
    integer = parsed.scale_format.kind == "int"
    return parsed.granularity.columns, parsed.scale_bits if integer else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerBits:
    """Stored bits per element of a layer's operands; clocks a chunk takes (bit-serial terms).

    ``group`` weights along K share a scale (0: all of K), which is applied to their sum: a chunk
    holds weights of one group. An integer scale has ``rescale_bits`` bits, which a bit-serial array
    applies one a clock. ``skipping`` gives the clocks where zero terms are skipped.
    """

    weight: Fraction
    input: Fraction
    output: Fraction
    terms: int
    buffered_weight: Fraction
    group: int = 0
    rescale_bits: int = 0
    skipping: "TermClocks | None" = None

    @classmethod
    def of(
        cls, arch: Arch, formats: LayerFormats, gemm: Gemm, weights: Any | None = None
    ) -> "LayerBits":
        """Count the bits of a layer's operands, and the clocks a chunk takes.

        Those are the terms of a bit-serial PE, the bit planes of a look-up PE, else one. Where
        the PE skips zero terms they come from ``weights``, or from a stand-in.
        """
        bits = formats.weight.bits_per_element(gemm.k)
        group, scale_bits = group_scale(formats.weight.scheme)
        rescale_bits = scale_bits if arch.serial else 0
        return cls(
            weight=bits,
            input=formats.input.bits_per_element(gemm.k),
            output=formats.output.bits_per_element(gemm.n),
            terms=chunk_clocks(arch, formats.weight),
            buffered_weight=bits,
            group=group,
            rescale_bits=rescale_bits,
            skipping=_skipping(arch, formats, gemm, rescale_bits, weights),
        )

    def chunks(self, k: int, lanes: int) -> int:
        """Return the chunks of up to ``lanes`` weights in ``k`` of them: each group's own.

        Examples
        --------
        >>> bits = Fraction(8)
        >>> layer = LayerBits(
        ...     weight=bits, input=bits, output=bits, terms=4, buffered_weight=bits, group=6
        ... )
        >>> layer.chunks(16, 4)  # groups of 6, 6 and 4 take 2, 2 and 1
        5
        """
        size = self.group or k
        groups, rest = divmod(k, size)
        return groups * _ceil(size, lanes) + _ceil(rest, lanes)


def chunk_clocks(arch: Arch, weight: Operand) -> int:
    """Return the clocks of a chunk of weights without skipping."""
    if arch.pe.kind == "lut":
        return math.floor(weight.bits or 1) if weight.scheme is None else planes(weight.scheme)
    return weight.terms if arch.serial else 1


@cache
def planes(scheme: str) -> int:
    """Return the bit planes of a scheme's codes."""
    return Scheme.parse(scheme).element_bits


def _skipping(
    arch: Arch, formats: LayerFormats, gemm: Gemm, rescale_bits: int, weights: Any | None
) -> "TermClocks | None":
    """Return the clocks of a layer's row folds, where the PE skips zero terms."""
    scheme = formats.weight.scheme
    if not arch.pe.skips or scheme is None:
        return None
    from .array.term_clocks import CountedClocks, StandInClocks, skipping_array

    array = skipping_array(arch, scheme, rescale_bits)
    if weights is not None:
        return CountedClocks.of(weights, scheme, array, gemm)
    distribution = arch.pe.skip_weights or "gaussian"
    return StandInClocks(scheme=scheme, k=gemm.k, distribution=distribution, array=array)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipCosts:
    """What a chip's buffers cost, looked up once per run; ``layout``: the buffer of an operand."""

    layout: dict[OperandName, BufferName]
    buffers: dict[BufferName, SramCost]
    port_bits: dict[BufferName, float]

    @classmethod
    def of(cls, arch: Arch) -> "ChipCosts":
        """Look up the buffers of a chip."""
        names = arch.buffers.names
        return cls(
            layout=arch.buffers.layout,
            buffers={name: arch.sram_cost(name) for name in names},
            port_bits={name: arch.port_bits(name) for name in names},
        )

    @property
    def leakage_mw(self) -> float:
        """Leakage of all buffers."""
        return math.fsum(cost.leakage_mw for cost in self.buffers.values())

    def word_write_pj(self, name: BufferName) -> float:
        """Return the energy of one 64-bit word that is written: its share of a port."""
        return self.buffers[name].write_pj / (self.port_bits[name] / WORD_BITS)


def area_um2(arch: Arch, costs: ChipCosts) -> dict[str, float]:
    """Return the chip's area by component: PE array (cells, before place and route), buffers."""
    return with_total(
        {
            "pe_array": arch.array.rows * arch.array.columns * arch.pe.cell_area_um2,
            **{f"{name}_buffer": cost.area_um2 for name, cost in costs.buffers.items()},
        }
    )


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a layer asks of the array.

    Attributes
    ----------
    steps, cycles : int
        Chunks entered, and the clocks they take.
    busy_pe_cycles : float
        PE clocks that hold work, summed over the PEs.
    exposed_cycles : int
        Clocks in which the array only loads operands or only shifts results out, for want of the
        register that would hide them.
    weight_reads, io_reads : int
        Accesses of each buffer by the array.
    partial_reads, partial_writes : int
        Unfinished sums read back to be added to, and written.
    """

    steps: int = 0
    cycles: int = 0
    busy_pe_cycles: float = 0
    exposed_cycles: int = 0
    weight_reads: int = 0
    io_reads: int = 0
    partial_reads: int = 0
    partial_writes: int = 0

    def times(self, count: int) -> "Work":
        """Return the work of ``count`` equal products."""
        return Work(**{name: getattr(self, name) * count for name in self.__slots__})

    def plus(self, other: "Work") -> "Work":
        """Return the work of this and another product."""
        return Work(**{name: getattr(self, name) + getattr(other, name) for name in self.__slots__})


def _tile_work(arch: Arch, bits: LayerBits, m: int, n: int, k: int) -> Work:
    """Return the work of one product on a tile array: chunks * ceil(N/R) * ceil(M/C) steps."""
    R, C = arch.array.rows, arch.array.columns
    chunks, column_folds = bits.chunks(k, arch.pe.lanes), _ceil(m, C)
    steps = chunks * _ceil(n, R) * column_folds
    reads = {"weight_reads": steps, "io_reads": steps}
    if bits.skipping is None:
        busy = chunks * n * m * bits.terms
        return Work(steps=steps, cycles=steps * bits.terms, busy_pe_cycles=busy, **reads)
    full, rest = divmod(n, R)
    if bits.skipping.positional:
        folds = [(bits.skipping.fold(i * R, R, k), 1) for i in range(full)]
    else:
        folds = [(bits.skipping.fold(0, R, k), full)] if full else []
    folds += [(bits.skipping.fold(full * R, rest, k), 1)] if rest else []
    return Work(
        steps=steps,
        cycles=column_folds * sum(fold.issue * count for fold, count in folds),
        busy_pe_cycles=m * sum(fold.busy * count for fold, count in folds),
        **reads,
    )


def _systolic_work(arch: Arch, bits: LayerBits, m: int, n: int, k: int) -> Work:
    """Return the work of one product on a systolic array: folds x streamed dimension.

    Fill and drain are left out: this is the bound that the clock-by-clock array approaches. A
    stationary operand is read once a fold, a row an access; what streams, once a step. Without a
    second operand register, or a drain register, the rows loaded or shifted out take a clock each
    (`array.systolic_model`). Where K lies on the rows, every row fold but the last writes partial
    sums and every one but the first reads them, unless a buffer keeps them; ``scalesim`` timing
    knows no such buffer, and reads none back.
    """
    array, pe = arch.array, arch.pe
    chunks = bits.chunks(k, pe.lanes)
    rows, columns, streamed = {
        "os": (m, n, chunks),
        "ws": (chunks, n, m),
        "is": (chunks, m, n),
    }[array.dataflow]
    row_folds, column_folds = _ceil(rows, array.rows), _ceil(columns, array.columns)
    steps, moved = row_folds * column_folds * streamed, column_folds * rows
    physical, sums_stay = array.timing == "physical", array.dataflow == "os"
    hidden = pe.drain_register if sums_stay else pe.double_buffered_operand
    kept = sums_stay or (array.accumulator_buffer and physical)
    partial_sums = 0 if kept else (row_folds - 1) * m * n
    return Work(
        steps=steps,
        cycles=steps * bits.terms,
        busy_pe_cycles=rows * columns * streamed * bits.terms,
        exposed_cycles=0 if hidden or not physical else moved,
        weight_reads=moved if array.dataflow == "ws" else steps,
        io_reads=moved if array.dataflow == "is" else steps,
        partial_reads=partial_sums if physical else 0,
        partial_writes=partial_sums,
    )


def layer_work(arch: Arch, gemm: Gemm, bits: LayerBits) -> Work:
    """Return the work of a layer, batch included; a causal mask skips steps wholly behind it.

    Under a causal mask the rows of M (tokens, ``rows_per_token`` each) are taken in blocks of the
    array's columns; a block sees the keys up to its last token.
    """
    one = _tile_work if arch.array.kind == "tile" else _systolic_work
    if gemm.causal is None:
        return one(arch, bits, gemm.m, gemm.n, gemm.k).times(gemm.batch)
    block = arch.array.columns if arch.array.kind == "tile" else arch.array.rows
    work = Work()
    for first in range(0, gemm.m, block):
        rows = min(block, gemm.m - first)
        last_token = (first + rows - 1) // gemm.rows_per_token
        seen = gemm.visible_before + last_token + 1
        n, k = (min(seen, gemm.n), gemm.k) if gemm.causal == "n" else (gemm.n, min(seen, gemm.k))
        work = work.plus(one(arch, bits, rows, n, k))
    return work.times(gemm.batch)


def traffic_of(
    arch: Arch, gemm: Gemm, bits: LayerBits, mapper: str, kept: Kept = NOTHING
) -> Traffic:
    """Return the layer's DRAM traffic under a mapper, in the rooms that buffers give operands.

    Of the shares of a shared buffer, the first with the least traffic.
    """
    once = operand_bytes(gemm, bits.weight, bits.input, bits.output)
    found = None
    for weight_room, input_room in arch.buffers.rooms_bytes:
        moved = whole_buffer(once, weight_buffer_bytes=weight_room, io_buffer_bytes=input_room)
        if mapper == "output-tiled" and moved is not once:
            tiled = output_tiled(once, gemm, io_buffer_bytes=input_room)
            moved = min(moved, tiled, key=lambda t: t.total_bits)
        if found is None or moved.total_bits < found.total_bits:
            found = replace(moved, weight_room_bytes=weight_room, input_room_bytes=input_room)
    assert found is not None
    return replace(found, input_kept=kept.input, output_kept=kept.output)


def _accesses(
    arch: Arch, gemm: Gemm, bits: LayerBits, costs: ChipCosts, traffic: Traffic, work: Work
) -> tuple[dict[BufferName, int], dict[BufferName, int]]:
    """Return (full-port reads, 64-bit words written) by buffer.

    Reads are those of the array, and of partial sums at the accumulator's width; one access of a
    shared buffer gives weights and inputs. Words are operands as they arrive, results and sums.
    """
    words: dict[OperandName, int] = {
        "weight": traffic.weight_reads
        * gemm.n
        * gemm.batch
        * math.ceil(gemm.k * bits.buffered_weight / WORD_BITS),
        "input": 0,
        "output": gemm.m * gemm.batch * math.ceil(gemm.n * bits.output / WORD_BITS),
    }
    if not traffic.input_kept:
        if gemm.input_elements is None:
            once = gemm.m * math.ceil(gemm.k * bits.input / WORD_BITS)
        else:
            once = math.ceil(gemm.input_elements * bits.input / WORD_BITS)
        words["input"] = once * traffic.input_reads * gemm.batch
    sum_bits = pe_record(arch.pe).partial_sum_bits
    words["output"] += _ceil(work.partial_writes * sum_bits, WORD_BITS)
    reads: dict[BufferName, int] = dict.fromkeys(costs.buffers, 0)
    asked: dict[OperandName, int] = {"weight": work.weight_reads, "input": work.io_reads}
    for operand, count in asked.items():
        name = costs.layout[operand]
        reads[name] = max(reads[name], count)
    sums = costs.layout["output"]
    reads[sums] += math.ceil(work.partial_reads * sum_bits / costs.port_bits[sums])
    written: dict[BufferName, int] = dict.fromkeys(costs.buffers, 0)
    for operand, count in words.items():
        written[costs.layout[operand]] += count
    return reads, written


def check_clocks(arch: Arch, gemm: Gemm, cycles: int) -> None:
    """Refuse a layer whose clocks would not be exact, and say what takes them.

    Raises
    ------
    BitlatheError
        More than 2^53 clocks.
    """
    if cycles > COUNTER_LIMIT:
        raise BitlatheError(
            f"layer {gemm.name!r} takes some 10^{math.floor(math.log10(cycles))} clocks, beyond "
            "the exact range of counters (2^53), with dram.bits_per_clock "
            f"{arch.dram.bits_per_clock:g} and dram.latency_cycles {arch.dram.latency_cycles}; use "
            "a faster DRAM, or a smaller context or batch."
        )


def timed_energy_pj(arch: Arch, costs: ChipCosts, cycles: int) -> dict[str, float]:
    """Return the energy that runs with the clocks: leakage of buffers, background of DRAM."""
    time_ns = cycles / arch.technology.clock_ghz
    energy_pj = {"leakage": costs.leakage_mw * time_ns if arch.accounting.leakage else 0.0}
    if arch.dram.background_mw:
        energy_pj["dram_background"] = arch.dram.background_mw * time_ns
    return energy_pj


def run_layer(
    arch: Arch,
    gemm: Gemm,
    bits: LayerBits,
    costs: ChipCosts,
    mapper: str = "whole-buffer",
    *,
    kept: Kept = NOTHING,
) -> LayerRun:
    """Return the cost of one layer.

    Clocks: compute = steps x terms (terms = 1 on a bit-parallel array; with skipped terms the
    clocks of their row folds), array = compute + exposed loads and drains, DRAM =
    floor(bits moved / bits per clock), layer = the larger of array and DRAM. SRAM reads: full-port
    accesses of each buffer (`Work`); writes: every operand word by word as it arrives, each
    costing its share of a port. Partial sums are read and written at the accumulator's width.

    Parameters
    ----------
    arch : Arch
        The chip, already resolved for the phase and model.
    gemm : Gemm
        The layer.
    bits : LayerBits
        Stored bits per element.
    costs : ChipCosts
        The chip's buffers, looked up.
    mapper : {"whole-buffer", "output-tiled"}
        The traffic rule.
    kept : Kept
        What stays on the chip between this layer and others.
    """
    work = layer_work(arch, gemm, bits)
    traffic = traffic_of(arch, gemm, bits, mapper, kept)
    compute_cycles = work.cycles
    dram_cycles = math.floor(traffic.total_bits / Fraction(arch.dram.bits_per_clock))
    cycles = max(compute_cycles + work.exposed_cycles, dram_cycles)
    check_clocks(arch, gemm, cycles)
    reads, words = _accesses(arch, gemm, bits, costs, traffic, work)
    pes = arch.array.rows * arch.array.columns
    busy = pes * work.cycles if arch.accounting.idle_pes else work.busy_pe_cycles
    energy_pj = {
        "pe": arch.accounting.layout_factor * arch.pe.clock_energy_pj * busy,
        "sram_read": math.fsum(
            count * costs.buffers[name].read_pj for name, count in reads.items()
        ),
        "sram_write": math.fsum(count * costs.word_write_pj(name) for name, count in words.items()),
        "dram": traffic.total_bits * arch.dram.bit_energy_pj,
        **timed_energy_pj(arch, costs, cycles),
    }
    peak = pes * arch.pe.lanes
    return LayerRun(
        name=gemm.name,
        count=gemm.count,
        m=gemm.m,
        n=gemm.n,
        k=gemm.k,
        batch=gemm.batch,
        compute_cycles=compute_cycles,
        dram_cycles=dram_cycles,
        stall_cycles=cycles - compute_cycles,
        cycles=cycles,
        utilization=gemm.macs * bits.terms / (peak * cycles) if cycles else 0.0,
        dram_bits={
            "weight": traffic.weight_bits,
            "input": traffic.input_bits,
            "output": traffic.output_bits,
        },
        sram_accesses={
            **{f"{name}_read": count for name, count in reads.items()},
            **{f"{name}_write_words": count for name, count in words.items()},
        },
        energy_pj=with_total(energy_pj),
    )
