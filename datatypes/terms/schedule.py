"""The schedule of a grid of integers: the rule and the significances that write all of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations_with_replacement
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..base.errors import BitlatheError
from .term import (
    MAX_BSIG,
    MAX_EXP,
    Term,
    booth_schedule,
    booth_terms,
    minimal_terms,
    reaches,
    two_bit_terms,
)

_LONGEST_SEARCH = 5
_SEARCH_BOUND = 1 << 10

RuleName = Literal["booth", "two_bit", "minimal"]
Rule = RuleName | tuple[int, ...]
Int8Array = npt.NDArray[np.int8]

# BitMoD's decoders: basic type, extra resolution and extra asymmetry share one (2411.11745, III-B).
# Magnitudes as integers on the PE's grid: FP3 in units, FP4 doubled.
TWO_BIT_FAMILIES: tuple[frozenset[int], ...] = (
    frozenset({0, 1, 2, 3, 4, 6}),
    frozenset({0, 1, 2, 3, 4, 6, 8, 10, 12, 16}),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class TermSchedule:
    """How the integers of one grid become terms: the rule, and the significance of each clock."""

    rule: RuleName
    bsig: tuple[int, ...]

    @property
    def count(self) -> int:
        """Terms per weight, that is clocks per chunk."""
        return len(self.bsig)


@lru_cache(maxsize=256)
def _shortest_schedule(magnitudes: frozenset[int], max_bsig: int) -> tuple[int, ...] | None:
    """First of the shortest schedules that reach all magnitudes; None when five are too few."""
    for count in range(1, _LONGEST_SEARCH + 1):
        for bsig in combinations_with_replacement(range(max_bsig + 1), count):
            if all(reaches(bsig, m) for m in magnitudes):
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
        Raised if the integers need higher bit positions than ``3 + max_bsig``.

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
        bsig = booth_schedule((width + 1) // 2, max_bsig)
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
    return TermSchedule(rule="booth", bsig=booth_schedule((width + 1) // 2, max_bsig))


def _booth_fits(width: int, max_bsig: int) -> bool:
    """Whether the top Booth digit of a two's complement width stays within exp 3 and max_bsig."""
    top = 2 * ((width + 1) // 2 - 1)
    return top - min(top, max_bsig) + 1 <= MAX_EXP


def _slots(value: int, schedule: TermSchedule) -> list[Term | None]:
    """Terms of an integer, one slot per clock, None for a zero term."""
    if schedule.rule == "booth":
        return booth_terms(value, schedule.bsig)
    if schedule.rule == "two_bit":
        return two_bit_terms(value)
    found = minimal_terms(value, schedule.bsig)
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

    Raises
    ------
    BitlatheError
        Raised if the rule is unknown, or cannot write the value.

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
        schedule = TermSchedule(rule="booth", bsig=booth_schedule(digits, MAX_BSIG))
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
