"""What transfers of products cost, for many mappings of the same tiles, compiled.

The same as `cost_kernels.move_cost`, of layers without windows: blocks of a dimension that loops
make are of few extents, so that what depends on extents alone is looked up.

* A *node* is a block's extent in one dimension: in half steps (2 for a whole step, 1 for a short
  one) and in steps, the group of loops that cuts it, how many whole tiles that makes, their node
  and that of the rest, -1 for none. The first is the whole dimension. A node goes by the place of
  its columns among those of its dimension, which have room for `NODES`.
* A *state* is the nodes of all dimensions, a byte each.
* A transfer has a *table* of what it takes with each tile: by row of sums clocks, in units of the
  pace, accesses and elements of all copies. Where a state's tile stands there is the
  sum of what its nodes have in ``at``.

Arrays are flat, and their places masked: places of several dimensions, and such as may be negative,
take longer to work out than what is done with what stands there.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

from ..datatypes.base.inner_kernels import inlined, inner
from .cost_kernels import (
    APART,
    FETCH,
    LATENCY,
    OP,
    OWN,
    PORT,
    REACHED,
    RELEVANT,
    SUM_ROWS,
    TIER,
    clocks_of,
)
from .tuple_kernels import ENDS_OF, KINDS, MOVES, PACE, PJ, SHARES, SIZES, STEP_TILE, UNITS

# columns of nodes
HALVES, STEPS, GATE, MANY, TILE_NODE, REST_NODE = range(6)
NODE_COLUMNS = 8
NODES = 32  # of a dimension: those of six groups of loops are at most 28
MOST_GROUPS = 6
BYTE = 8  # bits of a state a dimension
ONE = (1 << BYTE) - 1
CLOCKS, ALL_ACCESSES, ALL_ELEMENTS = range(3)  # columns of tables
ROW, ENTRY = 4, 4 * SUM_ROWS  # numbers of a row, and of a tile
# facts of a transfer: dimensions that index it, the child's tier, rows of sums that have a port
# (masks); units of the pace of its latency, of a step, of a clock; whether it is of results; kinds
# of dimensions that index it of which the last group of loops outside cuts each block (a mask);
# whether blocks of the others are whole steps
INDEXED_BY, INTO, ROWS, LATE_BY, STEP, UNITS_OF, UP, ALWAYS, EVEN = range(9)
FACTS = 9
LOW = (1 << 40) - 1  # of a place: it is not negative


@inlined
def place_of(d, node):
    """Return the place of a node's columns."""
    return ((d << BYTE) + node) & LOW


@inner
def find_nodes(first, last, tile, book, plan):
    """Write the nodes that some groups of loops make, below those of the groups outside.

    ``first``, ``last``: the group to begin with, and that to stop before.
    """
    nodes, ends = book[0], book[1]
    groups = tile.shape[0]
    for d in range(ends.shape[0]):
        step = plan[STEP_TILE][d]
        if first == 0:
            extent = 2 * (plan[SIZES][d] // step)
            extent += 1 if plan[SIZES][d] % step else 0
            ends[d, 0] = _write_node(d, 0, extent, groups, nodes)
        many = ends[d, first]
        for node in range(0, many, NODE_COLUMNS):  # what was cut further in before
            at = place_of(d, node)
            if nodes[at + GATE] >= first:
                nodes[at + GATE], nodes[at + REST_NODE] = groups, -1
        for g in range(first, last):
            halves, child = 2 * (tile[g, d] // step), -1
            for node in range(0, many, NODE_COLUMNS):
                at = place_of(d, node)
                extent = nodes[at + HALVES]
                if nodes[at + GATE] < groups or halves >= extent:
                    continue
                if child < 0:
                    child = many
                    many = _write_node(d, child, halves, groups, nodes)
                whole = extent // halves
                rest = extent - whole * halves
                nodes[at + GATE], nodes[at + MANY], nodes[at + TILE_NODE] = g, whole, child
                if rest:
                    nodes[at + REST_NODE] = many
                    many = _write_node(d, many, rest, groups, nodes)
            ends[d, g + 1] = many


@inner
def _write_node(d, node, halves, groups, nodes):
    """Write a node that nothing cuts; return the next."""
    at = place_of(d, node)
    nodes[at + HALVES], nodes[at + STEPS] = halves, (halves + 1) >> 1
    nodes[at + GATE], nodes[at + REST_NODE] = groups, -1
    return node + NODE_COLUMNS


@inlined
def _rows_of(t, plan):
    """Return the rows of sums at which a transfer takes a port, as a mask: two rows a kind."""
    rows = 0
    for row in range(SUM_ROWS):
        fetch = row >> 1 == FETCH
        if fetch == (plan[MOVES][t, OP] < 2) and plan[ENDS_OF][t, row >> 1, row & 1, PORT] >= 0:
            rows |= 1 << row
    return rows


@inner
def fill_table(t, book, plan):
    """Write the table of a transfer, and where nodes stand in it."""
    nodes, node_ends, at, table, facts, pj, extents = book[:7]
    tier, relevant, tiles = plan[MOVES][t, TIER], plan[MOVES][t, RELEVANT], 1
    entries, rows, always, even = table[t], _rows_of(t, plan), 0, 1
    for i in range(ENTRY):
        entries[i] = 1
    for d in range(node_ends.shape[0]):
        step, many = plan[STEP_TILE][d], 0
        rest = plan[SIZES][d] % step
        if not relevant >> d & 1:  # what counts is whether it is one short step
            many, extents[0], extents[1] = 2 if rest else 1, 2, 1
            even &= 0 if rest else 1
        left = 0  # by the last group outside
        for node in range(0, node_ends[d, tier], NODE_COLUMNS):
            here = place_of(d, node)
            if not relevant >> d & 1:
                at[t, here >> 3] = ENTRY * tiles if nodes[here + HALVES] == 1 else 0
            elif nodes[here + GATE] >= tier:
                at[t, here >> 3], extents[many] = ENTRY * tiles * many, nodes[here + HALVES]
                many += 1
                left |= 1 if node < node_ends[d, tier - 1] else 0
        if relevant >> d & 1 and not left:
            always |= 1 << plan[KINDS][d]
        for row in range(SUM_ROWS):
            if rows >> row & 1:
                for i in range(many - 1, -1, -1):  # the first last: the others start from it
                    _widen(t, d, row, extents[i], step, rest, i * tiles, tiles, entries, plan)
        tiles *= many
    for row in range(SUM_ROWS):
        if rows >> row & 1:
            _to_accesses(t, row, tiles, entries, plan)
    facts[t, ALWAYS], facts[t, EVEN] = always, even
    _note_facts(t, rows, facts, pj, plan)


@inner
def _note_facts(t, rows, facts, pj, plan):
    """Write what has to be known of a transfer, in columns that have names."""
    moves, pace = plan[MOVES], plan[PACE]
    facts[t, INDEXED_BY], facts[t, INTO], facts[t, ROWS] = moves[t, RELEVANT], moves[t, TIER], rows
    facts[t, LATE_BY], facts[t, STEP] = moves[t, LATENCY] * pace[1], pace[0]
    facts[t, UNITS_OF], facts[t, UP] = pace[1], moves[t, OP] == 2
    for row in range(SUM_ROWS):
        for i in range(2):
            pj[t, 2 * row + i] = plan[PJ][t, row >> 1, row & 1, i]


@inner
def _widen(t, d, row, halves, step, rest, first, tiles, entries, plan):
    """Write tiles with an extent in one more dimension, from those without it: the first."""
    end = plan[ENDS_OF][t, row >> 1, row & 1]
    whole, short = halves >> 1, halves & 1
    inside = step if whole else rest
    if plan[MOVES][t, RELEVANT] >> d & 1:
        shares = plan[SHARES][end[OWN], d]
        share = whole * shares[step] + short * shares[rest]
        copies = plan[UNITS][end[OWN], d, inside]
        elements = whole * step + short * rest
    else:
        share, copies = 1, plan[UNITS][end[REACHED], d, inside]
        elements = copies
    for i in range(tiles):
        here, there = i * ENTRY + row * ROW, (first + i) * ENTRY + row * ROW
        entries[there + CLOCKS] = entries[here + CLOCKS] * share
        entries[there + ALL_ACCESSES] = entries[here + ALL_ACCESSES] * copies
        entries[there + ALL_ELEMENTS] = entries[here + ALL_ELEMENTS] * elements


@inner
def _to_accesses(t, row, tiles, entries, plan):
    """Turn shares and copies of a row of tiles into clocks and accesses."""
    ends = plan[ENDS_OF]
    apart = ends[t, row >> 1, row & 1, APART]
    for i in range(row * ROW, tiles * ENTRY, ENTRY):
        share, copies = entries[i + CLOCKS], entries[i + ALL_ACCESSES]
        if apart:
            share, copies = entries[i + ALL_ELEMENTS], 1
        clocks = clocks_of(share, t, row >> 1, row & 1, ends)
        entries[i + CLOCKS] = clocks * plan[PACE][1]
        entries[i + ALL_ACCESSES] = clocks * copies


@inner
def prepare(first, last, tile, book, plan):
    """Write the nodes that some groups of loops make, and the tables of transfers next inside."""
    find_nodes(first, last, tile, book, plan)
    for t in range(plan[MOVES].shape[0]):
        if first < plan[MOVES][t, TIER] <= last and plan[MOVES][t, TIER] < tile.shape[0]:
            fill_table(t, book, plan)
