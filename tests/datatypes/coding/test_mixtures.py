"""Mixtures of many codebooks: no compiling for each, no limit but that of a byte."""

import numpy as np
import pytest

import bitlathe as bl
from bitlathe.datatypes.coding import job as coding
from bitlathe.datatypes.formats.constructors import codebook
from bitlathe.datatypes.formats.format import Mixture
from bitlathe.datatypes.kernels.grids.codebook import given_kernel, search_kernel, single_kernel
from bitlathe.datatypes.quantize import quantize
from bitlathe.datatypes.schemes.scheme import Scheme
from bitlathe.datatypes.tensors.tensor import QuantizedTensor


def mixture(count, seed=0):
    rng = np.random.default_rng(seed)
    # of about the same spread, so that many are the best of some group
    books = (
        codebook(f"book{i}", np.linspace(-1, 1, 16) ** 3 + 0.2 * rng.standard_normal(16))
        for i in range(count)
    )
    return Mixture(name=f"many{count}", formats=tuple(books))


def tensor(rows, columns):
    return np.random.default_rng(1).standard_normal((rows, columns)).astype(np.float32)


def compiled_kernels():
    return [k.cache_info().currsize for k in (search_kernel, single_kernel, given_kernel)]


@pytest.mark.parametrize("search", ["numpy", "compiled"])
@pytest.mark.parametrize(
    ("granularity", "scale"), [("g64", "fp16"), ("g50", "fp32"), ("g32", "int8")]
)
def test_every_group_takes_the_book_of_least_error(granularity, scale, search, monkeypatch):
    monkeypatch.setattr(coding, "SEARCH_MIN", 0 if search == "compiled" else 1 << 60)
    x, many = tensor(8, 256), mixture(24)
    q = quantize(x, Scheme.of(many, granularity, scale))
    # under scales of a row members are compared under the real scale
    alone = "fp32" if scale == "int8" else scale
    size = q.layout.block_columns
    errors = []
    for fmt in many.formats:
        off = (x - quantize(x, Scheme.of(fmt, granularity, alone)).dequantize()).astype(np.float64)
        padded = np.pad(off, ((0, 0), (0, q.layout.across * size - 256)))
        errors.append((padded.reshape(8, -1, size) ** 2).sum(axis=2))
    np.testing.assert_array_equal(q.choices, np.argmin(errors, axis=0))
    assert len(np.unique(q.choices)) > 5


@pytest.mark.parametrize("granularity", ["g64", "channel"])
def test_many_books_are_searched_without_a_kernel_of_their_own(granularity, tmp_path):
    before = compiled_kernels()
    x = tensor(256, 1024)
    q = quantize(x, Scheme.of(mixture(64), granularity, "fp16"))
    assert compiled_kernels() == before
    assert q.bits_per_element == 4 + (16 + 6) / q.layout.block_columns
    # the same by rows, which are too few for the compiled path
    for part in (slice(0, 7), slice(250, 256)):
        few = quantize(x[part], q.scheme)
        np.testing.assert_array_equal(few.codes, q.codes[part])
        np.testing.assert_array_equal(few.choices, q.choices[part])
    q.save(tmp_path / "q.safetensors")
    back = QuantizedTensor.load(tmp_path / "q.safetensors")
    assert back.dequantize().tobytes() == q.dequantize().tobytes()


def test_a_group_names_its_member_in_a_byte():
    many = mixture(256)
    assert many.selector_bits == 8
    x = tensor(4, 64)
    assert quantize(x, Scheme.of(many, "g16", "fp32")).choices.max() > 15
    with pytest.raises(bl.BitlatheError, match="257 members, must be at most 256"):
        mixture(257)
