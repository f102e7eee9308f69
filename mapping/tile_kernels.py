"""Tiles of a tier, below those of the tiers outside: what fits and may be best, compiled.

Bounds are those that `mapping.search` names.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

import numpy as np

from ..datatypes.base.inner_kernels import inner
from .bound_kernels import EDGELESS, LIKELY, bound_of, exact_inner_of, further, inner_of
from .cost_kernels import AT_PORTS, BUSY, EXCESS, NEVER, WITHIN, edge_clocks, whole
from .front_kernels import hopeless
from .nest_kernels import ALL_MOVED, INNERMOST, LIVE, MOVED, outer_bound
from .room_kernels import has_room
from .scratch_kernels import (
    ARRAY_PORTS,
    BOUNDS,
    CHOSEN,
    EDGES,
    FURTHER,
    HELD,
    LEAST_CLOCKS,
    LEVEL_EDGES,
    LEVELS,
    NEEDS,
    NODES,
    OUTER,
    OUTER_PJ,
    PAIR,
    STACK,
    TILES,
    UNFINISHED,
    WORK,
)
from .tuple_kernels import (
    BOUNDED,
    BY_KIND,
    CHAINS,
    COUNTS,
    DEEPER,
    FILL,
    FOLLOWING,
    NO_PLACES,
    PACE,
    PLACES_OF,
    SIZES,
    STEP_TILE,
    TIERS,
    WAY,
)
from .visit_kernels import steps


@inner
def expand(
    level, start, probing, numbers, bounds, space, low, high, plan, layout, fixed, energies, rates,
    floors, objective, front, scratch,
):  # fmt: skip
    """Append the tiles of a level that fit and may be best, with their bounds, from ``start`` on.

    ``probing``: only those with the most promising of the first two dimensions. Returns where they
    end, -1 where there is no room for them.
    """
    chains, following, counts = space[CHAINS], space[FOLLOWING], space[COUNTS]
    tile, index, pair, at = scratch[TILES], scratch[CHOSEN], scratch[PAIR], start
    many, more = counts.size, True
    compute = whole(steps(plan[SIZES], plan[STEP_TILE]) * plan[PACE][0], plan[PACE])
    if probing:
        most_promising(
            level, pair, compute, energies, floors, space, low, high, objective, scratch
        )  # fmt: skip
    for e in range(many):
        index[e] = low[level - 1, e]
        tile[level - 1, e] = chains[e, index[e], level - 1]
    while more:
        index[2] = low[level - 1, 2]
        if at + counts[2] > numbers.size:
            return -1
        other = probing and (index[0] != pair[0] or index[1] != pair[1])
        if not other and not (fixed[BOUNDED] and hopeless_pair(
            level, index, compute, energies, fixed, floors, objective, front, scratch
        )):  # fmt: skip
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
def hopeless_pair(level, index, compute, energies, fixed, floors, objective, front, scratch):
    """Whether no tiles of a tier with these of the first two dimensions may be best."""
    places = floors[PLACES_OF]
    i, j = places[0, index[0], level - 1], places[1, index[1], level - 1]
    cycles, pj = bound_of_cell(level, i, j, compute, energies, floors[TIERS], scratch)
    return hopeless(cycles, pj, fixed[WAY], index, front, objective)


@inner
def bound_of_cell(level, i, j, compute, energies, tiers, scratch):
    """Return what no tiles of a tier with so many blocks of the first two dimensions undercut."""
    part, edge = scratch[LEVELS][level - 1], scratch[LEVEL_EDGES][level - 1]
    waits = busiest = 0.0
    for p in range(1, 1 + part.size // 2):
        every = p + part.size // 2
        waits = max(waits, part[p] + tiers[level - 1, p, i, j])
        busiest = max(busiest, part[every] + tiers[level - 1, every, i, j])
    cycles = max(edge + max(float(compute), waits * (1 - 1e-12) - 1), busiest)
    return cycles, part[0] + tiers[level - 1, 0, i, j] + energies[1] * cycles


@inner
def most_promising(level, pair, compute, energies, floors, space, low, high, objective, scratch):
    """Write the chains of the first two dimensions of which a tier's tiles have the least bound."""
    following, places, least, ties = space[FOLLOWING], floors[PLACES_OF], 1e300, 1e300
    i = low[level - 1, 0]
    while i < high[level - 1, 0]:
        j = low[level - 1, 1]
        while j < high[level - 1, 1]:
            at = places[0, i, level - 1], places[1, j, level - 1]
            cycles, pj = bound_of_cell(
                level, at[0], at[1], compute, energies, floors[TIERS], scratch
            )
            rank = cycles if objective == 0 else (pj if objective == 1 else cycles * pj)
            other = pj if objective == 0 else cycles
            if rank < least or (rank == least and other < ties):
                least, ties, pair[0], pair[1] = rank, other, i, j
            j = following[1, j, level - 1]
        i = following[0, i, level - 1]


@inner
def _first_with_room(level, first, space, high, plan, layout, scratch):
    """Return the first chain, of some and those after, of which the tile has room beside others.

    Tiles descend, so those after it have room as well, unless it is whole.
    """
    chains, tile, size = space[CHAINS], scratch[TILES], plan[SIZES][2]
    partial, held, needs = scratch[UNFINISHED], scratch[HELD], scratch[NEEDS]
    end = high[level - 1, 2]
    if first >= end:
        return end
    tile[level - 1, 2] = chains[2, first, level - 1]
    if tile[level - 1, 2] >= size:
        if has_room(level, False, tile, partial, held, needs, plan, layout):
            return first
        first = space[FOLLOWING][2, first, level - 1]
    while first < end:
        k = (first + end) // 2
        tile[level - 1, 2] = chains[2, k, level - 1]
        if has_room(level, False, tile, partial, held, needs, plan, layout):
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
    chains, following, counts = space[CHAINS], space[FOLLOWING], space[COUNTS]
    base, tile, edges, busy, out = (
        scratch[ARRAY_PORTS],
        scratch[TILES],
        scratch[EDGES],
        scratch[LEAST_CLOCKS],
        scratch[BOUNDS],
    )
    index, way = scratch[CHOSEN], fixed[WAY]
    stride = counts[0] * counts[1]
    deepest = tile.shape[0]  # the array too
    smallest_inside(level, tile, plan)
    look_up(level, index, floors, scratch)
    elapsed = steps(plan[SIZES], plan[STEP_TILE]) * plan[PACE][0]
    k = _first_with_room(level, low[level - 1, 2], space, high, plan, layout, scratch)
    whole_one = k < high[level - 1, 2] and chains[2, k, level - 1] >= plan[SIZES][2]
    while k < high[level - 1, 2]:
        scratch[NODES][0] += 1
        index[2], tile[level - 1, 2] = k, chains[2, k, level - 1]
        edge = edge_clocks(deepest, tile, plan, edges) + fixed[FILL]
        further(
            level, floors[PLACES_OF][0, index[0], level - 1],
            floors[PLACES_OF][1, index[1], level - 1], floors[NO_PLACES], tile, plan, layout,
            rates, floors[BY_KIND], scratch[FURTHER],
        )  # fmt: skip
        if level > 1:
            none = bound_orders(
                level, edge, elapsed, index, energies, plan, fixed, rates, objective, front,
                scratch,
            )  # fmt: skip
        else:
            bound_of(tile, edge, base, energies, plan, rates, scratch[FURTHER], edges, busy, out)
            none = hopeless(out[0], out[1], way, index, front, objective)
        if not fixed[BOUNDED] or not none:
            numbers[at] = first + stride * k
            bounds[at, 0], bounds[at, 1], bounds[at, 2] = out[0], out[1], out[LIKELY]
            at += 1
        elif level == 1 and hopeless(
            out[EDGELESS], out[EDGELESS + 1], way, index, front, objective
        ):
            return at
        k = following[2, k, level - 1]
        if whole_one:
            whole_one = False
            k = _first_with_room(level, k, space, high, plan, layout, scratch)
    return at


@inner
def smallest_inside(level, tile, plan):
    """Set the tiles of tiers that have none to a step's: no other has shorter edges."""
    for g in range(level, tile.shape[0] - 1):
        for d in range(tile.shape[1]):
            tile[g, d] = plan[STEP_TILE][d]


@inner
def look_up(level, index, floors, scratch):
    """Write what tiers further in than a level take at least, by chains of its tiles."""
    deeper, places = scratch[FURTHER], floors[PLACES_OF]
    i, j = places[0, index[0], level - 1], places[1, index[1], level - 1]
    for way in range(2):
        for row in range(deeper.shape[1]):
            deeper[way, row] = floors[DEEPER][way, level - 1, row, i, j]


@inner
def note_part(level, energies, plan, rates, scratch):
    """Write energy and clocks of the ports that tiers with tiles, and the array, take at least."""
    base, deeper, part, busy = (
        scratch[ARRAY_PORTS],
        scratch[FURTHER][2],
        scratch[LEVELS][level],
        scratch[LEAST_CLOCKS],
    )
    outer, outer_pj, ports = scratch[OUTER], scratch[OUTER_PJ], base.shape[0]
    for row in range(deeper.size):
        deeper[row] = 0.0
    inner_pj = inner_of(level, scratch[TILES], plan, rates, deeper, busy)
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
        part[1 + p] = (base[p, EXCESS] + base[p, WITHIN]) / plan[PACE][1] + least + busy[0, p]
        part[1 + ports + p] = base[p, BUSY] + every + max(0.0, busy[3, p] * (1 - 1e-12) - 1)


@inner
def bound_orders(
    level, edge, elapsed, chosen, energies, plan, fixed, rates, objective, front, scratch
):  # fmt: skip
    """Write what no mapping with the chosen tiles undercuts; return whether all are hopeless.

    It is the least over the orders of the outermost loops.
    """
    out, deeper, busy = scratch[BOUNDS], scratch[FURTHER], scratch[LEAST_CLOCKS]
    tile, none = scratch[TILES], True
    out[0] = out[1] = out[LIKELY] = 1e300
    if level > 1:
        args = edge, elapsed, chosen, energies, plan, fixed, objective, front, scratch
        inner_pj = inner_of(level, tile, plan, rates, deeper[2], busy)
        if _bound_orders(-1, inner_pj, args):
            return True
        inner_pj = exact_inner_of(
            level, tile, plan, rates, deeper[2], scratch[WORK], scratch[STACK], busy
        )
        out[0] = out[1] = out[LIKELY] = 1e300
        return _bound_orders(-1, inner_pj, args)
    for kind in range(3):
        args = edge, elapsed, chosen, energies, plan, fixed, objective, front, scratch
        inner_pj = inner_of(level, tile, plan, rates, deeper[3 + kind], busy)
        none = _bound_orders(kind, inner_pj, args) and none
    return none


@inner
def _bound_orders(kind, inner_pj, args):
    """Do as `bound_orders` for orders with an innermost kind, or -1 for all."""
    edge, elapsed, chosen, energies, plan, fixed, objective, front, scratch = args
    out, none = scratch[BOUNDS], True
    for order in range(scratch[OUTER_PJ].size):
        if not scratch[OUTER][order, 0, LIVE]:
            continue
        if kind >= 0 and scratch[OUTER][order, 0, INNERMOST] != kind:
            continue
        cycles, pj = outer_bound(order, edge, elapsed, inner_pj, energies, plan, scratch)
        if none and not hopeless(cycles, pj, fixed[WAY], chosen, front, objective):
            none = False
        out[0], out[1] = min(out[0], cycles), min(out[1], pj)
        out[LIKELY] = min(out[LIKELY], max(cycles, edge + _likely(order, plan, scratch)))
    return none


@inner
def _likely(order, plan, scratch):
    """Return the clocks of the busiest port as if none were spared, without those at the edges."""
    base, outer, inner, at_edges = (
        scratch[ARRAY_PORTS],
        scratch[OUTER],
        scratch[LEAST_CLOCKS][0],
        scratch[EDGES][AT_PORTS],
    )
    most = 0.0
    for p in range(base.shape[0]):
        stepping = (base[p, EXCESS] + base[p, WITHIN]) / plan[PACE][1]
        moved = outer[order, p, ALL_MOVED] - base[p, BUSY] - at_edges[p]
        most = max(most, stepping + moved + inner[p])
    return most
