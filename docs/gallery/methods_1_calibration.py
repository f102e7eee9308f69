"""
Calibration: the error of a layer's outputs
===========================================

Methods that see inputs choose codes and scales for what the layer gives, not for its weights.
"""

import matplotlib.pyplot as plt
import numpy as np

import bitlathe as bl

rng = np.random.default_rng(0)
weights = rng.normal(size=(32, 128))
inputs = rng.normal(size=(256, 128)) @ rng.normal(size=(128, 128)) / 11
inputs[:, 7] *= 20  # an input far larger than the others
METHODS = ("rtn", "awq", "gptq")
figure, axes = plt.subplots(figsize=(7, 2.6), layout="constrained")
for shift, scheme in ((-0.2, "int3_asym@g128"), (0.2, "bitmod_fp3@g128/int8")):
    errors = [bl.calibrate(weights, inputs, method, scheme).relative_error for method in METHODS]
    axes.barh(np.arange(3) + shift, errors, height=0.36, label=scheme)
axes.set_yticks(range(3), METHODS)
axes.invert_yaxis()
axes.set_xlabel("relative squared error of outputs")
axes.legend(frameon=False)
