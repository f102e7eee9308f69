"""
Error against stored bits
=========================

Schemes on Gaussian weights: all that is stored counts, scales and selectors too. Down and left is
better.
"""

import matplotlib.pyplot as plt
import numpy as np

import bitlathe as bl

SCHEMES = (
    "int3_asym@g128",
    "int4_asym@g128",
    "int4@g32",
    "nf4@g64",
    "mxfp4",
    "nvfp4",
    "bitmod_fp3@g128/int8",
    "bitmod_fp4@g128/int8",
    "int6@g128",
    "fp6_e2m3@g128",
)
weights = np.random.default_rng(0).standard_normal((128, 1024)).astype("float32")
figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
for name, mark in zip(SCHEMES, "osD^v<>P*X", strict=True):
    tensor = bl.quantize(weights, name)
    error = np.square(np.asarray(tensor) - weights).mean() / np.square(weights).mean()
    axes.plot(float(tensor.bits_per_element), error, mark, fillstyle="none", ms=8, label=name)
axes.set(yscale="log", xlabel="stored bits per element", ylabel="relative squared error")
axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
