"""OliVe, dual grain and sums of signed scales, element by element in plain Python.

Shares no code with the package. Everything is exact: values are fractions, so equal errors are
equal and the first candidate wins.
"""

from fractions import Fraction

# OliVe's outlier levels in units of the normal integers, as printed for 4 bits and made by the
# authors' quantizer for 3: 2 exponent bits from exponent 5, over the unit 32 / 2**(bits - 1)
OUTLIERS = {3: (8, 16, 32), 4: (12, 16, 24, 32, 48, 64, 96)}


def nearest(value, levels):
    """The level nearest a magnitude, the one with an even place (from 1) among equals."""
    key = [(abs(Fraction(v) - value), (place + 1) % 2) for place, v in enumerate(levels)]
    return levels[key.index(min(key))]


def round_half_even(value):
    return round(Fraction(value))


def olive_pair(left, right, bits):
    """Decoded pair, in units of the scale; ``right`` may be missing."""
    top = 2 ** (bits - 1) - 1
    edge = Fraction(top + OUTLIERS[bits][0], 2)

    def normal(v):
        return max(-top, min(top, round_half_even(v)))

    def outlier(v):
        return (1 if v > 0 else -1) * nearest(abs(v), OUTLIERS[bits])

    if right is None:
        return (normal(left),)
    if abs(left) > edge and (abs(left) >= abs(right) or abs(right) <= edge):
        return outlier(left), 0
    if abs(right) > edge:
        return 0, outlier(right)
    return normal(left), normal(right)


def olive_values(y, bits):
    """Decoded values of a group of scaled elements (fractions)."""
    found = []
    for i in range(0, len(y), 2):
        found += olive_pair(y[i], y[i + 1] if i + 1 < len(y) else None, bits)
    return found


def dual_grain_values(x, whole, channel, zero):
    """Codes and INT8 values of a group: (code - zero) x whole stays within -127..127."""
    room = 127 // whole
    low, high = max(0, zero - room), min(15, zero + room)
    codes = [max(low, min(high, round_half_even(v / (whole * channel)) + zero)) for v in x]
    return codes, [(c - zero) * whole for c in codes]


def signed_sums(alpha):
    """The sum of signed scales of every code; bit i of a code is 1 for +alpha[i]."""
    return [
        sum((a if code >> i & 1 else -a) for i, a in enumerate(alpha))
        for code in range(2 ** len(alpha))
    ]


def nearest_sum_error(x, alpha):
    """The least squared error of a group under given scales."""
    sums = signed_sums([Fraction(float(a)) for a in alpha])
    return sum(min((Fraction(float(v)) - s) ** 2 for s in sums) for v in x)
