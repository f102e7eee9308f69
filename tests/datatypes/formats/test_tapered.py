"""Posits, takums and logarithmic numbers against slow twins, thresholds of one's own."""

from decimal import Decimal, localcontext
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bitlathe as bl
from bitlathe.datatypes.formats import fast_casts
from bitlathe.datatypes.formats.constructors import codebook
from bitlathe.datatypes.formats.tapered import log_format, posit_format, takum_format
from bitlathe.datatypes.schemes.scheme import Scheme
from bitlathe.datatypes.tensors.tensor import QuantizedTensor


def rounded_string(sign, text, bits):
    """The code of a number whose endless string of bits after the sign is given, with its rest."""
    kept, rest = text[: bits - 1], text[bits - 1 :]
    code = int(kept, 2)
    above = rest.startswith("1") and "1" in rest[1:]
    tie = rest.startswith("1") and not above
    code += above or (tie and code % 2)
    code = min(max(code, 1), 2 ** (bits - 1) - 1)
    return code if sign > 0 else 2**bits - code


def binary(y):
    """Exponent and fraction bits of a positive float."""
    whole = Fraction(y)
    exponent = 0
    while whole >= 2:
        whole, exponent = whole / 2, exponent + 1
    while whole < 1:
        whole, exponent = whole * 2, exponent - 1
    fraction = ""
    whole -= 1
    while whole:
        whole *= 2
        fraction += str(int(whole >= 1))
        whole -= whole >= 1
    return exponent, fraction


def posit_code(y, bits, exponent_bits):
    """The posit standard's rounding: write the string down, cut it, look at what is cut off."""
    if y == 0:
        return 0
    exponent, fraction = binary(abs(y))
    regime, low = divmod(exponent, 2**exponent_bits)
    text = "1" * (regime + 1) + "0" if regime >= 0 else "0" * -regime + "1"
    text += f"{low:b}".zfill(exponent_bits) if exponent_bits else ""
    return rounded_string(np.sign(y), text + fraction + "0" * bits, bits)


def takum_code(y, bits):
    """The same of a linear takum: direction, regime, characteristic, fraction."""
    if y == 0:
        return 0
    exponent, fraction = binary(abs(y))
    if not -255 <= exponent <= 254:
        code = 2 ** (bits - 1) - 1 if exponent > 0 else 1
        return code if y > 0 else 2**bits - code
    if exponent >= 0:
        regime = (exponent + 1).bit_length() - 1
        head, rest = f"1{regime:03b}", exponent + 1 - 2**regime
    else:
        regime = (-exponent).bit_length() - 1
        head, rest = f"0{7 - regime:03b}", exponent + 2 ** (regime + 1) - 1
    text = head + (f"{rest:b}".zfill(regime) if regime else "") + fraction
    return rounded_string(np.sign(y), text + "0" * (bits + 8), bits)


numbers = st.one_of(
    st.floats(-(2.0**300), 2.0**300, allow_subnormal=False),
    st.floats(-64, 64, width=16),
    st.sampled_from([0.0, 1e-30, -1e-30, 1e30, -1e30, 2.0**-24, 2.0**-25]),
)


@settings(max_examples=60)
@given(numbers, st.integers(0, 4), st.integers(5, 10))
def test_posits_are_rounded_as_strings(y, exponent_bits, bits):
    fmt = posit_format(bits, exponent_bits)
    inputs = [y, *fmt.grid.midpoints[:: 1 + fmt.grid.midpoints.size // 12]]
    assert fmt.encode(inputs).tolist() == [posit_code(v, bits, exponent_bits) for v in inputs]


@settings(max_examples=60)
@given(numbers, st.integers(5, 13))
def test_takums_are_rounded_as_strings(y, bits):
    fmt = takum_format(bits)
    inputs = [y, *fmt.grid.midpoints[:: 1 + fmt.grid.midpoints.size // 12]]
    assert fmt.encode(inputs).tolist() == [takum_code(v, bits) for v in inputs]


def test_values_are_the_published_ones():
    # Gustafson and Yonemoto, Beating Floating Point at its Own Game, 2017, figure 5
    assert posit_format(16, 3).values[0b0000110111011101] == 477 / 134217728
    eight = bl.format("posit8")
    assert (eight.max, eight.smallest_subnormal) == (2.0**24, 2.0**-24)
    assert (bl.format("posit16").max, posit_format(8, 0).max) == (2.0**56, 64)
    assert posit_format(16, 1).max == 2.0**28
    assert bl.format("posit8").nan_codes == (128,)
    # a takum by its own formula, ((1 - 3 S) + m) 2 ** ((-1) ** S (c + S)), negatives included
    for bits in (8, 12):
        fmt = takum_format(bits)
        for code in range(1, 2**bits):
            if code == 2 ** (bits - 1):
                continue
            text = f"{code:0{bits}b}".ljust(12, "0")
            sign, direction, regime = int(text[0]), int(text[1]), int(text[2:5], 2)
            length = regime if direction else 7 - regime
            low = 2**length - 1 if direction else -(2 ** (length + 1)) + 1
            c = low + int(text[5 : 5 + length] or "0", 2)
            m = Fraction(int(text[5 + length :] or "0", 2), 2 ** len(text[5 + length :]))
            exponent = -(c + 1) if sign else c
            expected = (1 - 3 * sign + m) * Fraction(2) ** exponent
            assert Fraction(float(fmt.values[code])) == expected


@pytest.mark.parametrize("fmt", [bl.format("lns4"), bl.format("lns8"), log_format(5, 0)])
def test_logarithmic_numbers_are_rounded_in_the_exponent(fmt):
    with localcontext() as exact:
        exact.prec = 60
        step = {"lns4": 1, "lns8": 3}.get(fmt.name, 0)
        two = Decimal(2)
        parts = 2**step
        zero = fmt.values[0] == 0
        thresholds = [two ** ((Decimal(e) + Decimal("0.5")) / parts) for e in range(0, 9)]
        for turn in thresholds:
            for off in (-1, 1):
                y = float(turn) * (1 + off * 2.0**-50)
                e = Decimal(y).ln() / two.ln() * parts
                expected = int(e.to_integral_value())
                code = int(fmt.encode(y))
                half = 1 << (fmt.bits - 1)
                assert code == min(max(expected, 0), half - 1)
                assert int(fmt.encode(-y)) == (code + half if code or not zero else 0)
        # the float64 on both sides of each threshold
        for cut in fmt.grid.midpoints:
            low, high = fmt.encode([cut, np.nextafter(cut, np.inf)])
            assert low != high or cut in fmt.grid.values
    for code, value in enumerate(fmt.values[: 1 << (fmt.bits - 1)]):
        if code or not zero:
            assert Fraction(float(value)) ** parts <= Fraction(2) ** code
            assert Fraction(float(np.nextafter(value, np.inf))) ** parts > Fraction(2) ** code


@pytest.mark.parametrize("name", ["posit8", "posit16", "takum8", "lns4", "lns8"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_compiled_codes_are_those_of_the_search(name, dtype, monkeypatch):
    fmt = bl.format(name)
    with np.errstate(over="ignore"):
        x = np.concatenate([fmt.grid.midpoints[::97], fmt.grid.values[::97]]).astype(dtype)
    x = x[np.isfinite(x)]
    x = np.concatenate([x, np.nextafter(x, dtype(9)), [0, -0.0, 1e-40, -1e-40, 3e38]]).astype(dtype)
    for rounding in ("even", "away", "down", "up", "zero"):
        found = fast_casts.encode(fmt.grid, x, rounding, "saturate", min_size=1)
        with monkeypatch.context() as patch:
            patch.setattr(fast_casts, "have_numba", lambda: False)
            np.testing.assert_array_equal(found, fmt.encode(x, rounding=rounding))


def test_nothing_but_zero_becomes_zero_whatever_the_rule_of_ties():
    for name in ("posit8", "takum8"):
        for rounding in ("even", "away", "zero", "up", "down"):
            found = bl.format(name).encode([1e-300, -1e-300, 0.0, -0.0], rounding=rounding)
            assert found.tolist() == [1, 255, 0, 0]


@pytest.mark.parametrize("rest", ["@g8/fp16", "@g8/int8", "@g8/e8m0", "@g8/ue4m3@tensor/fp32"])
def test_scales_of_a_range_beyond_float32_are_refused(rest):
    with pytest.raises(bl.BitlatheError, match=r"beyond float32.*takum8@channel/pot\+search"):
        bl.Scheme.parse("takum8" + rest)
    assert bl.Scheme.parse("takum8@channel/pot+search").clip == "search"
    assert bl.Scheme.parse("bf16" + rest)


@pytest.mark.parametrize(("m", "o"), [(4, 2), (6, 3)])
def test_bidirectional_blocks_share_an_exponent_below_the_largest(m, o):
    """E = max - (m - o): an element beyond it is shifted the other way, by m - o places."""
    x = np.random.default_rng(m).standard_t(3, (6, 64)).astype(np.float32)
    q = bl.quantize(x, f"bbfp{m}_{o}")
    values = q.dequantize("float64").reshape(-1, 32)
    assert q.bits_per_element == m + 2 + 8 / 32
    for group, found in zip(x.reshape(-1, 32), values, strict=True):
        exponents = np.frexp(np.abs(group))[1] - 1
        shared = exponents.max() - (m - o)
        for v, got, exponent in zip(group, found, exponents, strict=True):
            step = Fraction(2) ** int((shared + m - o if exponent > shared else shared) - m + 1)
            k = round(abs(Fraction(float(v))) / step)
            # what rounds up to the next binade takes the flag; the last one has none
            k = min(k, 2**m - (exponent > shared))
            error = abs(abs(Fraction(float(v))) - k * step)
            assert abs(Fraction(float(v)) - Fraction(float(got))) == error


def test_thresholds_of_ones_own_decide(tmp_path):
    fmt = codebook("mine", [0, 1, -1, 4], thresholds=[-0.9, 0.25, 1.5])
    assert fmt.round([-0.95, -0.5, 0.25, 0.26, 1.4, 1.6]).tolist() == [-1, 0, 0, 1, 1, 4]
    assert fmt.round([0.25], rounding="up").tolist() == [1]
    assert fmt != codebook("mine", [0, 1, -1, 4])
    x = np.random.default_rng(0).standard_normal((8, 64)).astype(np.float32)
    for scheme in (Scheme.of(fmt, "g16", "fp16"), Scheme.of(fmt, "g16", "e4m3")):
        q = bl.quantize(x, scheme)
        q.save(tmp_path / "q.safetensors")
        back = QuantizedTensor.load(tmp_path / "q.safetensors")
        assert back.scheme == scheme
        assert bl.quantize(x, back.scheme).codes.tolist() == q.codes.tolist()
        y = x.reshape(-1, 16) / q.scales.reshape(-1, 1)
        expected = np.array([-1, 0, 1, 4])[np.digitize(y, [-0.9, 0.25, 1.5])]
        np.testing.assert_array_equal(fmt.decode(q.codes).reshape(-1, 16), expected)
    with pytest.raises(bl.BitlatheError, match="2 thresholds given, 4 distinct values have 3"):
        codebook("mine", [0, 1, -1, 4], thresholds=[0, 1])
    with pytest.raises(bl.BitlatheError, match=r"threshold 1 is 1\.5, must lie from 0 to 1"):
        codebook("mine", [0, 1, -1, 4], thresholds=[0, 1.5, 2])
    path = tmp_path / "own.yaml"
    path.write_text("values: [0, 1, -1, 4]\nthresholds: [-0.9, 0.25, 1.5]\n")
    assert bl.format(str(path)).round([0.3]).tolist() == [1]


def test_hifloat8_is_what_its_paper_says():
    """Fields by hand: a prefix of the code, the exponent's sign and size, the mantissa."""
    made = bl.format("HiFloat8")
    # code in fields: sign, prefix, exponent, mantissa
    for code, value in (
        (0b0_0000_000, 0.0),
        (0b0_0000_001, 2.0**-22),
        (0b0_0000_111, 2.0**-16),
        (0b0_0001_101, 1 + 5 / 8),
        (0b1_001_0_011, -2 * (1 + 3 / 8)),
        (0b0_001_1_011, (1 + 3 / 8) / 2),
        (0b0_01_01_100, 2.0**3 * 1.5),
        (0b0_01_10_001, 2.0**-2 * (1 + 1 / 8)),
        (0b0_10_011_11, 2.0**7 * 1.75),
        (0b0_10_100_01, 2.0**-4 * 1.25),
        (0b1_11_0111_0, -(2.0**15)),
        (0b0_11_1111_1, 2.0**-15 * 1.5),
    ):
        assert made.decode(code) == value
        assert made.encode(value) == code
    assert made.inf_codes == (0x6F, 0xEF)
    assert made.nan_codes == (0x80,)
    assert made.max == 2.0**15
    assert made.encode(1.25 * 2**15 - 1, overflow="inf") == 0x6E
    assert made.encode(1.25 * 2**15 + 1, overflow="inf") == 0x6F
    assert made.grid.values.size == 253
    assert len({np.frexp(v)[1] for v in made.grid.values if v > 0}) == 38
