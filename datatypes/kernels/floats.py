"""Small binary floats by arithmetic on bit patterns: casts, microscaled blocks, packed pairs.

For a float format of m mantissa bits whose least normal has the biased float32 exponent f, a
magnitude a with exponent field E lies on a grid of step 2**(max(E, f) - 127 - m). With
n = rint(a / step), its code is ((max(E, f) - f) << m) + n: subnormals, normals and the carry into
the next binade alike.
"""

from typing import Any, Final

import numpy as np
from numba import njit

from .intrinsics import bits_float, float_bits
from .scaling import absmax

CHUNK: Final = 2048
MAGNITUDE: Final = np.uint32(0x7FFFFFFF)
SIGN: Final = np.uint32(0x80000000)
INFINITY: Final = np.uint32(0x7F800000)
MANTISSA: Final = np.uint32(0x007FFFFF)
RULES: Final = {"floor": 0, "ceil": 1, "even": 2, "rceil": 3}


@njit(nogil=True)
def code_of(a: Any, least: Any, m: Any) -> Any:
    """Return the code of the bits ``a`` of a magnitude within the grid, ties to even."""
    e = max(a >> np.uint32(23), least)
    inverse = bits_float((np.uint32(254) - e + m) << np.uint32(23))
    n = np.uint32(np.int32(np.rint(bits_float(a) * inverse)))
    return ((e - least) << m) + n


@njit(nogil=True)
def value_bits(code: Any, m: Any, unit: Any) -> Any:
    """Return the float32 bits of a magnitude code; ``unit`` is 2**(127 - bias)."""
    return float_bits(bits_float(code << (np.uint32(23) - m)) * unit)


@njit(nogil=True, cache=True)
def encode(
    x: Any, least: int, m: int, top: int, limit: int, over: int, nan: int, sign: int, out: Any
) -> None:
    """Cast float32 to codes.

    ``top`` holds the float32 bits of the largest finite value, ``limit`` those of the largest
    magnitude that still rounds to it; what lies beyond gets the code ``over``, NaN gets ``nan``.
    """
    least_, m_, top_ = np.uint32(least), np.uint32(m), np.uint32(top)
    limit_, over_, nan_ = np.uint32(limit), np.uint32(over), np.uint32(nan)
    sign_ = np.uint32(sign)
    for i in range(x.size):
        bits = float_bits(x[i])
        a = bits & MAGNITUDE
        code = code_of(min(a, top_), least_, m_)
        code = over_ if a > limit_ else code
        code = nan_ if a > INFINITY else code
        out[i] = np.uint8(code | (sign_ if bits >= SIGN else np.uint32(0)))


@njit(nogil=True, cache=True)
def decode(
    codes: Any, m: int, unit: np.float32, special: int, inf: int, sign: int, out: Any
) -> None:
    """Cast codes to float32; magnitudes from ``special`` on are NaN, except ``inf``."""
    m_, special_, inf_, sign_ = np.uint32(m), np.uint32(special), np.uint32(inf), np.uint32(sign)
    for i in range(codes.size):
        c = np.uint32(codes[i])
        magnitude = c & (sign_ - np.uint32(1))
        bits = value_bits(magnitude, m_, unit)
        odd = INFINITY if magnitude == inf_ else np.uint32(0x7FC00000)
        bits = odd if magnitude >= special_ else bits
        out[i] = bits_float(bits | (SIGN if c & sign_ else np.uint32(0)))


@njit(nogil=True)
def shared_exponent(amax: Any, top: Any, m: Any, rule: Any) -> Any:
    """Return the block exponent, -127..127, under a named E8M0 rule; all by bit extraction."""
    if amax == 0:
        return np.int32(-127)
    bits, e = float_bits(amax), np.int32(-127)
    if bits < np.uint32(0x00800000):
        bits, e = float_bits(amax * np.float32(2.0**24)), np.int32(-151)
    e += np.int32(bits >> np.uint32(23)) - (np.int32(top >> np.uint32(23)) - np.int32(127))
    mantissa = bits & MANTISSA
    if rule == 1:
        e += np.int32(mantissa > 0)
    elif rule == 2:
        # rounds up to the next power of two at the format's own precision, half upward
        e += np.int32(mantissa >= np.uint32(0x00800000) - (np.uint32(1) << (np.uint32(22) - m)))
    elif rule == 3:
        e += np.int32(mantissa > (top & MANTISSA))
    low: Any = max(e, np.int32(-127))
    return min(low, np.int32(127))


@njit(nogil=True)
def power(e: Any) -> Any:
    """Return 2**e as float32 for -149 <= e <= 127."""
    if e >= -126:
        return bits_float(np.uint32(e + 127) << np.uint32(23))
    return bits_float(np.uint32(1) << np.uint32(e + 149))


@njit(nogil=True, cache=True)
def mx_float(
    x: Any, group: int, least: int, m: int, top: int, unit: np.float32, sign: int, rule: int,
    codes: Any, exponents: Any, deq: Any,
) -> None:  # fmt: skip
    """Code blocks of small floats under a shared power of two (OCP MX v1.0)."""
    rows, k = x.shape
    least_, m_, top_, sign_ = np.uint32(least), np.uint32(m), np.uint32(top), np.uint32(sign)
    for r in range(rows):
        for g in range(exponents.shape[1]):
            a = g * group
            b = min(k, a + group)
            xs, cs, ds = x[r, a:b], codes[r, a:b], deq[r, a:b]
            e = shared_exponent(absmax(xs), top_, m_, rule)
            up, down = power(e), power(-e)
            for i in range(xs.size):
                y = float_bits(xs[i] * down)
                code = code_of(min(y & MAGNITUDE, top_), least_, m_)
                value = value_bits(code, m_, unit) | (y & SIGN)
                cs[i] = np.uint8(code | (sign_ if y >= SIGN else np.uint32(0)))
                ds[i] = bits_float(value) * up
            exponents[r, g] = np.uint8(e + 127)


@njit(nogil=True, cache=True)
def mx_integer(x: Any, group: int, rule: int, codes: Any, exponents: Any, deq: Any) -> None:
    """Code blocks of 1.6 fixed point (-127/64 .. 127/64) under a shared power of two."""
    rows, k = x.shape
    top = float_bits(np.float32(127 / 64))
    for r in range(rows):
        for g in range(exponents.shape[1]):
            a = g * group
            b = min(k, a + group)
            xs, cs, ds = x[r, a:b], codes[r, a:b], deq[r, a:b]
            e = shared_exponent(absmax(xs), top, np.uint32(6), rule)
            up, down = power(e), power(-e)
            for i in range(xs.size):
                y = np.rint(xs[i] * down * np.float32(64))
                q = np.int32(min(max(y, np.float32(-127)), np.float32(127)))
                cs[i] = np.uint8(q & np.int32(255))
                ds[i] = np.float32(q) * np.float32(1 / 64) * up
            exponents[r, g] = np.uint8(e + 127)


@njit(nogil=True, cache=True)
def pack_e2m1(x: Any, out: Any) -> None:
    """Cast float32 to FP4 E2M1 (saturating), two codes a byte, the first in the low half."""
    least, m, top = np.uint32(127), np.uint32(1), np.uint32(0x40C00000)
    scratch = np.zeros(CHUNK, np.uint8)
    for a in range(0, x.size, CHUNK):
        n = min(CHUNK, x.size - a)
        xs = x[a : a + n]
        for i in range(n):
            bits = float_bits(xs[i])
            code = code_of(min(bits & MAGNITUDE, top), least, m)
            scratch[i] = np.uint8(code | (bits >> np.uint32(31) << np.uint32(3)))
        if n % 2:
            scratch[n] = 0
        half = (n + 1) // 2
        target = out[a // 2 : a // 2 + half]
        for i in range(half):
            target[i] = scratch[2 * i] | (scratch[2 * i + 1] << np.uint8(4))


@njit(nogil=True, cache=True)
def unpack_e2m1(packed: Any, out: Any) -> None:
    """Cast packed FP4 E2M1 to float32."""
    unit = np.float32(2.0**126)
    scratch = np.zeros(CHUNK, np.uint8)
    for a in range(0, out.size, CHUNK):
        n = min(CHUNK, out.size - a)
        source = packed[a // 2 : a // 2 + (n + 1) // 2]
        target = out[a : a + n]
        for i in range((n + 1) // 2):
            scratch[2 * i] = source[i] & np.uint8(15)
            scratch[2 * i + 1] = source[i] >> np.uint8(4)
        for i in range(n):
            c = np.uint32(scratch[i])
            magnitude = value_bits(c & np.uint32(7), np.uint32(1), unit)
            target[i] = bits_float(magnitude | (c >> np.uint32(3) << np.uint32(31)))
