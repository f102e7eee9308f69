"""Kernels of the bit-serial PE: one clock, and whole groups.

`accumulate` is the arithmetic of one clock after the adder tree. Array simulators call it from
their own kernels; its parameters travel as one tuple made by `bit_serial.kernel_parameters`:

``(guard, reference, sticky, nearest, saturate, accumulator_bits, sum_bits, exponent_bits, reach)``

with ``sum_bits`` 0 for an adder of any width, and ``reach`` a shift beyond which an aligned operand
is only a sticky bit. Exponents of terms are those of `bit_serial.term_exponents`: gated terms have
one so far down that a reference exponent under 0 means a clock of zero terms, which the
accumulator sits out.
"""

# ruff: noqa: PLR0912 - kernels take arrays and scalars, one argument each
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

import numba as nb
import numpy as np

from ...datatypes.base.compiled import compiled


@compiled
def wrap(value, bits):
    """Two's complement wrap to a width."""
    half = np.int64(1) << (bits - 1)
    return ((value + half) & ((half << 1) - 1)) - half


@compiled
def bit_length(value):
    """Bits of the magnitude of an integer."""
    rest = abs(value)
    length = np.int64(0)
    for step in (32, 16, 8, 4, 2, 1):
        if rest >> step:
            rest >>= step
            length += step
    return length + rest


@compiled
def round_shift(value, shift, nearest):
    """``value / 2**shift`` as an integer, by floor or to the nearest even."""
    quotient = value >> shift
    if nearest and shift > 0:
        rest = value - (quotient << shift)
        half = np.int64(1) << (shift - 1)
        if rest > half or (rest == half and quotient & 1):
            quotient += 1
    return quotient


@compiled
def accumulate(man, exp, incoming, reference, parameters):
    """Add the shifted lane sum of one clock to the accumulator.

    ``incoming`` is relative to the exponent ``reference`` (M of the clock); returns the new
    (man, exp).
    """
    _, _, sticky, nearest, saturate, width, sum_bits, exp_bits, reach = parameters
    limit = width - 1
    down = (
        reference - exp
    )  # the accumulator moves right by this, or the incoming sum by its opposite
    below = np.int64(0)  # fraction bits carried below the reference
    if not sticky:
        # S = (man >> (M - exp)) + (incoming >> (exp - M)), each shift only if positive
        if down >= limit:
            total = incoming
        elif down >= 0:
            total = (man >> down) + incoming
        else:
            total = man + (incoming >> min(-down, 62))
    elif down >= 0:
        below = min(down, limit + 2)
        total = (incoming << below) + (man if down == below else np.sign(man))
    else:
        below = min(-down, reach)
        total = (man << below) + (incoming if -down == below else np.sign(incoming))
    if sum_bits and not sticky:
        if saturate:
            bound = np.int64(1) << (sum_bits - 1)
            total = min(max(total, -bound), bound - 1)
        else:
            total = wrap(total, sum_bits)
    # e = max(0, bitlen(abs(S)) - (width - 1)); exp' = M + e
    e = max(np.int64(0), bit_length(total) - below - limit)
    man = round_shift(total, below + e, nearest)
    if man == np.int64(1) << limit:
        man >>= 1
        e += 1
    exp = max(reference, exp) + e
    top = (np.int64(1) << exp_bits) - 1
    if exp > top:
        if saturate:
            exp = top
            bound = (np.int64(1) << limit) - 1
            man = bound if man > 0 else -bound  # a sum of zero raises no exponent
        else:
            exp &= top
    return man, exp


@compiled
def aligned_product(significand, man, distance, guard):
    """``(abs(significand * man) << guard) >> distance`` with the product's sign."""
    p = significand * man  # man is -1, 0 or 1
    q = (abs(p) << guard) >> min(distance, np.int64(62))
    return q if p >= 0 else -q


@compiled
def lane_sum(
    exponents, significands, first, weights, term, term_exp, term_man, lanes, guard, floor
):  # fmt: skip
    """Return the reference exponent M and the signed sum of the aligned lanes of one clock.

    ``floor`` is the accumulator's exponent where M covers it, else 0. M is negative, and the sum
    0, where all terms are gated.
    """
    reference = np.int64(-1)
    for i in range(lanes):
        v = np.int64(exponents[first + i]) + np.int64(term_exp[weights[first + i], term])
        reference = max(reference, v)
    total = np.int64(0)
    if reference < 0:
        return reference, total
    reference = max(reference, np.int64(floor))
    for i in range(lanes):
        w = weights[first + i]
        v = np.int64(exponents[first + i]) + np.int64(term_exp[w, term])
        significand, man = np.int64(significands[first + i]), np.int64(term_man[w, term])
        total += aligned_product(significand, man, reference - v, guard)
    return reference, total


@compiled
def dot_of_four(e, s, w, term_exp, term_man, bsig, parameters):
    """Dot product of whole chunks of four lanes: `lane_sum` with its operands in registers."""
    guard, with_accumulator = parameters[0], parameters[1]
    man, exp = np.int64(0), np.int64(0)
    for k in range(e.size // 4):
        i0, i1, i2, i3 = (
            nb.uint64(4 * k),
            nb.uint64(4 * k + 1),
            nb.uint64(4 * k + 2),
            nb.uint64(4 * k + 3),
        )
        e0, e1, e2, e3 = np.int64(e[i0]), np.int64(e[i1]), np.int64(e[i2]), np.int64(e[i3])
        s0, s1, s2, s3 = np.int64(s[i0]), np.int64(s[i1]), np.int64(s[i2]), np.int64(s[i3])
        w0, w1, w2, w3 = nb.uint64(w[i0]), nb.uint64(w[i1]), nb.uint64(w[i2]), nb.uint64(w[i3])
        for t in range(bsig.size):
            u = nb.uint64(t)
            # v_i = E_i + exp_i; M = max(v_0..v_3 [, acc.exp])
            v0, v1 = e0 + term_exp[w0, u], e1 + term_exp[w1, u]
            v2, v3 = e2 + term_exp[w2, u], e3 + term_exp[w3, u]
            m = max(v0, v1, v2, v3)
            if m < 0:
                continue  # all four are gated
            if with_accumulator:
                m = max(m, exp)
            total = (
                aligned_product(s0, np.int64(term_man[w0, u]), m - v0, guard)
                + aligned_product(s1, np.int64(term_man[w1, u]), m - v1, guard)
                + aligned_product(s2, np.int64(term_man[w2, u]), m - v2, guard)
                + aligned_product(s3, np.int64(term_man[w3, u]), m - v3, guard)
            )
            man, exp = accumulate(man, exp, total << np.int64(bsig[u]), m, parameters)
    return man, exp


@compiled
def dot_of_any(e, s, w, term_exp, term_man, bsig, lanes, skip, parameters):
    """Dot product with any number of lanes; a clock of zero terms is left out when ``skip``."""
    guard, with_accumulator = parameters[0], parameters[1]
    man, exp, clocks = np.int64(0), np.int64(0), np.int64(0)
    for first in range(0, e.size, lanes):
        used = min(lanes, e.size - first)
        before = clocks
        for t in range(bsig.size):
            if skip:
                busy = False
                for lane in range(used):
                    busy |= term_man[w[first + lane], t] != 0
                if not busy:
                    continue
            floor = exp if with_accumulator else np.int64(0)
            m, total = lane_sum(e, s, first, w, t, term_exp, term_man, used, guard, floor)
            if m >= 0:
                man, exp = accumulate(man, exp, total << np.int64(bsig[t]), m, parameters)
            clocks += 1
        if clocks == before:
            clocks += 1  # a chunk of zeros still takes a clock to pass
    return man, exp, clocks


@compiled
def dots(
    exponents, significands, weights, rows, columns, term_exp, term_man, bsig, lanes, skip,
    parameters, man_out, exp_out, clocks_out,
):  # fmt: skip
    """Bit-serial dot products of row ``rows[i]`` of activations and ``columns[i]`` of weights.

    ``term_man`` holds -1, 0 or 1.
    """
    length = exponents.shape[1]
    for i in range(rows.size):
        e, s, w = exponents[rows[i]], significands[rows[i]], weights[columns[i]]
        if lanes == 4 and length % 4 == 0 and not skip:
            man, exp = dot_of_four(e, s, w, term_exp, term_man, bsig, parameters)
            clocks = length // 4 * bsig.size
        else:
            man, exp, clocks = dot_of_any(
                e, s, w, term_exp, term_man, bsig, lanes, skip, parameters
            )
        man_out[i], exp_out[i], clocks_out[i] = man, exp, clocks


@compiled
def exact_dots(
    exponents, significands, weights, rows, columns, grid, term_man, lanes, skip, lowest,
    sum_out, clocks_out,
):  # fmt: skip
    """Exact integer dot products, in units of ``2**lowest`` of the exponent field."""
    length = exponents.shape[1]
    terms = term_man.shape[1]
    for i in range(rows.size):
        e, s, w = exponents[rows[i]], significands[rows[i]], weights[columns[i]]
        total, clocks = np.int64(0), np.int64(0)
        for k in range(length):
            product = np.int64(s[k]) * np.int64(grid[w[k]])
            total += product << (np.int64(e[k]) - lowest)
        for first in range(0, length, lanes):
            busy = np.int64(0)
            for t in range(terms):
                for lane in range(min(lanes, length - first)):
                    if not skip or term_man[w[first + lane], t] != 0:
                        busy += 1
                        break
            clocks += max(busy, np.int64(1))
        sum_out[i], clocks_out[i] = total, clocks


@compiled
def split_fp16(bits, exponent_out, significand_out):
    """Split FP16 bit patterns; returns the first index of a NaN or infinity, or -1."""
    for i in range(bits.size):
        pattern = np.int32(bits[i])
        field = (pattern >> 10) & 31
        if field == 31:
            return i
        significand = (pattern & 1023) | (np.int32(field > 0) << 10)
        exponent_out[i] = max(field, 1)
        significand_out[i] = -significand if pattern >> 15 else significand
    return -1


@compiled
def decoder_rows(weights, low, valid, out):
    """Row of each weight in a decoder; returns the first index of one off the grid, or -1."""
    for i in range(weights.size):
        row = np.int64(weights[i]) - low
        if row < 0 or row >= valid.size or not valid[row]:
            return i
        out[i] = row
    return -1
