"""Scales, zero points and codes from outside; tensors that grow along a free axis."""

import numpy as np
import pytest

import bitlathe as bl
from bitlathe.datatypes.schemes.scheme import Scheme

X = (np.random.default_rng(0).normal(size=(8, 4, 64)) * 0.02).astype(np.float32)
SCHEMES = (
    "int4@g32", "mxfp4", "nvfp4", "int8@tensor", "int4@g32/int8", "int4@g32/m2", "int4_asym@g32",
    "bitmod_fp4@g32", "mx_bitmod_fp4", "int4@g32/pot", "fp4_e2m1@g16/fp8_e4m3@tensor/fp32",
    "uint4@g8/uint6@g64/fp16-uint6@g64/fp16", "int4_full@g32/fp16_signed", "uint4@g64/fp16~uint4",
    "int4@b4x4/ue4m3fn@b8x32/fp32", "bitmod_fp4@g16/ue3m3@tensor/fp32",
)  # fmt: skip


def offsets(q):
    """Zero points, or the numbers of each level of minima."""
    if q.scheme.offset is None:
        return q.zeros
    pairs = zip(q.scheme.offset.levels, q.coded.offsets, strict=True)
    return [level.decode(raw) for level, raw in pairs]


@pytest.mark.parametrize("text", [*SCHEMES, "olive4", "dgq4"])
@pytest.mark.parametrize("axis", [None, 1])
def test_parts_of_a_tensor_make_it_again(text, axis):
    if axis == 1 and "b4x4" in text:
        axis = 0
    q = bl.quantize(X, text, axis=axis)
    made = bl.QuantizedTensor.of(
        q.codes, q.level_scales, scheme=text, axis=axis, zeros=offsets(q), choices=q.choices
    )
    for name, stream in q.packed.items():
        np.testing.assert_array_equal(made.packed[name], stream)
    np.testing.assert_array_equal(made.dequantize(), q.dequantize())


@pytest.mark.parametrize("text", SCHEMES)
def test_own_scales_give_the_same_codes(text):
    q = bl.quantize(X, text)
    given = {"zeros": offsets(q), "choices": q.choices}
    again = bl.quantize(X, text, scales=q.level_scales, **given)
    np.testing.assert_array_equal(again.codes, q.codes)
    np.testing.assert_array_equal(again.dequantize(), q.dequantize())
    # members, zero points and minima follow from the scales where they are left out
    np.testing.assert_array_equal(bl.quantize(X, text, scales=q.level_scales).codes, q.codes)


def test_scales_of_a_calibration_are_rounded_as_they_are_stored():
    q = bl.quantize(X, "int8@tensor/fp32", scales=0.001)
    exact = np.clip(np.rint(X / np.float32(0.001)), -127, 127) * np.float32(0.001)
    np.testing.assert_array_equal(q.dequantize(), exact.astype(np.float32))
    assert bl.quantize(X, "int8@tensor", scales=0.001).scales == np.float16(0.001)
    assert bl.quantize(X, "int4@g32/e8m0", scales=0.003).scales.max() == 2.0**-9
    assert set(bl.quantize(X, "int4@g32/ue4m3fn", scales=0.06).scales.flat) == {0.05859375}
    signed = bl.quantize(X, "int4_full@g32/fp16_signed", scales=-0.01)
    assert (signed.scales < 0).all()
    nothing = bl.quantize(X, "int4@g32", scales=0.0)
    assert not nothing.dequantize().any()


def test_codes_of_others_are_taken_as_they_are():
    q = bl.QuantizedTensor.of(
        np.arange(16).reshape(1, 16), np.float32(0.25), scheme="uint4@channel/fp16~fp16", zeros=2.5
    )
    np.testing.assert_array_equal(q.dequantize(), (np.arange(16)[None] - 2.5) * 0.25)
    assert q.offsets.shape == q.scales.shape == (1, 1)
    plain = bl.QuantizedTensor.of([[0x3C00, 0xC000]], scheme="fp16")
    assert plain.dequantize().tolist() == [[1.0, -2.0]]


@pytest.mark.parametrize("text", [*SCHEMES[:7], *SCHEMES[11:14], "bcq3", "dgq4", "fp16"])
def test_tensors_grow_along_free_axes(text):
    shared = Scheme.parse(text).scale_format.shared or "@tensor" in text
    parts = [bl.quantize(X[:5], text), bl.quantize(X[5:], text)]
    if shared:
        with pytest.raises(bl.BitlatheError, match=r"rows of .* share scales"):
            parts[0].append(parts[1])
        return
    whole, grown = bl.quantize(X, text), parts[0].append(parts[1])
    for name, stream in whole.packed.items():
        np.testing.assert_array_equal(grown.packed[name], stream)
    across = bl.quantize(X[:, :1], text).append(bl.quantize(X[:, 1:], text), axis=1)
    np.testing.assert_array_equal(across.dequantize(), whole.dequantize())
    keys = bl.quantize(X[:0], text).append(whole)
    np.testing.assert_array_equal(keys.dequantize(), whole.dequantize())


def test_a_cache_of_keys_grows_along_its_tokens():
    keys = [bl.quantize(X[:, n : n + 1], "int8@g32", axis=2) for n in range(4)]
    cache = keys[0]
    for key in keys[1:]:
        cache = cache.append(key, axis=-2)
    np.testing.assert_array_equal(cache.dequantize(), bl.quantize(X, "int8@g32").dequantize())


CODES = np.zeros((2, 64), int)
ONE = np.ones(1)
WRONG = {
    "an array of shape (2, 2) is needed, one number for each g32": ("int4@g32", CODES, np.ones(3)),
    "scales must be 0 or more": ("int4@g32", CODES, np.float32(-1)),
    "0.1 of group 0 cannot be stored in int4@g32, nearest": ("int4@g32", CODES, np.float32(0.1)),
    "nvfp4 has 2 level(s) of scales, the list has 1": ("nvfp4", CODES, [1.0]),
    "scales[0]: 0.3 is not a number of fp8_e4m3": (
        "fp4_e2m1@g16/fp8_e4m3@tensor/fp32", CODES, [np.float64(0.3), 1.0],
    ),
    "scales: 0.3 is not a number of int8": ("int4@g32/int8", CODES, [np.float64(0.3), 1.0]),
    "codes: 16 at index (0, 0); codes of int4@g32 are 0 to 15": ("int4@g32", CODES + 16, ONE),
    "codes: 8 at index (0, 0); int4 has no value for it": ("int4@g32", CODES + 8, ONE),
    "codes: whole numbers are needed, got an array of float64": ("int4@g32", CODES + 0.5, ONE),
    "int4@g32 stores scales; pass them": ("int4@g32", CODES, None),
    "int4_asym@g32 stores a zero for each group": ("int4_asym@g32", CODES, ONE),
    "uint4@g64/fp16-fp16 stores a minimum for each group": ("uint4@g64/fp16-fp16", CODES, ONE),
    "bitmod_fp4@g32 stores the member of each group": ("bitmod_fp4@g32", CODES, ONE),
    "scales: all must be finite": ("int4@g32", CODES, np.float32(np.nan)),
    "fp16 has no scales": ("fp16", CODES, ONE),
    "1e+39 of group 0 cannot be stored in int4@g32/ue4m3fn@tensor/fp32, nearest is inf": (
        "int4@g32/ue4m3fn@tensor/fp32", CODES, np.float64(1e39),
    ),
    "1e-60 of group 0 cannot be stored in nvfp4": ("nvfp4", CODES, np.float64(1e-60)),
    "all must be finite": ("kmeans3", CODES, np.full((2, 8), np.nan)),
    "scales: 0.1 is not a number of fp16": ("kmeans3", CODES, np.full((2, 8), 0.1)),
    "scales: 1e+39 is not a number of fp32": ("kmeans3/fp32", CODES, np.full((2, 8), 1e39)),
    "scales: 3 is not a number of pot1": ("bcq2@g64/pot1", CODES, np.full((2, 2), 3.0)),
    "codes: lists of equal lengths are needed": ("int4@g32", [[1, 2], [3]], ONE),
}  # fmt: skip


@pytest.mark.parametrize("sentence", WRONG)
def test_a_wrong_part_is_named(sentence):
    text, codes, scales = WRONG[sentence]
    with pytest.raises(bl.BitlatheError) as problem:
        bl.QuantizedTensor.of(codes, scales, scheme=text)
    assert sentence in str(problem.value)


def test_what_is_too_much_is_named():
    with pytest.raises(bl.BitlatheError, match="int4@g32 has no zero points"):
        bl.QuantizedTensor.of(CODES, ONE, scheme="int4@g32", zeros=ONE)
    with pytest.raises(bl.BitlatheError, match="has one format; leave choices out"):
        bl.quantize(X, "int4@g32", scales=ONE, choices=ONE)
    with pytest.raises(bl.BitlatheError, match="8 in group 1; its member int4_if4 has no value"):
        bl.QuantizedTensor.of(CODES + 8, ONE, scheme="if4@g32", choices=np.array([[0, 1], [1, 0]]))
    with pytest.raises(bl.BitlatheError, match="4 of group 0; members of bitmod_fp4"):
        bl.quantize(X, "bitmod_fp4@g32", scales=ONE, choices=4 * ONE)
    with pytest.raises(bl.BitlatheError, match="whole numbers from 0 to 15"):
        bl.quantize(X, "int4_asym@g32", scales=ONE, zeros=16 * ONE)
    with pytest.raises(bl.BitlatheError, match="pass scales as well"):
        bl.quantize(X, "int4_asym@g32", zeros=ONE)
    with pytest.raises(bl.BitlatheError, match="finds its scales together with its codes"):
        bl.quantize(X, "olive4", scales=ONE)
    q = bl.quantize(X, "int4@g32")
    wrong = ((q, "a"), (q, None), (q, 1.0), (q.dequantize(), 0))
    for other, axis in ((q, 2), (bl.quantize(X, "int8@g32"), 0), (q[0], 0), (q, 5), *wrong):
        with pytest.raises(bl.BitlatheError, match="append:"):
            q.append(other, axis)
