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
from .machine_kernels import (
    ARMED,
    BLOCKED,
    CUT,
    DELAY,
    DONE,
    DOUBLED,
    FIELDS,
    LATENCY,
    MASK,
    NEVER,
    OUT,
    PHASE,
    RANK,
    REST,
    SERVING,
    SLOTS,
    WAIT,
    WAITING,
    gates,
    kind_of,
)
from .step_kernels import CARRY, STUCK, arm, finish, go_on, passed, start, step
from .visit_kernels import (
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


@compiled
def _involved(e, i, plan, run):
    """Whether anything but time left by others happens to an edge in the loops from ``i``."""
    nest, edges, at, state, late = plan[0], plan[1][0], run[0], run[1], run[2]
    mask = edges[e, MASK]
    if moves_on(mask, i, edges[e, CUT], nest, at):
        return True
    for s in range(SLOTS):
        phase = state[e, s, PHASE]
        if phase in (ARMED, WAITING, DELAY):
            return True
        if phase != DONE and gates(e, s, edges, late):
            return True
    if edges[e, DOUBLED] or not pass_inside(e, i, edges, nest, at):
        return False
    began = visit_began(e, i, edges, nest, at)
    if edges[e, OUT]:
        return late[e] == 0 and at_first(mask, began, i, nest, at)
    return state[e, 1, PHASE] == BLOCKED and at_last(mask, began, i, nest, at)


@compiled
def _lowest(i, plan, run):
    """Return how many ranks are involved in the loops from ``i`` inwards."""
    order = plan[1][3]
    for r in range(order.size - 1, -1, -1):
        if _involved(order[r], i, plan, run):
            return r + 1
    return 0


@compiled
def _write_state(ranks, plan, run, row):
    """Write the state of the first ranks and what the array has of ports; return its length."""
    order, state, late, taken, misc = plan[1][3], run[1], run[2], run[3], run[5]
    n = 0
    for r in range(ranks):
        e = order[r]
        row[n] = late[e]
        n += 1
        for s in range(SLOTS):
            for field in range(FIELDS):
                row[n] = state[e, s, field]
                n += 1
    for p in range(taken.size):
        row[n] = taken[p]
        n += 1
    row[n] = misc[CARRY]
    return n + 1


@compiled
def _read_state(ranks, plan, run, row):
    order, state, late, taken, misc = plan[1][3], run[1], run[2], run[3], run[5]
    n = 0
    for r in range(ranks):
        e = order[r]
        late[e] = row[n]
        n += 1
        for s in range(SLOTS):
            for field in range(FIELDS):
                state[e, s, field] = row[n]
                n += 1
    for p in range(taken.size):
        taken[p] = row[n]
        n += 1
    misc[CARRY] = row[n]


@compiled
def _write_key(i, ranks, plan, run, row):
    """Write all that decides what the loops from ``i`` inwards do; return its length."""
    nest, order, pace, at, state = plan[0], plan[1][3], plan[4], run[0], run[1]
    row[0], row[1] = i, ranks
    row[2] = 2 * at_first(pace[1], 0, i, nest, at) + at_last(pace[1], 0, i, nest, at)
    n = 3
    for d in range(at[3].size):
        row[n + d] = at[0][i, d]
    n += at[3].size
    n += _write_state(ranks, plan, run, row[n:])
    for r in range(order.size):
        e = order[r]
        if r >= ranks:
            bits = 0
            for s in range(SLOTS):
                bits = 2 * bits + (state[e, s, PHASE] == DONE)
            row[n] = bits
            n += 1
            continue
        n = _write_follower(e, i, plan, run, row, n)
    return n


@compiled
def _write_follower(e, i, plan, run, row, n):
    """Write what comes after the loops from ``i`` inwards on an edge, and what turn it is."""
    nest, edges, at = plan[0], plan[1][0], run[0]
    mask = edges[e, MASK]
    if not moves_on(mask, i, edges[e, CUT], nest, at):
        began = visit_began(e, i, edges, nest, at)
        row[n] = 2 * at_first(mask, began, i, nest, at) + at_last(mask, began, i, nest, at)
        return n + 1
    m = next_change(e, i, edges, nest, at)
    row[n] = 4 + 2 * at_first(mask, 0, i, nest, at) + at_last(mask, 0, i, nest, at)
    row[n + 1] = m >= 0
    n += 2
    if m < 0:
        return n
    row[n] = 2 * other_visit(e, m, edges, nest, at)
    row[n] += indexes(mask, m, nest) and at_first(mask, 0, m, nest, at)
    n += 1
    first_block(m, edges[e, CUT], nest, at)
    for d in range(at[3].size):
        if mask >> d & 1:
            row[n] = at[3][d]
            n += 1
    return n


@compiled
def _same(a, b, length):
    k = 0
    while k < length and a[k] == b[k]:
        k += 1
    return k == length


@compiled
def _find(row, length, memo):
    """Return the place of a key in the table, or of the empty place where it would go."""
    keys, lengths = memo[0], memo[1]
    mixed = length
    for k in range(length):
        mixed = (mixed ^ row[k]) * 1099511628211
        mixed ^= (mixed >> 29) & 0x7FFFFFFFF
    place = mixed % lengths.size
    while lengths[place] != EMPTY:
        if lengths[place] == length and _same(keys[place], row, length):
            return place
        place = (place + 1) % lengths.size
    return place


@compiled
def _idle(p, ranks, delta, plan, views):
    """Return the units that a port has left for what ranks lower."""
    order = plan[1][3]
    time, served, array = views
    idle = delta[time] - delta[array + p]
    ports = plan[1][4]
    for r in range(ranks):
        e = order[r]
        for kind in range(2):
            for end in range(2):
                if ports[e, kind, end] == p:
                    idle -= delta[served + (2 * e + kind) * 2 + end]
    return idle


@compiled
def _background_head(p, ranks, plan, run):
    """Return the place in a port's list of what it serves when it has nothing else."""
    chip, state = plan[1], run[1]
    edges, lists, lengths = chip[0], chip[1], chip[2]
    for k in range(lengths[p]):
        e, s, end = lists[p, k, 0], lists[p, k, 1], lists[p, k, 2]
        if (
            edges[e, RANK] >= ranks
            and state[e, s, PHASE] == SERVING
            and state[e, s, REST + end] > 0
        ):
            return k
    return -1


@compiled
def _most_times(ranks, delta, plan, run, views):
    """Return how often an effect can be added before a background transfer is done."""
    state, order, lists = run[1], plan[1][3], plan[1][1]
    most = NEVER
    for p in range(run[3].size):
        idle = _idle(p, ranks, delta, plan, views)
        k = _background_head(p, ranks, plan, run)
        if k >= 0 and idle > 0:
            e, s, end = lists[p, k, 0], lists[p, k, 1], lists[p, k, 2]
            most = min(most, (state[e, s, REST + end] - 1) // idle)
    for r in range(ranks, order.size):
        for s in range(SLOTS):
            if state[order[r], s, PHASE] == LATENCY and delta[views[0]] > 0:
                most = min(most, (state[order[r], s, WAIT] - 1) // delta[views[0]])
    return most


@compiled
def _add(times, ranks, delta, plan, run, views, total):
    """Add an effect, a number of times."""
    edges, lists, order = plan[1][0], plan[1][1], plan[1][3]
    state = run[1]
    time, served, _array = views
    for p in range(run[3].size):
        idle = _idle(p, ranks, delta, plan, views)
        k = _background_head(p, ranks, plan, run)
        if k >= 0:
            e, s, end = lists[p, k, 0], lists[p, k, 1], lists[p, k, 2]
            state[e, s, REST + end] -= idle * times
            total[served + (2 * e + kind_of(e, s, edges)) * 2 + end] += idle * times
    for r in range(ranks, order.size):
        for s in range(SLOTS):
            if state[order[r], s, PHASE] == LATENCY:
                state[order[r], s, WAIT] -= delta[time] * times
    for k in range(total.size):
        total[k] += delta[k] * times


@compiled
def _effect(ranks, before, plan, total, views, done, delta):
    """Leave in ``delta`` what happened since; return whether a background transfer was done."""
    order, served = plan[1][3], views[1]
    for k in range(total.size):
        delta[k] = total[k] - before[k]
    for r in range(ranks, order.size):
        if delta[done + r] != 0:
            return True
        for k in range(4):
            delta[served + 4 * order[r] + k] = 0
    return False


@compiled
def _met(i, plan, run, fold):
    """Add the kept effect of the loops from ``i`` inwards; return -1, or the ranks involved."""
    _folds, views, total, memo, room = fold
    _keys, lengths, effects, exits, _kept = memo
    key, key_length, begun = room[0], room[1], room[2]
    ranks = _lowest(i, plan, run)
    key_length[i] = _write_key(i, ranks, plan, run, key[i])
    place = _find(key[i], key_length[i], memo)
    if lengths[place] != EMPTY and _most_times(ranks, effects[place], plan, run, views) >= 1:
        _add(1, ranks, effects[place], plan, run, views, total)
        _read_state(ranks, plan, run, exits[place])
        return -1
    begun[i, :] = total
    return ranks


@compiled
def _keep(i, ranks, plan, run, fold):
    """Keep the effect of the loops from ``i`` inwards, if no background transfer was done."""
    folds, views, total, memo, room = fold
    keys, lengths, effects, exits, kept = memo
    row, length, effect = room[0][i], room[1][i], room[3][i]
    if _effect(ranks, room[2][i], plan, total, views, folds[1], effect):
        return
    place = _find(row, length, memo)
    if lengths[place] == EMPTY:
        if 2 * kept[0] >= lengths.size:
            lengths[:] = EMPTY
            kept[0] = 0
            place = _find(row, length, memo)
        kept[0] += 1
    keys[place, :length] = row[:length]
    lengths[place] = length
    effects[place, :] = effect
    _write_state(ranks, plan, run, exits[place])


@compiled
def _skipped(i, ranks, plan, run, fold):
    """Return the turns of a loop that are skipped as its state was met before; note the state.

    Turns alike are all but the first and those that are followed by a short one or by none.
    """
    folds, views, total, _memo, room = fold
    nest, at = plan[0], run[0]
    seen, seen_total, marks, state_row = room[4], room[5], room[6], room[7]
    turn, count = at[2][i], at[1][i]
    short = at[0][i, nest[0][i]] % nest[1][i] > 0
    final = count - 3 if short else count - 2
    if turn < 1 or turn > final:
        return 0
    length = _write_state(ranks, plan, run, state_row)
    mark = marks[i]  # the turn whose state is kept, turns since, and until another is
    if mark[0] >= 0 and _same(seen[i], state_row, length):
        period, effect = turn - mark[0], room[3][i]
        if not _effect(ranks, seen_total[i], plan, total, views, folds[1], effect):
            most = _most_times(ranks, effect, plan, run, views)
            times = min(most, (final - turn) // period)
            if times > 0:
                _add(times, ranks, effect, plan, run, views, total)
                mark[0] = -1
                return times * period
    if mark[0] < 0 or mark[1] >= mark[2]:
        mark[2] = 1 if mark[0] < 0 else 2 * mark[2]
        mark[0], mark[1] = turn, 0
        seen[i, :length] = state_row[:length]
        seen_total[i, :] = total
    mark[1] += 1
    return 0


@compiled
def play_loops(i, plan, run, fold):
    """Play the loops from ``i`` inwards over their block.

    Parameters
    ----------
    i : int
    plan : tuple
        Nest, chip, works, ports of the array, pace: what does not change.
    run : tuple
        Where the nest is, the state of all slots, books.
    fold : tuple
        Whether to fold, and where the books have what; the table of kept effects; room.
    """
    nest, at, misc = plan[0], run[0], run[5]
    arm(i, plan, run)
    if i == nest[0].size:
        step(plan, run)
        passed(i, plan, run)
        return 0
    count, folds, ranks = at[1][i], fold[0][0] == 1 and at[1][i] > 1, 0
    if folds:
        ranks = _met(i, plan, run, fold)
        fold[4][6][i, 0] = -1
    turn = 0
    while ranks >= 0 and turn < count and misc[STUCK] == 0:
        if turn > 0:
            go_on(i, turn, plan, run)
        skipped = _skipped(i, ranks, plan, run, fold) if folds else 0
        if skipped > 0:
            turn += skipped
            at[2][i] = turn
            settle(i, nest, at)
            enter(i + 1, nest, at)
        play_loops(i + 1, plan, run, fold)
        turn += 1
    if folds and ranks >= 0 and misc[STUCK] == 0:
        _keep(i, ranks, plan, run, fold)
    passed(i, plan, run)
    return 0


@compiled
def play_nest(plan, run, fold):
    """Play all of a nest; arguments as `play_loops` takes them. Return 0, or 1 if it got stuck."""
    enter(0, plan[0], run[0])
    start(plan, run)
    play_loops(0, plan, run, fold)
    if run[5][STUCK] == 0:
        finish(plan, run)
    return run[5][STUCK]
