"""Clocks, energy and accesses of a mapping, from what is counted of its loops."""

import math
from collections import defaultdict
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Any

from .count import Counted, End, Move, PortKey, Visit, units
from .record import OPERANDS, Chip, Layer, Nest

DECODERS = "decoders"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Clocks, exact energies in pJ, and what goes through each port.

    ``ports``: reads, writes, busy clocks and clocks of stalls, by memory and number.
    """

    cycles: int
    compute: Fraction
    stall: Fraction
    first_load: int
    last_store: int
    ports: dict[PortKey, tuple[int, int, int, Fraction]]
    energy_pj: dict[str, Fraction]

    @property
    def total_pj(self) -> Fraction:
        """Energy in all."""
        return sum(self.energy_pj.values(), Fraction(0))

    def of(self, objective: str) -> Fraction:
        """Return the objective's value: clocks, pJ, or their product."""
        energy = Fraction(1) if objective == "cycles" else self.total_pj
        return energy * (1 if objective == "energy" else self.cycles)

    def data(self) -> dict[str, Any]:
        """Return plain data: exact numbers as integers and text."""
        return {
            "cycles": self.cycles,
            "compute_cycles": str(self.compute),
            "stall_cycles": str(self.stall),
            "first_load_cycles": self.first_load,
            "last_store_cycles": self.last_store,
            "ports": [
                {
                    "memory": memory, "port": port, "reads": reads, "writes": writes,
                    "busy_cycles": busy, "stall_cycles": str(stall),
                }
                for (memory, port), (reads, writes, busy, stall) in self.ports.items()
            ],
            "energy_pj": {name: str(pj) for name, pj in self.energy_pj.items()},
            "total_pj": str(self.total_pj),
        }  # fmt: skip


def cost(layer: Layer, chip: Chip, nest: Nest) -> Cost:
    """Return what a legal mapping costs.

    Parameters
    ----------
    layer : Layer
    chip : Chip
    nest : Nest
    """
    counted = Counted(layer, chip, nest)
    return total(counted, counted.moves())


Ends = dict[Visit, list[End]]


def ends_of(counted: Counted, move: Move) -> Ends:
    """Return what each visit of a move takes of the ports at both ends."""
    some = (*move.visits, *(visit for visit, _, _ in move.timed), move.edge)
    return {each: counted.ends(move, each) for each in dict.fromkeys(some) if each is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Passed:
    """Reads and writes by port, its busy clocks, and the energy of memories, decoders and array."""

    accesses: dict[PortKey, list[int]]
    busy: dict[PortKey, int]
    energy_pj: dict[str, Fraction]


def passed(counted: Counted, moves: list[Move], ends: list[Ends]) -> Passed:
    """Return what passes the ports when everything moves.

    Parameters
    ----------
    counted : Counted
    moves : list of Move
    ends : list of dict
        Of each move (`ends_of`).
    """
    layer, chip = counted.layer, counted.chip
    keys = [(memory.name, i) for memory in chip.memories for i in range(len(memory.ports))]
    accesses, busy = {key: [0, 0] for key in keys}, dict.fromkeys(keys, 0)
    terms: dict[str, list[tuple[int, Fraction]]] = {memory.name: [] for memory in chip.memories}
    decoded = Fraction(0)
    for move, at in zip(moves, ends, strict=True):
        extra = layer.bits(move.operand, partial=move.partial, code=False) - counted.width(move)
        elements: dict[tuple[PortKey, bool], int] = {}
        for visit, count in move.visits.items():
            for end in at[visit]:
                accesses[end.key][not end.reads] += end.clocks * end.copies * count
                busy[end.key] += end.clocks * count
                some = end.key, end.reads
                elements[some] = elements.get(some, 0) + end.elements * count
        for ((name, i), reads), many in elements.items():
            memory = chip.memory(name)
            if extra:
                port = memory.ports[i]
                terms[name].append((many, extra / port.width_bits * port.pj(reads=reads)))
            if memory.decode_pj:
                decoded += many * memory.decoding_pj(move.operand, reads=reads)
    for memory in chip.memories:
        for i, port in enumerate(memory.ports):
            read, written = accesses[memory.name, i]
            terms[memory.name] += [(read, port.read_pj), (written, port.write_pj)]
    energy = {name: _summed(some) for name, some in terms.items()}
    if decoded:
        energy[DECODERS] = decoded
    energy["array"] = array_pj(layer, chip, counted)
    return Passed(accesses=accesses, busy=busy, energy_pj=energy)


def _summed(terms: list[tuple[int, Fraction]]) -> Fraction:
    """Return the sum of some numbers, each so many times."""
    scale = math.lcm(*(each.denominator for _, each in terms))
    return Fraction(sum(n * x.numerator * (scale // x.denominator) for n, x in terms), scale)


def total(counted: Counted, moves: list[Move]) -> Cost:
    """Return what moves cost that have been counted."""
    ends = [ends_of(counted, move) for move in moves]
    found = passed(counted, moves, ends)
    compute = counted.all_steps * counted.layer.step_cycles
    stalls = _stalls(counted, moves, ends, list(found.busy))
    first, last = edges(moves, ends)
    stall, fill = max(stalls.values()), counted.chip.fill_cycles
    bound = max(math.ceil(compute), *found.busy.values())
    cycles = max(bound, math.ceil(compute + stall) + first + last + fill)
    return Cost(
        cycles=cycles,
        compute=compute,
        stall=stall,
        first_load=first,
        last_store=last,
        ports={
            key: (reads, writes, found.busy[key], stalls[key])
            for key, (reads, writes) in found.accesses.items()
        },
        energy_pj={**found.energy_pj, "static": cycles * counted.chip.static_pj},
    )


def _stalls(
    counted: Counted, moves: list[Move], ends: list[Ends], keys: list[PortKey]
) -> dict[PortKey, Fraction]:
    """Return the clocks by which each port delays the array; counted in parts of a clock."""
    parts, compute = counted.parts, counted.all_steps * counted.step
    beyond, inside, late = (dict.fromkeys(keys, 0) for _ in range(3))  # late: twice as many
    windows: dict[PortKey, dict[tuple[str, str | None], int]] = {key: {} for key in keys}
    for move, at in zip(moves, ends, strict=True):
        waits, slow = latency(move), 0
        sums: dict[PortKey, list[int]] = {}
        for visit, window, count in move.timed:
            slowest = 0
            for end in at[visit]:
                taken = end.clocks * parts
                both = sums.setdefault(end.key, [0, 0])
                both[0] += max(0, taken - window) * count
                both[1] += min(taken, window) * count
                slowest = max(slowest, taken)
            slow += max(0, slowest + waits * parts - window) * count
        for key, (over, within) in sums.items():
            beyond[key] += max(0, over)
            inside[key] += max(0, within)
            edge = move.operand, move.child.name if move.child else None
            windows[key][edge] = move.windows
        if waits:
            key = move.parent.name, move.parent.port(move.operand, reads=True)
            alone = move.kind == "fetch" and not move.doubled
            late[key] = max(late[key], slow * (1 + alone))
    found = {}
    for key in keys:
        over = beyond[key] + max(0, inside[key] - min(compute, sum(windows[key].values())))
        found[key] = Fraction(max(2 * over, late[key]), 2 * parts)
    return found


def edges(moves: list[Move], ends: list[Ends]) -> tuple[int, int]:
    """Return the clocks of first load and last store."""
    loads: dict[int, list[tuple[int, dict[PortKey, int], int]]] = defaultdict(list)
    last, stages = 0, dict.fromkeys(OPERANDS, 0)
    for move, at in zip(moves, ends, strict=True):
        if move.edge is None:
            continue
        clocks = {end.key: end.clocks for end in at[move.edge]}
        if move.operand == "output":
            last += max(clocks.values())
        elif move.child is not None:
            both = max(clocks.values()) + latency(move), clocks, latency(move)
            loads[stages[move.operand]].append(both)
            stages[move.operand] += 1
    return sum(map(first_load, loads.values())), last


def first_load(loads: list[tuple[int, dict[Any, int], int]]) -> int:
    """Return the clocks of first loads beside each other, by (alone, clocks by port, latency)."""
    queued: dict[Any, int] = {}
    for _, clocks, _ in loads:
        for key, each in clocks.items():
            queued[key] = queued.get(key, 0) + each
    together = max(queued.values()) + min([waits for _, _, waits in loads])
    return max(together, *[alone for alone, _, _ in loads])


def latency(move: Move) -> int:
    """Return the clocks until what a parent sends is there."""
    return move.parent.latency_cycles if move.kind != "write" and move.child is not None else 0


def array_pj(layer: Layer, chip: Chip, counted: Counted) -> Fraction:
    """Return the energy of units and tables that have work, step by step."""

    def busy(axes: tuple[str, ...]) -> int:
        return prod(
            sum(units(counted.unrolls[d], axes, extent)[0] * count
                for extent, count in counted.bottom(d, 0, size).items())
            for d, size in enumerate(layer.sizes)
        )  # fmt: skip

    worked = busy(chip.units) * (layer.step_cycles - chip.table_cycles) * chip.unit_pj
    return worked + busy(chip.table_units) * chip.table_pj
