"""Groups of any codebook, or of the best of several: scale, search, codes, values.

A single book is worked through in runs of groups that stay in the cache: divide by the scales,
look up, multiply by the scales, each a plain loop that fills the vector registers. The look-up is
a chain of selects for short books, a table for long ones.

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

from .intrinsics import (
    LOOSE_RUN,
    add_loosely,
    exact_error,
    float_bits,
    lookup,
    nearer_square,
    nearest,
)
from .longbook import table_kernel
from .scaling import (
    GIVEN,
    RUN,
    absmax,
    clear_winner,
    divide_groups,
    divisor,
    multiply_groups,
    stored_scale,
)
from .tables import Book, cuts_of, error_margin, grid_table

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
def book_write(x: Any, s: Any, book: Any, codes: Any, deq: Any) -> None:
    """Write codes and values of one group; a negative value that rounds to 0 gets the -0 code."""
    cuts, values, labels, _top, zero, negative_zero = book
    d = divisor(s)
    for i in range(x.size):
        y = x[i] / d
        code = lookup(y, cuts, labels)
        value = lookup(y, cuts, values)
        minus = (code == zero) & (float_bits(y) >= np.uint32(0x80000000)) & (s > 0)
        codes[i] = negative_zero if minus else code
        deq[i] = (-value if minus & (zero != negative_zero) else value) * s


@njit(nogil=True)
def write_scaled(y: Any, book: Any, codes: Any, values: Any) -> None:
    """Write codes and values, as yet without scale, of values already divided by theirs."""
    cuts, grid, labels, _top, zero, negative_zero = book
    for i in range(y.size):
        code = lookup(y[i], cuts, labels)
        value = lookup(y[i], cuts, grid)
        minus = (code == zero) & (float_bits(y[i]) >= np.uint32(0x80000000))
        codes[i] = negative_zero if minus else code
        values[i] = -value if minus & (zero != negative_zero) else value


def _errors(x: Any, m: Any, mode: Any, books: Any, errors: Any, scales: Any, at: Any) -> None:
    raise NotImplementedError("compiled only")


def _write(x: Any, s: Any, choice: Any, books: Any, codes: Any, deq: Any) -> None:
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
def _write_overload(
    x: Any, s: Any, choice: Any, books: Any, codes: Any, deq: Any
) -> Callable[..., None]:
    if len(books) == 1:

        def last(x: Any, s: Any, choice: Any, books: Any, codes: Any, deq: Any) -> None:
            book_write(x, s, books[0], codes, deq)

        return last

    def more(x: Any, s: Any, choice: Any, books: Any, codes: Any, deq: Any) -> None:
        if choice == 0:
            book_write(x, s, books[0], codes, deq)
        else:
            _write(x, s, choice - 1, books[1:], codes, deq)

    return more


def _constants(books: tuple[Book, ...]) -> tuple[Any, ...]:
    return tuple((b.cuts, b.values, b.codes, b.top, b.zero, b.negative_zero) for b in books)


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
    """Compile the search among ``books``; their numbers become constants of the machine code.

    The kernel takes ``(x, group, mode, codes, scales, choices, deq)``: x float32 (rows, k),
    codes uint8 and deq float32 like x, scales float32 and choices uint8 (rows, groups).
    """
    tables = _constants(books)
    count = len(books)
    halves = tuple((b.top, fold(b.values)) for b in books)
    margin = max(error_margin(b.values, LOOSE_RUN) for b in books)

    @njit(nogil=True, cache=True)
    def kernel(
        x: Any, group: int, mode: int, codes: Any, scales: Any, choices: Any, deq: Any
    ) -> None:
        rows, k = x.shape
        wide = np.zeros(group, np.float64)
        errors = np.zeros(count, np.float64)
        trial = np.zeros(count, np.float32)
        for r in range(rows):
            for g in range(scales.shape[1]):
                a = g * group
                b = min(k, a + group)
                xs, cs, ds = x[r, a:b], codes[r, a:b], deq[r, a:b]
                m = absmax(xs)
                _errors(xs, m, mode, halves, errors, trial, 0)
                choice = clear_winner(errors, margin)
                if choice < 0:
                    least = np.inf
                    choice = 0
                    for c in range(count):
                        _write(xs, trial[c], c, tables, cs, ds)
                        error = exact_error(xs, ds, wide)
                        if error < least:
                            least = error
                            choice = c
                _write(xs, trial[choice], choice, tables, cs, ds)
                scales[r, g] = trial[choice]
                choices[r, g] = choice

    return kernel


@cache
def single_kernel(book: Book) -> Callable[..., None]:
    """Return the coding of groups with one book: ``(x, group, mode, codes, scales, deq)``.

    Under the mode `GIVEN`, ``scales`` is read, not written.
    """
    if len(book.values) > CHAIN_MAX:
        return table_kernel(book)
    table = _constants((book,))[0]
    top = book.top

    @njit(nogil=True, cache=True)
    def kernel(x: Any, group: int, mode: int, codes: Any, scales: Any, deq: Any) -> None:
        rows, k = x.shape
        width = max(1, RUN // group) * group
        scratch = np.empty(width, np.float32)
        for r in range(rows):
            for base in range(0, k, width):
                end, first = min(k, base + width), base // group
                y = scratch[: end - base]
                divide_groups(x[r, base:end], group, top, mode, scales[r, first:], y)
                write_scaled(y, table, codes[r, base:end], deq[r, base:end])
                multiply_groups(deq[r, base:end], group, scales[r, first:])

    return kernel


@cache
def given_kernel(books: tuple[Book, ...]) -> Callable[..., None]:
    """Return the coding under given scales: ``(x, group, scales, choices, codes, deq)``."""
    if len(books) == 1:
        single = single_kernel(books[0])
        return lambda x, group, scales, _choices, codes, deq: single(
            x, group, GIVEN, codes, scales, deq
        )
    tables = _constants(books)

    @njit(nogil=True, cache=True)
    def kernel(x: Any, group: int, scales: Any, choices: Any, codes: Any, deq: Any) -> None:
        rows, k = x.shape
        for r in range(rows):
            for g in range(scales.shape[1]):
                a = g * group
                b = min(k, a + group)
                _write(x[r, a:b], scales[r, g], choices[r, g], tables, codes[r, a:b], deq[r, a:b])

    return kernel
