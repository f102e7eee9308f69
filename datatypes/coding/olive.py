"""OliVe: outlier-victim pairs (ISCA 2023, arXiv 2304.07493).

Elements are coded in pairs along a row. A normal pair is two integers. Where one is an outlier,
its neighbor (the victim) is given up to 0: its place takes the code 10..0, which no normal
integer uses, and the outlier takes the code of a small float of its own. So every element takes
the bits of a normal integer.

Levels, base and ends of the search follow the authors' quantizer; of two outliers in a pair the
larger is kept, as the paper says (the quantizer keeps the left one).
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..formats.rounding import nearest_index
from ..schemes.patterns import Raw
from ..schemes.scheme import Scheme
from .coded import Coded, Codes, Floats
from .coder import Coder, Integers, Tables, integer_ends
from .job import Job, divide, group_error, least_error, moments, worth_compiling

# range over max |mean +- 3 sigma|: from 75 % to 250 %, as the authors search it, in steps of
# 10 %; in their steps of 2 % under +mse
ALL_SHARES = tuple(0.75 + 0.02 * i for i in range(88))
SHARES = ALL_SHARES[::5]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pairs:
    """What pair codes of one width stand for, in units of the normal integers.

    Attributes
    ----------
    bits : int
    top : int
        Largest normal magnitude, ``2**(bits-1) - 1``.
    flag : int
        Code of a victim, ``2**(bits-1)``; also the sign bit of every other code.
    levels : (top,) float64
        Magnitudes of outliers, by code from 1 up: no outlier looks like the flag or a zero.
    threshold : float
        Outliers lie above: half-way between the largest normal magnitude and the first level.
    """

    bits: int
    top: int
    flag: int
    levels: NDArray[np.float64]
    threshold: float

    @classmethod
    def of(cls, bits: int) -> "Pairs":
        """Return the pairs of a width from 3 bits.

        An outlier of code c is a float of 2 exponent bits, ``bits - 3`` mantissa bits and the
        least exponent 5, on a scale where the normal integers have the step ``2**(6 - bits)``:
        8, 16, 32 at 3 bits; 12, 16, 24, 32, 48, 64, 96 at 4 bits.
        """
        return _pairs(bits)


@cache
def _pairs(bits: int) -> Pairs:
    flag, mantissa = 1 << (bits - 1), bits - 3
    codes = np.arange(1, flag)
    share = 1 + (codes % (1 << mantissa)) / (1 << mantissa)
    levels = np.ldexp(share, 5 + (codes >> mantissa) - (6 - bits))
    top = flag - 1
    return Pairs(
        bits=bits, top=top, flag=flag, levels=levels, threshold=(top + float(levels[0])) / 2
    )


def encode_olive(job: Job) -> Coded:
    """Code a job in outlier-victim pairs, the range of each group searched by its error.

    Ranges are compared under the scale as stored. Second-level scales are those of the ranges that
    err least before they are stored, and stand as they are under `+mse`, which tries its finer
    steps after the others: no group errs more for it.
    """
    pairs, dtype = Pairs.of(job.scheme.element_bits), job.groups.dtype
    scale, grid = job.scheme.scale_format, job.scheme.formats[0].grid
    coarse = _trials(job, pairs, SHARES)
    raw, outer, found = np.zeros(len(coarse), np.uint32), np.zeros(0, np.uint32), None
    if scale.outer != "none":
        best = _search(job, pairs, coarse)
        wanted = np.take_along_axis(coarse, np.maximum(best, 0)[:, None], axis=1)[:, 0]
        wanted = np.where(best < 0, dtype.type(0), wanted)
        raw, outer = scale.store(wanted, wanted * pairs.top, grid, job.layout)
        found = raw
    raw = _stored(job, pairs, coarse, found, outer)
    if job.scheme.clip == "mse":
        raw = _stored(job, pairs, _trials(job, pairs, ALL_SHARES), raw, outer)
    used = scale.read(raw, outer, grid, job.layout)
    codes, lengths = np.zeros(job.groups.shape, np.uint8), job.lengths()
    for part in job.slices():
        codes[part] = pair_codes(divide(job.groups[part], used[part]), lengths[part], pairs.bits)
    return job.coded(job.layout.join(codes), raw, outer)


def _trials(job: Job, pairs: Pairs, shares: tuple[float, ...]) -> Floats:
    """Return the (groups, n) scales of some shares, infinite where one does not fit."""
    scale, grid = job.scheme.scale_format, job.scheme.formats[0].grid
    with np.errstate(over="ignore", invalid="ignore"):
        trials = (_base_range(job)[:, None] * shares / pairs.top).astype(job.groups.dtype)
        fit = scale.fits(trials, trials * pairs.top, grid)
    return np.asarray(np.where(fit, trials, np.inf).astype(trials.dtype))


def _stored(job: Job, pairs: Pairs, trials: Floats, own: Raw | None, outer: Raw) -> Raw:
    """Return the patterns of the scales of least error under the scale as stored.

    Parameters
    ----------
    job : Job
    pairs : Pairs
    trials : (groups, n) float
        Scales that are tried, infinite where one does not fit.
    own : (groups,) uint32 or None
        Patterns of scales that are tried after them.
    outer : uint32
        Patterns of the second-level scales.
    """
    scale, grid = job.scheme.scale_format, job.scheme.formats[0].grid
    above = np.repeat(scale.tops(outer, job.layout), trials.shape[1])
    fit = np.isfinite(trials)
    real = np.where(fit, trials, 0).reshape(-1)
    raw = scale.patterns(real, real * pairs.top, above, grid)
    scales = scale.scales(raw, above, grid).reshape(trials.shape)
    scales, raw = np.where(fit, scales, np.inf).astype(trials.dtype), raw.reshape(trials.shape)
    if own is not None:
        last = scale.read(own, outer, grid, job.layout).astype(trials.dtype)
        scales, raw = np.column_stack([scales, last]), np.column_stack([raw, own])
    best = _search(job, pairs, np.ascontiguousarray(scales))
    if (lost := (best < 0) & (job.groups != 0).any(axis=1)).any():
        at = int(np.argmax(lost))
        scale.refuse(at, float(np.abs(job.groups[at]).max() / pairs.top))
    none = scale.patterns(real[:1] * 0, real[:1] * 0, above[:1], grid)
    return np.asarray(np.where(best < 0, none, raw[np.arange(len(raw)), best]))


def _search(job: Job, pairs: Pairs, trials: Floats) -> NDArray[np.int64]:
    """Return which of (groups, n) scales of each group has the least error; see `search`."""
    return (search_compiled if worth_compiling(job) else search)(job, pairs, trials)


def _base_range(job: Job) -> NDArray[np.float64]:
    """Return max |mean +- 3 sigma| of each group, sigma with one degree of freedom less."""
    mean, sigma = moments(job)
    count = job.lengths()
    sigma = sigma * np.sqrt(count / np.maximum(count - 1, 1))
    return np.asarray(np.maximum(np.abs(mean + 3 * sigma), np.abs(mean - 3 * sigma)))


def search(job: Job, pairs: Pairs, trials: Floats) -> NDArray[np.int64]:
    """Return which scale of each group has the least error, the first among equals.

    Parameters
    ----------
    job : Job
    pairs : Pairs
    trials : (groups, n) float
        Candidates, infinite where one does not fit its format.

    Returns
    -------
    (groups,) int64
        -1 where no candidate has a finite error.
    """
    lengths = job.lengths()

    def error(t: int, part: slice) -> NDArray[np.float64]:
        scale = trials[part, t]
        codes = pair_codes(divide(job.groups[part], scale), lengths[part], pairs.bits)
        values = pair_values(codes, pairs.bits).astype(scale.dtype) * scale[:, None]
        return group_error(job, part, values)

    least = np.full(len(job.groups), np.inf)
    return least_error(list(job.slices()), trials.shape[1], error, least)


def search_compiled(job: Job, pairs: Pairs, trials: Floats) -> NDArray[np.int64]:
    """Do what `search` does, compiled, of (groups, n) scales; float32, no layer inputs."""
    from ..kernels.base.tables import cuts_of
    from ..kernels.base.threads import on_rows
    from ..kernels.searches.olive import search as kernel

    best = np.zeros(len(job.groups), np.int64)
    whole = (job.groups, job.kernel_weights(), trials, best)
    by_row = [a.reshape(job.layout.down, job.layout.across, *a.shape[1:]) for a in whole]
    facts = (
        int(job.lengths()[-1]),
        np.float32(pairs.top),
        np.float32(pairs.threshold),
        pairs.levels.astype(np.float32),
        cuts_of(pairs.levels, _tie_up(pairs)),
    )
    on_rows(kernel, by_row, facts, job.layout.columns * trials.shape[1])
    return best


def _tie_up(pairs: Pairs) -> NDArray[np.bool_]:
    """Return which ties between levels go up: to the even code, counted from 1."""
    return np.asarray(np.arange(1, pairs.top) % 2 == 1)


def pair_codes(y: Floats, lengths: NDArray[np.int64], bits: int) -> Codes:
    """Return the codes of scaled elements, pairs taken from the left of each group.

    Parameters
    ----------
    y : (groups, size) float
    lengths : (groups,) int
        Elements of each group that are real. One without a partner is never an outlier, since
        its flag would have no place.
    bits : int

    Returns
    -------
    (groups, size) uint8
    """
    kind = Pairs.of(bits)
    count, size = y.shape
    wide = np.zeros((count, size + size % 2))
    wide[:, :size] = y
    pairs = wide.reshape(count, -1, 2)
    magnitude = np.abs(pairs)
    out = magnitude > kind.threshold
    odd = np.flatnonzero(lengths % 2)
    out[odd, lengths[odd] // 2] = False
    left = out[..., 0] & (magnitude[..., 0] >= magnitude[..., 1])
    left |= out[..., 0] & ~out[..., 1]
    right = out[..., 1] & ~left
    codes = np.clip(np.rint(pairs), -kind.top, kind.top).astype(np.int64) & (2 * kind.flag - 1)
    midpoints = (kind.levels[:-1] + kind.levels[1:]) / 2
    outlier = 1 + nearest_index(magnitude, midpoints, _tie_up(kind)) + kind.flag * (pairs < 0)
    codes[..., 0] = np.where(left, outlier[..., 0], np.where(right, kind.flag, codes[..., 0]))
    codes[..., 1] = np.where(right, outlier[..., 1], np.where(left, kind.flag, codes[..., 1]))
    return codes.reshape(count, -1)[:, :size].astype(np.uint8)


def pair_values(codes: Codes, bits: int) -> NDArray[np.float64]:
    """Return the value of each code of (groups, size) pairs, in units of the integers."""
    kind = Pairs.of(bits)
    count, size = codes.shape
    wide = np.zeros((count, size + size % 2), np.int64)
    wide[:, :size] = codes
    pairs = wide.reshape(count, -1, 2)
    flagged = pairs == kind.flag
    beside = flagged[..., ::-1]
    levels = np.concatenate([[np.nan], kind.levels])
    outlier = levels[pairs & kind.top] * np.where(pairs >= kind.flag, -1.0, 1.0)
    normal = np.where(pairs < kind.flag, pairs, pairs - 2 * kind.flag)
    values = np.where(flagged, 0.0, np.where(beside, outlier, normal))
    return np.asarray(values.reshape(count, -1)[:, :size])


def _values(coded: Coded, codes: Codes, scales: Floats, dtype: np.dtype[Any]) -> Floats:
    """Return what codes stand for; see `Coder.values`."""
    whole = pair_values(codes, coded.scheme.element_bits).astype(dtype)
    return np.asarray(whole * scales.astype(dtype)[:, None])


def _tables(coded: Coded, scales: Floats, dtype: np.dtype[Any]) -> Tables:
    """Return what a code stands for beside each code of its neighbor; see `Coder.tables`."""
    bits = coded.scheme.element_bits
    here, beside = np.meshgrid(*2 * [np.arange(1 << bits, dtype=np.uint8)])
    both = np.stack([here.reshape(-1), beside.reshape(-1)], axis=1)
    # the neighbor only decides what an element stands for; which of the two comes first does not
    # matter
    whole = pair_values(both, bits)[None, :, 0].astype(dtype)
    return Tables(tables=whole, scales=scales, pairs=True)


def _integers(coded: Coded) -> list[Integers]:
    """Return the decoded pairs; see `Coder.integers`."""
    bits = coded.scheme.element_bits
    kind = Pairs.of(bits)
    normal = np.arange(-kind.top, kind.top + 1)
    every = np.unique(np.concatenate([normal, kind.levels, -kind.levels]))

    def places(codes: Codes, _: slice) -> NDArray[np.int64]:
        return np.searchsorted(every, pair_values(codes, bits))

    return [Integers(values=every, places=places, occurring=True)]


def _ends(scheme: Scheme) -> tuple[float, float]:
    """Return the largest outlier, and the codes' own largest; see `Coder.ends`."""
    return float(Pairs.of(scheme.element_bits).levels[-1]), integer_ends(scheme)[1]


OLIVE: Final = Coder(
    encode=encode_olive,
    values=_values,
    tables=_tables,
    integers=_integers,
    ends=_ends,
    own_rounding=True,
    searches=True,
)
