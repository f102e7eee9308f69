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


class Setup(NamedTuple):
    """Sizes and options of an array and of its product.

    ``tokens, channels, inputs``: M, N, K; ``groups``: of K; ``rows, columns``: PEs. ``size``
    weights share a scale, which the rescale unit takes ``bits`` clocks for; ``idle`` are
    the terms of a lane without a weight; ``lowest`` is the exponent of exact sums, ``parameters``
    those of the PE's `accumulate`.
    """

    tokens: int
    channels: int
    inputs: int
    groups: int
    rows: int
    columns: int
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


class Source(NamedTuple):
    """Where the terms of a chunk come from: what `_wanted` needs of the operands."""

    weight: Any
    significand: Any
    needed: Any
    skip_zero: bool


class Work(NamedTuple):
    """A group of a tile, as the used PEs work on it.

    ``first_row, rows``: channels; ``first_column, columns``: tokens; ``begin, end``: weights along
    K.
    """

    first_row: int
    rows: int
    first_column: int
    columns: int
    begin: int
    end: int


@compiled
def _work(setup, tile, group):
    """Return a group of a tile; row folds are the inner loop of tiles."""
    row_folds = -(-setup.channels // setup.rows)
    i0, j0 = tile % row_folds * setup.rows, tile // row_folds * setup.columns
    rows, columns = min(setup.rows, setup.channels - i0), min(setup.columns, setup.tokens - j0)
    begin = group * setup.size
    return Work(i0, rows, j0, columns, begin, min(begin + setup.size, setup.inputs))


@compiled
def _source(op, setup):
    return Source(op.weight, op.significand, op.needed, setup.skip_zero)


@compiled
def _wanted(source, channel, begin, end, token, last_token):
    """Terms of a channel's weights ``begin`` to ``end`` that any of these tokens needs."""
    terms = np.int64(0)
    for k in range(begin, end):
        live = not source.skip_zero
        for q in range(token, last_token if source.skip_zero else token):
            live |= source.significand[q, k] != 0
        if live:
            terms |= source.needed[source.weight[channel, k]]
    return terms


@compiled
def _fetch(mask, domain, at, source, setup, work):
    """Load the terms of the chunk that starts at weight ``at`` into the PEs of a domain."""
    end, j0 = min(at + setup.lanes, work.end), work.first_column
    for i in range(domain[0], domain[1]):
        channel = work.first_row + i
        shared = np.int64(0)
        if setup.scope != COLUMN:
            shared = _wanted(source, channel, at, end, j0, j0 + work.columns)
        for j in range(domain[2], domain[3]):
            if setup.scope == COLUMN:
                shared = _wanted(source, channel, at, end, j0 + j, j0 + j + 1)
            mask[i, j, 0] = shared


@compiled
def _lane_terms(source, i, j, at, idle, work):
    """Terms of the weight ``at`` for one lane that runs alone."""
    if at >= work.end:
        return idle
    token = work.first_column + j
    return _wanted(source, work.first_row + i, at, at + 1, token, token + 1)


@compiled
def _issue(slot, position, mask, ctl, work, lanes):
    """Enter the lowest term still to do into the pipeline of every PE, or of every lane."""
    chunks = -(-(work.end - work.begin) // lanes)
    for i in range(work.rows):
        for j in range(work.columns):
            busy = False
            for lane in range(mask.shape[2]):
                terms = mask[i, j, lane]
                if terms != 0 and position[i, j, lane] < chunks:
                    t = 0
                    while not (terms >> t) & 1:
                        t += 1
                    slot[i, j, lane] = position[i, j, lane] * 64 + t
                    mask[i, j, lane] = terms & (terms - 1)
                    busy = True
            ctl[BUSY] += busy
            ctl[IDLE] += not busy


@compiled
def _domain(i, j, r, c, scope):
    """Bounds of the PEs that step together, given to the first of them; empty for the others."""
    if scope == ROW:
        return (i, i + 1, 0, c) if j == 0 else (0, 0, 0, 0)
    if scope == COLUMN:
        return (0, r, j, j + 1) if i == 0 else (0, 0, 0, 0)
    return (0, r, 0, c) if i + j == 0 else (0, 0, 0, 0)


@compiled
def _step_lanes(source, setup, position, mask, work):
    """Move every lane on that has issued its weight; return whether the group is issued."""
    lanes = setup.lanes
    chunks = -(-(work.end - work.begin) // lanes)
    done = True
    for i in range(work.rows):
        for j in range(work.columns):
            for lane in range(lanes):
                if position[i, j, lane] < chunks and mask[i, j, lane] == 0:
                    position[i, j, lane] += 1
                    if position[i, j, lane] < chunks:
                        at = work.begin + position[i, j, lane] * lanes + lane
                        mask[i, j, lane] = _lane_terms(source, i, j, at, setup.idle, work)
                done &= position[i, j, lane] == chunks
    return done


@compiled
def _all_issued(mask, domain):
    """Return whether no PE of a domain has a term left to do."""
    for i in range(domain[0], domain[1]):
        for j in range(domain[2], domain[3]):
            if mask[i, j, 0] != 0:
                return False
    return True


@compiled
def _step(source, setup, position, mask, work):
    """Move every domain on that has issued its chunk; return whether the group is issued."""
    lanes = setup.lanes
    chunks = -(-(work.end - work.begin) // lanes)
    done = True
    for i in range(work.rows):
        for j in range(work.columns):
            domain = _domain(i, j, work.rows, work.columns, setup.scope)
            if domain[1] == 0 or position[i, j, 0] == chunks:
                continue
            if _all_issued(mask, domain):
                chunk = position[i, j, 0] + 1
                position[domain[0] : domain[1], domain[2] : domain[3], 0] = chunk
                if chunk < chunks:
                    _fetch(mask, domain, work.begin + chunk * lanes, source, setup, work)
            done &= position[i, j, 0] == chunks
    return done


@compiled
def _start_group(source, setup, state, ctl, work):
    """Point every PE at the first chunk of a group; its operands cross the array's edge once."""
    state.position[:] = 0
    state.row_read[:] = 0
    state.column_read[:] = 0
    if setup.scope == LANE:
        for i in range(work.rows):
            for j in range(work.columns):
                for lane in range(setup.lanes):
                    at = work.begin + lane
                    state.mask[i, j, lane] = _lane_terms(source, i, j, at, setup.idle, work)
    else:
        _fetch(state.mask, (0, work.rows, 0, work.columns), work.begin, source, setup, work)
    ctl[READS_W] += work.rows * (work.end - work.begin)
    ctl[READS_A] += work.columns * (work.end - work.begin)
    ctl[STARTED] = 1


@compiled
def _emit_reads(edge, by_row, read, chunk, work, lanes, clock, count, events):
    """Events of the chunks up to ``chunk`` that row or column ``edge`` has not read yet."""
    while read[edge] <= chunk:
        begin = work.begin + read[edge] * lanes
        for k in range(begin, min(begin + lanes, work.end)):
            if by_row:
                count = emit(events, count, clock, READ_W, edge, 0, k, work.first_row + edge)
            else:
                count = emit(events, count, clock, READ_A, 0, edge, work.first_column + edge, k)
        read[edge] += 1
    return count


@compiled
def _emit_issue(state, ctl, work, lanes, count, events, detail):
    """Events of an issue clock: operands that enter, terms taken, PEs that wait."""
    clock = ctl[CLOCK]
    end = -(-(work.end - work.begin) // lanes) - 1
    pipe, position = state.pipe[ctl[HEAD]], state.position
    for i in range(work.rows):
        for j in range(work.columns):
            busy = False
            for lane in range(position.shape[2]):
                chunk = min(position[i, j, lane], end)
                count = _emit_reads(
                    i, True, state.row_read, chunk, work, lanes, clock, count, events
                )
                count = _emit_reads(
                    j, False, state.column_read, chunk, work, lanes, clock, count, events
                )
                tag = pipe[i, j, lane]
                if detail == PES and tag >= 0:
                    k = work.begin + tag // 64 * lanes + lane
                    count = emit(events, count, clock, TERM, i, j, k, tag % 64)
                    busy = True
            if detail == PES and not busy:
                k = work.begin + min(position[i, j, 0], end) * lanes
                count = emit(events, count, clock, WAIT, i, j, k, ctl[GROUP])
    return count


@compiled
def _issue_clock(op, setup, state, ctl, count, events, detail):
    """Enter a term into every PE; when a group is issued, mark its end and turn to the next."""
    work = _work(setup, ctl[TILE], ctl[GROUP])
    source, position, mask = _source(op, setup), state.position, state.mask
    if not ctl[STARTED]:
        _start_group(source, setup, state, ctl, work)
    _issue(state.pipe[ctl[HEAD]], position, mask, ctl, work, setup.lanes)
    ctl[ISSUE] += 1
    if detail:
        count = _emit_issue(state, ctl, work, setup.lanes, count, events, detail)
    if setup.scope == LANE:
        issued = _step_lanes(source, setup, position, mask, work)
    else:
        issued = _step(source, setup, position, mask, work)
    if issued:
        state.ends[ctl[HEAD], 0] = ctl[TILE]
        state.ends[ctl[HEAD], 1] = ctl[GROUP]
        ctl[STARTED] = 0
        ctl[GAP] = setup.gap
        ctl[GROUP] += 1
        if ctl[GROUP] == setup.groups:
            ctl[GROUP] = 0
            ctl[TILE] += 1
    return count


@compiled
def _retire_exact(op, setup, state, work, leaving):
    """Add what leaves the pipeline to exact accumulators."""
    exponent, significand, weight, acc = op.exponent, op.significand, op.weight, state.acc_man
    term_exp, man, bsig, lanes, lowest = op.term_exp, op.man, op.bsig, setup.lanes, setup.lowest
    i0, j0 = work.first_row, work.first_column
    width = 1 if leaving.shape[2] > 1 else lanes
    for i in range(work.rows):
        for j in range(work.columns):
            for lane in range(leaving.shape[2]):
                tag = leaving[i, j, lane]
                if tag < 0:
                    continue
                at = work.begin + tag // 64 * lanes + lane
                t = tag % 64
                for k in range(at, min(at + width, work.end)):
                    code = weight[i0 + i, k]
                    shift = np.int64(exponent[j0 + j, k]) - lowest + term_exp[code, t] + bsig[t]
                    product = np.int64(significand[j0 + j, k]) * np.int64(man[code, t])
                    acc[i, j] += product << shift


@compiled
def _retire(op, setup, state, work, leaving):
    """Add what leaves the pipeline to the accumulators, in the PE's arithmetic."""
    exponent, significand, weight, bsig = op.exponent, op.significand, op.weight, op.bsig
    term_exp, man, lanes, parameters = op.term_exp, op.man, setup.lanes, setup.parameters
    acc_man, acc_exp = state.acc_man, state.acc_exp
    i0, j0 = work.first_row, work.first_column
    for i in range(work.rows):
        for j in range(work.columns):
            tag = leaving[i, j, 0]
            if tag < 0:
                continue
            at = work.begin + tag // 64 * lanes
            t = tag % 64
            floor = acc_exp[i, j] if parameters[1] else np.int64(0)
            reference, total = lane_sum(
                exponent[j0 + j], significand[j0 + j], at, weight[i0 + i], t, term_exp, man,
                min(lanes, work.end - at), parameters[0], floor,
            )  # fmt: skip
            if reference >= 0:
                acc_man[i, j], acc_exp[i, j] = accumulate(
                    acc_man[i, j], acc_exp[i, j], total << bsig[t], reference, parameters
                )


@compiled
def _deliver(setup, state, ctl):
    """Hand rescaled sums to the columns' accumulators and free the unit.

    The unit keeps the last group of a tile until the drain is empty.
    """
    group = ctl[UNIT_GROUP]
    work = _work(setup, ctl[UNIT_TILE], group)
    for i in range(work.rows):
        for j in range(work.columns):
            m, n = work.first_column + j, work.first_row + i
            state.out_man[m, n, group] = state.product[i, j]
            state.out_exp[m, n, group] = state.unit_exp[i, j]
    if ctl[UNIT_LAST]:
        if ctl[DRAIN_LEFT] > 0:
            return
        ctl[DRAIN_LEFT] = work.rows
        ctl[DRAIN_TILE] = ctl[UNIT_TILE]
    ctl[UNIT_FULL] = 0


@compiled
def _rescale_clock(scale, setup, state, ctl, count, events, detail):
    """Multiply by the next scale bit, most significant first."""
    product, unit = state.product, state.unit_man
    group = ctl[UNIT_GROUP]
    work = _work(setup, ctl[UNIT_TILE], group)
    ctl[UNIT_LEFT] -= 1
    for i in range(work.rows):
        bit = (scale[work.first_row + i, group] >> ctl[UNIT_LEFT]) & 1
        for j in range(work.columns):
            product[i, j] = product[i, j] * 2 + unit[i, j] * bit
            if detail == PES:
                count = emit(events, count, ctl[CLOCK], RESCALE, i, j, group, ctl[UNIT_LEFT])
    return count


@compiled
def _drain_clock(setup, ctl, count, events, detail):
    """Let the results of one row leave the array."""
    work = _work(setup, ctl[DRAIN_TILE], 0)
    i = work.rows - ctl[DRAIN_LEFT]
    if detail:
        for j in range(work.columns):
            m, n = work.first_column + j, work.first_row + i
            count = emit(events, count, ctl[CLOCK], WRITE, i, j, m, n)
    ctl[DRAIN_LEFT] -= 1
    ctl[WRITES] += work.columns
    ctl[ENDED] += ctl[DRAIN_LEFT] == 0
    return count


@compiled
def _hand_over(setup, state, ctl):
    """At the clock edge the finished sums of a group go to the rescale unit."""
    state.unit_man[:] = state.acc_man
    state.unit_exp[:] = state.acc_exp
    state.acc_man[:] = 0
    state.acc_exp[:] = 0
    state.product[:] = 0
    ctl[UNIT_FULL] = 1
    ctl[UNIT_LEFT] = setup.bits
    ctl[UNIT_TILE] = ctl[SUM_TILE]
    ctl[UNIT_GROUP] = ctl[SUM_GROUP]
    ctl[UNIT_LAST] = ctl[SUM_GROUP] == setup.groups - 1
    ctl[SUM_GROUP] += 1
    if ctl[SUM_GROUP] == setup.groups:
        ctl[SUM_GROUP] = 0
        ctl[SUM_TILE] += 1
    if setup.bits == 0:
        state.product[:] = state.unit_man
        _deliver(setup, state, ctl)


@compiled
def _accumulate_clock(op, setup, state, ctl, leaving):
    """Add the last stage to the accumulators, and clear its slot for what enters."""
    work = _work(setup, ctl[SUM_TILE], ctl[SUM_GROUP])
    slot = state.pipe[ctl[HEAD]]
    if setup.exact:
        _retire_exact(op, setup, state, work, slot)
    else:
        _retire(op, setup, state, work, slot)
    slot[:] = -1
    state.ends[ctl[HEAD]] = -1
    if leaving:
        _hand_over(setup, state, ctl)


@compiled
def advance_tile_array(op, setup, state, ctl, events, detail):
    """Run the array until every result has left it or the event buffer might overflow.

    Parameters
    ----------
    op : Operands
    setup : Setup
    state : State
    ctl : (CONTROL_SLOTS,) int64 array
    events : (E, 6) int64 array; detail : 0 none, 1 edges, 2 every PE

    Returns
    -------
    int : events written
    """
    tiles = -(-setup.channels // setup.rows) * -(-setup.tokens // setup.columns)
    per_clock = (setup.rows + 1) * (setup.columns + 1) * (setup.lanes + 1)
    count = 0
    while count + per_clock <= events.shape[0]:
        if ctl[ENDED] == tiles:
            ctl[DONE_ALL] = 1
            break
        if ctl[DRAIN_LEFT] > 0:
            count = _drain_clock(setup, ctl, count, events, detail)
        if ctl[UNIT_LEFT] > 0:
            count = _rescale_clock(op.scale, setup, state, ctl, count, events, detail)
        if ctl[UNIT_FULL] and ctl[UNIT_LEFT] == 0:
            _deliver(setup, state, ctl)
        leaving = state.ends[ctl[HEAD], 0] >= 0
        unit_free = not ctl[UNIT_FULL] and (setup.register or ctl[DRAIN_LEFT] == 0)
        if leaving and not unit_free:
            ctl[STALL] += 1
            if detail:
                count = emit(
                    events, count, ctl[CLOCK], STANDSTILL, 0, 0, ctl[SUM_TILE], ctl[SUM_GROUP]
                )
        else:
            _accumulate_clock(op, setup, state, ctl, leaving)
            if ctl[GAP] > 0:
                ctl[GAP] -= 1
            elif ctl[TILE] < tiles:
                count = _issue_clock(op, setup, state, ctl, count, events, detail)
            ctl[HEAD] = (ctl[HEAD] + 1) % state.pipe.shape[0]
        ctl[CLOCK] += 1
    return count
