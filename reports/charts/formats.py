"""Pictures of number formats: error against bits, and the values on number lines."""

from collections.abc import Collection, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...datatypes.base.errors import BitlatheError
from ...datatypes.schemes.scheme import Scheme
from ..explore.pareto import pareto_front
from .marks import OTHER
from .style import PALETTE, figure_style, save

FEW = 12  # points up to which one panel does
CROWD, CROWD_BITS, CROWDS = 6, 0.3, 2  # so many points within so many bits are drawn again, larger
LINES = 40  # number lines that still read well in one picture


def totals(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one record a scheme over all tensors: bits per element and relative error.

    Parameters
    ----------
    rows : sequence of mappings
        Rows of `datatypes.study.compare.compare`.
    """
    return [
        {
            "scheme": row["scheme"],
            "bits_per_element": float(row["bits_per_element"]),
            "relative_mse": float(row["relative_mse"]),
        }
        for row in rows
    ]


def _crowds(bits: NDArray[np.float64]) -> list[tuple[float, float]]:
    """Return the ranges of bits in which the most points crowd, from left to right."""
    left, found = np.sort(bits), list[tuple[float, float]]()
    while len(found) < CROWDS and len(left):
        ends = np.searchsorted(left, left + CROWD_BITS, side="right")
        first = int(np.argmax(ends - np.arange(len(left))))
        inside = left[first : ends[first]]
        if len(inside) < CROWD:
            break
        found.append((float(inside[0]), float(inside[-1])))
        left = np.delete(left, slice(first, ends[first]))
    return sorted(found)


def draw_error_against_bits(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw relative error against bits per element, the Pareto front as a line.

    Every scheme is named beside its point. Where many crowd, they are drawn again, and named, in a
    panel of their own; there those off the front are named on the other side of it.

    Parameters
    ----------
    rows : sequence of mappings
        ``scheme``, ``bits_per_element``, ``relative_mse``; see `totals`.
    path : Path
        Picture to write (.png, .svg or .pdf).

    Raises
    ------
    BitlatheError
        The picture cannot be written, or matplotlib is missing.
    """
    plt = figure_style()
    points = totals(rows)
    values = np.array([(p["bits_per_element"], p["relative_mse"]) for p in points])
    front = np.asarray(pareto_front(values, [True, True]))
    few = len(points) <= FEW
    crowds = [] if few else _crowds(values[:, 0])
    figure = plt.figure(figsize=(11, 11 if crowds else 7), layout="constrained")
    grid = figure.add_gridspec(2, len(crowds), height_ratios=(5, 4)) if crowds else None
    whole = figure.add_subplot(grid[0, :] if grid else 111)
    panels = [whole, *(figure.add_subplot(grid[1, k]) for k in range(len(crowds)) if grid)]
    for axes in panels:
        _panel(axes, values, front)
    low, high = values[:, 0].min(), values[:, 0].max()
    span = max(high - low, 1.0)
    whole.set_xlim(low - 0.15 * span, high + (0.04 if few else 0.15) * span)  # room for names
    whole.margins(y=0.1)
    whole.set_title("Error of schemes against what they store", loc="left")
    for axes, (left, right) in zip(panels[1:], crowds, strict=True):
        _zoom(axes, values, left, right)
        whole.axvspan(left - 0.02, right + 0.02, color="#eeeeee", lw=0, zorder=0)
    whole.legend(frameon=False)
    figure.draw_without_rendering()  # settles where the points are, and so the labels
    figure.set_layout_engine("none")
    beyond = {p["scheme"] for p, on in zip(points, front, strict=True) if not (on or few)}
    apart = [p for p in points if not any(a <= p["bits_per_element"] <= b for a, b in crowds)]
    _label(whole, apart, beyond)
    for axes, (left, right) in zip(panels[1:], crowds, strict=True):
        _label(axes, [p for p in points if left <= p["bits_per_element"] <= right], beyond)
    save(figure, path)


def _panel(axes: Any, values: NDArray[np.float64], front: NDArray[np.bool_]) -> None:
    """Draw all points and the front."""
    best = values[front][np.argsort(values[front][:, 0])]
    axes.step(best[:, 0], best[:, 1], where="post", color="black", lw=0.9, label="Pareto front")
    ring = {"mfc": "white", "mec": "black", "zorder": 3}
    axes.plot(*values[front].T, "o", ms=6, label="on the front", **ring)
    if not front.all():
        axes.plot(*values[~front].T, label="off the front", zorder=2, **OTHER.style(5))
    axes.set_yscale("log")
    axes.set_xlabel("bits per element, everything counted")
    axes.set_ylabel("relative squared error, log scale")
    axes.grid(alpha=0.3)


def _zoom(axes: Any, values: NDArray[np.float64], left: float, right: float) -> None:
    """Show the points of some bits alone, with room for names on both sides."""
    span = max(right - left, 0.02)
    axes.set_xlim(left - 0.95 * span, right + 0.75 * span)
    errors = values[(left <= values[:, 0]) & (values[:, 0] <= right), 1]
    axes.set_ylim(errors.min() / 1.35, errors.max() * 1.15)
    axes.set_title(f"of these {left:.2f} to {right:.2f} bits", loc="left", fontsize=9)
    axes.set_axisbelow(True)
    style = {"axis": "y", "which": "minor", "labelsize": 7}
    axes.yaxis.set_minor_formatter(lambda value, _: f"{value:.3g}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.3g}")
    axes.tick_params(**style)


def _label(axes: Any, points: Sequence[Mapping[str, Any]], beyond: Collection[str]) -> None:
    """Name points below and left of them, those ``beyond`` the front right of them.

    A line leads to a name that had to stand lower, or higher.
    """
    from matplotlib.transforms import Bbox

    if not points:
        return
    around = 5 * axes.figure.dpi / 72  # of a mark's middle
    middles = [(point["bits_per_element"], point["relative_mse"]) for point in points]
    marks = [
        Bbox.from_bounds(x - around, y - around, 2 * around, 2 * around)
        for x, y in axes.transData.transform(middles)
    ]
    taken: list[Any] = []
    for point in sorted(points, key=lambda p: (p["bits_per_element"], -p["relative_mse"])):
        right = point["scheme"] in beyond
        at = (point["bits_per_element"], point["relative_mse"])
        start = (9, 0) if right else (-6, -4)  # below and left of a front nothing lies
        note = axes.annotate(
            point["scheme"].replace("$", r"\$"),
            at,
            xytext=start,
            ha="left" if right else "right",
            va="center" if right else "top",
            textcoords="offset points",
            fontsize=7,
        )
        moves = [sign * step for step in range(0, 200, 4) for sign in ((-1, 1) if right else (-1,))]
        for move in moves:
            note.set_position((start[0], start[1] + move))
            box = note.get_window_extent().padded(around / 5)
            if not any(box.overlaps(other) for other in (*taken, *(marks if right else ()))):
                break
        taken.append(box)
        if move:
            end = box.x0 - 2 if right else box.x1 + 2
            corner = axes.transData.inverted().transform((end, (box.y0 + box.y1) / 2))
            axes.plot(*np.array([at, corner]).T, color="#888888", lw=0.5, zorder=1)


def draw_number_lines(names: Sequence[str], path: Path) -> None:
    """Draw the values of formats as ticks on number lines, each scaled to its largest value.

    Parameters
    ----------
    names : sequence of str
        Formats or mixtures; a mixture's members get a line each.
    path : Path
        Picture to write.

    Raises
    ------
    BitlatheError
        Unknown format, too many lines, or the picture cannot be written.
    """
    formats = [fmt for name in names for fmt in Scheme.parse(name).formats]
    if not 0 < len(formats) <= LINES:
        raise BitlatheError(f"{len(formats)} number lines; choose formats with 1 to {LINES}.")
    plt = figure_style()
    figure, axes = plt.subplots(figsize=(9, 0.42 * len(formats) + 0.8), constrained_layout=True)
    for line, fmt in enumerate(formats):
        finite = sorted({float(v) for v in fmt.values if isfinite(v)})
        scaled = np.array(finite) / fmt.max_abs
        axes.axhline(line, color="#cccccc", lw=0.8)
        axes.plot(scaled, np.full(len(scaled), line), "|", ms=12, color=PALETTE[5])
        axes.annotate(f"x {fmt.max_abs:g}", (1.03, line), va="center", fontsize=7)
    axes.set_yticks(range(len(formats)), [fmt.name for fmt in formats])
    axes.set_ylim(len(formats) - 0.4, -0.6)
    axes.set_xlim(-1.05, 1.18)
    axes.set_xlabel("value / largest value (its size stands to the right)")
    axes.spines["left"].set_visible(False)
    save(figure, path)
