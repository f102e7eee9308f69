"""Finding a CUDA device, launch sizes, and arrays on the host and on the device."""

from typing import Any

import numpy as np
from numba import config, cuda

from ...base.errors import BitlatheError, to_install
from ...base.numbers import ceil_div

MAX_BLOCKS = 65_535
# 32-bit registers of all threads of a block: CUDA C++ Programming Guide, the table of technical
# specifications, the same for every compute capability from 7.0 on
BLOCK_REGISTERS = 65_536


def device_available() -> bool:
    """Return whether kernels can run: on a CUDA device, or in numba's simulator."""
    return bool(cuda.is_available())  # type: ignore[no-untyped-call]


def require_device() -> None:
    """Check that there is a CUDA device.

    Raises
    ------
    BitlatheError
        If there is none.
    """
    if not device_available():
        raise BitlatheError(
            "device 'cuda': numba finds no CUDA device; use device='cpu', which gives the same "
            "bits, or set NUMBA_ENABLE_CUDASIM=1 to run the kernels in the simulator; a GPU needs "
            f"its driver and a compiler: {to_install('numba-cuda[cu13]', 'cuda')}"
        )


def blocks_for(items: int, threads: int) -> int:
    """Return how many blocks of ``threads`` to launch for ``items``; threads stride over the rest.

    65,535 is the most that every axis of a grid takes (CUDA C++ Programming Guide, table of
    technical specifications per compute capability).
    """
    return min(ceil_div(items, threads), MAX_BLOCKS)


def kernel_of(threads: int) -> Any:
    """Return the decorator of a kernel that is launched with up to ``threads`` a block.

    The compiler gives each thread so few registers that any block of that size can be launched;
    the simulator, which has none, takes no such option.
    """
    if config.ENABLE_CUDASIM:  # type: ignore[attr-defined]
        return cuda.jit
    return cuda.jit(max_registers=BLOCK_REGISTERS // threads)  # type: ignore[no-untyped-call]


def lies_on_device(array: Any) -> bool:
    """Return whether an array is on a device: numba's, or anything with a CUDA array interface."""
    own = getattr(array, "__cuda_ndarray__", False)
    return own or hasattr(_shown(array), "__cuda_array_interface__")


def _shown(array: Any) -> Any:
    """Return an array whose interface may be asked for: torch has none where gradients flow."""
    return array.detach() if getattr(array, "requires_grad", False) else array


def to_device(array: Any) -> Any:
    """Return an array as kernels take it: what lies on a device already is not copied."""
    if getattr(array, "__cuda_ndarray__", False):
        return array
    if lies_on_device(array):
        return cuda.as_cuda_array(_shown(array))  # type: ignore[no-untyped-call]
    return cuda.to_device(np.ascontiguousarray(array))  # type: ignore[no-untyped-call]


def empty(shape: tuple[int, ...], dtype: Any) -> Any:
    """Return an array on the device that holds anything."""
    return cuda.device_array(shape, dtype)  # type: ignore[no-untyped-call]
