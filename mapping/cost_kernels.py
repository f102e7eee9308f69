"""The cost of a mapping, compiled: the twin of `mapping.cost`.

Tiles above the array are whole multiples of what the array works on in one step (``step_tile``),
so a block of ``b`` elements takes ceil(b / step_tile) steps. Clocks are counted in units of
1 / ``pace[1]``, so that a step of a fractional number of clocks, ``pace[0] / pace[1]``, is exact.

What they take of a layer on a chip, the *plan*, is a tuple:

* moves (T, 6): operand, dimensions that index it (a mask), the child's tier and place, the stage of
  the first load, the parent's latency in clocks, 0 where the array is the child;
* ends (T, kinds, 2, 8): port, bits of an element over the port's width (doubled numbers), the axes
  along which copies have elements of their own, those along which copies have the same, whether
  one memory gives the elements of these copies one by one; of a port with bursts its bits over
  those of a burst, and clocks of a burst, else 0 of those;
* pj (T, kinds, 2, 2): energy of an access, and of an element's scales beside it;
* sizes, step_tile (D,); pace (2,);
* reached, shares (axes, D, elements): units that the first elements of a step's tile reach, and
  elements of the first unit;
* windows (W, WINDOW_COLUMNS): of pairs of dimensions that index the input together
  (`window_kernels`); pixels (W, axes, clips, P + 1, R + 1, 3): of blocks of so many outputs and
  taps the pixels of all copies, copies, pixels of the copy with most;
* kinds (D,): which dimensions' loops stand together, 0 to 2; 3 is outermost.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

from ..datatypes.base.inner_kernels import inner
from .tuple_kernels import ENDS_OF, MOVES, PACE, PJ, SIZES, STEP_TILE, WINDOWS_OF
from .visit_kernels import (
    ALL,
    FIRST,
    LAST,
    descend,
    finishes,
    one_tile,
    pass_steps,
    steps,
    visits_alike,
)
from .window_kernels import (
    OUTS,
    TAPS,
    border_along,
    clip_at,
    count_clips,
    differ,
    inside_in_a_row,
    pace_of,
    to_first,
)

FETCH, FINISHED, PARTIAL, READBACK = 0, 1, 2, 3
# columns of moves; PLACE: the child's
OP, RELEVANT, TIER, PLACE, STAGE, LATENCY, MOVE_COLUMNS = 0, 1, 2, 3, 4, 5, 6
# columns of ends; of ports with bursts UP / DOWN is bursts of an element, BURST_ clocks of one
PORT, UP, DOWN, OWN, REACHED, APART, BURST_UP, BURST_DOWN, END_COLUMNS = 0, 1, 2, 3, 4, 5, 6, 7, 8
# columns of sums, by kind and end or by port; LATE: twice the clocks that latencies delay
BUSY, EXCESS, WITHIN, WINDOWS, LATE, PORT_COLUMNS = 0, 1, 2, 3, 4, 5
# those by kind and end alone: accesses and elements of all copies, visits
ACCESSES, ELEMENTS, VISITS, SUM_COLUMNS = 5, 6, 7, 8
# rows of `work`: blocks, a tile, its whole steps, the rest, doubled visits that follow each other
# and of the steps of a window how many have a clip, and the first pixel of one of them
SCRATCH, TILE, WHOLE, REST, BLOCK, BEFORE, AFTER, MANY_CLIPPED, CLIPPED = range(9)
WORK_ROWS = 13  # of up to two windows
SUM_ROWS = 8  # kinds by ends
# row of `edges`: a block, its whole steps, the rest, ports, and ports by stage with, last, the
# clocks of the longest transfer and the least latency
AT_PORTS = 3
NEVER = 1 << 62
# how often a class of visits counts as each kind of transfer
FETCHES, FINISHES, RETURNS = (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 1)
LAST_OF_MANY, NOT_READ_BACK = (0, 1, -1, 0), (0, 0, 0, -1)
SPARE_FETCH, SPARE_FINISH, SPARE_RETURN = (-1, 0, 0, 0), (0, -1, 0, 0), (0, -1, 0, -1)


@inner
def whole(units, pace):
    """Return clocks, rounded up, of units of the pace."""
    return (units + pace[1] - 1) // pace[1]


@inner
def slid_dims(relevant, windows):
    """Return the dimensions of an operand's windows, as a mask: all of them, or none."""
    slid = 0
    for w in range(windows.shape[0]):
        slid |= 1 << windows[w, OUTS] | 1 << windows[w, TAPS]
    return slid if slid & ~relevant == 0 else 0


@inner
def moved_of(t, kind, end, tile, whole_steps, rest, plan):
    """Return (share of one copy, copies, elements) of a tile at one end of a transfer.

    ``tile``: a block (`window_kernels`); ``whole_steps``, ``rest``: of it in whole steps' tiles of
    each dimension, and what is left.
    """
    moves, ends, _, _, step_tile, _, reached, shares, windows, pixels, _ = plan
    relevant = moves[t, RELEVANT]
    share = copies = elements = 1
    own, alike = ends[t, kind, end, OWN], ends[t, kind, end, REACHED]
    slid = slid_dims(relevant, windows)
    for w in range(windows.shape[0]):
        if slid:
            clip = clip_at(w, tile, step_tile.size, windows)
            found = pixels[w, own, clip, tile[windows[w, OUTS]], tile[windows[w, TAPS]]]
            elements, copies, share = elements * found[0], copies * found[1], share * found[2]
    for d in range(step_tile.size):
        if slid >> d & 1:
            continue
        step = step_tile[d]
        inside = min(tile[d], step)
        if relevant >> d & 1:
            share *= whole_steps[d] * shares[own, d, step] + shares[own, d, rest[d]]
            copies *= reached[own, d, inside]
            elements *= tile[d]
        else:
            same = reached[alike, d, inside]
            copies *= same
            elements *= same
    if ends[t, kind, end, APART]:
        return elements, 1, elements
    return share, copies, elements


@inner
def accesses_of(share, up, down):
    """Return the accesses of a port for the elements of one copy: ``up / down`` each, rounded."""
    if down == 1:
        return share * up
    return (share * up + down - 1) // down


@inner
def clocks_of(share, t, kind, end, ends):
    """Return the clocks of a port for the elements of one copy: whole bursts where it has some."""
    clocks = accesses_of(share, ends[t, kind, end, UP], ends[t, kind, end, DOWN])
    if ends[t, kind, end, BURST_UP]:
        return accesses_of(clocks, ends[t, kind, end, BURST_UP], ends[t, kind, end, BURST_DOWN])
    return clocks


@inner
def _window(kind, before, after, doubled, relevant, nest, plan, work):
    """Return the window between doubled visits; see `mapping.accesses`."""
    step_tile, pace, scratch = plan[STEP_TILE], plan[PACE], work[SCRATCH]
    if not doubled:
        block, i, edge = work[AFTER], after, FIRST
        if kind == FETCH:
            block, i, edge = work[BEFORE], before, LAST
        return pass_steps(i, edge, relevant, block, nest, step_tile, scratch) * pace[0]
    window = 0
    if kind in (FETCH, READBACK):
        window += steps(work[BEFORE], step_tile)
    if kind != FETCH:
        window += steps(work[AFTER], step_tile)
    return window * pace[0]


@inner
def _add(t, times, visits, pairs, before, after, cut, doubled, nest, plan, work, sums):
    """Add visits, and pairs of visits that follow each other, to the sums of a transfer.

    ``times``: how often they count as each kind; ``before``, ``after``: the loops from which on the
    blocks in ``work`` go. Visits are to the second. Returns the window of a pair.
    """
    moves, ends, _, _, step_tile, pace, _, _, _, _, _ = plan
    tile, relevant = work[TILE], moves[t, RELEVANT]
    dims, tiles, _ = nest
    window = 0
    for kind in range(4):
        if times[kind] == 0:
            continue
        down = kind in (FETCH, READBACK)
        block, i = work[AFTER if down else BEFORE], after if down else before
        for d in range(step_tile.size + plan[WINDOWS_OF].shape[0]):
            tile[d] = block[d]
        for j in range(i, cut):
            tile[dims[j]] = min(tile[dims[j]], tiles[j])
        for d in range(step_tile.size):
            work[WHOLE, d] = tile[d] // step_tile[d]
            work[REST, d] = tile[d] - work[WHOLE, d] * step_tile[d]
        if pairs:
            window = _window(kind, before, after, doubled, relevant, nest, plan, work)
        many, slowest = times[kind] * pairs, 0
        for end in range(2):
            if ends[t, kind, end, PORT] < 0:
                continue
            share, copies, elements = moved_of(t, kind, end, tile, work[WHOLE], work[REST], plan)
            accesses = clocks_of(share, t, kind, end, ends)
            taken, row = accesses * pace[1], 2 * kind + end
            if visits:
                counted = times[kind] * visits
                sums[row, BUSY] += accesses * counted
                sums[row, ACCESSES] += accesses * copies * counted
                sums[row, ELEMENTS] += elements * counted
                sums[row, VISITS] += counted
            sums[row, EXCESS] += max(0, taken - window) * many
            sums[row, WITHIN] += min(taken, window) * many
            slowest = max(slowest, taken)
        if moves[t, LATENCY] and down:
            late = max(0, slowest + moves[t, LATENCY] * pace[1] - window)
            sums[2 * kind, LATE] += late * (many if doubled or kind == READBACK else 2 * many)
    return window


@inner
def _turn(t, times, count, i, tile, next_tile, block, cut, doubled, nest, plan, work, sums):
    """Add the pairs of a last visit in one turn of the loop before ``i``, a first in the next.

    ``tile``, ``next_tile``: extents of the turns. Returns the window.
    """
    dims, tiles, _ = nest
    relevant, d = plan[MOVES][t, RELEVANT], dims[i - 1]
    for e in range(block.size):
        work[BEFORE, e] = work[AFTER, e] = block[e]
    work[BEFORE, d], work[AFTER, d] = tile, next_tile
    before = descend(i, cut, LAST, relevant, work[BEFORE], dims, tiles)
    after = descend(i, cut, FIRST, relevant, work[AFTER], dims, tiles)
    return _add(t, times, 0, count, before, after, cut, doubled, nest, plan, work, sums)


@inner
def _visits(  # noqa: PLR0912, PLR0915
    t, edge, times, cut, doubled, nest, plan, work, stack, sums
):
    """Follow the loops above a tile and add all its visits, or the first or last of each tile.

    Blocks whose visits are alike are added at once. Returns the sum of the windows.
    """
    relevant, sizes = plan[MOVES][t, RELEVANT], plan[SIZES]
    dims, tiles, _ = nest
    entries = sizes.size + plan[WINDOWS_OF].shape[0]
    slid = slid_dims(relevant, plan[WINDOWS_OF])
    windows, block = 0, work[BLOCK]
    for d in range(sizes.size):
        block[d] = sizes[d]
    to_first(block, sizes.size, plan[WINDOWS_OF])
    depth = _push(0, 0, 1, entries, block, stack)
    while depth:
        depth -= 1
        i, count = stack[depth, 0], stack[depth, 1]
        for d in range(entries):
            block[d] = stack[depth, 2 + d]
        runs = count  # of visits in a row
        many = _alike(i, cut, edge, relevant, slid, block, nest, plan, work)
        while many == 0:
            d, tile = dims[i], tiles[i]
            i += 1
            if tile >= block[d]:
                continue
            full = block[d] // tile
            rest = block[d] - full * tile
            w = border_along(d, block, sizes.size, plan[WINDOWS_OF]) if slid else -1
            if w >= 0:
                depth, more = _border(
                    t, w, times, count, i, cut, doubled, nest, plan, work, stack, depth, sums
                )
                windows += more
                many = -1
                continue
            if edge != ALL and not relevant >> d & 1:
                block[d] = rest if edge == LAST and rest else tile
                many = _alike(i, cut, edge, relevant, slid, block, nest, plan, work)
                continue
            if rest:
                windows += count * _turn(
                    t, times, count, i, tile, rest, block, cut, doubled, nest, plan, work, sums
                )  # fmt: skip
                block[d] = rest
                depth = _push(depth, i, count, entries, block, stack)
            block[d] = tile
            count *= full
            many = _alike(i, cut, edge, relevant, slid, block, nest, plan, work)
            more = count - runs
            if many == 0 and more:
                windows += more * _turn(
                    t, times, more, i, tile, tile, block, cut, doubled, nest, plan, work, sums
                )  # fmt: skip
            if many == 0:
                runs = count
        if many < 0:
            continue
        for d in range(entries):
            work[AFTER, d] = block[d]
        i = descend(i, cut, FIRST, relevant, work[AFTER], dims, tiles)
        for d in range(entries):
            work[BEFORE, d] = work[AFTER, d]
        pairs = count * many - runs
        window = _add(
            t, times, count * many, pairs, i, i, cut, doubled, nest, plan, work, sums
        )  # fmt: skip
        windows += window * pairs
    return windows


@inner
def _push(depth, i, count, entries, block, stack):
    """Leave a block on the stack, from loop ``i`` on; return how many are there."""
    stack[depth, 0], stack[depth, 1] = i, count
    for e in range(entries):
        stack[depth, 2 + e] = block[e]
    return depth + 1


@inner
def _alike(i, cut, edge, relevant, slid, block, nest, plan, work):
    """Return `visits_alike`; 0 too if some have more of the border than others."""
    if slid and differ(i, cut, block, plan[SIZES].size, nest, plan[WINDOWS_OF]):
        return 0
    return visits_alike(i, cut, edge, relevant, block, nest, work[SCRATCH])


@inner
def _border(t, w, times, count, i, cut, doubled, nest, plan, work, stack, depth, sums):
    """Push the blocks of the loop before ``i`` along a window, and add the pairs between them.

    Those without border together. Returns how many blocks the stack has, and the sum of windows.
    """
    dims, tiles, _ = nest
    d, tile, block, many = dims[i - 1], tiles[i - 1], work[BLOCK], plan[SIZES].size
    windows = plan[WINDOWS_OF]
    low, move = block[many + w], tile * pace_of(w, d, windows)
    full = block[d] // tile
    rest = block[d] - full * tile
    at = before = total = 0
    while at < full + (1 if rest else 0):
        extent, alike = tile if at < full else rest, 1
        block[d], block[many + w] = extent, low + at * move
        if at < full:
            alike = inside_in_a_row(
                w, block[many + w], move, full - at, block[windows[w, OUTS]],
                block[windows[w, TAPS]], windows,
            )  # fmt: skip
        if before:
            total += count * _turn(
                t, times, count, i, before, extent, block, cut, doubled, nest, plan, work, sums
            )
        more = count * (alike - 1)
        if more:
            total += more * _turn(
                t, times, more, i, extent, extent, block, cut, doubled, nest, plan, work, sums
            )
        depth = _push(depth, i, count * alike, many + windows.shape[0], block, stack)
        before, at = extent, at + alike
    return depth, total


@inner
def _spare(t, cut, doubled, edges, nest, plan, work, sums):
    """Take out of the sums what has no window, or has until the end: see `mapping.accesses`.

    ``edges``: out of the clocks instead, and first load and last store too.
    """
    relevant, sizes, last, before = plan[MOVES][t, RELEVANT], plan[SIZES], work[AFTER], work[BEFORE]
    dims, tiles, _ = nest
    many, pairs = (1, 0) if edges else (0, 1)
    for d in range(sizes.size):
        last[d] = sizes[d]
    to_first(last, sizes.size, plan[WINDOWS_OF])
    if plan[MOVES][t, OP] < 2:
        if edges:
            i = descend(0, cut, FIRST, relevant, last, dims, tiles)
            _add(t, SPARE_FETCH, 1, 0, i, i, cut, doubled, nest, plan, work, sums)
        return
    i, turn, again = 0, -1, 0
    while not one_tile(i, cut, relevant, last, dims, tiles):
        d, tile = dims[i], tiles[i]
        if tile < last[d]:
            turn = i
            for e in range(sizes.size):
                before[e] = last[e]
            before[d] = tile
            again |= 1 - (relevant >> d & 1)
            rest = last[d] % tile
            last[d] = rest if rest else tile
        i += 1
    if turn >= 0:
        whole = 1
        if not doubled:
            first = pass_steps(i, FIRST, relevant, last, nest, plan[STEP_TILE], work[SCRATCH])
            whole = 1 if first == steps(last, plan[STEP_TILE]) else 0
        finished = relevant >> dims[turn] & 1
        times = 0, -whole * finished, -whole * (1 - finished), -again
        at = descend(turn + 1, cut, LAST, relevant, before, dims, tiles)
        _add(t, times, many, pairs, at, i, cut, doubled, nest, plan, work, sums)
    if edges:
        for d in range(sizes.size):
            before[d] = last[d]
        _add(t, SPARE_FINISH, 1, 0, i, i, cut, doubled, nest, plan, work, sums)


@inner
def _clear(sums):
    for row in range(SUM_ROWS):
        for column in range(SUM_COLUMNS):
            sums[row, column] = 0


@inner
def move_cost(t, cut, doubled, nest, plan, work, stack, sums):
    """Write what one operand moves between a parent and a child, by kind and end.

    Parameters
    ----------
    t, cut : int
        The transfer; loops outside the child.
    doubled : bool
        Whether the child has two tiles of the operand. Loops inside the child do not matter then.
    nest : tuple
        Dimensions of the loops and their tiles, outermost first, and how many there are.
    plan : tuple
    work, stack : arrays
        Room to compute in.
    sums : (SUM_ROWS, SUM_COLUMNS) int64 array
        Overwritten: clocks, clocks beyond the windows and within them, windows, twice the clocks
        that a latency delays; accesses and elements of all copies, visits.

    Returns
    -------
    energy : float
    """
    _clear(sums)
    relevant = plan[MOVES][t, RELEVANT]
    args = (cut, doubled, nest, plan, work, stack, sums)
    if plan[MOVES][t, OP] < 2:
        windows = _visits(t, ALL, FETCHES, *args)
    elif finishes(cut, relevant, plan[SIZES], nest):
        windows = _visits(t, LAST, FINISHES, *args)
    else:
        _visits(t, LAST, LAST_OF_MANY, *args)
        windows = _visits(t, ALL, RETURNS, *args)
        _visits(t, FIRST, NOT_READ_BACK, *args)
    energy = _energy(t, plan, sums)
    _spare(t, cut, doubled, False, nest, plan, work, sums)
    if doubled:
        windows = steps(plan[SIZES], plan[STEP_TILE]) * plan[PACE][0]
    for row in range(SUM_ROWS):
        sums[row, WINDOWS] = windows
    return energy


@inner
def without_window(t, cut, nest, plan, work, sums):
    """Write, as less than nothing, what of two tiles has no window, first load and last store."""
    _clear(sums)
    _spare(t, cut, True, True, nest, plan, work, sums)


@inner
def step_cost(t, plan, work, sums):
    """Write what the array takes, or leaves, step by step; as `move_cost`. Returns the energy."""
    sizes, step_tile = plan[SIZES], plan[STEP_TILE]
    before, after = work[BEFORE], work[AFTER]
    _clear(sums)
    up = plan[MOVES][t, OP] == 2
    nest = work[SCRATCH], work[SCRATCH], 0  # no loops
    windows = 0
    for number in range(1 << sizes.size):
        count, first, last = step_tile_of(number, plan[MOVES][t, RELEVANT], sizes, step_tile, after)
        if count:
            for d in range(sizes.size):
                before[d] = after[d]
            if slid_dims(plan[MOVES][t, RELEVANT], plan[WINDOWS_OF]):
                windows += _clipped_steps(t, count, nest, plan, work, sums)
                continue
            times = (0, last, count - last, count - first) if up else (count, 0, 0, 0)
            window = _add(t, times, 1, 1, 0, 0, 0, False, nest, plan, work, sums)
            windows += window * count
    for d in range(sizes.size):  # the very first, or last, step
        rest = sizes[d] % step_tile[d]
        short = rest > 0 and (up or sizes[d] < step_tile[d])
        before[d] = after[d] = rest if short else step_tile[d]
    to_first(after, sizes.size, plan[WINDOWS_OF])
    spared = SPARE_RETURN if up else SPARE_FETCH
    _add(t, spared, 0, 1, 0, 0, 0, False, nest, plan, work, sums)
    for row in range(SUM_ROWS):
        sums[row, WINDOWS] = windows
    return _energy(t, plan, sums)


@inner
def _clipped_steps(t, count, nest, plan, work, sums):
    """Add steps that take inputs alike but for the border; return the sum of their windows."""
    after, many, others, total = work[AFTER], plan[SIZES].size, count, 0
    for w in range(2):
        others //= count_clips(
            w, after, plan[SIZES], plan[STEP_TILE], plan[WINDOWS_OF], work[MANY_CLIPPED + 2 * w],
            work[CLIPPED + 2 * w],
        )  # fmt: skip
    for one in range(work.shape[1]):
        for other in range(work.shape[1]):
            times = others * work[MANY_CLIPPED, one] * work[MANY_CLIPPED + 2, other]
            if times == 0:
                continue
            after[many], after[many + 1] = work[CLIPPED, one], work[CLIPPED + 2, other]
            kinds = (times, 0, 0, 0)
            total += times * _add(t, kinds, 1, 1, 0, 0, 0, False, nest, plan, work, sums)
    return total


@inner
def _energy(t, plan, sums):
    """Return the energy of a transfer's accesses, and of what its elements take beside them."""
    pj, total = plan[PJ], 0.0
    for kind in range(4):
        for end in range(2):
            row = 2 * kind + end
            total += pj[t, kind, end, 0] * sums[row, ACCESSES]
            total += pj[t, kind, end, 1] * sums[row, ELEMENTS]
    return total


@inner
def step_tile_of(number, relevant, sizes, step_tile, block):
    """Fill a step's tile, short in the dimensions that the bits of a number say.

    Returns how many steps have it; how many of those are the first, and the last, of their tile of
    the operand.
    """
    count = first = last = 1
    for d in range(sizes.size):
        full, rest = sizes[d] // step_tile[d], sizes[d] % step_tile[d]
        if number >> d & 1:
            block[d], times = rest, 1 if rest else 0
            before, after = full == 0, True
        else:
            block[d], times = step_tile[d], full
            before, after = True, rest == 0
        count *= times
        if relevant >> d & 1:
            first, last = first * times, last * times
        else:
            first, last = (first if before else 0), (last if after else 0)
    return count, first, last


@inner
def _has_window(row, sums):
    """Whether any visit of a kind has a window: the first load and the last store have none."""
    alone = 1 if row >> 1 in (FETCH, FINISHED) else 0
    return sums[row, BUSY] > 0 and sums[row, VISITS] > alone


@inner
def add_to_ports(t, sums, plan, ports):
    """Add the sums of a transfer to those of the ports."""
    ends = plan[ENDS_OF]
    for row in range(SUM_ROWS):
        port = ends[t, row >> 1, row & 1, PORT]
        if port < 0 or sums[row, BUSY] <= 0:
            continue
        ports[port, BUSY] += sums[row, BUSY]
        ports[port, EXCESS] += max(0, sums[row, EXCESS])
        ports[port, WITHIN] += max(0, sums[row, WITHIN])
        ports[port, LATE] = max(ports[port, LATE], sums[row, LATE])
        windows = sums[row, WINDOWS] if _has_window(row, sums) else 0  # an edge's count once
        for other in range(row & 1, row, 2):  # parent and child share no port
            if ends[t, other >> 1, row & 1, PORT] == port and _has_window(other, sums):
                windows = 0
        ports[port, WINDOWS] += windows


@inner
def cycles_of(ports, elapsed, edge, pace):
    """Return the clocks of a mapping: steps, the stall of the worst port, the edges; the roofline.

    Parameters
    ----------
    ports : (P, PORT_COLUMNS) int64 array
        Sums of the ports.
    elapsed : int
        Units of the pace that all steps take.
    edge : int
        Clocks of first load and last store, and of what else goes beside the steps.
    pace : (2,) int64 array
    """
    worst = busiest = 0
    for p in range(ports.shape[0]):
        stall = ports[p, EXCESS] + max(0, ports[p, WITHIN] - min(elapsed, ports[p, WINDOWS]))
        worst = max(worst, 2 * stall, ports[p, LATE])
        busiest = max(busiest, ports[p, BUSY])
    stepping = (2 * elapsed + worst + 2 * pace[1] - 1) // (2 * pace[1])
    return max(stepping + edge, whole(elapsed, pace), busiest)


@inner
def _edge_size(d, groups, last, sizes, tile):
    """Return the extent of the first, or last, block of a dimension inside some groups of loops."""
    size = sizes[d]
    for g in range(groups):
        if tile[g, d] < size:
            rest = size % tile[g, d] if last else 0
            size = rest if rest else tile[g, d]
    return size


@inner
def edge_clocks(deepest, tile, plan, edges):  # noqa: PLR0912
    """Return the clocks of first load and last store, whatever the order of the loops.

    Parameters
    ----------
    deepest : int
        Transfers into tiers further in than this one are left out.
    tile : (G, D) int64 array
        The tile of each dimension inside the loops of a group. Of an edge tile the size is that of
        the first, or last, block of every group.
    plan : tuple
    edges : (4 + G, max(D, P) + 2) int64 array
        Room to compute in; row 3 gets what each port takes of the first tier's, and beside them
        the clocks of the last store.
    """
    moves, ends, _, sizes, step_tile, _, _, _, _, _, _ = plan
    alone, least = edges.shape[1] - 2, edges.shape[1] - 1
    for row in range(AT_PORTS, edges.shape[0]):
        for p in range(least):
            edges[row, p] = 0
        edges[row, least] = NEVER
    block, whole_steps, left = edges[0], edges[1], edges[2]
    to_first(block, sizes.size, plan[WINDOWS_OF])
    clocks = 0
    for t in range(moves.shape[0]):
        up = moves[t, OP] == 2
        if (moves[t, STAGE] < 0 and not up) or moves[t, TIER] > deepest:
            continue
        kind = FINISHED if up else FETCH
        for d in range(sizes.size):
            block[d] = _edge_size(d, moves[t, TIER], up, sizes, tile)
            whole_steps[d] = block[d] // step_tile[d]
            left[d] = block[d] - whole_steps[d] * step_tile[d]
        slowest, stage = 0, AT_PORTS + 1 + moves[t, STAGE]
        for end in range(2):
            port = ends[t, kind, end, PORT]
            if port >= 0:
                share, _, _ = moved_of(t, kind, end, block, whole_steps, left, plan)
                taken = clocks_of(share, t, kind, end, ends)
                slowest = max(slowest, taken)
                if moves[t, TIER] == 1:
                    edges[AT_PORTS, port] += taken
                if not up:
                    edges[stage, port] += taken
        if up:
            clocks += slowest
        else:
            edges[stage, alone] = max(edges[stage, alone], slowest + moves[t, LATENCY])
            edges[stage, least] = min(edges[stage, least], moves[t, LATENCY])
    edges[AT_PORTS, alone] = clocks
    for stage in range(AT_PORTS + 1, edges.shape[0]):
        if edges[stage, least] < NEVER:
            most = 0
            for p in range(alone):
                most = max(most, edges[stage, p])
            clocks += max(edges[stage, alone], most + edges[stage, least])
    return clocks


@inner
def last_store(edges):
    """Return the clocks of the last store, as `edge_clocks` left them."""
    return edges[AT_PORTS, edges.shape[1] - 2]
