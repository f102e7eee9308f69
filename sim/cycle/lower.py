"""From a layer to the cycle rung's program: blocks, loop order, what is fetched when.

The order follows the mapper's traffic. One operand stays in its buffer (the inputs where weights
are read again, else the weights), the other streams past it in blocks; an operand that is read p
times has its counterpart cut into p groups, and is fetched anew for each.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from ...datatypes.base.numbers import ceil_div
from ..layout import Layout, Streamed, block_bytes, visible_blocks
from .options import CycleOptions
from .program import (
    OPERANDS,
    RESIDENT,
    STREAM,
    Give,
    Loop,
    Moved,
    Node,
    Program,
    Ring,
    Take,
    loop,
)
from .slices import Blocks, Slice, before_last, cut, ends_apart, sized, slices_of
from .tile import IssueClocks, Timing


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockRun:
    """Equal blocks of a dimension from element ``first`` on; ``last`` if they end it."""

    count: int
    extent: int
    last: bool
    first: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """``count`` equal parts of a dimension; what streams past each is fetched ``fetches`` times."""

    count: int
    extent: int
    fetches: int


def groups_of(extent: int, block: int, parts: int) -> list[Group]:
    """Cut a dimension into ``parts`` groups of whole blocks, the last group on its own.

    With fewer blocks than parts, every group is a block and is given several fetches, ``parts``
    in all.

    Examples
    --------
    >>> [(g.count, g.extent, g.fetches) for g in groups_of(100, 10, 4)]
    [(2, 30, 1), (1, 20, 1), (1, 20, 1)]
    >>> [(g.count, g.extent, g.fetches) for g in groups_of(20, 10, 5)]
    [(1, 10, 3), (1, 10, 2)]
    """
    blocks = ceil_div(extent, block)
    groups = min(parts, blocks)
    longer, size = blocks % groups, blocks // groups
    more, fetches = parts % groups, parts // groups
    sizes = [(longer, size + 1, fetches), (groups - longer, size, fetches)]
    if parts > groups:  # then every group is one block
        sizes = [(more, size, fetches + 1), (groups - more, size, fetches)]
    runs = [[count, block * n, f] for count, n, f in sizes if count]
    runs[-1][0] -= 1
    left = extent - sum(count * length for count, length, _ in runs)
    runs.append([1, left, runs[-1][2]])
    return [Group(count=c, extent=length, fetches=f) for c, length, f in runs if c]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubProduct:
    """A product with the bytes it moves, fetches counted once; ``first_n`` is its first output.

    ``stream`` says which operand passes by in blocks while the other stays.
    """

    m: int
    n: int
    k: int
    weight_bytes: int
    input_bytes: int
    output_bytes: int
    weight_fetches: int = 1
    input_fetches: int = 1
    stream: Streamed
    first_n: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocking:
    """Extents of a part's blocks along M and N; slices of K, of which a block is kept at once.

    ``whole_k``: a streamed block is kept over all of K.
    """

    m: int
    n: int
    slices: list[Slice]
    whole_k: bool

    def portion(self, total: int, piece: Slice) -> int:
        """Return what a slice of K has of a total; the last one takes what the others left."""
        chunks = sum(each.count * each.chunks for each in self.slices)
        if not piece.last:
            return share(total, piece.chunks, chunks)
        others = self.slices[:-1]
        return total - sum(each.count * share(total, each.chunks, chunks) for each in others)


class Scheduler:
    """Builds the program of one layer on one chip."""

    def __init__(self, layout: Layout, options: CycleOptions) -> None:
        self.layout = layout
        self.chip = layout.chip
        self.bits = layout.bits
        self.options = options
        self.traffic = layout.traffic
        self.kept = layout.kept
        self.positional = self.bits.skipping is not None and self.bits.skipping.positional
        self.timing = Timing.of(layout, options)
        self.rings = [
            Ring(operand=operand, places=options.prefetch_transfers, piece_bytes=0)
            for operand in OPERANDS
        ]

    @property
    def free_input_bytes(self) -> int:
        """Bytes of the input buffer that no kept results take."""
        return max(1, self.traffic.input_room_bytes - self.kept.kept_bytes)

    def room_bytes(self, operand: Streamed) -> int:
        """Return the bytes of buffer that pieces of an operand have; all of it for kept inputs."""
        if operand == "weight":
            return self.traffic.weight_room_bytes
        return self.traffic.input_room_bytes if self.kept.input else self.free_input_bytes

    @property
    def tile_bytes(self) -> int:
        """Bytes that the results of a full tile need; kept ones have their place."""
        if self.kept.output:
            return 0
        m, n = self.layout.block(self.layout.gemm.m, self.layout.gemm.n)
        rows, columns = min(m, self.layout.gemm.m), min(n, self.layout.gemm.n)
        return max(1, math.ceil(rows * columns * self.bits.output / 8))

    @property
    def output_tiles(self) -> int:
        """Tiles whose results may wait when a tile starts: in the drain, in their buffer.

        A tile needs a place of its own only when it ends: one more may wait than have a place.
        The BitMoD study gives results no place.
        """
        most, buffer = self.options.output_tiles, self.chip.holding("output")
        if self.chip.published or not self.options.memory:
            return most
        taken = self.layout.live_sum_bytes
        room = buffer.size_bytes
        if buffer is self.chip.holding("input"):
            room = self.free_input_bytes
            taken += sum(
                ring.places * ring.piece_bytes for ring in self.rings if ring.operand == "input"
            )
        return min(most, 2 + max(0, room - taken) // self.tile_bytes) if self.tile_bytes else most

    def _ring(self, ring: int, operand: Streamed, piece_bytes: int) -> None:
        """Keep a ring's places down to what fits of its largest piece.

        Beside a second place for what streams, results of two tiles have room before more places.
        """
        room, before = self.room_bytes(operand), self.rings[ring]
        piece_bytes = max(piece_bytes, before.piece_bytes)
        places = ring_places(room, piece_bytes, before.places)
        shared = self.chip.holding("output") is self.chip.holding("input")
        if operand == "input" and shared and not self.chip.published:
            reserve = 2 * self.tile_bytes + self.layout.live_sum_bytes
            least = min(places, 2 if ring == STREAM else 1)
            places = max(least, ring_places(max(0, room - reserve), piece_bytes, before.places))
        if not self.chip.holding(operand).double_buffered:
            places, piece_bytes = 1, room
        self.rings[ring] = Ring(operand=operand, places=places, piece_bytes=min(piece_bytes, room))

    def _blocks(self, part: SubProduct) -> Blocking:
        """Return the extents of a part's blocks.

        A streamed block that spans all of K is kept while what stays passes by, if two of them
        fit the buffer; else it is cut along K, at the ends of groups where it can. Without memory
        it need not be.
        """
        m, n = self.layout.block(part.m, part.n)
        lanes, rows = self.chip.arch.pe.lanes, self.chip.arch.array.rows
        operand: Streamed = part.stream
        size = min(n, part.n) if operand == "weight" else min(m, part.m)
        size_bytes = self._bytes(part, operand, size)
        pieces = self._pieces(size_bytes, size, part.k)
        fits = pieces == 1
        chunks = self.bits.chunks(part.k, lanes)
        if not self.timing.flow.sums_stay:
            count, rest = before_last(chunks, rows)
            slices = [Slice(count=count, chunks=rows)] if count else []
            slices = ends_apart([*slices, Slice(chunks=rest)])
        else:
            slices = slices_of(part.k, self.bits.group, lanes, pieces if self.options.memory else 1)
        alike = self.timing.flow.sums_stay
        slices = sized(slices, self.bits, part.k, lanes, alike=alike)
        piece_bytes = share(size_bytes, slices[0].chunks, chunks)
        self._ring(STREAM, operand, size_bytes if fits else piece_bytes)
        return Blocking(m=m, n=n, slices=slices, whole_k=fits)

    def _bytes(self, part: SubProduct, operand: Streamed, rows: int) -> int:
        """Return the bytes that some rows of a part's operand take in its buffer.

        Under a mask that is not what is fetched: part of it is there, or is read several times.
        """
        layout = self.layout
        if layout.gemm.causal is not None and not layout.pooled:
            return block_bytes(layout.gemm, self.bits, operand, rows, part.k)
        total, whole = (
            (part.weight_bytes, part.n) if operand == "weight" else (part.input_bytes, part.m)
        )
        return share(total, rows, whole)

    def _pieces(self, size_bytes: int, rows: int, k: int) -> int:
        """Return the pieces of K that a streamed block of so many bytes comes in.

        The BitMoD study's chips: as many as there are halves of the buffer in it.
        """
        if not self.chip.published:
            return self.layout.pieces(rows, k)
        return ceil_div(size_bytes, self.layout.half_bytes[self.layout.stream]) or 1

    def part(self, part: SubProduct) -> list[Node]:
        """Return the program of one part, its resident operand included."""
        blocks = self._blocks(part)
        weights = part.stream == "weight"
        stays: Streamed = "input" if weights else "weight"
        stay_bytes = self._bytes(part, stays, part.m if weights else part.n)
        self._ring(RESIDENT, stays, stay_bytes)
        size, whole = (blocks.n, part.n) if weights else (blocks.m, part.m)
        runs = self._cut(whole, size, weights)
        program: list[Node] = [Take(RESIDENT)]
        start = part.first_n
        for index, (count, extent) in enumerate(runs):
            last = index == len(runs) - 1
            left = count
            if index == 0:  # the first block brings in what stays
                program += self._block(part, blocks, extent, True, last and count == 1, start)
                left -= 1
            if last and left:  # the last block takes what rounding left over
                program += loop(left - 1, self._block(part, blocks, extent, False, False, start))
                program += self._block(part, blocks, extent, False, True, start)
            else:
                program += loop(left, self._block(part, blocks, extent, False, False, start))
            start += count * extent
        return [*program, Give(RESIDENT)]

    def _cut(self, extent: int, block: int, outputs: bool) -> Blocks:
        """Return a dimension in blocks, one by one where each output fold has its own clocks."""
        runs = cut(extent, block)
        if outputs and self.positional:
            return [(1, size) for count, size in runs for _ in range(count)]
        return runs

    def _clocks(
        self, part: SubProduct, blocks: Blocking, start: int, n: int, piece: Slice
    ) -> IssueClocks | None:
        """Return the clocks of a tile's terms, where some are skipped.

        A row fold's clocks are spread over the slices of K in proportion.
        """
        if self.bits.skipping is None:
            return None
        fold = self.bits.skipping.fold(start, n, part.k)
        issue = blocks.portion(fold.issue, piece)
        return IssueClocks(issue, min(fold.first, issue), blocks.portion(fold.rescale, piece))

    def _block(
        self, part: SubProduct, blocks: Blocking, extent: int, first: bool, last: bool, start: int
    ) -> list[Node]:
        """Return the program of one streamed block: all that stays passes by it.

        ``start``: the block's first output, where outputs are what streams.
        """
        weights = part.stream == "weight"
        stay_size, stay_whole = (blocks.m, part.m) if weights else (blocks.n, part.n)
        stay: list[BlockRun] = []
        at = part.first_n
        for count, size in self._cut(stay_whole, stay_size, not weights):
            stay.append(BlockRun(count=count, extent=size, last=False, first=at))
            at += count * size
        end = stay.pop()  # the last block stands apart
        if end.count > 1:
            stay.append(replace(end, count=end.count - 1))
        stay.append(replace(end, count=1, last=True, first=at - end.extent))
        lone = sum(run.count for run in stay) == 1  # the next tile goes on with the same sums

        def one(run: BlockRun, piece: Slice, fetch: bool) -> list[Node]:
            """Return one tile; ``fetch``: it is the first to use its slice of the block."""
            m, n = (run.extent, extent) if weights else (extent, run.extent)
            last_m, last_n = (run.last, last) if weights else (last, run.last)
            reads_w, reads_i = (fetch, first) if weights else (first, fetch)
            moved = Moved(
                self._fetched(part, blocks, "weight", n, last_n, piece) if reads_w else 0,
                self._fetched(part, blocks, "input", m, last_m, piece) if reads_i else 0,
                self._stored(part, blocks, m, n, last_m, last_n) if piece.last else 0,
            )
            clocks = self._clocks(part, blocks, start if weights else run.first, n, piece)
            return [self.timing.tile(m, n, piece, moved, clocks, sums_stay=lone)]

        return _nest(stay, blocks.slices, one, blocks.whole_k)

    def _fetched(
        self,
        part: SubProduct,
        blocks: Blocking,
        operand: str,
        extent: int,
        last: bool,
        piece: Slice,
    ) -> int:
        """Return the bytes read for one slice of a block of an operand."""
        total, whole, block, fetches = (
            (part.weight_bytes, part.n, blocks.n, part.weight_fetches)
            if operand == "weight"
            else (part.input_bytes, part.m, blocks.m, part.input_fetches)
        )
        rows = portion(total, whole, block, extent, last)
        if operand == "input" and self.kept.input:
            return 0
        return blocks.portion(rows, piece) * fetches

    def _stored(
        self, part: SubProduct, blocks: Blocking, m: int, n: int, last_m: bool, last_n: bool
    ) -> int:
        """Return the bytes of an m x n block of outputs, if they are stored."""
        if self.kept.output:
            return 0
        rows = portion(part.output_bytes, part.m, blocks.m, m, last_m)
        return portion(rows, part.n, blocks.n, n, last_n)


def portion(total: int, whole: int, block: int, extent: int, last: bool) -> int:
    """Return the bytes of one block of a dimension.

    Parameters
    ----------
    total : int
        Bytes of the whole dimension.
    whole, block, extent : int
        Elements of the dimension, of a full block, and of this one.
    last : bool
        It is the last block, which takes what the others left.
    """
    if not last:
        return share(total, extent, whole)
    others = (ceil_div(whole, block) - 1) if block < whole else 0
    return total - others * share(total, block, whole)


def _nest(
    stay: list[BlockRun],
    slices: list[Slice],
    one: Callable[[BlockRun, Slice, bool], list[Node]],
    whole_k: bool,
) -> list[Node]:
    """Return a block's loops: over what stays and inside over K, or the other way round.

    The first pass over what stays fetches the block.
    """
    nodes: list[Node] = []
    if whole_k:

        def all_k(run: BlockRun, fetch: bool) -> list[Node]:
            return [node for k in slices for node in loop(k.count, one(run, k, fetch))]

        for i, run in enumerate(stay):
            if i == 0:
                nodes += all_k(run, True)
            nodes += loop(run.count - (i == 0), all_k(run, False))
        return [Take(STREAM), *nodes, Give(STREAM)]
    for k in slices:
        passes: list[Node] = []
        for i, run in enumerate(stay):
            if i == 0:
                passes += one(run, k, True)
            passes += loop(run.count - (i == 0), one(run, k, False))
        nodes += loop(k.count, [Take(STREAM), *passes, Give(STREAM)])
    return nodes


def dense_program(scheduler: Scheduler) -> list[Node]:
    """Return the program of a layer without a causal mask.

    Rows of sequences that are laid out apart are padded to whole blocks, so that no tile holds
    rows of two of them.
    """
    layout, traffic, gemm = scheduler.layout, scheduler.traffic, scheduler.layout.gemm
    rows, apart = gemm.m, layout.sequences_apart
    m, n = layout.block(gemm.m, gemm.n)
    if apart > 1:
        rows = apart * m * ceil_div(gemm.m // apart, m)
    m, n = layout.block_in_groups(rows, gemm.n)
    program: list[Node] = [*scheduler.timing.table()]
    m_groups = groups_of(rows, m, traffic.weight_reads)
    n_groups = groups_of(gemm.n, n, traffic.input_reads)
    if scheduler.positional:
        n_groups = [replace(g, count=1) for g in n_groups for _ in range(g.count)]
    input_left, output_left = traffic.input_bytes, traffic.output_bytes
    for i, gm in enumerate(m_groups):
        row: list[Node] = []
        last_m = i == len(m_groups) - 1
        in_bytes = input_left if last_m else share(traffic.input_bytes, gm.extent, rows)
        row_bytes = output_left if last_m else share(traffic.output_bytes, gm.extent, rows)
        input_left -= gm.count * in_bytes
        output_left -= gm.count * row_bytes
        left, first_n = row_bytes, 0
        for j, gn in enumerate(n_groups):
            last_n = j == len(n_groups) - 1
            out_bytes = left if last_n else share(row_bytes, gn.extent, gemm.n)
            left -= gn.count * out_bytes
            part = SubProduct(
                m=gm.extent,
                n=gn.extent,
                k=gemm.k,
                weight_bytes=traffic.weight_bytes // gemm.n * gn.extent,
                input_bytes=in_bytes,
                output_bytes=out_bytes,
                weight_fetches=gm.fetches,
                input_fetches=gn.fetches,
                stream=layout.stream,
                first_n=first_n,
            )
            first_n += gn.count * gn.extent
            row += loop(gn.count, scheduler.part(part))
        program += loop(gm.count, row)
    return loop(gemm.batch, program)


def causal_program(scheduler: Scheduler) -> list[Node]:
    """Return the program of a layer under a causal mask: blocks of M, each over what it sees.

    Keys and values that are read once come with the first block that sees them; read again, they
    are spread over the blocks in proportion to what each sees. So are the scores.
    """
    traffic, gemm = scheduler.traffic, scheduler.layout.gemm
    blocks = visible_blocks(scheduler.chip, gemm)
    by_rows = [each.m for each in blocks]
    seen = [each.high - each.low for each in blocks]
    by_seen = [rows * visible for rows, visible in zip(by_rows, seen, strict=True)]
    bottom = min((each.low for each in blocks), default=0)
    tops = list(accumulate((each.high for each in blocks), max, initial=bottom))
    new = [after - before for before, after in pairwise(tops)]
    masked = not scheduler.layout.pooled
    by_share = masked and (gemm.causal == "k" or traffic.input_reads > 1)
    weights = _spread(
        traffic.weight_moved_bytes, new if masked and traffic.weight_reads == 1 else seen
    )
    inputs = _spread(traffic.input_moved_bytes, by_seen if by_share else by_rows)
    outputs = _spread(traffic.output_bytes, by_seen if masked and gemm.causal == "n" else by_rows)
    program: list[Node] = []
    for i, each in enumerate(blocks):
        program += scheduler.part(
            SubProduct(
                m=each.m,
                n=each.n,
                k=each.k,
                weight_bytes=weights[i],
                input_bytes=inputs[i],
                output_bytes=outputs[i],
                stream="weight",
            )
        )
    return loop(gemm.batch, program)


def _spread(total: int, parts: Sequence[int]) -> list[int]:
    """Return a total in proportion to parts, in whole bytes that add up to it."""
    whole, before, found = max(1, sum(parts)), 0, []
    for part in parts:
        found.append(total * (before + part) // whole - total * before // whole)
        before += part
    return found


def layer_program(layout: Layout, options: CycleOptions) -> Program:
    """Return the program of a layer; kept inputs take no places in their ring."""
    scheduler = Scheduler(layout, options)
    build = dense_program if scheduler.layout.gemm.causal is None else causal_program
    program = build(scheduler)
    if scheduler.kept.input:
        for index, ring in enumerate(scheduler.rings):
            if ring.operand == "input":
                scheduler.rings[index] = replace(ring, places=0, piece_bytes=0)
                program = _without(program, index)
    return Program(
        nodes=tuple(program),
        rings=(scheduler.rings[STREAM], scheduler.rings[RESIDENT]),
        capacity_bytes=(
            scheduler.traffic.weight_room_bytes,
            scheduler.free_input_bytes,
        ),
        output_tiles=scheduler.output_tiles,
    )


def _without(program: Sequence[Node], ring: int) -> list[Node]:
    """Return a program that asks for no places of a ring."""
    nodes: list[Node] = []
    for node in program:
        if isinstance(node, Loop):
            nodes += loop(node.count, _without(node.body, ring))
        elif not (isinstance(node, Take | Give) and node.ring == ring):
            nodes.append(node)
    return nodes


def ring_places(buffer_bytes: int, piece_bytes: int, most: int) -> int:
    """Return how many pieces a buffer holds at once: at least 1, at most ``most``."""
    return max(1, min(most, buffer_bytes // max(1, piece_bytes)))


def share(total: int, part: int, whole: int) -> int:
    """Return the bytes of a full block, rounded down; the last block takes what is left."""
    return total * part // whole
