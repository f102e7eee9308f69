"""Time and traffic of collectives among equal chips, in closed form.

A message of b bits leaves a chip in b / B clocks and has arrived L clocks later; B is what a chip
sends in a clock, and receives beside it (the alpha-beta model: Thakur, Rabenseifner and Gropp,
"Optimization of collective communication operations in MPICH", IJHPCA 19(1), 2005, section 3).

On a one-way ring of p chips messages go from each to the next, a round after the other: p - 1
rounds of a p-th of the vector reduce and scatter it, as many gather it (section 4.3 and 4.1 there);
from all to all, a round forwards what is not yet there. Through a switch each chip sends every
other its part at once, back to back.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from ...arch.system import Links
from ...datatypes.base.numbers import ceil_div
from ...workloads.exchanges import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """What a collective is made of.

    Attributes
    ----------
    latencies : int
        Latencies one after the other.
    serial : int
        Parts of the vector that a chip sends one after the other.
    hops : int
        Parts that pass a link, all chips together.
    """

    latencies: int
    serial: int
    hops: int


def _pass_on(p: int) -> Rounds:
    """Return the rounds of a ring in which each chip sends a part on."""
    return Rounds(latencies=p - 1, serial=p - 1, hops=p * (p - 1))


def _forward_all(p: int) -> Rounds:
    """Return the rounds of a one-way ring in which each chip has a part for every other."""
    crossed = p * (p - 1) // 2  # parts that cross a link: each goes 1 ... p - 1 links
    return Rounds(latencies=p - 1, serial=crossed, hops=p * crossed)


def _at_once(p: int) -> Rounds:
    """Return the round in which each chip sends every other a part through a switch."""
    return Rounds(latencies=1, serial=p - 1, hops=p * (p - 1))


def _twice(rounds: Callable[[int], Rounds]) -> Callable[[int], Rounds]:
    def made(p: int) -> Rounds:
        once = rounds(p)
        return Rounds(latencies=2 * once.latencies, serial=2 * once.serial, hops=2 * once.hops)

    return made


ROUNDS: dict[str, dict[Kind, Callable[[int], Rounds]]] = {
    "ring": {
        "all_reduce": _twice(_pass_on),
        "all_gather": _pass_on,
        "reduce_scatter": _pass_on,
        "all_to_all": _forward_all,
    },
    "all_to_all": {
        "all_reduce": _twice(_at_once),
        "all_gather": _at_once,
        "reduce_scatter": _at_once,
        "all_to_all": _at_once,
    },
}
"""By topology and kind, the rounds of p chips; parts are p-th of the vector, rounded up to bits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a collective takes: its clocks, and the bits over links, all chips of it together."""

    cycles: int
    link_bits: int


def bits_per_clock(links: Links, clock_ghz: float) -> Fraction:
    """Return the bits that a chip sends in a clock, exact as its numbers were written."""
    return 8 * Fraction(str(links.gb_per_s)) / Fraction(str(clock_ghz))


def latency_cycles(links: Links, clock_ghz: float) -> Fraction:
    """Return the clocks from the last bit sent until it has arrived."""
    return Fraction(str(links.latency_ns)) * Fraction(str(clock_ghz))


def collective(kind: Kind, bits: int, chips: int, links: Links, clock_ghz: float) -> Cost:
    """Return the cost of one collective; of a ``send`` that of each sender.

    Parameters
    ----------
    kind : {"all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send"}
    bits : int
        Of the vector, as `workloads.exchanges.Exchange` counts its elements.
    chips : int
        Chips that take part.
    links : Links
    clock_ghz : float
        The chips' clock.

    Examples
    --------
    >>> links = Links(gb_per_s=1, latency_ns=10, energy_pj_per_bit=1, topology="ring")
    >>> collective("all_reduce", 800, 4, links, 1.0)
    Cost(cycles=210, link_bits=4800)
    """
    if chips == 1 or not bits:
        return Cost(cycles=0, link_bits=0)
    if kind == "send":
        part, rounds = bits, Rounds(latencies=1, serial=1, hops=1)
    else:
        part, rounds = ceil_div(bits, chips), ROUNDS[links.topology][kind](chips)
    waits = rounds.latencies * latency_cycles(links, clock_ghz)
    cycles = ceil(waits + rounds.serial * part / bits_per_clock(links, clock_ghz))
    return Cost(cycles=cycles, link_bits=rounds.hops * part)
