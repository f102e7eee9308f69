"""Which experts tokens visit: how many of them a pass uses, and how many rows each gets."""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from math import lcm

Spread = tuple[tuple[int, int], ...]
"""Rows of an expert, and how many experts get so many; the most rows first."""


def experts_in_use(experts: int, active: int, tokens: int) -> int:
    """Return how many experts ``tokens`` tokens reach, each of which visits ``active`` of them.

    The mean over uniform, independent routing, E (1 - (1 - k/E)^t), rounded: at least k and at
    most E and the t k visits, which errors of floats must not pass.
    """
    mean = experts * (1 - (1 - active / experts) ** tokens)
    return min(round(mean), tokens * active)


def even_spread(experts: int, active: int, tokens: int, idle: int = 0) -> Spread:
    """Return the spread of uniform routing: visits fall on the experts in use as evenly as they go.

    Parameters
    ----------
    experts : int
    active : int
        Experts that a token visits.
    tokens : int
    idle : int
        Experts beside these that do nothing: their share of the visits, rounded, is no work.

    Examples
    --------
    >>> even_spread(8, 2, 5)
    ((2, 4), (1, 2))
    >>> even_spread(8, 2, 5, idle=8)
    ((2, 1), (1, 3))
    """
    visits = round(Fraction(tokens * active * experts, experts + idle))
    if not visits:
        return ()
    busy = min(experts_in_use(experts, active, tokens), visits)
    if idle:
        reached = 1 - (1 - active / (experts + idle)) ** tokens
        busy = min(max(1, round(experts * reached)), visits)
    rows, more = divmod(visits, busy)
    return tuple(each for each in ((rows + 1, more), (rows, busy - more)) if all(each))


def chances(loads: Sequence[int], active: int) -> tuple[Fraction, ...]:
    """Return the chances with which a token visits each expert: as its load, but at most 1.

    A token visits ``active`` experts, so the chances sum to that; what an expert cannot take, as
    no token visits it twice, falls on the others in proportion to theirs.

    Examples
    --------
    >>> chances([3, 1, 1, 1], 2) == (1, *[Fraction(1, 3)] * 3)
    True
    """
    certain: set[int] = set()
    while True:
        left = sum(load for i, load in enumerate(loads) if i not in certain)
        share = Fraction(active - len(certain), left) if left else Fraction(0)
        over = {i for i, load in enumerate(loads) if i not in certain and load * share > 1}
        if not over:
            break
        certain |= over
    return tuple(Fraction(1) if i in certain else load * share for i, load in enumerate(loads))


def spread_of(loads: Sequence[int], active: int, tokens: int) -> Spread:
    """Return the spread of routing by loads, of independent tokens.

    With chances p (`chances`), t tokens reach an expert with 1 - (1 - p)^t; the sum over experts,
    rounded, is how many are in use: those of the greatest loads. Their t k visits are spread in
    proportion to p, at most one a token and at least one each. Equal loads are the even spread.

    Parameters
    ----------
    loads : sequence of int
        Of each expert, relative to the others': visits counted, say.
    active : int
        Experts that a token visits.
    tokens : int

    Examples
    --------
    >>> spread_of([1] * 8, 2, 5) == even_spread(8, 2, 5)
    True
    >>> spread_of([6, 3, 2, 1], 1, 12)
    ((6, 1), (3, 1), (2, 1), (1, 1))
    """
    rows = [n for n in rows_of(loads, active, tokens) if n]
    return tuple(sorted(Counter(rows).items(), reverse=True))


def rows_of(loads: Sequence[int], active: int, tokens: int) -> list[int]:
    """Return the rows that each expert gets, in the order of the loads (`spread_of`).

    Parameters
    ----------
    loads : sequence of int
        Of each expert, relative to the others': visits counted, say.
    active : int
        Experts that a token visits.
    tokens : int

    Examples
    --------
    >>> rows_of([1, 6, 2, 3], 1, 12)
    [1, 6, 2, 3]
    """
    chance = chances(loads, active)
    order = sorted(range(len(loads)), key=lambda i: (-chance[i], i))
    mean = sum(1 - (1 - float(chance[i])) ** tokens for i in order)
    most = min(sum(p > 0 for p in chance), tokens * active)
    busy = order[: max(active, min(round(mean), most))]
    scale = lcm(*(chance[i].denominator for i in busy))
    found = _shares([int(chance[i] * scale) for i in busy], tokens * active, tokens)
    rows = [0] * len(loads)
    for i, n in zip(busy, found, strict=True):
        rows[i] = n
    return rows


def _shares(weights: Sequence[int], visits: int, most: int) -> list[int]:
    """Return visits in proportion to weights, 1 to ``most`` each; remainders go to the greatest."""
    rows, total = [1] * len(weights), sum(weights)
    left = visits - len(weights)
    while left:
        free = [i for i, n in enumerate(rows) if n < most]
        due = {i: max(0, visits * weights[i] - rows[i] * total) for i in free}
        parts = due if any(due.values()) else {i: weights[i] for i in free}
        whole = sum(parts.values())
        given = {i: min(left * part // whole, most - rows[i]) for i, part in parts.items()}
        if not any(given.values()):
            first = sorted(parts, key=lambda i: (-parts[i], i))[:left]
            given = dict.fromkeys(first, 1)
        for i, n in given.items():
            rows[i] += n
        left -= sum(given.values())
    return rows
