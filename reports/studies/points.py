"""Points: the accuracy of formats against what they cost, means over models."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np

from ...datatypes.base.errors import BitlatheError
from ..charts.marks import mark
from ..charts.style import figure_style, save
from ..explore.pareto import pareto_front
from ..page.accuracy import TABLE
from ..page.columns import label_of
from ..page.figures import finish, set_ticks
from .drawing import HEIGHT, WIDTH, Row, Source, footer, means


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Accuracy against a cost over that of one format: a panel a phase, a mark a format.

    Costs and accuracies are geometric means over models.
    """

    title: str
    cost: str
    cost_words: str
    base: str
    log: bool = False

    def draw(self, source: Source, path: Path) -> None:
        """Draw the formats of a sweep's rows and of the ``accuracy.csv`` of its report.

        Raises
        ------
        BitlatheError
            If no line of ``accuracy.csv`` fits the sweep.
        """
        rows, accuracies = source.rows, accuracies_of(source.folder)
        known = {(a["model"], a["scheme"]): a for a in accuracies if a["ranked"] != "false"}
        joined = [
            {**row, **_accuracy(known[pair])}
            for row in rows
            if (pair := (row["model"], row["scheme.linear"])) in known
        ]
        if not joined:
            raise BitlatheError("no line of accuracy.csv fits the sweep: write its report again.")
        formats = list(dict.fromkeys(row["scheme.linear"] for row in rows))
        phases = list(dict.fromkeys(row["phase"] for row in joined))
        plt = figure_style()
        size = (WIDTH, HEIGHT + 2.2)
        figure, axes = plt.subplots(
            1, len(phases), figsize=size, sharey=True, squeeze=False, layout="constrained"
        )
        handles: dict[str, Any] = {}
        for axis, phase in zip(axes[0], phases, strict=True):
            of = [row for row in joined if row["phase"] == phase]
            handles |= _point_panel(axis, self, of, formats)
            axis.set_title(phase, loc="left")
            axis.set_xlabel(self.cost_words)
        first = next(iter(known.values()))
        words = label_of(first["measure"]).full + (", log scale" if self.log else "")
        axes[0][0].set_ylabel("\n".join(wrap(words, 44)))
        figure.suptitle(self.title, x=0.01, ha="left", fontsize=11)
        order = [name for name in ("Pareto front", "unquantized", *formats) if name in handles]
        base = [a for a in accuracies if a["scheme"] == "unquantized"]
        for axis in axes[0] if base else ():
            axis.axhline(float(base[0]["value"]), color="#595959", lw=0.9, ls=(0, (4, 3)), zorder=0)
        for axis in axes[0]:
            set_ticks(axis, (True, self.log))
        finish(
            figure,
            {name: handles[name] for name in order},
            footer(joined, source.origin, _measure(first, base)),
        )
        save(figure, path)


def _accuracy(line: Mapping[str, str]) -> dict[str, float]:
    """Return a measure and its standard error, 0 where none is known."""
    value, error = float(line["value"]), line.get("loss_se_nats") or "0"
    return {"accuracy": value, "error": value * float(error)}


def _measure(line: Mapping[str, str], base: Sequence[Mapping[str, str]]) -> list[str]:
    """Return what the accuracies are of."""
    if line["proxy"] == "true":
        return [f"A proxy: the relative error of each format on {line['of']}; no model's score."]
    return [
        f"{a['model']}: {int(a['tokens']):,} tokens of {a['of']}, in windows of {a['context']}; "
        f"unquantized {float(a['value']):.4g} (dashed). Bars: one standard error of the growth."
        for a in base
    ]


def _point_panel(
    axis: Any, chart: Points, rows: Sequence[Row], formats: Sequence[str]
) -> dict[str, Any]:
    """Draw the formats of a panel; return what the legend shall name."""
    cost = means(rows, ("scheme.linear",), chart.cost)
    accuracy = means(rows, ("scheme.linear",), "accuracy")
    if (chart.base,) not in cost:
        raise BitlatheError(f"no point of {chart.base}, over which costs are shown: sweep it too.")
    names = list(cost)
    x = np.array([cost[name] / cost[chart.base,] for name in names])
    y = np.array([accuracy[name] for name in names])
    front = np.asarray(pareto_front(np.column_stack([x, y])))
    steps = np.flatnonzero(front)[np.argsort(x[front])]
    style = {"where": "post", "color": "black", "lw": 0.9, "zorder": 2}
    handles = {"Pareto front": axis.step(x[steps], y[steps], **style)[0]}
    for i, (name,) in enumerate(names):
        known = mark(formats.index(name))
        style = {**known.style(7 if front[i] else 6), "mec": "black", "mew": 0.6 * front[i]}
        handles[name] = axis.plot(x[i], y[i], zorder=3, **style)[0]
        of = [row["error"] for row in rows if row["scheme.linear"] == name]
        if len({row["model"] for row in rows}) == 1 and of[0] > 0:
            bars = {"ecolor": known.color, "elinewidth": 0.8, "capsize": 2, "zorder": 1}
            axis.errorbar(x[i], y[i], yerr=of[0], fmt="none", **bars)
    axis.set_xscale("log")
    axis.set_yscale("log" if chart.log else "linear")
    axis.grid(alpha=0.25, lw=0.5)
    return handles


def accuracies_of(folder: Path) -> list[dict[str, str]]:
    """Return the lines of a report's ``accuracy.csv``.

    Raises
    ------
    BitlatheError
        There is none.
    """
    try:
        with (folder / TABLE).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except OSError as err:
        words = f"{folder / TABLE}: {err.strerror}; run bitlathe report first."
        raise BitlatheError(words) from None
