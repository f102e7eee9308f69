"""Quantised tensors: bits stored are bits counted, errors bounded, any shape, axis and dtype."""

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import bitlathe as bl
from bitlathe.datatypes.formats import catalogue
from bitlathe.datatypes.formats.catalogue import single
from bitlathe.datatypes.formats.constructors import codebook
from bitlathe.datatypes.quantize import quantize
from bitlathe.datatypes.schemes.scheme import Scheme
from oracles import released_bitmod

SCHEMES = [
    "int4@g128", "int3@tensor", "int8@channel", "int4@input", "int4@b4x16/bf16", "int4_asym@g32",
    "int2_asym@channel/int8", "bitmod_fp3@g128/int8", "bitmod_fp4@g16", "bitmod_fp3_er@g10/int4",
    "ant4@g7", "nf3@g64", "mxfp4", "mxfp6_e3m2", "mxint8/e8m0_rceil", "mx_bitmod_int3", "nvfp4",
    "olive4@g9", "olive3", "olive4+mse",
    "bcq2@g16", "bcq3@g16/fp16", "dgq4@g16", "fp8_e5m2@g16/pot", "fp16",
    "fp4_e2m1@g8/m2", "int4@g16+mse", "int4_asym@g16+mae", "int4@g20+p99", "int4@g20+sigma2.5",
    "bitmod_fp4@g16+paper", "int4_asym@g16+paper", "fp8_e4m3/none", "int4_asym@b3x5/int6",
]  # fmt: skip


def weights(shape, seed=0):
    return (np.random.default_rng(seed).standard_normal(shape) * 0.05).astype(np.float32)


@pytest.mark.parametrize("shape", [(6, 40), (1, 1), (5, 33)])
@pytest.mark.parametrize("text", SCHEMES)
def test_bits_counted_are_bits_stored(text, shape):
    q = quantize(weights(shape), text)
    scheme = Scheme.parse(text)
    streams = q.packed
    assert q.total_bits == scheme.total_bits(shape[1], shape[0])
    assert Fraction(q.total_bits, q.size) == scheme.bits_per_element(shape[1], shape[0])
    # each stream ends on a whole byte, so at most 7 bits are lost in each
    assert 0 <= 8 * q.nbytes - q.total_bits <= 7 * len(streams)
    assert streams["codes"].size == -(-q.size * scheme.element_bits // 8)


def test_bits_in_closed_form():
    """papers.md, sections 1, 3, 4, 6 and the MX and NVFP4 specifications."""
    cases = {
        "bitmod_fp3@g128/int8": 3 + Fraction(10, 128) + Fraction(16, 4096),
        "bitmod_fp4@g128/fp16": 4 + Fraction(18, 128),
        "int4_asym@g128": 4 + Fraction(20, 128),
        "mxfp4": 4 + Fraction(8, 32),
        "nvfp4": 4 + Fraction(8, 16) + Fraction(32, 4096 * 8),
        "bcq3": 3 + Fraction(3 * 24, 128),
        "dgq4": 4 + Fraction(12, 128) + Fraction(16, 4096),
        "int8@channel": 8 + Fraction(16, 4096),
        "int4@input": 4 + Fraction(16, 8),
        "int4@g100": 4 + Fraction(41 * 16, 4096),  # the last group is short, and counted
    }
    for text, bits in cases.items():
        assert Scheme.parse(text).bits_per_element(4096, 8) == bits, text


@pytest.mark.parametrize("text", SCHEMES)
def test_every_scheme_beats_a_loose_bound_and_keeps_zero(text):
    x = weights((6, 40))
    x[2] = 0
    y = quantize(x, text).dequantize()
    assert y.shape == x.shape
    assert y.dtype == np.float32
    assert (y[2] == 0).all() or "tensor" in text or "input" in text or "b4" in text
    scheme = Scheme.parse(text)
    bound = {1: 1.0, 2: 0.6, 3: 0.2, 4: 0.08}.get(scheme.element_bits, 0.02)
    assert ((x - y) ** 2).sum() / (x**2).sum() < bound


@settings(max_examples=60)
@given(
    rows=st.integers(1, 5),
    columns=st.integers(1, 40),
    group=st.integers(1, 45),
    bits=st.integers(2, 6),
    power=st.integers(-40, 30),
    seed=st.integers(0, 1000),
)
def test_integer_errors_are_at_most_half_a_step(rows, columns, group, bits, power, seed):
    x = np.ldexp(weights((rows, columns), seed), power)
    q = quantize(x, f"int{bits}@g{group}/fp32")
    step = np.repeat(q.scales, min(group, columns), axis=1)[:, :columns]
    assert (np.abs(x - q.dequantize()) <= step * 0.500001).all()


@pytest.mark.parametrize("axis", [0, 1, 2, -1, -2])
@pytest.mark.parametrize("text", ["bitmod_fp4@g8", "int4_asym@g8", "int4@b2x3"])
def test_any_axis_is_the_last_axis_of_a_transposed_tensor(text, axis):
    x = weights((4, 10, 6))
    q = quantize(x, text, axis=axis)
    moved = quantize(np.ascontiguousarray(np.moveaxis(x, axis, -1)), text)
    np.testing.assert_array_equal(q.dequantize(), np.moveaxis(moved.dequantize(), -1, axis))
    np.testing.assert_array_equal(q.codes, np.moveaxis(moved.codes, -1, axis))
    assert q.codes.shape == x.shape
    assert quantize(x[::2, ::-1, 1:], text, axis=axis).shape == (2, 10, 5)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.float64, ">f4"])
def test_any_float_dtype_gives_the_codes_of_its_values(dtype):
    narrow = weights((4, 64)).astype(ml_dtypes.bfloat16).astype(np.float32)
    narrow = narrow.astype(np.float16).astype(np.float32)
    x = narrow.astype(dtype)
    q, base = quantize(x, "bitmod_fp4@g32"), quantize(x.astype(np.float32), "bitmod_fp4@g32")
    np.testing.assert_array_equal(q.codes, base.codes)
    assert q.dequantize().dtype == (np.float64 if dtype is np.float64 else np.float32)


EIGHT = ["float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float6_e2m3fn", "float4_e2m1fn"]


@pytest.mark.parametrize("name", EIGHT)
def test_floats_of_eight_bits_and_fewer_are_read_as_float32(name):
    x = (weights((4, 64)) * 20).astype(getattr(ml_dtypes, name))
    q = quantize(x, "int4@g32")
    base = quantize(x.astype(np.float32), "int4@g32")
    np.testing.assert_array_equal(q.codes, base.codes)
    np.testing.assert_array_equal(q.dequantize(), base.dequantize())
    if hasattr(torch, name) and name.startswith("float8"):
        t = torch.from_numpy(x.view(np.uint8)).view(getattr(torch, name))
        back = quantize(t, "int4@g32").dequantize()
        assert back.dtype == torch.float32
        np.testing.assert_array_equal(back.numpy(), base.dequantize())
        codes = single("fp4_e2m1").encode(t)
        np.testing.assert_array_equal(codes, single("fp4_e2m1").encode(x.astype(np.float32)))


@pytest.mark.filterwarnings("ignore:.*beta state", "ignore:.*prototype stage")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: torch.eye(4).to_sparse(), r"torch\.sparse_coo is not dense; pass x\.to_dense"),
        (lambda: torch.eye(4).to_sparse_csr(), "is not dense"),
        (lambda: torch.eye(4).to_mkldnn(), "is not dense"),
        (lambda: torch.empty(4, 4, device="meta"), "meta device has no values"),
        (lambda: torch.eye(4).to(torch.complex64), "complex64 is not supported"),
        (
            lambda: torch.zeros(4, dtype=torch.uint8).view(torch.float4_e2m1fn_x2),
            "float4_e2m1fn_x2 is not supported",
        ),
        (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "x.unbind"),
        (lambda: torch.nn.Linear(2, 2), "real numbers is needed, got Linear"),
    ],
)
def test_torch_tensors_without_plain_values_are_refused(make, message):
    given = make()
    with pytest.raises(bl.BitlatheError, match=f"^quantize: .*{message}"):
        quantize(given, "int4")


def test_numpy_takes_a_quantised_tensor_for_its_values():
    x = weights((6, 40))
    q = quantize(x, "int4@g16")
    np.testing.assert_array_equal(np.asarray(q), q.dequantize())
    np.testing.assert_array_equal(np.array(q, np.float64), q.dequantize().astype(np.float64))
    np.testing.assert_array_equal(q @ x.T, q.dequantize() @ x.T)
    np.testing.assert_array_equal(x - q, x - q.dequantize())
    assert np.asarray(quantize(x.astype(np.float64), "int4@g16")).dtype == np.float64
    np.testing.assert_array_equal(
        np.asarray(quantize(torch.from_numpy(x), "int4@g16")), q.dequantize()
    )
    with pytest.raises(ValueError, match="no copy=False"):
        np.array(q, copy=False)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_torch_in_torch_out(dtype):
    x = torch.from_numpy(weights((4, 64))).to(dtype)
    q = quantize(x, "int4_asym@g32")
    y = q.dequantize()
    assert y.dtype == dtype
    expected = quantize(
        x.to(torch.float64 if dtype == torch.float64 else torch.float32).numpy(), "int4_asym@g32"
    )
    np.testing.assert_array_equal(q.codes, expected.codes)
    assert torch.equal(y, torch.from_numpy(expected.dequantize()).to(dtype))


def test_the_mixture_takes_the_member_of_least_error_and_the_first_among_equals():
    x = weights((40, 16))
    q = quantize(x, "bitmod_fp3@g16")
    members = bl.format("bitmod_fp3").formats
    errors = []
    for fmt in members:
        y = quantize(x, Scheme.of(fmt, "g16", "fp32")).dequantize()
        errors.append(((x - y).astype(np.float64) ** 2).sum(axis=1))
    np.testing.assert_array_equal(q.choices[:, 0], np.argmin(errors, axis=0))
    assert quantize(np.array([[0.0, 1.0, -2.0, 4.0]]), "bitmod_fp3@g4").choices[0, 0] == 0


@pytest.mark.parametrize("bits", [3, 4])
@pytest.mark.parametrize("std", [0.001, 0.02, 1.0, 400.0])
def test_paper_mode_is_the_released_quantiser_bit_for_bit(bits, std):
    rng = np.random.default_rng(bits)
    x = (rng.standard_t(5, (96, 256)) * std).astype(np.float16)
    x[0] = 0
    x[1, :128] = np.float16(1e-6)
    groups = torch.from_numpy(x.reshape(-1, 128))
    theirs, choice = released_bitmod.bitmod(groups, bits)
    text = f"bitmod_fp{bits}@g128+paper"
    lost = bool((choice < 0).any())
    if lost:
        with pytest.warns(UserWarning, match="came out as zeros"):
            q = quantize(x, text)
    else:
        q = quantize(x, text)
    np.testing.assert_array_equal(
        q.dequantize().astype(np.float16).reshape(-1, 128), theirs.numpy()
    )
    np.testing.assert_array_equal(q.choices.reshape(-1), choice.clamp(min=0).numpy())
    assert lost == (std == 400.0)


@pytest.mark.parametrize("bits", [3, 4])
def test_paper_mode_of_asymmetric_integers(bits):
    x = (np.random.default_rng(5).standard_normal((64, 128)) * 0.02).astype(np.float16)
    theirs = released_bitmod.asymmetric(torch.from_numpy(x), bits)
    q = quantize(x, f"int{bits}_asym@g128+paper")
    np.testing.assert_array_equal(q.dequantize().astype(np.float16), theirs.numpy())


@pytest.mark.parametrize("name", ["fp3", "fp4", "int3", "int4"])
@pytest.mark.parametrize("std", [1e-6, 0.02, 1.0, 8000.0])
def test_paper_mode_of_the_mx_variant(name, std):
    x = np.random.default_rng(6).standard_t(5, (48, 256)) * std
    x = x.clip(-65000, 65000).astype(np.float16)
    x[0], x[1, :40], x[2, 5] = 0, np.float16(6e-8), np.float16(65504)
    x[3] = (np.arange(-128, 128) / 64 * 0.25).astype(np.float16)  # ties
    theirs = released_bitmod.mx(
        torch.from_numpy(x.reshape(-1, 32)), int(name[-1]), integers=name.startswith("int")
    )
    q = quantize(x, f"mx_bitmod_{name}+paper")
    assert q.total_bits == x.size * int(name[-1]) + x.size // 32 * 8
    np.testing.assert_array_equal(q.dequantize().astype(np.float16).reshape(-1, 32), theirs.numpy())
    # large enough for the compiled path of values
    wide = np.tile(x, (32, 1))
    np.testing.assert_array_equal(
        quantize(wide, f"mx_bitmod_{name}+paper").dequantize()[:48], q.dequantize()
    )


@pytest.mark.parametrize("bits", [3, 4])
@pytest.mark.parametrize("std", [0.001, 0.02])
def test_exact_mode_errs_no_more_than_paper_mode(bits, std):
    x = (np.random.default_rng(8).standard_normal((64, 512)) * std).astype(np.float16)
    wide = x.astype(np.float64)

    def error(text):
        return ((wide - quantize(x, text).dequantize()) ** 2).sum()

    assert error(f"bitmod_fp{bits}@g128") <= error(f"bitmod_fp{bits}@g128+paper")


@pytest.mark.filterwarnings("ignore:.*underflows in e8m0")
@pytest.mark.parametrize(
    ("text", "dtype", "largest"),
    [
        ("mxfp4", ml_dtypes.float4_e2m1fn, 6.0),
        ("mxfp6_e2m3", ml_dtypes.float6_e2m3fn, 7.5),
        ("mxfp6_e3m2", ml_dtypes.float6_e3m2fn, 28.0),
        ("mxfp8_e4m3", ml_dtypes.float8_e4m3fn, 448.0),
        ("mxfp8_e5m2", ml_dtypes.float8_e5m2, 57344.0),
    ],
)
def test_mx_follows_the_ocp_rule_with_ml_dtypes_casts(text, dtype, largest):
    x = weights((16, 96), 4) * np.float32(3.7)
    x[0, :32] = np.ldexp(x[0, :32], -130)
    q = quantize(x, text)
    blocks = x.reshape(-1, 32)
    amax = np.abs(blocks).max(axis=1).astype(np.float64)
    own = int(np.frexp(largest)[1]) - 1
    exponent = np.clip(np.frexp(amax)[1] - 1 - own, -127, 127)
    y = np.ldexp(blocks.astype(np.float64), -exponent[:, None])
    codes = np.clip(y, -largest, largest).astype(np.float32).astype(dtype)
    np.testing.assert_array_equal(q.raw[:, 0], exponent + 127)
    np.testing.assert_array_equal(q.codes.reshape(-1, 32), codes.view(np.uint8))
    expected = np.ldexp(codes.astype(np.float64), exponent[:, None]).astype(np.float32)
    np.testing.assert_array_equal(q.dequantize().reshape(-1, 32), expected)


@pytest.mark.parametrize("seed", range(9, 19))
def test_nvfp4_follows_its_two_levels_with_ml_dtypes_casts(seed):
    x = weights((8, 64), seed) * np.float32(0.1)
    q = quantize(x, "nvfp4")
    blocks = x.reshape(-1, 16)
    amax = np.abs(blocks).max(axis=1)
    real = amax / np.float32(6)
    whole = amax.max() / np.float32(448 * 6)  # one division, as in arXiv 2509.25149
    scale = (real.astype(np.float64) / whole).astype(np.float32).astype(ml_dtypes.float8_e4m3fn)
    used = scale.astype(np.float32) * whole
    codes = np.clip(blocks / used[:, None], -6, 6).astype(ml_dtypes.float4_e2m1fn)
    np.testing.assert_array_equal(q.raw[:, 0], scale.view(np.uint8))
    np.testing.assert_array_equal(q.codes.reshape(-1, 16), codes.view(np.uint8))
    assert q.outer_scales[0] == whole


def test_nf4_codes_are_by_midpoints_of_the_published_table():
    x = weights((8, 64), 2)
    y = x / np.abs(x).max(axis=1, keepdims=True)
    table = np.array(catalogue.NF4_VALUES)
    nearest = np.abs(y[..., None].astype(np.float64) - table).argmin(axis=-1)
    np.testing.assert_array_equal(quantize(x, "nf4@g64").codes, nearest)


def test_olive_pairs_hold_victims_and_outliers():
    x = weights((1, 128)) * 20
    x[0, 3], x[0, 40] = 20.0, -30.0
    q = quantize(x, "olive4")
    codes, y = q.codes[0], q.dequantize()[0]
    assert np.flatnonzero(codes == 8).tolist() == [2, 41]
    assert y[2] == 0 == y[41]
    assert abs(y[3] - 20) < 4
    assert abs(y[40] + 30) < 6
    lonely = quantize(np.array([[1, 1, 1, 1, 50.0]], np.float32), "olive4@g5")
    assert (lonely.codes != 8).all()


def test_bcq_scales_are_sums_of_three_powers_of_two():
    q = quantize(weights((4, 64)), "bcq2@g64")
    field = np.stack([(q.raw >> np.uint32(8 * k)) & np.uint32(127) for k in range(3)])
    assert field.max() < 128
    assert q.scales.shape == (4, 1, 2)
    y = q.dequantize()
    for row in range(4):
        sums = {
            float(np.float32(a * q.scales[row, 0, 0] + b * q.scales[row, 0, 1]))
            for a in (1, -1)
            for b in (1, -1)
        }
        assert set(y[row].tolist()) <= sums


def test_dual_grain_products_stay_within_int8():
    q = quantize(weights((6, 256)), "dgq4@g64")
    w8 = (q.codes.reshape(6, 4, 64).astype(int) - q.zeros[..., None]) * q.raw.reshape(6, 4, 1)
    assert np.abs(w8).max() <= 127
    np.testing.assert_allclose(
        q.dequantize().reshape(6, 4, 64), w8 * q.outer_scales[:, None, None], rtol=1e-6
    )


def test_importance_moves_a_searched_range():
    x = weights((8, 64), 6)
    heavy = np.where(np.arange(64) < 32, 100.0, 1.0)
    plain = quantize(x, "int3@channel+mse")
    led = quantize(x, "int3@channel+mse", importance=heavy)

    def cost(q):
        return (heavy * (x - q.dequantize()) ** 2).sum()

    assert cost(led) < cost(plain)


def test_clipping_searches_reduce_what_they_search():
    x = weights((32, 128), 7)
    x[:, 5] *= 6
    base = x - quantize(x, "int4@g128").dequantize()
    mse = x - quantize(x, "int4@g128+mse").dequantize()
    mae = x - quantize(x, "int4@g128+mae").dequantize()
    assert (mse**2).sum() < (base**2).sum()
    assert np.abs(mae).sum() < np.abs(base).sum()
    for text in ("int4@g128+p97", "int4@g128+sigma2"):
        assert quantize(x, text).scales.max() < quantize(x, "int4@g128").scales.max()


def test_rows_can_be_sliced_without_change():
    x = weights((10, 48))
    for text in (
        "bitmod_fp3@g16/int8",
        "int4_asym@g20",
        "int4@tensor",
        "int4@b2x16",
        "nvfp4",
        "bcq2@g16",
        "int4@input",
        "int4@g16/m2",
    ):
        q = quantize(x, text)
        part = q[2:8]
        assert np.shares_memory(part.matrix, q.matrix)
        np.testing.assert_array_equal(part.dequantize(), q.dequantize()[2:8])
        assert len(part) == 6
        assert q[4:4].dequantize().shape == (0, 48)
    with pytest.raises(ValueError, match="first axis"):
        quantize(x, "int4@g4", axis=0)[1:2]


@pytest.mark.parametrize(
    "text",
    ["bitmod_fp3@g16/int8", "int4_asym@g20", "int4@tensor", "nvfp4", "bcq2@g16", "int4@input",
     "int4@g16/m2", "int4@b1x16/bf16"],
)  # fmt: skip
def test_any_rows_can_be_chosen(text):
    q = quantize(weights((10, 3, 48)), text)
    y = q.dequantize()
    mask = np.arange(10) % 2 == 0
    for key in (
        3,
        -1,
        np.int64(2),
        slice(None, None, 3),
        slice(8, 2, -1),
        [0, 5],
        [7, 7],
        mask,
        [],
    ):
        np.testing.assert_array_equal(q[key].dequantize(), y[key])
        assert q[key].shape == y[key].shape
    assert [part.shape for part in q] == [(3, 48)] * 10


def test_rows_that_share_scales_are_chosen_together():
    q = quantize(weights((10, 48)), "int4@b4x16")
    np.testing.assert_array_equal(q[[4, 5, 6, 7, 8, 9]].dequantize(), q.dequantize()[4:])
    for key in (slice(1, 5), 3, [4, 5], [8, 9, 0, 1, 2, 3]):
        with pytest.raises(ValueError, match="multiples"):
            q[key]
    for key in ("a", None, 1.5, True, (0, 1), [[1]], [0.5], 10, [-11]):
        with pytest.raises(bl.BitlatheError, match="rows of a quantised tensor"):
            q[key]


def test_terms_of_a_tensor_are_those_of_its_codes():
    x = weights((4, 64))
    q = quantize(x, "bitmod_fp3@g16")
    members = bl.format("bitmod_fp3").formats
    count = sum(
        len(members[m].terms(int(c)))
        for m, row in zip(q.choices.reshape(-1), q.codes.reshape(-1, 16), strict=True)
        for c in row
    )
    assert q.terms().terms_per_weight * x.size == pytest.approx(count)
    assert Scheme.parse("bitmod_fp4@g128").terms_per_weight == 2
    assert [Scheme.parse(f"int{b}").terms_per_weight for b in (8, 6, 4)] == [4, 3, 2]
    assert Scheme.parse("int4_asym").terms_per_weight == 3
    assert quantize(x, "int4_asym@g16").terms().clocks_per_weight == 3


def test_terms_on_a_fixed_point_say_so():
    x = weights((4, 64))
    assert (quantize(x, "int4").terms().exact, quantize(x, "int4").terms().max_error) == (True, 0)
    for text, error in (("fp8_e4m3", 2.0), ("nf4", 0.0038876980543136597)):
        found = quantize(x, text).terms()
        assert (found.exact, found.max_error) == (False, error)
        assert Scheme.parse(text).term_error == error
    assert Scheme.parse("int4_asym").term_error == 0


@pytest.mark.parametrize("name", catalogue.names())
def test_a_format_of_the_catalogue_means_what_its_name_means(name):
    made = bl.format(name)
    assert Scheme.parse(made) == Scheme.parse(name)
    if not isinstance(made, Scheme):
        assert str(Scheme.of(made, "g16")) == str(Scheme.parse(f"{name}@g16"))
    x = np.abs(weights((2, 8)))
    np.testing.assert_array_equal(quantize(x, made).dequantize(), quantize(x, name).dequantize())


def test_a_format_of_ones_own_goes_straight_in():
    ternary = codebook("ternary", [0, 1, -1])
    q = quantize(weights((2, 8)), Scheme.of(ternary, "g4"))
    assert q.bits_per_element == 2 + 16 / 4
    assert set(np.unique(np.abs(q.dequantize() / np.repeat(q.scales, 4, axis=1)))) <= {0, 1}


@pytest.mark.parametrize("text", SCHEMES)
@pytest.mark.parametrize("shape", [(0, 8), (3, 0), (0,)])
def test_empty_tensors_have_no_bits(text, shape):
    q = quantize(np.zeros(shape, np.float32), text)
    assert (q.dequantize().shape, q.nbytes, q.total_bits, q.bits_per_element) == (shape, 0, 0, 0.0)


def test_stochastic_quantisation_repeats_with_its_seed():
    x = weights((8, 64))
    one = quantize(x, "int4@g64", rounding="stochastic", seed=3)
    np.testing.assert_array_equal(
        one.codes, quantize(x, "int4@g64", rounding="stochastic", seed=3).codes
    )
    assert (one.codes != quantize(x, "int4@g64", rounding="stochastic", seed=4).codes).any()


def test_nan_is_refused_or_carried_through_its_whole_group():
    x = weights((2, 8))
    x[1, 5] = np.nan
    x[0, 0] = np.inf
    with pytest.raises(ValueError, match=r"2 value\(s\).*inf at index \(0, 0\)"):
        quantize(x, "int4@g4")
    for text in ("int4@g4", "mxfp4@g4", "bitmod_fp3@g4", "int4_asym@g4/bf16", "nvfp4@g4"):
        y = quantize(x, text, nan="propagate").dequantize()
        lost = np.isnan(y).reshape(2, 2, 4).all(axis=2)
        np.testing.assert_array_equal(lost, [[True, False], [False, True]])
        assert np.isfinite(y[0, 4:]).all()
    with pytest.raises(ValueError, match=r"scales stored as pot3 cannot be NaN.*fp16"):
        quantize(x, "bcq3@g4", nan="propagate")
    with pytest.raises(ValueError, match=r"int4 without a scale cannot be NaN"):
        quantize(x, "int4/none", nan="propagate")


@pytest.mark.parametrize(
    "text", ["bitmod_fp4@g4/int8", "int4@g4/m2", "dgq4@g4", "int4_asym@g4/int6"]
)
def test_a_row_of_integer_scales_becomes_nan_together(text):
    x = weights((3, 8))
    x[1, 5] = np.nan
    y = quantize(x, text, nan="propagate").dequantize()
    assert np.isnan(y[1]).all()
    np.testing.assert_array_equal(y[[0, 2]], quantize(x[[0, 2]], text).dequantize())


@pytest.mark.parametrize("text", ["fp16", "bf16", "fp8_e4m3/none", "fp8_e5m2/none"])
def test_without_scales_an_element_is_nan_alone(text):
    x = weights((2, 8))
    y = quantize(x, text).dequantize()
    x[1, 5], x[0, 0], x[0, 1] = np.nan, np.inf, -np.inf
    y[1, 5], y[0, 0], y[0, 1] = np.nan, np.inf, -np.inf
    if "e4m3" in text:  # has no infinity
        y[0, :2] = np.nan
    np.testing.assert_array_equal(quantize(x, text, nan="propagate").dequantize(), y)
    with pytest.raises(ValueError, match="not finite"):
        quantize(x, text)


def test_signed_sums_carry_nan_in_float_scales():
    x = weights((2, 8))
    x[1, 5] = np.nan
    y = quantize(x, "bcq3@g4/fp16", nan="propagate").dequantize()
    assert np.isnan(y).reshape(2, 2, 4).all(axis=2).tolist() == [[False, False], [False, True]]
    assert np.isnan(y).sum() == 4


def test_tiny_and_huge_values_are_defined():
    tiny = np.full((1, 4), 1e-45, np.float32)
    assert (quantize(tiny, "int4@g4/fp32").dequantize() == tiny).all()
    with pytest.warns(UserWarning, match="scale of group 0 underflows in fp16.*/bf16 or /fp32"):
        assert quantize(tiny, "int4@g4").scales[0, 0] == 2.0**-24
    huge = np.full((1, 4), 3e38, np.float32)
    np.testing.assert_allclose(quantize(huge, "int4@g4/fp32").dequantize(), huge, rtol=1e-6)
    with pytest.raises(ValueError, match=r"group 0.*does not fit fp16.*/bf16"):
        quantize(huge, "int4@g4")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: quantize(3.0, "int4"), "scalar"),
        (lambda: quantize(weights((2, 3)), "int4", axis=2), r"axis is 2.*\(2, 3\)"),
        (lambda: quantize(weights((2, 3)), "int4", axis="x"), "axis is 'x'"),
        (lambda: quantize(["a"], "int4"), "real numbers"),
        (lambda: quantize(np.zeros(3, complex), "int4"), "real numbers"),
        (lambda: quantize([[1.0], [2.0, 3.0]], "int4"), "real numbers"),
        (lambda: quantize(weights((2, 3)), "uint4"), "unsigned.*int4_asym"),
        (lambda: quantize(weights((2, 3)), "int4", rounding="evne"), "did you mean 'even'"),
        (lambda: quantize(weights((2, 3)), "int4", nan="drop"), "nan rule"),
        (lambda: quantize(weights((2, 3)), "int4+mse", importance=[1, 2]), "3 finite weights"),
        (lambda: quantize(np.full((1, 2), 1e5), "bitmod_fp4+paper"), "float16"),
        (lambda: quantize(weights((2, 3)), "int4", rounding="stochastic"), "seed"),
        (lambda: quantize(weights((2, 3)), 4), "a scheme is a string"),
        (lambda: quantize(weights((2, 3)), []), "a scheme is a string.*list"),
        (lambda: quantize(weights((2, 3)), None), "a scheme is a string.*NoneType"),
        (lambda: quantize(weights((2, 3)), "int4", rounding=None), "unknown rounding mode None"),
        (lambda: quantize(weights((2, 3)), "int4", rounding=3), "unknown rounding mode 3"),
        (lambda: quantize(weights((2, 3)), "int4", nan=None), "unknown nan rule None"),
        (lambda: quantize(weights((2, 3)), "int4", rounding="stochastic", seed=-1), "seed is -1"),
        (lambda: quantize(weights((2, 3)), "int4", rounding="stochastic", seed=1.5), "seed is 1.5"),
        (lambda: quantize(weights((2, 3)), "int4", seed="x"), "seed is 'x'"),
        (lambda: quantize(weights((2, 3)), "int4", axis=True), "axis is True"),
        (lambda: quantize(weights((2, 3)), "int4+mse", importance=["a"] * 3), "importance: .*real"),
        (lambda: quantize(weights((2, 3)), "int4_asym+paper", rounding="up"), "has its own rule"),
        (lambda: quantize(weights((2, 3)), "bcq3", rounding="down"), "has its own rule"),
        (lambda: quantize(weights((2, 3)), "olive4", rounding="zero"), "has its own rule"),
        (lambda: quantize(weights((2, 3)), "uint1"), "such as int2_asym"),
        (
            lambda: quantize(np.array([1e300, 1.0]), "bitmod_fp4@g128"),
            "does not fit fp32; divide the tensor",
        ),
    ],
)
def test_bad_input_is_explained(call, message):
    with pytest.raises(bl.BitlatheError, match=message):
        call()


def test_a_block_is_no_taller_than_the_tensor():
    x = weights((16, 64))
    q = quantize(x, "int4@b1000000000x1000000000")
    np.testing.assert_array_equal(q.codes, quantize(x, "int4@tensor").codes)


def test_int8_scales_never_lose_a_group():
    x = weights((1, 32))
    x[0, :16] *= 1e-4
    y = quantize(x, "int8@g16/int4").dequantize()
    assert single("int8").max == 127
    assert np.isfinite(y).all()
    assert quantize(x, "int8@g16/int4").raw.min() >= 1
