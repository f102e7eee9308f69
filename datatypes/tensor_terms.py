"""Statistics of the bit-serial terms of a quantised tensor."""

import numpy as np

from .errors import BitlatheError
from .olive import pair_values
from .tensor import QuantizedTensor
from .terms import TermStatistics, term_statistics, term_table


def statistics(q: QuantizedTensor) -> TermStatistics:
    """Count the terms of the integers a bit-serial PE would see.

    With a zero point these are ``code - zero``; for outlier-victim pairs the decoded integers;
    otherwise the codes of each group's own format, rounded to a fixed point where the format
    spans more than a PE holds (``exact`` and ``max_error`` of the result say so).
    """
    if q.scheme.coder == "bcq":
        raise BitlatheError(f"{q.scheme}: sums of signed scales have no bit-serial terms")
    groups = q.layout.split(q.matrix)
    mask = q.layout.mask()
    if q.zero_points is not None:
        top = (1 << q.scheme.element_bits) - 1
        whole = groups.astype(np.int64) - q.zero_points.astype(np.int64)[:, None]
        kept = whole if mask is None else whole[mask]
        return term_statistics(term_table(np.arange(-top, top + 1)), kept + top)
    if q.scheme.coder == "olive":
        values = pair_values(groups, q.scheme.element_bits)
        kept_values = values if mask is None else values[mask]
        grid = np.unique(np.concatenate([kept_values.reshape(-1), [0.0, 1.0]]))
        return term_statistics(term_table(grid), np.searchsorted(grid, kept_values))
    parts = []
    for member, fmt in enumerate(q.scheme.formats):
        mine = np.ones(len(groups), np.bool_) if q.selectors is None else q.selectors == member
        picked = groups[mine] if mask is None else groups[mine][mask[mine]]
        if picked.size:
            parts.append(term_statistics(term_table(fmt.values, fmt.bits), picked))
    if not parts:
        raise BitlatheError("terms: statistics of an empty tensor are undefined")
    return _merged(parts)


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
