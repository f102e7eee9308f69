"""Scales as formats, nested: each level of scales is itself a tensor in a format, under scales.

``fp4_e2m1@g16/fp8_e4m3@tensor/fp32`` has two: a group of 16 has a scale in FP8, all of these
share one in float32. The scale as used is the product of all levels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError, unknown_name
from ..formats.families import named
from ..formats.format import Format
from .granularity import Granularity
from .patterns import LAYOUTS, Raw, bits_to_float, float_bits
from .scale_format import ScaleFormat

# how a scale that is wanted becomes one of its format
RULES: Final = ("nearest", "floor", "ceil", "even", "rceil", "significand")
OFFSETS: Final = ("minimum", "zero")
# of formats with more values than this a search tries an octave up and down
FEW_VALUES = 16
MAX_SEARCH_BITS = 8
MAX_LEVELS = 6
WIDE = 2.0**32


@dataclass(frozen=True, kw_only=True)
class Level:
    """One level of scales: what shares one, and how it is stored.

    Attributes
    ----------
    granularity : Granularity
        What shares a scale of this level, in elements of the tensor.
    name : str
        Of the format, or ``fp32``.
    format : Format or None
        None for fp32.
    rule : str
        ``nearest``: the value nearest to largest magnitude / largest value, never 0 for a group
        that is not. ``floor``, ``ceil``: the value below, above; of powers of two, from the
        exponents of both as in OCP MX, as are ``even`` (the magnitude rounded to the element's
        mantissa first) and ``rceil`` (nothing clips). ``significand``: the value below the
        significand of largest magnitude / largest value, whose power of two is left to the levels
        below.
    search : bool
        Whether the values around it are tried, and the one of least squared error is taken: all
        values of a format with at most 16, else those an octave up and down.
    signed : bool
        Whether the scale takes the sign that puts the largest element on the longer side of the
        element's grid.
    """

    granularity: Granularity
    name: str
    format: Format | None
    rule: str = "nearest"
    search: bool = False
    signed: bool = False

    @classmethod
    def of(
        cls,
        granularity: Granularity,
        given: str | Format,
        rule: str | None = None,
        search: bool = False,
        signed: bool = False,
    ) -> "Level":
        """Make a level of a format or its name; the rule by default that of the format.

        Parameters
        ----------
        granularity : Granularity
        given : str or Format
        rule : str, optional
            ``floor`` for powers of two, ``nearest`` for all others.
        search, signed : bool

        Raises
        ------
        BitlatheError
            Raised if the format is unknown.
        """
        made: Format | None
        if isinstance(given, Format):
            name, made = given.name, given
        else:
            name, made = given, None if given == "fp32" else named(given)
            if made is None and name != "fp32":
                raise BitlatheError(f"unknown format of a scale {name!r}")
        return cls(
            granularity=granularity,
            name=name,
            format=made,
            rule=default_rule(made) if rule is None else rule,
            search=search,
            signed=signed,
        )

    @property
    def bits(self) -> int:
        """Bits of one stored scale."""
        return 32 if self.format is None else self.format.bits

    @cached_property
    def reach(self) -> float:
        """Largest scale; of signed ones the largest that exists with both signs."""
        if self.format is None:
            return LAYOUTS["fp32"].max
        grid = self.format.grid
        return min(grid.max, -grid.min) if self.signed else grid.max

    @property
    def anchor(self) -> float:
        """The scale that the largest of a level becomes under a level above it.

        The largest there is; 1 for formats that go beyond 2^32 (e8m0, bf16, fp32), whose scales
        need no stretching, and for significands.
        """
        ratio = self.rule == "significand" and self._from_one
        return 1.0 if ratio or self.reach > WIDE else self.reach

    def anchor_under(self, above: "Level") -> float:
        """Return the anchor under a certain level.

        That of searched ratios from 1 to below 2 is 1, as in M2XFP, where the scale above them may
        be too small without them: a power of two, or one that is searched.
        """
        ratio = self.search and self._from_one and (above.power or above.search)
        return 1.0 if ratio else self.anchor

    @property
    def _from_one(self) -> bool:
        """Whether the positive scales are 1 and more, all below 2."""
        return self.reach < 2 and bool(self.positive[0][0] == 1)

    @cached_property
    def power(self) -> bool:
        """Whether every positive scale is a power of two."""
        return is_power(self.format)

    @property
    def nan_pattern(self) -> int | None:
        """The bit pattern of a scale that is NaN; None if there is none."""
        if self.format is None:
            return LAYOUTS["fp32"].quiet_nan
        nans = self.format.grid.quiet_nans
        return nans[0] if nans else None

    @cached_property
    def positive(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """The positive values, ascending, and their codes; of a format that is a table."""
        assert self.format is not None
        grid = self.format.grid
        kept = grid.values > 0
        return grid.values[kept], grid.codes[kept]

    def decode(self, raw: Raw) -> NDArray[np.float32]:
        """Return the (...) numbers that stored patterns stand for, as float32."""
        flat = np.ascontiguousarray(raw).reshape(-1)
        if self.format is None or self.name in LAYOUTS:
            return bits_to_float(flat, self.name).reshape(raw.shape)
        with np.errstate(over="ignore"):
            return self._table[raw]

    @cached_property
    def _table(self) -> NDArray[np.float32]:
        assert self.format is not None
        return np.asarray(self.format.values.astype(np.float32))

    def nearest(self, x: NDArray[np.float64], wanted: NDArray[np.bool_]) -> Raw:
        """Return the patterns nearest to (...) numbers, saturated; where wanted, not that of 0."""
        if self.format is None or self.name in LAYOUTS:
            sign = np.signbit(x).astype(np.uint32) << np.uint32(self.bits - 1)
            size = np.minimum(np.abs(x), LAYOUTS[self.name].max)
            return np.asarray(float_bits(size, self.name, wanted) | sign)
        found = self.format.encode(x).astype(np.uint32)
        lost = wanted & (self.format.values[found] == 0)
        # of formats without 0, such as lns8, the value nearest to 0 may be negative
        lost |= (x >= 0) & (self.format.values[found] < 0)
        if lost.any():
            grid = self.format.grid
            up = int(self.positive[1][0])
            down = int(grid.codes[grid.values < 0][-1]) if self.signed else up
            found = np.where(lost, np.where(x < 0, down, up), found)
        return np.asarray(found, np.uint32)

    def __str__(self) -> str:
        text = self.name
        if self.rule != default_rule(self.format):
            text += f"_{self.rule}"
        return text + "_search" * self.search + "_signed" * self.signed


def is_power(fmt: Format | None) -> bool:
    """Return whether the positive values of a format are powers of two, each the double of one."""
    if fmt is None:
        return False
    values = fmt.grid.values
    positive = values[values > 0]
    return bool((np.frexp(positive)[0] == 0.5).all() and (positive[1:] == 2 * positive[:-1]).all())


def default_rule(fmt: Format | None) -> str:
    """Return the rule of a scale format where none is given."""
    return "floor" if is_power(fmt) else "nearest"


@dataclass(frozen=True, kw_only=True)
class Offset:
    """What is taken from each group: a minimum, or a zero point.

    Attributes
    ----------
    kind : str
        ``minimum``: an element is ``scale * value - minimum``. ``zero``: it is
        ``(value - zero) * scale``.
    levels : tuple of Level
        How the minima or zero points are stored; the first level's group is the element's.
    """

    kind: str
    levels: tuple[Level, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelScale(ScaleFormat):
    """What the rest of the package asks of a stored scale, told of nested levels.

    Attributes
    ----------
    across_rows : bool
        Whether rows share a scale, minimum or zero point beyond their groups.
    top : str
        Name of the outermost format.
    """

    across_rows: bool = False
    top: str = ""
    kind = "levels"

    @property
    def shared(self) -> bool:
        """Whether the scales of different rows hang on one another."""
        return self.across_rows

    @property
    def _stored_in(self) -> str:
        """What a scale that is too large does not fit, for errors."""
        return self.top

    @property
    def narrow(self) -> bool:
        """Whether scales stored as bf16 or fp32 would reach further."""
        return self.top == "fp16"


def scale_of(levels: tuple[Level, ...], offset: Offset | None) -> LevelScale:
    """Return what is asked of the scales of levels, and of the minima or zero points beside."""
    upper = (*levels[1:], *(offset.levels[1:] if offset else ()))
    shared = any(level.granularity.rows != 1 for level in upper)
    return LevelScale(name="levels", bits=levels[0].bits, across_rows=shared, top=levels[-1].name)


def parents(lower: Granularity, upper: Granularity, rows: int, columns: int) -> NDArray[np.int64]:
    """Return the (groups,) number of the upper group that each lower group lies in.

    Parameters
    ----------
    lower, upper : Granularity
    rows, columns : int
        Of the matrix.
    """
    down, across = lower.blocks(rows, columns)
    _, wide = upper.blocks(rows, columns)
    i = np.arange(down) * lower.rows // upper.rows if upper.rows else np.zeros(down, np.int64)
    j = np.arange(across) * lower.columns // upper.columns if upper.columns else np.zeros(across)
    return np.asarray((i[:, None] * wide + j[None, :]).reshape(-1), np.int64)


def nests(lower: Granularity, upper: Granularity) -> bool:
    """Return whether every group of the upper level is made of whole groups of the lower one."""
    pairs = ((lower.rows, upper.rows), (lower.columns, upper.columns))
    return all(big == 0 or (small != 0 and big % small == 0) for small, big in pairs)


def level_bits(levels: Sequence[Level], rows: int, columns: int) -> int:
    """Return the stored bits of all levels of a rows x columns matrix."""
    counts = [level.granularity.blocks(rows, columns) for level in levels]
    return sum(
        level.bits * down * across for level, (down, across) in zip(levels, counts, strict=True)
    )


def free_of_scales(formats: Sequence[Format], offset: Offset | None) -> bool:
    """Return whether minima are the same under all scales: where all elements start at 0."""
    return offset is not None and offset.kind == "minimum" and all(f.min == 0 for f in formats)


def zero_reaches(formats: Sequence[Format], offset: Offset) -> bool:
    """Return whether zero points may be any number between the ends of the elements' grids."""
    fmt = offset.levels[0].format
    if offset.kind != "zero" or fmt is None:
        return True
    below = all(f.min >= 0 or fmt.signed for f in formats)
    if len(offset.levels) > 1:
        return below
    return below and all(fmt.max >= f.max and (f.min >= 0 or fmt.min <= f.min) for f in formats)


def find_level_problem(
    levels: tuple[Level, ...], granularity: Granularity, what: str = "scale"
) -> str | None:
    """Return what is wrong with levels, naming the part; None if nothing is.

    Parameters
    ----------
    levels : tuple of Level
    granularity : Granularity
        Of the elements: what shares a scale of the first level.
    what : str
        ``scale``, ``minimum`` or ``zero``.
    """
    if not 1 <= len(levels) <= MAX_LEVELS:
        return f"{len(levels)} levels of {what}s; there must be 1 to {MAX_LEVELS}"
    if levels[0].granularity != granularity:
        return (
            f"the first {what} is that of {levels[0].granularity}, must be that of the elements' "
            f"groups, {granularity}"
        )
    for lower, upper in pairwise(levels):
        if (
            not nests(lower.granularity, upper.granularity)
            or lower.granularity == upper.granularity
        ):
            return (
                f"levels do not nest: {what} {upper} is shared by {upper.granularity}, which is "
                f"not made of two or more whole groups of {lower.granularity}"
            )
    for index, level in enumerate(levels):
        if problem := _own_problem(level, what, first=index == 0):
            return f"{what} {level}: {problem}"
    return None


def _in_float32(level: Level) -> bool:
    """Return whether no value of a format becomes 0 or infinity in float32."""
    assert level.format is not None
    sizes = np.abs(level.format.grid.values)
    sizes = sizes[sizes > 0]
    return not sizes.size or bool(sizes.min() >= 2.0**-149 and sizes.max() <= LAYOUTS["fp32"].max)


def _own_problem(level: Level, what: str, first: bool) -> str | None:
    """Return what is wrong with one level."""
    if level.rule not in RULES:
        return unknown_name("rule", level.rule, RULES)
    grid = None if level.format is None else level.format.grid
    table = grid is not None and level.name not in LAYOUTS
    chosen = level.rule != "nearest" or level.search
    plain = what != "scale"
    significand = level.rule == "significand"
    rules = (
        (grid is not None and not (grid.values > 0).any(), "its format has no positive value"),
        (
            table and not _in_float32(level),
            "its format has values beyond float32, in which scales are multiplied",
        ),
        (level.signed and not first, "only the innermost scale takes a sign"),
        (level.signed and plain, f"a {what} has its own sign; leave _signed out"),
        (
            level.signed and grid is not None and not grid.signed,
            "its format has no sign; take a signed one, such as fp16 or int6",
        ),
        (
            level.rule in ("even", "rceil") and not level.power,
            f"the rule {level.rule!r} is for powers of two, such as e8m0",
        ),
        (
            level.rule != "nearest" and not table,
            f"the rule {level.rule!r} is for tables of values; {level.name} is rounded to nearest",
        ),
        (
            significand and (first or plain),
            "a significand leaves its power of two to scales below it, of which there are none",
        ),
        (
            significand and table and not level._from_one,
            "the rule 'significand' is for values from 1 to below 2, such as e0m8",
        ),
        (
            level.search and (not table or level.bits > MAX_SEARCH_BITS),
            f"a search tries formats of at most {MAX_SEARCH_BITS} bits",
        ),
        (level.signed and chosen, "a signed scale is rounded to nearest"),
        (plain and level.search, f"a {what} is not searched"),
        (
            plain and first and grid is not None and not (grid.values == 0).any(),
            f"a {what} needs a format with 0",
        ),
        (
            plain and first and level.rule != "nearest",
            f"a {what} is rounded to nearest; write {level.name}_nearest, rule: nearest in a file",
        ),
    )
    return next((problem for wrong, problem in rules if wrong), None)
