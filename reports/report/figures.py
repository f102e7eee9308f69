"""Charts of a sweep for papers: one panel a workload, points by format, Pareto fronts."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..style import PALETTE, figure_style, save
from .columns import WORKLOAD, is_result, label_of
from .frame import Frame
from .fronts import Tradeoff, on_front

MAX_PANELS = 12
MAX_SERIES = 14
RASTER_POINTS = 2000  # more points of a panel than this become pixels in an SVG; fronts never do
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*", "d", "8")
# the first of the palette is grey: kept for what is left over
COLOURS = PALETTE[1:]
OTHER = PALETTE[0]

Rows = NDArray[np.intp]


def series_column(frame: Frame) -> str:
    """Return the column whose values get a colour and marker each: format, chip, or a setting."""
    settings = [n for n in frame.names if not is_result(n) and n not in WORKLOAD]
    return next((n for n in ("format", "arch", *settings) if _varies(frame, n)), "format")


def _varies(frame: Frame, name: str) -> bool:
    return name in frame.names and frame.varies(name)


def _levels(frame: Frame, column: str) -> list[tuple[str, NDArray[np.bool_]]]:
    """Return the values of a column and their rows; the rarest ones together as "other"."""
    if column in frame.texts:
        texts = frame.texts[column]
        named = [(name, texts.codes == i) for i, name in enumerate(texts.levels)]
    elif column in frame.numbers:
        values = frame.numbers[column]
        named = [(f"{v:g}", values == v) for v in np.unique(values[np.isfinite(values)])]
    else:
        named = [("all points", np.ones(frame.count, dtype=bool))]
    if len(named) <= MAX_SERIES:
        return named
    by_size = sorted(range(len(named)), key=lambda i: (-int(named[i][1].sum()), i))
    kept = sorted(by_size[: MAX_SERIES - 1])
    rest = np.ones(frame.count, dtype=bool)
    for i in kept:
        rest &= ~named[i][1]
    return [*(named[i] for i in kept), (f"{len(named) - len(kept)} others", rest)]


def _panels(frame: Frame, tradeoff: Tradeoff) -> list[tuple[str, Rows]]:
    """Return a title and the rows of each panel; workloads with equal points share one."""
    pairs = np.column_stack([frame.numbers[tradeoff.x], frame.numbers[tradeoff.y]])
    complete = np.asarray(np.isfinite(pairs).all(axis=1))
    groups = [rows[complete[rows]] for rows in frame.groups()]
    groups = [rows for rows in groups if len(rows)]
    if not groups:
        return []
    varying = [n for n in WORKLOAD if _varies(frame, n)]
    merged: dict[bytes, list[Rows]] = {}
    for rows in groups:
        merged.setdefault(np.unique(pairs[rows], axis=0).tobytes(), []).append(rows)
    return [(_joint_title(frame, equal, varying), equal[0]) for equal in merged.values()]


def _joint_title(frame: Frame, equal: list[Rows], varying: list[str]) -> str:
    """Return what workloads with equal points have in common, and how many they are."""
    if len(equal) == 1:
        return _title(frame, equal[0][0], varying)
    rows = np.concatenate(equal)
    common = [n for n in varying if len(np.unique(frame.codes(n)[rows])) == 1]
    alike = f"the same for {len(equal)} workloads"
    return f"{_title(frame, rows[0], common)}, {alike}" if common else alike


def _title(frame: Frame, row: Any, shown: list[str]) -> str:
    values = frame.row(int(row))
    parts = []
    for name in shown or [n for n in WORKLOAD if n in values]:
        value = values.get(name, "-")
        parts.append(str(value) if name in frame.texts else f"{label_of(name).text} {value}")
    return ", ".join(parts)


def _plain(text: str, limit: int = 48) -> str:
    """Return a name as matplotlib shall show it: no mathematics, no control characters, short."""
    clean = "".join(c if c.isprintable() else "?" for c in text).replace("$", r"\$")
    return clean if len(clean) <= limit else clean[: limit - 3] + "..."


def _spread(values: Any) -> bool:
    """Whether values cover enough of a scale to deserve a logarithmic axis."""
    return bool(len(values) and values.min() > 0 and values.max() / values.min() > 5)


def draw(frame: Frame, tradeoff: Tradeoff, paths: list[Path]) -> None:
    """Draw a trade-off and write it to every path, in the path's own format.

    Parameters
    ----------
    frame : Frame
        The rows, with a column ``format``.
    tradeoff : Tradeoff
        What is set against what.
    paths : list of Path
        Files ending in .png or .svg.
    """
    plt = figure_style()
    panels = _panels(frame, tradeoff)
    total, panels = len(panels), panels[:MAX_PANELS]
    columns = 2 if len(panels) in {2, 4} else min(3, max(1, len(panels)))
    lines = max(1, -(-len(panels) // columns))
    size = (7.2, 4.6) if len(panels) <= 1 else (3.6 * columns + 0.4, 2.9 * lines + 1.1)
    figure, axes = plt.subplots(
        lines, columns, figsize=size, squeeze=False, constrained_layout=True
    )
    flat = list(axes.flat)
    for spare in flat[len(panels) :]:
        spare.set_axis_off()
    front = on_front(frame, tradeoff)
    column = series_column(frame)
    series = _levels(frame, column)
    handles: dict[str, Any] = {}
    for axis, (title, rows) in zip(flat, panels, strict=False):
        handles |= _panel(axis, frame, tradeoff, rows, series, front)
        axis.set_title(_plain(title), loc="left", fontsize=9)
        logs = _spread(frame.numbers[tradeoff.x][rows]), _spread(frame.numbers[tradeoff.y][rows])
        _scales(axis, logs)
        axis.set_xlabel(label_of(tradeoff.x).full)
    for axis in axes[:, 0]:
        axis.set_ylabel(label_of(tradeoff.y).full)
    _finish(figure, frame, tradeoff, handles, column, total)
    figure.draw_without_rendering()  # places all parts once, for every file
    figure.set_layout_engine("none")
    for path in paths[1:]:
        _save_copy(figure, path)
    save(figure, paths[0])


def _panel(
    axis: Any,
    frame: Frame,
    tradeoff: Tradeoff,
    rows: Rows,
    series: list[tuple[str, NDArray[np.bool_]]],
    front: NDArray[np.bool_],
) -> dict[str, Any]:
    x = frame.numbers[tradeoff.x] * label_of(tradeoff.x).scale
    y = frame.numbers[tradeoff.y] * label_of(tradeoff.y).scale
    best = rows[front[rows]]
    best = best[np.lexsort((y[best], x[best]))]
    handles = {"Pareto front": axis.plot(x[best], y[best], "-", color="black", lw=0.9, zorder=2)[0]}
    size = 5.0 if len(rows) <= 200 else 3.0
    many = len(rows) > RASTER_POINTS
    for i, (name, mask) in enumerate(series):
        of = rows[mask[rows]]
        if not len(of):
            continue
        colour = OTHER if name.endswith(" others") else COLOURS[i % len(COLOURS)]
        marker = MARKERS[i % len(MARKERS)]
        style = {"marker": marker, "ls": "", "color": colour, "mew": 0.0}
        dim = of[~front[of]]
        axis.plot(x[dim], y[dim], ms=size - 1, alpha=0.45, zorder=1, rasterized=many, **style)
        style |= {"mew": 0.6, "mec": "black"}
        axis.plot(x[of[front[of]]], y[of[front[of]]], ms=size, zorder=3, **style)
        handles[name] = axis.plot([], [], ms=5, **style)[0]
    axis.grid(alpha=0.25, lw=0.5)
    axis.set_axisbelow(True)
    return handles


def _scales(axis: Any, logs: tuple[bool, bool]) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

    for which, line, log in (
        (axis.set_xscale, axis.xaxis, logs[0]),
        (axis.set_yscale, axis.yaxis, logs[1]),
    ):
        if log:
            which("log")
            line.set_minor_locator(NullLocator())
        low, high = sorted(line.get_view_interval())
        line.set_major_locator(FixedLocator(log_ticks(low, high)) if log else MaxNLocator(4))
        line.set_major_formatter(
            FuncFormatter(lambda v, _: f"{v:,.0f}" if abs(v) >= 1000 else f"{v:g}")
        )


def log_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return at most ``most`` round numbers of a logarithmic scale, evenly chosen.

    Examples
    --------
    >>> log_ticks(90, 1100), log_ticks(24, 90)
    ([100.0, 200.0, 500.0, 1000.0], [25.0, 40.0, 60.0])
    """
    decades = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    best: list[float] = []
    for steps in (
        (1,),
        (1, 3),
        (1, 2, 5),
        (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8),
        tuple(range(10, 100, 2)),
    ):
        scale = 10.0 if steps[0] == 10 else 1.0
        found = [s / scale * 10.0**e for e in decades for s in steps]
        found = [float(f"{v:.6g}") for v in found if low <= v <= high]
        if len(found) > most and len(best) >= 2:
            break
        best = found
        if len(best) >= most - 1:
            break
    return best if len(best) <= most else best[:: -(-len(best) // most)]


def _finish(
    figure: Any,
    frame: Frame,
    tradeoff: Tradeoff,
    handles: dict[str, Any],
    column: str,
    total: int,
) -> None:
    note = f", {MAX_PANELS} of {total} workloads" if total > MAX_PANELS else ""
    figure.suptitle(tradeoff.title + note, x=0.01, ha="left", fontsize=11)
    if handles:
        names = [name for name, _ in _levels(frame, column) if name in handles]
        labels = ["Pareto front", *names]
        words = label_of(column).full
        figure.legend(
            [handles[name] for name in labels],
            [_plain(name, 36) for name in labels],
            loc="outside lower center",
            ncols=min(4, len(labels)),
            frameon=False,
            fontsize=8,
            title=_plain(words) if column in frame.numbers else None,
            title_fontsize=8,
        )


def _save_copy(figure: Any, path: Path) -> None:
    """Write a figure as `reports.style.save` does, but keep it open for another file."""
    metadata = {"Software": None} if path.suffix == ".png" else {"Date": None}
    figure.savefig(path, metadata=metadata)
