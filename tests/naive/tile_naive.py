"""Bit-serial tile arrays by sets and plain loops. Shares no code with the package."""


def stream_clocks(slots, lanes, scope, columns, skip):
    """Clocks of one group.

    ``slots[i][j][x]`` is the set of terms that PE (i, j) must do for its weight x; ``columns``
    the PEs of a row, ``skip`` the terms to do for every weight when nothing is skipped.
    """
    rows, length = len(slots), len(slots[0][0])
    chunks = range(0, length, lanes)
    if skip is not None:
        return len(chunks) * skip

    def of_pe(i, j, start):
        union = set()
        for x in range(start, min(start + lanes, length)):
            union |= slots[i][j][x]
        return union

    def of_row(i, start):
        union = set()
        for j in range(columns):
            union |= of_pe(i, j, start)
        return max(1, len(union))

    if scope == "lane":
        longest = 0
        for i in range(rows):
            for j in range(columns):
                for lane in range(lanes):
                    clocks = 0
                    for start in chunks:
                        at = start + lane
                        clocks += max(1, len(slots[i][j][at]) if at < length else 0)
                    longest = max(longest, clocks)
        return longest
    if scope == "row":
        return max(sum(of_row(i, s) for s in chunks) for i in range(rows))
    if scope == "column":
        return max(
            sum(max(max(1, len(of_pe(i, j, s))) for i in range(rows)) for s in chunks)
            for j in range(columns)
        )
    return sum(max(of_row(i, s) for i in range(rows)) for s in chunks)


def tile_array(acts, terms, R, C, lanes, size, unit, depth, gap, register, skip, skip_zero, scope):
    """Return the clocks of the whole product, advancing one clock at a time.

    acts: M rows of K numbers; terms: N rows of K sets of terms; ``skip`` None when terms are
    skipped, else the terms of every weight.
    """
    m, n, k = len(acts), len(terms), len(acts[0])
    work = []  # one entry per group: (clocks, rows to drain afterwards or 0)
    for j0 in range(0, m, C):
        for i0 in range(0, n, R):
            rows, columns = min(R, n - i0), min(C, m - j0)
            for g0 in range(0, k, size):
                span = range(g0, min(g0 + size, k))
                slots = [
                    [
                        [
                            terms[i0 + i][x] if acts[j0 + j][x] != 0 or not skip_zero else set()
                            for x in span
                        ]
                        for j in range(columns)
                    ]
                    for i in range(rows)
                ]
                clocks = stream_clocks(slots, lanes, scope, columns, skip)
                work.append((clocks, rows if g0 + size >= k else 0))
    return play(work, unit, depth, gap, register)


def play(work, unit, depth, gap, register=True):
    """Return the clocks of a list of groups, one after the other.

    work: (clocks of the group, rows to drain afterwards or 0).
    """
    issue = []  # what enters in each unhindered clock: None, or the group that ends there
    for number, (clocks, _) in enumerate(work):
        issue += [None] * (clocks - 1) + [number] + [None] * gap
    issue += [None] * depth
    clock = step = 0
    unit_busy_until = drain_busy_until = 0
    ends = issue[:]
    while any(e is not None for e in ends[max(0, step - depth) :]):
        leaving = ends[step - depth] if step >= depth else None
        if leaving is not None:
            if unit_busy_until > clock + 1:
                clock += 1
                continue
            done = clock + 1 + unit
            if work[leaving][1]:
                done = max(done, drain_busy_until)
                drain_busy_until = done + work[leaving][1]
                done = done if register else drain_busy_until
            unit_busy_until = done
        clock += 1
        step += 1
        if step >= len(ends) + depth:
            break
    return drain_busy_until


def dot(acts, weights):
    """Exact sum of products of integers."""
    return sum(int(a) * int(w) for a, w in zip(acts, weights, strict=True))
