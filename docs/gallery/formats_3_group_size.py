"""
What small groups cost, and bring
=================================

Each group has a scale of its own: small ones fit the weights better and store more scales. From
right to left: groups of 16, 32, 64, 128, 256 and 512.
"""

import matplotlib.pyplot as plt
import numpy as np

import bitlathe as bl

GROUPS = (16, 32, 64, 128, 256, 512)
weights = np.random.default_rng(0).standard_t(5, (64, 2048)).astype("float32")
figure, axes = plt.subplots(figsize=(7, 3.6), layout="constrained")
for fmt, mark in (("int4", "o"), ("fp4_e2m1", "s"), ("nf4", "^")):
    tensors = [bl.quantize(weights, f"{fmt}@g{size}") for size in GROUPS]
    bits = [float(tensor.bits_per_element) for tensor in tensors]
    errors = np.array([np.square(np.asarray(tensor) - weights).sum() for tensor in tensors])
    errors /= np.square(weights).sum()
    axes.plot(bits, errors, mark + "-", label=fmt)
axes.set(xlabel="stored bits per element", ylabel="relative squared error")
axes.legend(frameon=False)
