"""What no mapping with given tiles undercuts, compiled.

Transfers are rounded up to whole accesses all together here, and none has to wait for another.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

import numpy as np

from ..datatypes.base.compiled import compiled
from ..datatypes.base.inner_kernels import OPTIONS, inner
from .cost_kernels import (
    APART,
    AT_PORTS,
    BURST_DOWN,
    BURST_UP,
    BUSY,
    DOWN,
    EXCESS,
    FETCH,
    FINISHED,
    LATENCY,
    OP,
    OWN,
    PORT,
    REACHED,
    READBACK,
    RELEVANT,
    TIER,
    UP,
    WITHIN,
    slid_dims,
    whole,
)
from .room_kernels import CHILD, DEPTH, MEMORY, child_of, has_room, held_with, unfinished_at
from .tuple_kernels import (
    CLOCKS,
    ELEMENTS_OF,
    ENDS_OF,
    ENERGY,
    KINDS,
    MOVES,
    PACE,
    PIXELS,
    PLACES,
    ROOM,
    SIZES,
    STEP_TILE,
    UNITS,
    WINDOWS_OF,
)
from .visit_kernels import steps
from .window_kernels import AHEAD, EVEN_OUT, EVEN_TAP, LOST, OUTS, TAPS, clip_of

ONCE, AGAIN, SPARED, ROUNDED = 0, 1, 2, 3  # columns of clocks by port
# in `out`: clocks and energy, those without first load and last store, clocks if none were spared
EDGELESS, LIKELY, OUT = 2, 4, 5
NONE = 1e200  # of what has no room
ROUNDINGS = 4  # clocks that a smaller tile's bound may be less by, as more is spared there


@inner
def _rate(end):
    """Return the clocks of an element at an end, and those by which a transfer is rounded up."""
    rate = end[UP] / end[DOWN]
    if end[BURST_UP] == 0:
        return rate, 1.0
    burst = end[BURST_UP] / end[BURST_DOWN]
    return rate * burst, 1.0 + burst


@compiled(**OPTIONS)
def move_rates(plan, rates):
    """Write what one element takes, moved once, and again.

    Parameters
    ----------
    plan : tuple
    rates : tuple
        (T, 4, P) float64: clocks of each port when an element is moved for the first, or only, time
        and for each other time; those that may be spared: a fetch, or a read-back and the dearer
        write; how many may be rounded.
        (T, 2) float64: energy when it is moved once, and again. (T,) float64: elements.
    """
    moves, ends, pj, _, step_tile, _, reached, _, _, _, _ = plan
    clocks, energy, elements = rates
    for t in range(moves.shape[0]):
        elements[t] = _elements(moves[t, RELEVANT], plan)
        for kind in range(4):
            up = moves[t, OP] == 2
            if up == (kind == FETCH):
                continue
            for end in range(2):
                port = ends[t, kind, end, PORT]
                if port < 0:
                    continue
                rate, rounded = _rate(ends[t, kind, end])
                copies = 1
                for d in range(step_tile.size):
                    if moves[t, RELEVANT] >> d & 1 and not ends[t, kind, end, APART]:
                        copies *= reached[ends[t, kind, end, OWN], d, step_tile[d]]
                once, again = _same(t, kind, end, plan)
                if kind in (FETCH, FINISHED):
                    clocks[t, ONCE, port] += rate / copies
                    energy[t, 0] += rate * pj[t, kind, end, 0] * once
                if kind != FINISHED:
                    clocks[t, AGAIN, port] += rate / copies
                    energy[t, 1] += rate * pj[t, kind, end, 0] * again
                if kind in (FETCH, READBACK):
                    clocks[t, SPARED, port] += rate / copies
                clocks[t, ROUNDED, port] += rounded
        for port in range(clocks.shape[2]):
            if moves[t, OP] == 2:
                again = clocks[t, AGAIN, port] - clocks[t, SPARED, port]
                clocks[t, SPARED, port] += max(clocks[t, ONCE, port], again)


@inner
def _same(t, kind, end, plan):
    """Return how many copies of a memory have the same element, in one visit and in the others.

    Fewer where a dimension that does not index it ends within a step; of several such dimensions
    more than one visit may have those.
    """
    relevant, sizes, step_tile, reached = (
        plan[MOVES][t, RELEVANT],
        plan[SIZES],
        plan[STEP_TILE],
        plan[UNITS],
    )
    alike, least, full, ending = plan[ENDS_OF][t, kind, end, REACHED], 1, 1, 0
    for d in range(sizes.size):
        if not relevant >> d & 1 and sizes[d] > 1:
            step, rest = min(step_tile[d], sizes[d]), sizes[d] % step_tile[d]
            ending += 1
            full *= reached[alike, d, step]
            least *= reached[alike, d, rest if rest else step]
    return least, full if ending == 1 else least


@inner
def _elements(relevant, plan):
    """Return the elements of an operand: of a convolution's input, pixels."""
    sizes, windows, pixels = plan[SIZES], plan[WINDOWS_OF], plan[PIXELS]
    slid, elements = slid_dims(relevant, windows), 1.0
    for w in range(windows.shape[0]):
        if slid:  # the first axes are none: a memory of the chip
            outputs, taps = sizes[windows[w, OUTS]], sizes[windows[w, TAPS]]
            clip = clip_of(w, -windows[w, AHEAD], outputs, taps, windows)
            elements *= pixels[w, 0, clip, outputs, taps, 0]
    for d in range(sizes.size):
        if relevant >> d & 1 and not slid >> d & 1:
            elements *= sizes[d]
    return elements


@inner
def _taps(relevant, plan):
    """Return the taps of an operand's windows, as a mask: a block has a pixel or more an output."""
    windows, taps = plan[WINDOWS_OF], 0
    if slid_dims(relevant, windows):
        for w in range(windows.shape[0]):
            taps |= 1 << windows[w, TAPS]
    return taps


@inner
def _lost(d, windows):
    """Return the outputs along a dimension that may read nothing but border."""
    for w in range(windows.shape[0]):
        if windows[w, OUTS] == d:
            return windows[w, LOST]
    return 0


@inner
def _even(d, windows):
    """Whether the last elements of a dimension have no more than their share of all pixels."""
    for w in range(windows.shape[0]):
        if windows[w, OUTS] == d:
            return windows[w, EVEN_OUT] == 1
        if windows[w, TAPS] == d:
            return windows[w, EVEN_TAP] == 1
    return True


@inner
def _repeated(t, tile, plan):
    """Return the elements that a transfer below the first tier repeats, and those of a tile.

    All tiles inside a block of an outer tier are visited anew for each block of what does not index
    them, where a whole block has several; short blocks are counted once.
    """
    moves, sizes = plan[MOVES], plan[SIZES]
    relevant, tier = moves[t, RELEVANT], moves[t, TIER]
    around = -1  # the innermost tier outside of which a block has several tiles
    for g in range(tier - 1):
        for d in range(sizes.size):
            if relevant >> d & 1 and tile[tier - 1, d] < min(sizes[d], tile[g, d]):
                around = g
    repeated, again, step = 1.0, 1, 1.0
    taps = _taps(relevant, plan)
    for d in range(sizes.size):
        size = sizes[d]
        if relevant >> d & 1:
            step *= min(size, tile[tier - 1, d])
            if taps >> d & 1:
                continue
            in_whole = 1
            for g in range(around + 1):
                block = min(size, tile[g, d])
                in_whole *= size // block
                size = block
            lost = _lost(d, plan[WINDOWS_OF]) if taps else 0
            repeated *= max(0, in_whole * size - lost)
        elif around >= 0:
            again *= (size + tile[around, d] - 1) // tile[around, d]
    return repeated * (again - 1) if around >= 0 else 0.0, step


@inner
def _again(t, innermost, tile, plan):
    """Return the blocks of what does not index a transfer's tiles, but of the innermost kind."""
    moves, sizes, kinds = plan[MOVES], plan[SIZES], plan[KINDS]
    blocks = tile[moves[t, TIER] - 1]
    again = 1
    for d in range(sizes.size):
        other = not moves[t, RELEVANT] >> d & 1 and kinds[d] != innermost
        if other and blocks[d] < sizes[d]:
            again *= (sizes[d] + blocks[d] - 1) // blocks[d]
    return again


@inner
def _crossing(innermost, tier, tile, plan):
    """Return the share of elements for which loops of the innermost kind may not go round.

    Of a tier's tiles the loops next to them go round in every whole block; in the last block of the
    first tier, of which at most one tile is left, they need not. Further in such blocks repeat.
    """
    sizes, kinds = plan[SIZES], plan[KINDS]
    share, some = 1.0, False
    for d in range(sizes.size):
        if kinds[d] == innermost and tile[tier - 1, d] < sizes[d]:
            if not _even(d, plan[WINDOWS_OF]):
                return 1.0 if tier > 1 else 0.0
            some = True
            share = min(share, tile[tier - 1, d] / sizes[d])
    if tier == 1 or not some:
        return 0.0
    return share if tier == 2 else 1.0


@inner
def _whole_clocks(clocks):
    """Return clocks of which each transfer takes whole ones, rounded up but for rounding errors."""
    return max(0.0, np.ceil(clocks * (1 - 1e-12)))


@inner
def _tier(tier, innermost, tile, plan, rates, busy, spared, less):
    """Add what a tier's transfers take, and what is spared; return their least energy.

    They are repeated for all blocks of what does not index them, but of one dimension, or those of
    one kind: the innermost, through which a tile stays. ``less``, and the second energy: what of it
    sums below the first tier repeat.
    """
    moves, sizes = plan[MOVES], plan[SIZES]
    clocks, energy, _ = rates
    crossing, total, repeated_pj = _crossing(innermost, tier, tile, plan), 0.0, 0.0
    for t in range(moves.shape[0]):
        if moves[t, TIER] != tier:
            continue
        elements, step = rates[ELEMENTS_OF][t], 1.0
        for d in range(sizes.size):
            if moves[t, RELEVANT] >> d & 1:
                step *= min(sizes[d], tile[tier - 1, d])
        more = elements * (1 - crossing) * (_again(t, innermost, tile, plan) - 1)
        sums = moves[t, OP] == 2
        for p in range(busy.size):
            once, again = clocks[t, ONCE, p], clocks[t, AGAIN, p]
            if once + again == 0.0:
                continue
            busy[p] += _whole_clocks(once * elements + again * more)
            # a write, and a read-back, are spared; of the first tier first load and last store are
            # with the edges
            each = once if tier > 1 else 0.0
            if sums:
                each += clocks[t, SPARED, p] if more > 0.0 or tier > 1 else once
                less[p] += again * more + 1 if tier > 1 else 0.0
            if each > 0.0:
                spared[p] += step * each + clocks[t, ROUNDED, p]
        total += energy[t, 0] * elements + energy[t, 1] * more
        repeated_pj += energy[t, 1] * more if sums and tier > 1 else 0.0
    return total, repeated_pj


@inner
def _late(innermost, tile, plan, rates):
    """Return the clocks of a first tier's fetches and latencies, the first apart; the most of all.

    Of two tiles each must come within two visits, so that all take no more than steps and stalls.
    """
    moves, sizes, kinds = plan[MOVES], plan[SIZES], plan[KINDS]
    most = 0.0
    for t in range(moves.shape[0]):
        if moves[t, TIER] != 1 or moves[t, LATENCY] == 0 or moves[t, OP] == 2:
            continue
        visits, again, step = 1.0, 1.0, 1.0
        for d in range(sizes.size):
            extent = min(sizes[d], tile[0, d])
            blocks = (sizes[d] + extent - 1) // extent
            if moves[t, RELEVANT] >> d & 1:
                visits *= blocks
                step *= extent
            elif kinds[d] != innermost:
                again *= blocks
        moved, slowest = max(0.0, rates[ELEMENTS_OF][t] * again - step), 0.0
        for p in range(rates[CLOCKS].shape[2]):
            slowest = max(slowest, moved * rates[CLOCKS][t, ONCE, p])
        most = max(most, slowest + (visits * again - 1) * moves[t, LATENCY])
    return most


@inner
def _one_tier(tier, innermost, tile, plan, rates, busy):
    """Write the clocks of a tier's transfers below the first, with an innermost kind, as room.

    Adds, with the first kind, those of elements that move once to all. Returns the energy.
    """
    moves, (clocks, energy, elements), some = plan[MOVES], rates, busy[2]
    pj, crossing = 0.0, _crossing(innermost, tier, tile, plan)
    for p in range(some.size):
        some[p] = 0.0
    for t in range(moves.shape[0]):
        if moves[t, TIER] != tier:
            continue
        more, step = _repeated(t, tile, plan)
        if crossing < 1.0:
            again = _again(t, innermost, tile, plan)
            more = max(more, elements[t] * (1 - crossing) * (again - 1))
        for p in range(some.size):
            once = clocks[t, ONCE, p]
            if innermost == 0:
                busy[3, p] += once * elements[t]
            spared = step * (once + (clocks[t, SPARED, p] if moves[t, OP] == 2 else 0.0))
            most = once * elements[t] + clocks[t, AGAIN, p] * more
            some[p] += max(0.0, most - spared - clocks[t, ROUNDED, p])
        pj += energy[t, 0] * elements[t] + energy[t, 1] * more
    return pj


@inner
def inner_of(level, tile, plan, rates, deeper, busy):
    """Write the clocks that transfers below the first tier take of the ports; return their energy.

    Of each tier they are the least over the dimension that is innermost of the loops outside.

    Parameters
    ----------
    level : int
        Tiers, below the outermost, that have tiles.
    tile : (G, D) int64 array
    plan, rates : tuple
    deeper : (1 + 2 P,) float64 array
        Energy, and clocks of the ports, that transfers of the other tiers take at least
        (`further`).
    busy : (4, P) float64 array
        Its first row gets the clocks of what has a window, the last those of all; the others are
        room.
    """
    inner, least, some, total = busy[0], busy[1], busy[2], deeper[0]
    for p in range(inner.size):
        inner[p], busy[3, p] = deeper[1 + p], deeper[1 + inner.size + p]
    for tier in range(2, level + 1):
        least_pj = NONE
        for innermost in range(3):
            least_pj = min(least_pj, _one_tier(tier, innermost, tile, plan, rates, busy))
            for p in range(inner.size):
                least[p] = some[p] if innermost == 0 else min(least[p], some[p])
        total += least_pj
        for p in range(inner.size):
            inner[p] += least[p]
    for p in range(inner.size):
        busy[3, p] = max(busy[3, p], inner[p])
    return total


@inner
def bound_of(tile, edge, base, energies, plan, rates, deeper, edges, busy, out):
    """Write clocks and energy that no mapping undercuts with the tiles of the first tier.

    A bound is the least over the dimension that is innermost of the outermost loops.

    Parameters
    ----------
    tile : (G, D) int64 array
    edge : int
        Clocks beside the steps.
    base : (P, 4) int64 array
        Sums of the ports for what the array takes.
    energies : tuple
        Energy of the array, and of a clock.
    plan, rates : tuple
    deeper : (1 + 2 P,) float64 array
        Energy, and clocks of the ports, that transfers of the other tiers take at least
        (`further`).
    edges : int64 array
        As `cost_kernels.edge_clocks` left them.
    busy : (4, P) float64 array
        Room to compute in.
    out : (OUT,) float64 array
        Clocks and energy; those without the edges; what clocks are likely, by which candidates are
        sorted.
    """
    pace, ports = plan[PACE], busy.shape[1]
    moved, spared, less = busy[1], busy[2], busy[3]
    compute = float(whole(steps(plan[SIZES], plan[STEP_TILE]) * pace[0], pace))
    out[0] = out[1] = out[2] = out[3] = out[LIKELY] = 1e300
    for innermost in range(3):
        for p in range(ports):
            moved[p] = spared[p] = less[p] = 0.0
        pj = energies[0] + deeper[0]
        pj += _tier(1, innermost, tile, plan, rates, moved, spared, less)[0]
        late = (compute + _late(innermost, tile, plan, rates)) / 2
        cycles = likely = max(compute, late * (1 - 1e-12) - 1)
        busiest = 0.0
        for p in range(ports):
            stepping = (base[p, EXCESS] + base[p, WITHIN]) / pace[1]
            waits = stepping - edges[AT_PORTS, p] + deeper[1 + p] + moved[p]
            cycles = max(cycles, (waits - spared[p]) * (1 - 1e-12) - 1)
            likely = max(likely, waits)
            busiest = max(busiest, base[p, BUSY] + moved[p] + deeper[1 + ports + p])
        edgeless = max(compute, cycles - ROUNDINGS, busiest - ROUNDINGS)
        cycles = max(cycles + edge, busiest)
        out[0] = min(out[0], cycles)
        out[1] = min(out[1], pj + energies[1] * cycles)
        out[LIKELY] = min(out[LIKELY], max(likely + edge, busiest))
        out[EDGELESS] = min(out[EDGELESS], edgeless)
        out[EDGELESS + 1] = min(out[EDGELESS + 1], pj + energies[1] * edgeless)


@compiled(**OPTIONS)
def tier_floors(extents, counts, smallest, plan, layout, rates, scratch, found, deeper):
    """Write the least that the transfers of each tier take, whatever the tiles of the others.

    Parameters
    ----------
    extents : (D, N) int64 array
        Tiles of each dimension, in descending order: one for each number of blocks.
    counts : (D,) int64 array
    smallest : (G - 1, D) int64 array
        The smallest tile of each dimension in each tier.
    plan, layout, rates : tuple
    scratch : tuple
        (G - 1, D), (places,), (places, 2), (memories,) int64 and (3, P) float64 arrays: room.
    found, deeper : (2, G - 1, 1 + 2 P, M, N) float64 array
        Of each tier, with each tile of the first dimension and each of the second, and no larger
        ones further in: least energy, least clocks of each port with those that may be spared left
        out, and of all; `NONE` where none of the third has room. First with sums that each tier
        repeats; then with those that the blocks of the first tier repeat further in
        (`sums_again`). What tiers further in take alone.
    """
    for tier in range(1, found.shape[1] + 1):
        for m in range(counts[0]):
            _fill_row(tier, m, extents, counts, smallest, plan, layout, rates, scratch, found)
    for way in range(2):
        for tier in range(found.shape[1] - 1, -1, -1):
            for row in range(found.shape[2]):
                some, further_in = found[way, tier, row], deeper[way, tier, row]
                if tier:
                    _close(some, further_in, deeper[way, tier - 1, row])
                for m in range(counts[0]):
                    for n in range(counts[1]):
                        some[m, n] += further_in[m, n]


@inner
def _fill_row(tier, m, extents, counts, smallest, plan, layout, rates, scratch, found):
    """Write the cells of a tier with one tile of the first dimension: see `tier_floors`."""
    tile, partial, held, needs, busy = scratch
    at, k = tile[tier - 1], 0
    for n in range(counts[1] - 1, -1, -1):  # the larger, the smaller the third's largest
        for row in range(found.shape[2]):
            found[0, tier - 1, row, m, n] = found[1, tier - 1, row, m, n] = NONE
        at[0], at[1] = extents[0, m], extents[1, n]
        for d in range(3, counts.size):  # the smallest fits best, the largest moves least
            at[d] = smallest[tier - 1, d]
        while k < counts[2]:
            at[2] = extents[2, k]
            if has_room(tier, True, tile, partial, held, needs, plan, layout):
                break
            k += 1
        if k == counts[2]:
            continue
        move, more = sums_again(tile, plan, layout) if tier == 1 else (-1, 0.0)
        for d in range(3, counts.size):
            at[d] = extents[d, 0]
        least_of_tier(tier, tile, plan, rates, busy, found[:, tier - 1, :, m, n])
        if move >= 0:
            add_again(move, more, rates, found[1, 0, :, m, n])


@inner
def _close(some, further_in, deeper):
    """Write the least of a tier's cells with tiles no larger, and add what is further in."""
    many, others = some.shape
    for m in range(many - 1, -1, -1):
        for n in range(others - 1, -1, -1):
            deeper[m, n] = some[m, n]
            if m + 1 < many:
                deeper[m, n] = min(deeper[m, n], deeper[m + 1, n])
            if n + 1 < others:
                deeper[m, n] = min(deeper[m, n], deeper[m, n + 1])
    for m in range(many):
        for n in range(others):
            deeper[m, n] += further_in[m, n]


@inner
def least_of_tier(tier, tile, plan, rates, room, found):
    """Write the least of a tier's transfers over the dimension that is innermost.

    ``found`` (2, 1 + 2 P): with all that is repeated; without the sums below the first tier.
    """
    busy, spared, less = room[0], room[1], room[2]
    ports = busy.size
    for innermost in range(3):
        for p in range(ports):
            busy[p] = spared[p] = less[p] = 0.0
        pj, less_pj = _tier(tier, innermost, tile, plan, rates, busy, spared, less)
        found[0, 0], found[1, 0] = min(found[0, 0], pj), min(found[1, 0], pj - less_pj)
        for p in range(ports):
            every = 1 + ports + p
            found[0, every] = min(found[0, every], busy[p])
            found[1, every] = min(found[1, every], _whole_clocks(busy[p] - less[p]))
            found[0, 1 + p] = min(found[0, 1 + p], max(0.0, busy[p] - spared[p]))
            found[1, 1 + p] = min(found[1, 1 + p], max(0.0, busy[p] - less[p] - spared[p]))


@inner
def add_again(move, more, rates, found):
    """Add elements that a transfer moves again to energy, and to clocks of which none is spared.

    As `tier_floors` has them.
    """
    ports = rates[CLOCKS].shape[2]
    found[0] += rates[ENERGY][move, 1] * more
    for p in range(ports):
        found[1 + ports + p] += _whole_clocks(rates[CLOCKS][move, AGAIN, p] * more)


@inner
def further(level, tile, plan, layout, rates, deeper):
    """Write, last, what transfers into tiers further in than some with tiles take at least.

    Parameters
    ----------
    level : int
        Tiers, below the outermost, that have tiles.
    tile : (G, D) int64 array
    plan, layout, rates : tuple
    deeper : (3, 1 + 2 P) float64 array
        Two rows as of `tier_floors`, whatever the tiles; the third is written.
    """
    for row in range(deeper.shape[1]):
        deeper[2, row] = deeper[1, row]
    if level == 1:
        move, more = sums_again(tile, plan, layout)
        if move >= 0:
            add_again(move, more, rates, deeper[2])
    for row in range(deeper.shape[1]):
        deeper[2, row] = max(deeper[2, row], deeper[0, row])


@inner
def _many_tiled(place, relevant, tile, plan, layout):
    """Return the sums in blocks of the first tier of which what is next inside holds a part only.

    All where it holds a part only of the last block, which is the smallest; else those of whole
    blocks.
    """
    sizes, child, room = plan[SIZES], child_of(place, layout), layout[ROOM]
    every = whole_ones = 1.0
    for d in range(sizes.size):
        if relevant >> d & 1:
            block = min(sizes[d], tile[0, d])
            every *= sizes[d]
            whole_ones *= sizes[d] // block * block
    taken = held_with(child, 0, 1, True, tile, 0, plan, layout)
    return every if taken > room[layout[PLACES][child, MEMORY]] else whole_ones


@inner
def sums_again(tile, plan, layout):
    """Return a transfer of sums below the first tier, and the elements that it moves again.

    Where sums are unfinished in the first tier, and what is next inside has no room for a tile of
    them, each whole block of the first tier brings all of its sums there, and out again, for each
    block of the third dimension. Transfer -1: nothing is known.
    """
    moves, sizes, places = plan[MOVES], plan[SIZES], layout[PLACES]
    for place in range(places.shape[0]):
        if places[place, DEPTH] != 1 or child_of(place, layout) < 0:
            continue
        if unfinished_at(place, tile, plan, layout) == 0:
            continue
        for t in range(moves.shape[0]):
            if moves[t, OP] == 2 and moves[t, TIER] == places[place, CHILD]:
                elements = _many_tiled(place, moves[t, RELEVANT], tile, plan, layout)
                return t, elements * ((sizes[2] + tile[0, 2] - 1) // tile[0, 2] - 1)
    return -1, 0.0
