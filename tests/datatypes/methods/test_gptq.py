"""GPTQ: against the paper's own recursion in fractions, and a closed form of its error."""

import numpy as np
import pytest

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.methods import gptq
from bitlathe.datatypes.methods.calibrate import calibrate
from bitlathe.datatypes.methods.task import Task
from bitlathe.datatypes.quantize import quantize
from bitlathe.datatypes.schemes.scheme import Scheme
from naive import methods_naive as naive


def tables(scheme, w):
    """Return the numbers that each weight may become, from the scales of plain rounding."""
    q = quantize(w, scheme)
    scales = q.scales.astype(np.float64)
    size = w.shape[1] // scales.shape[1]
    found = []
    for r, row in enumerate(q.codes):
        found.append([])
        for c in range(len(row)):
            scale = float(scales[r, c // size])
            if q.zeros is not None:
                steps = np.arange(16.0) - float(q.zeros[r, c // size])
            else:
                member = 0 if q.choices is None else int(q.choices[r, c // size])
                steps = q.scheme.formats[member].values
            found[-1].append(sorted({float(s) * scale for s in steps if np.isfinite(s)}))
    return found


@pytest.mark.parametrize("act_order", [True, False])
@pytest.mark.parametrize(
    "scheme", ["int3@g4", "int4_asym@g4", "bitmod_fp3@g4", "mxfp4", "nf4@channel", "int4@g4/int8"]
)
def test_codes_are_those_of_the_inverse_hessian_in_fractions(scheme, act_order):
    random = np.random.default_rng(3)
    for _ in range(2):
        w = random.normal(size=(3, 8)).astype(np.float32)
        x = np.round(random.normal(size=(12, 8)) @ random.normal(size=(8, 8)) * 16) / 16
        damping = 0.015625
        order = np.argsort(-np.square(x).sum(axis=0), kind="stable") if act_order else range(8)
        wanted = naive.gptq(w, x, tables(scheme, w), [int(j) for j in order], damping)
        task = Task.of(w, x, Scheme.parse(scheme), None)
        (found,) = gptq.gptq(task, gptq.GptqOptions(damping=damping, act_order=act_order))
        np.testing.assert_allclose(found.weights.dequantize(np.float64), wanted, rtol=1e-6)


def test_uncorrelated_inputs_leave_plain_rounding():
    w = np.random.default_rng(0).normal(size=(6, 300)).astype(np.float32)
    for scheme in ("int4@g32", "fp8_e4m3@channel", "bitmod_fp4@g64", "int8@g128", "bcq3@g50"):
        task = Task.of(w, np.eye(300), Scheme.parse(scheme), None)
        (found,) = gptq.gptq(task, gptq.GptqOptions())
        np.testing.assert_array_equal(found.weights.dequantize(), quantize(w, scheme).dequantize())


def test_more_columns_than_a_block_are_as_one_block(monkeypatch):
    random = np.random.default_rng(1)
    w, x = random.normal(size=(4, 40)), random.normal(size=(50, 40)) @ random.normal(size=(40, 40))
    whole = calibrate(w, x, "gptq", "int4@g8")
    monkeypatch.setattr(gptq, "BLOCK", 7)
    cut = calibrate(w, x, "gptq", "int4@g8")
    np.testing.assert_array_equal(whole.weights.codes, cut.weights.codes)


def test_dual_grain_stays_within_eight_bits():
    random = np.random.default_rng(2)
    w, x = (
        random.standard_t(3, size=(16, 64)),
        random.normal(size=(90, 64)) @ np.triu(np.ones((64, 64))),
    )
    q = calibrate(w, x, "gptq", "dgq4@g16").weights
    whole = (
        q.codes.reshape(16, 4, 16).astype(int) - q.zeros[:, :, None].astype(int)
    ) * q.raw.reshape(16, 4, 1).astype(int)
    assert np.abs(whole).max() <= 127


def test_a_singular_hessian_without_damping_is_refused():
    w, x = np.ones((2, 8)), np.random.default_rng(0).normal(size=(3, 8))
    with pytest.raises(BitlatheError, match="3 tokens do not tell 8 inputs apart"):
        calibrate(w + np.arange(8), x, "gptq", "int4@g4", damping=0.0)
