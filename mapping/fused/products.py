"""The products of a chain's blocks on the near memories: exact under a mapping, or a floor.

A floor undercuts every mapping: the least steps of any unrolling; each operand read once, or, where
nothing behind the near memories keeps it, as often as the units that share an element leave it; the
energy of as many accesses, and of the units that the products need.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from math import prod
from typing import NamedTuple

from ...arch.hierarchy import OPERANDS, Hierarchy
from ...datatypes.base.numbers import ceil_div, units_of
from ..best import Best
from ..nest import Loops, dims_of
from ..operands import OperandBits
from ..space import Ways
from .chain import Chain
from .near import NearChip, PortAt


class Asked(NamedTuple):
    """A product of a block: which of the chain's, its sizes, whether its results are finished."""

    second: bool
    rows: int
    columns: int
    finished: bool

    def loops(self, chain: Chain) -> Loops:
        """Return its loops."""
        if self.second:
            return Loops.product(self.rows, chain.out, self.columns)
        return Loops.product(self.rows, self.columns, chain.inner)

    def bits(self, chain: Chain) -> OperandBits:
        """Return the bits of its operands: sums that others are added to are unfinished."""
        stored = chain.second if self.second else chain.first
        if self.finished:
            return stored
        return replace(stored, output=Fraction(stored.partial), output_code=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockProduct:
    """What a product of a block costs on the near memories, and behind them.

    Attributes
    ----------
    cycles : int
    step_cycles : Fraction
        Clocks of its steps.
    accesses : dict of PortAt to (int, int, int)
        Reads and writes of each port, and clocks that it is busy.
    array_pj, memory_pj, written_pj : float
        Energy of the array, of all memories but the outermost, and of the writes among it.
    """

    cycles: int
    step_cycles: Fraction
    accesses: Mapping[PortAt, tuple[int, int, int]]
    array_pj: float
    memory_pj: float
    written_pj: float


ProductOf = Callable[[Asked], BlockProduct]


def block_product(best: Best, near: NearChip, cycles: int | None = None) -> BlockProduct:
    """Return what a product of a block costs under its mapping.

    Parameters
    ----------
    best : Best
        On the near memories.
    near : NearChip
    cycles : int, optional
        Clocks that a rung found for it, in the place of the cost's.
    """
    cost, one = best.cost, near.inside.memories[0].name
    accesses, written = {}, []
    for load in cost.ports:
        at = PortAt(load.memory, load.port)
        port = near.inside.memory(load.memory).ports[load.port]
        written.append(load.writes * port.write_pj)
        at = near.ports[load.port] if load.memory == one else at
        accesses[at] = (load.reads, load.writes, load.busy)
    names = [memory.name for memory in near.inside.memories]
    return BlockProduct(
        cycles=cost.cycles if cycles is None else cycles,
        step_cycles=cost.compute_cycles,
        accesses=accesses,
        array_pj=cost.energy_pj["array"],
        memory_pj=math.fsum(cost.energy_pj[name] for name in names),
        written_pj=math.fsum(written),
    )


def floor_product(chain: Chain, near: NearChip, asked: Asked) -> BlockProduct:
    """Return what no mapping of a block's product undercuts."""
    loops, bits, inside = asked.loops(chain), asked.bits(chain), near.inside
    steps = least_steps(tuple(loops.sizes.items()), inside.axes) * bits.step_cycles
    one, accesses = inside.memories[0], dict[PortAt, tuple[int, int, int]]()
    memory_pj, written_pj = 0.0, 0.0
    for operand in OPERANDS:
        writes = operand == "output"
        i = one.port("write" if writes else "read", operand)
        port, elements = one.ports[i], _least_moved(loops, inside, operand)
        units = units_of(elements, bits.code(operand) / port.width_bits, 1)
        access_pj = port.write_pj if writes else port.read_pj
        energy = float(elements * bits.of(operand) / port.width_bits) * access_pj
        memory_pj += energy
        written_pj += energy if writes else 0.0
        reads, wrote, busy = accesses.get(near.ports[i], (0, 0, 0))
        both = (reads, wrote + units) if writes else (reads + units, wrote)
        accesses[near.ports[i]] = (*both, busy + units)
    spread = prod(axis.size for axis in inside.axes if axis.name not in inside.units)
    busy_units = ceil_div(loops.macs, spread)
    return BlockProduct(
        cycles=math.ceil(steps),
        step_cycles=steps,
        accesses=accesses,
        array_pj=float(busy_units * (bits.step_cycles - inside.table_cycles)) * inside.unit_pj,
        memory_pj=memory_pj,
        written_pj=written_pj,
    )


def _least_moved(loops: Loops, inside: Hierarchy, operand: str) -> int:
    """Return the elements of an operand that leave or reach the near memories at least.

    Those that nothing behind them keeps go to the array in every step, one for all units of axes
    along which it is the same.
    """
    if operand == "output" or len(inside.chain(operand)) > 1:
        return loops.elements(operand)
    index = loops.indexes[operand]
    shared = prod(
        axis.size for axis in inside.axes if any(dim not in index for dim in dims_of(axis.dims))
    )
    return max(loops.elements(operand), ceil_div(loops.macs, shared))


@lru_cache(maxsize=65536)
def least_steps(sizes: tuple[tuple[str, int], ...], axes: tuple[object, ...]) -> int:
    """Return the fewest steps of the array over all ways to unroll a product.

    Parameters
    ----------
    sizes : tuple of (str, int)
        Extents of m, n and k.
    axes : tuple of Axis
    """
    extents = dict(sizes)
    layer = Loops.product(extents["m"], extents["n"], extents["k"])
    ways = Ways(layer, axes)  # type: ignore[arg-type]
    return min(
        prod(ceil_div(extents[dim], int(tile)) for dim, tile in zip(ways.dims, way, strict=True))
        for way in ways.tiles.tolist()
    )
