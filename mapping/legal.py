"""Whether a mapping can run on a chip: a sentence for each thing that is wrong with it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

from ..arch.hierarchy import OPERANDS, Hierarchy, Memory
from ..datatypes.base.errors import BitlatheError, unknown_name
from .blocks import Nest
from .nest import Loops, Mapping, dims_of
from .operands import OperandBits


def problems(
    layer: Loops, bits: OperandBits, mapping: Mapping, hierarchy: Hierarchy
) -> tuple[str, ...]:
    """Return what keeps a mapping from running, a sentence each; nothing if it is legal.

    Parameters
    ----------
    layer : Loops
        Sizes of the layer's dimensions.
    bits : OperandBits
        Stored bits of an element of each operand.
    mapping : Mapping
        Its loops and places.
    hierarchy : Hierarchy
        The chip's memories and axes.
    """
    wrong = (*_names(layer, mapping, hierarchy), *_extents(mapping))
    if wrong:
        return wrong
    wrong = (
        *_unrolls(mapping, hierarchy),
        *_steps(layer, mapping),
        *_places(mapping, hierarchy),
    )
    return wrong or tuple(_sizes(layer, bits, mapping, hierarchy))


def check(layer: Loops, bits: OperandBits, mapping: Mapping, hierarchy: Hierarchy) -> None:
    """Refuse a mapping that cannot run.

    Parameters
    ----------
    layer, bits, mapping, hierarchy
        As `problems` takes them.

    Raises
    ------
    BitlatheError
        With all that is wrong.
    """
    found = problems(layer, bits, mapping, hierarchy)
    if found:
        raise BitlatheError(" ".join(found))


def _names(layer: Loops, mapping: Mapping, hierarchy: Hierarchy) -> Iterator[str]:
    memories = tuple(memory.name for memory in hierarchy.memories)
    for i, level in enumerate(mapping.levels):
        if level.memory not in memories:
            yield f"levels[{i}]: {unknown_name('memory', level.memory, memories)}."
        for operand in level.keeps:
            if operand not in OPERANDS:
                yield f"levels[{i}].keeps: {unknown_name('operand', operand, OPERANDS)}."
        for j, loop in enumerate(level.loops):
            if loop.dim not in layer.sizes:
                named = unknown_name("dimension", loop.dim, layer.sizes)
                yield f"levels[{i}].loops[{j}]: {named}."
    for i, each in enumerate(mapping.spatial):
        if each.dim not in layer.sizes:
            yield f"spatial[{i}]: {unknown_name('dimension', each.dim, layer.sizes)}."
        if each.axis not in hierarchy.axis_names:
            yield f"spatial[{i}]: {unknown_name('axis', each.axis, hierarchy.axis_names)}."


def _extents(mapping: Mapping) -> Iterator[str]:
    for loop in mapping.loops:
        if loop.tile < 1:
            yield f"a loop over {loop.dim} has a tile of {loop.tile}; give at least 1."
    for each in mapping.spatial:
        if each.size < 1:
            yield f"{each.dim} is unrolled {each.size} times on {each.axis}; give at least 1."


def _unrolls(mapping: Mapping, hierarchy: Hierarchy) -> Iterator[str]:
    for axis in hierarchy.axes:
        unrolls = [each for each in mapping.spatial if each.axis == axis.name]
        asked = prod(each.size for each in unrolls)
        if asked > axis.size:
            yield (
                f"axis {axis.name!r} has {axis.size} units, and {asked} are unrolled on it; "
                f"unroll at most {axis.size}."
            )
        for each in unrolls:
            if each.size > 1 and each.dim not in dims_of(axis.dims):
                yield (
                    f"axis {axis.name!r} cannot unroll {each.dim}; it takes {', '.join(axis.dims)}."
                )


def _steps(layer: Loops, mapping: Mapping) -> Iterator[str]:
    block = mapping.tile(layer.sizes, len(mapping.loops))
    for dim, size in block.items():
        if size > mapping.unrolled(dim):
            yield (
                f"the innermost loops leave {size} of dimension {dim}, and "
                f"{mapping.unrolled(dim)} are unrolled; add a loop over {dim} with a tile of at "
                f"most {mapping.unrolled(dim)}."
            )


def _places(mapping: Mapping, hierarchy: Hierarchy) -> Iterator[str]:
    for operand in OPERANDS:
        chain = hierarchy.chain(operand)
        names = [memory.name for memory in chain]
        kept = [place.memory for place in mapping.chain(operand)]
        for memory in chain:
            if memory.name not in kept and operand not in memory.optional:
                yield f"memory {memory.name!r} must keep {operand}s on their way; let it keep them."
        for name in kept:
            if name not in names:
                yield f"memory {name!r} cannot hold {operand}s; it holds {_held(hierarchy, name)}."
        if kept != [name for name in names if name in kept] and set(kept) <= set(names):
            yield f"{operand}s pass {', '.join(names)} in this order, not {', '.join(kept)}."
        for place in mapping.chain(operand):
            if place.doubled and not hierarchy.memory(place.memory).double_buffered:
                yield (
                    f"memory {place.memory!r} is not double-buffered; it holds one tile of "
                    f"{operand}s."
                )


def _held(hierarchy: Hierarchy, name: str) -> str:
    return ", ".join(hierarchy.memory(name).holds)


@dataclass(frozen=True, slots=True)
class Held:
    """What one copy of a memory holds of an operand: elements, and their bits, all tiles."""

    elements: int
    bits: int


def footprints(
    layer: Loops, bits: OperandBits, mapping: Mapping, hierarchy: Hierarchy
) -> dict[str, dict[str, Held]]:
    """Return what each memory's copy with most holds of each operand at most.

    Parameters
    ----------
    layer, bits, mapping, hierarchy
        As `problems` takes them.

    Returns
    -------
    dict of dict
        By memory and operand.
    """
    nest = Nest(layer, mapping)
    found: dict[str, dict[str, Held]] = {memory.name: {} for memory in hierarchy.memories}
    for operand in OPERANDS:
        places, relevant = mapping.chain(operand), nest.relevant(operand)
        for i, place in enumerate(places):
            per = hierarchy.memory(place.memory).per
            if nest.slid(relevant):
                visits = nest.visits(relevant, place.outside)
                share = max(nest.spread(relevant, v, place.outside, per).share for v in visits)
            else:
                block = mapping.tile(layer.sizes, place.outside)
                share = prod(
                    nest.share(per, dim, place.outside, block[nest.dims[dim]]) for dim in relevant
                )
            inside = places[i + 1].outside if i + 1 < len(places) else None
            partial = operand == "output" and _adds(nest, relevant, inside)
            tiles = 2 if place.doubled else 1
            taken = math.ceil(share * bits.of(operand, partial=partial))
            found[place.memory][operand] = Held(tiles * share, tiles * taken)
    return found


def _adds(nest: Nest, relevant: frozenset[int], inside: int | None) -> bool:
    """Whether sums arrive from inside a memory more than once, so that it holds unfinished ones.

    ``inside``: loops outside the next memory; None where that is the array.
    """
    if inside is None:
        return nest.step_visits(relevant) != nest.step_visits(relevant, "first")
    return nest.visits(relevant, inside) != nest.visits(relevant, inside, "first")


def doubled(layer: Loops, bits: OperandBits, mapping: Mapping, hierarchy: Hierarchy) -> Mapping:
    """Return a mapping whose memories hold two tiles of each operand that they have room for.

    Of weights first, then of inputs, then of outputs, beside one tile of the others.

    Parameters
    ----------
    layer, bits, mapping, hierarchy
        As `problems` takes them.
    """
    single = replace(mapping, levels=tuple(replace(each, doubled=()) for each in mapping.levels))
    held = footprints(layer, bits, single, hierarchy)
    twice: dict[str, tuple[str, ...]] = {}
    for name, parts in held.items():
        memory, chosen = hierarchy.memory(name), tuple[str, ...]()
        if memory.double_buffered and memory is not hierarchy.memories[0]:
            for operand in parts:
                if _has_room(memory, parts, (*chosen, operand)):
                    chosen = (*chosen, operand)
        twice[name] = chosen
    levels = tuple(
        replace(each, doubled=tuple(op for op in each.keeps if op in twice[each.memory]))
        for each in mapping.levels
    )
    return replace(mapping, levels=levels)


def _has_room(memory: Memory, parts: dict[str, Held], twice: tuple[str, ...]) -> bool:
    def needs(field: str) -> int:
        return sum(getattr(part, field) * (1 + (op in twice)) for op, part in parts.items())

    return (memory.size_bits is None or needs("bits") <= memory.size_bits) and (
        memory.words is None or needs("elements") <= memory.words
    )


def _sizes(
    layer: Loops, bits: OperandBits, mapping: Mapping, hierarchy: Hierarchy
) -> Iterator[str]:
    for name, held in footprints(layer, bits, mapping, hierarchy).items():
        memory = hierarchy.memory(name)
        for size, unit in ((memory.size_bits, "bits"), (memory.words, "words")):
            field = "bits" if unit == "bits" else "elements"
            parts = {operand: getattr(part, field) for operand, part in held.items()}
            needs = sum(parts.values())
            if size is not None and needs > size:
                listed = ", ".join(f"{operand} {part}" for operand, part in parts.items())
                yield (
                    f"memory {name!r} is too small: its tiles take {needs} {unit} ({listed}), and "
                    f"it has {size}, {needs - size} too few; {needs} would do, or smaller tiles."
                )
