"""The layout of compressed-tensors: its own words, a twin bit by bit, both ways, bad parts."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bitlathe as bl
from bitlathe.datatypes.checkpoints.compressed_tensors import (
    FORMATS,
    INTS,
    PACKED,
    Weights,
    parts_of,
    tensor_of,
)
from bitlathe.datatypes.weights.safetensors_file import Stored

# what compressed-tensors 0.20 packs of 13 integers that count -4..3 again and again, by bits
THEIRS = {
    3: [-1996831096, 70],
    4: [-1164413356, 554580],
    5: [-1559774804, 129608860, 1],
}
WHOLE = (
    "int2@tensor/fp32",
    "int3@g16/fp32",
    "int4@g32/bf16",
    "int4_full@g32",
    "int5_asym@g16/fp32",
    "int4_asym@channel",
    "int8_asym@g16/bf16",
    "int7@channel/fp32",
    "int4_asym@tensor/fp32",
    "fp8_e4m3@channel/fp32",
    "fp8_e4m3@b4x16/fp32",
    "nvfp4",
    "mxfp4",
    "mxfp6_e2m3",
    "mxfp8_e4m3",
)


def matrix(rows=7, columns=64, seed=0):
    return (np.random.default_rng(seed).normal(size=(rows, columns)) * 0.02).astype(np.float32)


def naive_codes(words, bits, count):
    """Read codes out of one long number, the first word lowest."""
    whole = sum(int(word) % 2**32 << 32 * i for i, word in enumerate(words))
    return [whole >> bits * i & (2**bits - 1) for i in range(count)]


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 8), st.integers(1, 70), st.integers(1, 3), st.booleans(), st.integers(0, 99))
def test_words_hold_each_code_at_its_bits(bits, columns, rows, symmetric, seed):
    kind = "full" if symmetric else "asym"
    q = bl.quantize(matrix(rows, columns, seed), f"int{bits}_{kind}@channel")
    parts = parts_of(q)
    half = 1 << (bits - 1)
    for row, words in zip(q.codes, parts["weight_packed"].values, strict=True):
        signed = row.astype(int) - (row >= half) * 2 * half if symmetric else row.astype(int) - half
        assert naive_codes(words, bits, columns) == (signed + half).tolist()
    if not symmetric:
        (words,) = parts["weight_zero_point"].values.T
        assert naive_codes(words, bits, rows) == q.zeros[:, 0].tolist()
    back = tensor_of(parts, Weights.of(q.scheme))
    assert np.array_equal(back.codes, q.codes)
    assert np.array_equal(back.dequantize(), q.dequantize())


@pytest.mark.parametrize("bits", THEIRS)
def test_words_are_those_of_compressed_tensors(bits):
    integers = np.resize(np.arange(-4, 4), 13)[None]
    codes = integers % (1 << bits)
    q = bl.QuantizedTensor.of(codes, 1.0, scheme=f"int{bits}_full@channel")
    assert parts_of(q)["weight_packed"].values.tolist() == [THEIRS[bits]]
    zeros = bl.QuantizedTensor.of(
        np.zeros((13, 1), int), 1.0, scheme="int4_asym@channel", zeros=integers.T + 8
    )
    assert parts_of(zeros)["weight_zero_point"].values.T.tolist() == [THEIRS[4]]


def test_bytes_of_fp4_are_those_of_compressed_tensors():
    values = np.array([[0.5, -6, 0, -0.0, 1.5, 4] + [0.0] * 26])
    packed = parts_of(bl.quantize(values, "mxfp4"))["weight_packed"].values
    assert packed[0, :3].tolist() == [241, 128, 99]
    # E2M3: four codes in three bytes, 0.5 first; the group's exponent is 0 for a largest of 6
    codes = [4, 32 + 28, 0, 32, 12, 24]
    whole = sum(code << 6 * i for i, code in enumerate(codes))
    packed = parts_of(bl.quantize(values, "mxfp6_e2m3"))["weight_packed"].values
    assert packed.shape == (1, 24)
    assert packed[0, :5].tolist() == list(whole.to_bytes(5, "little"))


@pytest.mark.parametrize("scheme", WHOLE)
def test_what_is_written_is_read(scheme):
    q = bl.quantize(matrix(8), scheme)
    said = Weights.of(q.scheme)
    back = tensor_of(parts_of(q), Weights.read(said.facts, said.format))
    assert np.array_equal(back.codes, q.codes)
    assert back.total_bits == q.total_bits
    # the scale of an NVFP4 tensor is stored as its reciprocal, which rounds
    np.testing.assert_allclose(back.dequantize(), q.dequantize(), rtol=2.0**-22, atol=0)
    if scheme != "nvfp4":
        assert np.array_equal(back.dequantize(), q.dequantize())


def test_the_reciprocal_of_nvfp4_is_rounded_once():
    q = bl.quantize(matrix(8), "nvfp4")
    stored = parts_of(q)["weight_global_scale"].values[0]
    exact = 1 / Fraction(float(q.outer_scales[0]))
    assert abs(Fraction(float(stored)) - exact) <= Fraction(float(np.spacing(stored))) / 2


@pytest.mark.parametrize("symmetric", [True, False])
def test_integers_a_byte_each_are_read(symmetric):
    rng = np.random.default_rng(1)
    codes = rng.integers(-128, 128, (4, 32)).astype(np.int8)
    scales = rng.random((4, 2)).astype(np.float32)
    zeros = np.zeros((4, 2)) if symmetric else rng.integers(-128, 128, (4, 2))
    parts = {"weight": Stored.of(codes), "weight_scale": Stored.of(scales)}
    if not symmetric:
        parts["weight_zero_point"] = Stored.of(zeros.astype(np.int8))
    facts = {"num_bits": 8, "symmetric": symmetric, "strategy": "group", "group_size": 16}
    q = tensor_of(parts, Weights.read(facts, INTS))
    whole = codes.astype(np.float64) - np.repeat(zeros, 16, axis=1)
    wanted = (whole * np.repeat(scales, 16, axis=1).astype(np.float64)).astype(np.float32)
    assert np.array_equal(q.dequantize(), wanted)


def test_tensors_of_zeros_and_of_tiny_numbers():
    zeros = bl.quantize(np.zeros((2, 32), np.float32), "nvfp4")
    back = tensor_of(parts_of(zeros), Weights.of(zeros.scheme))
    assert not back.dequantize().any()
    tiny = bl.quantize(np.full((2, 32), 1e-38, np.float32), "nvfp4")
    with pytest.raises(bl.BitlatheError, match="which has no such number; multiply the tensor"):
        parts_of(tiny)


REFUSED = {
    "nf4@g64": "nf4@g64: compressed-tensors has intN",
    "int4@g32/int8": "compressed-tensors has intN",
    "nvfp4_4over6": "compressed-tensors has intN",
    "q4_k": "compressed-tensors has intN",
    "int4@input": "compressed-tensors has intN",
    "int4@g48": "has whole groups: 64 is no multiple of 48",
}


@pytest.mark.parametrize("scheme", REFUSED)
def test_other_schemes_are_refused(scheme):
    with pytest.raises(bl.BitlatheError, match=REFUSED[scheme]):
        parts_of(bl.quantize(matrix(), scheme))


def test_other_shapes_are_refused():
    for shape in ((64,), (2, 3, 64), (2, 3, 4, 8)):
        with pytest.raises(bl.BitlatheError, match="has matrices scaled along their last axis"):
            parts_of(bl.quantize(np.ones(shape), "int4@channel"))
    with pytest.raises(bl.BitlatheError, match="no empty matrices"):
        parts_of(bl.quantize(np.ones((0, 64)), "int4@channel"))


def drop(name):
    return lambda parts: {k: v for k, v in parts.items() if k != name}


def change(name, **facts):
    return lambda parts: {**parts, name: replace(parts[name], **facts)}


FAULTS = [
    ("int4@g32", drop("weight_scale"), "weight_scale is missing; there are weight_packed"),
    ("int4@g32", drop("weight_shape"), "weight_shape is missing"),
    ("int4@g32", change("weight_packed", kind="U32"), "weight_packed is U32; it must be I32"),
    ("int4@g32", change("weight_scale", kind="I16"), "weight_scale is I16; it must be one of F16"),
    ("int4@g32", change("weight_scale", shape=(14, 1)), r"shape \(14, 1\); it must be \(7, 2\)"),
    ("int4_asym@g32", drop("weight_zero_point"), "weight_zero_point is missing"),
    ("int4@g32", lambda p: {**p, "weight_g_idx": p["weight_shape"]}, "order of their own"),
    ("nvfp4", drop("weight_global_scale"), "weight_global_scale is missing"),
    ("mxfp6_e2m3", change("weight_packed", shape=(21, 16)), "must be a matrix of groups of 32"),
    ("mxfp8_e4m3", change("weight", kind="U8"), "weight is U8; it must be F8_E4M3"),
    ("nvfp4", change("weight_scale", shape=(4, 7)), r"shape \(4, 7\); it must be \(7, 4\)"),
    ("fp8_e4m3@channel", change("weight", shape=(448,)), "it must be a matrix"),
]


@pytest.mark.parametrize(("scheme", "fault", "said"), FAULTS)
def test_faulty_parts_are_named(scheme, fault, said):
    q = bl.quantize(matrix(), scheme)
    with pytest.raises(bl.BitlatheError, match=said):
        tensor_of(fault(parts_of(q)), Weights.of(q.scheme))


def test_a_shape_that_words_do_not_hold_is_refused():
    q = bl.quantize(matrix(), "int4@channel")
    for shape in ([7, 80], [8, 64], [0, 64], [7]):
        parts = {**parts_of(q), "weight_shape": Stored.of(np.array(shape))}
        with pytest.raises(bl.BitlatheError, match=r"does not hold|it must be rows and columns"):
            tensor_of(parts, Weights.of(q.scheme))


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"strategy": "channels"}, "its strategy cannot be read"),
        ({"strategy": "group"}, "its strategy cannot be read|granularity"),
        ({"num_bits": 9}, "2 to 8 bits are read"),
        ({"num_bits": "4"}, "2 to 8 bits are read"),
        ({"symmetric": "yes"}, "2 to 8 bits are read"),
    ],
)
def test_what_a_configuration_cannot_say(facts, said):
    with pytest.raises(bl.BitlatheError, match=said):
        Weights.read(facts, PACKED)
    with pytest.raises(bl.BitlatheError, match=r"unknown format of compressed-tensors 'marlin-24'"):
        Weights.read({}, "marlin-24")
    assert len(FORMATS) == 7
