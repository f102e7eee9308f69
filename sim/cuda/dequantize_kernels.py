"""Grid-table dequantization and product on a GPU, one thread per output, partial sums per group.

The arithmetic is that of `pe.dequantize_kernels`: float64 where a fused multiply-add could differ
from a product and a sum, so that contraction by the compiler changes no bit.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, attr-defined"

import numpy as np
from numba import cuda

from ...datatypes.kernels.cuda.launch import blocks_for, require_device
from ...datatypes.kernels.cuda.tiles import run_product, starting

THREADS = (16, 8)
ROLES = "rchcc"  # of activations, codes, grids, choices, scales; see `product_tiles`


@cuda.jit(device=True)
def one_product(activations, codes, grids, choices, scales, group, m, n):
    """Output of activation row m and weight row n."""
    length = codes.shape[1]
    total = np.float32(0.0)
    for g in range(scales.shape[1]):
        member = choices[n, g]
        partial = np.float32(0.0)
        last = (g + 1) * group if (g + 1) * group < length else length
        for k in range(g * group, last):
            value = np.float64(grids[member, codes[n, k]])
            partial = np.float32(np.float64(partial) + np.float64(activations[m, k]) * value)
        scaled = np.float64(partial) * np.float64(scales[n, g])
        total = np.float32(np.float64(total) + scaled)
    return total


@cuda.jit
def products_kernel(activations, codes, grids, choices, scales, group, out):
    """Thread (n, m): the outputs of its row and column, and of those a whole grid further on."""
    first_n, first_m = cuda.grid(2)
    step_n, step_m = cuda.gridsize(2)
    for m in range(first_m, out.shape[0], step_m):
        for n in range(first_n, out.shape[1], step_n):
            out[m, n] = one_product(activations, codes, grids, choices, scales, group, m, n)


def products(activations, codes, grids, choices, scales, group, out, threads=THREADS):
    """Run `products_kernel` on host arrays; the arguments are those of the numba kernel.

    Raises
    ------
    BitlatheError
        If there is no CUDA device.
    """
    if out.size == 0 or codes.shape[1] == 0:
        require_device()
        out[:] = 0
        return

    def grid_of(shape):
        """Return blocks and threads for an output."""
        return (blocks_for(shape[1], threads[0]), blocks_for(shape[0], threads[1])), threads

    inputs = (activations, codes, grids, choices, scales)
    run_product(starting(products_kernel, grid_of, (group,)), ROLES, inputs, out)
