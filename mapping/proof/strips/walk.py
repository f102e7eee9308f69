"""The jobs of strips, and their schedule: when each starts, and when the last one ends.

Two machines take their jobs in order: the outermost port, and the array with the vector unit behind
it. Of strip u of L layers, under p places:

* its load waits until strip u - p was made; a layer's filters, until the layer p before was, or,
  where they stay and come once, for nothing;
* a layer is made when its filters, and for the first the load, are there; the last one when the
  results of strip u - p have left; a strip's results leave when it is made.

With two places the port takes the first load, then for each strip the first layer's filters, the
results of the strip before, the load of the next, the other layers' filters; with one the load, all
filters, the results.
"""

from collections import Counter
from dataclasses import dataclass
from math import ceil
from typing import Any

from ..fused.near import Near
from ..fused.parts import ProductOf
from ..fused.record import Lanes
from ..fused.totals import Job, Total
from .cut import Strip
from .record import Asked, Chain, Tiling

Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Clocks of a strip's jobs: load, each layer's filters and making, results that leave."""

    load: int
    filters: tuple[int, ...]
    made: tuple[int, ...]
    leaves: int


class Jobs:
    """The jobs of a chain in strips.

    Parameters
    ----------
    chain : Chain
    tiling : Tiling
    some : list of Strip
        Of an image.
    near : Near
    lanes : Lanes
    product : callable
        What the product of a strip takes.
    """

    def __init__(
        self,
        chain: Chain,
        tiling: Tiling,
        some: list[Strip],
        near: Near,
        lanes: Lanes,
        product: ProductOf,
    ) -> None:
        self.chain, self.tiling, self.near, self.lanes = chain, tiling, near, lanes
        self.total, self.filters = Total(near, lanes), list[int]()
        jobs = list[Job]()
        for layer in chain.layers:
            jobs.append(Job(near))
            jobs[-1].transfer("weight", layer.weights, layer.stored.bits["weight"], leaves=False)
            self.filters.append(jobs[-1].cycles)
            if tiling.held:
                self.total.move(jobs[-1], 1)
        times = {
            strip: self._times(strip, many * chain.images, jobs, product)
            for strip, many in Counter(some).items()
        }
        self.strips = [times[strip] for strip in some]

    def _times(self, strip: Strip, many: int, filters: list[Job], product: ProductOf) -> Times:
        """Return the clocks of a strip's jobs, and count them as often as there are such strips."""
        chain, held = self.chain, self.tiling.held
        first, last = chain.layers[0], chain.layers[-1]
        bits, results = last.stored.bits["output"], strip.made[-1] * last.row_results
        load, leaves, made = Job(self.near), Job(self.near), list[int]()
        if strip.comes:
            inputs = strip.comes * first.row_inputs
            load.transfer("input", inputs, first.stored.bits["input"], leaves=False)
        for _ in range(chain.added):
            load.transfer("input", results, bits, leaves=False)
        leaves.transfer("output", results, bits, leaves=True)
        self.total.move(load, many)
        self.total.move(leaves, many)
        for i, rows in enumerate(strip.made):
            if not rows:
                made.append(0)
                continue
            own = product(Asked(i, rows, *strip.border[i]))
            self.total.product(own, many)
            if not held:
                self.total.move(filters[i], many)
            made.append(self._made(i, rows, own.cycles, many))
        return Times(
            load=load.cycles,
            filters=tuple(
                0 if held or not rows else clocks
                for clocks, rows in zip(self.filters, strip.made, strict=True)
            ),
            made=tuple(made),
            leaves=leaves.cycles,
        )

    def _made(self, i: int, rows: int, array: int, many: int) -> int:
        """Return the clocks of array and unit, which takes results as they come.

        Each of them, or each group that it quantizes.
        """
        layer, job = self.chain.layers[i], Job(self.near)
        results = rows * layer.row_results
        for _ in range(self.chain.added if layer is self.chain.layers[-1] else 0):
            job.near_port("input", results, layer.stored.bits["output"], reads=True)
        groups = ceil(results * layer.quantized)
        of_results, of_groups = layer.work[:3], layer.work[3:]
        work = tuple(
            each * results + own * groups for each, own in zip(of_results, of_groups, strict=True)
        )
        self.total.work(work, job, many)
        unit = max(self.lanes.cycles(work), job.cycles)
        if not self.lanes.overlap:
            return array + unit
        return max(array, unit) + -(-min(array, unit) // (groups or results))

    def sums(self) -> int:
        """Return the clocks in which the array, or the unit behind it, works."""
        return sum(sum(strip.made) for strip in self.strips) * self.chain.images

    def walk(self) -> int:
        """Return when the last job ends.

        Images that find both machines as the image before did take as long: they are not walked.
        """
        schedule, image, images = _Schedule(self), 0, self.chain.images
        before: tuple[Key, int] | None = None
        skipped = 0
        while image < images:
            schedule.image(image, last=image == images - 1)
            image += 1
            state, clock = schedule.state(image)
            if before is not None and before[0] == state and image < images - 1:
                skipped = (images - 1 - image) * (clock - before[1])
                schedule.rename(image, images - 1)
                image = images - 1
            before = state, clock
        return max(schedule.free.values()) + skipped


class _Schedule:
    """When each machine is free, and when jobs ended, by kind, strip and layer."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs, self.places = jobs, jobs.tiling.places
        self.latency = jobs.near.outermost.latency_cycles
        self.many, self.layers = len(jobs.strips), len(jobs.chain.layers)
        self.free = {"port": 0, "array": 0}
        self.ended: dict[Key, int] = {}

    def when(self, *key: Any) -> int:
        """Return when a job ended, 0 where there was none."""
        return self.ended.get(key, 0)

    def job(self, key: Key, machine: str, clocks: int, ready: int) -> None:
        """Do a job as soon as its machine is free and it is ready."""
        start = max(self.free[machine], ready)
        self.free[machine] = self.ended[key] = start + clocks

    def image(self, image: int, *, last: bool) -> None:
        """Go through the strips of an image."""
        for i, strip in enumerate(self.jobs.strips):
            u = image * self.many + i
            more = not (last and i == self.many - 1)
            if self.places == 1 or u == 0:
                self.load(u)
            for layer in range(self.layers):
                self.bring(u, layer)
                if layer == 0 and self.places == 2:
                    self.leave(u - 1)
                    if more:
                        self.load(u + 1)
                self.make(u, layer, strip.made[layer])
            if self.places == 1 or not more:
                self.leave(u)

    def of(self, u: int) -> Times:
        """Return the clocks of a strip, counted over all images."""
        return self.jobs.strips[u % self.many]

    def load(self, u: int) -> None:
        """Bring a strip's inputs, and what is added to its results."""
        if self.of(u).load:
            before = self.when("made", u - self.places, self.layers - 1)
            self.job(("load", u), "port", self.of(u).load, before)

    def bring(self, u: int, layer: int) -> None:
        """Bring a layer's filters."""
        once = self.jobs.tiling.held
        clocks = self.of(u).filters[layer]
        if once:
            clocks = self.jobs.filters[layer] if u == 0 else 0
        if clocks:
            at = divmod(u * self.layers + layer - self.places, self.layers)
            self.job(("bring", u, layer), "port", clocks, 0 if once else self.when("made", *at))

    def make(self, u: int, layer: int, clocks: int) -> None:
        """Make a layer's rows."""
        waits: list[Key] = [("bring", u, layer), ("load", u)]
        ready = [self.ended[key] + self.latency for key in waits if key in self.ended]
        if layer == self.layers - 1:
            ready.append(self.when("leave", u - self.places))
        self.job(("made", u, layer), "array", clocks, max(ready, default=0))

    def leave(self, u: int) -> None:
        """Store a strip's results."""
        if u >= 0:
            made = self.when("made", u, self.layers - 1)
            self.job(("leave", u), "port", self.of(u).leaves, made)

    def state(self, image: int) -> tuple[Key, int]:
        """Return what decides all that follows, seen from the array's clock, and that clock.

        Jobs of the last strips, and of the next: what came before, nothing waits for.
        """
        clock, first = self.free["array"], image * self.many
        self.ended = {
            key: end
            for key, end in self.ended.items()
            if key[1] >= first - 2 * (key[0] in ("made", "leave"))
        }
        ends = sorted(
            ((key[0], key[1] - first, *key[2:]), end - clock) for key, end in self.ended.items()
        )
        return (self.free["port"] - clock, *ends), clock

    def rename(self, image: int, to: int) -> None:
        """Take the strips of an image for those of a later one."""
        step = (to - image) * self.many
        self.ended = {(key[0], key[1] + step, *key[2:]): end for key, end in self.ended.items()}
