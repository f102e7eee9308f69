"""The analytic rung: closed forms for clocks, accesses and energy of one layer on one chip.

Clocks, traffic and accesses follow the performance model of the BitMoD study (HPCA 2025),
written for any array, buffer and format; what the study leaves out (leakage, idle PEs, K tiling)
is an option of the chip.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

from ..arch.components import SramCost
from ..arch.schema import Arch, LayerFormats
from ..datatypes.scheme import Scheme
from ..mapping.whole_buffer import Traffic, operand_bytes, output_tiled, whole_buffer
from ..workloads.gemm import Gemm
from .run import LayerRun, with_total

WORD_BITS = 64  # SRAM is filled word by word


@cache
def group_scale(scheme: str | None) -> tuple[int, int]:
    """Return (weights that share an integer scale along K, bits of that scale), or zeros."""
    if scheme is None:
        return 0, 0
    parsed = Scheme.parse(scheme)
    if not parsed.granularity.columns or parsed.scale_format.kind != "int":
        return 0, 0
    return parsed.granularity.columns, parsed.scale_bits


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerBits:
    """Stored bits per element of a layer's operands; clocks a chunk takes (bit-serial terms).

    ``group`` weights along K share a scale of ``rescale_bits`` bits that a bit-serial array
    applies one bit a clock; 0 where no integer group scale is applied on the array.
    """

    weight: Fraction
    input: Fraction
    output: Fraction
    terms: int
    buffered_weight: Fraction
    group: int = 0
    rescale_bits: int = 0

    @classmethod
    def of(cls, arch: Arch, formats: LayerFormats, gemm: Gemm) -> "LayerBits":
        """Count the bits of a layer's operands; a bit-parallel array takes one clock a chunk."""
        bits = formats.weight.bits_per_element(gemm.k)
        group, rescale_bits = group_scale(formats.weight.scheme) if arch.serial else (0, 0)
        return cls(
            weight=bits,
            input=formats.input.bits_per_element(gemm.k),
            output=formats.output.bits_per_element(gemm.n),
            terms=formats.weight.terms if arch.serial else 1,
            buffered_weight=bits,
            group=group,
            rescale_bits=rescale_bits,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipCosts:
    """What a chip's parts cost, looked up once per run."""

    weight: SramCost
    io: SramCost
    weight_port_bits: float
    io_port_bits: float

    @classmethod
    def of(cls, arch: Arch) -> "ChipCosts":
        """Look up the buffers of a chip."""
        return cls(
            weight=arch.sram_cost("weight"),
            io=arch.sram_cost("io"),
            weight_port_bits=arch.port_bits("weight"),
            io_port_bits=arch.port_bits("io"),
        )


def area_um2(arch: Arch, costs: ChipCosts) -> dict[str, float]:
    """Return the chip's area by component: PE array (cells, before place and route), buffers."""
    return with_total(
        {
            "pe_array": arch.array.rows * arch.array.columns * arch.pe.cell_area_um2,
            "weight_buffer": costs.weight.area_um2,
            "io_buffer": costs.io.area_um2,
        }
    )


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Chunk steps of a layer on the array, and the PEs that hold work summed over the steps."""

    steps: int
    busy_pe_steps: int


def _tile_work(arch: Arch, m: int, n: int, k: int) -> Work:
    """Return the steps of one product on a tile array: ceil(K/d) ceil(N/R) ceil(M/C)."""
    R, C, d = arch.array.rows, arch.array.columns, arch.pe.lanes
    chunks = _ceil(k, d)
    return Work(steps=chunks * _ceil(n, R) * _ceil(m, C), busy_pe_steps=chunks * n * m)


def _systolic_work(arch: Arch, m: int, n: int, k: int) -> Work:
    """Return the steps of one product on a systolic array: folds x streamed dimension.

    Fill and drain are left out: this is the bound that the clock-by-clock array approaches.
    """
    chunks = _ceil(k, arch.pe.lanes)
    rows, columns, streamed = {
        "os": (m, n, chunks),
        "ws": (chunks, n, m),
        "is": (chunks, m, n),
    }[arch.array.dataflow]
    folds = _ceil(rows, arch.array.rows) * _ceil(columns, arch.array.columns)
    return Work(steps=folds * streamed, busy_pe_steps=rows * columns * streamed)


def layer_work(arch: Arch, gemm: Gemm) -> Work:
    """Return the steps of a layer, batch included; a causal mask skips steps wholly behind it.

    Under a causal mask the rows of M (tokens, ``rows_per_token`` each) are taken in blocks of the
    array's columns; a block sees the keys up to its last token.
    """
    one = _tile_work if arch.array.kind == "tile" else _systolic_work
    if gemm.causal is None:
        work = one(arch, gemm.m, gemm.n, gemm.k)
        return Work(steps=work.steps * gemm.batch, busy_pe_steps=work.busy_pe_steps * gemm.batch)
    block = arch.array.columns if arch.array.kind == "tile" else arch.array.rows
    steps = busy = 0
    for first in range(0, gemm.m, block):
        rows = min(block, gemm.m - first)
        last_token = (first + rows - 1) // gemm.rows_per_token
        seen = gemm.visible_before + last_token + 1
        n, k = (min(seen, gemm.n), gemm.k) if gemm.causal == "n" else (gemm.n, min(seen, gemm.k))
        work = one(arch, rows, n, k)
        steps += work.steps
        busy += work.busy_pe_steps
    return Work(steps=steps * gemm.batch, busy_pe_steps=busy * gemm.batch)


def traffic_of(arch: Arch, gemm: Gemm, bits: LayerBits, mapper: str) -> Traffic:
    """Return the layer's DRAM traffic under a mapper."""
    once = operand_bytes(gemm, bits.weight, bits.input, bits.output)
    weight_size, io_size = arch.buffers.weight.size_bytes, arch.buffers.io.size_bytes
    moved = whole_buffer(once, weight_buffer_bytes=weight_size, io_buffer_bytes=io_size)
    if mapper == "output-tiled" and moved is not once:
        tiled = output_tiled(once, gemm, io_buffer_bytes=io_size)
        return min(moved, tiled, key=lambda t: t.total_bits)
    return moved


def run_layer(
    arch: Arch, gemm: Gemm, bits: LayerBits, costs: ChipCosts, mapper: str = "whole-buffer"
) -> LayerRun:
    """Return the cost of one layer.

    Clocks: compute = steps x terms (terms = 1 on a bit-parallel array), DRAM = floor(bits moved /
    bits per clock), layer = the larger of the two. SRAM reads: one full-port access of each buffer
    a step; writes: every operand word by word as it arrives, each costing its share of a port.

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
    """
    work = layer_work(arch, gemm)
    traffic = traffic_of(arch, gemm, bits, mapper)
    compute_cycles = work.steps * bits.terms
    dram_cycles = math.floor(traffic.total_bits / Fraction(arch.dram.bits_per_clock))
    cycles = max(compute_cycles, dram_cycles)

    weight_words = (
        traffic.weight_reads
        * gemm.n
        * gemm.batch
        * math.ceil(gemm.k * bits.buffered_weight / WORD_BITS)
    )
    if gemm.input_elements is None:
        input_words = gemm.m * math.ceil(gemm.k * bits.input / WORD_BITS)
    else:
        input_words = math.ceil(gemm.input_elements * bits.input / WORD_BITS)
    input_words *= traffic.input_reads * gemm.batch
    output_words = gemm.m * gemm.batch * math.ceil(gemm.n * bits.output / WORD_BITS)
    weight_word_pj = costs.weight.write_pj / (costs.weight_port_bits / WORD_BITS)
    io_word_pj = costs.io.write_pj / (costs.io_port_bits / WORD_BITS)

    pes = arch.array.rows * arch.array.columns
    busy = pes * work.steps if arch.accounting.idle_pes else work.busy_pe_steps
    leakage_mw = costs.weight.leakage_mw + costs.io.leakage_mw
    time_ns = cycles / arch.technology.clock_ghz
    energy_pj = {
        "pe": arch.accounting.layout_factor * arch.pe.clock_energy_pj * busy * bits.terms,
        "sram_read": work.steps * (costs.weight.read_pj + costs.io.read_pj),
        "sram_write": weight_words * weight_word_pj + (input_words + output_words) * io_word_pj,
        "dram": traffic.total_bits * arch.dram.bit_energy_pj,
        "leakage": leakage_mw * time_ns if arch.accounting.leakage else 0.0,
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
            "weight_read": work.steps,
            "io_read": work.steps,
            "weight_write_words": weight_words,
            "io_write_words": input_words + output_words,
        },
        energy_pj=with_total(energy_pj),
    )
