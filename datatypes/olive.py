"""OliVe: outlier-victim pairs (ISCA 2023, arXiv 2304.07493).

Elements are coded in pairs along a row. A normal pair is two 4-bit integers -7..7. Where one is
an outlier, its neighbour (the victim) is given up to 0: its place takes the code 1000, which no
normal integer uses, and the outlier takes a float code E2M1 with bias 2 of its own, magnitudes
12, 16, 24, 32, 48, 64, 96 in units of the integers. So every element takes 4 bits.
"""

import numpy as np
from numpy.typing import NDArray

from .coding import Coded, Codes, Floats, Job, divide, group_error, moments
from .rounding import nearest_index
from .scaling import effective, store

FLAG = 8
NORMAL_MAX = 7
# magnitude by code 0..7; 0 is not used, so that no outlier looks like the flag or a zero
OUTLIERS = np.array([np.nan, 12, 16, 24, 32, 48, 64, 96])
# halfway between the largest normal magnitude and the smallest outlier
THRESHOLD = (NORMAL_MAX + OUTLIERS[1]) / 2
# range over max |mean +- 3 sigma|: 75 % to 250 % in steps of 2 %, as the authors search it
SHARES = tuple(0.75 + 0.02 * i for i in range(88))

_NORMAL = np.array([*range(8), np.nan, *range(-7, 0)])
_MIDPOINTS = (OUTLIERS[1:-1] + OUTLIERS[2:]) / 2
_EVEN = np.arange(1, 7) % 2 == 1


def encode_olive(job: Job) -> Coded:
    """Code a job in outlier-victim pairs, the range of each group searched by squared error."""
    mean, sigma = moments(job)
    base = np.maximum(np.abs(mean + 3 * sigma), np.abs(mean - 3 * sigma))
    scale_format, fmt = job.scheme.scale_format, job.scheme.formats[0]
    best = np.full(base.shape, np.inf)
    wanted = np.zeros(base.shape, job.groups.dtype)
    for share in SHARES:
        trial = (share * base / NORMAL_MAX).astype(job.groups.dtype)
        for part in job.slices():
            x = job.groups[part]
            codes = pair_codes(divide(x, trial[part]), _last(job))
            weights = None if job.weights is None else job.weights[part]
            values = pair_values(codes).astype(x.dtype) * trial[part][:, None]
            error = group_error(x, values, weights, "mse")
            better = error < best[part]
            best[part] = np.where(better, error, best[part])
            wanted[part][better] = trial[part][better]
    raw, outer = store(wanted, wanted * NORMAL_MAX, fmt, scale_format, job.layout)
    used = effective(raw, outer, fmt, scale_format, job.layout)
    codes = np.zeros(job.groups.shape, np.uint8)
    for part in job.slices():
        codes[part] = pair_codes(divide(job.groups[part], used[part]), _last(job))
    return Coded(codes=codes, raw=raw[:, None], outer=outer)


def _last(job: Job) -> int:
    """Return how many elements of a short group at the end of a row are real."""
    return job.layout.columns % job.layout.block_columns or job.layout.block_columns


def pair_codes(y: Floats, last: int) -> Codes:
    """Return the codes of scaled elements, pairs taken from the left of each group.

    Parameters
    ----------
    y : (groups, size) float
    last : int
        Elements of a short group; an element without a partner is never an outlier, since its
        flag would have no place.

    Returns
    -------
    (groups, size) uint8
    """
    count, size = y.shape
    wide = np.zeros((count, size + size % 2))
    wide[:, :size] = y
    pairs = wide.reshape(count, -1, 2)
    magnitude = np.abs(pairs)
    out = magnitude > THRESHOLD
    for lonely in {size, last}:
        if lonely % 2:
            out[:, lonely // 2, :] = False
    left = out[..., 0] & (magnitude[..., 0] >= magnitude[..., 1])
    left |= out[..., 0] & ~out[..., 1]
    right = out[..., 1] & ~left
    codes = np.clip(np.rint(pairs), -NORMAL_MAX, NORMAL_MAX).astype(np.int64) & 15
    outlier = 1 + nearest_index(magnitude, _MIDPOINTS, _EVEN) + FLAG * (pairs < 0)
    codes[..., 0] = np.where(left, outlier[..., 0], np.where(right, FLAG, codes[..., 0]))
    codes[..., 1] = np.where(right, outlier[..., 1], np.where(left, FLAG, codes[..., 1]))
    return codes.reshape(count, -1)[:, :size].astype(np.uint8)


def pair_values(codes: Codes) -> NDArray[np.float64]:
    """Return the value of each code of (groups, size) pairs, in units of the integers."""
    count, size = codes.shape
    wide = np.zeros((count, size + size % 2), np.int64)
    wide[:, :size] = codes
    pairs = wide.reshape(count, -1, 2)
    flagged = pairs == FLAG
    beside = flagged[..., ::-1]
    outlier = OUTLIERS[pairs & 7] * np.where(pairs >= FLAG, -1.0, 1.0)
    values = np.where(flagged, 0.0, np.where(beside, outlier, _NORMAL[pairs]))
    return np.asarray(values.reshape(count, -1)[:, :size])
