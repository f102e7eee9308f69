"""Codes that share bytes as digits: ternary at 1.6 bits, books of other lengths, damaged bytes."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bitlathe as bl
from bitlathe.arch.formats import Operand
from bitlathe.datatypes.formats.constructors import codebook
from bitlathe.datatypes.formats.format import Mixture
from bitlathe.datatypes.schemes.scheme import Scheme
from bitlathe.datatypes.tensors.packing import from_bytes, to_bytes

TERNARY = codebook("mine", [1, -1, 0], per_byte=5)


def weights(rows, columns):
    return np.random.default_rng(rows).normal(size=(rows, columns)).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([(3, 5), (3, 2), (5, 3), (6, 3), (11, 2), (16, 2), (256, 1)]), st.data())
def test_a_byte_is_the_number_its_digits_make(pair, data):
    base, per_byte = pair
    codes = data.draw(st.lists(st.integers(0, base - 1), max_size=23))
    parts = [codes[i : i + per_byte] for i in range(0, len(codes), per_byte)]
    wanted = [sum(digit * base**place for place, digit in enumerate(part)) for part in parts]
    stream = to_bytes(np.array(codes, np.uint8), base, per_byte)
    assert stream.tolist() == wanted
    assert from_bytes(stream, base, per_byte, len(codes)).tolist() == codes


@pytest.mark.parametrize("element", ["ternary", TERNARY, codebook("six", range(-3, 3), per_byte=3)])
@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (5, 33), (0, 4)])
def test_bits_counted_are_bytes_stored_and_read(tmp_path, element, shape):
    made = bl.format(element) if isinstance(element, str) else element
    scheme = Scheme.of(made, "g8", "fp16")
    q = bl.quantize(weights(*shape), scheme)
    per_byte = made.per_byte
    stored = -(-q.size // per_byte)
    assert q.packed["codes"].size == stored
    assert q.total_bits == 8 * stored + 16 * q.layout.groups == 8 * q.nbytes
    q.save(tmp_path / "q.safetensors")
    back = bl.QuantizedTensor.load(tmp_path / "q.safetensors")
    assert np.array_equal(back.codes, q.codes)
    assert np.array_equal(back.dequantize(), q.dequantize())


def test_ternary_takes_a_fifth_of_a_byte():
    scheme = Scheme.parse("ternary@tensor/fp32")
    assert scheme.code_bits == Fraction(8, 5)
    assert scheme.bits_per_element(4096, 4096) == Fraction(8 * 3355444 + 32, 4096 * 4096)
    assert Operand(scheme=scheme).code_bits == Fraction(8, 5)
    assert Scheme.parse("trit@tensor/fp32").code_bits == 2
    nested = bl.quantize(weights(4, 64), "ternary@g16/fp8_e4m3@tensor/fp32")
    # 256 codes in 52 bytes, 16 scales of a byte, one of four
    assert nested.total_bits == 8 * (52 + 16 + 4) == 8 * sum(map(len, nested.packed.values()))


def test_the_mean_magnitude_is_the_scale_of_bitnet():
    x = weights(8, 50)
    q = bl.quantize(x, "ternary@tensor/fp32+mean")
    scale = np.float32(np.abs(x.astype(np.float64)).mean())
    assert q.scales.item() == scale
    wanted = np.clip(np.rint(x / scale), -1, 1)
    assert np.array_equal(q.dequantize(), wanted * scale)
    rows = bl.quantize(x, "ternary@g32/fp32+mean")  # the last group is short
    assert np.array_equal(
        rows.scales[:, 1], np.abs(x[:, 32:].astype(np.float64)).mean(1, dtype="f8").astype("f4")
    )
    assert not bl.quantize(np.zeros((2, 8)), "ternary+mean").dequantize().any()
    for scheme in ("int4_asym+mean", "fp16+mean", "mx9+mean"):
        with pytest.raises(bl.BitlatheError, match=r"\+mean|no range|single scale"):
            bl.quantize(x, scheme)


def test_digits_that_cannot_be_are_refused(tmp_path):
    for made, said in (
        (
            lambda: codebook("x", [1, -1, 0], per_byte=6),
            "6 codes of 3 make 729 numbers; a byte has",
        ),
        (lambda: codebook("x", [1, 0], per_byte=9), "per_byte must be at most 8|per_byte"),
        (lambda: codebook("x", [1, 0], per_byte=2.5), "per_byte"),
        (
            lambda: bl.datatypes.Format(
                name="x", bits=2, values=[1, np.nan, 0, 1], per_byte=1, unused=(1,)
            ),
            "from 0 on",
        ),
        (lambda: Mixture(name="x", formats=(TERNARY, codebook("y", [2, 0, 1]))), "packed alike"),
    ):
        with pytest.raises(bl.BitlatheError, match=said):
            made()
    with pytest.raises(bl.BitlatheError, match="codes: byte 1 is 243; 5 digits of base 3 make"):
        from_bytes(np.array([0, 243], np.uint8), 3, 5, 10)
    with pytest.raises(bl.BitlatheError, match="digits after the last code must be 0"):
        from_bytes(np.array([81], np.uint8), 3, 5, 4)
    file = tmp_path / "mine.yaml"
    file.write_text("values: [-1, 0, 1]\nper_byte: 5\n")
    assert Scheme.parse(f"{file}@g64").bits_per_element(640) == Fraction(8, 5) + Fraction(16, 64)
    file.write_text("values: [-1, 0, 1]\nper_byte: 7\n")
    with pytest.raises(
        bl.BitlatheError, match=r"mine.yaml:1:1: format 'mine': per_byte: 7 codes of 3"
    ):
        bl.format(str(file))
