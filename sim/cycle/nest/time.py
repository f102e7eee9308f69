"""The cycle rung under mappings: the time of a product, event by event, its waits by cause."""

from collections import defaultdict
from fractions import Fraction

from ...mapped import NestTime, Part
from .run import run_nest

CAUSES = {"weight": "weights", "input": "inputs", "output": "outputs", "array": "bandwidth"}
"""Cause of a wait by what it is for; ``array``: its own reads and results, which a port delays."""


def cause_of(wait: str) -> str:
    """Return the cause (`run.STALL_CAUSES`) of a wait of the machine; what is left is pipeline.

    Examples
    --------
    >>> cause_of("dram.read weight"), cause_of("fill")
    ('weights', 'pipeline')
    """
    return CAUSES.get(wait.rpartition(" ")[2], "pipeline")


def time_of_nest(part: Part) -> NestTime:
    """Return the clocks of a product under its mapping on the machine (`run_nest`)."""
    found = run_nest(part.loops, part.bits, part.best.mapping, part.hierarchy)
    stalls: dict[str, Fraction] = defaultdict(Fraction)
    for wait, clocks in found.stalls.items():
        stalls[cause_of(wait)] += clocks
    return NestTime(cycles=found.cycles, waits=found.stalls, stalls=stalls)
