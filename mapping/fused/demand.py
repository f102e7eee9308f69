"""What a chain cut into blocks asks of a chip: the clocks of every job, and what all of them move.

Blocks of a kind ask the same, so kinds are counted, and nothing is walked here.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from itertools import product

import numpy as np

from ...datatypes.base.numbers import ceil_div
from ...workloads.vector_step import Operation, summed
from .blocks import ALONE, FIRST, LAST, LATER, NONE, Blocks, Kind
from .chain import Chain, Ints, Lanes, scaled
from .moves import Moves, Transfer, busiest, transfer
from .near import NearChip, PortAt
from .products import Asked, BlockProduct, ProductOf
from .tiling import Tiling


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What one instance of a chain asks of a chip.

    Attributes
    ----------
    blocks : Blocks
    jobs : (2, 2, 4, 4) int64 array
        Clocks by kind of rows, of columns, place of the block, of: first product, steps, second
        product, adding its results.
    loads : (3, 3) int64 array
        Clocks of the inputs of a kind of rows with the first product's weights of a kind of
        columns; `NONE`: without.
    more : (3, 3) int64 array
        Clocks of the sums of a kind of rows with the second product's weights of a kind of columns.
    stores : (2, 2) int64 array
        Clocks of the results of a kind of rows, and of their unfinished sums.
    counts : Counter of Kind
    busy : dict of str or PortAt to int
        Clocks of ``vector`` (its lanes) and of each port.
    array_cycles : int
        Clocks of the array's jobs: of the steps of its products, and of the waits within them.
    unit_cycles : int
        Clocks of the vector unit's jobs: of its lanes, or of the ports where they take longer.
    load_cycles, store_cycles : int
        Clocks of all loads, and stores.
    reads, writes : dict of PortAt to int
    outer_bits : dict of str to Fraction
        Bits that pass the outermost memory by operand.
    step_cycles : Fraction
        Clocks of the array's steps.
    energy_pj : dict of str to float
        Of ``array``, ``vector``, ``sram_read``, ``sram_write``, ``dram``; without what runs with
        the clocks.
    """

    blocks: Blocks
    jobs: Ints
    loads: Ints
    more: Ints
    stores: Ints
    counts: Counter[Kind]
    busy: dict[str | PortAt, int]
    array_cycles: int
    unit_cycles: int
    load_cycles: int
    store_cycles: int
    reads: dict[PortAt, int]
    writes: dict[PortAt, int]
    outer_bits: dict[str, Fraction]
    step_cycles: Fraction
    energy_pj: dict[str, float]


class Sums:
    """All that jobs move and take: accesses, clocks, bits, energy."""

    def __init__(self, near: NearChip) -> None:
        self.near = near
        self.busy: dict[str | PortAt, int] = defaultdict(int)
        self.array_cycles, self.unit_cycles, self.step_cycles = 0, 0, Fraction(0)
        self.reads: dict[PortAt, int] = defaultdict(int)
        self.writes: dict[PortAt, int] = defaultdict(int)
        self.outer_bits = dict.fromkeys(("weight", "input", "output"), Fraction(0))
        self.pj: dict[str, list[float]] = {
            name: [] for name in ("array", "vector", "sram_read", "sram_write", "dram")
        }

    def move(self, moves: Moves, times: int) -> None:
        """Add what some jobs move through ports."""
        for (at, way), accesses in moves.found.items():
            port = self.near.whole.memory(at.memory).ports[at.port]
            count, reads = accesses * times, way == "read"
            (self.reads if reads else self.writes)[at] += count
            self.busy[at] += count
            name, each_pj = ("sram_read", port.read_pj) if reads else ("sram_write", port.write_pj)
            self.pj[name].append(count * each_pj)

    def outer(self, each: Transfer, times: int) -> None:
        """Add transfers to, or from, the outermost memory."""
        self.move(each.moves, times)
        outermost, leaves = self.near.outermost, each.leaves
        i = outermost.port("write" if leaves else "read", each.operand)
        at, port = PortAt(outermost.name, i), outermost.ports[i]
        count = each.cycles * times
        (self.writes if leaves else self.reads)[at] += count
        self.busy[at] += count
        self.outer_bits[each.operand] += each.bits * times
        self.pj["dram"].append(count * (port.write_pj if leaves else port.read_pj))

    def product(self, made: BlockProduct, times: int) -> None:
        """Add products of blocks."""
        self.count(made, times)
        self.spend(made, times)

    def count(self, made: BlockProduct, times: int) -> None:
        """Add the accesses and clocks of products of blocks."""
        for at, (reads, writes, busy) in made.accesses.items():
            self.reads[at] += reads * times
            self.writes[at] += writes * times
            self.busy[at] += busy * times
        self.array_cycles += made.cycles * times
        self.step_cycles += made.step_cycles * times

    def spend(self, made: BlockProduct, times: int) -> None:
        """Add the energy of products of blocks."""
        self.pj["array"].append(made.array_pj * times)
        self.pj["sram_write"].append(made.written_pj * times)
        self.pj["sram_read"].append(max(0.0, made.memory_pj - made.written_pj) * times)

    def add(self, other: "Sums") -> None:
        """Add the sums of other jobs."""
        for at, count in other.reads.items():
            self.reads[at] += count
        for at, count in other.writes.items():
            self.writes[at] += count
        for unit, clocks in other.busy.items():
            self.busy[unit] += clocks
        self.array_cycles += other.array_cycles
        self.unit_cycles += other.unit_cycles
        self.step_cycles += other.step_cycles
        for operand, bits in other.outer_bits.items():
            self.outer_bits[operand] += bits
        for name, each in other.pj.items():
            self.pj[name] += each

    def job(self, work: Operation, moves: Moves, lanes: Lanes, times: int) -> int:
        """Add a job of the vector unit; return its clocks.

        Parameters
        ----------
        work : Operation
        moves : Moves
            What passes ports beside it.
        lanes : Lanes
        times : int
            How often.
        """
        self.move(moves, times)
        busy = lanes.cycles(work)
        cycles = max(busy, moves.cycles)
        self.busy["vector"] += busy * times
        self.unit_cycles += cycles * times
        self.pj["vector"].append(lanes.energy_pj(work) * times)
        return cycles


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What one instance of a chain asks of a chip beside its blocks' products.

    Attributes
    ----------
    blocks, jobs, loads, more, stores, counts, load_cycles, store_cycles
        As of `Demand`; ``jobs`` has no clocks of products yet.
    products : tuple of (Kind, (Asked, Asked), int)
        Those of each kind of blocks, and how many blocks there are.
    runs : dict of Asked to int
        How often each product runs in all.
    total : Sums
        Of all that is not a product.
    """

    blocks: Blocks
    jobs: Ints
    loads: Ints
    more: Ints
    stores: Ints
    counts: Counter[Kind]
    load_cycles: int
    store_cycles: int
    products: tuple[tuple[Kind, tuple[Asked, Asked], int], ...]
    runs: dict[Asked, int]
    total: Sums


def demand(
    chain: Chain, tiling: Tiling, near: NearChip, lanes: Lanes, product_of: ProductOf
) -> Demand:
    """Return what one instance of a chain asks of a chip.

    Parameters
    ----------
    chain : Chain
    tiling : Tiling
        How it is cut: tilings that differ in their places alone, or in how many instances are
        held, ask the same.
    near : NearChip
    lanes : Lanes
        The vector unit.
    product_of : callable
        What a block's product costs.
    """
    return with_products(chain, beside_products(chain, tiling, near, lanes), product_of)


def beside_products(chain: Chain, tiling: Tiling, near: NearChip, lanes: Lanes) -> Beside:
    """Return what one instance of a chain asks of a chip, whatever its blocks' products cost.

    Parameters
    ----------
    chain, tiling, near, lanes
        As of `demand`.
    """
    alike = replace(tiling, places=1, ahead=False, held=int(tiling.held > 0))
    return _beside_products(chain, alike, near, lanes)


@lru_cache(maxsize=64)
def _beside_products(chain: Chain, tiling: Tiling, near: NearChip, lanes: Lanes) -> Beside:
    """Return the same of tilings alike in all but places, found once."""
    blocks = Blocks.of(chain, tiling.rows, tiling.columns)
    total, counts = Sums(near), blocks.counted()
    jobs, products, runs = np.zeros((2, 2, 4, 4), np.int64), [], dict[Asked, int]()
    for kind, times in counts.items():
        rows, columns = blocks.rows[kind.rows], blocks.columns[kind.columns]
        both = Asked.both(rows, columns, alone=kind.alone)
        products.append((kind, both, times))
        for each, many in zip(both, (chain.matrices * times, times), strict=True):
            runs[each] = runs.get(each, 0) + many
        jobs[kind][1] = total.job(*_steps(chain, near, rows, columns, kind.place), lanes, times)
        jobs[kind][3] = total.job(*_added(chain, near, rows, kind.place), lanes, times)
    loads, more, load_cycles = _loads(chain, tiling, blocks, near, total, counts)
    stores, store_cycles = _stores(chain, tiling, blocks, near, total, counts)
    return Beside(
        blocks=blocks,
        jobs=jobs,
        loads=loads,
        more=more,
        stores=stores,
        counts=counts,
        load_cycles=load_cycles,
        store_cycles=store_cycles,
        products=tuple(products),
        runs=runs,
        total=total,
    )


def with_products(chain: Chain, beside: Beside, product_of: ProductOf) -> Demand:
    """Return what one instance of a chain asks of a chip.

    Parameters
    ----------
    chain : Chain
    beside : Beside
        What is asked beside the products.
    product_of : callable
        What a block's product costs.
    """
    total, jobs = Sums(beside.total.near), beside.jobs.copy()
    made = {asked: product_of(asked) for asked in beside.runs}
    for asked, times in beside.runs.items():
        total.count(made[asked], times)
    for kind, both, times in beside.products:
        first, second = (made[asked] for asked in both)
        total.spend(first, chain.matrices * times)
        total.spend(second, times)
        jobs[kind][0] = first.cycles * chain.matrices
        jobs[kind][2] = second.cycles
    total.add(beside.total)
    return Demand(
        blocks=beside.blocks,
        jobs=jobs,
        loads=beside.loads,
        more=beside.more,
        stores=beside.stores,
        counts=beside.counts,
        busy=dict(total.busy),
        array_cycles=total.array_cycles,
        unit_cycles=total.unit_cycles,
        load_cycles=beside.load_cycles,
        store_cycles=beside.store_cycles,
        reads=total.reads,
        writes=total.writes,
        outer_bits=total.outer_bits,
        step_cycles=total.step_cycles,
        energy_pj={name: math.fsum(each) for name, each in total.pj.items()},
    )


def _by_rows(counts: Counter[Kind], places: Iterable[int]) -> Counter[int]:
    """Return the blocks in some places by their kind of rows."""
    found: Counter[int] = Counter()
    for kind, times in counts.items():
        if kind.place in places:
            found[kind.rows] += times
    return found


def _steps(
    chain: Chain, near: NearChip, rows: int, columns: int, place: int
) -> tuple[Operation, Moves]:
    """Return what the unit does with a block of the middle, and moves: middle, row state."""
    steps, elements, moves = chain.steps, rows * columns, Moves()
    asked = {ALONE: steps.alone, FIRST: steps.first}.get(place, steps.later)
    groups = rows * ceil_div(columns, steps.group or columns)
    work = summed([scaled(asked, elements, rows), scaled(steps.quantize, elements, groups)])
    for _ in range(chain.matrices):
        moves.add(near, "read", "output", elements, chain.first.output)
    moves.add(near, "write", "input", elements, chain.second.input)
    state, sums = steps.state * rows, near_sums(chain)
    if state and place in (LATER, LAST):
        moves.add(near, "read", "output", state, sums)
    if state and place in (FIRST, LATER):
        moves.add(near, "write", "output", state, sums)
    return work, moves


def near_sums(chain: Chain) -> Fraction:
    """Return the bits of an unfinished sum of the second product."""
    return Fraction(chain.second.partial)


def _added(chain: Chain, near: NearChip, rows: int, place: int) -> tuple[Operation, Moves]:
    """Return what the unit does with a block's results, and moves: the block's sums, the rows'.

    The first block's are the rows' sums. Those of a block that is alone are results.
    """
    moves, elements, sums = Moves(), rows * chain.out, near_sums(chain)
    if place in (ALONE, FIRST):
        return Operation(), moves
    for _ in range(2):
        moves.add(near, "read", "output", elements, sums)
    work = scaled(chain.steps.carry, elements, rows)
    if place == LATER:
        moves.add(near, "write", "output", elements, sums)
        return work, moves
    moves.add(near, "write", "output", elements, chain.second.output)
    return summed([work, scaled(chain.steps.finish, elements, rows)]), moves


def _loads(
    chain: Chain,
    tiling: Tiling,
    blocks: Blocks,
    near: NearChip,
    total: Sums,
    counts: Counter[Kind],
) -> tuple[Ints, Ints, int]:
    """Return the clocks of loads by what comes together, and those of all of them at least.

    Inputs come with the first block of their rows, weights with each block; held, or spilled,
    inputs, weights or both otherwise (`tiling`).
    """
    first, second, spilled = chain.first, chain.second, tiling.spilled
    rows, columns = blocks.rows, blocks.columns

    def coming(
        operand: str, sizes: tuple[int, int], width: int, bits: Fraction, many: int = 1
    ) -> tuple[Transfer, Transfer]:
        one, other = sizes
        found = transfer(near, operand, many, one * width, bits)
        same = one == other
        return found, found if same else transfer(near, operand, many, other * width, bits)

    inputs = coming("input", rows, chain.inner, first.input)
    weights = coming("weight", columns, chain.inner, first.weight, chain.matrices)
    sums = coming("output", rows, chain.out, near_sums(chain))
    others = coming("weight", columns, chain.out, second.weight)
    by_columns: Counter[int] = Counter()
    for kind, times in counts.items():
        by_columns[kind.columns] += times
    if tiling.held or spilled:
        by_columns = blocks.columns_seen()
    of_rows = _by_rows(counts, (ALONE, FIRST, LATER, LAST) if spilled else (ALONE, FIRST))
    back = _by_rows(counts, (LATER, LAST)) if spilled else Counter[int]()
    least = 0
    for each, counted in (
        (inputs, of_rows), (weights, by_columns), (others, by_columns), (sums, back)
    ):  # fmt: skip
        for i, times in counted.items():
            total.outer(each[i], times)
            least += each[i].cycles * times
    return _together(inputs, weights), _together(sums, others), least


def _together(of_rows: Sequence[Transfer], of_columns: Sequence[Transfer]) -> Ints:
    """Return the clocks of what comes at once, by kinds of rows and of columns; `NONE`: neither."""
    found = np.zeros((3, 3), np.int64)
    for a, b in product(range(3), repeat=2):
        if a == 1 and of_rows[0] is of_rows[1]:
            found[a, b] = found[0, b]
        elif b == 1 and of_columns[0] is of_columns[1]:
            found[a, b] = found[a, 0]
        else:
            some = [each[at] for each, at in ((of_rows, a), (of_columns, b)) if at != NONE]
            outer = sum(each.cycles for each in some)
            found[a, b] = max(outer, busiest([each.moves for each in some]))
    return found


def _stores(
    chain: Chain,
    tiling: Tiling,
    blocks: Blocks,
    near: NearChip,
    total: Sums,
    counts: Counter[Kind],
) -> tuple[Ints, int]:
    """Return the clocks of stores by kinds of rows, of results and of sums, and of all of them."""
    stores, every = np.zeros((2, 2), np.int64), 0
    spilled = (FIRST, LATER) if tiling.spilled else ()
    for what, bits, places in (
        (0, Fraction(chain.second.output), (ALONE, LAST)), (1, near_sums(chain), spilled)
    ):  # fmt: skip
        for rows, times in _by_rows(counts, places).items():
            leaves = transfer(near, "output", 1, blocks.rows[rows] * chain.out, bits, leaves=True)
            total.outer(leaves, times)
            stores[rows, what] = max(leaves.cycles, leaves.moves.cycles)
            every += int(stores[rows, what]) * times
    return stores, every
