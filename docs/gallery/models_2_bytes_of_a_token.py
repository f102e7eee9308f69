"""
What a token reads in decode
============================

Weights are read once a step, keys and values once a sequence: with many sequences, or long
contexts, the cache is what counts. Llama-3.1-8B in four-bit weights, INT8 cache.
"""

import matplotlib.pyplot as plt
import numpy as np

import bitlathe as bl

BATCHES = (1, 4, 16, 64)
model = bl.load_model("llama-3.1-8b")
weights = model.weight_count * 4.1 / 8 / 2**30
figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
places = np.arange(len(BATCHES))
shares = [weights / batch for batch in BATCHES]
for i, context in enumerate((2048, 32768)):
    attention = [g for g in model.gemms("decode", context) if g.stationary == "kv_cache"]
    cache = sum(g.n * g.k * g.batch * g.count for g in attention) / 2**30
    x, color = places + 0.4 * i - 0.2, ("#E69F00", "#56B4E9")[i]
    hatch, name = ("", "///")[i], f"cache, context {context:,}"
    axes.bar(x, shares, 0.36, color="#0072B2", label=None if i else "weights")
    axes.bar(x, cache, 0.36, bottom=shares, color=color, hatch=hatch, label=name)
axes.set_xticks(places, BATCHES)
axes.set(xlabel="sequences at once", ylabel="GiB read a token")
axes.legend(frameon=False)
