"""AWQ: the scales of the paper, the order of its steps."""

import numpy as np
import pytest

from bitlathe.datatypes.methods.calibrate import calibrate
from bitlathe.datatypes.quantize import quantize


def layer(outlier):
    random = np.random.default_rng(7)
    x = random.normal(size=(64, 64)) * np.exp(random.normal(size=64))
    x[:, 3] *= outlier
    return random.normal(size=(32, 64)).astype(np.float32), x


def test_scale_and_clip_are_the_best_of_a_slow_search():
    w, x = layer(10.0)
    exact = x @ w.astype(np.float64).T
    errors = {}
    for i in range(20):
        s = np.maximum(np.mean(np.abs(x), axis=0) ** (i / 20), 1e-4)
        s = (s / np.sqrt(s.max() * s.min())).astype(np.float32)
        made = quantize(w * s, "int3_asym@g16").dequantize(np.float64)
        errors[i / 20] = np.square((x / s.astype(np.float64)) @ made.T - exact).sum()
    alpha = min(errors, key=errors.get)
    found = calibrate(w, x, "awq", "int3_asym@g16", clip=False)
    assert found.chosen == f"alpha={alpha:g}"
    assert found.relative_error == pytest.approx(errors[alpha] / np.square(exact).sum())


def test_rounding_is_worse_than_scales_and_scales_than_scales_with_cut_ranges():
    w, x = layer(30.0)
    for scheme in ("int3_asym@g16", "bitmod_fp3@g16"):
        scaled = calibrate(w, x, "awq", scheme, clip=False)
        both = calibrate(w, x, "awq", scheme)
        assert both.relative_error < scaled.relative_error < 0.6 * scaled.rounded_error
