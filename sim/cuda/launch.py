"""Finding a CUDA device, and launch sizes."""

from ...datatypes.base.errors import BitlatheError
from ...datatypes.base.numbers import ceil_div

MAX_BLOCKS = 65_535


def device_available() -> bool:
    """Return whether kernels can run: on a CUDA device, or in numba's simulator."""
    from numba import cuda

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
            "bits, or set NUMBA_ENABLE_CUDASIM=1 to run the kernels in the simulator"
        )


def blocks_for(items: int, threads: int) -> int:
    """Return how many blocks of ``threads`` to launch for ``items``; threads stride over the rest.

    65,535 is the most that every axis of a grid takes (CUDA C++ Programming Guide, table of
    technical specifications per compute capability).
    """
    return min(ceil_div(items, threads), MAX_BLOCKS)
