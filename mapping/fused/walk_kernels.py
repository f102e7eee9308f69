"""The clocks of a chain's blocks, one after another, compiled: the schedule of `cost`.

*clock* (3,): when the outermost memory's port, the array and the vector unit are free. *made* (2,):
when the first products of the last two blocks ended. *done* (2, 4): of the last two blocks that are
finished: when the second product ended, when the unit had added it, clocks of the results that
wait to leave (0: none), and their place. *stored* (4,): when the results of the last blocks of rows
had left, a ring of places. *coming* (7,): the block that is begun and not finished: whether any
is, when its steps end, clocks of its second weights, of the second product, of adding it and of
the results, their place. *idle* (4,): clocks that the array waited for weights, for inputs alone,
for the vector unit, and for results to leave.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

import numpy as np

from ...datatypes.base.compiled import compiled
from ...datatypes.base.inner_kernels import inner

PORT, ARRAY, UNIT = 0, 1, 2
PRODUCT, STEPS, SECOND, ADDED = 0, 1, 2, 3
ALONE, FIRST, LATER, LAST = 0, 1, 2, 3
NONE = 2  # the kind of inputs, or weights, that a block does not load
WEIGHTS, INPUTS, VECTOR, RESULTS = 0, 1, 2, 3  # what the array waits for
RING = 4
KEPT = 4  # ends of instances that are remembered: what repeats within so many is not walked again
SIZE = 3 + 2 + 8 + RING + 7


@inner
def store(back, clock, done, stored):
    """Let the results of a block leave, if they wait."""
    if done[back, 2] > 0:
        clock[PORT] = max(clock[PORT], done[back, 1]) + done[back, 2]
        stored[done[back, 3]] = clock[PORT]
        done[back, 2] = 0


@inner
def wait(clock, until, cause, idle):
    """Let the array wait, if it is free before."""
    if until > clock[ARRAY]:
        idle[cause] += until - clock[ARRAY]
        clock[ARRAY] = until


@inner
def finish(coming, places, latency, spilled, clock, done, stored, idle):
    """Load a block's second weights and sums, run the second product and add what it makes.

    What the array waits for is told apart in this order: the unit, weights, results.
    """
    back = places - 1
    wait(clock, coming[1], VECTOR, idle)
    if spilled == 1:
        store(back, clock, done, stored)
    if coming[2] > 0:
        clock[PORT] = max(clock[PORT], done[back, 0]) + coming[2]
        wait(clock, clock[PORT] + latency, WEIGHTS, idle)
    store(back, clock, done, stored)
    if coming[5] > 0:
        wait(clock, stored[(coming[6] - places) % RING], RESULTS, idle)
    clock[ARRAY] += coming[3]
    for i in range(4):
        done[1, i] = done[0, i]
    done[0, 0] = clock[ARRAY]
    done[0, 1] = clock[ARRAY]
    if coming[4] > 0:
        clock[UNIT] = max(clock[UNIT], clock[ARRAY]) + coming[4]
        done[0, 1] = clock[UNIT]
    done[0, 2] = coming[5]
    done[0, 3] = coming[6]
    coming[0] = 0


@inner
def relative(rows, clock, made, done, stored, coming, found):
    """Write the state as it is seen from the array's clock and the newest place of results."""
    base, at = clock[ARRAY], 0
    for i in range(3):
        found[at + i] = clock[i] - base
    at += 3
    for i in range(2):
        found[at + i] = made[i] - base
    at += 2
    for i in range(2):
        found[at] = done[i, 0] - base
        found[at + 1] = done[i, 1] - base
        found[at + 2] = done[i, 2]
        found[at + 3] = (rows - done[i, 3]) % RING if done[i, 2] > 0 else 0
        at += 4
    for i in range(RING):
        found[at + i] = stored[(rows - i) % RING] - base
    at += RING
    for i in range(7):
        found[at + i] = coming[i] if coming[0] == 1 else 0
    if coming[0] == 1:
        found[at + 1] = coming[1] - base
        found[at + 6] = (rows - coming[6]) % RING


@inner
def instance(rows, blocks, jobs, loads, more, stores, latency, tiling, state):
    """Walk one instance; return the place of the results of its last rows."""
    clock, made, done, stored, coming, there, idle = state
    places, ahead, held, spilled = tiling
    low, high, kinds, short = blocks
    for j in range(there.size):
        there[j] = 0
    outer = high[0] if spilled == 1 else low.size
    for o in range(outer):
        begin = 0 if spilled == 1 else low[o]
        end = low.size if spilled == 1 else high[o]
        for i in range(begin, end):
            r, j = (i, o) if spilled == 1 else (o, i)
            a, b = kinds[r], 1 if j == short else 0
            first, last = j == low[r], j == high[r] - 1
            if first or spilled == 1:
                rows = (rows + 1) % RING
            kind = ALONE if first and last else (FIRST if first else (LAST if last else LATER))
            weights = b if held + spilled == 0 or there[j] == 0 else NONE
            there[j] = 1
            load = loads[a if first or spilled == 1 else NONE, weights]
            if ahead == 0:
                wait(clock, done[0, 1], VECTOR, idle)
            if load > 0:
                clock[PORT] = max(clock[PORT], made[places - 1]) + load
                wait(clock, clock[PORT] + latency, INPUTS if weights == NONE else WEIGHTS, idle)
            clock[ARRAY] += jobs[a, b, kind, PRODUCT]
            made[1] = made[0]
            made[0] = clock[ARRAY]
            clock[UNIT] = max(clock[UNIT], clock[ARRAY]) + jobs[a, b, kind, STEPS]
            worked = clock[UNIT]
            if coming[0] == 1:
                finish(coming, places, latency, spilled, clock, done, stored, idle)
            coming[0] = 1
            coming[1] = worked
            coming[2] = more[NONE if first or spilled == 0 else a, weights]
            coming[3] = jobs[a, b, kind, SECOND]
            coming[4] = jobs[a, b, kind, ADDED]
            coming[5] = stores[a, 0] if last else (stores[a, 1] if spilled == 1 else 0)
            coming[6] = rows
            if ahead == 0:
                finish(coming, places, latency, spilled, clock, done, stored, idle)
    return rows


@compiled(error_model="numpy")
def walk(blocks, jobs, loads, more, stores, options):
    """Return the clocks of all instances, and (4,) those of the array's waits by cause.

    Parameters
    ----------
    blocks : tuple
        Of each block of rows, (R,) int64 arrays: its first block of columns, its last + 1, and
        whether it is the short one (0 or 1). Then the block of columns that is the short one; -1:
        none is.
    jobs : (2, 2, 4, 4) int64 array
        Clocks by kind of rows and columns (0, or 1: short), whether a block is alone, the first,
        in between or the last of its rows: of first product, steps, second product, adding it.
    loads : (3, 3) int64 array
        Clocks of the inputs of a kind of rows with the first weights of a kind of columns; 2: no
        inputs, or no weights.
    more : (3, 3) int64 array
        Clocks of the sums of a kind of rows with the second weights of a kind of columns.
    stores : (2, 2) int64 array
        Clocks of the results by kind of rows, and of their sums.
    options : (6,) int64 array
        Latency of the outermost memory, places, ahead (0 or 1), held, spilled (0 or 1), instances.
    """
    latency, places, ahead, held, spilled, count = options
    tiling = (places, ahead, held, spilled)
    times = 1
    if held == 1:
        times, count = count, 1
    clock, made, done = np.zeros(3, np.int64), np.zeros(2, np.int64), np.zeros((2, 4), np.int64)
    stored, coming = np.zeros(RING, np.int64), np.zeros(7, np.int64)
    there = np.zeros(max(1, blocks[1].max()), np.int8)
    idle, before = np.zeros(4, np.int64), np.zeros((KEPT, 4), np.int64)
    state = (clock, made, done, stored, coming, there, idle)
    further = np.zeros(4, np.int64)
    seen, ends = np.zeros((KEPT, SIZE), np.int64), np.zeros(KEPT, np.int64)
    now = np.zeros(SIZE, np.int64)
    rows, walked, skipped, jumped = 0, 0, 0, False
    while walked < count:
        rows = instance(rows, blocks, jobs, loads, more, stores, latency, tiling, state)
        walked += 1
        relative(rows, clock, made, done, stored, coming, now)
        for back in range(min(KEPT, walked - 1)):
            if not jumped and np.all(seen[back] == now):
                turns = (count - walked) // (back + 1)
                skipped, jumped = turns * (clock[ARRAY] - ends[back]), True
                further = turns * (idle - before[back])
                walked += turns * (back + 1)
        for back in range(KEPT - 1, 0, -1):
            seen[back] = seen[back - 1]
            ends[back] = ends[back - 1]
            before[back] = before[back - 1]
        seen[0], ends[0], before[0] = now, clock[ARRAY], idle
    if coming[0] == 1:
        finish(coming, places, latency, spilled, clock, done, stored, idle)
    for back in range(1, -1, -1):
        store(back, clock, done, stored)
    end = max(clock[PORT], clock[ARRAY], clock[UNIT])
    wait(clock, end, RESULTS, idle)
    return (end + skipped) * times, (idle + further) * times
