"""The products of a chain's blocks on the near memories: exact under a mapping, or a floor.

A floor undercuts every mapping: the least steps of any unrolling; each operand read once, or, where
nothing behind the near memories keeps it, as often as the units that share an element leave it, and
in an access a step at least; the energy of as many accesses, of what the array takes and leaves
behind them, and of the units that the products need.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from itertools import product
from math import isqrt, prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...arch.hierarchy import OPERANDS, Axis, Hierarchy, Memory
from ...datatypes.base.numbers import ceil_div
from ..best import Best
from ..cost import DECODERS
from ..nest import PARTS, Loops, dims_of
from ..operands import OperandBits
from .chain import Chain, Ints
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
        return stored if self.finished else _unfinished(stored)

    def chip(self, chain: Chain, near: NearChip) -> Hierarchy:
        """Return the near memories and what is behind them, as the product finds them."""
        unit_pj = chain.second_pj if self.second else chain.first_pj
        return inside_of(near, unit_pj)


@lru_cache(maxsize=256)
def _unfinished(stored: OperandBits) -> OperandBits:
    return replace(stored, output=Fraction(stored.partial), output_code=None)


def inside_of(near: NearChip, unit_pj: float | None) -> Hierarchy:
    """Return the near memories and what is behind them, with the energy of a unit; None: its own.

    Parameters
    ----------
    near : NearChip
    unit_pj : float or None
        In a clock of a step.
    """
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
        Energy of the array with its decoders, of all memories but the outermost, and of the
        writes among it.
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
        array_pj=cost.energy_pj["array"] + cost.energy_pj.get(DECODERS, 0.0),
        memory_pj=math.fsum(cost.energy_pj[name] for name in names),
        written_pj=math.fsum(written),
    )


def floor_product(chain: Chain, near: NearChip, asked: Asked) -> BlockProduct:
    """Return what no mapping of a block's product undercuts."""
    return floor_of(asked.loops(chain), asked.bits(chain), asked.chip(chain, near), near)


def floor_of(loops: Loops, bits: OperandBits, inside: Hierarchy, near: NearChip) -> BlockProduct:
    """Return what no mapping of a product, or of a convolution, on the near memories undercuts.

    Parameters
    ----------
    loops : Loops
    bits : OperandBits
    inside : Hierarchy
        The near memories and what is behind them, as the product finds them.
    near : NearChip
    """
    turns = _turns(loops, inside)
    steps = turns * bits.step_cycles
    accesses = dict[PortAt, tuple[int, int, int]]()
    memory_pj, written_pj = 0.0, 0.0
    for end in _ends(bits, inside):
        elements, taken = loops.elements(end.operand), _in_steps(loops, inside, end.operand)
        bordered = end.operand == "input" and reads_border(loops)
        if end.alone:
            elements = max(elements, taken)
        (up, down), (code, parts), (width, wide) = end.clocks, end.code, end.width
        units = ceil_div(elements * up, down)
        moved = elements * code / parts
        if end.alone and not bordered:
            units, moved = max(units, turns), max(moved, turns * width / wide)
        energy = (moved + elements * end.beside) * end.bit_pj
        memory_pj += energy + taken * code / parts * end.behind_pj
        written_pj += energy if end.writes else 0.0
        reads, wrote, busy = accesses.get(near.ports[end.port], (0, 0, 0))
        both = (reads, wrote + units) if end.writes else (reads + units, wrote)
        accesses[near.ports[end.port]] = (*both, busy + units)
    spread = prod(axis.size for axis in inside.axes if axis.name not in inside.units)
    busy_units = ceil_div(loops.macs, spread)
    return BlockProduct(
        cycles=_least_cycles(loops, bits, inside, turns),
        step_cycles=steps,
        accesses=accesses,
        array_pj=float(busy_units * (bits.step_cycles - inside.table_cycles)) * inside.unit_pj,
        memory_pj=memory_pj,
        written_pj=written_pj,
    )


class _End(NamedTuple):
    """What of an operand passes the near memories' port, whatever the sizes of a product.

    ``alone``: nothing behind them keeps it. ``width``, ``code``, ``clocks``: bits of the port, and
    of an element's code, and the code's clocks, as ratios. ``beside``: bits of an element that are
    none of its code. ``behind_pj``: `end_pj`.
    """

    operand: str
    writes: bool
    alone: bool
    port: int
    width: tuple[int, int]
    code: tuple[int, int]
    clocks: tuple[int, int]
    beside: float
    bit_pj: float
    behind_pj: float


@lru_cache(maxsize=256)
def _ends(bits: OperandBits, inside: Hierarchy) -> tuple[_End, ...]:
    one, found = inside.memories[0], list[_End]()
    for operand in OPERANDS:
        writes, code = operand == "output", bits.code(operand)
        i = one.port("write" if writes else "read", operand)
        width = one.ports[i].width_bits
        found.append(
            _End(
                operand=operand,
                writes=writes,
                alone=not writes and len(inside.chain(operand)) == 1,
                port=i,
                width=width.as_integer_ratio(),
                code=code.as_integer_ratio(),
                clocks=(code / width).as_integer_ratio(),
                beside=float(bits.of(operand) - code),
                bit_pj=bit_pj(one, operand, writes=writes),
                behind_pj=end_pj(inside, operand),
            )
        )
    return tuple(found)


def reads_border(loops: Loops) -> bool:
    """Return whether taps of a convolution lie in the border, which is read nowhere."""
    return any(
        window.padding
        or window.clip(window.low(0, 0), loops.sizes[window.out], loops.sizes[window.tap]).above
        for window in loops.windows
    )


def _turns(loops: Loops, inside: Hierarchy) -> int:
    """Return the steps that no way to unroll undercuts: groups one after another."""
    sizes = loops.sizes
    known = all(set("mnk") & set(axis.dims) >= _bases(axis.dims) for axis in inside.axes)
    if not known:  # an axis of groups, or of a part of m or k alone
        return ceil_div(loops.macs, prod(axis.size for axis in inside.axes))
    groups = prod(sizes.get(dim, 1) for dim in ("b", "g"))
    m, k = (prod(sizes.get(dim, 1) for dim in dims) for dims in ("mpq", "kcrs"))
    return groups * int(least_steps(m, sizes["n"], k, inside.axes))


def _bases(dims: tuple[str, ...]) -> set[str]:
    """Return what dimensions of convolutions are of products: taps and channels of ``k``."""
    return {next((base for base, parts in PARTS.items() if dim in parts), dim) for dim in dims}


def _least_cycles(loops: Loops, bits: OperandBits, inside: Hierarchy, turns: int) -> int:
    """Return clocks of at least so many steps, with those in which the last results leave.

    The last of as many steps has the products that the others cannot have, and its results leave
    after it; of more steps the last has one.
    """
    one = inside.memories[0]
    port, code = one.ports[one.port("write", "output")], bits.code("output")
    last = loops.macs - (turns - 1) * prod(axis.size for axis in inside.axes)
    results = ceil_div(last, sharing(loops, inside, "output"))
    ends = (turns, max(1, results)), (turns + 1, 1)
    found = min(math.ceil(n * bits.step_cycles) + port.clocks(left, code) for n, left in ends)
    return found + inside.fill_cycles


def _in_steps(loops: Loops, inside: Hierarchy, operand: str) -> int:
    """Return the elements that the array takes or leaves, one for all units that share it.

    Each as often as the others' loops do not fit beside each other in those units.
    """
    if not loops.windows:
        elements = loops.elements(operand)
        return elements * ceil_div(loops.macs // elements, sharing(loops, inside, operand))
    macs = loops.macs
    for window in loops.windows if operand == "input" else ():  # the border is read nowhere
        outs, taps = loops.sizes[window.out], loops.sizes[window.tap]
        first = -window.padding
        inner = sum(
            0 <= first + out * window.stride + tap * window.dilation < window.size
            for out in range(outs)
            for tap in range(taps)
        )
        macs = macs // (outs * taps) * inner
    return ceil_div(macs, sharing(loops, inside, operand))


def sharing(loops: Loops, inside: Hierarchy, operand: str) -> int:
    """Return the units that may take, or add up to, the same element of an operand.

    Those along axes that may unroll a dimension of the layer that does not index it.
    Of a convolution those of several taps, too: with as many outputs they have one pixel.
    """
    taps = tuple(window.tap for window in loops.windows)
    indexes = loops.indexes[operand]
    other = tuple(dim for dim in loops.sizes if dim not in indexes or dim in taps)
    return _units_along(inside.axes, other)


@lru_cache(maxsize=256)
def _units_along(axes: tuple[Axis, ...], dims: tuple[str, ...]) -> int:
    """Return the units along axes that may unroll any of some dimensions."""
    return prod(axis.size for axis in axes if not set(dims).isdisjoint(dims_of(axis.dims)))


def end_pj(inside: Hierarchy, operand: str) -> float:
    """Return the energy of a bit that the array takes or leaves at least, behind the near memories.

    Through the innermost memory, or one further out where the operand may go past it: the one of
    least energy. Nothing where units have copies of it.
    """
    writes, ends = operand == "output", list[float]()
    for memory in reversed(inside.chain(operand)[1:]):
        ends.append(0.0 if memory.per else bit_pj(memory, operand, writes=writes))
        if operand not in memory.optional:
            return min(ends)
    return 0.0


def bit_pj(memory: Memory, operand: str, *, writes: bool) -> float:
    """Return the energy of a bit that passes a memory's port."""
    port = memory.ports[memory.port("write" if writes else "read", operand)]
    return (port.write_pj if writes else port.read_pj) / float(port.width_bits)


def least_steps(
    m: Ints | int, n: Ints | int, k: Ints | int, axes: tuple[Axis, ...]
) -> NDArray[np.int64]:
    """Return steps of the array that no way to unroll products undercuts.

    Parameters
    ----------
    m, n, k : int64 arrays or int
        Sizes of the products, that broadcast.
    axes : tuple of Axis
    """
    found = np.asarray(m * n * k)
    for tile_m, tile_n, tile_k in step_sizes(axes):
        found = np.minimum(found, -(-m // tile_m) * -(-n // tile_n) * -(-k // tile_k))
    return found


Tile = tuple[int, int, int]


@lru_cache(maxsize=256)
def step_sizes(axes: tuple[Axis, ...]) -> tuple[Tile, ...]:
    """Return the largest extents of m, n and k that axes unroll, of any product.

    Those that no others exceed in all dimensions.

    Examples
    --------
    >>> step_sizes((Axis(name="x", size=6, dims=("m", "k")), Axis(name="y", size=2, dims=("n",))))
    ((6, 2, 1), (3, 2, 2), (2, 2, 3), (1, 2, 6))
    """
    found = [(1, 1, 1)]
    for axis in axes:
        some = {(1, 1, 1)}
        for one, other in product(set(dims_of(axis.dims)) & set("mnk"), repeat=2):
            for extent in _quotients(axis.size):
                sizes = {one: extent} if one == other else {one: extent, other: axis.size // extent}
                some.add((sizes.get("m", 1), sizes.get("n", 1), sizes.get("k", 1)))
        joined = product(found, _largest(some))
        found = _largest({(a * x, b * y, c * z) for (a, b, c), (x, y, z) in joined})
    return tuple(found)


def _quotients(size: int) -> set[int]:
    """Return all whole quotients of a size."""
    roots = range(1, isqrt(size) + 1)
    return {*roots, *(size // each for each in roots)}


def _largest(tiles: Iterable[Tile]) -> list[Tile]:
    """Return the tiles that no others exceed in all dimensions."""
    found: list[Tile] = []
    for tile in sorted(tiles, reverse=True):
        if not any(tile[1] <= other[1] and tile[2] <= other[2] for other in found):
            found.append(tile)
    return found
