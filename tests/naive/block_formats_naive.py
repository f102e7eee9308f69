"""Published block formats as their papers describe them, a block at a time, in float64.

Shares no code with the package. Each function takes a block of numbers that are exact in float32
and returns its values; scales of powers of two and short significands keep all steps exact, but
for the divisions, whose quotients are compared nowhere near a tie on random data.
"""

from math import floor, frexp, inf, ldexp

E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


def near(y, grid):
    """The value nearest y; of equals the one at an even place."""
    return min(enumerate(grid), key=lambda pair: (abs(pair[1] - y), pair[0] % 2))[1]


def signed(y, grid):
    value = near(abs(y), grid)
    return -value if y < 0 else value


def log2_floor(x):
    return frexp(x)[1] - 1


def rounded(x, bits):
    """x with so many bits after the leading one, ties to even."""
    power = log2_floor(x) - bits
    return ldexp(round(ldexp(x, -power)), power)


def hif4(block):
    """64 values: E6M2, one bit for each 8, one for each 4, elements in quarters up to 1.75."""
    top = max(map(abs, block))
    if top == 0:
        return [0.0] * 64
    s = min(max(rounded(top / 7, 2), 2.0**-48), 1.5 * 2.0**15)
    out = []
    for i in range(0, 64, 8):
        eight = block[i : i + 8]
        s8 = s * (2 if max(map(abs, eight)) / s >= 4 else 1)
        for j in range(0, 8, 4):
            four = eight[j : j + 4]
            s4 = s8 * (2 if max(map(abs, four)) / s8 >= 2 else 1)
            out += [min(max(round(4 * x / s4), -7), 7) / 4 * s4 for x in four]
    return out


def m2xfp(block):
    """32 values: E8M0 of floor(log2) - 2 + b, a ratio for each 8, both by least squared error."""
    top = max(map(abs, block))
    if top == 0:
        return [0.0] * 32
    best = (inf, None)
    for b in (-1, 0, 1):
        s = ldexp(1.0, log2_floor(top) - 2 + b)
        total, out = 0.0, []
        for i in range(0, 32, 8):
            least = (inf, None)
            for r in (1, 1.25, 1.5, 1.75):
                values = [signed(x / (s * r), E2M1) * s * r for x in block[i : i + 8]]
                error = sum((v - x) ** 2 for v, x in zip(values, block[i : i + 8], strict=True))
                if error < least[0]:
                    least = (error, values)
            total += least[0]
            out += least[1]
        if total < best[0]:
            best = (total, out)
    return best[1]


E2M3 = tuple(k / 8 for k in range(8)) + tuple(
    2.0**e * (1 + m / 8) for e in range(3) for m in range(8)
)


def m2xfp_activation(block):
    """32 values: MXFP4, but the largest code of each 8, the first, is one of four E2M3 codes."""
    top = max(map(abs, block))
    if top == 0:
        return [0.0] * len(block)
    s, out = ldexp(1.0, log2_floor(top) - 2), []
    for i in range(0, len(block), 8):
        eight = block[i : i + 8]
        codes = [E2M1.index(near(abs(x) / s, E2M1)) for x in eight]
        values = [E2M1[code] for code in codes]
        first = codes.index(max(codes))
        j = E2M3.index(near(abs(eight[first]) / s, E2M3))
        values[first] = E2M3[max(0, 4 * codes[first] - 1, min(j, 4 * codes[first] + 2))]
        out += [v * s if x > 0 else -v * s for v, x in zip(values, eight, strict=True)]
    return out


def mx_plus(block, grid):
    """32 values: MX, but the largest, the first, has all bits but the sign as its mantissa."""
    top = max(map(abs, block))
    if top == 0:
        return [0.0] * len(block)
    power = log2_floor(max(grid))
    s = ldexp(1.0, log2_floor(top) - power)
    out = [signed(x / s, grid) * s for x in block]
    sizes = [ldexp(1 + k / len(grid), power) for k in range(len(grid))]
    first = [abs(x) for x in block].index(top)
    out[first] = signed(block[first] / s, sizes) * s
    return out


def micro_exponents(block, bits):
    """16 values: the exponent of the largest, one bit less for pairs that need it, magnitudes."""
    top = max(map(abs, block))
    if top == 0:
        return [0.0] * 16
    shared, out = log2_floor(top), []
    for i in range(0, 16, 2):
        pair = block[i : i + 2]
        largest = max(map(abs, pair))
        shift = 1 if largest < ldexp(1.0, shared) else 0
        step = ldexp(1.0, shared - shift - (bits - 1))
        most = (1 << bits) - 1
        out += [min(max(round(x / step), -most), most) * step for x in pair]
    return out


def msfp(block, bits):
    """16 values under the exponent of the largest; so many bits of magnitude."""
    top = max(map(abs, block))
    if top == 0:
        return [0.0] * 16
    step, most = ldexp(1.0, log2_floor(top) - (bits - 1)), (1 << bits) - 1
    return [min(max(round(x / step), -most), most) * step for x in block]


def floats(exponent_bits, mantissa_bits, bias, largest):
    """The unsigned floats with subnormals up to a largest one."""
    found = []
    for e in range(1 << exponent_bits):
        for m in range(1 << mantissa_bits):
            hidden = m + ((1 << mantissa_bits) if e else 0)
            found.append(ldexp(hidden, max(e, 1) - bias - mantissa_bits))
    return [v for v in found if v <= largest]


E4M3 = floats(4, 3, 7, 448.0)
E3M3 = floats(3, 3, 3, 28.0)


def least_of(block, tensor, grids, scales):
    """The values of the first grid of least squared error; its scale from its largest magnitude."""
    top = max(map(abs, block))
    best = (inf, None)
    for grid in grids:
        s = near(top / tensor / max(map(abs, grid)), scales) if top else 0.0
        if top and s == 0:
            s = scales[1]
        values = [near_of(x / (tensor * s), grid) * s * tensor if s else 0.0 for x in block]
        error = sum((v - x) ** 2 for v, x in zip(values, block, strict=True))
        if error < best[0]:
            best = (error, values)
    return best[1]


def near_of(y, grid):
    return min(grid, key=lambda v: abs(v - y))


def razer(block, tensor):
    """16 values: E2M1 and one of +5, -5, +8, -8, under E3M3 and the tensor's scale."""
    plain = [*E2M1, *(-v for v in E2M1[1:])]
    return least_of(block, tensor, [[*plain, v] for v in (5.0, -5.0, 8.0, -8.0)], E3M3)


def razer_activation(block, tensor):
    """16 values: NVFP4, with the code of -0 for -5 or +5, whichever errs less."""
    plain = [*E2M1, *(-v for v in E2M1[1:])]
    return least_of(block, tensor, [[*plain, v] for v in (-5.0, 5.0)], E4M3)


def nvif4(block, tensor, seventh):
    """16 values: E2M1, or integers to 7 in steps of `seventh`, under E4M3."""
    plain = [*E2M1, *(-v for v in E2M1[1:])]
    return least_of(block, tensor, [plain, [k * seventh for k in range(-7, 8)]], E4M3)


def q4_0(block, half):
    """32 values: the largest becomes -8 under a signed scale; `half` rounds to float16."""
    extreme = max(block, key=abs)
    d = half(extreme / -8)
    return [min(max(floor(x / d + 0.5), -8), 7) * d if d else 0.0 for x in block]
