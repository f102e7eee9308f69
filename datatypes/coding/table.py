"""The table coder: nearest value of a grid, the member of a mixture with the least error."""

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError
from ..formats.format import Format
from ..formats.rounding import NEAREST
from ..schemes.patterns import Raw
from ..schemes.scales import OcpScale
from ..schemes.scheme import Scheme
from .coded import Coded, Codes, Floats
from .coder import Coder, Integers, Tables
from .dispatch import grids
from .job import (
    FEW,
    MAX_BOOKS,
    RATIOS,
    SLICE,
    Job,
    grid_encode,
    grid_values,
    group_error,
    least_error,
    magnitude_range,
    worth_compiling,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What groups are coded with.

    Attributes
    ----------
    member : (groups,) int64
        Index of the format.
    real : (groups,) float
        Scale wanted.
    span : (groups,) float
        Magnitude that it maps to the largest of the grid.
    """

    member: NDArray[np.int64]
    real: Floats
    span: Floats


def encode_table(job: Job) -> Coded:
    """Code a job on its format or mixture.

    Where scales are stored on their own, members and clipping ratios are compared under the
    scale as stored. Where they depend on a second level (of the row or the tensor), they are
    compared under the real scale, and the codes are then taken under the stored one. A candidate
    whose scale overflows is passed over.

    Under stochastic rounding members and ratios are compared by the errors of nearest rounding,
    before anything is drawn, and members that would cut off a group's end are passed over: the
    result then is the element itself on average, unless a clip was asked for.
    """
    for fmt in job.scheme.formats:
        _refuse_negative(job, fmt)
    reach = magnitude_range(job)
    searched = job.scheme.clip in ("mse", "mae")
    ratios = np.array(RATIOS if searched else (1.0,), job.groups.dtype)
    if len(ratios) * len(job.scheme.formats) == 1:
        only = np.zeros(len(reach), np.int64)
        return _finish(job, Choice(member=only, real=_wanted(job, 0, reach), span=reach))
    return _finish(job, _search(job, reach, ratios))


def _wanted(job: Job, member: int, span: Floats) -> Floats:
    with np.errstate(over="ignore"):
        return np.asarray(span / job.groups.dtype.type(job.scheme.formats[member].max_abs))


def _search(job: Job, reach: Floats, ratios: Floats) -> Choice:
    """Return for each group the candidate of least error, the first among equals.

    Candidates go by member, then by ratio.
    """
    drawn = job.rounding == "stochastic"
    even = replace(job, rounding="even") if drawn else job
    quick = job.scheme.clip != "mae" and worth_compiling(job) and even.rounding in NEAREST
    lower = _lower_compiled if quick else _lower
    least, member = np.full(len(reach), np.inf), np.full(len(reach), -1)
    real, span = np.zeros_like(reach), np.zeros_like(reach)
    shape = (len(reach), len(job.scheme.formats))
    covered = _covered(job, reach) if drawn else np.ones(shape, np.bool_)
    for index, fmt in enumerate(job.scheme.formats):
        with np.errstate(over="ignore"):
            wide = reach[:, None] * ratios
        wanted = _wanted(job, index, wide)
        fit = job.scheme.scale_format.fits(wanted, wide, fmt.grid) & covered[:, index, None]
        columns = zip(wanted.T, wide.T, fit.T, strict=True)
        scales = np.stack([_trial(job, fmt, *column) for column in columns], axis=1)
        best = lower(even, fmt, scales, least)
        # where every error is infinite, the first scale that fits is taken
        first = (member < 0) & (best < 0) & fit.any(axis=1)
        best[first] = np.argmax(fit[first], axis=1)
        mine = np.flatnonzero(best >= 0)
        member[mine] = index
        real[mine], span[mine] = wanted[mine, best[mine]], wide[mine, best[mine]]
    if (member < 0).any():
        at = int(np.argmin(member))
        job.scheme.scale_format.refuse(at, float(_wanted(job, 0, reach)[at]))
    return Choice(member=member, real=real, span=span)


def _covered(job: Job, reach: Floats) -> NDArray[np.bool_]:
    """Return (groups, members): whether a member's grid takes in both ends of a group.

    All are taken to where no grid does, or a percentile or sigma cuts the ends off anyway.
    """
    formats = job.scheme.formats
    if job.scheme.clip not in ("absmax", "mse", "mae"):
        return np.ones((len(reach), len(formats)), np.bool_)
    x, amax = job.groups, reach.astype(np.float64)
    high = x.max(axis=1, initial=0.0).astype(np.float64)
    low = x.min(axis=1, initial=0.0).astype(np.float64)
    found = np.stack(
        [(high * f.max_abs <= f.max * amax) & (low * f.max_abs >= f.min * amax) for f in formats],
        axis=1,
    )
    return np.asarray(found | ~found.any(axis=1, keepdims=True))


def _lower(job: Job, fmt: Format, scales: Floats, least: NDArray[np.float64]) -> NDArray[np.int64]:
    """Lower the least errors; return by which of the (groups, n) scales, -1 where not lowered.

    Infinite scales lower nothing.
    """

    def error(t: int, part: slice) -> NDArray[np.float64]:
        scale = scales[part, t]
        codes = grid_encode(job, job.groups[part], fmt, scale)
        found = group_error(job, part, grid_values(fmt, codes, scale, job.groups.dtype))
        return np.where(np.isfinite(scale), found, np.inf)

    return least_error(list(job.slices(_slice(job))), scales.shape[1], error, least)


def _lower_compiled(
    job: Job, fmt: Format, scales: Floats, least: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Do what `_lower` does, compiled; float32, squared errors."""
    from ..kernels.base.tables import make_book
    from ..kernels.base.threads import on_rows
    from ..kernels.searches.table import search as kernel

    book = make_book(fmt.grid.values, fmt.grid.codes, fmt.grid.tie_up(job.rounding))
    cuts, values = np.array(book.cuts, np.float32), np.array(book.values, np.float32)
    best = np.full(len(job.groups), -1)
    cut = (job.groups, job.kernel_weights(), scales, least, best)
    on_rows(kernel, cut, (cuts, values), job.groups.shape[1] * scales.shape[1])
    return best


def _trial(job: Job, fmt: Format, wanted: Floats, wide: Floats, fit: NDArray[np.bool_]) -> Floats:
    """Return the scale under which a candidate is compared, infinite where it does not fit."""
    scale = job.scheme.scale_format
    if scale.outer == "none":
        real, span = np.where(fit, wanted, 0), np.where(fit, wide, 0)
        raw, outer = scale.store(real, span, fmt.grid, job.layout)
        wanted = scale.read(raw, outer, fmt.grid, job.layout)
    return np.where(fit, wanted, np.float32(np.inf)).astype(wanted.dtype)


def _slice(job: Job) -> int:
    """Return how many elements are coded at once: with many members, too few to compile each."""
    return FEW if len(job.scheme.formats) > MAX_BOOKS else SLICE


def _finish(job: Job, choice: Choice) -> Coded:
    """Store the scales of groups and code them under what was stored."""
    formats, scale = job.scheme.formats, job.scheme.scale_format
    raw, outer = _stored(job, choice)
    used = scale.read(raw, outer, formats[0].grid, job.layout)
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
    return job.coded(job.layout.join(codes), raw, outer, choices=choices)


def _stored(job: Job, choice: Choice) -> tuple[Raw, Raw]:
    formats, scale = job.scheme.formats, job.scheme.scale_format
    if len(formats) == 1 or not isinstance(scale, OcpScale):
        return scale.store(choice.real, choice.span, formats[0].grid, job.layout)
    # the exponent depends on the member
    raw = np.zeros(len(choice.real), np.uint32)
    for member, fmt in enumerate(formats):
        mine = choice.member == member
        raw[mine], _ = scale.store(choice.real[mine], choice.span[mine], fmt.grid, job.layout)
    return raw, np.zeros(0, np.uint32)


def _refuse_negative(job: Job, fmt: Format) -> None:
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
