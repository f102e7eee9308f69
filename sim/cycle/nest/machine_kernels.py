"""The machine of a mapping, compiled: transfers on ports between one event and the next.

Every edge, a memory and the next one that keeps an operand, has slots for transfers under way:

* a weight or input: the tile in use (0) and the next one (1);
* outputs: results of the last visit but one (0) and of the last (1) on their way out; sums that
  come back for this visit (2), for the next visit of a doubled place (3), for the last visit (4).

Times and clocks of ports are whole units: 1 / denominator of the clocks of a step.

``chip``: edges, and for each port what it may serve, first things first: edge, slot, end, behind a
row with their number. ``run``: block outside each loop, turns of the loops, state of the edges,
what goes on now, books (from the start: time, transfers done by rank, units served by edge, kind
and end, units that the array took by port, units waited by cause).
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

from ....datatypes.base.inner_kernels import inner

# what a slot is doing
DONE, BLOCKED, ARMED, WAITING, DELAY, SERVING, LATENCY, UNCROSSED = range(8)
# columns of a slot: what it does, units left at parent and child, units to wait, what it waits for
PHASE, REST, WAIT, DEP, FIELDS = 0, 1, 3, 4, 5
# what a transfer waits for: nothing; the other edge's slot of this visit, the next, the last; all
# first tiles of the stages outside
FREE, CURRENT, NEXT, LAST, FIRST_LOAD = range(5)
# rows of an edge's state: its slots, and whether the array has gone once over the tile
SLOTS, LATE, ROWS = 5, 5, 6
# of outputs, as they are needed
DOUBLED_ORDER, SINGLE_ORDER = (4, 0, 2, 1, 3), (0, 4, 1, 2, 3)
# columns of edges; ORDER: of row r the edge of rank r; PORTS: 4, by kind and end
# STAGE: edges further out of the same operand
OUT, MASK, CUT, DOUBLED, PARENT, CHILD, LATENCY_UNITS, RANK, ORDER, STAGE, PORTS = range(11)
COLUMNS = 14
# rows of what goes on now: units for which the array has each port, what each port serves, and
TAKEN, HEADS, OTHER = range(3)
# units of the step's results; whether nothing can happen any more; what is played until; whether
# the first step began, when it did, and when the last ended
CARRY, STUCK, UNTIL, BEGAN, BEGIN_AT, END_AT, OTHERS = range(7)
TIME, DONE_AT = 0, 1  # in the books
STEP, GATES, END = range(3)  # what the machine plays until
NEVER = 1 << 62


@inner
def served_at(e, kind, end, many):
    """Return where the books have the units served of an edge, of ``many``."""
    return 1 + many + 4 * e + 2 * kind + end


@inner
def taken_at(p, many):
    """Return where the books have the units that the array took of a port."""
    return 1 + 5 * many + p


@inner
def waited_at(cause, many, ports):
    """Return where the books have the units waited for a cause."""
    return 1 + 5 * many + ports + cause


@inner
def gates(e, s, edges, state):
    """Whether the array may not go on before a slot is done."""
    if not edges[e, OUT]:
        return s == 0
    if s in (0, 4):
        return True
    return state[e, LATE, 0] == 1 and (s == 2 or (s == 1 and not edges[e, DOUBLED]))


@inner
def slot_at(e, turn, edges):
    """Return the slots of an edge in the order in which they are needed."""
    if not edges[e, OUT]:
        return turn
    if edges[e, DOUBLED]:
        return DOUBLED_ORDER[turn]
    return SINGLE_ORDER[turn]


@inner
def kind_of(e, s, edges):
    """Return 1 for sums that come back, else 0."""
    return 1 if edges[e, OUT] and s > 1 else 0


@inner
def _before(e, s, edges):
    """Return the slot of the same edge that is to be done before another; -1: none."""
    if s == 1:
        return 4
    if s == 2:
        return 0
    return 1 if s == 3 and edges[e, DOUBLED] else -1


@inner
def _first_missing(stage, edges, state):
    """Return the first edge, by rank, of outer stages whose first tile is missing; -1: none."""
    for r in range(edges.shape[0]):
        e = edges[r, ORDER]
        if not edges[e, OUT] and edges[e, STAGE] < stage and state[e, 0, PHASE] != DONE:
            return e
    return -1


@inner
def _resolved(e, s, edges, state):
    """Whether all that a slot waits for has happened."""
    dep = state[e, s, DEP]
    parent, child = edges[e, PARENT], edges[e, CHILD]
    if dep == FIRST_LOAD:
        return _first_missing(edges[e, STAGE], edges, state) < 0
    if not edges[e, OUT]:
        return dep == FREE or state[parent, dep - 1, PHASE] == DONE
    before = _before(e, s, edges)
    if before >= 0 and state[e, before, PHASE] != DONE:
        return False
    if s < 2:
        return dep == FREE or state[child, 2 - dep, PHASE] == DONE
    if dep == NEXT and not edges[parent, DOUBLED]:
        return False
    return dep == FREE or state[parent, dep + 1, PHASE] == DONE


@inner
def release(edges, state):
    """Start every transfer whose place is free and whose elements are there."""
    for e in range(state.shape[0]):
        for s in range(SLOTS):
            if state[e, s, PHASE] == WAITING and _resolved(e, s, edges, state):
                state[e, s, PHASE], state[e, s, DEP] = SERVING, FREE


@inner
def _finish(e, s, edges, state, total):
    """Note that a transfer is complete; a single place has it when the array leaves the last."""
    early = not edges[e, OUT] and s == 1 and not edges[e, DOUBLED]
    state[e, s, PHASE] = UNCROSSED if early else DONE
    total[DONE_AT + edges[e, RANK]] += 1


@inner
def busiest(now):
    """Return the port that the array has for longest: the first of equals."""
    worst = 0
    for p in range(now.shape[1]):
        if now[TAKEN, p] > now[TAKEN, worst]:
            worst = p
    return worst


@inner
def _ready(until, edges, state, now):
    for e in range(state.shape[0]):
        for s in range(SLOTS):
            if state[e, s, PHASE] != DONE and (until == END or gates(e, s, edges, state)):
                return False
    return until != END or now[TAKEN, busiest(now)] == 0


@inner
def _head(p, until, chip, state):
    """Return the place in a port's list of what it serves: what the array waits for first."""
    edges, lists = chip
    found = -1
    for k in range(1, lists[p, 0, 0] + 1):
        e, s, end = lists[p, k, 0], lists[p, k, 1], lists[p, k, 2]
        if state[e, s, PHASE] == SERVING and state[e, s, REST + end] > 0:
            if until != GATES or gates(e, s, edges, state):
                return k
            if found < 0:
                found = k
    return found


@inner
def _awaited(until, edges, state):
    """Return edge and slot of the first transfer that is awaited, before all one under way."""
    pick_e, pick_s = -1, -1
    for r in range(state.shape[0]):
        e = edges[r, ORDER]
        for turn in range(SLOTS):
            s = slot_at(e, turn, edges)
            phase = state[e, s, PHASE]
            if phase == DONE or not (until == END or gates(e, s, edges, state)):
                continue
            if phase in (SERVING, LATENCY):
                return e, s
            if pick_e < 0:
                pick_e, pick_s = e, s
    return pick_e, pick_s


@inner
def _blocker(e, s, edges, state):
    """Return edge and slot of what a transfer waits for."""
    dep = state[e, s, DEP]
    if dep == FIRST_LOAD:
        return _first_missing(edges[e, STAGE], edges, state), 0
    if not edges[e, OUT]:
        return edges[e, PARENT], dep - 1
    before = _before(e, s, edges)
    if before >= 0 and state[e, before, PHASE] != DONE:
        return e, before
    if s < 2:
        return edges[e, CHILD], 2 - dep
    return edges[e, PARENT], dep + 1


@inner
def _cause(until, edges, state, now):
    """Return what the array waits for: the first transfer, by rank, that moves or is on its way.

    3 (2 edge + kind) + end (2: the latency), or, after those of all edges, a port that takes the
    array's results.
    """
    e, s = _awaited(until, edges, state)
    while e >= 0 and state[e, s, PHASE] == WAITING:
        e, s = _blocker(e, s, edges, state)
    if e >= 0 and state[e, s, PHASE] != DELAY:
        base = 3 * (2 * e + kind_of(e, s, edges))
        if state[e, s, PHASE] == LATENCY:
            return base + 2
        return base + (1 if state[e, s, REST + 1] > state[e, s, REST] else 0)
    return 6 * state.shape[0] + busiest(now)


@inner
def play(limit, chip, run):
    """Let transfers go on for ``limit`` units, or until the array can go on, or all is done.

    Parameters
    ----------
    limit : int
        Units of a step.
    chip, run : tuple
        What is played until stands in ``run``.
    """
    edges, state, now, total = chip[0], run[2], run[3], run[4]
    elapsed, until = 0, now[OTHER, UNTIL]
    while True:
        release(edges, state)
        if until == STEP:
            if elapsed == limit:
                return
        elif _ready(until, edges, state, now):
            return
        delta = _next_event(until, limit - elapsed, chip, state, now)
        if delta == NEVER:
            now[OTHER, STUCK] = 1
            return
        if until != STEP:
            cause = _cause(until, edges, state, now)
            total[waited_at(cause, state.shape[0], chip[1].shape[0])] += delta
        _pass_time(delta, chip, state, now, total)
        elapsed += delta


@inner
def _next_event(until, limit, chip, state, now):
    """Return the units until something ends, and leave what each port serves in ``now``."""
    lists = chip[1]
    delta = limit if until == STEP else NEVER
    for p in range(lists.shape[0]):
        if now[TAKEN, p] > 0:
            now[HEADS, p] = -1
            delta = min(delta, now[TAKEN, p])
        else:
            k = _head(p, until, chip, state)
            now[HEADS, p] = k
            if k >= 0:
                delta = min(delta, state[lists[p, k, 0], lists[p, k, 1], REST + lists[p, k, 2]])
    for e in range(state.shape[0]):
        for s in range(SLOTS):
            phase = state[e, s, PHASE]
            if phase in (LATENCY, DELAY):
                delta = min(delta, state[e, s, WAIT])
            elif phase == SERVING and state[e, s, REST] == 0 and state[e, s, REST + 1] == 0:
                delta = 0  # nothing moves: it is there
    return delta


@inner
def _pass_time(delta, chip, state, now, total):
    """Let units pass: ports serve what ``now`` says, what is on its way arrives."""
    edges, lists = chip
    many = state.shape[0]
    total[TIME] += delta
    _wait(delta, edges, state, total)
    for p in range(lists.shape[0]):
        k = now[HEADS, p]
        if now[TAKEN, p] > 0:
            now[TAKEN, p] -= delta
            total[taken_at(p, many)] += delta
        elif k >= 0:
            e, s, end = lists[p, k, 0], lists[p, k, 1], lists[p, k, 2]
            state[e, s, REST + end] -= delta
            total[served_at(e, kind_of(e, s, edges), end, many)] += delta
    for e in range(many):
        for s in range(SLOTS):
            if state[e, s, PHASE] != SERVING or state[e, s, REST] or state[e, s, REST + 1]:
                continue
            down = not edges[e, OUT] or s > 1
            if down and edges[e, LATENCY_UNITS] > 0:
                state[e, s, PHASE], state[e, s, WAIT] = LATENCY, edges[e, LATENCY_UNITS]
            else:
                _finish(e, s, edges, state, total)


@inner
def _wait(delta, edges, state, total):
    for e in range(state.shape[0]):
        for s in range(SLOTS):
            phase = state[e, s, PHASE]
            if phase in (LATENCY, DELAY):
                state[e, s, WAIT] -= delta
                if state[e, s, WAIT] == 0 and phase == LATENCY:
                    _finish(e, s, edges, state, total)
                elif state[e, s, WAIT] == 0:
                    state[e, s, PHASE] = WAITING
