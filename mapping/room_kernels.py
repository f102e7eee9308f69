"""What memories hold of tiles, and whether it fits, compiled.

A *layout* is: places (N, 6), of each memory that keeps an operand the memory, its tier, dimensions
that index the operand (a mask), axes of its copies, operand, tier of the next memory inside; bits
of an element there (N, 2, 2), finished and unfinished; room of each memory; whether one step adds
all of a result up.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

from ..datatypes.base.inner_kernels import inlined, inner
from .cost_kernels import accesses_of, slid_dims
from .tuple_kernels import (
    AT_ONCE,
    BITS,
    PIXELS,
    PLACES,
    ROOM,
    SHARES,
    SIZES,
    STEP_TILE,
    WINDOWS_OF,
)
from .visit_kernels import finishes
from .window_kernels import most_pixels

# columns of places
MEMORY, DEPTH, INDEXED, AXES, OPERAND, CHILD = 0, 1, 2, 3, 4, 5


@inner
def held_at(place, tile, partial, alone, plan, layout):
    """Return what one copy of a memory holds at a place, one tile of it.

    ``partial``: 1 for unfinished sums. ``alone``: whether the tiles outside are not known; then of
    a convolution's input what the first block takes, which is in all of them.
    """
    depth = layout[PLACES][place, DEPTH] - 1
    own, windows, share = layout[PLACES][place, AXES], plan[WINDOWS_OF], 1
    if slid_dims(layout[PLACES][place, INDEXED], windows):
        for w in range(windows.shape[0]):
            at = -1 - depth if alone else depth
            share *= most_pixels(w, own, at, tile, plan[SIZES], windows, plan[PIXELS])
    return held_with(place, depth, share, False, tile, partial, plan, layout)


@inner
def held_with(place, depth, share, last, tile, partial, plan, layout):
    """Return what one copy of a memory would hold with a tile in a row of them, as `held_at`.

    ``share``: of windows, 1 where there is none. ``last``: of an operand without windows, that of
    the last block alone, which is the smallest.
    """
    places, ratio = layout[PLACES], layout[BITS]
    sizes, step_tile, shares = plan[SIZES], plan[STEP_TILE], plan[SHARES]
    own = places[place, AXES]
    slid = slid_dims(places[place, INDEXED], plan[WINDOWS_OF])
    for d in range(sizes.size):
        if places[place, INDEXED] >> d & 1 and not slid >> d & 1:
            size, step = min(sizes[d], tile[depth, d]), step_tile[d]
            if last and sizes[d] % size:
                size = sizes[d] % size
            full = size // step
            share *= full * shares[own, d, step] + shares[own, d, size - full * step]
    return accesses_of(share, ratio[place, partial, 0], ratio[place, partial, 1])


@inner
def fits(mask, held, partial, layout, needs):
    """Whether all memories hold their tiles, doubled of each place in the mask.

    Parameters
    ----------
    mask : int
    held : (places, 2) int64 array
        What one tile takes, of finished and of unfinished sums.
    partial : (places,) int64 array
        Whether sums are unfinished.
    layout : tuple
    needs : (memories,) int64 array
        Room to compute in.
    """
    places, room = layout[PLACES], layout[ROOM]
    for memory in range(room.size):
        needs[memory] = 0
    for place in range(places.shape[0]):
        needs[places[place, MEMORY]] += held[place, partial[place]] << (mask >> place & 1)
    enough = True
    for memory in range(room.size):
        enough = enough and needs[memory] <= room[memory]
    return enough


@inlined
def find_partial(partial, cuts, nest, plan, layout):
    """Note which places hold unfinished sums: where sums arrive from inside more than once.

    Returns them as a mask.
    """
    places, found = layout[PLACES], 0
    for place in range(places.shape[0]):
        partial[place] = 0
        if places[place, OPERAND] == 2:
            child = places[place, CHILD]
            if child == cuts.size - 1:
                once = layout[AT_ONCE][0] == 1
            else:
                once = finishes(cuts[child], places[place, INDEXED], plan[SIZES], nest)
            partial[place] = 0 if once else 1
            found |= partial[place] << place
    return found


@inner
def has_room(level, alone, tile, partial, held, needs, plan, layout):
    """Whether the memories of a tier hold their tiles, one of each; of sums what they surely are.

    ``alone``: as `held_at`.

    Of two tiles that differ in the third dimension alone the smaller has room if the larger has,
    unless that is whole.
    """
    for place in range(held.shape[0]):
        partial[place] = held[place, 0] = held[place, 1] = 0
        if layout[PLACES][place, DEPTH] == level:
            unfinished = unfinished_at(place, tile, plan, layout)
            partial[place] = unfinished
            held[place, unfinished] = held_at(place, tile, unfinished, alone, plan, layout)
    return fits(0, held, partial, layout, needs)


@inner
def unfinished_at(place, tile, plan, layout):
    """Return 1 if sums come to a place more than once, whatever is inside; as `find_partial`.

    They do where the array does not add them up in one step and nothing is between; and where
    loops of the third dimension, which is summed over, are outside, and some over results inside,
    as what is next inside has no room for all of the tile.
    """
    places, row = layout[PLACES], layout[PLACES][place, DEPTH] - 1
    if places[place, OPERAND] != 2:
        return 0
    child = child_of(place, layout)
    if child < 0:
        return 1 - layout[AT_ONCE][0]
    if tile[row, 2] >= plan[SIZES][2]:
        return 0
    taken = held_with(child, row, 1, False, tile, 0, plan, layout)
    return 1 if taken > layout[ROOM][places[child, MEMORY]] else 0


@inner
def child_of(place, layout):
    """Return the place of the same operand that is next inside, -1 for the array."""
    places = layout[PLACES]
    for child in range(places.shape[0]):
        same = places[child, OPERAND] == places[place, OPERAND]
        if same and places[child, DEPTH] == places[place, CHILD]:
            return child
    return -1
