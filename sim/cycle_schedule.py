"""From a layer to the cycle rung's program: blocks, loop order, what is fetched when.

The order follows the mapper's traffic. One operand stays in its buffer (the inputs where weights
are read again, else the weights), the other streams past it in blocks; an operand that is read p
times has its counterpart cut into p groups, and is fetched anew for each.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from ..arch.schema import Arch
from ..mapping.whole_buffer import Traffic
from ..workloads.gemm import Gemm
from .analytic import LayerBits
from .cycle_machine import (
    INPUTS,
    RESIDENT,
    STREAM,
    WEIGHTS,
    Give,
    Loop,
    Node,
    Take,
    Tile,
    loop,
)
from .memory import CycleOptions, DramPort, ring_places, share

SERIAL_PIPELINE_CYCLES = 6  # BitMoD PE: exponents 2, multiply 2, accumulate 2
PARALLEL_PIPELINE_CYCLES = 1  # a MAC with a registered result

Cut = list[tuple[int, int]]
"""Blocks of a dimension in order: (how many, extent of each)."""


def _ceil(a: int, b: int) -> int:
    return -(-a // b)


def cut(extent: int, block: int) -> Cut:
    """Return a dimension in full blocks and a last, smaller one.

    Examples
    --------
    >>> cut(10, 4), cut(8, 4), cut(3, 4)
    ([(2, 4), (1, 2)], [(2, 4)], [(1, 3)])
    """
    full, rest = divmod(extent, block)
    return [(count, size) for count, size in ((full, block), (1, rest)) if count and size]


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
    blocks = _ceil(extent, block)
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
class Timing:
    """Clocks of tiles on one array for one layer, as functions of the tile's extents.

    ``chunks`` counts the lanes-wide steps of the reduction a tile holds, ``width`` the elements.
    """

    arch: Arch
    bits: LayerBits
    options: CycleOptions
    dram: DramPort

    @property
    def flow(self) -> str:
        """``tile``, or the dataflow of a systolic array."""
        return "tile" if self.arch.array.kind == "tile" else self.arch.array.dataflow

    def tile(
        self,
        m: int,
        n: int,
        width: int,
        last: bool,
        moved: tuple[int, int, int] = (0, 0, 0),
    ) -> Tile:
        """Return the tile of an m x n block of outputs over ``width`` elements of K.

        ``last``: its results leave. ``moved``: bytes of weights and inputs read for it, and of
        outputs stored after it.
        """
        array, terms = self.arch.array, self.bits.terms
        chunks = _ceil(width, self.arch.pe.lanes)
        used = {"tile": (n, m), "os": (m, n), "ws": (chunks, n), "is": (chunks, m)}[self.flow]
        steps = {"tile": chunks, "os": chunks, "ws": m, "is": n}[self.flow]
        if array.kind == "systolic" and array.timing == "scalesim":
            used = (array.rows, array.columns)
        busy = steps * terms
        rescale = self._rescale(width) if self.options.rescale else 0
        port = steps * self._port_wait(*used) if self.options.memory else 0
        fill, load, latency, drain = self._edges(used, last)
        timed = moved if self.options.memory else (0, 0, 0)
        clocks = [self.dram.transfer_cycles(size) if size else 0 for size in timed]
        return Tile(
            moved=moved,
            reads=tuple((c, t) for c, t in ((WEIGHTS, clocks[0]), (INPUTS, clocks[1])) if t),
            load=load,
            body=busy + rescale + port + fill,
            busy=busy,
            rescale=rescale,
            port=port,
            latency=latency,
            drain=drain,
            store=clocks[2],
        )

    def _edges(self, used: tuple[int, int], last: bool) -> tuple[int, int, int, int]:
        """Return (fill, load, latency, drain) of a tile that uses ``used`` rows and columns.

        Systolic arrays: the forms of `array.systolic_model`, with a second operand register and a
        drain register. Tile arrays: the pipeline, the rescale of the last group, then a row of
        results a clock, all beside the next tile.
        """
        if not self.options.pipeline:
            return 0, 0, 0, 0
        array, terms = self.arch.array, self.bits.terms
        if self.flow == "tile":
            depth = SERIAL_PIPELINE_CYCLES if self.arch.serial else PARALLEL_PIPELINE_CYCLES
            return (0, 0, depth + self.bits.rescale_bits, used[0]) if last else (0, 0, 0, 0)
        fill = (used[0] + used[1] - 2) * terms
        if array.timing == "scalesim":
            return fill + (array.rows if self.flow != "os" else 0), 0, 0, 0
        if self.flow == "os":
            return fill, 0, 0, used[0] if last else 0
        return fill, self._load(*used), 0, 0

    def _load(self, rows: int, columns: int) -> int:
        """Return the clocks to load stationary operands: a row a clock, or what the port gives."""
        if not self.options.memory:
            return rows
        name = "weight" if self.flow == "ws" else "io"
        port: int | str = getattr(self.arch.buffers, name).port_bits
        if isinstance(port, str):
            return rows
        bits = self.bits.buffered_weight if name == "weight" else self.bits.input
        return max(rows, math.ceil(rows * columns * self.arch.pe.lanes * bits / port))

    def _port_wait(self, rows: int, columns: int) -> int:
        """Return the clocks a step waits for SRAM ports; automatic ports are wide enough."""
        lanes, waits = self.arch.pe.lanes, [0]
        streamed = {
            "tile": {"weight": rows, "io": columns},
            "os": {"weight": columns, "io": rows},
            "ws": {"io": rows},
            "is": {"weight": rows},
        }[self.flow]
        for name, width in streamed.items():
            port = getattr(self.arch.buffers, name).port_bits
            if isinstance(port, str):
                continue
            bits = self.bits.buffered_weight if name == "weight" else self.bits.input
            waits.append(math.ceil(width * lanes * bits / port) - self.bits.terms)
        return max(waits)

    def _rescale(self, width: int) -> int:
        """Return the clocks a PE waits for its rescale unit: k a group, less the group's own."""
        group, lanes, terms = self.bits.group, self.arch.pe.lanes, self.bits.terms
        if not self.arch.serial or self.flow != "tile" or not group:
            return 0
        wait = max(0, self.bits.rescale_bits - terms * _ceil(group, lanes))
        return _ceil(width, group) * wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A product with the bytes it moves, fetches counted once.

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
    stream: Literal["weight", "input"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """Extents of a part's blocks: along M, N and K, and whether a streamed block spans all K."""

    m: int
    n: int
    k: int
    whole_k: bool


class Scheduler:
    """Builds the program of one layer on one chip."""

    def __init__(self, arch: Arch, bits: LayerBits, options: CycleOptions) -> None:
        self.arch = arch
        self.bits = bits
        self.options = options
        self.timing = Timing(arch=arch, bits=bits, options=options, dram=DramPort.of(arch))
        self.places = {STREAM: options.prefetch_transfers, RESIDENT: options.prefetch_transfers}

    def _buffer_bytes(self, operand: str) -> int:
        buffers = self.arch.buffers
        return (buffers.weight if operand == "weight" else buffers.io).size_bytes

    def _places(self, ring: int, operand: str, piece_bytes: int) -> None:
        """Keep a ring's places down to what fits of its largest piece."""
        fit = ring_places(self._buffer_bytes(operand), piece_bytes, self.places[ring])
        self.places[ring] = fit

    def block_extents(self, m: int, n: int, k: int, stream: str) -> tuple[int, int]:
        """Return (m, n) of a block before it is cut into groups.

        On ws and is arrays the dimension that passes through the PEs is whole where its operand
        stays in its buffer, else as long as half that buffer holds.
        """
        array, flow = self.arch.array, self.timing.flow
        if flow == "ws":
            whole = m if stream == "weight" else self._half(k, self.bits.input, m)
            return whole, array.columns
        if flow == "is":
            whole = n if stream == "input" else self._half(k, self.bits.weight, n)
            return array.columns, whole
        return (array.columns, array.rows) if flow == "tile" else (array.rows, array.columns)

    def _half(self, k: int, bits: Fraction, extent: int) -> int:
        operand = "input" if self.timing.flow == "ws" else "weight"
        row = max(1, math.ceil(k * bits / 8))
        return max(1, min(extent, self._buffer_bytes(operand) // 2 // row))

    def _blocks(self, part: Part) -> Blocks:
        """Return the extents of a part's blocks.

        A streamed block that spans all of K is kept while what stays passes by, if two of them
        fit the buffer; else it is cut along K.
        """
        m, n = self.block_extents(part.m, part.n, part.k, part.stream)
        lanes = self.arch.pe.lanes
        operand, total, size, whole = (
            ("weight", part.weight_bytes, min(n, part.n), part.n)
            if part.stream == "weight"
            else ("input", part.input_bytes, min(m, part.m), part.m)
        )
        block_bytes = share(total, size, whole)
        half = max(1, self._buffer_bytes(operand) // 2)
        fits = block_bytes <= half
        if self.timing.flow in ("ws", "is"):
            k = self.arch.array.rows * lanes
        else:
            slices = min(_ceil(block_bytes, half), _ceil(part.k, lanes)) or 1
            k = _ceil(_ceil(part.k, lanes), slices) * lanes
        k = min(k, part.k)
        self._places(STREAM, operand, block_bytes if fits else share(block_bytes, k, part.k))
        return Blocks(m=m, n=n, k=k, whole_k=fits)

    def part(self, part: Part) -> list[Node]:
        """Return the program of one part, its resident operand included."""
        blocks = self._blocks(part)
        weights = part.stream == "weight"
        stay_bytes = part.input_bytes if weights else part.weight_bytes
        self._places(RESIDENT, "input" if weights else "weight", stay_bytes)
        size, whole = (blocks.n, part.n) if weights else (blocks.m, part.m)
        runs = cut(whole, size)
        program: list[Node] = [Take(RESIDENT)]
        for index, (count, extent) in enumerate(runs):
            last = index == len(runs) - 1
            left = count
            if index == 0:  # the first block brings in what stays
                program += self._block(part, blocks, extent, True, last and count == 1)
                left -= 1
            if last and left:  # the last block takes what rounding left over
                program += loop(left - 1, self._block(part, blocks, extent, False, False))
                program += self._block(part, blocks, extent, False, True)
            else:
                program += loop(left, self._block(part, blocks, extent, False, False))
        return [*program, Give(RESIDENT)]

    def _block(
        self, part: Part, blocks: Blocks, extent: int, first: bool, last: bool
    ) -> list[Node]:
        """Return the program of one streamed block: all that stays passes by it."""
        weights = part.stream == "weight"
        stay_size, stay_whole = (blocks.m, part.m) if weights else (blocks.n, part.n)
        stay = [
            (count - (i == len(runs) - 1), size, False)
            for runs in [cut(stay_whole, stay_size)]
            for i, (count, size) in enumerate(runs)
        ]
        stay += [(1, stay[-1][1], True)]
        stay = [run for run in stay if run[0]]
        slices = [(count, width, False) for count, width in cut(part.k, blocks.k)]
        count, width, _ = slices.pop()
        slices += [(count - 1, width, False), (1, width, True)]
        slices = [run for run in slices if run[0]]

        def one(r: tuple[int, int, bool], k: tuple[int, int, bool], fetch: bool) -> list[Node]:
            """Return one tile; ``fetch``: it is the first to use its slice of the block."""
            m, n = (r[1], extent) if weights else (extent, r[1])
            last_m, last_n = (r[2], last) if weights else (last, r[2])
            reads_w, reads_i = (fetch, first) if weights else (first, fetch)
            moved = (
                self._fetched(part, blocks, "weight", n, last_n, k) if reads_w else 0,
                self._fetched(part, blocks, "input", m, last_m, k) if reads_i else 0,
                self._stored(part, blocks, m, n, last_m, last_n) if k[2] else 0,
            )
            return [self.timing.tile(m, n, k[1], k[2], moved)]

        return _nest(stay, slices, one, blocks.whole_k)

    def _fetched(
        self,
        part: Part,
        blocks: Blocks,
        operand: str,
        extent: int,
        last: bool,
        k: tuple[int, int, bool],
    ) -> int:
        """Return the bytes read for one slice of a block of an operand."""
        total, whole, block, fetches = (
            (part.weight_bytes, part.n, blocks.n, part.weight_fetches)
            if operand == "weight"
            else (part.input_bytes, part.m, blocks.m, part.input_fetches)
        )
        rows = portion(total, whole, block, extent, last)
        return portion(rows, part.k, blocks.k, k[1], k[2]) * fetches

    def _stored(
        self, part: Part, blocks: Blocks, m: int, n: int, last_m: bool, last_n: bool
    ) -> int:
        """Return the bytes of an m x n block of outputs."""
        rows = portion(part.output_bytes, part.m, blocks.m, m, last_m)
        return portion(rows, part.n, blocks.n, n, last_n)


def portion(total: int, whole: int, block: int, extent: int, last: bool) -> int:
    """Return the bytes of one block of ``whole``; the last block takes what the others left."""
    if not last:
        return share(total, extent, whole)
    others = (_ceil(whole, block) - 1) if block < whole else 0
    return total - others * share(total, block, whole)


def _nest(
    stay: list[tuple[int, int, bool]],
    slices: list[tuple[int, int, bool]],
    one: Callable[[tuple[int, int, bool], tuple[int, int, bool], bool], list[Node]],
    whole_k: bool,
) -> list[Node]:
    """Return a block's loops: over what stays and inside over K, or the other way round.

    The first pass over what stays fetches the block.
    """
    nodes: list[Node] = []
    if whole_k:

        def all_k(r: tuple[int, int, bool], fetch: bool) -> list[Node]:
            return [node for k in slices for node in loop(k[0], one(r, k, fetch))]

        for i, r in enumerate(stay):
            if i == 0:
                nodes += all_k(r, True)
            nodes += loop(r[0] - (i == 0), all_k(r, False))
        return [Take(STREAM), *nodes, Give(STREAM)]
    for k in slices:
        passes: list[Node] = []
        for i, r in enumerate(stay):
            if i == 0:
                passes += one(r, k, True)
            passes += loop(r[0] - (i == 0), one(r, k, False))
        nodes += loop(k[0], [Take(STREAM), *passes, Give(STREAM)])
    return nodes


def dense_program(scheduler: Scheduler, gemm: Gemm, traffic: Traffic) -> list[Node]:
    """Return the program of a layer without a causal mask."""
    arch = scheduler.arch
    weight_bytes = traffic.weight_bytes // gemm.batch
    input_bytes = traffic.input_bytes // gemm.batch
    output_bytes = traffic.output_bytes // gemm.batch
    stream: Literal["weight", "input"] = "weight"
    if traffic.weight_reads == 1:
        weights_fit = traffic.weight_bytes <= arch.buffers.weight.size_bytes
        inputs_fit = traffic.input_bytes <= arch.buffers.io.size_bytes
        if traffic.input_reads > 1 or (
            weights_fit and (not inputs_fit or scheduler.timing.flow == "is")
        ):
            stream = "input"
    m, n = scheduler.block_extents(gemm.m, gemm.n, gemm.k, stream)
    if scheduler.timing.flow == "ws":
        m = min(m, _ceil(gemm.m, traffic.weight_reads))
    if scheduler.timing.flow == "is":
        n = min(n, _ceil(gemm.n, traffic.input_reads))
    program: list[Node] = []
    done_m = 0
    m_groups = groups_of(gemm.m, m, traffic.weight_reads)
    n_groups = groups_of(gemm.n, n, traffic.input_reads)
    for i, gm in enumerate(m_groups):
        row: list[Node] = []
        last_m = i == len(m_groups) - 1
        in_bytes = input_bytes - done_m if last_m else share(input_bytes, gm.extent, gemm.m)
        done_m += gm.count * in_bytes
        row_bytes = left = output_bytes // gemm.m * gm.extent
        for j, gn in enumerate(n_groups):
            last_n = j == len(n_groups) - 1
            out_bytes = left if last_n else share(row_bytes, gn.extent, gemm.n)
            left -= gn.count * out_bytes
            part = Part(
                m=gm.extent,
                n=gn.extent,
                k=gemm.k,
                weight_bytes=weight_bytes // gemm.n * gn.extent,
                input_bytes=in_bytes,
                output_bytes=out_bytes,
                weight_fetches=gm.fetches,
                input_fetches=gn.fetches,
                stream=stream,
            )
            row += loop(gn.count, scheduler.part(part))
        program += loop(gm.count, row)
    return loop(gemm.batch, program)


def causal_program(scheduler: Scheduler, gemm: Gemm, traffic: Traffic) -> list[Node]:
    """Return the program of a layer under a causal mask: blocks of M, each over what it sees.

    The blocks and what they see are those of `analytic.layer_work`. The mapper's rule does not
    know the mask: its weight traffic is spread over the blocks in proportion to what they see.
    """
    array = scheduler.arch.array
    rows = array.columns if array.kind == "tile" else array.rows
    weight_bytes = traffic.weight_bytes // gemm.batch * traffic.weight_reads
    input_bytes = traffic.input_bytes // gemm.batch * traffic.input_reads
    output_row = traffic.output_bytes // gemm.batch // gemm.m
    cut_extent = gemm.n if gemm.causal == "n" else gemm.k
    lengths = [min(rows, gemm.m - first) for first in range(0, gemm.m, rows)]
    seen = [
        min(
            cut_extent,
            gemm.visible_before + (i * rows + length - 1) // gemm.rows_per_token + 1,
        )
        for i, length in enumerate(lengths)
    ]
    before, whole = 0, sum(seen)
    program: list[Node] = []
    for i, (m, visible) in enumerate(zip(lengths, seen, strict=True)):
        n, k = (visible, gemm.k) if gemm.causal == "n" else (gemm.n, visible)
        after = before + visible
        program += scheduler.part(
            Part(
                m=m,
                n=n,
                k=k,
                weight_bytes=weight_bytes * after // whole - weight_bytes * before // whole,
                input_bytes=portion(input_bytes, gemm.m, rows, m, i == len(lengths) - 1),
                output_bytes=output_row * m,
                stream="weight",
            )
        )
        before = after
    return loop(gemm.batch, program)


def program_of(scheduler: Scheduler, gemm: Gemm, traffic: Traffic) -> list[Node]:
    """Return the program of a layer."""
    build = dense_program if gemm.causal is None else causal_program
    return build(scheduler, gemm, traffic)


def moved_bytes(program: Sequence[Node]) -> tuple[int, int, int]:
    """Return the bytes a program moves over DRAM: weights, inputs, outputs."""
    total = [0, 0, 0]
    for node in program:
        if isinstance(node, Tile):
            part, count = node.moved, 1
        elif isinstance(node, Loop):
            part, count = moved_bytes(node.body), node.count
        else:
            continue
        for i in range(3):
            total[i] += count * part[i]
    return total[0], total[1], total[2]
