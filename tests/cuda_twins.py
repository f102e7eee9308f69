"""What the tests of CUDA twins share: a run in the simulator, and comparison by bits."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bitlathe.datatypes.kernels.cuda.launch import device_available

ROOT = Path(__file__).resolve().parents[1]
SIMULATED = os.environ.get("NUMBA_ENABLE_CUDASIM") == "1"
on_device = pytest.mark.skipif(
    not device_available(), reason="no CUDA device: covered by the run in the simulator"
)


def runs_itself_in_the_simulator(path):
    """Return a test that runs the twins of a file in numba's simulator.

    In a process of its own, because numba reads the switch when it is imported.
    """

    @pytest.mark.skipif(SIMULATED, reason="this is the run in the simulator")
    def test_in_the_simulator():
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", path]
        command += ["-k", "twin or empty"]
        environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1"}
        run = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
        assert " passed" in run.stdout

    return test_in_the_simulator


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
