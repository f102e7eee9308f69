"""The cost of a mapping, compiled: the twin of `mapping.cost`.

Tiles above the array are whole multiples of what the array works on in one step (``step_tile``),
so a block of ``b`` elements takes ceil(b / step_tile) steps. Clocks are counted in units of
1 / ``pace[1]``, so that a step of a fractional number of clocks, ``pace[0] / pace[1]``, is exact.

What they take of a layer on a chip, the *plan*, is a tuple:

* moves (T, 5): operand, dimensions that index it (a mask), the child's tier and place, the stage of
  the first load;
* ends (T, kinds, 2, 5): port, bits of an element over the port's width (two numbers), the axes
  along which copies have elements of their own, those along which copies have the same;
* pj (T, kinds, 2, 2): energy of an access, and of an element's scales beside it;
* sizes, step_tile (D,); pace (2,);
* reached, shares (axes, D, elements): units that the first elements of a step's tile reach, and
  elements of the first unit;
* windows (W, 2): pairs of dimensions that index the input together; pixels (W, axes, P + 1, R + 1,
  3): of blocks of so many outputs and taps the pixels of all copies, copies, pixels of the copy
  with most;
* kinds (D,): which dimensions' loops stand together, 0 to 2; 3 is outermost.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

from ..datatypes.base.inner_kernels import inner

FETCH, FINISHED, PARTIAL, READBACK = 0, 1, 2, 3
ALL, FIRST, LAST = 0, 1, 2
OP, RELEVANT, TIER, PLACE, STAGE = 0, 1, 2, 3, 4  # columns of moves; PLACE: the child's
PORT, UP, DOWN, OWN, REACHED = 0, 1, 2, 3, 4  # columns of ends
# columns of places
MEMORY, DEPTH, INDEXED, AXES, OPERAND, CHILD = 0, 1, 2, 3, 4, 5
BUSY, EXCESS, WITHIN, WINDOWS = 0, 1, 2, 3  # columns of sums, by kind and end or by port
# rows of `work`: blocks, a tile, its whole steps, the rest
SCRATCH, TILE, WHOLE, REST, BLOCK, EDGE, WORK_ROWS = 0, 1, 2, 3, 4, 5, 6
SUM_ROWS = 8  # kinds by ends
AT_PORTS = 3  # row of `edges`: a block, its whole steps, the rest, ports, and ports by stage
# how often a class of visits counts as each kind of transfer
FETCHES, FINISHES, RETURNS = (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 1)
LAST_OF_MANY, NOT_READ_BACK = (0, 1, -1, 0), (0, 0, 0, -1)
SPARE_FETCH, SPARE_FINISH, SPARE_RETURN = (-1, 0, 0, 0), (0, -1, 0, 0), (0, -1, 0, -1)


@inner
def steps(block, step_tile):
    """Return the steps that a block takes."""
    count = 1
    for d in range(step_tile.size):
        count *= (block[d] + step_tile[d] - 1) // step_tile[d]
    return count


@inner
def whole(units, pace):
    """Return clocks, rounded up, of units of the pace."""
    return (units + pace[1] - 1) // pace[1]


@inner
def _single(i, cut, relevant, block, dims, tiles):
    for j in range(i, cut):
        d = dims[j]
        if relevant >> d & 1 and tiles[j] < block[d]:
            return False
    return True


@inner
def _last_pass(i, relevant, block, nest, step_tile, scratch):
    """Return the steps of the last turn over the tile, from loop ``i`` inwards."""
    dims, tiles, loops = nest
    for d in range(step_tile.size):
        scratch[d] = block[d]
    for j in range(i, loops):
        d, tile = dims[j], tiles[j]
        if tile < scratch[d]:
            if relevant >> d & 1:
                return steps(scratch, step_tile)
            rest = scratch[d] % tile
            scratch[d] = rest if rest else tile
    return 1


@inner
def slid_dims(relevant, windows):
    """Return the dimensions of an operand's windows, as a mask: all of them, or none."""
    slid = 0
    for w in range(windows.shape[0]):
        slid |= 1 << windows[w, 0] | 1 << windows[w, 1]
    return slid if slid & ~relevant == 0 else 0


@inner
def _moved(t, kind, end, tile, whole_steps, rest, plan):
    """Return (share of one copy, copies, elements) of a tile at one end of a transfer.

    ``whole_steps``, ``rest``: the tile in whole steps' tiles of each dimension, and what is left.
    """
    moves, ends, _, _, step_tile, _, reached, shares, windows, pixels, _ = plan
    relevant = moves[t, RELEVANT]
    share = copies = elements = 1
    own, alike = ends[t, kind, end, OWN], ends[t, kind, end, REACHED]
    slid = slid_dims(relevant, windows)
    for w in range(windows.shape[0]):
        if slid:
            found = pixels[w, own, tile[windows[w, 0]], tile[windows[w, 1]]]
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
    return share, copies, elements


@inner
def accesses_of(share, up, down):
    """Return the accesses of a port for the elements of one copy: ``up / down`` each, rounded."""
    if down == 1:
        return share * up
    return (share * up + down - 1) // down


@inner
def _leaf(t, times, count, i, cut, block, doubled, delays_only, nest, plan, work, sums):
    """Add a class of equal visits to the sums of a transfer, a number of times for each kind.

    ``delays_only``: leave accesses as they are. Returns the energy and the window of one visit.
    """
    moves, ends, pj, _, step_tile, pace, _, _, _, _, _ = plan
    tile, relevant = work[TILE], moves[t, RELEVANT]
    dims, tiles, _ = nest
    for d in range(step_tile.size):
        tile[d] = block[d]
    for j in range(i, cut):
        tile[dims[j]] = min(tile[dims[j]], tiles[j])
    for d in range(step_tile.size):
        work[WHOLE, d] = tile[d] // step_tile[d]
        work[REST, d] = tile[d] - work[WHOLE, d] * step_tile[d]
    if doubled:
        window = steps(block, step_tile) * pace[0]
    else:
        window = _last_pass(i, relevant, block, nest, step_tile, work[SCRATCH]) * pace[0]
    energy = 0.0
    for kind in range(4):
        if times[kind] == 0:
            continue
        many = times[kind] * count
        for end in range(2):
            if ends[t, kind, end, PORT] < 0:
                continue
            share, copies, elements = _moved(t, kind, end, tile, work[WHOLE], work[REST], plan)
            accesses = accesses_of(share, ends[t, kind, end, UP], ends[t, kind, end, DOWN])
            taken, row = accesses * pace[1], 2 * kind + end
            if not delays_only:
                sums[row, BUSY] += accesses * many
                energy += pj[t, kind, end, 0] * (accesses * copies * many)
                energy += pj[t, kind, end, 1] * (elements * many)
            sums[row, EXCESS] += max(0, taken - window) * many
            sums[row, WITHIN] += min(taken, window) * many
    return energy, window


@inner
def _visits(t, edge, times, cut, doubled, nest, plan, work, stack, sums):
    """Follow the loops above a tile and add all its visits, or the first or last of each tile.

    Returns the energy, and the sum of the windows.
    """
    relevant, sizes = plan[0][t, RELEVANT], plan[3]
    dims, tiles, _ = nest
    many = sizes.size
    energy, windows = 0.0, 0
    stack[0, 0], stack[0, 1] = 0, 1
    for d in range(many):
        stack[0, 2 + d] = sizes[d]
    depth, block = 1, work[BLOCK]
    while depth:
        depth -= 1
        i, count = stack[depth, 0], stack[depth, 1]
        for d in range(many):
            block[d] = stack[depth, 2 + d]
        while not _single(i, cut, relevant, block, dims, tiles):
            d, tile = dims[i], tiles[i]
            i += 1
            if tile >= block[d]:
                continue
            full = block[d] // tile
            rest = block[d] - full * tile
            if edge != ALL and not relevant >> d & 1:
                block[d] = rest if edge == LAST and rest else tile
                continue
            if rest:
                stack[depth, 0], stack[depth, 1] = i, count
                for e in range(many):
                    stack[depth, 2 + e] = block[e]
                stack[depth, 2 + d] = rest
                depth += 1
            count *= full
            block[d] = tile
        pj, window = _leaf(
            t, times, count, i, cut, block, doubled, False, nest, plan, work, sums
        )  # fmt: skip
        energy += pj
        windows += window * count
    return energy, windows


@inner
def _spare(t, edge, times, cut, doubled, nest, plan, work, sums):
    """Take the very first, or last, visit out of the sums of what delays the array."""
    relevant, sizes, block = plan[0][t, RELEVANT], plan[3], work[EDGE]
    dims, tiles, _ = nest
    for d in range(sizes.size):
        block[d] = sizes[d]
    i = 0
    while not _single(i, cut, relevant, block, dims, tiles):
        d, tile = dims[i], tiles[i]
        if tile < block[d]:
            rest = block[d] % tile
            block[d] = rest if edge == LAST and rest else tile
        i += 1
    _leaf(t, times, 1, i, cut, block, doubled, True, nest, plan, work, sums)


@inner
def move_cost(t, cut, doubled, nest, plan, work, stack, sums):
    """Write what one operand moves between a parent and a child, by kind and end.

    Parameters
    ----------
    t, cut : int
        The transfer; loops outside the child.
    doubled : bool
        Whether the child has two tiles of the operand.
    nest : tuple
        Dimensions of the loops and their tiles, outermost first, and how many there are.
    plan : tuple
    work, stack : arrays
        Room to compute in.
    sums : (SUM_ROWS, 4) int64 array
        Overwritten: clocks, clocks beyond the windows and within them, windows.

    Returns
    -------
    energy : float
    """
    for row in range(SUM_ROWS):
        for column in range(4):
            sums[row, column] = 0
    relevant = plan[0][t, RELEVANT]
    args = (cut, doubled, nest, plan, work)
    if plan[0][t, OP] < 2:
        energy, windows = _visits(t, ALL, FETCHES, *args, stack, sums)
        _spare(t, FIRST, SPARE_FETCH, *args, sums)
    elif finishes(cut, relevant, plan[3], nest):
        energy, windows = _visits(t, LAST, FINISHES, *args, stack, sums)
        _spare(t, LAST, SPARE_FINISH, *args, sums)
    else:
        energy = _visits(t, LAST, LAST_OF_MANY, *args, stack, sums)[0]
        pj, windows = _visits(t, ALL, RETURNS, *args, stack, sums)
        energy += pj + _visits(t, FIRST, NOT_READ_BACK, *args, stack, sums)[0]
        _spare(t, LAST, SPARE_RETURN, *args, sums)
    for row in range(SUM_ROWS):
        sums[row, WINDOWS] = windows
    return energy


@inner
def step_cost(t, plan, work, sums):
    """Write what the array takes, or leaves, step by step; as `move_cost`. Returns the energy."""
    sizes, step_tile, block = plan[3], plan[4], work[BLOCK]
    for row in range(SUM_ROWS):
        for column in range(4):
            sums[row, column] = 0
    up = plan[0][t, OP] == 2
    nest = work[SCRATCH], work[SCRATCH], 0  # no loops
    energy, windows = 0.0, 0
    for number in range(1 << sizes.size):
        count, first, last = _step_tile(number, plan[0][t, RELEVANT], sizes, step_tile, block)
        if count:
            times = (0, last, count - last, count - first) if up else (count, 0, 0, 0)
            pj, window = _leaf(t, times, 1, 0, 0, block, True, False, nest, plan, work, sums)
            energy += pj
            windows += window * count
    for d in range(sizes.size):  # the very first, or last, step
        rest = sizes[d] % step_tile[d]
        short = rest > 0 and (up or sizes[d] < step_tile[d])
        block[d] = rest if short else step_tile[d]
    spared = SPARE_RETURN if up else SPARE_FETCH
    _leaf(t, spared, 1, 0, 0, block, True, True, nest, plan, work, sums)
    for row in range(SUM_ROWS):
        sums[row, WINDOWS] = windows
    return energy


@inner
def _step_tile(number, relevant, sizes, step_tile, block):
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
def add_to_ports(t, sums, plan, ports):
    """Add the sums of a transfer to those of the ports."""
    ends = plan[1]
    for kind in range(4):
        for end in range(2):
            row, port = 2 * kind + end, ends[t, kind, end, PORT]
            if port >= 0 and sums[row, BUSY] > 0:
                ports[port, BUSY] += sums[row, BUSY]
                ports[port, EXCESS] += max(0, sums[row, EXCESS])
                ports[port, WITHIN] += max(0, sums[row, WITHIN])
                ports[port, WINDOWS] = max(ports[port, WINDOWS], sums[row, WINDOWS])


@inner
def finishes(cut, relevant, sizes, nest):
    """Whether no tile is visited again: no loop of the reduction outside one that moves on."""
    dims, tiles, _ = nest
    for j in range(cut):
        if relevant >> dims[j] & 1:
            continue
        if tiles[j] < _first_extent(j, dims[j], sizes, dims, tiles):
            for i in range(j + 1, cut):
                d = dims[i]
                if relevant >> d & 1 and tiles[i] < _first_extent(i, d, sizes, dims, tiles):
                    return False
            # the loops inside have no tile to move on to either
            return True
    return True


@inner
def _first_extent(i, d, sizes, dims, tiles):
    extent = sizes[d]
    for j in range(i):
        if dims[j] == d and tiles[j] < extent:
            extent = tiles[j]
    return extent


@inner
def cycles_of(ports, elapsed, edge, pace):
    """Return the clocks of a mapping: steps, the stall of the worst port, the edges; the roofline.

    Parameters
    ----------
    ports : (P, 4) int64 array
        Sums of the ports.
    elapsed : int
        Units of the pace that all steps take.
    edge : int
        Clocks of first load and last store, and of what else goes beside the steps.
    pace : (2,) int64 array
    """
    worst = busiest = 0
    for p in range(ports.shape[0]):
        stall = ports[p, EXCESS] + max(0, ports[p, WITHIN] - ports[p, WINDOWS])
        worst = max(worst, stall)
        busiest = max(busiest, ports[p, BUSY])
    return max(whole(elapsed + worst, pace) + edge, whole(elapsed, pace), busiest)


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
def edge_clocks(deepest, tile, plan, edges):
    """Return the clocks of first load and last store, whatever the order of the loops.

    Parameters
    ----------
    deepest : int
        Transfers into tiers further in than this one are left out.
    tile : (G, D) int64 array
        The tile of each dimension inside the loops of a group. Of an edge tile the size is that of
        the first, or last, block of every group.
    plan : tuple
    edges : (4 + G, max(D, P)) int64 array
        Room to compute in; row 3 gets what each port takes of the first tier's.
    """
    moves, ends, _, sizes, step_tile, _, _, _, _, _, _ = plan
    for row in range(AT_PORTS, edges.shape[0]):
        for p in range(edges.shape[1]):
            edges[row, p] = 0
    block, whole_steps, left = edges[0], edges[1], edges[2]
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
        slowest = 0
        for end in range(2):
            port = ends[t, kind, end, PORT]
            if port >= 0:
                share, _, _ = _moved(t, kind, end, block, whole_steps, left, plan)
                taken = accesses_of(share, ends[t, kind, end, UP], ends[t, kind, end, DOWN])
                slowest = max(slowest, taken)
                if moves[t, TIER] == 1:
                    edges[AT_PORTS, port] += taken
                if not up:
                    edges[AT_PORTS + 1 + moves[t, STAGE], port] += taken
        if up:
            clocks += slowest
    for stage in range(AT_PORTS + 1, edges.shape[0]):
        most = 0
        for p in range(edges.shape[1]):
            most = max(most, edges[stage, p])
        clocks += most
    return clocks


@inner
def held_at(place, tile, partial, plan, layout):
    """Return what one copy of a memory holds at a place, one tile of it.

    ``partial``: 1 for unfinished sums.
    """
    places, ratio = layout[0], layout[1]
    sizes, step_tile, shares = plan[3], plan[4], plan[7]
    own, share, windows = places[place, AXES], 1, plan[8]
    depth, slid = places[place, DEPTH] - 1, slid_dims(places[place, INDEXED], windows)
    for w in range(windows.shape[0]):
        if slid:
            out, tap = windows[w, 0], windows[w, 1]
            most = min(sizes[out], tile[depth, out]), min(sizes[tap], tile[depth, tap])
            share *= plan[9][w, own, most[0], most[1], 2]
    for d in range(sizes.size):
        if places[place, INDEXED] >> d & 1 and not slid >> d & 1:
            size, step = min(sizes[d], tile[places[place, DEPTH] - 1, d]), step_tile[d]
            full = size // step
            share *= full * shares[own, d, step] + shares[own, d, size - full * step]
    return accesses_of(share, ratio[place, partial, 0], ratio[place, partial, 1])


@inner
def fits(mask, held, partial, layout, needs):
    """Whether all memories hold their tiles, two of each place in the mask.

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
    places, room = layout[0], layout[2]
    for memory in range(room.size):
        needs[memory] = 0
    for place in range(places.shape[0]):
        needs[places[place, MEMORY]] += held[place, partial[place]] << (mask >> place & 1)
    enough = True
    for memory in range(room.size):
        enough = enough and needs[memory] <= room[memory]
    return enough


@inner
def find_partial(partial, cuts, nest, plan, layout):
    """Note which places hold unfinished sums: where sums arrive from inside more than once."""
    places = layout[0]
    for place in range(places.shape[0]):
        partial[place] = 0
        if places[place, OPERAND] == 2:
            child = places[place, CHILD]
            if child == cuts.size - 1:
                once = layout[3][0] == 1
            else:
                once = finishes(cuts[child], places[place, INDEXED], plan[3], nest)
            partial[place] = 0 if once else 1
