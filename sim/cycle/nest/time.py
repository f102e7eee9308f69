"""The cycle rung under mappings: the time of a product, event by event, its waits by cause."""

from collections import defaultdict
from collections.abc import Mapping
from fractions import Fraction
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from ....datatypes.base.kept_lines import Kept, key_of
from ....datatypes.base.sources import PACKAGE, digest_of
from ....mapping.kept_results import sources_digest
from ...mapped import NestTime, Part

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
    """Return the clocks of a product under its mapping on the machine (`run_nest`), found once."""
    arguments = part.loops, part.bits, part.best.mapping, part.hierarchy

    def played() -> NestTime:
        from .run import run_nest  # loads the compiler, which a kept result does not need

        found = run_nest(*arguments)
        return _time_of(found.cycles, found.stalls)

    return KEPT.get(key_of(*arguments), played)


def _time_of(cycles: int, waits: Mapping[str, Fraction]) -> NestTime:
    stalls: dict[str, Fraction] = defaultdict(Fraction)
    for wait, clocks in waits.items():
        stalls[cause_of(wait)] += clocks
    return NestTime(cycles=cycles, waits=waits, stalls=stalls)


@cache
def _sources() -> str:
    """Return the digest of the sources that decide what the machine finds."""
    machine = digest_of(Path(__file__).parent.glob("*.py"), PACKAGE)
    return sha256(f"{machine} {sources_digest()}".encode()).hexdigest()


def _to_data(time: NestTime) -> dict[str, Any]:
    waits = {name: str(clocks) for name, clocks in (time.waits or {}).items()}
    return {"cycles": time.cycles, "waits": waits}


def _of_data(data: dict[str, Any]) -> NestTime:
    waits = {name: Fraction(clocks) for name, clocks in data["waits"].items()}
    return _time_of(data["cycles"], waits)


KEPT = Kept("nests", _sources, _to_data, _of_data)
"""The times of nests that were played."""
