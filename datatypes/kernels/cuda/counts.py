"""How often each code of a tensor occurs, counted on a GPU."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, attr-defined"

from typing import Any

import numpy as np
from numba import cuda
from numpy.typing import NDArray

from ...base.errors import BitlatheError
from .launch import blocks_for, require_device
from .tiles import Result, Tile, row_ranges, run_tiles, starting, taken

MOST_CODES = 256
THREADS = 256
# enough blocks to fill any device: each adds its counts to all others' once
MOST_BLOCKS = 2048


@cuda.jit
def counts_kernel(codes, counts):
    """Every block counts its share in shared memory, then adds that to the counts."""
    mine = cuda.shared.array(MOST_CODES, np.int32)
    for code in range(cuda.threadIdx.x, MOST_CODES, cuda.blockDim.x):
        mine[code] = 0
    cuda.syncthreads()
    for i in range(cuda.grid(1), codes.size, cuda.gridsize(1)):
        cuda.atomic.add(mine, codes[i], 1)
    cuda.syncthreads()
    for code in range(cuda.threadIdx.x, counts.size, cuda.blockDim.x):
        cuda.atomic.add(counts, code, np.int64(mine[code]))


def code_counts(codes: NDArray[Any], size: int) -> NDArray[np.int64]:
    """Return how often each of (...) codes occurs, as (size,) counts; all codes are below `size`.

    Raises
    ------
    BitlatheError
        If there is no CUDA device, or codes have more than 8 bits.
    """
    require_device()
    if size > MOST_CODES:
        raise BitlatheError(f"device 'cuda': codes of at most 8 bits are counted, got {size} codes")
    counts = np.zeros(size, np.int64)
    if not codes.size:
        return counts
    flat = np.ascontiguousarray(codes.reshape(-1), np.uint8)

    def grid_of(_: tuple[int, ...]) -> tuple[int, int]:
        return min(blocks_for(flat.size, THREADS), MOST_BLOCKS), THREADS

    def add(found: NDArray[np.int64]) -> None:
        counts[:] += found

    parts = row_ranges(flat.size, 0, lambda n: taken([flat[:n], counts]))
    result = Result(counts.shape, counts.dtype, add, zero=True)
    tiles = [Tile((flat[part],), (result,)) for part in parts]
    run_tiles(starting(counts_kernel, grid_of, ()), "r", (flat,), tiles)
    return counts
