"""Groups of one codebook of any length: the cut below a value is found in a table.

The upper 16 bits of a float32 (sign, exponent, 7 bits of mantissa) say between which values of an
ordered book it may lie; what is left, mostly one cut or none, is compared.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from ...base.compiled import compiled
from ..base.intrinsics import float_bits
from ..base.scaling import RUN, divide_groups, restore_groups
from ..base.tables import Book, value_table


def starts_of(cuts: NDArray[np.float32]) -> tuple[NDArray[np.int32], int]:
    """Return by upper half the number of cuts below all its floats, and the most cuts among them.

    Parameters
    ----------
    cuts : (n,) float32
        Ascending, finite.

    Returns
    -------
    starts : (65536,) int32
    steps : int
    """
    halves = np.arange(1 << 16, dtype=np.uint32) << np.uint32(16)
    ends = np.stack([halves, halves | np.uint32(0xFFFF)]).view(np.float32)
    usable = np.isfinite(ends).all(axis=0)
    low, high = np.where(usable, np.sort(ends, axis=0), np.float32(0))
    below = np.searchsorted(cuts, low, side="left")
    among = np.searchsorted(cuts, high, side="left") - below
    return np.where(usable, below, 0).astype(np.int32), int(among.max())


@njit(nogil=True)
def write_found(
    y: Any, starts: Any, steps: int, cuts: Any, labels: Any, places: Any, codes: Any
) -> None:
    """Write the codes of values already divided by their scales."""
    for i in range(y.size):
        places[i] = starts[float_bits(y[i]) >> np.uint32(16)]
    for _ in range(steps):
        for i in range(y.size):
            places[i] += np.int32(y[i] > cuts[places[i]])
    for i in range(y.size):
        codes[i] = np.uint8(labels[places[i]])


@njit(nogil=True)
def mark_minus(y: Any, zero: Any, negative_zero: Any, codes: Any) -> None:
    """Give negative values that were rounded to 0 the code of -0."""
    for i in range(y.size):
        minus = (codes[i] == zero) & (float_bits(y[i]) >= np.uint32(0x80000000))
        codes[i] = negative_zero if minus else codes[i]


@compiled(nogil=True)
def _kernel(x: Any, group: int, facts: Any, book: Any, scales: Any, codes: Any, deq: Any) -> None:
    starts, steps, cuts, table, labels, top, zero, negative_zero = book
    rows, k = x.shape
    width = max(1, RUN // group) * group
    places = np.empty(width, np.int32)
    for r in range(rows):
        for base in range(0, k, width):
            end, first = min(k, base + width), base // group
            cs, values = codes[r, base:end], deq[r, base:end]
            divide_groups(x[r, base:end], group, top, facts[0], scales[r, first:], values)
            write_found(values, starts, steps, cuts, labels, places[: end - base], cs)
            if zero != negative_zero:
                mark_minus(values, zero, negative_zero, cs)
            restore_groups(cs, group, table, scales[r, first:], values)


@cache
def table_kernel(book: Book) -> Callable[..., None]:
    """Return the coding of groups with one book; see `codebook.single_kernel`."""
    cuts = np.array(book.cuts, np.float32)
    starts, steps = starts_of(cuts)
    # nothing lies above the last value
    ended = np.append(cuts, np.float32(np.inf))
    labels, table = np.array(book.codes, np.int32), value_table(book)
    own = (starts, steps, ended, table, labels, book.top, book.zero, book.negative_zero)

    def kernel(x: Any, group: int, facts: Any, scales: Any, _: Any, codes: Any, deq: Any) -> None:
        _kernel(x, group, facts, own, scales, codes, deq)

    return kernel
