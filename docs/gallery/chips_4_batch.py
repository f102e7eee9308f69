"""
What a batch brings in decode
=============================

Sequences share the weights that are read: tokens a second grow until the array binds.
"""

import matplotlib.pyplot as plt

import bitlathe as bl

BATCHES = (1, 2, 4, 8, 16, 32, 64)
TICKS = (250, 500, 1000, 2000, 4000)
figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
for weight, mark in (("bitmod_fp4@g128/int8", "o-"), ("int8@channel", "s-")):
    chip = bl.load_arch("bitmod", {"formats.linear.weight": weight})
    how = {"fidelity": "analytic", "mapper": "whole-buffer"}
    rates = [
        bl.simulate(chip, "opt-125m", "decode", 256, batch, **how).tokens_per_second
        for batch in BATCHES
    ]
    axes.plot(BATCHES, rates, mark, label=weight)
axes.set(xscale="log", yscale="log", xlabel="sequences at once", ylabel="tokens a second")
axes.set_xticks(BATCHES, BATCHES)
axes.set_yticks(TICKS, TICKS)
axes.minorticks_off()
axes.legend(frameon=False)
