"""How much DRAM bandwidth layers need under their mappings: the least at which no step waits.

The closed form's stalls of the outermost memory's ports decide (`mapping.cost`); first loads and
last stores, which every bandwidth shortens, do not count.
"""

import math
from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction

from ..arch.hierarchy import Hierarchy
from ..mapping.cost import cost
from .bisect import least_bits_per_clock
from .mapped import Part


def _with_width(hierarchy: Hierarchy, bits_per_clock: int) -> Hierarchy:
    outermost, *others = hierarchy.memories
    ports = tuple(replace(port, width_bits=Fraction(bits_per_clock)) for port in outermost.ports)
    return replace(hierarchy, memories=(replace(outermost, ports=ports), *others))


def _waits(part: Part, bits_per_clock: int) -> bool:
    hierarchy = _with_width(part.hierarchy, bits_per_clock)
    found = cost(part.loops, part.bits, part.best.mapping, hierarchy)
    name = hierarchy.memories[0].name
    return any(load.stall > 0 for load in found.ports if load.memory == name)


def parts_bits_per_clock(parts: Iterable[Part]) -> float:
    """Return the least DRAM bits per clock at which no step of any product waits for DRAM.

    Infinity where even transfers of one clock come late.
    """
    needed = (
        least_bits_per_clock(lambda bits, part=part: not _waits(part, bits))  # type: ignore[misc]
        for part in parts
    )
    return max(needed, default=math.nan)
