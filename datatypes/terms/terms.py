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
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import combinations_with_replacement
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from ..base.errors import BitlatheError

MAX_EXP = 3
MAX_BSIG = 6
MAX_BITS = 8
FIXED_BITS = 8
_LONGEST_SEARCH = 5
_SEARCH_BOUND = 1 << 10
# codes counted at once
_PART = 1 << 22

RuleName = Literal["booth", "two_bit", "minimal"]
Rule = RuleName | tuple[int, ...]
Int8Array = npt.NDArray[np.int8]
Int64Array = npt.NDArray[np.int64]

# BitMoD's decoders: basic type, extra resolution and extra asymmetry share one (2411.11745, III-B).
# Magnitudes as integers on the PE's grid: FP3 in units, FP4 doubled.
TWO_BIT_FAMILIES: tuple[frozenset[int], ...] = (
    frozenset({0, 1, 2, 3, 4, 6}),
    frozenset({0, 1, 2, 3, 4, 6, 8, 10, 12, 16}),
)


class Term(NamedTuple):
    """One non-zero term, worth ``(-1)**sign * 2**exp * 2**bsig`` units."""

    sign: int
    exp: int
    bsig: int

    @property
    def value(self) -> int:
        """Integer that the term stands for."""
        return int((-1) ** self.sign) << (self.exp + self.bsig)


@runtime_checkable
class FormatLike(Protocol):
    """What the functions here need of a format: its width and its values by code."""

    @property
    def bits(self) -> int:
        """Width of a code, in bits."""

    @property
    def values(self) -> Any:
        """Values in code order; NaN and infinity mark codes that stand for no number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TermSchedule:
    """How the integers of one grid become terms: the rule, and the significance of each clock."""

    rule: RuleName
    bsig: tuple[int, ...]

    @property
    def count(self) -> int:
        """Terms per weight, that is clocks per chunk."""
        return len(self.bsig)


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
            If the code does not exist or stands for NaN or infinity.
        """
        if not 0 <= code < len(self.grid):
            raise BitlatheError(f"code {code} does not exist; codes are 0..{len(self.grid) - 1}")
        if not self.valid[code]:
            raise BitlatheError(f"code {code} stands for NaN or infinity, which has no terms")
        row = zip(self.sign[code], self.exp[code], self.man[code], self.schedule.bsig, strict=True)
        return tuple(Term(int(s), int(e), b) for s, e, m, b in row if m)


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


def booth_digits(value: int, count: int) -> tuple[int, ...]:
    """Radix-4 Booth digits of an integer, lowest first: ``value = sum(d[i] * 4**i)``.

    The value must fit two's complement of ``2 * count`` bits; digits are -2..2.

    Examples
    --------
    >>> booth_digits(-7, 2)
    (1, -2)
    """
    bound = (1 << (2 * count)) // 2
    if not -bound <= value <= max(bound - 1, 0):
        raise BitlatheError(
            f"{value} does not fit {count} Booth digits, which hold {-bound}..{max(bound - 1, 0)}"
        )
    padded = value << 1  # the bit below the lowest one is 0
    windows = ((padded >> (2 * i)) & 0b111 for i in range(count))
    return tuple((w & 1) + ((w >> 1) & 1) - 2 * (w >> 2) for w in windows)


def _booth_schedule(count: int, max_bsig: int) -> tuple[int, ...]:
    return tuple(min(2 * i, max_bsig) for i in range(count))


def _booth_terms(value: int, bsig: Sequence[int]) -> list[Term | None]:
    digits = booth_digits(value, len(bsig))
    return [
        Term(int(d < 0), 2 * i - b + int(abs(d) == 2), b) if d else None
        for i, (d, b) in enumerate(zip(digits, bsig, strict=True))
    ]


def _two_bit_terms(value: int) -> list[Term | None]:
    magnitude, sign = abs(value), int(value < 0)
    bits = [i for i in range(magnitude.bit_length()) if magnitude >> i & 1]
    terms: list[Term | None] = [None, None]
    if len(bits) > 2 or magnitude > 24 or (len(bits) == 2 and bits[0] > MAX_EXP):
        raise BitlatheError(
            f"{value} has no two-bit form; at most two set bits and a magnitude of 24 are right"
        )
    if bits and bits[0] <= MAX_EXP:
        terms[0] = Term(sign, bits[0], 0)
    if bits and (len(bits) == 2 or terms[0] is None):
        terms[1] = Term(sign, bits[-1] - 1, 1)
    return terms


def _steps(bsig: int) -> list[Term]:
    return [Term(sign, exp, bsig) for exp in range(MAX_EXP + 1) for sign in (0, 1)]


@lru_cache(maxsize=4096)
def _reach(bsig: tuple[int, ...]) -> tuple[int, int]:
    """Set of sums that a schedule reaches, as (mask, offset): bit ``v + offset`` stands for v."""
    if not bsig:
        return 1, 0
    mask, offset = _reach(bsig[1:])
    span = 1 << (MAX_EXP + bsig[0])
    grown = mask << span
    for exp in range(MAX_EXP + 1):
        step = 1 << (exp + bsig[0])
        grown |= mask << (span + step) | mask << (span - step)
    return grown, offset + span


def _reaches(bsig: tuple[int, ...], value: int) -> bool:
    mask, offset = _reach(bsig)
    place = value + offset
    return place >= 0 and bool(mask >> place & 1)


@lru_cache(maxsize=65536)
def _minimal_terms(value: int, bsig: tuple[int, ...]) -> tuple[Term | None, ...] | None:
    """Fewest non-zero terms of ``value`` on a schedule; None when it is out of reach."""
    if not _reaches(bsig, value):
        return None
    if not bsig:
        return ()
    best: tuple[Term | None, ...] | None = None
    fewest = len(bsig) + 1
    for step in (None, *_steps(bsig[0])):
        rest = _minimal_terms(value - (step.value if step else 0), bsig[1:])
        if rest is None:
            continue
        used = int(step is not None) + sum(t is not None for t in rest)
        if used < fewest:
            best, fewest = (step, *rest), used
    return best


@lru_cache(maxsize=256)
def _shortest_schedule(magnitudes: frozenset[int], max_bsig: int) -> tuple[int, ...] | None:
    """First of the shortest schedules that reach all magnitudes; None when five are too few."""
    for count in range(1, _LONGEST_SEARCH + 1):
        for bsig in combinations_with_replacement(range(max_bsig + 1), count):
            if all(_reaches(bsig, m) for m in magnitudes):
                return bsig
    return None


def schedule_of_grid(integers: Iterable[int], max_bsig: int = MAX_BSIG) -> TermSchedule:
    """Choose the rule and the significances for a grid of integers.

    Parameters
    ----------
    integers : iterable of int
        The distinct values on the PE's grid.
    max_bsig : int
        Largest significance the PE can shift by.

    Raises
    ------
    BitlatheError
        If the integers need higher bit positions than ``3 + max_bsig``.

    Examples
    --------
    >>> schedule_of_grid(range(-8, 8)).bsig
    (0, 2)
    >>> schedule_of_grid([0, 1, 2, 3, 4, 6, 8, 12, -16]).rule
    'two_bit'
    """
    grid = frozenset(int(i) for i in integers)
    magnitudes = frozenset(abs(i) for i in grid)
    if max(magnitudes, default=0) == 0:
        return TermSchedule(rule="minimal", bsig=(0,))
    largest = max(magnitudes)
    # A run that starts at 0 (or spans it) is an integer format, the one-sided ones included.
    low, high = min(grid), max(grid)
    width = max((-low - 1).bit_length() if low < 0 else 0, max(high, 0).bit_length()) + 1
    contiguous = len(grid) == high - low + 1 and low <= 0 <= high
    if contiguous and _booth_fits(width, max_bsig):
        bsig = _booth_schedule((width + 1) // 2, max_bsig)
        return TermSchedule(rule="booth", bsig=bsig)
    if any(magnitudes <= family for family in TWO_BIT_FAMILIES):
        return TermSchedule(rule="two_bit", bsig=(0, 1))
    if largest < _SEARCH_BOUND:
        found = _shortest_schedule(magnitudes, max_bsig)
        if found is not None:
            return TermSchedule(rule="minimal", bsig=found)
    width = largest.bit_length() + 1
    if not _booth_fits(width, max_bsig):
        raise BitlatheError(
            f"grid values up to {largest} need bit positions above {MAX_EXP + max_bsig}; "
            f"max_bsig={2 * ((width + 1) // 2) - MAX_EXP + 1} would hold them"
        )
    return TermSchedule(rule="booth", bsig=_booth_schedule((width + 1) // 2, max_bsig))


def _booth_fits(width: int, max_bsig: int) -> bool:
    """Whether the top Booth digit of a two's complement width stays within exp 3 and max_bsig."""
    top = 2 * ((width + 1) // 2 - 1)
    return top - min(top, max_bsig) + 1 <= MAX_EXP


def _slots(value: int, schedule: TermSchedule) -> list[Term | None]:
    """Terms of an integer, one slot per clock, None for a zero term."""
    if schedule.rule == "booth":
        return _booth_terms(value, schedule.bsig)
    if schedule.rule == "two_bit":
        return _two_bit_terms(value)
    found = _minimal_terms(value, schedule.bsig)
    if found is None:
        raise BitlatheError(
            f"{value} is not a sum of one term at each significance of {schedule.bsig}"
        )
    return list(found)


def terms_of_integer(value: int, rule: Rule, count: int | None = None) -> tuple[Term, ...]:
    """Decompose one integer into its non-zero terms, lowest clock first.

    Parameters
    ----------
    value : int
        Integer on the PE's grid.
    rule : {'booth', 'two_bit'} or tuple of int
        Rule, or a schedule of significances for the minimal decomposition.
    count : int, optional
        Number of Booth digits; by default as many as the value needs.

    Examples
    --------
    >>> terms_of_integer(10, "two_bit")
    (Term(sign=0, exp=1, bsig=0), Term(sign=0, exp=2, bsig=1))
    >>> sum(t.value for t in terms_of_integer(-77, "booth", 4))
    -77
    """
    value = int(value)
    if isinstance(rule, tuple):
        schedule = TermSchedule(rule="minimal", bsig=rule)
    elif rule == "booth":
        width = ((-value - 1) if value < 0 else value).bit_length() + 1
        digits = (width + 1) // 2 if count is None else count
        schedule = TermSchedule(rule="booth", bsig=_booth_schedule(digits, MAX_BSIG))
    elif rule == "two_bit":
        schedule = TermSchedule(rule="two_bit", bsig=(0, 1))
    else:
        raise BitlatheError(
            f"rule {rule!r} cannot decompose a lone integer; use 'booth', 'two_bit' or a tuple of "
            "significances"
        )
    return tuple(t for t in _slots(value, schedule) if t is not None)


def term_rows(
    integers: Iterable[int], schedule: TermSchedule
) -> tuple[Int8Array, Int8Array, Int8Array]:
    """Return the (n, terms) fields sign, exp and man of n integers on a schedule."""
    rows = [_slots(int(i), schedule) for i in integers]
    shape = (len(rows), schedule.count)
    sign, exp, man = (np.zeros(shape, dtype=np.int8) for _ in range(3))
    for i, row in enumerate(rows):
        for t, term in enumerate(row):
            if term is not None:
                sign[i, t], exp[i, t], man[i, t] = term.sign, term.exp, 1
    return sign, exp, man


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
        If the format is wider than 8 bits, has no codes or no finite value.

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
            "do. Quantise to one of those, or use a floating-point PE."
        )
    if not 2 <= fixed_bits <= 10:
        raise BitlatheError(f"fixed_bits must be 2..10, got {fixed_bits}")
    if not 0 <= max_bsig <= 24:
        raise BitlatheError(f"max_bsig must be 0..24, got {max_bsig}")
    # one NaN object, since the cache tells NaNs apart by identity
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

    Examples
    --------
    >>> integer_term_count(-15, 15)
    3
    """
    if low > high:
        raise BitlatheError(f"an integer range runs upwards, got {low}..{high}")
    width = max((-low - 1).bit_length() if low < 0 else 0, max(high, 0).bit_length()) + 1
    return (width + 1) // 2


def term_statistics(table: TermTable, codes: npt.ArrayLike) -> TermStatistics:
    """Count the terms of a tensor of codes.

    Parameters
    ----------
    table : TermTable
        Terms by code.
    codes : array_like of int
        Codes of any shape.

    Returns
    -------
    TermStatistics
        ``terms_per_weight`` non-zero terms per weight, ``zero_terms`` share of zero terms,
        ``bit_sparsity`` share of zero bits, ``histogram`` weights by number of non-zero terms.

    Raises
    ------
    BitlatheError
        If there are no codes, or one is out of range or stands for NaN or infinity.
    """
    array = np.asarray(codes)
    if array.size == 0:
        raise BitlatheError("codes: statistics of an empty tensor are undefined; give one or more")
    if array.dtype.kind not in "iu":
        raise BitlatheError(f"codes: integers are needed, got {array.dtype}")
    if int(array.min()) < 0 or int(array.max()) >= len(table.grid):
        raise BitlatheError(f"codes: codes are 0..{len(table.grid) - 1}, got {array.max()}")
    return statistics_of_counts(table, code_counts(array, len(table.grid)))


def code_counts(codes: npt.NDArray[Any], size: int) -> Int64Array:
    """Return how often each code below `size` occurs, counted in parts that stay small."""
    flat, counts = codes.reshape(-1), np.zeros(size, np.int64)
    for start in range(0, flat.size, _PART):
        counts += np.bincount(flat[start : start + _PART].astype(np.int64), minlength=size)
    return counts


def statistics_of_counts(table: TermTable, counts: Int64Array) -> TermStatistics:
    """Return the statistics of a tensor of which each code's count is known; see above."""
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
