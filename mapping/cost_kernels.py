"""The cost of a mapping, compiled: the twin of `mapping.cost`.

Tiles above the array are whole multiples of what the array works on in one step (``step_tile``),
so a block of ``b`` elements takes ceil(b / step_tile) steps. Clocks are counted in units of
1 / ``pace[1]``, so that a step of a fractional number of clocks, ``pace[0] / pace[1]``, is exact.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

import numpy as np

from ..datatypes.base.compiled import compiled

FETCH, FINISHED, PARTIAL, READBACK = 0, 1, 2, 3
ALL, FIRST, LAST = 0, 1, 2
OP, RELEVANT, TIER, PLACE, STAGE = 0, 1, 2, 3, 4  # columns of moves; PLACE: the child's
# columns of places
MEMORY, DEPTH, INDEXED, AXES, OPERAND, CHILD = 0, 1, 2, 3, 4, 5
BUSY, EXCESS, WITHIN, WINDOWS = 0, 1, 2, 3  # rows of port sums
# rows of `work`: scratch, a tile, its whole steps, the rest, blocks, and sums by kind and end
SCRATCH, TILE, WHOLE, REST, BLOCK, EDGE, SUMS, WORK_ROWS = 0, 1, 2, 3, 4, 5, 6, 14
AT_PORTS = 3  # row of `edges`: a block, its whole steps, the rest, ports, and ports by stage
# how often a class of visits counts as each kind of transfer
FETCHES, FINISHES, RETURNS = (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 1)
NOT_PARTIAL, NOT_READ_BACK = (0, 0, -1, 0), (0, 0, 0, -1)
SPARE_FETCH, SPARE_FINISH, SPARE_READBACK = (-1, 0, 0, 0), (0, -1, 0, 0), (0, 0, 0, -1)


@compiled
def steps(block, step_tile):
    """Return the steps that a block takes."""
    count = 1
    for d in range(step_tile.size):
        count *= (block[d] + step_tile[d] - 1) // step_tile[d]
    return count


@compiled
def _single(i, cut, relevant, block, dims, tiles):
    for j in range(i, cut):
        d = dims[j]
        if relevant >> d & 1 and tiles[j] < block[d]:
            return False
    return True


@compiled
def _last_pass(i, relevant, block, dims, tiles, step_tile, scratch):
    """Return the steps of the last turn over the tile, from loop ``i`` inwards."""
    for d in range(step_tile.size):
        scratch[d] = block[d]
    for j in range(i, dims.size):
        d, tile = dims[j], tiles[j]
        if tile < scratch[d]:
            if relevant >> d & 1:
                return steps(scratch, step_tile)
            rest = scratch[d] % tile
            scratch[d] = rest if rest else tile
    return 1


@compiled
def _moved(kind, end, t, tile, whole_steps, rest, plan):
    """Return (share of one copy, copies, elements) of a tile at one end of a transfer."""
    moves, axes, step_tile, reached_table, share_table = plan
    relevant = moves[t, RELEVANT]
    share = copies = elements = 1
    own, reached = axes[t, kind, end, 0], axes[t, kind, end, 1]
    for d in range(step_tile.size):
        inside = min(tile[d], step_tile[d])
        if relevant >> d & 1:
            share *= (
                whole_steps[d] * share_table[own, d, step_tile[d]] + share_table[own, d, rest[d]]
            )
            copies *= reached_table[own, d, inside]
            elements *= tile[d]
        else:
            same = reached_table[reached, d, inside]
            copies *= same
            elements *= same
    return share, copies, elements


@compiled
def _leaf(t, times, count, i, cut, block, doubled, dims, tiles, plan, prices, work):
    """Add a class of equal visits to the sums of a transfer, a number of times for each kind.

    Returns the energy and the window of one visit.
    """
    step_tile = plan[2]
    ratio, ports, access_pj, beside_pj, pace = prices
    tile, sums = work[TILE], work[SUMS:]
    relevant = plan[0][t, RELEVANT]
    for d in range(step_tile.size):
        tile[d] = block[d]
    for j in range(i, cut):
        tile[dims[j]] = min(tile[dims[j]], tiles[j])
    for d in range(step_tile.size):
        work[WHOLE, d], work[REST, d] = tile[d] // step_tile[d], tile[d] % step_tile[d]
    if doubled:
        window = steps(block, step_tile) * pace[0]
    else:
        window = _last_pass(i, relevant, block, dims, tiles, step_tile, work[SCRATCH]) * pace[0]
    energy = 0.0
    for kind in range(4):
        if times[kind] == 0:
            continue
        many = times[kind] * count
        for end in range(2):
            if ports[t, kind, end] < 0:
                continue
            share, copies, elements = _moved(kind, end, t, tile, work[WHOLE], work[REST], plan)
            up, down = ratio[t, kind, end, 0], ratio[t, kind, end, 1]
            accesses = (share * up + down - 1) // down
            taken, row = accesses * pace[1], 2 * kind + end
            sums[row, BUSY] += accesses * many
            energy += access_pj[t, kind, end] * (accesses * copies * many)
            energy += beside_pj[t, kind, end] * (elements * many)
            sums[row, EXCESS] += max(0, taken - window) * many
            sums[row, WITHIN] += min(taken, window) * many
    return energy, window


@compiled
def _visits(t, edge, times, cut, doubled, sizes, dims, tiles, plan, prices, work, stack):
    """Follow the loops above a tile and add all its visits, or the first or last of each tile.

    Returns the energy, and the sum of the windows.
    """
    relevant = plan[0][t, RELEVANT]
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
            full, rest = block[d] // tile, block[d] % tile
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
        pj, window = _leaf(t, times, count, i, cut, block, doubled, dims, tiles, plan, prices, work)
        energy += pj
        windows += window * count
    return energy, windows


@compiled
def _spare(t, edge, times, cut, doubled, sizes, dims, tiles, plan, prices, work):
    """Take the very first, or last, visit out of the sums of what delays the array."""
    relevant, block = plan[0][t, RELEVANT], work[EDGE]
    for d in range(sizes.size):
        block[d] = sizes[d]
    i = 0
    while not _single(i, cut, relevant, block, dims, tiles):
        d, tile = dims[i], tiles[i]
        if tile < block[d]:
            rest = block[d] % tile
            block[d] = rest if edge == LAST and rest else tile
        i += 1
    _not_delayed(t, times, i, cut, block, doubled, dims, tiles, plan, prices, work)


@compiled
def _not_delayed(t, times, i, cut, block, doubled, dims, tiles, plan, prices, work):
    """Take a visit out of the sums of what delays the array; its accesses stay."""
    sums = work[SUMS:]
    for row in range(8):
        sums[row, WINDOWS] = sums[row, BUSY]
    _leaf(t, times, 1, i, cut, block, doubled, dims, tiles, plan, prices, work)
    for row in range(8):
        sums[row, BUSY] = sums[row, WINDOWS]


@compiled
def move_cost(t, cut, doubled, sizes, dims, tiles, plan, prices, work, stack, port_sums):
    """Add what one operand moves between a parent and a child to the sums of the ports.

    Returns the energy.
    """
    work[SUMS:] = 0
    args = (cut, doubled, sizes, dims, tiles, plan, prices, work)
    if plan[0][t, OP] < 2:
        energy, windows = _visits(t, ALL, FETCHES, *args, stack)
        _spare(t, FIRST, SPARE_FETCH, *args)
    else:
        energy, windows = _visits(t, LAST, FINISHES, *args, stack)
        _spare(t, LAST, SPARE_FINISH, *args)
        if not finishes(cut, plan[0][t, RELEVANT], sizes, dims, tiles):
            pj, windows = _visits(t, ALL, RETURNS, *args, stack)
            energy += pj + _visits(t, LAST, NOT_PARTIAL, *args, stack)[0]
            energy += _visits(t, FIRST, NOT_READ_BACK, *args, stack)[0]
            _spare(t, LAST, SPARE_READBACK, *args)
    _add_to_ports(t, windows, plan, prices, work, port_sums)
    return energy


@compiled
def step_cost(t, sizes, plan, prices, work, port_sums):
    """Add what the array takes, or leaves, step by step to the sums of the ports.

    Returns the energy.
    """
    many, step_tile, block = sizes.size, plan[2], work[BLOCK]
    work[SUMS:] = 0
    up = plan[0][t, OP] == 2
    none = np.empty(0, np.int64)
    args = (0, 0, block, True, none, none, plan, prices, work)
    energy, windows = 0.0, 0
    for number in range(1 << many):
        count, first, last = _step_tile(number, plan[0][t, RELEVANT], sizes, step_tile, block)
        if count:
            times = (0, last, count - last, count - first) if up else (count, 0, 0, 0)
            pj, window = _leaf(t, times, 1, *args)
            energy += pj
            windows += window * count
    for d in range(many):  # the very first, or last, step
        rest = sizes[d] % step_tile[d]
        short = rest > 0 and (up or sizes[d] < step_tile[d])
        block[d] = rest if short else step_tile[d]
    _not_delayed(t, (0, -1, 0, -1) if up else SPARE_FETCH, *args)
    _add_to_ports(t, windows, plan, prices, work, port_sums)
    return energy


@compiled
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


@compiled
def _add_to_ports(t, windows, plan, prices, work, port_sums):
    ports, sums = prices[1], work[SUMS:]
    for kind in range(4):
        for end in range(2):
            row, port = 2 * kind + end, ports[t, kind, end]
            if port >= 0 and sums[row, BUSY] > 0:
                port_sums[port, BUSY] += sums[row, BUSY]
                port_sums[port, EXCESS] += max(0, sums[row, EXCESS])
                port_sums[port, WITHIN] += max(0, sums[row, WITHIN])
                port_sums[port, WINDOWS] = max(port_sums[port, WINDOWS], windows)


@compiled
def finishes(cut, relevant, sizes, dims, tiles):
    """Whether no tile is visited again: no loop of the reduction outside one that moves on."""
    for j in range(cut):
        if relevant >> dims[j] & 1:
            continue
        if tiles[j] < _first_extent(j, dims[j], sizes, dims, tiles):
            for i in range(j + 1, cut):
                d = dims[i]
                if relevant >> d & 1 and tiles[i] < _first_extent(i, d, sizes, dims, tiles):
                    return False
    return True


@compiled
def _first_extent(i, d, sizes, dims, tiles):
    extent = sizes[d]
    for j in range(i):
        if dims[j] == d and tiles[j] < extent:
            extent = tiles[j]
    return extent


@compiled
def stall_of(port_sums):
    """Return the stall of the worst port, in units of the pace."""
    worst = 0
    for p in range(port_sums.shape[0]):
        stall = port_sums[p, EXCESS] + max(0, port_sums[p, WITHIN] - port_sums[p, WINDOWS])
        worst = max(worst, stall)
    return worst


@compiled
def edge_clocks(tile, sizes, plan, prices, edges):
    """Return the clocks of first load and last store, whatever the order of the loops.

    ``tile[g]``: the tile of each dimension inside the loops of group ``g``. Of an edge tile the
    size is that of the first, or last, block of every group. What each port takes of it is left in
    row ``AT_PORTS`` of ``edges``.
    """
    moves = plan[0]
    ratio, ports = prices[0], prices[1]
    stages = edges[AT_PORTS + 1 :]
    edges[AT_PORTS:] = 0
    last_store = 0
    for t in range(moves.shape[0]):
        up = moves[t, OP] == 2
        if moves[t, STAGE] < 0 and not up:
            continue
        block, kind = edges[0], FINISHED if up else FETCH
        for d in range(sizes.size):
            block[d] = sizes[d]
            for g in range(moves[t, TIER]):
                if tile[g, d] < block[d]:
                    rest = block[d] % tile[g, d]
                    block[d] = rest if up and rest else tile[g, d]
        whole_steps, left = edges[1], edges[2]
        for d in range(sizes.size):
            whole_steps[d], left[d] = block[d] // plan[2][d], block[d] % plan[2][d]
        slowest = 0
        for end in range(2):
            if ports[t, kind, end] >= 0:
                share, _, _ = _moved(kind, end, t, block, whole_steps, left, plan)
                num, den = ratio[t, kind, end, 0], ratio[t, kind, end, 1]
                taken = (share * num + den - 1) // den
                slowest = max(slowest, taken)
                edges[AT_PORTS, ports[t, kind, end]] += taken
                if not up:
                    stages[moves[t, STAGE], ports[t, kind, end]] += taken
        if up:
            last_store += slowest
    first_load = 0
    for stage in range(stages.shape[0]):
        first_load += stages[stage].max()
    return first_load + last_store


@compiled
def _held(place, tile, sizes, partial, layout, plan):
    """Return what one copy of a memory holds at a place, one tile of it."""
    places, ratio = layout[0], layout[1]
    step_tile, share_table = plan[2], plan[4]
    own, share = places[place, AXES], 1
    for d in range(sizes.size):
        if places[place, INDEXED] >> d & 1:
            size = min(sizes[d], tile[places[place, DEPTH] - 1, d])
            step = step_tile[d]
            share *= size // step * share_table[own, d, step] + share_table[own, d, size % step]
    num, den = ratio[place, partial, 0], ratio[place, partial, 1]
    return (share * num + den - 1) // den


@compiled
def hold(held, tile, sizes, partial, layout, plan):
    """Write what one tile takes at each place."""
    for place in range(held.size):
        held[place] = _held(place, tile, sizes, partial[place], layout, plan)


@compiled
def fits(mask, held, layout):
    """Whether all memories hold their tiles, two of each place in the mask."""
    places, room = layout[0], layout[2]
    for memory in range(room.size):
        needs = 0
        for place in range(held.size):
            if places[place, MEMORY] == memory:
                needs += held[place] << (mask >> place & 1)
        if needs > room[memory]:
            return False
    return True


@compiled
def find_partial(partial, cuts, sizes, nest, layout):
    """Note which places hold unfinished sums: where sums arrive from inside more than once."""
    places = layout[0]
    for place in range(places.shape[0]):
        partial[place] = 0
        if places[place, OPERAND] == 2:
            child = places[place, CHILD]
            once = finishes(cuts[child], places[place, INDEXED], sizes, nest[0], nest[1])
            if child == cuts.size - 1:
                once = layout[3][0] == 1
            partial[place] = 0 if once else 1


@compiled
def whole(units, pace):
    """Return clocks, rounded up, of units of the pace."""
    return (units + pace[1] - 1) // pace[1]


@compiled
def nest_cost(nest, cuts, mask, edge, base, problem, work, stack, sums):
    """Return clocks and energy of a mapping beyond the array's and static energy.

    Parameters
    ----------
    nest : tuple of two (L,) int64 arrays
        Dimensions and tiles of the loops, outermost first.
    cuts : (G + 1,) int64 array
        Loops outside each tier.
    mask : int
        Places with two tiles.
    edge : int
        Clocks of first load and last store, and of what else goes beside the steps.
    base : (P, 4) int64 array
        Sums of the ports for what the array takes step by step.
    problem : tuple
        Sizes, plan, prices, layout, orders, as `mapping.packed` has them.
    work, stack, sums : arrays
        Room to compute in.
    """
    sizes, plan, prices = problem[0], problem[1], problem[2]
    moves, pace = plan[0], prices[4]
    elapsed = steps(sizes, plan[2]) * pace[0]
    sums[:] = base
    energy = 0.0
    for t in range(moves.shape[0]):
        if moves[t, TIER] < cuts.size - 1:
            doubled = mask >> moves[t, PLACE] & 1 == 1
            cut = cuts[moves[t, TIER]]
            energy += move_cost(
                t, cut, doubled, sizes, nest[0], nest[1], plan, prices, work, stack, sums
            )
    cycles = max(whole(elapsed, pace), whole(elapsed + stall_of(sums), pace) + edge)
    for p in range(sums.shape[0]):
        cycles = max(cycles, sums[p, BUSY])
    return cycles, energy
