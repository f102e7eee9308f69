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
    draw_boundaries,
    draw_edges,
    draw_legend,
    draw_pes,
    is_drawable,
    is_folded,
    line_names,
    lines_of,
    new_figure,
    open_trace,
    pe_lines,
    ruled_lines,
    save_picture,
    shown_words,
    stands_for,
    window,
    within,
    write_spans,
    written_kind,
)
from .clock import SystolicRun, simulate_systolic
from .model import lay_out, systolic
from .pe import SystolicPE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Marks of one PE in one clock, in rising order of importance
IDLE, LOAD, DRAIN, COMPUTE, OVERLAP = range(5)
SYMBOLS = ".ld#*"
COLORS = ("#f2f2f2", "#9ecae1", "#e08214", "#08519c", "#000000")  # darker and darker in gray, too
LEGEND = ("idle", "loading", "draining", "computing", "computing beside loading or draining")
_BITS = {LOAD: 1, DRAIN: 2, COMPUTE: 4}
_MARKS = np.array([IDLE, LOAD, DRAIN, DRAIN, COMPUTE, OVERLAP, OVERLAP, OVERLAP], np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """Activity of every PE, or of every row of PEs, in the clocks shown.

    Attributes
    ----------
    activity : (rows * cols or rows, clocks) ndarray of uint8
        0 idle, 1 loading, 2 draining, 3 computing, 4 computing beside loading or draining;
        row-major PEs, or what most PEs of each row do, 4 where others of a row that computes
        load or drain.
    folded : bool
        Whether lines of `activity` are rows.
    first : int
        The first clock shown.
    folds : (folds,) ndarray of int64
        Clocks of the first multiply of each fold, shown or not.
    reads, writes : (clocks,) ndarray of int64
        Elements that cross the array's edges in each clock.
    """

    title: str
    rows: int
    cols: int
    activity: NDArray[np.uint8]
    folded: bool
    first: int
    folds: NDArray[np.int64]
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
    clocks: tuple[int, int] | None = None,
    double_buffered_operand: bool = True,
    drain_register: bool = True,
) -> Timeline:
    """Simulate a product and return what each PE does in each clock.

    Of more than 256 PEs a line shows a row of the array.

    Parameters
    ----------
    m, n, k, rows, cols, dataflow, double_buffered_operand, drain_register
        As in `model.systolic`.
    clocks : (int, int), optional
        The first clock shown, and the one after the last; all by default.

    Raises
    ------
    BitlatheError
        More rows or clocks than a picture can show, or no such clocks.
    """
    from . import kernels

    options: dict[str, Any] = {
        "double_buffered_operand": double_buffered_operand,
        "drain_register": drain_register,
    }
    count = systolic(m, n, k, rows, cols, dataflow, "physical", **options)
    shown = window(clocks, count.cycles)
    check_drawable(rows, cols, shown, count.cycles)
    does = np.zeros((rows, cols, len(shown)), np.uint8)
    edges = Painter(
        shown,
        {kernels.READ_A: 0, kernels.READ_B: 0, kernels.READ_PARTIAL: 0, kernels.WRITE: 1},
    )
    marks = {kernels.SHIFT_LOAD: LOAD, kernels.SHIFT_DRAIN: DRAIN, kernels.MAC: COMPUTE}
    first_column: list[NDArray[np.int64]] = []  # clock and row of its products

    def sink(events: NDArray[np.int64]) -> None:
        of_first = (events[:, 1] == kernels.MAC) & (events[:, 3] == 0)
        first_column.append(events[of_first][:, [0, 2]])
        edges(events)
        events = within(events, shown)
        for kind, mark in marks.items():
            clock, _, row, column = events[events[:, 1] == kind, :4].T
            does[row, column, clock - shown.start] |= _BITS[mark]

    simulate_systolic(*_operands(m, n, k), rows, cols, dataflow, sink=sink, detail="pes", **options)
    folded, activity = is_folded(rows, cols), _MARKS[does]
    lines = lines_of(activity, stands_for(activity) if folded else None)
    if folded:  # a row computes beside loading if any PE of it loads
        lines[(lines == COMPUTE) & (does & (_BITS[LOAD] | _BITS[DRAIN])).any(axis=1)] = OVERLAP
    said = shown_words(shown, count.cycles, folded)
    return Timeline(
        title=f"{m} x {n} x {k} on {rows} x {cols} PEs, {dataflow}: {count.cycles} clocks{said}",
        rows=rows,
        cols=cols,
        activity=lines,
        folded=folded,
        first=shown.start,
        folds=_fold_starts(
            np.concatenate(first_column), lay_out(m, n, k, rows, cols, dataflow).streamed
        ),
        reads=edges.crossings[0],
        writes=edges.crossings[1],
    )


def _fold_starts(products: NDArray[np.int64], streamed: int) -> NDArray[np.int64]:
    """Return the clock of each fold's first product, from (products, 2) clocks and rows.

    Every fold uses some row of the first column, and each PE that it uses multiplies once for
    each streamed element.
    """
    clocks, rows = products.T
    always = np.bincount(rows).argmax()
    return np.sort(clocks[rows == always])[::streamed]


def text_picture(line: Timeline) -> str:
    """Draw one line of symbols per PE or row, one symbol per clock."""
    legend = ", ".join(f"{SYMBOLS[s]} {LEGEND[s]}" for s in _there(line))
    rows = pe_lines(line.activity, _names(line), SYMBOLS)
    starts = ", ".join(map(str, line.folds.tolist()))
    what = "a row" if line.folded else "a PE (row,column)"
    head = [line.title, f"each line {what}, each symbol a clock: {legend}"]
    if len(line.folds) > 1:
        head.append(f"folds multiply from clocks {starts}")
    return "\n".join([*head, *ruled_lines(rows, line.reads, line.writes, line.first)])


def _there(line: Timeline) -> list[int]:
    """Return the marks of what PEs do in the clocks shown: a ws array drains nothing."""
    return sorted({IDLE, *np.unique(line.activity).tolist()})


def _names(line: Timeline) -> list[str]:
    return line_names(len(line.activity), line.cols, line.folded)


def draw(line: Timeline) -> "Figure":
    """Draw the timeline as a matplotlib figure: PEs over clocks, and the edge traffic below.

    Raises
    ------
    BitlatheError
        matplotlib is not installed.
    """
    lines, clocks = line.activity.shape
    shown = range(line.first, line.first + clocks)
    figure = new_figure((min(16.0, 3.0 + 0.22 * clocks), min(14.0, 3.2 + 0.2 * lines)))
    from matplotlib.colors import ListedColormap

    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[max(lines, 8), 6])
    image = {"cmap": ListedColormap(COLORS), "vmin": 0, "vmax": OVERLAP}
    draw_pes(top, line.activity, line.title, line.cols, line.folded, line.first, **image)
    draw_boundaries(top, line.folds.tolist(), shown, "--")
    folds = [("first multiply of a fold", "--")]
    draw_legend(figure, [(LEGEND[s], COLORS[s]) for s in _there(line)], folds)
    draw_edges(bottom, line.reads, line.writes, line.first)
    return figure


def _write(line: Timeline, path: Path) -> None:
    """Write a picture, or spans for Perfetto."""
    if path.suffix.lower() != ".json":
        save_picture(draw(line), path)
        return
    words = ["", *LEGEND[1:]]
    rows = [(f"row {name}" if line.folded else f"PE {name}", [words[s] for s in marks])
            for name, marks in zip(_names(line), line.activity.tolist(), strict=True)]  # fmt: skip
    write_spans(path, line.title, rows, line.first, {"fold": line.folds.tolist()})


def trace_picture(
    m: int,
    n: int,
    k: int,
    rows: int,
    cols: int,
    dataflow: str = "ws",
    *,
    path: Path | None = None,
    clocks: tuple[int, int] | None = None,
) -> str:
    """Draw fill, stream and drain of a product.

    Parameters
    ----------
    m, n, k, rows, cols, dataflow
        As in `model.systolic`.
    path : Path, optional
        Picture to write; the ending (.png, .svg, .pdf) chooses the kind, .json is for Perfetto.
    clocks : (int, int), optional
        As in `timeline`.

    Returns
    -------
    str
        The same picture for a terminal.
    """
    line = timeline(m, n, k, rows, cols, dataflow, clocks=clocks)
    if path is not None:
        _write(line, path)
    return text_picture(line)


def trace(
    m: int,
    n: int,
    k: int,
    rows: int,
    cols: int,
    dataflow: str = "ws",
    out: Path | None = None,
    clocks: tuple[int, int] | None = None,
) -> str:
    """Show what a systolic array does clock by clock for the product (m, k) x (k, n).

    Parameters
    ----------
    m, n, k, rows, cols, dataflow
        As in `model.systolic`.
    out : Path, optional
        ``.csv`` gets every event of every PE, however many; ``.png``, ``.svg`` or ``.pdf`` the
        picture; ``.json`` its spans, for Perfetto.
    clocks : (int, int), optional
        Of the picture, as in `timeline`.

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
    each line a PE (row,column), each symbol a clock: . idle, l loading, # computing
      clock 0
        0,0 .l###..
        0,1 .l.###.
        1,0 ll.###.
        1,1 ll..###
      reads 221221.
     writes ...1221
    """
    if written_kind(out) != ".csv":
        return trace_picture(m, n, k, rows, cols, dataflow, path=out, clocks=clocks)
    assert out is not None
    shape = lay_out(m, n, k, rows, cols, dataflow)
    count = systolic(m, n, k, rows, cols, dataflow, "physical")
    check_counter("operands of the trace", m * k + k * n)
    run = write_trace(out, *_operands(m, n, k), rows, cols, dataflow, detail="pes")
    if is_drawable(shape.rows, window(clocks, count.cycles)):
        return text_picture(timeline(m, n, k, rows, cols, dataflow, clocks=clocks))
    return f"{m} x {n} x {k} on {rows} x {cols} PEs, {dataflow}: {run.cycles} clocks, in {out}"
