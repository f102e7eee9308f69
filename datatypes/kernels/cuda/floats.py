"""Device functions that every CUDA kernel may use: integers of two kinds, floats and their bits.

NVIDIA's compiler fuses a product and the sum that takes it into one rounding. So a product whose
rounding matters is made in float64, where those of float32 values are exact.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, attr-defined"

import math

import numpy as np
from numba import cuda


# Own comparisons: builtin min and max of mixed integer types do not compile for CUDA everywhere.
@cuda.jit(device=True)
def smaller(a, b):
    """Return the smaller of two numbers."""
    return a if a < b else b


@cuda.jit(device=True)
def larger(a, b):
    """Return the larger of two numbers."""
    return a if a > b else b


@cuda.jit(device=True)
def fit(total, bits, saturate):
    """Saturate or wrap an int64 to a signed width."""
    half = np.int64(1) << (bits - 1)
    if saturate:
        return smaller(larger(total, -half), half - 1)
    return ((total + half) & (half - 1 + half)) - half


@cuda.jit(device=True)
def add_to_odd(a, b):
    """Sum of two float64 rounded to odd: the exact error of the sum says which way it lies.

    There are no products here that a compiler could fuse.
    """
    total = a + b
    if not math.isfinite(total):
        return total
    part = total - a
    error = (a - (total - part)) + (b - part)
    if error != 0.0:
        pattern = np.float64(total).view(np.int64)
        if not pattern & 1:
            if (error > 0.0) == (total > 0.0):
                pattern += 1
            else:
                pattern -= 1
            return np.int64(pattern).view(np.float64)
    return total


@cuda.jit(device=True)
def round_to(value, bits, lowest, largest, saturate):
    """Round a float64 to nearest even in a format; beyond the largest, infinity or the largest.

    Adding 1.5 * 2**52 last places rounds; the factor 1.5 is exact, so fusing it changes nothing.
    """
    exponent = ((np.float64(value).view(np.int64) >> 52) & 2047) - 1022
    if exponent == 1025:
        return value
    last_place = larger(exponent - bits, np.int64(lowest))
    shift = np.int64((last_place + 1075) << 52).view(np.float64) * 1.5
    result = (value + shift) - shift
    if abs(result) > largest:
        bound = largest if saturate else math.inf
        return bound if value > 0 else -bound
    return result
