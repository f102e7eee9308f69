"""Methods for layers whose inputs are quantized too: SmoothQuant, LLM.int8(), DGQ."""

import numpy as np
import pytest

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.methods.calibrate import calibrate
from bitlathe.datatypes.quantize import quantize


def layer(outliers=3, size=60.0):
    random = np.random.default_rng(11)
    x = random.uniform(-3, 3, size=(48, 64))
    x[:, :outliers] *= size / 3
    return random.normal(size=(24, 64)).astype(np.float32), x


def test_smoothquant_is_the_formula():
    w, x = layer()
    s = np.abs(x).max(0) ** 0.5 / np.abs(w).max(0) ** 0.5
    found = calibrate(w, x, "smoothquant", alphas=(0.5,))
    np.testing.assert_allclose(found.divisors, s, rtol=1e-6)
    q = quantize(w * found.divisors, "int8@channel")
    np.testing.assert_array_equal(found.weights.codes, q.codes)
    inputs = quantize(x / found.divisors.astype(float), "int8@channel").dequantize(np.float64)
    np.testing.assert_array_equal(found.forward(x), inputs @ q.dequantize(np.float64).T)


def test_llm_int8_leaves_a_tenth_of_vectorwise_and_that_a_fifth_of_per_tensor():
    w, x = layer()
    exact = x @ w.astype(float).T
    tensor = (
        quantize(x, "int8@tensor").dequantize(np.float64)
        @ quantize(w, "int8@tensor").dequantize(np.float64).T
    )
    per_tensor = np.square(tensor - exact).sum() / np.square(exact).sum()
    found = calibrate(w, x, "llm_int8")
    assert found.chosen == "3 outliers"
    assert found.outliers.tolist() == [0, 1, 2]
    assert found.relative_error <= 0.1 * found.rounded_error
    assert found.rounded_error < per_tensor


def test_llm_int8_counts_outliers_and_their_places():
    w, x = layer()
    found = calibrate(w, x, "llm_int8")
    assert found.total_bits == 24 * (61 * 8 + 16) + 3 * (24 * 16 + 6)
    assert found.operations.products == 24 * 61
    assert found.operations.fp16_products == 24 * 3
    np.testing.assert_array_equal(found.dequantize()[:, :3], w[:, :3].astype(np.float16))
    np.testing.assert_array_equal(
        found.dequantize()[:, 3:], quantize(w[:, 3:], "int8@channel").dequantize(np.float64)
    )


def test_llm_int8_without_outliers_is_plain_rounding():
    w, x = layer(outliers=0)
    found = calibrate(w, x, "llm_int8")
    assert (found.chosen, found.outliers) == ("rtn", None)
    assert found.relative_error == found.rounded_error
    with pytest.raises(BitlatheError, match="threshold: every input reaches 0"):
        calibrate(w, x, "llm_int8", threshold=0)
    with pytest.raises(BitlatheError, match="beyond fp16"):
        calibrate(w * 1e5, *layer()[1:], "llm_int8")


def test_dgq_brings_large_inputs_down_to_the_percentile():
    w, x = layer(outliers=2)
    found = calibrate(w, x, "dgq", "dgq4@g16", activation_scheme="int4@tensor", share=0.05)
    assert found.chosen == "search, smooth"
    k = int(0.05 * 64 + 1.5)
    amax = np.abs(x).max(0)
    np.testing.assert_allclose(found.divisors, np.maximum(amax / np.sort(amax)[-k], 1), rtol=1e-6)
    assert (found.divisors > 1).sum() == k - 1
    plain = calibrate(w, x, "dgq", "dgq4@g16", activation_scheme="int4@tensor", smooth=False)
    assert plain.divisors is None
    assert found.relative_error < 0.8 * plain.relative_error


def test_dgq_weights_are_integers_of_eight_bits_and_its_product_is_theirs():
    random = np.random.default_rng(5)
    w, x = random.standard_t(4, size=(16, 64)), random.normal(size=(32, 64))
    found = calibrate(w, x, "dgq", "dgq4@g16", activation_scheme="int8@tensor", smooth=False)
    q = found.weights
    whole = q.codes.astype(int).reshape(16, 4, 16) - q.zeros[..., None].astype(int)
    whole = (whole * q.raw.reshape(16, 4, 1).astype(int)).reshape(16, 64)
    assert np.abs(whole).max() <= 127
    given = quantize(x, "int8@tensor")
    inputs = given.scheme.formats[0].values[given.codes].astype(np.int64)
    scales = float(given.scales.reshape(-1)[0]) * q.outer_scales.astype(float)
    np.testing.assert_allclose(found.forward(x), (inputs @ whole.T) * scales, rtol=1e-12, atol=1e-9)
    with pytest.raises(BitlatheError, match="dgq does not go with int4_asym@g16"):
        calibrate(w, x, "dgq", "int4_asym@g16")
