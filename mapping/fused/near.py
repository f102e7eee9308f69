"""The near memories of a chip: those beside the outermost, in which fused layers keep their blocks.

A product of blocks that lie there is a product on a chip whose outermost memory is all of them
together: it has their ports, each for what lies behind it. Its best mapping, accesses and energy
are those of `mapping.search` and `mapping.cost`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple

from ...arch.hierarchy import OPERANDS, Direction, Hierarchy, Memory
from ...datatypes.base.errors import BitlatheError
from ...datatypes.base.hashed import Hashed, hashed_once

NEAR = "near"
"""The name of all near memories together."""


class PortAt(NamedTuple):
    """A port of a memory: its place among them."""

    memory: str
    port: int


@hashed_once
@dataclass(frozen=True, slots=True, kw_only=True)
class NearChip(Hashed):
    """A chip as products of blocks find it.

    Attributes
    ----------
    whole : Hierarchy
        With its outermost memory.
    inside : Hierarchy
        The near memories as one, and all that is behind them.
    ports : tuple of PortAt
        Ports of the one, as the chip names them.
    memories : dict of str to Memory
        The near memory of each operand.
    ends : dict of (str, str) to PortAt
        Ports of the near memories by way and operand.
    """

    whole: Hierarchy
    inside: Hierarchy
    ports: tuple[PortAt, ...]
    memories: Mapping[str, Memory] = field(compare=False)
    ends: Mapping[tuple[str, str], PortAt] = field(compare=False)

    @property
    def outermost(self) -> Memory:
        """The memory that fused layers read from and write to."""
        return self.whole.memories[0]

    @property
    def behind(self) -> frozenset[str]:
        """Names of the memories that are neither the outermost nor near."""
        return frozenset(memory.name for memory in self.inside.memories[1:])

    def memory(self, operand: str) -> Memory:
        """Return the near memory of an operand."""
        return self.memories[operand]

    def port(self, way: str, operand: str) -> PortAt:
        """Return the port of an operand's near memory through which it passes one way."""
        return self.ends[way, operand]


def why_not(hierarchy: Hierarchy) -> str | None:
    """Return why no layers can be fused on a chip; None where they can."""
    outermost = hierarchy.memories[0].name
    chains = {operand: hierarchy.chain(operand) for operand in OPERANDS}
    for operand, chain in chains.items():
        if len(chain) < 2 or chain[1].per:
            return (
                f"{operand}s pass from {outermost!r} to the array with no memory between that all "
                "units share, so that no block of them can wait on the chip"
            )
    near = {chain[1].name: operand for operand, chain in chains.items()}
    for operand, chain in chains.items():
        for memory in chain[2:]:
            if memory.name in near:
                return (
                    f"{operand}s pass through {chain[1].name!r} and then {memory.name!r}, in "
                    f"which blocks of {near[memory.name]}s wait, so that the two do not stand "
                    "side by side"
                )
    return None


@lru_cache(maxsize=256)
def near_chip(hierarchy: Hierarchy) -> NearChip:
    """Return a chip as products of blocks in its near memories find it.

    Raises
    ------
    BitlatheError
        Some operand has no near memory, or one that is behind another's.
    """
    reason = why_not(hierarchy)
    if reason:
        raise BitlatheError(
            f"fusion: {reason}; give each operand a memory right behind "
            f"{hierarchy.memories[0].name!r}, and none of these behind another."
        )
    near = {operand: hierarchy.chain(operand)[1] for operand in OPERANDS}
    memories = {memory.name: memory for memory in near.values()}
    ports, places = [], []
    for name, memory in memories.items():
        held = [operand for operand in OPERANDS if near[operand] is memory]
        for i, port in enumerate(memory.ports):
            operands = tuple(operand for operand in port.operands if operand in held)
            if operands:
                ports.append(replace(port, operands=operands))
                places.append(PortAt(name, i))
    behind = tuple(each for each in hierarchy.memories[1:] if each.name not in memories)
    name = NEAR
    while name in {*(memory.name for memory in behind), *hierarchy.axis_names}:
        name += "_"
    one = Memory(
        name=name,
        holds=OPERANDS,
        size_bits=None,
        ports=tuple(ports),
        latency_cycles=max(memory.latency_cycles for memory in memories.values()),
        decode_pj=near["weight"].decode_pj,
    )
    ways: tuple[Direction, ...] = ("read", "write")
    return NearChip(
        whole=hierarchy,
        inside=replace(hierarchy, memories=(one, *behind)),
        ports=tuple(places),
        memories=near,
        ends={
            (way, operand): PortAt(memory.name, memory.port(way, operand))
            for operand, memory in near.items()
            for way in ways
        },
    )
