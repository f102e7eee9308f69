"""The reduction of a layer, and its other dimensions, cut into slices and blocks."""

from dataclasses import dataclass, replace

from ...datatypes.base.numbers import ceil_div
from ..layer_bits import ChunkSize, LayerBits

Blocks = list[tuple[int, int]]
"""Blocks of a dimension in order: (how many, extent of each)."""


def cut(extent: int, block: int) -> Blocks:
    """Return a dimension in full blocks and a last, smaller one.

    Examples
    --------
    >>> cut(10, 4), cut(8, 4), cut(3, 4)
    ([(2, 4), (1, 2)], [(2, 4)], [(1, 3)])
    """
    full, rest = divmod(extent, block)
    return [(count, size) for count, size in ((full, block), (1, rest)) if count and size]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Equal slices of the reduction that follow one another.

    Attributes
    ----------
    count, chunks : int
        How many, and the lanes-wide steps of each.
    groups : int
        Groups of weights that end in each, the last one with it; 0 inside a group.
    full, short : int
        Chunks of each group but the last, and of the last.
    sizes : tuple
        Weights of its chunks, and how many have so many.
    first, last : bool
        It begins, or ends, the reduction; then ``count`` is 1.
    """

    count: int = 1
    chunks: int
    groups: int = 1
    full: int = 0
    short: int = 0
    sizes: tuple[ChunkSize, ...] = ()
    first: bool = False
    last: bool = False


def before_last(extent: int, block: int) -> tuple[int, int]:
    """Return how many whole blocks come before the last one, and the extent of that.

    Examples
    --------
    >>> before_last(10, 4), before_last(8, 4)
    ((2, 2), (1, 4))
    """
    before = (extent - 1) // block
    return before, extent - before * block


def slices_of(k: int, group: int, lanes: int, pieces: int) -> list[Slice]:
    """Cut the reduction into ``pieces`` slices: of whole groups, or, of too few of them, within.

    Parameters
    ----------
    k : int
        Weights along K.
    group : int
        Weights that share a scale; 0 for all of K.
    lanes : int
        Most weights of a chunk, all of one group.
    pieces : int

    Examples
    --------
    >>> [(s.count, s.chunks, s.groups) for s in slices_of(40, 8, 4, 2)]  # groups of two chunks
    [(1, 6, 3), (1, 4, 2)]
    >>> [(s.count, s.chunks, s.groups) for s in slices_of(40, 0, 4, 4)]
    [(1, 3, 0), (2, 3, 0), (1, 1, 1)]
    """
    size = min(group or k, k)
    groups, short = before_last(k, size)
    groups += 1
    full, short = ceil_div(size, lanes), ceil_div(short, lanes)
    made: list[Slice] = []
    if pieces <= groups:
        most = ceil_div(groups, pieces)
        count, rest = before_last(groups, most)
        if count:
            made = [Slice(count=count, chunks=most * full, groups=most, full=full, short=full)]
        made.append(Slice(chunks=(rest - 1) * full + short, groups=rest, full=full, short=short))
    else:
        step = ceil_div(full, ceil_div(pieces, groups))
        for chunks in [full] * (groups - 1) + [short]:
            count, rest = before_last(chunks, step)
            made += [Slice(count=count, chunks=step, groups=0)] if count else []
            made.append(Slice(chunks=rest))
    return ends_apart(made)


def ends_apart(slices: list[Slice]) -> list[Slice]:
    """Return slices of K with the first and the last one marked, each on its own.

    Examples
    --------
    >>> [(s.count, s.first, s.last) for s in ends_apart([Slice(count=3, chunks=8)])]
    [(1, True, False), (1, False, False), (1, False, True)]
    """
    first, last = replace(slices[0], count=1, first=True), replace(slices[-1], count=1, last=True)
    left = [replace(slices[0], count=slices[0].count - 1), *slices[1:]]
    if not left[0].count:
        left = left[1:]
    if not left:
        return [replace(first, last=True)]
    left[-1] = replace(left[-1], count=left[-1].count - 1)
    return [first, *(each for each in left if each.count), last]


def sized(slices: list[Slice], bits: LayerBits, k: int, lanes: int, *, alike: bool) -> list[Slice]:
    """Return slices of K with the sizes of their chunks.

    Parameters
    ----------
    slices : list of Slice
    bits : LayerBits
    k : int
        Weights along K.
    lanes : int
        Most weights of a chunk.
    alike : bool
        Whether slices that are one entry hold the same chunks. Folds of an array need not, as
        groups may end anywhere in them; those that differ then stand apart.
    """
    found: list[Slice] = []
    at = 0
    alike = alike or lanes == 1
    for each in slices:
        for _ in range(1 if alike else each.count):
            sizes = bits.sizes_between(k, lanes, at, at + each.chunks)
            one = replace(each, count=each.count if alike else 1, sizes=sizes)
            at += one.count * each.chunks
            before = found[-1] if found else None
            if not alike and before and replace(before, count=1) == one:
                found[-1] = replace(before, count=before.count + 1)
            else:
                found.append(one)
    return found
