"""Whole nests of tiles that were chosen: their orders and doublings, compiled.

Orders of the outermost loops are bounded, with all that enters the first tier counted exactly.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

import numpy as np

from ..datatypes.base.inner_kernels import inlined, inner
from .alike_kernels import prepare
from .bound_kernels import exact_inner_of
from .cost_kernels import (
    BUSY,
    EXCESS,
    LATE,
    LATENCY,
    OP,
    PORT,
    SUM_ROWS,
    TIER,
    VISITS,
    WINDOWS,
    WITHIN,
    cycles_of,
    edge_clocks,
    last_store,
    move_cost,
    without_window,
)
from .front_kernels import hopeless, keep
from .pair_kernels import OWN, edge_clocks_of, find_edge, follow, weigh
from .room_kernels import find_partial, fits, held_at
from .scratch_kernels import (
    ARRAY_PORTS,
    BOOK,
    CUTS,
    EDGES,
    FILLED,
    FITTING,
    FURTHER,
    HELD,
    LEAST_CLOCKS,
    LOOPS,
    NEEDS,
    NEST,
    NO_WINDOW,
    OUTER,
    OUTER_PJ,
    PORT_SUMS,
    SLOT_PJ,
    SLOT_PORTS,
    SLOT_SUMS,
    STACK,
    TILES,
    UNFINISHED,
    WORK,
)
from .shared_kernels import (
    add_up,
    forget_below,
    forget_nest,
    least_of_orders,
    note_counts,
    note_ports,
    two_slot,
)
from .tuple_kernels import (
    ALLOWED,
    BOUNDED,
    DOUBLABLE,
    ENDS_OF,
    FILL,
    KINDS,
    MEMBERS,
    MOVES,
    ORDERS,
    PACE,
    SIZES,
    STEP_TILE,
    WAY,
)
from .visit_kernels import steps

# columns of what ports move in an order of the outermost loops: clocks of what has a window, and of
# all, the array's too; units that latencies delay; whether the order is to be tried, and which kind
# of dimensions is innermost
MOVED, ALL_MOVED, DELAY, LIVE, INNERMOST, ORDER_COLUMNS = 0, 1, 2, 3, 4, 5
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
    dims, tiles, groups = loops
    for i in range(members.shape[1]):
        d = members[kind, i]
        if d >= 0 and tile[g, d] < (sizes[d] if g == 0 else min(sizes[d], tile[g - 1, d])):
            dims[at], tiles[at], groups[at] = d, tile[g, d], g
            at += 1
    return at


@inner
def _order(g, order, members, tile, sizes, loops, at):
    """Append the loops of a group in one order; return where they end."""
    for p in range(order.size):
        at = _append(g, order[p], members, tile, sizes, loops, at)
    return at


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
    orders, allowed, members, sizes, pace = (
        space[ORDERS],
        space[ALLOWED],
        space[MEMBERS],
        plan[SIZES],
        plan[PACE],
    )
    base, work, stack, tile, loops = (
        scratch[ARRAY_PORTS],
        scratch[WORK],
        scratch[STACK],
        scratch[TILES],
        scratch[LOOPS],
    )
    moves, spared = plan[MOVES], scratch[NO_WINDOW]
    outer, outer_pj = scratch[OUTER], scratch[OUTER_PJ]
    elapsed = steps(sizes, plan[STEP_TILE]) * pace[0]
    start, live = _append(0, 3, members, tile, sizes, loops, 0), _live(0, tile, sizes, plan[KINDS])
    steady, book = (loops[0], loops[2]), scratch[BOOK]
    alike = book[0].size > 0
    if alike:
        prepare(0, 1, tile, book, plan)
    for order in range(orders.shape[0]):
        outer[order, 0, LIVE] = allowed[0, order, live]
        if not outer[order, 0, LIVE]:
            continue
        nest = loops[0], loops[1], _order(0, orders[order], members, tile, sizes, loops, start)
        outer_pj[order], late, outer[order, 0, INNERMOST] = 0.0, 0, 0
        for i in range(orders.shape[1]):
            if live >> orders[order, i] & 1:
                outer[order, 0, INNERMOST] = orders[order, i]
        for p in range(base.shape[0]):
            outer[order, p, MOVED] = outer[order, p, ALL_MOVED] = base[p, BUSY]
        for t in range(moves.shape[0]):
            if moves[t, TIER] != 1 or tile.shape[0] == 1:
                continue
            slot = two_slot(t, order, plan, scratch[FILLED])
            found = scratch[SLOT_SUMS][t, slot]
            if alike:
                part = OWN + order
                follow(t, part, 0, 1, nest[2], steady, book, stack)
                find_edge(t, part, nest[2], steady, book)
                parts = -1, part, part
                pj = weigh(t, parts, True, False, found, nest[2], nest[2], steady, book, found)
                edge_clocks_of(t, part, book, spared)
            else:
                pj = move_cost(t, nest[2], True, nest, plan, work, stack, found)
                without_window(t, nest[2], nest, plan, work, spared)
            scratch[SLOT_PJ][t, slot] = pj
            note_ports(t, found, plan, scratch[SLOT_PORTS][t, slot])
            outer_pj[order] += pj
            _add_busy(t, found, plan, outer[order], MOVED)
            _add_busy(t, found, plan, outer[order], ALL_MOVED)
            _add_busy(t, spared, plan, outer[order], MOVED)
            if moves[t, LATENCY] and moves[t, OP] < 2:
                waits = (found[0, VISITS] - 1) * moves[t, LATENCY]
                timed = found[0, BUSY] + spared[0, BUSY]
                late = max(late, (timed + waits) * pace[1] - elapsed)
        for p in range(base.shape[0]):
            outer[order, p, DELAY] = late


@inner
def _add_busy(t, sums, plan, outer, column):
    """Add the clocks of a transfer to those of the ports."""
    for row in range(SUM_ROWS):
        port = plan[ENDS_OF][t, row // 2, row % 2, PORT]
        if port >= 0:
            outer[port, column] += sums[row, BUSY]


@inner
def outer_bound(order, edge, elapsed, inner_pj, energies, plan, scratch):
    """Return clocks and energy that no mapping with an order of the outermost loops undercuts.

    ``inner_pj``: the least energy of transfers further in; their clocks are in ``scratch``.
    """
    base, ports, outer, inner, pace = (
        scratch[ARRAY_PORTS],
        scratch[PORT_SUMS],
        scratch[OUTER],
        scratch[LEAST_CLOCKS][0],
        plan[PACE],
    )
    busiest = 0.0
    for p in range(ports.shape[0]):
        further = np.int64(min(MOST, max(0.0, inner[p] - 1)))
        moved = outer[order, p, MOVED] - base[p, BUSY]
        ports[p, EXCESS] = base[p, EXCESS]
        ports[p, WITHIN] = base[p, WITHIN] + (moved + further) * pace[1]
        ports[p, WINDOWS] = elapsed
        ports[p, LATE] = outer[order, p, DELAY]
        ports[p, BUSY] = 0
        most = min(MOST, max(0.0, scratch[LEAST_CLOCKS][3, p] * (1 - 1e-12) - 1))
        busiest = max(busiest, outer[order, p, ALL_MOVED] + most)
    cycles = max(cycles_of(ports, elapsed, edge, pace), busiest)
    pj = energies[0] + scratch[OUTER_PJ][order] + inner_pj * (1 - 1e-12)
    return cycles, pj + energies[1] * cycles


@inner
def _prepare(tile, plan, layout, rates, scratch):
    """Write what tiles take at each place; return the least energy of transfers further in."""
    deeper, held, (_, live, _, known) = scratch[FURTHER][2], scratch[HELD], scratch[NEST]
    known[0] = -1
    for g in range(tile.shape[0]):
        live[g] = _live(g, tile, plan[SIZES], plan[KINDS])
    for row in range(deeper.size):
        deeper[row] = 0.0
    if scratch[BOOK][0].size:
        prepare(1, tile.shape[0], tile, scratch[BOOK], plan)
    for place in range(held.shape[0]):
        for unfinished in range(2):
            held[place, unfinished] = held_at(place, tile, unfinished, False, plan, layout)
    return exact_inner_of(
        tile.shape[0] - 1, tile, plan, rates, deeper, scratch[WORK], scratch[STACK],
        scratch[LEAST_CLOCKS],
    )  # fmt: skip


@inner
def search_orders(
    chosen, space, plan, layout, fixed, energies, rates, objective, limit, front, scratch
):
    """Try all orders and doublings of the tiles that were chosen; return how many were costed."""
    orders, members, sizes = space[ORDERS], space[MEMBERS], plan[SIZES]
    tile, loops, cuts = scratch[TILES], scratch[LOOPS], scratch[CUTS]
    elapsed, evaluated = steps(sizes, plan[STEP_TILE]) * plan[PACE][0], 0
    edge = edge_clocks(tile.shape[0], tile, plan, scratch[EDGES]) + fixed[FILL]
    scratch[NEST][3][2] = last_store(scratch[EDGES])
    inner_pj = _prepare(tile, plan, layout, rates, scratch)
    forget_nest(scratch[FILLED])
    start = _append(0, 3, members, tile, sizes, loops, 0)
    for outer in range(orders.shape[0]):
        if not scratch[OUTER][outer, 0, LIVE]:
            continue
        cuts[1] = _order(0, orders[outer], members, tile, sizes, loops, start)
        least, least_pj = outer_bound(outer, edge, elapsed, inner_pj, energies, plan, scratch)
        if not fixed[BOUNDED] or not hopeless(
            least, least_pj, fixed[WAY], chosen, front, objective
        ):
            evaluated += _search_inside(
                outer, chosen, edge, elapsed, space, plan, layout, fixed, energies, objective,
                limit - evaluated, front, scratch,
            )  # fmt: skip
        if evaluated >= limit:
            return evaluated
    return evaluated


@inlined
def _search_inside(
    outer, chosen, edge, elapsed, space, plan, layout, fixed, energies, objective, limit, front,
    scratch,
):  # fmt: skip
    """Try all orders of the other loops, and doublings, in one order of the outermost loops.

    The order of the second group of loops changes last, so that what it decides is counted once.
    """
    orders, allowed, members = space[ORDERS], space[ALLOWED], space[MEMBERS]
    sizes, tile, loops, cuts = plan[SIZES], scratch[TILES], scratch[LOOPS], scratch[CUTS]
    which, live = scratch[NEST][0], scratch[NEST][1]
    groups, g, evaluated = tile.shape[0], 1, 0
    forget_below(0, plan, scratch[FILLED])
    for group in range(groups):
        which[group] = -1
    while g:
        if g < groups:
            which[g] += 1
            if which[g] == orders.shape[0]:
                g -= 1
            elif allowed[g, which[g], live[g]]:
                cuts[g + 1] = _order(g, orders[which[g]], members, tile, sizes, loops, cuts[g])
                forget_below(g, plan, scratch[FILLED])
                if g == groups - 2 and fixed[BOUNDED] and _hopeless_inside(
                    outer, chosen, edge, elapsed, orders, plan, fixed, energies, objective, front,
                    scratch,
                ):  # fmt: skip
                    continue
                g += 1
                if g < groups:
                    which[g] = -1
            continue
        evaluated += _search_doubled(
            outer, chosen, edge, elapsed, space, plan, layout, fixed, energies, objective,
            limit - evaluated, front, scratch,
        )  # fmt: skip
        if evaluated >= limit:
            return evaluated
        g -= 1
    return evaluated


@inner
def _hopeless_inside(
    outer, chosen, edge, elapsed, orders, plan, fixed, energies, objective, front, scratch
):  # fmt: skip
    """Whether no order of the loops inside the last tier, and no doubling, may be best."""
    cuts, loops, ports = scratch[CUTS], scratch[LOOPS], scratch[PORT_SUMS]
    nest = loops[0], loops[1], cuts[cuts.size - 2]
    pj = energies[0] + least_of_orders(outer, nest, cuts, orders, plan, scratch)
    for p in range(ports.shape[0]):
        ports[p, WITHIN] += ports[p, EXCESS]
        ports[p, EXCESS], ports[p, WINDOWS], ports[p, LATE] = 0, elapsed, 0
    cycles = cycles_of(ports, elapsed, edge, plan[PACE])
    return hopeless(cycles, pj + energies[1] * cycles, fixed[WAY], chosen, front, objective)


@inlined
def _search_doubled(
    outer, chosen, edge, elapsed, space, plan, layout, fixed, energies, objective, limit, front,
    scratch,
):  # fmt: skip
    """Try all largest sets of doubled places of a nest; return how many were costed."""
    loops, cuts, fitting, partial, held, needs = (
        scratch[LOOPS], scratch[CUTS], scratch[FITTING], scratch[UNFINISHED], scratch[HELD],
        scratch[NEEDS],
    )  # fmt: skip
    which, _, slots, known = scratch[NEST]
    groups = which.size
    nest = loops[0], loops[1], cuts[groups]
    unfinished = find_partial(partial, cuts, nest, plan, layout)
    if known[0] != unfinished:
        known[0] = unfinished
        known[1] = _largest(fitting, fixed[DOUBLABLE], held, partial, layout, needs)
    for i in range(min(known[1], limit)):
        pj = add_up(fitting[i], slots, outer, nest, cuts, space[ORDERS], plan, scratch)
        cycles = cycles_of(scratch[PORT_SUMS], elapsed, edge, plan[PACE])
        energy, inside = energies[0] + pj + energies[1] * cycles, 0
        for g in range(groups - 1, 0, -1):
            inside = inside * space[ORDERS].shape[0] + which[g]
        if keep(cycles, energy, objective, fixed[WAY], chosen, outer, inside, fitting[i], front):
            note_counts(slots, edge, known[2], scratch)
    return min(known[1], limit)
