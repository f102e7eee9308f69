"""The schedule of a chain, block by block: when each job starts, and when the last one ends.

Of block u: the outermost port loads it; the array makes its first product, the vector unit its
steps; the port brings what else it needs, the array makes its second product, the unit adds it, the
port stores it. Each machine takes its jobs in the order in which this walk comes to them, as soon
as it is free and what they wait for has ended: with p places a load waits for the first product
p blocks before, what else comes for the second product p blocks before, results for those of the
rows p before to have left. With the array ahead, the second half of a block follows the first half
of the next; else it follows at once, and the next waits for it.

Many equal blocks in a row are not all walked: where the state is what it was some blocks before,
but for the time, the blocks between repeat. A time that nothing can wait for any more, as another
is later anyway, is left out of the state.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from .jobs import Times
from .record import Tiling


class Block(NamedTuple):
    """A block of which some jobs have ended: when its steps, products and addition did.

    ``waiting``: whether its results have not left yet.
    """

    times: Times
    worked: int = 0
    first: int = 0
    second: int = 0
    added: int = 0
    waiting: bool = False


NONE = Block(Times(0, 0, 0, 0, 0, 0, 0, waits=False))


class Schedule:
    """Three machines and the blocks that they work on.

    Parameters
    ----------
    tiling : Tiling
    latency : int
        Clocks until what comes from the outermost memory is there.
    """

    def __init__(self, tiling: Tiling, latency: int) -> None:
        self.places, self.ahead, self.spilled = tiling.places, tiling.ahead, tiling.spilled
        self.latency = latency
        self.port = self.array = self.unit = self.skipped = 0
        self.begun, self.ended = [NONE, NONE], [NONE, NONE]
        self.left = [0, 0]  # when results of the last blocks of rows had left
        self.owed = 0  # blocks of rows whose results are still to leave

    def block(self, times: Times) -> None:
        """Go on by one block."""
        if not self.ahead:
            self.array = max(self.array, self.ended[-1].added)
        if times.load:
            self.port = max(self.port, self.begun[-self.places].first) + times.load
            self.array = max(self.array, self.port + self.latency)
        self.array += times.first
        self.unit = max(self.unit, self.array) + times.steps
        before = self.begun[-1]
        self.begun = [before, Block(times, self.unit, self.array)]
        if not self.ahead:
            self._second(self.begun[-1])
        elif before is not NONE:
            self._second(before)

    def _second(self, block: Block) -> None:
        """Let a block's other weights and sums come, make its second product and add it."""
        times = block.times
        if self.spilled:
            self._store(-self.places)
        ready = block.worked
        if times.more:
            self.port = max(self.port, self.ended[-self.places].second) + times.more
            ready = max(ready, self.port + self.latency)
        self._store(-self.places)
        if times.waits:
            ready = max(ready, self.left[self.owed - self.places])
            self.owed += 1
        self.array = max(self.array, ready) + times.second
        added = self.array
        if times.added:
            self.unit = added = max(self.unit, self.array) + times.added
        ended = block._replace(second=self.array, added=added, waiting=times.waits)
        self.ended = [self.ended[-1], ended]

    def _store(self, at: int) -> None:
        """Let the results of a block leave, if they wait."""
        block = self.ended[at]
        if block.waiting:
            self.port = max(self.port, block.added) + block.times.store
            self.left = [self.left[-1], self.port]
            self.ended[at] = block._replace(waiting=False)
            self.owed -= 1

    def end(self) -> int:
        """End what is begun and return when the last job ends."""
        if self.ahead:
            self._second(self.begun[-1])
        for at in (-2, -1):
            self._store(at)
        return max(self.port, self.array, self.unit) + self.skipped

    def _state(self) -> tuple[Any, ...]:
        """Return what decides all that follows, seen from the array's clock."""
        now = self.array
        oldest = min(*(each.first for each in self.begun), *(each.second for each in self.ended))
        blocks = (
            *((each.times, each.worked - now, each.first - now) for each in self.begun),
            *((each.times.store, each.second - now, each.added - now, each.waiting)
              for each in self.ended),
        )  # fmt: skip
        left = tuple(max(each - now, 0) for each in self.left)
        return max(self.port, oldest) - now, max(self.unit - now, 0), blocks, left, self.owed

    def repeat(self, times: int, go: Callable[[], None]) -> None:
        """Let the same happen some times: walked until the state is one that was there before.

        Parameters
        ----------
        times : int
        go : callable
            Walks it once.
        """
        seen: dict[tuple[Any, ...], tuple[int, int]] = {}
        walked = 0
        while walked < times:
            go()
            walked += 1
            state = self._state()
            if state in seen:
                before, clock = seen.pop(state)
                turns, left = divmod(times - walked, walked - before)
                self.skipped += turns * (self.array + self.skipped - clock)
                walked = times - left
                seen.clear()
            else:
                seen[state] = walked, self.array + self.skipped


def walk(
    order: list[tuple[int, list[tuple[int, Times]]]], tiling: Tiling, latency: int, instances: int
) -> int:
    """Return the clocks of a chain's schedule, all instances together.

    Parameters
    ----------
    order : list of (int, list of (int, Times))
        Of one instance, how often some runs follow each other; of each, how many blocks of a kind
        do, and their jobs' clocks.
    tiling : Tiling
    latency : int
        Of the outermost memory.
    instances : int
        One after another; where one is held, each starts when the one before has ended.
    """
    schedule = Schedule(tiling, latency)

    def some(runs: list[tuple[int, Times]]) -> None:
        for many, times in runs:
            schedule.repeat(many, partial(schedule.block, times))

    def instance() -> None:
        for many, runs in order:
            schedule.repeat(many, partial(some, runs))

    apart = tiling.held == 1
    schedule.repeat(1 if apart else instances, instance)
    return schedule.end() * (instances if apart else 1)
