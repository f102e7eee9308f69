"""The bit-serial PE: bit for bit its plain-integer twin, and inside the published error ranges."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitlathe.arch.numerics import ALIGNED, HPCA25, PRESETS, PENumerics
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.terms.table import term_table
from bitlathe.sim.pe.bit_serial import bitserial_dot
from bitlathe.sim.pe.operands import ACTIVATIONS
from naive import pe_naive
from pe_cases import GRIDS

SCALES = (2.0**-14, 2.0**-4, 1.0, 30.0, 1000.0)


def options_of(numerics, activation="fp16"):
    options = dataclasses.asdict(numerics)
    options["exponent_bits"] = numerics.exponent_bits or (9 if activation == "bf16" else 6)
    return options


def to_kind(values, activation):
    """Round float64 to an activation format by its own definition; used on inputs only."""
    kind = ACTIVATIONS[activation]
    if activation == "fp16":
        return values.astype(np.float16)
    if activation == "int8":
        return np.clip(np.rint(values * 40), -128, 127).astype(np.int8)
    clipped = np.clip(values, -kind.maximum, kind.maximum)
    exponent = np.maximum(np.frexp(clipped)[1], 2 - kind.bias) - kind.significand_bits
    return np.clip(np.ldexp(np.rint(np.ldexp(clipped, -exponent)), exponent), -kind.maximum,
                   kind.maximum)  # fmt: skip


def wide_values(rng, shape):
    """Values over the whole exponent range, with zeros and exact cancellations."""
    values = rng.standard_normal(shape) * 2.0 ** rng.integers(-14, 14, shape)
    values[rng.random(shape) < 0.1] = 0.0
    return values


def assert_same(activations, weights, format, numerics, **keywords):
    """One batched call against the twin, row by row."""
    got = bitserial_dot(activations, weights, format, numerics, **keywords)
    name = numerics if isinstance(numerics, str) else numerics.name
    activation = keywords.get("activation", "fp16")
    rules = PRESETS[numerics] if isinstance(numerics, str) else numerics
    for i in range(len(activations)):
        man, exp, value, cycles = pe_naive.bitserial_dot(
            activations[i].tolist(),
            weights[i].tolist(),
            format,
            name,
            lanes=keywords.get("lanes", 4),
            activation=activation,
            skip=keywords.get("skip_zero_terms", False),
            options=options_of(rules, activation),
        )
        assert got.value[i] == value
        assert got.cycles[i] == cycles
        if name != "exact":
            assert (got.mantissa[i], got.exponent[i]) == (man, exp)


@pytest.mark.parametrize("numerics", ["hpca25", "aligned", "exact"])
@pytest.mark.parametrize("format", sorted(GRIDS))
def test_equals_the_twin_bit_for_bit(format, numerics):
    rng = np.random.default_rng(7)
    for length, scale in itertools.product((1, 4, 7, 24), SCALES):
        weights = rng.choice(GRIDS[format], (6, length))
        activations = (rng.standard_normal((6, length)) * scale).astype(np.float16)
        assert_same(activations, weights, format, numerics)
        assert_same(wide_values(rng, (6, length)).astype(np.float16), weights, format, numerics)


@pytest.mark.parametrize("numerics", ["hpca25", "aligned"])
def test_equals_the_twin_on_a_whole_group(numerics):
    rng = np.random.default_rng(8)
    weights = rng.integers(-128, 128, (12, 128))
    activations = rng.standard_normal((12, 128)).astype(np.float16)
    assert_same(activations, weights, "int8", numerics)


@settings(max_examples=150)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(0, 13),
    st.integers(1, 16),
    st.sampled_from(sorted(GRIDS)),
    st.booleans(),
    st.builds(
        PENumerics,
        name=st.just("any"),
        guard_bits=st.integers(0, 8),
        reference=st.sampled_from(["lanes", "lanes_and_accumulator"]),
        gate_zero_terms=st.booleans(),
        alignment=st.just("floor"),
        rounding=st.sampled_from(["floor", "nearest_even"]),
        overflow=st.sampled_from(["wrap", "saturate"]),
        accumulator_bits=st.integers(4, 22),
        sum_bits=st.sampled_from([None, 22, 23, 27]),
        exponent_bits=st.integers(6, 9),
    )
    | st.builds(
        PENumerics,
        name=st.just("any"),
        guard_bits=st.integers(0, 8),
        reference=st.sampled_from(["lanes", "lanes_and_accumulator"]),
        gate_zero_terms=st.booleans(),
        alignment=st.just("sticky"),
        rounding=st.sampled_from(["floor", "nearest_even"]),
        overflow=st.sampled_from(["wrap", "saturate"]),
        accumulator_bits=st.integers(4, 24),
    ),
)
def test_every_field_of_the_numerics_equals_the_twin(seed, length, lanes, format, skip, numerics):
    rng = np.random.default_rng(seed)
    weights = rng.choice(GRIDS[format], (2, length))
    activations = wide_values(rng, (2, length)).astype(np.float16)
    assert_same(activations, weights, format, numerics, lanes=lanes, skip_zero_terms=skip)


@pytest.mark.parametrize("numerics", ["hpca25", "aligned", "exact"])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_other_activations_equal_the_twin(activation, numerics):
    rng = np.random.default_rng(9)
    for format in ("int8", "fp4_e2m1"):
        weights = rng.choice(GRIDS[format], (20, 10))
        activations = to_kind(wide_values(rng, (20, 10)), activation)
        assert_same(activations, weights, format, numerics, activation=activation)


@pytest.mark.parametrize("numerics", ["hpca25", "aligned"])
@pytest.mark.parametrize("format", ["int8", "int4", "fp4_e2m1"])
def test_every_alignment_distance_equals_the_twin(format, numerics):
    """A sum, then a cancelling pair further and further up: only the accumulator's shift shows."""
    rng = np.random.default_rng(12)
    weights = rng.choice(GRIDS[format], (120, 8))
    weights[:, 5] = weights[:, 4]
    activations = rng.uniform(-2, 2, (120, 8))
    activations[:, 4] = 2.0 ** (np.arange(120) % 20 - 4) * 1.5
    activations[:, 5] = -activations[:, 4]
    activations[:, 6:] = 0.0
    assert_same(activations.astype(np.float16), weights, format, numerics)


@pytest.mark.parametrize("numerics", ["hpca25", "aligned"])
@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_sums_at_the_adders_limit_equal_the_twin(lanes, numerics):
    """Full significands of one sign in all lanes: here the 23-bit adder of `hpca25` wraps."""
    rng = np.random.default_rng(13)
    weights = rng.choice([64, -64, 127, -127, -128, 96], (60, 32))
    weights[:30] = weights[:30, :1]
    weights[20:30, :lanes] = np.arange(lanes) == 0
    activations = rng.choice([2047.0, 2046.0, 1999.0], (60, 32)) * rng.choice([1, -1], (60, 1))
    assert_same(activations.astype(np.float16), weights, "int8", numerics, lanes=lanes)


def test_the_published_adder_wraps_and_the_aligned_one_does_not():
    """A mantissa of 14 bits, then 64 in all four lanes at the same exponent: 23 bits overflow."""
    activations, weights = np.full(8, 2047.0), np.array([1, 0, 0, 0, 64, 64, 64, 64])
    total = 2047 * 8 + 4 * 2047 * 8 * 64  # in units of the guard bits
    wrapped = total - 2**23
    assert wrapped < -(2**21)
    published = bitserial_dot(activations, weights, "int8", "hpca25")
    assert (published.mantissa, published.exponent) == (wrapped >> 8, 25 + 8)
    assert_same(activations[None].astype(np.float16), weights[None], "int8", "hpca25")
    exact = bitserial_dot(activations, weights, "int8", "exact").value
    aligned = bitserial_dot(activations, weights, "int8", "aligned").value
    assert abs(aligned - exact) <= 1e-4 * exact


def test_bfloat16_arrays_are_taken():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    activations = np.array([1.5, -2.0, 3.0e38, 1e-40], dtype=ml_dtypes.bfloat16)
    dot = bitserial_dot(activations, [1, 2, 0, 0], "int4", "exact", activation="bf16")
    assert dot.value == -2.5


@pytest.mark.parametrize("numerics", ["hpca25", "aligned"])
def test_one_clock_is_exhaustively_the_twins(numerics):
    """A lone lane: all significand widths at all exponents, every INT4 weight."""
    patterns = np.arange(0, 0x7C00, 29, dtype=np.uint16)
    activations = np.concatenate([patterns, patterns | 0x8000]).view(np.float16)[:, None]
    for weight in (-8, -7, -3, 1, 5):
        weights = np.full((len(activations), 1), weight)
        assert_same(activations, weights, "int4", numerics)


@pytest.mark.parametrize("step", [11, pytest.param(1, marks=pytest.mark.slow)])
def test_every_fp16_pattern_times_every_weight_is_within_the_guard_bits(step):
    """A lone product: nothing to align, so only the normalizer may round."""
    patterns = np.arange(0, 0x7C00, step, dtype=np.uint16).view(np.float16)
    for weight in GRIDS["int8"]:
        dot = bitserial_dot(patterns[:, None], np.full((1, 1), weight), "int8", "aligned")
        exact = patterns.astype(np.float64) * weight
        assert np.all(np.abs(dot.value - exact) <= np.abs(exact) * 2.0**-13)


def relative_errors(format, numerics, outliers=False, groups=4000):
    rng = np.random.default_rng(11)
    activations = rng.standard_normal((groups, 128))
    if outliers:
        hit = rng.random(activations.shape) < 0.02
        activations = np.where(hit, activations * rng.uniform(20, 200, hit.shape), activations)
    activations = activations.astype(np.float16)
    if format.startswith("int"):
        raw = rng.standard_normal((groups, 128))
        top = 2 ** (int(format[3:]) - 1) - 1
        weights = np.rint(raw / np.abs(raw).max(1, keepdims=True) * top).astype(np.int64)
    else:
        weights = rng.choice(GRIDS[format], (groups, 128))
    products = activations.astype(np.float64) * weights
    dot = bitserial_dot(activations, weights, format, numerics)
    return (dot.value - products.sum(1)) / np.abs(products).sum(1)


# Medians of abs(error) / sum|a*w| over 128-long dots, and rms and bias of the aligned family.
@pytest.mark.parametrize(
    ("format", "outliers", "median"),
    [
        ("int8", False, 1.3e-3),
        ("int6", False, 3.2e-4),
        ("fp4_e2m1", False, 7.2e-5),
        ("int8", True, 3.3e-3),
    ],
)
def test_hpca25_errors_are_in_the_measured_range(format, outliers, median):
    found = float(np.median(np.abs(relative_errors(format, "hpca25", outliers))))
    assert median / 1.3 < found < median * 1.3


@pytest.mark.parametrize(
    ("numerics", "rms", "bias"),
    [
        (dataclasses.replace(ALIGNED, alignment="floor", rounding="floor"), 5.0e-4, -4.5e-4),
        (ALIGNED, 3.4e-5, 0.0),
        (dataclasses.replace(ALIGNED, accumulator_bits=21), 3.3e-6, 0.0),
        (dataclasses.replace(ALIGNED, accumulator_bits=24), 3.3e-6, 0.0),
    ],
)
def test_aligned_errors_are_in_the_measured_range(numerics, rms, bias):
    errors = relative_errors("int8", numerics)
    assert rms / 1.2 < float(np.sqrt(np.mean(errors**2))) < rms * 1.2
    assert abs(float(np.mean(errors)) - bias) < 0.1 * rms


def test_the_published_accumulator_bug_is_not_ours():
    """The authors' register-transfer code sums 128 ones to 21844; with the shifter it is 128."""
    ones = np.ones(128)
    for numerics in PRESETS:
        assert bitserial_dot(ones, ones, "int8", numerics).value == 128.0


def test_cycles_are_terms_times_chunks():
    ones = np.ones(128, np.float16)
    for format, clocks in {"int8": 128, "int6": 96, "int4": 64, "fp4": 64, "fp3": 64}.items():
        assert bitserial_dot(ones, ones, format).cycles == clocks
    assert bitserial_dot(ones, ones, "bitmod_fp4").cycles == 64
    assert bitserial_dot(ones[:5], ones[:5], "int8").cycles == 8
    assert bitserial_dot(ones, ones, "int8", lanes=16).cycles == 32


@pytest.mark.parametrize("numerics", ["hpca25", "aligned"])
@pytest.mark.parametrize("width", ["fp3", "fp4"])
def test_all_of_bitmods_types_share_a_decoder(width, numerics):
    """Extra resolution adds +-3 to FP3, which makes its integers contiguous: still no INT4."""
    basic = f"{width}_e2m{int(width[2]) - 3}"
    rng = np.random.default_rng(14)
    activations = rng.standard_normal((40, 32)).astype(np.float16)
    for kind in ("er", "ea", "er_pos", "ea_neg"):
        name = f"bitmod_{width}_{kind}"
        weights = rng.choice(GRIDS[basic], (40, 32))
        ours = bitserial_dot(activations, weights, name, numerics)
        for one, other in zip(
            ours, bitserial_dot(activations, weights, basic, numerics), strict=True
        ):
            np.testing.assert_array_equal(one, other)


def test_term_skipping_counts_busy_clocks():
    weights = np.array([[0, 0, 0, 0, 1, 0, 0, 0], [1, 4, 16, 64, 1, 1, 1, 1]])
    dot = bitserial_dot(np.ones(8), weights, "int8", "exact", skip_zero_terms=True)
    assert dot.cycles.tolist() == [2, 5]


def test_leading_axes_broadcast():
    rng = np.random.default_rng(3)
    activations = rng.standard_normal((3, 1, 20)).astype(np.float16)
    weights = rng.integers(-8, 8, (5, 20))
    dot = bitserial_dot(activations, weights, "int4", "hpca25")
    assert dot.mantissa.shape == dot.exponent.shape == dot.value.shape == dot.cycles.shape == (3, 5)
    one = bitserial_dot(activations[2, 0], weights[4], "int4", "hpca25")
    assert (dot.mantissa[2, 4], dot.exponent[2, 4]) == (one.mantissa, one.exponent)


def test_empty_groups_and_empty_batches():
    dot = bitserial_dot(np.zeros((2, 0), np.float16), np.zeros((2, 0), np.int8))
    assert dot.mantissa.tolist() == dot.exponent.tolist() == dot.cycles.tolist() == [0, 0]
    assert bitserial_dot(np.zeros((0, 8)), np.zeros((0, 8)), "int4", "exact").value.shape == (0,)


def test_exact_beyond_64_bits_is_a_python_integer():
    activations = np.array([3.0e38, 1.0e-38], np.float32)
    activations = to_kind(activations.astype(np.float64), "bf16")
    dot = bitserial_dot(activations, [127, 1], "int8", "exact", activation="bf16")
    assert dot.mantissa == int(activations[0] * 2.0**100) * 127 * 2**33 + int(
        activations[1] * 2.0**133
    )
    assert dot.value == activations[0] * 127


def test_arbitrary_grids_are_fed_through_their_terms():
    values = [-2.75, -1.0, 0.0, 0.25, 0.75, 1.5, 2.25, 3.5]
    table = term_table(values, 3)
    rng = np.random.default_rng(4)
    codes = rng.integers(0, 8, (50, 32))
    activations = rng.integers(-50, 50, (50, 32)).astype(np.float16)
    dot = bitserial_dot(activations, table.grid[codes], table, "exact")
    expected = (activations.astype(np.float64) * np.array(values)[codes]).sum(1)
    np.testing.assert_array_equal(dot.value * table.unit, expected)


def test_nf4_and_fp6_run_through_their_fixed_point():
    from bitlathe.datatypes.formats import catalogue

    rng = np.random.default_rng(5)
    for name in ("nf4", "fp6_e2m3", "fp6_e3m2", "pot4", "flint4"):
        fmt = catalogue.element(name)
        table = term_table(fmt.values, fmt.bits)
        weights = rng.choice(table.grid, (30, 16))
        activations = rng.standard_normal((30, 16)).astype(np.float16)
        exact = bitserial_dot(activations, weights, name, "exact").value
        close = bitserial_dot(activations, weights, name, "aligned").value
        scale = np.abs(activations.astype(np.float64) * weights).sum(1)
        assert np.all(np.abs(close - exact) <= 2e-3 * scale)


@pytest.mark.parametrize(
    ("activations", "weights", "keywords", "words"),
    [
        ([1.0, np.nan], [1, 1], {}, r"nan at index \(1,\)"),
        (np.array([[1, 2], [np.inf, 1]], np.float16), [1, 1], {}, r"inf at index \(1, 0\)"),
        ([1.0, 2.0], [1, 1, 1], {}, "equally long"),
        (np.ones((2, 3)), np.ones((4, 3)), {}, "do not broadcast"),
        (1.0, 1, {}, "at least one axis"),
        ([0.1], [1], {}, "not a value of fp16"),
        ([1.0], [200], {}, r"-128\.\.127"),
        ([1.0], [5], {"format": "fp4"}, "its integers are -16, -12"),
        ([1.0], [0.5], {"format": "fp4"}, "0.5 at index"),
        ([1.0], [1j], {}, "complex"),
        ([1.0], [1], {"format": "int9"}, "It takes: fp3, fp4, int2"),
        ([1.0], [1], {"format": "fp16"}, "does not take 'fp16'"),
        ([1.0], [1], {"format": "olive4"}, "not one the bit-serial PE takes"),
        ([1.0], [1], {"format": "bcq3"}, "not one the bit-serial PE takes"),
        ([1.0], [1], {"format": 4}, "got int"),
        ([1.0], [1], {"numerics": "exactly"}, "did you mean 'exact'"),
        ([1.0], [1], {"lanes": 17}, r"1\.\.16"),
        ([1.0], [1], {"lanes": 0}, r"1\.\.16"),
        ([1.0], [1], {"activation": "fp8"}, "activation format 'fp8'"),
        ([1.0], [1], {"device": "tpu"}, "device 'tpu'"),
        (
            [1.0],
            [1],
            {"numerics": dataclasses.replace(HPCA25, exponent_bits=4)},
            "6 bits are",
        ),
    ],
)
def test_bad_input_is_explained(activations, weights, keywords, words):
    with pytest.raises(BitlatheError, match=words):
        bitserial_dot(activations, weights, **keywords)


@pytest.mark.parametrize(
    "fields",
    [
        {"guard_bits": 9},
        {"accumulator_bits": 3},
        {"alignment": "floor", "sum_bits": 10},
        {"sum_bits": 23},
        {"rounding": "up"},
        {"reference": "first"},
        {"exponent_bits": True},
    ],
)
def test_impossible_numerics_are_refused(fields):
    with pytest.raises(BitlatheError, match=r"PENumerics\.\w+"):
        PENumerics(**fields)
