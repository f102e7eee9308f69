"""quantize gives the same bits through the compiled kernels and through numpy."""

import dataclasses

import numpy as np
import pytest

from bitlathe.datatypes import quantize as module
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.coding import dispatch as fast
from bitlathe.datatypes.coding.coders import encode_fast
from bitlathe.datatypes.quantize import quantize
from bitlathe.datatypes.schemes.scheme import Scheme

COMPILED = [
    "int4@g128", "int3@channel/fp32", "int4_asym@g32", "bitmod_fp4@g128", "bitmod_fp3@g128/fp16",
    "bitmod_fp3@g100/int8", "bitmod_fp4_er@g128", "fp4_e2m1@g64", "nf4@g64", "ant4@g128",
    "mxfp4", "mxfp4/e8m0_even", "mxfp8_e4m3", "mxint8", "nvfp4", "mx_bitmod_fp3",
    "fp3_e2m0@g32/e8m0", "pot4@g32/e8m0_even", "bitmod_fp4@g16/e4m3", "ant4@g64/int6",
    "fp4_e2m1@g128/m2", "fp4_e2m1@g128/pot_ceil", "bitmod_fp4@g128+paper", "bitmod_fp3@g7+paper",
    "razer", "bitmod_fp3@g16/e8m0_even@channel/fp16", "hif4", "q4_0",
    "fp4_e2m1@g20/e0m2_search@g100/e8m0_search",
]  # fmt: skip


def tricky(rows, columns, mixture, fp16):
    """Normal weights with zero groups, denormals, exact ties, constants and an outlier."""
    rng = np.random.default_rng(3)
    x = (rng.standard_normal((rows, columns)) * 0.02).astype(np.float32)
    x[0] = 0
    if not mixture:
        x[1] = 1e-42 * rng.integers(-8, 9, columns)
        x[7] = 1e4 if fp16 else 1e38
    x[2] = rng.integers(-24, 25, columns) / 4
    x[3] = 0.125
    x[4, 7] = 30000
    x[5] = -0.0
    x[6] = -np.abs(x[6])
    return x


@pytest.mark.filterwarnings("ignore:.*underflows in")
@pytest.mark.parametrize("text", COMPILED)
def test_compiled_and_numpy_paths_agree_to_the_bit(text, monkeypatch):
    scheme = Scheme.parse(text)
    x = tricky(
        12,
        300,
        len(scheme.formats) > 1,
        scheme.scale_format.outer == "row" or scheme.scale in ("fp16", "levels"),
    )
    monkeypatch.setattr(fast, "have_numba", lambda: False)
    plain = quantize(x, text)
    monkeypatch.undo()
    used = []

    def always(job):
        used.append(encode_fast(job, min_size=1))
        return used[-1]

    monkeypatch.setattr(module, "encode_fast", always)
    quick = quantize(x, text)
    assert used[0] is not None, "no kernel was used"
    for field in dataclasses.fields(plain.coded):
        ours, theirs = getattr(plain.coded, field.name), getattr(quick.coded, field.name)
        if isinstance(ours, np.ndarray):
            np.testing.assert_array_equal(ours, theirs, err_msg=field.name)
        else:
            assert (ours is None) == (theirs is None), field.name
    assert plain.dequantize().tobytes() == quick.dequantize().tobytes()


def test_extreme_mixtures_are_left_to_numpy(monkeypatch):
    x = np.full((2, 64), 1e-20, np.float32)
    monkeypatch.setattr(module, "encode_fast", lambda job: encode_fast(job, min_size=1))
    quick = quantize(x, "bitmod_fp4@g32")
    monkeypatch.setattr(module, "encode_fast", lambda _: None)
    np.testing.assert_array_equal(quick.choices, quantize(x, "bitmod_fp4@g32").choices)


@pytest.mark.filterwarnings("ignore:.*came out as zeros")
@pytest.mark.parametrize("std", [1e-7, 1e-4, 400.0, 4000.0])
def test_released_arithmetic_where_float16_ends(std, monkeypatch):
    rng = np.random.default_rng(9)
    x = (rng.standard_t(5, (16, 300)) * std).clip(-65000, 65000).astype(np.float32)
    found = []
    for way in (lambda _: None, lambda job: encode_fast(job, min_size=1)):
        monkeypatch.setattr(module, "encode_fast", way)
        q = quantize(x, "bitmod_fp4@g100+paper")
        found.append((q.matrix, q.raw, q.choices, q.dequantize()))
    for plain, quick in zip(*found, strict=True):
        np.testing.assert_array_equal(quick, plain)


def test_magnitudes_beyond_float16_are_refused_by_both(monkeypatch):
    monkeypatch.setattr(module, "encode_fast", lambda job: encode_fast(job, min_size=1))
    with pytest.raises(BitlatheError, match="65504"):
        quantize(np.full((2, 64), 7e4, np.float32), "bitmod_fp4@g32+paper")


@pytest.mark.parametrize("scheme", ["e8m0/fp16+paper", "uint4@g32+paper"])
def test_negative_elements_under_unsigned_formats_are_refused_under_paper_too(scheme):
    with pytest.raises(BitlatheError, match="is unsigned, the tensor has values down to -1"):
        quantize(np.full((2, 64), -1, np.float32), scheme)
