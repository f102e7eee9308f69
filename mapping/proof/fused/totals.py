"""What jobs of a chain take: products, transfers, work of the vector unit, and their sums.

Of chains of any kind: a job moves tiles through ports, in whole accesses; all jobs of a schedule
together have clocks, accesses and energy, whatever their order.
"""

from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, NamedTuple

from ..count import PortKey
from .near import Near
from .record import Lanes, Work


class Made(NamedTuple):
    """A product of a block: clocks, those of its steps, reads, writes and busy clocks of ports."""

    cycles: int
    steps: Fraction
    ports: dict[PortKey, tuple[int, int, int]]
    array_pj: Fraction
    memory_pj: Fraction


class Job:
    """What a job moves: accesses by port and way, clocks of the outermost port, its bits."""

    def __init__(self, near: Near) -> None:
        self.near = near
        self.moved: Counter[tuple[PortKey, bool]] = Counter()
        self.outer = 0
        self.bits: Counter[str] = Counter()

    def near_port(self, operand: str, elements: int, bits: Fraction, *, reads: bool) -> None:
        """Add a tile that passes a port of a near memory.

        Parameters
        ----------
        operand : str
        elements : int
        bits : Fraction
            Of each.
        reads : bool
            Whether it is read there, or written.
        """
        self._pass(self.near.memories[operand].name, operand, elements, bits, reads=reads)

    def transfer(self, operand: str, elements: int, bits: Fraction, *, leaves: bool) -> None:
        """Add a tile that passes between the outermost memory and a near one.

        Parameters
        ----------
        operand : str
        elements : int
        bits : Fraction
            Of each.
        leaves : bool
            Whether it leaves the near one, or comes there.
        """
        self.near_port(operand, elements, bits, reads=leaves)
        name = self.near.outermost.name
        self.outer += self._pass(name, operand, elements, bits, reads=not leaves)
        self.bits[operand] += elements * bits  # type: ignore[assignment]

    def _pass(self, name: str, operand: str, elements: int, bits: Fraction, *, reads: bool) -> int:
        memory = self.near.whole.memory(name)
        i = memory.port(operand, reads=reads)
        accesses = memory.ports[i].clocks(elements, bits)
        self.moved[(name, i), reads] += accesses
        return accesses

    @property
    def cycles(self) -> int:
        """Clocks of the outermost port together, or of the busiest near one."""
        busy: Counter[PortKey] = Counter()
        for (key, _), accesses in self.moved.items():
            if key[0] != self.near.outermost.name:
                busy[key] += accesses
        return max(self.outer, max(busy.values(), default=0))


def plus(one: Work, other: Work) -> Work:
    """Return the operations of both."""
    return tuple(a + b for a, b in zip(one, other, strict=True))


class Total:
    """Sums over jobs.

    Parameters
    ----------
    near : Near
    lanes : Lanes
    """

    def __init__(self, near: Near, lanes: Lanes) -> None:
        self.near, self.lanes = near, lanes
        self.array = self.unit = self.lane_cycles = 0
        self.steps = Fraction(0)
        self.accesses: Counter[tuple[PortKey, bool]] = Counter()
        self.priced: Counter[tuple[PortKey, bool]] = Counter()
        self.busy: Counter[PortKey] = Counter()
        self.bits: dict[str, Fraction] = {}
        self.works: Work = (0,) * 3
        self.product_pj = [Fraction(0), Fraction(0)]

    def product(self, made: Made, times: int) -> None:
        """Add a product of blocks."""
        self.array += made.cycles * times
        self.steps += made.steps * times
        for key, (reads, writes, busy) in made.ports.items():
            self.accesses[key, True] += reads * times
            self.accesses[key, False] += writes * times
            self.busy[key] += busy * times
        self.product_pj[0] += made.array_pj * times
        self.product_pj[1] += made.memory_pj * times

    def move(self, job: Job, times: int) -> None:
        """Add what a job moves."""
        for at, accesses in job.moved.items():
            self.accesses[at] += accesses * times
            self.priced[at] += accesses * times
            self.busy[at[0]] += accesses * times
        for operand, bits in job.bits.items():
            self.bits[operand] = self.bits.get(operand, Fraction(0)) + bits * times

    def work(self, work: Work, job: Job, times: int) -> None:
        """Add a job of the vector unit."""
        self.move(job, times)
        clocks = self.lanes.cycles(work)
        self.lane_cycles += clocks * times
        self.unit += max(clocks, job.cycles) * times
        self.works = plus(self.works, tuple(each * times for each in work))

    def energy_pj(self) -> dict[str, Fraction]:
        """Return the energy by component, without what runs with the clocks."""
        near, lanes = self.near, self.lanes
        outer, inner = Fraction(0), self.product_pj[1]
        for ((name, i), reads), accesses in self.priced.items():
            port = near.whole.memory(name).ports[i]
            pj = accesses * port.pj(reads=reads)
            outer, inner = (
                (outer + pj, inner) if name == near.outermost.name else (outer, inner + pj)
            )
        prices = lanes.add_pj, lanes.multiply_pj, lanes.special_pj
        return {
            "array": self.product_pj[0],
            "vector": sum((n * pj for n, pj in zip(self.works, prices, strict=True)), Fraction(0)),
            "memories": inner,
            "outermost": outer,
        }

    @property
    def busiest(self) -> int:
        """Clocks of the busiest port."""
        return max(self.busy.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class FusedCost:
    """What all instances of a chain take: clocks, exact energies in pJ, what passes each port.

    ``taken``: bits, and elements, that lie in each near memory.
    """

    cycles: int
    compute: Fraction
    lanes: int
    ports: dict[tuple[str, int], tuple[int, int, int]]
    outer_bits: dict[str, Fraction]
    energy_pj: dict[str, Fraction]
    taken: dict[str, list[int]] = field(default_factory=dict)

    def of(self, objective: str) -> Fraction:
        """Return the objective's value: clocks, pJ, or their product."""
        return value_of(objective, self.cycles, sum(self.energy_pj.values(), Fraction(0)))

    def data(self) -> dict[str, Any]:
        """Return plain data: exact numbers as integers and text."""
        return {
            "cycles": self.cycles,
            "compute_cycles": str(self.compute),
            "vector_cycles": self.lanes,
            "ports": [
                {
                    "memory": memory, "port": port, "reads": reads, "writes": writes,
                    "busy_cycles": busy,
                }
                for (memory, port), (reads, writes, busy) in self.ports.items()
            ],
            "outermost_bits": {name: str(bits) for name, bits in self.outer_bits.items()},
            "taken_bits_and_elements": self.taken,
            "energy_pj": {name: str(pj) for name, pj in self.energy_pj.items()},
            "total_pj": str(sum(self.energy_pj.values(), Fraction(0))),
        }  # fmt: skip


def value_of(objective: str, cycles: int, pj: Fraction) -> Fraction:
    """Return clocks, pJ, or their product."""
    return Fraction(1 if objective == "energy" else cycles) * (1 if objective == "cycles" else pj)


def cost_of(near: Near, total: Total, clocks: int, times: int) -> FusedCost:
    """Return what jobs cost of which the schedule's clocks, ports aside, are known.

    Parameters
    ----------
    near : Near
    total : Total
        Of one instance.
    clocks : int
        Of all instances.
    times : int
        Instances.
    """
    cycles = max(clocks, total.busiest * times)
    energy = {name: pj * times for name, pj in total.energy_pj().items()}
    energy["static"] = cycles * near.whole.static_pj
    return FusedCost(
        cycles=cycles,
        compute=total.steps * times,
        lanes=total.lane_cycles * times,
        ports={
            key: (total.accesses[key, True] * times, total.accesses[key, False] * times,
                  total.busy[key] * times)
            for memory in near.whole.memories
            for key in ((memory.name, i) for i in range(len(memory.ports)))
        },
        outer_bits={
            name: total.bits.get(name, Fraction(0)) * times
            for name in ("weight", "input", "output")
        },
        energy_pj=energy,
    )  # fmt: skip
