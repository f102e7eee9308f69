"""Exact integer arithmetic of counts: quotients rounded up, without fractions on the way."""

from fractions import Fraction


def ceil_div(a: int, b: int) -> int:
    """Return a / b rounded up.

    Examples
    --------
    >>> ceil_div(7, 2), ceil_div(8, 2)
    (4, 4)
    """
    return -(-a // b)


def units_of(count: int, bits: Fraction, unit_bits: int = 8) -> int:
    """Return the bytes (units of ``unit_bits``) that ``count`` elements of ``bits`` bits fill.

    Examples
    --------
    >>> units_of(3, Fraction(17, 4)), units_of(3, Fraction(17, 4), 1)
    (2, 13)
    """
    return -(-count * bits.numerator // (bits.denominator * unit_bits))
