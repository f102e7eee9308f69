"""Learned codebooks: the entries under which each group errs least, stored beside the group.

``w = book[code]``, a book of 2**b entries for each tensor, row or group. The clusters are those of
least squared error, weighted by importance: the least there is, not a local minimum
(`kernels.searches.clusters`); entries are then rounded as they are stored. A book weighted by
sensitivity for each output channel is SqueezeLLM's (arXiv 2306.07629).
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError
from ..schemes.scales import FloatScale
from ..schemes.scheme import Scheme
from .coded import Coded, Codes, Floats
from .coder import Coder, Tables
from .job import Job

# elements of a group beyond which neighbors are joined before clusters are found
LONGEST: Final = 1 << 16
BATCH: Final = 1 << 20


def encode_kmeans(job: Job) -> Coded:
    """Code a job by the nearest entry of a book that is learned from each group.

    Raises
    ------
    BitlatheError
        Raised if books have more entries than groups elements, or an entry does not fit.
    """
    from ..kernels.base.threads import on_rows
    from ..kernels.searches.clusters import best_means, nearest_entries

    scale, (count, size) = _scale_of(job.scheme), job.groups.shape
    entries = job.scheme.scales_per_group
    if size < entries:
        raise BitlatheError(
            f"{job.scheme}: a book of {entries} entries is larger than the group of {size} "
            "element(s) that it is learned from; take longer groups, or fewer bits"
        )
    means = np.zeros((count, entries))
    codes = np.zeros((count, size), np.uint8)
    for part in job.slices(BATCH):
        x, weights = _sorted(job, part)
        on_rows(best_means, (x, weights, means[part]), (), x.shape[1] * means.shape[1] * 16)
    fit = scale.fits_signed(means).all(axis=1)
    if not fit.all():
        at = int(np.argmin(fit))
        scale.refuse(at, float(np.abs(means[at]).max()))
    raw = scale.store_signed(means)
    books = np.sort(scale.read_signed(raw), axis=1)
    raw = scale.store_signed(books)
    for part in job.slices(BATCH):
        wide = np.ascontiguousarray(job.groups[part], np.float64)
        on_rows(nearest_entries, (wide, books[part], codes[part]), (), size * means.shape[1])
    return job.coded(job.layout.join(codes), raw)


def _sorted(job: Job, part: slice) -> tuple[Floats, Floats]:
    """Return the ascending elements of some groups and their weights; long groups shortened."""
    x = job.groups[part].astype(np.float64)
    given = job.kernel_weights()[part]
    weights = given.astype(np.float64) if given.shape[1] else np.ones_like(x)
    weights[weights.sum(axis=1) == 0] = 1  # nothing says which elements matter
    if x.shape[1] > LONGEST:
        both = [_joined(*row) for row in zip(x, weights, strict=True)]
        return np.stack([b[0] for b in both]), np.stack([b[1] for b in both])
    order = np.argsort(x, axis=1, kind="stable")
    x, weights = np.take_along_axis(x, order, 1), np.take_along_axis(weights, order, 1)
    return np.ascontiguousarray(x), np.ascontiguousarray(weights)


def _joined(x: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return the means and weights of the elements in each of `LONGEST` equal parts of the range.

    Clusters are then cut between parts only. Parts without elements weigh 0.
    """
    low, high = float(x.min()), float(x.max())
    width = (high - low) / LONGEST or 1.0
    place = np.minimum(((x - low) / width).astype(np.int64), LONGEST - 1)
    weight: Floats = np.bincount(place, weights, LONGEST).astype(np.float64)
    total: Floats = np.bincount(place, weights * (x - low), LONGEST).astype(np.float64)
    middles = (np.arange(LONGEST) + 0.5) * width
    mean = np.divide(total, weight, out=middles, where=weight > 0)
    return low + mean, weight


def _scale_of(scheme: Scheme) -> FloatScale:
    """Return the record that stores the entries of a scheme."""
    scale = scheme.scale_format
    assert isinstance(scale, FloatScale)  # the rules of schemes say so
    return scale


def _books(coded: Coded) -> Floats:
    """Return the (groups, entries) books; see `Coder.scales`."""
    return _scale_of(coded.scheme).read_signed(coded.scales)


def _values(_: Coded, codes: Codes, books: Floats, dtype: np.dtype[Any]) -> Floats:
    """Return what codes stand for; see `Coder.values`."""
    return np.asarray(np.take_along_axis(books, codes.astype(np.intp), axis=1).astype(dtype))


def _tables(coded: Coded, books: Floats, dtype: np.dtype[Any]) -> Tables:
    """Return a table for each group, its book; see `Coder.tables`."""
    groups: int = coded.layout.groups
    every: NDArray[np.int64] = np.arange(groups)
    return Tables(tables=books.astype(dtype), scales=np.ones(groups, dtype), choices=every)


def _ends(_: Scheme) -> tuple[float, float]:
    """Return the largest entry, in entries: 1, in magnitude and in steps."""
    return 1.0, 1.0


KMEANS: Final = Coder(
    encode=encode_kmeans,
    scales=_books,
    values=_values,
    tables=_tables,
    integers=None,
    ends=_ends,
    own_rounding=True,
    measures_outputs=False,
    searches=True,
)
