"""Where the machine of a mapping stands in the nest, compiled: blocks, visits, passes.

``nest``: dimension and tile of each loop, outermost first. ``at``: the block outside each loop
(the last row: a step's), how many blocks the loop has there, the block it is at, and scratch.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

from ....datatypes.base.compiled import compiled
from .machine_kernels import CUT, MASK, PARENT


@compiled
def enter(i, nest, at):
    """Set the loops from ``i`` inwards to their first blocks."""
    for m in range(i, nest[0].size):
        at[2][m] = 0
        settle(m, nest, at)


@compiled
def settle(i, nest, at):
    """Set the block inside a loop that is at some turn."""
    size, count, turn, _block = at
    d, tile = nest[0][i], nest[1][i]
    for each in range(size.shape[1]):
        size[i + 1, each] = size[i, each]
    whole = size[i, d]
    count[i] = 1
    if tile < whole:
        count[i] = (whole + tile - 1) // tile
        size[i + 1, d] = tile if turn[i] < count[i] - 1 else whole - (count[i] - 1) * tile


@compiled
def indexes(mask, m, nest):
    """Whether a loop is over a dimension that indexes the operand."""
    return mask >> nest[0][m] & 1 == 1


@compiled
def moves_on(mask, low, high, nest, at):
    """Whether loops from ``low`` to ``high`` pass more than one tile of an operand."""
    m = low
    while m < high and not (indexes(mask, m, nest) and at[1][m] > 1):
        m += 1
    return m < high


@compiled
def changes(e, m, edges, nest, at):
    """Whether the tile below an edge changes where a loop goes on to its next turn."""
    mask, cut = edges[e, MASK], edges[e, CUT]
    return m < cut and (indexes(mask, m, nest) or moves_on(mask, m + 1, cut, nest, at))


@compiled
def next_change(e, limit, edges, nest, at):
    """Return the loop outside ``limit`` that brings the next visit; -1 if there is none."""
    for m in range(min(edges[e, CUT], limit) - 1, -1, -1):
        if at[2][m] < at[1][m] - 1 and changes(e, m, edges, nest, at):
            return m
    return -1


@compiled
def at_first(mask, low, high, nest, at):
    """Whether the loops that sum over an operand's tiles are at their first turns."""
    for m in range(low, high):
        if not indexes(mask, m, nest) and at[1][m] > 1 and at[2][m] > 0:
            return False
    return True


@compiled
def at_last(mask, low, high, nest, at):
    """Whether the loops that use an operand's tiles again are at their last turns."""
    for m in range(low, high):
        if not indexes(mask, m, nest) and at[1][m] > 1 and at[2][m] < at[1][m] - 1:
            return False
    return True


@compiled
def first_block(m, cut, nest, at):
    """Leave in scratch the block of the first visit after a loop's next turn; -1: of this one."""
    size, _count, turn, block = at
    for d in range(block.size):
        block[d] = size[max(m, 0), d]
    if m >= 0:
        d, tile = nest[0][m], nest[1][m]
        block[d] = min(tile, block[d] - (turn[m] + 1) * tile)
    for inner in range(m + 1, cut):
        d = nest[0][inner]
        block[d] = min(block[d], nest[1][inner])


@compiled
def last_block(m, cut, nest, at):
    """Leave in scratch the block of the last visit in a loop's present turn; -1: of all."""
    size, _count, _turn, block = at
    for d in range(block.size):
        block[d] = size[m + 1, d]
    for inner in range(m + 1, cut):
        d, tile = nest[0][inner], nest[1][inner]
        if tile < block[d]:
            rest = block[d] % tile
            block[d] = rest if rest else tile


@compiled
def one_pass(e, i, edges, nest, at):
    """Whether the loops from ``i`` inwards are one pass over the tile below an edge."""
    mask, cut = edges[e, MASK], edges[e, CUT]
    if i < cut or moves_on(mask, cut, i, nest, at):
        return False
    return i == nest[0].size or (indexes(mask, i, nest) and at[1][i] > 1)


@compiled
def pass_inside(e, i, edges, nest, at):
    """Whether a pass over the tile begins or ends within the loops from ``i`` inwards."""
    mask, cut = edges[e, MASK], edges[e, CUT]
    if i >= nest[0].size:
        return False
    return i < cut or not moves_on(mask, cut, i + 1, nest, at)


@compiled
def visit_began(e, i, edges, nest, at):
    """Return the first loop inside the one that last changed the tile, of those outside ``i``."""
    mask, cut = edges[e, MASK], edges[e, CUT]
    for m in range(min(cut, i) - 1, -1, -1):
        if indexes(mask, m, nest) and at[1][m] > 1:
            return m + 1
    return 0


@compiled
def other_visit(e, m, edges, nest, at):
    """Whether the parent's tile changes too where a loop goes on to its next turn."""
    parent = edges[e, PARENT]
    return parent >= 0 and changes(parent, m, edges, nest, at)


@compiled
def work_of(row, kind, end, block, works):
    """Return the units of a port that a block of an operand takes."""
    values, strides, units = works
    index = 0
    for d in range(block.size):
        if strides[row, d] > 0:
            v = 0
            while values[row, d, v] != block[d]:
                v += 1
            index += v * strides[row, d]
    return units[row, kind, end, index]
