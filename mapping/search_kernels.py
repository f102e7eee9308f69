"""The search over tiles, orders and doublings of one unrolling, compiled."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

import numpy as np

from ..datatypes.base.compiled import compiled
from .cost_kernels import (
    AT_PORTS,
    EXCESS,
    FETCH,
    FINISHED,
    OP,
    READBACK,
    RELEVANT,
    TIER,
    WINDOWS,
    WITHIN,
    WORK_ROWS,
    edge_clocks,
    find_partial,
    fits,
    hold,
    move_cost,
    nest_cost,
    stall_of,
    step_cost,
    steps,
    whole,
)

CHUNK = 1 << 20  # tiles that are bounded, and tried in the order of their bounds, at a time


@compiled
def hopeless(cycles, energy, best, objective):
    """Whether nothing of at least so many clocks and so much energy beats the best so far."""
    energy *= 1 - 1e-12  # sums of the same terms in another order
    if objective == 0:
        return cycles > best[0] or (cycles == best[0] and energy >= best[1])
    if objective == 1:
        return energy > best[1] or (energy == best[1] and cycles >= best[0])
    product, found = cycles * energy, best[0] * best[1]
    return product > found or (product == found and cycles >= best[0])


@compiled
def _better(cycles, energy, best, objective):
    if objective == 0:
        return cycles < best[0] or (cycles == best[0] and energy < best[1])
    if objective == 1:
        return energy < best[1] or (energy == best[1] and cycles < best[0])
    product, found = cycles * energy, best[0] * best[1]
    return product < found or (product == found and cycles < best[0])


@compiled
def _order(g, order, tile, sizes, dims, tiles, at):
    """Append the loops of a group in one order; return where they end, or -1 for a duplicate.

    Dimensions without a loop here must stand last, ascending: any other place is the same nest.
    """
    idle = -1
    for p in range(order.size):
        d = order[p]
        extent = sizes[d] if g == 0 else min(sizes[d], tile[g - 1, d])
        if tile[g, d] < extent:
            if idle >= 0:
                return -1
            dims[at], tiles[at] = d, tile[g, d]
            at += 1
        else:
            if d < idle:
                return -1
            idle = d
    return at


@compiled
def _orders_inside(number, orders, tile, sizes, dims, tiles, cuts):
    """Write the loops of all groups but the outermost; return where they end, -1 if a duplicate."""
    at = cuts[1]
    for g in range(1, tile.shape[0]):
        at = _order(g, orders[number % orders.shape[0]], tile, sizes, dims, tiles, at)
        number //= orders.shape[0]
        if at < 0:
            return -1
        cuts[g + 1] = at
    return at


@compiled
def _largest(fitting, may, held, layout):
    """Find the sets of doubled places that fit, and that no place could be added to."""
    if fits(may, held, layout):
        fitting[0] = may
        return 1
    many = 0
    for mask in range(may, -1, -1):
        if mask & ~may or not fits(mask, held, layout):
            continue
        most = True
        for place in range(held.size):
            more = mask | 1 << place
            if more != mask and may >> place & 1 and fits(more, held, layout):
                most = False
                break
        if most:
            fitting[many] = mask
            many += 1
    return many


@compiled
def search_tiles(chains, counts, problem, fixed, fixed_pj, objective, limit, best, found):
    """Try all tiles, orders and doublings of one unrolling; keep the best in ``best``, ``found``.

    Parameters
    ----------
    chains : (D, C, G) int64 array
        Tiles of each dimension inside each group of loops, outermost group first.
    counts : (D,) int64 array
        How many chains each dimension has.
    problem : tuple
        Sizes, plan, prices, layout, orders, as `mapping.packed` has them. Orders are those of the
        first three dimensions; a fourth, the batch, is outermost.
    fixed : (4,) int64 array
        Clocks beside the steps (fill, latencies), ports, places that may be doubled (a mask),
        whether to leave out what bounds say cannot be best.
    fixed_pj : (3,) float64 array
        Energy of the array's units, least energy between memories, energy of a clock.
    objective : int
        0 clocks, 1 energy, 2 their product.
    limit : int
        Mappings to cost at most.
    best : (2,) float64 array
        Clocks and energy of the best so far.
    found : (5,) int64 array
        Its number among the tiles, orders outside and inside, mask of doubled places, clocks.

    Returns
    -------
    evaluated : int
        Mappings costed.
    """
    sizes, plan, prices, layout = problem[0], problem[1], problem[2], problem[3]
    many, groups = sizes.size, chains.shape[2]
    tile = np.empty((groups, many), np.int64)
    base = np.zeros((fixed[1], 4), np.int64)
    scratch = (
        np.empty(groups * many, np.int64),  # dimensions of the loops
        np.empty(groups * many, np.int64),  # their tiles
        np.zeros((WORK_ROWS, max(4, many)), np.int64),
        np.zeros((groups * many + 2, many + 2), np.int64),
        np.zeros((fixed[1], 4), np.int64),  # sums of the ports
        np.zeros(groups + 1, np.int64),  # loops outside each tier
        np.zeros(1 << layout[0].shape[0], np.int64),  # sets of doubled places that fit
        np.zeros(layout[0].shape[0], np.int64),  # places that hold unfinished sums
        np.zeros(layout[0].shape[0], np.int64),  # what one tile takes at each place
    )
    array_pj = fixed_pj[0]
    for t in range(plan[0].shape[0]):
        if plan[0][t, TIER] == groups:
            array_pj += step_cost(t, sizes, plan, prices, scratch[2], base)
    energies = array_pj, fixed_pj[2]
    compute = whole(steps(sizes, plan[2]) * prices[4][0], prices[4]) + fixed[0]
    least_pj = array_pj + fixed_pj[1] + fixed_pj[2] * compute
    if fixed[3] and hopeless(compute, least_pj, best, objective):
        return 0
    evaluated, total = 0, 1
    for d in range(many):
        total *= counts[d]
    for start in range(0, total, CHUNK):
        numbers, edges, bounds = _bounded(
            start, min(total, start + CHUNK), chains, counts, tile, problem, base, energies,
            fixed, scratch,
        )  # fmt: skip
        for i in np.argsort(bounds[:, objective], kind="mergesort"):
            if fixed[3] and hopeless(bounds[i, 0], bounds[i, 1], best, objective):
                continue
            _fill(numbers[i], chains, counts, tile)
            evaluated += _search_orders(
                numbers[i], tile, edges[i], base, energies, problem, fixed, objective,
                limit - evaluated, best, found, scratch,
            )  # fmt: skip
            if evaluated >= limit:
                return evaluated
    return evaluated


@compiled
def _fill(number, chains, counts, tile):
    """Write the tiles that a number stands for."""
    for d in range(chains.shape[0]):
        for g in range(chains.shape[2]):
            tile[g, d] = chains[d, number % counts[d], g]
        number //= counts[d]


@compiled
def _bounded(start, stop, chains, counts, tile, problem, base, energies, fixed, scratch):
    """Return the tiles that fit: numbers, clocks beside the steps, bounds (clocks, pJ, both).

    A bound is the least over the dimension that is innermost of the outermost loops; only the
    operand that it does not index stays through it. Transfers are not rounded up to whole accesses.
    """
    sizes, plan, prices, layout, _ = problem
    numbers, edges = np.empty(stop - start, np.int64), np.empty(stop - start, np.int64)
    bounds = np.empty((stop - start, 3))
    room = np.zeros((AT_PORTS + 1 + chains.shape[2], max(sizes.size, fixed[1])), np.int64)
    busy = np.empty(fixed[1])
    partial, held = scratch[7], scratch[8]
    partial[:] = 0
    compute = whole(steps(sizes, plan[2]) * prices[4][0], prices[4])
    many = 0
    for number in range(start, stop):
        _fill(number, chains, counts, tile)
        hold(held, tile, sizes, partial, layout, plan)
        if not fits(0, held, layout):
            continue
        edge = edge_clocks(tile, sizes, plan, prices, room) + fixed[0]
        bounds[many] = np.inf
        for innermost in range(3):
            for p in range(fixed[1]):
                within = base[p, EXCESS] + base[p, WITHIN]
                busy[p] = within / prices[4][1] - room[AT_PORTS, p]
            pj = energies[0]
            for t in range(plan[0].shape[0]):
                if plan[0][t, TIER] < tile.shape[0]:
                    pj += _least_moved(t, innermost, tile, sizes, plan, prices, busy)
            cycles = max(float(compute), busy.max() * (1 - 1e-12) - 1) + edge
            pj += energies[1] * cycles
            bounds[many, 0] = min(bounds[many, 0], cycles)
            bounds[many, 1] = min(bounds[many, 1], pj)
            bounds[many, 2] = min(bounds[many, 2], cycles * pj)
        numbers[many], edges[many] = number, edge
        many += 1
    return numbers[:many], edges[:many], bounds[:many]


@compiled
def _least_moved(t, innermost, tile, sizes, plan, prices, busy):
    """Add the least clocks that a transfer takes of its ports; return its least energy.

    Outermost transfers are repeated for all blocks of what does not index them but the innermost.
    Those further in are repeated for all of them where a whole outer block has several inner tiles;
    short blocks are counted once.
    """
    moves, axes, step_tile, reached_table, _ = plan
    ratio, ports, access_pj = prices[0], prices[1], prices[2]
    inner = moves[t, TIER] > 1
    elements, repeated, again, step = 1.0, 1.0, 1, 1.0
    several = not inner
    for d in range(sizes.size):
        around = min(sizes[d], tile[0, d])
        if moves[t, RELEVANT] >> d & 1:
            elements *= sizes[d]
            repeated *= sizes[d] // around * around if inner else sizes[d]
            step *= min(around, tile[moves[t, TIER] - 1, d])
            several = several or tile[moves[t, TIER] - 1, d] < around
        elif inner or d != innermost:
            again *= (sizes[d] + around - 1) // around
    more = repeated * (again - 1) if several else 0.0
    energy = 0.0
    for kind in range(4):
        if (moves[t, OP] == 2) == (kind == FETCH):
            continue
        moved = elements + more if kind == FETCH else (elements if kind == FINISHED else more)
        # the first load and last store take outermost transfers apart by themselves
        spared = step if inner or kind == READBACK else 0.0
        for end in range(2):
            port = ports[t, kind, end]
            if port >= 0 and moved > 0:
                copies = 1
                for d in range(sizes.size):
                    if moves[t, RELEVANT] >> d & 1:
                        copies *= reached_table[axes[t, kind, end, 0], d, step_tile[d]]
                rate = ratio[t, kind, end, 0] / ratio[t, kind, end, 1]
                delayed = max(0.0, moved - spared) / copies * rate
                busy[port] += max(0.0, delayed - 1) if spared else delayed
                energy += moved * rate * access_pj[t, kind, end]
    return energy


@compiled
def _outer_bound(nest, inner, base, problem, work, stack, sums):
    """Return clocks and energy of the outermost loops' transfers, each in its longest window.

    ``inner``: clocks that transfers further in take of the ports at least.
    """
    sizes, plan, prices = problem[0], problem[1], problem[2]
    elapsed = steps(sizes, plan[2]) * prices[4][0]
    sums[:] = base
    energy = 0.0
    for t in range(plan[0].shape[0]):
        if plan[0][t, TIER] == 1:
            energy += move_cost(
                t, nest[0].size, True, sizes, nest[0], nest[1], plan, prices, work, stack, sums
            )
    for p in range(sums.shape[0]):
        sums[p, WITHIN] += np.int64(max(0.0, inner[p] - 1)) * prices[4][1]
        sums[p, WINDOWS] = elapsed
    return whole(elapsed + stall_of(sums), prices[4]), energy


@compiled
def _search_orders(
    number, tile, edge, base, energies, problem, fixed, objective, limit, best, found, scratch
):
    """Try all orders and doublings of the tiles with a number; return how many were costed."""
    sizes, plan, prices, layout, orders = problem
    dims, tiles, work, stack, sums, cuts, fitting, partial, held = scratch
    array_pj, static_pj = energies
    evaluated, start = 0, 0
    if sizes.size > 3 and sizes[3] > tile[0, 3]:
        dims[0], tiles[0] = 3, tile[0, 3]
        start = 1
    inner, inner_pj = np.zeros(fixed[1]), 0.0
    for t in range(plan[0].shape[0]):
        if 1 < plan[0][t, TIER] < tile.shape[0]:
            inner_pj += _least_moved(t, 0, tile, sizes, plan, prices, inner)
    for outer in range(orders.shape[0]):
        cuts[1] = _order(0, orders[outer], tile, sizes, dims, tiles, start)
        if cuts[1] < 0:
            continue
        nest = dims[: cuts[1]], tiles[: cuts[1]]
        least, least_pj = _outer_bound(nest, inner, base, problem, work, stack, sums)
        least, least_pj = least + edge, least_pj + array_pj + inner_pj * (1 - 1e-12)
        if fixed[3] and hopeless(least, least_pj + static_pj * least, best, objective):
            continue
        for inside in range(orders.shape[0] ** (tile.shape[0] - 1)):
            end = _orders_inside(inside, orders, tile, sizes, dims, tiles, cuts)
            if end < 0:
                continue
            nest = dims[:end], tiles[:end]
            find_partial(partial, cuts, sizes, nest, layout)
            hold(held, tile, sizes, partial, layout, plan)
            for which in range(_largest(fitting, fixed[2], held, layout)):
                if evaluated >= limit:
                    return evaluated
                evaluated += 1
                mask = fitting[which]
                cycles, pj = nest_cost(nest, cuts, mask, edge, base, problem, work, stack, sums)
                energy = array_pj + pj + static_pj * cycles
                if _better(cycles, energy, best, objective):
                    best[0], best[1] = cycles, energy
                    found[0], found[1], found[2] = number, outer, inside
                    found[3], found[4] = mask, cycles
    return evaluated
