"""
Formats on a number line
========================

Where the values of four formats of four bits lie, each over its largest. Integers are spread
evenly; floats and NF4 are dense near 0, where most weights are.
"""

import matplotlib.pyplot as plt

import bitlathe as bl

NAMES = ("int4", "fp4_e2m1", "nf4", "flint4")
figure, axes = plt.subplots(figsize=(7, 2.6), layout="constrained")
for row, name in enumerate(NAMES):
    fmt = bl.format(name)
    values = [v / fmt.max_abs for v in fmt.values]
    axes.plot(values, [row] * len(values), "|", markersize=16, markeredgewidth=2)
axes.set_yticks(range(len(NAMES)), NAMES)
axes.set_ylim(len(NAMES) - 0.5, -0.5)
axes.set_xlabel("value / largest value")
axes.spines[["top", "right", "left"]].set_visible(False)
