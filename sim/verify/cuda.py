"""The CUDA kernels on a device, or in numba's simulator in a process of its own."""

import os
import pickle
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from ...datatypes.base.errors import BitlatheError
from ...datatypes.kernels.cuda.launch import device_available, require_device
from .dots import DOTS, Array, Operands

Job = tuple[Any, Any, Operands]
"""PE, weight format, operands."""

CHILD = "from bitlathe.sim.verify.cuda import serve; serve()"


def _results(jobs: Sequence[Job]) -> list[tuple[Array, ...]]:
    return [DOTS[pe.kind].run(pe, weight, operands, "cuda") for pe, weight, operands in jobs]


def serve() -> None:
    """Take pickled jobs on the input, put pickled results on the output."""
    pickle.dump(_results(pickle.load(sys.stdin.buffer)), sys.stdout.buffer)


def on_device(device: str | None) -> bool:
    """Return whether the kernels run on a device: ``cuda``, ``cpu``, or None for what is here.

    Raises
    ------
    BitlatheError
        The name is another, or there is no device.
    """
    if device not in (None, "cpu", "cuda"):
        raise BitlatheError(f"device {device!r}: 'cpu' (numba's simulator) or 'cuda' is right")
    if device == "cuda":
        require_device()
    return device_available() if device is None else device == "cuda"


def cuda_name(device: str | None = None) -> str:
    """Return what the kernels run on here, in words."""
    return "cuda (device)" if on_device(device) else "cuda (simulator)"


def cuda_results(jobs: Sequence[Job], device: str | None = None) -> list[tuple[Array, ...]]:
    """Return the results of dot products by the CUDA kernels.

    Parameters
    ----------
    jobs : sequence of (PEKind, format, operands)
        Operands as `dots.DOTS` makes them.
    device : str, optional
        ``cuda``: a GPU; ``cpu``: numba's simulator; by default a GPU where there is one.

    Returns
    -------
    list of tuple of (n,) ndarray

    Raises
    ------
    BitlatheError
        There is no GPU, or the simulator's process fails; the end of what it says is quoted.
    """
    if on_device(device):
        return _results(jobs)
    environment = os.environ | {"NUMBA_ENABLE_CUDASIM": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=pickle.dumps(list(jobs)),
        env=environment,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        tail = done.stderr.decode(errors="replace").strip().splitlines()[-3:]
        raise BitlatheError("numba's CUDA simulator failed:\n" + "\n".join(tail))
    found: list[tuple[Array, ...]] = pickle.loads(done.stdout)
    return found
