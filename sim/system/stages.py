"""Stages and the links between them, through which micro-batches go one after the other."""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

Batches = Sequence[tuple[int, Sequence[int]]]
"""Micro-batches in their order: how many are alike, and the clocks of each machine for one."""


class StageClocks(NamedTuple):
    """Clocks of a stage for a micro-batch: computing, exchanging within it, sending to the next.

    ``exchange_bits``, ``send_bits``: what one group of its chips sends over links meanwhile.
    """

    compute: int
    exchange: int
    send: int
    exchange_bits: int = 0
    send_bits: int = 0


Schedule = Sequence[tuple[int, Sequence[StageClocks]]]
"""Micro-batches in their order: how many are alike, and what each stage does for one."""


def machines(schedule: Schedule) -> Batches:
    """Return the clocks of stages, and of the links between them, in their order.

    Examples
    --------
    >>> machines([(4, (StageClocks(10, 2, 3), StageClocks(11, 2, 0)))])
    ((4, (12, 3, 13)),)
    """
    return tuple(
        (
            count,
            tuple(
                clocks for each in stages for clocks in (each.compute + each.exchange, each.send)
            )[:-1],
        )
        for count, stages in schedule
    )


def starts(batches: Batches) -> Iterator[tuple[int, ...]]:
    """Yield for each micro-batch, one by one, the clock at which each machine takes it.

    Parameters
    ----------
    batches : sequence of (int, sequence of int)

    Examples
    --------
    >>> list(starts([(2, (10, 3, 12))]))
    [(0, 10, 13), (10, 20, 25)]
    """
    free = [0] * len(batches[0][1])
    for count, clocks in batches:
        for _ in range(count):
            there, found = 0, []
            for i, cycles in enumerate(clocks):
                found.append(max(there, free[i]))
                there = free[i] = found[-1] + cycles
            yield tuple(found)


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
