"""Schemes of every kind, and weights to quantize in them."""

import numpy as np

SCHEMES = [
    "int4@g128", "int3@tensor", "int8@channel", "int4@input", "int4@b4x16/bf16", "int4_asym@g32",
    "int2_asym@channel/int8", "bitmod_fp3@g128/int8", "bitmod_fp4@g16", "bitmod_fp3_er@g10/int4",
    "ant4@g7", "nf3@g64", "mxfp4", "mxfp6_e3m2", "mxint8/e8m0_rceil", "mx_bitmod_int3", "nvfp4",
    "olive4@g9", "olive3", "olive4+mse",
    "bcq2@g16", "bcq3@g16/fp16", "dgq4@g16", "fp8_e5m2@g16/pot", "fp16",
    "fp4_e2m1@g8/m2", "int4@g16+mse", "int4_asym@g16+mae", "int4@g20+p99", "int4@g20+sigma2.5",
    "bitmod_fp4@g16+paper", "int4_asym@g16+paper", "fp8_e4m3/none", "int4_asym@b3x5/int6",
]  # fmt: skip


def weights(shape, seed=0):
    return (np.random.default_rng(seed).standard_normal(shape) * 0.05).astype(np.float32)
