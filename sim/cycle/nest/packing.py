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
from . import machine_kernels as kernels
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
    sizes : (D,) int64
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
            np.array(nest.loops, np.int64).reshape(-1, 2).T.copy(),
            (rows, _lists(rows, len(names))),
            _works(nest, edges, bits, hierarchy, unit),
            pace,
        ),
        unit=unit,
        sizes=np.array(nest.sizes, np.int64),
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
    row[kernels.MASK] = sum(1 << d for d in nest.relevant(edge.operand))
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
    many, dims = len(edges), len(nest.sizes)
    extents = [
        [
            _extents(nest, d, edge.outside) if d in nest.relevant(edge.operand) else []
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
            visit = Visit(block[::-1], 1, 1, 1)
            for kind, partial, row in KINDS:
                if (kind == "fetch") != (edge.operand == "output"):
                    move = _transfer(edge, kind, partial)
                    taken = clocks(nest, bits, hierarchy, move, visit)
                    units[e, row, : len(taken), index] = [unit * each for each in taken]
    return values, units


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
