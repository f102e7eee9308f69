"""What a mapping costs on a chip's memories: clocks by port, energy by memory.

The one port-accurate formula; the search calls its compiled twin (`cost_kernels`). The machine that
plays a mapping (`sim.cycle.nest`) takes at least as many clocks: the formula takes of its rules
what each transfer, and each port, must wait for at least.

Clocks = steps x clocks of a step + the stalls of the worst port + first load + last store, and
never less than any port needs for its bits. A transfer takes ``ceil(bits / width)`` clocks of a
port at each end, or those of whole bursts (`Port.clocks`). It has a window (`accesses.Transfer`):
the visit before its own where the child has room for two tiles, else the last pass over the tile
that it replaces. A transfer longer than its window stalls by the rest; transfers of one port that
each fit their windows stall by what they take together beyond all windows that any of them has.
Ports work beside each other.

A parent's latency takes no clock of a port, and transfers follow one another without waiting for
it, but each of them must come within its window: with one tile the array waits for what its
clocks and the latency are beyond it. With two tiles the next but one is asked for while the next is
on its way, so that the array waits for two visits at once: for half of that each.
"""

import math
from collections import defaultdict
from collections.abc import Mapping as Table
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

from ..arch.hierarchy import OPERANDS, Hierarchy, Memory, Port
from .accesses import Transfer, amounts, transfers
from .blocks import Nest, Spread, Visit
from .nest import Loops, Mapping
from .operands import OperandBits


@dataclass(frozen=True, slots=True, kw_only=True)
class PortLoad:
    """What goes through one port of a memory.

    Attributes
    ----------
    memory : str
    port : int
        Its place among the ports of the memory.
    reads, writes : int
        Accesses, all copies of the memory together.
    busy : int
        Clocks that the transfers of the copy that has most take.
    stall : Fraction
        Clocks by which they delay the array: for the port's width, or for the memory's latency.
    """

    memory: str
    port: int
    reads: int
    writes: int
    busy: int
    stall: Fraction

    @property
    def name(self) -> str:
        """The port's name."""
        return f"{self.memory}.{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a layer costs under a mapping.

    Attributes
    ----------
    cycles : int
        Clocks in all.
    lower_bound_cycles : int
        The roofline: the steps alone, or the clocks of the busiest port, whichever is more.
    compute_cycles, stall_cycles, first_load_cycles, last_store_cycles : Fraction or int
        The parts of ``cycles``; more than their sum only where the roofline says so.
    ports : tuple of PortLoad
        Ports by memory, outermost first.
    energy_pj : dict of str to float
        By memory, ``array``, ``static`` and, of chips with them, ``decoders``, with ``total``.
    """

    cycles: int
    lower_bound_cycles: int
    compute_cycles: Fraction
    stall_cycles: Fraction
    first_load_cycles: int
    last_store_cycles: int
    ports: tuple[PortLoad, ...]
    energy_pj: Table[str, float]

    @property
    def total_pj(self) -> float:
        """Energy in all."""
        return self.energy_pj["total"]

    @property
    def edp(self) -> float:
        """Energy times clocks."""
        return self.total_pj * self.cycles


DECODERS = "decoders"
"""What decodes weights, among the energies."""
PortKey = tuple[str, int]
EdgeKey = tuple[str, str | None]


class _Ports:
    """Sums over the transfers of every port; windows by operand and child, late by transfer."""

    def __init__(self, elapsed: Fraction) -> None:
        self.elapsed = elapsed
        self.reads: dict[PortKey, int] = defaultdict(int)
        self.writes: dict[PortKey, int] = defaultdict(int)
        self.busy: dict[PortKey, int] = defaultdict(int)
        self.excess: dict[PortKey, Fraction] = defaultdict(Fraction)
        self.within: dict[PortKey, Fraction] = defaultdict(Fraction)
        self.late: dict[PortKey, Fraction] = defaultdict(Fraction)
        self.beside_pj: dict[str, list[float]] = defaultdict(list)
        self.windows: dict[PortKey, dict[EdgeKey, Fraction]] = defaultdict(dict)

    def stall(self, key: PortKey) -> Fraction:
        """Return the clocks by which a port delays the array."""
        windows = min(self.elapsed, sum(self.windows[key].values(), Fraction(0)))
        width = self.excess[key] + max(Fraction(0), self.within[key] - windows)
        return max(width, self.late[key])


@dataclass(frozen=True, slots=True)
class _End:
    """One end of a transfer: a port, the direction in which it is used, what moves."""

    key: PortKey
    reads: bool
    port: Port
    amount: Spread

    def clocks(self, bits: Fraction) -> int:
        return self.port.clocks(self.amount.share, bits)


def cost(layer: Loops, bits: OperandBits, mapping: Mapping, hierarchy: Hierarchy) -> Cost:
    """Return what a layer costs under a mapping that is legal (`mapping.legal`).

    Parameters
    ----------
    layer : Loops
    bits : OperandBits
        Bits of an element of each operand, clocks of a step.
    mapping : Mapping
    hierarchy : Hierarchy
    """
    nest = Nest(layer, mapping)
    moves = transfers(nest)
    compute = nest.steps(0, nest.sizes) * bits.step_cycles
    ports = _Ports(compute)
    for move in moves:
        _count(ports, nest, move, bits, hierarchy)
        _delay(ports, nest, move, bits, hierarchy)
    loads = tuple(
        PortLoad(
            memory=memory.name,
            port=i,
            reads=ports.reads[memory.name, i],
            writes=ports.writes[memory.name, i],
            busy=ports.busy[memory.name, i],
            stall=ports.stall((memory.name, i)),
        )
        for memory in hierarchy.memories
        for i in range(len(memory.ports))
    )
    edges = _first_load(nest, moves, bits, hierarchy), _last_store(nest, moves, bits, hierarchy)
    array_pj = hierarchy.array_pj(partial(busy_units, nest), bits.step_cycles)
    return summed_up(hierarchy, loads, compute, edges, ports.beside_pj, array_pj)


def summed_up(
    hierarchy: Hierarchy,
    loads: tuple[PortLoad, ...],
    compute: Fraction,
    edges: tuple[int, int],
    beside_pj: Table[str, list[float]],
    array_pj: float,
) -> Cost:
    """Return the cost of a mapping from what was counted of it.

    Parameters
    ----------
    hierarchy : Hierarchy
    loads : tuple of PortLoad
        Of all ports.
    compute : Fraction
        Clocks of all steps.
    edges : (int, int)
        Clocks of the first load and of the last store.
    beside_pj : dict of str to list of float
        Energy of what elements have beside what ports take, by memory, in any order; of decoders
        under `DECODERS`.
    array_pj : float
    """
    stall = max((load.stall for load in loads if load.stall), default=Fraction(0))
    bound = max(math.ceil(compute), *(load.busy for load in loads))
    cycles = max(bound, math.ceil(compute + stall) + sum(edges) + hierarchy.fill_cycles)
    energy = {m.name: math.fsum(beside_pj.get(m.name, ())) for m in hierarchy.memories}
    for load in loads:
        port = hierarchy.memory(load.memory).ports[load.port]
        energy[load.memory] += port.energy_pj(load.reads, load.writes)
    if DECODERS in beside_pj:
        energy[DECODERS] = math.fsum(beside_pj[DECODERS])
    energy["array"] = array_pj
    energy["static"] = cycles * hierarchy.static_pj
    energy["total"] = math.fsum(energy.values())
    return Cost(
        cycles=cycles,
        lower_bound_cycles=bound,
        compute_cycles=compute,
        stall_cycles=stall,
        first_load_cycles=edges[0],
        last_store_cycles=edges[1],
        ports=loads,
        energy_pj=energy,
    )


def decodes(memory: Memory, operand: str, reads: bool) -> bool:
    """Return whether what is read of a memory, or written to it, passes decoders."""
    return reads and operand == "weight" and memory.decode_pj > 0.0


def beside_pj(port: Port, reads: bool, bits: Fraction) -> float:
    """Return the energy of bits that elements have beside what a port takes of them."""
    return float(bits / port.width_bits) * (port.read_pj if reads else port.write_pj)


def _ends(nest: Nest, move: Transfer, visit: Visit, hierarchy: Hierarchy) -> list[_End]:
    """Return the ends of a transfer that have ports: the array has none, and what stays none."""
    if hierarchy.stays(move.operand, move.parent):
        return []
    down = move.kind != "write"
    found = []
    for name, amount, reads in zip(
        (move.parent, move.child),
        amounts(nest, move, visit, hierarchy),
        (down, not down),
        strict=True,
    ):
        if name is not None:
            memory = hierarchy.memory(name)
            i = memory.port("read" if reads else "write", move.operand)
            found.append(_End((name, i), reads, memory.ports[i], amount))
    return found


def _count(
    ports: _Ports, nest: Nest, move: Transfer, bits: OperandBits, hierarchy: Hierarchy
) -> None:
    """Add the accesses of a transfer, and the energy of what it moves beside the ports."""
    width = _width(move, bits, hierarchy)
    beside = bits.of(move.operand, partial=move.partial) - width
    elements: dict[tuple[PortKey, bool], int] = defaultdict(int)
    for visit, count in move.visits.items():
        for end in _ends(nest, move, visit, hierarchy):
            taken = end.clocks(width)
            accesses = ports.reads if end.reads else ports.writes
            accesses[end.key] += taken * end.amount.copies * count
            ports.busy[end.key] += taken * count
            elements[end.key, end.reads] += end.amount.elements * count
    for ((name, i), reads), moved in elements.items():
        memory = hierarchy.memory(name)
        if beside:
            ports.beside_pj[name].append(beside_pj(memory.ports[i], reads, moved * beside))
        if decodes(memory, move.operand, reads):
            ports.beside_pj[DECODERS].append(moved * memory.decode_pj)


def _delay(
    ports: _Ports, nest: Nest, move: Transfer, bits: OperandBits, hierarchy: Hierarchy
) -> None:
    """Add what a transfer takes of its windows, and beyond."""
    width, latency = _width(move, bits, hierarchy), _latency(move, hierarchy)
    late = Fraction(0)
    excess: dict[PortKey, Fraction] = defaultdict(Fraction)
    within: dict[PortKey, Fraction] = defaultdict(Fraction)
    for (visit, steps), count in move.timed.items():
        window, slowest = steps * bits.step_cycles, 0
        for end in _ends(nest, move, visit, hierarchy):
            taken = end.clocks(width)
            excess[end.key] += max(Fraction(0), taken - window) * count
            within[end.key] += min(Fraction(taken), window) * count
            slowest = max(slowest, taken)
        late += max(Fraction(0), slowest + latency - window) * count
    edge, windows = (move.operand, move.child), move.window_steps * bits.step_cycles
    for port, beyond in excess.items():
        ports.excess[port] += max(Fraction(0), beyond)
        ports.within[port] += max(Fraction(0), within[port])
        ports.windows[port][edge] = windows
    if latency:
        apart = move.kind == "fetch" and not move.doubled
        at = move.parent, hierarchy.memory(move.parent).port("read", move.operand)
        ports.late[at] = max(ports.late[at], late if apart else late / 2)


def _latency(move: Transfer, hierarchy: Hierarchy) -> int:
    """Return the clocks until what a parent sends is there; the array's reads are on time."""
    down = move.kind != "write" and move.child is not None
    down = down and not hierarchy.stays(move.operand, move.parent)
    return hierarchy.memory(move.parent).latency_cycles if down else 0


def _width(move: Transfer, bits: OperandBits, hierarchy: Hierarchy) -> Fraction:
    """Return the bits of an element on the way: its code where the array or its registers end."""
    if move.child is None or hierarchy.memory(move.child).words is not None:
        return bits.code(move.operand, partial=move.partial)
    return bits.of(move.operand, partial=move.partial)


def _first_load(
    nest: Nest, moves: tuple[Transfer, ...], bits: OperandBits, hierarchy: Hierarchy
) -> int:
    """Return the clocks until all memories have their first tiles.

    Memory by memory down the chains; transfers through one port queue, their latencies do not.
    """
    stages: dict[int, dict[PortKey, int]] = defaultdict(lambda: defaultdict(int))
    alone: dict[int, int] = defaultdict(int)
    least: dict[int, int] = {}
    for operand in OPERANDS[:2]:
        chain = (move for move in moves if move.operand == operand and move.child is not None)
        for stage, move in enumerate(chain):
            latency = _latency(move, hierarchy)
            least[stage] = min(least.get(stage, latency), latency)
            for end in _ends(nest, move, _spared(move), hierarchy):
                taken = end.clocks(_width(move, bits, hierarchy))
                stages[stage][end.key] += taken
                alone[stage] = max(alone[stage], taken + latency)
    return sum(
        max(alone[stage], max(ports.values()) + least[stage]) for stage, ports in stages.items()
    )


def _spared(move: Transfer) -> Visit:
    assert move.spared is not None
    return move.spared


def _last_store(
    nest: Nest, moves: tuple[Transfer, ...], bits: OperandBits, hierarchy: Hierarchy
) -> int:
    """Return the clocks from the last step until its results are stored."""
    return sum(
        max(
            (
                end.clocks(_width(move, bits, hierarchy))
                for end in _ends(nest, move, _spared(move), hierarchy)
            ),
            default=0,
        )
        for move in moves
        if move.kind == "write" and not move.partial
    )


def busy_units(nest: Nest, axes: tuple[str, ...]) -> int:
    """Return the units of some axes that have work, summed over all steps."""
    end = len(nest.loops)
    return math.prod(
        sum(
            nest.copies(axes, dim, end, tile) * count
            for tile, count in nest.bottom(dim, 0, size).items()
        )
        for dim, size in enumerate(nest.sizes)
    )
