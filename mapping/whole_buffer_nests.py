"""The published rules as loop nests: mappers ``nest-whole-buffer`` and ``nest-output-tiled``.

The traffic of `mapping.whole_buffer` as loop nests that are legal on a chip. The array unrolls all
that its axes take. ``nest-whole-buffer``: one operand stays, whole or in groups of whole rows, and
the other passes by once for each group, in blocks of as many rows as the array takes; K is cut
between DRAM and a buffer only where such a block does not fit, and unfinished sums then wait in
their buffer. ``nest-output-tiled``: a tile of unfinished sums stays while slices of K pass.

Two things differ from the rule in bytes: results take room in their buffer, and a group has whole
rows, so that p = ceil(M / floor(room / row)) where the rule says ceil(I / S_io). Rows are not
padded to bytes.
"""

from collections.abc import Callable, Sequence
from collections.abc import Mapping as Table
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from ..arch.hierarchy import OPERANDS, Hierarchy, Memory
from ..datatypes.base.errors import BitlatheError
from ..datatypes.base.numbers import ceil_div
from .accesses import outermost_bits
from .best import Best
from .cost import cost
from .floors import traffic_bits
from .legal import footprints, problems
from .nest import Level, Loop, Loops, Mapping, Unroll
from .operands import OperandBits

Streamed = Literal["weight", "input"]
OWN_DIM = {"weight": "n", "input": "m"}
"""The dimension that indexes an operand and not the other."""
OTHER: dict[Streamed, Streamed] = {"weight": "input", "input": "weight"}


def whole_buffer_nest(layer: Loops, bits: OperandBits, hierarchy: Hierarchy) -> Best:
    """Return a product's mapping under the whole-buffer rule.

    With an operand resident in the fewest groups of rows that fit, the other is read once for each
    group; the resident operand is the one with less traffic, or fewer clocks where that is equal.

    Parameters
    ----------
    layer : Loops
        A product.
    bits : OperandBits
    hierarchy : Hierarchy
        DRAM, one buffer for each operand (shared or not), registers in the PEs or none.

    Raises
    ------
    BitlatheError
        Another kind of layer or hierarchy, or not even a row of an operand fits.
    """
    chip = _Chip(layer, bits, hierarchy, "nest-whole-buffer")
    return chip.least([chip.resident("input"), chip.resident("weight")])


def output_tiled_nest(layer: Loops, bits: OperandBits, hierarchy: Hierarchy) -> Best:
    """Return a product's mapping with a tile of sums in half a buffer while slices of K pass.

    Of all tiles the one with the least traffic; the whole-buffer rule's mapping where an operand
    fits its buffer, or that has less.

    Parameters
    ----------
    layer : Loops
        A product.
    bits : OperandBits
    hierarchy : Hierarchy
        As of `whole_buffer_nest`.

    Raises
    ------
    BitlatheError
        Another kind of layer or hierarchy, or no tile fits.
    """
    chip = _Chip(layer, bits, hierarchy, "nest-output-tiled")
    whole = [chip.resident("input"), chip.resident("weight")]
    return chip.least([*whole, chip.tiled()])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Blocks:
    """A nest of the whole-buffer rule.

    Attributes
    ----------
    resident : {"weight", "input"}
        The operand that stays, in groups of ``group`` rows; the other streams.
    block : int
        Rows of the streamed operand that are in its buffer at once.
    k : int
        Elements of K of such a block.
    doubled : bool
        Whether the next block is fetched beside the one in use.
    """

    resident: Streamed
    group: int
    block: int
    k: int
    doubled: bool


class _Chip:
    """A layer on a chip, and the nests of the rules there."""

    def __init__(self, layer: Loops, bits: OperandBits, hierarchy: Hierarchy, rule: str) -> None:
        self.layer, self.bits, self.hierarchy, self.rule = layer, bits, hierarchy, rule
        self.sizes = layer.sizes
        self.outer = tuple(dim for dim in self.sizes if dim not in "mnk")
        if set(self.outer) - set("bh") or not set("mnk") <= set(self.sizes):
            raise BitlatheError(
                f"mapper {rule!r} takes products, of dimensions m, n, k, b and h; this layer has "
                f"{', '.join(self.sizes)}."
            )
        self.buffers: dict[str, list[Memory]] = {}
        self.inside: list[tuple[str, Memory]] = []
        for operand in OPERANDS:
            below = hierarchy.chain(operand)[1:]
            self.buffers[operand] = [memory for memory in below if not memory.per]
            self.inside += [(operand, memory) for memory in below if memory.per]
        counts = [len(self.buffers[operand]) for operand in OPERANDS]
        if counts[:2] != [1, 1] or counts[2] not in (1, 2) or len(self.inside) > 1:
            between = ", ".join(
                f"{operand}s pass {', '.join(m.name for m in hierarchy.chain(operand))}"
                for operand in OPERANDS
            )
            raise BitlatheError(
                f"mapper {rule!r} lays out chips with DRAM, one buffer for each operand and "
                f"registers of one operand; here {between}: use mapper 'search'."
            )
        self.loaded = next((op for op, _ in self.inside if op != "output"), None)
        self.spatial = self._unrolled()
        full = Mapping(levels=(), spatial=self.spatial)
        self.step = {dim: full.unrolled(dim) for dim in "mnk"}
        # the dimension that passes through the PEs while what is loaded stays
        self.passing = {"weight": "m", "input": "n", None: None}[self.loaded]

    def _unrolled(self) -> tuple[Unroll, ...]:
        """Return all that the axes take, the innermost axis first; an axis its first dimension."""
        left, found = dict(self.sizes), []
        for axis in reversed(self.hierarchy.axes):
            dim = axis.dims[0]
            size = min(axis.size, left.get(dim, 1))
            if size > 1:
                found.append(Unroll(axis.name, dim, size))
                left[dim] = ceil_div(left[dim], size)
        return tuple(found)

    def fits(self, mapping: Mapping) -> bool:
        """Whether the tiles of a mapping have room."""
        held = footprints(self.layer, self.bits, mapping, self.hierarchy)
        for memory in self.hierarchy.memories:
            parts = held[memory.name].values()
            if memory.size_bits is not None and sum(p.bits for p in parts) > memory.size_bits:
                return False
            if memory.words is not None and sum(p.elements for p in parts) > memory.words:
                return False
        return True

    def least(self, mappings: Sequence[Mapping | None]) -> Best:
        """Return the mapping with the least traffic, of those that there are."""
        found = [
            (mapping, (self.layer, self.bits, mapping, self.hierarchy))
            for mapping in mappings
            if mapping is not None
        ]
        if not found:
            raise BitlatheError(self._no_room())
        ranked = [(traffic_bits(*of), cost(*of), mapping) for mapping, of in found]
        _, best, mapping = min(ranked, key=lambda each: (each[0], each[1].cycles))
        return Best(
            mapping=mapping,
            cost=best,
            outer_bits=outermost_bits(self.layer, self.bits, mapping, self.hierarchy),
            mappings_evaluated=len(found),
            search_seconds=0.0,
            optimal=False,
        )

    def _no_room(self) -> str:
        """Return why nothing fits: what the smallest nest of the rule needs."""
        smallest = _Blocks(resident="input", group=1, block=1, k=self.step["k"], doubled=False)
        found = problems(self.layer, self.bits, self.nest(smallest), self.hierarchy)
        return f"mapper {self.rule!r} keeps whole rows of K of one operand: " + " ".join(found)

    # -- one operand stays -------------------------------------------------------------------

    def resident(self, operand: Streamed) -> Mapping | None:
        """Return the nest in which an operand stays in the fewest groups; None if no row fits.

        The streamed block has room for two where its buffer is double-buffered, is cut along K
        where it has not, and is alone where not even the smallest piece has.
        """
        streamed = OTHER[operand]
        can_double = self.buffers[streamed][0].double_buffered
        for doubled in (True, False) if can_double else (False,):
            for cut in (False, True):
                found = self._grouped(operand, cut=cut, doubled=doubled)
                if found is not None:
                    return self.nest(found)
        return None

    def _grouped(self, operand: Streamed, *, cut: bool, doubled: bool) -> _Blocks | None:
        rows, own = OWN_DIM[operand], OWN_DIM[OTHER[operand]]
        extent, size, step = self.sizes[rows], self.sizes["k"], self.step["k"]
        block = 1 if own == self.passing else min(self.step[own], self.sizes[own])
        blocks = _Blocks(
            resident=operand, group=1, block=block, k=min(step, size) if cut else size,
            doubled=doubled,
        )  # fmt: skip
        if cut and step >= size:
            return None
        most = _largest(1, extent, lambda group: self._room(replace(blocks, group=group)))
        if most is None:
            return None
        groups = ceil_div(extent, most)
        blocks = replace(blocks, group=_even(extent, groups, self.step[rows], most))
        if cut:
            steps = ceil_div(size, step)
            pieces = _least(2, steps, lambda count: self._room(self._cut(blocks, count)))
            blocks = self._cut(blocks, steps if pieces is None else pieces)
        if own == self.passing:
            longest = _largest(
                1, self.sizes[own], lambda length: self._room(replace(blocks, block=length))
            )
            blocks = replace(blocks, block=longest or 1)
        return blocks

    def _cut(self, blocks: _Blocks, pieces: int) -> _Blocks:
        step = self.step["k"]
        return replace(blocks, k=ceil_div(ceil_div(self.sizes["k"], step), pieces) * step)

    def _room(self, blocks: _Blocks) -> bool:
        return self.fits(self.nest(blocks))

    def nest(self, blocks: _Blocks) -> Mapping:
        """Return the loops of the whole-buffer rule."""
        resident, streamed = blocks.resident, OTHER[blocks.resident]
        rows, own = OWN_DIM[resident], OWN_DIM[streamed]
        levels = _Levels(self.sizes)
        levels.keep(OPERANDS, self.hierarchy.memories[:1])
        levels.loop(*((dim, 1) for dim in self.outer), (rows, blocks.group))
        levels.keep((resident,), self.buffers[resident])
        levels.loop((own, blocks.block))
        cut = blocks.k < self.sizes["k"]
        if cut:
            levels.keep(("output",), self.buffers["output"])
            levels.loop(("k", blocks.k))
        levels.keep((streamed,), self.buffers[streamed], doubled=blocks.doubled)
        levels.loop(*self._array_loops(rows))
        if not cut:
            levels.keep(("output",), self.buffers["output"])
        return self._ended(levels)

    def _array_loops(self, rows: str) -> list[tuple[str, int]]:
        """Return the loops from a block in the buffers to what the array has at once, K apart."""
        if self.passing is None:
            return [(dim, self.step[dim]) for dim in ("m", "n") if dim == rows]
        return [(dim, self.step[dim]) for dim in ("m", "n") if dim != self.passing]

    @cached_property
    def _innermost(self) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
        """Return the loops outside and inside the registers of the PEs."""
        every = [(dim, self.step[dim]) for dim in ("m", "n", "k")]
        within = [pair for pair in every if pair[0] == (self.passing or "k")]
        return [pair for pair in every if pair not in within], within

    def _ended(self, levels: "_Levels") -> Mapping:
        """Return a nest with its loops over what the array has at once."""
        outside, within = self._innermost
        levels.loop(*outside)
        for operand, memory in self.inside:
            levels.keep((operand,), [memory], doubled=self._register_doubled(memory))
        levels.loop(*within)
        return Mapping(levels=levels.done(), spatial=self.spatial)

    def _register_doubled(self, memory: Memory) -> bool:
        operand = next(op for op, inner in self.inside if inner is memory)
        share = 1
        for each in self.spatial:
            if each.dim in self.layer.indexes[operand] and each.axis not in memory.per:
                share *= each.size
        return memory.double_buffered and (memory.words is None or 2 * share <= memory.words)

    # -- a tile of sums stays ----------------------------------------------------------------

    def tiled(self) -> Mapping | None:
        """Return the nest with the tile of sums that moves least; None if none fits."""
        m, n = self.sizes["m"], self.sizes["n"]
        buffer = self.buffers["output"][0]
        if buffer.size_bits is None:
            return None
        tile = buffer.size_bits // 2 // self.bits.partial
        weights, inputs = (self.layer.elements(op) * self.bits.of(op) for op in OTHER)
        ways = []
        for p in _divisions(m):
            rows = ceil_div(m, p)
            outputs = min(n, tile // rows)
            if outputs:
                q = ceil_div(n, outputs)
                ways.append((p * weights + q * inputs, p, q, outputs))
        for _, p, q, outputs in sorted(ways):
            rows = _even(m, p, self.step["m"], tile // min(outputs, ceil_div(n, q)))
            columns = _even(n, q, self.step["n"], tile // rows)
            found = self._sliced(rows, columns)
            if found is not None:
                return found
        return None

    def _sliced(self, rows: int, columns: int) -> Mapping | None:
        """Return the nest of a tile of sums with the longest slices of K that fit."""
        steps = ceil_div(self.sizes["k"], self.step["k"])
        for doubled in (True, False):

            def sliced(pieces: int, doubled: bool = doubled) -> Mapping:
                k = ceil_div(steps, pieces) * self.step["k"]
                return self._tile(rows, columns, k, doubled=doubled)

            def fits(pieces: int, of: Callable[[int], Mapping] = sliced) -> bool:
                return self.fits(of(pieces))

            pieces = _least(1, steps, fits)
            if pieces is not None:
                return sliced(pieces)
        return None

    def _tile(self, rows: int, columns: int, k: int, *, doubled: bool) -> Mapping:
        levels = _Levels(self.sizes)
        levels.keep(OPERANDS, self.hierarchy.memories[:1])
        levels.loop(*((dim, 1) for dim in self.outer), ("m", rows), ("n", columns))
        levels.keep(("output",), self.buffers["output"])
        levels.loop(("k", k))
        for operand in OTHER:
            two = doubled and self.buffers[operand][0].double_buffered
            levels.keep((operand,), self.buffers[operand], doubled=two)
        return self._ended(levels)


class _Levels:
    """A nest that is written from the outside in: memories, and loops that divide something."""

    def __init__(self, sizes: Table[str, int]) -> None:
        self.extent, self.levels = dict(sizes), list[Level]()

    def keep(
        self, operands: tuple[str, ...], memories: Sequence[Memory], *, doubled: bool = False
    ) -> None:
        """Add memories that keep operands through the loops to come."""
        self.levels += [
            Level(memory=memory.name, keeps=operands, doubled=operands if doubled else ())
            for memory in memories
        ]

    def loop(self, *tiles: tuple[str, int]) -> None:
        """Add loops; one that would have a single block is none."""
        for dim, tile in tiles:
            if tile < self.extent[dim]:
                last = self.levels[-1]
                self.levels[-1] = replace(last, loops=(*last.loops, Loop(dim, tile)))
                self.extent[dim] = tile

    def done(self) -> tuple[Level, ...]:
        """Return the levels."""
        return tuple(self.levels)


def _even(extent: int, groups: int, step: int, most: int) -> int:
    """Return the rows of each of so many groups: whole steps of the array where they have room."""
    rows = ceil_div(extent, groups)
    whole = ceil_div(rows, step) * step
    return min(extent, whole if whole <= most else rows)


def _divisions(extent: int) -> list[int]:
    """Return the numbers of blocks of an extent that have different lengths."""
    found, blocks = [], 1
    while blocks <= extent:
        found.append(blocks)
        length = ceil_div(extent, blocks)
        if length == 1:
            break
        blocks = ceil_div(extent, length - 1)
    return found


def _largest(low: int, high: int, fits: Callable[[int], bool]) -> int | None:
    """Return the largest number that fits, of a range in which smaller ones fit too."""
    found = _least(0, high - low, lambda less: fits(high - less))
    return None if found is None else high - found


def _least(low: int, high: int, fits: Callable[[int], bool]) -> int | None:
    """Return the least number that fits, of a range in which larger ones fit too."""
    if low > high or not fits(high):
        return None
    while low < high:
        middle = (low + high) // 2
        if fits(middle):
            high = middle
        else:
            low = middle + 1
    return low
