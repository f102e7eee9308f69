"""The PEs at the edges of every range: the last value taken, the first refused, what saturates."""

import itertools
import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitlathe.arch.numerics import ALIGNED, PENumerics
from bitlathe.arch.pe import FpMacPE, IntMacPE
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.sim.pe.bit_serial import bitserial_dot, kernel_parameters
from bitlathe.sim.pe.bit_serial_kernels import accumulate, bit_length, round_shift, wrap
from bitlathe.sim.pe.dequantize import table_matmul
from bitlathe.sim.pe.mac import fp_mac_dot, int_mac_dot, integer_values, lut_matmul
from bitlathe.sim.pe.mac_kernels import add_to_odd, round_to
from bitlathe.sim.pe.operands import ACTIVATIONS, ActivationKind, split_activations
from bitlathe.sim.pe.rescale import COUNTER_LIMIT, bitserial_matmul, group_timing, rescale
from naive import pe_naive

# --- activations ----------------------------------------------------------------------------------

# kind: significand bits, smallest subnormal, largest, the next value that its rounding would need
# (IEEE 754 FP16; bfloat16; OCP 8-bit floating point 1.0, tables 1 and 2: E4M3 gives 480 to NaN)
FLOATS = {
    "fp16": (11, 2.0**-24, 65504.0, 65536.0),
    "bf16": (8, 2.0**-133, 255 * 2.0**120, 2.0**128),
    "fp8_e4m3": (4, 2.0**-9, 448.0, 480.0),
    "fp8_e5m2": (3, 2.0**-16, 57344.0, 65536.0),
}


def assert_taken(value, kind):
    assert bitserial_dot([value], [1], "int4", "exact", activation=kind).value == value


def assert_refused(value, kind):
    with pytest.raises(BitlatheError, match=f"at index .0,. is not a value of {kind}"):
        bitserial_dot([value], [1], "int4", "exact", activation=kind)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("kind", FLOATS)
def test_the_last_activation_is_taken_and_the_next_refused(kind, sign):
    bits, smallest, largest, beyond = FLOATS[kind]
    for value in (smallest, largest, 1 + 2.0 ** (1 - bits), 2 - 2.0 ** (1 - bits)):
        assert_taken(sign * value, kind)
    for value in (smallest / 2, 1.5 * smallest, beyond, largest * (1 + 2.0**-bits), 1 + 2.0**-bits):
        assert_refused(sign * value, kind)


def test_int8_activations_are_those_of_twos_complement():
    """-128..127; 128 has the eight bits of magnitude that -128 needs, and no code."""
    for value in range(-128, 128):
        assert_taken(float(value), "int8")
    for value in (128, -129, 0.5, 127.5, -128.5):
        assert_refused(value, "int8")
    with pytest.raises(BitlatheError, match=r"128.0 at index \(1,\) is not a value of int8"):
        bitserial_dot(np.array([127, 128]), [1, 1], activation="int8")


def test_both_ways_into_fp16_split_every_number_alike():
    """E and significand of all finite patterns: by the bits, and by value from float64."""
    patterns = np.arange(1 << 16, dtype=np.uint16)
    values = patterns.view(np.float16)[(patterns & 0x7C00) != 0x7C00]
    fast = split_activations(values, ACTIVATIONS["fp16"])
    slow = split_activations(values.astype(np.float64), ACTIVATIONS["fp16"])
    for one, other in zip(fast, slow, strict=True):
        np.testing.assert_array_equal(one, other)
    twin = [pe_naive.split_fp16(float(v)) for v in values]
    np.testing.assert_array_equal(fast[0], [field for _, field, _ in twin])
    np.testing.assert_array_equal(fast[1], [(1 - 2 * s) * m for s, _, m in twin])


# --- fields of the numerics -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "low", "high", "others"),
    [
        ("guard_bits", 0, 8, {}),
        ("accumulator_bits", 4, 32, {}),
        ("exponent_bits", 4, 16, {}),
        ("sum_bits", 15, 62, {"alignment": "floor"}),
        ("sum_bits", 8, 62, {"alignment": "floor", "accumulator_bits": 8}),
    ],
)
def test_fields_take_their_range_and_no_more(field, low, high, others):
    for value in (low, high):
        assert getattr(PENumerics(**{field: value}, **others), field) == value
    for value in (low - 1, high + 1):
        with pytest.raises(BitlatheError, match=rf"PENumerics\.{field} is .*{low}\.\.{high}"):
            PENumerics(**{field: value}, **others)


# The largest exponent field of a finite number and 3 of the term, to the next power of two:
# FP16 and E5M2 30 + 3, BF16 254 + 3, E4M3 15 + 3, INT8 0 + 3 (fewer than 4 bits are never taken)
@pytest.mark.parametrize(
    ("kind", "bits"), [("fp16", 6), ("bf16", 9), ("fp8_e4m3", 5), ("fp8_e5m2", 6), ("int8", 4)]
)
def test_the_exponent_is_as_wide_as_the_activation_needs(kind, bits):
    value = bitserial_dot(
        [1.0], [3], numerics=replace(ALIGNED, exponent_bits=bits), activation=kind
    ).value
    assert value == 3.0
    if bits > 4:
        with pytest.raises(BitlatheError, match=rf"of {kind}; {bits} bits are"):
            bitserial_dot(
                [1.0], [3], numerics=replace(ALIGNED, exponent_bits=bits - 1), activation=kind
            )


def test_an_exponent_that_is_a_power_of_two_needs_one_bit_more():
    """13 + 3 = 16 takes five bits; of the kinds above none ends at a power of two."""
    kind = ActivationKind(
        name="mine", exponent_bits=4, significand_bits=4, bias=7, maximum=1.875 * 2.0**6
    )
    for bits, taken in ((5, True), (4, False)):
        numerics = replace(ALIGNED, exponent_bits=bits)
        if taken:
            assert bitserial_dot([120.0], [8], "int5", numerics, activation=kind).value == 960.0
        else:
            with pytest.raises(BitlatheError, match="of mine; 5 bits are"):
                bitserial_dot([120.0], [8], "int5", numerics, activation=kind)


def test_the_widest_sums_the_simulator_takes_are_right_and_wider_ones_refused():
    """62 bits: accumulator + significand + guard + lanes' carry + significance + 4.

    FP16, 8 guard bits, 16 lanes, significance 6: 11 + 8 + 4 + 6 + 4 = 33, so 29 bits and no more.
    """
    numerics = PENumerics(name="wide", guard_bits=8, accumulator_bits=29)
    rng = np.random.default_rng(0)
    activations = rng.choice([65504.0, -65504, 2.0**-24, 1.5, 0], (40, 32)).astype(np.float16)
    weights = rng.choice([-128, 127, 64, 1, 0, -1], (40, 32))
    dot = bitserial_dot(activations, weights, "int8", numerics, lanes=16)
    options = {name: getattr(numerics, name) for name in PENumerics.__slots__}
    for i in range(40):
        man, exp, value, _ = pe_naive.bitserial_dot(
            activations[i].tolist(), weights[i].tolist(), "int8", "wide", lanes=16,
            options=options | {"exponent_bits": 6},
        )  # fmt: skip
        assert (dot.mantissa[i], dot.exponent[i], dot.value[i]) == (man, exp, value)
    with pytest.raises(BitlatheError, match="accumulator of 30 bits beside lane sums of 29 bits"):
        bitserial_dot(
            activations, weights, numerics=replace(numerics, accumulator_bits=30), lanes=16
        )


@pytest.mark.parametrize(("name", "low", "high"), [("lanes", 1, 16), ("max_bsig", 6, 24)])
def test_lanes_and_significance_at_their_ends(name, low, high):
    """INT8 needs a significance of 6."""
    activations, weights = np.full(40, 2.0), np.full(40, 100)
    for value in (low, high):
        assert bitserial_dot(activations, weights, "int8", **{name: value}).value == 8000.0
    with pytest.raises(BitlatheError, match=rf"{name} is .*, must be a whole number \d+\.\.{high}"):
        bitserial_dot(activations, weights, "int8", **{name: high + 1})


# --- one step of the accumulator ------------------------------------------------------------------


def step(numerics, kind, man, exp, incoming, reference, lanes=4, bsig=6):
    """The kernel's step and the twin's, on the same state."""
    parameters = kernel_parameters(numerics, ACTIVATIONS[kind], lanes, bsig)
    options = {name: getattr(numerics, name) for name in PENumerics.__slots__}
    options["exponent_bits"] = parameters[7]
    got = accumulate(np.int64(man), np.int64(exp), np.int64(incoming), reference, parameters)
    return tuple(map(int, got)), pe_naive.accumulator_step((man, exp), incoming, reference, options)


EVERY_RULE = [
    PENumerics(alignment=a, rounding=r, overflow=o, accumulator_bits=b, sum_bits=s)
    for a, r, o, b, s in itertools.product(
        ("floor", "sticky"), ("floor", "nearest_even"), ("wrap", "saturate"), (4, 15, 32),
        (None, 40),
    )
    if s is None or a == "floor"
]  # fmt: skip


@pytest.mark.parametrize("numerics", EVERY_RULE, ids=str)
def test_every_shift_of_the_accumulator_and_of_what_comes_in(numerics):
    """Distances 0, 1, the mantissa's width and around, and the largest, up and down."""
    width = numerics.accumulator_bits
    top = 1 << (width - 1)
    mantissas = sorted({-top, 1 - top, top - 1, -(top // 2), top // 2, -3, -1, 0, 1, 2, 3})
    incoming = (-(2**22), 1 - 2**22, -5, -4, -1, 0, 1, 2, 4, 7, 2**21, 2**22 - 1)
    distances = sorted({*range(6), *range(width - 3, width + 4), 20, 22, 23, 24, 25, 26, 50, 59})
    for distance, man, more in itertools.product(distances, mantissas, incoming):
        for exp, reference in ((1, 1 + distance), (1 + distance, 1)):
            ours, twins = step(numerics, "fp16", man, exp, more, reference)
            assert ours == twins, (man, exp, more, reference)


# Mantissa and exponent after each of ten equal chunks; see the test below.
UP = [(7, 28), (7, 29), (5, 30), (7, 30), (4, 31), (5, 31), (6, 31), (7, 31)]
SATURATED = {1: [*UP, (7, 31), (7, 31)], -1: [*((-m, e) for m, e in UP), (-8, 31), (-7, 31)]}
WRAPPED = {1: [*UP, (4, 0)], -1: [*((-m, e) for m, e in UP), (-8, 31), (-4, 0)]}


@pytest.mark.parametrize("rounding", ["floor", "nearest_even"])
@pytest.mark.parametrize("bits", [15, 23])
def test_the_adder_in_front_of_the_normalizer_ends_where_its_bits_do(bits, rounding):
    """Sums of exactly the ends pass; one more saturates, or wraps to the other end."""
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    for overflow in ("saturate", "wrap"):
        numerics = PENumerics(
            alignment="floor", rounding=rounding, overflow=overflow, sum_bits=bits
        )
        for man in (0, 1, -1, 100, -100, 2**14 - 1, -(2**14)):
            for total in (low - 1, low, low + 1, high - 1, high, high + 1):
                ours, twins = step(numerics, "fp16", man, 5, total - man, 5)
                assert ours == twins, (man, total)
    # by hand, floor: 2^14 - 1 of 15 bits stays; one more saturates there, or wraps to -2^14
    if (bits, rounding) == (15, "floor"):
        for overflow, beyond in (("saturate", (2**14 - 1, 5)), ("wrap", (-(2**13), 6))):
            numerics = replace(numerics, overflow=overflow)
            assert step(numerics, "fp16", 2**14 - 2, 5, 1, 5)[0] == (2**14 - 1, 5)
            assert step(numerics, "fp16", 2**14 - 1, 5, 1, 5)[0] == beyond


@pytest.mark.parametrize("sign", [1, -1])
def test_the_exponent_saturates_at_the_largest_number(sign):
    """4 bits of mantissa, 5 of exponent: nothing is above 7 at exponent 31.

    448 = 14 * 2^(15 - 10) in FP8 E4M3, and -128 = -2 * 2^6: v = 15 + 1, four lanes add
    4 * 14 * 8 units (3 guard bits), times 2^6: 7 * 2^12, so mantissa 7 at exponent 16 + 12 = 28.
    Then 7 + 7 = 14 = 7 @ 29; 7 + 3.5 = 5.25 @ 30; 5 + 1.75 = 6.75; 7 + 1.75 = 4.375 @ 31; 4 + .875,
    5.875, 6.875, and 7.875: rounded to 8, which is 4 @ 32 on the positive side and fits
    4 bits as -8 on the negative, where the next chunk makes it -8.875 = -4.4375 @ 32.
    """
    for overflow, expected in (("saturate", SATURATED[sign]), ("wrap", WRAPPED[sign])):
        numerics = PENumerics(accumulator_bits=4, exponent_bits=5, overflow=overflow)
        found = []
        for chunks in range(1, len(expected) + 1):
            numbers = np.full(4 * chunks, -448.0 * sign)
            dot = bitserial_dot(
                numbers, np.full(4 * chunks, -128), "int8", numerics, activation="fp8_e4m3"
            )
            found.append((int(dot.mantissa), int(dot.exponent)))
        assert found == expected
    # a zero at the largest exponent stays one
    assert step(numerics, "fp8_e4m3", 0, 31, 0, 31)[0] == (0, 31)


@given(st.integers(-(2**40), 2**40), st.integers(0, 41))
def test_shifts_lengths_and_wraps_are_those_of_integers(value, shift):
    assert int(round_shift(np.int64(value), shift, False)) == math.floor(Fraction(value, 2**shift))
    assert int(round_shift(np.int64(value), shift, True)) == round(Fraction(value, 2**shift))
    assert int(bit_length(np.int64(value))) == abs(value).bit_length()
    for bits in (1, 2, 23, 41, 62):
        wrapped = int(wrap(np.int64(value), bits))
        assert -(2 ** (bits - 1)) <= wrapped < 2 ** (bits - 1)
        assert (wrapped - value) % 2**bits == 0


def test_exact_sums_change_to_long_integers_in_time():
    """BF16 spans more than 62 bits: sums on both sides of the change are those of fractions.

    In units of 2^-133, 255 * 2^(field - 1) times -128, three times: 16.6 bits more than the field.
    """
    for field in range(38, 62):
        top = math.ldexp(255.0, field - 1 - 133)
        activations, weights = np.array([top, top, top, 2.0**-133]), np.array([-128] * 3 + [127])
        dot = bitserial_dot(activations, weights, "int8", "exact", activation="bf16")
        total = 3 * -128 * 255 * 2 ** (field - 1) + 127
        assert int(dot.mantissa) == total
        assert dot.value == math.ldexp(total, -133)


# --- rescale unit ---------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [1, 2, 8, 16])
def test_rescale_at_the_ends_of_scale_and_mantissa(bits):
    """A signed mantissa of 32 bits is -2^31..2^31 - 1."""
    mantissas = [-(2**31), 1 - 2**31, -1, 0, 1, 2**31 - 1]
    for scale in {0, 1, 2 ** (bits - 1), 2**bits - 1}:
        assert rescale(mantissas, scale, bits).tolist() == [m * scale for m in mantissas]
    for scale in (-1, 2**bits):
        with pytest.raises(BitlatheError, match=rf"0\.\.{2**bits - 1} is right"):
            rescale(mantissas, scale, bits)
    for mantissa in (-(2**31) - 1, 2**31):
        with pytest.raises(BitlatheError, match="at most 32 bits"):
            rescale([mantissa], 1, bits)


def test_the_unit_stalls_from_one_clock_too_few_on():
    """INT4, 4 lanes: groups of 12, 16 and 20 take 6, 8 and 10 clocks beside 8 scale bits."""
    assert [group_timing(g, 2).stall_cycles for g in (12, 16, 20)] == [2, 0, 0]
    assert [group_timing(12, 2, group_gap=g).stall_cycles for g in (1, 2, 3)] == [1, 0, 0]
    assert group_timing(1, 1, lanes=1, scale_bits=2).stall_cycles == 1
    most = group_timing(COUNTER_LIMIT, 1, lanes=1, scale_bits=0)
    assert most.period_cycles == 2**53
    with pytest.raises(BitlatheError, match=r"more than 2\^53 clocks"):
        group_timing(COUNTER_LIMIT + 1, 1, lanes=1, scale_bits=0)


@pytest.mark.parametrize(("gap", "period"), [(0, 8), (1, 8), (4, 8), (5, 9)])
def test_the_gap_between_groups_hides_behind_the_scale_bits(gap, period):
    """Three groups of 8 INT4 weights: 4 clocks each, handed over every max(4 + gap, 8) clocks.

    The first takes 4, the last is ready 6 + 8 clocks after its terms.
    """
    product = bitserial_matmul(
        np.ones((1, 24)), np.ones((1, 24)), [[1, 2, 3]], group=8, format="int4", group_gap=gap
    )
    assert product.outputs.item() == 8 * (1 + 2 + 3)
    assert product.cycles.item() == 4 + 2 * period + 6 + 8
    assert group_timing(8, 2, group_gap=gap).period_cycles == period


# --- integer and floating-point MACs --------------------------------------------------------------


@pytest.mark.parametrize("bits", range(2, 17))
def test_integers_of_each_width_at_their_ends(bits):
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    assert integer_values([low, high], bits, "x").tolist() == [low, high]
    assert integer_values([0, 2**bits - 1], bits, "x", unsigned=True).tolist() == [0, 2**bits - 1]
    for value, unsigned in ((low - 1, False), (high + 1, False), (-1, True), (2**bits, True)):
        with pytest.raises(BitlatheError, match=rf"does not fit {bits} bits"):
            integer_values([value], bits, "x", unsigned)


@pytest.mark.parametrize("bits", [4, 5, 14, 31, 32])
def test_int_mac_keeps_the_last_sum_that_fits(bits):
    """Sums of exactly the ends pass; one more saturates there, or wraps to the other end."""
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    for end, more in ((high, 1), (low, -1)):
        other = low + high - end
        rest = abs(end)
        parts = []
        while rest:  # |end| as a sum of products of 15-bit numbers
            a = min(math.isqrt(rest), 2**15 - 1)
            parts.append(a)
            rest -= a * a
        sign = 1 if end > 0 else -1
        acts, wts = np.array([*parts, 1]), np.array([*(sign * a for a in parts), 0])
        for overflow, beyond in (("saturate", end), ("wrap", other)):
            pe = IntMacPE(
                activation_bits=16, weight_bits=16, accumulator_bits=bits, overflow=overflow
            )
            assert int_mac_dot(acts, wts, pe) == end
            wts[-1] = more
            assert int_mac_dot(acts, wts, pe) == beyond
            wts[-1] = 0


# the next of the largest, one of its last places above; fp8_e4m3 has no 480, fp4_e2m1 no 8
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("name", pe_naive.FLOATS)
def test_the_last_float_of_a_mac_is_taken_and_the_next_refused(name, sign):
    bits, lowest, largest = pe_naive.FLOATS[name]
    smallest, top = 2.0**lowest, float(largest)
    pe = FpMacPE(activation=name, weight="fp32", accumulator="fp32")
    for value in (smallest, top, 1 + 2.0 ** (1 - bits)):
        assert fp_mac_dot([sign * value], [1.0], pe) == sign * value
    place = 2.0 ** (math.frexp(top)[1] - bits)
    for value in (smallest / 2, 1.5 * smallest, top + place, 2 * top, 1 + 2.0**-bits):
        with pytest.raises(BitlatheError, match=rf"activations: .* is not a value of {name}"):
            fp_mac_dot([sign * value], [1.0], pe)


@pytest.mark.parametrize(("port", "top"), [("int8", 127), ("int4", 7)])
def test_integer_ports_of_a_floating_point_mac_are_symmetric(port, top):
    pe = FpMacPE(weight=port)
    for value in range(-top, top + 1):
        assert fp_mac_dot([2.0], [value], pe) == 2 * value
    for value in (-top - 1, top + 1, 0.5, -top + 0.5):
        with pytest.raises(BitlatheError, match=rf"weights: .* is not a value of {port}"):
            fp_mac_dot([2.0], [value], pe)


def test_rounding_to_odd_goes_to_the_side_of_the_error():
    """1 + 2^-24 (1 - 2^-46) lies under the midpoint of two float32 numbers, and float64 gives it.

    (1 + 2^-23)(1 - 2^-23) = 1 - 2^-46. Odd means down to 1 + 2^-24 - 2^-52, and so 1; always
    up would give the midpoint's upper neighbor and 1 + 2^-23. With (1 + 2^-23)^2 the error is
    upward and so is the result.
    """
    below = (1 + 2.0**-23) * 2.0**-12, (1 - 2.0**-23) * 2.0**-12
    above = (1 + 2.0**-23) * 2.0**-12, (1 + 2.0**-23) * 2.0**-12
    wide = FpMacPE(activation="fp32", weight="fp32")
    for sign in (1.0, -1.0):
        down = fp_mac_dot([sign, sign * below[0]], [1.0, below[1]], wide)
        assert down == sign
        up = fp_mac_dot([sign, sign * above[0]], [1.0, above[1]], wide)
        assert up == sign * (1 + 2.0**-23)
        # the far side of the midpoint is approached from the other side too
        back = fp_mac_dot([sign * (1 + 2.0**-23), -sign * below[0]], [1.0, below[1]], wide)
        assert back == sign * (1 + 2.0**-23)


doubles = st.floats(allow_nan=False, allow_infinity=False, width=64, min_value=-1e300,
                    max_value=1e300)  # fmt: skip


@settings(max_examples=400)
@given(doubles, doubles, st.integers(0, 110))
def test_sums_rounded_to_odd_are_the_odd_neighbor_of_the_exact_sum(a, b, scale):
    """Of the two doubles around an inexact sum, the one whose last bit is set."""
    if a and b:  # within reach of one another, where roundings happen
        b = math.ldexp(math.frexp(b)[0], max(math.frexp(a)[1] - scale, -900))
    exact, got = Fraction(a) + Fraction(b), float(add_to_odd(a, b))
    if Fraction(got) == exact:
        return
    assert np.float64(got).view(np.int64) & 1
    towards = math.inf if exact > Fraction(got) else -math.inf
    between = sorted((Fraction(got), Fraction(math.nextafter(got, towards))))
    assert between[0] < exact < between[1]


# name: significand bits, exponent of the last place of a subnormal, largest
ROUNDED = {name: pe_naive.FLOATS[name] for name in ("fp16", "bf16", "fp8_e4m3", "fp4_e2m1")}


@pytest.mark.parametrize("saturate", [False, True])
@pytest.mark.parametrize("name", ROUNDED)
def test_rounding_at_ties_in_subnormals_and_at_the_largest_number(name, saturate):
    bits, lowest, largest = ROUNDED[name]
    top = float(largest)
    fmt = bits, lowest, top
    half = 2.0 ** (math.frexp(top)[1] - bits - 1)  # half of the last place of the largest number
    smallest = 2.0**lowest
    values = [k * smallest / 4 for k in range(1, 40)]  # ties, and what lies beside them
    values += [top - half, top, top + half, math.nextafter(top + half, 0), 2 * top, 1e30]
    for value in (*values, *(math.nextafter(v, math.inf) for v in values)):
        for x in (value, -value):
            expected = pe_naive.round_float(Fraction(x), name, saturate)
            assert round_to(x, fmt, saturate) == float(expected), x


# --- look-up tables -------------------------------------------------------------------------------


def test_lut_scales_and_table_indices_at_their_ends():
    for exponent in (-64, 64):
        assert lut_matmul([[1.0]], [[[255]]], [[exponent]])[0, 0] == 2.0**exponent
    for exponent in (-65, 65):
        with pytest.raises(BitlatheError, match=r"-64\.\.64"):
            lut_matmul([[1.0]], [[[255]]], [[exponent]])
    for index in (-1, 256):
        with pytest.raises(BitlatheError, match=r"0\.\.255 is right"):
            lut_matmul([[1.0]], [[[index]]], [[0]])


def test_grid_tables_take_256_codes_and_no_more():
    for codes in (1, 2, 256):
        grid = np.arange(codes, dtype=float)
        assert table_matmul([[2.0]], [[codes - 1]], grid, [[1.0]])[0, 0] == 2 * (codes - 1)
        for code in (-1, codes):
            with pytest.raises(BitlatheError, match=rf"0\.\.{codes - 1} is right"):
                table_matmul([[2.0]], [[code]], grid, [[1.0]])
    with pytest.raises(BitlatheError, match="at most 256 codes and members, got 257"):
        table_matmul([[2.0]], [[0]], np.zeros(257), [[1.0]])
