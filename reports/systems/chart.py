"""The chart of how a model scales with chips."""

from collections.abc import Sequence
from pathlib import Path

from ..charts.style import PALETTE, figure_style, save
from .scaling import BEST, Point

_COLORS = {
    BEST: PALETTE[7], "tensor": PALETTE[5], "pipeline": PALETTE[4], "expert": PALETTE[6],
    "data": PALETTE[3],
}  # fmt: skip
_SAYS = {"strong": "one step is so many times faster", "weak": "so many times the tokens a second"}
_NAMES = {"strong": "the same sequences", "weak": "the same sequences a chip"}


def draw_scaling(points: Sequence[Point], title: str, *paths: Path) -> None:
    """Draw speedup against chips, a panel each for strong and weak scaling, and write it.

    Parameters
    ----------
    points : sequence of Point
    title : str
    *paths : Path
        Files ending in .png or .svg.
    """
    plt = figure_style()
    laws = list(dict.fromkeys(point.law for point in points))
    figure, panels = plt.subplots(1, len(laws), figsize=(4.2 * len(laws), 3.8), squeeze=False)
    for axes, law in zip(panels[0], laws, strict=True):
        here = [point for point in points if point.law == law]
        chips = sorted({point.run.chips for point in here})
        axes.plot(chips, chips, color=PALETTE[0], linewidth=0.8, linestyle=":", label="ideal")
        for way, color in _COLORS.items():
            line = sorted((p.run.chips, p.speedup) for p in here if p.way == way)
            if len(line) < 2 or (way == "expert" and line[-1][0] == 1):
                continue
            axes.plot(
                *zip(*line, strict=True),
                color=color,
                linewidth=2 if way == BEST else 1,
                marker="o" if way == BEST else ".",
                markersize=4,
                label="best of all ways" if way == BEST else f"{way} alone",
                zorder=3 if way == BEST else 2,
            )
        axes.set_xscale("log", base=2)
        axes.set_yscale("log", base=2)
        axes.set_xticks(chips, [f"{each:,}" for each in chips], rotation=45)
        ticks = [2**i for i in range(0, max(chips).bit_length(), 2)]
        axes.set_yticks(ticks, [f"{each:,}" for each in ticks])
        axes.set_ylim(0.5, 2 * max(chips))
        axes.set_xlabel("chips")
        axes.set_ylabel(_SAYS[law])
        axes.set_title(f"{law}: {_NAMES[law]}", fontsize=9)
        axes.legend(frameon=False, fontsize=8, loc="upper left")
    figure.suptitle(title, fontsize=10)
    figure.tight_layout()
    save(figure, *paths)
