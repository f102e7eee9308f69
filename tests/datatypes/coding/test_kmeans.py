"""Learned codebooks: the least error of all books, entries counted and stored."""

from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bitlathe as bl
from bitlathe.datatypes.schemes.scheme import Scheme
from bitlathe.datatypes.tensors.packing import stored_bytes
from bitlathe.datatypes.tensors.tensor import QuantizedTensor


def tails(rows, columns, seed=0):
    return np.random.default_rng(seed).standard_t(3, (rows, columns)).astype(np.float32)


def least_error(x, weights, clusters):
    """The least weighted squared error of all cuts of sorted elements into runs, in fractions."""
    order = np.argsort(x, kind="stable")
    pairs = [(Fraction(float(x[i])), Fraction(float(weights[i]))) for i in order]
    best = None
    for cuts in combinations(range(1, len(pairs)), min(clusters, len(pairs)) - 1):
        total = Fraction(0)
        for a, b in zip((0, *cuts), (*cuts, len(pairs)), strict=True):
            w = sum(weight for _, weight in pairs[a:b])
            if w:
                mean = sum(v * weight for v, weight in pairs[a:b]) / w
                total += sum(weight * (v - mean) ** 2 for v, weight in pairs[a:b])
        best = total if best is None else min(best, total)
    return float(best)


@settings(max_examples=40, deadline=None)
@given(
    columns=st.integers(4, 11),
    seed=st.integers(0, 99),
    led=st.booleans(),
    kind=st.sampled_from(("tails", "whole", "far")),
)
def test_books_err_as_little_as_any(columns, seed, led, kind):
    x = tails(2, columns, seed)
    x = np.rint(x * 2) if kind == "whole" else x + 1000 * (kind == "far")
    importance = np.random.default_rng(seed).integers(0, 4, columns) if led else np.ones(columns)
    q = bl.quantize(x, "kmeans2/fp32", importance=importance if led else None)
    got = (importance * (x - q.dequantize("float64")) ** 2).sum(axis=1)
    for row, error in zip(x, got, strict=True):
        expected = least_error(row, importance, 4)
        assert error == pytest.approx(expected, rel=1e-4, abs=1e-6 * float((row**2).max()) * 1e-3)


def test_no_fixed_book_errs_less():
    x = tails(8, 256, 1)

    def errors(text):
        return ((x.astype(np.float64) - bl.quantize(x, text).dequantize("float64")) ** 2).sum(1)

    for bits, others in ((3, ("nf3", "int3", "bitmod_fp3", "fp3_e2m0")), (4, ("nf4", "int4"))):
        own = errors(f"kmeans{bits}/fp32")
        for other in others:
            assert (own <= errors(f"{other}@channel/fp32+mse") * (1 + 1e-6)).all(), other


@pytest.mark.parametrize("shape", ["tensor", "channel", "g24", "b2x16"])
def test_entries_are_counted_and_stored(shape, tmp_path):
    x = tails(6, 48, 2)
    scheme = Scheme.parse(f"kmeans3@{shape}")
    q = bl.quantize(x, scheme)
    groups = {"tensor": 1, "channel": 6, "g24": 12, "b2x16": 9}[shape]
    assert scheme.total_bits(48, 6) == 6 * 48 * 3 + groups * 8 * 16
    assert stored_bytes(scheme, q.layout) * 8 == scheme.total_bits(48, 6)
    assert q.scales.size == groups * 8
    q.save(tmp_path / "q.safetensors")
    back = QuantizedTensor.load(tmp_path / "q.safetensors")
    np.testing.assert_array_equal(back.dequantize(), q.dequantize())
    assert str(back.scheme) == str(scheme)
    books = q.scales.reshape(groups, 8)
    for g, group in enumerate(q.layout.split(q.layout.matrix(x))):
        near = np.abs(group[:, None].astype(np.float64) - books[g]).min(axis=1)
        found = q.layout.split(q.layout.matrix(q.dequantize()))[g]
        np.testing.assert_allclose(np.abs(group - found), near, rtol=1e-6)


def test_rows_stand_alone_and_ends_are_said():
    x = tails(6, 64, 3)
    q = bl.quantize(x, "kmeans4")
    np.testing.assert_array_equal(q[2:4].dequantize(), q.dequantize()[2:4])
    np.testing.assert_array_equal(bl.quantize(x[2:4], "kmeans4").dequantize(), q[2:4].dequantize())
    assert (bl.quantize(np.zeros((2, 5), np.float32), "kmeans2").dequantize() == 0).all()
    assert bl.quantize(np.zeros((0, 5), np.float32), "kmeans2").shape == (0, 5)
    none = bl.quantize(x, "kmeans4", importance=np.zeros(64))
    np.testing.assert_array_equal(none.dequantize(), q.dequantize())
    with pytest.raises(bl.BitlatheError, match="does not fit fp16"):
        bl.quantize(x * 1e6, "kmeans4")
    with pytest.raises(bl.BitlatheError, match="16 entries is larger than the group of 8 "):
        bl.quantize(x[:, :8], "kmeans4")
    with pytest.raises(bl.BitlatheError, match="searches its own range"):
        Scheme.parse("kmeans4+mse")
    with pytest.raises(bl.BitlatheError, match="fp16, bf16 or fp32"):
        Scheme.parse("kmeans4/int8")
    x[1, 3] = np.nan
    spread = bl.quantize(x, "kmeans4", nan="propagate").dequantize()
    assert np.isnan(spread[1]).all()
    assert np.isfinite(spread[[0, 2, 3, 4, 5]]).all()


def test_long_groups_are_learned_from_neighbors(monkeypatch):
    from bitlathe.datatypes.coding import kmeans

    x = tails(1, 3000, 4)
    exact = bl.quantize(x, "kmeans4@tensor/fp32").dequantize("float64")
    monkeypatch.setattr(kmeans, "LONGEST", 1000)
    near = bl.quantize(x, "kmeans4@tensor/fp32").dequantize("float64")
    one, other = (((x - v) ** 2).sum() for v in (exact, near))
    assert one <= other < 1.02 * one
