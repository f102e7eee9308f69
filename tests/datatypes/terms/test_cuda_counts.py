"""Counting of codes and their terms on CUDA against numpy's."""

import numpy as np
import pytest

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.formats import catalogue
from bitlathe.datatypes.terms.statistics import code_counts, term_statistics
from bitlathe.datatypes.terms.table import term_table
from cuda_twins import on_device


@pytest.fixture
def few_blocks(monkeypatch):
    """Blocks that each count several shares."""
    from bitlathe.datatypes.kernels.cuda import counts

    monkeypatch.setattr(counts, "MOST_BLOCKS", 3)
    monkeypatch.setattr(counts, "THREADS", 8)
    return counts


@on_device
@pytest.mark.parametrize("size", [1, 16, 256])
def test_counts_twin(few_blocks, size):
    codes = np.random.default_rng(size).integers(0, size, (7, 31), np.uint8)
    found = few_blocks.code_counts(codes, size)
    np.testing.assert_array_equal(found, code_counts(codes, size))
    assert found.sum() == 217


@on_device
@pytest.mark.usefixtures("few_blocks")
@pytest.mark.parametrize("name", ["int8", "fp4_e2m1"])
def test_statistics_twin(name):
    fmt = catalogue.single(name)
    table = term_table(fmt.values, fmt.bits)
    codes = np.random.default_rng(1).choice(np.flatnonzero(table.valid), (5, 50))
    assert term_statistics(table, codes, device="cuda") == term_statistics(table, codes)


@on_device
def test_more_than_8_bits_twin(few_blocks):
    assert few_blocks.code_counts(np.zeros(0, np.uint8), 4).tolist() == [0] * 4
    with pytest.raises(BitlatheError, match="at most 8 bits"):
        few_blocks.code_counts(np.zeros(3, int), 512)


def test_an_unknown_device_is_told():
    table = term_table(np.arange(4.0), 2)
    with pytest.raises(BitlatheError, match="device 'gpu'"):
        term_statistics(table, [1], device="gpu")
