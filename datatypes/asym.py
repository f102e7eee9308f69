"""Unsigned integers with a zero point.

``w = (code - zero) * scale``, the range of a group stretched to contain 0 so that 0 is exact.
"""

import numpy as np
from numpy.typing import NDArray

from .coding import (
    RATIOS,
    Coded,
    Codes,
    Floats,
    Job,
    divide,
    group_error,
    moments,
    percentile,
    worth_compiling,
)
from .rounding import round_integer
from .scaling import effective, store


def group_range(job: Job) -> tuple[Floats, Floats]:
    """Return the lower and upper end of each group, stretched to contain 0, clipped as asked."""
    x, clip = job.groups, job.scheme.clip
    low = np.minimum(x.min(axis=1, initial=0.0), 0)
    high = np.maximum(x.max(axis=1, initial=0.0), 0)
    if clip.startswith("sigma"):
        mean, sigma = moments(job)
        low = np.maximum(low, np.minimum(mean - float(clip[5:]) * sigma, 0)).astype(x.dtype)
        high = np.minimum(high, np.maximum(mean + float(clip[5:]) * sigma, 0)).astype(x.dtype)
    elif clip.startswith("p"):
        share = float(clip[1:])
        low = np.maximum(low, np.minimum(percentile(job, x, 100 - share), 0))
        high = np.minimum(high, np.maximum(percentile(job, x, share), 0))
    return low, high


def integer_codes(job: Job, part: slice, scale: Floats, low: Floats) -> tuple[Codes, Floats]:
    """Return codes and zero points of some groups: zero = round(-low / scale), clamped."""
    top = (1 << job.scheme.element_bits) - 1
    ratio = np.divide(-low[part], scale, out=np.zeros(scale.shape), where=scale > 0)
    zero = np.clip(np.rint(ratio), 0, top)
    y = divide(job.groups[part], scale).astype(np.float64)
    q = round_integer(y, job.rounding, job.seed) + zero[:, None]
    return np.clip(q, 0, top).astype(np.uint8), zero.astype(np.uint8)


def encode_asym(job: Job) -> Coded:
    """Code a job in unsigned integers with an integer zero point per group."""
    low, high = group_range(job)
    scale_format, fmt = job.scheme.scale_format, job.scheme.formats[0]
    top = job.groups.dtype.type((1 << job.scheme.element_bits) - 1)
    wanted: Floats = (high - low) / top
    start = low
    if job.scheme.clip in ("mse", "mae"):
        wanted, start = _search(job, wanted, low)
    raw, outer = store(wanted, high - low, fmt, scale_format, job.layout)
    used = effective(raw, outer, fmt, scale_format, job.layout)
    codes = np.zeros(job.groups.shape, np.uint8)
    zeros = np.zeros(job.groups.shape[0], np.uint8)
    for part in job.slices():
        codes[part], zeros[part] = integer_codes(job, part, used[part], start)
    return Coded(codes=codes, raw=raw[:, None], outer=outer, zeros=zeros)


def _search(job: Job, wanted: Floats, low: Floats) -> tuple[Floats, Floats]:
    if job.scheme.clip == "mse" and job.rounding == "even" and worth_compiling(job):
        return _search_compiled(job, wanted, low)
    best = np.full(wanted.shape, np.inf)
    scale, start = wanted.copy(), low.copy()
    for ratio in RATIOS:
        trial = (wanted * wanted.dtype.type(ratio)).astype(wanted.dtype)
        edge = (low * low.dtype.type(ratio)).astype(low.dtype)
        for part in job.slices():
            codes, zero = integer_codes(job, part, trial[part], edge)
            error = group_error(job, part, integer_values(codes, zero, trial[part], trial.dtype))
            better = error < best[part]
            best[part] = np.where(better, error, best[part])
            scale[part][better], start[part][better] = trial[part][better], edge[part][better]
    return scale, start


def _search_compiled(job: Job, wanted: Floats, low: Floats) -> tuple[Floats, Floats]:
    ratios = np.array(RATIOS, np.float32)
    scales, edges = wanted[:, None] * ratios, low[:, None] * ratios
    best = np.maximum(best_grid(job, scales, edges), 0)[:, None]
    return (
        np.take_along_axis(scales, best, axis=1)[:, 0],
        np.take_along_axis(edges, best, axis=1)[:, 0],
    )


def zeros_of(scales: Floats, edges: Floats, top: int) -> Floats:
    """Return the zero points of (groups, candidates) scales and lower ends."""
    ratio = np.divide(-edges, scales, out=np.zeros_like(scales), where=scales > 0)
    return np.asarray(np.clip(np.rint(ratio), 0, top))


def best_grid(job: Job, scales: Floats, edges: Floats) -> NDArray[np.int64]:
    """Return by a compiled search which candidate has the least squared error, -1 for none.

    Parameters
    ----------
    scales, edges : (groups, candidates) float32
        The first of equals wins; ties of codes go to the even one.
    """
    from .kernels.dual_grain import search_groups as kernel
    from .kernels.threads import over_rows

    x, weights = job.groups, job.kernel_weights()
    top = (1 << job.scheme.element_bits) - 1
    zeros, best = zeros_of(scales, edges, top), np.zeros(len(x), np.int64)

    def work(a: int, b: int) -> None:
        kernel(x[a:b], weights[a:b], scales[a:b], zeros[a:b], np.float32(top), best[a:b])

    over_rows(work, len(x), x.shape[1] * scales.shape[1])
    return best


def integer_values(
    codes: Codes, zero: NDArray[np.generic], scale: Floats, dtype: np.dtype[np.generic]
) -> Floats:
    """Return (code - zero) x scale."""
    whole = codes.astype(dtype) - zero.astype(dtype)[:, None]
    return np.asarray(whole * scale.astype(dtype)[:, None])
