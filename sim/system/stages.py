"""Stages and the links between them, through which micro-batches go one after the other."""

from collections.abc import Sequence
from itertools import accumulate

Batches = Sequence[tuple[int, Sequence[int]]]
"""Micro-batches in their order: how many are alike, and the clocks of each machine for one."""


def makespan(batches: Batches) -> int:
    """Return the clocks until the last micro-batch has left the last machine.

    A machine (stage or link) takes a micro-batch when the machine before is done with it, and the
    one before it has left: a flow shop. Its time is that of the longest path, which goes through
    all machines and all micro-batches; of n alike it crosses all machines once, and n - 1 more
    times the slowest of those that it passes with them.

    Examples
    --------
    >>> makespan([(4, (10, 10, 10))])  # (stages + micro-batches - 1) clocks of a stage
    60
    """
    before: list[int] | None = None
    for count, clocks in batches:
        found = [0] * len(clocks)
        for start in range(len(clocks)):
            if before is None and start:
                break
            earlier = 0 if before is None else before[start]
            slowest = accumulate(clocks[start:], max)
            crossed = accumulate(clocks[start:])
            for end, (most, total) in enumerate(zip(slowest, crossed, strict=True), start):
                found[end] = max(found[end], earlier + total + (count - 1) * most)
        before = found
    return 0 if before is None else before[-1]


def interval(batches: Batches, return_cycles: int | None = None) -> int:
    """Return the clocks from one step's start to the next one's, machines kept as busy as can be.

    Parameters
    ----------
    batches : sequence of (int, sequence of int)
        One step's.
    return_cycles : int, optional
        Clocks until what the last stage made of a micro-batch is back at the first one, where the
        next step needs it (generation); None where steps are independent.
    """
    busiest = max(
        sum(count * clocks[i] for count, clocks in batches) for i in range(len(batches[0][1]))
    )
    if return_cycles is None:
        return busiest
    return max(busiest, *(sum(clocks) + return_cycles for _, clocks in batches))
