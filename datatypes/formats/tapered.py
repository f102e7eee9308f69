"""Formats that round as strings of bits or as logarithms: posits, takums, logarithmic numbers.

Nearest rounding of a posit or takum cuts its infinite string of bits, so that the threshold
between two neighbors is the value whose string is one bit longer; nothing but 0 becomes 0, and
nothing overflows. That of a logarithmic number is half-way between exponents.
"""

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from ..base.numbers import whole_number
from .format import Format
from .grid import MAX_BITS

STANDARD_EXPONENT = 2
POSIT = "Posit Standard (2022), posithub.org"
TAKUM = "Hunhold, Beating Posits at Their Own Game: Takum Arithmetic, arXiv 2404.18603"
HIF8 = "HiFloat8, arXiv 2409.16626"
_DOTS = {"11": 4, "10": 3, "01": 2, "001": 1, "0001": 0}  # bits of the exponent by its prefix
LNS = "Miyashita et al., arXiv 1603.01025; 8 bits: LNS-Madam, arXiv 2106.13914"


def posit_format(
    bits: int, exponent_bits: int = STANDARD_EXPONENT, name: str = "", source: str = POSIT
) -> Format:
    """Make a posit format, rounded as its standard says: ties to the even code.

    Parameters
    ----------
    bits : int
        3..16.
    exponent_bits : int
        0..4; 2 in the standard of 2022, 0 for 8 bits and 1 for 16 before it.
    name, source : str, optional

    Raises
    ------
    BitlatheError
        Raised if a width is out of range.

    Examples
    --------
    >>> posit_format(4).values[:8].tolist()
    [0.0, 0.00390625, 0.0625, 0.25, 1.0, 4.0, 16.0, 256.0]
    """
    whole_number("posit_format: bits", bits, 3, MAX_BITS)
    whole_number("posit_format: exponent_bits", exponent_bits, 0, 4)
    own = "" if exponent_bits == STANDARD_EXPONENT else f"_es{exponent_bits}"

    def value(code: int, width: int) -> float:
        return _posit(code, width, exponent_bits)

    return _tapered(name or f"posit{bits}{own}", bits, value, source)


def takum_format(bits: int, name: str = "", source: str = TAKUM) -> Format:
    """Make a linear takum format, from 2**-239 to 2**239 at 8 bits.

    Parameters
    ----------
    bits : int
        5..16.
    name, source : str, optional

    Raises
    ------
    BitlatheError
        Raised if the width is out of range.

    Examples
    --------
    >>> takum_format(8).values[[63, 64, 72, 80]].tolist()
    [0.9375, 1.0, 2.0, 8.0]
    """
    whole_number("takum_format: bits", bits, 5, MAX_BITS)
    return _tapered(name or f"takum{bits}", bits, _takum, source)


def log_format(
    bits: int, fraction_bits: int, zero: bool = True, name: str = "", source: str = LNS
) -> Format:
    """Make a format of signs and exponents, rounded to the nearest exponent.

    The value of exponent e is the largest float64 that is at most 2 ** (e / 2**fraction_bits);
    ties go to the even code.

    Parameters
    ----------
    bits : int
        2..8.
    fraction_bits : int
        0..4.
    zero : bool
        Whether the code 0 is 0 and exponents start at 1; it takes what is nearer, in exponents, to
        the exponent 0 than to 1. Without, the least magnitude is 1.
    name, source : str, optional

    Raises
    ------
    BitlatheError
        Raised if a width is out of range.

    Examples
    --------
    >>> log_format(3, 0).values.tolist()
    [0.0, 2.0, 4.0, 8.0, nan, -2.0, -4.0, -8.0]
    """
    whole_number("log_format: bits", bits, 2, 8)
    whole_number("log_format: fraction_bits", fraction_bits, 0, 4)
    first, half, parts = int(zero), 1 << (bits - 1), 1 << fraction_bits
    powers = [_root(Fraction(2) ** e, parts)[0] for e in range(first, half)]
    turns = [_root(Fraction(2) ** (2 * e + 1), 2 * parts) for e in range(0, half - 1)]
    values = np.full(2 * half, np.nan)
    values[first:half] = powers
    values[half + first :] = [-v for v in powers]
    if zero:
        values[0] = 0
    upper = [t for t, _ in turns]
    # of a threshold that no float64 is, the float64 below: of a negative one the next further out
    lower = [-t if exact else -np.nextafter(t, np.inf) for t, exact in reversed(turns)]
    between = [] if zero else [0.0]
    ties = [exact for _, exact in turns]
    return Format(
        name=name or f"lns{bits}",
        bits=bits,
        values=values,
        unused=(half,) if zero else (),
        source=source,
        thresholds=np.array([*lower, *between, *upper]),
        ties=np.array([*reversed(ties), *(True for _ in between), *ties]),
    )


def hifloat_format(name: str = "hif8", source: str = HIF8) -> Format:
    """Make HiFloat8: a prefix of the code says how many bits are the exponent, from 4 to none.

    Exponents have a sign and a leading one that is not stored; codes that start with four zeros
    are powers of two from 2**-22 to 2**-16, and 0.

    Examples
    --------
    >>> hifloat_format().values[[1, 7, 8, 9, 110]].tolist()
    [2.384185791015625e-07, 1.52587890625e-05, 1.0, 1.125, 32768.0]
    """
    positive = [_hifloat(code) for code in range(1, 128)]
    values = np.array([0.0, *positive, np.nan, *(-v for v in positive)])
    return Format(name=name, bits=8, values=values, overflow_value=1.5 * 2.0**15, source=source)


def _hifloat(code: int) -> float:
    """Return the value of a positive code of HiFloat8."""
    text = f"{code:07b}"
    if code == 0b1101111:
        return np.inf
    if text.startswith("0000"):
        return 2.0 ** (code - 23)
    dot = next(dot for dot in _DOTS if text.startswith(dot))
    rest, width = text[len(dot) :], _DOTS[dot]
    size = int("1" + rest[1:width], 2) if width else 0
    return _scaled(rest[width:], -size if width and rest[0] == "1" else size)


def _root(square: Fraction, parts: int) -> tuple[float, bool]:
    """Return the largest float64 at most the root of that many parts, and whether it is that."""
    near = float(square) ** (1 / parts)
    while Fraction(near) ** parts > square:
        near = float(np.nextafter(near, -np.inf))
    while Fraction(above := float(np.nextafter(near, np.inf))) ** parts <= square:
        near = above
    return near, Fraction(near) ** parts == square


def _tapered(name: str, bits: int, value: Callable[[int, int], float], source: str) -> Format:
    """Make a format of positive codes, negatives in two's complement, NaR in the code of -0."""
    half = 1 << (bits - 1)
    positive = np.array([value(code, bits) for code in range(1, half)])
    between = np.array([value(2 * code + 1, bits + 1) for code in range(1, half - 1)])
    values = np.zeros(2 * half)
    values[1:half], values[half], values[half + 1 :] = positive, np.nan, -positive[::-1]
    return Format(
        name=name,
        bits=bits,
        values=values,
        overflow_value=np.inf,
        source=source,
        thresholds=np.concatenate([-between[::-1], [0.0, 0.0], between]),
    )


def _posit(code: int, bits: int, exponent_bits: int) -> float:
    """Return the value of a positive posit: regime, exponent, fraction, cut off at its end."""
    text = f"{code:0{bits - 1}b}"
    run = len(text) - len(text.lstrip(text[0]))
    regime = run - 1 if text[0] == "1" else -run
    rest = text[run + 1 :]
    exponent = int((rest + "0" * exponent_bits)[:exponent_bits] or "0", 2)
    return _scaled(rest[exponent_bits:], (regime << exponent_bits) + exponent)


def _takum(code: int, bits: int) -> float:
    """Return the value of a positive takum: direction, regime, characteristic, fraction."""
    text = f"{code:0{bits - 1}b}".ljust(11, "0")
    regime = int(text[1:4], 2)
    if text[0] == "1":
        rest, low = text[4:], (1 << regime) - 1
    else:
        regime = 7 - regime
        rest, low = text[4:], 1 - (2 << regime)
    characteristic = low + int(rest[:regime] or "0", 2)
    return _scaled(rest[regime:], characteristic)


def _scaled(fraction: str, exponent: int) -> float:
    """Return 1.fraction times a power of two."""
    return float(np.ldexp(1 + int(fraction or "0", 2) / (1 << len(fraction)), exponent))
