"""What a bit-serial tile array does each clock: traces streamed to disk, pictures of small tiles.

Events carry ``first_index, second_index``: (m, k) of a ``read_input``, (k, n) of a ``read_weight``,
(m, n) of a ``write_output``; k and the number of a ``term``; k of the chunk and the group of a PE's
``wait``; group and scale bit of ``rescale``; tile and group of a ``stall`` of the whole array.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ....arch.numerics import PENumerics
from ...pe.weights import weight_decoder
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
from .clock import TileRun, nonzero_terms, simulate_tile_array
from .model import TileArray, group_clocks, tile_count_skipping

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Marks of one PE in one clock; a term t is TERM + t
IDLE, STALL, WAIT, TERM = range(4)
SYMBOLS = ".sw0123456789abcdef"
DIGIT_CLOCKS = 90

# gray and black are no term's; told apart in gray, too, with a letter where there is room
PLAIN = {IDLE: "#e2e2e2", STALL: "#000000", WAIT: "#ffffff"}
# light to dark by term; blues for even chunks, oranges for odd ones
CHUNKS = (((0.66, 0.79, 0.9), (0.03, 0.27, 0.58)), ((0.97, 0.74, 0.46), (0.65, 0.29, 0.0)))


@dataclass(frozen=True, slots=True, kw_only=True)
class TileTimeline:
    """Activity of every PE, or row of PEs, and of what stands behind them, in the clocks shown.

    Attributes
    ----------
    activity : (rows * cols or rows, clocks) ndarray of uint8
        0 idle, 1 standing still, 2 waiting for others, 3 + t taking term t; row-major PEs, or
        what most PEs of each row do.
    chunk : (rows * cols or rows, clocks) ndarray of int64
        Chunk of the group that a PE works on; -1 where it does not.
    folded : bool
        Whether lines of these are rows.
    first : int
        The first clock shown.
    tiles, groups : (...) ndarray of int64
        Clocks of the first step of each tile of the product, and of each of its groups.
    rescale, drain : (clocks,) ndarray of int64
        Group in the rescale unit; row that leaves the array; -1 for none.
    reads, writes : (clocks,) ndarray of int64
        Elements that cross the array's edges in each clock.
    """

    title: str
    cols: int
    terms: int
    activity: NDArray[np.uint8]
    chunk: NDArray[np.int64]
    folded: bool
    first: int
    tiles: NDArray[np.int64]
    groups: NDArray[np.int64]
    rescale: NDArray[np.int64]
    drain: NDArray[np.int64]
    reads: NDArray[np.int64]
    writes: NDArray[np.int64]


def write_tile_trace(
    path: Path,
    activations: ArrayLike,
    weights: ArrayLike,
    array: TileArray,
    format: str = "int8",
    numerics: str | PENumerics = "aligned",
    *,
    scales: ArrayLike | None = None,
    detail: str = "edges",
) -> TileRun:
    """Run a product and write its clock-stamped events to a CSV file as they happen.

    Parameters
    ----------
    path : Path
        File to write.
    activations, weights : (M, K) and (N, K) array_like
        As in `clock.simulate_tile_array`.
    array, format, numerics, scales, detail
        As in `clock.simulate_tile_array`.

    Raises
    ------
    BitlatheError
        The file cannot be written, or the product is bad.
    """
    from .kernels import EVENT_NAMES

    with open_trace(path) as stream:
        return simulate_tile_array(
            activations,
            weights,
            array,
            format,
            numerics,
            scales=scales,
            sink=csv_sink(stream, EVENT_NAMES),
            detail=detail,
        )


def sample_operands(
    m: int, n: int, k: int, format: str
) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    """Return seeded random operands.

    Parameters
    ----------
    m, n, k : int
        Tokens, outputs and inputs.
    format : str
        Weight format.

    Returns
    -------
    activations : (m, k) ndarray of float16
        Standard normal, a tenth of them zero.
    weights : (n, k) ndarray of int64
        Normal with a third of the grid's largest magnitude as deviation, rounded to the grid.
    """
    rng = np.random.default_rng(0)
    activations = rng.standard_normal((m, k)).astype(np.float16)
    activations[rng.random((m, k)) < 0.1] = 0
    decoder = weight_decoder(format)
    grid = decoder.grid[decoder.valid]
    draws = rng.standard_normal((n, k)) * np.abs(grid).max() / 3
    return activations, grid[np.abs(draws[:, :, None] - grid).argmin(2)]


def _numerics(array: TileArray) -> str:
    """Return the arithmetic of a picture: lanes that run alone can only be added exactly."""
    return "exact" if array.skip_zero_terms and array.scope == "lane" else "aligned"


def _title(m: int, n: int, k: int, array: TileArray, format: str, cycles: int) -> str:
    skipping = f", terms skipped by {array.scope}" if array.skip_zero_terms else ""
    return (
        f"{m} x {n} x {k} on {array.rows} x {array.cols} PEs of {array.lanes} lanes, "
        f"{format}{skipping}: {cycles} clocks"
    )


def tile_timeline(
    m: int,
    n: int,
    k: int,
    array: TileArray,
    format: str = "int8",
    clocks: tuple[int, int] | None = None,
) -> TileTimeline:
    """Simulate a product of `sample_operands` and return what each part does in each clock.

    Of more than 256 PEs a line shows a row of the array.

    Parameters
    ----------
    m, n, k : int
        Tokens, outputs and inputs.
    array : TileArray
    format : str
        Weight format.
    clocks : (int, int), optional
        The first clock shown, and the one after the last; all by default.

    Raises
    ------
    BitlatheError
        More rows or clocks than a picture can show, or no such clocks.
    """
    from . import kernels

    activations, weights = sample_operands(m, n, k, format)
    mask = nonzero_terms(weights, format)
    live = activations != 0 if array.skip_zero_activations else None
    cycles = tile_count_skipping(mask, array, live, m).cycles
    shown = window(clocks, cycles)
    check_drawable(array.rows, array.cols, shown, cycles)
    size = array.groups_of(k)[1]
    activity = np.zeros((array.rows, array.cols, len(shown)), np.uint8)
    chunk = np.full((array.rows, array.cols, len(shown)), -1, np.int64)
    rescale, drain = np.full((2, len(shown)), -1, np.int64)
    issued: list[NDArray[np.int64]] = []

    def paint(events: NDArray[np.int64]) -> None:
        clock, kind, row, column, first, second = within(events, shown).T
        clock = clock - shown.start
        term, wait = kind == kernels.TERM, kind == kernels.WAIT
        np.maximum.at(activity, (row[term], column[term], clock[term]), TERM + second[term])
        activity[row[wait], column[wait], clock[wait]] = WAIT
        busy = term | wait
        chunk[row[busy], column[busy], clock[busy]] = first[busy] % size // array.lanes
        activity[:, :, clock[kind == kernels.STANDSTILL]] = STALL
        rescale[clock[kind == kernels.RESCALE]] = first[kind == kernels.RESCALE]
        drain[clock[kind == kernels.WRITE]] = row[kind == kernels.WRITE]

    edges = Painter(shown, {kernels.READ_A: 0, kernels.READ_W: 0, kernels.WRITE: 1})

    def sink(events: NDArray[np.int64]) -> None:
        steps = (events[:, 1] == kernels.TERM) | (events[:, 1] == kernels.WAIT)
        issued.append(np.unique(events[steps, 0]))
        paint(events)
        edges(events)

    simulate_tile_array(
        activations, weights, array, format, _numerics(array), sink=sink, detail="pes"
    )
    # steps of one group follow those of the one before, tile by tile
    steps = group_clocks(mask, array, live, m)
    groups = np.unique(np.concatenate(issued))[np.cumsum(steps) - steps.ravel()]
    folded = is_folded(array.rows, array.cols)
    columns = stands_for(activity) if folded else None
    return TileTimeline(
        title=_title(m, n, k, array, format, cycles) + shown_words(shown, cycles, folded),
        cols=array.cols,
        terms=mask.shape[2],
        activity=lines_of(activity, columns),
        chunk=lines_of(chunk, columns),
        folded=folded,
        first=shown.start,
        tiles=groups[:: steps.shape[-1]],
        groups=groups,
        rescale=rescale,
        drain=drain,
        reads=edges.crossings[0],
        writes=edges.crossings[1],
    )


def tile_text(line: TileTimeline) -> str:
    """Draw one line of symbols per PE, one symbol per clock; then the units behind the PEs."""
    rows = pe_lines(line.activity, _names(line), SYMBOLS)
    for name, values in (("rescale", line.rescale), ("drain", line.drain)):
        rows.append((name, "".join("." if v < 0 else str(v % 10) for v in values)))
    legend = (
        f"each line {'a row' if line.folded else 'a PE (row,column)'}, each symbol a clock: "
        ". idle, 0 1 2... term that enters, "
        "w waiting for others, s standing still; then the group being rescaled, the row draining"
    )
    return "\n".join([line.title, legend, *ruled_lines(rows, line.reads, line.writes, line.first)])


def _names(line: TileTimeline) -> list[str]:
    return line_names(len(line.activity), line.cols, line.folded)


def _colors(line: TileTimeline) -> NDArray[np.float64]:
    """Return the red, green and blue of every PE and clock."""
    from matplotlib.colors import to_rgb

    image = np.zeros((*line.activity.shape, 3))
    for mark, color in PLAIN.items():
        image[line.activity == mark] = to_rgb(color)
    for parity, (light, dark) in enumerate(CHUNKS):
        for term in range(line.terms):
            part = term / max(line.terms - 1, 1)
            here = (line.activity == TERM + term) & (line.chunk % 2 == parity)
            image[here] = (1 - part) * np.array(light) + part * np.array(dark)
    return image


def draw_tile(line: TileTimeline) -> "Figure":
    """Draw the timeline as a matplotlib figure: PEs, the units behind them, the edge traffic.

    Raises
    ------
    BitlatheError
        matplotlib is not installed.
    """
    lines, clocks = line.activity.shape
    shown = range(line.first, line.first + clocks)
    figure = new_figure((min(18.0, 3.5 + 0.22 * clocks), min(14.0, 4.2 + 0.24 * lines)))
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=[max(lines, 6), 2.4, 5])
    draw_pes(top, _colors(line), line.title, line.cols, line.folded, line.first)
    inner = sorted({*line.groups.tolist()} - {*line.tiles.tolist()})
    draw_boundaries(top, inner, shown, ":")
    draw_boundaries(top, line.tiles.tolist(), shown, "--")
    if clocks <= DIGIT_CLOCKS:
        for pe, clock in np.argwhere(line.activity > IDLE):
            state = int(line.activity[pe, clock])
            white = state == STALL or (state >= TERM and (state - TERM) * 2 >= line.terms)
            color = "white" if white else "black"
            symbol = SYMBOLS[state]
            top.text(
                line.first + clock, pe, symbol, ha="center", va="center", fontsize=7, color=color
            )
    _draw_units(middle, line)
    draw_edges(bottom, line.reads, line.writes, line.first)
    even, odd = (light for light, _ in CHUNKS)
    marks: list[tuple[str, Any]] = [
        ("term of an even chunk", even),
        ("of an odd chunk, darker the later", odd),
        ("w: waits for others", PLAIN[WAIT]),
        ("s: pipeline stands still, PEs without work with it", PLAIN[STALL]),
        ("idle", PLAIN[IDLE]),
    ]
    draw_legend(figure, marks, [("tile begins", "--"), ("group begins", ":")], fontsize=9)
    return figure


def _write(line: TileTimeline, path: Path) -> None:
    """Write a picture, or spans for Perfetto."""
    if path.suffix.lower() != ".json":
        save_picture(draw_tile(line), path)
        return
    words = ["", "pipeline stands still", "waits", *(f"term {t}" for t in range(line.terms))]
    rows = [(f"row {name}" if line.folded else f"PE {name}", [words[s] for s in marks])
            for name, marks in zip(_names(line), line.activity.tolist(), strict=True)]  # fmt: skip
    for name, part, values in (("rescale", "group", line.rescale), ("drain", "row", line.drain)):
        rows.append((name, ["" if v < 0 else f"{part} {v}" for v in values.tolist()]))
    marks = {"tile": line.tiles.tolist(), "group": line.groups.tolist()}
    write_spans(path, line.title, rows, line.first, marks)


def _draw_units(axes: Any, line: TileTimeline) -> None:
    """Draw what is being rescaled and what drains as bars with their numbers."""
    for level, (values, color) in enumerate(((line.rescale, "#bcbddc"), (line.drain, "#d9b38c"))):
        starts = np.flatnonzero(np.diff(values, prepend=-1))
        ends = [*starts[1:], values.size][: starts.size]
        for start, end in zip(starts, ends, strict=True):
            if values[start] < 0:
                continue
            axes.barh(level, end - start, left=line.first + start - 0.5, height=0.8, color=color,
                      edgecolor="#555555", linewidth=0.6)  # fmt: skip
            if values.size <= DIGIT_CLOCKS or end - start > 2:
                middle = line.first + (start + end - 1) / 2
                axes.text(middle, level, str(values[start]), ha="center", va="center", fontsize=7)
    axes.set_ylim(1.6, -0.6)
    axes.set_yticks([0, 1], ["rescale, group", "drain, row"])


def trace_tile(
    m: int,
    n: int,
    k: int,
    array: TileArray,
    format: str = "int8",
    out: Path | None = None,
    clocks: tuple[int, int] | None = None,
) -> str:
    """Show what a bit-serial tile array does clock by clock for a product of sample operands.

    Parameters
    ----------
    m, n, k : int
        Tokens, outputs and inputs.
    array : TileArray
    format : str
        Weight format.
    out : Path, optional
        ``.csv`` gets every event of every PE, however many; ``.png``, ``.svg`` or ``.pdf`` the
        picture; ``.json`` its spans, for Perfetto.
    clocks : (int, int), optional
        Of the picture, as in `tile_timeline`.

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
    >>> array = TileArray(rows=1, cols=1, lanes=2, group_size=4, rescale_cycles=2,
    ...                   pipeline_cycles=2)
    >>> print(trace_tile(1, 1, 8, array, "int4"))
    1 x 1 x 8 on 1 x 1 PEs of 2 lanes, int4: 13 clocks
    each line a PE (row,column), each symbol a clock: . idle, 0 1 2... term that enters, \
w waiting for others, s standing still; then the group being rescaled, the row draining
      clock 0         10
        0,0 01010101.....
    rescale ......00..11.
      drain ............0
      reads 4.4.4.4......
     writes ............1
    """
    if written_kind(out) != ".csv":
        line = tile_timeline(m, n, k, array, format, clocks)
        if out is not None:
            _write(line, out)
        return tile_text(line)
    assert out is not None
    operands = sample_operands(m, n, k, format)
    run = write_tile_trace(out, *operands, array, format, _numerics(array), detail="pes")
    if is_drawable(array.rows, window(clocks, run.cycles)):
        return tile_text(tile_timeline(m, n, k, array, format, clocks))
    return f"{_title(m, n, k, array, format, run.cycles)}, in {out}"
