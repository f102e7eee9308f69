"""Studies of many schemes: rows, blocks of rows, memory."""

import tracemalloc
import warnings

import numpy as np
import pytest

import bitlathe as bl
from bitlathe.datatypes.quantize import quantize
from bitlathe.datatypes.study import compare as study
from bitlathe.datatypes.study import metrics
from bitlathe.datatypes.study.metrics import error_metrics
from bitlathe.datatypes.tensors import statistics as tensor_terms
from quantized_cases import weights


def test_a_study_has_a_row_per_tensor_and_a_total():
    arrays = {
        "a": weights((4, 32)),
        "b": weights((2, 64), 1),
        "bias": weights(4),
        "ids": np.arange(4),
    }
    rows = study.compare(arrays, ["int4@g32", "nvfp4"])
    assert [(r.scheme, r.tensor) for r in rows] == [
        (s, t) for s in ("int4@g32", "nvfp4") for t in ("a", "b", study.ALL)
    ]
    both = np.concatenate([arrays["a"].reshape(-1, 32), arrays["b"].reshape(-1, 32)])
    q = quantize(both, "int4@g32")
    assert rows[2].relative_mse == pytest.approx(error_metrics(both, q.dequantize()).relative_mse)
    assert rows[2].bits_per_element == 4.5
    with pytest.raises(bl.BitlatheError, match="no tensor to quantize"):
        study.compare({"bias": weights(4)}, ["int4"])
    with pytest.raises(bl.BitlatheError, match="tensor 'a': "):
        study.compare({"a": weights((2, 2)) * np.nan}, ["int4"])


BLOCKS = [
    "int4@g32", "bitmod_fp4@g32/int8", "int4_asym@g20", "mxfp4", "nvfp4", "int4@tensor",
    "int4_asym@tensor", "int4@input", "int3_asym@input", "int4@b4x16", "int4@tensor/int6",
    "mxfp4@tensor", "olive4@g16", "bcq2@g32", "dgq4@g32", "int4@g32+mse", "nvfp4+mse",
    "bitmod_fp4@g16/e4m3", "int4@b8x8/e4m3", "int4@tensor+mse", "fp16",
    "int4@g8/ue4m3@b4x8/fp16", "uint4@g16/fp16-uint6@tensor/fp16", "kmeans2@b2x8",
]  # fmt: skip


@pytest.mark.parametrize("shape", [(40, 64), (10, 4, 64), (24, 4, 4, 4), (640,)])
@pytest.mark.parametrize("text", BLOCKS)
def test_blocks_of_rows_change_no_digit(text, shape, monkeypatch):
    x = weights(shape)
    x.reshape(-1)[77] = 3  # an outlier, in one block
    monkeypatch.setattr(metrics, "CHUNK", 500)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        whole = study.compare({"x": x, "y": -x[:5]}, [text], everything=True)
        for block in (100, 256, 1000):
            monkeypatch.setattr(study, "BLOCK", block)
            assert study.compare({"x": x, "y": -x[:5]}, [text], everything=True) == whole
    q = quantize(x, text)
    assert whole[0].nbytes == sum(stream.size for stream in q.packed.values()) == q.nbytes
    found = error_metrics(x, q.dequantize())
    assert (whole[0].relative_mse, whole[0].max_abs) == (found.relative_mse, found.max_abs)


def test_a_bad_value_of_a_later_block_is_named_with_its_rows(monkeypatch):
    monkeypatch.setattr(study, "BLOCK", 256)
    x = weights((40, 64))
    x[21, 3] = np.inf
    with pytest.raises(
        bl.BitlatheError, match=r"tensor 'x', rows 20\.\.23: .*inf at index \(1, 3\)"
    ):
        study.compare({"x": x}, ["int4@g32"])
    for text in ("nvfp4", "int4@tensor"):
        with pytest.raises(bl.BitlatheError, match=r"tensor 'x': .*inf at index \(21, 3\)"):
            study.compare({"x": x}, [text])


@pytest.mark.parametrize("text", ["int4@g32", "int4_asym@g128", "nvfp4", "int4@tensor"])
def test_a_study_takes_no_more_memory_for_a_larger_tensor(text, monkeypatch):
    monkeypatch.setattr(study, "BLOCK", 1 << 16)
    monkeypatch.setattr(metrics, "CHUNK", 1 << 16)
    monkeypatch.setattr(tensor_terms, "PART", 1 << 16)
    x = weights((1024, 1024))
    study.compare({"x": x[:64]}, [text])  # what stays, such as tables
    tracemalloc.start()
    try:
        study.compare({"x": x}, [text])
        _, study_peak = tracemalloc.get_traced_memory()
        q = quantize(x, text)
        tracemalloc.reset_peak()
        held, _ = tracemalloc.get_traced_memory()
        q.terms()
        _, terms_peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # 64 rows of 256 KiB: float64 of a run three times, and what codes them
    assert study_peak < x.nbytes * 0.9
    assert terms_peak - held < x.nbytes * 0.5
