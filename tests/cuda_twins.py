"""What the tests of CUDA twins share: when they run, and comparison by bits."""

import os
from pathlib import Path

import numpy as np
import pytest

from bitlathe.datatypes.kernels.cuda.launch import device_available

ROOT = Path(__file__).resolve().parents[1]
SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
if SIMULATED:
    import cuda_simulator

    cuda_simulator.install()
on_device = pytest.mark.skipif(
    not device_available(),
    reason="no CUDA device: test_cuda_simulated.py runs it with NUMBA_ENABLE_CUDASIM=1",
)


def few_slots(monkeypatch):
    """Let blocks of the simulator take two groups in place of sixteen; a device compiles that."""
    if SIMULATED:
        from bitlathe.datatypes.kernels.cuda import group_kernels

        monkeypatch.setattr(group_kernels, "SLOTS", 2)


def bits(array):
    """Return numbers as the integers of their bits."""
    array = np.ascontiguousarray(array)
    return array.view(np.dtype(f"u{array.dtype.itemsize}"))


def assert_same(function, *arguments, **keywords):
    """Check that a function gives the same types and the same bits on both devices."""
    host = function(*arguments, **keywords)
    device = function(*arguments, device="cuda", **keywords)
    pairs = zip(host, device, strict=True) if isinstance(host, tuple) else ((host, device),)
    for one, other in pairs:
        assert np.asarray(one).dtype == np.asarray(other).dtype
        np.testing.assert_array_equal(bits(one), bits(other))


class OnDevice:
    """Stands for a tensor of torch on the device: the interface, its shape, and no values."""

    def __init__(self, array):
        self.array, self.shape = array, array.shape
        self.__cuda_array_interface__ = array.__array_interface__

    def reshape(self, shape):
        return OnDevice(self.array.reshape(shape))

    def __array__(self, *_, **__):
        raise AssertionError("copied to the host")

    def __getitem__(self, place):
        return OnDevice(self.array[place])


def take_by_interface(monkeypatch):
    """Let the simulator take `OnDevice` by its interface, as a device does."""
    if SIMULATED:
        from numba import cuda
        from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

        monkeypatch.setattr(cuda, "as_cuda_array", lambda given: FakeCUDAArray(given.array),
                            raising=False)  # fmt: skip
