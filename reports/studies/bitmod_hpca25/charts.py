"""The study's two figures redrawn: speed (Fig. 7) and energy (Fig. 8)."""

from pathlib import Path
from typing import Any

from ...charts.style import bars, figure_style, save
from .study import Reproduction, published, workload_value

WORKLOADS = {"prefill": "Prefill, 256 tokens", "generative": "Prefill and 20 decode steps"}


def _values(study: Reproduction, quantity: str, work: str) -> dict[str, list[float]]:
    """Return FP16-relative values by accelerator: one a model, the mean last."""
    rows = study.by_key()
    models = published()["models"]
    out = {}
    for accelerator in published()["settings"]:
        ratios = [
            workload_value(rows, quantity, accelerator, m, work)
            / workload_value(rows, quantity.replace("onchip", "total"), "fp16", m, work)
            for m in models
        ]
        out[accelerator] = [*ratios, sum(ratios) / len(ratios)]
    return out


def _speedups(study: Reproduction, quantity: str, work: str) -> dict[str, list[float]]:
    """Return speed over FP16 by accelerator: one a model, the mean of these last."""
    out = {}
    for accelerator, times in _values(study, quantity, work).items():
        gains = [1 / time for time in times[:-1]]
        out[accelerator] = [*gains, sum(gains) / len(gains)]
    return out


def _bars(i: int) -> list[float]:
    count = len(published()["settings"])
    width = 0.8 / count
    return [x - 0.4 + width * (i + 0.5) for x in range(len(published()["models"]) + 1)]


def _finish(axes: Any, label: str, title: str) -> None:
    models = [*published()["models"], "mean"]
    axes.set_xticks(range(len(models)), models)
    axes.set_ylabel(label)
    axes.set_title(f"{title}; bars: the published settings, reproduced", loc="left")
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)


def draw_speed(study: Reproduction, path: Path) -> None:
    """Draw speed over FP16: published bars reproduced, corrected chips as diamonds."""
    plt = figure_style()
    figure, panels = plt.subplots(2, 1, figsize=(10, 7), constrained_layout=True)
    for axes, (work, title) in zip(panels, WORKLOADS.items(), strict=True):
        reproduced = _speedups(study, "cycles", work)
        corrected = _speedups(study, "corrected_cycles", work)
        for i, (accelerator, settings) in enumerate(published()["settings"].items()):
            x = _bars(i)
            axes.bar(x, reproduced[accelerator], 0.15, label=settings["title"], **bars(i))
            axes.plot(x, corrected[accelerator], "D", ms=4, mfc="white", mec="black", mew=1.0)
        axes.plot([], [], "D", ms=4, mfc="white", mec="black", label="our corrected chips")
        _finish(axes, "speed over FP16", title)
    panels[0].legend(ncols=6, loc="upper center", bbox_to_anchor=(0.5, 1.24), frameon=False)
    save(figure, path)


def draw_energy(study: Reproduction, path: Path) -> None:
    """Draw energy relative to FP16, on chip and DRAM stacked; corrected totals as diamonds."""
    plt = figure_style()
    figure, panels = plt.subplots(2, 1, figsize=(10, 7), constrained_layout=True)
    for axes, (work, title) in zip(panels, WORKLOADS.items(), strict=True):
        onchip = _values(study, "onchip_uj", work)
        total = _values(study, "total_uj", work)
        corrected = _values(study, "corrected_total_uj", work)
        for i, (accelerator, settings) in enumerate(published()["settings"].items()):
            x = _bars(i)
            axes.bar(x, total[accelerator], 0.15, alpha=0.45, **bars(i))
            axes.bar(x, onchip[accelerator], 0.15, label=settings["title"], **bars(i))
            axes.plot(x, corrected[accelerator], "D", ms=4, mfc="white", mec="black", mew=1.0)
        axes.fill_between([], [], color="gray", alpha=0.45, lw=0, label="pale: DRAM")
        axes.plot([], [], "D", ms=4, mfc="white", mec="black", label="our corrected chips")
        _finish(axes, "energy relative to FP16", title)
    panels[0].legend(ncols=7, loc="upper center", bbox_to_anchor=(0.5, 1.24), frameon=False)
    save(figure, path)
