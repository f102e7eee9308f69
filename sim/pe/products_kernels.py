"""Kernels of products of quantized operands: dual grain, blocks with scales on both sides."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

import numpy as np

from ...datatypes.base.compiled import compiled


@compiled
def dual_grain_products(activations, codes, zeros, steps, group, out):
    """``out[m, n] = sum over k of a[m, k] * ((code - zero) * step)[n, k]``, in integers."""
    for n in range(codes.shape[0]):
        weights = np.zeros(codes.shape[1], np.int64)
        for k in range(codes.shape[1]):
            code, zero = np.int64(codes[n, k]), np.int64(zeros[n, k // group])
            weights[k] = (code - zero) * np.int64(steps[n, k // group])
        for m in range(activations.shape[0]):
            total = np.int64(0)
            for k in range(codes.shape[1]):
                total += np.int64(activations[m, k]) * weights[k]
            out[m, n] = total


@compiled
def scaled_products(activations, act_scales, weights, scales, group, out):
    """``out = sum over groups of (sum over the group of a * w) * act_scale * scale``.

    Sums are float32; each takes its product unrounded, through float64. The scale of the
    activations multiplies the group's sum first and is rounded to float32.
    """
    length = weights.shape[1]
    for m in range(activations.shape[0]):
        for n in range(weights.shape[0]):
            total = np.float32(0.0)
            for g in range(scales.shape[1]):
                partial = np.float32(0.0)
                for k in range(g * group, min((g + 1) * group, length)):
                    product = np.float64(activations[m, k]) * np.float64(weights[n, k])
                    partial = np.float32(np.float64(partial) + product)
                scaled = np.float32(np.float64(partial) * np.float64(act_scales[m, g]))
                product = np.float64(scaled) * np.float64(scales[n, g])
                total = np.float32(np.float64(total) + product)
            out[m, n] = total
