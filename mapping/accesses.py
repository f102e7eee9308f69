"""What a mapping moves between memories: exact counts, no clocks.

Every operand goes down, or up, its chain of memories; the array is the last of them. Between two
neighbors the child's tiles are fetched, or written back. A tile that units along some axes have
copies of is read from the parent once and written to each copy (read for each unit of an axis
without multicast); sums that units along some axes
have parts of are read from each and arrive at the parent as one.
"""

from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Literal

from ..arch.hierarchy import OPERANDS, Hierarchy
from .blocks import Edge, Nest, Spread, Visit, Visits
from .nest import Loops, Mapping, Place
from .operands import OperandBits

Kind = Literal["fetch", "write", "readback"]
Timed = Counter[tuple[Visit, int]]
EDGES: tuple[Edge, ...] = ("all", "first", "last")


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """One kind of transfer between a parent memory and its child.

    Attributes
    ----------
    operand : str
    kind : {"fetch", "write", "readback"}
        ``write`` goes up; ``readback`` brings unfinished sums down again.
    partial : bool
        Whether elements are unfinished sums.
    parent : str
    child : str or None
        None is the array.
    outside : int
        Loops outside the child's tile.
    doubled : bool
        Whether the child has room for the next tile beside the one in use.
    visits : Counter of Visit
        Those that move something.
    timed : Counter of (Visit, int)
        Those with a window, and its steps: all but first load and last store. Of two tiles the
        next is fetched while the one in use is; one is replaced in the last pass over it.
    window_steps : int
        Steps of the windows in which its edge can move anything.
    spared : Visit or None
        The visit that is the first load, or last store.
    """

    operand: str
    kind: Kind
    partial: bool
    parent: str
    child: str | None
    outside: int
    doubled: bool
    visits: Visits
    timed: Timed
    window_steps: int
    spared: Visit | None


def transfers(nest: Nest, parents: Container[str] | None = None) -> tuple[Transfer, ...]:
    """Return all that a mapping moves, operand by operand, outermost first.

    Parameters
    ----------
    nest : Nest
        The loops, counted.
    parents : container of str, optional
        Only what these memories give or take as parents.
    """
    found: list[Transfer] = []
    for operand in OPERANDS:
        places = nest.mapping.chain(operand)
        bottom = Place("", len(nest.loops), False)
        for parent, child in zip(places, (*places[1:], bottom), strict=True):
            if parents is not None and parent.memory not in parents:
                continue
            if operand == "output":
                found += _up(nest, parent, child)
            else:
                found.append(_fetch(nest, operand, parent, child))
    return tuple(found)


def _transfer(nest: Nest, operand: str, kind: Kind, parent: Place, child: Place) -> Transfer:
    """Return a transfer that moves nothing."""
    return Transfer(
        operand=operand,
        kind=kind,
        partial=kind == "readback",
        parent=parent.memory,
        child=child.memory or None,
        outside=child.outside,
        doubled=child.doubled,
        visits=Counter(),
        timed=Counter(),
        window_steps=nest.steps(0, nest.sizes),
        spared=None,
    )


def _fetch(nest: Nest, operand: str, parent: Place, child: Place) -> Transfer:
    fetch, relevant = _transfer(nest, operand, "fetch", parent, child), nest.relevant(operand)
    if not child.memory:
        visits = nest.step_visits(relevant)
        (first,) = nest.step_visits(relevant, "first", of_one_tile=True)
        return replace(fetch, visits=visits, timed=_in_steps(visits, first), spared=first)
    walk = nest.walk(relevant, child.outside)
    timed: Timed = Counter()
    for (ahead, visit), count in walk.pairs.items():
        timed[visit, ahead.steps if child.doubled else ahead.last_pass] += count
    moved = replace(fetch, visits=walk.visits(after=True), timed=timed, spared=walk.first)
    return moved if child.doubled else replace(moved, window_steps=_steps(timed))


def _in_steps(visits: Visits, spared: Visit | None) -> Timed:
    """Return what the array takes or leaves, each in its step, but for one."""
    timed: Timed = Counter({(visit, 1): count for visit, count in visits.items()})
    if spared is not None and visits:
        timed[spared, 1] -= 1
    return timed


def _steps(timed: Timed) -> int:
    return sum(steps * count for (_, steps), count in timed.items())


def _up(nest: Nest, parent: Place, child: Place) -> list[Transfer]:
    """Return the writes of finished sums, of unfinished ones, and the read-backs."""
    write, readback = (
        _transfer(nest, "output", kind, parent, child) for kind in ("write", "readback")
    )
    found = [write, replace(write, partial=True), readback]
    parts = _tiles_up(nest, child) if child.memory else _steps_up(nest)
    return [
        replace(each, **part)
        for each, part in zip(found, parts, strict=True)
        if part["visits"] or not each.partial
    ]


def _steps_up(nest: Nest) -> list[dict[str, Any]]:
    """Return what the array leaves and takes again; the last of either delays nothing."""
    relevant = nest.relevant("output")
    every, first, last = (nest.step_visits(relevant, edge) for edge in EDGES)
    (end,) = nest.step_visits(relevant, "last", of_one_tile=True)
    return [
        {"visits": visits, "timed": _in_steps(visits, spared), "spared": spared}
        for visits, spared in ((last, end), (every - last, None), (every - first, end))
    ]


def _tiles_up(nest: Nest, child: Place) -> list[dict[str, Any]]:
    """Return what a child's tiles of sums move.

    They leave while the next visit goes on, or its first pass where there is one tile, in which
    sums come back, too; to the second of two tiles in the visit before it and in its own. The last
    read-back delays nothing else, nor does the last write but one that has all of the last visit.
    """
    relevant, two = nest.relevant("output"), child.doubled
    every, first, last = (nest.walk(relevant, child.outside, edge) for edge in EDGES)
    ending = nest.ending(relevant, child.outside)
    parts: list[dict[str, Any]] = []
    late = every.last.first_pass == every.last.steps
    for pairs, finished, spared in (
        (last.pairs, True, every.last),
        (every.pairs - last.pairs, False, None),
    ):
        visits: Visits = Counter({spared: 1} if spared else {})
        timed: Timed = Counter()
        for (visit, after), count in pairs.items():
            visits[visit] += count
            timed[visit, after.steps if two else after.first_pass] += count
        if ending and ending.finished == finished and (two or late):
            timed[ending.before, every.last.steps] -= 1
        parts.append({"visits": visits, "timed": timed, "spared": spared})
    visits, timed = Counter(), Counter()
    for (ahead, visit), count in (every.pairs - first.pairs).items():
        visits[visit] += count
        timed[visit, ahead.steps + visit.steps if two else visit.first_pass] += count
    if ending and ending.again:
        both = ending.before.steps + every.last.steps
        timed[every.last, both if two else every.last.first_pass] -= 1
    parts.append({"visits": visits, "timed": timed})
    if not two:
        steps = sum(after.first_pass * count for (_, after), count in every.pairs.items())
        for part in parts:
            part["window_steps"] = steps
    return parts


def amounts(
    nest: Nest, transfer: Transfer, visit: Visit, hierarchy: Hierarchy
) -> tuple[Spread, Spread]:
    """Return what a visit moves through the parent, and through the child.

    A read-back goes to one of the units that add to a sum: to as many as the parent has copies. A
    child that keeps halos takes the pixels that it has not; the parent reads those that are new to
    some copy of the child.

    Parameters
    ----------
    nest : Nest
        The loops, counted.
    transfer : Transfer
        Between which memories, of which operand.
    visit : Visit
        The block that is moved.
    hierarchy : Hierarchy
        Which axes each memory stands along.
    """
    outer = hierarchy.memory(transfer.parent).per
    child = None if transfer.child is None else hierarchy.memory(transfer.child)
    inner = hierarchy.axis_names if child is None else child.per
    reached = outer if transfer.kind == "readback" else inner
    halo_of = inner if child is not None and child.keep_halo else None
    relevant, i = nest.relevant(transfer.operand), transfer.outside
    apart = hierarchy.read_apart(outer, inner) if transfer.kind == "fetch" else ()
    above = nest.spread(relevant, visit, i, apart or outer, halo_of=halo_of)
    return (
        Spread(above.elements, 1, above.elements) if apart else above,
        nest.spread(relevant, visit, i, inner, reached=reached, halo_of=halo_of),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """Elements that an operand moves between a parent and a child, in one direction.

    Attributes
    ----------
    operand, kind, partial, parent, child
        As of `Transfer`.
    visits : int
        Transfers of a tile.
    parent_elements, child_elements : int
        Elements read or written at either end; a child that is the array has what its units take.
    """

    operand: str
    kind: Kind
    partial: bool
    parent: str
    child: str | None
    visits: int
    parent_elements: int
    child_elements: int


def accesses(
    layer: Loops,
    mapping: Mapping,
    hierarchy: Hierarchy,
    parents: Container[str] | None = None,
) -> tuple[Moved, ...]:
    """Return the elements that a mapping moves, one row a parent, child and direction.

    Parameters
    ----------
    layer : Loops
    mapping : Mapping
    hierarchy : Hierarchy
        Which axes each memory stands along.
    parents : container of str, optional
        Only what these memories give or take as parents.
    """
    nest, found = Nest(layer, mapping), []
    for each in transfers(nest, parents):
        sums = [0, 0]
        for visit, count in each.visits.items():
            for end, part in enumerate(amounts(nest, each, visit, hierarchy)):
                sums[end] += part.elements * count
        found.append(
            Moved(
                operand=each.operand,
                kind=each.kind,
                partial=each.partial,
                parent=each.parent,
                child=each.child,
                visits=each.visits.total(),
                parent_elements=sums[0],
                child_elements=sums[1],
            )
        )
    return tuple(found)


def outermost_bits(
    layer: Loops, bits: OperandBits, mapping: Mapping, hierarchy: Hierarchy
) -> dict[str, Fraction]:
    """Return the bits that pass the outermost memory by operand; unfinished sums are outputs'.

    Of operands that stay behind it (`Hierarchy.staying`) none do.

    Parameters
    ----------
    layer : Loops
    bits : OperandBits
    mapping : Mapping
    hierarchy : Hierarchy
    """
    found = dict.fromkeys(OPERANDS, Fraction(0))
    outermost = hierarchy.memories[0].name
    for moved in accesses(layer, mapping, hierarchy, {outermost}):
        if hierarchy.stays(moved.operand, outermost):
            continue
        width = bits.of(moved.operand, partial=moved.partial)
        found[moved.operand] += moved.parent_elements * width
    return found
