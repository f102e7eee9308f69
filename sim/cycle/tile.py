"""Clocks of one tile on one array: its terms, the sums it hands on, fill and drain, SRAM ports."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from ...arch.dataflow import TILE, Dataflow
from ...arch.schema import BufferName, OperandName
from ..array.groups import clocks_after_first
from ..chip import Chip
from ..layer_bits import LayerBits
from ..layout import Layout
from .dram import DramPort
from .options import CycleOptions
from .program import INPUTS, NOTHING_MOVED, WEIGHTS, Moved, Tile
from .slices import Slice


class IssueClocks(NamedTuple):
    """Clocks of a tile's terms: all, those of its first group, and those between its groups."""

    busy: int
    first: int
    rescale: int


class Edges(NamedTuple):
    """Clocks around a tile's terms, as `Tile` has them; ``fill`` is part of its body."""

    fill: int = 0
    load: int = 0
    latency: int = 0
    drain: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Clocks of tiles on one array for one layer, as functions of the tile's extents."""

    chip: Chip
    bits: LayerBits
    options: CycleOptions
    dram: DramPort
    ports_bind: bool

    @classmethod
    def of(cls, layout: Layout, options: CycleOptions) -> "Timing":
        """Return the clocks of a chip's tiles for a layer."""
        return cls(
            chip=layout.chip,
            bits=layout.bits,
            options=options,
            dram=DramPort.of(layout.chip, options),
            ports_bind=options.memory and not layout.chip.published,
        )

    @property
    def flow(self) -> Dataflow:
        """How products lie on the array."""
        return self.chip.flow

    def tile(
        self,
        m: int,
        n: int,
        piece: Slice,
        moved: Moved = NOTHING_MOVED,
        clocks: IssueClocks | None = None,
        sums_stay: bool = False,
    ) -> Tile:
        """Return the tile of an m x n block of outputs over a slice of K.

        The results of the last slice leave.

        Parameters
        ----------
        m, n : int
            Tokens and outputs.
        piece : Slice
        moved : Moved
            Bytes of weights and inputs read for it, and of outputs stored after it.
        clocks : IssueClocks, optional
            Where zero terms are skipped.
        sums_stay : bool
            The next tile goes on with the unfinished sums, which stay in the PEs (tile and os
            arrays).
        """
        array, chunks, tile = self.chip.arch.array, piece.chunks, self.flow is TILE
        *used, steps = self.flow.extents(m, n, chunks)
        if array.kind == "systolic" and array.timing == "scalesim":
            used = [array.rows, array.columns]
        busy, first, rescale = clocks or self._issue(piece, steps)
        rescale = rescale if self.options.rescale else 0
        row_loads = self._load(m, n, piece)
        fill, load, latency, drain = self._edges(used, piece.last, row_loads)
        port = 0
        if self.ports_bind:
            needed = self._port_clocks(m, n, piece, moved, steps, row_loads, sums_stay=sums_stay)
            port = max(0, needed - busy)
        if self.options.pipeline:
            fill += steps * self.chip.arch.fill_cycles(self.bits.table_additions)
            fill += self.bits.decoder.block_clocks(piece.first) if self.bits.decoder else 0
        sums = piece.groups > 0 if tile else drain > 0
        timed = moved if self.options.memory else NOTHING_MOVED
        reads = (
            (WEIGHTS, self._transfer("weight", timed.weight)),
            (INPUTS, self._transfer("input", timed.input)),
        )
        return Tile(
            moved=moved,
            loads=INPUTS if self.flow.loaded == "input" else WEIGHTS,
            reads=tuple(read for read in reads if read[1]),
            load=load,
            body=busy + rescale + port + fill,
            busy=busy,
            rescale=rescale,
            port=port,
            sums=sums,
            tail=busy + rescale - first if sums else 0,
            scale=self.scale,
            gap=self.gap if sums else 0,
            latency=latency,
            drain=drain,
            holds_unit=not tile,
            store=self._transfer("output", timed.output),
        )

    def table(self) -> list[Tile]:
        """Return what loads the table of a layer's decoders, if there is one: clocks, no work."""
        decoder = self.bits.decoder
        if decoder is None or not decoder.layer_clocks or not self.options.pipeline:
            return []
        return [
            Tile(
                reads=(),
                load=0,
                body=decoder.layer_clocks,
                busy=0,
                rescale=0,
                port=0,
                sums=False,
                tail=0,
                scale=0,
                gap=0,
                latency=0,
                drain=0,
                store=0,
            )
        ]

    def _edges(self, used: Sequence[int], last: bool, load: int) -> Edges:
        """Return the clocks around a tile that uses ``used`` rows and columns.

        ``load``: clocks to load its stationary operand.

        Systolic arrays: the forms of `array.systolic.model`; what no register hides holds the
        array up as fill does. Tile arrays: the pipeline, then, behind the rescale unit, a row of
        results a clock, all beside the next tile.
        """
        if not self.options.pipeline:
            return Edges()
        arch, pe = self.chip.arch, self.chip.arch.pe
        if self.flow is TILE:
            depth = self.chip.pe.pipeline_cycles
            return Edges(latency=depth, drain=used[0]) if last else Edges()
        fill = (used[0] + used[1] - 2) * self.bits.terms
        if arch.array.timing == "scalesim":
            return Edges(fill=fill + (arch.array.rows if self.flow.loaded else 0))
        if self.flow.sums_stay:
            drain = used[0] if last else 0
            hidden = pe.drain_register
            return Edges(fill=fill, drain=drain) if hidden else Edges(fill=fill + drain)
        hidden = pe.double_buffered_operand
        return Edges(fill=fill, load=load) if hidden else Edges(fill=fill + load)

    def _transfer(self, operand: OperandName, size_bytes: int) -> int:
        """Return the clocks of a transfer: what DRAM takes, and the port of the buffer.

        The port does not count where the DRAM bandwidth is sought that spares all waits.
        """
        if not size_bytes:
            return 0
        clocks = self.dram.transfer_cycles(size_bytes)
        through = self.bits.codes_in_bytes(operand, size_bytes)
        binds = self.ports_bind and self.options.exposed_waits
        return max(clocks, self._accesses(operand, through)) if binds else clocks

    def _accesses(self, operand: OperandName, size_bits: Fraction | int) -> int:
        """Return the accesses of an operand's buffer that so many bits at once take."""
        return self.chip.holding(operand).accesses(math.ceil(size_bits))

    def _load(self, m: int, n: int, piece: Slice) -> int:
        """Return the clocks to load a stationary operand: a row a clock, or what the port gives."""
        loaded = self.flow.loaded
        if loaded is None:
            return 0
        if not self.ports_bind:
            return piece.chunks
        columns, bits = self.flow.extents(m, n, 0).columns, self.bits.code_of(loaded)
        return sum(
            count * self._accesses(loaded, columns * size * bits) for size, count in piece.sizes
        )

    def _step_reads(self, m: int, n: int, piece: Slice, steps: int) -> Counter[BufferName]:
        """Return the accesses of each buffer for the steps of a tile."""
        layout, found = self.chip.buffer_of, Counter[BufferName]()
        asked = [(size, size, count) for size, count in piece.sizes]
        if self.flow.loaded is not None:
            chunk = sum(size * count for size, count in piece.sizes)
            asked = [(chunk, 0, steps) if self.flow.loaded == "input" else (0, chunk, steps)]
            m = n = 1
        for weights, inputs, count in asked:
            at_once = Counter[BufferName]()
            at_once[layout["weight"]] += math.ceil(n * weights * self.bits.code_of("weight"))
            at_once[layout["input"]] += math.ceil(m * inputs * self.bits.code_of("input"))
            for name, size_bits in at_once.items():
                found[name] += count * self.chip.sram[name].accesses(size_bits)
        return found

    def _port_clocks(
        self,
        m: int,
        n: int,
        piece: Slice,
        moved: Moved,
        steps: int,
        load: int,
        *,
        sums_stay: bool,
    ) -> int:
        """Return the clocks the busiest SRAM port takes for a tile (`sim.ports`).

        The array's accesses: every step, every row that is loaded (beyond the clocks in which the
        array does nothing else), sums that wait, results. A buffer with one port also takes in what
        is fetched for the tile and gives results to DRAM. Scales count for the layer only.
        """
        chip, layout, array = self.chip, self.chip.buffer_of, self.chip.arch.array
        loaded, physical = self.flow.loaded, array.timing == "physical"
        reads, writes = self._step_reads(m, n, piece, steps), Counter[BufferName]()
        if loaded is not None:
            alone = 0 if self.chip.arch.pe.double_buffered_operand else load
            reads[layout[loaded]] += max(0, load - (alone if physical else array.rows))
            sums_stay = False  # K lies on the rows
        lines, line = (m, n) if self.flow.weights_on_columns else (n, m)
        home = chip.sums.name
        waiting = 0 if sums_stay else lines * chip.sums.accesses(line * chip.sum_bits)
        if not piece.first and (physical or loaded is None):  # sums are read back
            reads[home] += waiting
        if piece.last:
            row_bits = line * self.bits.code_of("output")
            writes[layout["output"]] += lines * self._accesses("output", row_bits)
        else:
            writes[home] += waiting
        clocks = [0]
        for name, sram in chip.sram.items():
            if sram.ports == 2:
                clocks += [reads[name], writes[name]]
                continue
            through = sum(
                self._accesses(operand, self.bits.codes_in_bytes(operand, size))
                for operand, size in zip(layout, moved, strict=True)
                if layout[operand] == name
            )
            clocks.append(reads[name] + writes[name] + through)
        return max(clocks)

    @property
    def scale(self) -> int:
        """Clocks that the unit behind the PEs takes for the sum of a group: bits of its scale."""
        return self.bits.rescale_bits if self.flow is TILE and self.options.rescale else 0

    @property
    def gap(self) -> int:
        """Clocks between groups."""
        counts = self.flow is TILE and self.options.rescale
        return self.chip.pe.group_gap if counts else 0

    def _issue(self, piece: Slice, steps: int) -> IssueClocks:
        """Return the clocks of a tile's terms, none skipped.

        Groups follow one another as `array.groups` says; the machine times the first one's wait.
        """
        terms = self.bits.terms
        busy = steps * terms
        if self.flow is not TILE or piece.groups < 2:
            return IssueClocks(busy, busy, 0)
        full, short = piece.full * terms, piece.short * terms
        later = clocks_after_first(piece.groups, full, short, gap=self.gap, unit=self.scale)
        return IssueClocks(busy, full, full + later - busy)
