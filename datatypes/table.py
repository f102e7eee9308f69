"""The table coder: nearest value of a grid, the member of a mixture with the least error."""

import numpy as np
from numpy.typing import NDArray

from .coding import (
    RATIOS,
    Coded,
    Codes,
    Floats,
    Job,
    grid_encode,
    grid_values,
    group_error,
    magnitude_range,
    worth_compiling,
)
from .errors import BitlatheError
from .format import Format
from .rounding import NEAREST
from .scaling import effective, store


def encode_table(job: Job) -> Coded:
    """Code a job on its format or mixture.

    Where scales are stored on their own, members and clipping ratios are compared under the
    scale as stored. Where they hang on a second level (of the row or the tensor), they are
    compared under the real scale, and the codes are then taken under the stored one.
    """
    formats = job.scheme.formats
    for fmt in formats:
        _refuse_negative(job, fmt)
    reach = magnitude_range(job)
    if job.scheme.clip == "mse" and worth_compiling(job) and job.rounding in NEAREST:
        return _search_compiled(job, reach)
    count = job.groups.shape[0]
    best = np.full(count, np.inf)
    choice = np.zeros(count, np.uint8)
    real = np.zeros(count, job.groups.dtype)
    span = np.zeros(count, job.groups.dtype)
    codes = np.zeros(job.groups.shape, formats[0].code_dtype)
    searched = job.scheme.clip in ("mse", "mae")
    single = len(formats) == 1 and not searched
    for member, fmt in enumerate(formats):
        for ratio in RATIOS if searched else (1.0,):
            wide = (reach * reach.dtype.type(ratio)).astype(job.groups.dtype)
            wanted = wide / job.groups.dtype.type(fmt.max_abs)
            scale = _trial(job, fmt, wanted, wide)
            for part in job.slices():
                found = grid_encode(job, part, fmt, scale[part])
                if single:
                    codes[part] = found
                    continue
                error = _error(job, part, fmt, found, scale[part])
                better = error < best[part]
                best[part] = np.where(better, error, best[part])
                choice[part][better] = member
                real[part][better], span[part][better] = wanted[part][better], wide[part][better]
                codes[part][better] = found[better]
            if single:
                real, span = wanted, wide
    return _finish(job, codes, choice, real, span)


def _search_compiled(job: Job, reach: Floats) -> Coded:
    """Do what the search in `encode_table` does, compiled; float32, squared errors."""
    x, formats = job.groups, job.scheme.formats
    least, choice = np.full(len(x), np.inf), np.zeros(len(x), np.uint8)
    real, span = np.zeros_like(reach), np.zeros_like(reach)
    codes = np.zeros(x.shape, formats[0].code_dtype)
    for member, fmt in enumerate(formats):
        wide = reach[:, None] * np.array(RATIOS, np.float32)
        wanted = wide / np.float32(fmt.max_abs)
        columns = [_trial(job, fmt, wanted[:, t], wide[:, t]) for t in range(len(RATIOS))]
        scales = np.stack(columns, axis=1)
        best = _lower(job, fmt, scales, least)
        mine = np.flatnonzero(best >= 0)
        choice[mine], real[mine] = member, wanted[mine, best[mine]]
        span[mine] = wide[mine, best[mine]]
        used = scales[np.arange(len(x)), np.maximum(best, 0)]
        for part in job.slices():
            better = best[part] >= 0
            codes[part][better] = grid_encode(job, part, fmt, used[part])[better]
    return _finish(job, codes, choice, real, span)


def _lower(job: Job, fmt: Format, scales: Floats, least: NDArray[np.float64]) -> NDArray[np.int64]:
    """Lower the least errors; return by which of the (groups, n) scales, -1 where by none."""
    from .kernels.ranges import search as kernel
    from .kernels.tables import make_book
    from .kernels.threads import over_rows

    x, weights, best = job.groups, job.kernel_weights(), np.full(len(job.groups), -1)
    book = make_book(fmt.table.values, fmt.table.codes, fmt.tie_up(job.rounding))
    cuts, values = np.array(book.cuts, np.float32), np.array(book.values, np.float32)

    def work(a: int, b: int) -> None:
        kernel(x[a:b], weights[a:b], scales[a:b], cuts, values, least[a:b], best[a:b])

    over_rows(work, len(x), x.shape[1] * scales.shape[1])
    return best


def _trial(job: Job, fmt: Format, wanted: Floats, wide: Floats) -> Floats:
    scale = job.scheme.scale_format
    if scale.outer != "none":
        return wanted
    raw, outer = store(wanted, wide, fmt, scale, job.layout)
    return effective(raw, outer, fmt, scale, job.layout)


def _finish(job: Job, codes: Codes, choice: NDArray[np.uint8], real: Floats, span: Floats) -> Coded:
    formats, scale = job.scheme.formats, job.scheme.scale_format
    raw, outer = store(real, span, formats[0], scale, job.layout)
    if len(formats) > 1 and scale.kind == "ocp":
        for member, fmt in enumerate(formats):
            mine = choice == member
            raw[mine] = store(real, span, fmt, scale, job.layout)[0][mine]
    if scale.outer != "none":
        used = effective(raw, outer, formats[0], scale, job.layout)
        for member, fmt in enumerate(formats):
            for part in job.slices():
                mine = choice[part] == member
                if mine.any():
                    codes[part][mine] = grid_encode(job, part, fmt, used[part])[mine]
    return Coded(
        codes=codes,
        raw=raw[:, None],
        outer=outer,
        choices=choice if len(formats) > 1 else None,
    )


def _error(job: Job, part: slice, fmt: Format, codes: Codes, scale: Floats) -> NDArray[np.float64]:
    x = job.groups[part]
    return group_error(job, part, grid_values(fmt, codes, scale, x.dtype))


def _refuse_negative(job: Job, fmt: Format) -> None:
    if not fmt.signed and job.groups.size and job.groups.min() < 0:
        raise BitlatheError(
            f"format {fmt.name!r} is unsigned, the tensor has values down to "
            f"{job.groups.min():g}; use a signed format, or one with a zero point such as "
            f"int{min(max(fmt.bits, 2), 8)}_asym"
        )
