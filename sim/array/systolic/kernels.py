"""The systolic arrays, one clock at a time. Imported on use: this module brings numba.

Both kernels are resumable: all state lives in the arrays handed in, so that a long run can
stop whenever its event buffer is full, be written to disk, and go on. Two planes of every
register that moves hold the clock before and the present one.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

from typing import Any, NamedTuple

from ....datatypes.base.compiled import compiled
from ...pe.mac_kernels import add_product as add_float_product
from ...pe.mac_kernels import add_to_odd, fit, round_to

# Slots of the control vector
CLOCK, FOLD, FEED, DONE, ACTIVE, LEFT, BUSY_FOLD, MACS, UPDATES, DONE_ALL = range(10)
READS_STREAM, READS_FIXED, READS_BACK, WRITES, MISMATCH, EXPOSED = range(10, 16)
CONTROL_SLOTS = 16

# Kinds of event
READ_A, READ_B, MAC, WRITE, READ_PARTIAL, SHIFT_LOAD, SHIFT_DRAIN = range(7)
EVENT_NAMES = (
    "read_input",
    "read_weight",
    "mac",
    "write_output",
    "read_partial",
    "shift_load",
    "shift_drain",
)
EDGES, PES = 1, 2


class Operands(NamedTuple):
    """What is multiplied, and where the results go: (M, K), (K, N) and (M, N) arrays."""

    a: Any
    b: Any
    out: Any


class SumsStay(NamedTuple):
    """Registers of an output stationary array of R x C PEs.

    ``x, y``: (2, R, C) operands that move right and down; ``xt, yt`` their tags (t + 1, 0 for
    none); ``acc, drain``: (R, C).
    """

    x: Any
    xt: Any
    y: Any
    yt: Any
    acc: Any
    drain: Any


class WeightsStay(NamedTuple):
    """Registers of a weight stationary array of R x C PEs.

    ``x``: (2, R, C) operands that move right; ``xt`` their tags (token + 1, 0 for none); ``w,
    shadow``: (R, C) operands in use and being loaded; ``ps``: (2, R, C) sums that move down.
    """

    x: Any
    xt: Any
    w: Any
    shadow: Any
    ps: Any


class Fold(NamedTuple):
    """A fold of a product on the array, in one clock.

    ``first_row, first_column``: what the first used PE stands for; ``rows, columns``: used PEs,
    from row ``top`` of the array on; ``now, before``: planes of the registers that move.
    """

    first_row: int
    first_column: int
    rows: int
    columns: int
    top: int
    now: int
    before: int


@compiled
def _fold(index, row_folds, rows_of_array, columns_of_array, row_extent, column_extent, clock):
    """Return where fold ``index`` lies, row folds first; its rows at the array's top."""
    i0 = index % row_folds * rows_of_array
    j0 = index // row_folds * columns_of_array
    rows, columns = min(rows_of_array, row_extent - i0), min(columns_of_array, column_extent - j0)
    return Fold(i0, j0, rows, columns, 0, clock & 1, 1 - (clock & 1))


@compiled
def emit(events, count, clock, kind, row, col, first, second):
    """Append one event row and return the new count."""
    events[count, 0] = clock
    events[count, 1] = kind
    events[count, 2] = row
    events[count, 3] = col
    events[count, 4] = first
    events[count, 5] = second
    return count + 1


@compiled
def _move_right(x, tag, fold):
    """Every operand of the used PEs goes one PE to the right."""
    for i in range(fold.rows):
        for j in range(1, fold.columns):
            x[fold.now, i, j] = x[fold.before, i, j - 1]
            tag[fold.now, i, j] = tag[fold.before, i, j - 1]


@compiled
def _feed_rows(a, x, tag, fold, row_is_first, ctl, count, events, detail):
    """Enter operand ``ctl[FEED] - i`` of each row at the left edge, a bubble outside its range.

    ``row_is_first``: rows index the first axis of ``a`` (output stationary), else the second.
    """
    length = a.shape[1] if row_is_first else a.shape[0]
    for i in range(fold.rows):
        t = ctl[FEED] - i
        if 0 <= t < length:
            row = fold.first_row + i
            first, second = (row, t) if row_is_first else (t, row)
            x[fold.now, i, 0] = a[first, second]
            tag[fold.now, i, 0] = t + 1
            ctl[READS_STREAM] += 1
            if detail:
                count = emit(events, count, ctl[CLOCK], READ_A, fold.top + i, 0, first, second)
        else:
            x[fold.now, i, 0] = 0
            tag[fold.now, i, 0] = 0
    return count


@compiled
def add_product(total, x, w, whole, floating):
    """One PE update. What is None is left out when the kernel is compiled."""
    if whole is not None:
        return fit(total + x * w, whole[0], whole[1])
    if floating is not None:
        return add_float_product(total, x, w, floating)
    return total + x * w


@compiled
def add_sums(total, part, whole, floating):
    """Add two sums in the format of the PE's accumulator, as the array's edge does."""
    if whole is not None:
        return fit(total + part, whole[0], whole[1])
    if floating is not None:
        return round_to(add_to_odd(total, part), floating[2], floating[3])
    return total + part


@compiled
def _multiply_in_place(x, xt, y, yt, acc, mac, fold):
    """Each PE adds the product of the operands it holds; return (products, tag mismatches)."""
    now = fold.now
    fired = 0
    mismatch = 0
    for i in range(fold.rows):
        for j in range(fold.columns):
            acc[i, j] = add_product(acc[i, j], x[now, i, j], y[now, i, j], mac[0], mac[1])
            fired += xt[now, i, j] != 0
            mismatch += xt[now, i, j] != yt[now, i, j]
    return fired, mismatch


@compiled
def _emit_macs(tag, fold, ctl, count, events):
    """One event for every PE that holds an operand."""
    for i in range(fold.rows):
        for j in range(fold.columns):
            if tag[fold.now, i, j] != 0:
                count = emit(events, count, ctl[CLOCK], MAC, fold.top + i, j,
                             fold.first_row + i, fold.first_column + j)  # fmt: skip
    return count


@compiled
def _feed_columns(b, y, yt, fold, ctl, count, events, detail):
    """Move the second operand one PE down and enter that of each column at the top."""
    now, before = fold.now, fold.before
    for i in range(1, fold.rows):
        for j in range(fold.columns):
            y[now, i, j] = y[before, i - 1, j]
            yt[now, i, j] = yt[before, i - 1, j]
    for j in range(fold.columns):
        t = ctl[FEED] - j
        if 0 <= t < b.shape[0]:
            column = fold.first_column + j
            y[now, 0, j] = b[t, column]
            yt[now, 0, j] = t + 1
            ctl[READS_FIXED] += 1
            if detail:
                count = emit(events, count, ctl[CLOCK], READ_B, 0, j, t, column)
        else:
            y[now, 0, j] = 0
            yt[now, 0, j] = 0
    return count


@compiled
def _drain_row(drain, out, fold, ctl, count, events, detail):
    """Shift the results one row up; the top row leaves the array."""
    i, j0 = fold.first_row + fold.rows - ctl[LEFT], fold.first_column
    for j in range(fold.columns):
        out[i, j0 + j] = drain[0, j]
        ctl[WRITES] += 1
        if detail:
            count = emit(events, count, ctl[CLOCK], WRITE, 0, j, i, j0 + j)
    for p in range(fold.rows - 1):
        for j in range(fold.columns):
            drain[p, j] = drain[p + 1, j]
    if detail == PES:
        for p in range(ctl[LEFT]):
            for j in range(fold.columns):
                count = emit(events, count, ctl[CLOCK], SHIFT_DRAIN, p, j, i + p, j0 + j)
    ctl[LEFT] -= 1
    return count


@compiled
def advance_output_stationary(op, state, mac, ctl, events, detail, register):
    """Run output stationary clocks until done or the event buffer might overflow.

    Parameters
    ----------
    op : Operands
    state : SumsStay
    mac : `pe.Arithmetic` as a plain tuple
    ctl : (CONTROL_SLOTS,) int64 array
    events : (E, 6) int64 array; detail : 0 none, 1 edges, 2 every PE
    register : the drain register is there

    Returns
    -------
    int : events written
    """
    a, b, out = op
    x, xt, y, yt, acc, drain = state
    (R, C), (m, n) = acc.shape, out.shape
    row_folds = -(-m // R)
    folds = row_folds * -(-n // C)
    per_clock = 3 * (R + 1) * (C + 1)
    count = 0
    while count + per_clock <= events.shape[0]:
        if ctl[FOLD] == folds and ctl[LEFT] == 0:
            ctl[DONE_ALL] = 1
            break
        draining = ctl[LEFT] > 0
        if draining:
            leaving = _fold(ctl[BUSY_FOLD], row_folds, R, C, m, n, ctl[CLOCK])
            count = _drain_row(drain, out, leaving, ctl, count, events, detail)
        if ctl[FOLD] < folds and not ctl[ACTIVE] and (register or not draining):
            fold = _fold(ctl[FOLD], row_folds, R, C, m, n, ctl[CLOCK])
            _move_right(x, xt, fold)
            count = _feed_rows(a, x, xt, fold, True, ctl, count, events, detail)
            count = _feed_columns(b, y, yt, fold, ctl, count, events, detail)
            fired, mismatch = _multiply_in_place(x, xt, y, yt, acc, mac, fold)
            if detail == PES:
                count = _emit_macs(xt, fold, ctl, count, events)
            _count_clock(ctl, fired, fold)
            ctl[DONE] += fired
            ctl[MISMATCH] += mismatch
            ctl[ACTIVE] = ctl[DONE] == fold.rows * fold.columns * a.shape[1]  # waits for the drain
        elif draining:
            ctl[EXPOSED] += 1
        if ctl[ACTIVE] and ctl[LEFT] == 0:
            _hand_to_drain(state, ctl, min(R, m - ctl[FOLD] % row_folds * R))
        ctl[CLOCK] += 1
    return count


@compiled
def _count_clock(ctl, fired, fold):
    """Count the products and PE updates of a clock in which a fold streams."""
    ctl[FEED] += 1
    ctl[MACS] += fired
    ctl[UPDATES] += fold.rows * fold.columns


@compiled
def _hand_to_drain(state, ctl, rows):
    """At the clock edge: results to the drain, accumulators and operands cleared."""
    state.drain[:] = state.acc
    state.acc[:] = 0
    state.xt[:] = 0
    state.yt[:] = 0
    state.x[:] = 0
    state.y[:] = 0
    ctl[LEFT] = rows
    ctl[BUSY_FOLD] = ctl[FOLD]
    ctl[FOLD] += 1
    ctl[FEED] = 0
    ctl[DONE] = 0
    ctl[ACTIVE] = 0


@compiled
def _at_bottom(fold, rows_of_array):
    """Return the fold with its used rows against the bottom edge."""
    top = rows_of_array - fold.rows
    return Fold(fold.first_row, fold.first_column, fold.rows, fold.columns, top, fold.now,
                fold.before)  # fmt: skip


@compiled
def _load_row(b, shadow, fold, ctl, count, events, detail):
    """Shift the waiting operands one row up; the next row enters over the bottom edge."""
    rows, j0 = fold.rows, fold.first_column
    for i in range(rows - 1):
        for j in range(fold.columns):
            shadow[i, j] = shadow[i + 1, j]
    k = fold.first_row + ctl[LEFT]
    for j in range(fold.columns):
        shadow[rows - 1, j] = b[k, j0 + j]
        ctl[READS_FIXED] += 1
        if detail:
            count = emit(events, count, ctl[CLOCK], READ_B, fold.top + rows - 1, j, k, j0 + j)
    ctl[LEFT] += 1
    if detail == PES:
        for i in range(rows - ctl[LEFT], rows):
            for j in range(fold.columns):
                held = fold.first_row + i - rows + ctl[LEFT]
                count = emit(events, count, ctl[CLOCK], SHIFT_LOAD, fold.top + i, j, held, j0 + j)
    return count


@compiled
def _add_down(x, w, ps, mac, fold):
    """Each PE adds its product to the sum from the PE above; the top row starts from zero."""
    now, before = fold.now, fold.before
    zero = ps.dtype.type(0)
    for j in range(fold.columns):
        ps[now, 0, j] = add_product(zero, x[now, 0, j], w[0, j], mac[0], mac[1])
    for i in range(1, fold.rows):
        for j in range(fold.columns):
            above = ps[before, i - 1, j]
            ps[now, i, j] = add_product(above, x[now, i, j], w[i, j], mac[0], mac[1])


@compiled
def _collect(out, xt, ps, mac, fold, crossing, ctl, count, events, detail):
    """Let the sums at the bottom row leave the array and join the output.

    ``crossing``: partial sums are read over the array's edge, sums are written over it.
    """
    read, write = crossing
    last, bottom = fold.rows - 1, fold.top + fold.rows - 1
    for j in range(fold.columns):
        t = xt[fold.now, last, j] - 1
        column = fold.first_column + j
        if t >= 0:
            left = ps[fold.now, last, j]
            if fold.first_row == 0:
                out[t, column] = left
            else:
                out[t, column] = add_sums(out[t, column], left, mac[0], mac[1])
                ctl[READS_BACK] += read
                if detail and read:
                    count = emit(events, count, ctl[CLOCK], READ_PARTIAL, bottom, j, t, column)
            ctl[WRITES] += write
            ctl[DONE] += 1
            if detail and write:
                count = emit(events, count, ctl[CLOCK], WRITE, bottom, j, t, column)
    return count


@compiled
def _count_tags(xt, fold):
    """PEs that hold an operand in this clock."""
    fired = 0
    for i in range(fold.rows):
        for j in range(fold.columns):
            fired += xt[fold.now, i, j] != 0
    return fired


@compiled
def _start_fold(state, ctl):
    """At the clock edge: the loaded operands come into use, everything that moves is cleared."""
    state.w[:] = state.shadow
    state.x[:] = 0
    state.xt[:] = 0
    state.ps[:] = 0
    ctl[BUSY_FOLD] = ctl[FOLD]
    ctl[FOLD] += 1
    ctl[LEFT] = 0
    ctl[FEED] = 0
    ctl[DONE] = 0
    ctl[ACTIVE] = 1


@compiled
def advance_stationary(op, state, mac, ctl, events, detail, double_buffered, kept):
    """Run weight stationary clocks until done or the event buffer might overflow.

    Used rows lie against the bottom edge, where operands are loaded and sums leave.

    Parameters
    ----------
    op : Operands
    state : WeightsStay
    mac, ctl, events, detail : as in `advance_output_stationary`
    double_buffered : loading goes on beside the fold before
    kept : partial sums stay in a buffer at the array's edge until the last row fold

    Returns
    -------
    int : events written
    """
    a, b, out = op
    x, xt, w, shadow, ps = state
    (R, C), (m, k), n = w.shape, a.shape, b.shape[1]
    row_folds = -(-k // R)
    folds = row_folds * -(-n // C)
    per_clock = 3 * (R + 1) * (C + 1)
    count = 0
    # FOLD: fold being loaded; LEFT: rows loaded; BUSY_FOLD: fold streaming; ACTIVE: it streams
    while count + per_clock <= events.shape[0]:
        streaming = ctl[ACTIVE] == 1
        if ctl[FOLD] == folds and not streaming:
            ctl[DONE_ALL] = 1
            break
        loading = _at_bottom(_fold(ctl[FOLD], row_folds, R, C, k, n, ctl[CLOCK]), R)
        room = double_buffered or not streaming
        if ctl[FOLD] < folds and ctl[LEFT] < loading.rows and room:
            count = _load_row(b, shadow, loading, ctl, count, events, detail)
        if streaming:
            fold = _at_bottom(_fold(ctl[BUSY_FOLD], row_folds, R, C, k, n, ctl[CLOCK]), R)
            _move_right(x, xt, fold)
            count = _feed_rows(a, x, xt, fold, False, ctl, count, events, detail)
            _add_down(x, w, ps, mac, fold)
            if detail == PES:
                count = _emit_macs(xt, fold, ctl, count, events)
            _count_clock(ctl, _count_tags(xt, fold), fold)
            crossing = not kept, not kept or fold.first_row + fold.rows == k
            count = _collect(out, xt, ps, mac, fold, crossing, ctl, count, events, detail)
            ctl[ACTIVE] = ctl[DONE] < m * fold.columns
        else:
            ctl[EXPOSED] += 1
        if not ctl[ACTIVE] and ctl[FOLD] < folds and ctl[LEFT] == loading.rows:
            _start_fold(state, ctl)
        ctl[CLOCK] += 1
    return count
