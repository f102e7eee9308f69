"""A loop nest walked step by step: every multiply-accumulate, every unit, sets of elements.

Shares nothing with the package. A memory holds of each operand the tile that the loops outside it
pick out; it is fetched, or written back, whenever the coordinates of that tile change. What a unit
has of a tile is what its multiply-accumulates touch before the next change. Elements of a
convolution's input are real pixels; those of the border are nowhere.
"""

from collections import Counter
from dataclasses import dataclass, field
from itertools import product

OPERANDS = ("weight", "input", "output")


@dataclass
class Stay:
    """A tile's stay in a memory: what each copy of the memory touches of it, and how long."""

    key: tuple
    touched: dict = field(default_factory=dict)  # place of every unit -> elements
    steps: int = 0


def _walk(ranges, loops, prefix):
    """Yield the ranges of all dimensions outside each loop, and those of the step."""
    if not loops:
        yield [*prefix, dict(ranges)]
        return
    (dim, tile), *rest = loops
    low, high = ranges[dim]
    for start in range(low, high, tile):
        inner = {**ranges, dim: (start, min(start + tile, high))}
        yield from _walk(inner, rest, [*prefix, dict(ranges)])


def _macs(step, spatial):
    """Yield coordinates of a step's multiply-accumulates, and the place on each unroll."""
    dims = list(step)
    for point in product(*(range(*step[dim]) for dim in dims)):
        at = dict(zip(dims, point, strict=True))
        left = {dim: at[dim] - step[dim][0] for dim in dims}
        place = []
        for axis, dim, size in spatial:
            place.append((axis, left[dim] % size))
            left[dim] //= size
        assert not any(left.values()), "a step's tile exceeds what is unrolled"
        yield at, tuple(place)


def _element(op, at, indexes, windows):
    """Return the coordinates of an element, pixels of an input counted; None in the border."""
    if op != "input":
        return tuple(at[dim] for dim in indexes[op])
    slid = {dim for out, tap, *_ in windows for dim in (out, tap)}
    found = [at[dim] for dim in indexes[op] if dim not in slid]
    for out, tap, size, stride, dilation, padding in windows:
        pixel = at[out] * stride + at[tap] * dilation - padding
        if not 0 <= pixel < size:
            return None
        found.append(pixel)
    return tuple(found)


def walk(sizes, indexes, loops, spatial, chains, windows=()):
    """Return the stays at each place of each operand's chain, the array last, in order.

    Parameters
    ----------
    sizes : dict of str to int
    indexes : dict of str to tuple of str
    loops : list of (dim, tile)
    spatial : list of (axis, dim, size)
    chains : dict of str to list of int
        Loops outside each of the places where an operand is kept, outermost first.
    windows : list of (out, tap, size, stride, dilation, padding)
        Pairs of dimensions that index pixels of the input.
    """
    stays = {(op, i): [] for op in OPERANDS for i in range(len(chains[op]) + 1)}
    for levels in _walk({dim: (0, size) for dim, size in sizes.items()}, loops, []):
        step = levels[-1]
        macs = list(_macs(step, spatial))
        for op in OPERANDS:
            for i in range(len(chains[op]) + 1):
                found = stays[op, i]
                array = i == len(chains[op])
                outside = step if array else levels[chains[op][i]]
                key = tuple(outside[dim] for dim in indexes[op])
                if array or not found or found[-1].key != key:
                    found.append(Stay(key))
                found[-1].steps += 1
                for at, place in macs:
                    element = _element(op, at, indexes, windows)
                    touched = found[-1].touched.setdefault(place, set())
                    if element is not None:
                        touched.add(element)
    return stays


def _copies(stay, per):
    """Return what each copy of a memory touches, by the place along its axes."""
    copies = {}
    for place, elements in stay.touched.items():
        at = tuple(p for p in place if p[0] in per)
        copies.setdefault(at, set()).update(elements)
    return copies


def _moved_on(before, stay, dims, outs):
    """Whether a tile's outputs along one window begin where the last tile's end, all else equal."""
    ranges = zip(dims, before.key, stay.key, strict=True)
    changed = [(dim, old, new) for dim, old, new in ranges if old != new]
    return len(changed) == 1 and changed[0][0] in outs and changed[0][1][1] == changed[0][2][0]


def _new(before, stay, outer, inner):
    """Return pixels read by the parent, and written to its children, that these do not have."""
    had, below = _copies(before, inner), _copies(stay, inner)
    above, written = {}, 0
    for place, elements in below.items():
        new = elements - had.get(place, set())
        written += len(new)
        at = tuple(p for p in place if p[0] in outer)
        above.setdefault(at, set()).update(new)
    return sum(map(len, above.values())), written


def moved(stays, chains, per, axes, halos=(), dims=(), outs=(), apart=()):
    """Return (operand, kind, partial, place of the child): [visits, parent, child elements].

    Parameters
    ----------
    stays, chains
        As of `walk`.
    per : dict
        Axes of the memory at each place, by (operand, place).
    axes : tuple of str
    halos : set of int
        Places of the input that keep halos.
    dims, outs : tuple of str
        Dimensions of the input; those of them that are outputs of a window.
    apart : set of str
        Axes whose units read what they have alike one by one.
    """
    counts = {}

    def add(key, parent, child):
        row = counts.setdefault(key, [0, 0, 0])
        for i, value in enumerate((1, parent, child)):
            row[i] += value

    for op in OPERANDS:
        for i in range(1, len(chains[op]) + 1):
            outer = per[op, i - 1]
            inner = axes if i == len(chains[op]) else per[op, i]
            takers = {*outer, *(apart & set(inner))} if apart else outer
            left = Counter(stay.key for stay in stays[op, i])
            seen = set()
            for before, stay in zip([None, *stays[op, i]], stays[op, i], strict=False):
                kept = op == "input" and i in halos and before is not None
                if kept and _moved_on(before, stay, dims, outs):
                    add((op, "fetch", False, i), *_new(before, stay, takers, inner))
                    continue
                reading = takers if op != "output" else outer
                above = sum(map(len, _copies(stay, reading).values()))
                below = sum(map(len, _copies(stay, inner).values()))
                if op != "output":
                    add((op, "fetch", False, i), above, below)
                    continue
                if stay.key in seen:
                    add((op, "readback", True, i), above, above)
                seen.add(stay.key)
                left[stay.key] -= 1
                add((op, "write", left[stay.key] > 0, i), above, below)
    return counts


def largest_share(stays, operand, place, per):
    """Return the most elements that one copy of a memory touches in one stay."""
    return max(
        len(elements) for stay in stays[operand, place] for elements in _copies(stay, per).values()
    )
