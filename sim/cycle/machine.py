"""The event machine of the cycle rung: tiles, transfers and buffers, periodic loops folded.

A layer is a program: tiles to run, places of a buffer ring to take and give back, and loops over
them. All of the machine's rules are maxima and sums of times, so what it does from a state on does
not depend on when the state is reached. A loop whose state comes back (all times taken relative
to the present) therefore repeats exactly, and its remaining iterations are added in one step.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from ..run import STALL_CAUSES
from .options import CycleOptions
from .program import (
    BANDWIDTH,
    INPUTS,
    OPERANDS,
    OUTPUTS,
    PIPELINE,
    READS,
    RESCALE,
    RESIDENT,
    RING,
    STREAM,
    WRITES,
    Give,
    Loop,
    Node,
    Program,
    Take,
    Tile,
)

EXPOSED = len(STALL_CAUSES)  # a figure beside the causes: see `Machine.exposed`


class BandwidthTooLow(Exception):  # noqa: N818
    """A wait for DRAM that more bandwidth would spare, where none is allowed."""


class Machine:
    """State of the array, the DRAM port and the buffers; times are clocks from the start.

    Reads go out in program order. Read j is asked for when read j - ``prefetch_transfers`` is
    first used, and not before its place in the ring is free. A store waits behind the reads that
    were asked for no later, unless a tile needs its place, or a read brings what it stores.

    A layer takes its places from the buffers as the layers before give theirs back, byte by byte.
    """

    def __init__(self, latency_cycles: int, options: CycleOptions) -> None:
        self.latency = latency_cycles
        self.fold = options.fold
        self.allowed = options.exposed_waits
        self.end = 0  # the array is free
        self.started = 0  # the tile before started
        self.gap = 0  # clocks from there until a group may begin
        self.scaled = 0  # the unit behind the array has rescaled what it holds ...
        self.unit = 0  # ... and handed it on; both less the clocks from the array to the unit
        self.drained = 0  # the results of the tile before have left the array
        self.bus = 0  # DRAM is free
        self.asked = 0  # the last read was asked for
        self.window = deque([0] * options.prefetch_transfers, options.prefetch_transfers)
        self.stores: deque[tuple[int, int]] = deque()  # (asked for at, clocks), not yet begun
        self.pushed = 0  # stores asked for so far
        self.needs = [0, 0]  # stores that must be done before weights, inputs are read
        self.kept_from = 0  # kept inputs are there
        self.output_tiles = options.output_tiles  # a layer may have room for fewer
        self.layer: Program | None = None
        self.rings: tuple[deque[int], deque[int]] = (deque(), deque())
        self.free: tuple[deque[tuple[int, int]], ...] = (deque(), deque())  # (from when, bytes)
        self.capacity_bytes = [0, 0]
        self.busy = 0
        self.stalls = [0] * (len(STALL_CAUSES) + 1)

    def begin(self, layer: Program, needs: tuple[int, int] = (0, 0), kept_from: int = 0) -> None:
        """Lay a layer's rings into the buffers.

        Parameters
        ----------
        layer : Program
            What runs next.
        needs : tuple of int
            How many of all stores must be done before its weights and its inputs are read.
        kept_from : int
            When inputs that stayed on the chip are there.
        """
        self.layer = layer
        self.output_tiles = layer.output_tiles
        for index, room in enumerate(layer.capacity_bytes):
            grown = room - self.capacity_bytes[index]
            if grown > 0:
                self.free[index].append((self.end, grown))
            elif grown:
                _freed(self.free[index], -grown)
            self.capacity_bytes[index] = room
        for ring, places in zip(layer.rings, self.rings, strict=True):
            free = self.free[OPERANDS.index(ring.operand)]
            places.clear()
            places.extend(_freed(free, ring.piece_bytes) for _ in range(ring.places))
        self.needs = list(needs)
        self.kept_from = kept_from

    def leave(self) -> None:
        """Give the places of the layer's rings back to the buffers."""
        assert self.layer is not None
        for ring, places in zip(self.layer.rings, self.rings, strict=True):
            free = self.free[OPERANDS.index(ring.operand)]
            given = sorted([*free, *((when, ring.piece_bytes) for when in places)])
            free.clear()
            free.extend((when, size) for when, size in given if size)
            places.clear()

    @property
    def exposed(self) -> int:
        """Clocks in which the array waited for a transfer asked for while it still worked."""
        return self.stalls[EXPOSED]

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

    def _stored(self, count: int) -> int:
        """Store until ``count`` stores are done; return when they were, 0 if they were before."""
        if count <= self.pushed - len(self.stores):
            return 0
        while count > self.pushed - len(self.stores):
            self._store()
        return self.bus

    def _expose(self, clocks: int) -> None:
        self.stalls[EXPOSED] += clocks
        if not self.allowed:
            raise BandwidthTooLow

    def _space(self) -> int:
        """Return when a place for the next results is free.

        Stores that went before a read are done before that read's tile starts: only one that
        has not begun can be waited for.
        """
        if len(self.stores) < self.output_tiles:
            return 0
        while len(self.stores) >= self.output_tiles:
            self._store()
        return self.bus

    def _read(self, i: int, cause: int, clocks: int, cursor: int) -> tuple[int, int]:
        """Do a tile's read i; return when its data are here and until when the array waits.

        ``cursor``: until when it waits anyway.
        """
        stalls = self.stalls
        asked = self.asked = max(self.asked, self.window[i])
        while self.stores and self.stores[0][0] < asked:
            self._store()
        stored = self._stored(self.needs[cause])
        begin = max(self.bus, asked)
        self.bus = begin + clocks
        here = self.bus + self.latency
        if here <= cursor:
            return here, cursor
        if asked < self.end and not stored:
            self._expose(here - cursor)
        # the array waits: for results to be read back, for DRAM to begin, for this transfer
        if stored > cursor:
            stalls[OUTPUTS] += stored - cursor
            cursor = stored
        if begin > cursor:
            stalls[BANDWIDTH] += begin - cursor
            cursor = begin
        stalls[cause] += here - cursor
        return here, here

    def _tile(self, tile: Tile) -> None:
        stalls, cursor = self.stalls, self.end + self.gap
        stalls[RESCALE] += self.gap
        loaded = self.kept_from if tile.loads == INPUTS else 0
        if self.kept_from > cursor:
            stalls[PIPELINE] += self.kept_from - cursor
            cursor = self.kept_from
        for i, (cause, clocks) in enumerate(tile.reads):
            here, cursor = self._read(i, cause, clocks, cursor)
            if cause == tile.loads:
                loaded = here
        if tile.store:
            space = self._space()
            if space > cursor:
                self._expose(space - cursor)
                stalls[OUTPUTS] += space - cursor
                cursor = space
        ready = cursor
        if tile.load:
            ready = max(ready, max(self.started, loaded) + tile.load)
            stalls[PIPELINE] += ready - cursor
        for _ in tile.reads:
            self.window.append(ready)
        self.started = ready
        self.end = ready + tile.body
        self.gap = tile.gap
        if tile.sums:
            self._hand_over(tile)
        if tile.store:
            self.stores.append((self.drained if tile.drain else self.end, tile.store))
            self.pushed += 1
        self.busy += tile.busy
        stalls[RESCALE] += tile.rescale
        stalls[BANDWIDTH] += tile.port
        stalls[PIPELINE] += tile.body - tile.busy - tile.rescale - tile.port

    def _hand_over(self, tile: Tile) -> None:
        """Wait until the unit behind the array is free for a tile's first sum; give it all sums."""
        first = self.end - tile.tail
        if self.unit > first:
            rescaling = max(0, self.scaled - first)
            self.stalls[RESCALE] += rescaling
            self.stalls[PIPELINE] += self.unit - first - rescaling  # the drain is not empty
            self.end += self.unit - first
        self.scaled = self.unit = self.end + tile.scale
        if tile.drain:
            left = max(self.unit + tile.latency, self.drained)
            self.drained = left + tile.drain
            self.unit = (self.drained if tile.holds_unit else left) - tile.latency

    def _loop(self, node: Loop) -> None:
        if not self.fold:
            for _ in range(node.count):
                self.run(node.body)
            return
        seen: dict[tuple[int, ...], Mark] = {}
        done = 0
        while done < node.count:
            key = self.key(node.touches)
            before = seen.get(key)
            if before is not None:
                turns = (node.count - done) // (done - before.done)
                self.skip(node.touches, turns, before)
                for _ in range((node.count - done) % (done - before.done)):
                    self.run(node.body)
                return
            seen[key] = self.mark(done)
            self.run(node.body)
            done += 1

    def mark(self, done: int) -> "Mark":
        """Return the totals so far, after ``done`` turns of a loop."""
        return Mark(done, self.end, self.busy, self.pushed, tuple(self.stalls))

    def key(self, touches: int) -> tuple[int, ...]:
        """Return what of the state matters to a loop, relative to the present.

        A time that can only lose a maximum against another is taken as that other.
        """
        now = self.end
        key = [
            self.started - now,
            self.gap,
            max(self.scaled - now, 0),
            max(self.unit - now, 0),
            max(self.drained - now, 0),
            max(self.kept_from, self.started) - now,
        ]
        if touches & (READS | WRITES):
            key.append(self.bus - now)
            key.append(len(self.stores))
            for asked, clocks in self.stores:
                key += (asked - now, clocks)
        if touches & READS:
            last = self.asked
            key.append(last - now)
            key += [max(t, last) - now for t in self.window]
            stored = self.pushed - len(self.stores)
            key += [max(need - stored, 0) for need in self.needs]
        for ring in (STREAM, RESIDENT):
            if touches & RING[ring]:
                key += [max(t, self.asked) - now for t in self.rings[ring]]
        return tuple(key)

    def key_between_layers(self) -> tuple[int, ...]:
        """Return all of the state between two layers, relative to the present."""
        key = [*self.key(READS | WRITES), *self.capacity_bytes]
        for free in self.free:
            sizes: dict[int, int] = {}
            for when, size in free:
                since = max(when, self.asked) - self.end
                sizes[since] = sizes.get(since, 0) + size
            key += [len(sizes), *(figure for item in sizes.items() for figure in item)]
        return tuple(key)

    def skip(self, touches: int, turns: int, before: "Mark") -> int:
        """Repeat what was done since a mark ``turns`` times; return the clocks moved on."""
        shift = (self.end - before.end) * turns
        self.busy += (self.busy - before.busy) * turns
        self.pushed += (self.pushed - before.pushed) * turns
        for i, clocks in enumerate(before.stalls):
            self.stalls[i] += (self.stalls[i] - clocks) * turns
        self.end += shift
        self.started += shift
        self.scaled += shift
        self.unit += shift
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
        return shift

    def skip_between_layers(self, turns: int, before: "Mark") -> int:
        """Repeat whole layers as `skip` does."""
        shift = self.skip(READS | WRITES, turns, before)
        for free in self.free:
            moved = [(when + shift, size) for when, size in free]
            free.clear()
            free.extend(moved)
        return shift


@dataclass(frozen=True, slots=True)
class Mark:
    """Totals of a machine after ``done`` turns of a loop."""

    done: int
    end: int
    busy: int
    pushed: int
    stalls: tuple[int, ...]


def _freed(free: deque[tuple[int, int]], size: int) -> int:
    """Take ``size`` bytes from those that are free first; return when they all are."""
    when = 0
    while size:
        when, found = free.popleft()
        used = min(size, found)
        size -= used
        if found > used:
            free.appendleft((when, found - used))
    return when


def total_stalls(stalls: Iterable[int]) -> dict[str, int]:
    """Return stall clocks by cause."""
    return dict(zip(STALL_CAUSES, stalls, strict=False))
