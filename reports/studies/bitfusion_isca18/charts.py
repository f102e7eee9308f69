"""The study's charts redrawn: speed and energy over Eyeriss, and clocks as the array grows."""

from pathlib import Path

from ...charts.style import PALETTE, figure_style, save
from .study import Reproduction, by_chip


def draw_ratios(study: Reproduction, path: Path) -> None:
    """Draw speed and energy over Eyeriss: published bars reproduced, equal networks as diamonds."""
    plt = figure_style()
    figure, panels = plt.subplots(2, 1, figsize=(9, 6.4), constrained_layout=True)
    names = [*(line["network"] for line in study.networks), "geometric\nmean"]
    for axes, key, color in zip(panels, ("speed", "energy"), PALETTE[2:4], strict=True):
        means = {form: study.means[form][key] for form in ("reproduced", "corrected")}
        bars = [*(line[key] for line in study.networks), means["reproduced"]]
        plain = [*(line[f"corrected_{key}"] for line in study.networks), means["corrected"]]
        axes.bar(range(len(names)), bars, 0.6, color=color, label="published settings, reproduced")
        style = {"ms": 5, "mfc": "white", "mec": "black", "mew": 1.0}
        axes.plot(range(len(names)), plain, "D", **style, label="on the networks that Eyeriss runs")
        offset = {"textcoords": "offset points", "ha": "center"}
        for x, (value, equal) in enumerate(zip(bars, plain, strict=True)):
            apart = equal > 1.01 * value
            axes.annotate(f"{value:.2f}", (x, value), xytext=(0, 2 if apart else 7), **offset)
            if apart:
                axes.annotate(f"{equal:.2f}", (x, equal), xytext=(0, 7), **offset)
        axes.set_xticks(range(len(names)), names)
        axes.set_ylim(0, max(*bars, *plain) * 1.15)
        axes.set_ylabel(f"{key} over Eyeriss")
        axes.grid(axis="y", alpha=0.3)
        axes.set_axisbelow(True)
    panels[0].legend(ncols=2, loc="upper center", bbox_to_anchor=(0.5, 1.2), frameon=False)
    save(figure, path)


def draw_scaling(study: Reproduction, path: Path) -> None:
    """Draw the speed of each network over 32 columns as columns and SRAM grow."""
    plt = figure_style()
    figure, axes = plt.subplots(figsize=(6.4, 4.2), constrained_layout=True)
    columns = sorted({row["columns"] for row in study.rows})
    for i, line in enumerate(by_chip(study.rows)):
        clocks = [line[f"16x{wide}, 4096 bits"] for wide in columns]
        speed = [clocks[0] / each for each in clocks]
        style = {"color": PALETTE[i % len(PALETTE)], "marker": "osD^v<>P"[i % 8], "ms": 5}
        axes.plot(columns, speed, label=line["network"], **style)
    axes.plot(columns, [wide / columns[0] for wide in columns], ":", color="gray", label="ideal")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set_xticks(columns, map(str, columns))
    axes.set_yticks([1, 2, 4, 8], ["1", "2", "4", "8"])
    axes.set_xlabel("columns of 16 units, SRAM in proportion; DRAM port 4,096 bits")
    axes.set_ylabel("speed over 32 columns, log scale")
    axes.legend(ncols=2, frameon=False, fontsize=8)
    axes.grid(alpha=0.3)
    save(figure, path)
