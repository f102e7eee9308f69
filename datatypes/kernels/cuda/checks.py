"""Checks of what lies on the device: kernels that find the first wrong element of a matrix.

Each kernel leaves in ``found`` how far from the end the first wrong element is, 0 for none.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, attr-defined"

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from .launch import blocks_for
from .tiles import Result, Tile, run_tiles

THREADS = 256
LARGEST = float(np.finfo(np.float32).max)


@cuda.jit
def floats_kernel(values, largest, found):
    """Find the first float32 that is infinite or NaN."""
    across = values.shape[1]
    for i in range(cuda.grid(1), values.size, cuda.gridsize(1)):
        value = np.float64(values[i // across, i % across])
        if not (value >= -largest and value <= largest):
            cuda.atomic.max(found, 0, np.int64(values.size - i))


def first(
    kernel: Any,
    size: int,
    inputs: Sequence[Any],
    scalars: Sequence[int | float],
    made: Sequence[Any] = (),
) -> int | None:
    """Return the first of ``size`` elements that a kernel finds wrong, or None."""
    if not size:
        return None
    left = np.zeros(1, np.int64)

    def take(found: NDArray[Any]) -> None:
        left[:] = found

    def start(given: list[Any], results: list[Any], stream: Any) -> None:
        grid = blocks_for(size, THREADS), THREADS
        kernel[(*grid, stream)](*given, *scalars, *made, *results)

    tile = Tile(tuple(inputs), (Result(left.shape, left.dtype, take, zero=True),))
    run_tiles(start, "r" * len(tile.inputs), inputs, [tile])
    return size - int(left[0]) if left[0] else None


def first_infinite(array: Any) -> int | None:
    """Return the first infinity or NaN of a matrix of float32 on the device, or None."""
    return first(floats_kernel, array.size, (array,), (LARGEST,))
