"""What no tiling of a chain undercuts, for all sizes of blocks at once.

The same sums as `demand` with `products.floor_product`, in floats and without rounding up to whole
accesses and clocks; of the schedule only the busiest of array, vector unit and ports, or array and
unit one after the other. It orders tilings, so that few of them are bounded one by one.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...arch.hierarchy import OPERANDS
from ...workloads.vector_step import Operation
from ..nest import Loops
from ..operands import OperandBits
from .blocks import ALONE, FIRST, LAST, LATER
from .chain import Chain, Ints, Lanes
from .demand import near_sums
from .near import NearChip, PortAt
from .products import bit_pj, end_pj, least_steps, sharing
from .tiling import Tiling

Floats = NDArray[np.float64]
Pairs = NDArray[np.float64]
"""Clocks, and energy: (2, N)."""
_LESS = 1 - 1e-9
"""Below a sum of floats by more than their rounding errors."""


MODES = tuple(
    (ahead, *once)
    for ahead in (False, True)
    for once in ((False, False), (True, False), (False, True))
)
"""Whether the array works ahead, weights are held, sums are spilled."""


def places_of(some: Sequence[Tiling], rows: list[int], columns: list[int]) -> Ints:
    """Return the mode of each tiling, and the places of its blocks' sizes: (3, N).

    Parameters
    ----------
    some : sequence of Tiling
    rows, columns : list of int
        Sizes of blocks, as `Floors` takes them.
    """
    modes = {mode: i for i, mode in enumerate(MODES)}
    of_rows = {size: i for i, size in enumerate(rows)}
    of_columns = {size: j for j, size in enumerate(columns)}
    found = [
        (
            modes[each.ahead, each.held > 0, each.spilled],
            of_rows[each.rows],
            of_columns[each.columns],
        )
        for each in some
    ]
    return np.array(found, np.int64).reshape(-1, 3).T


class _Product(NamedTuple):
    """The least clocks and energy of products of many sizes, and clocks of the near ports."""

    cycles: Floats
    pj: Floats
    busy: dict[PortAt, Floats]


class Floors:
    """Floors of all tilings with blocks of some rows and columns.

    Parameters
    ----------
    chain : Chain
    near : NearChip
    lanes : Lanes
        The vector unit.
    rows, columns : list of int
        Sizes of blocks, I and J of them.
    """

    def __init__(
        self, chain: Chain, near: NearChip, lanes: Lanes, rows: list[int], columns: list[int]
    ) -> None:
        self._chain, self._near, self._lanes = chain, near, lanes
        self._rows = _sizes(chain.m, rows)[:, :, None]
        self._columns = _sizes(chain.middle, columns)[:, None, :]
        self._counts = _counts(chain, tuple(rows), tuple(columns))
        self._zero = np.zeros((len(rows), len(columns)))
        self.array, self.unit, self.pj = self._zero.copy(), self._zero.copy(), self._zero.copy()
        self._busy: dict[PortAt, Floats] = defaultdict(self._zero.copy)
        self._add_products()
        self._add_steps()
        self._add_edges()
        some = [(False, False), (True, False), *([(False, True)] if chain.spills else [])]
        self._found = np.zeros((len(MODES), 2, len(rows), len(columns)))
        for held, spilled in some:
            for ahead, found in self._bounds(held=held, spilled=spilled):
                self._found[MODES.index((ahead, held, spilled))] = found

    def of(self, at: Ints) -> Pairs:
        """Return clocks and energy that tilings do not undercut, all instances together: (2, N).

        Parameters
        ----------
        at : (3, N) int64 array
            As `places_of` has them.
        """
        mode, i, j = at
        found: Pairs = self._found[mode, :, i, j].T
        return found

    def _bounds(self, *, held: bool, spilled: bool) -> Iterator[tuple[bool, Floats]]:
        """Yield clocks and energy by sizes of blocks, for an array that works ahead or not."""
        busy, pj = self._weights_of(once=held or spilled)
        if spilled:
            pj = pj + self._spill(busy)
        ports, times = np.max(list(busy.values()), axis=0), self._chain.instances * _LESS
        dynamic_pj = (self.pj + pj) * times
        for ahead in (False, True) if self._lanes.overlap else (False,):
            both = np.maximum(self.array, self.unit) if ahead else self.array + self.unit
            cycles = np.maximum(both, ports) * times
            yield ahead, np.stack([cycles, dynamic_pj + cycles * self._near.whole.static_pj])

    def _add_products(self) -> None:
        """Add the products of all kinds of blocks: whole and short ones, (2, 2, I, J)."""
        chain, near, sums = self._chain, self._near, near_sums(self._chain)
        m, k = self._rows[:, None], self._columns
        places = np.moveaxis(self._counts, 2, 0)
        first = _product(near, (m, k, chain.inner), chain.first, chain.first_pj)
        self._add(first, places.sum(axis=0) * chain.matrices)
        second = (m, chain.out, k), chain.second, chain.second_pj
        self._add(_product(near, *second), places[ALONE])
        unfinished = _product(near, *second, sums)
        self._add(unfinished, places[FIRST] + places[LATER] + places[LAST])

    def _add(self, made: _Product, times: Ints) -> None:
        self.array += (made.cycles * times).sum(axis=(0, 1))
        self.pj += (made.pj * times).sum(axis=(0, 1))
        for at, clocks in made.busy.items():
            self._busy[at] += (clocks * times).sum(axis=(0, 1))

    def _add_steps(self) -> None:
        """Add the jobs of the vector unit, without what they quantize."""
        chain, steps, sums = self._chain, self._chain.steps, near_sums(self._chain)
        for place in (ALONE, FIRST, LATER, LAST):
            times = self._counts[:, :, place]
            if not times.any():
                continue
            of_kinds = self._rows[:, None] * times
            rows, elements = (
                each.sum(axis=(0, 1)) for each in (of_kinds, of_kinds * self._columns)
            )
            self._job({ALONE: steps.alone, FIRST: steps.first}.get(place, steps.later), elements,
                      rows)  # fmt: skip
            self._move("read", "output", elements * chain.matrices, chain.first.output)
            self._move("write", "input", elements, chain.second.input)
            if place in (LATER, LAST):
                results = rows * chain.out
                self._job(steps.carry, results, rows)
                self._move("read", "output", 2 * results + steps.state * rows, sums)
                if place == LAST:
                    self._job(steps.finish, results, rows)
                last = place == LAST
                self._move("write", "output", results, chain.second.output if last else sums)
            if place in (FIRST, LATER):
                self._move("write", "output", steps.state * rows, sums)

    def _job(self, work: Operation, elements: Ints, rows: Ints) -> None:
        lanes = self._lanes
        adds = work.adds * elements + work.row_adds * rows
        multiplies = work.multiplies * elements + work.row_multiplies * rows
        specials = work.specials * elements + work.row_specials * rows
        self.unit += (adds + multiplies + specials * lanes.special_cycles) / lanes.lanes
        self.pj += adds * lanes.add_pj + multiplies * lanes.multiply_pj
        self.pj += specials * lanes.special_pj

    def _move(self, way: str, operand: str, elements: Ints, bits: Fraction) -> None:
        at = self._near.port(way, operand)
        port = self._near.whole.memory(at.memory).ports[at.port]
        accesses = elements * float(bits / port.width_bits)
        self._busy[at] += accesses
        self.pj += accesses * (port.read_pj if way == "read" else port.write_pj)

    def _add_edges(self) -> None:
        """Add the inputs that come, and the results that leave, for each block of rows."""
        chain = self._chain
        ends = self._counts[:, :, ALONE] + self._counts[:, :, LAST]
        rows = (self._rows * ends.sum(axis=1)).sum(axis=0)
        self.pj += self._outer(self._busy, "input", rows * chain.inner, chain.first.input)
        results = "output", rows * chain.out, chain.second.output
        self.pj += self._outer(self._busy, *results, leaves=True)

    def _spill(self, busy: dict[PortAt, Floats]) -> Floats:
        """Add the clocks of inputs that come again, and of sums; return the energy of both."""
        chain, counts, sums = self._chain, self._counts, near_sums(self._chain)
        rows = self._rows * counts.sum(axis=1)[:, [FIRST, LATER, LAST]].swapaxes(0, 1)
        first, later, last = rows.sum(axis=1)
        pj = self._zero.copy()
        for operand, elements, bits, leaves in (
            ("input", (first + later) * chain.inner, chain.first.input, False),
            ("output", (later + last) * chain.out, sums, False),
            ("output", (first + later) * chain.out, sums, True),
        ):
            pj += self._outer(busy, operand, elements, bits, leaves=leaves)
        return pj

    def _weights_of(self, *, once: bool) -> tuple[dict[PortAt, Floats], Floats]:
        """Return the clocks of all ports, with the weights that come, and the energy of these."""
        chain, busy = self._chain, {at: clocks.copy() for at, clocks in self._busy.items()}
        visits = self._counts.sum(axis=(0, 2))
        columns: NDArray[np.int64] = (self._columns * visits).sum(axis=0)
        if once:
            columns = np.full_like(columns, _seen(chain))
        pj = self._zero.copy()
        for elements, bits in (
            (columns * chain.inner * chain.matrices, chain.first.weight),
            (columns * chain.out, chain.second.weight),
        ):
            pj += self._outer(busy, "weight", elements, bits)
        return busy, pj

    def _outer_ends(self, operand: str, *, leaves: bool) -> list[tuple[PortAt, str]]:
        near, outer = self._near, self._near.outermost
        i = outer.port("write" if leaves else "read", operand)
        ways = ("write", "read") if leaves else ("read", "write")
        return [(PortAt(outer.name, i), ways[0]), (near.port(ways[1], operand), ways[1])]

    def _outer(
        self,
        busy: dict[PortAt, Floats],
        operand: str,
        elements: Ints,
        bits: Fraction,
        *,
        leaves: bool = False,
    ) -> Floats:
        """Add the clocks of what comes from the outermost memory, or leaves; return its energy."""
        pj = self._zero.copy()
        for at, way in self._outer_ends(operand, leaves=leaves):
            port = self._near.whole.memory(at.memory).ports[at.port]
            accesses = float(bits / port.width_bits)
            busy[at] = busy.get(at, self._zero) + elements * accesses
            pj += elements * (accesses * (port.read_pj if way == "read" else port.write_pj))
        return pj


def _sizes(size: int, blocks: list[int]) -> Ints:
    """Return of each size of blocks that of a whole one, and of the short one: (2, N)."""
    whole: Ints = np.minimum(np.array(blocks, np.int64), size)
    rest = size % whole
    return np.stack([whole, np.where(rest, rest, whole)])


@lru_cache(maxsize=64)
def _counts(chain: Chain, rows: tuple[int, ...], columns: tuple[int, ...]) -> Ints:
    """Return the blocks by kind of rows, of columns, place, and sizes: (2, 2, 4, I, J)."""
    return np.stack([_counted(chain, size, columns) for size in rows], axis=3)


def _counted(chain: Chain, rows: int, columns: tuple[int, ...]) -> Ints:
    """Return the blocks by kind of rows, of columns, and place, as `Blocks`: (2, 2, 4, J)."""
    at: Ints = np.arange(0, chain.m, rows, dtype=np.int64)
    last: Ints = np.minimum(at + rows, chain.m) - 1
    low, high = np.zeros_like(at), np.full_like(at, chain.middle)
    if chain.mask is not None:
        low, high = chain.mask.seen(at, last, chain.middle)
    short, sees = last - at + 1 < rows, low < high
    found: Ints = np.zeros((2, 2, 4, len(columns)), np.int64)
    for j, size in enumerate(np.minimum(columns, chain.middle).tolist()):
        blocks = -(-high // size) - low // size
        ends = -(-high // size) * size > chain.middle
        for a in (0, 1):
            rows_of = sees & (short == bool(a))
            many = rows_of & (blocks > 1)
            found[a, 0, FIRST, j] = many.sum()
            found[a, 0, LATER, j] = (blocks[many] - 2).sum()
            for b in (0, 1):
                found[a, b, ALONE, j] = (rows_of & (blocks == 1) & (ends == bool(b))).sum()
                found[a, b, LAST, j] = (many & (ends == bool(b))).sum()
    return found


def _seen(chain: Chain) -> int:
    """Return the columns that any row sees."""
    if chain.mask is None:
        return chain.middle
    rows: Ints = np.arange(chain.m, dtype=np.int64)
    low, high = chain.mask.seen(rows, rows, chain.middle)
    turns = np.bincount(low, minlength=chain.middle + 1)
    turns = turns - np.bincount(np.maximum(low, high), minlength=chain.middle + 1)
    return int((np.cumsum(turns) > 0).sum())


def _product(
    near: NearChip,
    sizes: tuple[Ints | int, Ints | int, Ints | int],
    bits: OperandBits,
    unit_pj: float | None,
    sums: Fraction | None = None,
) -> _Product:
    """Return what no mapping of products undercuts; as `products.floor_product`.

    Parameters
    ----------
    near : NearChip
    sizes : tuple
        Tokens, outputs and inputs, of which some are arrays.
    bits : OperandBits
    unit_pj : float or None
        Energy of a unit in a clock; None: the chip's.
    sums : Fraction, optional
        Bits of a result that is an unfinished sum.
    """
    inside, loops = near.inside, Loops.product(1, 1, 1)
    m, n, k = sizes
    macs: Ints = np.asarray(m * n * k)
    unit = inside.unit_pj if unit_pj is None else unit_pj
    one, busy = inside.memories[0], dict[PortAt, Floats]()
    steps = least_steps(m, n, k, inside.axes).astype(np.float64)
    spread = prod(axis.size for axis in inside.axes if axis.name not in inside.units)
    pj = macs / spread * (float(bits.step_cycles - inside.table_cycles) * unit)
    whole = {"input": (m * k, n), "weight": (n * k, m), "output": (m * n, k)}
    coded = sums or bits.code("output")
    least = float(coded / one.ports[one.port("write", "output")].width_bits)
    last = macs - (steps - 1) * prod(axis.size for axis in inside.axes)
    results = np.maximum(1, last / sharing(loops, inside, "output"))  # as of `_least_cycles`
    a_step = float(bits.step_cycles)
    cycles = steps * a_step + np.minimum(results * least, a_step + least) + inside.fill_cycles
    for operand in OPERANDS:
        writes = operand == "output"
        stored = sums if writes and sums is not None else bits.of(operand)
        coded = sums if writes and sums is not None else bits.code(operand)
        shared = sharing(loops, inside, operand)
        each, other = whole[operand]
        elements: NDArray[np.float64] = np.asarray(each, np.float64)
        taken = elements * -(-other // shared)
        i = one.port("write" if writes else "read", operand)
        clocks = elements * float(coded / one.ports[i].width_bits)
        if not writes and len(inside.chain(operand)) == 1:  # an access a step
            elements = np.maximum(elements, taken)
            clocks = np.maximum(elements * float(coded / one.ports[i].width_bits), steps)
        moved = clocks * float(one.ports[i].width_bits) + elements * float(stored - coded)
        pj = pj + moved * bit_pj(one, operand, writes=writes)
        pj = pj + taken * (float(coded) * end_pj(inside, operand))
        at = near.ports[i]
        busy[at] = busy[at] + clocks if at in busy else clocks
    return _Product(cycles=cycles, pj=pj, busy=busy)
