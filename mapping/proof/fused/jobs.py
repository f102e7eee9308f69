"""What a chain cut into blocks asks of a chip: jobs with their clocks, and all that they move.

Blocks of as many rows and columns at the same place among those of their rows ask the same.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from typing import NamedTuple

from ..record import ProofError
from .near import Near
from .record import Asked, Chain, Lanes, Tiling, Work
from .totals import Job, Made, Total, plus

ALONE, FIRST, LATER, LAST = range(4)
Rows = tuple[int, int, int]
"""A block of rows: how many, its first block of columns, its last + 1."""
Run = tuple[int, tuple[int, int, int, bool]]
"""Blocks of a kind that follow each other: how many, and the kind."""


class Times(NamedTuple):
    """Clocks of a block's jobs; 0: there is none. ``leaves``: whether results, or sums, leave."""

    load: int
    first: int
    steps: int
    more: int
    second: int
    added: int
    store: int
    waits: bool


class Cut:
    """A chain cut into blocks of rows and columns, one instance of it.

    ``rows``: blocks of rows that see the same blocks of columns, how many follow each other.

    Parameters
    ----------
    chain : Chain
    rows, columns : int
        Of a block.

    Raises
    ------
    ProofError
        No row sees anything.
    """

    def __init__(self, chain: Chain, rows: int, columns: int) -> None:
        self.chain = chain
        self.columns = min(columns, chain.middle)
        self.rows = list(_seen(chain, min(rows, chain.m), self.columns))
        if not self.rows:
            raise ProofError("chain.mask: no row sees any column.")
        self.short = chain.middle // self.columns if chain.middle % self.columns else -1
        self.kinds, self.seen = cache(self._kinds), cache(self._columns_seen)

    def width(self, j: int) -> int:
        """Return the columns of a block of columns."""
        return self.chain.middle % self.columns if j == self.short else self.columns

    def _kinds(self) -> Counter[tuple[int, int, int]]:
        """Return the blocks by rows, columns and place."""
        found: Counter[tuple[int, int, int]] = Counter()
        alike: Counter[tuple[int, int, int]] = Counter()
        for times, (rows, low, high) in self.rows:
            alike[rows, high - low, self.width(high - 1)] += times
        for (rows, many, last), times in alike.items():
            if many == 1:
                found[rows, last, ALONE] += times
                continue
            found[rows, self.columns, FIRST] += times
            found[rows, self.columns, LATER] += times * (many - 2)
            found[rows, last, LAST] += times
        return +found

    def _columns_seen(self) -> Counter[int]:
        """Return the blocks of columns that any rows see, by their columns."""
        found: Counter[int] = Counter()
        top = 0
        for _, (_, low, high) in self.rows:
            for j in range(max(low, top), high) if high - max(low, top) < 2 else ():
                found[self.width(j)] += 1
            if high - max(low, top) >= 2:
                found[self.columns] += high - max(low, top) - 1
                found[self.width(high - 1)] += 1
            top = max(top, high)
        return found

    def order(self, tiling: Tiling) -> Iterator[tuple[int, list[Run]]]:
        """Yield the blocks in order: how often some runs of blocks of a kind follow each other.

        A kind: rows, columns, place, and whether the block's weights come with it.
        """
        if tiling.spilled:
            yield from self._spilled()
            return
        top = 0
        for times, (rows, low, high) in self.rows:
            yield 1, list(self._runs(tiling, rows, low, high, top))
            top = max(top, high)
            if times > 1:
                yield times - 1, list(self._runs(tiling, rows, low, high, top))

    def _runs(self, tiling: Tiling, rows: int, low: int, high: int, top: int) -> Iterator[Run]:
        """Yield the runs of a block of rows; columns up to ``top`` were there before."""
        cuts = sorted({low, low + 1, min(max(low + 1, top), high - 1), high - 1, high})
        for start, end in pairwise(cuts):
            if low <= start < end:
                first, last = start == low, end == high
                place = ALONE if first and last else FIRST if first else LAST if last else LATER
                comes = not tiling.held or start >= top
                yield end - start, (rows, self.width(end - 1), place, comes)

    def _spilled(self) -> Iterator[tuple[int, list[Run]]]:
        many = self.rows[0][1][2]
        for times, j in (1, 0), (many - 2, 1), (1, many - 1):
            place = FIRST if j == 0 else LAST if j == many - 1 else LATER
            runs = [
                (blocks, (rows, self.width(j), place, i == 0))
                for i, (blocks, (rows, _, _)) in enumerate(self.rows)
            ]
            first, kind = runs[0]
            alone = [(first - 1, (*kind[:3], False))] if first > 1 else []
            if times:
                yield times, [(1, kind), *alone, *runs[1:]]


def _seen(chain: Chain, rows: int, columns: int) -> Iterator[tuple[int, Rows]]:
    whole, rest = divmod(chain.m, rows)
    if chain.mask is None:
        blocks = -(-chain.middle // columns)
        yield whole, (rows, 0, blocks)
        if rest:
            yield 1, (rest, 0, blocks)
        return
    per, before, window = chain.mask
    for top in range(0, chain.m, rows):
        last = min(top + rows, chain.m) - 1
        high = min(chain.middle, before + last // per + 1)
        low = 0 if window is None else max(0, before + top // per - window + 1)
        if low < high:
            yield 1, (last - top + 1, low // columns, -(-high // columns))


class Jobs:
    """The jobs of a chain under a tiling.

    Parameters
    ----------
    chain : Chain
    cut : Cut
        Into the tiling's blocks.
    tiling : Tiling
    near : Near
    lanes : Lanes
    product : callable
        What a product of a block takes.
    """

    def __init__(
        self,
        chain: Chain,
        cut: Cut,
        tiling: Tiling,
        near: Near,
        lanes: Lanes,
        product: Callable[[Asked], Made],
    ) -> None:
        self.chain, self.cut, self.tiling, self.near, self.lanes = chain, cut, tiling, near, lanes
        self.product = product
        self.sums = chain.products[1].partial_bits
        self.load, self.more, self.leave = cache(self._load), cache(self._more), cache(self._leave)
        self.works, self.times = cache(self._works), cache(self._times)

    def products(self, rows: int, columns: int, place: int) -> tuple[Asked, Asked]:
        """Return the two products of a block."""
        return Asked(False, rows, columns, True), Asked(True, rows, columns, place == ALONE)

    def _load(self, rows: int, columns: int) -> Job:
        """Return the job that brings inputs and the first product's weights; 0: none of them."""
        job, first = Job(self.near), self.chain.products[0]
        if rows:
            job.transfer("input", rows * self.chain.inner, first.bits["input"], leaves=False)
        for _ in range(self.chain.matrices if columns else 0):
            tile = columns * self.chain.inner
            job.transfer("weight", tile, first.bits["weight"], leaves=False)
        return job

    def _more(self, rows: int, columns: int) -> Job:
        """Return the job that brings the sums of rows and the second product's weights."""
        job, second = Job(self.near), self.chain.products[1]
        if rows:
            job.transfer("output", rows * self.chain.out, self.sums, leaves=False)
        if columns:
            tile = columns * self.chain.out
            job.transfer("weight", tile, second.bits["weight"], leaves=False)
        return job

    def _leave(self, rows: int, finished: bool) -> Job:
        """Return the job that stores the results of rows, or their sums."""
        job = Job(self.near)
        bits = self.chain.products[1].bits["output"] if finished else self.sums
        job.transfer("output", rows * self.chain.out, bits, leaves=True)
        return job

    def _works(self, rows: int, columns: int, place: int) -> tuple[tuple[Work, Job], ...]:
        """Return what the vector unit does with a block's middle, and with its sums."""
        chain, steps = self.chain, self.chain.steps
        first, second = chain.products
        job, elements = Job(self.near), rows * columns
        for _ in range(chain.matrices):
            job.near_port("output", elements, first.bits["output"], reads=True)
        job.near_port("input", elements, second.bits["input"], reads=False)
        if chain.state and place in (LATER, LAST):
            job.near_port("output", chain.state * rows, self.sums, reads=True)
        if chain.state and place in (FIRST, LATER):
            job.near_port("output", chain.state * rows, self.sums, reads=False)
        own = {ALONE: "alone", FIRST: "first"}.get(place, "later")
        groups = rows * -(-columns // (chain.group or columns))
        work = plus(_times(steps[own], elements, rows), _times(steps["quantize"], elements, groups))
        adding, results = Job(self.near), rows * chain.out
        added: Work = (0,) * 3
        if place in (LATER, LAST):
            for _ in range(2):
                adding.near_port("output", results, self.sums, reads=True)
            bits = second.bits["output"] if place == LAST else self.sums
            adding.near_port("output", results, bits, reads=False)
            added = _times(steps["carry"], results, rows)
            if place == LAST:
                added = plus(added, _times(steps["finish"], results, rows))
        return (work, job), (added, adding)

    def _times(self, rows: int, columns: int, place: int, comes: bool) -> Times:
        """Return the clocks of a block's jobs."""
        spilled, ends = self.tiling.spilled, place in (ALONE, LAST)
        first, second = map(self.product, self.products(rows, columns, place))
        steps, added = (
            max(self.lanes.cycles(work), job.cycles)
            for work, job in self.works(rows, columns, place)
        )
        inputs = rows if spilled or place in (ALONE, FIRST) else 0
        back = rows if spilled and place in (LATER, LAST) else 0
        weights = columns if comes else 0
        leaves = ends or spilled
        return Times(
            load=self.load(inputs, weights).cycles,
            first=first.cycles * self.chain.matrices,
            steps=steps,
            more=self.more(back, weights).cycles,
            second=second.cycles,
            added=added,
            store=self.leave(rows, ends).cycles if leaves else 0,
            waits=leaves,
        )

    def total(self) -> Total:
        """Return all that the jobs of one instance ask."""
        found, spilled = Total(self.near, self.lanes), self.tiling.spilled
        by_rows: Counter[tuple[int, int]] = Counter()
        by_columns: Counter[int] = Counter()
        for (rows, columns, place), times in self.cut.kinds().items():
            first, second = map(self.product, self.products(rows, columns, place))
            found.product(first, self.chain.matrices * times)
            found.product(second, times)
            for work, job in self.works(rows, columns, place):
                found.work(work, job, times)
            by_rows[rows, place] += times
            by_columns[columns] += times
        if self.tiling.held or spilled:
            by_columns = self.cut.seen()
        for columns, times in by_columns.items():
            found.move(self.load(0, columns), times)
            found.move(self.more(0, columns), times)
        for (rows, place), times in by_rows.items():
            if spilled or place in (ALONE, FIRST):
                found.move(self.load(rows, 0), times)
            if spilled and place in (LATER, LAST):
                found.move(self.more(rows, 0), times)
            if spilled or place in (ALONE, LAST):
                found.move(self.leave(rows, place in (ALONE, LAST)), times)
        return found


def _times(work: Work, elements: int, rows: int) -> Work:
    return tuple(work[i] * elements + work[3 + i] * rows for i in range(3))
