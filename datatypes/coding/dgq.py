"""Dual grain: INT4 groups inside INT8 channels (DGQ, arXiv 2310.04836).

``w = (code - zero) * s2 * s1``: s2 an integer per group, s1 one scale per channel, and
``(code - zero) * s2`` always within -127..127, so that a matrix product runs in INT8.

Phase 1 finds each group's range on its own, phase 2 the channel's scale with the group scales
rounded to multiples of it. Both make the squared error of the weights small or, where the layer's
inputs are given, that of its outputs, as the authors do (who in phase 2 compare with the outputs
of phase 1; here both phases compare with those of the unquantized weights).
"""

from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..base.jit import have_numba
from ..formats.rounding import round_integer
from ..schemes.patterns import bits_to_float, float_bits
from .asym import ASYM, best_grid, group_range, integer_values, search_groups, zeros_of
from .coded import Coded, Codes, Floats
from .coder import no_kernel
from .job import (
    SEARCH_MIN,
    Job,
    divide,
    group_error,
    least_error,
    worth_compiling,
)

# shares of the group's range, and of the channel's, that are tried
PHASE_1 = tuple(1.02 - 0.011 * (i + 1) for i in range(20))
PHASE_2 = tuple(1.02 - 0.01025 * (i + 1) for i in range(80))
INT8_MAX = 127
LED_SLICE = 1 << 21  # elements whose differences are in memory at once
Ends = tuple[NDArray[Any], NDArray[Any]]


def encode_dgq(job: Job) -> Coded:
    """Code a job in dual grain; under stochastic rounding both searches round to nearest."""
    even = replace(job, rounding="even") if job.rounding == "stochastic" else job
    compiled = worth_compiling(job) and even.rounding == "even"
    channels = _channel_scales(job)
    low, high = group_range(job)
    dtype, top = job.groups.dtype, (1 << job.scheme.element_bits) - 1
    shares = np.array(PHASE_1, dtype)
    edges = low[:, None] * shares
    scales = (high - low)[:, None] * shares / dtype.type(top)
    led = _led(even)
    find = best_grid if compiled else _search_groups_led if led else search_groups
    best = np.maximum(find(even, scales, edges), 0)[:, None]
    zeros = zeros_of(scales, edges, top)
    fine = np.take_along_axis(scales, best, axis=1)[:, 0]
    zero = np.take_along_axis(zeros, best, axis=1)[:, 0]
    pick = _search_channels_led if led else search_channels
    pick = _search_channels_compiled if compiled else pick
    chosen = np.maximum(pick(even, fine, zero, channels), 0)[:, None]
    channel = np.take_along_axis(channels, chosen, axis=1)[:, 0]
    whole = _group_steps(job, fine, channel)
    codes = job.layout.join(_clamped_codes(job, whole, channel, zero))
    return job.coded(codes, whole.astype(np.uint32), float_bits(channel, "fp16"), zeros=zero)


def _channel_scales(job: Job) -> Floats:
    """Return the (rows, n) scales of channels that are tried, infinite where one does not fit."""
    rows = (job.layout.down, job.layout.across)
    amax = np.abs(job.groups).max(axis=1, initial=0.0).reshape(rows).max(axis=1)
    with np.errstate(over="ignore"):
        wanted = [amax * amax.dtype.type(r) / INT8_MAX for r in PHASE_2]
    channels = np.stack([bits_to_float(float_bits(w, "fp16"), "fp16") for w in wanted], axis=1)
    if not (fit := np.isfinite(channels).any(axis=1)).all():
        row = int(np.argmin(fit))
        group, value = row * job.layout.across, float(amax[row]) / INT8_MAX
        job.scheme.scale_format.refuse(group, value, wider=False)
    return channels


def _most(job: Job) -> int:
    """Return the largest integer scale of a group."""
    return min((1 << job.scheme.scale_format.bits) - 1, INT8_MAX)


def _group_steps(job: Job, fine: Floats, channel: Floats) -> Floats:
    """Return the (groups,) integer scales: the nearest multiples of the channel's scale."""
    return _steps(fine, np.repeat(channel, job.layout.across), _most(job))


def _steps(fine: Floats, each: Floats, most: int) -> Floats:
    """Return the (groups,) multiples of (groups,) channel scales, from 1 to the most."""
    ratio = np.divide(fine, each, out=np.ones_like(fine), where=each > 0)
    return np.asarray(np.clip(np.rint(ratio), 1, most))


def _clamped_codes(job: Job, whole: Floats, channel: Floats, zero: Floats) -> Codes:
    """Return the codes, clamped so that (code - zero) x integer scale stays within 8 bits."""
    top = (1 << job.scheme.element_bits) - 1
    span = np.floor(INT8_MAX / whole)
    low, high = np.maximum(0, zero - span), np.minimum(top, zero + span)
    scale = whole * np.repeat(channel, job.layout.across)
    codes = np.zeros(job.groups.shape, np.uint8)
    for part in job.slices():
        y = divide(job.groups[part], scale[part]).astype(np.float64)
        q = round_integer(y, job.rounding, job.seed) + zero[part][:, None]
        codes[part] = np.clip(q, low[part][:, None], high[part][:, None]).astype(np.uint8)
    return codes


def search_channels(job: Job, fine: Floats, zero: Floats, channels: Floats) -> NDArray[np.int64]:
    """Return which channel scale has the least error in each row, the first among equals.

    Parameters
    ----------
    job : Job
    fine, zero : (groups,) float
        Real scale and zero point of each group.
    channels : (rows, n) float
        Candidates.

    Returns
    -------
    (rows,) int64
        -1 where no candidate has a finite error.
    """
    rows = (job.layout.down, job.layout.across)

    def error(t: int, _: slice) -> NDArray[np.float64]:
        fit = np.isfinite(channels[:, t])
        channel = np.where(fit, channels[:, t], 0)
        whole = _group_steps(job, fine, channel)
        codes, scale = (
            _clamped_codes(job, whole, channel, zero),
            whole * np.repeat(channel, rows[1]),
        )
        return np.where(fit, _row_errors(job, codes, zero, scale), np.inf)

    return least_error([slice(None)], channels.shape[1], error, np.full(rows[0], np.inf))


def _row_errors(job: Job, codes: Codes, zero: Floats, scale: Floats) -> NDArray[np.float64]:
    """Return the error of each row of groups."""
    if job.inputs is not None:
        values = integer_values(codes, zero, scale, job.groups.dtype)
        difference = job.layout.join((job.groups - values).astype(np.float64))
        return job.inputs.row_errors(difference)
    parts = [
        group_error(job, p, integer_values(codes[p], zero[p], scale[p], scale.dtype))
        for p in job.slices()
    ]
    return np.asarray(np.concatenate(parts).reshape(job.layout.down, -1).sum(axis=1))


def _led(job: Job) -> bool:
    """Return whether searches by the layer's outputs go through a kernel: float32, large."""
    plain = job.groups.dtype == np.float32 and job.rounding == "even" and job.weights is None
    return plain and job.inputs is not None and job.groups.size >= SEARCH_MIN and have_numba()


def _differences(
    job: Job, part: slice, scale: Floats, zero: Floats, ends: Ends
) -> NDArray[np.float64]:
    """Return what the groups of a part lose, (n, size) float64, codes within (n,) ends."""
    from ..kernels.base.threads import on_rows
    from ..kernels.searches.differences import differences as kernel

    x = job.groups[part]
    out = np.empty(x.shape, np.float64)
    facts = [np.ascontiguousarray(a, np.float32) for a in (scale, zero, *ends)]
    on_rows(kernel, [x, *facts, out], (), x.shape[1])
    return out


def _search_groups_led(job: Job, scales: Floats, edges: Floats) -> NDArray[np.int64]:
    """Do what `search_groups` does, compiled, by the layer's outputs."""
    inputs, layout, top = job.inputs, job.layout, (1 << job.scheme.element_bits) - 1
    assert inputs is not None
    zeros = zeros_of(scales, edges, top)

    def error(t: int, own: slice) -> NDArray[np.float64]:
        ends = (np.zeros(own.stop - own.start), np.full(own.stop - own.start, top))
        lost = _differences(job, own, scales[own, t], zeros[own, t], ends)
        return inputs.block_errors(lost, own.start, layout)

    return least_error(_row_parts(job, groups=True), scales.shape[1], error, _infinite(len(scales)))


def _search_channels_led(
    job: Job, fine: Floats, zero: Floats, channels: Floats
) -> NDArray[np.int64]:
    """Do what `search_channels` does, compiled, by the layer's outputs."""
    inputs, layout, top = job.inputs, job.layout, (1 << job.scheme.element_bits) - 1
    assert inputs is not None

    def error(t: int, rows: slice) -> NDArray[np.float64]:
        part = slice(rows.start * layout.across, rows.stop * layout.across)
        fit = np.isfinite(channels[rows, t])
        channel = np.where(fit, channels[rows, t], 0)
        each = np.repeat(channel, layout.across)
        whole = _steps(fine[part], each, _most(job))
        span = np.floor(INT8_MAX / whole)
        ends = (np.maximum(0, zero[part] - span), np.minimum(top, zero[part] + span))
        lost = _differences(job, part, whole * each, zero[part], ends)
        flat = lost.reshape(rows.stop - rows.start, -1)[:, : layout.columns]
        return np.where(fit, inputs.row_errors(flat), np.inf)

    return least_error(
        _row_parts(job, groups=False), channels.shape[1], error, _infinite(layout.down)
    )


def _infinite(count: int) -> NDArray[np.float64]:
    return np.full(count, np.inf)


def _row_parts(job: Job, *, groups: bool) -> list[slice]:
    """Return slices of whole rows that are worked on together, as rows or as their groups."""
    down, each = job.layout.down, job.layout.across if groups else 1
    step = max(1, LED_SLICE // max(job.layout.columns, 1))
    return [slice(a * each, min(a + step, down) * each) for a in range(0, down, step)]


def _search_channels_compiled(
    job: Job, fine: Floats, zero: Floats, channels: Floats
) -> NDArray[np.int64]:
    """Do what `search_channels` does, compiled; float32, no layer inputs, ties to even."""
    from ..kernels.base.threads import on_rows
    from ..kernels.searches.dgq import search_channels as kernel

    best = np.zeros(len(channels), np.int64)
    whole = (job.groups, job.kernel_weights(), fine, zero)
    by_row = [a.reshape(job.layout.down, job.layout.across, *a.shape[1:]) for a in whole]
    top = (1 << job.scheme.element_bits) - 1
    facts = (np.float32(top), np.float32(_most(job)), np.float32(INT8_MAX))
    on_rows(kernel, [*by_row, channels, best], facts, job.layout.columns * channels.shape[1])
    return best


def _scales(coded: Coded) -> Floats:
    """Return the integer scales times that of their channel; see `Coder.scales`."""
    channel = bits_to_float(coded.outer_scales, "fp16")
    return coded.scales[:, 0].astype(np.float32) * np.repeat(channel, coded.layout.across)


DGQ: Final = replace(
    ASYM, encode=encode_dgq, compiled=no_kernel, scales=_scales, outer_is_step=True, searches=True
)
