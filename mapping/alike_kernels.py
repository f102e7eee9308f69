"""What transfers of products cost, for many mappings of the same tiles, compiled.

The same as `cost_kernels.move_cost`, of layers without windows: blocks of a dimension that loops
make are of few extents, so that what depends on extents alone is looked up.

* A *node* is a block's extent in one dimension: in half steps (2 for a whole step, 1 for a short
  one) and in steps, the group of loops that cuts it, how many whole tiles that makes, their node
  and that of the rest, -1 for none. The first is the whole dimension. A node goes by the place of
  its columns among those of its dimension, which have room for `NODES`.
* A *state* is the nodes of all dimensions, a byte each.
* A transfer has a *table* of what it takes with each tile: by row of sums clocks, in units of the
  pace, accesses and elements of all copies, and visits. Where a state's tile stands there is the
  sum of what its nodes have in ``at``.

Arrays are flat, and their places masked: places of several dimensions, and such as may be negative,
take longer to work out than what is done with what stands there.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

from ..datatypes.base.inner_kernels import inlined, inner
from .cost_kernels import (
    ACCESSES,
    APART,
    BUSY,
    ELEMENTS,
    EXCESS,
    FETCH,
    FETCHES,
    FINISHED,
    FINISHES,
    LAST_OF_MANY,
    LATE,
    LATENCY,
    NOT_READ_BACK,
    OP,
    OWN,
    PARTIAL,
    PORT,
    REACHED,
    READBACK,
    RELEVANT,
    RETURNS,
    SUM_COLUMNS,
    SUM_ROWS,
    TIER,
    VISITS,
    WINDOWS,
    WITHIN,
    clocks_of,
)
from .tuple_kernels import ENDS_OF, MOVES, PACE, PJ, SHARES, SIZES, STEP_TILE, UNITS
from .visit_kernels import ALL, FIRST, LAST

# columns of nodes
HALVES, STEPS, GATE, MANY, TILE_NODE, REST_NODE = range(6)
NODE_COLUMNS = 8
NODES = 32  # of a dimension: those of six groups of loops are at most 28
MOST_GROUPS = 6
BYTE = 8  # bits of a state a dimension
ONE = (1 << BYTE) - 1
CLOCKS, ALL_ACCESSES, ALL_ELEMENTS, ALL_VISITS = range(4)  # columns of tables; visits by kind
# of a transfer: facts, loops, dimensions, whether there are two tiles (`_move_of`)
M_INDEXED, M_TIER, M_ROWS, M_LATE, M_STEP, M_LOOPS, M_DIMS, M_TWO = range(8)
ROW, ENTRY = 4, 4 * SUM_ROWS  # numbers of a row, and of a tile
# facts of a transfer: dimensions that index it, the child's tier, rows of sums that have a port
# (masks); units of the pace of its latency, of a step, of a clock; whether it is of results; where
# its table ends
INDEXED_BY, INTO, ROWS, LATE_BY, STEP, UNITS_OF, UP, LAST_ENTRY = range(8)
LOW = (1 << 40) - 1  # of a place: it is not negative


@inlined
def _at(d, node):
    """Return the place of a node's columns."""
    return ((d << BYTE) + node) & LOW


@inlined
def _node_of(state, d):
    """Return a state's node in a dimension."""
    return state >> (d << 3) & ONE


@inlined
def _moved_to(state, d, node, child):
    """Return a state with another node in a dimension."""
    return state + ((child - node) << (d << 3))


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
            at = _at(d, node)
            if nodes[at + GATE] >= first:
                nodes[at + GATE], nodes[at + REST_NODE] = groups, -1
        for g in range(first, last):
            halves, child = 2 * (tile[g, d] // step), -1
            for node in range(0, many, NODE_COLUMNS):
                at = _at(d, node)
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
    at = _at(d, node)
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
    nodes, node_ends, at, table, facts, pj, extents, _ = book
    tier, relevant, tiles = plan[MOVES][t, TIER], plan[MOVES][t, RELEVANT], 1
    entries, rows = table[t], _rows_of(t, plan)
    for i in range(ENTRY):
        entries[i] = 1
    for d in range(node_ends.shape[0]):
        step, many = plan[STEP_TILE][d], 0
        rest = plan[SIZES][d] % step
        if not relevant >> d & 1:  # what counts is whether it is one short step
            many, extents[0], extents[1] = 2 if rest else 1, 2, 1
        for node in range(0, node_ends[d, tier], NODE_COLUMNS):
            here = _at(d, node)
            if not relevant >> d & 1:
                at[t, here >> 3] = ENTRY * tiles if nodes[here + HALVES] == 1 else 0
            elif nodes[here + GATE] >= tier:
                at[t, here >> 3], extents[many] = ENTRY * tiles * many, nodes[here + HALVES]
                many += 1
        for row in range(SUM_ROWS):
            if rows >> row & 1:
                for i in range(many - 1, -1, -1):  # the first last: the others start from it
                    _widen(t, d, row, extents[i], step, rest, i * tiles, tiles, entries, plan)
        tiles *= many
    for row in range(SUM_ROWS):
        if rows >> row & 1:
            _to_accesses(t, row, tiles, entries, plan)
    _note_facts(t, rows, tiles, facts, pj, plan)


@inner
def _note_facts(t, rows, tiles, facts, pj, plan):
    """Write what `transfer_cost` has to know of a transfer, in the columns that it names."""
    moves, pace = plan[MOVES], plan[PACE]
    facts[t, INDEXED_BY], facts[t, INTO], facts[t, ROWS] = moves[t, RELEVANT], moves[t, TIER], rows
    facts[t, LATE_BY], facts[t, STEP] = moves[t, LATENCY] * pace[1], pace[0]
    facts[t, UNITS_OF], facts[t, UP], facts[t, LAST_ENTRY] = (
        pace[1],
        moves[t, OP] == 2,
        tiles * ENTRY,
    )
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


@inlined
def _turned(at, edge, nodes):
    """Return the node of the first, or last, of the tiles that a block is cut into."""
    rest = nodes[at + REST_NODE]
    return rest if edge == LAST and rest >= 0 else nodes[at + TILE_NODE]


@inlined
def _left(state, tier, relevant, dims, nodes):
    """Return how many relevant dimensions loops outside a tier cut."""
    left = 0
    for d in range(dims):
        cut = nodes[_at(d, _node_of(state, d)) + GATE] < tier
        left += 1 if relevant >> d & 1 and cut else 0
    return left


@inlined
def _down(i, left, edge, tier, relevant, state, loops, nodes):
    """Narrow a state to its first, or last, visit; return the first loop inside that, and it.

    ``left``: relevant dimensions that loops outside the tier still cut.
    """
    while left:
        d = loops[0][i & LOW]
        node = _node_of(state, d)
        at = _at(d, node)
        if nodes[at + GATE] == loops[1][i & LOW]:
            child = _turned(at, edge, nodes)
            state = _moved_to(state, d, node, child)
            left -= 1 if relevant >> d & 1 and nodes[_at(d, child) + GATE] >= tier else 0
        i += 1
    return i, state


@inlined
def _steps(state, dims, nodes):
    """Return the steps that a state's block takes."""
    count = 1
    for d in range(dims):
        count *= nodes[_at(d, _node_of(state, d)) + STEPS]
    return count


@inlined
def _pass_steps(i, edge, state, move, loops, nodes):
    """Return the steps of the first, or last, turn over the tile, from loop ``i`` inwards."""
    for j in range(i, move[M_LOOPS]):
        d = loops[0][j & LOW]
        node = _node_of(state, d)
        at = _at(d, node)
        if nodes[at + GATE] == loops[1][j & LOW]:
            if move[M_INDEXED] >> d & 1:
                return _steps(state, move[M_DIMS], nodes)
            state = _moved_to(state, d, node, _turned(at, edge, nodes))
    return 1


@inlined
def _tile_of(state, dims, at):
    """Return where a state's tile stands in a transfer's table."""
    i = 0
    for d in range(dims):
        i += at[_at(d, _node_of(state, d)) >> 3]
    return i & LOW


@inlined
def _add_kind(kind, many, window, tile, move, entries, sums):
    """Add pairs of visits that follow each other to the sums of a kind of transfer."""
    slowest = 0
    for row in range(2 * kind, 2 * kind + 2):
        if move[M_ROWS] >> row & 1:
            taken = entries[tile + row * ROW + CLOCKS]
            sums[row * SUM_COLUMNS + EXCESS] += max(0, taken - window) * many
            sums[row * SUM_COLUMNS + WITHIN] += min(taken, window) * many
            slowest = max(slowest, taken)
    if move[M_LATE] and kind in (FETCH, READBACK):
        late = max(0, slowest + move[M_LATE] - window)
        twice = 1 if move[M_TWO] or kind == READBACK else 2
        sums[2 * kind * SUM_COLUMNS + LATE] += late * many * twice


@inlined
def _add_pairs(times, many, i, before, j, after, move, loops, here, sums):
    """Add pairs of visits, last and first ones of turns; return the sum of their windows.

    ``times``: how often they count as each kind; ``i``, ``j``: the loops inside of the visits.
    """
    nodes, at, entries = here
    dims, doubled, pace = move[M_DIMS], move[M_TWO], move[M_STEP]
    if times[FETCH]:
        if doubled:
            window = _steps(before, dims, nodes) * pace
        else:
            window = _pass_steps(i, LAST, before, move, loops, nodes) * pace
        tile = _tile_of(after, dims, at)
        _add_kind(FETCH, times[FETCH] * many, window, tile, move, entries, sums)
        return window * many
    if doubled:
        window = _steps(after, dims, nodes) * pace
    else:
        window = _pass_steps(j, FIRST, after, move, loops, nodes) * pace
    if times[FINISHED] or times[PARTIAL]:
        tile = _tile_of(before, dims, at)
        for kind in (FINISHED, PARTIAL):
            if times[kind]:
                _add_kind(kind, times[kind] * many, window, tile, move, entries, sums)
    if times[READBACK]:
        tile = _tile_of(after, dims, at)
        both = window + _steps(before, dims, nodes) * pace if doubled else window
        _add_kind(READBACK, times[READBACK] * many, both, tile, move, entries, sums)
    return window * many


@inlined
def _follow(edge, times, move, loops, here, stack, sums):
    """Follow the loops above a tile and add all its visits, or the first or last of each tile.

    Returns the sum of the windows.
    """
    nodes, at, entries = here
    relevant, tier, windows = move[M_INDEXED], move[M_TIER], 0
    stack[0, 0], stack[0, 1], stack[0, 2] = 0, 1, 0
    stack[0, 3] = _left(0, tier, relevant, move[M_DIMS], nodes)
    depth = 1
    while depth:
        depth -= 1
        i, count, state, left = stack[depth, 0], stack[depth, 1], stack[depth, 2], stack[depth, 3]
        while left:
            d, group = loops[0][i & LOW], loops[1][i & LOW]
            node, own = _node_of(state, d), relevant >> d & 1
            place = _at(d, node)
            i += 1
            if nodes[place + GATE] != group:
                continue
            if edge != ALL and not own:
                state = _moved_to(state, d, node, _turned(place, edge, nodes))
                continue
            child, rest = nodes[place + TILE_NODE], nodes[place + REST_NODE]
            more, whole, full, others = nodes[place + MANY] - 1, state, left, left
            whole = _moved_to(state, d, node, child)
            if own and nodes[_at(d, child) + GATE] >= tier:
                full = left - 1
            j, before = _down(i, full, LAST, tier, relevant, whole, loops, nodes)
            if rest >= 0:
                if own and nodes[_at(d, rest) + GATE] >= tier:
                    others = left - 1
                state = _moved_to(state, d, node, rest)
                k, after = _down(i, others, FIRST, tier, relevant, state, loops, nodes)
                windows += _add_pairs(times, count, j, before, k, after, move, loops, here, sums)
                stack[depth, 0], stack[depth, 1], stack[depth, 2] = i, count, state
                stack[depth, 3] = others
                depth += 1
            if more:
                k, after = _down(i, full, FIRST, tier, relevant, whole, loops, nodes)
                windows += _add_pairs(
                    times, count * more, j, before, k, after, move, loops, here, sums
                )
            state, left, count = whole, full, count * (more + 1)
        tile = _tile_of(state, move[M_DIMS], at)
        for kind in range(4):
            if times[kind]:
                entries[tile + 2 * kind * ROW + ALL_VISITS] += times[kind] * count
    return windows


@inlined
def _last_turn(move, loops, nodes):
    """Follow the loops to the last visit.

    Returns the loop inside of it, its state; the last loop that turns, what it turns from the last
    time; whether any tile is visited again.
    """
    relevant, tier = move[M_INDEXED], move[M_TIER]
    i, turn, again, last, before = 0, -1, 0, 0, 0
    left = _left(last, tier, relevant, move[M_DIMS], nodes)
    while left:
        d = loops[0][i & LOW]
        node, own = _node_of(last, d), relevant >> d & 1
        at = _at(d, node)
        if nodes[at + GATE] == loops[1][i & LOW]:
            turn, again = i, again | 1 - own
            before = _moved_to(last, d, node, nodes[at + TILE_NODE])
            child = _turned(at, LAST, nodes)
            last = _moved_to(last, d, node, child)
            left -= 1 if own and nodes[_at(d, child) + GATE] >= tier else 0
        i += 1
    return i, last, turn, before, again


@inlined
def _without_window(move, loops, here, sums):
    """Take out of the sums the pair of results that has until the end: see `mapping.accesses`."""
    nodes, relevant, tier = here[0], move[M_INDEXED], move[M_TIER]
    i, last, turn, before, again = _last_turn(move, loops, nodes)
    if turn < 0:
        return
    whole = 1
    if not move[M_TWO]:
        first = _pass_steps(i, FIRST, last, move, loops, nodes)
        whole = 1 if first == _steps(last, move[M_DIMS], nodes) else 0
    finished = relevant >> loops[0][turn] & 1
    times = 0, -whole * finished, -whole * (1 - finished), -again
    left = _left(before, tier, relevant, move[M_DIMS], nodes)
    j, before = _down(turn + 1, left, LAST, tier, relevant, before, loops, nodes)
    _add_pairs(times, 1, j, before, i, last, move, loops, here, sums)


@inner
def edge_clocks_of(t, loops, book, sums):
    """Write, as less than nothing, clocks of what of two tiles has no window, and of the edges.

    As `cost_kernels.without_window`, of clocks alone.
    """
    move, nodes, at = _move_of(t, 0, True, book), book[0], book[2][t]
    relevant, tier, dims = move[M_INDEXED], move[M_TIER], move[M_DIMS]
    for row in range(SUM_ROWS):
        sums[row, BUSY] = 0
    if not book[4][t, UP]:
        left = _left(0, tier, relevant, dims, nodes)
        _, state = _down(0, left, FIRST, tier, relevant, 0, loops, nodes)
        _take(t, FETCH, _tile_of(state, dims, at), move, book, sums)
        return
    _, last, turn, before, again = _last_turn(move, loops, nodes)
    tile = _tile_of(last, dims, at)
    if turn >= 0:
        left = _left(before, tier, relevant, dims, nodes)
        _, before = _down(turn + 1, left, LAST, tier, relevant, before, loops, nodes)
        kind = FINISHED if relevant >> loops[0][turn] & 1 else PARTIAL
        _take(t, kind, _tile_of(before, dims, at), move, book, sums)
        if again:
            _take(t, READBACK, tile, move, book, sums)
    _take(t, FINISHED, tile, move, book, sums)


@inlined
def _take(t, kind, tile, move, book, sums):
    """Take the clocks of a visit from the sums."""
    for row in range(2 * kind, 2 * kind + 2):
        if move[M_ROWS] >> row & 1:
            sums[row, BUSY] -= book[3][t, tile + row * ROW + CLOCKS] // book[4][t, UNITS_OF]


@inlined
def _finishes(move, loops, nodes):
    """Whether no tile is visited again: no loop of the reduction outside one that moves on."""
    relevant, tier, i, state = move[M_INDEXED], move[M_TIER], 0, 0
    left = _left(0, tier, relevant, move[M_DIMS], nodes)
    while left:
        d = loops[0][i & LOW]
        node = _node_of(state, d)
        at = _at(d, node)
        if nodes[at + GATE] == loops[1][i & LOW]:
            if not relevant >> d & 1:
                return False
            child = nodes[at + TILE_NODE]
            state = _moved_to(state, d, node, child)
            left -= 1 if nodes[_at(d, child) + GATE] >= tier else 0
        i += 1
    return True


@inlined
def _move_of(t, loop_count, doubled, book):
    """Return what is asked of a transfer, as numbers: facts, and of what nest."""
    facts, dims = book[4][t], book[1].shape[0]
    relevant, tier, rows = facts[INDEXED_BY], facts[INTO], facts[ROWS]
    return relevant, tier, rows, facts[LATE_BY], facts[STEP], loop_count, dims, doubled


@inner
def transfer_cost(t, loop_count, doubled, loops, book, stack, sums):
    """Write what one operand moves between a parent and a child, by kind and end.

    Parameters
    ----------
    t, loop_count : int
        The transfer; how many loops the whole nest has.
    doubled : bool
        Whether the child has two tiles of the operand. Loops inside the child do not matter then.
    loops : tuple
        Dimensions of the loops and their groups, outermost first.
    book : tuple
        Nodes, ends of those by group, where they stand in tables, tables, facts of transfers,
        energies of their accesses and beside them (`find_nodes`, `fill_table`); room for extents
        and for sums.
    stack : (N, 4 or more) int64 array
        Room to compute in.
    sums : (SUM_ROWS, SUM_COLUMNS) int64 array
        As `cost_kernels.move_cost` leaves them.

    Returns
    -------
    energy : float
    """
    nodes, _, at, table, facts, _, _, found = book
    here, move = (nodes, at[t], table[t]), _move_of(t, loop_count, doubled, book)
    last, windows, up = facts[t, LAST_ENTRY], 0, facts[t, UP]
    for i in range(found.size):
        found[i] = 0
    for i in range(ALL_VISITS, last, ROW):
        table[t, i] = 0
    args = (move, loops, here, stack, found)
    if not up:
        windows = _follow(ALL, FETCHES, *args)
    elif _finishes(move, loops, nodes):
        windows = _follow(LAST, FINISHES, *args)
    else:
        _follow(LAST, LAST_OF_MANY, *args)
        windows = _follow(ALL, RETURNS, *args)
        _follow(FIRST, NOT_READ_BACK, *args)
    energy = _count_visits(t, move, last, book, found)
    if up:
        _without_window(move, loops, here, found)
    if doubled:
        windows = _steps(0, move[M_DIMS], nodes) * move[M_STEP]
    for row in range(SUM_ROWS):
        found[row * SUM_COLUMNS + WINDOWS] = windows
        for column in range(SUM_COLUMNS):
            sums[row, column] = found[row * SUM_COLUMNS + column]
    return energy


@inlined
def _count_visits(t, move, last, book, sums):
    """Add up clocks, accesses and elements of all visits; return their energy."""
    entries, pace, pj, energy = book[3][t], book[4][t, UNITS_OF], book[5], 0.0
    for row in range(SUM_ROWS):
        if not move[M_ROWS] >> row & 1:
            continue
        clocks = accesses = elements = visits = 0
        for i in range(0, last, ENTRY):
            many = entries[i + (row & -2) * ROW + ALL_VISITS]
            if many:
                clocks += entries[i + row * ROW + CLOCKS] * many
                accesses += entries[i + row * ROW + ALL_ACCESSES] * many
                elements += entries[i + row * ROW + ALL_ELEMENTS] * many
                visits += many
        at = row * SUM_COLUMNS
        sums[at + BUSY], sums[at + ACCESSES] = clocks, accesses
        if pace > 1:
            sums[at + BUSY] //= pace
        sums[at + ELEMENTS], sums[at + VISITS] = elements, visits
        energy += pj[t, 2 * row] * accesses
        energy += pj[t, 2 * row + 1] * elements
    return energy


@inner
def prepare(first, last, tile, book, plan):
    """Write the nodes that some groups of loops make, and the tables of transfers next inside."""
    find_nodes(first, last, tile, book, plan)
    for t in range(plan[MOVES].shape[0]):
        if first < plan[MOVES][t, TIER] <= last and plan[MOVES][t, TIER] < tile.shape[0]:
            fill_table(t, book, plan)
