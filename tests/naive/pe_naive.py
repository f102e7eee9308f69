"""Processing elements in plain Python integers and fractions, one operand at a time.

Nothing here comes from the package: formats are spelled out, every step is the sentence of the
specification it implements.
"""

import math
import struct
from fractions import Fraction

# --- weight terms: (sign, exp, man), one per clock, with the clock's bsig -------------------------


def booth_terms(value: int, count: int) -> list[tuple[int, int, int, int]]:
    """Radix-4 Booth by the classic triplet table."""
    triplets = {0: 0, 1: 1, 2: 1, 3: 2, 4: -2, 5: -1, 6: -1, 7: 0}
    bits = [(value >> i) & 1 for i in range(2 * count)]
    terms = []
    for i in range(count):
        below = bits[2 * i - 1] if i else 0
        digit = triplets[4 * bits[2 * i + 1] + 2 * bits[2 * i] + below]
        terms.append((int(digit < 0), int(abs(digit) == 2), int(digit != 0), 2 * i))
    return terms


TWO_BIT = {
    0: ((0, 0), (0, 0)),
    1: ((0, 1), (0, 0)),
    2: ((1, 1), (0, 0)),
    3: ((0, 1), (0, 1)),
    4: ((2, 1), (0, 0)),
    6: ((1, 1), (1, 1)),
    8: ((3, 1), (0, 0)),
    10: ((1, 1), (2, 1)),
    12: ((2, 1), (2, 1)),
    16: ((0, 0), (3, 1)),
}


def two_bit_terms(value: int) -> list[tuple[int, int, int, int]]:
    """FP3 and FP4 family, from a table: magnitude -> (exp, man) of bsig 0 and of bsig 1."""
    sign = int(value < 0)
    return [
        (sign if man else 0, exp, man, bsig) for bsig, (exp, man) in enumerate(TWO_BIT[abs(value)])
    ]


def terms_of(value: int, format: str) -> list[tuple[int, int, int, int]]:
    if format.startswith("int"):
        return booth_terms(value, (int(format[3:]) + 1) // 2)
    return two_bit_terms(value)


# --- activations: (sign, E, significand), value = significand * 2**(E - offset) -----------------


def split_fp16(x: float) -> tuple[int, int, int]:
    (bits,) = struct.unpack("<H", struct.pack("<e", x))
    field, fraction = (bits >> 10) & 31, bits & 1023
    return bits >> 15, max(field, 1), fraction + (1024 if field else 0)


def split_float(x: float, mantissa_bits: int, bias: int) -> tuple[int, int, int]:
    """Any small float, by repeated doubling: significand * 2**(E - bias - mantissa_bits)."""
    magnitude = abs(Fraction(x))
    field = 1
    while magnitude >= Fraction(2) ** (field + 1 - bias):
        field += 1
    significand = magnitude / Fraction(2) ** (field - bias - mantissa_bits)
    assert significand.denominator == 1
    return int(math.copysign(1, x) < 0), field, int(significand)


def split_int8(x: int) -> tuple[int, int, int]:
    return int(x < 0), 0, abs(int(x))


SPLIT = {
    "fp16": split_fp16,
    "bf16": lambda x: split_float(x, 7, 127),
    "fp8_e4m3": lambda x: split_float(x, 3, 7),
    "fp8_e5m2": lambda x: split_float(x, 2, 15),
    "int8": split_int8,
}
OFFSET = {"fp16": 25, "bf16": 134, "fp8_e4m3": 10, "fp8_e5m2": 17, "int8": 0}


def half_even(x: Fraction) -> int:
    return round(x)  # Python rounds fractions half to even


# --- the accumulator ----------------------------------------------------------------------------


def hpca25_clock(acc: tuple[int, int], lanes: list, bsig: int, exp_bits: int = 6):
    """One clock of the published numerics; lanes = [(a_sign, E, significand, w_sign, exp, man)]."""
    man, exp = acc
    reference = max([E + e for _, E, _, _, e, _ in lanes] + [exp])
    total = 0
    for a_sign, E, significand, w_sign, e, one in lanes:
        p = significand if one else 0
        q = (p << 3) >> (reference - (E + e))
        total += -q if a_sign ^ w_sign else q
    shift = reference - exp
    aligned = 0 if shift >= 14 else math.floor(Fraction(man, 2**shift))
    s = aligned + total * 2**bsig
    s = (s + 2**22) % 2**23 - 2**22
    e = max(0, abs(s).bit_length() - 14)
    return math.floor(Fraction(s, 2**e)), (reference + e) % 2**exp_bits


def aligned_clock(acc: tuple[int, int], lanes: list, bsig: int, options: dict):
    """One clock of the `aligned` family, with exact fractions."""
    exp, guard = acc[1], options["guard_bits"]
    if options["gate_zero_terms"]:
        lanes = [lane for lane in lanes if lane[-1]]  # a lane without a term is not there
        if not lanes:
            return acc
    m = max(E + e for _, E, _, _, e, _ in lanes)
    if options["reference"] == "lanes_and_accumulator":
        m = max(m, exp)
    total = 0
    for a_sign, E, significand, w_sign, e, one in lanes:
        q = math.floor(Fraction(significand * one * 2**guard, 2 ** (m - E - e)))
        total += -q if a_sign ^ w_sign else q
    return accumulator_step(acc, total * 2**bsig, m, options)


def accumulator_step(acc: tuple[int, int], incoming: int, m: int, options: dict):
    """Add the sum of a clock, in units of 2**m, to the accumulator."""
    man, exp = acc
    width = options["accumulator_bits"]
    top = max(m, exp)
    mine = Fraction(man, 2 ** (top - exp))
    theirs = Fraction(incoming, 2 ** (top - m))
    if options["alignment"] == "floor":
        mine = Fraction(0 if top - exp >= width - 1 else math.floor(mine))
        theirs = Fraction(math.floor(theirs))
    s = mine + theirs
    if options["sum_bits"]:
        half = 2 ** (options["sum_bits"] - 1)
        if options["overflow"] == "wrap":
            s = Fraction((int(s) + half) % (2 * half) - half)
        else:
            s = min(max(s, Fraction(-half)), Fraction(half - 1))
    e = 0
    while abs(s) >= 2 ** (width - 1 + e):
        e += 1
    scaled = s / 2**e
    man = half_even(scaled) if options["rounding"] == "nearest_even" else math.floor(scaled)
    if man == 2 ** (width - 1):
        man, e = man // 2, e + 1
    exp = top + e
    limit = 2 ** options["exponent_bits"] - 1
    if exp > limit:
        if options["overflow"] == "wrap":
            exp %= limit + 1
        else:
            bound = 2 ** (width - 1) - 1
            man, exp = (bound if man > 0 else -bound if man < 0 else 0), limit
    return man, exp


def bitserial_dot(
    activations, weights, format, numerics, lanes=4, activation="fp16", skip=False, options=None
):
    """(mantissa, exponent, value, cycles) of one dot product."""
    acc, clocks = (0, 0), 0
    split = SPLIT[activation]
    zero = (0, 0 if activation == "int8" else 1, 0)
    acts = [split(a) for a in activations]
    wts = [terms_of(int(w), format) for w in weights]
    exact = sum(
        (Fraction(a) * int(w) for a, w in zip(map(float, activations), weights, strict=True)),
        Fraction(0),
    )
    for first in range(0, len(acts), lanes):
        chunk_a = acts[first : first + lanes]
        chunk_w = wts[first : first + lanes]
        while len(chunk_a) < lanes:
            chunk_a.append(zero)
            chunk_w.append(terms_of(0, format))
        busy = 0
        for t in range(len(chunk_w[0])):
            if skip and not any(w[t][2] for w in chunk_w):
                continue
            busy += 1
            inputs = [(*a, *w[t][:3]) for a, w in zip(chunk_a, chunk_w, strict=True)]
            bsig = chunk_w[0][t][3]
            if numerics == "hpca25":
                acc = hpca25_clock(acc, inputs, bsig, 9 if activation == "bf16" else 6)
            elif numerics != "exact":
                acc = aligned_clock(acc, inputs, bsig, options)
        clocks += max(busy, 1)
    if numerics == "exact":
        return None, None, float(exact), clocks
    man, exp = acc
    guard = options["guard_bits"] if options else 3
    value = man * Fraction(2) ** (exp - OFFSET[activation] - guard)
    return man, exp, float(value), clocks


# --- bit-parallel PEs -----------------------------------------------------------------------------

# name -> (significand bits, exponent of a subnormal's last place, largest)
FLOATS = {
    "fp32": (24, -149, Fraction((2**24 - 1) * 2**104)),
    "fp16": (11, -24, Fraction(65504)),
    "bf16": (8, -133, Fraction(255 * 2**120)),
    "fp8_e4m3": (4, -9, Fraction(448)),
    "fp8_e5m2": (3, -16, Fraction(57344)),
    "fp4_e2m1": (2, -1, Fraction(6)),
}


def round_float(x, name: str, saturate: bool = False):
    """Round a fraction (or pass an infinity on) to nearest even by walking up the exponents."""
    if isinstance(x, float):
        return x
    bits, exponent, largest = FLOATS[name]
    while abs(x) >= Fraction(2) ** (exponent + bits):
        exponent += 1
    rounded = half_even(x / Fraction(2) ** exponent) * Fraction(2) ** exponent
    if abs(rounded) > largest:
        bound = largest if saturate else math.inf
        return bound if x > 0 else -bound
    return rounded


def add(a, b):
    """Exact sum; an infinity stays, opposite ones make a NaN."""
    if isinstance(a, float) and isinstance(b, float):
        return a + b
    return a if isinstance(a, float) else b if isinstance(b, float) else a + b


def tree(parts, name: str, saturate: bool):
    """Sum of a balanced tree of adders, by levels; the last of an odd level waits for the next."""
    while len(parts) > 1:
        level, parts = parts, []
        while len(level) > 1:
            left, right, *level = level
            parts.append(round_float(add(left, right), name, saturate))
        parts += level
    return parts[0]


def fp_mac(activations, weights, product, accumulator, saturate=False, lanes=1) -> float:
    total = Fraction(0)
    products = [Fraction(a) * Fraction(w) for a, w in zip(activations, weights, strict=True)]
    products += [Fraction(0)] * (-len(products) % lanes)
    if product is not None:
        products = [round_float(p, product, saturate) for p in products]
    for first in range(0, len(products), lanes):
        part = tree(products[first : first + lanes], accumulator, saturate)
        total = round_float(add(total, part), accumulator, saturate)
    return float(total)


def int_mac(activations, weights, bits: int, overflow: str, lanes: int = 1) -> int:
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    total = 0
    pairs = list(zip(activations, weights, strict=True))
    while pairs:
        now, pairs = pairs[:lanes], pairs[lanes:]
        total += sum(int(a) * int(w) for a, w in now)
        if overflow == "saturate":
            total = max(low, min(high, total))
        else:
            while total > high:
                total -= 2**bits
            while total < low:
                total += 2**bits
    return total


def small_product(a: int, w: int, a_bits: int, w_bits: int, size: int) -> int:
    """A product from multipliers of ``size`` bits, operands as strings of two's complement bits."""

    def pieces(value: int, bits: int) -> list[int]:
        whole = -(-bits // size) * size
        text = "".join(str((value >> i) & 1) for i in reversed(range(whole)))  # sign repeated
        cut = [text[i : i + size] for i in range(0, whole, size)]
        signed = int(cut[0], 2) - (2**size if cut[0][0] == "1" else 0)
        return [int(each, 2) for each in reversed(cut[1:])] + [signed]

    total = 0
    for i, x in enumerate(pieces(a, a_bits)):
        for j, y in enumerate(pieces(w, w_bits)):
            assert max(abs(x), abs(y)) < 2**size
            total += x * y * 2 ** (size * (i + j))
    return total


def split_mac(pairs, a_bits, w_bits, size, port, bits, overflow, lanes, adds_up) -> int:
    """A PE of ``port`` x ``port`` bits that splits, its products in order, clock by clock."""
    products = [small_product(a, w, a_bits, w_bits, size) for a, w in pairs]
    side = [port // max(each, size) for each in (a_bits, w_bits)]
    at_once = lanes * (side[0] * side[1] if adds_up else 1)
    return int_mac(products, [1] * len(products), bits, overflow, at_once)


def lut_sum(activations, entry: int, table: str):
    """One table entry, its sums rounded at every node of the tree."""
    parts = [Fraction(a) if entry >> i & 1 else -Fraction(a) for i, a in enumerate(activations)]
    return tree(parts, table, False)


def lut_output(activations, planes, scales, inputs: int, table: str, accumulator: str) -> float:
    padded = [*activations, *[0.0] * (-len(activations) % inputs)]
    total = Fraction(0)
    for codes, scale in zip(planes, scales, strict=True):
        partial = Fraction(0)
        for c, code in enumerate(codes):
            entry = lut_sum(padded[c * inputs : (c + 1) * inputs], int(code), table)
            partial = round_float(add(partial, entry), accumulator)
        shifted = partial if isinstance(partial, float) else partial * Fraction(2) ** int(scale)
        total = round_float(add(total, shifted), accumulator)
    return float(total)


# Flint magnitudes by the low three bits of a code: (mantissa, shift).
FLINT4 = [(0, 0), (1, 0), (1, 1), (3, 0), (1, 2), (3, 1), (1, 3), (1, 4)]
# Outlier magnitudes of OliVe by the low three bits of a code.
OLIVE = {1: 12, 2: 16, 3: 24, 4: 32, 5: 48, 6: 64, 7: 96}


def olive_values(codes) -> list[int]:
    values = []
    for i, code in enumerate(codes):
        other = codes[i ^ 1] if i ^ 1 < len(codes) else 0
        if code == 8:
            values.append(0)
        elif other == 8:
            values.append(OLIVE[code % 8] * (-1 if code > 8 else 1))
        else:
            values.append(code - 16 if code > 8 else code)
    return values


def table_product(activations, codes, grids, choices, scales, group: int) -> list[list[float]]:
    """Grid-table product; every float32 addition takes an exact product, as fractions."""

    def through_double(x: Fraction) -> Fraction:
        as_double = Fraction(float(x))  # Python divides to the nearest double, ties to even
        return round_float(as_double, "fp32")

    out = []
    for a in activations:
        row = []
        for n, c in enumerate(codes):
            total = Fraction(0)
            for g in range(len(scales[n])):
                partial = Fraction(0)
                for k in range(g * group, min((g + 1) * group, len(c))):
                    value = Fraction(float(grids[choices[n][g]][c[k]]))
                    partial = through_double(partial + Fraction(float(a[k])) * value)
                total = through_double(total + partial * Fraction(float(scales[n][g])))
            row.append(float(total))
        out.append(row)
    return out
