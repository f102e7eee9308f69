"""Finding a CUDA device, launch sizes, and one way to run a kernel on host or device arrays."""

import os
from collections.abc import Callable, Collection, Sequence
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
    return own or hasattr(array, "__cuda_array_interface__")


def to_device(array: Any) -> Any:
    """Return an array as kernels take it: what lies on a device already is not copied."""
    if getattr(array, "__cuda_ndarray__", False):
        return array
    if lies_on_device(array):
        return cuda.as_cuda_array(array)  # type: ignore[no-untyped-call]
    return cuda.to_device(np.ascontiguousarray(array))  # type: ignore[no-untyped-call]


def empty(shape: tuple[int, ...], dtype: Any) -> Any:
    """Return an array on the device that holds anything."""
    return cuda.device_array(shape, dtype)  # type: ignore[no-untyped-call]


def run(
    kernel: Any,
    grid: tuple[Any, Any],
    inputs: Sequence[Any],
    scalars: Sequence[Any],
    outputs: Sequence[Any],
) -> None:
    """Call ``kernel(*inputs, *scalars, *outputs)`` on a grid of (blocks, threads).

    Parameters
    ----------
    kernel : CUDA kernel
    grid : (blocks, threads)
        Each a number, or a tuple of one for each axis.
    inputs : sequence of array
        On the host, or on the device.
    scalars : sequence
        Handed over as they are.
    outputs : sequence of (...) array
        On the host, or on the device, where they stay. The kernel starts from what they hold, and
        they get what it leaves.

    Raises
    ------
    BitlatheError
        If there is no CUDA device.
    """
    require_device()
    arrays = [to_device(each) for each in inputs]
    results = [to_device(each) for each in outputs]
    kernel[grid](*arrays, *scalars, *results)
    for given, device in zip(outputs, results, strict=True):
        if not lies_on_device(given):
            device.copy_to_host(given)


def memory_limit() -> int:
    """Return how many bytes the operands and results of a product may take on the device.

    1,024 MiB, or ``BITLATHE_CUDA_MIB``.

    Raises
    ------
    BitlatheError
        The variable is not a number of MiB.
    """
    text = os.environ.get("BITLATHE_CUDA_MIB", "1024")
    if not (text.isdecimal() and int(text)):
        raise BitlatheError(
            f"BITLATHE_CUDA_MIB={text!r}: a whole number of MiB, 1 or more, is right"
        )
    return int(text) << 20


def run_in_tiles(
    kernel: Any,
    grid_of: Callable[[tuple[int, int]], tuple[Any, Any]],
    inputs: Sequence[Any],
    by_column: Collection[int],
    scalars: Sequence[Any],
    out: Any,
) -> None:
    """Run a kernel of products for so many columns at a time as `memory_limit` allows.

    Parameters
    ----------
    kernel : CUDA kernel
        Writes all of its output, whose column n needs only row n of some inputs.
    grid_of : callable
        From the shape of an output to (blocks, threads).
    inputs : sequence of (...) array
    by_column : collection of int
        Those of the inputs that have a row for each column of the output; the others are copied
        to the device once.
    scalars : sequence
    out : (M, N) ndarray
        On the host.

    Raises
    ------
    BitlatheError
        There is no CUDA device, or one column does not fit.
    """
    require_device()
    rows, columns = out.shape
    whole = sum(each.nbytes for n, each in enumerate(inputs) if n not in by_column)
    column = rows * out.itemsize + sum(inputs[n][:1].nbytes for n in by_column)
    limit = memory_limit()
    step = (limit - whole) // column
    if step < 1:
        raise BitlatheError(
            f"device 'cuda': the activations and one row of weights take {whole + column:,} bytes, "
            f"more than the {limit:,} allowed; give fewer activations at a time, or set "
            "BITLATHE_CUDA_MIB to more MiB"
        )
    if step >= columns:
        run(kernel, grid_of(out.shape), inputs, scalars, (out,))
        return
    held = [each if n in by_column else to_device(each) for n, each in enumerate(inputs)]
    for first in range(0, columns, step):
        tile = slice(first, min(first + step, columns))
        part = np.zeros((rows, tile.stop - first), out.dtype)
        given = [each[tile] if n in by_column else each for n, each in enumerate(held)]
        run(kernel, grid_of(part.shape), given, scalars, (part,))
        out[:, tile] = part
