"""Codes to values: the kernel against plain loops, the compiled path against numpy, bit for bit."""

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bitlathe.datatypes import kernels
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.coding.coders import CODERS
from bitlathe.datatypes.formats.catalogue import ENTRIES
from bitlathe.datatypes.kernels.streams.dequantize import dequantize
from bitlathe.datatypes.quantize import quantize
from bitlathe.datatypes.tensors.dequantize import compiled_values, fits, group_values
from naive import dequantize_naive as naive

DTYPES = {
    "float32": np.float32,
    "float64": np.float64,
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
}


def cases(draw):
    """A matrix of codes and all that goes with it; ragged blocks, zeros, NaN and infinities."""
    pairs = draw(st.booleans())
    bits = draw(st.integers(1, 4 if pairs else 16))
    rows, k = draw(st.integers(1, 7)), draw(st.integers(1, 40))
    group, block_rows = draw(st.integers(1, 45)), draw(st.integers(1, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    count = -(-rows // block_rows) * -(-k // group)
    tables = rng.standard_normal((3, 4**bits if pairs else 2**bits))
    tables *= 10.0 ** rng.integers(-20, 20, tables.shape)
    tables.flat[rng.integers(0, tables.size, 3)] = (np.nan, np.inf, -0.0)
    scales = rng.standard_normal(count) * 10.0 ** rng.integers(-20, 20, count)
    scales[rng.integers(0, count)] = draw(st.sampled_from([np.nan, 0.0, 1.0, 2.0**-140]))
    return {
        "codes": rng.integers(0, 2**bits, (rows, k)).astype(np.uint8 if bits <= 8 else np.uint16),
        "bits": bits,
        "tables": tables.astype(np.float32),
        "scales": scales.astype(np.float32),
        "group": group,
        "block_rows": block_rows,
        "choices": rng.integers(0, 3, count).astype(np.uint8) if draw(st.booleans()) else None,
        "zeros": rng.integers(0, 2**bits, count) if draw(st.booleans()) else None,
        "pairs": pairs,
    }


def same(found, wanted):
    """Equal to the bit, NaN to NaN (whose sign and payload are the processor's)."""
    assert found.dtype == wanted.dtype
    whole = f"u{found.dtype.itemsize}"
    a = np.where(np.isnan(found), 0, np.ascontiguousarray(found).view(whole))
    b = np.where(np.isnan(wanted), 0, np.ascontiguousarray(wanted).view(whole))
    np.testing.assert_array_equal(np.isnan(found), np.isnan(wanted))
    np.testing.assert_array_equal(a, b)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@given(st.composite(cases)(), st.sampled_from(list(DTYPES)), st.integers(1, 3))
@settings(max_examples=150, deadline=None)
def test_kernel_equals_loops(case, dtype, threads):
    work = np.float64 if dtype == "float64" else np.float32
    codes, bits = case.pop("codes"), case.pop("bits")
    count = case["scales"].size
    loops = naive.dequantize(
        codes.tolist(),
        case["tables"],
        case["scales"],
        case["group"],
        case["block_rows"],
        [0] * count if case["choices"] is None else case["choices"].tolist(),
        [0] * count if case["zeros"] is None else case["zeros"].tolist(),
        case["pairs"],
        work,
    )
    wanted = np.array(loops, work).astype(DTYPES[dtype])
    case |= {"dtype": DTYPES[dtype], "threads": threads}
    same(dequantize(codes, **case), wanted)
    stream = kernels.pack(codes, bits)
    assert naive.unpack(stream, bits, codes.size) == codes.reshape(-1).tolist()
    same(dequantize(stream, packed=(bits, codes.shape), **case), wanted)


@pytest.mark.parametrize("bits", range(1, 17))
def test_streams_of_every_width_longer_than_a_chunk(bits):
    rng = np.random.default_rng(bits)
    codes = rng.integers(0, 2**bits, (3, 5003)).astype(np.uint16)
    table = rng.permutation(2**bits).astype(np.float32)[None]
    scales = rng.standard_normal(3 * 51).astype(np.float32)
    wanted = table[0][codes] * np.repeat(scales.reshape(3, 51), 100, axis=1)[:, :5003]
    stream = kernels.pack(codes, bits)
    same(dequantize(stream, table, scales, 100, packed=(bits, codes.shape), threads=2), wanted)


def tensors():
    """Weights with zeros, outliers, ties and denormals; the second has odd, ragged extents."""
    rng = np.random.default_rng(5)
    x = (rng.standard_t(4, (6, 21, 150)) * 0.02).astype(np.float32)
    x[0, :3] = 0
    x[1, 2] = 1e-41
    x[2, :, 7] = 3.0
    x[3] = np.rint(x[3] * 200) / 64
    return x


SCHEMES = [
    *(name for name, e in ENTRIES.items() if e.scale != "none" and CODERS[e.coder].has_tables),
    "fp16", "bf16", "int4@tensor", "int4@input", "int3@b4x48/bf16", "int4_asym@g40",
    "bitmod_fp3@g128/int8", "bitmod_fp4@g128+paper", "int4_asym@g128+paper", "fp4_e2m1@g32/m2",
    "fp6_e3m2@b16x16/e8m0", "bcq3/fp16", "bcq3@b24x5/pot2", "olive4@g31", "int5_asym@g100/int6",
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*underflows in")
@pytest.mark.parametrize("scheme", SCHEMES)
def test_compiled_path_equals_numpy(scheme):
    x = np.abs(tensors()) if scheme.startswith("uint") else tensors()
    least = 2 ** int(scheme[-1]) if scheme.startswith("kmeans") else 1  # a book has no more entries
    for axis in (axis for axis in (2, 1, 0) if x.shape[axis] >= least):
        q = quantize(x, scheme, axis=axis)
        for name, dtype in DTYPES.items():
            if not fits(q.coded, np.dtype(dtype), min_size=1):
                assert q.scheme.paper
                assert name in ("float64", "bfloat16")
                continue
            work = np.float64 if name == "float64" else np.float32
            with np.errstate(over="ignore"):
                wanted = q.layout.join(group_values(q.coded, work)).astype(dtype)
            same(compiled_values(q.coded, np.dtype(dtype), threads=2), wanted)


def test_large_tensors_take_the_compiled_path_small_ones_numpy(monkeypatch):
    from bitlathe.datatypes.tensors import dequantize as module

    used = []

    def spy(*args):
        used.append(args[1].name)
        return compiled_values(*args)

    monkeypatch.setattr(module, "compiled_values", spy)
    x = np.random.default_rng(0).standard_normal((512, 513)).astype(np.float32)
    q = quantize(x, "int4@g128", axis=0)
    whole = q.dequantize()
    assert used == ["float32"]
    assert whole.shape == x.shape
    small = quantize(x[:, :9], "int4@g128", axis=0)
    np.testing.assert_array_equal(small.dequantize(), whole[:, :9])
    assert used == ["float32"]
    assert q.dequantize("float16").dtype == np.float16


FLOATS = ["float16", "bfloat16", "float32", "float64"]


@pytest.mark.parametrize("name", FLOATS)
def test_any_float_can_be_asked_for_by_any_of_its_names(name):
    x = np.random.default_rng(3).standard_normal((4, 32)).astype(np.float32)
    q = quantize(x, "int4@g16")
    expected = q.dequantize().astype(name if name != "bfloat16" else ml_dtypes.bfloat16)
    if name == "float64":
        expected = q.dequantize(np.float64)
    for asked in (name, np.dtype(expected.dtype), getattr(torch, name)):
        found = q.dequantize(asked)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    for made in FLOATS:
        tensor = quantize(torch.from_numpy(x).to(getattr(torch, made)), "int4@g16")
        for asked in (name, getattr(torch, name)):
            assert tensor.dequantize(asked).dtype == getattr(torch, name)
    back = quantize(torch.from_numpy(x), "int4@g16").dequantize(getattr(torch, name))
    assert torch.equal(back.float(), torch.from_numpy(expected.astype(np.float32)))


@pytest.mark.parametrize("dtype", ["int8", "flaot32", int, torch.int8, object(), "complex64"])
def test_other_dtypes_are_refused(dtype):
    for x in (np.ones((2, 4), np.float32), torch.ones(2, 4)):
        with pytest.raises(BitlatheError, match=r"floating-point dtype .* Known: bfloat16"):
            quantize(x, "int4@g4").dequantize(dtype)


def test_a_group_given_up_to_nan_stays_nan():
    x = np.ones((2, 64), np.float32)
    x[1, 40] = np.inf
    q = quantize(x, "mxfp4", nan="propagate")
    found = compiled_values(q.coded, np.dtype(np.float32))
    assert np.isnan(found).sum() == 32
    assert np.isnan(found[1, 32:]).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"group": 0}, "blocks of 1 x 0"),
        ({"scales": np.ones(3)}, "there are 4 groups"),
        ({"tables": np.ones((1, 3))}, r"\(tables, 2\*\*bits\)"),
        ({"tables": np.ones((1, 8)), "pairs": True}, r"\(tables, 4\*\*bits\)"),
        ({"choices": np.array([0, 1, 0, 0])}, r"choices 0\.\.1, there are 1 tables"),
        ({"dtype": "int8"}, "dtype int8"),
        ({"dtype": "float64", "through_half": True}, "float64 through float16"),
        ({"packed": (5, (2, 8))}, "16 codes of 5 bits .* 10 bytes, got 8"),
        ({"packed": (17, (2, 8))}, "17 bits"),
        ({"codes": np.zeros(4, np.uint8)}, "a packed stream with"),
        ({"out": np.empty((2, 7), np.float32)}, r"out is float32 \(2, 7\)"),
    ],
)
def test_bad_arguments_are_named(change, message):
    facts = {
        "codes": np.zeros((2, 8), np.uint8) if "packed" not in change else np.zeros(8, np.uint8),
        "tables": np.ones((1, 16)),
        "scales": np.ones(4),
        "group": 4,
    }
    with pytest.raises(BitlatheError, match=message):
        dequantize(**(facts | change))
