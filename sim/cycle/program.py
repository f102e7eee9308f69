"""What the cycle rung runs: tiles, places of buffer rings to take and to give back, loops."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..layout import Streamed
from ..run import STALL_CAUSES

WEIGHTS, INPUTS, OUTPUTS, BANDWIDTH, RESCALE, PIPELINE = range(len(STALL_CAUSES))
STREAM, RESIDENT = 0, 1

OPERANDS: tuple[Streamed, Streamed] = ("weight", "input")

READS, WRITES = 1, 2
RING = (4, 8)


class Moved(NamedTuple):
    """Bytes over DRAM by operand."""

    weight: int = 0
    input: int = 0
    output: int = 0


NOTHING_MOVED = Moved()


@dataclass(frozen=True, slots=True)
class Tile:
    """One piece of work on the array.

    Attributes
    ----------
    reads : tuple of (cause, clocks)
        Transfers it waits for, in the order in which they are asked for.
    load, loads : int
        Clocks to bring a stationary operand into the PEs, beside the tile before; which one.
    body : int
        Clocks on the array: ``busy + rescale + port`` and the rest fill and drain.
    busy, rescale, port : int
        Clocks of ``body`` with work, between its groups, and waiting for an SRAM port.
    sums : bool
        It ends with a sum that is handed to the unit behind the array, which must be free.
    tail : int
        Clocks of ``body`` from the first sum that is handed on to the last.
    scale, gap : int
        Clocks that the unit takes for the last sum, and before the next group may begin.
    latency, drain : int
        Clocks from the end of the body to the unit, and over which results leave the unit.
    holds_unit : bool
        Results stay in the unit until they have left, not only until the drain is empty.
    store : int
        DRAM clocks of the results; 0 where none leave.
    moved : Moved
        Bytes over DRAM.
    """

    reads: tuple[tuple[int, int], ...]
    load: int
    body: int
    busy: int
    rescale: int
    port: int
    sums: bool
    tail: int
    scale: int
    gap: int
    latency: int
    drain: int
    store: int
    holds_unit: bool = False
    moved: Moved = NOTHING_MOVED
    loads: int = WEIGHTS

    @property
    def touches(self) -> int:
        """What of the machine's state the tile uses, as a mask."""
        return (READS if self.reads else 0) | (WRITES if self.store else 0)


@dataclass(frozen=True, slots=True)
class Take:
    """Ask for a place of a ring: later reads wait until it was given back."""

    ring: int

    @property
    def touches(self) -> int:
        """What of the machine's state is used, as a mask."""
        return RING[self.ring] | READS


@dataclass(frozen=True, slots=True)
class Give:
    """Give a place of a ring back, now."""

    ring: int

    @property
    def touches(self) -> int:
        """What of the machine's state is used, as a mask."""
        return RING[self.ring]


@dataclass(frozen=True, slots=True)
class Loop:
    """Run ``body`` ``count`` times."""

    count: int
    body: tuple["Node", ...]
    touches: int


Node = Tile | Take | Give | Loop


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """Equal places of a buffer for pieces of an operand."""

    operand: Streamed
    places: int
    piece_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A layer: its nodes, the rings for what streams and what stays, bytes of buffer by operand.

    ``output_tiles`` tiles of results may wait for DRAM.
    """

    nodes: tuple[Node, ...]
    rings: tuple[Ring, Ring]
    capacity_bytes: tuple[int, int]
    output_tiles: int


def loop(count: int, body: list[Node]) -> list[Node]:
    """Return the nodes that run ``body`` ``count`` times."""
    if count < 1 or not body:
        return []
    if count == 1:
        return body
    touches = 0
    for node in body:
        touches |= node.touches
    return [Loop(count, tuple(body), touches)]


def moved_bytes(program: Sequence[Node]) -> Moved:
    """Return the bytes that a program moves over DRAM."""
    total = [0, 0, 0]
    for node in program:
        if isinstance(node, Tile):
            part, count = node.moved, 1
        elif isinstance(node, Loop):
            part, count = moved_bytes(node.body), node.count
        else:
            continue
        for i, size_bytes in enumerate(part):
            total[i] += count * size_bytes
    return Moved(*total)
