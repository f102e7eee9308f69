"""Nested scales group by group, in plain Python loops; values are compared as exact fractions.

Shares no code with the package. A scheme is plain data: see `quantize`.
"""

from bisect import bisect_left
from fractions import Fraction
from itertools import pairwise
from math import frexp, inf

import numpy as np

f32 = np.float32


def nearest(y, table):
    """Code of the value nearest y, ties to the even code, between equals toward zero.

    table: (value, code) in ascending order of values; only y's two neighbors are looked at.
    """
    exact = Fraction(float(y))
    best = None
    place = bisect_left(table, (float(y), -1))
    for v, code in table[max(place - 1, 0) : place + 1]:
        key = (abs(Fraction(v) - exact), code % 2, abs(v))
        if best is None or key < best[0]:
            best = (key, code)
    return best[1]


def blocks(shape, size):
    """The rows and columns of each block of a matrix, block by block; 0 is everything."""
    (rows, columns), (tall, wide) = shape, size
    tall, wide = tall or rows, wide or columns
    return [
        (range(i, min(i + tall, rows)), range(j, min(j + wide, columns)))
        for i in range(0, rows, tall)
        for j in range(0, columns, wide)
    ]


class Level:
    """A level: ``size``, ``values`` (by code; None unused), ``rule``, ``search``, ``signed``."""

    def __init__(self, size, values, rule, search, signed, anchor):
        self.size, self.rule, self.search, self.signed = size, rule, search, signed
        self.anchor = anchor
        self.table = None
        if values is not None:
            self.table = [(c, v) for c, v in enumerate(values) if v is not None]
            self.minus = next((c for c, v in self.table if v == 0 and str(v) == "-0.0"), None)
            signs = {c for c, v in self.table if v == 0 and str(v) == "-0.0"}
            if any(v == 0 and c not in signs for c, v in self.table):
                self.table = [(c, v) for c, v in self.table if c not in signs]
            self.by_code = dict(self.table)
            if self.minus is not None:
                self.by_code[self.minus] = -0.0
            self.rising = sorted((v, c) for c, v in self.table)
            self.positive = sorted((v, c) for c, v in self.table if v > 0)
            doubles = zip(self.positive, self.positive[1:], strict=False)
            self.power = frexp(self.positive[0][0])[0] == 0.5 and all(
                b[0] == 2 * a[0] for a, b in doubles
            )

    def value(self, code):
        return f32(code) if self.table is None else f32(self.by_code[code])

    def near(self, y, wanted):
        """The code nearest a number; where wanted, not that of 0. A float32 is its own code."""
        if self.table is None:
            found = f32(y)
            return float(np.nextafter(f32(0), f32(1))) if wanted and found == 0 else float(found)
        code = nearest(y, self.rising)
        if self.by_code[code] == 0 and np.signbit(y) and not wanted and self.minus is not None:
            return self.minus
        if wanted and self.by_code[code] == 0:
            if y < 0 and self.signed:
                return max((v, c) for c, v in self.table if v < 0)[1]
            return self.positive[0][1]
        return code

    def by_rule(self, span, reach, above, mantissa_bits, negative):
        """The code of a scale by the rule."""
        if self.rule == "nearest" or span == 0:
            real = float(span / type(span)(reach))
            y = (real / float(above) if above > 0 else 0.0) if above is not None else real
            return self.near(-y if negative else y, span > 0)
        unit = Fraction(reach)
        if self.power and self.rule != "rceil":
            unit = Fraction(2) ** (frexp(reach)[1] - 1)
        x = Fraction(float(span))
        if above is not None and above > 0:
            unit *= Fraction(float(above))
        if self.rule == "even":
            # in units of the scales above, with so many bits after the leading one, half goes up
            y = x / unit
            power = Fraction(1)
            while power * 2 <= y:
                power *= 2
            while power > y:
                power /= 2
            kept = 2**mantissa_bits
            if int(y / power * kept + Fraction(1, 2)) == 2 * kept:
                x = 2 * power * unit
        if self.rule == "significand":
            while x >= 2 * unit:
                x /= 2
            while x < unit:
                x *= 2
        values = [(Fraction(v) * unit, c) for v, c in self.positive]
        if self.rule in ("ceil", "rceil"):
            return next((c for v, c in values if v >= x), values[-1][1])
        return next((c for v, c in reversed(values) if v <= x), values[0][1])

    def tried(self, base, span):
        """The codes a search tries."""
        if not self.search or span == 0:
            return [base]
        if len(self.positive) <= 16:
            return [c for _, c in self.positive]
        top = 2.0 ** (frexp(self.positive[-1][0])[1] - 1)
        octave = 1 << (sum(v >= top for v, _ in self.positive) - 1).bit_length()
        place = [c for _, c in self.positive].index(base)
        last = len(self.positive) - 1
        steps = range(place - octave, place + octave + 1)
        return [self.positive[min(max(k, 0), last)][1] for k in steps]


class Coding:
    """One matrix in one scheme."""

    def __init__(self, x, members, levels, offset):
        self.x, self.members, self.levels, self.offset = x, members, levels, offset
        self.kind = offset[0] if offset else None
        self.widths = [self.width(m) for m in members]
        self.cut = [blocks(x.shape, level.size) for level in levels]
        self.mantissa = [m["mantissa_bits"] for m in members]
        self.least = min(self.widths)
        self.rising = [
            sorted((v, c) for c, v in enumerate(m["values"]) if v is not None and c != zero)
            for m, zero in ((m, m["negative_zero"]) for m in members)
        ]
        self.fixed = None
        from_zero = all(min(v for v in m["values"] if v is not None) == 0 for m in members)
        if self.kind == "minimum" and from_zero:
            count = len(self.cut[0])
            self.fixed = self.offsets([0] * count, [f32(1)] * count)[1]

    def width(self, member):
        finite = [v for v in member["values"] if v is not None]
        if self.kind:
            return max(finite) - min(finite)
        return max(abs(v) for v in finite)

    def inside(self, k, at):
        """The groups of the level below that lie in a group."""
        rows, columns = self.cut[k][at]
        return [
            i for i, (r, c) in enumerate(self.cut[k - 1]) if r.start in rows and c.start in columns
        ]

    def ends(self, at):
        rows, columns = self.cut[0][at]
        part = [self.x[r, c] for r in rows for c in columns]
        low, high = float(min(part)), float(max(part))
        unsigned = self.kind and all(v >= 0 for _, v in self.offset[1][0].table or [(0, -1)])
        if (self.kind == "zero" and not self.offset[2]) or unsigned:
            low, high = min(low, 0.0), max(high, 0.0)
        return low, high, part

    def span(self, k, at):
        if k:
            return max(self.span(k - 1, i) for i in self.inside(k, at))
        low, high, part = self.ends(at)
        if not self.kind:
            return max(abs(v) for v in part)
        if not self.offset[2]:
            return np.float64(high - low)
        # a float zero point: near enough to 0 to keep a digit after the point, and to fit
        bits, largest = self.offset[2]
        share = max(2.0**-bits, 4 * max(self.widths) / largest)
        return np.float64(max(high - low, share * max(abs(low), abs(high))))

    def best(self, k, at, above):
        """Error, then codes of scales by (level, group), members and scales by group."""
        level, span = self.levels[k], self.span(k, at)
        reach_below = 1.0
        for lower in self.levels[:k]:
            reach_below *= lower.anchor
        found = None
        choices = enumerate(self.widths) if k == 0 else [(None, self.least)]
        for member, width in choices:
            negative = k == 0 and level.signed and self.negative(at)
            base = level.by_rule(
                span, width * reach_below, above, self.mantissa[member or 0], negative
            )
            for code in level.tried(base, span):
                own = level.value(code) if above is None else level.value(code) * above
                new = self.leaf(at, own, member, code) if k == 0 else self.down(k, at, own, code)
                if found is None or new[0] < found[0]:
                    found = new
        return found

    def negative(self, at):
        values = [v for v in self.members[0]["values"] if v is not None]
        part = self.ends(at)[2]
        extreme = max(part, key=abs)
        return extreme != 0 and (extreme < 0) == (max(values) >= -min(values))

    def down(self, k, at, own, code):
        error, codes, members, scales = 0.0, {(k, at): code}, {}, {}
        for i in self.inside(k, at):
            part = self.best(k - 1, i, own)
            error += part[0]
            codes |= part[1]
            members |= part[2]
            scales |= part[3]
        return error, codes, members, scales

    def leaf(self, at, own, member, code):
        # a minimum of several levels hangs on other groups: it is searched under only where it
        # does not hang on scales, else not at all
        shift = self.fixed[at] if self.fixed else None
        if self.kind and not self.fixed and len(self.offset[1]) == 1:
            shift = self.offset[1][0].value(self.offset_code(at, own, member, None))
        error = inf
        if not self.kind or shift is not None:
            part = self.ends(at)[2]
            codes = [self.code(v, own, member, shift) for v in part]
            backs = [self.back(code, own, member, shift) for code in codes]
            squares = [float(v - back) ** 2 for v, back in zip(part, backs, strict=True)]
            error = float(np.sum(np.array(squares)))
        return error, {(0, at): code}, {at: member}, {at: own}

    def real_offset(self, at, own, member):
        least = min(v for v in self.members[member]["values"] if v is not None)
        low = self.ends(at)[0]
        if self.kind == "minimum":
            return float(own) * least - low
        return least - (low / float(own) if own != 0 else 0.0)

    def offset_code(self, at, own, member, above):
        real = self.real_offset(at, own, member) + 0.0  # -0 is 0
        if above is not None:
            real = real / float(above) if above > 0 else 0.0
        return self.offset[1][0].near(real, False)

    def code(self, v, own, member, shift):
        if self.kind == "minimum":
            v = v + shift
        y = v / own if own != 0 else f32(0)
        if self.kind == "zero":
            y = y + shift
        table = self.members[member]
        zero = table["negative_zero"]
        code = nearest(y, self.rising[member])
        minus = table["values"][code] == 0 and zero is not None and np.signbit(y)
        return zero if minus else code

    def back(self, code, own, member, shift):
        v = f32(self.members[member]["values"][code])
        if self.kind == "minimum":
            return v * own - shift
        return (v - shift) * own if self.kind == "zero" else v * own

    def offsets(self, members, scales):
        """Codes of minima or zero points by level, and their values by group."""
        levels = self.offset[1]
        cut = [blocks(self.x.shape, level.size) for level in levels]
        spans = [[abs(self.real_offset(i, scales[i], members[i])) for i in range(len(cut[0]))]]
        holds = []
        for lower, upper in pairwise(cut):
            inside = [
                [i for i, (r, c) in enumerate(lower) if r.start in rows and c.start in columns]
                for rows, columns in upper
            ]
            holds.append(inside)
            spans.append([max(spans[-1][i] for i in each) for each in inside])
        codes, above = {}, [None] * len(cut[-1])
        for k in range(len(levels) - 1, 0, -1):
            reach = 1.0
            for lower in levels[:k]:
                reach *= lower.anchor
            below = [None] * len(cut[k - 1])
            for at, span in enumerate(spans[k]):
                code = levels[k].by_rule(np.float64(span), reach, above[at], 0, False)
                codes[k, at] = code
                own = levels[k].value(code)
                for i in holds[k - 1][at]:
                    below[i] = own if above[at] is None else own * above[at]
            above = below
        values = []
        for at in range(len(cut[0])):
            code = self.offset_code(at, scales[at], members[at], above[at])
            codes[0, at] = code
            value = levels[0].value(code)
            values.append(value if above[at] is None else value * above[at])
        return codes, values


def quantize(x, members, levels, offset=None):
    """Codes and values of a matrix, scales' codes by (level, group), members by group.

    members: a list of tables ``values`` (by code, None unused), ``negative_zero`` and
    ``mantissa_bits``; levels: `Level`, the innermost first; offset: kind and levels.
    """
    coding = Coding(x, members, levels, offset)
    codes, chosen, scales = {}, {}, {}
    for at in range(len(coding.cut[-1])):
        _, raws, member, own = coding.best(len(levels) - 1, at, None)
        codes |= raws
        chosen |= member
        scales |= own
    raws, shifts = coding.offsets(chosen, scales) if offset else ({}, [None] * len(coding.cut[0]))
    found, back = np.zeros(x.shape, np.int64), np.zeros(x.shape, f32)
    for at, (rows, columns) in enumerate(coding.cut[0]):
        for r in rows:
            for c in columns:
                code = coding.code(x[r, c], scales[at], chosen[at], shifts[at])
                found[r, c] = code
                back[r, c] = coding.back(code, scales[at], chosen[at], shifts[at])
    return found, back, codes, chosen, raws
