"""Groups of any codebook, of the best of several, or under a shared power of two, on a GPU.

Eight threads share a group: each adds every eighth squared error, as numpy's pairwise summation
keeps eight running sums, so that errors are those of numpy to the last bit and so are choices.
What a code stands for times the scale is read from shared memory behind a barrier: the compiler
cannot fuse that product with the difference from the element.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, attr-defined"
# mypy: disable-error-code="no-any-return"

import math

import numpy as np
from numba import cuda

from .floats import larger, round_to, smaller

SUMS = 8
SLOTS = 16
MOST_VALUES = 64
DEPTH = 32
HALF_TINY = 2.0**-24


@cuda.jit(device=True)
def order(y):
    """Return an integer that rises with a float32; -0 stands below +0."""
    bits = np.int64(np.float32(y).view(np.int32))
    return bits ^ ((bits >> 31) & 0x7FFFFFFF)


@cuda.jit(device=True)
def label_of(y, cuts, labels, book):
    """Return the code of a value divided by its scale: by how many cuts it stands above."""
    place = order(y)
    low, high = 0, cuts.shape[1]
    while low < high:
        middle = (low + high) // 2
        if place > cuts[book, middle]:
            low = middle + 1
        else:
            high = middle
    return labels[book, low]


@cuda.jit(device=True)
def quotient(x, s):
    """Return a value divided by its scale; a scale of 0 stands for a group of zeros."""
    return np.float32(x / s) if s > 0 else np.float32(0.0)


@cuda.jit(device=True)
def stored_scale(s, half):
    """Round a scale as it is stored, to float16 or not; nothing positive becomes 0."""
    if not half or s == 0:
        return s
    rounded = round_to(np.float64(s), 11, -24, 65504.0, False)
    return np.float32(larger(rounded, HALF_TINY))


@cuda.jit(device=True)
def largest_of(x, row, first, last, lane):
    """Return the largest magnitude of every eighth value."""
    found = np.float32(0.0)
    for k in range(first + lane, last, SUMS):
        found = larger(found, np.float32(abs(x[row, k])))
    return found


@cuda.jit(device=True)
def square(x, row, k, last, s, cuts, labels, book, restored, slot):
    """Return the squared error of an element, 0 beyond the group's end."""
    if k >= last:
        return np.float64(0.0)
    value = restored[slot, label_of(quotient(x[row, k], s), cuts, labels, book)]
    t = np.float64(np.float32(x[row, k] - value))
    return t * t  # exact: 24 bits squared


@cuda.jit
def choose_kernel(x, cuts, labels, tables, tops, leaves, group, half, scales, choices):
    """Write the scale and the book of least error of each group, the first among equals.

    ``leaves`` are the blocks of numpy's summation of a group: start, length, and how many sums
    are joined behind it.
    """
    sums = cuda.shared.array((SLOTS, SUMS), np.float64)
    restored = cuda.shared.array((SLOTS, MOST_VALUES), np.float32)
    stack = cuda.local.array(DEPTH, np.float64)
    slot, lane = cuda.threadIdx.x // SUMS, cuda.threadIdx.x % SUMS
    across, length = scales.shape[1], x.shape[1]
    for base in range(cuda.blockIdx.x * SLOTS, scales.size, cuda.gridDim.x * SLOTS):
        at = base + slot
        row, g = at // across, at % across
        first = g * group
        last = smaller(first + group, length) if at < scales.size else first
        sums[slot, lane] = largest_of(x, row, first, last, lane)
        cuda.syncthreads()
        amax = np.float32(0.0)
        for i in range(SUMS):
            amax = larger(amax, np.float32(sums[slot, i]))
        least, choice, kept = np.float64(math.inf), 0, np.float32(0.0)
        for book in range(tops.size):
            s = stored_scale(np.float32(amax / tops[book]), half)
            if book == 0:
                kept = s
            if tops.size == 1:
                continue
            cuda.syncthreads()
            for code in range(lane, tables.shape[1], SUMS):
                restored[slot, code] = tables[book, code] * s
            depth = 0
            for leaf in range(leaves.shape[0]):
                start, count = first + leaves[leaf, 0], leaves[leaf, 1]
                whole = count - count % SUMS
                part = np.float64(0.0)
                cuda.syncthreads()
                for k in range(start + lane, start + whole, SUMS):
                    part += square(x, row, k, last, s, cuts, labels, book, restored, slot)
                sums[slot, lane] = part
                cuda.syncthreads()
                total = ((sums[slot, 0] + sums[slot, 1]) + (sums[slot, 2] + sums[slot, 3])) + (
                    (sums[slot, 4] + sums[slot, 5]) + (sums[slot, 6] + sums[slot, 7])
                )
                for k in range(start + whole, start + count):
                    total += square(x, row, k, last, s, cuts, labels, book, restored, slot)
                for _ in range(leaves[leaf, 2]):
                    depth -= 1
                    total = stack[depth] + total
                stack[depth] = total
                depth += 1
            if stack[0] < least:
                least, choice, kept = stack[0], book, s
        if lane == 0 and at < scales.size:
            scales[row, g] = kept
            choices[row, g] = choice
        cuda.syncthreads()


@cuda.jit
def code_kernel(x, cuts, labels, scales, choices, group, codes):
    """Thread (k, row): the code of an element under the scale and the book of its group."""
    first, step = cuda.grid(1), cuda.gridsize(1)
    for row in range(cuda.blockIdx.y, x.shape[0], cuda.gridDim.y):
        for k in range(first, x.shape[1], step):
            g = k // group
            y = quotient(x[row, k], scales[row, g])
            codes[row, k] = label_of(y, cuts, labels, choices[row, g])


@cuda.jit(device=True)
def shared_exponent(amax, top, mantissa_bits, rule):
    """Return the exponent of a block's power of two, -127..127, by OCP MX v1.0's rules.

    ``top`` are the float32 bits of the largest element. Rule 0 rounds down, 1 up, 2 to nearest at
    the element's precision, 3 up where the largest would be passed.
    """
    if amax == 0:
        return np.int64(-127)
    bits = np.int64(np.float32(amax).view(np.int32))
    offset = np.int64(0)
    if bits < 0x00800000:  # subnormal
        bits = np.int64(np.float32(amax * np.float32(2.0**24)).view(np.int32))
        offset = np.int64(24)
    exponent = (bits >> 23) - (top >> 23) - offset
    mantissa = bits & 0x007FFFFF
    most = np.int64(0x007FFFFF)  # the largest mantissa that is not rounded up
    if rule == 1:
        most = np.int64(0)
    elif rule == 2:
        most = np.int64(0x007FFFFF - (1 << (22 - mantissa_bits)))
    elif rule == 3:
        most = np.int64(top & 0x007FFFFF)
    if mantissa > most:
        exponent += 1
    return smaller(larger(exponent, np.int64(-127)), np.int64(127))


@cuda.jit
def power_kernel(x, group, top, mantissa_bits, rule, scales, exponents):
    """Eight threads a block of elements: its power of two, as a float32 and a biased exponent."""
    found = cuda.shared.array((SLOTS, SUMS), np.float32)
    slot, lane = cuda.threadIdx.x // SUMS, cuda.threadIdx.x % SUMS
    across, length = scales.shape[1], x.shape[1]
    for base in range(cuda.blockIdx.x * SLOTS, scales.size, cuda.gridDim.x * SLOTS):
        at = base + slot
        row, g = at // across, at % across
        first = g * group
        last = smaller(first + group, length) if at < scales.size else first
        found[slot, lane] = largest_of(x, row, first, last, lane)
        cuda.syncthreads()
        if lane == 0 and at < scales.size:
            amax = np.float32(0.0)
            for i in range(SUMS):
                amax = larger(amax, found[slot, i])
            e = shared_exponent(amax, top, mantissa_bits, rule)
            exponents[row, g] = e + 127
            pattern = (e + 127) << 23 if e >= -126 else np.int64(1) << (e + 149)
            scales[row, g] = np.int32(pattern).view(np.float32)
        cuda.syncthreads()
