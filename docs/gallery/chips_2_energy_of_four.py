"""
Energy of four chips, by part
=============================

Chips of about equal PE area on the same model, prefill and decode. In decode DRAM is nearly all of
it, so bits of weights decide.
"""

import matplotlib.pyplot as plt

import bitlathe as bl

CHIPS = ("fp16", "ant", "olive", "bitmod")
PARTS = ("pe", "sram_read", "sram_write", "leakage", "vector", "dram", "dram_background")
COLORS = ("#0072B2", "#56B4E9", "#9AD0F5", "#999999", "#CC79A7", "#E69F00", "#F0E442")
HATCHES = ("", "///", "", "...", "", "xxx", "")  # for readers of gray
figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
for phase, where in zip(("prefill", "decode"), axes, strict=True):
    how = {"fidelity": "analytic", "mapper": "whole-buffer"}
    runs = [bl.simulate(chip, "opt-125m", phase, **how) for chip in CHIPS]
    below = [0.0] * len(CHIPS)
    for part, color, hatch in zip(PARTS, COLORS, HATCHES, strict=True):
        values = [run.energy_pj.get(part, 0) / 1e9 for run in runs]
        where.bar(CHIPS, values, bottom=below, color=color, hatch=hatch, label=part)
        below = [a + b for a, b in zip(below, values, strict=True)]
    where.set(title=phase, ylabel="mJ")
axes[1].legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
