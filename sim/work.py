"""What a layer asks of the array: steps, clocks, accesses of the buffers."""

from dataclasses import dataclass

from ..arch.schema import Arch
from ..workloads.gemm import Gemm
from .layer_bits import LayerBits


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
