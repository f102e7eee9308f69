"""Sums of a nest's transfers, counted once for all orders and doublings that they are alike in.

What a transfer into a tier moves, and when, depends on the loops outside the tier in their order.
Where there is one tile it depends too on which loops inside use all of it again: those that do not
index it, up to the first that does. Loops of an operand that index it may have one iteration in a
short block, so that in each group of loops it counts which of them stand ahead of the one that does
not. A *slot* holds the sums: 0 with two tiles, else 1 + the sets ahead, two bits a group. Two tiles
of the first tier have a slot for each order of the outermost loops, behind the others. Slots are
filled where their number is that of the last column, which is raised to forget all, as are, of
pairs of visits, the numbers of the orders outside a tier's own group, and of the nest.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

from ..datatypes.base.inner_kernels import inlined, inner
from .alike_kernels import ALWAYS, EVEN
from .cost_kernels import (
    BUSY,
    EXCESS,
    LATE,
    OP,
    PLACE,
    PORT,
    PORT_COLUMNS,
    SUM_ROWS,
    TIER,
    WITHIN,
    add_to_ports,
    move_cost,
)
from .pair_kernels import LONE, OUTSIDE, OWN, STAMP, find_edge, follow, weigh
from .scratch_kernels import (
    ARRAY_PORTS,
    BOOK,
    FILLED,
    KEPT,
    LOOPS,
    NEST,
    PORT_SUMS,
    SLOT_PJ,
    SLOT_PORTS,
    SLOT_SUMS,
    STACK,
    WORK,
)
from .tuple_kernels import ENDS_OF, MOVES

SLOT_BITS = 2  # of a group of loops
EDGED, ORDERED, NEST_OF, NOW = 4, 3, 2, 1  # columns of what is filled, from the end; EDGED: edges


@inner
def copy_sums(found, kept):
    """Copy the sums of a transfer."""
    for row in range(found.shape[0]):
        for column in range(found.shape[1]):
            kept[row, column] = found[row, column]


@inner
def note_ports(t, sums, plan, at_ports):
    """Write what a transfer takes of each port, of its sums."""
    for p in range(at_ports.shape[0]):
        for column in range(PORT_COLUMNS):
            at_ports[p, column] = 0
    add_to_ports(t, sums, plan, at_ports)


@inlined
def two_slot(t, outer, plan, filled):
    """Return the slot of a transfer with two tiles, in an order of the outermost loops."""
    return filled.shape[1] - EDGED + outer if plan[MOVES][t, TIER] == 1 else 0


@inlined
def forget_below(group, plan, filled):
    """Forget the sums that depend on the order of a group of loops: of transfers further in."""
    for t in range(filled.shape[0]):
        if plan[MOVES][t, TIER] > group:
            filled[t, filled.shape[1] - NOW] += 1
        if plan[MOVES][t, TIER] > group + 1:
            filled[t, filled.shape[1] - ORDERED] += 1


@inlined
def forget_nest(filled):
    """Forget the pairs of visits of a nest of tiles."""
    for t in range(filled.shape[0]):
        filled[t, filled.shape[1] - NEST_OF] += 1


@inlined
def _ahead(op, order, live):
    """Return which of two loops that index an operand stand ahead of the one that does not."""
    found = index = 0
    if not live >> op & 1:
        return 0
    for i in range(order.size):
        kind = order[i]
        if kind == op:
            return found
        index = kind if kind < op else kind - 1
        found |= (live >> kind & 1) << index
    return found


@inlined
def slot_of(t, plan, orders, which, live):
    """Return the slot of a transfer with one tile: the kind that does not index it is its own."""
    slot, tier = 0, plan[MOVES][t, TIER]
    for g in range(live.size - 1, tier - 1, -1):
        slot = slot << SLOT_BITS | _ahead(plan[MOVES][t, OP], orders[which[g]], live[g])
    return 1 + slot


@inlined
def fill_slot(t, slot, two, outer, nest, cut, orders, plan, scratch):
    """Count a transfer in a slot, if it is not yet: its sums, energy, and clocks of the ports.

    ``two``: whether there are two tiles; ``cut``: loops outside the tier.
    """
    parts, parts_pj, filled = scratch[SLOT_SUMS], scratch[SLOT_PJ], scratch[FILLED]
    end = filled.shape[1]
    now = filled[t, end - NOW]
    if slot >= end - EDGED or filled[t, slot] == now:
        return
    if scratch[BOOK][0].size:
        loops, found = (scratch[LOOPS][0], scratch[LOOPS][2]), (-1, OWN + outer, OWN + outer)
        if plan[MOVES][t, TIER] > 1:
            found = _find_pairs(t, two, cut, loops, orders, plan, scratch)
        like = two_slot(t, outer, plan, filled)
        known = slot != like and (like >= end - EDGED or filled[t, like] == now)
        parts_pj[t, slot] = weigh(
            t, found, two, known, parts[t, like], cut, nest[2], loops, scratch[BOOK],
            parts[t, slot],
        )  # fmt: skip
    else:
        parts_pj[t, slot] = move_cost(
            t, cut, two, nest, plan, scratch[WORK], scratch[STACK], parts[t, slot]
        )
    note_ports(t, parts[t, slot], plan, scratch[SLOT_PORTS][t, slot])
    filled[t, slot] = now


@inlined
def _outside(t, two, order, live, now, plan, book):
    """Return the part of pairs outside a tier's own group of loops, with an order of that.

    Orders are alike in which the loop that does not index the tile turns inside all visits, or in
    none; and with one tile, if no block of that is a short step.
    """
    op, facts, heads = plan[MOVES][t, OP], book[4], book[8]
    if not two and facts[t, EVEN]:
        for part in range(OUTSIDE, OWN):
            if heads[t, part, STAMP] == now:
                return part
    turned = 0
    for i in range(order.size - 1, -1, -1):
        if order[i] == op:
            break
        turned |= 1 << order[i]
    if turned & facts[t, ALWAYS]:
        return OUTSIDE
    return OUTSIDE + _ahead(op, order, live)


@inlined
def _find_pairs(t, two, cut, loops, orders, plan, scratch):
    """Find the pairs of visits of a transfer further in, if they are not yet; return the parts."""
    book, filled, (which, live, _, _) = scratch[BOOK], scratch[FILLED], scratch[NEST]
    heads, end, group = book[8], filled.shape[1], plan[MOVES][t, TIER] - 1
    own, now = OWN + which[group], filled[t, end - ORDERED]
    outside = _outside(t, two, orders[which[group]], live[group], now, plan, book)
    if heads[t, own, STAMP] != filled[t, end - NEST_OF]:
        follow(t, own, group, group + 1, cut, loops, book, scratch[STACK])
        heads[t, own, STAMP] = filled[t, end - NEST_OF]
    if heads[t, outside, STAMP] != now:
        follow(t, outside, 0, group, cut, loops, book, scratch[STACK])
        heads[t, outside, STAMP] = now
    if filled[t, end - EDGED] != filled[t, end - NOW]:
        find_edge(t, LONE, cut, loops, book)
        filled[t, end - EDGED] = filled[t, end - NOW]
    return outside, own, LONE


@inner
def least_of_orders(outer, nest, cuts, orders, plan, scratch):
    """Add up the transfers between memories as if all had two tiles; return their energy.

    ``nest``: loops outside the last tier, on which energy and clocks at ports depend alone. Of the
    latter those that have a window with two tiles stand as within windows: none has more.
    """
    base, ports, energy = scratch[ARRAY_PORTS], scratch[PORT_SUMS], 0.0
    for p in range(ports.shape[0]):
        for column in range(PORT_COLUMNS):
            ports[p, column] = base[p, column]
    for t in range(plan[MOVES].shape[0]):
        tier = plan[MOVES][t, TIER]
        if tier == cuts.size - 1:
            continue
        slot = two_slot(t, outer, plan, scratch[FILLED])
        fill_slot(t, slot, True, outer, nest, cuts[tier], orders, plan, scratch)
        for row in range(SUM_ROWS):
            port, sums = plan[ENDS_OF][t, row // 2, row % 2, PORT], scratch[SLOT_SUMS][t, slot]
            if port >= 0 and sums[row, BUSY] > 0:
                ports[port, BUSY] += sums[row, BUSY]
                ports[port, WITHIN] += sums[row, EXCESS] + sums[row, WITHIN]
        energy += scratch[SLOT_PJ][t, slot]
    return energy


@inlined
def add_up(mask, slots, outer, nest, cuts, orders, plan, scratch):
    """Add up the transfers of a nest with a set of doubled places; return their energy.

    ``slots`` (T,) gets the slot of each transfer between memories.
    """
    which, live, _, _ = scratch[NEST]
    base, ports, at_ports = scratch[ARRAY_PORTS], scratch[PORT_SUMS], scratch[SLOT_PORTS]
    for p in range(ports.shape[0]):
        for column in range(PORT_COLUMNS):
            ports[p, column] = base[p, column]
    energy = 0.0
    for t in range(plan[MOVES].shape[0]):
        tier = plan[MOVES][t, TIER]
        if tier == cuts.size - 1:
            continue
        two = mask >> plan[MOVES][t, PLACE] & 1
        slot = two_slot(t, outer, plan, scratch[FILLED])
        if not two:
            slot = slot_of(t, plan, orders, which, live)
        slots[t] = slot
        fill_slot(t, slot, two == 1, outer, nest, cuts[tier], orders, plan, scratch)
        for p in range(ports.shape[0]):
            if at_ports[t, slot, p, BUSY]:
                for column in range(LATE):
                    ports[p, column] += at_ports[t, slot, p, column]
                ports[p, LATE] = max(ports[p, LATE], at_ports[t, slot, p, LATE])
        energy += scratch[SLOT_PJ][t, slot]
    return energy


@inner
def note_counts(slots, edge, store, scratch):
    """Note the counts of the mapping that was kept last: those of transfers, ports and edges."""
    ports, parts = scratch[PORT_SUMS], scratch[SLOT_SUMS]
    transfers, at_ports, edges = scratch[KEPT]
    for t in range(parts.shape[0]):
        copy_sums(parts[t, slots[t]], transfers[t])
    for p in range(ports.shape[0]):
        for column in range(PORT_COLUMNS):
            at_ports[p, column] = ports[p, column]
    edges[0], edges[1] = edge, store
