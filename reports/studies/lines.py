"""Lines: figures of a sweep against a setting, means over models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np

from ..charts.marks import mark
from ..charts.style import figure_style, save
from ..page.columns import Label, label_of
from ..page.figures import LOG_FROM, finish, plain, set_ticks
from .drawing import HEIGHT, WIDTH, Key, Row, Source, footer, means

ALIKE = 1.005  # lines closer than this everywhere are said to be one


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Figures against a setting: a column of panels each, a line for each of some choices.

    ``x`` names the columns that are one setting; the first places it on the axis. ``equal`` are
    columns that must agree, ``only`` the values that others must have. With ``relative`` a line is
    shown over its smallest value. All figures are geometric means over what is left, models.
    """

    title: str
    x: tuple[str, ...]
    x_words: str
    y: tuple[str, ...]
    lines: tuple[str, ...]
    line_words: str
    panels: tuple[str, ...] = ()
    equal: tuple[str, ...] = ()
    only: Mapping[str, Any] = field(default_factory=dict)
    relative: bool = False

    def draw(self, source: Source, path: Path) -> None:
        """Draw the figures of a sweep's rows."""
        rows = [
            row
            for row in source.rows
            if len({row[name] for name in self.equal}) <= 1
            and all(row[name] == value for name, value in self.only.items())
        ]
        plt = figure_style()
        panels = list(dict.fromkeys(tuple(row[name] for name in self.panels) for row in rows))
        size = (WIDTH, HEIGHT * len(panels) + 1.2)
        figure, axes = plt.subplots(
            len(panels), len(self.y), figsize=size, squeeze=False, layout="constrained"
        )
        handles: dict[str, Any] = {}
        for (i, panel), (j, name) in product(enumerate(panels), enumerate(self.y)):
            axis = axes[i][j]
            of = [row for row in rows if tuple(row[n] for n in self.panels) == panel]
            handles |= _line_panel(axis, self, of, name)
            axis.set_title(plain(", ".join([*map(str, panel), label_of(name).text])), loc="left")
            axis.set_xlabel(self.x_words)
        for j, name in enumerate(self.y):
            _same_scale(axes[:, j], label_of(name), self.relative)
        for axis in axes.flat:
            set_ticks(axis, (True, axis.get_yscale() == "log"))
            _settings(axis, self, rows)
        figure.suptitle(self.title, x=0.01, ha="left", fontsize=11)
        finish(figure, handles, footer(rows, source.origin))
        save(figure, path)


def _line_panel(axis: Any, chart: Lines, rows: Sequence[Row], name: str) -> dict[str, Any]:
    """Draw the lines of a panel; return what the legend shall name."""
    label = label_of(name)
    found = means(rows, (chart.x[0], *chart.lines), name)
    lines: dict[Key, list[tuple[float, float]]] = {}
    for (x, *rest), value in found.items():
        lines.setdefault(tuple(rest), []).append((x, value * label.scale))
    handles = {}
    curves = []
    for k, (line, points) in enumerate(lines.items()):
        x, y = np.array(sorted(points)).T
        y = y / y.min() if chart.relative else y
        curves.append(y)
        style = {**mark(k).style(5), "ls": "-", "lw": 1.2, "mec": "black", "mew": 0.4}
        handles[chart.line_words.format(*line)] = axis.plot(x, y, **style)[0]
    axis.set_xscale("log")
    if len(curves) > 1 and (np.max(curves, axis=0) < ALIKE * np.min(curves, axis=0)).all():
        style = {"xycoords": "axes fraction", "ha": "right", "fontsize": 8}
        axis.annotate("all lines lie on each other", (0.97, 0.93), **style)
    axis.grid(alpha=0.25, lw=0.5)
    return handles


def _same_scale(axes: Sequence[Any], label: Label, relative: bool) -> None:
    """Give the panels of a figure one kind of axis; equal ratios are equally high on log axes."""
    ends = [axis.dataLim.intervaly for axis in axes]
    ratio = max(high / low for low, high in ends)
    log = ratio > LOG_FROM
    for axis, (low, high) in zip(axes, ends, strict=True):
        axis.set_yscale("log" if log else "linear")
        if log:
            middle, reach = sqrt(low * high), 1.1 * sqrt(ratio)
            axis.set_ylim(middle / reach, middle * reach)
        elif not relative:
            axis.set_ylim(0, high * 1.08)
        words = f"{label.text} over the smallest" if relative else label.full
        axis.set_ylabel(words + (", log scale" if log else ""))


def _settings(axis: Any, chart: Lines, rows: Sequence[Row]) -> None:
    """Put ticks where the settings are, in their words."""
    names = {row[chart.x[0]]: "×".join(f"{row[n]:g}" for n in chart.x) for row in rows}
    axis.set_xticks(sorted(names), [names[x] for x in sorted(names)], fontsize=8)
