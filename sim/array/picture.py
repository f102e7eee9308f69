"""What the traces of arrays share: files of events, pictures of PEs over clocks, edge traffic."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
from numpy.typing import NDArray

from ...datatypes.base.errors import BitlatheError, to_install

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEADER = "clock,event,row,column,first_index,second_index\n"
KINDS = (".csv", ".png", ".svg", ".pdf")
PICTURE_PES = 256
PICTURE_CLOCKS = 400
LINE_CLOCKS = 100


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


def is_drawable(rows: int, cols: int, cycles: int) -> bool:
    """Return whether a picture can show so many PEs and clocks."""
    return rows * cols <= PICTURE_PES and cycles <= PICTURE_CLOCKS


def check_drawable(rows: int, cols: int, cycles: int) -> None:
    """Check that a picture can show so many PEs and clocks.

    Raises
    ------
    BitlatheError
        It cannot; the error says what would do.
    """
    if not is_drawable(rows, cols, cycles):
        raise BitlatheError(
            f"a picture shows at most {PICTURE_PES} PEs and {PICTURE_CLOCKS} clocks; "
            f"{rows} x {cols} PEs take {cycles} clocks for this product. Take a smaller "
            "tile, or write the events to a .csv file"
        )


def pe_lines(activity: NDArray[np.uint8], cols: int, symbols: str) -> list[tuple[str, str]]:
    """Return a named row of symbols for every PE of (PEs, clocks) marks."""
    return [
        (f"{pe // cols},{pe % cols}", "".join(symbols[mark] for mark in marks))
        for pe, marks in enumerate(activity)
    ]


def ruled_lines(
    rows: Sequence[tuple[str, str]],
    reads: NDArray[np.int64],
    writes: NDArray[np.int64],
    width: int = LINE_CLOCKS,
) -> list[str]:
    """Cut named rows of symbols into lines, with a ruler and the edge traffic.

    Parameters
    ----------
    rows : sequence of (str, str)
        Name, and a symbol per clock.
    reads, writes : (clocks,) ndarray of int64
        Elements that cross the array's edges in each clock.
    width : int
        Clocks in a line.
    """
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


def _digit(value: int) -> str:
    """One character for a count: a digit, ``+`` from 10 on, ``.`` for none."""
    return "." if value == 0 else str(value) if value < 10 else "+"


def new_figure(size: tuple[float, float]) -> "Figure":
    """Return an empty matplotlib figure.

    Raises
    ------
    BitlatheError
        matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        hint = to_install("matplotlib", "report")
        raise BitlatheError(f"pictures need matplotlib: {hint}") from error
    return Figure(figsize=size, layout="constrained")


def draw_pes(axes: Any, image: NDArray[Any], title: str, cols: int, **options: Any) -> None:
    """Draw marks or colors as an image with its title and labels.

    Parameters
    ----------
    axes : matplotlib Axes
    image : (PEs, clocks) or (PEs, clocks, 3) ndarray
        Marks, or red, green and blue; row-major PEs.
    title : str
    cols : int
        Columns of the array.
    **options
        Passed to ``imshow``.
    """
    pes, clocks = image.shape[:2]
    extent = (-0.5, clocks - 0.5, pes - 0.5, -0.5)
    axes.imshow(image, aspect="auto", interpolation="nearest", extent=extent, **options)
    _label_pes(axes, pes, cols, clocks)
    axes.set_title(title)


def draw_edges(axes: Any, reads: NDArray[np.int64], writes: NDArray[np.int64]) -> None:
    """Draw (clocks,) elements read upwards and (clocks,) elements written downwards."""
    at = np.arange(reads.size)
    axes.bar(at, reads, width=0.9, color="#3182bd", label="elements read")
    axes.bar(at, -writes, width=0.9, color="#e6550d", label="elements written")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    axes.set_xlabel("clock")
    axes.set_ylabel("at the edges")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def _label_pes(axes: Any, pes: int, cols: int, clocks: int) -> None:
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


def draw_legend(figure: "Figure", colors: Sequence[tuple[str, Any]], **options: Any) -> None:
    """Name the colors of a figure above its axes."""
    from matplotlib.patches import Patch

    patches = [Patch(facecolor=c, edgecolor="#888888", label=name) for name, c in colors]
    figure.legend(
        handles=patches,
        loc="outside upper center",
        ncols=len(patches),
        frameon=False,
        **options,
    )
