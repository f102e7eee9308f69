"""What a systolic array does each clock: traces streamed to disk, and pictures of small tiles.

`tile.trace` does the same for bit-serial tile arrays.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..counts import check_counter
from ..picture import (
    Painter,
    check_drawable,
    csv_sink,
    draw_edges,
    draw_legend,
    draw_pes,
    is_drawable,
    new_figure,
    open_trace,
    pe_lines,
    ruled_lines,
    save_picture,
    written_kind,
)
from .clock import SystolicRun, simulate_systolic
from .model import lay_out, systolic
from .pe import SystolicPE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Marks of one PE in one clock, in rising order of importance
IDLE, LOAD, DRAIN, COMPUTE = range(4)
SYMBOLS = ".ld#"
COLORS = ("#f2f2f2", "#9ecae1", "#fdbb84", "#31a354")
LEGEND = ("idle", "loading", "draining", "computing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Activity of every PE in every clock.

    Attributes
    ----------
    activity : (rows * cols, cycles) ndarray of uint8
        0 idle, 1 loading, 2 draining, 3 computing; row-major PEs.
    reads, writes : (cycles,) ndarray of int64
        Elements that cross the array's edges in each clock.
    """

    title: str
    rows: int
    cols: int
    activity: NDArray[np.uint8]
    reads: NDArray[np.int64]
    writes: NDArray[np.int64]


def write_trace(
    path: Path,
    a: ArrayLike,
    b: ArrayLike,
    rows: int,
    cols: int,
    dataflow: str = "ws",
    *,
    pe: SystolicPE | None = None,
    detail: str = "edges",
    double_buffered_operand: bool = True,
    drain_register: bool = True,
) -> SystolicRun:
    """Run a product and write its clock-stamped events to a CSV file as they happen.

    Parameters
    ----------
    path : Path
        File to write.
    a, b : (M, K) and (K, N) array_like
        As in `clock.simulate_systolic`.
    rows, cols, dataflow, pe, double_buffered_operand, drain_register
        As in `clock.simulate_systolic`.
    detail : {"edges", "pes"}
        Accesses at the edges, or also every product and shift.

    Raises
    ------
    BitlatheError
        The file cannot be written, or the product is bad.
    """
    from .kernels import EVENT_NAMES

    with open_trace(path) as stream:
        return simulate_systolic(
            a,
            b,
            rows,
            cols,
            dataflow,
            pe=pe,
            double_buffered_operand=double_buffered_operand,
            drain_register=drain_register,
            sink=csv_sink(stream, EVENT_NAMES),
            detail=detail,
        )


def _operands(m: int, n: int, k: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Small integers, different from element to element."""
    a = np.arange(m * k).reshape(m, k) % 7 - 3
    return a, np.arange(k * n).reshape(k, n) % 5 - 2


def timeline(
    m: int,
    n: int,
    k: int,
    rows: int,
    cols: int,
    dataflow: str = "ws",
    *,
    double_buffered_operand: bool = True,
    drain_register: bool = True,
) -> Timeline:
    """Simulate a small product and return what each PE does in each clock.

    Parameters
    ----------
    m, n, k, rows, cols, dataflow, double_buffered_operand, drain_register
        As in `model.systolic`.

    Raises
    ------
    BitlatheError
        More PEs or clocks than a picture can show.
    """
    from . import kernels

    options: dict[str, Any] = {
        "double_buffered_operand": double_buffered_operand,
        "drain_register": drain_register,
    }
    count = systolic(m, n, k, rows, cols, dataflow, "physical", **options)
    check_drawable(rows, cols, count.cycles)
    activity = np.zeros((rows, cols, count.cycles), np.uint8)
    edges = Painter(
        count.cycles,
        {kernels.READ_A: 0, kernels.READ_B: 0, kernels.READ_PARTIAL: 0, kernels.WRITE: 1},
    )
    marks = {kernels.SHIFT_LOAD: LOAD, kernels.SHIFT_DRAIN: DRAIN, kernels.MAC: COMPUTE}

    def sink(events: NDArray[np.int64]) -> None:
        for kind, mark in marks.items():
            clock, _, row, column = events[events[:, 1] == kind, :4].T
            activity[row, column, clock] = np.maximum(activity[row, column, clock], mark)
        edges(events)

    simulate_systolic(*_operands(m, n, k), rows, cols, dataflow, sink=sink, detail="pes", **options)
    return Timeline(
        title=f"{m} x {n} x {k} on {rows} x {cols} PEs, {dataflow}: {count.cycles} clocks",
        rows=rows,
        cols=cols,
        activity=activity.reshape(rows * cols, count.cycles),
        reads=edges.crossings[0],
        writes=edges.crossings[1],
    )


def text_picture(line: Timeline) -> str:
    """Draw one line of symbols per PE, one symbol per clock."""
    legend = ", ".join(f"{s} {name}" for s, name in zip(SYMBOLS, LEGEND, strict=True))
    rows = pe_lines(line.activity, line.cols, SYMBOLS)
    head = [line.title, f"each line a PE (row,column), each symbol a clock: {legend}"]
    return "\n".join([*head, *ruled_lines(rows, line.reads, line.writes)])


def draw(line: Timeline) -> "Figure":
    """Draw the timeline as a matplotlib figure: PEs over clocks, and the edge traffic below.

    Raises
    ------
    BitlatheError
        matplotlib is not installed.
    """
    pes, clocks = line.activity.shape
    figure = new_figure((min(16.0, 3.0 + 0.22 * clocks), min(14.0, 3.2 + 0.2 * pes)))
    from matplotlib.colors import ListedColormap

    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[max(pes, 8), 6])
    colors = ListedColormap(COLORS)
    draw_pes(top, line.activity, line.title, line.cols, cmap=colors, vmin=0, vmax=3)
    draw_legend(figure, list(zip(LEGEND, COLORS, strict=True)))
    draw_edges(bottom, line.reads, line.writes)
    return figure


def trace_picture(
    m: int, n: int, k: int, rows: int, cols: int, dataflow: str = "ws", *, path: Path | None = None
) -> str:
    """Draw fill, stream and drain of a small product.

    Parameters
    ----------
    m, n, k, rows, cols, dataflow
        As in `model.systolic`.
    path : Path, optional
        Picture to write; the ending (.png, .svg, .pdf) chooses the kind.

    Returns
    -------
    str
        The same picture for a terminal.
    """
    line = timeline(m, n, k, rows, cols, dataflow)
    if path is not None:
        save_picture(draw(line), path)
    return text_picture(line)


def trace(
    m: int, n: int, k: int, rows: int, cols: int, dataflow: str = "ws", out: Path | None = None
) -> str:
    """Show what a systolic array does clock by clock for the product (m, k) x (k, n).

    Parameters
    ----------
    m, n, k, rows, cols, dataflow
        As in `model.systolic`.
    out : Path, optional
        ``.csv`` gets every event of every PE, however many; ``.png``, ``.svg`` or ``.pdf`` the
        picture.

    Returns
    -------
    str
        Picture for a terminal; for a CSV of a product too large to draw, one line about it.

    Raises
    ------
    BitlatheError
        A file ending that is not one of these, a product too large to draw, bad sizes.

    Examples
    --------
    >>> print(trace(3, 2, 2, 2, 2, "ws"))
    3 x 2 x 2 on 2 x 2 PEs, ws: 7 clocks
    each line a PE (row,column), each symbol a clock: . idle, l loading, d draining, # computing
      clock 0
        0,0 .l###..
        0,1 .l.###.
        1,0 ll.###.
        1,1 ll..###
      reads 221221.
     writes ...1221
    """
    if written_kind(out) != ".csv":
        return trace_picture(m, n, k, rows, cols, dataflow, path=out)
    assert out is not None
    shape = lay_out(m, n, k, rows, cols, dataflow)
    count = systolic(m, n, k, rows, cols, dataflow, "physical")
    check_counter("operands of the trace", m * k + k * n)
    run = write_trace(out, *_operands(m, n, k), rows, cols, dataflow, detail="pes")
    if is_drawable(shape.rows, shape.columns, count.cycles):
        return text_picture(timeline(m, n, k, rows, cols, dataflow))
    return f"{m} x {n} x {k} on {rows} x {cols} PEs, {dataflow}: {run.cycles} clocks, in {out}"
