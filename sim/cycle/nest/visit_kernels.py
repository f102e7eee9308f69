"""Where the machine of a mapping stands in the loops, compiled: blocks, visits, passes.

``loops``: dimension and tile of each loop, outermost first, and the window that it slides. ``at``:
the block outside each loop, that of a step, and a row of scratch; how many blocks each loop has
there, and at which it is. Behind the extents of a block stands its first pixel in each window, or
`NO_BORDER`, where it has none of that.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

from ....datatypes.base.inner_kernels import inner
from .machine_kernels import CUT, MASK, PARENT

COUNT, TURN = 0, 1  # rows of the loops' turns
# rows of loops: dimension, tile; place of the window's first pixel in a block, -1 without a window;
# pixels from block to block; the window's dimensions, their pixels an element, stored pixels
DIM, TILE, LOW, MOVE, OUTS, TAPS, STRIDE, DILATION, STORED, LOOP_ROWS = range(10)
NO_BORDER = 1 << 40


@inner
def slide(i, turns, block, loops):
    """Move the first pixel of a block on by turns of a loop, whose extent the block has."""
    low = loops[LOW, i]
    if low < 0 or block[low] == NO_BORDER:
        return
    block[low] += turns * loops[MOVE, i]
    outputs, taps = block[loops[OUTS, i]], block[loops[TAPS, i]]
    end = block[low] + (outputs - 1) * loops[STRIDE, i] + (taps - 1) * loops[DILATION, i] + 1
    if block[low] >= 0 and end <= loops[STORED, i]:
        block[low] = NO_BORDER


@inner
def at_border(i, loops, at):
    """Whether turns of a loop are unlike as some have more of the border than others."""
    low = loops[LOW, i]
    return low >= 0 and at[0][i, low] != NO_BORDER


@inner
def enter(i, loops, at):
    """Set the loops from ``i`` inwards to their first blocks."""
    for m in range(i, loops.shape[1]):
        at[1][TURN, m] = 0
        settle(m, loops, at)


@inner
def settle(i, loops, at):
    """Set the block inside a loop that is at some turn."""
    size, turns = at
    d, tile = loops[0, i], loops[1, i]
    for each in range(size.shape[1]):
        size[i + 1, each] = size[i, each]
    whole = size[i, d]
    turns[COUNT, i] = 1
    if tile < whole:
        turns[COUNT, i] = (whole + tile - 1) // tile
        size[i + 1, d] = (
            tile if turns[TURN, i] < turns[COUNT, i] - 1 else whole - (turns[COUNT, i] - 1) * tile
        )
        slide(i, turns[TURN, i], size[i + 1], loops)


@inner
def indexes(mask, m, loops):
    """Whether a loop is over a dimension that indexes the operand."""
    return mask >> loops[0, m] & 1 == 1


@inner
def moves_on(mask, low, high, loops, at):
    """Whether loops from ``low`` to ``high`` pass more than one tile of an operand."""
    m = low
    while m < high and not (indexes(mask, m, loops) and at[1][COUNT, m] > 1):
        m += 1
    return m < high


@inner
def changes(e, m, edges, loops, at):
    """Whether the tile below an edge changes where a loop goes on to its next turn."""
    mask, cut = edges[e, MASK], edges[e, CUT]
    return m < cut and (indexes(mask, m, loops) or moves_on(mask, m + 1, cut, loops, at))


@inner
def next_change(e, limit, edges, loops, at):
    """Return the loop outside ``limit`` that brings the next visit; -1 if there is none."""
    for m in range(min(edges[e, CUT], limit) - 1, -1, -1):
        if at[1][TURN, m] < at[1][COUNT, m] - 1 and changes(e, m, edges, loops, at):
            return m
    return -1


@inner
def at_first(mask, low, high, loops, at):
    """Whether the loops that sum over an operand's tiles are at their first turns."""
    for m in range(low, high):
        if not indexes(mask, m, loops) and at[1][COUNT, m] > 1 and at[1][TURN, m] > 0:
            return False
    return True


@inner
def at_last(mask, low, high, loops, at):
    """Whether the loops that use an operand's tiles again are at their last turns."""
    for m in range(low, high):
        if (
            not indexes(mask, m, loops)
            and at[1][COUNT, m] > 1
            and at[1][TURN, m] < at[1][COUNT, m] - 1
        ):
            return False
    return True


@inner
def all_first(mask, high, loops, at):
    """Whether all loops outside ``high`` that sum over an operand's tiles are at first turns."""
    return at_first(mask, 0, high, loops, at)


@inner
def all_last(mask, high, loops, at):
    """Whether all loops outside ``high`` that use an operand's tiles again are at last turns."""
    return at_last(mask, 0, high, loops, at)


@inner
def first_block(m, cut, loops, at):
    """Leave in scratch the block of the first visit after a loop's next turn; -1: of this one."""
    size, turns = at
    block = size[loops.shape[1] + 1]
    for d in range(block.size):
        block[d] = size[max(m, 0), d]
    if m >= 0:
        d, tile = loops[0, m], loops[1, m]
        block[d] = min(tile, block[d] - (turns[TURN, m] + 1) * tile)
        slide(m, turns[TURN, m] + 1, block, loops)
    for i in range(m + 1, cut):
        d = loops[0, i]
        if loops[1, i] < block[d]:
            block[d] = loops[1, i]
            slide(i, 0, block, loops)


@inner
def last_block(m, cut, loops, at):
    """Leave in scratch the block of the last visit in a loop's present turn; -1: of all."""
    size = at[0]
    block = size[loops.shape[1] + 1]
    for d in range(block.size):
        block[d] = size[m + 1, d]
    for i in range(m + 1, cut):
        d, tile = loops[0, i], loops[1, i]
        if tile < block[d]:
            rest = block[d] % tile
            block[d] = rest if rest else tile


@inner
def one_pass(e, i, edges, loops, at):
    """Whether the loops from ``i`` inwards are one pass over the tile below an edge."""
    mask, cut = edges[e, MASK], edges[e, CUT]
    if i < cut or moves_on(mask, cut, i, loops, at):
        return False
    return i == loops.shape[1] or (indexes(mask, i, loops) and at[1][COUNT, i] > 1)


@inner
def pass_inside(e, i, edges, loops, at):
    """Whether a pass over the tile begins or ends within the loops from ``i`` inwards."""
    mask, cut = edges[e, MASK], edges[e, CUT]
    if i >= loops.shape[1]:
        return False
    return i < cut or not moves_on(mask, cut, i + 1, loops, at)


@inner
def visit_began(e, i, edges, loops, at):
    """Return the first loop inside the one that last changed the tile, of those outside ``i``."""
    mask, cut = edges[e, MASK], edges[e, CUT]
    for m in range(min(cut, i) - 1, -1, -1):
        if indexes(mask, m, loops) and at[1][COUNT, m] > 1:
            return m + 1
    return 0


@inner
def other_visit(e, m, edges, loops, at):
    """Whether the parent's tile changes too where a loop goes on to its next turn."""
    parent = edges[e, PARENT]
    return parent >= 0 and changes(parent, m, edges, loops, at)


@inner
def work_of(row, kind, end, block, works):
    """Return the units of a port that a block of an operand takes."""
    extents, units = works
    index = 0
    for d in range(block.size):
        stride = extents[row, d, 0]
        if stride > 0:
            v = 1
            while extents[row, d, v] != block[d]:
                v += 1
            index += (v - 1) * stride
    return units[row, kind, end, index]
