"""Grid-table dequantisation and product on a GPU, one thread per output, partial sums per group.

The arithmetic is that of `pe.dequantise_kernels`: float64 where a fused multiply-add could differ
from a product and a sum, so that contraction by the compiler changes no bit.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, attr-defined"

import numpy as np
from numba import cuda

from .launch import blocks_for, require_device

THREADS = (16, 8)


@cuda.jit
def products_kernel(activations, codes, grids, choices, scales, group, out):
    """Thread (n, m): output of activation row m and weight row n."""
    n, m = cuda.grid(2)
    if m >= activations.shape[0] or n >= codes.shape[0]:
        return
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
    out[m, n] = total


def products(activations, codes, grids, choices, scales, group, out, threads=THREADS):
    """Run `products_kernel` on host arrays; the arguments are those of the numba kernel.

    Raises
    ------
    BitlatheError
        If there is no CUDA device.
    """
    require_device()
    if out.size == 0:
        return
    if codes.shape[1] == 0:
        out[:] = 0
        return
    inputs = [
        cuda.to_device(np.ascontiguousarray(a))
        for a in (activations, codes, grids, choices, scales)
    ]
    result = cuda.to_device(np.zeros(out.shape, dtype=np.float32))
    blocks = (blocks_for(out.shape[1], threads[0]), blocks_for(out.shape[0], threads[1]))
    products_kernel[blocks, threads](*inputs, group, result)
    result.copy_to_host(out)
