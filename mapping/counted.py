"""The cost of the mapping that a compiled search found, from what it counted.

The same record as `mapping.cost.cost` makes of the mapping, figure by figure, without following its
loops again.
"""

from collections import defaultdict
from collections.abc import Mapping as Table
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

from ..arch.hierarchy import OPERANDS
from . import cost_kernels as kernels
from .cost import DECODERS, Cost, PortLoad, decodes, summed_up
from .frame import KINDS, Frame
from .packed import Packed
from .scratch_kernels import KEPT
from .space import Ways

_NOTHING = Fraction(0)


def counted_cost(packed: Packed, ways: Ways, way: int) -> tuple[Cost, dict[str, Fraction]]:
    """Return the cost of the mapping that was kept last, and its bits at the outermost memory.

    Parameters
    ----------
    packed : Packed
        Whose arrays hold the counts (`Packed.scratch`).
    ways : Ways
        All ways to unroll the layer.
    way : int
        The number of the mapping's.
    """
    transfers, at_ports, edges = packed.scratch[KEPT]
    bits, chip = packed.bits, packed.hierarchy
    elapsed = int(ways.steps[way]) * packed.pace[0]  # units of the pace, as sums of ports are
    compute = Fraction(elapsed, packed.pace[1])
    moved, beside, outer_bits = _moved(packed.frame, transfers.tolist())
    loads, pace = [], packed.pace[1]
    index = dict(zip(packed.ports, at_ports.tolist(), strict=True))
    for memory in chip.memories:
        for i in range(len(memory.ports)):
            row = index[memory.name, i]
            within = max(0, row[kernels.WITHIN] - min(elapsed, row[kernels.WINDOWS]))
            stall = max(2 * (row[kernels.EXCESS] + within), row[kernels.LATE])
            loads.append(
                PortLoad(
                    memory=memory.name,
                    port=i,
                    reads=moved[memory.name, i, True],
                    writes=moved[memory.name, i, False],
                    busy=row[kernels.BUSY],
                    stall=Fraction(stall, 2 * pace) if stall else _NOTHING,
                )
            )
    last = int(edges[1])
    first = int(edges[0]) - last - chip.fill_cycles
    array_pj = chip.array_pj(lambda axes: int(ways.busy_units(axes)[way]), bits.step_cycles)
    return summed_up(chip, tuple(loads), compute, (first, last), beside, array_pj), outer_bits


class _End(NamedTuple):
    """An end of transfers of one kind, in counts of a mapping: see `_ends_of`.

    ``at``: the transfer, and the row of its sums. ``stored``: bits of an element, as a ratio.
    ``beside``: those beside what the port takes of it, in accesses, as a ratio, each of
    ``access_pj``. ``decode_pj``: of an element that passes decoders.
    """

    at: tuple[int, int]
    port: tuple[str, int, bool]
    operand: str
    stored: tuple[int, int]
    beside: tuple[int, int]
    access_pj: float
    decode_pj: float
    outermost: bool


@lru_cache(maxsize=512)
def _ends_of(frame: Frame) -> tuple[_End, ...]:
    """Return the ends of all transfers that have ports."""
    found = list[_End]()
    outermost = frame.hierarchy.memories[0].name
    for t, (move, ends) in enumerate(zip(frame.moves, frame.end_ports, strict=True)):
        for kind, partial, ways in KINDS:
            if (kind == kernels.FETCH) == (move.operand == "output"):
                continue
            stored = frame.bits.of(move.operand, partial=partial)
            width = frame.width(move, partial=partial)
            for end, memory in enumerate((move.parent, move.child)):
                if memory is None:
                    continue
                name, i = frame.ports[ends[kind][end]]
                port, reads = memory.ports[i], ways[end] == "read"
                found.append(
                    _End(
                        at=(t, 2 * kind + end),
                        port=(name, i, reads),
                        operand=move.operand,
                        stored=stored.as_integer_ratio(),
                        beside=((stored - width) / port.width_bits).as_integer_ratio(),
                        access_pj=port.read_pj if reads else port.write_pj,
                        decode_pj=memory.decode_pj if decodes(memory, move.operand, reads) else 0.0,
                        outermost=name == outermost,
                    )
                )
    return tuple(found)


def _moved(
    frame: Frame, transfers: Any
) -> tuple[dict[tuple[str, int, bool], int], Table[str, list[float]], dict[str, Fraction]]:
    """Return the accesses of each port by direction, energies beside them, outermost bits."""
    accesses: dict[tuple[str, int, bool], int] = defaultdict(int)
    energy: dict[str, list[float]] = defaultdict(list)
    outer: dict[tuple[str, tuple[int, int]], int] = defaultdict(int)
    for (t, end), port, operand, stored, (up, down), access_pj, decode_pj, outermost in _ends_of(
        frame
    ):
        row = transfers[t][end]
        if not row[kernels.ACCESSES]:
            continue
        elements = row[kernels.ELEMENTS]
        accesses[port] += row[kernels.ACCESSES]
        if up:
            energy[port[0]].append(elements * up / down * access_pj)
        if decode_pj:
            energy[DECODERS].append(elements * decode_pj)
        if outermost:
            outer[operand, stored] += elements
    outer_bits = dict.fromkeys(OPERANDS, _NOTHING)
    for (operand, (up, down)), elements in outer.items():
        bits = Fraction(elements * up, down)
        outer_bits[operand] = outer_bits[operand] + bits if outer_bits[operand] else bits
    return accesses, energy, outer_bits
