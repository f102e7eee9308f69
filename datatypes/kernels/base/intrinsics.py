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

EXPONENT = np.uint32(0x7F800000)
PAIRWISE_BLOCK = 128
# the most terms added loosely in float32; their sums are added in float64
LOOSE_RUN = 128


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


def _label_above(_typing: Any, place: Any, cuts: Any, labels: Any) -> Any:
    """Return ``labels[number of cuts below place]``, or that number where there are no labels.

    All are int32. It is a sum of steps: each costs a comparison and a subtraction, and a
    conjunction more where the labels say how large it is.
    """
    signature = types.int32(place, cuts, labels)

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        value, cut_tuple, label_tuple = args
        out = label = builder.extract_value(label_tuple, 0) if labels.count else value.type(0)
        for i in range(cuts.count):
            above = builder.icmp_signed(">", value, builder.extract_value(cut_tuple, i))
            if not labels.count:
                out = builder.add(out, builder.zext(above, out.type))
                continue
            upper = builder.extract_value(label_tuple, i + 1)
            step = builder.sub(upper, label)
            out = builder.add(out, builder.select(above, step, step.type(0)))
            label = upper
        return out

    return signature, codegen


label_above: Any = intrinsic(_label_above)


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


@njit(nogil=True, forceinline=True)
def order(y: Any) -> Any:
    """Return an int32 that rises with a float32; -0 stands below +0."""
    bits = np.int32(float_bits(y))
    return np.int32(bits ^ np.int32(np.int32(bits >> np.int32(31)) & np.int32(0x7FFFFFFF)))


@njit(nogil=True, forceinline=True)
def nearest(a: Any, table: Any) -> Any:
    """Return the place and the value nearest ``a`` in a `grid_table`.

    On a grid of floats with m >= 1 mantissa bits, adding and subtracting 2**23 steps rounds to
    the step of a's binade, ties to even, and leaves the multiple of the step in the low bits.
    """
    cuts, magnitudes, labels, m, least = table
    if m == 0:
        return lookup(a, cuts, labels), lookup(a, cuts, magnitudes)
    a = min(a, magnitudes[-1])
    power = np.uint32(max(float_bits(a), least) & EXPONENT)
    big = np.uint32(power + ((np.uint32(23) - m) << np.uint32(23)))
    total = a + bits_float(big)
    binade = np.uint32(power - least) >> (np.uint32(23) - m)
    return np.uint32(binade + np.uint32(float_bits(total) - big)), total - bits_float(big)


def _add_loosely(_typing: Any, total: Any, term: Any) -> Any:
    """Add where the order of a sum is free: the compiler may keep one sum for each lane."""
    signature = total(total, total)

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.fadd(args[0], args[1], flags=("reassoc",))

    return signature, codegen


add_loosely: Any = intrinsic(_add_loosely)


def _nearer_square(_typing: Any, square: Any, x: Any, s: Any, values: Any) -> Any:
    """Return the least of a squared distance and those of x from each of ``values`` times s."""
    signature = types.float32(types.float32, types.float32, types.float32, values)

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        out, x_value, s_value, value_tuple = args
        for i in range(values.count):
            at = builder.fmul(builder.extract_value(value_tuple, i), s_value)
            distance = builder.fsub(at, x_value)
            other = builder.fmul(distance, distance)
            out = builder.select(builder.fcmp_ordered("<", other, out), other, out)
        return out

    return signature, codegen


nearer_square: Any = intrinsic(_nearer_square)


def _half_multiples(_typing: Any, values: Any, factor: Any) -> Any:
    """Return a tuple of float32 times a float32, each product rounded to float16."""
    signature = values(values, types.float32)

    def codegen(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        out = args[0]
        for i in range(values.count):
            product = builder.fmul(builder.extract_value(args[0], i), args[1])
            half = builder.fptrunc(product, ir.HalfType())
            out = builder.insert_value(out, builder.fpext(half, ir.FloatType()), i)
        return out

    return signature, codegen


half_multiples: Any = intrinsic(_half_multiples)


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
