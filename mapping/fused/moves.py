"""Whole accesses of the near memories' ports, and transfers between those and the outermost."""

from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from .near import NearChip, PortAt


class Moves:
    """What some job moves through ports: accesses by port and way."""

    def __init__(self) -> None:
        self.found: dict[tuple[PortAt, str], int] = defaultdict(int)

    def add(self, near: NearChip, way: str, operand: str, elements: int, bits: Fraction) -> None:
        """Add a transfer at an operand's near memory: whole accesses.

        Parameters
        ----------
        near : NearChip
        way : {"read", "write"}
        operand : str
        elements : int
        bits : Fraction
            Of an element.
        """
        at = near.port(way, operand)
        self.found[at, way] += near.whole.memory(at.memory).ports[at.port].clocks(elements, bits)

    @property
    def cycles(self) -> int:
        """Clocks of the busiest port."""
        return busiest([self])


def busiest(several: Sequence[Moves]) -> int:
    """Return the clocks of the busiest port of what several jobs move together.

    Parameters
    ----------
    several : sequence of Moves
    """
    busy: dict[PortAt, int] = {}
    for each in several:
        for (at, _), accesses in each.found.items():
            busy[at] = busy.get(at, 0) + accesses
    return max(busy.values(), default=0)


class Transfer(NamedTuple):
    """Bits of an operand between the outermost memory and a near one, in whole accesses."""

    operand: str
    leaves: bool
    bits: Fraction
    cycles: int
    moves: Moves


def transfer(
    near: NearChip,
    operand: str,
    many: int,
    elements: int,
    bits: Fraction,
    *,
    leaves: bool = False,
) -> Transfer:
    """Return what loads, or stores, some tiles.

    Parameters
    ----------
    near : NearChip
    operand : str
    many, elements : int
        Tiles, and the elements of each.
    bits : Fraction
        Of an element.
    leaves : bool
        Whether they go to the outermost memory, or come from there.
    """
    outer, moves = near.outermost, Moves()
    port = outer.ports[outer.port("write" if leaves else "read", operand)]
    for _ in range(many):
        moves.add(near, "read" if leaves else "write", operand, elements, bits)
    cycles = many * port.clocks(elements, bits)
    return Transfer(operand, leaves, many * elements * bits, cycles, moves)
