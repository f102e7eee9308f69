"""A lane whose term is zero does not set the reference exponent (`PENumerics.gate_zero_terms`)."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitlathe.arch import load_arch
from bitlathe.arch.numerics import ALIGNED, EXACT, HPCA25, PENumerics
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.sim.array.tile.clock import simulate_tile_array
from bitlathe.sim.array.tile.model import TileArray
from bitlathe.sim.pe.bit_serial import bitserial_dot
from naive import pe_naive
from pe_cases import GRIDS

# largest magnitudes of each kind, and what ordinary activations are rounded to
LARGEST = {"fp16": 65504.0, "bf16": 255 * 2.0**120, "fp8_e4m3": 448.0, "fp8_e5m2": 57344.0,
           "int8": -128.0}  # fmt: skip
WEIGHT = np.array([127, 0, 0, 0])

gated = st.builds(
    PENumerics,
    guard_bits=st.integers(0, 8),
    reference=st.sampled_from(["lanes", "lanes_and_accumulator"]),
    alignment=st.sampled_from(["floor", "sticky"]),
    rounding=st.sampled_from(["floor", "nearest_even"]),
    overflow=st.sampled_from(["wrap", "saturate"]),
    accumulator_bits=st.integers(4, 20),
)


def assert_equal(one, other):
    for mine, yours in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine, yours)


def ordinary(rng, shape, kind):
    """Values of an activation kind that are exact in all of them: -3.5 to 3.5 in halves."""
    halves = rng.integers(-7, 8, shape)
    return halves.astype(float) if kind == "int8" else halves / 2


@pytest.mark.parametrize("big", [0, 100, 1000, 10000, 65504])
def test_an_activation_without_a_weight_does_not_touch_the_sum(big):
    """127 x 0.01 + 0 x big. FP16(0.01) = 1311 * 2^-17; 127 * 1311 * 2^-17 lies in 1..2.

    There 14 bits end at 2^-13: 127 * 1311 / 16 = 10406.06.., nearest 10406.
    """
    expected = round(Fraction(127 * 1311, 16)) * 2.0**-13
    activations = np.array([0.01, big, 0, -big], np.float16)
    assert bitserial_dot(activations, WEIGHT, "int8", "aligned").value == expected
    # a group of 128: 127 times 0.01 x 1, and the massive one; exact 127 * 1311 * 2^-17
    group = np.append(np.full(127, 0.01, np.float16), np.float16(big))
    weights = np.append(np.ones(127, int), 0)
    dot = bitserial_dot(group, weights, "int8", "aligned")
    # 32 clocks with a term; each rounds once, by half of 2^-13 at most; the sums stay under 2
    assert abs(dot.value - 127 * 1311 * 2.0**-17) <= 32 * 2.0**-14
    assert_equal(dot, bitserial_dot(np.append(group[:-1], 0), weights, "int8", "aligned"))


def test_the_published_numerics_and_exact_are_as_they_were():
    """The published PE aligns to the massive lane: 1311 of significand and 3 guard bits fall out.

    v of 10000 is 2^13 up to E = 28, of 0.01 E = 8: a shift of 20 takes all 14 bits.
    """
    activations = np.array([0.01, 10000, 0, 0], np.float16)
    assert not HPCA25.gate_zero_terms
    assert bitserial_dot(activations, WEIGHT, "int8", "hpca25").value == 0.0
    plain = replace(ALIGNED, gate_zero_terms=False)
    assert bitserial_dot(activations, WEIGHT, "int8", plain).value == 0.0
    rng = np.random.default_rng(0)
    weights = rng.integers(-128, 128, (50, 16))
    activations = (rng.standard_normal((50, 16)) * 2.0 ** rng.integers(-9, 9, (50, 16))).astype(
        np.float16
    )
    dot = bitserial_dot(activations, weights, "int8", "hpca25")
    for i in range(50):
        twin = pe_naive.bitserial_dot(activations[i].tolist(), weights[i], "int8", "hpca25")
        assert (dot.mantissa[i], dot.exponent[i], dot.value[i], dot.cycles[i]) == twin
    # the field is idle where arithmetic is exact
    for gate in (True, False):
        exact = bitserial_dot(activations, weights, "int8", replace(EXACT, gate_zero_terms=gate))
        np.testing.assert_array_equal(exact.value, (activations.astype(float) * weights).sum(1))


@settings(max_examples=200)
@given(
    seed=st.integers(0, 2**32 - 1),
    format=st.sampled_from(sorted(GRIDS)),
    kind=st.sampled_from(sorted(LARGEST)),
    lanes=st.integers(1, 16),
    length=st.integers(1, 20),
    skip=st.booleans(),
    numerics=gated | st.just(ALIGNED),
)
def test_no_outlier_against_zero_weights_changes_a_bit(
    seed, format, kind, lanes, length, skip, numerics
):
    rng = np.random.default_rng(seed)
    weights = rng.choice(GRIDS[format], (3, length))
    activations = ordinary(rng, (3, length), kind)
    hit = rng.random((3, length)) < 0.4
    weights[hit] = 0
    large = np.where(hit, LARGEST[kind], activations)
    keywords = {"lanes": lanes, "activation": kind, "skip_zero_terms": skip}
    numerics = replace(numerics, exponent_bits=9)
    assert_equal(
        bitserial_dot(activations, weights, format, numerics, **keywords),
        bitserial_dot(large, weights, format, numerics, **keywords),
    )


@settings(max_examples=200)
@given(
    seed=st.integers(0, 2**32 - 1),
    format=st.sampled_from(sorted(GRIDS)),
    lanes=st.integers(1, 16),
    numerics=gated | st.just(ALIGNED),
)
def test_a_clock_of_zero_terms_is_as_if_it_had_been_left_out(seed, format, lanes, numerics):
    """Skipping saves clocks and changes no bit."""
    rng = np.random.default_rng(seed)
    weights = rng.choice(GRIDS[format], (4, 24)) * (rng.random((4, 24)) < 0.5)
    activations = (rng.standard_normal((4, 24)) * 2.0 ** rng.integers(-12, 12, (4, 24))).astype(
        np.float16
    )
    all_clocks = bitserial_dot(activations, weights, format, numerics, lanes=lanes)
    busy = bitserial_dot(activations, weights, format, numerics, lanes=lanes, skip_zero_terms=True)
    assert_equal(all_clocks[:3], busy[:3])
    assert np.all(all_clocks.cycles >= busy.cycles)


@pytest.mark.parametrize("overflow", ["wrap", "saturate"])
def test_the_lowest_mantissa_survives_clocks_of_zero_terms(overflow):
    """Floor can give -8 in 4 bits, which the next normalization would make -4 at one exponent more.

    FP8 E4M3 has 1.875 as 15 * 2^(7 - 10), exponent 7. -15 does not fit 4 bits: -15 / 2 = -7.5,
    floor -8, at exponent 8.
    """
    numerics = PENumerics(
        accumulator_bits=4, guard_bits=0, rounding="floor", overflow=overflow, exponent_bits=5
    )
    for lanes, zeros in ((4, 3), (4, 15), (1, 5)):
        activations = np.append(1.875, np.full(zeros, 448.0))
        weights = np.append(-1, np.zeros(zeros, int))
        dot = bitserial_dot(
            activations, weights, "int8", numerics, lanes=lanes, activation="fp8_e4m3"
        )
        assert (dot.mantissa, dot.exponent, dot.value) == (-8, 8, -2.0)
        run = simulate_tile_array(
            activations[None], weights[None], TileArray(rows=1, cols=1, lanes=lanes), "int8",
            numerics, activation="fp8_e4m3",
        )  # fmt: skip
        assert (run.mantissa.item(), run.exponent.item()) == (-8, 8)


def terms_bound(activations, weights, format, lanes):
    """Bound on the error of `aligned`, from the operands alone; see docs/pe.md."""
    exact = [Fraction(float(a)) for a in activations]
    terms = [pe_naive.terms_of(int(w), format) for w in weights]
    clocks = alignment = sizes = Fraction(0)
    for first in range(0, len(exact), lanes):
        for t in range(len(terms[0])):
            products = [
                abs(exact[k]) * terms[k][t][2] * 2 ** (terms[k][t][1] + terms[k][t][3])
                for k in range(first, min(first + lanes, len(exact)))
            ]
            alignment += (lanes - 1) * max(products) / 2**13
            sizes += sum(products)
            clocks += any(terms[k][t][2] for k in range(first, min(first + lanes, len(exact))))
    # rounding grows what it rounds by 2^-14 a clock; up to 64 clocks that is under 1 %
    return alignment + clocks / 2**14 * sizes * Fraction(101, 100)


def massive_operands(rng, format, length):
    """Activations of 2^-14 to 2^3 beside massive ones, and weights of which half are zero."""
    weights = rng.choice(GRIDS[format], length) * (rng.random(length) < 0.5)
    activations = rng.standard_normal(length) * 2.0 ** rng.integers(-14, 4, length)
    large = rng.random(length) < 0.2
    activations[large] = rng.uniform(1000, 65000, large.sum()) * rng.choice([-1, 1], large.sum())
    return activations.astype(np.float16), weights


@settings(max_examples=300)
@given(
    seed=st.integers(0, 2**32 - 1),
    format=st.sampled_from(sorted(GRIDS)),
    lanes=st.integers(1, 8),
    length=st.integers(1, 16),
    zero=st.booleans(),
)
def test_the_error_is_bounded_by_the_terms_that_are_not_zero(seed, format, lanes, length, zero):
    rng = np.random.default_rng(seed)
    activations, weights = massive_operands(rng, format, length)
    if zero:  # nothing massive has a weight: the bound is as small as the rest
        weights[np.abs(activations) > 100] = 0
    dot = bitserial_dot(activations, weights, format, "aligned", lanes=lanes)
    exact = sum(
        (Fraction(float(a)) * int(w) for a, w in zip(activations, weights, strict=True)),
        Fraction(0),
    )
    error = abs(Fraction(float(dot.value)) - exact)
    assert error <= terms_bound(activations, weights, format, lanes)


def test_without_the_gate_that_bound_is_broken():
    """So the bound is one that the previous numerics do not meet."""
    activations, weights = np.array([0.01, 10000, 0, 0], np.float16), WEIGHT
    error = abs(
        bitserial_dot(activations, weights, "int8", replace(ALIGNED, gate_zero_terms=False)).value
        - 127 * 1311 * 2.0**-17
    )
    assert error > 100 * terms_bound(activations, weights, "int8", 4)


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("gate", [False, True])
@pytest.mark.parametrize("format", ["int8", "fp4_e2m1"])
def test_the_clock_by_clock_array_gates_as_the_pe_does(format, gate, skip):
    rng = np.random.default_rng(4)
    activations = np.stack([massive_operands(rng, format, 40)[0] for _ in range(5)])
    weights = np.stack([massive_operands(rng, format, 40)[1] for _ in range(7)])
    numerics = replace(ALIGNED, gate_zero_terms=gate)
    array = TileArray(rows=3, cols=2, lanes=3, group_size=16, skip_zero_terms=skip, scope="row")
    run = simulate_tile_array(activations, weights, array, format, numerics)
    for g, part in enumerate((slice(0, 16), slice(16, 32), slice(32, 40))):
        dot = bitserial_dot(
            activations[:, None, part], weights[None, :, part], format, numerics, lanes=3,
            skip_zero_terms=skip,
        )  # fmt: skip
        np.testing.assert_array_equal(run.mantissa[:, :, g], dot.mantissa)
        np.testing.assert_array_equal(run.exponent[:, :, g], dot.exponent)


def test_exact_sums_of_the_array_do_not_see_the_gate():
    rng = np.random.default_rng(5)
    activations = ordinary(rng, (4, 24), "fp16")
    weights = rng.integers(-8, 8, (6, 24)) * (rng.random((6, 24)) < 0.3)
    run = simulate_tile_array(activations, weights, TileArray(rows=2, cols=2), "int4", "exact")
    np.testing.assert_array_equal(run.outputs, activations @ weights.T)


def test_a_chip_file_can_turn_it_off():
    arch = load_arch("bitmod", {"pe.numerics": {"gate_zero_terms": False}})
    assert not arch.pe.record.numerics.gate_zero_terms
    assert load_arch("bitmod").pe.record.numerics.gate_zero_terms
    published = {"preset": "hpca25", "gate_zero_terms": True}
    numerics = load_arch("bitmod", {"pe.numerics": published}).pe.record.numerics
    assert numerics == replace(HPCA25, name="custom", gate_zero_terms=True)


def test_it_is_yes_or_no():
    for value in (1, None, "on"):
        with pytest.raises(BitlatheError, match=r"PENumerics\.gate_zero_terms: True or False"):
            PENumerics(gate_zero_terms=value)
