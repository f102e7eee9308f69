"""Statistics of the bit-serial terms of a quantised tensor."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError
from ..coding.job import Codes
from ..coding.olive import Pairs, pair_values
from ..terms.statistics import TermStatistics, code_counts, statistics_of_counts
from ..terms.table import term_table
from .tensor import QuantizedTensor

Ints = NDArray[np.int64]

# elements counted at once: what it takes beside the tensor does not grow with it
PART = 1 << 22


def statistics(q: QuantizedTensor) -> TermStatistics:
    """Count the terms of the integers a bit-serial PE would see.

    With a zero point these are ``code - zero``; for outlier-victim pairs the decoded integers;
    otherwise the codes of each group's own format, rounded to a fixed point where the format
    spans more than a PE holds (``exact`` and ``max_error`` of the result say so).

    Counted in parts of the groups: what it takes beside the tensor does not grow with it.
    """
    if q.scheme.coder == "bcq":
        raise BitlatheError(f"{q.scheme}: sums of signed scales have no bit-serial terms")
    if q.layout.groups == 0:
        raise BitlatheError("terms: statistics of an empty tensor are undefined")
    if q.zero_points is not None:
        return _of_differences(q, q.zero_points)
    if q.scheme.coder == "olive":
        return _of_pairs(q)
    parts = []
    for member, fmt in enumerate(q.scheme.formats):
        size = fmt.values.size
        mine = None if q.selectors is None else q.selectors == member
        counts = _counts(q, size, lambda codes, _: codes, mine)
        if counts.any():
            parts.append(statistics_of_counts(term_table(fmt.values, fmt.bits), counts))
    return _merged(parts)


def _of_differences(q: QuantizedTensor, zeros: NDArray[np.uint8]) -> TermStatistics:
    """Return the statistics of ``code - zero``."""
    top = (1 << q.scheme.element_bits) - 1

    def whole(codes: Codes, part: slice) -> NDArray[np.int16]:
        return codes.astype(np.int16) - zeros[part].astype(np.int16)[:, None] + np.int16(top)

    return statistics_of_counts(
        term_table(np.arange(-top, top + 1)), _counts(q, 2 * top + 1, whole)
    )


def _of_pairs(q: QuantizedTensor) -> TermStatistics:
    """Return the statistics of decoded outlier-victim pairs; the grid is of values that occur."""
    bits = q.scheme.element_bits
    kind = Pairs.of(bits)
    normal = np.arange(-kind.top, kind.top + 1)
    every = np.unique(np.concatenate([normal, kind.levels, -kind.levels]))

    def places(codes: Codes, _: slice) -> Ints:
        return np.searchsorted(every, pair_values(codes, bits))

    counts = _counts(q, every.size, places)
    kept = (counts > 0) | (every == 0) | (every == 1)
    return statistics_of_counts(term_table(every[kept]), counts[kept])


def _counts(
    q: QuantizedTensor,
    size: int,
    numbers: Callable[[Codes, slice], NDArray[np.integer]],
    mine: NDArray[np.bool_] | None = None,
) -> Ints:
    """Return how often each number below `size` occurs.

    Parameters
    ----------
    q : QuantizedTensor
    size : int
    numbers : callable
        Makes numbers of the (n, size) codes of some groups.
    mine : (groups,) bool, optional
        Groups that count.
    """
    counts = np.zeros(size, np.int64)
    groups, mask = q.layout.split(q.matrix), q.layout.mask()
    for part, columns in _parts(*groups.shape):
        found = numbers(groups[part, columns], part)
        kept = np.ones(found.shape, np.bool_) if mask is None else mask[part, columns]
        if mine is not None:
            kept = kept & mine[part][:, None]
        counts += code_counts(found[kept], size)
    return counts


def _parts(groups: int, size: int) -> Iterator[tuple[slice, slice]]:
    """Cut (groups, size) codes into parts of about `PART`, never between the two of a pair."""
    across = max(PART // 2 * 2, 2)
    down = max(1, PART // max(size, 1))
    for start in range(0, groups, down):
        for left in range(0, size, across):
            yield slice(start, start + down), slice(left, left + across)


def _merged(parts: list[TermStatistics]) -> TermStatistics:
    total = sum(p.weights for p in parts)
    width = max(len(p.histogram) for p in parts)
    padded = [p.histogram + (0,) * (width - len(p.histogram)) for p in parts]

    def mean(name: str) -> float:
        return float(sum(getattr(p, name) * p.weights for p in parts) / total)

    return TermStatistics(
        weights=total,
        clocks_per_weight=max(p.clocks_per_weight for p in parts),
        terms_per_weight=mean("terms_per_weight"),
        zero_terms=mean("zero_terms"),
        bit_sparsity=mean("bit_sparsity"),
        histogram=tuple(sum(column) for column in zip(*padded, strict=True)),
        exact=all(p.exact for p in parts),
        max_error=max(p.max_error for p in parts),
    )
