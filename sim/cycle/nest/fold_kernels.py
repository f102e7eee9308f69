"""The loops of a mapping played by the machine, each distinct part once, compiled.

What the loops from some loop inwards do depends on the block they are given, on what comes after
it, and on the transfers under way, but not on when it happens. Of those transfers the ones of tiles
that stay, with a rank below all that moves inside, are background: they take the clocks that the
ports have left and delay nothing. So a part is kept under its block, what follows it and the state
of all others; where it is met again, and no background transfer would be done meanwhile, its effect
is added. In the same way a loop whose state comes back goes round as often as that holds at once.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

from ....datatypes.base.compiled import compiled
from ....datatypes.base.inner_kernels import OPTIONS, inner
from .machine_kernels import (
    ARMED,
    BLOCKED,
    CARRY,
    CUT,
    DELAY,
    DONE,
    DONE_AT,
    FIELDS,
    LATE,
    LATENCY,
    MASK,
    NEVER,
    ORDER,
    OTHER,
    OUT,
    PHASE,
    PORTS,
    RANK,
    REST,
    SERVING,
    SLOTS,
    STUCK,
    TAKEN,
    TIME,
    WAIT,
    WAITING,
    gates,
    kind_of,
    served_at,
    taken_at,
)
from .step_kernels import SUMS, arm, finish, go_on, passed, start, step
from .visit_kernels import (
    COUNT,
    TURN,
    all_first,
    all_last,
    at_border,
    at_first,
    at_last,
    enter,
    first_block,
    indexes,
    moves_on,
    next_change,
    other_visit,
    pass_inside,
    settle,
    visit_began,
)

EMPTY = -1
# notes of the books: when a loop began, when its state was noted, what happened since
BEGUN, SINCE, DELTA, NOTES = range(4)
# marks of a loop: the turn whose state is noted, turns since, and until another is noted; ranks
# involved; whether it folds; length of its key. Of all loops: whether to fold, effects kept
SEEN, LAPS, POWER, RANKS, FOLDS, KEY_LENGTH, MARKS = range(7)


@inner
def _involved(e, i, plan, run):
    """Whether anything but time left by others happens to an edge in the loops from ``i``."""
    loops, edges, at, state = plan[0], plan[1][0], (run[0], run[1]), run[2]
    mask = edges[e, MASK]
    if moves_on(mask, i, edges[e, CUT], loops, at):
        return True
    for s in range(SLOTS):
        phase = state[e, s, PHASE]
        if phase in (ARMED, WAITING, DELAY):
            return True
        if phase != DONE and gates(e, s, edges, state):
            return True
    if not pass_inside(e, i, edges, loops, at):
        return False
    began = visit_began(e, i, edges, loops, at)
    if edges[e, OUT]:
        under_way = state[e, 1, PHASE] != DONE or state[e, 2, PHASE] != DONE
        late = state[e, LATE, 0] == 1
        return under_way and not late and at_first(mask, began, i, loops, at)
    return state[e, 1, PHASE] == BLOCKED and at_last(mask, began, i, loops, at)


@inner
def _lowest(i, plan, run):
    """Return how many ranks are involved in the loops from ``i`` inwards."""
    edges = plan[1][0]
    for r in range(edges.shape[0] - 1, -1, -1):
        if _involved(edges[r, ORDER], i, plan, run):
            return r + 1
    return 0


@inner
def copied(source, first, target, at, many):
    """Copy so many numbers of a row, from a place on, to a place of another row."""
    for k in range(many):
        target[at + k] = source[first + k]


@inner
def _write_state(ranks, plan, run, row, n):
    """Write the state of the first ranks and what the array has of ports; return where it ends."""
    edges, state, now = plan[1][0], run[2], run[3]
    for r in range(ranks):
        e = edges[r, ORDER]
        row[n] = state[e, LATE, 0]
        n += 1
        for s in range(SLOTS):
            for field in range(FIELDS):
                row[n] = state[e, s, field]
                n += 1
    for p in range(now.shape[1]):
        row[n] = now[TAKEN, p]
        n += 1
    row[n] = now[OTHER, CARRY]
    return n + 1


@inner
def _read_state(ranks, plan, run, row, n):
    edges, state, now = plan[1][0], run[2], run[3]
    for r in range(ranks):
        e = edges[r, ORDER]
        state[e, LATE, 0] = row[n]
        n += 1
        for s in range(SLOTS):
            for field in range(FIELDS):
                state[e, s, field] = row[n]
                n += 1
    for p in range(now.shape[1]):
        now[TAKEN, p] = row[n]
        n += 1
    now[OTHER, CARRY] = row[n]


@inner
def _write_key(i, ranks, plan, run, row):
    """Write all that decides what the loops from ``i`` inwards do; return its length."""
    loops, edges, mask, at = plan[0], plan[1][0], plan[3][SUMS], (run[0], run[1])
    row[0], row[1] = i, ranks
    row[2] = 2 * all_first(mask, i, loops, at) + all_last(mask, i, loops, at)
    n = 3
    for d in range(run[0].shape[1]):
        row[n] = run[0][i, d]
        n += 1
    n = _write_state(ranks, plan, run, row, n)
    for r in range(edges.shape[0]):
        e = edges[r, ORDER]
        if r < ranks:
            n = _write_follower(e, i, plan, run, row, n)
            continue
        bits = 0
        for s in range(SLOTS):
            bits = 2 * bits + (run[2][e, s, PHASE] == DONE)
        row[n] = bits
        n += 1
    return n


@inner
def _write_follower(e, i, plan, run, row, n):
    """Write what comes after the loops from ``i`` inwards on an edge, and what turn it is."""
    loops, edges, at = plan[0], plan[1][0], (run[0], run[1])
    mask, block = edges[e, MASK], run[0][loops.shape[1] + 1]
    if not moves_on(mask, i, edges[e, CUT], loops, at):
        began = visit_began(e, i, edges, loops, at)
        row[n] = 2 * at_first(mask, began, i, loops, at) + at_last(mask, began, i, loops, at)
        return n + 1
    m = next_change(e, i, edges, loops, at)
    row[n] = 4 + 2 * all_first(mask, i, loops, at) + all_last(mask, i, loops, at)
    row[n + 1] = m >= 0
    n += 2
    if m < 0:
        return n
    row[n] = 2 * other_visit(e, m, edges, loops, at)
    row[n] += indexes(mask, m, loops) and all_first(mask, m, loops, at)
    n += 1
    first_block(m, edges[e, CUT], loops, at)
    for d in range(block.size):
        if mask >> d & 1:
            row[n] = block[d]
            n += 1
    return n


@inner
def _same(a, b, at, length):
    """Whether two rows are the same; ``b`` begins at a place of its row."""
    k = 0
    while k < length and a[k] == b[at + k]:
        k += 1
    return k == length


@inner
def _find(row, length, table):
    """Return the place of a key in the table, or of the empty place where it would go."""
    mixed = length
    for k in range(length):
        mixed = (mixed ^ row[k]) * 1099511628211
        mixed ^= (mixed >> 29) & 0x7FFFFFFFF
    place = mixed % table.shape[0]
    while table[place, 0] != EMPTY:
        if table[place, 0] == length and _same(row, table[place], 1, length):
            return place
        place = (place + 1) % table.shape[0]
    return place


@inner
def _idle(p, ranks, delta, edges):
    """Return the units that a port has left for what ranks lower."""
    many = edges.shape[0]
    idle = delta[TIME] - delta[taken_at(p, many)]
    for r in range(ranks):
        e = edges[r, ORDER]
        for kind in range(2):
            for end in range(2):
                if edges[e, PORTS + 2 * kind + end] == p:
                    idle -= delta[served_at(e, kind, end, many)]
    return idle


@inner
def _background_head(p, ranks, chip, state):
    """Return the place in a port's list of what it serves when it has nothing else."""
    edges, lists = chip
    for k in range(1, lists[p, 0, 0] + 1):
        e, s, end = lists[p, k, 0], lists[p, k, 1], lists[p, k, 2]
        waits = state[e, s, PHASE] == SERVING and state[e, s, REST + end] > 0
        if waits and edges[e, RANK] >= ranks:
            return k
    return -1


@inner
def _most_times(ranks, delta, plan, run):
    """Return how often an effect can be added before a background transfer is done."""
    chip, state = plan[1], run[2]
    edges, lists = chip
    most = NEVER
    for p in range(lists.shape[0]):
        k = _background_head(p, ranks, chip, state)
        idle = _idle(p, ranks, delta, edges) if k >= 0 else 0
        if idle > 0:
            rest = state[lists[p, k, 0], lists[p, k, 1], REST + lists[p, k, 2]]
            most = min(most, (rest - 1) // idle)
    for r in range(ranks, state.shape[0]):
        for s in range(SLOTS):
            if state[edges[r, ORDER], s, PHASE] == LATENCY:
                most = min(most, (state[edges[r, ORDER], s, WAIT] - 1) // delta[TIME])
    return most


@inner
def _add(times, ranks, delta, plan, run):
    """Add an effect, a number of times."""
    chip, state, total = plan[1], run[2], run[4]
    edges, lists = chip
    many = state.shape[0]
    for p in range(lists.shape[0]):
        k = _background_head(p, ranks, chip, state)
        if k >= 0:
            e, s, end = lists[p, k, 0], lists[p, k, 1], lists[p, k, 2]
            idle = times * _idle(p, ranks, delta, edges)
            state[e, s, REST + end] -= idle
            total[served_at(e, kind_of(e, s, edges), end, many)] += idle
    for r in range(ranks, many):
        for s in range(SLOTS):
            if state[edges[r, ORDER], s, PHASE] == LATENCY:
                state[edges[r, ORDER], s, WAIT] -= delta[TIME] * times
    for k in range(total.size):
        total[k] += delta[k] * times


@inner
def _effect(ranks, before, edges, total, delta):
    """Leave in ``delta`` what happened since; return whether a background transfer was done."""
    many = edges.shape[0]
    for k in range(total.size):
        delta[k] = total[k] - before[k]
    for r in range(ranks, many):
        if delta[DONE_AT + r] != 0:
            return True
        first = served_at(edges[r, ORDER], 0, 0, many)
        for k in range(4):
            delta[first + k] = 0
    return False


@inner
def _met(i, plan, run, fold):
    """Add the kept effect of the loops from ``i`` inwards; return -1, or the ranks involved."""
    table, keys, notes, _, marks = fold
    ranks, books = _lowest(i, plan, run), run[4].size
    marks[i, KEY_LENGTH] = _write_key(i, ranks, plan, run, keys[i])
    place = _find(keys[i], marks[i, KEY_LENGTH], table)
    if table[place, 0] != EMPTY:
        effect, first = notes[DELTA, i], 1 + keys.shape[1]
        copied(table[place], first, effect, 0, books)
        if _most_times(ranks, effect, plan, run) >= 1:
            _add(1, ranks, effect, plan, run)
            _read_state(ranks, plan, run, table[place], first + books)
            return -1
    copied(run[4], 0, notes[BEGUN, i], 0, books)
    return ranks


@inner
def _keep(i, ranks, plan, run, fold):
    """Keep the effect of the loops from ``i`` inwards, if no background transfer was done."""
    table, keys, notes, _, marks = fold
    total, length = run[4], marks[i, KEY_LENGTH]
    effect = notes[DELTA, i]
    if _effect(ranks, notes[BEGUN, i], plan[1][0], total, effect):
        return
    place = _find(keys[i], length, table)
    if table[place, 0] == EMPTY:
        kept = marks[loops_of(plan), KEY_LENGTH]
        if 2 * kept >= table.shape[0]:
            for row in range(table.shape[0]):
                table[row, 0] = EMPTY
            kept = 0
            place = _find(keys[i], length, table)
        marks[loops_of(plan), KEY_LENGTH] = kept + 1
    table[place, 0] = length
    copied(keys[i], 0, table[place], 1, length)
    first = 1 + keys.shape[1]
    copied(effect, 0, table[place], first, total.size)
    _write_state(ranks, plan, run, table[place], first + total.size)


@inner
def loops_of(plan):
    """Return how many loops a nest has."""
    return plan[0].shape[1]


@inner
def _skipped(i, ranks, plan, run, fold):
    """Return the turns of a loop that are skipped as its state was met before; note the state.

    Turns alike are all but the first and those that are followed by a short one or by none; none
    where some have border.
    """
    if at_border(i, plan[0], (run[0], run[1])):
        return 0
    _, _, notes, states, marks = fold
    loops, turn, total = plan[0], run[1][TURN, i], run[4]
    short = run[0][i, loops[0, i]] % loops[1, i] > 0
    final = run[1][COUNT, i] - (3 if short else 2)
    if turn < 1 or turn > final:
        return 0
    state_row = states[loops.shape[1]]
    length = _write_state(ranks, plan, run, state_row, 0)
    mark = marks[i]
    if mark[SEEN] >= 0 and _same(states[i], state_row, 0, length):
        period, effect = turn - mark[SEEN], notes[DELTA, i]
        if not _effect(ranks, notes[SINCE, i], plan[1][0], total, effect):
            times = min(_most_times(ranks, effect, plan, run), (final - turn) // period)
            if times > 0:
                _add(times, ranks, effect, plan, run)
                mark[SEEN] = -1
                return times * period
    if mark[SEEN] < 0 or mark[LAPS] >= mark[POWER]:
        mark[POWER] = 1 if mark[SEEN] < 0 else 2 * mark[POWER]
        mark[SEEN], mark[LAPS] = turn, 0
        copied(state_row, 0, states[i], 0, length)
        copied(total, 0, notes[SINCE, i], 0, total.size)
    mark[LAPS] += 1
    return 0


@inner
def _go_in(i, plan, run, fold):
    """Begin a loop; return whether its turns are to be played."""
    ranks, marks = 0, fold[4]
    folds = marks[loops_of(plan), FOLDS] == 1 and run[1][COUNT, i] > 1
    if folds:
        ranks = _met(i, plan, run, fold)
    marks[i, RANKS], marks[i, SEEN], marks[i, FOLDS] = ranks, -1, folds
    return ranks >= 0


@inner
def _turn(i, plan, run, fold):
    """Take a loop to its next turn, or past turns that are like others; or end it.

    Returns whether there is a turn to play.
    """
    loops, at, mark = plan[0], (run[0], run[1]), fold[4][i]
    turn = run[1][TURN, i] + 1
    if turn == run[1][COUNT, i]:
        if mark[FOLDS] and mark[RANKS] >= 0:
            _keep(i, mark[RANKS], plan, run, fold)
        return False
    go_on(i, turn, plan, run)
    skipped = _skipped(i, mark[RANKS], plan, run, fold) if mark[FOLDS] else 0
    if skipped > 0:
        run[1][TURN, i] = turn + skipped
        settle(i, loops, at)
        enter(i + 1, loops, at)
    return True


@compiled(**OPTIONS)
def play_nest(plan, run, fold):
    """Play all of a nest; return 1 if nothing could happen any more, else 0.

    Parameters
    ----------
    plan : tuple
        Loops, chip, works, pace: what does not change.
    run : tuple
        As in `machine_kernels`.
    fold : tuple
        Table of kept effects (length of the key, key, effect, state after); keys of the loops;
        their notes of the books; states they met; marks of each loop, and of all.
    """
    loops, at, now = plan[0], (run[0], run[1]), run[3]
    enter(0, loops, at)
    start(plan, run)
    i, inwards = 0, True
    while i >= 0 and now[OTHER, STUCK] == 0:
        if not inwards:
            inwards = _turn(i, plan, run, fold)
        else:
            arm(i, plan, run)
            if i == loops.shape[1]:
                step(plan, run)
                inwards = False
            else:
                inwards = _go_in(i, plan, run, fold)
        if inwards:
            i += 1
        else:
            passed(i, plan, run)
            i -= 1
    if now[OTHER, STUCK] == 0:
        finish(plan, run)
    return now[OTHER, STUCK]
