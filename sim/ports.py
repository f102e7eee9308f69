"""What goes through the SRAM ports of a chip for one layer: accesses, banks, clocks.

An access never gives more than one step asks for: a step of b bits takes ceil(b / port) accesses.
Banks that hold none of the step's bits are not enabled, so an access of less than the port's width
costs its share in whole banks. No port moves more than its width in a clock. Scales and selectors
stand in columns of their own beside the codes, and results on their way to DRAM leave from the half
of the buffer that the array does not use: on buffers of two ports both cost accesses, but take no
clock from the array's.
"""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from ..arch.schema import Arch, BufferName, OperandName
from ..mapping.integers import ceil_div, units_of
from .energy import WORD_BITS, ChipCosts
from .layer_bits import LayerBits
from .layout import Layout, cropped, sums_home
from .work import Reads, Work


@dataclass(slots=True, kw_only=True)
class PortUse:
    """What a layer asks of one buffer.

    Attributes
    ----------
    reads, writes : int
        Accesses by the array: codes, unfinished sums; unfinished sums and results.
    fills : int
        Accesses that bring in what DRAM gives.
    scale_reads, drain_reads : int
        Accesses for scales and selectors; for results on their way to DRAM.
    banks : int
        Banks enabled by all reads.
    words : int
        64-bit words written.
    """

    reads: int = 0
    writes: int = 0
    fills: int = 0
    scale_reads: int = 0
    drain_reads: int = 0
    banks: int = 0
    words: int = 0

    def cycles(self, ports: int) -> int:
        """Return the clocks that the accesses take at least."""
        if ports == 1:
            return self.reads + self.writes + self.fills + self.scale_reads + self.drain_reads
        return max(self.reads, self.writes + self.fills, self.drain_reads)


@dataclass(frozen=True, slots=True)
class _Port:
    """Width and banks of a buffer's port."""

    bits: int
    banks: int

    def accesses(self, size_bits: int) -> int:
        return ceil_div(size_bits, self.bits)

    def enabled(self, size_bits: int) -> int:
        """Return the banks that hold so many bits, over all accesses."""
        return ceil_div(size_bits * self.banks, self.bits)


def _at_once(
    reads: Reads, layout: Mapping[OperandName, BufferName]
) -> dict[BufferName, Counter[int]]:
    """Return the bits that each buffer gives at once, and how often."""
    found: dict[BufferName, Counter[int]] = {}
    for (weights, inputs), count in reads.items():
        asked: Counter[BufferName] = Counter()
        asked[layout["weight"]] += weights
        asked[layout["input"]] += inputs
        for name, size_bits in asked.items():
            if size_bits:
                found.setdefault(name, Counter())[size_bits] += count
    return found


def result_code(bits: LayerBits) -> Fraction:
    """Return the bits of a result's code, which leave the array with its row."""
    return bits.output if bits.output_code is None else bits.output_code


def fill_words(arch: Arch, layout: Layout) -> dict[OperandName, int]:
    """Return the 64-bit words of operands that arrive from DRAM, and of results; rows padded."""
    bits, traffic = layout.bits, layout.traffic
    gemm = layout.gemm if layout.pooled else cropped(layout.gemm)
    once = gemm.n * units_of(gemm.k, bits.buffered_weight, WORD_BITS)
    words: dict[OperandName, int] = {
        "weight": once * traffic.products,
        "input": 0,
        "output": gemm.m * gemm.batch * units_of(gemm.n, bits.output, WORD_BITS),
    }
    words["weight"] = _scaled(words["weight"], traffic.weight_moved_bytes, traffic.weight_bytes)
    if not traffic.input_kept:
        if gemm.input_elements is None:
            once = gemm.m * units_of(gemm.k, bits.input, WORD_BITS)
        else:
            once = units_of(gemm.input_elements, bits.input, WORD_BITS)
        whole = once * gemm.batch
        if gemm.causal == "k":
            whole = units_of(whole, traffic.visible, 1)
        words["input"] = _scaled(whole, traffic.input_moved_bytes, traffic.input_bytes)
    if gemm.causal == "n":
        words["output"] = units_of(words["output"], traffic.visible, 1)
    return words


def _scaled(words: int, moved: int, once: int) -> int:
    """Return the words of an operand of which ``moved`` of ``once`` bytes come in."""
    return ceil_div(words * moved, once) if once else words


def port_use(arch: Arch, costs: ChipCosts, layout: Layout, work: Work) -> dict[BufferName, PortUse]:
    """Return what a layer asks of every buffer."""
    found: dict[BufferName, PortUse] = {name: PortUse() for name in costs.buffers}
    where, traffic = costs.layout, layout.traffic
    for operand, words in fill_words(arch, layout).items():
        found[where[operand]].words += words
    sums, sum_bits = found[sums_home(arch)], layout.sum_bits
    sums.words += ceil_div(work.partial_writes * sum_bits, WORD_BITS)
    if arch.published_accounting:
        _as_published(found, costs, work, sum_bits)
        return found
    ports = {name: _Port(costs.port_bits[name], costs.banks[name]) for name in found}
    for name, sizes in _at_once(work.reads, where).items():
        for size_bits, count in sizes.items():
            found[name].reads += ports[name].accesses(size_bits) * count
            found[name].banks += ports[name].enabled(size_bits) * count
    for name, sizes in _at_once(work.scale_reads, where).items():
        for size_bits, count in sizes.items():
            found[name].scale_reads += ports[name].accesses(size_bits) * count
            found[name].banks += ports[name].enabled(size_bits) * count
    edge = ports[sums_home(arch)]
    for many, count in work.sum_reads.items():
        sums.reads += edge.accesses(many * sum_bits) * count
        sums.banks += edge.enabled(many * sum_bits) * count
    for many, count in work.sum_writes.items():
        sums.writes += edge.accesses(many * sum_bits) * count
    results, out = found[where["output"]], ports[where["output"]]
    for many, count in work.results.items():
        results.writes += out.accesses(units_of(many, result_code(layout.bits), 1)) * count
    leaving = traffic.output_bits // max(1, traffic.products)
    left = sum(many * count for many, count in work.results.items()) // traffic.products
    scales = layout.bits.output - result_code(layout.bits)
    results.writes += out.accesses(units_of(left, scales, 1)) * traffic.products
    results.drain_reads += out.accesses(leaving) * traffic.products
    results.banks += out.enabled(leaving) * traffic.products
    arriving: dict[OperandName, int] = {
        "weight": traffic.weight_moved_bytes,
        "input": 0 if traffic.input_kept else traffic.input_moved_bytes,
    }
    for operand, size_bytes in arriving.items():
        name = where[operand]
        through = layout.bits.code_bits(operand, size_bytes)
        found[name].fills += ports[name].accesses(through) * traffic.products
    return found


def _as_published(
    found: dict[BufferName, PortUse], costs: ChipCosts, work: Work, sum_bits: int
) -> None:
    """Count reads as the BitMoD study does: a full port of each buffer a step, no clocks."""
    asked: dict[OperandName, int] = {"weight": work.weight_reads, "input": work.io_reads}
    for operand, count in asked.items():
        use = found[costs.layout[operand]]
        use.reads = max(use.reads, count)
    sums = costs.layout["output"]
    found[sums].reads += math.ceil(work.partial_reads * sum_bits / costs.port_bits[sums])


def port_cycles(arch: Arch, use: Mapping[BufferName, PortUse]) -> int:
    """Return the clocks of the busiest port; none where the BitMoD study's counting holds."""
    if arch.published_accounting:
        return 0
    return max(each.cycles(arch.buffers.named(name).ports) for name, each in use.items())


def read_energy_pj(arch: Arch, costs: ChipCosts, use: Mapping[BufferName, PortUse]) -> float:
    """Return the energy of all reads: of the enabled banks, or of whole accesses as published."""
    if arch.published_accounting:
        return math.fsum(each.reads * costs.buffers[name].read_pj for name, each in use.items())
    return math.fsum(
        each.banks * costs.buffers[name].read_pj / costs.banks[name] for name, each in use.items()
    )


def accesses(arch: Arch, use: Mapping[BufferName, PortUse]) -> dict[str, int]:
    """Return the accesses of every buffer by name, as results list them."""
    found = {f"{name}_read": each.reads for name, each in use.items()}
    if not arch.published_accounting:
        found |= {f"{name}_scale_read": each.scale_reads for name, each in use.items()}
        drained = arch.buffers.layout["output"]
        found[f"{drained}_drain_read"] = use[drained].drain_reads
    return found | {f"{name}_write_words": each.words for name, each in use.items()}
