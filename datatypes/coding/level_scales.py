"""Scales of nested levels: how one is chosen under those above it, stored and read back."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError
from ..schemes.granularity import Granularity
from ..schemes.layout import Layout
from ..schemes.levels import FEW_VALUES, Level, Offset, parents
from ..schemes.patterns import LAYOUTS, Raw

Floats = NDArray[np.floating[Any]]
Index = NDArray[np.int64]
Reals = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Tree:
    """Which groups of a level lie in which of the levels above.

    Attributes
    ----------
    shapes : tuple of Granularity
    rows, columns : int
        Of the matrix.
    counts : tuple of int
        Groups of each level.
    ratios : tuple of int
        For each level but the last, how many of its groups make one of the next, one after the
        other; 0 where that is not everywhere so.
    """

    shapes: tuple[Granularity, ...]
    rows: int
    columns: int
    counts: tuple[int, ...]
    ratios: tuple[int, ...]

    @classmethod
    def of(cls, levels: Sequence[Level], layout: Layout) -> "Tree":
        """Return the groups of levels over a matrix."""
        shapes = tuple(level.granularity for level in levels)
        rows, columns = layout.rows, layout.columns
        return cls(
            shapes=shapes,
            rows=rows,
            columns=columns,
            counts=tuple(_count(shape, rows, columns) for shape in shapes),
            ratios=tuple(_ratio(low, high, rows, columns) for low, high in pairwise(shapes)),
        )

    @classmethod
    def single(cls, layout: Layout) -> "Tree":
        """Return the groups of a matrix, without levels above."""
        return cls(
            shapes=(), rows=layout.rows, columns=layout.columns, counts=(layout.groups,), ratios=()
        )

    @cached_property
    def up(self) -> tuple[Index, ...]:
        """For each level but the last, the group of the next that each of its groups lies in."""
        pairs = pairwise(self.shapes)
        return tuple(parents(low, high, self.rows, self.columns) for low, high in pairs)

    def spread(self, k: int, x: NDArray[Any]) -> NDArray[Any]:
        """Return for the groups of a level what the (groups,) `x` of the next one above has."""
        ratio = self.ratios[k]
        return np.repeat(x, ratio) if ratio else x[self.up[k]]

    def climb(self, low: int, high: int) -> Index | None:
        """Return the group of a level that each group of a lower one lies in; None if the same."""
        found: Index | None = None
        for level in range(low, high):
            found = self.up[level] if found is None else self.up[level][found]
        return found

    def largest(self, x: Floats) -> list[Floats]:
        """Return the largest of (groups,) numbers in the groups of each level."""
        found = [x]
        for k, ratio in enumerate(self.ratios):
            if ratio:
                found.append(largest_of(found[-1].reshape(-1, ratio)))
                continue
            top = np.zeros(self.counts[k + 1], x.dtype)
            np.maximum.at(top, self.up[k], found[-1])
            found.append(top)
        return found


# of shorter rows the elements are compared place by place
SHORT = 64


def largest_of(x: Floats) -> Floats:
    """Return the largest of each row of (rows, n) numbers, n > 0."""
    if x.shape[1] > SHORT:
        return np.asarray(x.max(axis=1))
    top = x[:, 0].copy()
    for column in range(1, x.shape[1]):
        np.maximum(top, x[:, column], out=top)
    return top


def _ratio(lower: Granularity, upper: Granularity, rows: int, columns: int) -> int:
    """Return how many lower groups, one after the other, make each upper one; 0 if not all."""
    (down, across), (tall, wide) = (g.blocks(rows, columns) for g in (lower, upper))
    if tall == wide == 1:
        return down * across
    if (lower.rows, upper.rows) != (1, 1):
        return 0
    ratio = upper.columns // lower.columns if upper.columns else across
    return ratio if wide * ratio == across else 0


def _count(shape: Granularity, rows: int, columns: int) -> int:
    down, across = shape.blocks(rows, columns)
    return down * across


def stored(
    level: Level,
    span: Floats,
    reach: float,
    above: NDArray[np.float32] | None,
    mantissa_bits: int,
    sign: NDArray[np.bool_] | None,
) -> Raw:
    """Return the (groups,) patterns of a level's scales by its rule.

    The rule ``even`` rounds the magnitude in units of the scales above up to a power of two where
    the element's mantissa would: from 1 - 2**-(bits + 2) of it on.

    Parameters
    ----------
    level : Level
    span : (groups,) float
    reach : float
        Largest value of the element times the largest scales of the levels below.
    above : (groups,) float32 or None
        Product of the scales above.
    mantissa_bits : int
        Of the element, for the rule ``even``.
    sign : (groups,) bool or None
        Which of signed scales are negative.
    """
    some = span > 0
    upper = np.ones(len(span)) if above is None else above.astype(np.float64)
    if level.rule == "nearest":
        with np.errstate(over="ignore"):
            real = (span / span.dtype.type(reach)).astype(np.float64)
            quotient = np.divide(real, upper, out=np.zeros_like(real), where=upper > 0)
        if above is None:
            _refuse_large(level, quotient, some)
        return level.nearest(
            quotient if sign is None else np.where(sign, -quotient, quotient), some
        )
    whole = span.astype(np.float64)
    unit = unit_of(level, reach, mantissa_bits)
    values, codes = level.positive
    units = np.where(upper > 0, upper * unit, 1.0)
    if level.rule == "significand":
        whole, units = 2 * np.frexp(whole / units)[0], np.ones(len(whole))
    with np.errstate(over="ignore"):
        place = directed(values, whole, units, up=level.rule in ("ceil", "rceil"))
    if above is None:
        beyond = (place == len(values)) | (whole >= units * 2 * values[-1])
        _refuse_first(level, whole / units, some & beyond)
    picked = codes[np.clip(place, 0, len(values) - 1)].astype(np.uint32)
    return np.where(some, picked, level.nearest(np.zeros(1), np.zeros(1, np.bool_)))


def unit_of(level: Level, reach: float, mantissa_bits: int) -> float:
    """Return what spans are compared with by rules that go up or down; see `stored`."""
    unit = reach if level.rule == "rceil" or not level.power else 2.0 ** _exponent(reach)
    return unit * (1 - 2.0 ** -(mantissa_bits + 2)) if level.rule == "even" else unit


def _exponent(x: float) -> int:
    return int(np.frexp(x)[1]) - 1


def directed(values: Reals, whole: Reals, units: Reals, up: bool) -> Index:
    """Return the place of the last value with ``value * unit <= x``; if up, the first above or at.

    Parameters
    ----------
    values : (n,) float64
        Ascending.
    whole, units : (groups,) float64
    up : bool

    Returns
    -------
    (groups,) int64
        -1 or n where there is no such value.
    """
    if len(values) <= FEW_VALUES:
        under = [value * units < whole if up else value * units <= whole for value in values]
        return np.asarray(np.add.reduce(under, axis=0, dtype=np.int64) - (not up), np.int64)
    guess = np.searchsorted(values, whole / units, side="left" if up else "right")
    guess = guess if up else guess - 1
    padded = np.concatenate([[-np.inf], values, [np.inf]])

    def product(place: Index) -> Reals:
        return np.asarray(padded[place + 1] * units)

    if up:
        guess = np.where(product(guess - 1) >= whole, guess - 1, guess) if len(values) else guess
        return np.asarray(np.where(product(guess) < whole, guess + 1, guess), np.int64)
    guess = np.where(product(guess) > whole, guess - 1, guess)
    return np.asarray(np.where(product(guess + 1) <= whole, guess + 1, guess), np.int64)


def _refuse_large(level: Level, real: Reals, some: NDArray[np.bool_]) -> None:
    """Refuse scales of the outermost level that do not fit its format."""
    if level.format is None or level.name in LAYOUTS:
        beyond = ~(real < LAYOUTS[level.name].limit)
    else:
        beyond = level.format.grid.overflows(real) & (real > level.reach)
    _refuse_first(level, real, some & beyond)


def _refuse_first(level: Level, real: Reals, beyond: NDArray[np.bool_]) -> None:
    if beyond.any():
        at = int(np.argmax(beyond))
        _refuse(level, at, float(real[at]))


def _refuse(level: Level, group: int, value: float) -> NoReturn:
    raise BitlatheError(
        f"the scale of {level.granularity} group {group}, {value:g}, does not fit {level.name}, "
        f"whose largest is {level.reach:g}; divide the tensor by a constant, or put a level such "
        "as @tensor/fp32 above it"
    )


def around(level: Level, base: Raw, span: Floats) -> list[Raw]:
    """Return the patterns a search tries at a level, ascending; groups of zeros keep theirs.

    Parameters
    ----------
    level : Level
    base : (groups,) uint32
        By the level's rule.
    span : (groups,) float
    """
    assert level.format is not None
    values, codes = level.positive
    if len(values) <= FEW_VALUES:
        return [np.where(span > 0, np.uint32(code), base) for code in codes]
    octave = 1 << level.format.grid.top_mantissa_bits
    place = np.searchsorted(values, level.format.values[base])
    tried = [np.clip(place + step, 0, len(codes) - 1) for step in range(-octave, octave + 1)]
    return [np.where(span > 0, codes[at].astype(np.uint32), base) for at in tried]


def store_offsets(
    offset: Offset, real: Reals, layout: Layout
) -> tuple[list[Raw], NDArray[np.float32]]:
    """Store minima or zero points in their levels.

    Parameters
    ----------
    offset : Offset
    real : (groups,) float64
        What is wanted.
    layout : Layout

    Returns
    -------
    raws : list of (groups,) uint32
        Patterns by level.
    values : (groups,) float32
        As used.
    """
    levels = offset.levels
    real = real + 0.0  # -0 is 0
    tree = Tree.of(levels, layout)
    spans, above = tree.largest(np.abs(real)), None
    raws: list[Raw] = []
    for k in range(len(levels) - 1, 0, -1):
        reach = float(np.prod([_both(level) for level in levels[:k]]))
        raw = stored(levels[k], spans[k], reach, above, 0, None)
        own = levels[k].decode(raw) if above is None else levels[k].decode(raw) * above
        raws.insert(0, raw)
        above = tree.spread(k - 1, own)
    if above is None:
        _refuse_offset(offset, real)
        quotient = real
    else:
        wide = above.astype(np.float64)
        quotient = np.divide(real, wide, out=np.zeros_like(real), where=wide > 0)
    raw = levels[0].nearest(quotient, np.zeros(len(real), np.bool_))
    with np.errstate(over="ignore"):
        values = levels[0].decode(raw) if above is None else levels[0].decode(raw) * above
    return [raw, *raws], values


def _both(level: Level) -> float:
    """Return the magnitude that the largest minimum or zero point of a level becomes."""
    if level.format is None or not level.format.signed:
        return level.anchor
    return min(level.anchor, -level.format.min)


def _refuse_offset(offset: Offset, real: Reals) -> None:
    level = offset.levels[0]
    if level.name in LAYOUTS and (beyond := ~(np.abs(real) < LAYOUTS[level.name].limit)).any():
        at = int(np.argmax(beyond))
        raise BitlatheError(
            f"the {offset.kind} of group {at}, {real[at]:g}, does not fit {level.name}; divide the "
            "tensor by a constant, or take a wider format"
        )


def product(levels: Sequence[Level], raws: Sequence[Raw], layout: Layout) -> NDArray[np.float32]:
    """Return the (groups,) products of all levels, each in one rounding to float32.

    Parameters
    ----------
    levels : sequence of Level
    raws : sequence of (groups,) uint32
        Patterns by level.
    layout : Layout
    """
    tree = Tree.of(levels, layout)
    total = levels[-1].decode(raws[-1])
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(len(levels) - 2, -1, -1):
            total = levels[k].decode(raws[k]) * tree.spread(k, total)
    return total
