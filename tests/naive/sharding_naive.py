"""Who holds which element of a model's matrices, element ranges written out, chip by chip."""

from collections import Counter


def ranges(total, parts):
    """Return the ranges of parts as equal as can be, the first ones larger."""
    out, start = [], 0
    for i in range(parts):
        size = total // parts + (i < total % parts)
        out.append(range(start, start + size))
        start += size
    return out


def heads_of(heads, kv_heads, chips):
    """Return of each chip its query heads and its key/value heads, as sets of their numbers."""
    group = heads // kv_heads
    if chips <= kv_heads:
        return [
            ({h for kv in mine for h in range(kv * group, (kv + 1) * group)}, set(mine))
            for mine in ranges(kv_heads, chips)
        ]
    out = []
    sharing = sorted(len(each) for each in ranges(chips, kv_heads))
    for kv, n in enumerate(sharing):
        for mine in ranges(group, n):
            out.append(({kv * group + h for h in mine}, {kv}))
    return out


def dense_holdings(hidden, heads, kv_heads, head_dim, inner, words, chips):
    """Return of each chip the elements of each matrix that it holds, as (row, column) pairs."""
    out = []
    for c, (q, kv) in enumerate(heads_of(heads, kv_heads, chips)):
        rows_q = [h * head_dim + d for h in q for d in range(head_dim)]
        rows_kv = [h * head_dim + d for h in kv for d in range(head_dim)]
        mine, table = ranges(inner, chips)[c], ranges(words, chips)[c]
        every = range(hidden)
        out.append(
            {
                "q_proj": {(r, k) for r in rows_q for k in every},
                "k_proj": {(r, k) for r in rows_kv for k in every},
                "v_proj": {(r, k) for r in rows_kv for k in every},
                "o_proj": {(n, k) for n in every for k in rows_q},
                "gate_proj": {(r, k) for r in mine for k in every},
                "up_proj": {(r, k) for r in mine for k in every},
                "down_proj": {(n, k) for n in every for k in mine},
                "words": {(r, k) for r in table for k in every},
                "lm_head": {(r, k) for r in table for k in every},
            }
        )
    return out


def stored(holdings):
    """Return the elements that all chips store, and those that they store at least once."""
    total, once = Counter(), Counter()
    for name in holdings[0]:
        total[name] = sum(len(each[name]) for each in holdings)
        once[name] = len(set().union(*(each[name] for each in holdings)))
    return total, once
