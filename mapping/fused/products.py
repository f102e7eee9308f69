"""The products of a chain's blocks on the near memories: exact under a mapping, or a floor.

A floor undercuts every mapping: the least steps of any unrolling; each operand read once, or, where
nothing behind the near memories keeps it, as often as the units that share an element leave it; the
energy of as many accesses, of what the array takes and leaves behind them, and of the units that
the products need.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from math import prod
from typing import NamedTuple

from ...arch.hierarchy import OPERANDS, Hierarchy, Memory
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

    @classmethod
    def both(cls, rows: int, columns: int, *, alone: bool) -> "tuple[Asked, Asked]":
        """Return the products of a block; ``alone``: it holds all that its rows see."""
        return cls(False, rows, columns, True), cls(True, rows, columns, alone)

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

    def chip(self, chain: Chain, near: NearChip) -> Hierarchy:
        """Return the near memories and what is behind them, as the product finds them."""
        unit_pj = chain.second_pj if self.second else chain.first_pj
        return near.inside if unit_pj is None else _with_unit_pj(near.inside, unit_pj)


@lru_cache(maxsize=1024)
def _with_unit_pj(hierarchy: Hierarchy, unit_pj: float) -> Hierarchy:
    return replace(hierarchy, unit_pj=unit_pj)  # checked anew, so made once


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
    loops, bits, inside = asked.loops(chain), asked.bits(chain), asked.chip(chain, near)
    steps = least_steps(tuple(loops.sizes.items()), inside.axes) * bits.step_cycles
    one, accesses = inside.memories[0], dict[PortAt, tuple[int, int, int]]()
    memory_pj, written_pj = 0.0, 0.0
    for operand in OPERANDS:
        writes = operand == "output"
        i = one.port("write" if writes else "read", operand)
        elements = _least_moved(loops, inside, operand)
        units = units_of(elements, bits.code(operand) / one.ports[i].width_bits, 1)
        energy = float(elements * bits.of(operand)) * _bit_pj(one, operand, writes=writes)
        memory_pj += energy + _array_end_pj(loops, bits, inside, operand)
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

    Those that nothing behind them keeps go to the array in every step.
    """
    if operand == "output" or len(inside.chain(operand)) > 1:
        return loops.elements(operand)
    return max(loops.elements(operand), _in_steps(loops, inside, operand))


def _in_steps(loops: Loops, inside: Hierarchy, operand: str) -> int:
    """Return the elements that the array takes or leaves, one for all units that share it."""
    index = loops.indexes[operand]
    shared = prod(
        axis.size for axis in inside.axes if any(dim not in index for dim in dims_of(axis.dims))
    )
    return ceil_div(loops.macs, shared)


def _array_end_pj(loops: Loops, bits: OperandBits, inside: Hierarchy, operand: str) -> float:
    """Return the energy of what the array takes or leaves at least, behind the near memories.

    Through the innermost memory, or one further out where the operand may go past it: the one of
    least energy. Nothing where units have copies of it.
    """
    writes, ends = operand == "output", list[float]()
    for memory in reversed(inside.chain(operand)[1:]):
        ends.append(0.0 if memory.per else _bit_pj(memory, operand, writes=writes))
        if operand not in memory.optional:
            return float(_in_steps(loops, inside, operand) * bits.code(operand)) * min(ends)
    return 0.0


def _bit_pj(memory: Memory, operand: str, *, writes: bool) -> float:
    port = memory.ports[memory.port("write" if writes else "read", operand)]
    return (port.write_pj if writes else port.read_pj) / float(port.width_bits)


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
