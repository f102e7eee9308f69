"""Unsigned integers with a zero point.

``w = (code - zero) * scale``, the range of a group stretched to contain 0 so that 0 is exact.
"""

from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..formats.rounding import round_integer
from ..schemes.patterns import Raw
from .coded import Coded, Codes, Floats
from .coder import Coder, Integers, Tables, integer_ends
from .dispatch import coded_of
from .job import (
    SLICE,
    Job,
    divide,
    group_error,
    least_error,
    moments,
    percentile,
    worth_compiling,
)
from .trials import BATCH, is_searched, ratios_of


def group_range(job: Job) -> tuple[Floats, Floats]:
    """Return the lower and upper end of each group, (groups,), stretched to 0, clipped as asked.

    A clip that would leave nothing of a group (a percentile of zeros) is not made.
    """
    x, clip = job.groups, job.scheme.clip
    low = np.minimum(x.min(axis=1, initial=0.0), 0)
    high = np.maximum(x.max(axis=1, initial=0.0), 0)
    near: Floats
    far: Floats
    if clip.startswith("sigma"):
        mean, sigma = moments(job)
        near, far = mean - float(clip[5:]) * sigma, mean + float(clip[5:]) * sigma
    elif clip.startswith("p"):
        share = float(clip[1:])
        near, far = percentile(job, x, 100 - share), percentile(job, x, share)
    else:
        return low, high
    cut_low = np.maximum(low, np.minimum(near, 0)).astype(x.dtype)
    cut_high = np.minimum(high, np.maximum(far, 0)).astype(x.dtype)
    kept = cut_high > cut_low
    return np.where(kept, cut_low, low), np.where(kept, cut_high, high)


def _real_scale(low: Floats, high: Floats, top: int) -> Floats:
    """Return (high - low) / top of each group, also where high - low overflows."""
    most = low.dtype.type(top)
    with np.errstate(over="ignore"):
        width = high - low
    return np.asarray(np.where(np.isinf(width), high / most - low / most, width / most))


def integer_codes(job: Job, part: slice, scale: Floats, zero: Floats) -> Codes:
    """Return the (n, size) codes of n groups: rounded quotients plus zero points, clamped.

    Parameters
    ----------
    job : Job
    part : slice
        The n groups.
    scale, zero : (n,) float
    """
    top = (1 << job.scheme.element_bits) - 1
    y = divide(job.groups[part], scale).astype(np.float64)
    q = round_integer(y, job.rounding, job.seed) + zero[:, None]
    return np.clip(q, 0, top).astype(np.uint8)


def encode_asym(job: Job) -> Coded:
    """Code a job in unsigned integers with an integer zero point per group.

    Ranges are compared under the scale as stored, second-level scales standing as they are
    without a search.

    Under stochastic rounding the scale is the least under which both ends of the range are
    codes, with a whole zero point: nothing is cut off, so the result is the element itself on
    average, unless a percentile or sigma was asked for; a search tries no smaller ranges.
    """
    low, high = group_range(job)
    top = (1 << job.scheme.element_bits) - 1
    start, end = low, high.astype(np.float64)
    raw, outer = _store(job, low, high)
    if is_searched(job.scheme.clip):
        raw, ratio = _search(job, low, high, raw, outer)
        start, end = low * ratio, end * ratio
    used = job.scheme.scale_format.read(raw, outer, job.scheme.formats[0].grid, job.layout)
    drawn = job.rounding == "stochastic"
    zeros = covering_zeros(used, start, end, top) if drawn else zeros_of(used, start, top)
    codes = np.zeros(job.groups.shape, np.uint8)
    for part in job.slices():
        codes[part] = integer_codes(job, part, used[part], zeros[part])
    return job.coded(job.layout.join(codes), raw, outer, zeros=zeros)


def _wanted(job: Job, low: Floats, high: Floats) -> Floats:
    """Return the scales under which (...) ranges are the codes."""
    top = (1 << job.scheme.element_bits) - 1
    if job.rounding == "stochastic":
        return covering_scale(low, high, top)
    return _real_scale(low, high, top)


def _store(job: Job, low: Floats, high: Floats) -> tuple[Raw, Raw]:
    """Return what is stored of the (groups,) ranges, where none is searched for.

    A group whose scale does not fit is refused unless a search may find a smaller range.
    """
    scale, grid = job.scheme.scale_format, job.scheme.formats[0].grid
    wanted, span = _wanted(job, low, high), np.maximum(high, -low)
    if is_searched(job.scheme.clip) and scale.outer == "none":
        fit = scale.fits(wanted, wanted, grid)
        wanted, span = np.where(fit, wanted, 0), np.where(fit, span, 0)
    return scale.store(wanted, span, grid, job.layout)


def _search(
    job: Job, low: Floats, high: Floats, plain: Raw, outer: Raw
) -> tuple[Raw, NDArray[np.floating[Any]]]:
    """Return the stored scale and the ratio of each group's range that err least.

    The first among equals; the ratio 1 with the scale that is stored without a search is the last
    where scales depend on a second level.

    Parameters
    ----------
    job : Job
    low, high : (groups,) float
    plain, outer : uint32
        What is stored without a search.
    """
    scale, grid = job.scheme.scale_format, job.scheme.formats[0].grid
    tops, again = scale.tops(outer, job.layout), scale.outer != "none"
    ratios = np.array(ratios_of(job.scheme.clip) + (1.0,) * again, low.dtype)
    best, raw = np.full(len(low), -1), plain.copy()
    even = replace(job, rounding="even") if job.rounding == "stochastic" else job
    for part in even.slices(BATCH // len(ratios) * max(job.groups.shape[1], 1)):
        with np.errstate(over="ignore"):
            edges, ends = low[part, None] * ratios, high[part, None] * ratios
        real = _wanted(job, edges, ends)
        fit = scale.fits(real, real, grid) & np.isfinite(edges)
        if job.rounding == "stochastic":
            fit &= (ratios >= 1) | ~(fit & (ratios >= 1)).any(axis=1, keepdims=True)
        flat, above = np.where(fit, real, 0).reshape(-1), np.repeat(tops[part], len(ratios))
        tried = scale.patterns(flat, flat, above, grid).reshape(fit.shape)
        if again:
            tried[:, -1], fit[:, -1] = plain[part], True
        scales = scale.scales(tried.reshape(-1), above, grid).reshape(fit.shape).astype(low.dtype)
        scales[~fit] = np.inf
        found = _best(even, part, scales, np.where(fit, edges, 0))
        found = np.where(found < 0, np.where(fit.any(axis=1), np.argmax(fit, axis=1), -1), found)
        best[part], raw[part] = found, tried[np.arange(len(found)), np.maximum(found, 0)]
    if (best < 0).any():
        at = int(np.argmin(best))
        scale.refuse(at, float(_wanted(job, low, high)[at]))
    return raw, np.asarray(ratios[best])


def _best(job: Job, part: slice, scales: Floats, edges: Floats) -> NDArray[np.int64]:
    """Return which (n, t) candidate of some groups errs least; compiled where that is the same."""
    quick = job.scheme.clip == "mse" and job.rounding == "even" and worth_compiling(job)
    return (best_grid if quick else search_groups)(job, scales, edges, part)


def covering_scale(low: Floats, high: Floats, top: int) -> Floats:
    """Return the (groups,) least scales under which low..high are 0..top, zero points whole.

    A zero point z takes max(-low / z, high / (top - z)), and the best is one of the two whole
    numbers beside top * -low / (high - low), where both are equal.

    Parameters
    ----------
    low, high : (groups,) float
        Ends of each group, around 0.
    top : int
        Largest code.
    """
    down, up = -low.astype(np.float64), high.astype(np.float64)
    width = np.maximum(down + up, np.finfo(np.float64).tiny)
    floor = np.floor(top * down / width)
    scales = [_least_scale(down, up, z, top - z) for z in (floor, np.minimum(floor + 1, top))]
    return np.minimum(*scales).astype(low.dtype)


def _least_scale(down: Floats, up: Floats, below: Floats, above: Floats) -> Floats:
    """Return max(down / below, up / above); 0 / 0 counts as 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = np.where(down > 0, down / below, 0), np.where(up > 0, up / above, 0)
    return np.maximum(low, high)


def covering_zeros(scale: Floats, low: Floats, high: Floats, top: int) -> Floats:
    """Return the (groups,) zero points that cut least off low..high, in steps of the scale.

    Parameters
    ----------
    scale : (groups,) float
    low, high : (groups,) float
        Ends of each group, around 0.
    top : int
        Largest code.
    """
    s = np.where(scale > 0, scale, 1).astype(np.float64)
    down, up = -low / s, high / s
    lower = np.clip(np.floor(down), 0, top)
    upper = np.minimum(lower + 1, top)

    def cut(zero: Floats) -> Floats:
        return np.asarray(np.maximum(down - zero, 0) + np.maximum(up - (top - zero), 0))

    return np.where(scale > 0, np.where(cut(upper) < cut(lower), upper, lower), 0)


def zeros_of(scales: Floats, edges: Floats, top: int) -> Floats:
    """Return the zero points of (...) scales and lower ends: round(-edge / scale) in 0..top."""
    ratio = np.divide(-edges, scales, out=np.zeros(scales.shape), where=scales > 0)
    return np.asarray(np.clip(np.rint(ratio), 0, top).astype(scales.dtype))


def search_groups(
    job: Job, scales: Floats, edges: Floats, part: slice | None = None
) -> NDArray[np.int64]:
    """Return which candidate of each group has the least error, the first among equals.

    Parameters
    ----------
    job : Job
    scales, edges : (n, t) float
        Scale and lower end of each candidate.
    part : slice, optional
        The n groups; all by default.

    Returns
    -------
    (n,) int64
        -1 where no candidate has a finite error; those with infinite scales never do.
    """
    zeros = zeros_of(scales, edges, (1 << job.scheme.element_bits) - 1)
    first = 0 if part is None else part.start

    def error(t: int, own: slice) -> NDArray[np.float64]:
        whole = slice(first + own.start, first + own.stop)
        scale, zero = scales[own, t], zeros[own, t]
        codes = integer_codes(job, whole, scale, zero)
        return group_error(job, whole, integer_values(codes, zero, scale, scale.dtype))

    least = np.full(len(scales), np.inf)
    step = max(1, SLICE // max(job.groups.shape[1], 1))
    parts = [slice(a, min(a + step, len(scales))) for a in range(0, len(scales), step)]
    return least_error(parts, scales.shape[1], error, least)


def best_grid(
    job: Job, scales: Floats, edges: Floats, part: slice | None = None
) -> NDArray[np.int64]:
    """Do what `search_groups` does, compiled: float32, squared errors and ties to even.

    Parameters
    ----------
    job, scales, edges, part
        As of `search_groups`; (n, t) candidates.
    """
    from ..kernels.base.threads import on_rows
    from ..kernels.searches.asym import search_groups as kernel

    own = slice(0, len(scales)) if part is None else part
    top, best = (1 << job.scheme.element_bits) - 1, np.zeros(len(scales), np.int64)
    weights, zeros = job.kernel_weights()[own], zeros_of(scales, edges, top)
    cut = (job.groups[own], weights, scales, zeros, best)
    on_rows(kernel, cut, (np.float32(top),), job.groups.shape[1] * scales.shape[1])
    return best


def integer_values(
    codes: Codes, zero: NDArray[np.generic], scale: Floats, dtype: np.dtype[np.generic]
) -> Floats:
    """Return (code - zero) x scale.

    Parameters
    ----------
    codes : (groups, size) unsigned integers
    zero, scale : (groups,) float
    dtype : numpy dtype
        The precision in which it is computed.

    Returns
    -------
    (groups, size) float, of `dtype`
    """
    whole = codes.astype(dtype) - zero.astype(dtype)[:, None]
    return np.asarray(whole * scale.astype(dtype)[:, None])


def encode_compiled(job: Job) -> Coded | None:
    """Code a large job with one kernel; None where it does not fit."""
    from .. import kernels

    if job.rounding != "even" or job.scheme.scale not in ("fp16", "fp32"):
        return None
    bits, group = job.scheme.element_bits, job.layout.block_columns
    found = kernels.asymmetric(job.matrix, bits, group, job.scheme.scale, values=False)
    return coded_of(job, found)


def _values(coded: Coded, codes: Codes, scales: Floats, dtype: np.dtype[Any]) -> Floats:
    """Return what codes stand for; see `Coder.values`."""
    assert coded.zeros is not None
    return integer_values(codes, coded.zeros, scales, dtype)


def _tables(coded: Coded, scales: Floats, dtype: np.dtype[Any]) -> Tables:
    """Return the integers as they stand, and the zero points; see `Coder.tables`."""
    whole = np.arange(1 << coded.scheme.element_bits, dtype=dtype)[None]
    return Tables(tables=whole, scales=scales, zeros=coded.zeros)


def _integers(coded: Coded) -> list[Integers]:
    """Return ``code - zero``; see `Coder.integers`."""
    top, zeros = (1 << coded.scheme.element_bits) - 1, coded.zeros
    assert zeros is not None

    def places(codes: Codes, part: slice) -> NDArray[np.int16]:
        return codes.astype(np.int16) - zeros[part].astype(np.int16)[:, None] + np.int16(top)

    return [Integers(values=np.arange(-top, top + 1.0), places=places)]


ASYM: Final = Coder(
    encode=encode_asym,
    compiled=encode_compiled,
    values=_values,
    tables=_tables,
    integers=_integers,
    ends=integer_ends,
)
