"""The systolic machines, one clock at a time. Imported on use: this module brings numba.

Both kernels are resumable: all state lives in the arrays handed in, so that a long run can
stop whenever its event buffer is full, be written to disk, and go on. Two planes of every
register that moves hold the clock before and the present one.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

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
def _move_right(x, tag, now, before, rows, columns):
    """Every operand of the used PEs goes one PE to the right."""
    for i in range(rows):
        for j in range(1, columns):
            x[now, i, j] = x[before, i, j - 1]
            tag[now, i, j] = tag[before, i, j - 1]


@compiled
def _feed_rows(a, x, tag, now, feed, i0, t0, rows, row_is_first, count, events, ctl, detail, top):
    """Enter operand ``feed - i`` of each row at the left edge, a bubble outside its range.

    ``row_is_first``: rows index the first axis of ``a`` (output stationary), else the second.
    """
    length = a.shape[1] if row_is_first else a.shape[0]
    for i in range(rows):
        t = feed - i
        if 0 <= t < length:
            first, second = (i0 + i, t0 + t) if row_is_first else (t0 + t, i0 + i)
            x[now, i, 0] = a[first, second]
            tag[now, i, 0] = t + 1
            ctl[READS_STREAM] += 1
            if detail:
                count = emit(events, count, ctl[CLOCK], READ_A, top + i, 0, first, second)
        else:
            x[now, i, 0] = 0
            tag[now, i, 0] = 0
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
def _multiply_in_place(x, xt, y, yt, acc, mac, now, rows, columns):
    """Each PE adds the product of the operands it holds; return (products, tag mismatches)."""
    fired = 0
    mismatch = 0
    for i in range(rows):
        for j in range(columns):
            acc[i, j] = add_product(acc[i, j], x[now, i, j], y[now, i, j], mac[0], mac[1])
            fired += xt[now, i, j] != 0
            mismatch += xt[now, i, j] != yt[now, i, j]
    return fired, mismatch


@compiled
def _emit_macs(events, count, ctl, tag, now, rows, columns, top, i0, j0):
    """One event for every PE that holds an operand."""
    for i in range(rows):
        for j in range(columns):
            if tag[now, i, j] != 0:
                count = emit(events, count, ctl[CLOCK], MAC, top + i, j, i0 + i, j0 + j)
    return count


@compiled
def _feed_columns(b, y, yt, now, before, feed, j0, rows, columns, count, events, ctl, detail):
    """Move the second operand one PE down and enter ``feed - j`` of each column at the top."""
    for i in range(1, rows):
        for j in range(columns):
            y[now, i, j] = y[before, i - 1, j]
            yt[now, i, j] = yt[before, i - 1, j]
    for j in range(columns):
        t = feed - j
        if 0 <= t < b.shape[0]:
            y[now, 0, j] = b[t, j0 + j]
            yt[now, 0, j] = t + 1
            ctl[READS_FIXED] += 1
            if detail:
                count = emit(events, count, ctl[CLOCK], READ_B, 0, j, t, j0 + j)
        else:
            y[now, 0, j] = 0
            yt[now, 0, j] = 0
    return count


@compiled
def _drain_row(drain, out, ctl, rows_of_array, columns_of_array, count, events, detail):
    """Shift the results one row up; the top row leaves the array."""
    row_folds = -(-out.shape[0] // rows_of_array)
    i0 = ctl[BUSY_FOLD] % row_folds * rows_of_array
    j0 = ctl[BUSY_FOLD] // row_folds * columns_of_array
    rows = min(rows_of_array, out.shape[0] - i0)
    columns = min(columns_of_array, out.shape[1] - j0)
    i = i0 + rows - ctl[LEFT]
    for j in range(columns):
        out[i, j0 + j] = drain[0, j]
        ctl[WRITES] += 1
        if detail:
            count = emit(events, count, ctl[CLOCK], WRITE, 0, j, i, j0 + j)
    for p in range(rows - 1):
        for j in range(columns):
            drain[p, j] = drain[p + 1, j]
    if detail == PES:
        for p in range(ctl[LEFT]):
            for j in range(columns):
                count = emit(events, count, ctl[CLOCK], SHIFT_DRAIN, p, j, i + p, j0 + j)
    ctl[LEFT] -= 1
    return count


@compiled
def _stream_outputs(a, b, x, xt, y, yt, acc, mac, ctl, row_folds, count, events, detail):
    """One clock of an output stationary fold: operands move and enter, every PE adds a product."""
    i0 = ctl[FOLD] % row_folds * acc.shape[0]
    j0 = ctl[FOLD] // row_folds * acc.shape[1]
    rows = min(acc.shape[0], a.shape[0] - i0)
    columns = min(acc.shape[1], b.shape[1] - j0)
    now = ctl[CLOCK] & 1
    before = 1 - now
    feed = ctl[FEED]
    _move_right(x, xt, now, before, rows, columns)
    count = _feed_rows(a, x, xt, now, feed, i0, 0, rows, True, count, events, ctl, detail, 0)
    count = _feed_columns(
        b, y, yt, now, before, feed, j0, rows, columns, count, events, ctl, detail
    )
    fired, mismatch = _multiply_in_place(x, xt, y, yt, acc, mac, now, rows, columns)
    if detail == PES:
        count = _emit_macs(events, count, ctl, xt, now, rows, columns, 0, i0, j0)
    ctl[FEED] += 1
    ctl[DONE] += fired
    ctl[MACS] += fired
    ctl[MISMATCH] += mismatch
    ctl[UPDATES] += rows * columns
    if ctl[DONE] == rows * columns * a.shape[1]:
        ctl[ACTIVE] = 1  # complete: waits for the drain to be free
    return count


@compiled
def advance_output_stationary(
    a, b, out, x, xt, y, yt, acc, drain, mac, ctl, events, detail, register
):
    """Run output stationary clocks until done or the event buffer might overflow.

    Parameters
    ----------
    a : (M, K) array, b : (K, N) array, out : (M, N) array
    x, y : (2, R, C) arrays of operands moving right and down; xt, yt their tags (t + 1, 0 none)
    acc, drain : (R, C) arrays
    mac : `systolic_pe.Arithmetic` as a plain tuple
    ctl : (CONTROL_SLOTS,) int64 array
    events : (E, 6) int64 array; detail : 0 none, 1 edges, 2 every PE
    register : the drain register is there

    Returns
    -------
    int : events written
    """
    R, C = acc.shape
    row_folds = -(-a.shape[0] // R)
    folds = row_folds * -(-b.shape[1] // C)
    per_clock = 3 * (R + 1) * (C + 1)
    count = 0
    while count + per_clock <= events.shape[0]:
        if ctl[FOLD] == folds and ctl[LEFT] == 0:
            ctl[DONE_ALL] = 1
            break
        draining = ctl[LEFT] > 0
        if draining:
            count = _drain_row(drain, out, ctl, R, C, count, events, detail)
        streaming = ctl[FOLD] < folds and not ctl[ACTIVE] and (register or not draining)
        if streaming:
            count = _stream_outputs(
                a, b, x, xt, y, yt, acc, mac, ctl, row_folds, count, events, detail
            )
        elif draining:
            ctl[EXPOSED] += 1
        if ctl[ACTIVE] and ctl[LEFT] == 0:
            _hand_to_drain(acc, drain, xt, yt, x, y, ctl, row_folds, R, a.shape[0])
        ctl[CLOCK] += 1
    return count


@compiled
def _hand_to_drain(acc, drain, xt, yt, x, y, ctl, row_folds, rows_of_array, m):
    """At the clock edge: results to the drain, accumulators and operands cleared."""
    drain[:] = acc
    acc[:] = 0
    xt[:] = 0
    yt[:] = 0
    x[:] = 0
    y[:] = 0
    ctl[LEFT] = min(rows_of_array, m - ctl[FOLD] % row_folds * rows_of_array)
    ctl[BUSY_FOLD] = ctl[FOLD]
    ctl[FOLD] += 1
    ctl[FEED] = 0
    ctl[DONE] = 0
    ctl[ACTIVE] = 0


@compiled
def _load_row(b, shadow, ctl, rows, columns, k0, j0, top, count, events, detail):
    """Shift the waiting operands one row up; the next row enters over the bottom edge."""
    for i in range(rows - 1):
        for j in range(columns):
            shadow[i, j] = shadow[i + 1, j]
    k = k0 + ctl[LEFT]
    for j in range(columns):
        shadow[rows - 1, j] = b[k, j0 + j]
        ctl[READS_FIXED] += 1
        if detail:
            count = emit(events, count, ctl[CLOCK], READ_B, top + rows - 1, j, k, j0 + j)
    ctl[LEFT] += 1
    if detail == PES:
        for i in range(rows - ctl[LEFT], rows):
            for j in range(columns):
                held = k0 + i - rows + ctl[LEFT]
                count = emit(events, count, ctl[CLOCK], SHIFT_LOAD, top + i, j, held, j0 + j)
    return count


@compiled
def _add_down(x, w, ps, mac, now, before, rows, columns):
    """Each PE adds its product to the sum from the PE above; the top row starts from zero."""
    zero = ps.dtype.type(0)
    for j in range(columns):
        ps[now, 0, j] = add_product(zero, x[now, 0, j], w[0, j], mac[0], mac[1])
    for i in range(1, rows):
        for j in range(columns):
            above = ps[before, i - 1, j]
            ps[now, i, j] = add_product(above, x[now, i, j], w[i, j], mac[0], mac[1])


@compiled
def _collect(
    out, ps, xt, mac, ctl, now, rows, columns, k0, j0, bottom, crossing, count, events, detail
):
    """Let the sums at the bottom row leave the array and join the output.

    ``crossing``: partial sums are read over the array's edge, sums are written over it.
    """
    read, write = crossing
    for j in range(columns):
        t = xt[now, rows - 1, j] - 1
        if t >= 0:
            if k0 == 0:
                out[t, j0 + j] = ps[now, rows - 1, j]
            else:
                left = ps[now, rows - 1, j]
                out[t, j0 + j] = add_sums(out[t, j0 + j], left, mac[0], mac[1])
                ctl[READS_BACK] += read
                if detail and read:
                    count = emit(events, count, ctl[CLOCK], READ_PARTIAL, bottom, j, t, j0 + j)
            ctl[WRITES] += write
            ctl[DONE] += 1
            if detail and write:
                count = emit(events, count, ctl[CLOCK], WRITE, bottom, j, t, j0 + j)
    return count


@compiled
def _count_tags(xt, now, rows, columns):
    """PEs that hold an operand in this clock."""
    fired = 0
    for i in range(rows):
        for j in range(columns):
            fired += xt[now, i, j] != 0
    return fired


@compiled
def _stream_stationary(a, b, out, x, xt, w, ps, mac, ctl, row_folds, kept, count, events, detail):
    """One clock of a weight stationary fold: inputs move right, sums down and out."""
    R, C = w.shape
    k0 = ctl[BUSY_FOLD] % row_folds * R
    j0 = ctl[BUSY_FOLD] // row_folds * C
    rows = min(R, a.shape[1] - k0)
    columns = min(C, b.shape[1] - j0)
    top = R - rows
    now = ctl[CLOCK] & 1
    before = 1 - now
    feed = ctl[FEED]
    _move_right(x, xt, now, before, rows, columns)
    count = _feed_rows(a, x, xt, now, feed, k0, 0, rows, False, count, events, ctl, detail, top)
    _add_down(x, w, ps, mac, now, before, rows, columns)
    if detail == PES:
        count = _emit_macs(events, count, ctl, xt, now, rows, columns, top, k0, j0)
    ctl[MACS] += _count_tags(xt, now, rows, columns)
    ctl[UPDATES] += rows * columns
    ctl[FEED] += 1
    crossing = not kept, not kept or k0 + rows == a.shape[1]
    count = _collect(
        out, ps, xt, mac, ctl, now, rows, columns, k0, j0, R - 1, crossing, count, events, detail
    )
    if ctl[DONE] == a.shape[0] * columns:
        ctl[ACTIVE] = 0
    return count


@compiled
def _start_fold(x, xt, w, shadow, ps, ctl):
    """At the clock edge: the loaded operands come into use, everything that moves is cleared."""
    w[:] = shadow
    x[:] = 0
    xt[:] = 0
    ps[:] = 0
    ctl[BUSY_FOLD] = ctl[FOLD]
    ctl[FOLD] += 1
    ctl[LEFT] = 0
    ctl[FEED] = 0
    ctl[DONE] = 0
    ctl[ACTIVE] = 1


@compiled
def advance_stationary(
    a, b, out, x, xt, w, shadow, ps, mac, ctl, events, detail, double_buffered, kept
):
    """Run weight stationary clocks until done or the event buffer might overflow.

    Used rows lie against the bottom edge, where operands are loaded and sums leave.

    Parameters
    ----------
    a : (M, K) array, b : (K, N) array, out : (M, N) array
    x : (2, R, C) operands moving right; xt their tags (token + 1, 0 none)
    w, shadow : (R, C) operands in use and being loaded; ps : (2, R, C) sums moving down
    mac, ctl, events, detail : as in `advance_output_stationary`
    double_buffered : loading goes on beside the fold before
    kept : partial sums stay in a buffer at the array's edge until the last row fold

    Returns
    -------
    int : events written
    """
    R, C = w.shape
    row_folds = -(-a.shape[1] // R)
    folds = row_folds * -(-b.shape[1] // C)
    per_clock = 3 * (R + 1) * (C + 1)
    count = 0
    # FOLD: fold being loaded; LEFT: rows loaded; BUSY_FOLD: fold streaming; ACTIVE: it streams
    while count + per_clock <= events.shape[0]:
        if ctl[FOLD] == folds and not ctl[ACTIVE]:
            ctl[DONE_ALL] = 1
            break
        streaming = ctl[ACTIVE] == 1
        k0 = ctl[FOLD] % row_folds * R
        j0 = ctl[FOLD] // row_folds * C
        rows = min(R, a.shape[1] - k0)
        if ctl[FOLD] < folds and ctl[LEFT] < rows and (double_buffered or not streaming):
            columns = min(C, b.shape[1] - j0)
            count = _load_row(
                b, shadow, ctl, rows, columns, k0, j0, R - rows, count, events, detail
            )
        if streaming:
            count = _stream_stationary(
                a, b, out, x, xt, w, ps, mac, ctl, row_folds, kept, count, events, detail
            )
        else:
            ctl[EXPOSED] += 1
        if not ctl[ACTIVE] and ctl[FOLD] < folds and ctl[LEFT] == rows:
            _start_fold(x, xt, w, shadow, ps, ctl)
        ctl[CLOCK] += 1
    return count
