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
    PLACE,
    PORT,
    REACHED,
    READBACK,
    RELEVANT,
    REST,
    TIER,
    TILE,
    UP,
    WHOLE,
    WITHIN,
    clocks_of,
    moved_of,
    slid_dims,
    whole,
)
from .room_kernels import (
    CHILD,
    DEPTH,
    INDEXED,
    MEMORY,
    child_of,
    has_room,
    held_with,
    unfinished_at,
)
from .tuple_kernels import (
    CLOCKS,
    ELEMENTS_OF,
    ENDS_OF,
    ENERGY,
    KINDS,
    MOVES,
    PACE,
    PIXELS,
    PJ,
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
THIRD = 2  # the dimension of which tables have the largest tile alone
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
def _crossing(innermost, tier, known, tile, plan):
    """Return the share of elements for which loops of the innermost kind may not go round.

    Of a tier's tiles the loops next to them go round in every whole block; in the last block of the
    first tier, of which at most one tile is left, they need not: a whole one, larger than a tile,
    is beside it. One tier further in every block of the first tier may end so: a whole one of the
    second, a tile and a step or more, is in each but the last of them. Still further in such blocks
    repeat. ``known``: else smaller tiles of the third dimension move no less than the share says.
    """
    sizes, kinds, slides = plan[SIZES], plan[KINDS], plan[WINDOWS_OF].shape[0] > 0
    share, around, some = 1.0, 1.0, 0
    for d in range(sizes.size):
        at, size = tile[tier - 1, d], sizes[d]
        if kinds[d] != innermost:
            continue
        if at < size:
            if not _even(d, plan[WINDOWS_OF]):
                return 1.0 if tier > 1 else 0.0
            share = min(share, at / size if slides else min(0.5, at / size))
            around = at + (size - at) * at / (2.0 * at + plan[STEP_TILE][d])
            around = min(2 / 3, around / size)
            some += 1
        elif not known and not slides and d == THIRD and plan[STEP_TILE][d] < size:
            share, around = 0.5, 2 / 3
            some += 1
    if tier == 1 or some == 0:
        return 0.0
    if tier == 2:
        return share
    return 1.0 if slides or tier > 3 else around


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
    crossing, total, repeated_pj = _crossing(innermost, tier, False, tile, plan), 0.0, 0.0
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
def _list_blocks(d, tier, tile, sizes, blocks):
    """Write the extents that blocks of a tier have along a dimension, and how many have each.

    Whole ones first, then what is left of each extent of the tier outside. Extents stand in a
    column of the first rows, how many there are in that of the next.
    """
    most = tile.shape[0] + 1
    blocks[0, d], blocks[most, d] = sizes[d], 1
    for g in range(tier):
        extent, full = tile[g, d], 0
        for i in range(g, -1, -1):
            full += blocks[i, d] // extent * blocks[most + i, d]
            blocks[i + 1, d], blocks[most + i + 1, d] = blocks[i, d] % extent, blocks[most + i, d]
        blocks[0, d], blocks[most, d] = extent, full


@inner
def once_of(t, tile, plan, work, blocks, busy):
    """Return the energy of a transfer of all tiles once; add its clocks at the ports to ``busy``.

    Each tile in whole accesses; of what does not index them the least that copies take alike.

    Parameters
    ----------
    t : int
    tile : (G, D) int64 array
    plan : tuple
        Of a layer without windows.
    work, blocks : int64 arrays
        Room to compute in: as `move_cost` takes it, and (2 G + 2, D) or more.
    busy : (P,) float64 array
    """
    moves, ends, sizes, step_tile = plan[MOVES], plan[ENDS_OF], plan[SIZES], plan[STEP_TILE]
    relevant, tier, most = moves[t, RELEVANT], moves[t, TIER], tile.shape[0] + 1
    block, whole_steps, rest = work[TILE], work[WHOLE], work[REST]
    kind, energy, many = FINISHED if moves[t, OP] == 2 else FETCH, 0.0, 1
    for d in range(sizes.size):
        left = sizes[d] % step_tile[d]
        block[d] = left if left else step_tile[d]
        if relevant >> d & 1:
            _list_blocks(d, tier, tile, sizes, blocks)
            many *= tier + 1
    for number in range(many):
        count, left = 1, number
        for d in range(sizes.size):
            if relevant >> d & 1:
                i = left % (tier + 1)
                left //= tier + 1
                block[d] = blocks[i, d]
                count *= blocks[most + i, d] if block[d] else 0
            whole_steps[d] = block[d] // step_tile[d]
            rest[d] = block[d] - whole_steps[d] * step_tile[d]
        if count == 0:
            continue
        for end in range(2):
            port = ends[t, kind, end, PORT]
            if port >= 0:
                share, copies, elements = moved_of(t, kind, end, block, whole_steps, rest, plan)
                accesses = clocks_of(share, t, kind, end, ends)
                busy[port] += accesses * count
                energy += plan[PJ][t, kind, end, 0] * accesses * copies * count
                energy += plan[PJ][t, kind, end, 1] * elements * count
    return energy


@inner
def _one_tier(tier, innermost, tile, plan, rates, busy):
    """Write the clocks of a tier's transfers below the first, with an innermost kind, as room.

    Adds, with the first kind, those of elements that move once to all. Returns the energy.
    """
    moves, (clocks, energy, elements), some = plan[MOVES], rates, busy[2]
    pj, crossing = 0.0, _crossing(innermost, tier, True, tile, plan)
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
def exact_inner_of(level, tile, plan, rates, deeper, work, blocks, busy):
    """Do as `inner_of`, with tiles in whole accesses where they move once.

    ``work``, ``blocks``: as `once_of`.
    """
    energy = inner_of(level, tile, plan, rates, deeper, busy)
    if plan[WINDOWS_OF].shape[0]:
        return energy
    moves, (_, pj, elements), once = plan[MOVES], rates, busy[2]
    for p in range(once.size):
        once[p] = deeper[1 + once.size + p]
    for t in range(moves.shape[0]):
        if 1 < moves[t, TIER] <= level:
            energy += once_of(t, tile, plan, work, blocks, once) - pj[t, 0] * elements[t]
    for p in range(once.size):
        busy[3, p] = max(busy[3, p], once[p])
    return energy


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
    deeper : (8, 1 + 2 P) float64 array
        Energy, and clocks of the ports, that transfers of the other tiers take at least, as
        `further` leaves them.
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
        pj = energies[0] + _tier(1, innermost, tile, plan, rates, moved, spared, less)[0]
        late = (compute + _late(innermost, tile, plan, rates)) / 2
        least = max(compute, late * (1 - 1e-12) - 1)
        for with_blocks in range(2):  # that come again
            row = 3 + innermost if with_blocks else 2
            cycles = likely = least
            busiest = 0.0
            for p in range(ports):
                stepping = (base[p, EXCESS] + base[p, WITHIN]) / pace[1]
                waits = stepping - edges[AT_PORTS, p] + deeper[row, 1 + p] + moved[p]
                cycles = max(cycles, (waits - spared[p]) * (1 - 1e-12) - 1)
                likely = max(likely, waits)
                busiest = max(busiest, base[p, BUSY] + moved[p] + deeper[row, 1 + ports + p])
            if not with_blocks:
                edgeless = max(compute, cycles - ROUNDINGS, busiest - ROUNDINGS)
                out[EDGELESS] = min(out[EDGELESS], edgeless)
                edgeless_pj = pj + deeper[row, 0] + energies[1] * edgeless
                out[EDGELESS + 1] = min(out[EDGELESS + 1], edgeless_pj)
                continue
            cycles = max(cycles + edge, busiest)
            out[0] = min(out[0], cycles)
            out[1] = min(out[1], pj + deeper[row, 0] + energies[1] * cycles)
            out[LIKELY] = min(out[LIKELY], max(likely + edge, busiest))


@compiled(**OPTIONS)
def tier_floors(extents, counts, smallest, plan, layout, rates, scratch, found, deeper, by_kind):
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
        (G - 1, D), (places,), (places, 2), (memories,) int64, (3, P) and (8, 1 + 2 P) float64
        arrays, (places,), (N,) and (N,) int64 and (N, 2, 1 + 2 P) float64 arrays, of as many as
        there are tiles of the second dimension: room.
    found, deeper : (2, G - 1, 1 + 2 P, M, N) float64 array
        Of each tier, with each tile of the first dimension and each of the second, and no larger
        ones further in: least energy, least clocks of each port with those that may be spared left
        out, and of all; `NONE` where none of the third has room. First with sums that each tier
        repeats; then with those that the blocks of the first tier repeat further in
        (`sums_again`). What tiers further in take alone.
    by_kind : (3, G - 2, 1 + 2 P, M, N) float64 array
        What each tier below the first takes alone, by the kind of dimensions that is innermost of
        the loops outside, with tiles no larger. Of no tiers where what comes again for blocks of
        the first tier is left out (`inside_blocks`).
    """
    for tier in range(found.shape[1], 0, -1):
        for m in range(counts[0]):
            _fill_row(
                tier, m, extents, counts, smallest, plan, layout, rates, scratch, found, deeper,
                by_kind,
            )  # fmt: skip
        if tier == 1:
            continue
        for row in range(found.shape[2]):
            for kind in range(3 if by_kind.shape[1] else 0):
                _close(by_kind[kind, tier - 2, row])
            for way in range(2):
                some, further_in = found[way, tier - 1, row], deeper[way, tier - 1, row]
                least = deeper[way, tier - 2, row]
                for m in range(counts[0]):
                    for n in range(counts[1]):
                        least[m, n] = some[m, n]
                        some[m, n] += further_in[m, n]
                _close(least)
                for m in range(counts[0]):
                    for n in range(counts[1]):
                        least[m, n] += further_in[m, n]


@inner
def _fill_row(
    tier, m, extents, counts, smallest, plan, layout, rates, scratch, found, deeper, by_kind
):  # fmt: skip
    """Write the cells of a tier with one tile of the first dimension: see `tier_floors`."""
    tile, _, _, _, busy, rows, _, largest_of, _, _ = scratch
    at = tile[tier - 1]
    _find_largest(tier, m, extents, counts, smallest, plan, layout, scratch)
    for n in range(counts[1]):
        at[0], at[1], k = extents[0, m], extents[1, n], largest_of[n]
        for row in range(found.shape[2]):
            for i in range(5):
                rows[i, row] = NONE
        if k == counts[2] or tier == 1:
            _note_row(tier, m, n, rows, found, by_kind)
        if k == counts[2]:
            continue
        if tier == 1:
            at[2] = extents[2, k]
            _fill_cell(
                m, n, k, extents, smallest, plan, layout, rates, scratch, found, deeper, by_kind
            )
            continue
        at[2] = extents[2, k]
        for d in range(3, counts.size):
            at[d] = extents[d, 0]
        least_of_tier(tier, tile, plan, rates, busy, rows[0:2], rows[2:5])
        _note_row(tier, m, n, rows, found, by_kind)


@inner
def _find_largest(tier, m, extents, counts, smallest, plan, layout, scratch):
    """Note the largest tiles of the third dimension that have room, by tiles of the second.

    The smaller the others, the larger: those of the row before, with a larger tile of the first
    dimension, have room here too; those with a smaller tile of the second are the largest here.
    """
    tile, partial, held, needs, _, _, _, largest_of, kept_of, _ = scratch
    at, k = tile[tier - 1], 0
    at[0] = extents[0, m]
    for d in range(3, counts.size):  # the smallest fits best, the largest moves least
        at[d] = smallest[tier - 1, d]
    for n in range(counts[1] - 1, -1, -1):
        if m == 0:
            largest_of[n], kept_of[n] = counts[2], -1
        at[1] = extents[1, n]
        while k < largest_of[n]:
            at[2] = extents[2, k]
            if has_room(tier, True, tile, partial, held, needs, plan, layout):
                break
            k += 1
        largest_of[n] = k


@inner
def _note_row(tier, m, n, rows, found, by_kind):
    """Write a cell of a tier: its two rows, and below the first tier those by kind."""
    for row in range(found.shape[2]):
        for way in range(2):
            found[way, tier - 1, row, m, n] = rows[way, row]
        for kind in range(3 if tier > 1 and by_kind.shape[1] else 0):
            by_kind[kind, tier - 2, row, m, n] = rows[2 + kind, row]


@inner
def _fill_cell(
    m, n, k, extents, smallest, plan, layout, rates, scratch, found, deeper, by_kind
):  # fmt: skip
    """Write a cell of the first tier, of which the third dimension's tile is at most so large.

    The larger the tile, the less is moved into the tier; but the more likely a memory further in
    has no room for a block, which then comes anew (`blocks_again`). So the largest tile is tried,
    and the largest of which a block has room in each of those memories.
    """
    tile, _, _, _, busy, rows, largest, _, kept_of, _ = scratch
    at, places, most = tile[0], layout[PLACES], extents[2, k]
    deep = by_kind.shape[1] > 0 and plan[WINDOWS_OF].shape[0] == 0
    if not deep and _take_kept(m, n, k, plan, scratch, found, deeper):
        return
    for place in range(places.shape[0]):
        largest[place] = _largest_inside(place, most, tile, plan, layout) if deep else -1
    for place in range(-1, places.shape[0]):
        at[2] = _tried(place, most, largest)
        if at[2] == 0:
            continue
        move, more = sums_again(tile, plan, layout)
        for row in range(found.shape[2]):
            rows[0, row] = rows[1, row] = NONE
        # of the other dimensions the smallest fits best, the largest moves least
        for d in range(3, at.size):
            at[d] = extents[d, 0]
        least_of_tier(1, tile, plan, rates, busy, rows[0:2], rows[2:5])
        if move >= 0:
            add_again(move, more, rates, rows[1])
        for d in range(3, at.size):
            at[d] = smallest[0, d]
        for outer in range(3 if deep else 0):
            inside_blocks(outer, m, n, largest, tile, plan, layout, rates, by_kind, rows[5:8])
            for row in range(found.shape[2]):
                once = rows[2 + outer, row] + max(deeper[0, 0, row, m, n], rows[5, row])
                found[0, 0, row, m, n] = min(found[0, 0, row, m, n], once)
        if not deep:
            kept_of[n] = k if move < 0 else -1
            _keep_cell(m, n, rows, scratch, found, deeper)
            continue
        for row in range(found.shape[2]):
            again = rows[1, row] + deeper[1, 0, row, m, n]
            found[1, 0, row, m, n] = min(found[1, 0, row, m, n], again)


@inner
def _keep_cell(m, n, rows, scratch, found, deeper):
    """Write a cell of the first tier, and keep it for those of the next row."""
    kept = scratch[9]
    for row in range(found.shape[2]):
        for way in range(2):
            kept[n, way, row] = rows[way, row]
            found[way, 0, row, m, n] = rows[way, row] + deeper[way, 0, row, m, n]


@inner
def _take_kept(m, n, k, plan, scratch, found, deeper):
    """Write a cell of the first tier from that of larger tiles; whether one was kept.

    Of tiles with the same of the third dimension the larger move no less into the tier, and no
    later. Where sums come again further in, which is the more likely the larger the tiles, cells
    are not kept.
    """
    kept_of, kept = scratch[8], scratch[9]
    if plan[WINDOWS_OF].shape[0]:
        return False
    if kept_of[n] != k:
        if n == 0 or kept_of[n - 1] != k:
            return False
        kept_of[n] = k
        for row in range(found.shape[2]):
            for way in range(2):
                kept[n, way, row] = kept[n - 1, way, row]
    for row in range(found.shape[2]):
        for way in range(2):
            found[way, 0, row, m, n] = kept[n, way, row] + deeper[way, 0, row, m, n]
    return True


@inner
def _tried(place, most, largest):
    """Return the tile of the third dimension that a memory further in asks for, the most for -1.

    0 where it needs none, or one that was tried for a memory before it.
    """
    if place < 0:
        return most
    for before in range(place):
        if largest[before] == largest[place]:
            return 0
    return largest[place] if 0 < largest[place] < most else 0


@inner
def _largest_inside(place, most, tile, plan, layout):
    """Return the most of the third dimension of which a memory further in holds a block.

    A block of the first tier, the smallest there is of the first two dimensions. At most ``most``,
    a multiple of a step's tile; 0 for no element, -1 where the dimension does not index the
    operand.
    """
    places, at, step = layout[PLACES], tile[0], plan[STEP_TILE][2]
    if places[place, DEPTH] < 2 or not places[place, INDEXED] >> 2 & 1:
        return -1
    room, had = layout[ROOM][places[place, MEMORY]], at[2]
    low, high, middle = 0, most // step, most // step  # tried first: mostly it fits
    while high > low:
        at[2] = middle * step
        if _last_held(place, tile, plan, layout) <= room:
            low = middle
        else:
            high = middle - 1
        middle = (low + high + 1) // 2
    at[2] = had
    return low * step


@inner
def _last_held(place, tile, plan, layout):
    """Return what a memory would hold of a block, the smallest but for the third dimension."""
    sizes, at = plan[SIZES], tile[0]
    one, other = at[0], at[1]
    for d in range(2):
        rest = sizes[d] % min(sizes[d], at[d])
        if rest:
            at[d] = rest
    taken = held_with(place, 0, 1, False, tile, 0, plan, layout)
    at[0], at[1] = one, other
    return taken


@inner
def blocks_again(t, kind, outer, largest, tile, plan, layout):
    """Return the elements that a transfer moves again for each block of one kind of dimensions.

    Nothing of a block of the first tier is left further in when the next one comes that has the
    same elements, where other blocks come in between: those of the kind that is innermost of the
    outermost loops, if it is another. And where a memory has no room for all of a block. 0 where
    the kind indexes the operand, or nothing is known.

    Parameters
    ----------
    t, kind, outer : int
        The transfer, the kind that comes again, the innermost kind of the outermost loops.
    largest : (places,) int64 array
        The most of the third dimension of which each memory holds a block (`_largest_inside`), of
        all tiles that are that large; or none, for the tile as it is.
    tile : (G, D) int64 array
    plan, layout : tuple
    """
    moves, sizes, kinds, places = plan[MOVES], plan[SIZES], plan[KINDS], layout[PLACES]
    relevant, place, at = moves[t, RELEVANT], moves[t, PLACE], tile[0]
    again, elements = -1, 1.0
    for d in range(sizes.size):
        if relevant >> d & 1:
            elements *= sizes[d]
            if kinds[d] == kind:
                elements = 0.0
        elif kinds[d] == kind:
            again = max(1, again) * ((sizes[d] + at[d] - 1) // at[d])
    if again <= 1 or elements == 0.0 or plan[WINDOWS_OF].shape[0]:
        return 0.0
    if kind == outer:
        if largest.size and relevant >> 2 & 1:
            share = (sizes[2] - largest[place]) / sizes[2] if at[2] > largest[place] else 0.0
            elements *= share
        elif (
            held_with(place, 0, 1, False, tile, 0, plan, layout)
            <= layout[ROOM][places[place, MEMORY]]
        ):
            elements = 0.0
        else:
            elements = _many_tiled(place, relevant, tile, plan, layout)
    return elements * (again - 1)


@inner
def inside_blocks(outer, m, n, largest, tile, plan, layout, rates, by_kind, rows):
    """Write, first, what transfers into tiers below the first take at least, by its tiles.

    ``outer``: the innermost kind of the outermost loops; ``m``, ``n``: of the first two dimensions,
    in the tables; ``largest``: as `blocks_again`. Of each tier it is the least over the kind that
    is innermost of all loops outside, whose tiles stay but from block to block of the first tier.
    """
    moves = plan[MOVES]
    for row in range(rows.shape[1]):
        rows[0, row] = 0.0
    for tier in range(by_kind.shape[1]):
        for row in range(rows.shape[1]):
            rows[1, row] = 1e300
        for kind in range(3):
            for row in range(rows.shape[1]):
                rows[2, row] = by_kind[kind, tier, row, m, n]
            for t in range(moves.shape[0]):
                if moves[t, TIER] == tier + 2:
                    more = blocks_again(t, kind, outer, largest, tile, plan, layout)
                    if more > 0.0:
                        add_again(t, more, rates, rows[2])
                        _add_waits(t, more, plan, rates, rows[2])
            for row in range(rows.shape[1]):
                rows[1, row] = min(rows[1, row], rows[2, row])
        for row in range(rows.shape[1]):
            rows[0, row] += rows[1, row]


@inner
def _add_waits(t, more, plan, rates, found):
    """Add elements that a fetch moves again to the clocks of which some are spared: none of them.

    Of sums some are: what is spared is one tile, but a dearer one.
    """
    if plan[MOVES][t, OP] < 2:
        for p in range(rates[CLOCKS].shape[2]):
            found[1 + p] += rates[CLOCKS][t, AGAIN, p] * more


@inner
def _close(least):
    """Write the least of cells with tiles no larger over each."""
    many, others = least.shape
    for m in range(many - 1, -1, -1):
        for n in range(others - 1, -1, -1):
            if m + 1 < many:
                least[m, n] = min(least[m, n], least[m + 1, n])
            if n + 1 < others:
                least[m, n] = min(least[m, n], least[m, n + 1])


@inner
def least_of_tier(tier, tile, plan, rates, room, found, by_kind):
    """Write the least of a tier's transfers over the dimension that is innermost.

    ``found`` (2, 1 + 2 P): with all that is repeated; without the sums below the first tier.
    ``by_kind`` (3, 1 + 2 P): of each kind of dimensions that is innermost, with all.
    """
    busy, spared, less = room[0], room[1], room[2]
    ports = busy.size
    for innermost in range(3):
        for p in range(ports):
            busy[p] = spared[p] = less[p] = 0.0
        pj, less_pj = _tier(tier, innermost, tile, plan, rates, busy, spared, less)
        found[0, 0], found[1, 0] = min(found[0, 0], pj), min(found[1, 0], pj - less_pj)
        by_kind[innermost, 0] = pj
        for p in range(ports):
            every = 1 + ports + p
            by_kind[innermost, every] = busy[p]
            by_kind[innermost, 1 + p] = max(0.0, busy[p] - spared[p])
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
def further(level, m, n, none, tile, plan, layout, rates, by_kind, deeper):
    """Write, third, what transfers into tiers further in than some with tiles take at least.

    Parameters
    ----------
    level : int
        Tiers, below the outermost, that have tiles.
    m, n : int
        Of the first two dimensions of the last of them, in the tables.
    none : (0,) int64 array
    tile : (G, D) int64 array
    plan, layout, rates : tuple
    by_kind : float64 array
        As `tier_floors` leaves it.
    deeper : (8, 1 + 2 P) float64 array
        Two rows as of `tier_floors`; the third is written. Three for the first tier are written by
        the innermost kind of the outermost loops, with what comes again for each of its blocks.
        Two are room.
    """
    for row in range(deeper.shape[1]):
        deeper[2, row] = deeper[1, row]
    if level == 1:
        move, more = sums_again(tile, plan, layout)
        if move >= 0:
            add_again(move, more, rates, deeper[2])
    for row in range(deeper.shape[1]):
        deeper[2, row] = max(deeper[2, row], deeper[0, row])
    if level == 1:
        for outer in range(3):
            inside_blocks(
                outer, m, n, none, tile, plan, layout, rates, by_kind, deeper[3 + outer : 6 + outer]
            )
            for row in range(deeper.shape[1]):
                deeper[3 + outer, row] = max(deeper[2, row], deeper[3 + outer, row])


@inner
def _many_tiled(inside, relevant, tile, plan, layout):
    """Return the elements in blocks of the first tier of which a place inside holds a part only.

    All where it holds a part only of the last block, which is the smallest; else those of whole
    blocks.
    """
    sizes, room = plan[SIZES], layout[ROOM]
    every = whole_ones = 1.0
    for d in range(sizes.size):
        if relevant >> d & 1:
            block = min(sizes[d], tile[0, d])
            every *= sizes[d]
            whole_ones *= sizes[d] // block * block
    taken = held_with(inside, 0, 1, True, tile, 0, plan, layout)
    return every if taken > room[layout[PLACES][inside, MEMORY]] else whole_ones


@inner
def sums_again(tile, plan, layout):
    """Return a transfer of sums below the first tier, and the elements that it moves again.

    Where sums are unfinished in the first tier, and what is next inside has no room for a tile of
    them, each whole block of the first tier brings all of its sums there, and out again, for each
    block of the third dimension. Transfer -1: nothing is known.
    """
    moves, sizes, places = plan[MOVES], plan[SIZES], layout[PLACES]
    for place in range(places.shape[0]):
        inside = child_of(place, layout)
        if places[place, DEPTH] != 1 or inside < 0:
            continue
        if unfinished_at(place, tile, plan, layout) == 0:
            continue
        for t in range(moves.shape[0]):
            if moves[t, OP] == 2 and moves[t, TIER] == places[place, CHILD]:
                elements = _many_tiled(inside, moves[t, RELEVANT], tile, plan, layout)
                return t, elements * ((sizes[2] + tile[0, 2] - 1) // tile[0, 2] - 1)
    return -1, 0.0
