"""What a mapping moves between memories: exact counts, no clocks.

Every operand goes down, or up, its chain of memories; the array is the last of them. Between two
neighbors the child's tiles are fetched, or written back. A tile that units along some axes have
copies of is read from the parent once and written to each copy; sums that units along some axes
have parts of are read from each and arrive at the parent as one.
"""

from collections.abc import Container
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from ..arch.hierarchy import OPERANDS, Hierarchy
from .blocks import Edge, Nest, Spread, Visit, Visits
from .nest import Loops, Mapping, Place
from .operands import OperandBits

Kind = Literal["fetch", "write", "readback"]


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
    paced : Counter of Visit
        All visits to the child's tiles, in whose windows it can be moved.
    spared : Visit or None
        The visit that is part of the first load, or last store, and delays nothing else; the
        last of all stands for the last read-back.
    """

    operand: str
    kind: Kind
    partial: bool
    parent: str
    child: str | None
    outside: int
    doubled: bool
    visits: Visits
    paced: Visits
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


def _visits(nest: Nest, operand: str, child: Place, *, edge: Edge, of_one: bool = False) -> Visits:
    relevant = nest.relevant(operand)
    if not child.memory:
        return nest.step_visits(relevant, edge, of_one_tile=of_one)
    return nest.visits(relevant, child.outside, edge, of_one_tile=of_one)


def _fetch(nest: Nest, operand: str, parent: Place, child: Place) -> Transfer:
    visits = _visits(nest, operand, child, edge="all")
    return Transfer(
        operand=operand,
        kind="fetch",
        partial=False,
        parent=parent.memory,
        child=child.memory or None,
        outside=child.outside,
        doubled=child.doubled,
        visits=visits,
        paced=visits,
        spared=next(iter(_visits(nest, operand, child, edge="first", of_one=True))),
    )


def _up(nest: Nest, parent: Place, child: Place) -> list[Transfer]:
    """Return the writes of finished sums, of unfinished ones, and the read-backs."""
    visits = _visits(nest, "output", child, edge="all")
    finished = _visits(nest, "output", child, edge="last")
    readbacks = visits - _visits(nest, "output", child, edge="first")
    last = next(iter(_visits(nest, "output", child, edge="last", of_one=True)))
    parts: list[tuple[Kind, bool, Visits, Visit | None]] = [("write", False, finished, last)]
    if visits != finished:
        parts.append(("write", True, visits - finished, None))
        parts.append(("readback", True, readbacks, last))
    return [
        Transfer(
            operand="output",
            kind=kind,
            partial=partial,
            parent=parent.memory,
            child=child.memory or None,
            outside=child.outside,
            doubled=child.doubled,
            visits=some,
            paced=visits,
            spared=spared,
        )
        for kind, partial, some, spared in parts
    ]


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
    return (
        nest.spread(relevant, visit, i, outer, halo_of=halo_of),
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

    Parameters
    ----------
    layer : Loops
    bits : OperandBits
    mapping : Mapping
    hierarchy : Hierarchy
    """
    found = dict.fromkeys(OPERANDS, Fraction(0))
    for moved in accesses(layer, mapping, hierarchy, {hierarchy.memories[0].name}):
        width = bits.of(moved.operand, partial=moved.partial)
        found[moved.operand] += moved.parent_elements * width
    return found
