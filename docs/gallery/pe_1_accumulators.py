"""
What a PE's arithmetic adds
===========================

Dot products of 128 FP16 activations and INT8 weights in a bit-serial PE, by how it aligns and
rounds, against exact sums.
"""

import matplotlib.pyplot as plt
import numpy as np

import bitlathe as bl

rng = np.random.default_rng(0)
figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
found = {"exact": [], "aligned": [], "hpca25": []}
for _ in range(150):
    activations = rng.standard_normal(128).astype("float16")
    weights = rng.integers(-127, 128, 128)
    size = np.abs(activations.astype(float) * weights).sum()
    exact = activations.astype(float) @ weights
    for name, errors in found.items():
        value = bl.sim.bitserial_dot(activations, weights, format="int8", numerics=name)[2]
        errors.append(max(abs(float(value) - exact) / size, 1e-9))
axes.boxplot(list(found.values()), tick_labels=list(found), orientation="horizontal")
axes.set(xscale="log", xlabel="error / sum of magnitudes (1e-9: none)")
