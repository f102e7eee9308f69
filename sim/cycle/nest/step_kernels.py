"""What happens between steps and in one step of the machine of a mapping, compiled."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

from ....datatypes.base.inner_kernels import inner
from .machine_kernels import (
    ARMED,
    BEGAN,
    BEGIN_AT,
    BLOCKED,
    CARRY,
    CHILD,
    CURRENT,
    CUT,
    DELAY,
    DEP,
    DONE,
    DOUBLED,
    END,
    END_AT,
    FIRST_LOAD,
    FREE,
    GATES,
    LAST,
    LATE,
    MASK,
    NEXT,
    OTHER,
    OUT,
    PARENT,
    PHASE,
    REST,
    SLOTS,
    STEP,
    STUCK,
    TAKEN,
    TIME,
    UNCROSSED,
    UNTIL,
    WAIT,
    WAITING,
    busiest,
    play,
    waited_at,
)
from .visit_kernels import (
    TURN,
    all_first,
    all_last,
    at_first,
    at_last,
    changes,
    enter,
    first_block,
    indexes,
    last_block,
    next_change,
    one_pass,
    other_visit,
    settle,
    visit_began,
    work_of,
)

FINISHED, PARTIAL, READBACK = 0, 1, 2  # kinds of work; a fetch is the first
# columns of pace: units of a step, dimensions of outputs, and ports where the array
STEP_UNITS, SUMS, WEIGHT_READ, INPUT_READ, SUM_READ, RESULT_WRITE, PACE = range(7)


@inner
def arm(i, plan, run):
    """Let a single tile's place be filled again from the next step on: the last pass begins."""
    loops, edges, at, state = plan[0], plan[1][0], (run[0], run[1]), run[2]
    for e in range(state.shape[0]):
        if state[e, 1, PHASE] == BLOCKED and not edges[e, OUT] and one_pass(e, i, edges, loops, at):
            began = visit_began(e, i, edges, loops, at)
            if at_last(edges[e, MASK], began, i, loops, at):
                state[e, 1, PHASE] = ARMED


@inner
def passed(i, plan, run):
    """Note which tiles of outputs have been gone over once."""
    loops, edges, at, state = plan[0], plan[1][0], (run[0], run[1]), run[2]
    for e in range(state.shape[0]):
        if edges[e, OUT] and one_pass(e, i, edges, loops, at):
            began = visit_began(e, i, edges, loops, at)
            if at_first(edges[e, MASK], began, i, loops, at):
                state[e, LATE, 0] = 1


@inner
def step(plan, run):
    """Play one step of the array: wait, read, work, leave results."""
    loops, chip, works, pace = plan
    size, turns, state, now, total = run
    now[OTHER, UNTIL] = GATES
    play(pace[STEP_UNITS], chip, run)
    if now[OTHER, STUCK]:
        return
    if now[OTHER, BEGAN] == 0:
        now[OTHER, BEGAN], now[OTHER, BEGIN_AT] = 1, total[TIME]
    many, last = state.shape[0], loops.shape[1]
    for e in range(many):
        if state[e, 1, PHASE] == ARMED:
            state[e, 1, PHASE] = WAITING
    block, mask, at = size[last], pace[SUMS], (size, turns)
    now[TAKEN, pace[WEIGHT_READ]] += work_of(many, 0, 0, block, works)
    now[TAKEN, pace[INPUT_READ]] += work_of(many + 1, 0, 0, block, works)
    if not all_first(mask, last, loops, at):
        now[TAKEN, pace[SUM_READ]] += work_of(many + 2, READBACK, 0, block, works)
    worst = busiest(now)
    units = max(pace[STEP_UNITS], now[TAKEN, worst])
    if units > pace[STEP_UNITS]:
        cause = waited_at(6 * many + worst, many, chip[1].shape[0])
        total[cause] += units - pace[STEP_UNITS]
    now[OTHER, UNTIL] = STEP
    play(units, chip, run)
    kind = FINISHED if all_last(mask, last, loops, at) else PARTIAL
    now[OTHER, CARRY] = work_of(many + 2, kind, 0, block, works)
    now[TAKEN, pace[RESULT_WRITE]] = now[OTHER, CARRY]


@inner
def _fill(e, s, phase, dep, row, kind, block, works, state):
    state[e, s, PHASE], state[e, s, WAIT], state[e, s, DEP] = phase, 0, dep
    for end in range(2):
        state[e, s, REST + end] = work_of(row, kind, end, block, works)


@inner
def _copy(e, s, source, state):
    for field in range(state.shape[2]):
        state[e, s, field] = state[e, source, field]


@inner
def _empty(e, s, state):
    for field in range(state.shape[2]):
        state[e, s, field] = 0


@inner
def _next_tile(e, plan, run):
    """Ask for the tile of the next visit: it waits for its place and for the parent."""
    loops, edges, works = plan[0], plan[1][0], plan[2]
    at, state, block = (run[0], run[1]), run[2], run[0][loops.shape[1] + 1]
    m = next_change(e, loops.shape[1], edges, loops, at)
    s = 3 if edges[e, OUT] else 1
    _empty(e, s, state)
    if m < 0:
        return
    new = indexes(edges[e, MASK], m, loops) and all_first(edges[e, MASK], m, loops, at)
    if edges[e, OUT] and new:
        return
    first_block(m, edges[e, CUT], loops, at)
    dep = FREE
    if edges[e, PARENT] >= 0:
        dep = NEXT if other_visit(e, m, edges, loops, at) else CURRENT
    phase = WAITING if edges[e, DOUBLED] else BLOCKED
    _fill(e, s, phase, dep, e, READBACK if edges[e, OUT] else FINISHED, block, works, state)


@inner
def start(plan, run):
    """Put the array before its first step: first tiles are asked for, the next ones with it."""
    loops, edges, works = plan[0], plan[1][0], plan[2]
    at, state, block = (run[0], run[1]), run[2], run[0][loops.shape[1] + 1]
    enter(0, loops, at)
    for e in range(state.shape[0]):
        if not edges[e, OUT]:
            first_block(-1, edges[e, CUT], loops, at)
            dep = FIRST_LOAD if edges[e, PARENT] >= 0 else FREE
            _fill(e, 0, WAITING, dep, e, FINISHED, block, works, state)
        if not edges[e, OUT] or edges[e, DOUBLED]:
            _next_tile(e, plan, run)
        if not edges[e, OUT] and state[e, 1, PHASE] == WAITING:
            state[e, 1, PHASE] = ARMED


@inner
def _store(e, m, plan, run):
    """Send the last visit's results on their way; ``m``: the loop that goes on, -1 at the end."""
    loops, edges, works = plan[0], plan[1][0], plan[2]
    at, state, now = (run[0], run[1]), run[2], run[3]
    block = run[0][loops.shape[1] + 1]
    mask = edges[e, MASK]
    last_block(m, edges[e, CUT], loops, at)
    kind = FINISHED
    if m >= 0 and not (indexes(mask, m, loops) and all_last(mask, m, loops, at)):
        kind = PARTIAL
    _copy(e, 0, 1, state)
    if edges[e, CHILD] >= 0:
        _fill(e, 1, WAITING, CURRENT, e, kind, block, works, state)
    else:
        _fill(e, 1, WAITING, FREE, e, kind, block, works, state)
        if now[OTHER, CARRY] > 0:
            state[e, 1, PHASE], state[e, 1, WAIT] = DELAY, now[OTHER, CARRY]
    parent = edges[e, PARENT]
    if parent >= 0:  # what waits for the child's last results waits for its last but one now
        for s in range(2):
            if state[parent, s, PHASE] == WAITING and state[parent, s, DEP] != FREE:
                state[parent, s, DEP] += 1


@inner
def _arrive(e, m, plan, run):
    """Go on to the next visit: what was fetched for it is in use."""
    loops, edges, works = plan[0], plan[1][0], plan[2]
    at, state = (run[0], run[1]), run[2]
    mask = edges[e, MASK]
    state[e, LATE, 0] = 0
    if not edges[e, OUT]:
        _copy(e, 0, 1, state)
        if state[e, 0, PHASE] == UNCROSSED:
            state[e, 0, PHASE] = DONE
        _next_tile(e, plan, run)
    elif edges[e, DOUBLED]:
        _copy(e, 4, 2, state)
        _copy(e, 2, 3, state)
        _next_tile(e, plan, run)
    else:
        _copy(e, 4, 2, state)
        _empty(e, 2, state)
        if not (indexes(mask, m, loops) and all_first(mask, m, loops, at)):
            dep = CURRENT if edges[e, PARENT] >= 0 else FREE
            _fill(e, 2, WAITING, dep, e, READBACK, at[0][edges[e, CUT]], works, state)
    _children_moved(e, edges, state)


@inner
def _children_moved(e, edges, state):
    child = edges[e, CHILD]
    if child < 0:
        return
    for s in range(2 if edges[child, OUT] else 0, SLOTS):
        if state[child, s, PHASE] in (BLOCKED, ARMED, WAITING):
            if state[child, s, DEP] == NEXT:
                state[child, s, DEP] = CURRENT
            elif state[child, s, DEP] == CURRENT:
                state[child, s, DEP] = LAST if edges[e, OUT] else FREE


@inner
def go_on(m, turn, plan, run):
    """Take a loop to its next turn: tiles that change leave and arrive."""
    loops, edges, at = plan[0], plan[1][0], (run[0], run[1])
    many = edges.shape[0]
    for e in range(many - 1, -1, -1):  # from the array outwards
        if edges[e, OUT] and changes(e, m, edges, loops, at):
            _store(e, m, plan, run)
    run[1][TURN, m] = turn
    settle(m, loops, at)
    enter(m + 1, loops, at)
    for e in range(many):  # inwards
        if changes(e, m, edges, loops, at):
            _arrive(e, m, plan, run)


@inner
def finish(plan, run):
    """Store the last results."""
    edges, state = plan[1][0], run[2]
    run[3][OTHER, END_AT] = run[4][TIME]
    for e in range(edges.shape[0] - 1, -1, -1):
        if edges[e, OUT]:
            _store(e, -1, plan, run)
    for e in range(edges.shape[0]):
        if edges[e, OUT]:
            _copy(e, 4, 2, state)
            _empty(e, 2, state)
            _children_moved(e, edges, state)
    run[3][OTHER, UNTIL] = END
    play(plan[3][STEP_UNITS], plan[1], run)
