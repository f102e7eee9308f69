"""Visits to tiles that follow each other, and what windows they leave transfers, compiled.

Loops above a tile are followed for *pairs* of visits that follow each other, with all that the
window of a pair may depend on. What a transfer takes beyond its windows differs with the number of
tiles and, of one tile, with the loops inside: pairs are weighed with each. Each visit is the second
of a pair, or the first of one, but for that at the edge. Nodes, states and tables are those of
`alike_kernels`.

The pairs at turns of a loop depend on the orders only by which loops stand outside it, and by
whether the loop that does not index the tile turns inside. So those at turns of the last group of
loops outside a tier serve all orders of the groups outside that, and those of the outer groups all
orders of the last one in which as many loops stand ahead of the one that does not index the tile.

Of results a visit leaves sums that are finished if it is the tile's last, and brings sums back
unless it is the tile's first. Loops that do not index the tile tell which is which: of the turns
that such a loop makes one is the first, and one the last.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

from ..datatypes.base.inner_kernels import inlined, inner
from .alike_kernels import (
    ALL_ACCESSES,
    ALL_ELEMENTS,
    CLOCKS,
    GATE,
    INDEXED_BY,
    INTO,
    LATE_BY,
    LOW,
    MANY,
    ONE,
    REST_NODE,
    ROW,
    ROWS,
    STEP,
    STEPS,
    TILE_NODE,
    UNITS_OF,
    UP,
    place_of,
)
from .cost_kernels import (
    ACCESSES,
    BUSY,
    ELEMENTS,
    EXCESS,
    FETCH,
    FINISHED,
    LATE,
    PARTIAL,
    READBACK,
    SUM_COLUMNS,
    SUM_ROWS,
    VISITS,
    WINDOWS,
    WITHIN,
)
from .visit_kernels import FIRST, LAST

# columns of pairs: how many; of results how many leave finished and unfinished sums, and bring
# some back; steps of the visit that is the window of two tiles, and of the one before; the state
# of the window of one, from the loops inside on; the tile that is left, and the one that is next
PAIRS, DONE, UNDONE, AGAIN, WINDOW, BESIDE, INSIDE, LEFT, NEXT_TILE = range(9)
PAIR = 9
# heads: where pairs end, whether one without a window follows, the tile of the visit that none
# precedes, of results the one that none follows; which nest, or orders outside, pairs are of
END, ALONE, EDGE, STAMP = range(4)
HEADS = 4
# parts: pairs of the loops outside a tier's own group, by which of that are ahead of the one that
# does not index the tile; of its own, by their order; the edge of the last nest
OUTSIDE, OWN, LONE = 0, 4, 10
PARTS = 11
PENDING = 6  # columns of a block still to be followed


@inlined
def _node_of(state, d):
    """Return a state's node in a dimension."""
    return state >> (d << 3) & ONE


@inlined
def _moved_to(state, d, node, child):
    """Return a state with another node in a dimension."""
    return state + ((child - node) << (d << 3))


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
        cut = nodes[place_of(d, _node_of(state, d)) + GATE] < tier
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
        at = place_of(d, node)
        if nodes[at + GATE] == loops[1][i & LOW]:
            child = _turned(at, edge, nodes)
            state = _moved_to(state, d, node, child)
            left -= 1 if relevant >> d & 1 and nodes[place_of(d, child) + GATE] >= tier else 0
        i += 1
    return i, state


@inlined
def _steps(state, dims, nodes):
    """Return the steps that a state's block takes."""
    count = 1
    for d in range(dims):
        count *= nodes[place_of(d, _node_of(state, d)) + STEPS]
    return count


@inlined
def _turn_inside(i, cut, edge, state, loops, nodes):
    """Narrow a visit to its first, or last, turn over the tile by the loops outside the child.

    None of them indexes the tile: those that do have come to it.
    """
    for j in range(i, cut):
        d = loops[0][j & LOW]
        node = _node_of(state, d)
        at = place_of(d, node)
        if nodes[at + GATE] == loops[1][j & LOW]:
            state = _moved_to(state, d, node, _turned(at, edge, nodes))
    return state


@inlined
def _pass_steps(i, stop, edge, relevant, dims, state, loops, nodes):
    """Return the steps of the first, or last, turn over the tile, from loop ``i`` inwards."""
    for j in range(i, stop):
        d = loops[0][j & LOW]
        node = _node_of(state, d)
        at = place_of(d, node)
        if nodes[at + GATE] == loops[1][j & LOW]:
            if relevant >> d & 1:
                return _steps(state, dims, nodes)
            state = _moved_to(state, d, node, _turned(at, edge, nodes))
    return 1


@inlined
def _tile_of(state, dims, at):
    """Return where a state's tile stands in a transfer's table."""
    i = 0
    for d in range(dims):
        i += at[place_of(d, _node_of(state, d)) >> 3]
    return i & LOW


@inlined
def _note(place, counts, i, before, j, after, facts, loops, here, pairs):
    """Note pairs of visits, the last and the first of turns; return where the next go.

    Those that differ in nothing from such as are noted are added to them. ``counts``: as the
    columns of pairs; ``i``, ``j``: the loops inside of the visits.
    """
    nodes, at = here
    up, dims, cut = facts
    following, window, beside, inside, left = _tile_of(after, dims, at), 0, 0, 0, 0
    if up:
        window, beside = _steps(after, dims, nodes), _steps(before, dims, nodes)
        inside = _turn_inside(j, cut, FIRST, after, loops, nodes)
        left = _tile_of(before, dims, at)
    else:
        window = _steps(before, dims, nodes)
        inside = _turn_inside(i, cut, LAST, before, loops, nodes)
    for k in range(0, place, PAIR):
        one = k & LOW
        if (
            pairs[one + INSIDE] == inside
            and pairs[one + WINDOW] == window
            and pairs[one + NEXT_TILE] == following
            and pairs[one + LEFT] == left
            and pairs[one + BESIDE] == beside
        ):
            pairs[one + PAIRS] += counts[0]
            pairs[one + DONE] += counts[1]
            pairs[one + UNDONE] += counts[2]
            pairs[one + AGAIN] += counts[3]
            return place
    pairs[place + PAIRS], pairs[place + DONE], pairs[place + UNDONE], pairs[place + AGAIN] = counts
    pairs[place + WINDOW], pairs[place + BESIDE], pairs[place + INSIDE] = window, beside, inside
    pairs[place + LEFT], pairs[place + NEXT_TILE] = left, following
    return (place + PAIR) & LOW


@inner
def follow(t, part, first, stop, cut, loops, book, stack):  # noqa: PLR0915
    """Follow the loops above a tile, and note the pairs of visits that turns of some loops make.

    Those of the last group of loops are the same for any order of the groups outside it: where such
    a loop turns all loops of these have turned to a block.

    Parameters
    ----------
    t, part : int
        The transfer, and where the pairs are to stand.
    first, stop : int
        The group of loops to begin with, and that to stop before.
    cut : int
        Loops outside the child.
    loops : tuple
        Dimensions of the loops and their groups, outermost first.
    book : tuple
        Nodes, ends of those by group, where they stand in tables, tables, facts of transfers,
        energies of their accesses and beside them (`alike_kernels.prepare`); room for extents;
        pairs by transfer and part, and their heads.
    stack : (N, PENDING or more) int64 array
        Room to compute in.
    """
    nodes, facts, pairs = book[0], book[4], book[7][t, part]
    dims, here, up = book[1].shape[0], (nodes, book[2][t]), facts[t, UP]
    relevant, tier = facts[t, INDEXED_BY], facts[t, INTO]
    asked = up, dims, cut
    stack[0, 0], stack[0, 1], stack[0, 2], stack[0, 3] = 0, 1, 1, 1
    stack[0, 4], stack[0, 5] = 0, _left(0, tier, relevant, dims, nodes)
    depth, place = 1, 0
    while depth:
        depth -= 1
        i, count = stack[depth, 0], stack[depth, 1]
        firsts, lasts = stack[depth, 2], stack[depth, 3]
        state, left = stack[depth, 4], stack[depth, 5]
        while left:
            d, group = loops[0][i & LOW], loops[1][i & LOW]
            if group >= stop:
                break
            node, own = _node_of(state, d), relevant >> d & 1
            cut_at = place_of(d, node)
            i += 1
            if nodes[cut_at + GATE] != group:
                continue
            child, rest = nodes[cut_at + TILE_NODE], nodes[cut_at + REST_NODE]
            more, full, others = nodes[cut_at + MANY] - 1, left, left
            whole, other = _moved_to(state, d, node, child), 0
            if own and nodes[place_of(d, child) + GATE] >= tier:
                full = left - 1
            if rest >= 0:
                other = _moved_to(state, d, node, rest)
                if own and nodes[place_of(d, rest) + GATE] >= tier:
                    others = left - 1
                stack[depth, 0], stack[depth, 1], stack[depth, 3] = i, count, lasts
                stack[depth, 2] = firsts if own else 0
                stack[depth, 4], stack[depth, 5] = other, others
                depth += 1
            if group >= first:
                j, before = _down(i, full, LAST, tier, relevant, whole, loops, nodes)
                done, again = (lasts, count - firsts) if own else (0, count)
                if rest >= 0:
                    k, after = _down(i, others, FIRST, tier, relevant, other, loops, nodes)
                    counts = count, done, count - done, again
                    place = _note(place, counts, j, before, k, after, asked, loops, here, pairs)
                if more:
                    k, after = _down(i, full, FIRST, tier, relevant, whole, loops, nodes)
                    counts = count * more, done * more, (count - done) * more, again * more
                    place = _note(place, counts, j, before, k, after, asked, loops, here, pairs)
            state, left, count = whole, full, count * (more + 1)
            if own:
                firsts, lasts = firsts * (more + 1), lasts * (more + 1)
            elif rest >= 0:
                lasts = 0
    book[8][t, part, END] = place


@inlined
def find_edge(t, part, cut, loops, book):
    """Find the visit that none precedes, of results the one that none follows.

    Of results note too, as less than nothing, the pair that has until the end: see
    `mapping.accesses`. ``part``: behind which pairs it is to stand.
    """
    nodes, at, facts, pairs, head = book[0], book[2][t], book[4], book[7][t, part], book[8][t, part]
    dims, relevant, tier, up = book[1].shape[0], facts[t, INDEXED_BY], facts[t, INTO], facts[t, UP]
    i, turn, again, last, before = 0, -1, 0, 0, 0
    left, edge = _left(last, tier, relevant, dims, nodes), LAST if up else FIRST
    while left:
        d = loops[0][i & LOW]
        node, own = _node_of(last, d), relevant >> d & 1
        here = place_of(d, node)
        if nodes[here + GATE] == loops[1][i & LOW]:
            turn, again = i, again | 1 - own
            before = _moved_to(last, d, node, nodes[here + TILE_NODE])
            child = _turned(here, edge, nodes)
            last = _moved_to(last, d, node, child)
            left -= 1 if own and nodes[place_of(d, child) + GATE] >= tier else 0
        i += 1
    head[EDGE], head[ALONE] = _tile_of(last, dims, at), 0
    if not up or turn < 0:
        return
    place, finished = head[END], relevant >> loops[0][turn] & 1
    left = _left(before, tier, relevant, dims, nodes)
    _, before = _down(turn + 1, left, LAST, tier, relevant, before, loops, nodes)
    head[ALONE], pairs[place + PAIRS], pairs[place + AGAIN] = 1, 0, -again
    pairs[place + DONE], pairs[place + UNDONE] = -finished, finished - 1
    pairs[place + WINDOW] = _steps(last, dims, nodes)
    pairs[place + BESIDE] = _steps(before, dims, nodes)
    pairs[place + INSIDE] = _turn_inside(i, cut, FIRST, last, loops, nodes)
    pairs[place + LEFT], pairs[place + NEXT_TILE] = _tile_of(before, dims, at), head[EDGE]


@inlined
def _visit(kind, many, tile, rows, entries, sums):
    """Add visits to the sums of a kind of transfer: what they take, whatever the windows."""
    for row in range(2 * kind, 2 * kind + 2):
        if rows >> row & 1:
            at = tile + row * ROW
            sums[row, BUSY] += entries[at + CLOCKS] * many
            sums[row, ACCESSES] += entries[at + ALL_ACCESSES] * many
            sums[row, ELEMENTS] += entries[at + ALL_ELEMENTS] * many
            sums[row, VISITS] += many


@inlined
def _wait(kind, many, window, tile, rows, entries, sums):
    """Add pairs of visits to the sums of a kind of transfer; return the slower end's clocks."""
    slowest = 0
    for row in range(2 * kind, 2 * kind + 2):
        if rows >> row & 1:
            taken = entries[tile + row * ROW + CLOCKS]
            sums[row, EXCESS] += max(0, taken - window) * many
            sums[row, WITHIN] += min(taken, window) * many
            slowest = max(slowest, taken)
    return slowest


@inlined
def weigh(t, parts, two, known, like, cut, loop_count, loops, book, sums):  # noqa: PLR0912, PLR0915
    """Write what one operand moves between a parent and a child, by kind and end.

    Parameters
    ----------
    t : int
        The transfer.
    parts : tuple
        Where `follow` left pairs, -1 where it left none, twice; where `find_edge` left an edge.
    two : bool
        Whether the child has two tiles of the operand. Loops inside the child do not matter then.
    known : bool
        Whether ``like`` has what visits take already.
    like : (SUM_ROWS, SUM_COLUMNS) int64 array
        Sums of the same nest with another number of tiles, or other loops inside.
    cut, loop_count : int
        Loops outside the child; how many the whole nest has.
    loops, book : tuple
        As `follow` takes them.
    sums : (SUM_ROWS, SUM_COLUMNS) int64 array
        As `cost_kernels.move_cost` leaves them, but for rows without a port, which are left.

    Returns
    -------
    energy : float
    """
    nodes, entries, facts, heads = book[0], book[3][t], book[4], book[8]
    dims, relevant, rows = book[1].shape[0], facts[t, INDEXED_BY], facts[t, ROWS]
    up, latency, step, windows = facts[t, UP], facts[t, LATE_BY], facts[t, STEP], 0
    for row in range(SUM_ROWS):
        if rows >> row & 1:
            for column in range(SUM_COLUMNS):
                sums[row, column] = like[row, column] if known else 0
            sums[row, EXCESS] = sums[row, WITHIN] = sums[row, LATE] = 0
    at_state, passed, edge = -1, 0, FIRST if up else LAST
    if not known:
        tile = heads[t, parts[2], EDGE] & LOW
        _visit(FINISHED if up else FETCH, 1, tile, rows, entries, sums)
    for number in range(3):
        part, lone = parts[number], number == 2
        if part < 0:
            continue
        pairs, start, stop = book[7][t, part], 0, heads[t, part, END]
        if lone:
            start, stop = stop, stop + PAIR * heads[t, part, ALONE]
        for at in range(start, stop, PAIR):
            place = at & LOW
            passes = pairs[place + WINDOW]
            if not two:
                inside = pairs[place + INSIDE]
                if inside != at_state:
                    at_state = inside
                    passed = _pass_steps(
                        cut, loop_count, edge, relevant, dims, inside, loops, nodes
                    )
                passes = passed
            window, following = passes * step, pairs[place + NEXT_TILE] & LOW
            many = pairs[place + PAIRS]
            windows += window * many
            if not up:
                if not known:
                    _visit(FETCH, many, following, rows, entries, sums)
                slowest = _wait(FETCH, many, window, following, rows, entries, sums)
                if latency:
                    late = max(0, slowest + latency - window)
                    sums[0, LATE] += late * many * (1 if two else 2)
                continue
            tile, done = pairs[place + LEFT] & LOW, pairs[place + DONE]
            undone, again = pairs[place + UNDONE], pairs[place + AGAIN]
            if lone and passes != pairs[place + WINDOW]:
                done = undone = 0
            if done:
                _wait(FINISHED, done, window, tile, rows, entries, sums)
            if undone:
                _wait(PARTIAL, undone, window, tile, rows, entries, sums)
            if again:
                both = window + pairs[place + BESIDE] * step if two else window
                slowest = _wait(READBACK, again, both, following, rows, entries, sums)
                if latency:
                    sums[2 * READBACK, LATE] += max(0, slowest + latency - both) * again
            if not lone and not known:
                _visit(FINISHED, done, tile, rows, entries, sums)
                if undone or again:
                    _visit(PARTIAL, undone, tile, rows, entries, sums)
                    _visit(READBACK, again, following, rows, entries, sums)
    if two:
        windows = _steps(0, dims, nodes) * step
    return _energy_of(t, windows, known, book, sums)


@inlined
def _energy_of(t, windows, known, book, sums):
    """Write the windows, and clocks for units of the pace; return the energy of all visits."""
    facts, pj, energy = book[4], book[5], 0.0
    for row in range(SUM_ROWS):
        if facts[t, ROWS] >> row & 1:
            sums[row, WINDOWS] = windows
            if facts[t, UNITS_OF] > 1 and not known:
                sums[row, BUSY] //= facts[t, UNITS_OF]
            energy += pj[t, 2 * row] * sums[row, ACCESSES]
            energy += pj[t, 2 * row + 1] * sums[row, ELEMENTS]
    return energy


@inner
def edge_clocks_of(t, part, book, sums):
    """Write, as less than nothing, clocks of what of two tiles has no window, and of the edges.

    As `cost_kernels.without_window`, of clocks alone. ``part``: where `find_edge` left the edge.
    """
    pairs, head = book[7][t, part], book[8][t, part]
    for row in range(SUM_ROWS):
        sums[row, BUSY] = 0
    if head[ALONE]:
        place = head[END]
        _take(t, FINISHED if pairs[place + DONE] else PARTIAL, pairs[place + LEFT], book, sums)
        if pairs[place + AGAIN]:
            _take(t, READBACK, head[EDGE], book, sums)
    _take(t, FINISHED if book[4][t, UP] else FETCH, head[EDGE], book, sums)


@inlined
def _take(t, kind, tile, book, sums):
    """Take the clocks of a visit from the sums."""
    for row in range(2 * kind, 2 * kind + 2):
        if book[4][t, ROWS] >> row & 1:
            sums[row, BUSY] -= book[3][t, tile + row * ROW + CLOCKS] // book[4][t, UNITS_OF]
