"""The mappings that a certificate is about, written down from the chip and the layer alone.

* A memory that may do without an operand keeps it or does not (*storage*).
* Each axis unrolls nothing, one of its dimensions, or two; every extent that is the least for its
  number of steps (*way*).
* Below the outermost each tier of memories has one tile: of each dimension a whole number of steps'
  tiles, each that is the least for its number of blocks of the tier outside. A dimension that
  indexes nothing a tier keeps has the next tier's tile there (*chain*).
* Between two tiers loops stand in every order; a batch is outermost.
* Of a convolution loops over images, p and q stand together, in this order, and so do those over
  c, r and s; groups are outermost. Columns q and taps r, s are whole in memories of the chip, and
  whole or a step's in those of units.
* Every largest set of tiles is doubled that the memories have room for.
"""

from collections.abc import Iterator
from functools import cache
from itertools import permutations, product, zip_longest
from math import prod

from .count import Counted
from .record import KINDS, OPERANDS, Chip, Layer, Level, Loop, Memory, Nest, Unroll

Storage = dict[str, tuple[Memory, ...]]
Way = tuple[Unroll, ...]
Chain = tuple[int, ...]
"""Tiles of a dimension, outermost tier first: all of it, ..., a step's."""
WHOLE = ("q", "r", "s")


@cache
def extents(size: int, most: int) -> tuple[int, ...]:
    """Return the extents up to ``most`` that are the least for their number of blocks."""
    return tuple(sorted({-(-size // blocks) for blocks in range(-(-size // most), size + 1)}))


def tiers(chip: Chip) -> list[list[Memory]]:
    """Return memories tier by tier: chip-wide ones first, each below those that feed it."""
    depth: dict[str, int] = {}
    for i, memory in enumerate(chip.memories):
        above = [
            depth[outer.name] + 1
            for outer in chip.memories[:i]
            if set(outer.holds) & set(memory.holds) and len(outer.per) == len(memory.per)
        ]
        depth[memory.name] = max(above, default=0)
    ranks = sorted({(len(memory.per), depth[memory.name]) for memory in chip.memories})
    return [
        [memory for memory in chip.memories if (len(memory.per), depth[memory.name]) == rank]
        for rank in ranks
    ]


def storages(chip: Chip) -> list[Storage]:
    """Return every choice of the memories that keep each operand."""
    free = [(memory.name, operand) for memory in chip.memories for operand in memory.optional]
    return [
        {
            operand: tuple(
                memory
                for memory in chip.memories
                if operand in memory.holds and (memory.name, operand) not in gone
            )
            for operand in OPERANDS
        }
        for kept in product((True, False), repeat=len(free))
        for gone in [{pair for pair, keep in zip(free, kept, strict=True) if not keep}]
    ]


def ways(layer: Layer, chip: Chip) -> list[Way]:
    """Return every way to unroll the layer over the axes."""
    sizes = dict(zip(layer.dims, layer.sizes, strict=True))
    choices: list[list[Way]] = []
    for axis in sorted(chip.axes, key=lambda axis: axis.name):
        dims = [dim for dim in layer.dims if dim in axis.dims]
        one = [(axis.name, dim, u) for dim in dims for u in extents(sizes[dim], axis.size) if u > 1]
        two = [(a, b) for a in one for b in one if a[1] < b[1] and a[2] * b[2] <= axis.size]
        choices.append([(), *((each,) for each in one), *two])
    return [tuple(each for some in way for each in some) for way in product(*choices)]


def steps_of(layer: Layer, way: Way) -> tuple[int, ...]:
    """Return what one step does of each dimension."""
    return tuple(prod(size for _, d, size in way if d == dim) for dim in layer.dims)


def chains(
    layer: Layer, d: int, step: int, kept: list[set[str]], copied: list[bool]
) -> tuple[Chain, ...]:
    """Return the tiles of a dimension, tier by tier.

    Parameters
    ----------
    layer : Layer
    d : int
        The dimension.
    step : int
        Its extent in one step.
    kept : list of set of str
        The operands that each tier below the outermost keeps.
    copied : list of bool
        Whether units have copies of each of those tiers.
    """
    size, dim = layer.sizes[d], layer.dims[d]
    if KINDS[dim] == 3:
        return ((size, *([step] * (len(kept) + 1))),)
    found: list[tuple[int, ...]] = [(size,)]
    for operands, units in zip(kept, copied, strict=True):
        own = any(d in layer.indexed(operand) for operand in operands)
        longer = []
        if dim in WHOLE:
            for outer in found:
                around = outer[-1] if len(outer) > 1 else -(-size // step) * step
                tiles = {step, around} if own and units else {step if units else around}
                longer += [(*outer, tile) for tile in sorted(tiles)]
            found = longer
            continue
        for outer in found:
            around = next(tile for tile in reversed(outer) if tile)
            blocks = -(-min(size, around) // step)
            inner = [u * step for u in extents(blocks, blocks)] if own else [0]
            longer += [(*outer, tile) for tile in inner]
        found = longer
    return tuple(_filled((*chain, step)) for chain in found)


def _filled(chain: Chain) -> Chain:
    """Return a chain in which a tier without a tile has that of the next."""
    tiles = list(chain)
    for tier in range(len(tiles) - 2, 0, -1):
        tiles[tier] = tiles[tier] or tiles[tier + 1]
    return tuple(tiles)


def kept_by(storage: Storage, tier: list[Memory]) -> set[str]:
    """Return the operands that the memories of a tier keep."""
    return {operand for operand, some in storage.items() for memory in some if memory in tier}


def loops_between(layer: Layer, outer: list[int], inner: list[int]) -> list[tuple[Loop, ...]]:
    """Return the loops between two tiers in every order; ``outer``, ``inner``: the tiles."""
    together: dict[int, list[Loop]] = {}
    for d, dim in enumerate(layer.dims):
        if inner[d] < min(outer[d], layer.sizes[d]):
            together.setdefault(KINDS[dim], []).append((dim, inner[d]))
    batch = together.pop(3, [])
    return [
        (*batch, *(loop for loops in order for loop in loops))
        for order in permutations(together.values())
    ]


def nest(
    way: Way,
    storage: Storage,
    groups: list[list[Memory]],
    orders: tuple[tuple[Loop, ...], ...],
    two: frozenset[tuple[str, str]],
) -> Nest:
    """Return a mapping of the space.

    Parameters
    ----------
    way : Way
    storage : Storage
    groups : list of list of Memory
        The tiers.
    orders : tuple of tuple of Loop
        The loops right inside each tier.
    two : frozenset of (str, str)
        Memories and operands of doubled tiles.
    """
    levels: list[Level] = []
    for tier, loops in zip(groups, orders, strict=True):
        some = []
        for memory in tier:
            keeps = tuple(op for op in OPERANDS if memory in storage[op])
            if keeps:
                doubled = tuple(op for op in keeps if (memory.name, op) in two)
                some.append(Level(memory=memory.name, keeps=keeps, doubled=doubled, loops=()))
        levels += some
        last = levels.pop()
        levels.append(
            Level(
                memory=last.memory,
                keeps=last.keeps,
                doubled=last.doubled,
                loops=(*last.loops, *loops),
            )
        )
    return Nest(levels=tuple(levels), spatial=way)


def doublings(counted: Counted) -> Iterator[frozenset[tuple[str, str]]]:
    """Yield every largest set of doubled tiles of a mapping without; nothing if it does not fit."""
    chip, held = counted.chip, needs(counted)
    if not room(chip, held, frozenset()):
        return
    free = [
        (memory.name, operand)
        for memory in chip.memories[1:]
        for operand in OPERANDS
        if memory.double_buffered and any(p.memory == memory for p in counted.chain(operand)[1:])
    ]
    found: list[frozenset[tuple[str, str]]] = []
    for many in range(len(free), -1, -1):
        for some in _subsets(free, many):
            if not any(some <= more for more in found) and room(chip, held, some):
                found.append(some)
    yield from found


def _subsets(free: list[tuple[str, str]], many: int) -> Iterator[frozenset[tuple[str, str]]]:
    for bits in range(1 << len(free)):
        if bits.bit_count() == many:
            yield frozenset(pair for i, pair in enumerate(free) if bits >> i & 1)


def needs(counted: Counted) -> dict[tuple[str, str], tuple[int, int]]:
    """Return the elements, and bits, of one tile of each operand in each memory."""
    found = {}
    for operand in OPERANDS:
        places = counted.chain(operand)
        for place, inside in zip_longest(places, places[1:]):
            found[place.memory.name, operand] = counted.held(place, operand, inside)
    return found


def room(
    chip: Chip,
    held: dict[tuple[str, str], tuple[int, int]],
    two: frozenset[tuple[str, str]] | set[tuple[str, str]],
) -> bool:
    """Whether all memories have room for tiles of which some are doubled."""
    for memory in chip.memories[1:]:
        for most, at in ((memory.words, 0), (memory.size_bits, 1)):
            taken = sum(
                part[at] * (2 if key in two else 1)
                for key, part in held.items()
                if key[0] == memory.name
            )
            if most is not None and taken > most:
                return False
    return True


def fits(counted: Counted) -> bool:
    """Whether all memories have room for the tiles of a mapping."""
    two = {
        (place.memory.name, operand)
        for operand in OPERANDS
        for place in counted.chain(operand)
        if place.doubled
    }
    return room(counted.chip, needs(counted), two)
