"""The study's charts redrawn: time and energy over AdaFloat by network and chip."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...charts.style import bars, figure_style, save
from .study import ENERGIES, Reproduction, networks, published

MEAN = "geometric\nmean"
LOOKS = {part: bars(number) for part, number in zip(ENERGIES, (0, 2, 3, 4), strict=True)}


def _places(i: int) -> list[float]:
    """Return where the bars of a chip stand, network by network, the mean last."""
    width = 0.84 / len(published()["chips"])
    return [x - 0.42 + width * (i + 0.5) for x in range(len(networks()) + 1)]


def _values(study: Reproduction, chip: str, of: Callable[[Any], float]) -> list[float]:
    """Return a figure of a chip by network, and the geometric mean."""
    values = [of(row) for row in study.rows if row["chip"] == chip]
    product = 1.0
    for value in values:
        product *= value
    return [*values, product ** (1 / len(values))]


def _finish(axes: Any, label: str) -> None:
    names = [*networks(), MEAN]
    axes.set_xticks(range(len(names)), names)
    axes.set_ylabel(label)
    axes.margins(x=0.01)
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)


def draw_time(study: Reproduction, path: Path) -> None:
    """Draw time over AdaFloat: published settings reproduced as bars, corrected as diamonds."""
    plt = figure_style()
    figure, axes = plt.subplots(figsize=(11, 4), constrained_layout=True)
    style = {"ms": 3.5, "mfc": "white", "mec": "black", "mew": 0.8}
    for i, chip in enumerate(published()["chips"]):
        times = _values(study, chip, lambda row: row["time"])
        axes.bar(_places(i), times, 0.13, label=chip, **bars(i + 1))
        axes.plot(_places(i), _values(study, chip, lambda row: row["corrected_time"]), "D", **style)
    axes.plot([], [], "D", **style, label="corrected")
    _finish(axes, "time over AdaFloat")
    axes.legend(ncols=7, loc="upper center", bbox_to_anchor=(0.5, 1.13), frameon=False)
    save(figure, path)


def draw_energy(study: Reproduction, path: Path) -> None:
    """Draw energy over AdaFloat's total: parts stacked, corrected totals as diamonds.

    The mean's parts are the total's geometric mean, shared as the parts' sums are.
    """
    plt = figure_style()
    figure, axes = plt.subplots(figsize=(11, 4.4), constrained_layout=True)
    style = {"ms": 3.5, "mfc": "white", "mec": "black", "mew": 0.8}
    for i, chip in enumerate(published()["chips"]):
        rows = [row for row in study.rows if row["chip"] == chip]
        totals = _values(study, chip, lambda row: sum(row[part] for part in ENERGIES))
        bottom = [0.0] * len(totals)
        for part, look in LOOKS.items():
            shares = [row[part] for row in rows]
            shares.append(totals[-1] * sum(shares) / sum(totals[:-1]))
            axes.bar(_places(i), shares, 0.125, bottom=bottom, **look)
            bottom = [low + share for low, share in zip(bottom, shares, strict=True)]
        fixed = _values(study, chip, lambda row: sum(row[f"corrected_{p}"] for p in ENERGIES))
        axes.plot(_places(i), fixed, "D", **style)
        for x, high, other in zip(_places(i), bottom, fixed, strict=True):
            at = {"xytext": (0, 5), "textcoords": "offset points", "ha": "center", "fontsize": 6}
            axes.annotate(chip, (x, max(high, other)), rotation=90, va="bottom", **at)
    for part, look in LOOKS.items():
        axes.bar([0], [0], label=part, **look)
    axes.plot([], [], "D", **style, label="corrected total")
    _finish(axes, "energy over AdaFloat's total")
    axes.set_ylim(0, 1.3)
    axes.legend(ncols=5, loc="upper center", bbox_to_anchor=(0.5, 1.12), frameon=False)
    save(figure, path)
