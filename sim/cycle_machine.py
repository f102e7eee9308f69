"""The event machine of the cycle rung: tiles, transfers and buffers, periodic loops folded.

A layer is a program: tiles to run, places of a buffer ring to take and give back, and loops over
them. All of the machine's rules are maxima and sums of times, so what it does from a state on does
not depend on when the state is reached. A loop whose state comes back (all times taken relative
to the present) therefore repeats exactly, and its remaining iterations are added in one step.
"""

from collections import deque
from dataclasses import dataclass

from .memory import CycleOptions

CAUSES = ("weights", "inputs", "outputs", "bandwidth", "rescale", "pipeline")
WEIGHTS, INPUTS, OUTPUTS, BANDWIDTH, RESCALE, PIPELINE = range(6)
STREAM, RESIDENT = 0, 1

READS, WRITES = 1, 2
RING = (4, 8)


@dataclass(frozen=True, slots=True)
class Tile:
    """One piece of work on the array.

    Attributes
    ----------
    reads : tuple of (cause, clocks)
        Transfers it waits for, in the order in which they are asked for.
    load : int
        Clocks to bring a stationary operand into the PEs, beside the tile before.
    body : int
        Clocks on the array: ``busy + rescale + port`` and the rest fill and drain.
    busy, rescale, port : int
        Clocks of ``body`` with work, waiting for the rescale unit, and for an SRAM port.
    latency, drain : int
        Clocks from the end of the body to the first result, and over which results leave.
    store : int
        DRAM clocks of the results; 0 where none leave.
    moved : tuple of int
        Bytes over DRAM: weights, inputs, outputs.
    """

    reads: tuple[tuple[int, int], ...]
    load: int
    body: int
    busy: int
    rescale: int
    port: int
    latency: int
    drain: int
    store: int
    moved: tuple[int, int, int] = (0, 0, 0)

    @property
    def touches(self) -> int:
        """What of the machine's state the tile uses, as a mask."""
        return (READS if self.reads else 0) | (WRITES if self.store else 0)


@dataclass(frozen=True, slots=True)
class Take:
    """Ask for a place of a ring: later reads wait until it was given back."""

    ring: int

    @property
    def touches(self) -> int:
        """What of the machine's state is used, as a mask."""
        return RING[self.ring] | READS


@dataclass(frozen=True, slots=True)
class Give:
    """Give a place of a ring back, now."""

    ring: int

    @property
    def touches(self) -> int:
        """What of the machine's state is used, as a mask."""
        return RING[self.ring]


@dataclass(frozen=True, slots=True)
class Loop:
    """Run ``body`` ``count`` times."""

    count: int
    body: tuple["Node", ...]
    touches: int


Node = Tile | Take | Give | Loop


def loop(count: int, body: list[Node]) -> list[Node]:
    """Return the nodes that run ``body`` ``count`` times."""
    if count < 1 or not body:
        return []
    if count == 1:
        return body
    touches = 0
    for node in body:
        touches |= node.touches
    return [Loop(count, tuple(body), touches)]


class Machine:
    """State of the array, the DRAM port and the buffers; times are clocks from the layer's start.

    Reads go out in program order. Read j is asked for when read j - ``prefetch_transfers`` is
    first used, and not before its place in the ring is free. A store waits behind the reads that
    were asked for no later, unless a tile needs its place.
    """

    def __init__(self, latency_cycles: int, places: tuple[int, int], options: CycleOptions) -> None:
        self.latency = latency_cycles
        self.fold = options.fold
        self.end = 0  # the array is free
        self.started = 0  # the tile before started
        self.drained = 0  # the results of the tile before have left the array
        self.bus = 0  # DRAM is free
        self.asked = 0  # the last read was asked for
        self.window = deque([0] * options.prefetch_transfers, options.prefetch_transfers)
        self.stores: deque[tuple[int, int]] = deque()  # (asked for at, clocks), not yet begun
        self.output_tiles = options.output_tiles
        self.rings = tuple(deque([0] * n) for n in places)
        self.busy = 0
        self.stalls = [0] * len(CAUSES)

    def run(self, program: list[Node] | tuple[Node, ...]) -> None:
        """Run a program."""
        for node in program:
            if type(node) is Tile:
                self._tile(node)
            elif type(node) is Loop:
                self._loop(node)
            elif type(node) is Take:
                self.asked = max(self.asked, self.rings[node.ring].popleft())
            elif type(node) is Give:
                self.rings[node.ring].append(self.end)

    def finish(self) -> int:
        """Wait for the last results to be in DRAM; return the clocks of all that was run."""
        done = max(self.end, self.drained)
        self.stalls[PIPELINE] += done - self.end
        while self.stores:
            self._store()
        last = max(done, self.bus)
        self.stalls[OUTPUTS] += last - done
        return last

    def _store(self) -> None:
        asked, clocks = self.stores.popleft()
        self.bus = max(self.bus, asked) + clocks

    def _space(self) -> int:
        """Return when a place for the next results is free.

        Stores that went before a read are done before that read's tile starts: only one that
        has not begun can be waited for.
        """
        if len(self.stores) < self.output_tiles:
            return 0
        self._store()
        return self.bus

    def _tile(self, tile: Tile) -> None:
        end, latency, stalls = self.end, self.latency, self.stalls
        ready = cursor = end
        weights_here = 0
        for i, (cause, clocks) in enumerate(tile.reads):
            asked = max(self.asked, self.window[i])
            self.asked = asked
            while self.stores and self.stores[0][0] < asked:
                self._store()
            begin = max(self.bus, asked)
            self.bus = begin + clocks
            here = self.bus + latency
            if cause == WEIGHTS:
                weights_here = here
            if here > cursor:  # the array waits: for this transfer, or for DRAM to begin it
                if begin > cursor:
                    stalls[BANDWIDTH] += begin - cursor
                    cursor = begin
                stalls[cause] += here - cursor
                ready = cursor = here
        if tile.store:
            space = self._space()
            if space > cursor:
                stalls[OUTPUTS] += space - cursor
                ready = cursor = space
        if tile.load:
            ready = max(ready, max(self.started, weights_here) + tile.load)
            stalls[PIPELINE] += ready - cursor
        for _ in tile.reads:
            self.window.append(ready)
        self.started = ready
        stop = ready + tile.body
        if tile.drain:
            stop = max(stop, self.drained - tile.latency)
            self.drained = stop + tile.latency + tile.drain
        elif tile.latency:
            self.drained = stop + tile.latency
        if tile.store:
            self.stores.append((stop + tile.latency + tile.drain, tile.store))
        self.busy += tile.busy
        stalls[RESCALE] += tile.rescale
        stalls[BANDWIDTH] += tile.port
        stalls[PIPELINE] += stop - ready - tile.busy - tile.rescale - tile.port
        self.end = stop

    def _loop(self, node: Loop) -> None:
        if not self.fold:
            for _ in range(node.count):
                self.run(node.body)
            return
        seen: dict[tuple[int, ...], tuple[int, int, int, list[int]]] = {}
        done = 0
        while done < node.count:
            key = self._key(node.touches)
            before = seen.get(key)
            if before is not None:
                then, end, busy, stalls = before
                turns = (node.count - done) // (done - then)
                self._skip(node.touches, turns, end, busy, stalls)
                for _ in range((node.count - done) % (done - then)):
                    self.run(node.body)
                return
            seen[key] = (done, self.end, self.busy, self.stalls.copy())
            self.run(node.body)
            done += 1

    def _key(self, touches: int) -> tuple[int, ...]:
        """Return what of the state matters to a loop, relative to the present.

        A time that can only lose a maximum against another is taken as that other.
        """
        now = self.end
        key = [self.started - now, max(self.drained - now, 0)]
        if touches & (READS | WRITES):
            key.append(self.bus - now)
            key.append(len(self.stores))
            for asked, clocks in self.stores:
                key += (asked - now, clocks)
        if touches & READS:
            last = self.asked
            key.append(last - now)
            key += [max(t, last) - now for t in self.window]
        for ring in (STREAM, RESIDENT):
            if touches & RING[ring]:
                key += [max(t, self.asked) - now for t in self.rings[ring]]
        return tuple(key)

    def _skip(self, touches: int, turns: int, end: int, busy: int, stalls: list[int]) -> None:
        """Repeat what was done since a state ``turns`` times, and move the state on."""
        shift = (self.end - end) * turns
        self.busy += (self.busy - busy) * turns
        self.stalls = [s + (s - t) * turns for s, t in zip(self.stalls, stalls, strict=True)]
        self.end += shift
        self.started += shift
        self.drained += shift
        if touches & (READS | WRITES):
            self.bus += shift
        if touches & WRITES:
            self.stores = deque((asked + shift, clocks) for asked, clocks in self.stores)
        if touches & READS:
            self.asked += shift
            for i in range(len(self.window)):
                self.window[i] += shift
        for ring in (STREAM, RESIDENT):
            if touches & RING[ring]:
                places = self.rings[ring]
                for i in range(len(places)):
                    places[i] += shift
