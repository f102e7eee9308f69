"""The cost of the mapping that a compiled search found, from what it counted.

The same record as `mapping.cost.cost` makes of the mapping, figure by figure, without following its
loops again.
"""

from collections import defaultdict
from collections.abc import Mapping as Table
from fractions import Fraction
from typing import Any

from ..arch.hierarchy import OPERANDS
from . import cost_kernels as kernels
from .cost import DECODERS, Cost, PortLoad, beside_pj, decodes, summed_up
from .frame import KINDS
from .packed import Packed
from .scratch_kernels import KEPT
from .space import Ways

_NO_STALL = Fraction(0)


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
    moved, beside, outer_bits = _moved(packed, transfers.tolist())
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
                    stall=Fraction(stall, 2 * pace) if stall else _NO_STALL,
                )
            )
    last = int(edges[1])
    first = int(edges[0]) - last - chip.fill_cycles
    array_pj = chip.array_pj(lambda axes: int(ways.busy_units(axes)[way]), bits.step_cycles)
    return summed_up(chip, tuple(loads), compute, (first, last), beside, array_pj), outer_bits


def _moved(
    packed: Packed, transfers: Any
) -> tuple[dict[tuple[str, int, bool], int], Table[str, list[float]], dict[str, Fraction]]:
    """Return the accesses of each port by direction, energies beside them, outermost bits."""
    bits = packed.bits
    accesses: dict[tuple[str, int, bool], int] = defaultdict(int)
    energy: dict[str, list[float]] = defaultdict(list)
    outer_bits = dict.fromkeys(OPERANDS, Fraction(0))
    outermost = packed.hierarchy.memories[0].name
    for move, ends, sums in zip(packed.moves, packed.end_ports, transfers, strict=True):
        for kind, partial, ways in KINDS:
            if (kind == kernels.FETCH) == (move.operand == "output"):
                continue
            for end, memory in enumerate((move.parent, move.child)):
                row, reads = sums[2 * kind + end], ways[end] == "read"
                if memory is None or not row[kernels.ACCESSES]:
                    continue
                name, i = packed.ports[ends[kind][end]]
                accesses[name, i, reads] += row[kernels.ACCESSES]
                elements = row[kernels.ELEMENTS]
                stored = bits.of(move.operand, partial=partial)
                width = packed.width(move, partial=partial)
                if width is not stored and width != stored:
                    beside = elements * (stored - width)
                    energy[name].append(beside_pj(memory.ports[i], reads, beside))
                if decodes(memory, move.operand, reads):
                    energy[DECODERS].append(elements * memory.decode_pj)
                if name == outermost:
                    outer_bits[move.operand] += elements * stored
    return accesses, energy, outer_bits
