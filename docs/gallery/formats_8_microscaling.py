"""
Block formats and their scales
==============================

MXFP4 has powers of two as scales, NVFP4 eight-bit floats over one float of the tensor. The price of
a coarse scale is seen best where magnitudes vary little: over one octave of the largest weight.
"""

import matplotlib.pyplot as plt
import numpy as np

import bitlathe as bl

base = np.random.default_rng(0).standard_normal((32, 512))
factors = 2.0 ** np.linspace(0, 1, 17)
figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
for name, mark in (("mxfp4", "o-"), ("nvfp4", "s-"), ("fp4_e2m1@g32", "^-")):
    errors = []
    for factor in factors:
        x = base * factor
        errors.append(np.square(np.asarray(bl.quantize(x, name)) - x).sum() / np.square(x).sum())
    axes.plot(factors, errors, mark, markersize=4, label=name)
axes.set(xlabel="weights times", ylabel="relative squared error", ylim=(0, None))
axes.legend(frameon=False)
