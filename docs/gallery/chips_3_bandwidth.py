"""
How much bandwidth is enough
============================

Clocks against the bandwidth of DRAM. Each phase stops to gain where the array binds: prefill, which
uses a weight for many tokens, at half of what decode needs.
"""

import matplotlib.pyplot as plt

import bitlathe as bl

RATES = (4, 8, 16, 32, 64, 128, 256)
figure, axes = plt.subplots(figsize=(7, 3.2), layout="constrained")
for phase, mark in (("prefill", "o-"), ("decode", "s-")):
    clocks = []
    for rate in RATES:
        chip = bl.load_arch("bitmod", {"dram.gb_per_s": rate})
        run = bl.simulate(chip, "opt-125m", phase, fidelity="analytic", mapper="whole-buffer")
        clocks.append(run.cycles)
    axes.plot(RATES, [c / clocks[-1] for c in clocks], mark, label=phase)
axes.set(xscale="log", yscale="log", xlabel="GB/s of DRAM", ylabel="clocks / those at 256 GB/s")
axes.set_xticks(RATES, RATES)
axes.set_yticks((1, 2, 5, 10), (1, 2, 5, 10))
axes.minorticks_off()
axes.legend(frameon=False)
