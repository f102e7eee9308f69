"""Building blocks of the kernels: table look-up without loops, ordered sums, half precision.

The look-ups take the thresholds of a table as a tuple. A kernel closes over that tuple, so the
compiler sees constants, unrolls the comparisons and uses vector registers; a loop over a tuple
would stay a loop with a branch in it.
"""

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.extending import intrinsic

HALVING_MIN = 16
PAIRWISE_BLOCK = 128
COMMON_GROUP = 128


def _lookup(_typing: Any, y: Any, cuts: Any, values: Any) -> Any:
    """Return ``values[number of cuts below y]`` as a chain of selects.

    ``cuts`` ascends and has one entry less than ``values``; a value equal to a cut counts as not
    above it, NaN as below all.
    """
    result = values.dtype
    signature = result(y, cuts, values)

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        y_value, cut_tuple, value_tuple = args
        out = builder.extract_value(value_tuple, 0)
        for i in range(cuts.count):
            above = builder.fcmp_ordered(">", y_value, builder.extract_value(cut_tuple, i))
            out = builder.select(above, builder.extract_value(value_tuple, i + 1), out)
        return out

    return signature, codegen


lookup: Any = intrinsic(_lookup)


def _round_half(_typing: Any, x: Any) -> Any:
    """Round a float32 to the nearest float16 (ties to even) and widen it back."""
    signature = types.float32(x)

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.fpext(builder.fptrunc(args[0], ir.HalfType()), ir.FloatType())

    return signature, codegen


round_half: Any = intrinsic(_round_half)


def _float_bits(_typing: Any, x: Any) -> Any:
    """Return the bit pattern of a float32 as a uint32."""
    signature = types.uint32(types.float32)

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.IntType(32))

    return signature, codegen


float_bits: Any = intrinsic(_float_bits)


def _bits_float(_typing: Any, bits: Any) -> Any:
    """Return the float32 that has the given uint32 bit pattern."""
    signature = types.float32(types.uint32)

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return signature, codegen


bits_float: Any = intrinsic(_bits_float)


@njit(nogil=True)
def halving_sum(e: Any, n: int) -> Any:
    """Sum ``e[:n]`` (n a power of two, at least 16) by adding the upper half to the lower.

    The order is part of the definition: any twin that halves gives the same float32.
    Overwrites ``e``.
    """
    if n == COMMON_GROUP:
        # the same three steps with lengths the compiler knows
        for i in range(64):
            e[i] += e[64 + i]
        for i in range(32):
            e[i] += e[32 + i]
        for i in range(16):
            e[i] += e[16 + i]
    else:
        m = n
        while m > HALVING_MIN:
            m //= 2
            for i in range(m):
                e[i] += e[m + i]
    a0, a1, a2, a3 = e[0] + e[8], e[1] + e[9], e[2] + e[10], e[3] + e[11]
    a4, a5, a6, a7 = e[4] + e[12], e[5] + e[13], e[6] + e[14], e[7] + e[15]
    b0, b1, b2, b3 = a0 + a4, a1 + a5, a2 + a6, a3 + a7
    return (b0 + b2) + (b1 + b3)


@njit(nogil=True)
def _block_sum(c: Any, a: int, n: int) -> Any:
    """Sum at most 128 float64 values with eight running sums, as numpy does."""
    if n < 8:
        total = 0.0
        for i in range(n):
            total += c[a + i]
        return total
    r = (c[a], c[a + 1], c[a + 2], c[a + 3], c[a + 4], c[a + 5], c[a + 6], c[a + 7])
    r0, r1, r2, r3, r4, r5, r6, r7 = r
    whole = n - n % 8
    for i in range(a + 8, a + whole, 8):
        r0, r1, r2, r3 = r0 + c[i], r1 + c[i + 1], r2 + c[i + 2], r3 + c[i + 3]
        r4, r5, r6, r7 = r4 + c[i + 4], r5 + c[i + 5], r6 + c[i + 6], r7 + c[i + 7]
    total = ((r0 + r1) + (r2 + r3)) + ((r4 + r5) + (r6 + r7))
    for i in range(a + whole, a + n):
        total += c[i]
    return total


@njit("float64(float64[::1], int64, int64)", nogil=True)
def pairwise_sum(c: Any, a: int, n: int) -> Any:
    """Sum ``c[a : a + n]`` in the order of numpy's pairwise summation.

    Where two candidates have equal errors in exact arithmetic, the order decides which float64
    is smaller; sharing numpy's makes the compiled search agree with the numpy one.
    """
    if n <= PAIRWISE_BLOCK:
        return _block_sum(c, a, n)
    half = n // 2
    half -= half % 8
    return pairwise_sum(c, a, half) + pairwise_sum(c, a + half, n - half)


@njit(nogil=True)
def exact_error(x: Any, deq: Any, work: Any) -> Any:
    """Return the float64 sum of squared float32 differences; ``work`` is float64 scratch.

    Short groups are summed as if filled with zeros up to the length of ``work``.
    """
    n = work.size
    for i in range(x.size):
        t = np.float64(x[i] - deq[i])
        work[i] = t * t
    for i in range(x.size, n):
        work[i] = 0.0
    return pairwise_sum(work, 0, n)


def padded(n: int) -> int:
    """Return the power of two, at least 16, that ``halving_sum`` needs for ``n`` values."""
    return max(HALVING_MIN, 1 << max(n - 1, 0).bit_length())
