"""Kernel of the grid-table product: look the value up, multiply, one partial sum per group."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

import numpy as np

from ...datatypes.base.compiled import compiled


@compiled
def products(activations, codes, grids, choices, scales, group, out):
    """``out[m, n] = sum over groups of scale * sum over the group of a * grid[choice][code]``.

    Partial sums and the total are float32; products enter each addition unrounded, through
    float64, so that hardware with and without fused multiply-add gives the same bits.
    """
    length = codes.shape[1]
    for m in range(activations.shape[0]):
        for n in range(codes.shape[0]):
            total = np.float32(0.0)
            for g in range(scales.shape[1]):
                grid = grids[np.int64(choices[n, g])]
                partial = np.float32(0.0)
                for k in range(g * group, min((g + 1) * group, length)):
                    product = np.float64(activations[m, k]) * np.float64(
                        grid[np.int64(codes[n, k])]
                    )
                    partial = np.float32(np.float64(partial) + product)
                scaled = np.float64(partial) * np.float64(scales[n, g])
                total = np.float32(np.float64(total) + scaled)
            out[m, n] = total
