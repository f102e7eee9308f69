"""N of M: what is kept, by a search of all choices; bits counted are bytes stored; bad input."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bitlathe as bl
from bitlathe.datatypes.sparse import Pattern, SparseTensor, quantize_sparse
from bitlathe.datatypes.tensors.store import checksum
from bitlathe.datatypes.weights.safetensors_file import Stored, read_stored, write_stored


def matrix(rows=6, columns=64, seed=0):
    return np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(0, 5), st.integers(1, 5), st.integers(0, 99), st.booleans())
def test_what_is_kept_is_the_best_of_all_choices(kept, more, blocks, seed, weighted):
    of = max(kept + more, 2)
    x = np.random.default_rng(seed).integers(-9, 10, (2, blocks * of)) / 4
    weight = np.random.default_rng(seed).integers(0, 4, blocks * of) ** 2.0
    q = quantize_sparse(x, "fp32", f"{kept}:{of}", importance=weight if weighted else None)
    cost = x**2 * (weight if weighted else 1)
    found = q.dequantize()
    assert np.array_equal(found[found != 0], x[found != 0])
    lost = np.where(found == x, 0, cost).reshape(2, blocks, of).sum(-1)
    each = cost.reshape(2, blocks, of)
    choices = combinations(range(of), kept)
    most = np.max([each[..., list(choice)].sum(-1) for choice in choices], axis=0)
    np.testing.assert_allclose(lost, each.sum(-1) - most, atol=1e-12)
    assert (np.diff(q.places.reshape(2, blocks, kept).astype(int)) > 0).all()


@pytest.mark.parametrize("scheme", ["int4@g16", "nvfp4", "bitmod_fp4@g16", "ternary", "q4_0"])
@pytest.mark.parametrize("pattern", ["2:4", "1:2", "4:8", "3:32", "2:2"])
def test_bits_counted_are_bytes_stored(tmp_path, scheme, pattern):
    x = matrix(4, 256)
    q = quantize_sparse(x, scheme, pattern)
    n, m = map(int, pattern.split(":"))
    places = q.places.reshape(4, -1, n).astype(int)
    kept = np.take_along_axis(x.reshape(4, -1, m), places, -1).reshape(4, -1)
    own = bl.quantize(kept, scheme)
    assert np.array_equal(q.kept.codes, own.codes)
    assert q.total_bits == own.total_bits + own.size * (m - 1).bit_length()
    assert q.bits_per_element == q.total_bits / x.size
    q.save(tmp_path / "q.safetensors")
    back = SparseTensor.load(tmp_path / "q.safetensors")
    assert back.shape == x.shape
    assert np.array_equal(np.asarray(back), q.dequantize())
    assert 0 <= 8 * q.nbytes - q.total_bits < 8 * 5


def test_int4_and_two_of_four_take_three_bits_and_a_scale():
    q = quantize_sparse(matrix(8, 256), "int4@g64")
    assert q.bits_per_element == (4 + 2) / 2 + 16 / 64 / 2
    dense = bl.quantize(matrix(8, 256), "int3@g128")
    assert q.bits_per_element == dense.bits_per_element
    for shape in ((0, 8), (3, 0)):
        empty = quantize_sparse(np.zeros(shape), "int4")
        assert (empty.dequantize().shape, empty.total_bits) == (shape, 0)
    assert quantize_sparse(matrix().reshape(2, 3, 64), "int4@g8").dequantize().shape == (2, 3, 64)


def test_what_cannot_be_is_said(tmp_path):
    x = matrix()
    for call, said in (
        (lambda: quantize_sparse(x, "int4", "2-4"), "pattern '2-4': write N:M, such as 2:4"),
        (lambda: quantize_sparse(x, "int4", "5:4"), "pattern: N must be|pattern: N"),
        (lambda: quantize_sparse(x, "int4", "1:999"), "pattern: M"),
        (lambda: Pattern(kept=0, of=4), "pattern: N"),
        (lambda: quantize_sparse(x[:, :6], "int4"), r"whole blocks of 4, got shape \(6, 6\)"),
        (lambda: quantize_sparse(1.0, "int4"), r"whole blocks of 4, got shape \(\)"),
        (lambda: quantize_sparse(x, "int4", axis=0), "axis is of whole tensors; leave it out"),
        (lambda: quantize_sparse(x, "int4", importance=[1]), "64 finite weights >= 0 are needed"),
        (lambda: quantize_sparse(x * np.nan, "int4"), "nan|NaN"),
    ):
        with pytest.raises(bl.BitlatheError, match=said):
            call()
    bl.quantize(x, "int4").save(tmp_path / "dense.safetensors")
    with pytest.raises(bl.BitlatheError, match="not a sparse tensor of this version"):
        SparseTensor.load(tmp_path / "dense.safetensors")


@pytest.mark.parametrize(
    ("facts", "places", "said"),
    [
        ({"pattern": "3:4"}, None, r"3:4 keeps whole blocks of 3, not of shape \(2, 4\)"),
        ({"pattern": "2:3"}, [0b11_10_01_00] * 2, "places are not ascending, below 3 in each"),
        ({}, [0, 0], "places are not ascending, below 4 in each block"),
        ({"pattern": "x"}, None, "pattern 'x': write N:M"),
        ({"kept": "{"}, None, "damaged: Expecting property name"),
    ],
)
def test_a_file_that_another_program_made_is_checked(tmp_path, facts, places, said):
    file = tmp_path / "q.safetensors"
    quantize_sparse(matrix(2, 8), "int4").save(file)
    stored, own = read_stored(file)
    arrays = {name: part.values for name, part in stored.items()}
    if places is not None:
        arrays["places"] = np.array(places, np.uint8)
    told = {**own, **facts}
    del told["sha256"]
    told["sha256"] = checksum(told, arrays)
    write_stored({name: Stored.of(a) for name, a in arrays.items()}, told, file)
    with pytest.raises(bl.BitlatheError, match=said):
        SparseTensor.load(file)


def test_it_is_shown_in_a_line():
    said = "SparseTensor('int4@channel', '2:4', shape=(2000, 4000), 3.004 bits per element)"
    assert repr(quantize_sparse(np.ones((2000, 4000), np.float16), "int4")) == said
