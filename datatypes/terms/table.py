"""Bit-serial terms: every value of a format as a short sum of signed powers of two.

A bit-serial processing element multiplies an activation by one *term* of the weight per clock:

    term = (-1)**sign * man * 2**exp * 2**bsig,   exp in 0..3, bsig in 0..6, man 0 or 1

``bsig`` (bit significance) is shared by all lanes of a clock, so it belongs to the clock and not to
the weight: a format has one *schedule* of significances, and every one of its values is written
with one term per entry of that schedule. The length of the schedule is the number of clocks per
chunk, a property of the format.

Three rules make a schedule, chosen by the grid of values and never by a name:

========= ===================================== =================================================
rule      grids                                 terms
========= ===================================== =================================================
`booth`   contiguous integers (INT2..INT9)      radix-4 Booth digits, lowest first; the digit of
                                                weight 4**i sits at bsig 2i, exp 1 when it is +-2
`two_bit` subsets of BitMoD's FP3 and FP4 types lowest set bit at bsig 0, the other one at bsig 1;
                                                a lone bit at bsig 0, except 16 (bsig 1, exp 3)
`minimal` every other grid                      the shortest schedule, first in lexicographic
                                                order, that reaches all values; per value the
                                                fewest non-zero terms
========= ===================================== =================================================

A grid whose values are not integers is first written as integers times a power of two, the
``unit``. If that needs more than the ten bit positions that exp <= 3 and bsig <= 6 reach (NF4,
FP8), the values are rounded to a fixed point of ``fixed_bits`` bits and the table says
``exact=False`` with the largest rounding error.

Sources: BitMoD (arXiv 2411.11745) for the term and for the FP3 and FP4 rule; Booth (1951) and
MacSorley (1961) for the radix-4 recoding.
"""

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from ..base.errors import BitlatheError
from .schedule import Int8Array, TermSchedule, schedule_of_grid, term_rows
from .term import MAX_BSIG, MAX_EXP, Term

MAX_BITS = 8
FIXED_BITS = 8
Int64Array = npt.NDArray[np.int64]


@runtime_checkable
class FormatLike(Protocol):
    """What the functions here need of a format: its width and its values by code."""

    @property
    def bits(self) -> int:
        """Width of a code, in bits."""

    @property
    def values(self) -> Any:
        """Values in code order; NaN and infinity mark codes that stand for no number."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TermTable:
    """Terms of every code of a format.

    Parameters
    ----------
    schedule : TermSchedule
        Rule and significances, shared by all codes.
    unit : float
        Value of one step of the integer grid (a power of two).
    grid : (codes,) ndarray of int64
        Integer that the PE is fed for each code; 0 for codes without a number.
    valid : (codes,) ndarray of bool
        False for NaN and infinity.
    sign, exp, man : (codes, terms) ndarray of int8
        Fields of each term; ``man`` is 0 for a zero term, and then so are the others.
    exact : bool
        Whether ``grid * unit`` equals the values; False after rounding to fixed point.
    max_error : float
        Largest ``abs(grid * unit - value)``.
    """

    schedule: TermSchedule
    unit: float
    grid: Int64Array
    valid: npt.NDArray[np.bool_]
    sign: Int8Array
    exp: Int8Array
    man: Int8Array
    exact: bool
    max_error: float

    @property
    def count(self) -> int:
        """Terms per weight."""
        return self.schedule.count

    @cached_property
    def bsig(self) -> Int8Array:
        """(terms,) significance of each clock."""
        return np.array(self.schedule.bsig, dtype=np.int8)

    @cached_property
    def nonzero(self) -> Int64Array:
        """(codes,) number of non-zero terms of each code."""
        return np.asarray(self.man.sum(axis=1), dtype=np.int64)

    def terms(self, code: int) -> tuple[Term, ...]:
        """Return the non-zero terms of a code, lowest clock first.

        Raises
        ------
        BitlatheError
            Raised if the code does not exist, or stands for NaN or infinity.
        """
        if not 0 <= code < len(self.grid):
            raise BitlatheError(f"code {code} does not exist; codes are 0..{len(self.grid) - 1}")
        if not self.valid[code]:
            raise BitlatheError(f"code {code} stands for NaN or infinity, which has no terms")
        row = zip(self.sign[code], self.exp[code], self.man[code], self.schedule.bsig, strict=True)
        return tuple(Term(int(s), int(e), b) for s, e, m, b in row if m)


def _power_of_two_unit(values: npt.NDArray[np.float64]) -> float:
    """Largest power of two of which every value is an integer multiple."""
    nonzero = values[values != 0]
    if not len(nonzero):
        return 1.0
    mantissa, exponent = np.frexp(nonzero)
    whole = np.ldexp(mantissa, 53).astype(np.int64)
    lowest = np.log2((whole & -whole).astype(np.float64)).astype(np.int64)
    return float(np.ldexp(1.0, int((exponent - 53 + lowest).min())))


def _integer_grid(
    values: npt.NDArray[np.float64], fixed_bits: int, max_bsig: int
) -> tuple[float, Int64Array, bool]:
    """Return (unit, integers, exact) of finite values."""
    unit = _power_of_two_unit(values)
    largest = float(np.abs(values).max(initial=0.0))
    fits = largest / unit < 2.0 ** min(MAX_EXP + max_bsig + 1, 53)
    whole = np.rint(values / unit).astype(np.int64) if fits else np.zeros(0, dtype=np.int64)
    if fits and _schedulable(whole, max_bsig):
        return unit, whole, True
    unit = float(2.0 ** (np.ceil(np.log2(largest)) - (fixed_bits - 1)))
    return unit, np.rint(values / unit).astype(np.int64), False


def _schedulable(whole: Int64Array, max_bsig: int) -> bool:
    try:
        schedule = schedule_of_grid(np.unique(whole).tolist(), max_bsig)
        term_rows(np.unique(whole).tolist(), schedule)
    except BitlatheError:
        return False
    return True


@lru_cache(maxsize=512)
def _term_table(values: tuple[float, ...], fixed_bits: int, max_bsig: int) -> TermTable:
    array = np.array(values, dtype=np.float64)
    valid = np.isfinite(array)
    finite = np.where(valid, array, 0.0)
    unit, grid, exact = _integer_grid(finite, fixed_bits, max_bsig)
    schedule = schedule_of_grid(np.unique(grid[valid]).tolist(), max_bsig)
    sign, exp, man = term_rows(grid.tolist(), schedule)
    for part in (grid, valid, sign, exp, man):
        part.setflags(write=False)
    error = float(np.abs(grid * unit - finite).max(initial=0.0))
    return TermTable(
        schedule=schedule,
        unit=unit,
        grid=grid,
        valid=valid,
        sign=sign,
        exp=exp,
        man=man,
        exact=exact,
        max_error=error,
    )


def term_table(
    values: npt.ArrayLike,
    bits: int | None = None,
    *,
    fixed_bits: int = FIXED_BITS,
    max_bsig: int = MAX_BSIG,
) -> TermTable:
    """Terms of every code of a format, of values rounded to a fixed point where they must be.

    A bit-serial PE reaches ten bit positions. A format that spans more (NF4, FP8, E8M0) is
    rounded: ``exact`` is then False and ``max_error`` the largest change, up to half a ``unit``;
    values below half a unit come out as 0, without terms.

    Parameters
    ----------
    values : (codes,) array_like of float
        Values in code order. NaN and infinity are codes without terms.
    bits : int, optional
        Width of a code; formats wider than 8 bits are not weights of a bit-serial PE.
    fixed_bits : int
        Width, in bits with the sign, of the fixed point that values are rounded to (nearest even)
        when they do not fit the term range; the unit is then the power of two for which the
        largest magnitude lies in (2**(fixed_bits-2), 2**(fixed_bits-1)].
    max_bsig : int
        Largest significance; 6 in the published PE. FP8 E4M3 is exact from 16 on.

    Raises
    ------
    BitlatheError
        Raised if the format is wider than 8 bits, has no codes or no finite value, or if
        `fixed_bits` is not 2..10 or `max_bsig` not 0..24.

    Examples
    --------
    >>> table = term_table([0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0])
    >>> table.unit, table.count, table.grid.tolist()
    (0.5, 2, [0, 1, 2, 3, 4, 6, 8, 12])
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0 or not np.isfinite(array).any():
        raise BitlatheError(
            f"values: a list of one or more codes with a finite value is needed, "
            f"got shape {array.shape}"
        )
    width = (array.size - 1).bit_length() if bits is None else bits
    if width > MAX_BITS:
        raise BitlatheError(
            f"a format of {width} bits has no bit-serial terms; weights of at most {MAX_BITS} bits "
            "do. Quantize to one of those, or use a floating-point PE."
        )
    if not 2 <= fixed_bits <= 10:
        raise BitlatheError(f"fixed_bits must be 2..10, got {fixed_bits}")
    if not 0 <= max_bsig <= 24:
        raise BitlatheError(f"max_bsig must be 0..24, got {max_bsig}")
    # one NaN object, since the cache compares NaNs by identity
    values_key = tuple(math.nan if math.isnan(v) else v for v in array.tolist())
    return _term_table(values_key, fixed_bits, max_bsig)


def term_count(values: "npt.ArrayLike | FormatLike", bits: int | None = None) -> int:
    """Terms per weight (clocks per chunk) of a format or of its values.

    Examples
    --------
    >>> term_count(range(-128, 128))
    4
    """
    if isinstance(values, FormatLike):
        return term_table(values.values, values.bits).count
    return term_table(values, bits).count


def terms_of_format(fmt: FormatLike) -> tuple[tuple[Term, ...], ...]:
    """Return the non-zero terms of each code of a format; empty for codes without a number.

    Those of values rounded to a fixed point where `term_table` says ``exact=False``.
    """
    table = term_table(fmt.values, fmt.bits)
    return tuple(table.terms(c) if table.valid[c] else () for c in range(len(table.grid)))


def integer_term_count(low: int, high: int) -> int:
    """Booth terms of the integers ``low..high``, such as codes minus their zero point.

    Raises
    ------
    BitlatheError
        Raised if ``low`` is above ``high``.

    Examples
    --------
    >>> integer_term_count(-15, 15)
    3
    """
    if low > high:
        raise BitlatheError(f"an integer range runs upwards, got {low}..{high}")
    width = max((-low - 1).bit_length() if low < 0 else 0, max(high, 0).bit_length()) + 1
    return (width + 1) // 2
