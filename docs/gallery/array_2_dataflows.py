"""
Dataflows by the number of tokens
=================================

Outputs, weights or inputs stay in the PEs. Few tokens hide little of what loading takes.
"""

import matplotlib.pyplot as plt

import bitlathe as bl

TOKENS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
figure, axes = plt.subplots(figsize=(7, 3.4), layout="constrained")
for flow, mark, width in (("os", "o-", 5), ("ws", "s-", 2), ("is", "^-", 1)):
    clocks = [bl.sim.systolic(m, 1024, 1024, 32, 32, flow, "physical").cycles for m in TOKENS]
    filled = [1024 * m / clock for m, clock in zip(TOKENS, clocks, strict=True)]
    axes.plot(TOKENS, filled, mark, label=flow, linewidth=width)
axes.set(xscale="log", xlabel="tokens", ylabel="utilization", ylim=(0, 1.02))
axes.set_xticks(TOKENS, TOKENS)
axes.minorticks_off()
axes.legend(frameon=False, title="stationary")
