"""NaN and infinity: refused, or carried through to what becomes NaN with them."""

import numpy as np
import pytest

from bitlathe.datatypes.quantize import quantize
from quantized_cases import weights


def test_nan_is_refused_or_carried_through_its_whole_group():
    x = weights((2, 8))
    x[1, 5] = np.nan
    x[0, 0] = np.inf
    with pytest.raises(ValueError, match=r"2 value\(s\).*inf at index \(0, 0\)"):
        quantize(x, "int4@g4")
    for text in ("int4@g4", "mxfp4@g4", "bitmod_fp3@g4", "int4_asym@g4/bf16", "nvfp4@g4"):
        y = quantize(x, text, nan="propagate").dequantize()
        lost = np.isnan(y).reshape(2, 2, 4).all(axis=2)
        np.testing.assert_array_equal(lost, [[True, False], [False, True]])
        assert np.isfinite(y[0, 4:]).all()
    with pytest.raises(ValueError, match=r"scales stored as pot3 cannot be NaN.*fp16"):
        quantize(x, "bcq3@g4", nan="propagate")
    with pytest.raises(ValueError, match=r"int4 without a scale cannot be NaN"):
        quantize(x, "int4/none", nan="propagate")


@pytest.mark.parametrize(
    "text", ["bitmod_fp4@g4/int8", "int4@g4/m2", "dgq4@g4", "int4_asym@g4/int6"]
)
def test_a_row_of_integer_scales_becomes_nan_together(text):
    x = weights((3, 8))
    x[1, 5] = np.nan
    y = quantize(x, text, nan="propagate").dequantize()
    assert np.isnan(y[1]).all()
    np.testing.assert_array_equal(y[[0, 2]], quantize(x[[0, 2]], text).dequantize())


@pytest.mark.parametrize("text", ["fp16", "bf16", "fp8_e4m3/none", "fp8_e5m2/none"])
def test_without_scales_an_element_is_nan_alone(text):
    x = weights((2, 8))
    y = quantize(x, text).dequantize()
    x[1, 5], x[0, 0], x[0, 1] = np.nan, np.inf, -np.inf
    y[1, 5], y[0, 0], y[0, 1] = np.nan, np.inf, -np.inf
    if "e4m3" in text:  # has no infinity
        y[0, :2] = np.nan
    np.testing.assert_array_equal(quantize(x, text, nan="propagate").dequantize(), y)
    with pytest.raises(ValueError, match="not finite"):
        quantize(x, text)


def test_signed_sums_carry_nan_in_float_scales():
    x = weights((2, 8))
    x[1, 5] = np.nan
    y = quantize(x, "bcq3@g4/fp16", nan="propagate").dequantize()
    assert np.isnan(y).reshape(2, 2, 4).all(axis=2).tolist() == [[False, False], [False, True]]
    assert np.isnan(y).sum() == 4
