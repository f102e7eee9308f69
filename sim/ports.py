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

from ..arch.schema import BufferName, OperandName
from ..datatypes.base.numbers import ceil_div, units_of
from .chip import WORD_BITS, Chip, Sram
from .layout import Layout, cropped
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

    def cycles(self, ports: int, *, halves: bool) -> int:
        """Return the clocks that the accesses take at least.

        With two ``halves`` (double buffering) scales and results on their way out leave beside
        the array's reads.
        """
        beside = self.scale_reads + self.drain_reads
        if ports == 1:
            return self.reads + self.writes + self.fills + beside
        reads = self.reads if halves else self.reads + beside
        return max(reads, self.writes + self.fills, self.drain_reads)


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


def fill_words(layout: Layout) -> dict[OperandName, int]:
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


def port_use(layout: Layout, work: Work) -> dict[BufferName, PortUse]:
    """Return what a layer asks of every buffer."""
    chip = layout.chip
    found: dict[BufferName, PortUse] = {name: PortUse() for name in chip.sram}
    for operand, words in fill_words(layout).items():
        found[chip.buffer_of[operand]].words += words
    sums = found[chip.sums.name]
    sums.words += ceil_div(work.partial_writes * chip.sum_bits, WORD_BITS)
    if chip.published:
        _as_published(found, chip, work)
        return found
    for name, sizes in _at_once(work.reads, chip.buffer_of).items():
        reads, banks = _accesses(chip.sram[name], sizes)
        found[name].reads += reads
        found[name].banks += banks
    for name, sizes in _at_once(work.scale_reads, chip.buffer_of).items():
        reads, banks = _accesses(chip.sram[name], sizes)
        found[name].scale_reads += reads
        found[name].banks += banks
    reads, banks = _accesses(chip.sums, work.sum_reads, chip.sum_bits)
    sums.reads += reads
    sums.banks += banks
    sums.writes += _accesses(chip.sums, work.sum_writes, chip.sum_bits)[0]
    _add_results(found, layout, work)
    _add_fills(found, layout)
    return found


def _accesses(sram: Sram, sizes: Counter[int], bits: int = 1) -> tuple[int, int]:
    """Return the accesses, and the banks enabled, for so many elements at once, so often."""
    return (
        sum(sram.accesses(many * bits) * count for many, count in sizes.items()),
        sum(sram.banks_enabled(many * bits) * count for many, count in sizes.items()),
    )


def _add_results(found: dict[BufferName, PortUse], layout: Layout, work: Work) -> None:
    """Add finished results: codes as they leave the array, scales, and all on the way to DRAM."""
    traffic, bits, sram = layout.traffic, layout.bits, layout.chip.holding("output")
    use, code = found[sram.name], bits.code_of("output")
    for many, count in work.results.items():
        use.writes += sram.accesses(units_of(many, code, 1)) * count
    left = sum(many * count for many, count in work.results.items()) // traffic.products
    use.writes += sram.accesses(units_of(left, bits.output - code, 1)) * traffic.products
    leaving = traffic.output_bits // traffic.products
    use.drain_reads += sram.accesses(leaving) * traffic.products
    use.banks += sram.banks_enabled(leaving) * traffic.products


def _add_fills(found: dict[BufferName, PortUse], layout: Layout) -> None:
    """Add the operands that arrive from DRAM."""
    traffic = layout.traffic
    arriving: dict[OperandName, int] = {
        "weight": traffic.weight_moved_bytes,
        "input": 0 if traffic.input_kept else traffic.input_moved_bytes,
    }
    for operand, size_bytes in arriving.items():
        sram = layout.chip.holding(operand)
        through = layout.bits.codes_in_bytes(operand, size_bytes)
        found[sram.name].fills += sram.accesses(through) * traffic.products


def _as_published(found: dict[BufferName, PortUse], chip: Chip, work: Work) -> None:
    """Count reads as the BitMoD study does: a full port of each buffer a step, no clocks."""
    asked: dict[OperandName, int] = {"weight": work.weight_accesses, "input": work.input_accesses}
    for operand, count in asked.items():
        use = found[chip.buffer_of[operand]]
        use.reads = max(use.reads, count)
    sums = chip.holding("output")
    found[sums.name].reads += math.ceil(work.partial_reads * chip.sum_bits / sums.port_bits)


def port_cycles(chip: Chip, use: Mapping[BufferName, PortUse]) -> int:
    """Return the clocks of the busiest port; none where the BitMoD study's counting holds."""
    if chip.published:
        return 0
    return max(
        each.cycles(chip.sram[name].ports, halves=chip.sram[name].double_buffered)
        for name, each in use.items()
    )


def read_energy_pj(chip: Chip, use: Mapping[BufferName, PortUse]) -> float:
    """Return the energy of all reads: of the enabled banks, or of whole accesses as published."""
    buffers = ((each, chip.sram[name]) for name, each in use.items())
    if chip.published:
        return math.fsum(each.reads * sram.cost.read_pj for each, sram in buffers)
    return math.fsum(each.banks * sram.cost.read_pj / sram.banks for each, sram in buffers)


def accesses(chip: Chip, use: Mapping[BufferName, PortUse]) -> dict[str, int]:
    """Return the accesses of every buffer by name, as results list them."""
    found = {f"{name}_read": each.reads for name, each in use.items()}
    if not chip.published:
        found |= {f"{name}_scale_read": each.scale_reads for name, each in use.items()}
        drained = chip.buffer_of["output"]
        found[f"{drained}_drain_read"] = use[drained].drain_reads
    return found | {f"{name}_write_words": each.words for name, each in use.items()}
