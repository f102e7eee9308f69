"""Chips on which an operand of a layer stays: it lies whole in the memory behind the outermost.

The layer before left its results there, or this one leaves its own: nothing of them passes the
outermost memory. They have a place of their own, of which the memory is that much smaller; the
layer's tiles lie in what is left, a tile of what stays too, though it is no copy: more room than is
needed, never less.
"""

import math
from dataclasses import replace
from fractions import Fraction

from ..arch.hierarchy import OPERANDS, Hierarchy, Port
from .nest import Loops, Mapping

_WIDE = 4
"""How much wider than those of the memory behind a port is that holds up nothing."""


def why_nothing_stays(hierarchy: Hierarchy) -> str | None:
    """Return why no results can stay on a chip for the next layer; None where they can."""
    outermost = hierarchy.memories[0].name
    both = [hierarchy.chain(operand) for operand in ("output", "input")]
    if any(len(chain) < 2 for chain in both) or both[0][1] is not both[1][1]:
        return (
            f"inputs and outputs do not share the memory behind {outermost!r}, so that no results "
            "can stay for the layer that reads them"
        )
    memory = both[0][1]
    if memory.per or memory.size_bits is None:
        return f"memory {memory.name!r}, behind {outermost!r}, is not one of a size in bits"
    return None


def with_staying(hierarchy: Hierarchy, staying: tuple[str, ...], bits: int) -> Hierarchy | None:
    """Return a chip on which operands stay; None where its memory has not the room.

    Parameters
    ----------
    hierarchy : Hierarchy
        A chip of which `why_nothing_stays` says nothing.
    staying : tuple of str
        ``input``, ``output``, or both: those of the layer that runs.
    bits : int
        What all results that stay take, other layers' among them.
    """
    near = hierarchy.chain("output")[1]
    assert near.size_bits is not None
    if near.size_bits <= bits:
        return None
    must = tuple(operand for operand in near.optional if operand not in staying)
    less = replace(near, size_bits=near.size_bits - bits, optional=must)
    memories = tuple(less if each is near else each for each in hierarchy.memories)
    return replace(hierarchy, memories=memories, staying=staying)


def searched(hierarchy: Hierarchy) -> Hierarchy:
    """Return a chip as searches count it: what stays passes a port that holds up nothing, for free.

    Its tiles are still written into the memory behind, and read from there: the cost of the mapping
    that is found leaves that out too (`Hierarchy.stays`).
    """
    if not hierarchy.staying:
        return hierarchy
    first, *others = hierarchy.memories
    moving = tuple(operand for operand in OPERANDS if operand not in hierarchy.staying)
    ports = [
        replace(port, operands=tuple(operand for operand in port.operands if operand in moving))
        for port in first.ports
    ]
    widest = max(port.width_bits for port in hierarchy.chain(hierarchy.staying[0])[1].ports)
    free = Port(direction="both", width_bits=_WIDE * widest, operands=hierarchy.staying)
    freed = replace(first, ports=(*(port for port in ports if port.operands), free))
    return replace(hierarchy, memories=(freed, *others), staying=())


def leaves_unfinished(layer: Loops, mapping: Mapping, hierarchy: Hierarchy) -> bool:
    """Return whether sums leave the memory behind the outermost before they are finished.

    They do where a loop that adds to them has, inside, one that goes on to another tile of them.
    Results that stay have room for finished ones.
    """
    outermost, index = hierarchy.memories[0].name, layer.indexes["output"]
    first, *inner = mapping.chain("output")
    if first.memory != outermost:
        return False
    block, adds = dict(layer.sizes), False
    for loop in mapping.loops[: inner[0].outside if inner else None]:
        if loop.tile >= block[loop.dim]:
            continue
        block[loop.dim] = loop.tile
        if loop.dim not in index:
            adds = True
        elif adds:
            return True
    return adds and not inner


def room_bytes(elements: int, bits: Fraction) -> int:
    """Return the bytes that results take where they stay.

    Examples
    --------
    >>> room_bytes(3, Fraction(17, 4))
    2
    """
    return math.ceil(elements * bits / 8)
