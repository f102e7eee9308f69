"""What the traces of arrays share: files of events, pictures of PEs over clocks, edge traffic."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
from numpy.typing import NDArray

from ...datatypes.base.errors import BitlatheError, to_install

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEADER = "clock,event,row,column,first_index,second_index\n"
KINDS = (".csv", ".json", ".png", ".svg", ".pdf")
PICTURE_PES = 256  # of more, a line shows a row of the array
PICTURE_ROWS = 256
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

    ``crossings[0]`` holds reads, ``crossings[1]`` writes, of the clocks that are shown; ``edges``
    maps kinds of event to them.
    """

    def __init__(self, shown: range, edges: dict[int, int]) -> None:
        self.crossings = np.zeros((2, len(shown)), np.int64)
        self.shown = shown
        self.edges = edges

    def __call__(self, events: NDArray[np.int64]) -> None:
        """Count one block of events."""
        events = within(events, self.shown)
        for kind, which in self.edges.items():
            at = events[events[:, 1] == kind, 0] - self.shown.start
            np.add.at(self.crossings[which], at, 1)


def within(events: NDArray[np.int64], shown: range) -> NDArray[np.int64]:
    """Return those (events, 6) whose clock is shown."""
    clocks = events[:, 0]
    return events[(clocks >= shown.start) & (clocks < shown.stop)]


def window(clocks: tuple[int, int] | None, cycles: int) -> range:
    """Return the clocks of a run that are shown: all, or those from one up to another.

    Raises
    ------
    BitlatheError
        The run has none of them.
    """
    first, end = (0, cycles) if clocks is None else clocks
    if not 0 <= first < min(end, cycles):
        raise BitlatheError(
            f"clocks {first}:{end}: the run has clocks 0 to {cycles - 1}; give FIRST:END in them, "
            f"such as 0:{min(cycles, PICTURE_CLOCKS)}"
        )
    return range(first, min(end, cycles))


def is_drawable(rows: int, shown: range) -> bool:
    """Return whether a picture can show so many rows of PEs and clocks."""
    return rows <= PICTURE_ROWS and len(shown) <= PICTURE_CLOCKS


def check_drawable(rows: int, cols: int, shown: range, cycles: int) -> None:
    """Check that a picture can show so many rows of PEs and clocks.

    Parameters
    ----------
    rows, cols : int
        Of PEs.
    shown : range
        The clocks to show.
    cycles : int
        Clocks of the run.

    Raises
    ------
    BitlatheError
        It cannot; the error says what would do.
    """
    if not is_drawable(rows, shown):
        raise BitlatheError(
            f"a picture shows at most {PICTURE_ROWS} rows of PEs and {PICTURE_CLOCKS} clocks; "
            f"{rows} x {cols} PEs take {cycles} clocks for this product. Take some of the clocks "
            f"(--clocks 0:{PICTURE_CLOCKS}), a smaller tile, or write the events to a .csv file"
        )


def is_folded(rows: int, cols: int) -> bool:
    """Return whether a line of the picture shows a row of the array, not a PE."""
    return rows * cols > PICTURE_PES


def stands_for(activity: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return, for each row and clock, a column whose PE does what most PEs of the row do.

    Of states that as many PEs are in, the one of the higher mark.

    Parameters
    ----------
    activity : (rows, cols, clocks) ndarray of uint8
    """
    states = int(activity.max(initial=0)) + 1
    counts = np.stack([(activity == state).sum(axis=1) for state in range(states)])
    most = states - 1 - counts[::-1].argmax(axis=0)
    columns: NDArray[np.int64] = (activity == most[:, None]).argmax(axis=1)
    return columns


def lines_of(values: NDArray[Any], columns: NDArray[np.int64] | None) -> NDArray[Any]:
    """Return (lines, clocks) of (rows, cols, clocks): all PEs, or those of the columns given."""
    if columns is None:
        return values.reshape(-1, values.shape[2])
    return np.take_along_axis(values, columns[:, None], axis=1)[:, 0]


def shown_words(shown: range, cycles: int, folded: bool) -> str:
    """Return what a title says of what is shown."""
    part = "" if len(shown) == cycles else f", {shown.start} to {shown.stop - 1} shown"
    return part + (", a line a row: what most of its PEs do" if folded else "")


def line_names(lines: int, cols: int, folded: bool) -> list[str]:
    """Return the names of a picture's lines: PEs by row and column, or rows."""
    return [str(i) if folded else f"{i // cols},{i % cols}" for i in range(lines)]


def pe_lines(
    activity: NDArray[np.uint8], names: Sequence[str], symbols: str
) -> list[tuple[str, str]]:
    """Return a named row of symbols for every line of (lines, clocks) marks."""
    return [
        (name, "".join(symbols[mark] for mark in marks))
        for name, marks in zip(names, activity, strict=True)
    ]


def write_spans(
    path: Path,
    title: str,
    rows: Sequence[tuple[str, Sequence[str]]],
    first: int,
    marks: Mapping[str, Sequence[int]],
) -> None:
    """Write what lines do as the JSON of Chrome's trace viewer, which Perfetto opens.

    A clock is a microsecond there.

    Parameters
    ----------
    path : Path
    title : str
    rows : sequence of (str, sequence of str)
        A thread each: its name, and what it does in each clock, empty for nothing.
    first : int
        Clock of the first of these.
    marks : mapping of str to sequence of int
        Clocks of instants, by their name.

    Raises
    ------
    BitlatheError
        The file cannot be written.
    """
    common = {"pid": 0, "cat": "array"}
    events: list[dict[str, Any]] = []
    for thread, (name, words) in enumerate(rows):
        named = {"ph": "M", "name": "thread_name", "tid": thread, "args": {"name": name}}
        order = {"ph": "M", "name": "thread_sort_index", "tid": thread}
        events += [named | common, order | common | {"args": {"sort_index": thread}}]
        starts = [i for i, word in enumerate(words) if i == 0 or words[i - 1] != word]
        for start, end in zip(starts, [*starts[1:], len(words)], strict=True):
            if words[start]:
                span = {"ph": "X", "name": words[start], "tid": thread, "ts": first + start}
                events.append(span | common | {"dur": end - start})
    for name, clocks in marks.items():
        events += [
            {"ph": "i", "s": "p", "name": name, "tid": 0, "ts": int(clock)} | common
            for clock in clocks
        ]
    facts = {"traceEvents": events, "otherData": {"title": title, "ts": "clocks"}}
    with open_trace(path) as stream:
        json.dump(facts, stream)


def ruled_lines(
    rows: Sequence[tuple[str, str]],
    reads: NDArray[np.int64],
    writes: NDArray[np.int64],
    first: int = 0,
    width: int = LINE_CLOCKS,
) -> list[str]:
    """Cut named rows of symbols into lines, with a ruler and the edge traffic.

    Parameters
    ----------
    rows : sequence of (str, str)
        Name, and a symbol per clock.
    reads, writes : (clocks,) ndarray of int64
        Elements that cross the array's edges in each clock.
    first : int
        Clock of the first symbol.
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
        ruler = "".join(f"{first + clock:<10}" for clock in range(start, stop, 10))
        out.append(f"{'clock':>7} {ruler}".rstrip())
        out += [f"{name:>7} {symbols[start:stop]}" for name, symbols in (*rows, *counts)]
    most = max(reads.max(initial=0), writes.max(initial=0))
    if most > 9:
        out.append(f"reads and writes count partial sums, too; + stands for 10 to {most:,}")
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


def draw_pes(
    axes: Any, image: NDArray[Any], title: str, cols: int, folded: bool, first: int, **options: Any
) -> None:
    """Draw marks or colors as an image with its title and labels.

    Parameters
    ----------
    axes : matplotlib Axes
    image : (lines, clocks) or (lines, clocks, 3) ndarray
        Marks, or red, green and blue; row-major PEs, or rows.
    title : str
    cols : int
        Columns of the array.
    folded : bool
        Whether lines are rows of the array.
    first : int
        Clock of the first column of the image.
    **options
        Passed to ``imshow``.
    """
    lines, clocks = image.shape[:2]
    extent = (first - 0.5, first + clocks - 0.5, lines - 0.5, -0.5)
    axes.imshow(image, aspect="auto", interpolation="nearest", extent=extent, **options)
    _label_pes(axes, line_names(lines, cols, folded), 0 if folded else cols, range(clocks), first)
    axes.set_title(title)


def draw_boundaries(axes: Any, clocks: Sequence[int], shown: range, style: str) -> None:
    """Draw a line ahead of each of some clocks.

    Parameters
    ----------
    axes : matplotlib Axes
    clocks : sequence of int
    shown : range
        The clocks that the picture shows.
    style : str
        Of the line, as matplotlib names it.
    """
    for clock in clocks:
        if clock in shown:
            axes.axvline(clock - 0.5, color="black", linewidth=1.2, linestyle=style)


def draw_edges(
    axes: Any, reads: NDArray[np.int64], writes: NDArray[np.int64], first: int = 0
) -> None:
    """Draw elements read upwards and elements written downwards.

    Parameters
    ----------
    axes : matplotlib Axes
    reads, writes : (clocks,) ndarray of int64
    first : int
        Clock of the first of these.
    """
    at = first + np.arange(reads.size)
    axes.bar(at, reads, width=0.9, color="#3182bd", label="elements read")
    axes.bar(at, -writes, width=0.9, color="#e6550d", label="elements written")
    axes.axhline(0, color="black", linewidth=0.8)
    axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    axes.set_xlabel("clock")
    axes.set_ylabel("at the edges")
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)


def _label_pes(axes: Any, names: Sequence[str], cols: int, clocks: range, first: int) -> None:
    """Label lines, separate rows of PEs, and draw a thin grid where it stays legible."""
    step = max(1, len(names) // 32)
    axes.set_yticks(range(0, len(names), step), names[::step])
    axes.set_ylabel("PE (row,column)" if cols else "row of PEs")
    for row in range(1, len(names) // cols) if cols else ():
        axes.axhline(row * cols - 0.5, color="#555555", linewidth=0.8)
    if len(clocks) <= 120:
        axes.set_xticks(first + np.arange(-0.5, len(clocks)), minor=True)
        axes.grid(which="minor", axis="x", color="white", linewidth=0.6)
        axes.tick_params(which="minor", length=0)


def draw_legend(
    figure: "Figure",
    colors: Sequence[tuple[str, Any]],
    lines: Sequence[tuple[str, str]],
    **options: Any,
) -> None:
    """Name the colors, and the styles of lines, of a figure above its axes, in its width."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [Patch(facecolor=c, edgecolor="#888888", label=name) for name, c in colors]
    for name, style in lines:
        handle = Line2D([], [], color="black", label=name)
        handle.set_linestyle(style)  # type: ignore[arg-type]
        handles.append(handle)
    options |= {"loc": "outside upper center", "frameon": False}
    for columns in range(len(handles), 0, -1):
        legend = figure.legend(handles=handles, ncols=columns, **options)
        if legend.get_window_extent().width <= figure.bbox.width or columns == 1:
            break
        legend.remove()
