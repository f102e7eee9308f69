"""The table coder: nearest value of a grid, the member of a mixture with the least error."""

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError
from ..formats.format import Format
from ..formats.rounding import NEAREST
from ..schemes.patterns import Raw
from ..schemes.scheme import Scheme
from .coded import Coded, Codes, Floats
from .coder import Coder, Integers, Tables
from .dispatch import MIN_SIZE, grids
from .job import (
    FEW,
    MAX_BOOKS,
    ROUNDING,
    SLICE,
    Job,
    grid_encode,
    grid_values,
    group_error,
    least_error,
    member_ranges,
    worth_compiling,
)
from .trials import BATCH, Standing, count_of, is_searched, trials_of, wanted_scale

# scales tried from which on a kernel for the book is worth its compiling
MANY = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What groups are coded with.

    Attributes
    ----------
    member : (groups,) int64
        Index of the format.
    raw : (groups,) uint32
        Patterns of the scales.
    """

    member: NDArray[np.int64]
    raw: Raw


def encode_table(job: Job) -> Coded:
    """Code a job on its format or mixture.

    Members and ranges are compared under the scale as stored, members of a mixture without a
    search of ranges under a second level (of the row or the tensor) under the real scale. A
    candidate whose scale overflows is passed over. A search of ranges lets second-level scales
    stand as they are without it.

    Under stochastic rounding members and ratios are compared by the errors of nearest rounding,
    before anything is drawn, and members and searched ranges that would cut off a group's end are
    passed over: the result then is the element itself on average, unless a percentile or sigma was
    asked for, or the scale is stored smaller than it should be.
    """
    for fmt in job.scheme.formats:
        refuse_negative(job, fmt)
    single = len(job.scheme.formats) == 1 and job.rounding != "stochastic"
    if single and job.scheme.scale_format.kind == "none":
        return _unscaled(job)
    reach, clip = member_ranges(job), job.scheme.clip
    if not is_searched(clip):
        choice, outer = _plain(job, reach)
        return _finish(job, choice, outer)
    if job.scheme.scale_format.outer == "none" and clip != "search":
        return _finish(job, _search(job, reach), np.zeros(0, np.uint32))
    choice, outer = _plain(job, reach)
    tops = job.scheme.scale_format.tops(outer, job.layout)
    standing = Standing(raw=choice.raw, tops=tops)
    return _finish(job, _search(job, reach, standing), outer)


def _unscaled(job: Job) -> Coded:
    """Code elements as they stand, on a format that has no scale."""
    codes = job.scheme.formats[0].encode(
        job.matrix, rounding=job.rounding, overflow=job.overflow, nan="propagate"
    )
    return job.coded(codes, np.zeros(job.layout.groups, np.uint32))


def _plain(job: Job, reach: list[Floats]) -> tuple[Choice, Raw]:
    """Return what is stored without a search of ranges, and the second-level scales."""
    formats, scale = job.scheme.formats, job.scheme.scale_format
    if len(formats) > 1 and scale.outer == "none":
        return _search(replace_clip(job), reach), np.zeros(0, np.uint32)
    member = np.zeros(len(reach[0]), np.int64)
    span = reach[0].copy()
    real = wanted_scale(formats[0], span)
    if len(formats) > 1:
        member = _least_member(replace_clip(job), reach)
        for index, fmt in enumerate(formats):
            mine = member == index
            span[mine] = reach[index][mine]
            real[mine] = wanted_scale(fmt, span[mine])
    raw, outer = scale.store(real, span, formats[0].grid, job.layout)
    return Choice(member=member, raw=raw), outer


def replace_clip(job: Job) -> Job:
    """Return the job without a search of ranges."""
    if not is_searched(job.scheme.clip):
        return job
    return replace(job, scheme=replace(job.scheme, clip="absmax"))


def _search(job: Job, reach: list[Floats], standing: Standing | None = None) -> Choice:
    """Return for each group the candidate of least error, the first among equals.

    Candidates go by member, then by scale as `trials_of` lists them.
    """
    drawn = job.rounding == "stochastic"
    even = replace(job, rounding="even") if drawn else job
    covered = _covered(job, reach) if drawn else None
    groups = len(job.groups)
    least, member = np.full(groups, np.inf), np.full(groups, -1)
    raw = np.zeros(groups, np.uint32)
    batch = min(_slice(job), BATCH // count_of(job) * max(job.groups.shape[1], 1))
    for part in even.slices(batch):
        for index, fmt in enumerate(job.scheme.formats):
            tried = trials_of(job, fmt, part, reach[index], standing)
            scales = tried.scales
            if covered is not None:
                scales = np.where(covered[part, index, None], scales, np.float32(np.inf))
                if is_searched(job.scheme.clip):
                    scales = _uncut(job, fmt, part, scales)
            best = _lower(even, fmt, part, scales, least[part])
            # where every error is infinite, the first scale that fits is taken
            fit = np.isfinite(scales)
            first = (member[part] < 0) & (best < 0) & fit.any(axis=1)
            best[first] = np.argmax(fit[first], axis=1)
            mine = np.flatnonzero(best >= 0)
            member[part][mine] = index
            raw[part][mine] = tried.raw[mine, best[mine]]
    if (member < 0).any():
        at = int(np.argmin(member))
        wanted = wanted_scale(job.scheme.formats[0], reach[0])
        job.scheme.scale_format.refuse(at, float(wanted[at]))
    return Choice(member=member, raw=raw)


def _least_member(job: Job, reach: list[Floats]) -> NDArray[np.int64]:
    """Return the member of least error of each group under the scale before it is stored."""
    drawn = job.rounding == "stochastic"
    even = replace(job, rounding="even") if drawn else job
    covered = _covered(job, reach) if drawn else None
    least, member = np.full(len(reach[0]), np.inf), np.zeros(len(reach[0]), np.int64)
    for part in even.slices(_slice(job)):
        for index, fmt in enumerate(job.scheme.formats):
            span = reach[index][part]
            wanted = wanted_scale(fmt, span)
            fit = job.scheme.scale_format.fits(wanted, span, fmt.grid)
            if covered is not None:
                fit &= covered[part, index]
            scales = np.where(fit, wanted, wanted.dtype.type(np.inf))[:, None]
            member[part][_lower(even, fmt, part, scales, least[part]) >= 0] = index
    return member


def _covered(job: Job, reach: list[Floats]) -> NDArray[np.bool_]:
    """Return (groups, members): whether a member's grid takes in both ends of a group.

    All are taken to where no grid does, or a percentile or sigma cuts the ends off anyway.
    """
    formats = job.scheme.formats
    if job.scheme.clip not in ("absmax", "ends") and not is_searched(job.scheme.clip):
        return np.ones((len(job.groups), len(formats)), np.bool_)
    x, spans = job.groups, [r.astype(np.float64) for r in reach]
    high = x.max(axis=1, initial=0.0).astype(np.float64)
    low = x.min(axis=1, initial=0.0).astype(np.float64)
    found = np.stack(
        [
            (high * f.max_abs <= f.max * span) & (low * f.max_abs >= f.min * span)
            for f, span in zip(formats, spans, strict=True)
        ],
        axis=1,
    )
    return np.asarray(found | ~found.any(axis=1, keepdims=True))


def _uncut(job: Job, fmt: Format, part: slice, scales: Floats) -> Floats:
    """Return the (n, t) scales of some groups, infinite where they cut an end off.

    All are taken of groups of which each scale cuts something.
    """
    x, wide = job.groups[part], scales.astype(np.float64) * (1 + ROUNDING)
    with np.errstate(invalid="ignore"):
        up = fmt.max * wide >= x.max(axis=1, initial=0.0)[:, None]
        down = fmt.min * wide <= x.min(axis=1, initial=0.0)[:, None]
    whole = up & down & np.isfinite(scales)
    kept = whole | ~whole.any(axis=1, keepdims=True)
    return np.asarray(np.where(kept, scales, np.float32(np.inf)))


def _lower(
    job: Job, fmt: Format, part: slice, scales: Floats, least: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Lower the least errors of some groups; return by which scale, -1 where not lowered.

    Parameters
    ----------
    job : Job
    fmt : Format
    part : slice
        The n groups.
    scales : (n, t) float
        Infinite ones lower nothing.
    least : (n,) float64
        Lowered in place.
    """
    if job.scheme.clip != "mae" and worth_compiling(job) and job.rounding in NEAREST:
        return _lower_compiled(job, fmt, part, scales, least)

    def error(t: int, _: slice) -> NDArray[np.float64]:
        scale = scales[:, t]
        codes = grid_encode(job, job.groups[part], fmt, scale)
        found = group_error(job, part, grid_values(fmt, codes, scale, job.groups.dtype))
        return np.where(np.isfinite(scale), found, np.inf)

    return least_error([slice(None)], scales.shape[1], error, least)


def _lower_compiled(
    job: Job, fmt: Format, part: slice, scales: Floats, least: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Do what `_lower` does, compiled; float32, squared errors."""
    from ..kernels.base.tables import floor_float32
    from ..kernels.base.threads import on_rows
    from ..kernels.searches.table import ranged_kernel, search

    grid, cuts = fmt.grid, floor_float32(fmt.grid.midpoints)
    tie = grid.tie_up(job.rounding) & (cuts == grid.midpoints)
    cuts = np.where(tie, np.nextafter(cuts, np.float32(-np.inf)), cuts)
    with np.errstate(over="ignore"):
        values = grid.values.astype(np.float32)
    kernel, weights = search, job.kernel_weights()
    if job.groups.size >= MIN_SIZE and scales.shape[1] >= MANY and _has_book(fmt):
        kernel = ranged_kernel(grid.book(job.rounding), weights.shape[1] > 0) or search
    best = np.full(len(least), -1)
    cut = (job.groups[part], weights[part], scales, least, best)
    on_rows(kernel, cut, (cuts, values), job.groups.shape[1] * scales.shape[1])
    return best


def _has_book(fmt: Format) -> bool:
    """Return whether kernels can be made for a format: short codes, rounded half-way."""
    return fmt.bits <= 8 and fmt.thresholds is None


def _slice(job: Job) -> int:
    """Return how many elements are coded at once: with many members, too few to compile each."""
    return FEW if len(job.scheme.formats) > MAX_BOOKS else SLICE


def _finish(job: Job, choice: Choice, outer: Raw) -> Coded:
    """Code groups under the scales that were chosen."""
    formats, scale = job.scheme.formats, job.scheme.scale_format
    used = scale.read(choice.raw, outer, formats[0].grid, job.layout)
    codes = np.zeros(job.groups.shape, formats[0].code_dtype)
    for part in job.slices(_slice(job)):
        x = job.groups[part]
        for member in np.unique(choice.member[part]):
            mine = choice.member[part] == member
            if mine.all():
                codes[part] = grid_encode(job, x, formats[member], used[part])
            elif job.rounding == "stochastic":
                # what is drawn for an element must not depend on the others
                codes[part][mine] = grid_encode(job, x, formats[member], used[part])[mine]
            else:
                codes[part][mine] = grid_encode(job, x[mine], formats[member], used[part][mine])
    choices = choice.member if len(formats) > 1 else None
    return job.coded(job.layout.join(codes), choice.raw, outer, choices=choices)


def refuse_negative(job: Job, fmt: Format) -> None:
    """Refuse a tensor with negative elements under a format that has none.

    Raises
    ------
    BitlatheError
        The format is unsigned, and the tensor is not.
    """
    if not fmt.signed and job.groups.size and job.groups.min() < 0:
        raise BitlatheError(
            f"format {fmt.name!r} is unsigned, the tensor has values down to "
            f"{job.groups.min():g}; use a signed format, or one with a zero point such as "
            f"int{min(max(fmt.bits, 2), 8)}_asym"
        )


def _values(coded: Coded, codes: Codes, scales: Floats, dtype: np.dtype[Any]) -> Floats:
    """Return what codes stand for; see `Coder.values`."""
    scheme = coded.scheme
    if coded.choices is None:
        return grid_values(scheme.formats[0], codes, scales, dtype)
    index = coded.choices.astype(np.uint32) << np.uint32(scheme.element_bits)
    whole = _grids(scheme, dtype).reshape(-1)[codes | index[:, None]]
    return np.asarray(whole * scales.astype(dtype)[:, None])


def _tables(coded: Coded, scales: Floats, dtype: np.dtype[Any]) -> Tables:
    """Return the values of each member, and the choices among them; see `Coder.tables`."""
    return Tables(tables=_grids(coded.scheme, dtype), scales=scales, choices=coded.choices)


def _integers(coded: Coded) -> list[Integers]:
    """Return the codes of each member as they are; see `Coder.integers`."""
    return [
        Integers(
            values=fmt.values,
            bits=fmt.bits,
            places=lambda codes, _: codes,
            groups=None if coded.choices is None else coded.choices == member,
        )
        for member, fmt in enumerate(coded.scheme.formats)
    ]


def _ends(scheme: Scheme) -> tuple[float, float]:
    """Return the ends of the grids; see `Coder.ends`."""
    own = [f.grid.values for f in scheme.formats if f.grid.values.size > 1]
    steps = [max(-v[0] / (v[1] - v[0]), v[-1] / (v[-1] - v[-2])) for v in own]
    return max(f.max_abs for f in scheme.formats), max(steps, default=1.0)


def _grids(scheme: Scheme, dtype: np.dtype[Any]) -> Floats:
    return np.stack([f.values.astype(dtype) for f in scheme.formats])


TABLE: Final = Coder(
    encode=encode_table,
    compiled=grids,
    values=_values,
    tables=_tables,
    integers=_integers,
    ends=_ends,
)
