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
)
from .errors import BitlatheError
from .format import Format
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
    weights = None if job.weights is None else job.weights[part]
    return group_error(x, grid_values(fmt, codes, scale, x.dtype), weights, job.scheme.clip)


def _refuse_negative(job: Job, fmt: Format) -> None:
    if not fmt.signed and job.groups.size and job.groups.min() < 0:
        raise BitlatheError(
            f"format {fmt.name!r} is unsigned, the tensor has values down to "
            f"{job.groups.min():g}; use a signed format, or one with a zero point such as "
            f"int{fmt.bits}_asym"
        )
