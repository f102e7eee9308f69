"""A layer, a mapping and a chip as the arrays that the machine of a mapping takes."""

import itertools
from collections import Counter
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....arch.hierarchy import OPERANDS, Hierarchy
from ....mapping.accesses import Kind, Transfer, amounts, transfers
from ....mapping.blocks import Nest, Visit, Visits
from ....mapping.nest import Loops, Mapping
from ....mapping.operands import OperandBits
from ....mapping.window import INSIDE
from . import machine_kernels as kernels
from . import visit_kernels as visits
from .step_kernels import (
    FINISHED,
    PACE,
    PARTIAL,
    READBACK,
    STEP_UNITS,
    SUMS,
    WEIGHT_READ,
)

Ints = NDArray[np.int64]
KINDS: tuple[tuple[Kind, bool, int], ...] = (
    ("fetch", False, FINISHED),
    ("write", False, FINISHED),
    ("write", True, PARTIAL),
    ("readback", True, READBACK),
)
"""Kinds of transfers, whether of unfinished sums, and the kind of work."""
SlidBlocks = list[set[tuple[int, int, int]]]
"""Of each window the outputs, taps and first pixel of all blocks."""


class Edge(NamedTuple):
    """A memory, the next one that keeps an operand (None is the array), and loops outside."""

    operand: str
    parent: str
    child: str | None
    outside: int
    doubled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Arrays for the kernels, and names for what comes back.

    Attributes
    ----------
    edges : tuple of Edge
        Those between memories, then the array's, operand by operand.
    port_names : tuple of (memory, port)
    plan : tuple
        What the kernels take and do not change.
    unit : int
        Units of time of a clock.
    sizes : (D + W,) int64
        Of the layer, and the first pixel of each window (`visit_kernels`).
    """

    edges: tuple[Edge, ...]
    port_names: tuple[tuple[str, int], ...]
    plan: Any
    unit: int
    sizes: Ints

    @property
    def between(self) -> tuple[Edge, ...]:
        """The edges between memories."""
        return self.edges[: -len(OPERANDS)]


def pack(layer: Loops, bits: OperandBits, mapping: Mapping, hierarchy: Hierarchy) -> Packed:
    """Return a legal mapping as arrays.

    Parameters
    ----------
    layer, bits, mapping, hierarchy
        As `mapping.cost.cost` takes them.
    """
    nest = Nest(layer, mapping)
    edges = _edges(mapping)
    between = edges[: -len(OPERANDS)]
    names = tuple((m.name, i) for m in hierarchy.memories for i in range(len(m.ports)))
    rows = np.array(
        [_edge_row(nest, edges, e, hierarchy, bits) for e in range(len(between))], np.int64
    ).reshape(len(between), kernels.COLUMNS)
    order = sorted(range(len(between)), key=lambda e: _rank(nest, between, e))
    rows[order, kernels.RANK] = np.arange(len(between))
    rows[:, kernels.ORDER] = order
    for e, edge in enumerate(between):
        both = (_ports(edge, kind, names, hierarchy) for kind in range(2))
        rows[e, kernels.PORTS :] = [port for ports in both for port in ports]
    steps, unit = bits.step_cycles.as_integer_ratio()
    pace = np.zeros(PACE, np.int64)
    pace[STEP_UNITS] = steps
    pace[SUMS] = sum(1 << d for d in nest.relevant("output"))
    pace[WEIGHT_READ:] = [
        _ports(edge, kind, names, hierarchy)[0]
        for edge, kind in zip((*edges[-3:], edges[-1]), (0, 0, 1, 0), strict=True)
    ]
    return Packed(
        edges=edges,
        port_names=names,
        plan=(
            _loops(nest),
            (rows, _lists(rows, len(names))),
            _works(nest, edges, bits, hierarchy, unit),
            pace,
        ),
        unit=unit,
        sizes=np.array([*nest.sizes, *(_first(nest, w) for w in range(len(nest.windows)))]),
    )


def _edges(mapping: Mapping) -> tuple[Edge, ...]:
    between, last = [], []
    loops = len(mapping.loops)
    for operand in OPERANDS:
        places = mapping.chain(operand)
        for outer, inner in itertools.pairwise(places):
            between.append(Edge(operand, outer.memory, inner.memory, inner.outside, inner.doubled))
        last.append(Edge(operand, places[-1].memory, None, loops, False))
    return (*between, *last)


def _edge_row(
    nest: Nest, edges: tuple[Edge, ...], e: int, hierarchy: Hierarchy, bits: OperandBits
) -> list[int]:
    edge, between = edges[e], edges[: -len(OPERANDS)]
    row = [0] * kernels.COLUMNS
    row[kernels.OUT] = edge.operand == "output"
    row[kernels.MASK] = sum(1 << d for d in _entries(nest, edge.operand))
    row[kernels.CUT], row[kernels.DOUBLED] = edge.outside, edge.doubled
    row[kernels.PARENT] = row[kernels.CHILD] = -1
    row[kernels.STAGE] = sum(each.operand == edge.operand for each in between[:e])
    for other, each in enumerate(between):
        if each.operand == edge.operand:
            if each.child == edge.parent:
                row[kernels.PARENT] = other
            if each.parent == edge.child:
                row[kernels.CHILD] = other
    stays = hierarchy.stays(edge.operand, edge.parent)
    latency = 0 if stays else hierarchy.memory(edge.parent).latency_cycles
    row[kernels.LATENCY_UNITS] = latency * bits.step_cycles.denominator
    return row


def _rank(nest: Nest, between: tuple[Edge, ...], e: int) -> tuple[int, int, int]:
    """Return the key by which edges go first: less time for a transfer, results, the inner."""
    edge = between[e]
    relevant = nest.relevant(edge.operand)
    bounds = nest.mapping.bounds(nest.layer.sizes)
    moving = [
        i
        for i, ((dim, _), bound) in enumerate(zip(nest.loops, bounds, strict=True))
        if dim in relevant and bound.blocks > 1
    ]
    if edge.doubled:
        window = max((i + 1 for i in moving if i < edge.outside), default=0)
    else:
        window = min((i for i in moving if i >= edge.outside), default=len(nest.loops))
    return -window, ("output", "weight", "input").index(edge.operand), -e


def _ports(
    edge: Edge, kind: int, names: tuple[tuple[str, int], ...], hierarchy: Hierarchy
) -> tuple[int, int]:
    """Return the ports at the parent and at the child; kind 1: of sums that come back."""
    up = edge.operand == "output" and kind == 0
    found = []
    for name, reads in ((edge.parent, not up), (edge.child, up)):
        if name is None:
            found.append(-1)
        else:
            port = hierarchy.memory(name).port("read" if reads else "write", edge.operand)
            found.append(names.index((name, port)))
    return found[0], found[1]


def _lists(rows: Ints, many: int) -> Ints:
    """Return what each port may serve, first things first: edge, slot, end, behind their number."""
    found: list[list[tuple[int, int, int]]] = [[] for _ in range(many)]
    for e in rows[:, kernels.ORDER]:
        slots: tuple[int, ...] = (0, 1)
        if rows[e, kernels.OUT]:
            doubled = rows[e, kernels.DOUBLED]
            slots = kernels.DOUBLED_ORDER if doubled else kernels.SINGLE_ORDER
        for s in slots:
            kind = int(rows[e, kernels.OUT] and s > 1)
            for end in range(2):
                port = rows[e, kernels.PORTS + 2 * kind + end]
                found[port].append((int(e), s, end))
    lists = np.zeros((many, 1 + max(map(len, found)), 3), np.int64)
    for p, some in enumerate(found):
        lists[p, 0, 0] = len(some)
        lists[p, 1 : 1 + len(some)] = np.array(some, np.int64).reshape(len(some), 3)
    return lists


def _loops(nest: Nest) -> Ints:
    """Return the loops as `visit_kernels` has them."""
    found = np.full((visits.LOOP_ROWS, len(nest.loops)), -1, np.int64)
    found[: visits.LOW] = np.array(nest.loops, np.int64).reshape(-1, 2).T
    for i, (dim, tile) in enumerate(nest.loops):
        for w, each in enumerate(nest.windows):
            if dim in (each.out, each.tap):
                pace = each.window.stride if dim == each.out else each.window.dilation
                found[visits.LOW :, i] = (
                    len(nest.sizes) + w, tile * pace, each.out, each.tap, each.window.stride,
                    each.window.dilation, each.window.size,
                )  # fmt: skip
    return found


def _low(nest: Nest, w: int, low: int, outputs: int, taps: int) -> int:
    """Return the first pixel of a block in a window as `visit_kernels` has it."""
    clip = nest.windows[w].window.clip(low, outputs, taps)
    return low if clip != INSIDE else visits.NO_BORDER


def _first(nest: Nest, w: int) -> int:
    """Return the first pixel of the layer in a window."""
    each = nest.windows[w]
    return _low(nest, w, each.window.low(0, 0), nest.sizes[each.out], nest.sizes[each.tap])


def _entries(nest: Nest, operand: str) -> list[int]:
    """Return the entries of a block that an operand's tile depends on: dimensions, first pixels."""
    relevant = nest.relevant(operand)
    slid = nest.slid(relevant)
    lows = [len(nest.sizes) + w for w, each in enumerate(nest.windows) if each in slid]
    return [*sorted(relevant), *lows]


def _slid_blocks(nest: Nest, w: int, outside: int) -> set[tuple[int, int, int]]:
    """Return outputs, taps and first pixel of a window's blocks inside the outermost loops."""
    each = nest.windows[w]
    found = {(nest.sizes[each.out], nest.sizes[each.tap], _first(nest, w))}
    for d, tile in nest.loops[:outside]:
        if d not in (each.out, each.tap):
            continue
        pace = each.window.stride if d == each.out else each.window.dilation
        inner = set()
        for outputs, taps, low in found:
            size = outputs if d == each.out else taps
            starts = range(0, size, tile)
            for start in starts if low != visits.NO_BORDER else {starts[0], starts[-1]}:
                extent = min(tile, size - start)
                pair = (extent, taps) if d == each.out else (outputs, extent)
                first = low
                if low != visits.NO_BORDER:
                    first = _low(nest, w, low + start * pace, *pair)
                inner.add((*pair, first))
        found = inner
    return found


def _extents(nest: Nest, dim: int, outside: int) -> list[int]:
    """Return all extents that blocks of a dimension have inside the outermost loops."""
    found = {nest.sizes[dim]}
    for d, tile in nest.loops[:outside]:
        if d == dim:
            found = {
                block for size in found for block in (min(size, tile), size % tile or tile) if block
            }
            found = {min(block, nest.sizes[dim]) for block in found}
    return sorted(found)


def clocks(
    nest: Nest, bits: OperandBits, hierarchy: Hierarchy, move: Transfer, visit: Visit
) -> tuple[int, ...]:
    """Return the clocks that a visit takes of the port at each end; the array has none.

    Of what stays behind the outermost memory (`Hierarchy.staying`) they are 0.

    Parameters
    ----------
    nest : Nest
    bits : OperandBits
    hierarchy : Hierarchy
    move : Transfer
    visit : Visit
        The block that moves.
    """
    to_words = move.child is None or hierarchy.memory(move.child).words is not None
    width = (bits.code if to_words else bits.of)(move.operand, partial=move.partial)
    down, found = move.kind != "write", []
    both = amounts(nest, move, visit, hierarchy)
    for name, amount, reads in zip((move.parent, move.child), both, (down, not down), strict=True):
        if name is not None:
            memory = hierarchy.memory(name)
            port = memory.ports[memory.port("read" if reads else "write", move.operand)]
            stays = hierarchy.stays(move.operand, move.parent)
            found.append(0 if stays else port.clocks(amount.share, width))
    return tuple(found)


def _works(
    nest: Nest, edges: tuple[Edge, ...], bits: OperandBits, hierarchy: Hierarchy, unit: int
) -> tuple[Ints, Ints]:
    """Return extents by edge and dimension behind a stride, and units by kind, end and block."""
    many, dims = len(edges), len(nest.sizes) + len(nest.windows)
    slid = {
        edge.outside: [_slid_blocks(nest, w, edge.outside) for w in range(len(nest.windows))]
        for edge in edges
    }
    extents = [
        [
            _values(nest, d, edge.outside, slid[edge.outside])
            if d in _entries(nest, edge.operand)
            else []
            for d in range(dims)
        ]
        for edge in edges
    ]
    values = np.zeros((many, dims, 1 + max(len(x) for row in extents for x in row)), np.int64)
    most = max(prod(len(x) for x in row if x) for row in extents)
    units = np.zeros((many, 3, 2, most), np.int64)
    for e, edge in enumerate(edges):
        stride = 1
        for d, some in enumerate(extents[e]):
            if some:
                values[e, d, : 1 + len(some)] = [stride, *some]
                stride *= len(some)
        for index, block in enumerate(product(*(some or [1] for some in reversed(extents[e])))):
            visit = _visit(nest, edge, block[::-1], slid[edge.outside])
            if visit is None:
                continue
            for kind, partial, row in KINDS:
                if (kind == "fetch") != (edge.operand == "output"):
                    move = _transfer(edge, kind, partial)
                    taken = clocks(nest, bits, hierarchy, move, visit)
                    units[e, row, : len(taken), index] = [unit * each for each in taken]
    return values, units


def _values(nest: Nest, entry: int, outside: int, slid: SlidBlocks) -> list[int]:
    """Return all that an entry of blocks inside some loops is: extents, or first pixels."""
    if entry < len(nest.sizes):
        return _extents(nest, entry, outside)
    return sorted({low for _, _, low in slid[entry - len(nest.sizes)]})


def _visit(nest: Nest, edge: Edge, block: tuple[int, ...], slid: SlidBlocks) -> Visit | None:
    """Return a visit to a block with its first pixels; None where no block is like that."""
    extents, lows = block[: len(nest.sizes)], block[len(nest.sizes) :]
    if not nest.slid(nest.relevant(edge.operand)):
        return Visit(extents, 1, 1, 1)
    clips = []
    for each, low, known in zip(nest.windows, lows, slid, strict=True):
        pair = extents[each.out], extents[each.tap]
        if (*pair, low) not in known:
            return None
        clips.append(INSIDE if low == visits.NO_BORDER else each.window.clip(low, *pair))
    return Visit(extents, 1, 1, 1, tuple(clips))


def _transfer(edge: Edge, kind: Kind, partial: bool) -> Transfer:
    return Transfer(
        operand=edge.operand,
        kind=kind,
        partial=partial,
        parent=edge.parent,
        child=edge.child,
        outside=edge.outside,
        doubled=edge.doubled,
        visits=Visits(),
        timed=Counter(),
        window_steps=0,
        spared=None,
    )


def expected(
    layer: Loops, bits: OperandBits, mapping: Mapping, hierarchy: Hierarchy
) -> dict[tuple[Edge, int], list[int]]:
    """Return the clocks that all transfers of an edge take at each end, by `accesses`' counts.

    Parameters
    ----------
    layer, bits, mapping, hierarchy
        As `mapping.cost.cost` takes them.

    Returns
    -------
    dict
        By edge and kind (1: sums that come back).
    """
    nest = Nest(layer, mapping)
    found: dict[tuple[Edge, int], list[int]] = {}
    for move in transfers(nest):
        edge = Edge(move.operand, move.parent, move.child, move.outside, move.doubled)
        if move.child is None:
            edge = edge._replace(doubled=False)
        sums = found.setdefault((edge, int(move.kind == "readback")), [0, 0])
        for visit, count in move.visits.items():
            for end, taken in enumerate(clocks(nest, bits, hierarchy, move, visit)):
                sums[end] += taken * count
    return found
