"""
Which products fill a systolic array
====================================

Utilization of a 32 x 32 array by the rows and columns of a product, K = 512, weights stationary.
"""

import matplotlib.pyplot as plt
import numpy as np

import bitlathe as bl

SIZES = (1, 4, 16, 32, 33, 64, 128, 256)


def utilization(m: int, n: int) -> float:
    """Products done over those that 32 x 32 PEs could have done."""
    return m * n * 512 / bl.sim.systolic(m, n, 512, 32, 32, "ws", "physical").cycles / 1024


filled = np.array([[utilization(m, n) for n in SIZES] for m in SIZES])
figure, axes = plt.subplots(figsize=(6, 4.4), layout="constrained")
image = axes.imshow(filled, origin="lower", cmap="cividis", vmin=0, vmax=1)
axes.set_xticks(range(len(SIZES)), SIZES)
axes.set_yticks(range(len(SIZES)), SIZES)
axes.set(xlabel="n (outputs)", ylabel="m (tokens)")
figure.colorbar(image, label="utilization")
