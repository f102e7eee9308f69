"""Errors of a tensor, summed exactly."""

from fractions import Fraction

import numpy as np
import pytest

from bitlathe.datatypes.study import metrics
from bitlathe.datatypes.study.metrics import error_metrics, error_sums
from quantized_cases import weights


def test_error_metrics():
    found = error_metrics(np.array([3.0, 4.0]), np.array([3.0, 3.0]))
    assert (found.relative_mse, found.max_abs, found.mean_abs, found.mean) == (0.04, 1, 0.5, -0.5)
    assert found.sqnr_db == pytest.approx(13.9794)
    assert error_metrics(np.zeros(2), np.ones(2)).relative_mse == np.inf
    assert error_metrics(np.zeros(0), np.zeros(0)).cosine == 1


def test_sums_of_runs_are_those_of_exact_fractions(monkeypatch):
    x, y = weights(1000), weights(1000, 1)
    exact = [(Fraction(float(a)), Fraction(float(b))) for a, b in zip(x, y, strict=True)]
    noise, signal = sum((b - a) ** 2 for a, b in exact), sum(a * a for a, _ in exact)
    for run in (1000, 7, 64):
        monkeypatch.setattr(metrics, "CHUNK", run)
        found = error_metrics(x, y)
        assert found.relative_mse == pytest.approx(float(noise / signal), rel=1e-14)
        assert found.mean == pytest.approx(float(sum(b - a for a, b in exact) / 1000), rel=1e-12)
        assert found.max_abs == float(max(abs(b - a) for a, b in exact))
        mean_abs = sum(abs(b - a) for a, b in exact) / 1000
        assert found.mean_abs == pytest.approx(float(mean_abs), rel=1e-14)
        pieces = [(x[a:b], y[a:b]) for a, b in ((0, 1), (1, 1), (1, 600), (600, 1000))]
        assert error_sums(pieces).metrics() == found
