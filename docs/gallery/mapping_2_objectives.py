"""
Fast or frugal
==============

The best mapping for clocks, for energy and for their product, on a chip with small buffers.
"""

import matplotlib.pyplot as plt

import bitlathe as bl
from bitlathe.sim.map_layer import product_on

keys = {"buffers.weight.size_kib": 32, "buffers.io.size_kib": 32}
layer = product_on(bl.load_arch("bitmod", keys), 64, 512, 512, "prefill")
figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
for objective, mark in (("cycles", "o"), ("energy", "s"), ("edp", "^")):
    cost = layer.best(objective).cost
    energy = sum(cost.energy_pj.values()) / 1e6
    axes.plot(cost.cycles, energy, mark, markersize=10, label=f"least {objective}")
axes.set(xlabel="clocks", ylabel="uJ")
axes.margins(0.3)
axes.legend(frameon=False)
