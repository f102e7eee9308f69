"""The visits that a loop nest pays to the tiles of an operand, counted without walking it.

A tile is fetched when its coordinates change. A loop over a dimension that does not index the
operand repeats the visits inside it, but for one: where there is a single tile inside, it stays.
With a short last block that depends on the block, so the nest is followed from the outermost loop
down with the sizes of the current block, and equal visits are counted together. Of a convolution's
input the place of a block counts too, as far as it reaches the border.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from itertools import product
from math import prod
from typing import Literal, NamedTuple, TypeVar

from ..datatypes.base.numbers import ceil_div
from .nest import Loops, Mapping
from .window import INSIDE, Clip, Window, stored

T = TypeVar("T")
Sizes = tuple[int, ...]
Unrolls = tuple[tuple[str, int], ...]
Lows = tuple[int | None, ...]
"""The first pixel of a block in each window; None where no part of it reaches the border."""
Edge = Literal["all", "first", "last"]


class After(NamedTuple):
    """The window that a tile moved on along, and the outputs there of the tile before."""

    window: int
    outputs: int


@dataclass(frozen=True, slots=True)
class Visit:
    """A visit to a tile.

    Attributes
    ----------
    block : tuple of int
        The tile's extent in each dimension of the layer, those that do not index it included:
        what is done with it before the next loop that does, or that fetches it anew.
    steps : int
        Steps of the array until the next visit.
    first_pass, last_pass : int
        Steps of the first, and last, turn of the loops that use the whole tile again: what sums
        have to leave, and tiles have to be replaced in, element by element, where there is no
        second tile.
    clips : tuple of Clip
        What of the tile is border, in each window of the operand; nothing, where there is none.
    after : After or None
        The visit before, if it was to the outputs right ahead and all else was the same: a memory
        that keeps halos has the pixels that both read.
    """

    block: Sizes
    steps: int
    first_pass: int
    last_pass: int
    clips: tuple[Clip, ...] = ()
    after: After | None = None


Visits = Counter[Visit]


class Walk(NamedTuple):
    """The first and last visit to an operand's tiles, and how often which come one after which."""

    first: Visit
    last: Visit
    pairs: Counter[tuple[Visit, Visit]]

    def visits(self, *, after: bool) -> Visits:
        """Return the visits: the first and those after others, or the last and those before."""
        found = Counter({self.first if after else self.last: 1})
        for pair, count in self.pairs.items():
            found[pair[after]] += count
        return found


class Ending(NamedTuple):
    """The last visit but one.

    ``finished``: it is the last to its tile; ``again``: the last visit is not the first to its own.
    """

    before: Visit
    finished: bool
    again: bool


class Spread(NamedTuple):
    """How a tile lies in the copies of a memory.

    ``elements``: of all copies together; ``copies``: those that have some; ``share``: elements of
    the copy that has most.
    """

    elements: int
    copies: int
    share: int


class Nest:
    """The loops of a mapping over a layer, ready to be counted.

    Parameters
    ----------
    layer : Loops
    mapping : Mapping
    """

    def __init__(self, layer: Loops, mapping: Mapping) -> None:
        self.layer, self.mapping = layer, mapping
        self.dims = tuple(layer.sizes)
        self.sizes: Sizes = tuple(layer.sizes.values())
        self.loops = tuple((self.dims.index(loop.dim), loop.tile) for loop in mapping.loops)
        self.windows = tuple(
            _Slide(self.dims.index(each.out), self.dims.index(each.tap), each)
            for each in layer.windows
        )
        self._pixels = cache(self._pixels_of)

    def relevant(self, operand: str) -> frozenset[int]:
        """Return the dimensions that index an operand, by position."""
        return frozenset(self.dims.index(dim) for dim in self.layer.indexes[operand])

    def slid(self, relevant: frozenset[int]) -> tuple["_Slide", ...]:
        """Return the windows of an operand: those of which both dimensions index it."""
        return tuple(each for each in self.windows if {each.out, each.tap} <= relevant)

    def _lows(self, relevant: frozenset[int]) -> Lows:
        """Return the first pixel of the whole layer in each window."""
        lows = tuple(each.window.low(0, 0) for each in self.slid(relevant))
        return self._near_border(relevant, lows, self.sizes)

    def _near_border(self, relevant: frozenset[int], lows: Lows, sizes: Sizes) -> Lows:
        clips = self._clips(relevant, lows, sizes)
        return tuple(None if clip == INSIDE else low for low, clip in zip(lows, clips, strict=True))

    def _clips(self, relevant: frozenset[int], lows: Lows, sizes: Sizes) -> tuple[Clip, ...]:
        return tuple(
            INSIDE if low is None else each.window.clip(low, sizes[each.out], sizes[each.tap])
            for each, low in zip(self.slid(relevant), lows, strict=True)
        )

    def _blocks(
        self, i: int, relevant: frozenset[int], sizes: Sizes, lows: Lows
    ) -> list[tuple[Sizes, Lows, int]]:
        """Return the blocks inside one iteration of loop ``i``, first to last, and how many."""
        dim, tile = self.loops[i]
        if tile >= sizes[dim]:
            return [(sizes, lows, 1)]
        full, rest = divmod(sizes[dim], tile)
        parts = [(0, _with(sizes, dim, tile), full)]
        if rest:
            parts.append((full * tile, _with(sizes, dim, rest), 1))
        slid = self.slid(relevant)
        for w, (each, low) in enumerate(zip(slid, lows, strict=True)):
            if low is not None and dim in (each.out, each.tap):
                return [
                    (block, self._near_border(relevant, _with(lows, w, first), block), count)
                    for start, block, many in parts
                    for first, count in each.runs(low, dim, start, tile, many, block)
                ]
        return [(block, lows, count) for _, block, count in parts]

    def steps(self, i: int, sizes: Sizes) -> int:
        """Return the steps of the loops from ``i`` inwards over a block."""
        steps = 1
        for dim, size in enumerate(sizes):
            steps *= sum(self.bottom(dim, i, size).values())
        return steps

    def bottom(self, dim: int, i: int, size: int) -> Counter[int]:
        """Return how many steps' tiles of each size a dimension has, from loop ``i`` inwards."""
        found = Counter({size: 1})
        for at, tile in self.loops[i:]:
            if at != dim:
                continue
            inner: Counter[int] = Counter()
            for block, count in found.items():
                full, rest = divmod(block, tile)
                if full:
                    inner[tile] += full * count
                if rest:
                    inner[rest] += count
            found = inner
        return found

    def visits(
        self, relevant: frozenset[int], cut: int, edge: Edge = "all", *, of_one_tile: bool = False
    ) -> Visits:
        """Return the visits to the tiles inside the outermost ``cut`` loops.

        Parameters
        ----------
        relevant : frozenset of int
            Dimensions that index the operand.
        cut : int
            Loops outside the tile.
        edge : {"all", "first", "last"}
            All visits, or only the first, or last, to each tile.
        of_one_tile : bool
            Only those to the first, or last, tile.
        """
        walk = self.walk(relevant, cut, edge)
        if of_one_tile:
            return Counter({walk.last if edge == "last" else walk.first: 1})
        return walk.visits(after=edge != "last")

    def walk(self, relevant: frozenset[int], cut: int, edge: Edge = "all") -> "Walk":
        """Return the first and last visit, and how often which visit comes right before which.

        Parameters
        ----------
        relevant : frozenset of int
            Dimensions that index the operand.
        cut : int
            Loops outside the tile.
        edge : {"all", "first", "last"}
            Which pairs: all, those to whose second visit a tile is visited for the first time, or
            those after whose first visit a tile is not visited again.
        """
        return self._walk(0, cut, relevant, (self.sizes, self._lows(relevant)), edge)

    def _walk(
        self,
        i: int,
        cut: int,
        relevant: frozenset[int],
        around: tuple[Sizes, Lows],
        edge: Edge,
    ) -> "Walk":
        sizes, lows = around
        if i == cut:
            visit = Visit(
                sizes,
                self.steps(i, sizes),
                self._pass(i, sizes, relevant, last=False),
                self._pass(i, sizes, relevant, last=True),
                self._clips(relevant, lows, sizes),
            )
            return Walk(visit, visit, Counter())
        blocks, indexed = self._blocks(i, relevant, sizes, lows), self.loops[i][0] in relevant
        walks = [
            (self._walk(i + 1, cut, relevant, each[:2], edge), each[2])
            for each in (blocks if indexed or edge == "all" else (blocks[0], blocks[-1]))
        ]
        first, last = walks[0][0].first, walks[-1][0].last
        if not indexed and self._single(i + 1, cut, relevant, sizes):
            visit = replace(first, steps=self.steps(i, sizes), last_pass=last.last_pass)
            return Walk(visit, visit, Counter())
        if not indexed and edge != "all":
            return Walk(first, last, walks[-1 if edge == "last" else 0][0].pairs)
        pairs: Counter[tuple[Visit, Visit]] = Counter()
        before: tuple[Visit, Sizes] | None = None
        for (walk, times), (block, _, _) in zip(walks, blocks, strict=True):
            for pair, count in walk.pairs.items():
                pairs[pair] += times * count
            for ahead, count in ((before, 1), ((walk.last, block), times - 1)):
                if ahead is not None and count:
                    one = all(self._in_a_row(i, cut, relevant, each) for each in (ahead[1], block))
                    visit = self._after(i, relevant, ahead[0], walk.first) if one else walk.first
                    pairs[ahead[0], visit] += count
            before = walk.last, block
        return Walk(first, last, pairs)

    def ending(self, relevant: frozenset[int], cut: int) -> Ending | None:
        """Return the last visit but one to the tiles of an operand without windows, if any."""
        sizes, turn, again = self.sizes, None, False
        for i in range(cut):
            if self._single(i, cut, relevant, sizes):
                break
            dim, tile = self.loops[i]
            if tile < sizes[dim]:
                turn, again = (i, _with(sizes, dim, tile)), again or dim not in relevant
                sizes = _with(sizes, dim, sizes[dim] % tile or tile)
        if turn is None:
            return None
        i, sizes = turn
        before = self._walk(i + 1, cut, relevant, (sizes, ()), "all").last
        return Ending(before, self.loops[i][0] in relevant, again)

    def _in_a_row(self, i: int, cut: int, relevant: frozenset[int], block: Sizes) -> bool:
        """Whether inside a turn of loop ``i`` only its own dimension moves on."""
        return self._single(i + 1, cut, relevant - {self.loops[i][0]}, block)

    def _after(self, i: int, relevant: frozenset[int], ahead: Visit, visit: Visit) -> Visit:
        """Return a visit with the outputs ahead of it, if loop ``i`` is over those of a window."""
        dim = self.loops[i][0]
        for w, each in enumerate(self.slid(relevant)):
            if each.out == dim:
                return replace(visit, after=After(w, ahead.block[dim]))
        return visit

    def _single(self, i: int, cut: int, relevant: frozenset[int], sizes: Sizes) -> bool:
        """Whether the loops from ``i`` to the cut make one tile of the block."""
        return all(dim not in relevant or tile >= sizes[dim] for dim, tile in self.loops[i:cut])

    def _pass(self, i: int, sizes: Sizes, relevant: frozenset[int], *, last: bool) -> int:
        """Return the steps of the first, or last, turn over the tile, from loop ``i`` inwards."""
        for j in range(i, len(self.loops)):
            dim, tile = self.loops[j]
            if tile < sizes[dim]:
                if dim in relevant:
                    return self.steps(j, sizes)
                rest = sizes[dim] % tile if last else 0
                sizes = _with(sizes, dim, rest or tile)
        return 1

    def step_visits(
        self, relevant: frozenset[int], edge: Edge = "all", *, of_one_tile: bool = False
    ) -> Visits:
        """Return what the array takes, or leaves, step by step: it keeps nothing."""
        tiles: list[Counter[int]] = []
        slid = self.slid(relevant)
        for dim, size in enumerate(self.sizes):
            sizes = self.bottom(dim, 0, size)
            if edge != "all" and (of_one_tile or dim not in relevant):
                sizes = Counter({self._end_tile(dim, size, edge): 1})
            tiles.append(sizes)
        if not slid:
            return Counter(
                {
                    Visit(block, 1, 1, 1): prod(
                        sizes[size] for sizes, size in zip(tiles, block, strict=True)
                    )
                    for block in product(*tiles)
                }
            )
        return self._slid_step_visits(slid, tiles, only=edge if of_one_tile else "all")

    def _slid_step_visits(
        self, slid: tuple["_Slide", ...], tiles: list[Counter[int]], only: Edge
    ) -> Visits:
        """Return the steps' visits to an operand with windows; ``tiles``: of each dimension."""
        plain = [dim for dim in range(len(tiles)) if all(dim not in (s.out, s.tap) for s in slid)]
        parts = [self._step_windows(each, only) for each in slid]
        found: Visits = Counter()
        for sizes in product(*(tiles[dim] for dim in plain)):
            block = dict(zip(plain, sizes, strict=True))
            steps = prod(tiles[dim][size] for dim, size in block.items())
            for pairs in product(*parts):
                for each, (outputs, taps, _) in zip(slid, pairs, strict=True):
                    block |= {each.out: outputs, each.tap: taps}
                whole = tuple(block[dim] for dim in range(len(tiles)))
                visit = Visit(whole, 1, 1, 1, tuple(clip for _, _, clip in pairs))
                found[visit] += steps * prod(
                    part[pair] for part, pair in zip(parts, pairs, strict=True)
                )
        return found

    def _step_windows(self, each: "_Slide", only: Edge) -> Counter[tuple[int, int, Clip]]:
        """Return how many steps have so many outputs and taps of a window, so clipped."""
        outs, taps = (
            list(self._step_tiles(dim, 0, self.sizes[dim])) for dim in (each.out, each.tap)
        )
        if only != "all":
            end = -1 if only == "last" else 0
            outs, taps = [outs[end]], [taps[end]]
        window = each.window
        return Counter(
            (out, tap, window.clip(window.low(at, tap_at), out, tap))
            for at, out in outs
            for tap_at, tap in taps
        )

    def _step_tiles(self, dim: int, i: int, size: int) -> Iterator[tuple[int, int]]:
        """Yield where each step's tile of a block begins, and its extent, in order."""
        at = next((j for j in range(i, len(self.loops)) if self.loops[j][0] == dim), None)
        if at is None:
            yield 0, size
            return
        tile = self.loops[at][1]
        for start in range(0, size, tile):
            for inner, extent in self._step_tiles(dim, at + 1, min(tile, size - start)):
                yield start + inner, extent

    def _end_tile(self, dim: int, size: int, edge: Edge) -> int:
        """Return the first, or last, step's tile of a dimension."""
        for at, tile in self.loops:
            if at == dim and tile < size:
                size = tile if edge == "first" else size % tile or tile
        return size

    # the units of the array, which share a step's tile: element x of a dimension that is unrolled
    # over axes of p, q, ... units is the work of unit (x mod p, x // p mod q, ...)

    def _unrolls(self, dim: int) -> Unrolls:
        return tuple(
            (each.axis, each.size) for each in self.mapping.spatial if each.dim == self.dims[dim]
        )

    def copies(self, per: tuple[str, ...], dim: int, i: int, size: int) -> int:
        """Return how many units along some axes a block of a dimension reaches.

        Parameters
        ----------
        per : tuple of str
            The axes.
        dim : int
        i : int
            The first loop inside the block.
        size : int
            Extent of the block.
        """
        for at, tile in self.loops[i:]:
            size = min(size, tile) if at == dim else size
        return _units(self._unrolls(dim), per, size)[0]

    def share(self, per: tuple[str, ...], dim: int, i: int, size: int) -> int:
        """Return how many elements of a block the unit has that has most; arguments as `copies`.

        Parameters
        ----------
        per : tuple of str
            Axes along which units have elements of their own.
        dim : int
            The dimension, by its number.
        i : int
            Loops outside the block.
        size : int
            Elements of the block along the dimension.
        """
        unrolls = self._unrolls(dim)
        if not any(axis in per for axis, _ in unrolls):
            return size
        return sum(
            count * _units(unrolls, per, tile)[1]
            for tile, count in self.bottom(dim, i, size).items()
        )

    def spread(
        self,
        relevant: frozenset[int],
        visit: Visit,
        i: int,
        per: tuple[str, ...],
        *,
        reached: tuple[str, ...] | None = None,
        halo_of: tuple[str, ...] | None = None,
    ) -> Spread:
        """Return how a tile lies in the copies of a memory.

        Parameters
        ----------
        relevant : frozenset of int
            Dimensions that index the operand.
        visit : Visit
            A visit to the tile.
        i : int
            Loops outside the tile.
        per : tuple of str
            Axes along which the memory has copies.
        reached : tuple of str, optional
            Axes along which copies have the same elements; ``per`` if left out.
        halo_of : tuple of str, optional
            Only pixels that are new to some copy along these axes, which include ``per``; all if
            left out.
        """
        elements = copies = share = 1
        slid = self.slid(relevant)
        pairs = {dim for each in slid for dim in (each.out, each.tap)}
        for dim, size in enumerate(visit.block):
            if dim in pairs:
                continue
            if dim in relevant:
                elements *= size
                copies *= self.copies(per, dim, i, size)
                share *= self.share(per, dim, i, size)
            else:
                same = self.copies(per if reached is None else reached, dim, i, size)
                elements, copies = elements * same, copies * same
        clips = visit.clips or (INSIDE,) * len(slid)
        for w, (each, clip) in enumerate(zip(slid, clips, strict=True)):
            after = visit.after if halo_of is not None else None
            had = after.outputs if after is not None and after.window == w else 0
            extents = visit.block[each.out], visit.block[each.tap]
            found = self._pixels(each, i, extents, clip, per, halo_of if had else per, had)
            elements *= found.elements
            copies *= found.copies
            share *= found.share
        return Spread(elements, copies, share)

    def _pixels_of(
        self,
        each: "_Slide",
        i: int,
        extents: tuple[int, int],
        clip: Clip,
        per: tuple[str, ...],
        inner: tuple[str, ...],
        had: int,
    ) -> Spread:
        """Return how the pixels of a window lie in copies along ``per``.

        ``had``: outputs of the tile right ahead, whose pixels the copies along ``inner`` have.
        """
        window = each.window
        outputs, taps = extents
        now, before = (self._members(each.out, i, some, inner) for some in (outputs, had))
        rows = self._members(each.tap, i, taps, inner)
        axes = self._axes(each.out, inner), self._axes(each.tap, inner)
        found: Counter[tuple[tuple[int, ...], ...]] = Counter()
        for out, tap in product(now, rows):
            pixels = window.pixels(now[out], rows[tap])
            ahead = had * window.stride
            had_here = window.pixels(before.get(out, ()), rows[tap])
            new = (pixels << ahead & ~had_here) >> ahead
            place = tuple(
                tuple(x for x, axis in zip(part, names, strict=True) if axis in per)
                for part, names in zip((out, tap), axes, strict=True)
            )
            found[place] |= stored(new, clip, window.span(outputs, taps))
        counts = [pixels.bit_count() for pixels in found.values()]
        return Spread(sum(counts), sum(map(bool, counts)), max(counts))

    def _members(
        self, dim: int, i: int, size: int, axes: tuple[str, ...]
    ) -> dict[tuple[int, ...], list[int]]:
        """Return the elements of a block that the units along some axes have, by their place."""
        found: dict[tuple[int, ...], list[int]] = {}
        unrolls = self._unrolls(dim)
        for start, extent in self._step_tiles(dim, i, size):
            for x in range(extent):
                found.setdefault(_unit(unrolls, axes, x), []).append(start + x)
        return found

    def _axes(self, dim: int, axes: tuple[str, ...]) -> tuple[str, ...]:
        """Return the axis of each entry of a place along some axes."""
        return tuple(axis for axis, _ in self._unrolls(dim) if axis in axes)


class _Slide(NamedTuple):
    """A window and its two dimensions, by position."""

    out: int
    tap: int
    window: Window

    def runs(
        self, low: int, dim: int, start: int, tile: int, many: int, block: Sizes
    ) -> Iterator[tuple[int, int]]:
        """Yield the first pixels of equal blocks in a row; blocks off the border together.

        ``low``: the first pixel of the block around them; ``start``: where the first of ``many``
        blocks of ``tile`` lies in it along ``dim``.
        """
        pace = self.window.stride if dim == self.out else self.window.dilation
        low, move = low + start * pace, tile * pace
        span = self.window.span(block[self.out], block[self.tap])
        first = min(many, max(0, ceil_div(-low, move)))
        after = max(first, min(many, (self.window.size - span - low) // move + 1))
        for at in range(first):
            yield low + at * move, 1
        if after > first:
            yield low + first * move, after - first
        for at in range(after, many):
            yield low + at * move, 1


@lru_cache(maxsize=65536)
def _units(unrolls: Unrolls, per: tuple[str, ...], size: int) -> tuple[int, int]:
    """Return the units that the first elements of a step's tile reach, and the first unit's."""
    places = [_unit(unrolls, per, x) for x in range(size)]
    return len(set(places)), places.count(_unit(unrolls, per, 0))


def _unit(unrolls: Unrolls, per: tuple[str, ...], x: int) -> tuple[int, ...]:
    """Return the place along some axes of element ``x`` of a step's tile."""
    place = []
    for axis, size in unrolls:
        if axis in per:
            place.append(x % size)
        x //= size
    return tuple(place)


def _with(values: tuple[T, ...], i: int, value: T) -> tuple[T, ...]:
    return (*values[:i], value, *values[i + 1 :])
