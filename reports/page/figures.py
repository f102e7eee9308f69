"""Charts of a sweep for papers: one panel a workload, points by format, Pareto fronts."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..charts.style import figure_style, save
from ..charts.ticks import fitting_ticks, linear_ticks, log_ticks, words_of
from ..provenance import Facts
from .accuracy import Measured
from .columns import ERROR_OF, WORKLOAD, label_of
from .facts import conditions
from .frame import Floats, Frame
from .fronts import Tradeoff, on_front, shown
from .series import Series, series_column, series_of

MAX_PANELS = 12
RASTER_POINTS = 2000  # more points of a panel than this become pixels in an SVG; fronts never do
FOOT = 7.5  # size of the footer's type, in points
LOG_FROM = 5.0  # an axis is logarithmic where a panel's values span more than this

Rows = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Chart:
    """What the panels of a figure share."""

    x: Floats
    y: Floats
    error: Floats | None
    front: NDArray[np.bool_]
    series: list[Series]
    log: tuple[bool, bool]
    baseline: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Panel:
    """A panel: its title, the rows drawn, and those of all workloads that have equal points."""

    title: str
    rows: Rows
    stands_for: Rows


def _panels(frame: Frame, tradeoff: Tradeoff) -> list[_Panel]:
    """Return a panel for each workload; workloads with equal points share one."""
    pairs = np.column_stack([frame.numbers[tradeoff.x], frame.numbers[tradeoff.y]])
    complete = shown(frame, tradeoff)
    groups = [rows[complete[rows]] for rows in frame.groups()]
    groups = [rows for rows in groups if len(rows)]
    if not groups:
        return []
    varying = [n for n in WORKLOAD if n in frame.names and frame.varies(n)]
    merged: dict[bytes, list[Rows]] = {}
    for rows in groups:
        merged.setdefault(np.unique(pairs[rows], axis=0).tobytes(), []).append(rows)
    return [
        _Panel(
            title=_joint_title(frame, equal, varying),
            rows=equal[0],
            stands_for=np.concatenate(equal),
        )
        for equal in merged.values()
    ]


def _joint_title(frame: Frame, equal: list[Rows], varying: list[str]) -> str:
    """Return what workloads with equal points have in common, and how many they are."""
    if len(equal) == 1:
        return _title(frame, equal[0][0], varying)
    rows = np.concatenate(equal)
    common = [n for n in varying if len(np.unique(frame.codes(n)[rows])) == 1]
    alike = f"the same for {len(equal)} workloads"
    return f"{_title(frame, rows[0], common)}, {alike}" if common else alike


def _title(frame: Frame, row: Any, names: list[str]) -> str:
    values = frame.row(int(row))
    parts = []
    for name in names or WORKLOAD:
        value = values.get(name)
        if value is None:  # a model of images has no context
            continue
        parts.append(str(value) if name in frame.texts else f"{label_of(name).text} {value}")
    return ", ".join(parts)


def plain(text: str, limit: int = 48) -> str:
    """Return a name as matplotlib shall show it: no mathematics, no control characters, short."""
    clean = "".join(c if c.isprintable() else "?" for c in text).replace("$", r"\$")
    return clean if len(clean) <= limit else clean[: limit - 3] + "..."


def _spread(values: Floats, panels: Sequence[Rows]) -> bool:
    """Whether an axis deserves to be logarithmic, the same one in all panels."""
    if any(values[rows].min() <= 0 for rows in panels):
        return False
    return any(values[rows].max() / values[rows].min() > LOG_FROM for rows in panels)


def _chart(frame: Frame, tradeoff: Tradeoff, measured: Measured, panels: Sequence[Rows]) -> _Chart:
    x, y = (frame.numbers[name] * label_of(name).scale for name in (tradeoff.x, tradeoff.y))
    error = frame.numbers.get(ERROR_OF.get(tradeoff.y, ""))
    return _Chart(
        x=x,
        y=y,
        error=None if error is None else error * label_of(tradeoff.y).scale,
        front=on_front(frame, tradeoff),
        series=series_of(frame, series_column(frame)),
        log=(_spread(x, panels), _spread(y, panels)),
        baseline=measured.baseline(tradeoff.y),
    )


def draw(
    frame: Frame,
    tradeoff: Tradeoff,
    measured: Measured,
    paths: list[Path],
    made: Facts | None = None,
) -> None:
    """Draw a trade-off and write it to every path, in the path's own format.

    Parameters
    ----------
    frame : Frame
        The rows, with a column ``format`` and chips by their titles.
    tradeoff : Tradeoff
        What is set against what.
    measured : Measured
        What is known of accuracy: lines for unquantized models, words of the footer.
    paths : list of Path
        Files ending in .png or .svg.
    made : mapping, optional
        Provenance of the rows, for the files' metadata.
    """
    plt = figure_style()
    panels = _panels(frame, tradeoff)
    total, panels, cut = len(panels), panels[:MAX_PANELS], panels[MAX_PANELS:]
    columns = 2 if len(panels) in {2, 4} else min(3, max(1, len(panels)))
    lines = max(1, -(-len(panels) // columns))
    chart = _chart(frame, tradeoff, measured, [panel.rows for panel in panels])
    size = (7.2, 4.9) if len(panels) <= 1 else (3.6 * columns + 0.4, 2.9 * lines + 1.4)
    figure, axes = plt.subplots(lines, columns, figsize=size, squeeze=False, layout="constrained")
    for spare in list(axes.flat)[len(panels) :]:
        spare.set_axis_off()
    handles: dict[str, Any] = {}
    for axis, panel in zip(axes.flat, panels, strict=False):
        models = frame.texts.get("model")
        model = models.levels[models.codes[panel.rows[0]]] if models is not None else ""
        handles |= _panel(axis, chart, panel.rows, model)
        axis.set_title(plain(panel.title), loc="left", fontsize=9)
        axis.set_xlabel(_axis_words(tradeoff.x, log=chart.log[0]))
    for axis in axes[:, 0]:
        axis.set_ylabel(_axis_words(tradeoff.y, log=chart.log[1]))
    order = ("Pareto front", "unquantized", *(one.name for one in chart.series))
    handles = {name: handles[name] for name in order if name in handles}
    note = f", {MAX_PANELS} of {total} workloads" if total > MAX_PANELS else ""
    figure.suptitle(tradeoff.title + note, x=0.01, ha="left", fontsize=11)
    kept = np.ones(frame.count, dtype=bool)
    for panel in cut:
        kept[panel.stands_for] = False
    words = conditions(frame.take(np.flatnonzero(kept)), measured, tradeoff)
    column = series_column(frame)
    drawn = list(axes.flat)[: len(panels)]
    for axis in drawn:
        set_ticks(axis, chart.log)
    bare = column in frame.numbers or set(handles) <= {"Pareto front", "true", "false"}
    finish(figure, handles, words, label_of(column).full if bare else "")
    for axis in drawn:
        set_ticks(axis, chart.log)  # again: the room for words is known only now
    save(figure, *paths, made=made)


def _axis_words(name: str, *, log: bool) -> str:
    return "\n".join(wrap(label_of(name).full + (", log scale" if log else ""), 40))


def _panel(axis: Any, chart: _Chart, rows: Rows, model: str) -> dict[str, Any]:
    """Draw a panel; return what the legend shall name."""
    x, y, front = chart.x, chart.y, chart.front
    best = rows[front[rows]]
    best = best[np.lexsort((y[best], x[best]))]
    handles = {}
    if len(np.unique(np.column_stack([x[best], y[best]]), axis=0)) > 1:
        # a staircase: nothing between two designs is a design
        style = {"color": "black", "lw": 0.9, "zorder": 2}
        handles["Pareto front"] = axis.step(x[best], y[best], where="post", **style)[0]
    if model in chart.baseline:
        style = {"color": "#595959", "lw": 0.9, "ls": (0, (4, 3)), "zorder": 0}
        handles["unquantized"] = axis.axhline(chart.baseline[model], **style)
    size = 6.0 if len(rows) <= 200 else 3.0
    many = len(rows) > RASTER_POINTS
    for one in chart.series:
        of = rows[one.rows[rows]]
        if not len(of):
            continue
        if chart.error is not None:
            bars = {"ecolor": one.mark.color, "elinewidth": 0.8, "capsize": 2, "zorder": 1}
            axis.errorbar(x[of], y[of], yerr=chart.error[of], fmt="none", **bars)
        dim, on = of[~front[of]], of[front[of]]
        # in front of the others, which are larger, so that none hides
        style = {**one.mark.style(size - 1.5), "mew": 0.0, "alpha": 0.6, "rasterized": many}
        axis.plot(x[dim], y[dim], zorder=5, **style)
        style = {**one.mark.style(size), "mew": 0.6, "mec": "black"}
        axis.plot(x[on], y[on], zorder=4, **style)
        handles[one.name] = axis.plot([], [], **style | one.mark.style(5.0))[0]
    axis.grid(alpha=0.25, lw=0.5)
    axis.set_axisbelow(True)
    for which, log in zip((axis.set_xscale, axis.set_yscale), chart.log, strict=True):
        which("log" if log else "linear")
    return handles


def set_ticks(axis: Any, logs: tuple[bool, bool]) -> None:
    """Set round ticks, apart from each other at the size that a panel has."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    room = axis.get_window_extent().width * 72 / axis.figure.dpi
    low, high = sorted(axis.get_xlim())
    across = fitting_ticks(low, high, log=logs[0], room=room)
    low, high = sorted(axis.get_ylim())
    up = (log_ticks if logs[1] else linear_ticks)(low, high)
    for line, values in ((axis.xaxis, across), (axis.yaxis, up)):
        line.set_major_locator(FixedLocator(values))
        line.set_minor_locator(NullLocator())
        line.set_major_formatter(FuncFormatter(lambda v, _: words_of(v)))


def finish(figure: Any, handles: dict[str, Any], words: Sequence[str], legend: str = "") -> None:
    """Add legend and footer, and settle the places of all parts.

    Parameters
    ----------
    figure : Figure
        With the layout "constrained".
    handles : dict
        What the legend names.
    words : sequence of str
        Sentences of the footer.
    legend : str
        The legend's title.
    """
    width, height = figure.get_size_inches()
    across = int(width * 72 / (FOOT * 0.56))
    lines = [line for sentence in words for line in wrap(plain(sentence, 1000), across)]
    foot = (len(lines) * FOOT * 1.4 + 6) / 72
    style = {"fontsize": FOOT, "color": "#444444", "va": "bottom"}
    figure.text(0.01, 4 / 72 / height, "\n".join(lines), **style)
    known = 0.0
    if handles:
        drawn = figure.legend(
            list(handles.values()),
            [plain(name, 36) for name in handles],
            loc="lower center",
            bbox_to_anchor=(0.5, foot / height),
            ncols=min(4, len(handles)),
            frameon=False,
            fontsize=8,
            title=plain(legend) or None,
            title_fontsize=8,
        )
        known = drawn.get_window_extent().height / figure.dpi + 0.05
    below = (foot + known) / height
    figure.get_layout_engine().set(rect=(0, below, 1, 1 - below))
    figure.draw_without_rendering()  # places all parts once, for every file
    figure.set_layout_engine("none")
