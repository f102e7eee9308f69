"""What a layer asks of the array: steps, clocks, and what it reads and leaves in each of them."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

from ..arch.dataflow import TILE
from ..datatypes.base.numbers import ceil_div, units_of
from .chip import Chip
from .layer_bits import LayerBits
from .layout import Layout, visible_blocks

if TYPE_CHECKING:
    from .array.tile.term_clocks import FoldClocks

Reads = Counter[tuple[int, int]]
"""(bits of weights, bits of inputs) that are read at once: how often."""


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
        register that would hide them, fills look-up tables, or loads those of decoders.
    group_sums : int
        Sums of groups of weights, each of which gets its scale.
    decoded : int
        Weights that enter the array through a decoder (`arch.decoder`).
    products : int
        Multiply-accumulates, those of results behind a mask included.
    table_additions : int
        Additions that fill look-up tables: for each token and chunk, anew for each fold of outputs.
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
    table_additions: int = 0
    group_sums: int = 0
    decoded: int = 0
    products: int = 0
    reads: Reads = field(default_factory=Counter)
    scale_reads: Reads = field(default_factory=Counter)
    results: Counter[int] = field(default_factory=Counter)
    sum_reads: Counter[int] = field(default_factory=Counter)
    sum_writes: Counter[int] = field(default_factory=Counter)

    @property
    def weight_accesses(self) -> int:
        """How often the array reads weights from their buffer."""
        return sum(count for (weights, _), count in self.reads.items() if weights)

    @property
    def input_accesses(self) -> int:
        """How often the array reads inputs from their buffer."""
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
    sums = dict.fromkeys(
        (
            "steps",
            "cycles",
            "busy_pe_cycles",
            "exposed_cycles",
            "table_additions",
            "group_sums",
            "decoded",
            "products",
        ),
        0,
    )
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
            bits.code_of("weight"),
            bits.code_of("input"),
        )

    def bits(self, weights: int, inputs: int) -> tuple[int, int]:
        """Return the whole bits of so many weights and inputs."""
        return units_of(weights, self.weight, 1), units_of(inputs, self.input, 1)


Waiting = tuple[int, int, int]
"""How often sums of how many tokens and outputs wait (`layout.Layout.waiting`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """A product, or what a block of tokens sees of it; its blocks."""

    m: int
    n: int
    k: int
    whole_k: int
    block_m: int
    block_n: int


def _scales(
    bits: LayerBits, part: _Part, outputs: list[tuple[int, int]], tokens: list[tuple[int, int]]
) -> Iterator[tuple[tuple[int, int], int]]:
    """Yield what is read beside the codes: once a group and block of outputs and tokens."""
    k, whole = part.k, part.whole_k
    weight, inputs = bits.beside_codes(whole), bits.beside_codes(whole, of_inputs=True)
    if weight:
        times = bits.groups(k) * sum(count for _, count in tokens)
        for n, count in outputs:
            yield (units_of(n, weight, 1), 0), count * times
    if inputs:
        times = bits.groups(k, of_inputs=True) * sum(count for _, count in outputs)
        for m, count in tokens:
            yield (0, units_of(m, inputs, 1)), count * times


def _counter(pairs: Iterable[tuple[object, int]]) -> Counter:  # type: ignore[type-arg]
    found: Counter[object] = Counter()
    for key, count in pairs:
        if count:
            found[key] += count
    return found


def _sums_stay_work(chip: Chip, bits: LayerBits, part: _Part, waiting: Waiting) -> Work:
    """Return the work of one product where sums stay in the PEs (tile, os): a chunk a step.

    A line of the array leaves at once, a result of every column; so do sums that wait between the
    pieces of K. Without a drain register each line that a systolic array shifts out takes a clock.
    """
    arch, flow, m, n, k = chip.arch, chip.flow, part.m, part.n, part.k
    array, pe = arch.array, arch.pe
    chunks, codes = bits.chunks(k, pe.lanes), _Codes.of(bits)
    on_rows, on_columns, _ = flow.extents(m, n, chunks)
    rows, columns = _parts(on_rows, array.rows), _parts(on_columns, array.columns)
    tokens, outputs = (rows, columns) if flow.weights_on_columns else (columns, rows)
    column_folds = ceil_div(on_columns, array.columns)
    steps = chunks * ceil_div(on_rows, array.rows) * column_folds
    times, some_m, some_n = waiting
    lines, line, _ = flow.extents(some_m, some_n, 0)
    sums = _counter((c, lines * count * times) for c, count in _parts(line, array.columns))
    cycles, busy = steps * bits.terms, float(chunks * n * m * bits.terms)
    if bits.skipping is not None:
        folds = _row_folds(bits, n, k, array.rows)
        cycles = column_folds * sum(fold.issue * count for fold, count in folds)
        busy = m * sum(fold.busy * count for fold, count in folds)
    tile = flow is TILE
    shifted = not tile and array.timing == "physical" and not pe.drain_register
    filled = steps * arch.fill_cycles(bits.table_additions) if tile else 0
    loaded = bits.decoder.block_clocks(True) * (steps // chunks) if bits.decoder else 0
    return Work(
        steps=steps,
        cycles=cycles,
        busy_pe_cycles=busy,
        exposed_cycles=filled + loaded + (column_folds * on_rows if shifted else 0),
        table_additions=chunks * ceil_div(n, array.rows) * m * bits.table_additions if tile else 0,
        group_sums=m * n * bits.scaled_sums(k),
        decoded=k * n * sum(count for _, count in tokens) if bits.decoder else 0,
        products=m * n * k,
        reads=_counter(
            (codes.bits(some_outputs * size, some_tokens * size), count * a * b)
            for size, count in bits.chunk_sizes(k, pe.lanes).items()
            for some_outputs, a in outputs
            for some_tokens, b in tokens
        ),
        scale_reads=_counter(_scales(bits, part, outputs, tokens)),
        results=_counter((c, on_rows * count) for c, count in columns),
        sum_reads=sums,
        sum_writes=sums,
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


def _loaded_work(chip: Chip, bits: LayerBits, part: _Part) -> Work:
    """Return the work of one product where an operand is loaded (ws, is): folds x what streams.

    Fill and drain are left out: this is the bound that the clock-by-clock array approaches. The
    loaded operand comes in every pass of the streamed dimension, a row an access; what streams is
    read once a step. Without a second operand register the rows loaded take a clock each
    (`array.systolic.model`). Every row fold but the last writes partial sums and every one but the
    first reads them, in whatever buffer holds them; ``scalesim`` timing reads none back.
    """
    arch, flow, k = chip.arch, chip.flow, part.k
    array, lanes = arch.array, arch.pe.lanes
    codes, chunks = _Codes.of(bits), bits.chunks(k, lanes)
    rows, columns, streamed = flow.extents(part.m, part.n, chunks)
    on_columns = _parts(columns, array.columns)
    row_folds, column_folds = ceil_div(rows, array.rows), ceil_div(columns, array.columns)
    passing = _parts(streamed, flow.extents(part.block_m, part.block_n, 0).streamed)
    passes = sum(count for _, count in passing) or 1
    steps = row_folds * column_folds * streamed
    weights = flow.loaded == "weight"

    def code(still: int, passing: int) -> tuple[int, int]:
        return codes.bits(*((still, passing) if weights else (passing, still)))

    stream_reads = (
        (code(0, size), count * column_folds * streamed)
        for size, count in _folds(bits, k, lanes, array.rows).items()
    )
    load_reads = (
        (code(c * size, 0), b * count * passes)
        for size, count in bits.chunk_sizes(k, lanes).items()
        for c, b in on_columns
    )
    leaving = [(c, b * streamed) for c, b in on_columns]
    sums = _counter((c, times * (row_folds - 1)) for c, times in leaving)
    physical, hidden = array.timing == "physical", arch.pe.double_buffered_operand
    return Work(
        steps=steps,
        cycles=steps * bits.terms,
        busy_pe_cycles=rows * columns * streamed * bits.terms,
        exposed_cycles=column_folds * rows * passes if physical and not hidden else 0,
        group_sums=part.m * part.n * bits.scaled_sums(k),
        decoded=k * part.n * (passes if weights else column_folds) if bits.decoder else 0,
        products=part.m * part.n * k,
        reads=_counter((*stream_reads, *load_reads)),
        scale_reads=_counter(
            _scales(bits, part, *((on_columns, passing) if weights else (passing, on_columns)))
        ),
        results=_counter(leaving),
        sum_reads=sums if physical else Counter(),
        sum_writes=sums,
    )


def _folds(bits: LayerBits, k: int, lanes: int, rows: int) -> Counter[int]:
    """Return the weights along K of each fold of a systolic array: how many folds hold so many."""
    if lanes == 1:
        return _counter(_parts(k, rows))
    found: Counter[int] = Counter()
    chunks = bits.chunks(k, lanes)
    for first in range(0, chunks, rows):
        sizes = bits.sizes_between(k, lanes, first, min(first + rows, chunks))
        found[sum(size * count for size, count in sizes)] += 1
    return found


def layer_work(layout: Layout) -> Work:
    """Return the work of a layer, batch included; a causal mask skips steps wholly behind it.

    Under a causal mask the rows of M (tokens, ``rows_per_token`` each) are taken in blocks
    (`layout.visible_blocks`); a block sees the keys up to its last token.
    """
    chip, gemm, bits, apart = layout.chip, layout.gemm, layout.bits, layout.sequences_apart

    def one(m: int, n: int, k: int) -> Work:
        block = layout.block_in_groups(m, n)
        part = _Part(m=m, n=n, k=k, whole_k=gemm.k, block_m=block[0], block_n=block[1])
        waiting = layout.waiting(m, n, k)
        if chip.flow.sums_stay:
            return _sums_stay_work(chip, bits, part, waiting)
        return _loaded_work(chip, bits, part)

    if gemm.causal is None:
        once = one(gemm.m // apart, gemm.n, gemm.k)
        if bits.decoder is None:
            return total_work([once], gemm.batch * apart)
        table = Work(exposed_cycles=bits.decoder.layer_clocks)
        return total_work([total_work([once], apart), table], gemm.batch)
    seen = Counter((each.m, each.n, each.k) for each in visible_blocks(chip, gemm))
    return total_work(
        (total_work([one(*extents)], count) for extents, count in seen.items()), gemm.batch
    )
