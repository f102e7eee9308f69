"""Tables as the compiled kernels take them: float32 thresholds with the tie rule in them."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...base.errors import BitlatheError
from ...base.numbers import half_way


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """One codebook, ascending.

    Attributes
    ----------
    cuts : tuple of float32
        One between neighboring values; the upper value is taken where ``y > cut``.
    values : tuple of float32
    codes : tuple of uint8
    top : float32
        Largest magnitude: what the absmax of a group is mapped to.
    zero, negative_zero : uint8
        Code of +0, and the code that negative values rounding to 0 get; equal where there is
        no -0.
    """

    cuts: tuple[np.float32, ...]
    values: tuple[np.float32, ...]
    codes: tuple[np.uint8, ...]
    top: np.float32
    zero: np.uint8
    negative_zero: np.uint8


def floor_float32(c: ArrayLike) -> NDArray[np.float32]:
    """Return the largest float32 that is at most each float64.

    Examples
    --------
    >>> float(floor_float32(0.1)) < 0.1
    True
    """
    exact = np.asarray(c, np.float64)
    near = exact.astype(np.float32)
    return np.asarray(np.where(near > exact, np.nextafter(near, np.float32(-np.inf)), near))


def cuts_of(values: NDArray[np.float64], tie_up: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return (n - 1,) float32 cuts: ``y > cut`` where y is above the exact midpoint.

    Parameters
    ----------
    values : (n,) float64
        Ascending.
    tie_up : (n - 1,) bool
        Whether a y on the midpoint goes to the upper value.
    """
    midpoints, exact = half_way(values)
    cut = floor_float32(midpoints)
    step_down = tie_up & exact & (cut.astype(np.float64) == midpoints)
    return np.asarray(np.where(step_down, np.nextafter(cut, np.float32(-np.inf)), cut))


def make_book(
    values: ArrayLike, codes: ArrayLike, tie_up: ArrayLike, negative_zero: int | None = None
) -> Book:
    """Make a `Book` from ascending values, their codes and the tie rule of each midpoint.

    Parameters
    ----------
    values : (n,) float
        Distinct, ascending, finite.
    codes : (n,) int
        0..255.
    tie_up : (n - 1,) bool
    negative_zero : int, optional
        Code of -0, where there is one.
    """
    v = np.asarray(values, np.float64)
    at_zero = np.asarray(codes)[v == 0]
    zero = int(at_zero[0]) if at_zero.size else 0
    cut = cuts_of(v, np.asarray(tie_up, np.bool_))
    return Book(
        cuts=tuple(np.float32(c) for c in cut),
        values=tuple(np.float32(a) for a in v),
        codes=tuple(np.uint8(c) for c in np.asarray(codes)),
        top=np.float32(np.abs(v).max()),
        zero=np.uint8(zero),
        negative_zero=np.uint8(zero if negative_zero is None else negative_zero),
    )


def ordered_cuts(book: Book) -> tuple[tuple[np.int32, ...], tuple[np.int32, ...]]:
    """Return the cuts of a book in the order of `intrinsics.order`, and the codes between them.

    Where there is a code of -0, another cut stands between -0 and +0. No codes are given where
    they count the cuts.
    """
    cuts = np.array(book.cuts, np.float32) + np.float32(0)  # of zeros, the upper
    bits = cuts.view(np.int32)
    places = [int(place) for place in bits ^ ((bits >> 31) & 0x7FFFFFFF)]
    codes = [int(code) for code in book.codes]
    if book.negative_zero != book.zero:
        at = codes.index(int(book.zero))
        places.insert(at, -1)
        codes.insert(at, int(book.negative_zero))
    counting = codes == list(range(len(codes)))
    return tuple(map(np.int32, places)), () if counting else tuple(map(np.int32, codes))


@cache
def whole_steps(book: Book) -> tuple[Any, ...] | None:
    """Return what codes a grid of equal steps, whose codes are its whole numbers of steps.

    Parameters
    ----------
    book : Book

    Returns
    -------
    tuple or None
        Steps to a unit (float32, a power of two), the lowest and the highest number (float32), the
        bit of the sign (int32; 0 for two's complement and unsigned numbers), the mask of a code
        (int32). None for other grids, and where ties do not go to the even number.

    Examples
    --------
    >>> book = make_book([0, 0.5, 1], [0, 1, 2], [False, True])
    >>> [x.item() for x in whole_steps(book)]
    [2.0, 0.0, 2.0, 0, 3]
    """
    values, codes = np.array(book.values, np.float64), np.array(book.codes, np.int64)
    if len(values) < 2 or 0 not in values:
        return None
    step = values[1] - values[0]
    if np.frexp(step)[0] != 0.5 or not 2.0**-60 < step < 2.0**60:
        return None
    number = np.rint(values / step).astype(np.int64)
    minus = 0 if book.zero == book.negative_zero else int(book.negative_zero)
    mask = (1 << int(codes.max()).bit_length()) - 1
    named = np.abs(number) | np.where(number < 0, minus, 0) if minus else number & mask
    even = cuts_of(values, number[1:] % 2 == 0)
    if (
        not np.array_equal(number * step, values)
        or (np.diff(number) != 1).any()
        or not np.array_equal(named, codes)
        or not np.array_equal(even, np.array(book.cuts))
        or (minus and (number[0] != -number[-1] or number[-1] >= minus))
    ):
        return None
    ends = (np.float32(number[0]), np.float32(number[-1]))
    return np.float32(1 / step), *ends, np.int32(minus), np.int32(mask)


def value_table(book: Book) -> NDArray[np.float32]:
    """Return the (2**n,) values by code; 0 where a code stands for no value."""
    codes = np.array(book.codes, np.int64)
    table = np.zeros(1 << int(max(codes.max(), book.negative_zero)).bit_length(), np.float32)
    if book.negative_zero != book.zero:
        table[book.negative_zero] = np.float32(-0.0)
    table[codes] = book.values
    return table


def error_margin(values: ArrayLike, run: int) -> float:
    """Return how much larger a loose float32 error sum must be to be larger for certain.

    With u = 2**-24: an element is misjudged, for not being divided, only within 3u of a threshold
    c between values a gap g apart, where its squared error differs by less than (40 c/g + 16) u
    of itself, all roundings of products, differences and squares counted. A sum of `run` terms
    in any order adds (run - 1) u. The bound counts twice: either of two sums may be off.

    Parameters
    ----------
    values : (n,) float
        Of the grid, ascending; the thresholds are the midpoints.
    run : int
        Terms added in float32.
    """
    m = np.asarray(values, np.float64)
    steepest = float((np.abs(m[1:] + m[:-1]) / 2 / (m[1:] - m[:-1])).max())
    return 1 + (40 * steepest + 16 + run) * 2.0**-23


def float_grid(magnitudes: ArrayLike) -> tuple[int, int]:
    """Return mantissa bits and the float32 bits of the least normal value of a grid of floats.

    (0, 0) for any other grid, and without mantissa bits: ties of those do not alternate.

    Parameters
    ----------
    magnitudes : (n,) float
        By code, from 0 up.

    Examples
    --------
    >>> float_grid((0, 0.5, 1, 1.5, 2, 3, 4, 6)), float_grid((0, 1, 2, 4))
    ((1, 1065353216), (0, 0))
    """
    m = np.asarray(magnitudes, np.float64)
    if m.size < 2 or m[0] != 0 or np.frexp(m[1])[0] != 0.5 or not 2.0**-60 < m[1] < 2.0**60:
        return 0, 0
    code = np.arange(m.size)
    for bits in range(1, 8):
        binade, rest = code >> bits, code % (1 << bits)
        value = np.where(binade > 0, ((1 << bits) + rest) * 2.0 ** (binade - 1), rest)
        if np.array_equal(value * m[1], m):
            return bits, int(np.float32(m[1] * (1 << bits)).view(np.uint32))
    return 0, 0


def grid_table(
    cuts: tuple[np.float32, ...], values: tuple[np.float32, ...], signed: bool = False
) -> tuple[Any, ...]:
    """Return what `intrinsics.nearest` takes of ascending values and the cuts between.

    Where it may be asked for negative numbers (`signed`), it must not round them as floats.
    """
    places = tuple(np.uint32(i) for i in range(len(values)))
    mantissa_bits, least_normal = (0, 0) if signed else float_grid(values)
    return cuts, values, places, np.uint32(mantissa_bits), np.uint32(least_normal)


def groups_of(k: int, group: int) -> int:
    """Return how many groups a row of ``k`` values has; the last may be short."""
    return -(-k // group) if k else 0


def power_of(value: float) -> int:
    """Return the exponent of the binade of a positive number."""
    return int(np.frexp(value)[1]) - 1


def float_constants(
    exponent_bits: int, mantissa_bits: int, bias: int, largest: float
) -> tuple[int, int, int]:
    """Return the constants that the kernels of small floats take.

    They are the biased float32 exponent of the least normal value, the float32 bits of the largest
    value and the bit of the sign.

    Raises
    ------
    BitlatheError
        Raised if `largest` is not below 2**100.
    """
    if not largest < 2.0**100:
        raise BitlatheError(f"kernels: largest is {largest:g}, must be below 2**100")
    sign = 1 << (exponent_bits + mantissa_bits)
    top = int(np.float32(largest).view(np.uint32))
    return 128 - bias, top, sign


def extended_tables(
    magnitudes: NDArray[np.float64], specials: tuple[float, float], ties: str = "even"
) -> Any:
    """Return cuts and magnitudes of a base grid, and (value, low, high) of two special values.

    A special value is taken where ``low < |y| <= high``, on its side of zero.

    Parameters
    ----------
    magnitudes : (n,) float64
        By code, rising from 0.
    specials : (inner, outer)
        One within the magnitudes and one beyond them.
    ties : {'even', 'zero'}
        To the even code, or toward zero; a tie between two even codes (the special value's code
        is even) goes toward zero.

    Raises
    ------
    BitlatheError
        Raised if the magnitudes do not rise from 0, or a special value lies elsewhere.
    """
    inner, outer = float(specials[0]), float(specials[1])
    count = magnitudes.size
    rising = count > 1 and magnitudes[0] == 0 and bool((np.diff(magnitudes) > 0).all())
    if not rising or not 0 < inner < magnitudes[-1] < outer:
        raise BitlatheError(
            f"bitmod: magnitudes {magnitudes.tolist()} must rise from 0, and the specials "
            f"{specials} lie one within and one beyond them"
        )
    odd = (np.arange(count) % 2 == 1) & (ties == "even")
    cuts = cuts_of(magnitudes, odd[:-1])
    intervals = []
    for v in (inner, outer):
        at = int(np.searchsorted(magnitudes, v))
        # the special value is taken on a tie with an odd neighbor
        low = cuts_of(np.array([magnitudes[at - 1], v]), odd[at - 1 : at])[0]
        high = np.float32(np.inf)
        if at < count:
            high = cuts_of(np.array([v, magnitudes[at]]), np.array([False]))[0]
        intervals.append((np.float32(v), low, high))
    near, far = intervals
    return tuple(cuts), tuple(magnitudes.astype(np.float32)), near, far
