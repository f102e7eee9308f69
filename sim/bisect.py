"""The least DRAM bandwidth that suffices, by bisection."""

import math
from collections.abc import Callable

MOST_BITS_PER_CLOCK = 2**40
"""A transfer of any size takes a clock."""


def least_bits_per_clock(suffices: Callable[[int], bool]) -> float:
    """Return the least whole bits per clock that suffice, by bisection; infinity if none do.

    Examples
    --------
    >>> least_bits_per_clock(lambda bits: bits >= 100)
    100
    """
    if not suffices(MOST_BITS_PER_CLOCK):
        return math.inf
    high = 1
    while not suffices(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return high
