"""Draw the message of a shipped study, from the folder of its sweep and report.

``python -m bitlathe.reports.studies.charts STUDY FOLDER PICTURE.png``: STUDY is the name of a
sweep file beside this one, FOLDER what ``bitlathe sweep`` wrote and ``bitlathe report`` added to.
"""

import csv
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import exp, fsum, log
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np

from ...datatypes.base.errors import BitlatheError, unknown_name
from ..charts.marks import mark
from ..charts.style import figure_style, save
from ..explore import read_results
from ..explore.pareto import pareto_front
from ..page.accuracy import TABLE, Measured
from ..page.columns import label_of
from ..page.facts import conditions, titled
from ..page.figures import LOG_FROM, finish, plain, set_ticks
from ..page.frame import Frame
from ..page.origin import Origin

Row = Mapping[str, Any]
Key = tuple[Any, ...]
HERE = Path(__file__).parent
ALIKE = 1.005  # lines closer than this everywhere are said to be one
WIDTH, HEIGHT = 8.4, 2.7  # of a chart, and of a row of panels, in inches


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


STUDIES: dict[str, Lines | Points] = {
    "array-shape": Lines(
        title="1024 PEs as rows of output channels × columns of tokens",
        x=("array.rows", "array.columns"),
        x_words="rows × columns",
        y=("seconds", "energy_pj.total"),
        lines=("phase", "batch"),
        line_words="{}, batch {}",
        relative=True,
    ),
    "buffer-bandwidth": Lines(
        title="What a larger buffer and a wider DRAM interface are worth",
        x=("dram_gb_per_s",),
        x_words="DRAM bandwidth (GB/s), log scale",
        y=("seconds", "energy_pj.total"),
        lines=("buffers.weight.size_kib",),
        line_words="{} KiB in each buffer",
        panels=("phase",),
        equal=("buffers.weight.size_kib", "buffers.io.size_kib"),
        only={"context": 256},
    ),
    "formats-iso-area": Points(
        title="Formats on arrays of equal area",
        cost="edp_pj_s",
        cost_words="energy × delay over the FP16 chip's, log scale",
        base="fp16",
    ),
    "perplexity-iso-area": Points(
        title="Perplexity on arrays of equal area",
        cost="edp_pj_s",
        cost_words="energy × delay over the FP16 chip's, log scale",
        base="fp16",
        log=True,
    ),
}


def means(rows: Iterable[Row], keys: Sequence[str], value: str) -> dict[Key, float]:
    """Return the geometric mean of a column for each combination of some others, first come first.

    Examples
    --------
    >>> means([{"a": 1, "b": 2.0}, {"a": 1, "b": 8.0}], ["a"], "b")
    {(1,): 4.0}
    """
    logs: dict[Key, list[float]] = {}
    for row in rows:
        logs.setdefault(tuple(row[key] for key in keys), []).append(log(row[value]))
    return {key: exp(fsum(found) / len(found)) for key, found in logs.items()}


def _of(rows: Sequence[Row]) -> str:
    """Return the sentence that says over which models means are."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    start = "Geometric means over" if len(models) > 1 else "Model:"
    return f"{start} {', '.join(models)}."


def _words(rows: Sequence[Row], measured: Sequence[str] = ()) -> list[str]:
    frame = titled(Frame.of(rows), Origin(home=HERE))
    return [_of(rows), *conditions(frame, Measured(frame=frame)), *measured]


# -- lines -------------------------------------------------------------------------------------


def draw_lines(chart: Lines, rows: Sequence[Row], path: Path) -> None:
    """Draw figures against a setting; see `Lines`."""
    rows = [
        row
        for row in rows
        if len({row[name] for name in chart.equal}) <= 1
        and all(row[name] == value for name, value in chart.only.items())
    ]
    plt = figure_style()
    panels = list(dict.fromkeys(tuple(row[name] for name in chart.panels) for row in rows))
    size = (WIDTH, HEIGHT * len(panels) + 1.2)
    figure, axes = plt.subplots(
        len(panels), len(chart.y), figsize=size, squeeze=False, layout="constrained"
    )
    handles: dict[str, Any] = {}
    for (i, panel), (j, name) in product(enumerate(panels), enumerate(chart.y)):
        axis = axes[i][j]
        of = [row for row in rows if tuple(row[n] for n in chart.panels) == panel]
        handles |= _line_panel(axis, chart, of, name)
        axis.set_title(plain(", ".join([*map(str, panel), label_of(name).text])), loc="left")
        axis.set_xlabel(chart.x_words)
    for axis in axes.flat:
        set_ticks(axis, (True, axis.get_yscale() == "log"))
        _settings(axis, chart, rows)
    figure.suptitle(chart.title, x=0.01, ha="left", fontsize=11)
    finish(figure, handles, _words(rows))
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
    high, low = max(c.max() for c in curves), min(c.min() for c in curves)
    wide = high / low > LOG_FROM
    axis.set_yscale("log" if wide else "linear")
    if not wide and not chart.relative:
        axis.set_ylim(0, high * 1.08)
    words = f"{label.text} over the smallest" if chart.relative else label.full
    axis.set_ylabel(words + (", log scale" if wide else ""))
    if len(curves) > 1 and (np.max(curves, axis=0) < ALIKE * np.min(curves, axis=0)).all():
        style = {"xycoords": "axes fraction", "ha": "right", "fontsize": 8}
        axis.annotate("all lines lie on each other", (0.97, 0.93), **style)
    axis.grid(alpha=0.25, lw=0.5)
    return handles


def _settings(axis: Any, chart: Lines, rows: Sequence[Row]) -> None:
    """Put ticks where the settings are, in their words."""
    names = {row[chart.x[0]]: "×".join(f"{row[n]:g}" for n in chart.x) for row in rows}
    axis.set_xticks(sorted(names), [names[x] for x in sorted(names)], fontsize=8)


# -- points ------------------------------------------------------------------------------------


def draw_points(
    chart: Points, rows: Sequence[Row], accuracies: Sequence[Mapping[str, str]], path: Path
) -> None:
    """Draw accuracy against cost; see `Points`.

    Parameters
    ----------
    chart : Points
        What to draw.
    rows : sequence of mappings
        The sweep's.
    accuracies : sequence of mappings
        Lines of the report's ``accuracy.csv``.
    path : Path
        Picture to write.
    """
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
        handles |= _point_panel(axis, chart, of, formats)
        axis.set_title(phase, loc="left")
        axis.set_xlabel(chart.cost_words)
    first = next(iter(known.values()))
    words = label_of(first["measure"]).full + (", log scale" if chart.log else "")
    axes[0][0].set_ylabel("\n".join(wrap(words, 44)))
    figure.suptitle(chart.title, x=0.01, ha="left", fontsize=11)
    order = [name for name in ("Pareto front", "unquantised", *formats) if name in handles]
    base = [a for a in accuracies if a["scheme"] == "unquantised"]
    for axis in axes[0] if base else ():
        axis.axhline(float(base[0]["value"]), color="#595959", lw=0.9, ls=(0, (4, 3)), zorder=0)
    for axis in axes[0]:
        set_ticks(axis, (True, chart.log))
    finish(figure, {name: handles[name] for name in order}, _words(joined, _measure(first, base)))
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
        f"unquantised {float(a['value']):.4g} (dashed). Bars: one standard error of the growth."
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
            bars = {"ecolor": known.colour, "elinewidth": 0.8, "capsize": 2, "zorder": 1}
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


def draw(study: str, folder: Path, path: Path) -> None:
    """Draw a study's chart.

    Raises
    ------
    BitlatheError
        No such study, a folder without its sweep, a picture that cannot be written.
    """
    if study not in STUDIES:
        raise BitlatheError(unknown_name("study", study, STUDIES))
    chart = STUDIES[study]
    rows = list(read_results(folder))
    try:
        if isinstance(chart, Lines):
            draw_lines(chart, rows, path)
        else:
            draw_points(chart, rows, accuracies_of(folder), path)
    except OSError as err:
        raise BitlatheError(f"cannot write {path}: {err.strerror}.") from None


def main() -> None:
    """Draw the chart of a sweep's folder."""
    if len(sys.argv) != 4:
        sys.exit("usage: python -m bitlathe.reports.studies.charts STUDY FOLDER PICTURE.png")
    try:
        draw(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
    except BitlatheError as err:
        sys.exit(str(err))


if __name__ == "__main__":
    main()
