"""Bits stored are bits counted."""

from fractions import Fraction

import numpy as np
import pytest

from bitlathe.datatypes.quantize import quantize
from bitlathe.datatypes.schemes.scheme import Scheme
from bitlathe.datatypes.tensors import packing
from bitlathe.datatypes.tensors.packing import pack, unpack
from quantized_cases import SCHEMES, weights


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
@pytest.mark.parametrize("shape", [(0, 8), (3, 0), (0,)])
def test_empty_tensors_have_no_bits(text, shape):
    q = quantize(np.zeros(shape, np.float32), text)
    assert (q.dequantize().shape, q.nbytes, q.total_bits, q.bits_per_element) == (shape, 0, 0, 0.0)


@pytest.mark.parametrize("text", SCHEMES)
def test_bytes_are_counted_without_packing(text, monkeypatch):
    q = quantize(weights((5, 33)), text)
    packed = sum(stream.nbytes for stream in q.packed.values())
    monkeypatch.setattr(packing, "pack", None)
    assert q.nbytes == packed


@pytest.mark.parametrize("bits", range(1, 17))
def test_packing_is_a_little_endian_bit_stream(bits):
    codes = np.random.default_rng(bits).integers(0, 1 << bits, 37).astype(np.uint32)
    whole = sum(int(c) << (bits * i) for i, c in enumerate(codes))
    stream = pack(codes, bits)
    assert stream.tobytes() == whole.to_bytes(-(-37 * bits // 8), "little")
    np.testing.assert_array_equal(unpack(stream, bits, 37), codes)
    with pytest.raises(ValueError, match="does not fit"):
        pack(codes + (1 << bits), bits)
    with pytest.raises(ValueError, match="the stream has"):
        unpack(stream[:-1], bits, 37)
