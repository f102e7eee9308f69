"""
Where a model's work is
=======================

Multiplications a token of a prefill, by product, with two lengths of prompt: attention grows with
the context, the rest does not.
"""

import matplotlib.pyplot as plt

import bitlathe as bl

model = bl.load_model("llama-3.2-1b")
figure, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
names = [gemm.name for gemm in model.gemms(context=1024)]
for context, color, height in ((8192, "#E69F00", 0.8), (1024, "#0072B2", 0.5)):
    gemms = model.gemms(context=context)
    works = [g.m * g.n * g.k * g.batch * g.count / context / 1e6 for g in gemms]
    axes.barh(names, works, height=height, color=color, label=f"context {context:,}")
axes.invert_yaxis()
axes.set_xlabel("10^6 multiplications a token")
axes.legend(frameon=False)
