"""Kernels of the bit-parallel PEs: integer MAC, floating-point MAC, look-up table.

Floating-point formats are tuples ``(significand bits, smallest exponent, largest value)`` where the
smallest exponent is that of the lowest significand bit of a subnormal.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

import math

import numpy as np

from ...datatypes.base.compiled import compiled


@compiled
def fit(total, bits, saturate):
    """Saturate or wrap a sum to a signed width."""
    half = np.int64(1) << (bits - 1)
    if saturate:
        return min(max(total, -half), half - 1)
    return ((total + half) & ((half << 1) - 1)) - half


@compiled
def int_dots(activations, weights, rows, columns, lanes, bits, saturate, out):
    """Integer dot products; the products of a clock are added exactly, then to the accumulator.

    It saturates or wraps once a clock.
    """
    for i in range(rows.size):
        a, w = activations[rows[i]], weights[columns[i]]
        total = np.int64(0)
        for first in range(0, a.size, lanes):
            part = np.int64(0)
            for k in range(first, min(first + lanes, a.size)):
                part += np.int64(a[k]) * np.int64(w[k])
            total = fit(total + part, bits, saturate)
        out[i] = total


@compiled
def add_to_odd(a, b):
    """Sum of two float64, rounded to odd: rounding it again to fewer bits is rounding once."""
    total = a + b
    if not math.isfinite(total):
        return total
    # error of the sum (Knuth's two-sum), exact
    part = total - a
    error = (a - (total - part)) + (b - part)
    if error != 0.0:
        pattern = np.float64(total).view(np.int64)
        if not pattern & 1:
            # to the neighbor on the error's side; patterns grow away from zero
            pattern += 1 if (error > 0.0) == (total > 0.0) else -1
            return np.int64(pattern).view(np.float64)
    return total


@compiled
def round_to(value, fmt, saturate):
    """Round a float64 to nearest even in a format; overflow gives infinity or the largest value."""
    bits, lowest, largest = fmt
    # |value| < 2**exponent
    exponent = ((np.float64(value).view(np.int64) >> 52) & 2047) - 1022
    if exponent == 1025:
        return value  # infinite or NaN
    last_place = max(exponent - bits, lowest)
    # 1.5 * 2**(last_place + 52) leaves no bit below the last place: adding it rounds, ties to even
    shift = np.int64((last_place + 1075) << 52).view(np.float64) * 1.5
    result = (value + shift) - shift
    if abs(result) > largest:
        bound = largest if saturate else math.inf
        return bound if value > 0 else -bound
    return result


@compiled
def add_product(total, a, w, rules):
    """Add a product to a floating-point accumulator; ``rules`` as `mac.fp_rules` makes them.

    The product of two significands of at most 24 bits is exact in float64 up to 53 bits.
    """
    rounded, product, accumulator, saturate = rules
    p = a * w
    if rounded:
        p = round_to(p, product, saturate)
    return round_to(add_to_odd(total, p), accumulator, saturate)


@compiled
def sum_tree(part, fmt, saturate):
    """Add neighbors, then their sums, each rounded; an odd one out moves up unchanged.

    ``part`` is used up.
    """
    count = part.size
    while count > 1:
        for i in range(count // 2):
            part[i] = round_to(add_to_odd(part[2 * i], part[2 * i + 1]), fmt, saturate)
        if count & 1:
            part[count // 2] = part[count - 1]
        count = (count + 1) // 2
    return part[0]


@compiled
def fp_dots(activations, weights, rows, columns, lanes, rules, out):
    """Floating-point dot products, the products of a clock added in a tree beforehand."""
    rounded, product, accumulator, saturate = rules
    part = np.zeros(lanes)
    for i in range(rows.size):
        a, w = activations[rows[i]], weights[columns[i]]
        total = 0.0
        if lanes == 1:
            for k in range(a.size):
                total = add_product(total, a[k], w[k], rules)
        else:
            for first in range(0, a.size, lanes):
                for lane in range(lanes):
                    k = first + lane
                    p = a[k] * w[k] if k < a.size else 0.0
                    part[lane] = round_to(p, product, saturate) if rounded else p
                joined = add_to_odd(total, sum_tree(part, accumulator, saturate))
                total = round_to(joined, accumulator, saturate)
        out[i] = total


@compiled
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
                tables[row, chunk, entry] = sum_tree(part, fmt, False)


@compiled
def lut_products(tables, planes, scale_exponents, fmt, out):
    """Sum over bit planes of ``2**scale * sum over chunks of the plane's table entry``.

    ``planes`` is (weight rows, planes, chunks), ``scale_exponents`` (weight rows, planes), ``out``
    (rows of tables, weight rows).
    """
    for m in range(out.shape[0]):
        for n in range(out.shape[1]):
            table, codes = tables[m], planes[n]
            total = 0.0
            for plane in range(codes.shape[0]):
                partial = 0.0
                for chunk in range(codes.shape[1]):
                    entry = table[chunk, np.int64(codes[plane, chunk])]
                    partial = round_to(add_to_odd(partial, entry), fmt, False)
                # plain: Python takes no other
                shifted = math.ldexp(partial, int(scale_exponents[n, plane]))
                total = round_to(add_to_odd(total, shifted), fmt, False)
            out[m, n] = total
