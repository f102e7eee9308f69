"""A layer executed by the machine of its mapping: clocks, and what the array waited for."""

from collections import defaultdict
from collections.abc import Mapping as Table
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import NamedTuple

import numpy as np

from ....arch.hierarchy import Hierarchy
from ....mapping.blocks import Nest
from ....mapping.nest import Loops, Mapping
from ....mapping.operands import OperandBits
from . import fold_kernels
from . import machine_kernels as kernels
from .packing import Edge, Ints, Packed, expected, pack
from .step_kernels import WEIGHT_READ

KEPT = 4096  # places in the table of effects, at most half of them in use


@dataclass(frozen=True, slots=True, kw_only=True)
class NestRun:
    """What the machine of a mapping found.

    Attributes
    ----------
    cycles : int
        Clocks in all, until the last result is stored.
    compute_cycles : Fraction
        Steps times the clocks of a step.
    first_load_cycles, last_store_cycles : Fraction
        Clocks before the first step, and after the last; they are among the stalls.
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
    first_load_cycles: Fraction
    last_store_cycles: Fraction
    stalls: Table[str, Fraction]
    busy: Table[str, int]


class Books(NamedTuple):
    """Units of time: in all, where steps begin and end, by edge and end, by port, by cause."""

    time: int
    begin: int
    end: int
    served: Ints
    taken: Ints
    waited: Ints


def run_nest(
    layer: Loops,
    bits: OperandBits,
    mapping: Mapping,
    hierarchy: Hierarchy,
    *,
    fold: bool = True,
) -> NestRun:
    """Return what executing a legal mapping (`mapping.legal`) takes, event by event.

    The border of a convolution moves nothing; halos are moved as if none were kept.

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
    hierarchy = hierarchy.without_halos()
    packed = pack(layer, bits, mapping, hierarchy)
    books = _play(packed, fold=fold)
    _check(packed, books, expected(layer, bits, mapping, hierarchy))
    nest = Nest(layer, mapping)
    compute = nest.steps(0, nest.sizes) * bits.step_cycles
    cycles = ceil(Fraction(books.time, packed.unit)) + hierarchy.fill_cycles
    stalls: dict[str, Fraction] = defaultdict(Fraction)
    for cause, units in enumerate(books.waited):
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
        first_load_cycles=Fraction(books.begin, packed.unit),
        last_store_cycles=Fraction(books.time - books.end, packed.unit),
        stalls=dict(stalls),
        busy=_busy(packed, books),
    )


def _play(packed: Packed, *, fold: bool) -> Books:
    """Return the books of a run."""
    loops, (edges, lists) = packed.plan[:2]
    many, ports, depth = len(edges), len(lists), loops.shape[1]
    size = np.zeros((depth + 2, len(packed.sizes)), np.int64)
    size[0] = packed.sizes
    turns = np.zeros((2, depth), np.int64)
    state = np.zeros((many, kernels.ROWS, kernels.FIELDS), np.int64)
    now = np.zeros((3, max(ports, kernels.OTHERS)), np.int64)
    total = np.zeros(kernels.waited_at(6 * many + ports, many, ports), np.int64)
    held = many * (kernels.SLOTS * kernels.FIELDS + 1) + now.shape[1] + 1
    key = 3 + len(packed.sizes) + held + many * (3 + len(packed.sizes))
    table = np.empty((KEPT if fold else 1, 1 + key + total.size + held), np.int64)
    table[:, 0] = fold_kernels.EMPTY
    marks = np.zeros((depth + 1, fold_kernels.MARKS), np.int64)
    marks[depth, fold_kernels.FOLDS] = fold
    room = (
        table,
        np.zeros((depth + 1, key), np.int64),
        np.zeros((fold_kernels.NOTES, depth + 1, total.size), np.int64),
        np.zeros((depth + 1, held), np.int64),
        marks,
    )
    stuck = fold_kernels.play_nest(packed.plan, (size, turns, state, now, total), room)
    assert not stuck, "the machine of a mapping stands still"
    taken, waited = kernels.taken_at(0, many), kernels.waited_at(0, many, ports)
    served = total[kernels.served_at(0, 0, 0, many) : taken]
    begin, end = (int(now[kernels.OTHER, at]) for at in (kernels.BEGIN_AT, kernels.END_AT))
    return Books(int(total[kernels.TIME]), begin, end, served, total[taken:waited], total[waited:])


def _check(packed: Packed, books: Books, moved: dict[tuple[Edge, int], list[int]]) -> None:
    """Assert that every transfer that the counts say was played, no more and no less."""
    array = np.zeros_like(books.taken)
    served = books.served.reshape(-1, 2, 2)
    for (edge, kind), clocks in moved.items():
        units = [packed.unit * each for each in clocks]
        at = packed.edges.index(edge)
        if edge.child is None:
            port = WEIGHT_READ + at - len(packed.between)
            port += int(edge.operand == "output" and kind == 0)
            array[packed.plan[3][port]] += units[0]
        else:
            assert served[at, kind].tolist() == units, (edge, kind, served[at, kind], units)
    assert np.array_equal(books.taken, array), (packed.port_names, books.taken, array)


def _busy(packed: Packed, books: Books) -> dict[str, int]:
    units, edges = books.taken.copy(), packed.plan[1][0]
    np.add.at(units, edges[:, kernels.PORTS :].ravel(), books.served)
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
