"""Groups of any codebook, or of the best of several: scale, search, codes, values.

A single book is worked through in runs of groups that stay in the cache: divide by the scales,
find the codes, look up what they stand for, each a plain loop. The code of a value is the sum of
the steps it stands above, compared as integers, for short books, and found in a table for long
ones.

Candidates are compared by float32 error sums, elements multiplied by 1 / scale and added in any
order. Where two sums are closer than the bound of `error_margin`, the group is compared again as
it will be written, in float64 in numpy's order: the outcome is that of float64 throughout.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Final

import numpy as np
from numba import njit
from numba.extending import overload

from ...base.compiled import compiled
from ..base.intrinsics import (
    LOOSE_RUN,
    add_loosely,
    label_above,
    nearer_square,
    nearest,
    order,
)
from ..base.lookup import look_up
from ..base.loops import best_of, given_of
from ..base.scaling import (
    RUN,
    divide,
    divide_groups,
    divisor,
    restore_groups,
    stored_scale,
)
from ..base.tables import Book, cuts_of, error_margin, grid_table, ordered_cuts, value_table
from .longbook import table_kernel

# books of more values are looked up in a table
CHAIN_MAX: Final = 32


@njit(nogil=True, forceinline=True)
def run_error(x: Any, s: Any, folded: Any) -> Any:
    """Return the float32 sum of squared errors of values coded with one `folded` book."""
    mirrored, table, others = folded
    inverse = np.float32(1) / divisor(s)
    total = np.float32(0)
    for i in range(x.size):
        y = abs(x[i]) if mirrored else x[i]
        t = nearest(y * inverse, table)[1] * s - y
        total = add_loosely(total, nearer_square(t * t, x[i], s, others))
    return total


@njit(nogil=True, forceinline=True)
def book_error(x: Any, s: Any, folded: Any) -> Any:
    """Return the sum of squared errors of a group, within the bound of `error_margin`."""
    total = 0.0
    for start in range(0, x.size, LOOSE_RUN):
        total += run_error(x[start : start + LOOSE_RUN], s, folded)
    return total


@njit(nogil=True)
def write_labels(values: Any, cuts: Any, labels: Any, wide: Any, codes: Any) -> None:
    """Write the codes of values already divided by their scales.

    ``wide`` is int32 scratch: were codes written at once, the compiler would add steps of 8 bits,
    and convert each comparison to them.
    """
    for i in range(values.size):
        wide[i] = label_above(order(values[i]), cuts, labels)
    for i in range(values.size):
        codes[i] = np.uint8(wide[i])


def _errors(x: Any, m: Any, mode: Any, books: Any, errors: Any, scales: Any, at: Any) -> None:
    raise NotImplementedError("compiled only")


def _write(y: Any, choice: Any, books: Any, wide: Any, codes: Any) -> None:
    raise NotImplementedError("compiled only")


# Loops over the tuple of books are written as recursion over its tail, so that each step sees
# the tables of its book as constants.
@overload(_errors, jit_options={"forceinline": True})
def _errors_overload(
    x: Any, m: Any, mode: Any, books: Any, errors: Any, scales: Any, at: Any
) -> Callable[..., None]:
    if len(books) == 1:

        def last(x: Any, m: Any, mode: Any, books: Any, errors: Any, scales: Any, at: Any) -> None:
            top, folded = books[0]
            scales[at] = stored_scale(m / top, mode)
            errors[at] = book_error(x, scales[at], folded)

        return last

    def more(x: Any, m: Any, mode: Any, books: Any, errors: Any, scales: Any, at: Any) -> None:
        top, folded = books[0]
        scales[at] = stored_scale(m / top, mode)
        errors[at] = book_error(x, scales[at], folded)
        _errors(x, m, mode, books[1:], errors, scales, at + 1)

    return more


@overload(_write)
def _write_overload(y: Any, choice: Any, books: Any, wide: Any, codes: Any) -> Callable[..., None]:
    if len(books) == 1:

        def last(y: Any, choice: Any, books: Any, wide: Any, codes: Any) -> None:
            cuts, labels = books[0]
            write_labels(y, cuts, labels, wide, codes)

        return last

    def more(y: Any, choice: Any, books: Any, wide: Any, codes: Any) -> None:
        if choice == 0:
            cuts, labels = books[0]
            write_labels(y, cuts, labels, wide, codes)
        else:
            _write(y, choice - 1, books[1:], wide, codes)

    return more


def _writer(books: tuple[Book, ...]) -> Callable[..., Any]:
    """Return the writing of a group with one of some books; see `best_of`."""
    written = tuple(ordered_cuts(book) for book in books)
    found = [value_table(book) for book in books]
    width = max(table.size for table in found)
    tables = np.stack([np.pad(table, (0, width - table.size)) for table in found])

    @njit(nogil=True, inline="always")
    def write(x: Any, s: Any, choice: Any, places: Any, codes: Any, deq: Any) -> None:
        divide(x, s, deq)
        _write(deq, choice, written, places, codes)
        look_up(codes, tables[choice], np.float32(0), s, deq)

    return write


def fold(values: tuple[np.float32, ...]) -> tuple[Any, ...]:
    """Return (mirrored, grid table, others) of a book, for the search of nearest values.

    Where most values come with both signs, magnitudes are searched, with half the thresholds,
    and the values of one sign only are ``others``. Ties do not matter: both errors are the same.
    """
    both = sorted({abs(v) for v in values if -v in values})
    others = tuple(v for v in values if -v not in values)
    # a threshold costs a comparison and a selection, another value three operations
    mirrored = len(both) > 1 and 2 * len(both) + 3 * len(others) < 2 * len(values)
    kept = both if mirrored else values
    grid = np.array(kept, np.float64)
    cuts = cuts_of(grid, np.zeros(grid.size - 1, np.bool_))
    table = grid_table(tuple(cuts), tuple(kept), signed=not mirrored)
    return mirrored, table, others if mirrored else ()


@cache
def search_kernel(books: tuple[Book, ...]) -> Callable[..., None]:
    """Compile the search among ``books``, whose numbers become constants; see `best_of`."""
    halves = tuple((b.top, fold(b.values)) for b in books)
    margin = max(error_margin(b.values, LOOSE_RUN) for b in books)

    @njit(nogil=True, inline="always")
    def rough(x: Any, m: Any, mode: Any, errors: Any, scales: Any) -> None:
        _errors(x, m, mode, halves, errors, scales, 0)

    return best_of(len(books), margin, rough, _writer(books))


@cache
def single_kernel(book: Book) -> Callable[..., None]:
    """Return the coding of groups with one book: called as those of `over_groups` are.

    The one fact is the mode of the scales; under `GIVEN` they are read, not written.
    """
    if len(book.values) > CHAIN_MAX:
        return table_kernel(book)
    (cuts, labels), table, top = ordered_cuts(book), value_table(book), book.top

    @compiled(nogil=True)
    def kernel(x: Any, group: int, facts: Any, scales: Any, _: Any, codes: Any, deq: Any) -> None:
        rows, k = x.shape
        width = max(1, RUN // group) * group
        places = np.zeros(width, np.int32)
        for r in range(rows):
            for base in range(0, k, width):
                end, first = min(k, base + width), base // group
                cs, values = codes[r, base:end], deq[r, base:end]
                divide_groups(x[r, base:end], group, top, facts[0], scales[r, first:], values)
                write_labels(values, cuts, labels, places, cs)
                restore_groups(cs, group, table, scales[r, first:], values)

    return kernel


@cache
def given_kernel(books: tuple[Book, ...]) -> Callable[..., None]:
    """Return the coding under given scales and choices; see `given_of`."""
    if len(books) == 1:
        return single_kernel(books[0])
    return given_of(_writer(books))
