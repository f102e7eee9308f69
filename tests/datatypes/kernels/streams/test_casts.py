"""Compiled casts and packing against plain loops and ml_dtypes."""

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitlathe.datatypes import kernels
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.tensors import packing
from naive import quantize_naive as naive

# e, m, bias, largest, over code, nan code
CASTS = {
    "e4m3_saturate": (4, 3, 7, 448.0, 0x7E, 0x7F),
    "e4m3_nan": (4, 3, 7, 448.0, 0x7F, 0x7F),
    "e5m2_inf": (5, 2, 15, 57344.0, 0x7C, 0x7E),
    "e5m2_saturate": (5, 2, 15, 57344.0, 0x7B, 0x7E),
    "e3m2_saturate": (3, 2, 3, 28.0, 0x1F, 0x1F),
}


def near_boundaries():
    """Every float16, and float32 neighbors of each of those values and of their midpoints."""
    half = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
    finite = half[np.isfinite(half)]
    up = np.nextafter(finite, np.float32(np.inf))
    down = np.nextafter(finite, np.float32(-np.inf))
    ends = np.array([464, 465, 480, 61439.996, 61440, 65536, 1e38, -1e38, 1e-45], np.float32)
    return np.concatenate([half, up, down, ends, -ends, np.nextafter(ends, np.float32(0))])


ORACLE = {"e4m3_nan": ml_dtypes.float8_e4m3fn, "e5m2_inf": ml_dtypes.float8_e5m2}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", ORACLE)
def test_casts_equal_ml_dtypes(name):
    e, m, bias, largest, over, nan = CASTS[name]
    x = near_boundaries()
    numbers = ~np.isnan(x)
    found = kernels.encode_float(x, e, m, bias, largest, over, nan)
    wanted = x.astype(ORACLE[name])
    np.testing.assert_array_equal(found[numbers], wanted.view(np.uint8)[numbers])
    assert (found[~numbers] & 0x7F == nan).all()
    special, inf = (0x7F, None) if e == 4 else (0x7C, 0x7C)
    every = np.arange(256, dtype=np.uint8)
    back = kernels.decode_float(every, e, m, bias, special, inf)
    np.testing.assert_array_equal(back, every.view(ORACLE[name]).astype(np.float32))
    assert (np.signbit(back) == (every >= 128))[~np.isnan(back)].all()


@pytest.mark.parametrize("name", CASTS)
def test_casts_equal_loops(name):
    e, m, bias, largest, over, nan = CASTS[name]
    magnitudes = [v for v in naive.float_values(e, m, bias) if v <= largest]
    step = magnitudes[-1] - magnitudes[-2]
    middle = largest + step / 2
    last = len(magnitudes) - 1
    edge = middle if last % 2 else np.nextafter(np.float32(middle), np.float32(np.inf))
    x = near_boundaries()[:: 97 if e < 5 else 197]
    x = np.concatenate([x, np.array([middle, -middle, edge, np.inf, -np.inf, np.nan], np.float32)])
    wanted = [naive.cast(v, magnitudes, 1 << (e + m), over, edge, nan) for v in x]
    np.testing.assert_array_equal(kernels.encode_float(x, e, m, bias, largest, over, nan), wanted)


def test_pairs_of_e2m1_equal_loops_and_ml_dtypes():
    x = near_boundaries()
    x = x[~np.isnan(x)]
    for count in (0, 1, 2, 2047, 2048, 2049, 8193, x.size):
        packed = kernels.pack_e2m1(x[:count])
        codes = np.zeros(count + count % 2, np.uint8)
        codes[:count] = np.clip(x[:count], -6, 6).astype(ml_dtypes.float4_e2m1fn).view(np.uint8)
        np.testing.assert_array_equal(packed, codes[::2] | codes[1::2] << 4)
        back = kernels.unpack_e2m1(packed, count)
        wanted = codes[:count].view(ml_dtypes.float4_e2m1fn).astype(np.float32)
        assert back.tobytes() == wanted.tobytes()


@given(st.integers(1, 16), st.lists(st.integers(0, 65535), max_size=60))
@settings(max_examples=80)
def test_packing_equals_one_big_integer(bits, values):
    codes = np.array(values, np.uint16)
    packed = kernels.pack(codes, bits)
    assert packed.tolist() == naive.pack(values, bits)
    np.testing.assert_array_equal(
        kernels.unpack(packed, bits, codes.size), codes & ((1 << bits) - 1)
    )


def test_bad_arguments_are_named():
    x = np.zeros((2, 4), np.float32)
    with pytest.raises(BitlatheError, match="bits is 17"):
        kernels.pack(np.zeros(3, np.uint8), 17)
    with pytest.raises(BitlatheError, match="need 3 bytes, got 2"):
        kernels.unpack(np.zeros(2, np.uint8), 4, 6)
    with pytest.raises(BitlatheError, match="shape"):
        kernels.symmetric(x[0], 4, 2)
    with pytest.raises(BitlatheError, match="group is 0"):
        kernels.symmetric(x, 4, 0)
    with pytest.raises(BitlatheError, match="did you mean 'floor'"):
        kernels.mx_integer(x, rule="flor")
    with pytest.raises(BitlatheError, match="fp16"):
        kernels.symmetric(x, 4, 2, scale="fp17")
    with pytest.raises(BitlatheError, match="one within and one beyond"):
        kernels.bitmod(x, (0.0, 1.0, 2.0), (3.0, 6.0), 2)
    with pytest.raises(BitlatheError, match="choice 1 of 1"):
        kernels.codebooks_given(
            x,
            (kernels.make_book([-1, 0, 1], [2, 0, 1], [True, False]),),
            4,
            np.ones((2, 1), np.float32),
            np.ones((2, 1), np.uint8),
        )


@pytest.mark.parametrize("bits", [1, 3, 4, 5, 7, 11, 15])
def test_large_streams_take_the_compiled_path_with_the_same_bytes(bits, monkeypatch):
    rng = np.random.default_rng(bits)
    codes = rng.integers(0, 2**bits, packing.MIN_SIZE + 5).astype(np.uint16)
    stream = packing.pack(codes, bits)
    back = packing.unpack(stream, bits, codes.size)
    np.testing.assert_array_equal(back, codes)
    assert back.dtype == np.uint32
    monkeypatch.setattr(packing, "have_numba", lambda: False)
    np.testing.assert_array_equal(packing.pack(codes, bits), stream)
    np.testing.assert_array_equal(packing.unpack(stream, bits, codes.size), codes)
