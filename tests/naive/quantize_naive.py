"""Quantization element by element, in plain Python loops over numpy scalars.

Shares no code with the package. Comparisons of values go through exact fractions.
"""

from fractions import Fraction
from functools import lru_cache
from math import floor, inf, isnan, lcm

import numpy as np

f32 = np.float32


def nearest(y, values, codes):
    """Code of the value nearest a float32, ties to the even code, between equals toward zero."""
    best = None
    if not np.isfinite(y):
        pick = max(values) if y > 0 else min(values)
        return next(c for v, c in zip(values, codes, strict=True) if v == pick)
    n, d = float(y).as_integer_ratio()
    whole, wholes = times_denominator(tuple(values))
    for v, w, c in zip(values, wholes, codes, strict=True):
        key = (abs(w * d - n * whole), c % 2, abs(v))  # the distance times d and the denominator
        if best is None or key < best[0]:
            best = (key, c)
    return best[1]


@lru_cache(maxsize=64)
def times_denominator(values):
    """The common denominator of some values, and each times that: quicker than fractions."""
    exact = [Fraction(v) for v in values]
    whole = lcm(*(v.denominator for v in exact))
    return whole, [int(v * whole) for v in exact]


def half(v):
    with np.errstate(over="ignore", under="ignore"):
        return f32(np.float16(v))


def scale_for(amax, top, scale):
    s = f32(amax) / f32(top)
    if scale == "fp16" and s > 0:
        return max(half(s), f32(2.0**-24))
    return s


def split(row, group):
    return [row[a : a + group] for a in range(0, len(row), group)]


def code_group(x, values, codes, s, negative_zero=None):
    """Codes and values of one group on one grid under one scale."""
    table = {c: f32(v) for v, c in zip(values, codes, strict=True)}
    found, back = [], []
    for v in x:
        y = v / s if s > 0 else f32(0)
        c = nearest(y, values, codes)
        value = table[c]
        if negative_zero is not None and value == 0 and np.signbit(y) and s > 0:
            c, value = negative_zero, f32(-0.0)
        found.append(c)
        back.append(value * s)
    return found, back


def search(x, grids, group, scale="fp32"):
    """Best of several grids, each (values, codes), for each group of each row."""
    rows = []
    for row in x:
        out = []
        for part in split(row, min(group, max(len(row), 1))):
            amax = max(abs(v) for v in part)
            best = None
            for choice, (values, codes) in enumerate(grids):
                s = scale_for(amax, max(abs(v) for v in values), scale)
                found, back = code_group(part, values, codes, s)
                error = Fraction(0)
                for a, b in zip(part, back, strict=True):
                    error += Fraction(float(f32(a - b))) ** 2
                if best is None or error < best[0]:
                    best = (error, found, back, s, choice)
            out.append(best[1:])
        rows.append(out)
    return rows


def symmetric(x, bits, group, scale="fp32"):
    top = 2 ** (bits - 1) - 1
    rows = []
    for row in x:
        out = []
        for part in split(row, group):
            s = scale_for(max(abs(v) for v in part), top, scale)
            q = [int(clamp(nearest_int(v / s if s > 0 else f32(0)), -top, top)) for v in part]
            out.append(([n % 2**bits for n in q], [f32(n) * s for n in q], s))
        rows.append(out)
    return rows


def asymmetric(x, bits, group, scale="fp32"):
    top = 2**bits - 1
    rows = []
    for row in x:
        out = []
        for part in split(row, group):
            low, high = min(f32(0), *part), max(f32(0), *part)
            s = scale_for(high - low, top, scale)
            z = int(clamp(nearest_int(-low / s if s > 0 else f32(0)), 0, top))
            q = [int(clamp(nearest_int(v / s if s > 0 else f32(0)) + z, 0, top)) for v in part]
            out.append((q, [f32(n - z) * s for n in q], s, z))
        rows.append(out)
    return rows


def nearest_int(y):
    return round(Fraction(float(y))) if np.isfinite(y) else (10**9 if y > 0 else -(10**9))


def clamp(v, low, high):
    return min(max(v, low), high)


def floor_log2(v):
    """Floor of log2 of a positive fraction, by counting."""
    n = 0
    while Fraction(2) ** (n + 1) <= v:
        n += 1
    while Fraction(2) ** n > v:
        n -= 1
    return n


def block_exponent(amax, largest, mantissa_bits, rule):
    if amax == 0:
        return -127
    a, top = Fraction(float(amax)), Fraction(largest)
    ea, et = floor_log2(a), floor_log2(top)
    if rule == "ceil":
        ea += a != Fraction(2) ** ea
    elif rule == "even":
        step = Fraction(2) ** (ea - mantissa_bits)
        rounded = floor(a / step + Fraction(1, 2)) * step
        ea = floor_log2(rounded)
    elif rule == "rceil":
        ea += a / Fraction(2) ** ea > top / Fraction(2) ** et
    return clamp(ea - et, -127, 127)


def mx(x, values, codes, negative_zero, largest, mantissa_bits, group, rule):
    rows = []
    for row in x:
        out = []
        for part in split(row, group):
            e = block_exponent(max(abs(v) for v in part), largest, mantissa_bits, rule)
            s = np.ldexp(f32(1), e)
            found, back = code_group(part, values, codes, s, negative_zero)
            out.append((found, back, e + 127))
        rows.append(out)
    return rows


def float_values(e, m, bias):
    """Magnitude of every code of a float without special codes."""
    out = []
    for code in range(2 ** (e + m)):
        exponent, mantissa = divmod(code, 2**m)
        if exponent == 0:
            out.append(mantissa * 2.0 ** (1 - bias - m))
        else:
            out.append((2**m + mantissa) * 2.0 ** (exponent - bias - m))
    return out


def cast(v, magnitudes, sign, over, edge, nan):
    """Code of one float32: magnitudes are the finite ones; edge the first value that is over."""
    s = sign if np.signbit(v) else 0
    if isnan(v):
        return nan | s
    a = abs(float(v))
    if a >= edge:
        return over | s
    if a == inf:
        return (len(magnitudes) - 1) | s
    return nearest(f32(a), magnitudes, range(len(magnitudes))) | s


def pack(codes, bits):
    """Packed bytes through one big integer."""
    whole = sum((int(c) & (2**bits - 1)) << (i * bits) for i, c in enumerate(codes))
    return list(whole.to_bytes((len(codes) * bits + 7) // 8, "little"))
