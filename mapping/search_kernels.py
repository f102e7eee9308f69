"""The search over tiles, orders and doublings of one unrolling, compiled.

Tiles are chosen tier by tier, outermost first. Those of a tier that fit, and that a bound does not
exclude, are put in the order of their bounds; below the first of them the next tier's are tried,
and so on down to a whole nest of tiles, of which all orders of loops are. Where nothing is found
yet, the tiles below the most promising are tried first. Bounds are those that `mapping.search`
names.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

import numpy as np

from ..datatypes.base.compiled import compiled
from ..datatypes.base.inner_kernels import inner
from .bound_kernels import further
from .cost_kernels import PORT_COLUMNS, TIER, add_to_ports, edge_clocks, step_cost, whole
from .front_kernels import PARETO, hopeless
from .nest_kernels import count_outer, search_orders
from .order_kernels import sort
from .scratch_kernels import (
    ARRAY_PORTS,
    CHOSEN,
    EDGES,
    ENDS,
    FURTHER,
    HIGH,
    LEVEL_EDGES,
    LOW,
    NEXT,
    NODES,
    SLOT_SUMS,
    TILES,
    WORK,
)
from .tile_kernels import (
    bound_of_cell,
    bound_orders,
    expand,
    look_up,
    note_part,
    smallest_inside,
)
from .tuple_kernels import (
    BOUNDED,
    BY_KIND,
    CHAINS,
    COUNTS,
    FILL,
    FOLLOWING,
    MANY,
    MOVES,
    NO_PLACES,
    PACE,
    PLACES_OF,
    SIZES,
    STEP_TILE,
    WAY,
)
from .visit_kernels import steps

FIRST_ROOM = 1 << 12  # tiles to take room for at first
NODES_OF_A_NEST = 32  # all its orders: what it takes, to bound so many tiles


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
        Arrays to compute in (`packed.Packed.scratch`). Of its nodes the second is how many may be
        spent; the search stops where they are.

    Returns
    -------
    evaluated : int
        Mappings costed.
    """
    tile, low, high, at, stop = (
        scratch[TILES],
        scratch[LOW],
        scratch[HIGH],
        scratch[NEXT],
        scratch[ENDS],
    )
    known_edge, nodes = scratch[LEVEL_EDGES], scratch[NODES]
    counts, groups, level, evaluated = space[COUNTS], tile.shape[0], 0, 0
    energies = array_pj(plan, fixed_pj, scratch), fixed_pj[1]
    for d in range(counts.size):
        tile[groups - 1, d] = plan[STEP_TILE][d]
        low[0, d], high[0, d] = 0, counts[d]
    numbers, bounds = np.empty((2, FIRST_ROOM), np.int64), np.empty((2, FIRST_ROOM, 3))
    # no tile yet: a probe below the most promising, where nothing is found yet, then all
    found = front[MANY][0] != 0 or not fixed[BOUNDED] or objective == PARETO
    at[0], stop[0], probing = 1 if found else 0, 2, False
    while level >= 0 and nodes[0] < nodes[1]:
        if at[level] == stop[level]:
            level -= 1
            continue
        i = at[level]
        at[level] += 1
        if level == 0:
            probing = i == 0
        else:
            _choose(level, numbers[0, i], space, low, high, tile)
            if fixed[BOUNDED] and hopeless(
                bounds[0, i, 0], bounds[0, i, 1], fixed[WAY], low[level], front, objective
            ):
                continue
        if level == min(1, groups - 1):
            count_outer(space, plan, scratch)
        if level == groups - 1:
            nodes[0] += NODES_OF_A_NEST
            evaluated += search_orders(
                low[level], space, plan, layout, fixed, energies, rates, objective,
                limit - evaluated, front, scratch,
            )  # fmt: skip
            if evaluated >= limit:
                return evaluated
            continue
        deepest = groups if level else 0  # what is spared of the first tier is not known before
        smallest_inside(level, tile, plan)
        known_edge[level] = edge_clocks(deepest, tile, plan, scratch[EDGES]) + fixed[FILL]
        if level == 1 and fixed[BOUNDED] and _hopeless_orders(
            low[1], known_edge[1], energies, plan, layout, fixed, rates, floors, objective, front,
            scratch,
        ):  # fmt: skip
            continue
        note_part(level, energies, plan, rates, scratch)
        start, end, level = stop[level] if level else 0, -1, level + 1
        while end < 0:
            end = expand(
                level, start, probing, numbers[0], bounds[0], space, low, high, plan, layout,
                fixed, energies, rates, floors, objective, front, scratch,
            )  # fmt: skip
            if end < 0:
                numbers, bounds = _grown(numbers, bounds)
        sort(start, end, objective, numbers, bounds)
        at[level], stop[level] = start, end
    return evaluated


@inner
def _hopeless_orders(
    chosen, edge, energies, plan, layout, fixed, rates, floors, objective, front, scratch
):  # fmt: skip
    """Whether no order of the outermost loops may be best, with the tiles of the first tier."""
    elapsed = steps(plan[SIZES], plan[STEP_TILE]) * plan[PACE][0]
    look_up(1, chosen, floors, scratch)
    further(
        1, floors[PLACES_OF][0, chosen[0], 0], floors[PLACES_OF][1, chosen[1], 0],
        floors[NO_PLACES], scratch[TILES], plan, layout, rates, floors[BY_KIND], scratch[FURTHER],
    )  # fmt: skip
    return bound_orders(
        1, edge, elapsed, chosen, energies, plan, fixed, rates, objective, front, scratch
    )


@inner
def array_pj(plan, fixed_pj, scratch):
    """Return the energy of the array and of what it takes; leave the sums of that at the ports."""
    base, parts, work, tile = (
        scratch[ARRAY_PORTS],
        scratch[SLOT_SUMS],
        scratch[WORK],
        scratch[TILES],
    )
    for p in range(base.shape[0]):
        for column in range(PORT_COLUMNS):
            base[p, column] = 0
    energy = fixed_pj[0]
    for t in range(plan[MOVES].shape[0]):
        if plan[MOVES][t, TIER] == tile.shape[0]:
            energy += step_cost(t, plan, work, parts[t, 0])
            add_to_ports(t, parts[t, 0], plan, base)
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
    chains, following, counts = space[CHAINS], space[FOLLOWING], space[COUNTS]
    for d in range(counts.size):
        i = number % counts[d]
        number //= counts[d]
        low[level, d], high[level, d] = i, following[d, i, level - 1]
        tile[level - 1, d] = chains[d, i, level - 1]


@compiled(error_model="numpy")
def may_be_best(plan, fixed, fixed_pj, rates, tiers, objective, front, scratch):
    """Whether any tiles of the first tier may be best, whatever their third dimension.

    Parameters
    ----------
    plan, fixed, fixed_pj, rates : tuple and arrays
        As `search_tiles` takes them.
    tiers : (G - 1, 1 + 2 P, M, N) float64 array
        What no tiles with two of a tier undercut (`tier_floors.floors_of`).
    objective : int
    front, scratch : tuple
    """
    energies = array_pj(plan, fixed_pj, scratch), fixed_pj[1]
    scratch[LEVEL_EDGES][0] = edge_clocks(0, scratch[TILES], plan, scratch[EDGES]) + fixed[FILL]
    note_part(0, energies, plan, rates, scratch)
    for d in range(scratch[CHOSEN].size):
        scratch[CHOSEN][d] = 0  # no chains before the first
    compute = whole(steps(plan[SIZES], plan[STEP_TILE]) * plan[PACE][0], plan[PACE])
    for i in range(tiers.shape[2]):
        for j in range(tiers.shape[3]):
            cycles, pj = bound_of_cell(1, i, j, compute, energies, tiers, scratch)
            if not hopeless(cycles, pj, fixed[WAY], scratch[CHOSEN], front, objective):
                return True
    return False
