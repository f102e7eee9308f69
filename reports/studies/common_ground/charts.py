"""Chart of the common ground: speed and energy over FP16 by chip and kind of work."""

from pathlib import Path

from ...charts.style import bars, figure_style, save
from .study import Reproduction, ground

WORK = {
    "image": "networks and encoders",
    "prefill": "language models, prefill",
    "decode": "language models, decode",
}
LABELS = {
    "speed": "speed over FP16",
    "energy": "energy of FP16 over the chip's",
}


def draw_summary(study: Reproduction, path: Path) -> None:
    """Draw how much faster, and how much less energy, each chip is than FP16 at equal PE area."""
    plt = figure_style()
    figure, panels = plt.subplots(2, 1, figsize=(9, 6), constrained_layout=True)
    chips = [line for line in study.summary if line["chip"] != ground()["baseline"]]
    width = 0.84 / len(chips)
    for axes, figure_name in zip(panels, ("speed", "energy"), strict=True):
        for i, line in enumerate(chips):
            places = [x - 0.42 + width * (i + 0.5) for x in range(len(WORK))]
            values = [line[f"{work}_{figure_name}"] for work in WORK]
            axes.bar(places, values, 0.9 * width, label=line["chip"], **bars(i + 1))
            for x, value in zip(places, values, strict=True):
                at = {"xytext": (0, 2), "textcoords": "offset points", "ha": "center"}
                axes.annotate(f"{value:.2f}", (x, value), fontsize=8, **at)
        axes.axhline(1, color="black", lw=0.8)
        axes.set_xticks(range(len(WORK)), list(WORK.values()))
        axes.set_ylabel(LABELS[figure_name])
        axes.grid(axis="y", alpha=0.3)
        axes.set_axisbelow(True)
    panels[0].legend(ncols=5, loc="upper center", bbox_to_anchor=(0.5, 1.18), frameon=False)
    save(figure, path)
