"""What transfers of products cost, for many mappings of the same tiles, compiled.

The same as `cost_kernels.move_cost`, of layers without windows: blocks of a dimension that loops
make are of few extents, so that what depends on extents alone is looked up.

* A *node* is a block's extent in one dimension: in half steps (2 for a whole step, 1 for a short
  one) and in steps, the group of loops that cuts it, how many whole tiles that makes, their node
  and that of the rest, -1 for none. The first is the whole dimension.
* A *state* is the nodes of all dimensions, a byte each.
* A transfer has a *table* of what it takes with each tile: by row of sums clocks, in units of the
  pace, accesses and elements of all copies. Where a state's tile stands there is the sum of what
  its nodes have in ``at``.
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
HALVES, STEPS, GATE, MANY, TILE_NODE, REST_NODE, NODE_COLUMNS = 0, 1, 2, 3, 4, 5, 6
CLOCKS, ALL_ACCESSES, ALL_ELEMENTS, TABLE_COLUMNS = 0, 1, 2, 3  # columns of tables
BYTE = 8  # bits of a state a dimension
ONE = (1 << BYTE) - 1


@inner
def find_nodes(first, last, tile, book, plan):
    """Write the nodes that some groups of loops make, below those of the groups outside.

    ``first``, ``last``: the group to begin with, and that to stop before.
    """
    nodes, ends = book[0], book[1]
    groups = tile.shape[0]
    for d in range(nodes.shape[0]):
        step = plan[STEP_TILE][d]
        if first == 0:
            extent = 2 * (plan[SIZES][d] // step)
            extent += 1 if plan[SIZES][d] % step else 0
            ends[d, 0] = _node(d, 0, extent, groups, nodes)
        many = ends[d, first]
        for node in range(many):  # what was cut further in before
            if nodes[d, node, GATE] >= first:
                nodes[d, node, GATE], nodes[d, node, REST_NODE] = groups, -1
        for g in range(first, last):
            halves, child = 2 * (tile[g, d] // step), -1
            for node in range(many):
                extent = nodes[d, node, HALVES]
                if nodes[d, node, GATE] < groups or halves >= extent:
                    continue
                if child < 0:
                    child = many
                    many = _node(d, child, halves, groups, nodes)
                whole = extent // halves
                rest = extent - whole * halves
                nodes[d, node, GATE], nodes[d, node, MANY] = g, whole
                nodes[d, node, TILE_NODE] = child
                if rest:
                    nodes[d, node, REST_NODE] = many
                    many = _node(d, many, rest, groups, nodes)
            ends[d, g + 1] = many


@inner
def _node(d, node, halves, groups, nodes):
    """Write a node that nothing cuts; return the number of the next."""
    nodes[d, node, HALVES], nodes[d, node, STEPS] = halves, (halves + 1) >> 1
    nodes[d, node, GATE], nodes[d, node, REST_NODE] = groups, -1
    return node + 1


@inlined
def _has_end(t, row, plan):
    """Whether a transfer of a kind, at an end, takes a port: rows are two a kind."""
    fetch = row >> 1 == FETCH
    return fetch == (plan[MOVES][t, OP] < 2) and plan[ENDS_OF][t, row >> 1, row & 1, PORT] >= 0


@inner
def fill_table(t, book, plan):
    """Write the table of a transfer, and where nodes stand in it."""
    nodes, node_ends, at, table, many_tiles, _, extents = book
    tier, relevant, tiles = plan[MOVES][t, TIER], plan[MOVES][t, RELEVANT], 1
    for row in range(SUM_ROWS):
        for column in range(TABLE_COLUMNS):
            table[t, 0, row, column] = 1
    for d in range(nodes.shape[0]):
        step, many = plan[STEP_TILE][d], 0
        rest = plan[SIZES][d] % step
        if not relevant >> d & 1:  # what counts is whether it is one short step
            many, extents[0], extents[1] = 2 if rest else 1, 2, 1
        for node in range(node_ends[d, tier]):
            halves = nodes[d, node, HALVES]
            if not relevant >> d & 1:
                at[t, d, node] = tiles if halves == 1 else 0
            elif nodes[d, node, GATE] >= tier:
                at[t, d, node], extents[many] = tiles * many, halves
                many += 1
        for row in range(SUM_ROWS):
            if _has_end(t, row, plan):
                for i in range(many - 1, -1, -1):  # the first last: the others start from it
                    _widen(t, d, row, extents[i], step, rest, i * tiles, tiles, table, plan)
        tiles *= many
    for row in range(SUM_ROWS):
        if _has_end(t, row, plan):
            _to_accesses(t, row, tiles, table, plan)
    many_tiles[t] = tiles


@inner
def _widen(t, d, row, halves, step, rest, first, tiles, table, plan):
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
        table[t, first + i, row, CLOCKS] = table[t, i, row, CLOCKS] * share
        table[t, first + i, row, ALL_ACCESSES] = table[t, i, row, ALL_ACCESSES] * copies
        table[t, first + i, row, ALL_ELEMENTS] = table[t, i, row, ALL_ELEMENTS] * elements


@inner
def _to_accesses(t, row, tiles, table, plan):
    """Turn shares and copies of a row of tiles into clocks and accesses."""
    ends = plan[ENDS_OF]
    apart = ends[t, row >> 1, row & 1, APART]
    for i in range(tiles):
        share, copies = table[t, i, row, CLOCKS], table[t, i, row, ALL_ACCESSES]
        if apart:
            share, copies = table[t, i, row, ALL_ELEMENTS], 1
        clocks = clocks_of(share, t, row >> 1, row & 1, ends)
        table[t, i, row, CLOCKS] = clocks * plan[PACE][1]
        table[t, i, row, ALL_ACCESSES] = clocks * copies


@inlined
def _turned(d, node, edge, nodes):
    """Return the node of the first, or last, of the tiles that a block is cut into."""
    rest = nodes[d, node, REST_NODE]
    return rest if edge == LAST and rest >= 0 else nodes[d, node, TILE_NODE]


@inlined
def _left(state, tier, relevant, nodes):
    """Return how many relevant dimensions loops outside a tier cut."""
    left = 0
    for d in range(nodes.shape[0]):
        node = state >> BYTE * d & ONE
        left += 1 if relevant >> d & 1 and nodes[d, node, GATE] < tier else 0
    return left


@inlined
def _down(i, left, edge, tier, relevant, state, loops, nodes):
    """Narrow a state to its first, or last, visit; return the first loop inside that, and it.

    ``left``: relevant dimensions that loops outside the tier still cut.
    """
    dims, groups = loops
    while left:
        d = dims[i]
        node = state >> BYTE * d & ONE
        if nodes[d, node, GATE] == groups[i]:
            child = _turned(d, node, edge, nodes)
            state += (child - node) << BYTE * d
            left -= 1 if relevant >> d & 1 and nodes[d, child, GATE] >= tier else 0
        i += 1
    return i, state


@inlined
def _steps(state, nodes):
    """Return the steps that a state's block takes."""
    count = 1
    for d in range(nodes.shape[0]):
        count *= nodes[d, state >> BYTE * d & ONE, STEPS]
    return count


@inlined
def _pass_steps(i, many, edge, relevant, state, loops, nodes):
    """Return the steps of the first, or last, turn over the tile, from loop ``i`` inwards."""
    dims, groups = loops
    for j in range(i, many):
        d = dims[j]
        node = state >> BYTE * d & ONE
        if nodes[d, node, GATE] == groups[j]:
            if relevant >> d & 1:
                return _steps(state, nodes)
            state += (_turned(d, node, edge, nodes) - node) << BYTE * d
    return 1


@inlined
def _tile_of(t, state, at):
    """Return where a state's tile stands in a transfer's table."""
    i = 0
    for d in range(at.shape[1]):
        i += at[t, d, state >> BYTE * d & ONE]
    return i


@inlined
def _add_kind(t, kind, many, doubled, window, tile, table, plan, sums):
    """Add pairs of visits that follow each other to the sums of a kind of transfer."""
    slowest = 0
    for end in range(2):
        row = 2 * kind + end
        if plan[ENDS_OF][t, kind, end, PORT] >= 0:
            taken = table[t, tile, row, CLOCKS]
            sums[row, EXCESS] += max(0, taken - window) * many
            sums[row, WITHIN] += min(taken, window) * many
            slowest = max(slowest, taken)
    if plan[MOVES][t, LATENCY] and kind in (FETCH, READBACK):
        late = max(0, slowest + plan[MOVES][t, LATENCY] * plan[PACE][1] - window)
        sums[2 * kind, LATE] += late * (many if doubled or kind == READBACK else 2 * many)


@inlined
def _add_pairs(
    t, times, many, i, before, j, after, loop_count, doubled, loops, book, plan, sums
):  # fmt: skip
    """Add pairs of visits, last and first ones of turns; return the sum of their windows.

    ``times``: how often they count as each kind; ``i``, ``j``: the loops inside of the visits.
    """
    nodes, _, at, table, _, _, _ = book
    relevant, pace = plan[MOVES][t, RELEVANT], plan[PACE][0]
    if times[FETCH]:
        if doubled:
            window = _steps(before, nodes) * pace
        else:
            window = _pass_steps(i, loop_count, LAST, relevant, before, loops, nodes) * pace
        tile = _tile_of(t, after, at)
        _add_kind(t, FETCH, times[FETCH] * many, doubled, window, tile, table, plan, sums)
        return window * many
    if doubled:
        window = _steps(after, nodes) * pace
    else:
        window = _pass_steps(j, loop_count, FIRST, relevant, after, loops, nodes) * pace
    if times[FINISHED] or times[PARTIAL]:
        tile = _tile_of(t, before, at)
        for kind in (FINISHED, PARTIAL):
            if times[kind]:
                _add_kind(t, kind, times[kind] * many, doubled, window, tile, table, plan, sums)
    if times[READBACK]:
        tile = _tile_of(t, after, at)
        both = window + _steps(before, nodes) * pace if doubled else window
        _add_kind(t, READBACK, times[READBACK] * many, doubled, both, tile, table, plan, sums)
    return window * many


@inlined
def _count(times, visits, tile, counts):
    """Count visits to a tile, by kind of transfer."""
    for kind in range(4):
        counts[kind, tile] += times[kind] * visits


@inlined
def _follow(t, edge, times, loop_count, doubled, loops, book, stack, plan, sums):
    """Follow the loops above a tile and add all its visits, or the first or last of each tile.

    Returns the sum of the windows.
    """
    nodes, _, at, _, _, counts, _ = book
    dims, groups = loops
    relevant, tier, windows = plan[MOVES][t, RELEVANT], plan[MOVES][t, TIER], 0
    left = _left(0, tier, relevant, nodes)
    stack[0, 0], stack[0, 1], stack[0, 2], stack[0, 3] = 0, 1, 0, left
    depth = 1
    while depth:
        depth -= 1
        i, count, state, left = stack[depth, 0], stack[depth, 1], stack[depth, 2], stack[depth, 3]
        while left:
            d = dims[i]
            node, own = state >> BYTE * d & ONE, relevant >> d & 1
            i += 1
            if nodes[d, node, GATE] != groups[i - 1]:
                continue
            if edge != ALL and not own:
                state += (_turned(d, node, edge, nodes) - node) << BYTE * d
                continue
            child, rest = nodes[d, node, TILE_NODE], nodes[d, node, REST_NODE]
            whole, others = state + ((child - node) << BYTE * d), left
            more, full = nodes[d, node, MANY] - 1, left
            if own and nodes[d, child, GATE] >= tier:
                full = left - 1
            j, before = _down(i, full, LAST, tier, relevant, whole, loops, nodes)
            if rest >= 0:
                if own and nodes[d, rest, GATE] >= tier:
                    others = left - 1
                state += (rest - node) << BYTE * d
                k, after = _down(i, others, FIRST, tier, relevant, state, loops, nodes)
                windows += _add_pairs(
                    t, times, count, j, before, k, after, loop_count, doubled, loops, book, plan,
                    sums,
                )  # fmt: skip
                stack[depth, 0], stack[depth, 1], stack[depth, 2] = i, count, state
                stack[depth, 3] = others
                depth += 1
            if more:
                k, after = _down(i, full, FIRST, tier, relevant, whole, loops, nodes)
                windows += _add_pairs(
                    t, times, count * more, j, before, k, after, loop_count, doubled, loops, book,
                    plan, sums,
                )  # fmt: skip
            state, left, count = whole, full, count * (more + 1)
        _count(times, count, _tile_of(t, state, at), counts)
    return windows


@inlined
def _last_turn(t, loops, nodes, plan):
    """Follow the loops to the last visit.

    Returns the loop inside of it, its state; the last loop that turns, what it turns from the last
    time; whether any tile is visited again.
    """
    dims, groups = loops
    relevant, tier = plan[MOVES][t, RELEVANT], plan[MOVES][t, TIER]
    i, turn, again, last, before = 0, -1, 0, 0, 0
    left = _left(last, tier, relevant, nodes)
    while left:
        d = dims[i]
        node, own = last >> BYTE * d & ONE, relevant >> d & 1
        if nodes[d, node, GATE] == groups[i]:
            turn, again = i, again | 1 - own
            before = last + ((nodes[d, node, TILE_NODE] - node) << BYTE * d)
            child = _turned(d, node, LAST, nodes)
            last += (child - node) << BYTE * d
            left -= 1 if own and nodes[d, child, GATE] >= tier else 0
        i += 1
    return i, last, turn, before, again


@inlined
def _without_window(t, loop_count, doubled, loops, book, plan, sums):
    """Take out of the sums the pair of results that has until the end: see `mapping.accesses`."""
    nodes = book[0]
    relevant, tier = plan[MOVES][t, RELEVANT], plan[MOVES][t, TIER]
    i, last, turn, before, again = _last_turn(t, loops, nodes, plan)
    if turn < 0:
        return
    whole = 1
    if not doubled:
        first = _pass_steps(i, loop_count, FIRST, relevant, last, loops, nodes)
        whole = 1 if first == _steps(last, nodes) else 0
    finished = relevant >> loops[0][turn] & 1
    times = 0, -whole * finished, -whole * (1 - finished), -again
    left = _left(before, tier, relevant, nodes)
    j, before = _down(turn + 1, left, LAST, tier, relevant, before, loops, nodes)
    _add_pairs(t, times, 1, j, before, i, last, loop_count, doubled, loops, book, plan, sums)


@inner
def edge_clocks_of(t, loops, book, plan, sums):
    """Write, as less than nothing, clocks of what of two tiles has no window, and of the edges.

    As `cost_kernels.without_window`, of clocks alone.
    """
    nodes, _, at, _, _, _, _ = book
    relevant, tier = plan[MOVES][t, RELEVANT], plan[MOVES][t, TIER]
    for row in range(SUM_ROWS):
        sums[row, BUSY] = 0
    if plan[MOVES][t, OP] < 2:
        left = _left(0, tier, relevant, nodes)
        _, state = _down(0, left, FIRST, tier, relevant, 0, loops, nodes)
        _take(t, FETCH, _tile_of(t, state, at), book, plan, sums)
        return
    _, last, turn, before, again = _last_turn(t, loops, nodes, plan)
    tile = _tile_of(t, last, at)
    if turn >= 0:
        left = _left(before, tier, relevant, nodes)
        _, before = _down(turn + 1, left, LAST, tier, relevant, before, loops, nodes)
        kind = FINISHED if relevant >> loops[0][turn] & 1 else PARTIAL
        _take(t, kind, _tile_of(t, before, at), book, plan, sums)
        if again:
            _take(t, READBACK, tile, book, plan, sums)
    _take(t, FINISHED, tile, book, plan, sums)


@inlined
def _take(t, kind, tile, book, plan, sums):
    """Take the clocks of a visit from the sums."""
    for end in range(2):
        if plan[ENDS_OF][t, kind, end, PORT] >= 0:
            row = 2 * kind + end
            sums[row, BUSY] -= book[3][t, tile, row, CLOCKS] // plan[PACE][1]


@inlined
def _finishes(t, loops, nodes, plan):
    """Whether no tile is visited again: no loop of the reduction outside one that moves on."""
    dims, groups = loops
    relevant, tier = plan[MOVES][t, RELEVANT], plan[MOVES][t, TIER]
    i, state, left = 0, 0, _left(0, tier, relevant, nodes)
    while left:
        d = dims[i]
        node = state >> BYTE * d & ONE
        if nodes[d, node, GATE] == groups[i]:
            if not relevant >> d & 1:
                return False
            child = nodes[d, node, TILE_NODE]
            state += (child - node) << BYTE * d
            left -= 1 if nodes[d, child, GATE] >= tier else 0
        i += 1
    return True


@inlined
def _clear(sums, counts, tiles):
    """Set all to nothing."""
    for row in range(SUM_ROWS):
        for column in range(SUM_COLUMNS):
            sums[row, column] = 0
    for kind in range(4):
        for tile in range(tiles):
            counts[kind, tile] = 0


@inner
def transfer_cost(t, loop_count, doubled, loops, book, stack, plan, sums):
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
        Nodes, ends of those by group, where they stand in tables, tables, how many tiles each has
        (`find_nodes`, `fill_table`); room for counts of visits and for extents.
    stack : (N, 4 or more) int64 array
        Room to compute in.
    plan : tuple
    sums : (SUM_ROWS, SUM_COLUMNS) int64 array
        As `cost_kernels.move_cost` leaves them.

    Returns
    -------
    energy : float
    """
    nodes, _, _, table, many_tiles, counts, _ = book
    pj, pace, windows, energy = plan[PJ], plan[PACE], 0, 0.0
    _clear(sums, counts, many_tiles[t])
    args = (loop_count, doubled, loops, book, stack, plan, sums)
    if plan[MOVES][t, OP] < 2:
        windows = _follow(t, ALL, FETCHES, *args)
    elif _finishes(t, loops, nodes, plan):
        windows = _follow(t, LAST, FINISHES, *args)
    else:
        _follow(t, LAST, LAST_OF_MANY, *args)
        windows = _follow(t, ALL, RETURNS, *args)
        _follow(t, FIRST, NOT_READ_BACK, *args)
    for row in range(SUM_ROWS):
        if _has_end(t, row, plan):
            clocks = accesses = elements = visits = 0
            for tile in range(many_tiles[t]):
                many = counts[row >> 1, tile]
                clocks += table[t, tile, row, CLOCKS] * many
                accesses += table[t, tile, row, ALL_ACCESSES] * many
                elements += table[t, tile, row, ALL_ELEMENTS] * many
                visits += many
            sums[row, BUSY], sums[row, ACCESSES] = clocks // pace[1], accesses
            sums[row, ELEMENTS], sums[row, VISITS] = elements, visits
            energy += pj[t, row >> 1, row & 1, 0] * accesses
            energy += pj[t, row >> 1, row & 1, 1] * elements
    if plan[MOVES][t, OP] == 2:
        _without_window(t, loop_count, doubled, loops, book, plan, sums)
    if doubled:
        windows = _steps(0, nodes) * pace[0]
    for row in range(SUM_ROWS):
        sums[row, WINDOWS] = windows
    return energy


@inner
def prepare(first, last, tile, book, plan):
    """Write the nodes that some groups of loops make, and the tables of transfers next inside."""
    find_nodes(first, last, tile, book, plan)
    for t in range(plan[MOVES].shape[0]):
        if first < plan[MOVES][t, TIER] <= last and plan[MOVES][t, TIER] < tile.shape[0]:
            fill_table(t, book, plan)
