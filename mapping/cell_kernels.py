"""Which unrollings may be best, by tiles of the first tier that few bounds leave, compiled.

A *cell* is a number of blocks of the first dimension and one of the second. What tiles with a
step's tile of one element take bounds a cell for all unrollings at once (`Packed.flat`); only those
that this leaves are bounded with the tiles that one unrolling has.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

from ..datatypes.base.compiled import compiled
from ..datatypes.base.inner_kernels import inner
from .bound_kernels import NONE, add_again, least_of_tier, move_rates, sums_again
from .cost_kernels import OP, RELEVANT, edge_clocks, whole
from .front_kernels import hopeless
from .room_kernels import has_room
from .scratch_kernels import CHOSEN, EDGES, LEVEL_EDGES, TILES
from .search_kernels import array_pj
from .tile_kernels import bound_of_cell, note_part
from .tuple_kernels import AT_ONCE, FILL, MOVES, PACE, SHARES, SIZES, STEP_TILE, UNITS, WAY
from .visit_kernels import steps


@inner
def _tile(d, flat, sizes, step):
    """Return the tile with as many blocks of a dimension as one of single elements; 0: none has."""
    blocks, whole_ones = -(-sizes[d] // flat), -(-sizes[d] // step[d])
    each = -(-whole_ones // blocks)
    return each * step[d] if -(-whole_ones // each) == blocks else 0


@inner
def _third(tile, partial, held, needs, plan, layout):
    """Set the largest tile of the third dimension that has room beside others; whether one has."""
    at, step = tile[0], plan[STEP_TILE][2]
    low, high = 0, (plan[SIZES][2] + step - 1) // step
    at[2] = high * step
    if has_room(1, True, tile, partial, held, needs, plan, layout):
        return True
    while high - low > 1:  # smaller ones than the whole have more room
        middle = (low + high) // 2
        at[2] = middle * step
        if has_room(1, True, tile, partial, held, needs, plan, layout):
            low = middle
        else:
            high = middle
    if low:
        most = (plan[SIZES][2] + step - 1) // step
        blocks = -(-most // low)
        at[2] = -(-most // blocks) * step  # the least of as many blocks
    return low > 0


@inner
def _bound(i, j, plan, layout, rates, deeper, room):
    """Write what tiles of the first tier take at least, and transfers further in of their cell."""
    tile, busy, least, cell = room[0], room[4], room[5], room[6]
    for row in range(least.shape[1]):
        least[0, row] = least[1, row] = NONE
    move, more = sums_again(tile, plan, layout)
    least_of_tier(1, tile, plan, rates, busy, least[0:2], least[2:5])
    if move >= 0:
        add_again(move, more, rates, least[1])
    for row in range(least.shape[1]):
        once, again = deeper[0, 0, row, i, j], deeper[1, 0, row, i, j]
        cell[0, row, 0, 0] = max(least[0, row] + once, least[1, row] + again)


@compiled(error_model="numpy")
def first_open(
    some, ways, units_pj, plan, layout, fixed, fixed_pj, rates, flat, room, objective, front,
    scratch,
):  # fmt: skip
    """Return how many ways to unroll, of some in order, come before one that may be best.

    Parameters
    ----------
    some : (N,) int64 array
        Numbers of ways.
    ways : tuple
        (W, D) int64 array, what a step does of each dimension, by way; (A, W, D, 2, 2) int64 array,
        units that a whole step and a short one reach, and the first's elements, by axes of copies
        (`space.Ways.units_at`).
    units_pj : (W,) float64 array
        Energy of the array's units, by way.
    plan, layout, fixed, fixed_pj, rates : tuple and arrays
        As `search_kernels.search_tiles` takes them; those of an unrolling are written. What is
        fixed holds the number of the first of all ways.
    flat : tuple
        (2, N) int64 array, tiles of the first two dimensions for steps of one element; how many of
        each there are; what no tiles with so many blocks undercut, and transfers further in alone
        (`tier_floors.floors_of`), without clocks of which some may be spared.
    room : tuple
        Arrays to compute in: as those of `bound_kernels.tier_floors`; a tier's bounds
        (5, 1 + 2 P), three rows room; and those of one cell, (1, 1 + 2 P, 1, 1).
    objective : int
    front, scratch : tuple
    """
    first = fixed[WAY]
    for i in range(some.size):
        fixed[WAY], fixed_pj[0] = first + some[i], units_pj[some[i]]
        may = not _unroll(some[i], ways, plan, layout) or _may_be_best(
            plan, layout, fixed, fixed_pj, rates, flat, room, objective, front, scratch
        )
        if may:
            fixed[WAY] = first
            return i
    fixed[WAY] = first
    return some.size


@inner
def _unroll(way, ways, plan, layout):
    """Write a way to unroll to a plan; return False if a step has more than all of a dimension."""
    tiles, units = ways
    sizes, step, reached, shares = plan[SIZES], plan[STEP_TILE], plan[UNITS], plan[SHARES]
    for d in range(step.size):
        step[d] = tiles[way, d]
        if step[d] > sizes[d]:
            return False
        rest = sizes[d] % step[d]
        for own in range(reached.shape[0]):
            reached[own, d, step[d]] = units[own, way, d, 0, 0]
            shares[own, d, step[d]] = units[own, way, d, 0, 1]
            if rest:
                reached[own, d, rest] = units[own, way, d, 1, 0]
                shares[own, d, rest] = units[own, way, d, 1, 1]
    layout[AT_ONCE][0] = 1
    for t in range(plan[MOVES].shape[0]):
        for d in range(step.size):
            summed = plan[MOVES][t, OP] == 2 and not plan[MOVES][t, RELEVANT] >> d & 1
            if summed and step[d] < sizes[d]:
                layout[AT_ONCE][0] = 0
    return True


@inner
def _clear(rates):
    """Forget what an element takes; `bound_kernels.move_rates` adds to it."""
    clocks, energy, elements = rates
    for t in range(elements.size):
        elements[t] = energy[t, 0] = energy[t, 1] = 0.0
        for kind in range(clocks.shape[1]):
            for p in range(clocks.shape[2]):
                clocks[t, kind, p] = 0.0


@inner
def _may_be_best(plan, layout, fixed, fixed_pj, rates, flat, room, objective, front, scratch):
    """Whether any tiles of the first tier may be best, of one way to unroll."""
    _clear(rates)
    move_rates(plan, rates)
    extents, counts, tiers, deeper = flat
    tile, partial, held, needs, _, _, cell = room
    sizes, step, at = plan[SIZES], plan[STEP_TILE], tile[0]
    energies = array_pj(plan, fixed_pj, scratch), fixed_pj[1]
    scratch[LEVEL_EDGES][0] = edge_clocks(0, scratch[TILES], plan, scratch[EDGES]) + fixed[FILL]
    note_part(0, energies, plan, rates, scratch)
    chosen = scratch[CHOSEN]
    for d in range(chosen.size):
        chosen[d] = 0  # no chains before the first
    compute = whole(steps(sizes, step) * plan[PACE][0], plan[PACE])
    for i in range(counts[0]):
        at_first = _tile(0, extents[0, i], sizes, step)
        if at_first == 0:
            continue
        for j in range(counts[1]):
            cycles, pj = bound_of_cell(1, i, j, compute, energies, tiers, scratch)
            if hopeless(cycles, pj, fixed[WAY], chosen, front, objective):
                continue
            at[1] = _tile(1, extents[1, j], sizes, step)
            if at[1] == 0:
                continue
            at[0] = at_first
            for d in range(3, at.size):
                at[d] = step[d]
            if not _third(tile, partial, held, needs, plan, layout):
                continue
            _bound(i, j, plan, layout, rates, deeper, room)
            cycles, pj = bound_of_cell(1, 0, 0, compute, energies, cell, scratch)
            if not hopeless(cycles, pj, fixed[WAY], chosen, front, objective):
                return True
    return False
