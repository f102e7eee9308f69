"""Bit-serial terms, and the rules by which one integer is written with them."""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from ..base.errors import BitlatheError

MAX_EXP = 3
MAX_BSIG = 6


class Term(NamedTuple):
    """One non-zero term, worth ``(-1)**sign * 2**exp * 2**bsig`` units."""

    sign: int
    exp: int
    bsig: int

    @property
    def value(self) -> int:
        """Integer that the term stands for."""
        return int((-1) ** self.sign) << (self.exp + self.bsig)


def booth_digits(value: int, count: int) -> tuple[int, ...]:
    """Radix-4 Booth digits of an integer, lowest first: ``value = sum(d[i] * 4**i)``.

    Digits are -2..2. Sources: Booth (1951); MacSorley (1961) for radix 4.

    Raises
    ------
    BitlatheError
        Raised if the value does not fit two's complement of ``2 * count`` bits.

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


def booth_schedule(count: int, max_bsig: int) -> tuple[int, ...]:
    """Return the significances of `count` Booth digits."""
    return tuple(min(2 * i, max_bsig) for i in range(count))


def booth_terms(value: int, bsig: Sequence[int]) -> list[Term | None]:
    """Return the Booth digits of an integer as terms, None for zero digits."""
    digits = booth_digits(value, len(bsig))
    return [
        Term(int(d < 0), 2 * i - b + int(abs(d) == 2), b) if d else None
        for i, (d, b) in enumerate(zip(digits, bsig, strict=True))
    ]


def two_bit_terms(value: int) -> list[Term | None]:
    """Return the two set bits of a magnitude as terms, None for a bit that is not there.

    The rule of BitMoD's FP3 and FP4 decoders (arXiv 2411.11745, III-B).

    Raises
    ------
    BitlatheError
        Raised if the magnitude has more than two set bits, is above 24, or has its lower one of
        two bits out of reach of bsig 0.
    """
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


def reaches(bsig: tuple[int, ...], value: int) -> bool:
    """Return whether a schedule of significances can write an integer."""
    mask, offset = _reach(bsig)
    place = value + offset
    return place >= 0 and bool(mask >> place & 1)


@lru_cache(maxsize=65536)
def minimal_terms(value: int, bsig: tuple[int, ...]) -> tuple[Term | None, ...] | None:
    """Fewest non-zero terms of ``value`` on a schedule; None when it is out of reach."""
    if not reaches(bsig, value):
        return None
    if not bsig:
        return ()
    best: tuple[Term | None, ...] | None = None
    fewest = len(bsig) + 1
    for step in (None, *_steps(bsig[0])):
        rest = minimal_terms(value - (step.value if step else 0), bsig[1:])
        if rest is None:
            continue
        used = int(step is not None) + sum(t is not None for t in rest)
        if used < fewest:
            best, fewest = (step, *rest), used
    return best
