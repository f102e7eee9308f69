"""How many terms the codes of a tensor have."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..base.errors import BitlatheError, unknown_name
from .table import Int64Array, TermTable

DEVICES = ("cpu", "cuda")
# codes counted at once
_PART = 1 << 22


@dataclass(frozen=True, kw_only=True, slots=True)
class TermStatistics:
    """Terms of a tensor of codes.

    ``bit_sparsity`` is the share of zero bits in the binary magnitudes of the grid integers,
    written with the fewest bits that hold the format's largest magnitude. Where ``exact`` is
    False the terms are those of values rounded to a fixed point (see `TermTable`), the largest
    change being ``max_error``: small values count as 0.
    """

    weights: int
    clocks_per_weight: int
    terms_per_weight: float
    zero_terms: float
    bit_sparsity: float
    histogram: tuple[int, ...]
    exact: bool
    max_error: float


def term_statistics(
    table: TermTable, codes: npt.ArrayLike, *, device: str = "cpu"
) -> TermStatistics:
    """Count the terms of a tensor of codes.

    Parameters
    ----------
    table : TermTable
        Terms by code.
    codes : (...) array_like of int
    device : {'cpu', 'cuda'}
        Where codes are counted; the GPU takes codes of up to 8 bits.

    Returns
    -------
    TermStatistics
        ``terms_per_weight`` non-zero terms per weight, ``zero_terms`` share of zero terms,
        ``bit_sparsity`` share of zero bits, ``histogram`` weights by number of non-zero terms.

    Raises
    ------
    BitlatheError
        Raised if there are no codes, or one is out of range or stands for NaN or infinity, or the
        device is unknown or not there.
    """
    array = np.asarray(codes)
    if array.size == 0:
        raise BitlatheError("codes: statistics of an empty tensor are undefined; give one or more")
    if array.dtype.kind not in "iu":
        raise BitlatheError(f"codes: integers are needed, got {array.dtype}")
    if int(array.min()) < 0 or int(array.max()) >= len(table.grid):
        raise BitlatheError(f"codes: codes are 0..{len(table.grid) - 1}, got {array.max()}")
    if device not in DEVICES:
        raise BitlatheError(unknown_name("device", str(device), DEVICES))
    if device == "cuda":
        from ..kernels.cuda.counts import code_counts as on_device

        return statistics_of_counts(table, on_device(array, len(table.grid)))
    return statistics_of_counts(table, code_counts(array, len(table.grid)))


def code_counts(codes: npt.NDArray[Any], size: int) -> Int64Array:
    """Return how often each of (...) codes occurs, as (size,) counts; all codes are below `size`.

    They are counted in parts, so that the memory taken beside the codes stays small.
    """
    flat, counts = codes.reshape(-1), np.zeros(size, np.int64)
    for start in range(0, flat.size, _PART):
        counts += np.bincount(flat[start : start + _PART].astype(np.int64), minlength=size)
    return counts


def statistics_of_counts(table: TermTable, counts: Int64Array) -> TermStatistics:
    """Return the statistics of a tensor of which each code's count is known.

    Parameters
    ----------
    table : TermTable
        Terms by code.
    counts : (codes,) int64
        How often each code occurs.

    Raises
    ------
    BitlatheError
        Raised if a code that stands for NaN or infinity occurs.
    """
    if (counts[~table.valid] > 0).any():
        raise BitlatheError("codes: a code that stands for NaN or infinity has no terms")
    weights = int(counts.sum())
    ones = np.bitwise_count(np.abs(table.grid)).astype(np.int64)
    magnitude_bits = max(int(np.abs(table.grid).max()).bit_length(), 1)
    nonzero = int(counts @ table.nonzero)
    by_count = np.bincount(table.nonzero, weights=counts, minlength=table.count + 1)
    return TermStatistics(
        weights=weights,
        clocks_per_weight=table.count,
        terms_per_weight=nonzero / weights,
        zero_terms=1.0 - nonzero / (weights * table.count),
        bit_sparsity=1.0 - int(counts @ ones) / (weights * magnitude_bits),
        histogram=tuple(int(c) for c in by_count),
        exact=table.exact,
        max_error=table.max_error,
    )
