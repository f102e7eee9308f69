"""
What a larger buffer saves
==========================

DRAM traffic of one product under the best mapping of each buffer size, over the least that any
mapping could move: each operand once.
"""

import matplotlib.pyplot as plt

import bitlathe as bl
from bitlathe.sim.map_layer import product_on

SIZES = (16, 32, 64, 128, 256)
M, N, K = 256, 1024, 1024
found = []
for size in SIZES:
    keys = {"buffers.weight.size_kib": size, "buffers.io.size_kib": size}
    mapped = product_on(bl.load_arch("bitmod", keys), M, N, K, "prefill").best("energy")
    moved = sum(x["parent_elements"] for x in mapped.accesses() if x["parent"] == "dram")
    found.append(moved / (M * K + K * N + M * N))
figure, axes = plt.subplots(figsize=(7, 3), layout="constrained")
axes.plot(SIZES, found, "o-", color="#0072B2")
axes.axhline(1, color="0.6", linewidth=1)
axes.set(xscale="log", xlabel="KiB of each of two buffers", ylabel="elements moved / each once")
axes.set_xticks(SIZES, SIZES)
axes.minorticks_off()
