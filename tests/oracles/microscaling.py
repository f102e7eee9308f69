"""Microscaled blocks by the text of OCP MX v1.0, in exact fractions; no table, no package code.

A block of values shares a power of two, ``2**e``; each element is a small float or, for INT8, 1.6
fixed point. OCP MX v1.0, section 6.3, takes e = floor(log2 of the largest magnitude) less the
exponent of the element format's largest value. Other rules and roundings are those that
microxcaling ("nearest" is half away from zero, "even", "floor" is toward zero) and torchao (ceil,
even, rceil) name.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import floor

import numpy as np

SCALE_MIN, SCALE_MAX, SCALE_NAN = -127, 127, 255


@dataclass(frozen=True)
class Element:
    """An element format: table 1 of OCP MX v1.0 (`exponent_bits` 0 stands for INT8)."""

    exponent_bits: int
    mantissa_bits: int
    emax: int
    largest: Fraction

    @property
    def bias(self) -> int:
        return 2 ** (self.exponent_bits - 1) - 1


ELEMENTS = {
    "mxfp4": Element(2, 1, 2, Fraction(6)),
    "mxfp6_e2m3": Element(2, 3, 2, Fraction(15, 2)),
    "mxfp6_e3m2": Element(3, 2, 4, Fraction(28)),
    "mxfp8_e4m3": Element(4, 3, 8, Fraction(448)),
    "mxfp8_e5m2": Element(5, 2, 15, Fraction(57344)),
    "mxint8": Element(0, 6, 0, Fraction(127, 64)),
}


def log2_floor(v: Fraction) -> int:
    """Exact floor of log2 of a positive fraction."""
    n = v.numerator.bit_length() - v.denominator.bit_length()
    return n if Fraction(2) ** n <= v else n - 1


def shared_exponent(amax: Fraction, element: Element, rule: str = "floor") -> int:
    if amax == 0:
        return SCALE_MIN
    e = log2_floor(amax)
    if rule == "ceil" and amax > Fraction(2) ** e:
        e += 1
    if rule == "even":
        # the largest magnitude rounded to the mantissa of the format, half upward, comes first
        step = Fraction(2) ** (e - element.mantissa_bits)
        e = log2_floor(floor(amax / step + Fraction(1, 2)) * step)
    e -= element.emax
    if rule == "rceil":
        # the least power of two under which nothing exceeds the largest element
        while amax > element.largest * Fraction(2) ** e:
            e += 1
        while amax <= element.largest * Fraction(2) ** (e - 1):
            e -= 1
    return min(max(e, SCALE_MIN), SCALE_MAX)


def whole(n: Fraction, negative: bool, rounding: str) -> int:
    """Magnitude n, in steps of its binade, as a whole number of steps."""
    low = floor(n)
    rest = n - low
    if rest == 0 or rounding == "truncate":
        return low
    if rounding == "odd":
        return low + 1 - low % 2
    if rest != Fraction(1, 2):
        return low + (rest > Fraction(1, 2))
    up = {
        "even": low % 2 == 1,
        "away": True,
        "zero": False,
        "up": not negative,
        "down": negative,
    }
    return low + up[rounding]


def element_of(
    y: Fraction, negative: bool, element: Element, rounding: str
) -> tuple[int, Fraction]:
    """Code and magnitude of the element nearest a magnitude y; larger ones saturate."""
    m, sign = element.mantissa_bits, element.exponent_bits + element.mantissa_bits
    if element.exponent_bits == 0:
        n = min(whole(y * 2**m, negative, rounding), 127)
        return (-n if negative else n) & 255, Fraction(n, 2**m)
    least = 1 - element.bias
    e = max(log2_floor(y), least) if y else least
    step = Fraction(2) ** (e - m)
    value = min(whole(y / step, negative, rounding) * step, element.largest)
    e = max(log2_floor(value), least) if value else least
    n = int(value / Fraction(2) ** (e - m))
    # without its leading one a normal mantissa lies in the same field as a subnormal one
    code = ((e - least) << m) + n
    return code | (int(negative) << sign), value


def block(
    x: np.ndarray, element: Element, rule: str = "floor", rounding: str = "even"
) -> tuple[int, list[int], list[float]]:
    """Stored scale, codes and values of a block of float32 (all NaN if one is not finite)."""
    if not np.isfinite(x).all():
        return SCALE_NAN, [0] * len(x), [float("nan")] * len(x)
    exact = [Fraction(float(v)) for v in x]
    e = shared_exponent(max(abs(v) for v in exact), element, rule)
    codes, values = [], []
    for v, sign in zip(exact, np.signbit(x), strict=True):
        code, magnitude = element_of(abs(v) / Fraction(2) ** e, bool(sign), element, rounding)
        codes.append(code)
        back = float(magnitude * Fraction(2) ** e)
        values.append(-back if sign and (element.exponent_bits or magnitude) else back)
    return e - SCALE_MIN, codes, values
