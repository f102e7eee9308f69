"""Sums of a nest's transfers, counted once for all orders and doublings that they are alike in.

What a transfer into a tier moves, and when, depends on the loops outside the tier in their order.
Where there is one tile it depends too on which loops inside use all of it again: those that do not
index it, up to the first that does. Loops of an operand that index it may have one iteration in a
short block, so that in each group of loops it counts which of them stand ahead of the one that does
not. A *slot* holds the sums: 0 with two tiles, else 1 + the sets ahead, two bits a group. Slots are
filled where their number is that of the last column, which is raised to forget all.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

from ..datatypes.base.inner_kernels import inlined, inner
from .alike_kernels import transfer_cost
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
from .scratch_kernels import (
    ARRAY_PORTS,
    BOOK,
    FILLED,
    KEPT,
    LOOPS,
    PORT_SUMS,
    SLOT_PJ,
    SLOT_PORTS,
    SLOT_SUMS,
    STACK,
    TILES,
    TWO_TILES,
    WORK,
)
from .tuple_kernels import ENDS_OF, MOVES

SLOT_BITS = 2  # of a group of loops


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
def start_slots(outer, plan, scratch):
    """Forget all sums but those of two tiles of the first tier, counted by order before."""
    parts, parts_pj, at_ports, filled = (
        scratch[SLOT_SUMS],
        scratch[SLOT_PJ],
        scratch[SLOT_PORTS],
        scratch[FILLED],
    )
    sums_of, pj_of = scratch[TWO_TILES]
    forget_below(0, plan, filled)
    for t in range(plan[MOVES].shape[0]):
        if plan[MOVES][t, TIER] == 1 and scratch[TILES].shape[0] > 1:
            copy_sums(sums_of[outer, t], parts[t, 0])
            note_ports(t, parts[t, 0], plan, at_ports[t, 0])
            parts_pj[t, 0] = pj_of[outer, t]
            filled[t, 0] = filled[t, filled.shape[1] - 1]


@inlined
def forget_below(group, plan, filled):
    """Forget the sums that depend on the order of a group of loops: of transfers further in."""
    for t in range(filled.shape[0]):
        if plan[MOVES][t, TIER] > group:
            filled[t, filled.shape[1] - 1] += 1


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
def fill_slot(t, slot, two, nest, cut, plan, scratch):
    """Count a transfer in a slot, if it is not yet: its sums, energy, and clocks of the ports.

    ``two``: whether there are two tiles; ``cut``: loops outside the tier.
    """
    parts, parts_pj, filled = scratch[SLOT_SUMS], scratch[SLOT_PJ], scratch[FILLED]
    if filled[t, slot] == filled[t, filled.shape[1] - 1]:
        return
    if scratch[BOOK][0].size:
        loops = scratch[LOOPS][0], scratch[LOOPS][2]
        parts_pj[t, slot] = transfer_cost(
            t, nest[2], two, loops, scratch[BOOK], scratch[STACK], parts[t, slot]
        )
    else:
        parts_pj[t, slot] = move_cost(
            t, cut, two, nest, plan, scratch[WORK], scratch[STACK], parts[t, slot]
        )
    note_ports(t, parts[t, slot], plan, scratch[SLOT_PORTS][t, slot])
    filled[t, slot] = filled[t, filled.shape[1] - 1]


@inner
def least_of_orders(nest, cuts, plan, scratch):
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
        fill_slot(t, 0, True, nest, cuts[tier], plan, scratch)
        for row in range(SUM_ROWS):
            port, sums = plan[ENDS_OF][t, row // 2, row % 2, PORT], scratch[SLOT_SUMS][t, 0]
            if port >= 0 and sums[row, BUSY] > 0:
                ports[port, BUSY] += sums[row, BUSY]
                ports[port, WITHIN] += sums[row, EXCESS] + sums[row, WITHIN]
        energy += scratch[SLOT_PJ][t, 0]
    return energy


@inlined
def add_up(mask, single, nest, cuts, plan, scratch):
    """Add up the transfers of a nest with a set of doubled places; return their energy.

    ``single`` (T,): slots of the transfers with one tile.
    """
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
        slot = 0 if two else single[t]
        fill_slot(t, slot, two == 1, nest, cuts[tier], plan, scratch)
        for p in range(ports.shape[0]):
            if at_ports[t, slot, p, BUSY]:
                for column in range(LATE):
                    ports[p, column] += at_ports[t, slot, p, column]
                ports[p, LATE] = max(ports[p, LATE], at_ports[t, slot, p, LATE])
        energy += scratch[SLOT_PJ][t, slot]
    return energy


@inner
def note_counts(mask, single, edge, store, groups, plan, scratch):
    """Note the counts of the mapping that was kept last: those of transfers, ports and edges."""
    ports, parts = scratch[PORT_SUMS], scratch[SLOT_SUMS]
    transfers, at_ports, edges = scratch[KEPT]
    for t in range(parts.shape[0]):
        slot = 0
        if plan[MOVES][t, TIER] < groups and not mask >> plan[MOVES][t, PLACE] & 1:
            slot = single[t]
        copy_sums(parts[t, slot], transfers[t])
    for p in range(ports.shape[0]):
        for column in range(PORT_COLUMNS):
            at_ports[p, column] = ports[p, column]
    edges[0], edges[1] = edge, store
