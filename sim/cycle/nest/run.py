"""A layer executed by the machine of its mapping: clocks, and what the array waited for."""

import itertools
from collections import defaultdict
from collections.abc import Mapping as Table
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Any

import numpy as np

from ....arch.hierarchy import Hierarchy
from ....mapping.blocks import Nest
from ....mapping.nest import Loops, Mapping
from ....mapping.operands import OperandBits
from .fold_kernels import EMPTY, play_nest
from .machine_kernels import FIELDS, SLOTS
from .packing import Edge, Ints, Packed, expected, pack

KEPT = 4096  # effects in the table, at most half of them in use


@dataclass(frozen=True, slots=True, kw_only=True)
class NestRun:
    """What the machine of a mapping found.

    Attributes
    ----------
    cycles : int
        Clocks in all, until the last result is stored.
    compute_cycles : Fraction
        Steps times the clocks of a step.
    stalls : dict of str to Fraction
        Clocks that the array waits, by what for; with ``compute_cycles`` they sum to ``cycles``.
        ``dram.read weight``: a port and the operand that moves; ``dram.latency weight``; ``io.read
        array``: the array's own accesses need more clocks than a step has; ``fill``: a systolic
        array fills and drains; ``rounding``: the last fraction of a clock.
    busy : dict of str to int
        Clocks in which each port is in use: those of `mapping.cost`.
    """

    cycles: int
    compute_cycles: Fraction
    stalls: Table[str, Fraction]
    busy: Table[str, int]


def run_nest(
    layer: Loops,
    bits: OperandBits,
    mapping: Mapping,
    hierarchy: Hierarchy,
    *,
    fold: bool = True,
) -> NestRun:
    """Return what executing a legal mapping (`mapping.legal`) takes, event by event.

    Parameters
    ----------
    layer : Loops
    bits : OperandBits
        Bits of an element of each operand, clocks of a step.
    mapping : Mapping
    hierarchy : Hierarchy
    fold : bool
        Play what comes again once. The result is the same without, and takes a time that grows
        with the steps.
    """
    packed = pack(layer, bits, mapping, hierarchy)
    books = _play(packed, fold=fold)
    _check(packed, books, expected(layer, bits, mapping, hierarchy))
    nest = Nest(layer, mapping)
    compute = nest.steps(0, nest.sizes) * bits.step_cycles
    cycles = ceil(Fraction(int(books["time"]), packed.unit)) + hierarchy.fill_cycles
    stalls: dict[str, Fraction] = defaultdict(Fraction)
    for cause, units in enumerate(books["stalls"]):
        if units:
            stalls[_cause(packed, hierarchy, cause)] += Fraction(int(units), packed.unit)
    if hierarchy.fill_cycles:
        stalls["fill"] = Fraction(hierarchy.fill_cycles)
    left = cycles - compute - sum(stalls.values())
    if left:
        stalls["rounding"] = left
    return NestRun(
        cycles=cycles,
        compute_cycles=compute,
        stalls=dict(stalls),
        busy=_busy(packed, books),
    )


def _play(packed: Packed, *, fold: bool) -> dict[str, Any]:
    """Return the books of a run: time, units served, taken and waited."""
    nest, chip, _works, _array_ports, _pace = packed.plan
    edges, ports, loops = len(chip[0]), len(packed.port_names), len(nest[0])
    dims = len(packed.sizes)
    ends = np.cumsum([0, 1, 4 * edges, ports, edges, 6 * edges + ports])
    total = np.zeros(ends[-1], np.int64)
    time, served, array, done, stalls = (total[low:high] for low, high in itertools.pairwise(ends))
    books = (time, served.reshape(edges, 2, 2), array, done, stalls, np.zeros(ports, np.int64))
    size = np.zeros((loops + 1, dims), np.int64)
    size[0] = packed.sizes
    at = (size, np.ones(loops, np.int64), np.zeros(loops, np.int64), np.zeros(dims, np.int64))
    state = np.zeros((edges, SLOTS, FIELDS), np.int64)
    misc = np.zeros(2, np.int64)
    run = (at, state, np.zeros(edges, np.int64), np.zeros(ports, np.int64), books, misc)
    width = edges * (SLOTS * FIELDS + 1) + ports + 1
    flags = np.array([fold, ends[3]], np.int64)
    views = (int(ends[0]), int(ends[1]), int(ends[2]))
    folding = (
        flags,
        views,
        total,
        _memo(width, edges, dims, total.size),
        _room(loops, width, edges, dims, total.size),
    )
    assert play_nest(packed.plan, run, folding) == 0, "the machine of a mapping stands still"
    return {"time": time[0], "served": books[1], "array": array, "stalls": stalls}


def _key_width(width: int, edges: int, dims: int) -> int:
    return 3 + dims + width + edges * (3 + dims)


def _memo(width: int, edges: int, dims: int, books: int) -> tuple[Ints, ...]:
    """Return an empty table of effects: keys, their lengths, effects, states after, how many."""
    return (
        np.empty((KEPT, _key_width(width, edges, dims)), np.int64),
        np.full(KEPT, EMPTY, np.int64),
        np.empty((KEPT, books), np.int64),
        np.empty((KEPT, width), np.int64),
        np.zeros(1, np.int64),
    )


def _room(loops: int, width: int, edges: int, dims: int, books: int) -> tuple[Ints, ...]:
    """Return what each loop needs to note what it met."""
    return (
        np.zeros((loops + 1, _key_width(width, edges, dims)), np.int64),
        np.zeros(loops + 1, np.int64),
        np.zeros((loops + 1, books), np.int64),
        np.zeros((loops + 1, books), np.int64),
        np.zeros((loops, width), np.int64),
        np.zeros((loops, books), np.int64),
        np.zeros((loops, 3), np.int64),
        np.zeros(width, np.int64),
    )


def _check(packed: Packed, books: dict[str, Any], moved: dict[tuple[Edge, int], list[int]]) -> None:
    """Assert that every transfer that the counts say was played, no more and no less."""
    array: dict[int, int] = defaultdict(int)
    for (edge, kind), clocks in moved.items():
        units = [packed.unit * each for each in clocks]
        if edge.child is None:
            where = packed.edges.index(edge) - len(packed.between)
            sums = int(edge.operand == "output" and kind == 0)
            array[int(packed.array_ports[where + sums])] += units[0]
        else:
            played = books["served"][packed.edges.index(edge), kind].tolist()
            assert played == units, (edge, kind, played, units)
    for p, units in enumerate(books["array"].tolist()):
        assert units == array[p], (packed.port_names[p], units, array[p])


def _busy(packed: Packed, books: dict[str, Any]) -> dict[str, int]:
    units = books["array"].copy()
    np.add.at(units, packed.ports, books["served"])
    return {
        f"{memory}.{port}": int(each) // packed.unit
        for (memory, port), each in zip(packed.port_names, units, strict=True)
    }


def _cause(packed: Packed, hierarchy: Hierarchy, cause: int) -> str:
    """Return the name of what the array waited for."""
    edges = packed.between
    if cause >= 6 * len(edges):
        memory, port = packed.port_names[cause - 6 * len(edges)]
        way = hierarchy.memory(memory).ports[port].direction
        return f"{memory}.{'port' if way == 'both' else way} array"
    edge, kind, end = edges[cause // 6], cause // 3 % 2, cause % 3
    if end == 2:
        return f"{edge.parent}.latency {edge.operand}"
    up = edge.operand == "output" and kind == 0
    reads = (end == 0) != up
    return f"{edge.child if end else edge.parent}.{'read' if reads else 'write'} {edge.operand}"
