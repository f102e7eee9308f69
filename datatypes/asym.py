"""Unsigned integers with a zero point, and their dual-grain form.

``w = (code - zero) * scale``, the range of a group stretched to contain 0 so that 0 is exact.
"""

import numpy as np
from numpy.typing import NDArray

from .coding import RATIOS, Coded, Codes, Floats, Job, divide, group_error, moments, percentile
from .rounding import round_integer
from .scaling import bits_to_float, effective, float_bits, store

# DGQ, arXiv 2310.04836: shares of the group's range, and of the channel's, that are tried
PHASE_1 = tuple(1.02 - 0.011 * (i + 1) for i in range(20))
PHASE_2 = tuple(1.02 - 0.01025 * (i + 1) for i in range(80))
INT8_MAX = 127


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
    best = np.full(wanted.shape, np.inf)
    scale, start = wanted.copy(), low.copy()
    for ratio in RATIOS:
        trial = (wanted * wanted.dtype.type(ratio)).astype(wanted.dtype)
        edge = (low * low.dtype.type(ratio)).astype(low.dtype)
        for part in job.slices():
            codes, zero = integer_codes(job, part, trial[part], edge)
            error = _error(job, part, codes, zero, trial[part])
            better = error < best[part]
            best[part] = np.where(better, error, best[part])
            scale[part][better], start[part][better] = trial[part][better], edge[part][better]
    return scale, start


def _error(job: Job, part: slice, codes: Codes, zero: Floats, scale: Floats) -> NDArray[np.float64]:
    x = job.groups[part]
    weights = None if job.weights is None else job.weights[part]
    return group_error(x, integer_values(codes, zero, scale, x.dtype), weights, job.scheme.clip)


def integer_values(
    codes: Codes, zero: NDArray[np.generic], scale: Floats, dtype: np.dtype[np.generic]
) -> Floats:
    """Return (code - zero) x scale."""
    whole = codes.astype(dtype) - zero.astype(dtype)[:, None]
    return np.asarray(whole * scale.astype(dtype)[:, None])


def encode_dgq(job: Job) -> Coded:
    """Code a job in dual grain: INT4 groups inside INT8 channels.

    ``w = (code - zero) * s2 * s1``: s2 an integer per group, s1 one scale per channel, and
    ``(code - zero) * s2`` always within -127..127, so that a matrix product runs in INT8.

    Phase 1 finds each group's range on its own, phase 2 the channel's scale with the group
    scales rounded to multiples of it; both by the (importance-weighted) squared error of the
    weights. Source: DGQ, arXiv 2310.04836; the authors' code measures layer outputs instead.
    """
    low, high = group_range(job)
    limit = min((1 << job.scheme.scale_format.bits) - 1, INT8_MAX)
    top = (1 << job.scheme.element_bits) - 1
    fine, zero = _phase_1(job, low, high, top)
    rows = (job.layout.down, job.layout.across)
    amax = np.abs(job.groups).max(axis=1, initial=0.0).reshape(rows).max(axis=1)
    best = np.full(job.layout.down, np.inf)
    outer = np.zeros(job.layout.down, np.uint32)
    raw = np.zeros(job.groups.shape[0], np.uint32)
    codes = np.zeros(job.groups.shape, np.uint8)
    for ratio in PHASE_2:
        bits = float_bits((ratio * amax / INT8_MAX).astype(job.groups.dtype), "fp16")
        channel = np.repeat(bits_to_float(bits, "fp16"), job.layout.across)
        s2 = np.rint(np.divide(fine, channel, out=np.ones_like(fine), where=channel > 0))
        s2 = np.clip(s2, 1, limit)
        found, error = _phase_2(job, s2, channel, zero)
        better = error.reshape(rows).sum(axis=1) < best
        best = np.where(better, error.reshape(rows).sum(axis=1), best)
        mine = np.repeat(better, job.layout.across)
        outer[better] = bits[better]
        raw[mine] = s2[mine].astype(np.uint32)
        codes[mine] = found[mine]
    return Coded(codes=codes, raw=raw[:, None], outer=outer, zeros=zero.astype(np.uint8))


def _phase_1(job: Job, low: Floats, high: Floats, top: int) -> tuple[Floats, Floats]:
    best = np.full(low.shape, np.inf)
    scale, start = np.zeros_like(low), low.copy()
    for ratio in PHASE_1:
        trial = (ratio * (high - low) / top).astype(low.dtype)
        edge = (ratio * low).astype(low.dtype)
        for part in job.slices():
            codes, zero = integer_codes(job, part, trial[part], edge)
            error = _error(job, part, codes, zero, trial[part])
            better = error < best[part]
            best[part] = np.where(better, error, best[part])
            scale[part][better], start[part][better] = trial[part][better], edge[part][better]
    ratio_low = np.divide(-start, scale, out=np.zeros_like(scale), where=scale > 0)
    return scale, np.clip(np.rint(ratio_low), 0, top)


def _phase_2(
    job: Job, s2: Floats, channel: Floats, zero: Floats
) -> tuple[Codes, NDArray[np.float64]]:
    top = (1 << job.scheme.element_bits) - 1
    room = np.floor(INT8_MAX / s2)
    low, high = np.maximum(0, zero - room), np.minimum(top, zero + room)
    codes = np.zeros(job.groups.shape, np.uint8)
    error = np.zeros(job.groups.shape[0])
    scale = s2 * channel
    for part in job.slices():
        y = divide(job.groups[part], scale[part]).astype(np.float64)
        q = round_integer(y, job.rounding, job.seed) + zero[part][:, None]
        codes[part] = np.clip(q, low[part][:, None], high[part][:, None]).astype(np.uint8)
        error[part] = _error(job, part, codes[part], zero[part], scale[part])
    return codes, error
