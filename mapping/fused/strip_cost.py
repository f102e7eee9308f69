"""What a chain of convolutions costs in strips: clocks of its schedule, energy, what passes DRAM.

Two machines work beside each other, each on one job after another: the port of the outermost
memory, and the array with the vector unit behind it, which works on results as they come (n of
them, or of the groups that it quantizes, in a clocks of the array and v of the unit take
max(a, v) + ceil(min(a, v) / n), or a + v where the unit does not work beside the array). Of strip
u, with L layers and p places:

* load(u): new rows of inputs, and what is added to the results; waits for made(u - p, L).
* weights(u, l): filters that are not there: of all strips the first where they are held, and then
  waits for nothing; else of each, and waits for made of the layer p layers before.
* made(u, l): a layer's rows; waits for load(u), weights(u, l), a latency after they have come; the
  last layer's for store(u - p) too.
* store(u): waits for made(u, L).

Order of the port: with two places load(0), weights(0, 1), load(1), weights(0, 2) ...; then for each
strip weights(u, 1), store(u - 1), load(u + 1), weights(u, 2) ...; with one load(u), all
weights(u, l), store(u). The clocks are those of this schedule, or of the busiest port, if more.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NamedTuple

from ...datatypes.base.numbers import ceil_div
from ..nest import Loops
from .chain import Lanes, scaled
from .cost import FusedCost, priced
from .demand import Sums
from .moves import Moves, busiest, transfer
from .near import NearChip, PortAt
from .products import BlockProduct
from .strips import Conv, ConvChain, Strip, StripTiling, strips
from .walk import Walked

WEIGHTS, INPUTS, VECTOR, RESULTS = range(4)


class AskedRows(NamedTuple):
    """The product of a strip: which layer of the chain, how many rows of its results.

    ``above``, ``below``: rows of the border among those that its taps span, which lie nowhere.
    """

    layer: int
    rows: int
    above: int = 0
    below: int = 0

    def loops(self, chain: ConvChain) -> Loops:
        """Return its loops, on the rows of its input that the strip finds."""
        layer = chain.layers[self.layer]
        shape = layer.shape
        if shape.kernel == shape.stride == (1, 1) and shape.padding == (0, 0) and shape.groups == 1:
            pixels = self.rows * shape.output_size[1]
            return Loops.product(pixels, shape.out_channels, shape.in_channels)
        whole = Loops.conv(shape)
        rows, columns = whole.windows
        span = rows.span(self.rows, shape.kernel[0])
        there = replace(rows, size=span - self.above - self.below, padding=self.above)
        return replace(whole, sizes={**whole.sizes, rows.out: self.rows}, windows=(there, columns))


def asked_of(strip: Strip) -> list[AskedRows]:
    """Return the products of a strip, of the layers that make rows in it."""
    return [AskedRows(i, rows, *strip.border[i]) for i, rows in enumerate(strip.made) if rows]


ProductOfRows = Callable[[AskedRows], BlockProduct]


class Timed(NamedTuple):
    """Clocks of a strip's jobs: its load, each layer's filters, array and waits, its store."""

    load: int
    weights: tuple[int, ...]
    made: tuple[int, ...]
    unit: tuple[int, ...]
    store: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StripDemand:
    """What all strips of a chain ask of a chip.

    Attributes
    ----------
    strips : list of Timed
        Of an image, from top to bottom; where filters are held, without these.
    first_weights : tuple of int
        Clocks of each layer's filters that come once; 0 where they are not held.
    busy, reads, writes, outer_bits, step_cycles, energy_pj
        As of `demand.Demand`, of all images.
    """

    strips: list[Timed]
    first_weights: tuple[int, ...]
    busy: dict[str | PortAt, int]
    reads: dict[PortAt, int]
    writes: dict[PortAt, int]
    outer_bits: dict[str, Fraction]
    step_cycles: Fraction
    energy_pj: dict[str, float]


def demand(
    chain: ConvChain,
    tiling: StripTiling,
    near: NearChip,
    lanes: Lanes,
    product_of: ProductOfRows,
) -> StripDemand:
    """Return what the strips of a chain ask of a chip.

    Parameters
    ----------
    chain : ConvChain
    tiling : StripTiling
        Tilings that differ in their places alone ask the same.
    near : NearChip
    lanes : Lanes
        The vector unit.
    product_of : callable
        What the product of some rows of a layer costs.
    """
    some, total = strips(chain, tiling), Sums(near)
    of_weights = [
        transfer(near, "weight", 1, layer.weights, layer.bits.weight) for layer in chain.layers
    ]
    each_weights = tuple(max(each.cycles, each.moves.cycles) for each in of_weights)
    if tiling.held:
        for each in of_weights:
            total.outer(each, 1)
    timed = dict[Strip, Timed]()
    for strip, count in Counter(some).items():
        times = count * chain.images
        products = {asked.layer: asked for asked in asked_of(strip)}
        made, unit = [], []
        for i, rows in enumerate(strip.made):
            array, lane = 0, 0
            if rows:
                product = product_of(products[i])
                total.product(product, times)
                array, lane = product.cycles, _unit(chain, i, rows, near, lanes, total, times)
                if not tiling.held:
                    total.outer(of_weights[i], times)
            made.append(_together(array, lane, _pieces(chain.layers[i], rows), lanes))
            unit.append(made[-1] - array)
        weights = (0 if tiling.held or not rows else each for each, rows in
                   zip(each_weights, strip.made, strict=True))  # fmt: skip
        timed[strip] = Timed(
            load=_load(chain, strip, near, total, times),
            weights=tuple(weights),
            made=tuple(made),
            unit=tuple(unit),
            store=_store(chain.layers[-1], strip, near, total, times),
        )
    return StripDemand(
        strips=[timed[strip] for strip in some],
        first_weights=each_weights if tiling.held else (0,) * len(chain.layers),
        busy=dict(total.busy),
        reads=total.reads,
        writes=total.writes,
        outer_bits=total.outer_bits,
        step_cycles=total.step_cycles,
        energy_pj={name: math.fsum(each) for name, each in total.pj.items()},
    )


def _unit(
    chain: ConvChain, i: int, rows: int, near: NearChip, lanes: Lanes, total: Sums, times: int
) -> int:
    """Return the clocks of the vector unit on some rows of a layer's results."""
    layer, moves = chain.layers[i], Moves()
    elements = rows * layer.row_results
    if i == len(chain.layers) - 1:
        for _ in range(chain.added):
            moves.add(near, "read", "input", elements, layer.bits.output)
    groups = math.ceil(elements * layer.groups)
    return total.job(scaled(layer.work, elements, groups), moves, lanes, times)


def _pieces(layer: Conv, rows: int) -> int:
    """Return what of some rows the unit takes at once: results, or groups that it quantizes."""
    results = rows * layer.row_results
    return math.ceil(results * layer.groups) if layer.groups else results


def _together(array: int, unit: int, pieces: int, lanes: Lanes) -> int:
    if not lanes.overlap or not pieces:
        return array + unit
    return max(array, unit) + ceil_div(min(array, unit), pieces)


def _load(chain: ConvChain, strip: Strip, near: NearChip, total: Sums, times: int) -> int:
    first, last = chain.layers[0], chain.layers[-1]
    parts = []
    if strip.loaded:
        elements = strip.loaded * first.row_inputs
        parts.append(transfer(near, "input", 1, elements, first.bits.input))
    if chain.added:
        elements = strip.made[-1] * last.row_results
        parts.append(transfer(near, "input", chain.added, elements, last.bits.output))
    for each in parts:
        total.outer(each, times)
    return max(sum(each.cycles for each in parts), busiest([each.moves for each in parts]))


def _store(last: Conv, strip: Strip, near: NearChip, total: Sums, times: int) -> int:
    elements = strip.made[-1] * last.row_results
    leaves = transfer(near, "output", 1, elements, last.bits.output, leaves=True)
    total.outer(leaves, times)
    return max(leaves.cycles, leaves.moves.cycles)


class _Schedule:
    """The two machines, strip after strip."""

    def __init__(self, asked: StripDemand, tiling: StripTiling, latency: int) -> None:
        self.asked, self.places, self.held = asked, tiling.places, tiling.held
        self.latency = latency
        self.port, self.array = 0, 0
        self.layers = [0, 0]  # when the last two layers' rows were made
        self.loaded = [0, 0]  # when this strip's load was there, and the next one's
        self.done = 0  # when the last strip was made
        self.stored = [0, 0]  # when the results of the last two strips had left
        self.waiting = 0  # clocks of results that have not left
        self.idle = [0, 0, 0, 0]

    def image(self, first: bool, last: bool) -> None:
        """Go through the strips of an image."""
        some = self.asked.strips
        for u, strip in enumerate(some):
            following = some[u + 1] if u + 1 < len(some) else (None if last else some[0])
            self.strip(strip, following, first=first and u == 0)

    def strip(self, strip: Timed, following: Timed | None, *, first: bool) -> None:
        two = self.places == 2
        if first or not two:
            self.load(strip, at=0)
        for i, clocks in enumerate(strip.made):
            held = self.held and not first
            weights = self.asked.first_weights[i] if self.held else strip.weights[i]
            ready = 0
            if weights and not held:
                begin = 0 if self.held else self.layers[self.places - 1]
                self.port = max(self.port, begin) + weights
                ready = self.port + self.latency
            if i == 0:
                if two:
                    self.store()
                    if following is not None:
                        self.load(following, at=1)
                self.wait(self.loaded[0], INPUTS)
            self.wait(ready, WEIGHTS)
            if i == len(strip.made) - 1:
                self.wait(self.stored[self.places - 1], RESULTS)
            self.array += clocks
            self.idle[VECTOR] += strip.unit[i]
            self.layers = [self.array, self.layers[0]]
        self.done = self.array
        self.loaded[0] = self.loaded[1]
        self.waiting = strip.store
        if not two:
            self.store()

    def load(self, strip: Timed, at: int) -> None:
        if strip.load:
            self.port = max(self.port, self.done) + strip.load
            self.loaded[at] = self.port + self.latency
        else:
            self.loaded[at] = 0

    def store(self) -> None:
        if self.waiting:
            self.port = max(self.port, self.done) + self.waiting
            self.waiting = 0
            self.stored = [self.port, self.stored[0]]

    def wait(self, until: int, cause: int) -> None:
        if until > self.array:
            self.idle[cause] += until - self.array
            self.array = until

    def seen(self) -> tuple[int, ...]:
        """Return the state as it is seen from the array's clock."""
        ahead = self.loaded[:1] if self.places == 2 else []
        every = (self.port, *self.layers, self.done, *self.stored, *ahead)
        return (*(each - self.array for each in every), self.waiting)

    def end(self) -> int:
        self.store()
        end = max(self.port, self.array)
        self.wait(end, RESULTS)
        return end


def walked(chain: ConvChain, tiling: StripTiling, near: NearChip, asked: StripDemand) -> Walked:
    """Return the clocks of the schedule of all strips, and those in which the array waits.

    Images that find the machines as the image before did take as long: they are not walked.

    Parameters
    ----------
    chain, tiling, near, asked
        As of `cost`.
    """
    walk = _Schedule(asked, tiling, near.outermost.latency_cycles)
    before: tuple[int, ...] = ()
    skipped, turns, image = 0, [0, 0, 0, 0], 0
    while image < chain.images:
        at, idle = walk.array, list(walk.idle)
        walk.image(image == 0, image == chain.images - 1)
        image += 1
        now = walk.seen()
        if now == before and image < chain.images - 1:
            left = chain.images - 1 - image  # the last one has no image behind it
            skipped += left * (walk.array - at)
            turns = [n + left * (b - a) for n, a, b in zip(turns, idle, walk.idle, strict=True)]
            image += left
        before = now
    end = walk.end() + skipped
    weights, inputs, vector, results = (a + b for a, b in zip(walk.idle, turns, strict=True))
    return Walked(end, (weights, inputs, vector, results))


def cost(chain: ConvChain, tiling: StripTiling, near: NearChip, asked: StripDemand) -> FusedCost:
    """Return what a chain costs in strips.

    Parameters
    ----------
    chain : ConvChain
    tiling : StripTiling
        One that fits (`strips.problem`).
    near : NearChip
        The chip.
    asked : StripDemand
        What the strips ask of it.
    """
    found = walked(chain, tiling, near, asked)
    cycles = max(found.cycles, _busiest(asked))
    return priced(near, asked, 1, cycles, lower_bound(chain, near, asked), found.waits)


def lower_bound(chain: ConvChain, near: NearChip, asked: StripDemand) -> int:
    """Return the clocks that no order of the same jobs undercuts.

    All of the array's jobs between the first load and the last store; the port's; the busiest of
    all ports.

    Parameters
    ----------
    chain, near, asked
        As of `cost`.
    """
    some, times = asked.strips, chain.images
    array = sum(sum(strip.made) for strip in some) * times
    head = some[0].load + (asked.first_weights[0] or some[0].weights[0])
    port = sum(strip.load + strip.store + sum(strip.weights) for strip in some) * times
    port += sum(asked.first_weights)
    latency = near.outermost.latency_cycles
    return max(head + latency + array + some[-1].store, port, _busiest(asked))


def bound(chain: ConvChain, near: NearChip, asked: StripDemand) -> tuple[int, float]:
    """Return clocks and energy that a chain does not undercut, as `cost` without the walk.

    Parameters
    ----------
    chain, near, asked
        As of `cost`.
    """
    cycles = lower_bound(chain, near, asked)
    return cycles, math.fsum(asked.energy_pj.values()) + cycles * near.whole.static_pj


def _busiest(asked: StripDemand) -> int:
    return max(clocks for at, clocks in asked.busy.items() if isinstance(at, PortAt))
