"""
Area by part
============

What shipped chips are made of, as their files and component tables say.
"""

import matplotlib.pyplot as plt

import bitlathe as bl

COLORS = ("#0072B2", "#E69F00", "#56B4E9", "#000000")  # told apart by all readers
HATCHES = ("", "///", "...", "")  # in gray, too
CHIPS = ("fp16", "ant", "olive", "bitmod", "bitmod-int6")
figure, axes = plt.subplots(figsize=(7, 2.8), layout="constrained")
how = {"fidelity": "analytic", "mapper": "whole-buffer"}
areas = [bl.simulate(chip, "resnet-18", **how).area_um2 for chip in CHIPS]
left = [0.0] * len(CHIPS)
parts = [name for name in areas[0] if name != "total"]
for part, color, hatch in zip(parts, COLORS, HATCHES, strict=True):
    values = [area[part] / 1e6 for area in areas]
    axes.barh(CHIPS, values, left=left, label=part, color=color, hatch=hatch)
    left = [a + b for a, b in zip(left, values, strict=True)]
axes.invert_yaxis()
axes.set_xlabel("mm2")
axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
