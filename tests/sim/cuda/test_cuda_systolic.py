"""Systolic arrays on CUDA against the numba kernels: results, clocks and every count."""

from dataclasses import fields

import numpy as np
import pytest

from bitlathe.arch.pe import AntPE, FpMacPE, IntMacPE, OlivePE
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.sim.array.systolic.stack import simulate_stack
from cuda_twins import on_device


def assert_twins(a, b, rows, cols, dataflow, **options):
    host = simulate_stack(a, b, rows, cols, dataflow, **options)
    device = simulate_stack(a, b, rows, cols, dataflow, device="cuda", **options)
    assert len(host) == len(device) == len(a)
    for one, other in zip(host, device, strict=True):
        assert one.outputs.dtype == other.outputs.dtype
        np.testing.assert_array_equal(one.outputs, other.outputs)
        for field in fields(one):
            if field.name != "outputs":
                assert getattr(one, field.name) == getattr(other, field.name), field.name


def stacks(seed, tiles, m, k, n, low=-128, high=128):
    rng = np.random.default_rng(seed)
    return rng.integers(low, high, (tiles, m, k)), rng.integers(low, high, (tiles, k, n))


@on_device
@pytest.mark.parametrize("dataflow", ["ws", "os", "is"])
@pytest.mark.parametrize(
    ("m", "k", "n", "rows", "cols"), [(3, 3, 4, 2, 3), (3, 2, 4, 4, 4), (1, 4, 3, 3, 2)]
)
@pytest.mark.parametrize("spare", [False, True])
def test_array_twin(dataflow, m, k, n, rows, cols, spare):
    """Folds in both directions, arrays partly used; with and without second registers."""
    assert_twins(*stacks(1, 2, m, k, n), rows, cols, dataflow, drain_register=spare,
                 double_buffered_operand=spare, accumulator_buffer=not spare)  # fmt: skip


@on_device
@pytest.mark.parametrize("dataflow", ["ws", "os"])
@pytest.mark.parametrize("overflow", ["wrap", "saturate"])
def test_narrow_accumulator_twin(dataflow, overflow):
    """Four products of at least 100 * 100 are more than 16 bits hold."""
    pe = IntMacPE(accumulator_bits=16, overflow=overflow)
    assert_twins(*stacks(2, 2, 2, 4, 3, 100), 2, 2, dataflow, pe=pe)


@on_device
@pytest.mark.parametrize("pe", [AntPE(), OlivePE()])
def test_decoder_twin(pe):
    a, codes = stacks(3, 1, 3, 4, 3, 0, 8)
    assert_twins(a, codes, 2, 3, "ws", pe=pe)


@on_device
def test_more_tiles_than_blocks_twin(monkeypatch):
    from bitlathe.datatypes.kernels.cuda import launch

    monkeypatch.setattr(launch, "MAX_BLOCKS", 2)
    for dataflow in ("ws", "os"):
        assert_twins(*stacks(4, 5, 2, 2, 3), 2, 2, dataflow)


@on_device
def test_empty_stack():
    assert simulate_stack(np.zeros((0, 2, 3), int), np.zeros((0, 3, 2), int), 2, 2) == []


@on_device
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rows": 64, "cols": 64}, "64 x 64 PEs is too large"),
        ({"a": [[[1 << 40]]]}, "up to 32 bits"),
        ({"pe": FpMacPE()}, "take integers"),
    ],
)
def test_what_the_twin_refuses(change, words):
    good = {"a": [[[1]]], "b": [[[1]]], "rows": 2, "cols": 2, "device": "cuda"}
    with pytest.raises(BitlatheError, match=words):
        simulate_stack(**(good | change))


def test_stacks_of_different_length_are_refused():
    with pytest.raises(BitlatheError, match="are needed, got"):
        simulate_stack(np.zeros((2, 1, 1), int), np.zeros((1, 1, 1), int), 2, 2)
