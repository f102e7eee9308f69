"""Statistics of the bit-serial terms of a quantized tensor."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError
from ..coding.coded import Coded
from ..coding.coder import Integers
from ..coding.coders import coder_of
from ..terms.statistics import TermStatistics, code_counts, statistics_of_counts
from ..terms.table import term_table

# elements counted at once: the memory taken beside the tensor does not grow with it
PART = 1 << 22
# what a PE is not fed as codes of one table of terms, by coder
_WITHOUT = {
    "bcq": "sums of signed scales",
    "kmeans": "entries of learned books, floats of 16 bits,",
    "offset": "elements beside a minimum",
}


def statistics(coded: Coded) -> TermStatistics:
    """Count the terms of the integers a bit-serial PE would see.

    With a zero point these are ``code - zero``; for outlier-victim pairs the decoded integers;
    otherwise the codes of each group's own format, rounded to a fixed point where the format
    spans more than the ten bit positions of a PE (see ``exact`` and ``max_error`` of the result).

    They are counted in parts, so that the memory taken beside the tensor does not grow with it.

    Raises
    ------
    BitlatheError
        Raised if the tensor is empty, or its coder feeds no integers to a PE.
    """
    integers = coder_of(coded.scheme).integers
    if integers is None:
        kind = _WITHOUT[coded.scheme.coder]
        raise BitlatheError(f"{coded.scheme}: {kind} have no bit-serial terms")
    if coded.layout.groups == 0:
        raise BitlatheError("terms: statistics of an empty tensor are undefined")
    parts = []
    for part in integers(coded):
        values, counts = part.values, _counts(coded, part)
        if part.occurring:
            kept = (counts > 0) | (values == 0) | (values == 1)
            values, counts = values[kept], counts[kept]
        if counts.any():
            parts.append(statistics_of_counts(term_table(values, part.bits), counts))
        if part.bits is None:  # integers as they stand: one kind, and a mean would round again
            return parts[0]
    return _merged(parts)


def _counts(coded: Coded, integers: Integers) -> NDArray[np.int64]:
    """Return how often each of the numbers occurs."""
    size = integers.values.size
    counts = np.zeros(size, np.int64)
    groups, mask = coded.layout.split(coded.codes), coded.layout.mask()
    for part, columns in _parts(*groups.shape):
        found = integers.places(groups[part, columns], part)
        kept = np.ones(found.shape, np.bool_) if mask is None else mask[part, columns]
        if integers.groups is not None:
            kept = kept & integers.groups[part][:, None]
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
