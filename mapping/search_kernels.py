"""The search over tiles, orders and doublings of one unrolling, compiled.

Tiles are chosen tier by tier, outermost first. Those of a tier that fit, and that a bound does not
exclude, are put in the order of their bounds; below the first of them the next tier's are tried,
and so on down to a whole nest of tiles, of which all orders of loops are. Bounds are those that
`mapping.search` names.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

import numpy as np

from ..datatypes.base.compiled import compiled
from ..datatypes.base.inner_kernels import inner
from .bound_kernels import EDGELESS, LIKELY, bound_of, further, has_room, inner_of
from .cost_kernels import (
    AT_PORTS,
    BUSY,
    EXCESS,
    LATE,
    LATENCY,
    NEVER,
    OP,
    PLACE,
    SUM_COLUMNS,
    TIER,
    WINDOWS,
    WITHIN,
    add_to_ports,
    cycles_of,
    edge_clocks,
    find_partial,
    fits,
    held_at,
    move_cost,
    step_cost,
    whole,
)
from .front_kernels import hopeless, keep
from .order_kernels import sort
from .visit_kernels import steps

FIRST_ROOM = 1 << 12  # tiles to take room for at first
# columns of what ports move in an order of the outermost loops: clocks of what has a window, and of
# all, the array's too; units that latencies delay; whether the order is to be tried
MOVED, ALL_MOVED, DELAY, LIVE, ORDER_COLUMNS = 0, 1, 2, 3, 4
MOST = 1e12  # clocks of a bound; it need not say more


@compiled(error_model="numpy")
def search_tiles(
    space, plan, layout, fixed, fixed_pj, rates, floors, objective, limit, front, scratch
):
    """Try all tiles, orders and doublings of one unrolling; keep the best in ``front``.

    Parameters
    ----------
    space : tuple
        Chains (D, C, G): tiles of each dimension inside each group of loops, outermost group first,
        in descending order; next (D, C, G), the next chain that differs in a group or outside it;
        counts (D,), how many chains there are; orders (6, 3) of three kinds of dimensions (a
        fourth, the batch, is outermost); allowed (G, 6, 8), whether a group's loops may have an
        order, by which kinds have a loop (a mask): one of those that are the same nest; members
        (4, 3), the dimensions of each kind, outermost first, -1 for none.
    plan, layout : tuple
        As `cost_kernels` takes them.
    fixed : (5,) int64 array
        Clocks beside the steps (fill), ports, places that may be doubled (a mask),
        whether to leave out what bounds say cannot be best, the number of the unrolling.
    fixed_pj : (2,) float64 array
        Energy of the array's units, energy of a clock.
    rates : tuple
        As `bound_kernels.move_rates` leaves them.
    floors : tuple
        What no tiles with two of a tier undercut (`packed.floors_of`).
    objective : int
        0 clocks, 1 energy, 2 their product, 3 all that are best in both.
    limit : int
        Mappings to cost at most.
    front : tuple
        As `front_kernels` has it; a row of ``found`` is: the unrolling, chain of each dimension,
        orders outside and inside, mask of doubled places.
    scratch : tuple
        Arrays to compute in (`packed.Packed.scratch`).

    Returns
    -------
    evaluated : int
        Mappings costed.
    """
    tile, low, high, at, stop = scratch[6], scratch[17], scratch[18], scratch[19], scratch[20]
    known_edge, elapsed = scratch[23], steps(plan[3], plan[4]) * plan[5][0]
    counts, groups, level, evaluated = space[2], tile.shape[0], 0, 0
    energies = _array_pj(plan, fixed_pj, scratch), fixed_pj[1]
    for d in range(counts.size):
        tile[groups - 1, d] = plan[4][d]
        low[0, d], high[0, d] = 0, counts[d]
    numbers, bounds = np.empty((2, FIRST_ROOM), np.int64), np.empty((2, FIRST_ROOM, 3))
    at[0], stop[0] = 0, 1  # the one choice of no tile
    while level >= 0:
        if at[level] == stop[level]:
            level -= 1
            continue
        i = at[level]
        at[level] += 1
        if level:
            if fixed[3] and hopeless(bounds[0, i, 0], bounds[0, i, 1], front, objective):
                continue
            _choose(level, numbers[0, i], space, low, high, tile)
        if level == min(1, groups - 1):
            _count_outer(space, plan, scratch)
        if level == groups - 1:
            evaluated += _search_orders(
                low[level], space, plan, layout, fixed, energies, rates, objective,
                limit - evaluated, front, scratch,
            )  # fmt: skip
            if evaluated >= limit:
                return evaluated
            continue
        known_edge[level] = edge_clocks(level, tile, plan, scratch[13]) + fixed[0]
        if level == 1 and fixed[3]:
            _look_up(level, low[level], floors, scratch)
            further(level, tile, plan, layout, rates, scratch[21])
            if _bound_orders(
                level, known_edge[level], elapsed, energies, plan, rates, objective, front, scratch
            ):
                continue
        _note_part(level, energies, plan, rates, scratch)
        start, end, level = stop[level] if level else 0, -1, level + 1
        while end < 0:
            end = _expand(
                level, start, numbers[0], bounds[0], space, low, high, plan, layout, fixed,
                energies, rates, floors, objective, front, scratch,
            )  # fmt: skip
            if end < 0:
                numbers, bounds = _grown(numbers, bounds)
        sort(start, end, objective, numbers, bounds)
        at[level], stop[level] = start, end
    return evaluated


@inner
def _array_pj(plan, fixed_pj, scratch):
    """Return the energy of the array and of what it takes; leave the sums of that at the ports."""
    base, sums, work, tile = scratch[0], scratch[2][0, 0], scratch[4], scratch[6]
    for p in range(base.shape[0]):
        for column in range(SUM_COLUMNS):
            base[p, column] = 0
    energy = fixed_pj[0]
    for t in range(plan[0].shape[0]):
        if plan[0][t, TIER] == tile.shape[0]:
            energy += step_cost(t, plan, work, sums)
            add_to_ports(t, sums, plan, base)
    return energy


@compiled(error_model="numpy")
def _grown(numbers, bounds):
    """Return arrays of twice the room, with what the first have."""
    room = numbers.shape[1]
    more, more_bounds = np.empty((2, 2 * room), np.int64), np.empty((2, 2 * room, 3))
    for i in range(room):
        more[0, i] = numbers[0, i]
        for column in range(3):
            more_bounds[0, i, column] = bounds[0, i, column]
    return more, more_bounds


@inner
def _choose(level, number, space, low, high, tile):
    """Set the tiles of a level to those that a number stands for."""
    chains, following, counts = space[0], space[1], space[2]
    for d in range(counts.size):
        i = number % counts[d]
        number //= counts[d]
        low[level, d], high[level, d] = i, following[d, i, level - 1]
        tile[level - 1, d] = chains[d, i, level - 1]


@inner
def _expand(
    level, start, numbers, bounds, space, low, high, plan, layout, fixed, energies, rates, floors,
    objective, front, scratch,
):  # fmt: skip
    """Append the tiles of a level that fit and may be best, with their bounds, from ``start`` on.

    Returns where they end, -1 where there is no room for them.
    """
    chains, following, counts = space[0], space[1], space[2]
    tile, index, at = scratch[6], scratch[16], start
    many, more = counts.size, True
    compute = whole(steps(plan[3], plan[4]) * plan[5][0], plan[5])
    for e in range(many):
        index[e] = low[level - 1, e]
        tile[level - 1, e] = chains[e, index[e], level - 1]
    while more:
        if at + counts[2] > numbers.size:
            return -1
        if not fixed[3] or not _hopeless_pair(
            level, index, compute, energies, floors, objective, front, scratch
        ):
            first, stride = 0, 1
            for e in range(many):
                first += 0 if e == 2 else stride * index[e]
                stride *= counts[e]
            at = _expand_last(
                level, at, first, numbers, bounds, space, low, high, plan, layout, fixed,
                energies, rates, floors, objective, front, scratch,
            )  # fmt: skip
        more = False
        for e in range(many):  # the next tiles of all but the third; the second goes first
            d = 1 - e if e < 2 else e
            if d == 2:
                continue
            index[d] = following[d, index[d], level - 1]
            if index[d] < high[level - 1, d]:
                tile[level - 1, d] = chains[d, index[d], level - 1]
                more = True
                break
            index[d] = low[level - 1, d]
            tile[level - 1, d] = chains[d, index[d], level - 1]
    return at


@inner
def _hopeless_pair(level, index, compute, energies, floors, objective, front, scratch):
    """Whether no tiles of a tier with these of the first two dimensions may be best."""
    tiers, places = floors[0], floors[2]
    part, edge = scratch[22][level - 1], scratch[23][level - 1]
    i, j = places[0, index[0], level - 1], places[1, index[1], level - 1]
    waits = busiest = 0.0
    for p in range(1, 1 + part.size // 2):
        every = p + part.size // 2
        waits = max(waits, part[p] + tiers[level - 1, p, i, j])
        busiest = max(busiest, part[every] + tiers[level - 1, every, i, j])
    cycles = max(edge + max(float(compute), waits * (1 - 1e-12) - 1), busiest * (1 - 1e-12) - 1)
    pj = part[0] + tiers[level - 1, 0, i, j] + energies[1] * cycles
    return hopeless(cycles, pj, front, objective)


@inner
def _first_with_room(level, first, space, high, plan, layout, scratch):
    """Return the first chain, of some and those after, of which the tile has room beside others.

    Tiles descend, so those after it have room as well, unless it is whole.
    """
    chains, tile, size = space[0], scratch[6], plan[3][2]
    partial, held, needs = scratch[10], scratch[11], scratch[12]
    end = high[level - 1, 2]
    if first >= end:
        return end
    tile[level - 1, 2] = chains[2, first, level - 1]
    if tile[level - 1, 2] >= size:
        if has_room(level, tile, partial, held, needs, plan, layout):
            return first
        first = space[1][2, first, level - 1]
    while first < end:
        k = (first + end) // 2
        tile[level - 1, 2] = chains[2, k, level - 1]
        if has_room(level, tile, partial, held, needs, plan, layout):
            end = k
        else:
            first = k + 1
    return first


@inner
def _expand_last(
    level, at, first, numbers, bounds, space, low, high, plan, layout, fixed, energies, rates,
    floors, objective, front, scratch,
):  # fmt: skip
    """Append the tiles of a level along the last dimension; return where they end.

    Of the outermost tiles, if no clocks at the edges make one hopeless, all that are smaller are:
    each of their transfers is repeated as often or more.
    """
    chains, following, counts = space[0], space[1], space[2]
    base, tile, edges, busy, out = scratch[0], scratch[6], scratch[13], scratch[14], scratch[15]
    stride = counts[0] * counts[1]
    deepest = level if level + 1 < tile.shape[0] else tile.shape[0]  # the array too
    _look_up(level, scratch[16], floors, scratch)
    elapsed = steps(plan[3], plan[4]) * plan[5][0]
    k = _first_with_room(level, low[level - 1, 2], space, high, plan, layout, scratch)
    whole_one = k < high[level - 1, 2] and chains[2, k, level - 1] >= plan[3][2]
    while k < high[level - 1, 2]:
        tile[level - 1, 2] = chains[2, k, level - 1]
        edge = edge_clocks(deepest, tile, plan, edges) + fixed[0]
        further(level, tile, plan, layout, rates, scratch[21])
        if level > 1:
            none = _bound_orders(
                level, edge, elapsed, energies, plan, rates, objective, front, scratch
            )
        else:
            bound_of(tile, edge, base, energies, plan, rates, scratch[21][2], edges, busy, out)
            none = hopeless(out[0], out[1], front, objective)
        if not fixed[3] or not none:
            numbers[at] = first + stride * k
            bounds[at, 0], bounds[at, 1], bounds[at, 2] = out[0], out[1], out[LIKELY]
            at += 1
        elif level == 1 and hopeless(out[EDGELESS], out[EDGELESS + 1], front, objective):
            return at
        k = following[2, k, level - 1]
        if whole_one:
            whole_one = False
            k = _first_with_room(level, k, space, high, plan, layout, scratch)
    return at


@inner
def _live(g, tile, sizes, kinds):
    """Return which of the first three kinds of dimensions have a loop in a group, as a mask."""
    live = 0
    for d in range(sizes.size):
        extent = sizes[d] if g == 0 else min(sizes[d], tile[g - 1, d])
        if tile[g, d] < extent:
            live |= 1 << kinds[d]
    return live & 7


@inner
def _append(g, kind, members, tile, sizes, loops, at):
    """Append the loops of a group over the dimensions of a kind; return where they end."""
    dims, tiles = loops
    for i in range(members.shape[1]):
        d = members[kind, i]
        if d >= 0 and tile[g, d] < (sizes[d] if g == 0 else min(sizes[d], tile[g - 1, d])):
            dims[at], tiles[at] = d, tile[g, d]
            at += 1
    return at


@inner
def _order(g, order, members, tile, sizes, loops, at):
    """Append the loops of a group in one order; return where they end."""
    for p in range(order.size):
        at = _append(g, order[p], members, tile, sizes, loops, at)
    return at


@inner
def _orders_inside(number, space, tile, plan, loops, cuts):
    """Write the loops of all groups but the outermost; return whether they are to be tried."""
    orders, allowed, members, sizes = space[3], space[4], space[5], plan[3]
    at = cuts[1]
    for g in range(1, tile.shape[0]):
        which = number % orders.shape[0]
        number //= orders.shape[0]
        if not allowed[g, which, _live(g, tile, sizes, plan[10])]:
            return False
        at = _order(g, orders[which], members, tile, sizes, loops, at)
        cuts[g + 1] = at
    return True


@inner
def _largest(fitting, may, held, partial, layout, needs):
    """Find the sets of doubled places that fit, and that no place could be added to."""
    if fits(may, held, partial, layout, needs):
        fitting[0] = may
        return 1
    many = 0
    for mask in range(may, -1, -1):
        if mask & ~may or not fits(mask, held, partial, layout, needs):
            continue
        most = True
        for place in range(held.shape[0]):
            more = mask | 1 << place
            if more != mask and may >> place & 1 and fits(more, held, partial, layout, needs):
                most = False
                break
        if most:
            fitting[many] = mask
            many += 1
    return many


@inner
def _count_outer(space, plan, scratch):
    """Count what the outermost loops' transfers move, with the chosen tiles, in each order."""
    orders, allowed, members, sizes, pace = space[3], space[4], space[5], plan[3], plan[5]
    base, parts, work, stack, tile, loops = (
        scratch[0], scratch[2], scratch[4], scratch[5], scratch[6], scratch[7],
    )  # fmt: skip
    moves, sums = plan[0], scratch[1]
    outer, outer_pj = scratch[24], scratch[25]
    elapsed = steps(sizes, plan[4]) * pace[0]
    start, live = _append(0, 3, members, tile, sizes, loops, 0), _live(0, tile, sizes, plan[10])
    for order in range(orders.shape[0]):
        outer[order, 0, LIVE] = allowed[0, order, live]
        if not outer[order, 0, LIVE]:
            continue
        nest = loops[0], loops[1], _order(0, orders[order], members, tile, sizes, loops, start)
        for timed in (False, True):
            outer_pj[order], late = 0.0, 0
            for p in range(sums.shape[0]):
                for column in range(SUM_COLUMNS):
                    sums[p, column] = base[p, column]
            for t in range(moves.shape[0]):
                if moves[t, TIER] != 1 or tile.shape[0] == 1:
                    continue
                found = parts[t, 1]
                outer_pj[order] += move_cost(
                    t, nest[2], True, timed, nest, plan, work, stack, found
                )  # fmt: skip
                add_to_ports(t, found, plan, sums)
                if moves[t, LATENCY] and moves[t, OP] < 2:
                    waits = (found[0, WINDOWS] - 1) * moves[t, LATENCY]
                    late = max(late, (found[0, BUSY] + waits) * pace[1] - elapsed)
            for p in range(sums.shape[0]):
                outer[order, p, MOVED if not timed else ALL_MOVED] = sums[p, BUSY]
                if not timed:
                    outer[order, p, DELAY] = late


@inner
def _outer_bound(order, edge, elapsed, inner_pj, energies, plan, scratch):
    """Return clocks and energy that no mapping with an order of the outermost loops undercuts.

    ``inner_pj``: the least energy of transfers further in; their clocks are in ``scratch``.
    """
    base, ports, outer, inner, pace = scratch[0], scratch[1], scratch[24], scratch[14][0], plan[5]
    busiest = 0.0
    for p in range(ports.shape[0]):
        further = np.int64(min(MOST, max(0.0, inner[p] - 1)))
        moved = outer[order, p, MOVED] - base[p, BUSY]
        ports[p, EXCESS] = base[p, EXCESS]
        ports[p, WITHIN] = base[p, WITHIN] + (moved + further) * pace[1]
        ports[p, WINDOWS] = elapsed
        ports[p, LATE] = outer[order, p, DELAY]
        ports[p, BUSY] = 0
        most = min(MOST, max(0.0, scratch[14][3, p] * (1 - 1e-12) - 1))
        busiest = max(busiest, outer[order, p, ALL_MOVED] + most)
    cycles = max(cycles_of(ports, elapsed, edge, pace), busiest)
    pj = energies[0] + scratch[25][order] + inner_pj * (1 - 1e-12)
    return cycles, pj + energies[1] * cycles


@inner
def _look_up(level, index, floors, scratch):
    """Write what tiers further in than a level take at least, by chains of its tiles."""
    deeper, places = scratch[21], floors[2]
    i, j = places[0, index[0], level - 1], places[1, index[1], level - 1]
    for way in range(2):
        for row in range(deeper.shape[1]):
            deeper[way, row] = floors[1][way, level - 1, row, i, j]


@inner
def _note_part(level, energies, plan, rates, scratch):
    """Write energy and clocks of the ports that tiers with tiles, and the array, take at least."""
    base, deeper, part, busy = scratch[0], scratch[21][2], scratch[22][level], scratch[14]
    outer, outer_pj, ports = scratch[24], scratch[25], base.shape[0]
    for row in range(deeper.size):
        deeper[row] = 0.0
    inner_pj = inner_of(level, scratch[6], plan, rates, deeper, busy)
    least_pj = 0.0
    if level:
        least_pj = 1e300
        for order in range(outer_pj.size):
            if outer[order, 0, LIVE]:
                least_pj = min(least_pj, outer_pj[order])
    part[0] = energies[0] + inner_pj + least_pj
    for p in range(ports):
        least = every = NEVER if level else np.int64(0)
        for order in range(outer_pj.size):
            if level and outer[order, 0, LIVE]:
                least = min(least, outer[order, p, MOVED] - base[p, BUSY])
                every = min(every, outer[order, p, ALL_MOVED] - base[p, BUSY])
        part[1 + p] = (base[p, EXCESS] + base[p, WITHIN]) / plan[5][1] + least + busy[0, p]
        part[1 + ports + p] = base[p, BUSY] + every + busy[3, p]


@inner
def _bound_orders(level, edge, elapsed, energies, plan, rates, objective, front, scratch):
    """Write what no mapping with the chosen tiles undercuts; return whether all are hopeless.

    It is the least over the orders of the outermost loops.
    """
    out, orders, none = scratch[15], scratch[25].size, True
    inner_pj = inner_of(level, scratch[6], plan, rates, scratch[21][2], scratch[14])
    out[0] = out[1] = out[LIKELY] = 1e300
    for order in range(orders):
        if scratch[24][order, 0, LIVE]:
            cycles, pj = _outer_bound(order, edge, elapsed, inner_pj, energies, plan, scratch)
            if none and not hopeless(cycles, pj, front, objective):
                none = False
            out[0], out[1] = min(out[0], cycles), min(out[1], pj)
            out[LIKELY] = min(out[LIKELY], max(cycles, edge + _likely(order, plan, scratch)))
    return none


@inner
def _likely(order, plan, scratch):
    """Return the clocks of the busiest port as if none were spared, without those at the edges."""
    base, outer, inner, at_edges = scratch[0], scratch[24], scratch[14][0], scratch[13][AT_PORTS]
    most = 0.0
    for p in range(base.shape[0]):
        stepping = (base[p, EXCESS] + base[p, WITHIN]) / plan[5][1]
        moved = outer[order, p, ALL_MOVED] - base[p, BUSY] - at_edges[p]
        most = max(most, stepping + moved + inner[p])
    return most


@inner
def _combined(mask, known, nest, cuts, plan, scratch):
    """Add up the transfers of a nest with a set of doubled places; return their energy.

    ``known``: transfers with one tile, and with two, as a mask, whose sums are there already; those
    that are from now on are returned.
    """
    base, ports, parts, parts_pj, work, stack = scratch[:6]
    for p in range(ports.shape[0]):
        for column in range(SUM_COLUMNS):
            ports[p, column] = base[p, column]
    energy = 0.0
    for t in range(plan[0].shape[0]):
        tier = plan[0][t, TIER]
        if tier == cuts.size - 1:
            continue
        two = mask >> plan[0][t, PLACE] & 1
        if not known >> (2 * t + two) & 1:
            parts_pj[t] = move_cost(
                t, cuts[tier], two == 1, True, nest, plan, work, stack, parts[t, two]
            )
            known |= 1 << (2 * t + two)
        add_to_ports(t, parts[t, two], plan, ports)
        energy += parts_pj[t]
    return energy, known


@inner
def _search_orders(
    chosen, space, plan, layout, fixed, energies, rates, objective, limit, front, scratch
):
    """Try all orders and doublings of the tiles that were chosen; return how many were costed."""
    orders, members, sizes, pace = space[3], space[5], plan[3], plan[5]
    tile, loops, cuts = scratch[6], scratch[7], scratch[8]
    fitting, partial, held, needs = scratch[9], scratch[10], scratch[11], scratch[12]
    elapsed = steps(sizes, plan[4]) * pace[0]
    groups, evaluated = tile.shape[0], 0
    edge = edge_clocks(groups, tile, plan, scratch[13]) + fixed[0]
    for row in range(scratch[21].shape[1]):
        scratch[21][2, row] = 0.0
    inner_pj = inner_of(groups - 1, tile, plan, rates, scratch[21][2], scratch[14])
    for place in range(held.shape[0]):
        for unfinished in range(2):
            held[place, unfinished] = held_at(place, tile, unfinished, plan, layout)
    outer_two = 0  # of two tiles of the first tier: whatever is inside
    for t in range(plan[0].shape[0]):
        if plan[0][t, TIER] == 1:
            outer_two |= 2 << 2 * t
    start = _append(0, 3, members, tile, sizes, loops, 0)
    for outer in range(orders.shape[0]):
        if not scratch[24][outer, 0, LIVE]:
            continue
        cuts[1] = _order(0, orders[outer], members, tile, sizes, loops, start)
        least, least_pj = _outer_bound(outer, edge, elapsed, inner_pj, energies, plan, scratch)
        if fixed[3] and hopeless(least, least_pj, front, objective):
            continue
        known = 0
        for inside in range(orders.shape[0] ** (groups - 1)):
            if not _orders_inside(inside, space, tile, plan, loops, cuts):
                continue
            nest = loops[0], loops[1], cuts[groups]
            known &= outer_two
            find_partial(partial, cuts, nest, plan, layout)
            for which in range(_largest(fitting, fixed[2], held, partial, layout, needs)):
                if evaluated >= limit:
                    return evaluated
                evaluated += 1
                mask = fitting[which]
                pj, known = _combined(mask, known, nest, cuts, plan, scratch)
                cycles = cycles_of(scratch[1], elapsed, edge, pace)
                energy = energies[0] + pj + energies[1] * cycles
                keep(cycles, energy, objective, fixed[4], chosen, outer, inside, mask, front)
    return evaluated
