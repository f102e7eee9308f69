"""The coder of nested scales: from the outermost level in, then the elements under what is stored.

What is computed, x in the precision of the input (float32, or float64 for float64):

* the span of a group: its largest magnitude; under a minimum or zero point the difference of its
  ends, in float64; of a group of an outer level the largest of what it is made of;
* the scale wanted at a level: span / (largest value of the element times those of the levels
  below, `Level.anchor_under`), one division;
* its quotient by the product of the scales stored above it, one division in float64, rounded to
  the level's format by the level's rule. Rules that go up or down compare
  ``value * (product above * largest values below)`` with the span, in float64;
* the product of the scales, from the outermost in, each in one rounding to float32;
* the code: the value nearest to x / scale; (x + minimum) / scale; x / scale + zero.

A search takes the scale of the least squared error under the scales as stored, the first among
equals; members of a mixture likewise, in their order, before a level goes on to its next scale.
Under stochastic rounding, which is right on average where nothing is cut off, what is cut off a
group's end weighs `HEAVY` times as much, and a group of which the zero point or minimum as stored
would cut an end off is coded as a wider one.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError
from ..formats.format import Format
from ..schemes.layout import Layout
from ..schemes.levels import Level, Offset, free_of_scales
from ..schemes.patterns import LAYOUTS, Raw
from ..schemes.scheme import Scheme
from .coded import Coded, Codes, Floats
from .coder import Coder, Tables
from .job import ROUNDING, Job, group_error, magnitude_range
from .level_scales import Index, Reals, Tree, around, product, store_offsets, stored
from .table import TABLE

# as much more than an error counts what is cut off, under stochastic rounding
HEAVY: Final = 1e9
# how often groups of which an end would be cut off are widened, by twice as much each time
WIDENED: Final = 16


@dataclass(frozen=True, kw_only=True)
class Spans:
    """What the scales of a job are wanted for.

    Attributes
    ----------
    low : (groups,) float64 or None
        Lower end of each group, under a minimum or zero point.
    sign : (groups,) bool or None
        Whether a signed scale is negative.
    by_level : list of (groups,) float
        Spans of the groups of each level.
    """

    by_level: list[Floats]
    low: Reals | None = None
    sign: NDArray[np.bool_] | None = None


@dataclass(frozen=True, kw_only=True)
class Found:
    """Scales that were found for all groups of a level and below.

    Attributes
    ----------
    raws : list of (groups,) uint32
        Patterns by level, the innermost first.
    scales : (groups,) float32
        Of the innermost groups, as used.
    member : (groups,) int64
    error : (groups of the outermost of these levels,) float64 or None
    """

    raws: list[Raw]
    scales: NDArray[np.float32]
    member: Index
    error: Reals | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Descent:
    """A job on its way from the outermost scales in."""

    job: Job
    tree: Tree
    spans: Spans

    @property
    def levels(self) -> tuple[Level, ...]:
        """The scales' levels."""
        return self.job.scheme.levels

    @property
    def formats(self) -> tuple[Format, ...]:
        """The members."""
        return self.job.scheme.formats

    @cached_property
    def even(self) -> Job:
        """The job as errors are compared: nothing is drawn."""
        return replace(self.job, rounding="even") if self.job.rounding == "stochastic" else self.job

    def reach(self, k: int, member: int | None = None) -> float:
        """Return the largest value that scales of 1 at a level and above give an element."""
        widths = [_width(f, self.job.scheme) for f in self.formats]
        own = min(widths) if member is None else widths[member]
        for level, above in pairwise(self.levels[: k + 1]):
            own *= level.anchor_under(above)
        return own

    def find(self, k: int, above: NDArray[np.float32] | None, measured: bool) -> Found:
        """Return the scales of a level and those below, under the products above.

        Parameters
        ----------
        k : int
        above : (groups,) float32 or None
            Product of the scales stored above each group of the level; None at the outermost.
        measured : bool
            Whether the errors are wanted.
        """
        level, best = self.levels[k], None
        members = range(len(self.formats)) if k == 0 else (None,)
        several = level.search or len(members) > 1
        bases: dict[tuple[float, int], Raw] = {}  # members that reach as far want the same scales
        for member in members:
            digits = self._mantissa_bits(member) if level.rule == "even" else 0
            base = bases.get(key := (self.reach(k, member), digits))
            if base is None:
                base = bases[key] = self.wanted(k, above, member)
            for raw in around(level, base, self.spans.by_level[k]) if level.search else (base,):
                with np.errstate(over="ignore"):
                    own = level.decode(raw) if above is None else level.decode(raw) * above
                if k == 0:
                    found = self._leaf(raw, own, member or 0, measured or several)
                else:
                    found = self.find(k - 1, self.tree.spread(k - 1, own), measured or several)
                    found = self._raised(found, k, raw, measured or several)
                best = found if best is None else self._better(best, found, k)
        assert best is not None
        return best

    def _leaf(self, raw: Raw, own: NDArray[np.float32], member: int, measured: bool) -> Found:
        """Return scales of the innermost groups, with their errors if wanted."""
        error = self.error(own, member) if measured else None
        chosen = np.full(len(raw), member)
        return Found(raws=[raw], scales=own, member=chosen, error=error)

    def _raised(self, found: Found, k: int, raw: Raw, measured: bool) -> Found:
        """Return what was found below a level with its own scales, errors summed by its groups."""
        error: Reals | None = None
        if found.error is not None and measured:
            sums = np.bincount(self.tree.up[k - 1], found.error, self.tree.counts[k])
            error = np.asarray(sums, np.float64)
        return replace(found, raws=[*found.raws, raw], error=error)

    def _better(self, old: Found, new: Found, k: int) -> Found:
        """Return for each group of a level the one of less error, the old among equals."""
        assert old.error is not None
        assert new.error is not None
        better = new.error < old.error

        def pick(a: Any, b: Any, level: int) -> Any:
            climb = self.tree.climb(level, k)
            return np.where(better if climb is None else better[climb], b, a)

        pairs = enumerate(zip(old.raws, new.raws, strict=True))
        return Found(
            raws=[pick(a, b, level) for level, (a, b) in pairs],
            scales=pick(old.scales, new.scales, 0),
            member=pick(old.member, new.member, 0),
            error=np.where(better, new.error, old.error),
        )

    def error(self, scale: NDArray[np.float32], member: int) -> Reals:
        """Return the (groups,) squared errors of a member under given scales."""
        job, fmt, found = self.even, self.formats[member], np.zeros(len(scale))
        with np.errstate(over="ignore", invalid="ignore"):
            shift = self.offsets(scale, member)[1]
            for part in job.slices():
                codes = element_codes(job, part, fmt, scale[part], _cut(shift, part))
                values = element_values(
                    job.scheme.offset,
                    fmt.values[codes],
                    scale[part],
                    _cut(shift, part),
                    job.groups.dtype,
                )
                found[part] = group_error(job, part, values)
            if self.job.rounding == "stochastic":
                found += HEAVY * np.square(self._cut_off(scale, self.formats[member]))
        return np.where(np.isfinite(found), found, np.inf)

    def _cut_off(self, scale: NDArray[np.float32], fmt: Format) -> Reals:
        """Return how far the (groups,) ends lie beyond a grid under given scales."""
        wide = scale.astype(np.float64)
        if self.job.scheme.offset is not None:
            beyond = self.spans.by_level[0] - wide * (fmt.max - fmt.min)
        else:
            x, ends = self.job.groups, np.sort(np.outer(wide, (fmt.min, fmt.max)), axis=1)
            beyond = np.maximum(ends[:, 0] - x.min(axis=1), x.max(axis=1) - ends[:, 1])
        return np.asarray(np.maximum(beyond, 0), np.float64)

    def wanted(self, k: int, above: NDArray[np.float32] | None, member: int | None) -> Raw:
        """Return the (groups,) patterns of a level's scales by its rule; see `find`."""
        level, span = self.levels[k], self.spans.by_level[k]
        sign = self.spans.sign if k == 0 else None
        digits = self._mantissa_bits(member)
        return stored(level, span, self.reach(k, member), above, digits, sign)

    def _mantissa_bits(self, member: int | None) -> int:
        return self.formats[member or 0].grid.top_mantissa_bits

    def offsets(
        self, scale: NDArray[np.float32], member: Index | int
    ) -> tuple[list[Raw], NDArray[np.float32] | None]:
        """Return the patterns of minima or zero points under (groups,) scales, and their values."""
        offset, low = self.job.scheme.offset, self.spans.low
        if offset is None or low is None:
            return [], None
        if free_of_scales(self.formats, offset):
            return self._minima
        least = np.array([f.min for f in self.formats])[member]
        wide = scale.astype(np.float64)
        if offset.kind == "minimum":
            real = wide * least - low
        else:
            real = least - np.divide(low, wide, out=np.zeros_like(low), where=wide != 0)
        return store_offsets(offset, real, self.job.layout)

    @cached_property
    def _minima(self) -> tuple[list[Raw], NDArray[np.float32]]:
        """Minima that are the same under all scales."""
        offset, low = self.job.scheme.offset, self.spans.low
        assert offset is not None
        assert low is not None
        return store_offsets(offset, -low, self.job.layout)


def _width(fmt: Format, scheme: Scheme) -> float:
    """Return what a scale of 1 covers: the largest magnitude, or the whole range of a grid."""
    return fmt.max - fmt.min if scheme.offset else fmt.max_abs


def _cut(x: Any, part: slice) -> Any:
    return None if x is None else x[part]


def element_codes(
    job: Job, part: slice, fmt: Format, scale: NDArray[np.float32], shift: Any
) -> Codes:
    """Return the (n, size) codes of n groups under given scales.

    Parameters
    ----------
    job : Job
    part : slice
    fmt : Format
    scale : (n,) float32
    shift : (n,) float32 or None
        Minima or zero points.
    """
    x = job.groups[part]
    column = scale.astype(x.dtype)[:, None]
    offset = job.scheme.offset
    with np.errstate(over="ignore", under="ignore"):
        if offset is not None and offset.kind == "minimum":
            x = x + shift.astype(x.dtype)[:, None]
        y = np.divide(x, column, out=np.zeros_like(x), where=column != 0)
        if offset is not None and offset.kind == "zero":
            y = y + shift.astype(x.dtype)[:, None]
    codes: Codes = fmt.encode(y, rounding=job.rounding, nan="propagate", seed=job.seed)
    return codes


def element_values(
    offset: Offset | None, values: Floats, scale: Floats, shift: Any, dtype: np.dtype[Any]
) -> Floats:
    """Return what values of the grid stand for: value * scale, less the minimum or zero point.

    Parameters
    ----------
    offset : Offset or None
    values : (n, size) float
    scale : (n,) float
    shift : (n,) float32 or None
        Minima or zero points.
    dtype : numpy dtype
        In which it is computed, one rounding an operation.
    """
    v, s = values.astype(dtype), scale.astype(dtype)[:, None]
    if offset is None:
        return np.asarray(v * s)
    column = shift.astype(dtype)[:, None]
    return np.asarray(v * s - column if offset.kind == "minimum" else (v - column) * s)


def spans_of(job: Job, tree: Tree) -> Spans:
    """Return the spans of a job's groups."""
    scheme = job.scheme
    if scheme.offset is None:
        span = magnitude_range(job)
        sign = signs_of(job.groups, scheme.formats[0]) if scheme.levels[0].signed else None
        return Spans(by_level=tree.largest(span), sign=sign)
    mask = job.layout.mask()
    kept: Any = True if mask is None else mask
    low = job.groups.min(axis=1, initial=np.inf, where=kept).astype(np.float64)
    high = job.groups.max(axis=1, initial=-np.inf, where=kept).astype(np.float64)
    return offset_spans(scheme, tree, low, high)


def offset_spans(scheme: Scheme, tree: Tree, low: Reals, high: Reals) -> Spans:
    """Return the spans of groups beside minima or zero points.

    Parameters
    ----------
    scheme : Scheme
        With an offset. Beside a zero point that is no float (fp16, bf16, fp32), and under an
        unsigned minimum, ranges are stretched to contain 0; see `far_share` for the others.
    tree : Tree
    low, high : (groups,) float64
        Ends of each group.
    """
    offset = scheme.offset
    assert offset is not None
    fmt, span = offset.levels[0].format, high - low
    if offset.kind == "zero" and (share := far_share(scheme)):
        span = np.maximum(span, share * np.maximum(np.abs(low), np.abs(high)))
    elif offset.kind == "zero" or (fmt is not None and not fmt.signed):
        low = np.minimum(low, 0)
        span = np.maximum(high, 0) - low
    return Spans(by_level=tree.largest(span), low=low)


def far_share(scheme: Scheme) -> float:
    """Return how far from 0, in spans, a group may lie beside float zero points: 1 / the result.

    Groups further off are coded as if they were wider, so that their zero points keep their
    digits and fit with two bits to spare. 0 for zero points that are no floats on their own.
    """
    levels = scheme.offset.levels if scheme.offset else ()
    if len(levels) != 1 or levels[0].name not in LAYOUTS:
        return 0.0
    layout = LAYOUTS[levels[0].name]
    widest = max(_width(f, scheme) for f in scheme.formats)
    return float(max(2.0**-layout.mantissa_bits, 4 * widest / layout.max))


def signs_of(x: Floats, fmt: Format) -> NDArray[np.bool_]:
    """Return which signed scales of (groups, size) elements are negative.

    The largest element, the first of equals, goes to the longer side of the grid.
    """
    place = np.argmax(np.abs(x), axis=1)
    extreme = x[np.arange(len(x)), place]
    longer_up = fmt.max >= -fmt.min
    return np.asarray(((extreme < 0) == longer_up) & (extreme != 0))


def spread_columns(layout: Layout, x: NDArray[Any]) -> NDArray[Any]:
    """Return for every element, (rows, columns), what `x`, (groups,), has for its group."""
    wide = np.repeat(x.reshape(layout.rows, layout.across), layout.block_columns, axis=1)
    return np.asarray(wide[:, : layout.columns])


def encode_levels(job: Job) -> Coded:
    """Code a job under nested scales.

    Raises
    ------
    BitlatheError
        Raised if the elements are unsigned and the tensor is not, or a scale of the outermost level
        does not fit its format.
    """
    refuse_negative(job)
    tree = Tree.of(job.scheme.levels, job.layout)
    descent = Descent(job=job, tree=tree, spans=spans_of(job, tree))
    found = descent.find(len(job.scheme.levels) - 1, None, measured=False)
    if job.rounding == "stochastic":
        descent, found = _widened(descent, found)
    if not np.isfinite(found.scales).all():
        at = int(np.argmin(np.isfinite(found.scales)))
        job.scheme.scale_format.refuse(at, float(found.scales[at]))
    raws, shift = descent.offsets(found.scales, found.member)
    codes = np.zeros(job.groups.shape, job.scheme.formats[0].code_dtype)
    for part in job.slices():
        chosen = found.member[part]
        for member in np.unique(chosen):
            made = element_codes(
                job, part, job.scheme.formats[member], found.scales[part], _cut(shift, part)
            )
            codes[part] = np.where((chosen == member)[:, None], made, codes[part])
    coded = job.coded(
        job.layout.join(codes),
        found.raws[0],
        choices=found.member if len(job.scheme.formats) > 1 else None,
    )
    return replace(coded, upper_scales=tuple(found.raws[1:]), offsets=tuple(raws))


def _widened(descent: Descent, found: Found) -> tuple[Descent, Found]:
    """Return scales under which both ends of each group lie within the grid.

    Zero points and minima are as they are stored; floats among them keep their digits (`far_share`)
    and cut nothing off that matters.
    """
    scheme, spans = descent.job.scheme, descent.spans
    if spans.low is None or far_share(scheme):
        return descent, found
    low, span = spans.low, spans.by_level[0]
    ends = (low, low + span)
    lift, growth = np.ones(len(span)), np.ones(len(span))
    for _ in range(WIDENED):
        if not np.isfinite(found.scales).all():  # refused in a moment
            break
        below, above = _missing(descent, found, *ends)
        if not (below.any() or above.any()):
            break
        # the zero point goes up to its next value, then the scale as far as the other end needs
        low, span = low - below * lift, span * (1 + np.minimum(above * growth, 1))
        lift = np.where(below > 0, 2 * lift, lift)
        growth = np.where(above > 0, 2 * growth, growth)
        wider = replace(spans, low=low, by_level=descent.tree.largest(span))
        descent = replace(descent, spans=wider)
        found = descent.find(len(scheme.levels) - 1, None, measured=False)
    return descent, found


def _missing(descent: Descent, found: Found, low: Reals, high: Reals) -> tuple[Reals, Reals]:
    """Return how far (groups,) lower ends lie below the grid, and by what share scales must grow.

    The share is that under which the grid reaches the upper ends while zero points and minima
    stand; 1 where no scale does.
    """
    offset, stored_shift = descent.job.scheme.offset, descent.offsets(found.scales, found.member)[1]
    assert offset is not None
    assert stored_shift is not None
    scale, shift = found.scales.astype(np.float64), stored_shift.astype(np.float64)
    ends = (np.array([getattr(f, end) for f in descent.formats]) for end in ("min", "max"))
    bottom, top = (end[found.member] for end in ends)
    slack = ROUNDING * (np.abs(low) + np.abs(high))
    if offset.kind == "zero":
        reach, room, least = high, (top - shift) * scale, (bottom - shift) * scale
    else:
        reach, room, least = high + shift, top * scale, bottom * scale - shift
    share = np.divide(reach, room, out=np.full(len(scale), 2.0), where=room > 0) - 1
    above = np.where(reach > room + slack, share, 0)
    return np.asarray(np.maximum(least - low - slack, 0)), np.asarray(above)


def refuse_negative(job: Job) -> None:
    """Refuse negative elements under unsigned formats without a minimum or zero point.

    Raises
    ------
    BitlatheError
        Raised if there are any.
    """
    if job.scheme.offset is not None or not job.groups.size or job.groups.min() >= 0:
        return
    for fmt in job.scheme.formats:
        if not fmt.signed:
            raise BitlatheError(
                f"format {fmt.name!r} is unsigned, the tensor has values down to "
                f"{job.groups.min():g}; use a signed format, or store a minimum, such as "
                f"{job.scheme}-fp16"
            )


def _scales(coded: Coded) -> Floats:
    """Return the scales as used; see `Coder.scales`."""
    raws = [coded.scales[:, 0], *coded.upper_scales]
    return product(coded.scheme.levels, raws, coded.layout)


def offsets_of(coded: Coded) -> NDArray[np.float32] | None:
    """Return the (groups,) minima or zero points as used; None where there are none."""
    offset = coded.scheme.offset
    return None if offset is None else product(offset.levels, coded.offsets, coded.layout)


def _values(coded: Coded, codes: Codes, scales: Floats, dtype: np.dtype[Any]) -> Floats:
    """Return what codes stand for; see `Coder.values`."""
    if coded.scheme.offset is None:
        return TABLE.values(coded, codes, scales, dtype)
    values = np.stack([f.values.astype(dtype) for f in coded.scheme.formats])
    member = np.zeros(len(codes), np.intp) if coded.choices is None else coded.choices
    found = values[member[:, None], codes]
    return element_values(coded.scheme.offset, found, scales, offsets_of(coded), dtype)


def _no_tables(coded: Coded, scales: Floats, dtype: np.dtype[Any]) -> Tables:
    """Refuse: values under minima and zero points are computed by numpy; see `Coder.tables`."""
    del scales, dtype
    raise BitlatheError(f"{coded.scheme}: a minimum or zero point of its own has no tables")


LEVELS: Final = Coder(
    encode=encode_levels,
    values=_values,
    tables=TABLE.tables,
    integers=TABLE.integers,
    ends=TABLE.ends,
    scales=_scales,
)
OFFSET: Final = Coder(
    encode=encode_levels,
    values=_values,
    tables=_no_tables,
    integers=None,
    ends=TABLE.ends,
    scales=_scales,
    has_tables=False,
)
