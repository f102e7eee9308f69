"""What happens between steps and in one step of the machine of a mapping, compiled."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

from ....datatypes.base.compiled import compiled
from .machine_kernels import (
    ARMED,
    BLOCKED,
    CHILD,
    CURRENT,
    CUT,
    DELAY,
    DEP,
    DONE,
    DOUBLED,
    END,
    FREE,
    GATES,
    LAST,
    MASK,
    NEXT,
    OUT,
    PARENT,
    PHASE,
    REST,
    SLOTS,
    STEP,
    UNCROSSED,
    WAIT,
    WAITING,
    play,
)
from .visit_kernels import (
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
WEIGHT_READ, INPUT_READ, SUM_READ, RESULT_WRITE = range(4)  # what the array does at ports
CARRY, STUCK = 0, 1  # units of the step's results; whether nothing could happen


@compiled
def arm(i, plan, run):
    """Let a single tile's place be filled again from the next step on: the last pass begins."""
    nest, edges, at, state = plan[0], plan[1][0], run[0], run[1]
    for e in range(state.shape[0]):
        if state[e, 1, PHASE] == BLOCKED and not edges[e, OUT] and one_pass(e, i, edges, nest, at):
            began = visit_began(e, i, edges, nest, at)
            if at_last(edges[e, MASK], began, i, nest, at):
                state[e, 1, PHASE] = ARMED


@compiled
def passed(i, plan, run):
    """Note which single tiles of outputs have been gone over once."""
    nest, edges, at, late = plan[0], plan[1][0], run[0], run[2]
    for e in range(late.size):
        if edges[e, OUT] and not edges[e, DOUBLED] and one_pass(e, i, edges, nest, at):
            began = visit_began(e, i, edges, nest, at)
            if at_first(edges[e, MASK], began, i, nest, at):
                late[e] = 1


@compiled
def step(plan, run):
    """Play one step of the array: wait, read, work, leave results."""
    nest, chip, works, array_ports, pace = plan
    at, state, late, taken, books, misc = run
    if play(GATES, 0, chip, state, late, taken, books):
        misc[STUCK] = 1
        return
    many, last = state.shape[0], nest[0].size
    for e in range(many):
        if state[e, 1, PHASE] == ARMED:
            state[e, 1, PHASE] = WAITING
    block, mask = at[0][last], pace[1]
    taken[array_ports[WEIGHT_READ]] += work_of(many, 0, 0, block, works)
    taken[array_ports[INPUT_READ]] += work_of(many + 1, 0, 0, block, works)
    if not at_first(mask, 0, last, nest, at):
        taken[array_ports[SUM_READ]] += work_of(many + 2, READBACK, 0, block, works)
    worst = 0
    for p in range(taken.size):
        if taken[p] > taken[worst]:
            worst = p
    units = max(pace[0], taken[worst])
    books[4][6 * many + worst] += units - pace[0]
    play(STEP, units, chip, state, late, taken, books)
    kind = FINISHED if at_last(mask, 0, last, nest, at) else PARTIAL
    misc[CARRY] = work_of(many + 2, kind, 0, block, works)
    taken[array_ports[RESULT_WRITE]] = misc[CARRY]


@compiled
def _fill(e, s, phase, dep, row, kind, block, works, state):
    state[e, s, PHASE], state[e, s, WAIT], state[e, s, DEP] = phase, 0, dep
    for end in range(2):
        state[e, s, REST + end] = work_of(row, kind, end, block, works)


@compiled
def _copy(e, s, source, state):
    for field in range(state.shape[2]):
        state[e, s, field] = state[e, source, field]


@compiled
def _empty(e, s, state):
    state[e, s, :] = 0


@compiled
def _next_tile(e, plan, run):
    """Ask for the tile of the next visit: it waits for its place and for the parent."""
    nest, edges, works = plan[0], plan[1][0], plan[2]
    at, state = run[0], run[1]
    m = next_change(e, nest[0].size, edges, nest, at)
    s = 3 if edges[e, OUT] else 1
    _empty(e, s, state)
    if m < 0:
        return
    new = indexes(edges[e, MASK], m, nest) and at_first(edges[e, MASK], 0, m, nest, at)
    if edges[e, OUT] and new:
        return
    first_block(m, edges[e, CUT], nest, at)
    dep = FREE
    if edges[e, PARENT] >= 0:
        dep = NEXT if other_visit(e, m, edges, nest, at) else CURRENT
    phase = WAITING if edges[e, DOUBLED] else BLOCKED
    _fill(e, s, phase, dep, e, READBACK if edges[e, OUT] else FINISHED, at[3], works, state)


@compiled
def start(plan, run):
    """Put the array before its first step: first tiles, and the next ones, are asked for."""
    nest, edges, works = plan[0], plan[1][0], plan[2]
    at, state = run[0], run[1]
    enter(0, nest, at)
    for e in range(state.shape[0]):
        if not edges[e, OUT]:
            first_block(-1, edges[e, CUT], nest, at)
            dep = CURRENT if edges[e, PARENT] >= 0 else FREE
            _fill(e, 0, WAITING, dep, e, FINISHED, at[3], works, state)
        if not edges[e, OUT] or edges[e, DOUBLED]:
            _next_tile(e, plan, run)


@compiled
def _store(e, m, plan, run):
    """Send the last visit's results on their way; ``m``: the loop that goes on, -1 at the end."""
    nest, edges, works = plan[0], plan[1][0], plan[2]
    at, state, misc = run[0], run[1], run[5]
    mask = edges[e, MASK]
    last_block(m, edges[e, CUT], nest, at)
    kind = FINISHED
    if m >= 0 and not (indexes(mask, m, nest) and at_last(mask, 0, m, nest, at)):
        kind = PARTIAL
    _copy(e, 0, 1, state)
    if edges[e, CHILD] >= 0:
        _fill(e, 1, WAITING, CURRENT, e, kind, at[3], works, state)
    else:
        _fill(e, 1, WAITING, FREE, e, kind, at[3], works, state)
        if misc[CARRY] > 0:
            state[e, 1, PHASE], state[e, 1, WAIT] = DELAY, misc[CARRY]
    parent = edges[e, PARENT]
    if parent >= 0:  # what waits for the child's last results waits for its last but one now
        for s in range(2):
            if state[parent, s, PHASE] == WAITING and state[parent, s, DEP] != FREE:
                state[parent, s, DEP] += 1


@compiled
def _arrive(e, m, plan, run):
    """Go on to the next visit: what was fetched for it is in use."""
    nest, edges, works = plan[0], plan[1][0], plan[2]
    at, state, late = run[0], run[1], run[2]
    mask = edges[e, MASK]
    late[e] = 0
    if not edges[e, OUT]:
        _copy(e, 0, 1, state)
        if state[e, 0, PHASE] == UNCROSSED:
            state[e, 0, PHASE] = DONE
        _next_tile(e, plan, run)
    elif edges[e, DOUBLED]:
        _copy(e, 2, 3, state)
        _next_tile(e, plan, run)
    else:
        _copy(e, 3, 2, state)
        _empty(e, 2, state)
        if not (indexes(mask, m, nest) and at_first(mask, 0, m, nest, at)):
            dep = CURRENT if edges[e, PARENT] >= 0 else FREE
            _fill(e, 2, WAITING, dep, e, READBACK, at[0][edges[e, CUT]], works, state)
    _children_moved(e, edges, state)


@compiled
def _children_moved(e, edges, state):
    child = edges[e, CHILD]
    if child < 0:
        return
    for s in range(2 if edges[child, OUT] else 0, SLOTS):
        if state[child, s, PHASE] in (BLOCKED, ARMED, WAITING):
            if state[child, s, DEP] == NEXT:
                state[child, s, DEP] = CURRENT
            elif state[child, s, DEP] == CURRENT:
                state[child, s, DEP] = FREE
                if edges[e, OUT] and not edges[e, DOUBLED]:
                    state[child, s, DEP] = LAST


@compiled
def go_on(m, turn, plan, run):
    """Take a loop to its next turn: tiles that change leave and arrive."""
    nest, chip = plan[0], plan[1]
    edges, at = chip[0], run[0]
    many = edges.shape[0]
    for e in range(many - 1, -1, -1):  # from the array outwards
        if edges[e, OUT] and changes(e, m, edges, nest, at):
            _store(e, m, plan, run)
    at[2][m] = turn
    settle(m, nest, at)
    enter(m + 1, nest, at)
    for e in range(many):  # inwards
        if changes(e, m, edges, nest, at):
            _arrive(e, m, plan, run)


@compiled
def finish(plan, run):
    """Store the last results."""
    chip, (_, state, late, taken, books, misc) = plan[1], run
    edges = chip[0]
    for e in range(edges.shape[0] - 1, -1, -1):
        if edges[e, OUT]:
            _store(e, -1, plan, run)
    for e in range(edges.shape[0]):
        if edges[e, OUT]:
            _copy(e, 3, 2, state)
            _empty(e, 2, state)
            _children_moved(e, edges, state)
    if play(END, 0, chip, state, late, taken, books):
        misc[STUCK] = 1
