"""Clocks, energy and accesses of a mapping, from what is counted of its loops."""

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from fractions import Fraction
from math import prod

from .count import Counted, Move, PortKey, units
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


def total(counted: Counted, moves: list[Move]) -> Cost:
    """Return what moves cost that have been counted."""
    layer, chip = counted.layer, counted.chip
    keys = [(memory.name, i) for memory in chip.memories for i in range(len(memory.ports))]
    compute = counted.all_steps * layer.step_cycles
    accesses = {key: [0, 0] for key in keys}
    busy = dict.fromkeys(keys, 0)
    beside, decoded = {memory.name: Fraction(0) for memory in chip.memories}, Fraction(0)
    for move in moves:
        width = code_bits(layer, move)
        extra = layer.bits(move.operand, partial=move.partial, code=False) - width
        for visit, count in move.visits.items():
            for key, reads, port, tile in counted.ends(move, visit):
                taken = port.clocks(tile.share * width)
                accesses[key][not reads] += taken * tile.copies * count
                busy[key] += taken * count
                if extra:
                    moved = tile.elements * count * extra / port.width
                    beside[key[0]] += moved * _pj(chip, key, reads=reads)
                each = chip.memory(key[0]).decoding_pj(move.operand, reads=reads)
                if each:
                    decoded += tile.elements * count * each
    stalls = _stalls(counted, moves, compute, keys)
    first, last = edges(counted, moves)
    stall = max(stalls.values())
    bound = max(math.ceil(compute), *busy.values())
    cycles = max(bound, math.ceil(compute + stall) + first + last + chip.fill_cycles)
    energy = beside
    for key, (read, written) in accesses.items():
        energy[key[0]] += read * _pj(chip, key, reads=True) + written * _pj(chip, key, reads=False)
    if decoded:
        energy[DECODERS] = decoded
    energy["array"] = array_pj(layer, chip, counted)
    energy["static"] = cycles * chip.static_pj
    return Cost(
        cycles=cycles,
        compute=compute,
        stall=stall,
        first_load=first,
        last_store=last,
        ports={key: (accesses[key][0], accesses[key][1], busy[key], stalls[key]) for key in keys},
        energy_pj=energy,
    )


def _stalls(
    counted: Counted, moves: list[Move], compute: Fraction, keys: list[PortKey]
) -> dict[PortKey, Fraction]:
    """Return the clocks by which each port delays the array."""
    zero = Fraction(0)
    beyond, inside, late = (dict.fromkeys(keys, zero) for _ in range(3))
    windows: dict[PortKey, dict[tuple[str, str | None], Fraction]] = {key: {} for key in keys}
    for move in moves:
        width, waits, slow = code_bits(counted.layer, move), latency(move), zero
        sums: dict[PortKey, list[Fraction]] = {}
        for visit, window, count in move.timed:
            slowest: int = 0
            for key, _, port, tile in counted.ends(move, visit):
                taken = port.clocks(tile.share * width)
                both = sums.setdefault(key, [zero, zero])
                both[0] += max(zero, Fraction(taken) - window) * count
                both[1] += min(Fraction(taken), window) * count
                slowest = max(slowest, taken)
            slow += max(zero, Fraction(slowest + waits) - window) * count
        for key, (over, within) in sums.items():
            beyond[key] += max(zero, over)
            inside[key] += max(zero, within)
            edge = move.operand, move.child.name if move.child else None
            windows[key][edge] = move.windows
        if waits:
            at = move.parent.name, move.parent.port(move.operand, reads=True)
            alone = move.kind == "fetch" and not move.doubled
            late[at] = max(late[at], slow if alone else slow / 2)
    return {
        key: max(
            beyond[key] + max(zero, inside[key] - min(compute, sum(windows[key].values(), zero))),
            late[key],
        )
        for key in keys
    }


def edges(counted: Counted, moves: list[Move]) -> tuple[int, int]:
    """Return the clocks of first load and last store."""
    loads: dict[int, list[tuple[int, dict[PortKey, int], int]]] = defaultdict(list)
    last = 0
    for operand in OPERANDS:
        own = [move for move in moves if move.operand == operand and move.edge]
        for stage, move in enumerate(own):
            assert move.edge is not None
            width = code_bits(counted.layer, move)
            clocks = {
                key: port.clocks(tile.share * width)
                for key, _, port, tile in counted.ends(move, move.edge)
            }
            if operand == "output":
                last += max(clocks.values())
            elif move.child is not None:
                loads[stage].append((max(clocks.values()) + latency(move), clocks, latency(move)))
    return sum(map(first_load, loads.values())), last


def first_load(loads: list[tuple[int, dict[PortKey, int], int]]) -> int:
    """Return the clocks of first loads beside each other, by (alone, clocks by port, latency)."""
    queued: Counter[PortKey] = Counter()
    for _, clocks, _ in loads:
        queued.update(clocks)
    together = max(queued.values()) + min(waits for _, _, waits in loads)
    return max(together, *(alone for alone, _, _ in loads))


def code_bits(layer: Layer, move: Move) -> Fraction:
    """Return the bits of an element on the way: its code where array or words end."""
    code = move.child is None or move.child.words is not None
    return layer.bits(move.operand, partial=move.partial, code=code)


def latency(move: Move) -> int:
    """Return the clocks until what a parent sends is there."""
    return move.parent.latency if move.kind != "write" and move.child is not None else 0


def _pj(chip: Chip, key: PortKey, *, reads: bool) -> Fraction:
    port = chip.memory(key[0]).ports[key[1]]
    return port.read_pj if reads else port.write_pj


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
