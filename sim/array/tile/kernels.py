"""The bit-serial tile array, one clock at a time. Imported on use: this module brings numba.

The kernel is resumable: all state lives in the arrays handed in, so that a long run can stop
whenever its event buffer is full, be written to disk, and go on.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

from typing import Any, NamedTuple

import numpy as np

from ....datatypes.base.compiled import compiled
from ...pe.bit_serial_kernels import accumulate, lane_sum
from ..systolic.kernels import PES, emit

LANE, ROW, COLUMN, ARRAY = range(4)

# Slots of the control vector
(CLOCK, TILE, GROUP, GAP, ISSUE, STALL, BUSY, IDLE, UNIT_LEFT, UNIT_FULL, UNIT_LAST, UNIT_TILE,
 UNIT_GROUP, DRAIN_LEFT, DRAIN_TILE, READS_A, READS_W, WRITES, ENDED, STARTED, HEAD, SUM_TILE,
 SUM_GROUP, DONE_ALL) = range(24)  # fmt: skip
CONTROL_SLOTS = 24

# Kinds of event
READ_A, READ_W, TERM, WAIT, STANDSTILL, RESCALE, WRITE = range(7)
EVENT_NAMES = (
    "read_input",
    "read_weight",
    "term",
    "wait",
    "stall",
    "rescale",
    "write_output",
)


class Operands(NamedTuple):
    """What is multiplied.

    ``exponent, significand``: (M, K) int32; ``weight``: (N, K) rows of the decoder; ``scale``:
    (N, groups) int64; ``term_exp``: (codes, terms) int16, see `bit_serial.term_exponents`;
    ``man``: (codes, terms) int8; ``bsig``: (terms,) int64;
    ``needed``: (codes,) int64, bit t set where term t of a code cannot be left out.
    """

    exponent: Any
    significand: Any
    weight: Any
    scale: Any
    term_exp: Any
    man: Any
    bsig: Any
    needed: Any


class Machine(NamedTuple):
    """What does it: sizes and options.

    ``size`` weights share a scale, which the rescale unit takes ``bits`` clocks for; ``idle`` are
    the terms of a lane without a weight; ``lowest`` is the exponent of exact sums, ``parameters``
    those of the PE's `accumulate`.
    """

    lanes: int
    size: int
    bits: int
    gap: int
    register: bool
    scope: int
    skip_zero: bool
    idle: int
    exact: bool
    lowest: int
    parameters: Any


class State(NamedTuple):
    """Registers and results.

    W is ``lanes`` where every lane runs alone, else 1. ``pipe``: (depth, R, C, W), chunk * 64 +
    term or -1, a ring whose slot ``ctl[HEAD]`` leaves and is filled next; ``ends``: (depth, 2),
    tile and group whose last term is in a slot, or -1; ``position, mask``: (R, C, W), chunk of
    each PE or lane and its terms still to do; ``row_read, column_read``: chunks of the group that
    have crossed the edge; the accumulators and the unit: (R, C); ``out_man, out_exp``: (M, N,
    groups), rescaled sums. All int64.
    """

    pipe: Any
    ends: Any
    position: Any
    mask: Any
    row_read: Any
    column_read: Any
    acc_man: Any
    acc_exp: Any
    unit_man: Any
    unit_exp: Any
    product: Any
    out_man: Any
    out_exp: Any


@compiled
def tile_bounds(tile, rows, columns, n, m):
    """Return (first channel, channels, first token, tokens) of a tile, row folds inner."""
    row_folds = -(-n // rows)
    i0 = tile % row_folds * rows
    j0 = tile // row_folds * columns
    return i0, min(rows, n - i0), j0, min(columns, m - j0)


@compiled
def _wanted(weight, significand, needed, skip_zero, n, begin, end, m0, m1):
    """Terms of the weights ``begin`` to ``end`` of channel n that a token of m0 to m1 needs."""
    terms = np.int64(0)
    for k in range(begin, end):
        live = not skip_zero
        for q in range(m0, m1 if skip_zero else m0):
            live |= significand[q, k] != 0
        if live:
            terms |= needed[weight[n, k]]
    return terms


@compiled
def _fetch(mask, domain, at, end, i0, j0, columns, weight, significand, needed, skip_zero, scope):
    """Load the terms of the chunk ``at`` to ``end`` into the PEs of a domain."""
    for i in range(domain[0], domain[1]):
        shared = np.int64(0)
        if scope != COLUMN:
            shared = _wanted(
                weight, significand, needed, skip_zero, i0 + i, at, end, j0, j0 + columns
            )
        for j in range(domain[2], domain[3]):
            if scope == COLUMN:
                shared = _wanted(
                    weight, significand, needed, skip_zero, i0 + i, at, end, j0 + j, j0 + j + 1
                )
            mask[i, j, 0] = shared


@compiled
def _fetch_lane(mask, i, j, lane, at, last, i0, j0, weight, significand, needed, skip_zero, idle):
    """Load the terms of the weight ``at`` into one lane that runs alone."""
    if at < last:
        mask[i, j, lane] = _wanted(
            weight, significand, needed, skip_zero, i0 + i, at, at + 1, j0 + j, j0 + j + 1
        )
    else:
        mask[i, j, lane] = idle


@compiled
def _issue(pipe, position, mask, r, c, chunks, ctl):
    """Enter the lowest term still to do into the pipeline of every PE, or of every lane."""
    for i in range(r):
        for j in range(c):
            busy = False
            for lane in range(mask.shape[2]):
                terms = mask[i, j, lane]
                if terms != 0 and position[i, j, lane] < chunks:
                    t = 0
                    while not (terms >> t) & 1:
                        t += 1
                    pipe[i, j, lane] = position[i, j, lane] * 64 + t
                    mask[i, j, lane] = terms & (terms - 1)
                    busy = True
            ctl[BUSY] += busy
            ctl[IDLE] += not busy


@compiled
def _domain(i, j, r, c, scope):
    """Bounds of the PEs that step together, told to the first of them; empty for the others."""
    if scope == ROW:
        return (i, i + 1, 0, c) if j == 0 else (0, 0, 0, 0)
    if scope == COLUMN:
        return (0, r, j, j + 1) if i == 0 else (0, 0, 0, 0)
    return (0, r, 0, c) if i + j == 0 else (0, 0, 0, 0)


@compiled
def _step_lanes(position, mask, r, c, first, last, i0, j0, op, machine):
    """Move every lane on that has issued its weight; return whether the group is issued."""
    weight, significand, needed, lanes = op.weight, op.significand, op.needed, machine.lanes
    chunks = -(-(last - first) // lanes)
    done = True
    for i in range(r):
        for j in range(c):
            for lane in range(lanes):
                if position[i, j, lane] < chunks and mask[i, j, lane] == 0:
                    position[i, j, lane] += 1
                    if position[i, j, lane] < chunks:
                        at = first + position[i, j, lane] * lanes + lane
                        _fetch_lane(mask, i, j, lane, at, last, i0, j0, weight, significand,
                                    needed, machine.skip_zero, machine.idle)  # fmt: skip
                done &= position[i, j, lane] == chunks
    return done


@compiled
def _all_issued(mask, domain):
    """Whether no PE of a domain has a term left to do."""
    for i in range(domain[0], domain[1]):
        for j in range(domain[2], domain[3]):
            if mask[i, j, 0] != 0:
                return False
    return True


@compiled
def _step(position, mask, r, c, first, last, i0, j0, op, machine):
    """Move every domain on that has issued its chunk; return whether the group is issued."""
    weight, significand, needed, lanes = op.weight, op.significand, op.needed, machine.lanes
    chunks = -(-(last - first) // lanes)
    done = True
    for i in range(r):
        for j in range(c):
            domain = _domain(i, j, r, c, machine.scope)
            if domain[1] == 0 or position[i, j, 0] == chunks:
                continue
            if _all_issued(mask, domain):
                chunk = position[i, j, 0] + 1
                position[domain[0] : domain[1], domain[2] : domain[3], 0] = chunk
                if chunk < chunks:
                    at = first + chunk * lanes
                    _fetch(mask, domain, at, min(at + lanes, last), i0, j0, c, weight,
                           significand, needed, machine.skip_zero, machine.scope)  # fmt: skip
            done &= position[i, j, 0] == chunks
    return done


@compiled
def _start_group(state, ctl, r, c, first, last, i0, j0, op, machine):
    """Point every PE at the first chunk of a group; its operands cross the array's edge once."""
    state.position[:] = 0
    state.row_read[:] = 0
    state.column_read[:] = 0
    if machine.scope == LANE:
        for i in range(r):
            for j in range(c):
                for lane in range(machine.lanes):
                    _fetch_lane(state.mask, i, j, lane, first + lane, last, i0, j0, op.weight,
                                op.significand, op.needed, machine.skip_zero,
                                machine.idle)  # fmt: skip
    else:
        _fetch(state.mask, (0, r, 0, c), first, min(first + machine.lanes, last), i0, j0, c,
               op.weight, op.significand, op.needed, machine.skip_zero, machine.scope)  # fmt: skip
    ctl[READS_W] += r * (last - first)
    ctl[READS_A] += c * (last - first)
    ctl[STARTED] = 1


@compiled
def _emit_reads(edge, read, chunk, first, last, lanes, by_row, index, clock, count, events):
    """Events of the chunks up to ``chunk`` that row or column ``edge`` has not read yet."""
    while read[edge] <= chunk:
        begin = first + read[edge] * lanes
        for k in range(begin, min(begin + lanes, last)):
            if by_row:
                count = emit(events, count, clock, READ_W, edge, 0, k, index)
            else:
                count = emit(events, count, clock, READ_A, 0, edge, index, k)
        read[edge] += 1
    return count


@compiled
def _emit_issue(state, ctl, r, c, first, last, i0, j0, lanes, count, events, detail):
    """Events of an issue clock: operands that enter, terms taken, PEs that wait."""
    clock = ctl[CLOCK]
    end = -(-(last - first) // lanes) - 1
    pipe, position = state.pipe[ctl[HEAD]], state.position
    for i in range(r):
        for j in range(c):
            busy = False
            for lane in range(position.shape[2]):
                chunk = min(position[i, j, lane], end)
                count = _emit_reads(i, state.row_read, chunk, first, last, lanes, True, i0 + i,
                                    clock, count, events)  # fmt: skip
                count = _emit_reads(j, state.column_read, chunk, first, last, lanes, False, j0 + j,
                                    clock, count, events)  # fmt: skip
                tag = pipe[i, j, lane]
                if detail == PES and tag >= 0:
                    k = first + tag // 64 * lanes + lane
                    count = emit(events, count, clock, TERM, i, j, k, tag % 64)
                    busy = True
            if detail == PES and not busy:
                k = first + min(position[i, j, 0], end) * lanes
                count = emit(events, count, clock, WAIT, i, j, k, ctl[GROUP])
    return count


@compiled
def _issue_clock(op, machine, state, ctl, groups, count, events, detail):
    """Enter a term into every PE; when a group is issued, mark its end and turn to the next."""
    rows, columns = state.acc_man.shape
    (m, k), n = op.exponent.shape, op.weight.shape[0]
    i0, r, j0, c = tile_bounds(ctl[TILE], rows, columns, n, m)
    first = ctl[GROUP] * machine.size
    last = min(first + machine.size, k)
    lanes, position, mask = machine.lanes, state.position, state.mask
    if not ctl[STARTED]:
        _start_group(state, ctl, r, c, first, last, i0, j0, op, machine)
    _issue(state.pipe[ctl[HEAD]], position, mask, r, c, -(-(last - first) // lanes), ctl)
    ctl[ISSUE] += 1
    if detail:
        count = _emit_issue(state, ctl, r, c, first, last, i0, j0, lanes, count, events, detail)
    if machine.scope == LANE:
        issued = _step_lanes(position, mask, r, c, first, last, i0, j0, op, machine)
    else:
        issued = _step(position, mask, r, c, first, last, i0, j0, op, machine)
    if issued:
        state.ends[ctl[HEAD], 0] = ctl[TILE]
        state.ends[ctl[HEAD], 1] = ctl[GROUP]
        ctl[STARTED] = 0
        ctl[GAP] = machine.gap
        ctl[GROUP] += 1
        if ctl[GROUP] == groups:
            ctl[GROUP] = 0
            ctl[TILE] += 1
    return count


@compiled
def _retire_exact(op, machine, state, r, c, i0, j0, first, last, leaving):
    """Add what leaves the pipeline to exact accumulators."""
    exponent, significand, weight, acc = op.exponent, op.significand, op.weight, state.acc_man
    term_exp, man, bsig, lanes, lowest = op.term_exp, op.man, op.bsig, machine.lanes, machine.lowest
    width = 1 if leaving.shape[2] > 1 else lanes
    for i in range(r):
        for j in range(c):
            for lane in range(leaving.shape[2]):
                tag = leaving[i, j, lane]
                if tag < 0:
                    continue
                at = first + tag // 64 * lanes + lane
                t = tag % 64
                for k in range(at, min(at + width, last)):
                    code = weight[i0 + i, k]
                    shift = np.int64(exponent[j0 + j, k]) - lowest + term_exp[code, t] + bsig[t]
                    product = np.int64(significand[j0 + j, k]) * np.int64(man[code, t])
                    acc[i, j] += product << shift


@compiled
def _retire(op, machine, state, r, c, i0, j0, first, last, leaving):
    """Add what leaves the pipeline to the accumulators, in the PE's arithmetic."""
    exponent, significand, weight, bsig = op.exponent, op.significand, op.weight, op.bsig
    term_exp, man, lanes, parameters = op.term_exp, op.man, machine.lanes, machine.parameters
    acc_man, acc_exp = state.acc_man, state.acc_exp
    for i in range(r):
        for j in range(c):
            tag = leaving[i, j, 0]
            if tag < 0:
                continue
            at = first + tag // 64 * lanes
            t = tag % 64
            floor = acc_exp[i, j] if parameters[1] else np.int64(0)
            reference, total = lane_sum(
                exponent[j0 + j], significand[j0 + j], at, weight[i0 + i], t, term_exp, man,
                min(lanes, last - at), parameters[0], floor,
            )  # fmt: skip
            if reference >= 0:
                acc_man[i, j], acc_exp[i, j] = accumulate(
                    acc_man[i, j], acc_exp[i, j], total << bsig[t], reference, parameters
                )


@compiled
def _deliver(state, ctl, n, m):
    """Hand rescaled sums to the columns' accumulators and free the unit.

    The unit keeps the last group of a tile until the drain is empty.
    """
    rows, columns = state.acc_man.shape
    i0, r, j0, c = tile_bounds(ctl[UNIT_TILE], rows, columns, n, m)
    for i in range(r):
        for j in range(c):
            state.out_man[j0 + j, i0 + i, ctl[UNIT_GROUP]] = state.product[i, j]
            state.out_exp[j0 + j, i0 + i, ctl[UNIT_GROUP]] = state.unit_exp[i, j]
    if ctl[UNIT_LAST]:
        if ctl[DRAIN_LEFT] > 0:
            return
        ctl[DRAIN_LEFT] = r
        ctl[DRAIN_TILE] = ctl[UNIT_TILE]
    ctl[UNIT_FULL] = 0


@compiled
def _rescale_clock(op, state, ctl, count, events, detail):
    """Multiply by the next scale bit, most significant first."""
    rows, columns = state.acc_man.shape
    m, n = op.exponent.shape[0], op.weight.shape[0]
    scale, product, unit = op.scale, state.product, state.unit_man
    i0, r, _, c = tile_bounds(ctl[UNIT_TILE], rows, columns, n, m)
    group = ctl[UNIT_GROUP]
    ctl[UNIT_LEFT] -= 1
    for i in range(r):
        bit = (scale[i0 + i, group] >> ctl[UNIT_LEFT]) & 1
        for j in range(c):
            product[i, j] = product[i, j] * 2 + unit[i, j] * bit
            if detail == PES:
                count = emit(events, count, ctl[CLOCK], RESCALE, i, j, group, ctl[UNIT_LEFT])
    return count


@compiled
def _drain_clock(state, ctl, n, m, count, events, detail):
    """Let the results of one row leave the array."""
    rows, columns = state.acc_man.shape
    i0, r, j0, c = tile_bounds(ctl[DRAIN_TILE], rows, columns, n, m)
    i = r - ctl[DRAIN_LEFT]
    if detail:
        for j in range(c):
            count = emit(events, count, ctl[CLOCK], WRITE, i, j, j0 + j, i0 + i)
    ctl[DRAIN_LEFT] -= 1
    ctl[WRITES] += c
    ctl[ENDED] += ctl[DRAIN_LEFT] == 0
    return count


@compiled
def _hand_over(state, ctl, bits, groups, n, m):
    """At the clock edge the finished sums of a group go to the rescale unit."""
    state.unit_man[:] = state.acc_man
    state.unit_exp[:] = state.acc_exp
    state.acc_man[:] = 0
    state.acc_exp[:] = 0
    state.product[:] = 0
    ctl[UNIT_FULL] = 1
    ctl[UNIT_LEFT] = bits
    ctl[UNIT_TILE] = ctl[SUM_TILE]
    ctl[UNIT_GROUP] = ctl[SUM_GROUP]
    ctl[UNIT_LAST] = ctl[SUM_GROUP] == groups - 1
    ctl[SUM_GROUP] += 1
    if ctl[SUM_GROUP] == groups:
        ctl[SUM_GROUP] = 0
        ctl[SUM_TILE] += 1
    if bits == 0:
        state.product[:] = state.unit_man
        _deliver(state, ctl, n, m)


@compiled
def _accumulate_clock(op, machine, state, ctl, groups, leaving):
    """Add the last stage to the accumulators, and clear its slot for what enters."""
    (m, k), n = op.exponent.shape, op.weight.shape[0]
    i0, r, j0, c = tile_bounds(ctl[SUM_TILE], state.acc_man.shape[0], state.acc_man.shape[1], n, m)
    first = ctl[SUM_GROUP] * machine.size
    last = min(first + machine.size, k)
    slot = state.pipe[ctl[HEAD]]
    if machine.exact:
        _retire_exact(op, machine, state, r, c, i0, j0, first, last, slot)
    else:
        _retire(op, machine, state, r, c, i0, j0, first, last, slot)
    slot[:] = -1
    state.ends[ctl[HEAD]] = -1
    if leaving:
        _hand_over(state, ctl, machine.bits, groups, n, m)


@compiled
def advance_tile_array(op, machine, state, ctl, events, detail):
    """Run the array until every result has left it or the event buffer might overflow.

    Parameters
    ----------
    op : Operands
    machine : Machine
    state : State
    ctl : (CONTROL_SLOTS,) int64 array
    events : (E, 6) int64 array; detail : 0 none, 1 edges, 2 every PE

    Returns
    -------
    int : events written
    """
    rows, columns = state.acc_man.shape
    (m, k), n = op.exponent.shape, op.weight.shape[0]
    tiles = -(-n // rows) * -(-m // columns)
    groups = -(-k // machine.size)
    per_clock = (rows + 1) * (columns + 1) * (machine.lanes + 1)
    count = 0
    while count + per_clock <= events.shape[0]:
        if ctl[ENDED] == tiles:
            ctl[DONE_ALL] = 1
            break
        if ctl[DRAIN_LEFT] > 0:
            count = _drain_clock(state, ctl, n, m, count, events, detail)
        if ctl[UNIT_LEFT] > 0:
            count = _rescale_clock(op, state, ctl, count, events, detail)
        if ctl[UNIT_FULL] and ctl[UNIT_LEFT] == 0:
            _deliver(state, ctl, n, m)
        leaving = state.ends[ctl[HEAD], 0] >= 0
        unit_free = not ctl[UNIT_FULL] and (machine.register or ctl[DRAIN_LEFT] == 0)
        if leaving and not unit_free:
            ctl[STALL] += 1
            if detail:
                count = emit(
                    events, count, ctl[CLOCK], STANDSTILL, 0, 0, ctl[SUM_TILE], ctl[SUM_GROUP]
                )
        else:
            _accumulate_clock(op, machine, state, ctl, groups, leaving)
            if ctl[GAP] > 0:
                ctl[GAP] -= 1
            elif ctl[TILE] < tiles:
                count = _issue_clock(op, machine, state, ctl, groups, count, events, detail)
            ctl[HEAD] = (ctl[HEAD] + 1) % state.pipe.shape[0]
        ctl[CLOCK] += 1
    return count
