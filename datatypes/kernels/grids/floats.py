"""Small binary floats by arithmetic on bit patterns: casts, microscaled blocks, packed pairs.

For a float format of m mantissa bits whose least normal has the biased float32 exponent f, a
magnitude a with exponent field E lies on a grid of step 2**(max(E, f) - 127 - m). Adding
1.5 * 2**23 steps to a rounds it to that grid, ties to even, and leaves n = a / step in the low bits
of the sum. The code of a is ((max(E, f) - f) << m) + n: subnormals, normals and the carry into the
next binade alike.

numba widens sums of uint32 to 64 bits. Where each operation is narrowed again at once, by ``u32``,
the compiler sees 32-bit lanes; otherwise half of every vector is idle.
"""

from typing import Any, Final

import numpy as np
from numba import njit

from ...base.compiled import compiled
from ..base.intrinsics import bits_float, float_bits
from ..base.loops import over_groups
from ..base.scaling import LANES, absmax

CHUNK: Final = 2048
MAGNITUDE: Final = np.uint32(0x7FFFFFFF)
SIGN: Final = np.uint32(0x80000000)
INFINITY: Final = np.uint32(0x7F800000)
MANTISSA: Final = np.uint32(0x007FFFFF)
HALF: Final = np.uint32(0x00400000)
RULES: Final = {"floor": 0, "ceil": 1, "even": 2, "rceil": 3}
u32 = np.uint32


@njit(nogil=True)
def grid_round(a: Any, least: Any, m: Any) -> Any:
    """Return value and code of the bits ``a`` of a magnitude within the grid, below 2**100."""
    shift = u32(23) - m
    e = max(u32(a & INFINITY), u32(least << u32(23)))
    magic = u32(e + u32((shift << u32(23)) + HALF))
    total = bits_float(a) + bits_float(magic)
    steps = u32(float_bits(total) - u32(magic + u32(least << m)))
    return total - bits_float(magic), u32(steps + u32(e >> u32(shift & u32(31))))


@njit(nogil=True)
def value_bits(code: Any, m: Any, unit: Any) -> Any:
    """Return the float32 bits of a magnitude code; ``unit`` is 2**(127 - bias)."""
    return float_bits(bits_float(u32(code << (u32(23) - m))) * unit)


@compiled(nogil=True)
def encode(
    x: Any, least: int, m: int, top: int, limit: int, over: int, nan: int, sign: int, out: Any
) -> None:
    """Cast float32 to codes.

    ``top`` holds the float32 bits of the largest finite value, ``limit`` those of the largest
    magnitude that still rounds to it; what lies beyond gets the code ``over``, NaN gets ``nan``.
    """
    least_, m_, top_ = u32(least), u32(m), u32(top)
    limit_, over_, nan_ = u32(limit), u32(over), u32(nan)
    sign_ = u32(sign)
    for i in range(x.size):
        bits = float_bits(x[i])
        a = u32(bits & MAGNITUDE)
        _, code = grid_round(min(a, top_), least_, m_)
        code = over_ if a > limit_ else code
        code = nan_ if a > INFINITY else code
        out[i] = np.uint8(u32(code | (sign_ if bits >= SIGN else u32(0))))


@compiled(nogil=True)
def decode(
    codes: Any, m: int, unit: np.float32, special: int, inf: int, sign: int, out: Any
) -> None:
    """Cast codes to float32; magnitudes from ``special`` on are NaN, except ``inf``."""
    m_, special_, inf_, sign_ = u32(m), u32(special), u32(inf), u32(sign)
    for i in range(codes.size):
        c = u32(codes[i])
        magnitude = u32(c & u32(sign_ - u32(1)))
        bits = value_bits(magnitude, m_, unit)
        odd = INFINITY if magnitude == inf_ else u32(0x7FC00000)
        bits = odd if magnitude >= special_ else bits
        out[i] = bits_float(u32(bits | (SIGN if u32(c & sign_) else u32(0))))


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


@njit(nogil=True)
def scaled_floats(
    x: Any, n: int, down: Any, up: Any, least: Any, m: Any, top: Any, sign: Any,
    codes: Any, deq: Any,
) -> None:  # fmt: skip
    """Code n values x * down, and write what the codes stand for times ``up``.

    ``sign`` is the shift from the sign of a float32 to that of a code.
    """
    for i in range(n):
        y = float_bits(x[i] * down)
        value, code = grid_round(min(u32(y & MAGNITUDE), top), least, m)
        minus = u32(y & SIGN)
        codes[i] = np.uint8(u32(code | u32(minus >> u32(sign & u32(31)))))
        deq[i] = bits_float(u32(float_bits(value) | minus)) * up


@compiled(nogil=True)
def mx_float(x: Any, group: int, facts: Any, exponents: Any, _: Any, codes: Any, deq: Any) -> None:
    """Code blocks of small floats under a shared power of two (OCP MX v1.0).

    The facts are the biased exponent of the least normal value, the mantissa bits, the float32
    bits of the largest value, the shift of the sign and the rule. The loop of `over_groups` stands
    here once more: slices of a slice would cost half the speed.
    """
    least, m, top, sign, rule = facts
    rows, k = x.shape
    least_, m_, top_, sign_ = u32(least), u32(m), u32(top), u32(sign)
    for r in range(rows):
        for g in range(exponents.shape[1]):
            a = g * group
            b = min(k, a + group)
            e = shared_exponent(absmax(x[r, a:b]), top_, m_, rule)
            up, down = power(e), power(-e)
            # lengths the compiler knows spare the loop its preparations
            while a + LANES <= b:
                c = a + LANES
                scaled_floats(
                    x[r, a:c], LANES, down, up, least_, m_, top_, sign_, codes[r, a:c], deq[r, a:c]
                )
                a = c
            if a < b:
                scaled_floats(
                    x[r, a:b], b - a, down, up, least_, m_, top_, sign_, codes[r, a:b], deq[r, a:b]
                )
            exponents[r, g] = np.uint8(e + 127)


@njit(nogil=True, inline="always")
def _mx_integer(x: Any, _e: Any, _b: Any, facts: Any, _w: Any, codes: Any, deq: Any) -> Any:
    """Code a block of 1.6 fixed point (-127/64 .. 127/64) under a shared power of two."""
    e = shared_exponent(absmax(x), float_bits(np.float32(127 / 64)), np.uint32(6), facts[0])
    up, down = power(e), power(-e)
    for i in range(x.size):
        y = np.rint(x[i] * down * np.float32(64))
        q = np.int32(min(max(y, np.float32(-127)), np.float32(127)))
        codes[i] = np.uint8(q)
        deq[i] = np.float32(q) * np.float32(1 / 64) * up
    return np.uint8(e + 127), 0


# the fact: the rule
mx_integer: Final = over_groups(_mx_integer)


@compiled(nogil=True)
def pack_e2m1(x: Any, out: Any) -> None:
    """Cast float32 to FP4 E2M1 (saturating), two codes a byte, the first in the low half."""
    least, m, top = u32(127), u32(1), u32(0x40C00000)
    scratch = np.zeros(CHUNK, np.uint8)
    for a in range(0, x.size, CHUNK):
        n = min(CHUNK, x.size - a)
        xs = x[a : a + n]
        for i in range(n):
            bits = float_bits(xs[i])
            _, code = grid_round(min(u32(bits & MAGNITUDE), top), least, m)
            scratch[i] = np.uint8(u32(code | u32(u32(bits >> u32(28)) & u32(8))))
        if n % 2:
            scratch[n] = 0
        half = (n + 1) // 2
        target = out[a // 2 : a // 2 + half]
        for i in range(half):
            target[i] = scratch[2 * i] | (scratch[2 * i + 1] << np.uint8(4))


@compiled(nogil=True)
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
            c = u32(scratch[i])
            magnitude = value_bits(u32(c & u32(7)), u32(1), unit)
            target[i] = bits_float(u32(magnitude | u32(u32(c & u32(8)) << u32(28))))
