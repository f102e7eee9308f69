"""Groups of any codebook, or of the best of several: scale, search, codes, values in one pass.

Candidates are compared by float32 error sums; where those are too close to call, the group is
compared again in float64 in numpy's order of summation. The outcome is that of float64 throughout
at the cost of float32.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import njit
from numba.extending import overload

from .intrinsics import exact_error, float_bits, halving_sum, lookup
from .scaling import absmax, clear_winner, divisor, stored_scale
from .tables import Book


@njit(nogil=True)
def book_error(x: Any, s: Any, cuts: Any, values: Any, e: Any) -> Any:
    """Return the sum of squared errors, in float32, of one group coded with one book."""
    d = divisor(s)
    for i in range(x.size):
        t = lookup(x[i] / d, cuts, values) * s - x[i]
        e[i] = t * t
    n = e.size
    for i in range(x.size, n):
        e[i] = np.float32(0)
    return halving_sum(e, n)


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


def _errors(
    x: Any, m: Any, mode: Any, books: Any, e: Any, errors: Any, scales: Any, at: Any
) -> None:
    raise NotImplementedError("compiled only")


def _write(x: Any, s: Any, choice: Any, books: Any, codes: Any, deq: Any) -> None:
    raise NotImplementedError("compiled only")


# Loops over the tuple of books are written as recursion over its tail, so that each step sees
# the tables of its book as constants.
@overload(_errors)
def _errors_overload(
    x: Any, m: Any, mode: Any, books: Any, e: Any, errors: Any, scales: Any, at: Any
) -> Callable[..., None]:
    if len(books) == 1:

        def last(
            x: Any, m: Any, mode: Any, books: Any, e: Any, errors: Any, scales: Any, at: Any
        ) -> None:
            cuts, values, _labels, top, _zero, _negative_zero = books[0]
            scales[at] = stored_scale(m / top, mode)
            errors[at] = book_error(x, scales[at], cuts, values, e)

        return last

    def more(
        x: Any, m: Any, mode: Any, books: Any, e: Any, errors: Any, scales: Any, at: Any
    ) -> None:
        cuts, values, _labels, top, _zero, _negative_zero = books[0]
        scales[at] = stored_scale(m / top, mode)
        errors[at] = book_error(x, scales[at], cuts, values, e)
        _errors(x, m, mode, books[1:], e, errors, scales, at + 1)

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


@cache
def search_kernel(books: tuple[Book, ...]) -> Callable[..., None]:
    """Compile the search among ``books``; their numbers become constants of the machine code.

    The kernel takes ``(x, group, width, mode, codes, scales, choices, deq)``: x float32
    (rows, k), width the scratch length, codes uint8 and deq float32 like x, scales float32 and
    choices uint8 (rows, groups).
    """
    tables = _constants(books)
    count = len(books)

    @njit(nogil=True, cache=True)
    def kernel(
        x: Any, group: int, width: int, mode: int, codes: Any, scales: Any, choices: Any, deq: Any
    ) -> None:
        rows, k = x.shape
        scratch = np.zeros(width, np.float32)
        wide = np.zeros(group, np.float64)
        errors = np.zeros(count, np.float32)
        trial = np.zeros(count, np.float32)
        for r in range(rows):
            for g in range(scales.shape[1]):
                a = g * group
                b = min(k, a + group)
                xs, cs, ds = x[r, a:b], codes[r, a:b], deq[r, a:b]
                m = absmax(xs)
                _errors(xs, m, mode, tables, scratch, errors, trial, 0)
                choice = clear_winner(errors)
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
    """Compile the coding of groups with one book: ``(x, group, mode, codes, scales, deq)``."""
    table = _constants((book,))[0]
    top = book.top

    @njit(nogil=True, cache=True)
    def kernel(x: Any, group: int, mode: int, codes: Any, scales: Any, deq: Any) -> None:
        rows, k = x.shape
        for r in range(rows):
            for g in range(scales.shape[1]):
                a = g * group
                b = min(k, a + group)
                m = absmax(x[r, a:b])
                s = stored_scale(m / top, mode)
                book_write(x[r, a:b], s, table, codes[r, a:b], deq[r, a:b])
                scales[r, g] = s

    return kernel


@cache
def given_kernel(books: tuple[Book, ...]) -> Callable[..., None]:
    """Compile coding under given scales: ``(x, group, scales, choices, codes, deq)``."""
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
