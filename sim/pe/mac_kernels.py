"""Kernels of the bit-parallel PEs: integer MAC, floating-point MAC, look-up table.

Floating-point formats are tuples ``(significand bits, smallest exponent, largest value)`` where the
smallest exponent is that of the lowest significand bit of a subnormal.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

import math

import numba as nb
import numpy as np


@nb.njit(cache=True)
def int_dots(activations, weights, rows, columns, bits, saturate, out):
    """Integer dot products; the accumulator saturates or wraps after every addition."""
    half = np.int64(1) << (bits - 1)
    for i in range(rows.size):
        a, w = activations[rows[i]], weights[columns[i]]
        total = np.int64(0)
        for k in range(a.size):
            total += np.int64(a[k]) * np.int64(w[k])
            if saturate:
                total = min(max(total, -half), half - 1)
            else:
                total = ((total + half) & ((half << 1) - 1)) - half
        out[i] = total


@nb.njit(cache=True)
def add_to_odd(a, b):
    """Sum of two float64, rounded to odd: rounding it again to fewer bits is rounding once."""
    total = a + b
    if not math.isfinite(total):
        return total
    # error of the sum (Knuth's two-sum), exact
    part = total - a
    error = (a - (total - part)) + (b - part)
    if error != 0.0:
        mantissa, exponent = math.frexp(total)
        whole = np.int64(mantissa * 9007199254740992.0)  # 2**53
        if not whole & 1:
            # toward the error: one unit away from zero if it has the sum's sign, else toward it
            if abs(whole) == np.int64(4503599627370496) and (error > 0.0) != (total > 0.0):
                whole *= 2  # below a power of two the spacing halves
                exponent -= 1
            whole += 1 if error > 0.0 else -1
            total = math.ldexp(np.float64(whole), exponent - 53)
    return total


@nb.njit(cache=True)
def round_to(value, fmt, saturate):
    """Round a float64 to nearest even in a format; overflow gives infinity or the largest value."""
    bits, lowest, largest = fmt
    if value == 0.0 or not math.isfinite(value):
        return value
    exponent = max(math.frexp(value)[1] - bits, lowest)
    # |value| * 2**-exponent < 2**bits: adding 1.5 * 2**52 rounds to an integer, ties to even
    scaled = math.ldexp(value, -exponent)
    rounded = (scaled + 6755399441055744.0) - 6755399441055744.0
    result = math.ldexp(rounded, exponent)
    if abs(result) > largest:
        bound = largest if saturate else math.inf
        return bound if value > 0 else -bound
    return result


@nb.njit(cache=True)
def fp_dots(activations, weights, rows, columns, rounded, product, accumulator, saturate, out):
    """Floating-point dot products, one addition after the other.

    The product of two significands of at most 24 bits is exact in float64 up to 53 bits.
    """
    for i in range(rows.size):
        a, w = activations[rows[i]], weights[columns[i]]
        total = 0.0
        for k in range(a.size):
            p = a[k] * w[k]
            if rounded:
                p = round_to(p, product, saturate)
            total = round_to(add_to_odd(total, p), accumulator, saturate)
        out[i] = total


@nb.njit(cache=True)
def build_tables(activations, inputs, fmt, tables):
    """Tables of all sums of +-a of each run of ``inputs`` activations, as a balanced tree.

    Bit i of the entry's index is 1 where activation i counts positively. ``tables`` is
    (rows, chunks, 2**inputs); activations beyond the end count as zero.
    """
    for row in range(activations.shape[0]):
        for chunk in range(tables.shape[1]):
            for entry in range(tables.shape[2]):
                part = np.zeros(inputs)
                for i in range(inputs):
                    k = chunk * inputs + i
                    a = activations[row, k] if k < activations.shape[1] else 0.0
                    part[i] = a if entry >> i & 1 else -a
                count = inputs
                while count > 1:  # neighbours first, an odd one out moves up unchanged
                    for i in range(count // 2):
                        part[i] = round_to(add_to_odd(part[2 * i], part[2 * i + 1]), fmt, False)
                    if count & 1:
                        part[count // 2] = part[count - 1]
                    count = (count + 1) // 2
                tables[row, chunk, entry] = part[0]


@nb.njit(cache=True)
def lut_dots(tables, planes, scale_exponents, rows, columns, fmt, out):
    """Sum over bit planes of ``2**scale * sum over chunks of the plane's table entry``.

    ``planes`` is (weight rows, planes, chunks), ``scale_exponents`` (weight rows, planes).
    """
    for i in range(rows.size):
        table, codes = tables[rows[i]], planes[columns[i]]
        total = 0.0
        for plane in range(codes.shape[0]):
            shift = scale_exponents[columns[i], plane]
            partial = 0.0
            for chunk in range(codes.shape[1]):
                entry = table[chunk, np.int64(codes[plane, chunk])]
                partial = round_to(add_to_odd(partial, entry), fmt, False)
            shifted = math.ldexp(partial, shift)
            total = round_to(add_to_odd(total, shifted), fmt, False)
        out[i] = total
