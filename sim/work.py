"""What a layer asks of the array: steps, clocks, and what it reads and leaves in each of them."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

from ..arch.schema import Arch
from ..workloads.gemm import Gemm
from .layer_bits import LayerBits
from .layout import Layout

if TYPE_CHECKING:
    from .array.term_clocks import FoldClocks

Reads = Counter[tuple[int, int]]
"""(bits of weights, bits of inputs) that are read at once: how often."""


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


def _parts(extent: int, size: int) -> list[tuple[int, int]]:
    """Return (extent, how many) of the folds of a dimension: full ones, and the rest.

    Examples
    --------
    >>> _parts(10, 4), _parts(3, 4)
    ([(4, 2), (2, 1)], [(3, 1)])
    """
    full, rest = divmod(extent, size)
    return [(part, count) for part, count in ((size, full), (rest, 1)) if part and count]


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
        register that would hide them, or fills look-up tables.
    table_fills : int
        Look-up tables filled: one a token and chunk, anew for each fold of outputs.
    reads : Counter
        Codes of operands read at once, a step or a row that is loaded.
    scale_reads : Counter
        Scales, zero points and selectors of a group, read at once.
    results : Counter
        Finished results that leave the array at once: how often.
    sum_reads, sum_writes : Counter
        Unfinished sums read back, and written, at once: how often.
    """

    steps: int = 0
    cycles: int = 0
    busy_pe_cycles: float = 0
    exposed_cycles: int = 0
    table_fills: int = 0
    reads: Reads = field(default_factory=Counter)
    scale_reads: Reads = field(default_factory=Counter)
    results: Counter[int] = field(default_factory=Counter)
    sum_reads: Counter[int] = field(default_factory=Counter)
    sum_writes: Counter[int] = field(default_factory=Counter)

    @property
    def weight_reads(self) -> int:
        """How often the array reads weights."""
        return sum(count for (weights, _), count in self.reads.items() if weights)

    @property
    def io_reads(self) -> int:
        """How often the array reads inputs."""
        return sum(count for (_, inputs), count in self.reads.items() if inputs)

    @property
    def partial_reads(self) -> int:
        """Unfinished sums read back to be added to."""
        return sum(sums * count for sums, count in self.sum_reads.items())

    @property
    def partial_writes(self) -> int:
        """Unfinished sums written."""
        return sum(sums * count for sums, count in self.sum_writes.items())


def total_work(works: Iterable[Work], times: int = 1) -> Work:
    """Return the work of several products, ``times`` over."""
    sums = dict.fromkeys(("steps", "cycles", "busy_pe_cycles", "exposed_cycles", "table_fills"), 0)
    counts: dict[str, Counter[object]] = {
        name: Counter() for name in Work.__slots__ if name not in sums
    }
    for work in works:
        for name in sums:
            sums[name] += getattr(work, name)
        for name, counter in counts.items():
            for key, count in getattr(work, name).items():
                counter[key] += count
    for counter in counts.values():
        for key in counter:
            counter[key] *= times
    return Work(**{name: value * times for name, value in sums.items()}, **counts)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class _Codes:
    """Bits of codes of some weights and some inputs."""

    weight: Fraction
    input: Fraction

    @classmethod
    def of(cls, bits: LayerBits) -> "_Codes":
        return cls(
            bits.weight if bits.weight_code is None else bits.weight_code,
            bits.input if bits.input_code is None else bits.input_code,
        )

    def bits(self, weights: int, inputs: int) -> tuple[int, int]:
        """Return the whole bits of so many weights and inputs."""
        return math.ceil(weights * self.weight), math.ceil(inputs * self.input)


def _scales(
    bits: LayerBits, k: int, outputs: list[tuple[int, int]], tokens: list[tuple[int, int]]
) -> Iterator[tuple[tuple[int, int], int]]:
    """Yield what is read beside the codes: once a group and fold of outputs and tokens."""
    weight, inputs = bits.beside_codes(k), bits.beside_codes(k, of_inputs=True)
    if weight:
        times = bits.groups(k) * sum(count for _, count in tokens)
        for n, count in outputs:
            yield (math.ceil(n * weight), 0), count * times
    if inputs:
        times = bits.groups(k, of_inputs=True) * sum(count for _, count in outputs)
        for m, count in tokens:
            yield (0, math.ceil(m * inputs)), count * times


def _counter(pairs: Iterable[tuple[object, int]]) -> Counter:  # type: ignore[type-arg]
    found: Counter[object] = Counter()
    for key, count in pairs:
        if count:
            found[key] += count
    return found


def _tile_work(arch: Arch, bits: LayerBits, m: int, n: int, k: int, pieces: int) -> Work:
    """Return the work of one product on a tile array: chunks * ceil(N/R) * ceil(M/C) steps.

    A row of the array, one output of every column, leaves at once; so do the sums of each of the
    ``pieces`` of K but the last.
    """
    R, C = arch.array.rows, arch.array.columns
    chunks, codes = bits.chunks(k, arch.pe.lanes), _Codes.of(bits)
    outputs, tokens = _parts(n, R), _parts(m, C)
    column_folds = _ceil(m, C)
    steps = chunks * _ceil(n, R) * column_folds
    leaving = [(columns, n * count) for columns, count in tokens]
    waiting = _counter((columns, times * (pieces - 1)) for columns, times in leaving)
    cycles = steps * bits.terms
    busy: float = chunks * n * m * bits.terms
    if bits.skipping is not None:
        folds = _row_folds(bits, n, k, R)
        cycles = column_folds * sum(fold.issue * count for fold, count in folds)
        busy = m * sum(fold.busy * count for fold, count in folds)
    return Work(
        steps=steps,
        cycles=cycles,
        busy_pe_cycles=busy,
        exposed_cycles=steps * arch.table_fill_cycles,
        table_fills=chunks * _ceil(n, R) * m if arch.pe.kind == "lut" else 0,
        reads=_counter(
            (codes.bits(rows * size, columns * size), count * a * b)
            for size, count in bits.chunk_sizes(k, arch.pe.lanes).items()
            for rows, a in outputs
            for columns, b in tokens
        ),
        scale_reads=_counter(_scales(bits, k, outputs, tokens)),
        results=_counter(leaving),
        sum_reads=waiting,
        sum_writes=waiting,
    )


def _row_folds(bits: LayerBits, n: int, k: int, R: int) -> "list[tuple[FoldClocks, int]]":
    """Return the folds of N on a chip that skips zero terms, and how many are alike."""
    assert bits.skipping is not None
    full, rest = divmod(n, R)
    if bits.skipping.positional:
        folds = [(bits.skipping.fold(i * R, R, k), 1) for i in range(full)]
    else:
        folds = [(bits.skipping.fold(0, R, k), full)] if full else []
    return folds + ([(bits.skipping.fold(full * R, rest, k), 1)] if rest else [])


def _systolic_work(
    arch: Arch, bits: LayerBits, m: int, n: int, k: int, pieces: int, passes: int
) -> Work:
    """Return the work of one product on a systolic array: folds x streamed dimension.

    Fill and drain are left out: this is the bound that the clock-by-clock array approaches. A
    stationary operand is loaded in every pass of the streamed dimension, a row an access; what
    streams is read once a step. Without a second operand register, or a drain register, the rows
    loaded or shifted out take a clock each (`array.systolic_model`). Where K lies on the rows,
    every row fold but the last writes partial sums and every one but the first reads them, in
    whatever buffer holds them; ``scalesim`` timing reads none back. Where the sums stay in the PEs
    they leave between the pieces of K.
    """
    array, pe = arch.array, arch.pe
    chunks, codes, lanes = bits.chunks(k, pe.lanes), _Codes.of(bits), pe.lanes
    physical, sums_stay = array.timing == "physical", array.dataflow == "os"
    rows, columns, streamed = {
        "os": (m, n, chunks),
        "ws": (chunks, n, m),
        "is": (chunks, m, n),
    }[array.dataflow]
    on_rows, on_columns = _parts(rows, array.rows), _parts(columns, array.columns)
    row_folds, column_folds = _ceil(rows, array.rows), _ceil(columns, array.columns)
    steps, moved = row_folds * column_folds * streamed, column_folds * rows * passes
    hidden = pe.drain_register if sums_stay else pe.double_buffered_operand
    if sums_stay:
        reads = _counter(
            (codes.bits(c * size, r * size), count * a * b)
            for size, count in bits.chunk_sizes(k, lanes).items()
            for r, a in on_rows
            for c, b in on_columns
        )
        leaving, unfinished = [(c, rows * b) for c, b in on_columns], pieces - 1
        outputs, tokens = on_columns, on_rows
    else:
        weights = array.dataflow == "ws"  # they stand still, inputs pass by

        def code(still: int, passing: int) -> tuple[int, int]:
            return codes.bits(*((still, passing) if weights else (passing, still)))

        reads = _counter(
            [
                *((code(0, r * lanes), a * column_folds * streamed) for r, a in on_rows),
                *((code(c * lanes, 0), b * rows * passes) for c, b in on_columns),
            ]
        )
        leaving = [(c, b * streamed) for c, b in on_columns]
        unfinished = row_folds - 1
        outputs, tokens = (
            (on_columns, [(m, passes)]) if weights else ([(n, 1)], [(c, b) for c, b in on_columns])
        )
    waiting = _counter((c, times * unfinished) for c, times in leaving)
    return Work(
        steps=steps,
        cycles=steps * bits.terms,
        busy_pe_cycles=rows * columns * streamed * bits.terms,
        exposed_cycles=0 if hidden or not physical else moved,
        reads=reads,
        scale_reads=_counter(_scales(bits, k, outputs, tokens)),
        results=_counter(leaving),
        sum_reads=waiting if physical else Counter(),
        sum_writes=waiting,
    )


def layer_work(arch: Arch, gemm: Gemm, bits: LayerBits, layout: Layout | None = None) -> Work:
    """Return the work of a layer, batch included; a causal mask skips steps wholly behind it.

    Under a causal mask the rows of M (tokens, ``rows_per_token`` each) are taken in blocks of the
    array's columns; a block sees the keys up to its last token. Without a layout nothing is cut
    along K, and a stationary operand is loaded once.
    """

    def one(m: int, n: int, k: int) -> Work:
        pieces = passes = 1
        if layout is not None:
            pieces, passes = layout.pieces_of_k(m, n, k), layout.passes(m, n)
        if arch.array.kind == "tile":
            return _tile_work(arch, bits, m, n, k, pieces)
        return _systolic_work(arch, bits, m, n, k, pieces, passes)

    if gemm.causal is None:
        apart = 1 if layout is None else layout.sequences_apart
        return total_work([one(gemm.m // apart, gemm.n, gemm.k)], gemm.batch * apart)
    block = arch.array.columns if arch.array.kind == "tile" else arch.array.rows
    seen: Counter[tuple[int, int, int]] = Counter()
    for first in range(0, gemm.m, block):
        rows = min(block, gemm.m - first)
        low, high = gemm.seen(first, rows)
        if low == high:
            continue
        n, k = (high - low, gemm.k) if gemm.causal == "n" else (gemm.n, high - low)
        seen[rows, n, k] += 1
    return total_work(
        (total_work([one(*extents)], count) for extents, count in seen.items()), gemm.batch
    )
