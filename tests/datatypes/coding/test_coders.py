"""What each coder makes of a tensor: errors bounded, rules of the sources followed."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bitlathe as bl
from bitlathe.datatypes.formats import catalogue
from bitlathe.datatypes.formats.catalogue import single
from bitlathe.datatypes.quantize import quantize
from bitlathe.datatypes.schemes.scheme import Scheme
from quantized_cases import SCHEMES, weights


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


def test_tiny_and_huge_values_are_defined():
    tiny = np.full((1, 4), 1e-45, np.float32)
    assert (quantize(tiny, "int4@g4/fp32").dequantize() == tiny).all()
    with pytest.warns(UserWarning, match="scale of group 0 underflows in fp16.*/bf16 or /fp32"):
        assert quantize(tiny, "int4@g4").scales[0, 0] == 2.0**-24
    huge = np.full((1, 4), 3e38, np.float32)
    np.testing.assert_allclose(quantize(huge, "int4@g4/fp32").dequantize(), huge, rtol=1e-6)
    with pytest.raises(ValueError, match=r"group 0.*does not fit fp16.*/bf16"):
        quantize(huge, "int4@g4")


def test_int8_scales_never_lose_a_group():
    x = weights((1, 32))
    x[0, :16] *= 1e-4
    y = quantize(x, "int8@g16/int4").dequantize()
    assert single("int8").max == 127
    assert np.isfinite(y).all()
    assert quantize(x, "int8@g16/int4").raw.min() >= 1
