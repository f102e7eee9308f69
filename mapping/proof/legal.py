"""Whether a mapping can run on a chip: a sentence for what is wrong with it."""

from collections.abc import Iterator
from math import prod

from .count import Counted, Place
from .record import OPERANDS, Chip, Layer, Nest
from .space import fits


def problem(layer: Layer, chip: Chip, mapping: Nest) -> str | None:
    """Return the first thing that keeps a mapping from running on a chip, or None."""
    wrong = next(_names(layer, chip, mapping), None) or next(_axes(chip, mapping), None)
    return wrong or next(_counted(Counted(layer, chip, mapping)), None)


def _names(layer: Layer, chip: Chip, mapping: Nest) -> Iterator[str]:
    names = [memory.name for memory in chip.memories]
    for level in mapping.levels:
        if level.memory not in names:
            yield f"it names a memory {level.memory!r} that the chip does not have."
        for dim, _ in level.loops:
            if dim not in layer.dims:
                yield f"it has a loop over {dim!r}, which the layer does not have."
    for name, dim, size in mapping.spatial:
        if name not in chip.axis_names or dim not in layer.dims:
            yield f"it unrolls {dim!r} on {name!r}, of which one does not exist."
        elif size > (most := layer.sizes[layer.dims.index(dim)]):
            yield f"it unrolls {size} of {dim} on {name!r}, and there are {most}."


def _axes(chip: Chip, mapping: Nest) -> Iterator[str]:
    for axis in chip.axes:
        own = [(dim, size) for name, dim, size in mapping.spatial if name == axis.name]
        for dim, size in own:
            if size > 1 and dim not in axis.dims:
                yield f"axis {axis.name!r} cannot unroll {dim}."
        if prod(size for _, size in own) > axis.size:
            yield f"it unrolls more on axis {axis.name!r} than its {axis.size} units."


def _counted(counted: Counted) -> Iterator[str]:
    layer = counted.layer
    for d, dim in enumerate(layer.dims):
        left = min([layer.sizes[d], *(tile for at, tile in counted.loops if at == d)])
        if left > prod(size for _, size in counted.unrolls[d]):
            yield f"its innermost loops leave {left} of {dim}, more than is unrolled."
    for operand in OPERANDS:
        yield from _places(counted, operand, counted.chain(operand))
    if not fits(counted):
        yield "its tiles do not fit the chip's memories."


def _places(counted: Counted, operand: str, places: list[Place]) -> Iterator[str]:
    kept = [place.memory for place in places]
    way = [memory for memory in counted.chip.memories if operand in memory.holds]
    if kept != [memory for memory in way if memory in kept] or len(set(kept)) != len(kept):
        yield f"{operand}s are kept where the chip does not hold them, or out of order."
    for memory in way:
        if memory not in kept and operand not in memory.optional:
            yield f"memory {memory.name!r} must keep {operand}s on their way."
    for place in places:
        if place.doubled and not place.memory.double_buffered:
            yield f"memory {place.memory.name!r} holds one tile of {operand}s, not two."
