"""The analytic rung: closed forms for clocks, accesses and energy of one layer on one chip.

Clocks, traffic and accesses follow the performance model of the BitMoD study (HPCA 2025),
written for any array, buffer and format; what the study leaves out (leakage, idle PEs, K tiling)
is an option of the chip.
"""

import math
from dataclasses import replace

from ..arch.schema import Arch, BufferName, OperandName, pe_record
from ..datatypes.errors import BitlatheError
from ..mapping.keep import NOTHING, Kept
from ..mapping.whole_buffer import Traffic, operand_bytes, output_tiled, whole_buffer
from ..workloads.gemm import Gemm
from .energy import WORD_BITS, ChipCosts, timed_energy_pj
from .layer_bits import LayerBits
from .run import LayerRun, with_total
from .work import Work, layer_work

COUNTER_LIMIT = 2**53  # beyond it a count is no longer exact in JSON readers and in floats


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


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
            f"{float(arch.dram_bits_per_clock):g} and dram.latency_cycles "
            f"{arch.dram_latency_cycles}; use "
            "a faster DRAM, or a smaller context or batch."
        )


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
    dram_cycles = math.floor(traffic.total_bits / arch.dram_bits_per_clock)
    cycles = max(compute_cycles + work.exposed_cycles, dram_cycles)
    check_clocks(arch, gemm, cycles)
    reads, words = _accesses(arch, gemm, bits, costs, traffic, work)
    pes = arch.array.rows * arch.array.columns
    busy = pes * work.cycles if arch.accounting.idle_pes else work.busy_pe_cycles
    energy_pj = {
        "pe": arch.accounting.layout_factor * arch.pe.clock_energy_pj * busy,
        "sram_read": sum(count * costs.buffers[name].read_pj for name, count in reads.items()),
        "sram_write": sum(count * costs.word_write_pj(name) for name, count in words.items()),
        "dram": (traffic.weight_bits + traffic.input_bits) * arch.dram.read_bit_pj
        + traffic.output_bits * arch.dram.write_bit_pj,
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
