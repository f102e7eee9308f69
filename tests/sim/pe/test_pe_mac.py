"""Bit-parallel PEs against fractions and Python integers."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitlathe.arch.pe import PE_KINDS, AntPE, BitSerialPE, FpMacPE, IntMacPE, LutPE, OlivePE
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.coding.olive import pair_values
from bitlathe.datatypes.formats import catalogue
from bitlathe.sim.pe.mac import (
    FLOAT_FORMATS,
    ant_dot,
    flint_decode,
    fp_mac_dot,
    int_mac_dot,
    lut_matmul,
    lut_tables,
    olive_decode,
    olive_dot,
)
from naive import pe_naive

FINITE = {
    name: np.array([v for v in catalogue.element(name).values if np.isfinite(v)])
    for name in ("fp16", "bf16", "fp8_e4m3", "fp8_e5m2", "fp4_e2m1")
}
seeds = st.integers(0, 2**32 - 1)


@given(
    seeds,
    st.integers(0, 12),
    st.integers(4, 20),
    st.sampled_from(["wrap", "saturate"]),
    st.sampled_from([4, 8]),
    st.integers(1, 5),
)
def test_int_mac_equals_python_integers(seed, length, bits, overflow, weight_bits, lanes):
    rng = np.random.default_rng(seed)
    activations = rng.integers(-128, 128, (3, length))
    half = 1 << (weight_bits - 1)
    weights = rng.integers(-half, half, (3, length))
    pe = IntMacPE(lanes=lanes, weight_bits=weight_bits, accumulator_bits=bits, overflow=overflow)
    expected = [
        pe_naive.int_mac(a, w, bits, overflow, lanes)
        for a, w in zip(activations, weights, strict=True)
    ]
    assert int_mac_dot(activations, weights, pe).tolist() == expected


def test_lanes_add_in_a_tree_before_the_accumulator():
    activations, weights = [100, -100, 100, -100], [100] * 4
    narrow = {"accumulator_bits": 14}
    assert int_mac_dot(activations, weights, IntMacPE(lanes=4, **narrow)) == 0
    assert int_mac_dot(activations, weights, IntMacPE(**narrow)) == 8191 - 10_000
    twice = int_mac_dot(activations * 2, weights * 2, IntMacPE(lanes=2, **narrow))
    assert twice == 0
    # behind the decoders of ANT and OliVe as well
    codes = [7, 15, 7, 15]  # flint4: 16 and -16
    wide = IntMacPE(lanes=2, weight_bits=4, accumulator_bits=10)
    one = IntMacPE(weight_bits=4, accumulator_bits=10)
    assert ant_dot([100] * 4, codes, AntPE(mac=wide)) == 0
    assert ant_dot([100] * 4, codes, AntPE(mac=one)) == -512
    pairs = [7, 8, 15, 8]  # outliers 96 and -96 with their victims
    wide = IntMacPE(lanes=4, weight_bits=4, accumulator_bits=10)
    assert olive_dot([100] * 4, pairs, OlivePE(mac=wide)) == 0
    assert olive_dot([100] * 4, pairs, OlivePE(mac=one)) == -512
    # each floating-point adder rounds: 1 + 2**-11 is a tie in FP16
    halves, ones = [1.0, 2.0**-11, 2.0**-11, 2.0**-11], [1.0] * 4
    sequence, tree = FpMacPE(accumulator="fp16"), FpMacPE(lanes=4, accumulator="fp16")
    assert fp_mac_dot(halves, ones, sequence) == 1.0
    assert fp_mac_dot(halves, ones, tree) == 1.0 + 2.0**-10


def test_every_int8_product_is_exact_in_a_wide_accumulator():
    values = np.arange(-128, 128)
    products = int_mac_dot(values[:, None, None], values[None, :, None])
    np.testing.assert_array_equal(products, np.multiply.outer(values, values))


PES = [
    FpMacPE(),
    FpMacPE(accumulator="fp16"),
    FpMacPE(product="fp16", accumulator="fp16"),
    FpMacPE(product="fp16", accumulator="fp16", overflow="saturate"),
    FpMacPE(activation="bf16", weight="bf16"),
    FpMacPE(activation="bf16", weight="bf16", product="bf16", accumulator="bf16"),
    FpMacPE(activation="fp8_e4m3", weight="fp8_e4m3", accumulator="fp16"),
    FpMacPE(activation="fp8_e5m2", weight="fp8_e4m3", accumulator="bf16"),
    FpMacPE(activation="fp8_e4m3", weight="fp4_e2m1", product="fp8_e4m3", accumulator="fp16"),
]


@pytest.mark.parametrize("pe", PES, ids=str)
def test_fp_mac_equals_fractions(pe):
    rng = np.random.default_rng(2)
    for size, lanes in ((1, 1), (2, 1), (9, 1), (1, 3), (9, 2), (9, 5), (16, 8)):
        activations = rng.choice(FINITE[pe.activation], (60, size))
        weights = rng.choice(FINITE[pe.weight], (60, size))
        near = np.abs(activations) < 16
        activations = np.where(near | (rng.random(near.shape) < 0.2), activations, 1.0)
        got = fp_mac_dot(activations, weights, replace(pe, lanes=lanes))
        expected = [
            pe_naive.fp_mac(a, w, pe.product, pe.accumulator, pe.overflow == "saturate", lanes)
            for a, w in zip(activations.tolist(), weights.tolist(), strict=True)
        ]
        np.testing.assert_array_equal(got, expected)


def test_every_fp8_product_rounds_to_fp16_as_numpy_does():
    """All pairs of E4M3 values; numpy rounds the exact float64 product to float16 once."""
    values = FINITE["fp8_e4m3"]
    pe = FpMacPE(activation="fp8_e4m3", weight="fp8_e4m3", accumulator="fp16")
    got = fp_mac_dot(values[:, None, None], values[None, :, None], pe)
    with np.errstate(over="ignore"):
        expected = np.multiply.outer(values, values).astype(np.float16).astype(np.float64)
    np.testing.assert_array_equal(got, expected)


@given(seeds)
@settings(max_examples=40)
def test_fused_fp16_into_fp32_survives_double_rounding(seed):
    """Sums that lie near the midpoint of two float32 values, where rounding twice goes wrong."""
    rng = np.random.default_rng(seed)
    activations = np.array(
        [2.0**12, rng.integers(1, 2048) * 2.0**-24, rng.choice([1, -1]) * 2.0**-24]
    )
    weights = np.array([2.0**0, 2.0**12 * rng.choice([1.0, 2.0**-2]), 2.0**-24])
    got = fp_mac_dot(activations, weights)
    assert got == pe_naive.fp_mac(activations.tolist(), weights.tolist(), None, "fp32")
    tie = fp_mac_dot([1.0, 2.0**-12, 2.0**-24], [1.0, 2.0**-12, 2.0**-24])
    assert tie == 1.0  # 1 + 2**-24 ties to even; 2**-48 comes too late


@pytest.mark.parametrize(
    "pe", [LutPE(), LutPE(inputs=4, table="fp32"), LutPE(inputs=5, accumulator="fp16")], ids=str
)
def test_lut_equals_fractions(pe):
    rng = np.random.default_rng(3)
    activations = rng.standard_normal((3, 19)).astype(np.float16)
    chunks = -(-19 // pe.inputs)
    planes = rng.integers(0, 1 << pe.inputs, (4, 3, chunks))
    scales = rng.integers(-8, 3, (4, 3))
    got = lut_matmul(activations, planes, scales, pe)
    expected = [
        [
            pe_naive.lut_output(a, p, s, pe.inputs, pe.table, pe.accumulator)
            for p, s in zip(planes, scales, strict=True)
        ]
        for a in activations.astype(float).tolist()
    ]
    np.testing.assert_array_equal(got, expected)


def test_lut_of_small_integers_is_the_direct_sum():
    rng = np.random.default_rng(4)
    activations = rng.integers(-20, 20, (5, 64)).astype(np.float16)
    signs = rng.choice([-1, 1], (7, 2, 64))
    scales = rng.integers(-3, 3, (7, 2))
    planes = ((signs > 0).reshape(7, 2, 8, 8) << np.arange(8)).sum(-1)
    weights = (signs * np.exp2(scales)[..., None]).sum(1)
    np.testing.assert_array_equal(
        lut_matmul(activations, planes, scales), activations.astype(np.float64) @ weights.T
    )
    table = lut_tables(activations)
    np.testing.assert_array_equal(table[:, :, 255], activations.reshape(5, 8, 8).sum(-1))
    np.testing.assert_array_equal(table, -table[:, :, ::-1])


def test_lut_clocks_and_additions():
    assert LutPE().clocks(4096, 3) == 3 * 512
    assert LutPE().table_additions == 256 + 2 * 16 + 4 * 4
    assert LutPE(inputs=1).table_additions == 0


def test_every_flint_code_is_mantissa_and_shift():
    flint = flint_decode(np.arange(16))
    for code in range(16):
        mantissa, shift = pe_naive.FLINT4[code % 8]
        assert flint.mantissa[code] == mantissa * (-1 if code > 8 else 1)
        assert flint.shift[code] == shift
    values = catalogue.element("flint4").values
    np.testing.assert_array_equal(flint.mantissa << flint.shift, values)


def test_ant_multiplies_and_shifts():
    rng = np.random.default_rng(5)
    activations, codes = rng.integers(-128, 128, (6, 40)), rng.integers(0, 16, (6, 40))
    for bits in (12, 32):
        pe = AntPE(mac=IntMacPE(weight_bits=4, accumulator_bits=bits))
        expected = []
        for a_row, c_row in zip(activations, codes, strict=True):
            weights = [
                (-1 if c > 8 else 1) * (pe_naive.FLINT4[c % 8][0] << pe_naive.FLINT4[c % 8][1])
                for c in c_row
            ]
            expected.append(pe_naive.int_mac(a_row, weights, bits, "saturate"))
        assert ant_dot(activations, codes, pe).tolist() == expected


def olive_pairs():
    """Every pair of codes that stands for something."""
    pairs = [(a, b) for a in range(16) for b in range(16) if not a == b == 8]
    return [p for p in pairs if 8 not in p or not {0} & set(p)]


def test_every_olive_pair_is_decoded():
    pairs = np.array(olive_pairs())
    assert len(pairs) == 15 * 15 + 2 * 14
    got = olive_decode(pairs)
    assert got.tolist() == [pe_naive.olive_values(p) for p in pairs.tolist()]
    np.testing.assert_array_equal(got, pair_values(pairs.astype(np.uint8), 4))


def test_olive_dot_equals_python_integers():
    rng = np.random.default_rng(6)
    pairs = np.array(olive_pairs())
    codes = pairs[rng.integers(0, len(pairs), (5, 12))].reshape(5, 24)
    codes = np.concatenate([codes, np.full((5, 1), 15)], axis=1)  # a lonely last element
    activations = rng.integers(-128, 128, (5, 25))
    expected = [
        pe_naive.int_mac(a, pe_naive.olive_values(c), 32, "saturate")
        for a, c in zip(activations, codes.tolist(), strict=True)
    ]
    assert olive_dot(activations, codes, OlivePE()).tolist() == expected


def test_zero_sizes():
    assert int_mac_dot([], []) == 0
    assert fp_mac_dot(np.zeros((2, 0)), np.zeros((2, 0))).tolist() == [0.0, 0.0]
    assert lut_matmul(np.zeros((2, 0)), np.zeros((3, 1, 0), int), np.zeros((3, 1), int)).shape == (
        2,
        3,
    )
    assert olive_dot([], []) == ant_dot([], []) == 0


def test_kinds_tell_their_clocks():
    assert set(PE_KINDS) >= {"bit_serial", "int_mac", "fp_mac", "lut", "ant", "olive"}
    assert BitSerialPE().clocks(129, 2) == 66
    assert IntMacPE(lanes=8).clocks(17) == 3
    assert FpMacPE().clocks(5) == AntPE().clocks(5) == OlivePE().clocks(5) == 5


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: int_mac_dot([200], [1]), "200 at index .0,. does not fit 8 bits"),
        (lambda: int_mac_dot([1.5], [1]), "integers are needed"),
        (lambda: int_mac_dot([1, 2], [1]), "equally long"),
        (lambda: fp_mac_dot([np.inf], [1]), "activations: inf at index"),
        (lambda: fp_mac_dot([0.1], [1]), "not a value of fp16"),
        (lambda: fp_mac_dot([1], [7], FpMacPE(weight="fp4_e2m1")), "not a value of fp4_e2m1"),
        (lambda: fp_mac_dot([1], [1], FpMacPE(weight="int7")), "Known: .*fp8_e4m3"),
        (lambda: fp_mac_dot([1], [1], FpMacPE(overflow="wrap")), "Known: inf, saturate"),
        (lambda: lut_matmul([[1.0]], [[[256]]], [[0]]), "0..255 is right"),
        (lambda: lut_matmul([[1.0]], [[[1, 1]]], [[0]]), "are needed for 1 tables"),
        (lambda: lut_matmul([[1.0]], [[[1]]], [[100]]), "-64..64"),
        (lambda: lut_tables([1.0]), "shape .M, K."),
        (lambda: ant_dot([1], [16]), "0..15 is right"),
        (lambda: flint_decode([1], "nf4"), "formats of integers"),
        (lambda: flint_decode([1], "bitmod_fp4"), "single formats"),
        (lambda: olive_decode([8, 8]), "beside a victim"),
        (lambda: olive_decode([0, 8]), "beside a victim"),
        (lambda: olive_decode(8), "at least one axis"),
        (lambda: IntMacPE(accumulator_bits=63), "IntMacPE.accumulator_bits"),
        (lambda: IntMacPE(overflow="trap"), "did you mean 'wrap'"),
        (lambda: LutPE(inputs=13), "LutPE.inputs"),
        (lambda: BitSerialPE(lanes=0), "BitSerialPE.lanes"),
    ],
)
def test_bad_input_is_explained(call, words):
    with pytest.raises(BitlatheError, match=words):
        call()


def test_float_formats_agree_with_the_catalogue():
    for name, (bits, lowest, largest) in FLOAT_FORMATS.items():
        if name != "fp32":
            fmt = catalogue.element(name)
            assert (fmt.max, fmt.smallest_subnormal) == (largest, 2.0**lowest)
            assert np.sort(fmt.grid.values)[-2] == largest - 2.0 ** (np.frexp(largest)[1] - bits)
