"""Rows of a quantized tensor, chosen without unpacking."""

import numpy as np
import pytest

import bitlathe as bl
from bitlathe.datatypes.quantize import quantize
from quantized_cases import weights


def test_rows_can_be_sliced_without_change():
    x = weights((10, 48))
    for text in (
        "bitmod_fp3@g16/int8",
        "int4_asym@g20",
        "int4@tensor",
        "int4@b2x16",
        "nvfp4",
        "bcq2@g16",
        "int4@input",
        "int4@g16/m2",
    ):
        q = quantize(x, text)
        part = q[2:8]
        assert np.shares_memory(part.matrix, q.matrix)
        np.testing.assert_array_equal(part.dequantize(), q.dequantize()[2:8])
        assert len(part) == 6
        assert q[4:4].dequantize().shape == (0, 48)
    with pytest.raises(ValueError, match="first axis"):
        quantize(x, "int4@g4", axis=0)[1:2]


@pytest.mark.parametrize(
    "text",
    ["bitmod_fp3@g16/int8", "int4_asym@g20", "int4@tensor", "nvfp4", "bcq2@g16", "int4@input",
     "int4@g16/m2", "int4@b1x16/bf16"],
)  # fmt: skip
def test_any_rows_can_be_chosen(text):
    q = quantize(weights((10, 3, 48)), text)
    y = q.dequantize()
    mask = np.arange(10) % 2 == 0
    for key in (
        3,
        -1,
        np.int64(2),
        slice(None, None, 3),
        slice(8, 2, -1),
        [0, 5],
        [7, 7],
        mask,
        np.array(2),
        ~mask & mask,
        slice(5, 5),
    ):
        np.testing.assert_array_equal(q[key].dequantize(), y[key])
        assert q[key].shape == y[key].shape
        assert sum(stream.size for stream in q[key].packed.values()) == q[key].nbytes
    for part in (q[[]], quantize(np.zeros((4, 0)), text)[[3, 0]]):
        assert part.nbytes == part.total_bits == 0
        assert all(numbers.size == 0 for numbers in (*part.level_scales, *part.packed.values()))
    assert [part.shape for part in q] == [(3, 48)] * 10


def test_rows_that_share_scales_are_chosen_together():
    q = quantize(weights((10, 48)), "int4@b4x16")
    np.testing.assert_array_equal(q[[4, 5, 6, 7, 8, 9]].dequantize(), q.dequantize()[4:])
    for key in (slice(1, 5), 3, [4, 5], [8, 9, 0, 1, 2, 3]):
        with pytest.raises(ValueError, match="multiples"):
            q[key]
    for key in ("a", None, 1.5, True, (0, 1), [[1]], [0.5], 10, [-11]):
        with pytest.raises(bl.BitlatheError, match="rows of a quantized tensor"):
            q[key]
