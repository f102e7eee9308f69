"""The ends of the range: what is refused, warned of, or passed over by a search."""

import re

import numpy as np
import pytest
import torch

import bitlathe as bl
from bitlathe.datatypes.coding import dispatch as fast
from bitlathe.datatypes.coding import job as coding
from bitlathe.datatypes.formats.catalogue import single
from bitlathe.datatypes.formats.constructors import codebook
from bitlathe.datatypes.quantize import quantize
from bitlathe.datatypes.schemes.scheme import Scheme
from bitlathe.datatypes.study.compare import compare

MAX32 = np.finfo(np.float32).max


def gaussian(std, shape=(4, 128), seed=0):
    x = np.random.default_rng(seed).standard_normal(shape)
    return (x * std).astype(np.float32)


def relative_error(x, y):
    wide = x.astype(np.float64)
    return ((wide - y) ** 2).sum() / (wide**2).sum()


@pytest.fixture(params=["numpy", "compiled"])
def path(request, monkeypatch):
    monkeypatch.setattr(coding, "SEARCH_MIN", 0 if request.param == "compiled" else 1 << 60)


# --- searches: a candidate whose scale overflows is passed over ---------------------------------


@pytest.mark.parametrize("scheme", ["int4@g128+mse", "int4@g128+mae", "int4_asym@g128+mse"])
def test_a_search_takes_what_fits(scheme, path):
    """Scales and ranges are exact multiples: by a power of two less, the same search has room."""
    x = gaussian(1e5, (2, 128))
    # absmax / 7 = 57142.9, / 15 (of +-4e5: 53333) fit fp16; 1.25 times that, 71428.6, do not
    x[:, 0] = 4e5
    x[:, 1] = -4e5 if "asym" in scheme else 0
    q, small = quantize(x, scheme), quantize(x / 1024, scheme)
    assert (small.scales * 1024 < 65520).all()
    np.testing.assert_array_equal(q.codes, small.codes)
    np.testing.assert_array_equal(q.scales, small.scales * 1024)


def test_the_widest_ranges_of_a_search_may_be_beyond_float32(path):
    q = quantize(np.full(128, 3e38, np.float32), "nf4@g128/fp32+mse")
    np.testing.assert_allclose(q.dequantize(), np.float32(3e38), rtol=1e-6)
    # the OCP exponents of an infinite range are no candidates, and numpy says nothing of them
    x = np.array([[2.8e38, -2.8e38, 1e38, 0]], np.float32)
    y = quantize(x, "mxfp4+mse").dequantize()
    small = quantize(x / 256, "mxfp4+mse").dequantize()
    np.testing.assert_array_equal(y, small * np.float32(256))


def test_a_member_whose_scale_overflows_is_passed_over(path):
    """9e5 / 7 = 128571 does not fit fp16, 9e5 / 16 = 56250 does: FLINT4 it is."""
    x = np.zeros((1, 128), np.float32)
    x[0, :3] = 9e5, -9e5, 3e5
    q = quantize(x, "ant4@g128")
    assert q.choices.tolist() == [[1]]
    assert q.scales[0, 0] == np.float16(9e5 / 16)
    with pytest.raises(
        bl.BitlatheError, match=r"scale of group 0, 1\.28571e\+06, does not fit fp16"
    ):
        quantize(x * 10, "ant4@g128")


def test_where_no_candidate_fits_the_group_is_named(path):
    """Ranges go down to .25 of absmax: 2e6 / 7 * .25 = 71429 is still too large."""
    x = gaussian(1.0, (3, 128))
    x[1, 0] = 2e6
    for scheme in ("int4@g128+mse", "int4_asym@g128+mse", "olive4@channel"):
        with pytest.raises(
            bl.BitlatheError, match=r"scale of group 1, .* does not fit fp16.*/bf16"
        ):
            quantize(np.where(np.arange(128) < 2, x * 1e3, x), scheme)


def test_dual_grain_tries_channel_scales_beyond_fp16(path):
    """Its first ratio is 1.00975: absmax / 127 = 65497 fits, 66136 does not."""
    x = np.full((1, 128), 65497.0 * 127, np.float32)
    np.testing.assert_allclose(quantize(x, "dgq4").dequantize(), x, rtol=0.04)
    with pytest.raises(bl.BitlatheError, match="scale of group 0, 392982, does not fit the fp16"):
        quantize(x * 6, "dgq4")


def test_a_range_of_both_signs_may_be_beyond_float32():
    """High - low = 4e38 has no float32, (high - low) / 15 = 2.67e37 has."""
    x = np.array([[2e38, -2e38, 1e38, 0]], np.float32)
    y = quantize(x, "int4_asym@g4/fp32").dequantize()
    np.testing.assert_allclose(y, x, atol=2.67e37 / 2 * 1.001)


# --- overflow -----------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["mxfp4", "mxfp4/e8m0_ceil", "mxint8", "int4@g32/pot", "nvfp4",
                                    "mx_bitmod_fp4", "int4@g32/int8", "int4@g32/m2", "bcq3/fp32",
                                    "olive4/fp32", "nf4", "int4_asym/bf16"])  # fmt: skip
def test_scales_beyond_their_format_are_refused_naming_the_group(scheme):
    x = np.ones((2, 64))
    x[1, 40] = 1e99
    block = Scheme.parse(scheme).granularity.columns
    group = {16: 6, 32: 3, 64: 1}.get(block, 1)
    with pytest.raises(bl.BitlatheError, match=rf"the scale of group {group}, .*divide the tensor"):
        quantize(x, scheme)


def test_a_power_of_two_cut_to_the_largest_still_serves_a_grid_it_reaches():
    """OCP's floor of 3.4e38 is 2^127; the ceiling, 2^128, is cut to that (E8M0 ends there)."""
    x = np.full((1, 32), MAX32, np.float32)
    q = quantize(x, "mxint8/e8m0_ceil")
    assert q.raw[0, 0] == 254
    np.testing.assert_allclose(q.dequantize(), x, rtol=0.01)
    # of a grid up to 1/2 this leaves half of the group out
    half = Scheme.of(codebook("half", [0, 0.5, -0.5]), "g32", "pot")
    with pytest.raises(bl.BitlatheError, match="powers of two up to 2\\^127"):
        quantize(x, half)


def test_values_that_come_back_as_infinity_are_warned_of():
    """E4M3 448 x fp32 scale x 127 rounds past the largest float32."""
    x = np.full((4, 256), MAX32, np.float32)
    with pytest.warns(UserWarning, match=r"group 0, up to 3.40282e\+38, comes back as infinity"):
        q = quantize(x, "int8@g32/e4m3")
    np.testing.assert_allclose(q.dequantize("float64"), x, rtol=1e-6)
    half = torch.full((1, 128), 65504.0, dtype=torch.float16)
    with pytest.warns(UserWarning, match=r"infinity in float16; take dequantize\('float32'\)"):
        q = quantize(half, "int4@g128")
    assert torch.isfinite(q.dequantize("float32")).all()


@pytest.mark.parametrize(
    ("scheme", "limit"), [("bcq2", 2**31), ("bcq3", 2**31), ("bcq3/fp16", 65504)]
)
def test_sums_of_signed_scales_refuse_what_they_cannot_reach(scheme, limit):
    for std in (limit * 50, 1e37):
        with pytest.raises(
            bl.BitlatheError, match=r"scale of group \d, .* does not fit (pot3|fp16)"
        ):
            quantize(gaussian(std), scheme)
    x = gaussian(limit / 16)
    # the errors docs/datatypes.md gives for weights; scales are powers of two apart
    assert relative_error(x, quantize(x, scheme).dequantize()) < 0.14


def test_elements_beyond_a_format_without_scales():
    x = np.array([[1e5, 1.0, -7e4]])
    with pytest.warns(
        UserWarning, match=r"fp16: 2 value\(s\) lie beyond -65504.*100000 at.*\(0, 0\)"
    ):
        y = quantize(x, "fp16").dequantize()
    assert y.tolist() == [[65504, 1, -65504]]
    assert quantize(x, "fp16", overflow="saturate").dequantize().tolist() == y.tolist()
    assert quantize(x, "fp16", overflow="inf").dequantize().tolist() == [[np.inf, 1, -np.inf]]
    assert np.isnan(quantize(x, "fp8_e4m3/none", overflow="nan").dequantize()[0, [0, 2]]).all()
    with pytest.raises(bl.BitlatheError, match=r"100000.0 at index \(0, 0\) is beyond"):
        quantize(x, "fp16", overflow="raise")
    with pytest.raises(bl.BitlatheError, match="no infinity"):
        quantize(x, "int4/none", overflow="inf")
    # 65519.99 still rounds to 65504, half-way to the next power of two
    assert quantize([[65519.99]], "fp16").dequantize().tolist() == [[65504]]
    with pytest.raises(bl.BitlatheError, match=r"overflow='inf': int4@channel has scales"):
        quantize(x, "int4", overflow="inf")
    with pytest.raises(bl.BitlatheError, match="unknown overflow rule 'wrap'"):
        quantize(x, "fp16", overflow="wrap")


def test_numbers_below_an_unsigned_grid_overflow_too():
    """E8M0 goes down to 2^-127; the next step like its first ends at 0, half-way is 2^-128."""
    fmt = single("e8m0")
    for low in (-1.0, 0.0, 2.0**-129):
        with pytest.raises(bl.BitlatheError, match=r"beyond 5\.87747e-39"):
            fmt.encode([1.0, low], overflow="raise")
    assert fmt.decode(fmt.encode([2.0**-127, 0.75 * 2.0**-127], overflow="raise"))[1] == 2.0**-127
    assert fmt.encode([-1.0]).tolist() == [0]
    with pytest.raises(bl.BitlatheError, match=r"beyond 0\.\.15"):
        single("uint4").encode([-1.0], overflow="raise")
    # of a signed float both ends are the same: half-way to +-8
    with pytest.raises(bl.BitlatheError):
        single("fp4_e2m1").encode([-7.01], overflow="raise")
    assert single("fp4_e2m1").round([-6.99], overflow="raise") == -6


# --- underflow ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "std", "says"),
    [
        ("int8@g128", 1e-5, "fp16: .*/bf16 or /fp32, or multiply"),
        ("int8@channel", 1e-9, "fp16: .*/bf16 or /fp32"),
        ("int4@g128", 1e-7, "fp16: .*/bf16 or /fp32"),
        ("int8@g128/bf16", 1e-39, "bf16: .*store scales as /fp32, or multiply"),
        ("int8@g128/fp32", 1e-43, "fp32: .*digits or all; multiply"),
        ("int8@g32/int8", 1e-5, "the fp16 scale of its row: .*/bf16 or /fp32"),
        ("int4@g32/m2", 1e-8, "the fp16 scale of its row"),
        ("nvfp4", 5e-45, "float32: .*digits or all; multiply"),
        ("mxfp4", 1e-40, "e8m0: .*digits or all; multiply"),
        ("dgq4", 1e-8, "the fp16 scale of its row: .*digits or all; multiply"),
        ("int4_asym@g128", 1e-8, "fp16"),
        ("olive4", 1e-8, "fp16"),
        ("bcq3/fp16", 1e-8, "fp16"),
        ("bcq3", 1e-29, "pot3: .*/bf16 or /fp32"),
        ("bitmod_fp4@g128/fp16", 1e-8, "fp16"),
        ("ant4@g128+mse", 1e-8, "fp16"),
    ],
)
def test_scales_that_underflow_are_warned_of(scheme, std, says):
    usual = gaussian(1.0, (64, 128))
    one = quantize(usual, scheme)  # without a warning
    x = usual * np.float32(std)
    if scheme != "nvfp4":  # whose scale of the tensor is that of its largest
        x[:2] = usual[:2]
    with pytest.warns(UserWarning, match=rf"scale of group \d+\b.* underflows in {says}") as caught:
        q = quantize(x, scheme)
    first = int(re.search(r"group (\d+)", str(caught[0].message))[1])
    row = first // q.layout.across
    if scheme == "int8@g32/int8":
        # integers make up for the scale of a row unless it was rounded down
        tops = np.abs(x).max(axis=1) / 127
        assert row == 2 + np.argmax(tops[2:].astype(np.float16) < tops[2:])
    else:
        assert row == (0 if scheme == "nvfp4" else 2)
    lost = relative_error(x[2:], q.dequantize()[2:].astype(np.float64))
    assert lost > 1.2 * relative_error(usual[2:], one.dequantize()[2:])


def test_scales_with_digits_enough_are_not():
    """INT8 under fp16 scales: at a deviation of 1e-4 the error is 4 % up, at 1e-5 sevenfold."""
    for std in (1e-2, 1e-3, 1e-4):
        x = gaussian(std, (64, 128))
        error = relative_error(x, quantize(x, "int8@g128").dequantize())
        assert error < 1.2 * relative_error(x, quantize(x, "int8@g128/fp32").dequantize())
    x = gaussian(1e-5, (64, 128))
    with pytest.warns(UserWarning, match="underflows"):
        error = relative_error(x, quantize(x, "int8@g128").dequantize())
    assert error > 4 * relative_error(x, quantize(x, "int8@g128/bf16").dequantize())


def test_a_second_level_that_makes_up_for_lost_digits_says_nothing():
    """E4M3 block scales and integer group scales are found under what the first level became."""
    x = gaussian(1.0, (64, 512))
    for scheme, std in (("nvfp4", 1e-36), ("int4_asym@g32/int8", 1e-8), ("int8@g32/int8", 1e-6)):
        usual = relative_error(x, quantize(x, scheme).dequantize())
        small = x * np.float32(std)
        found = quantize(small, scheme)
        assert relative_error(small, found.dequantize().astype(np.float64)) < 1.1 * usual


def test_a_product_of_two_levels_that_is_0_is_warned_of():
    x = np.zeros((2, 32), np.float32)
    x[1, 3] = 1e-45
    with pytest.warns(UserWarning, match="scale of group 2 underflows in float32: stored as 0"):
        assert not quantize(x, "nvfp4").dequantize().any()


def test_groups_of_zeros_and_exact_ones_say_nothing():
    x = np.zeros((3, 128), np.float32)
    x[1] = np.random.default_rng(0).integers(-7, 8, 128) * np.float32(2.0**-24)
    x[1, 0] = 7 * 2.0**-24
    for scheme in ("int4@g128", "mxfp4", "bcq2", "bcq2/fp16", "nvfp4", "dgq4", "int4@g32/int8"):
        zeros = quantize(x[::2], scheme)
        assert not zeros.dequantize().any()
    np.testing.assert_array_equal(quantize(x, "int4@g128").dequantize(), x)


@pytest.mark.parametrize("scheme", ["bcq2", "bcq3", "bcq4", "bcq3/pot1", "bcq3/fp16", "bcq3/bf16"])
@pytest.mark.parametrize("std", [1e-31, 1e-35, 1e-40])
@pytest.mark.filterwarnings("ignore:.*underflows in")
def test_sums_of_signed_scales_never_blow_a_group_up(scheme, std):
    """0 is a sum too, and errs by the group itself; an odd number of smallest scales is none."""
    for x in (gaussian(std), np.full((1, 128), np.float32(std))):
        wide = x.astype(np.float64)
        y = quantize(x, scheme).dequantize(np.float64)
        assert ((wide - y) ** 2).sum() <= (wide**2).sum()


def test_a_study_names_the_tensor_that_underflows():
    arrays = {"good": gaussian(0.02), "tiny": gaussian(1e-9)}
    with pytest.warns(UserWarning, match=r"^tensor 'tiny': int4@g128: the scale of group 0"):
        compare(arrays, ["int4@g128"])


# --- percentiles of sparse groups ---------------------------------------------------------------


@pytest.mark.parametrize("text", ["int4@g128+p90", "int4_asym@g128+p90", "nf4@g128+p90"])
def test_a_percentile_of_zero_does_not_clip_a_group_away(text):
    """5 of 128 are 5: the 90th percentile is 0, so the range is that of the largest, 5."""
    x = np.zeros((1, 128), np.float32)
    x[0, :5] = 5
    y = quantize(x, text).dequantize()
    np.testing.assert_allclose(y[0, :5], 5, rtol=2.0**-11)
    assert not y[0, 5:].any()


def test_a_percentile_that_leaves_one_side_is_kept():
    """-8 once in 100, +1 throughout: the 5th percentile, 1, cuts the lower end to 0."""
    x = np.ones((1, 100), np.float32)
    x[0, 7] = -8
    q = quantize(x, "int4_asym@g100/fp32+p95")
    assert q.zeros.tolist() == [[0]]
    assert q.scales[0, 0] == np.float32(1) / np.float32(15)


def test_clips_of_the_largest_numbers_are_silent():
    x = np.array([[3e38, -3e38, 1e38, 2e38]], np.float32)
    for text in ("int4@g4/fp32+p70", "int4_asym@g4/fp32+p70", "int4@g4/fp32+sigma2"):
        assert np.isfinite(quantize(x, text).dequantize()).all()


# --- the same words on both paths ---------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["int4@g128", "int4_asym@g128", "fp4_e2m1@g64", "nf4@g64/fp16",
                                    "bitmod_fp4@g128/fp16", "bitmod_fp4@g128/int8", "ant4@g128",
                                    "int4@g32/int8", "int4@g128/m2"])  # fmt: skip
def test_both_paths_refuse_in_the_same_words(scheme, monkeypatch):
    x = gaussian(1.0, (512, 512))
    x[3, 300] = 2.0e38
    said = []
    for compiled in (True, False):
        if not compiled:
            monkeypatch.setattr(fast, "have_numba", lambda: False)
        with pytest.raises(bl.BitlatheError) as caught:
            quantize(x, scheme)
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert "inf" not in said[0]
    group = 3 * 512 // min(Scheme.parse(scheme).granularity.columns, 512)
    group += 300 // Scheme.parse(scheme).granularity.columns
    assert f"the scale of group {group}, " in said[0]


@pytest.mark.filterwarnings("ignore:.*(underflows|infinity)")
@pytest.mark.parametrize(
    "scheme",
    ["int4@g8/fp32+mse", "int4@g8/fp32+mae", "int4_asym@g8/fp32+mse", "nf4@g8+mse", "mxfp4@g8+mse",
     "nvfp4@g8+mse", "olive4@g8/fp32", "bcq3@g8/fp32", "bitmod_fp4@g8", "int4@g8/fp32+sigma3",
     "fp8_e4m3@g8/bf16"],
)  # fmt: skip
def test_numpy_says_nothing_of_its_own(scheme):
    """Tests turn warnings into errors."""
    for x in (np.full((2, 8), MAX32), gaussian(1e38, (2, 8)), gaussian(1e-45, (2, 8))):
        assert quantize(x, scheme).shape == (2, 8)
