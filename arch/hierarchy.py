"""The memories of a chip and what they feed: which operands each holds, its ports, its copies.

Memories are listed outermost first; for each operand the list, cut down to the memories that hold
it, is the way from DRAM to the array. Memories that no operand passes one after the other are
siblings: their order means nothing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from typing import Literal

from ..datatypes.base.errors import BitlatheError, unknown_name
from ..datatypes.base.hashed import Hashed, hashed_once
from ..datatypes.base.numbers import ceil_div, units_of

OPERANDS = ("weight", "input", "output")
Direction = Literal["read", "write", "both"]


WIDTH_BITS = 16


def port_width(bits_per_clock: Fraction) -> Fraction:
    """Return a rate as a port's width: the same, or the next lower one of 16 binary digits.

    A rate that was computed has a denominator that no 64-bit counter takes. Rounded down it is at
    most 1/32,768 slower, and a faster one never becomes the slower.

    Examples
    --------
    >>> port_width(Fraction(128, 5)), port_width(Fraction(1, 10**9)) > 0
    (Fraction(128, 5), True)
    """
    if bits_per_clock.denominator < 1 << WIDTH_BITS or bits_per_clock <= 0:
        return bits_per_clock
    digits = bits_per_clock.numerator.bit_length() - bits_per_clock.denominator.bit_length()
    scale = Fraction(2) ** (WIDTH_BITS - digits)
    return Fraction(math.floor(bits_per_clock * scale)) / scale


@hashed_once
@dataclass(frozen=True, slots=True, kw_only=True)
class Port(Hashed):
    """A port of a memory: one access of ``width_bits`` a clock, shared by all that it serves.

    Attributes
    ----------
    direction : {"read", "write", "both"}
        What it does; ``both`` does one of them a clock.
    width_bits : Fraction
        Bits of an access. That of a DRAM is what it moves in one clock of the chip.
    read_pj, write_pj : float
        Energy of an access.
    operands : tuple of str
        The operands it serves.
    burst_bits : int or None
        What moves at once: a transfer is whole bursts, in whole clocks. None: whole clocks.
    """

    direction: Direction
    width_bits: Fraction
    read_pj: float = 0.0
    write_pj: float = 0.0
    operands: tuple[str, ...] = OPERANDS
    burst_bits: int | None = None

    def clocks(self, elements: int, bits: Fraction) -> int:
        """Return the clocks, an access each, that elements of so many bits take together.

        Examples
        --------
        >>> port = Port(direction="both", width_bits=Fraction(256), burst_bits=512)
        >>> port.clocks(3, Fraction(17, 4)), port.clocks(129, Fraction(4))
        (2, 4)
        """
        if self.burst_bits is None:  # in whole numbers, as it is asked for often
            (up, down), width = bits.as_integer_ratio(), self.width_bits
            return ceil_div(elements * up * width.denominator, down * width.numerator)
        bursts = units_of(elements, bits / self.burst_bits, 1)
        return units_of(bursts, self.burst_bits / self.width_bits, 1)

    def serves(self, direction: Direction, operand: str) -> bool:
        """Return whether transfers of an operand in one direction go through the port."""
        return self.direction in (direction, "both") and operand in self.operands

    def energy_pj(self, reads: int, writes: int) -> float:
        """Return the energy of so many accesses."""
        return reads * self.read_pj + writes * self.write_pj


@hashed_once
@dataclass(frozen=True, slots=True, kw_only=True)
class Memory(Hashed):
    """A memory, or a memory of which each unit along some axes has its own copy.

    Attributes
    ----------
    name : str
    holds : tuple of str
        Operands that pass through it, or may.
    size_bits : int or None
        Size of one copy; None has no bound in bits.
    words : int or None
        Elements of one copy, whatever their width; None has no bound in elements.
    ports : tuple of Port
        Ports of one copy: exactly one serves each operand and direction.
    per : tuple of str
        Axes along which each unit has a copy.
    double_buffered : bool
        Whether a tile may be fetched beside the one in use; both take room.
    optional : tuple of str
        Operands that may go past it.
    latency_cycles : int
        Clocks until the first bit of a transfer arrives.
    keep_halo : bool
        Whether a tile of a convolution's input that moves on along p or q leaves the pixels in
        place that the next one reads too; they are not fetched again.
    decode_pj : float
        Energy of a weight that is read from it beside the port's: of the decoders behind it.
    """

    name: str
    holds: tuple[str, ...]
    size_bits: int | None
    ports: tuple[Port, ...]
    per: tuple[str, ...] = ()
    double_buffered: bool = True
    optional: tuple[str, ...] = ()
    latency_cycles: int = 0
    words: int | None = None
    keep_halo: bool = False
    decode_pj: float = 0.0

    def port(self, direction: Direction, operand: str) -> int:
        """Return the index of the port that serves an operand in one direction.

        Raises
        ------
        BitlatheError
            If no port serves it.
        """
        for i, port in enumerate(self.ports):
            if port.serves(direction, operand):
                return i
        raise BitlatheError(f"memory {self.name!r} has no port to {direction} {operand}s.")

    def problems(self) -> list[str]:
        """Return what is wrong with the memory, a sentence each."""
        found = []
        if self.size_bits is not None and self.size_bits <= 0:
            found.append(f"memory {self.name!r} has {self.size_bits} bits; give more than 0.")
        if None not in (self.size_bits, self.words):
            found.append(f"memory {self.name!r} has a size in bits and in words; give one.")
        if self.words is not None and self.words <= 0:
            found.append(f"memory {self.name!r} has {self.words} words; give more than 0.")
        for port in self.ports:
            if port.width_bits <= 0:
                found.append(
                    f"memory {self.name!r} has a port of {port.width_bits} bits; give more than 0."
                )
        for operand in self.holds:
            for direction in ("read", "write"):
                serving = sum(port.serves(direction, operand) for port in self.ports)
                if serving != 1:
                    found.append(
                        f"memory {self.name!r} has {serving} ports that {direction} {operand}s; "
                        "give one."
                    )
        return found


@hashed_once
@dataclass(frozen=True, slots=True, kw_only=True)
class Axis(Hashed):
    """Units side by side, and the dimensions that may be unrolled over them.

    ``multicast``: what several units take alike of a memory outside them is read once; else once
    for each.
    """

    name: str
    size: int
    dims: tuple[str, ...]
    multicast: bool = True


@hashed_once
@dataclass(frozen=True, slots=True, kw_only=True)
class Hierarchy(Hashed):
    """Memories, outermost first, and the axes of the array below them.

    Attributes
    ----------
    memories : tuple of Memory
        The first holds every operand and has no bound.
    axes : tuple of Axis
    units : tuple of str
        Axes whose units take energy; what the others unroll is done inside such a unit.
    unit_pj : float
        Energy of one unit in one clock of work.
    table_cycles : int
        Clocks of a step in which its units fill look-up tables instead of working.
    table_units : tuple of str
        Axes of which each unit with work has a table.
    table_pj : float
        Energy of filling one table.
    static_pj : float
        Energy that the chip takes each clock, work or not.
    fill_cycles : int
        Clocks from the first operand's arrival in the array to the first result, and from the
        last operand to the last result, beyond the steps: once a layer.
    staying : tuple of str
        Operands that lie whole in the next memory behind the outermost, in a place that is not of
        its size here: nothing of them passes between the two.
    """

    memories: tuple[Memory, ...]
    axes: tuple[Axis, ...]
    units: tuple[str, ...] = ()
    unit_pj: float = 0.0
    table_cycles: int = 0
    table_units: tuple[str, ...] = ()
    table_pj: float = 0.0
    static_pj: float = 0.0
    fill_cycles: int = 0
    staying: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        problem = next(iter(self._problems()), None)
        if problem:
            raise BitlatheError(problem)

    def _problems(self) -> list[str]:
        names = [memory.name for memory in self.memories] + list(self.axis_names)
        twice = sorted({name for name in names if names.count(name) > 1})
        found = [f"{name!r} names two memories or axes; names must differ." for name in twice]
        if not self.memories or set(self.memories[0].holds) != set(OPERANDS):
            return [*found, "the outermost memory must hold weight, input and output."]
        first = self.memories[0]
        if first.per or (first.size_bits, first.words) != (None, None):
            found.append(f"memory {first.name!r} is outermost: it has no size and no `per`.")
        for axis in self.axes:
            if axis.size < 1 or not axis.dims:
                found.append(f"axis {axis.name!r} has size {axis.size} and dims {axis.dims}.")
            if not axis.multicast:
                found += [
                    f"axis {axis.name!r} has no multicast, and memory {memory.name!r} outside it "
                    "has copies; let that be one, or multicast."
                    for memory in self.memories
                    if memory.per and axis.name not in memory.per
                ]
        for memory in self.memories:
            found += memory.problems()
            found += [
                f"memory {memory.name!r}: {unknown_name('axis', name, self.axis_names)}"
                for name in memory.per
                if name not in self.axis_names
            ]
        for operand in OPERANDS:
            chain = self.chain(operand)
            for outer, inner in pairwise(chain):
                if not set(outer.per) <= set(inner.per):
                    found.append(
                        f"memory {inner.name!r} is inside {outer.name!r}, of which each unit of "
                        f"{', '.join(outer.per)} has a copy; it needs those axes in `per`."
                    )
        return found

    def array_pj(self, busy: Callable[[tuple[str, ...]], int], step_cycles: Fraction) -> float:
        """Return the energy of the array.

        ``busy``: the units of some axes that have work, summed over all steps.
        """
        worked = float(busy(self.units) * (step_cycles - self.table_cycles)) * self.unit_pj
        return worked + (busy(self.table_units) * self.table_pj if self.table_pj else 0.0)

    @property
    def counted_units(self) -> tuple[tuple[str, ...], ...]:
        """Axes whose units with work `array_pj` asks for, where they take energy."""
        return (self.units, self.table_units) if self.table_pj else (self.units,)

    @property
    def axis_names(self) -> tuple[str, ...]:
        """Names of the axes."""
        return tuple(axis.name for axis in self.axes)

    def read_apart(self, outer: tuple[str, ...], inner: tuple[str, ...]) -> tuple[str, ...]:
        """Return the axes whose units read what they have alike one by one.

        Parameters
        ----------
        outer, inner : tuple of str
            Axes along which the memory that is read has copies, and what takes the elements.
        """
        return tuple(
            axis.name
            for axis in self.axes
            if not axis.multicast and axis.name in inner and axis.name not in outer
        )

    def stays(self, operand: str, parent: str) -> bool:
        """Return whether transfers of an operand between a memory and its child move nothing."""
        return operand in self.staying and parent == self.memories[0].name

    @property
    def keeps_halos(self) -> bool:
        """Whether a memory keeps halos of convolutions' inputs."""
        return any(memory.keep_halo for memory in self.memories)

    def without_halos(self) -> "Hierarchy":
        """Return the hierarchy with memories that fetch every tile whole."""
        if not self.keeps_halos:
            return self
        return replace(
            self, memories=tuple(replace(each, keep_halo=False) for each in self.memories)
        )

    def chain(self, operand: str) -> tuple[Memory, ...]:
        """Return the memories that may hold an operand, outermost first."""
        return tuple(memory for memory in self.memories if operand in memory.holds)

    def memory(self, name: str) -> Memory:
        """Return a memory by name.

        Raises
        ------
        BitlatheError
            If no memory has the name.
        """
        for memory in self.memories:
            if memory.name == name:
                return memory
        known = tuple(memory.name for memory in self.memories)
        raise BitlatheError(unknown_name("memory", name, known) + ".")
