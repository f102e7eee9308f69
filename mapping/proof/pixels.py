"""Pixels of a convolution's input: those that blocks of outputs and taps read, each once.

A *first* is the pixel of a block's first output and tap; None where no pixel of the block, gaps
included, is border.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from functools import cache

from .record import Window

Place = frozenset[tuple[str, int, int]]
"""Where a unit is: axis, dimension, number along it."""
Members = dict[Place, list[int]]
"""Elements of a block, by the unit that has them."""
NOWHERE: Place = frozenset()


def first_pixel(window: Window, first: int, outputs: int, taps: int) -> int | None:
    """Return the first pixel of a block, or None where it is off the border.

    Parameters
    ----------
    window : Window
    first : int
        The pixel of its first output and tap.
    outputs, taps : int
        Its extents.
    """
    span = (outputs - 1) * window.stride + (taps - 1) * window.dilation
    return None if first >= 0 and first + span < window.size else first


def blocks(extent: int, tile: int) -> list[tuple[int, int]]:
    """Return where each block of a tile begins in an extent, and its own."""
    return [(start, min(tile, extent - start)) for start in range(0, extent, tile)]


@cache
def starts(extent: int, tiles: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Return where each innermost tile of nested ones begins in an extent, and its own."""
    found = [(0, extent)]
    for tile in tiles:
        found = [(at + start, each) for at, size in found for start, each in blocks(size, tile)]
    return tuple(found)


def members(
    inside: Iterable[tuple[int, int]],
    d: int,
    unrolls: tuple[tuple[str, int], ...],
    axes: tuple[str, ...],
) -> Members:
    """Return the elements of a block by the units along some axes.

    Parameters
    ----------
    inside : iterable of (int, int)
        Where each step's tile begins, and its extent. Element x of it on axes of p, q units is
        that of unit (x mod p, x // p mod q).
    d : int
        The dimension.
    unrolls : tuple of (str, int)
        The axes that it is unrolled on, and how often.
    axes : tuple of str
    """
    found: Members = defaultdict(list)
    for start, extent in inside:
        for x in range(extent):
            place, left = set(), x
            for axis, size in unrolls:
                if axis in axes:
                    place.add((axis, d, left % size))
                left //= size
            found[frozenset(place)].append(start + x)
    return found


def by_copy(
    window: Window,
    first: int | None,
    outputs: Members,
    taps: Members,
    per: tuple[str, ...],
    ahead: tuple[int, Members] | None = None,
) -> list[int]:
    """Return how many stored pixels each copy of a memory has of a block.

    Parameters
    ----------
    window : Window
    first : int or None
    outputs, taps : dict
        By units along axes that include ``per``.
    per : tuple of str
        Axes along which the memory has copies.
    ahead : (int, dict), optional
        Outputs of the block right ahead, of which units have the pixels: these are left out.
    """
    found: dict[Place, set[int]] = defaultdict(set)
    for at, some in outputs.items():
        for tap_at, rows in taps.items():
            reads = {x * window.stride + y * window.dilation for x in some for y in rows}
            if ahead is not None:
                outside, had = ahead
                reads -= {
                    (x - outside) * window.stride + y * window.dilation
                    for x in had.get(at, [])
                    for y in rows
                }
            if first is not None:
                reads = {x for x in reads if 0 <= first + x < window.size}
            found[frozenset(each for each in at | tap_at if each[0] in per)] |= reads
    return [len(pixels) for pixels in found.values()]


@cache
def touched(window: Window, first: int | None, outputs: int, taps: int) -> int:
    """Return the stored pixels that a block reads.

    Parameters
    ----------
    window : Window
    first : int or None
        As `first_pixel` gives it.
    outputs, taps : int
        The block's extents.

    Examples
    --------
    >>> touched(Window(0, 1, size=7, stride=2, dilation=1, padding=1), -1, 4, 3)
    7
    """
    whole = {NOWHERE: list(range(outputs))}, {NOWHERE: list(range(taps))}
    return by_copy(window, first, *whole, ())[0]


@cache
def passing(
    window: Window, outputs: tuple[tuple[int, int], ...], taps: tuple[tuple[int, int], ...]
) -> int:
    """Return the pixels of all blocks, each as often as it is in one.

    Parameters
    ----------
    window : Window
    outputs, taps : tuple of (int, int)
        Where blocks begin, and their extents.
    """
    found = 0
    same = Counter(
        (first_pixel(window, at + tap_at, extent, rows), extent, rows)
        for at, extent in ((start * window.stride - window.padding, e) for start, e in outputs)
        for tap_at, rows in ((start * window.dilation, e) for start, e in taps)
    )
    for (first, extent, rows), count in same.items():
        found += count * touched(window, first, extent, rows)
    return found
