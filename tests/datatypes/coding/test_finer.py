"""Blocks of which some elements are stored finer: bits, files, ends, what they do not go with."""

import numpy as np
import pytest

import bitlathe as bl
from bitlathe.datatypes.coding.dispatch import MIN_SIZE
from bitlathe.datatypes.tensors.packing import stored_bytes
from bitlathe.datatypes.tensors.reach import cut_off
from bitlathe.tests.naive import block_formats_naive as naive

NAMES = ("m2xfp_activation", "mxfp4_plus", "mxfp6_plus", "mxfp8_plus")
E4M3 = tuple(naive.E4M3)
MAKES = {
    "m2xfp_activation": naive.m2xfp_activation,
    "mxfp4_plus": lambda block: naive.mx_plus(block, naive.E2M1),
    "mxfp6_plus": lambda block: naive.mx_plus(block, naive.E2M3),
    # the codes of its NaN are no values of the plain elements
    "mxfp8_plus": lambda block: naive.mx_plus(block, (*E4M3, E4M3[-1])),
}


def tensor(columns=77):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(6, columns)) * np.exp2(rng.integers(-20, 20, (6, 1)))
    x[1], x[2, 3:] = 0, 0
    x[3] = np.rint(x[3] * 4) / 4  # ties
    x[4, 1::2] = x[4, 0]  # equals
    return x.astype(np.float32)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("columns", [77, 9])
def test_short_groups_ties_and_equals_are_what_loops_say(name, columns, tmp_path):
    x = tensor(columns)
    q = bl.quantize(x, name)
    starts = range(0, columns, 32)
    rows = [
        np.concatenate([MAKES[name](row[k : k + 32].tolist()) for k in starts])
        for row in x.astype(np.float64)
    ]
    np.testing.assert_array_equal(q.dequantize("float64"), rows)
    assert (
        q.bits_per_element == (q.scheme.element_bits * columns + -(-columns // 32) * 16) / columns
    )
    q.save(tmp_path / "q.safetensors")
    back = bl.QuantizedTensor.load(tmp_path / "q.safetensors")
    assert q.nbytes == stored_bytes(back.scheme, back.layout)
    np.testing.assert_array_equal(back.dequantize(), q.dequantize())
    np.testing.assert_array_equal(q[2:5].dequantize(), q.dequantize()[2:5])
    again = bl.QuantizedTensor.of(q.codes, q.scales, scheme=name, choices=q.choices)
    np.testing.assert_array_equal(again.dequantize(), q.dequantize())
    np.testing.assert_array_equal(bl.quantize(x.T, name, axis=0).dequantize(), q.dequantize().T)


@pytest.mark.parametrize("name", NAMES)
def test_large_tensors_are_coded_as_their_parts(name):
    """Blocks of large tensors go through kernels, those of small ones do not."""
    x = np.tile(tensor(300), (150, 1)) * np.float32(3)
    assert x.size >= MIN_SIZE
    whole, parts = bl.quantize(x, name), [bl.quantize(x[a : a + 450], name) for a in (0, 450)]
    for stream in ("codes", "scales", "choices"):
        split = np.concatenate([getattr(part, stream) for part in parts])
        np.testing.assert_array_equal(getattr(whole, stream), split)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", NAMES)
def test_a_block_under_the_least_scale_has_no_exponent_to_spare(name):
    x = np.full((1, 32), 2.0**-140, np.float32)
    plain = name.partition("_")[0].replace("m2xfp", "mxfp4").replace("mxfp6", "mxfp6_e2m3")
    plain = plain.replace("mxfp8", "mxfp8_e4m3")
    np.testing.assert_array_equal(
        bl.quantize(x, name).dequantize("float64"), bl.quantize(x, plain).dequantize("float64")
    )
    lost = x.copy()
    lost[0, 3] = np.nan
    assert np.isnan(bl.quantize(lost, name, nan="propagate").dequantize()).all()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "mxfp4_plus@g64",
            "is a whole scheme, of @g32/e8m0; with other groups or scales it is fp4",
        ),
        ("mxfp4_plus/fp16", r"MX\+ has scales of e8m0"),
        ("m2xfp_activation/e8m0_ceil", "is a whole scheme, of @g32/e8m0"),
        ("m2xfp_activation+mse", r"leave \+mse out"),
    ],
)
def test_they_are_whole_schemes(text, sentence):
    with pytest.raises(bl.BitlatheError, match=sentence):
        bl.Scheme.parse(text)


def test_what_does_not_go_with_them_is_said():
    x = tensor(64)
    q = bl.quantize(x, "mxfp4_plus")
    with pytest.raises(bl.BitlatheError, match="stores a byte for finer elements of each group"):
        bl.QuantizedTensor.of(q.codes, q.scales, scheme="mxfp4_plus")
    with pytest.raises(bl.BitlatheError, match="finds its scales together with its codes"):
        bl.quantize(x, "mxfp4_plus", scales=1.0)
    with pytest.raises(bl.BitlatheError, match="several codes of it together"):
        bl.calibrate(x, x, "gptq", "m2xfp_activation")
    for scheme, kind in (
        ("kmeans4", "entries of learned books"),
        ("bcq3", "sums of signed scales"),
        ("q4_1", "elements beside a minimum"),
    ):
        with pytest.raises(bl.BitlatheError, match=f"{kind}.* have no bit-serial terms"):
            bl.quantize(np.arange(64.0)[None], scheme).terms()


def test_the_finest_element_says_what_is_cut_off():
    x = np.full((1, 32), 5, np.float32)
    x[0, 7] = 7.9
    assert np.flatnonzero(cut_off(bl.quantize(x, "mxfp4_plus").coded, x)).tolist() == [7]
    x[0, 7] = 7.4
    assert not cut_off(bl.quantize(x, "mxfp4_plus").coded, x).any()
