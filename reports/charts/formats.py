"""Pictures of number formats: error against bits, and the values on number lines."""

from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from ...datatypes.base.errors import BitlatheError
from ...datatypes.schemes.scheme import Scheme
from ..explore.pareto import pareto_front
from .marks import MOST, OTHER, mark
from .style import PALETTE, figure_style, save

FEW = 12  # points up to which each is named beside it; of more those off the front have marks
NEAR_BITS, NEAR_ERROR = 0.25, 1.2  # labels closer than this are written as one
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


def _neighbors(points: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return the points in groups whose labels would cover each other, by bits."""
    groups: list[list[dict[str, Any]]] = []
    for point in sorted(points, key=lambda p: (p["bits_per_element"], -p["relative_mse"])):
        last = groups[-1][-1] if groups else None
        near = (
            last is not None
            and point["bits_per_element"] - last["bits_per_element"] < NEAR_BITS
            and NEAR_ERROR * point["relative_mse"] > last["relative_mse"]
        )
        if near:
            groups[-1].append(point)
        else:
            groups.append([point])
    return groups


def draw_error_against_bits(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw relative error against bits per element, the Pareto front as a line.

    Every scheme is named: beside its point, or by its mark in the legend.

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
    figure, axes = plt.subplots(figsize=(11, 7), constrained_layout=True)
    best = values[front][np.argsort(values[front][:, 0])]
    axes.step(best[:, 0], best[:, 1], where="post", color="black", lw=0.9, label="Pareto front")
    ring = {"mfc": "white", "mec": "black", "zorder": 3}
    axes.plot(*values[front].T, "o", ms=6, label="on the front", **ring)
    off = [point for point, on_front in zip(points, front, strict=True) if not on_front]
    few = len(points) <= FEW
    for place, point in enumerate(sorted(off, key=lambda point: point["relative_mse"])[::-1]):
        known = OTHER if few else mark(place % MOST)
        name = None if few else point["scheme"].replace("$", r"\$")
        at = (point["bits_per_element"], point["relative_mse"])
        axes.plot(*at, label=name, zorder=2, **known.style(5))
    named = points if few else [p for p, on in zip(points, front, strict=True) if on]
    axes.set_yscale("log")
    axes.margins(y=0.1)
    low, high = values[:, 0].min(), values[:, 0].max()
    span = max(high - low, 1.0)
    axes.set_xlim(low - 0.15 * span, high + 0.04 * span)  # names stand left of their points
    axes.set_title("Error of schemes against what they store", loc="left")
    axes.set_xlabel("bits per element, everything counted")
    axes.set_ylabel("relative squared error, log scale")
    axes.grid(alpha=0.3)
    handles, names = axes.get_legend_handles_labels()
    axes.legend(handles[:2], names[:2], frameon=False)
    if not few:
        right = {"loc": "outside right upper", "frameon": False, "fontsize": 7}
        figure.legend(handles[2:], names[2:], title="off the front", **right)
    figure.draw_without_rendering()  # settles where the points are, and so the labels
    figure.set_layout_engine("none")
    _label(axes, _neighbors(named))
    save(figure, path)


def _label(axes: Any, groups: list[list[dict[str, Any]]]) -> None:
    """Name groups of points below and left of them, lower where another name stands."""
    taken: list[Any] = []
    for group in groups:
        note = axes.annotate(
            "\n".join(p["scheme"].replace("$", r"\$") for p in group),
            (group[0]["bits_per_element"], group[-1]["relative_mse"]),
            xytext=(-6, -4),  # below and left of a front nothing lies
            ha="right",
            va="top",
            textcoords="offset points",
            fontsize=7,
        )
        for drop in range(0, 200, 4):
            note.set_position((-6, -4 - drop))
            if not any(note.get_window_extent().overlaps(box) for box in taken):
                break
        taken.append(note.get_window_extent())


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
