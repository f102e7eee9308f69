"""What a systolic array does each clock: traces streamed to disk, and pictures of small tiles.

`tile_trace` does the same for bit-serial tile arrays, with the helpers of this module.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ....datatypes.base.errors import BitlatheError, to_install
from .clock import SystolicRun, simulate_systolic
from .model import check_counter, lay_out, systolic
from .pe import SystolicPE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEADER = "clock,event,row,column,first_index,second_index\n"
PICTURE_PES = 256
PICTURE_CLOCKS = 400
LINE_CLOCKS = 100

# Marks of one PE in one clock, in rising order of importance
IDLE, LOAD, DRAIN, COMPUTE = range(4)
SYMBOLS = ".ld#"
COLOURS = ("#f2f2f2", "#9ecae1", "#fdbb84", "#31a354")
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


KINDS = (".csv", ".png", ".svg", ".pdf")


def csv_sink(stream: TextIO, names: Sequence[str]) -> Callable[[NDArray[np.int64]], None]:
    """Return a sink that writes events as lines of text, by the name of their kind.

    ``first_index, second_index`` are the matrix indices of the element: (m, k) of an input,
    (k, n) of a weight, (m, n) of an output; for ``mac`` those of the stationary element.
    """

    def write(rows: NDArray[np.int64]) -> None:
        stream.writelines(
            f"{clock},{names[kind]},{row},{column},{first},{second}\n"
            for clock, kind, row, column, first, second in rows.tolist()
        )

    stream.write(HEADER)
    return write


@contextmanager
def open_trace(path: Path) -> Iterator[TextIO]:
    """Open a trace to write.

    Raises
    ------
    BitlatheError
        The file cannot be written.
    """
    try:
        with path.open("w", encoding="ascii", newline="") as stream:
            yield stream
    except OSError as error:
        raise BitlatheError(f"the trace cannot be written to {path}: {error.strerror}") from error


def written_kind(out: Path | None) -> str | None:
    """Return the ending of a file to write, or None for none.

    Raises
    ------
    BitlatheError
        An ending that is not one of `KINDS`.
    """
    if out is not None and out.suffix.lower() not in KINDS:
        raise BitlatheError(f"{out} must end in one of {', '.join(KINDS)}")
    return None if out is None else out.suffix.lower()


def save_picture(figure: "Figure", path: Path) -> None:
    """Write a figure; the ending chooses the kind.

    Raises
    ------
    BitlatheError
        The file cannot be written.
    """
    try:
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise BitlatheError(f"the picture cannot be written to {path}: {error.strerror}") from error


class Painter:
    """A sink that counts what crosses the array's edges in each clock.

    ``crossings[0]`` holds reads, ``crossings[1]`` writes; ``edges`` maps kinds of event to them.
    """

    def __init__(self, cycles: int, edges: dict[int, int]) -> None:
        self.crossings = np.zeros((2, cycles), np.int64)
        self.edges = edges

    def __call__(self, events: NDArray[np.int64]) -> None:
        """Count one block of events."""
        for kind, which in self.edges.items():
            np.add.at(self.crossings[which], events[events[:, 1] == kind, 0], 1)


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
    a, b, rows, cols, dataflow, pe, double_buffered_operand, drain_register
        As in `systolic_clock.simulate_systolic`.
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
    if rows * cols > PICTURE_PES or count.cycles > PICTURE_CLOCKS:
        raise BitlatheError(
            f"a picture shows at most {PICTURE_PES} PEs and {PICTURE_CLOCKS} clocks; "
            f"{rows} x {cols} PEs take {count.cycles} clocks for this product. Take a smaller "
            "tile, or write the events to a .csv file"
        )
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


def ruled_lines(
    rows: Sequence[tuple[str, str]],
    reads: NDArray[np.int64],
    writes: NDArray[np.int64],
    width: int = LINE_CLOCKS,
) -> list[str]:
    """Cut named rows of symbols to ``width`` clocks a line, with a ruler and the edge traffic."""
    counts = [
        (name, "".join(_digit(int(v)) for v in values))
        for name, values in (("reads", reads), ("writes", writes))
    ]
    out = []
    for start in range(0, reads.size, width):
        stop = min(start + width, reads.size)
        ruler = "".join(f"{clock:<10}" for clock in range(start, stop, 10))
        out.append(f"{'clock':>7} {ruler}".rstrip())
        out += [f"{name:>7} {symbols[start:stop]}" for name, symbols in (*rows, *counts)]
    return out


def text_picture(line: Timeline) -> str:
    """Draw one line of symbols per PE, one symbol per clock."""
    legend = ", ".join(f"{s} {name}" for s, name in zip(SYMBOLS, LEGEND, strict=True))
    rows = [
        (f"{pe // line.cols},{pe % line.cols}", "".join(SYMBOLS[mark] for mark in marks))
        for pe, marks in enumerate(line.activity)
    ]
    head = [line.title, f"each line a PE (row,column), each symbol a clock: {legend}"]
    return "\n".join([*head, *ruled_lines(rows, line.reads, line.writes)])


def _digit(value: int) -> str:
    """One character for a count: a digit, ``+`` from 10 on, ``.`` for none."""
    return "." if value == 0 else str(value) if value < 10 else "+"


def draw(line: Timeline) -> "Figure":
    """Draw the timeline as a matplotlib figure: PEs over clocks, and the edge traffic below.

    Raises
    ------
    BitlatheError
        matplotlib is not installed.
    """
    try:
        from matplotlib.colors import ListedColormap
        from matplotlib.figure import Figure
        from matplotlib.patches import Patch
    except ImportError as error:
        hint = to_install("matplotlib", "report")
        raise BitlatheError(f"pictures need matplotlib: {hint}") from error
    pes, clocks = line.activity.shape
    size = (min(16.0, 3.0 + 0.22 * clocks), min(14.0, 3.2 + 0.2 * pes))
    figure = Figure(figsize=size, layout="constrained")
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[max(pes, 8), 6])
    extent = (-0.5, clocks - 0.5, pes - 0.5, -0.5)
    top.imshow(
        line.activity,
        aspect="auto",
        interpolation="nearest",
        cmap=ListedColormap(COLOURS),
        vmin=0,
        vmax=3,
        extent=extent,
    )
    label_pes(top, pes, line.cols, clocks)
    top.set_title(line.title)
    patches = [
        Patch(facecolor=c, edgecolor="#888888", label=n)
        for c, n in zip(COLOURS, LEGEND, strict=True)
    ]
    figure.legend(handles=patches, loc="outside upper center", ncols=4, frameon=False)
    draw_edges(bottom, line.reads, line.writes)
    return figure


def draw_edges(axes: Any, reads: NDArray[np.int64], writes: NDArray[np.int64]) -> None:
    """Draw elements read upwards and elements written downwards, clock by clock."""
    at = np.arange(reads.size)
    axes.bar(at, reads, width=0.9, color="#3182bd", label="elements read")
    axes.bar(at, -writes, width=0.9, color="#e6550d", label="elements written")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    axes.set_xlabel("clock")
    axes.set_ylabel("at the edges")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def label_pes(axes: Any, pes: int, cols: int, clocks: int) -> None:
    """Label PEs, separate the array's rows, and draw a thin grid where it stays legible."""
    step = max(1, pes // 32)
    axes.set_yticks(range(0, pes, step), [f"{p // cols},{p % cols}" for p in range(0, pes, step)])
    axes.set_ylabel("PE (row,column)")
    for row in range(1, pes // cols):
        axes.axhline(row * cols - 0.5, color="#555555", linewidth=0.8)
    if clocks <= 120:
        axes.set_xticks(np.arange(-0.5, clocks), minor=True)
        axes.grid(which="minor", axis="x", color="white", linewidth=0.6)
        axes.tick_params(which="minor", length=0)


def trace_picture(
    m: int, n: int, k: int, rows: int, cols: int, dataflow: str = "ws", *, path: Path | None = None
) -> str:
    """Draw fill, stream and drain of a small product.

    Parameters
    ----------
    m, n, k, rows, cols, dataflow
        As in `systolic_model.systolic`.
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
        As in `systolic_model.systolic`.
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
    if shape.rows * shape.columns <= PICTURE_PES and count.cycles <= PICTURE_CLOCKS:
        return text_picture(timeline(m, n, k, rows, cols, dataflow))
    return f"{m} x {n} x {k} on {rows} x {cols} PEs, {dataflow}: {run.cycles} clocks, in {out}"
