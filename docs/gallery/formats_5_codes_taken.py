"""
Which codes are taken
=====================

A format is used well if its codes are taken about equally often. `.plot()` of a tensor draws it.
"""

import matplotlib.pyplot as plt
import numpy as np

import bitlathe as bl

weights = np.random.default_rng(0).standard_normal((64, 1024))
figure, axes = plt.subplots(1, 3, figsize=(9, 2.8), sharey=True, layout="constrained")
for name, where in zip(("int4@g128", "fp4_e2m1@g128", "nf4@g128"), axes, strict=True):
    bl.quantize(weights, name).plot(where)
for where in axes[1:]:
    where.set_ylabel("")
