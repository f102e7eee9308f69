"""
Outliers and the range of a scale
=================================

The heavier the tails, the more a scale by the largest magnitude wastes. A searched range (`+mse`)
cuts the tails instead. Student's t: few degrees of freedom, heavy tails.
"""

import matplotlib.pyplot as plt
import numpy as np

import bitlathe as bl

FREEDOM = (3, 4, 5, 8, 16, 64)
rng = np.random.default_rng(0)
figure, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
samples = [rng.standard_t(degrees, (32, 1024)).astype("float32") for degrees in FREEDOM]
for name, style in (("int4@g128", "o-"), ("int4@g128+mse", "s--"), ("nf4@g128", "^-")):
    errors = [
        np.square(np.asarray(bl.quantize(x, name)) - x).sum() / np.square(x).sum() for x in samples
    ]
    axes.plot(FREEDOM, errors, style, label=name)
axes.set(xscale="log", xlabel="degrees of freedom", ylabel="relative squared error")
axes.set_xticks(FREEDOM, FREEDOM)
axes.minorticks_off()
axes.legend(frameon=False)
