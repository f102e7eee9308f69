"""Whole nests of tiles that were chosen: their orders and doublings, compiled.

Orders of the outermost loops are bounded, with all that enters the first tier counted exactly.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

import numpy as np

from ..datatypes.base.inner_kernels import inner
from .bound_kernels import inner_of
from .cost_kernels import (
    BUSY,
    EXCESS,
    LATE,
    LATENCY,
    OP,
    PLACE,
    PORT_COLUMNS,
    TIER,
    WINDOWS,
    WITHIN,
    add_to_ports,
    cycles_of,
    edge_clocks,
    last_store,
    move_cost,
)
from .front_kernels import hopeless, keep
from .room_kernels import find_partial, fits, held_at
from .visit_kernels import steps

# columns of what ports move in an order of the outermost loops: clocks of what has a window, and of
# all, the array's too; units that latencies delay; whether the order is to be tried
MOVED, ALL_MOVED, DELAY, LIVE, ORDER_COLUMNS = 0, 1, 2, 3, 4
MOST = 1e12  # clocks of a bound; it need not say more


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
def count_outer(space, plan, scratch):
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
                for column in range(PORT_COLUMNS):
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
def outer_bound(order, edge, elapsed, inner_pj, energies, plan, scratch):
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
def _combined(mask, known, nest, cuts, plan, scratch):
    """Add up the transfers of a nest with a set of doubled places; return their energy.

    ``known``: transfers with one tile, and with two, as a mask, whose sums are there already; those
    that are from now on are returned.
    """
    base, ports, parts, parts_pj, work, stack = scratch[:6]
    for p in range(ports.shape[0]):
        for column in range(PORT_COLUMNS):
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
def _note(mask, edge, groups, plan, scratch):
    """Note the counts of the mapping that was kept last: those of transfers, ports and edges."""
    ports, parts = scratch[1], scratch[2]
    transfers, at_ports, edges = scratch[27]
    for t in range(parts.shape[0]):
        two = mask >> plan[0][t, PLACE] & 1 if plan[0][t, TIER] < groups else 0
        for row in range(parts.shape[2]):
            for column in range(parts.shape[3]):
                transfers[t, row, column] = parts[t, two, row, column]
    for p in range(ports.shape[0]):
        for column in range(PORT_COLUMNS):
            at_ports[p, column] = ports[p, column]
    edges[0], edges[1] = edge, last_store(scratch[13])


@inner
def _prepare(tile, plan, layout, rates, scratch):
    """Write what tiles take at each place; return the least energy of transfers further in."""
    deeper, held = scratch[21][2], scratch[11]
    for row in range(deeper.size):
        deeper[row] = 0.0
    for place in range(held.shape[0]):
        for unfinished in range(2):
            held[place, unfinished] = held_at(place, tile, unfinished, plan, layout)
    return inner_of(tile.shape[0] - 1, tile, plan, rates, deeper, scratch[14])


@inner
def search_orders(
    chosen, space, plan, layout, fixed, energies, rates, objective, limit, front, scratch
):
    """Try all orders and doublings of the tiles that were chosen; return how many were costed."""
    orders, members, sizes = space[3], space[5], plan[3]
    tile, loops, cuts = scratch[6], scratch[7], scratch[8]
    elapsed, evaluated = steps(sizes, plan[4]) * plan[5][0], 0
    edge = edge_clocks(tile.shape[0], tile, plan, scratch[13]) + fixed[0]
    inner_pj = _prepare(tile, plan, layout, rates, scratch)
    start = _append(0, 3, members, tile, sizes, loops, 0)
    for outer in range(orders.shape[0]):
        if not scratch[24][outer, 0, LIVE]:
            continue
        cuts[1] = _order(0, orders[outer], members, tile, sizes, loops, start)
        least, least_pj = outer_bound(outer, edge, elapsed, inner_pj, energies, plan, scratch)
        if not fixed[3] or not hopeless(least, least_pj, front, objective):
            evaluated += _search_inside(
                outer, chosen, edge, elapsed, space, plan, layout, fixed, energies, objective,
                limit - evaluated, front, scratch,
            )  # fmt: skip
        if evaluated >= limit:
            return evaluated
    return evaluated


@inner
def _search_inside(
    outer, chosen, edge, elapsed, space, plan, layout, fixed, energies, objective, limit, front,
    scratch,
):  # fmt: skip
    """Try all orders of the other loops, and doublings, in one order of the outermost loops."""
    tile, loops, cuts = scratch[6], scratch[7], scratch[8]
    fitting, partial, held, needs = scratch[9], scratch[10], scratch[11], scratch[12]
    groups, known, outer_two, evaluated = tile.shape[0], 0, 0, 0
    for t in range(plan[0].shape[0]):  # of two tiles of the first tier: whatever is inside
        if plan[0][t, TIER] == 1:
            outer_two |= 2 << 2 * t
    for inside in range(space[3].shape[0] ** (groups - 1)):
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
            cycles = cycles_of(scratch[1], elapsed, edge, plan[5])
            energy = energies[0] + pj + energies[1] * cycles
            if keep(cycles, energy, objective, fixed[4], chosen, outer, inside, mask, front):
                _note(mask, edge, groups, plan, scratch)
    return evaluated
