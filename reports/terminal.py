"""Tables, JSON and progress bars on the terminal."""

import json
import logging
import os
import shutil
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from math import isfinite
from typing import Any

SIGNIFICANT = 1000.0  # from here on, floats are shown as whole numbers
LARGE = 1e15  # from here on, with an exponent
GAP = "  "
SAID_EVERY_S = 30  # of progress without a terminal
NARROWEST = 24  # a column of words is folded to no less than this
BREAKS = " /@-_,"  # a name is folded after one of these where it can be
# words of headings that lower case would misread: units and abbreviations
SPELT = {
    "db": "dB",
    "dram": "DRAM",
    "edp": "EDP",
    "gb": "GB",
    "ghz": "GHz",
    "kib": "KiB",
    "kl": "KL",
    "kv": "K/V",
    "mib": "MiB",
    "mj": "mJ",
    "mse": "MSE",
    "pe": "PE",
    "pj": "pJ",
    "sqnr": "SQNR",
    "uj": "uJ",
}


def cell(value: Any) -> str:
    """Return a value as a table shows it.

    Examples
    --------
    >>> cell(1234567), cell(0.12345), cell(True), cell(4321.5)
    ('1,234,567', '0.1235', 'yes', '4,322')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if abs(value) >= LARGE:
            return f"{value:.4g}"
        return f"{value:,.0f}" if abs(value) >= SIGNIFICANT else f"{value:.4g}"
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(value))


def heading(key: str) -> str:
    """Return the heading of a column.

    Examples
    --------
    >>> heading("energy_uj"), heading("dram_mib"), heading("stall_cycles")
    ('energy uJ', 'DRAM MiB', 'stall cycles')
    """
    return " ".join(SPELT.get(word, word) for word in key.split("_"))


def table_text(
    rows: Sequence[Mapping[str, Any]],
    title: str = "",
    columns: Iterable[str] | None = None,
    width: int | None = None,
) -> str:
    """Return records as a table of text; numbers stand to the right and are never cut.

    Where a table is too wide its words are folded first. Where that does not do, its columns are
    laid in several tables below each other, each with the first column.

    Parameters
    ----------
    rows : sequence of mappings
        Records with equal keys.
    title : str
        A line above the table.
    columns : iterable of str, optional
        Which keys, in this order; all of the first record without it.
    width : int, optional
        Characters of a line; as many as it takes without it.
    """
    keys = list(columns) if columns else list(rows[0]) if rows else []
    made = [_Column(key, [row.get(key) for row in rows]) for key in keys]
    parts = _parts(made, width)
    blocks = ["\n".join(_lines(part)) for part in parts if part]
    return "\n\n".join([*([title] if title else []), *blocks])


def print_table(
    rows: Sequence[Mapping[str, Any]], title: str = "", columns: Iterable[str] | None = None
) -> None:
    """Print records as a table on standard output; see `table_text`.

    On a terminal, or where the environment sets ``COLUMNS``, lines have that width; else, as in a
    pipe or a file, a record is one line however long.
    """
    known = "COLUMNS" in os.environ or sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if known else None
    print(table_text(rows, title, columns, width), end="\n\n")  # click's echo loses odd names


def cost_lines(energy_pj: Mapping[str, float], area_um2: Mapping[str, float]) -> list[str]:
    """Return a line of energies in uJ and one of areas in mm2, by component.

    A chip that states no area (of studies that publish none) has a sentence in the place of zeros.
    """
    energy, area = (
        ", ".join(f"{name} {value / 1e6:,.3f}" for name, value in parts.items())
        for parts in (energy_pj, area_um2)
    )
    if not any(area_um2.values()):
        return [f"energy (uJ): {energy}", "area: the chip's file states none"]
    return [f"energy (uJ): {energy}", f"area (mm2): {area}"]


def print_json(data: Any) -> None:
    """Print plain data as JSON on standard output, NaN and infinity as null."""
    print(json.dumps(_finite(data), indent=1, allow_nan=False))


def _finite(data: Any) -> Any:
    """Return data with None for NaN and infinity, which JSON has no numbers for."""
    if isinstance(data, dict):
        return {key: _finite(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_finite(value) for value in data]
    return None if isinstance(data, float) and not isfinite(data) else data


class _Column:
    """A column of cells: its heading, its text, and how wide it is and may become."""

    def __init__(self, key: str, values: Sequence[Any]) -> None:
        self.head = heading(key)
        self.cells = [cell(value) for value in values]
        numbers = [isinstance(v, int | float) and not isinstance(v, bool) for v in values]
        self.is_number = any(numbers)
        widest = max(map(_wide, self.cells), default=0)
        longest_word = max(map(_wide, self.head.split()), default=0)
        self.width = max(widest, _wide(self.head))
        # headings may take several lines; names may be folded, numbers may not
        self.least = max(longest_word, widest if self.is_number else min(widest, NARROWEST))


def _parts(columns: Sequence[_Column], width: int | None) -> list[list[_Column]]:
    """Divide columns among tables that a width holds, each of which begins with the first one."""
    if width is None or not columns:
        return [list(columns)]
    first, parts = columns[0], [[columns[0]]]
    for column in columns[1:]:
        if len(parts[-1]) > 1 and _total([*parts[-1], column]) > width:
            parts.append([first])
        parts[-1].append(column)
    for part in parts:
        _narrow(part, width)
    return parts


def _total(columns: Sequence[_Column]) -> int:
    return sum(column.least for column in columns) + len(GAP) * (len(columns) - 1)


def _narrow(part: list[_Column], width: int) -> None:
    """Give each column the width it wants, or its share of what the narrowest ones leave."""
    spare = max(0, width - _total(part))
    for column in sorted(part, key=lambda column: column.width - column.least):
        more = min(spare, column.width - column.least)
        column.width = column.least + more
        spare -= more


def _lines(part: Sequence[_Column]) -> Iterator[str]:
    """Yield the lines of one table: headings, a rule, records."""
    heads = [_folded(column.head, column.width) for column in part]
    deepest = max(map(len, heads))
    for i in range(deepest):
        from_below = [i - deepest + len(head) for head in heads]
        yield _line(part, [h[k] if k >= 0 else "" for h, k in zip(heads, from_below, strict=True)])
    yield "-" * (sum(column.width for column in part) + len(GAP) * (len(part) - 1))
    for row in range(len(part[0].cells)):
        texts = [_folded(column.cells[row], column.width) for column in part]
        for i in range(max(map(len, texts))):
            yield _line(part, [text[i] if i < len(text) else "" for text in texts])


def _line(part: Sequence[_Column], texts: Sequence[str]) -> str:
    cells = []
    for column, text in zip(part, texts, strict=True):
        space = " " * (column.width - _wide(text))
        cells.append(space + text if column.is_number else text + space)
    return GAP.join(cells).rstrip()


def _folded(text: str, width: int) -> list[str]:
    """Return a text in lines of a width: between its parts where it can be, else anywhere."""
    lines, left = [], text
    while _wide(left) > width:
        end = _fitting(left, width)
        if left[end] != " ":
            part = max(left.rfind(mark, 0, end) for mark in BREAKS) + 1
            end = part or end
        lines.append(left[:end].rstrip())
        left = left[end:].lstrip()
    return [*lines, left]


def _fitting(text: str, width: int) -> int:
    """Return how many characters of a text a width holds, at least one."""
    taken = 0
    for i, character in enumerate(text):
        taken += _wide(character)
        if taken > width:
            return max(1, i)
    return len(text)


def _wide(text: str) -> int:
    """Return the places that a text takes on a terminal: two for a wide character."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


class ProgressLines:
    """Progress where there is no terminal, as in a batch job's log: a line now and then.

    Nothing is said of what takes less than `SAID_EVERY_S` seconds, nor in a program's own streams.

    Parameters
    ----------
    label : str
    total : int, optional
        What there is to do, if it is known.
    clock : callable
        Returns seconds.
    """

    def __init__(
        self, label: str, total: int | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.label, self.total, self.clock = label, total, clock
        self.done = 0
        self.start = self.said = clock()

    def add(self, count: int = 1) -> None:
        """Count what was finished."""
        self.done += count
        now = self.clock()
        if now - self.said < SAID_EVERY_S or sys.stderr is not sys.__stderr__:
            return
        self.said = now
        of = "" if self.total is None else f" of {self.total:,}"
        passed = now - self.start
        rest = "" if self.total is None else _left(passed / self.done * (self.total - self.done))
        print(f"{self.label}: {self.done:,}{of} after {passed:,.0f} s{rest}", file=sys.stderr)

    def track(self, items: Iterable[Any]) -> Iterator[Any]:
        """Yield the items, each counted when the next is asked for."""
        for item in items:
            yield item
            self.add()


def _left(seconds: float) -> str:
    return f", some {seconds:,.0f} s left" if seconds > 0 else ""


@contextmanager
def progress_bar() -> Iterator[Callable[[Iterable[Any], str], Iterable[Any]]]:
    """Give a ``progress(items, label)``: a bar on standard error, lines where it is no terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda items, label: ProgressLines(label, length_of(items)).track(items)
        return
    with Progress(console=console, transient=True) as bar:
        yield lambda items, label: bar.track(items, description=label)


@contextmanager
def working(label: str) -> Iterator[None]:
    """Say on standard error that one long computation goes on: for how long, what it searches.

    A line that stands while it runs; where there is no terminal, one every `SAID_EVERY_S` seconds.
    """
    counted, start = _Searches(), time.monotonic()
    logger = logging.getLogger("bitlathe.searches")
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(counted)
    try:
        with _said(label, counted, start):
            yield
    finally:
        logger.removeHandler(counted)
        logger.setLevel(level)


class _Searches(logging.Handler):
    """Counts what is searched, by kind, as `datatypes.base.kept_lines.SEARCHES` tells it."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds: dict[str, int] = {}

    def emit(self, record: logging.LogRecord) -> None:
        kind = record.getMessage()
        self.kinds[kind] = self.kinds.get(kind, 0) + 1

    def __str__(self) -> str:
        if not self.kinds:
            return ""
        return ", searching " + ", ".join(f"{kind} {n:,}" for kind, n in self.kinds.items())


@contextmanager
def _said(label: str, counted: _Searches, start: float) -> Iterator[None]:
    from rich.console import Console
    from rich.status import Status

    def text() -> str:
        return f"{label}: {time.monotonic() - start:,.0f} s{counted}"

    console = Console(stderr=True)
    status = Status(text(), console=console) if console.is_terminal else None
    ended = threading.Event()

    def say() -> None:
        while not ended.wait(1 if status else SAID_EVERY_S):
            if status:
                status.update(text())
            elif sys.stderr is sys.__stderr__:
                print(text(), file=sys.stderr)

    speaker = threading.Thread(target=say, daemon=True)
    speaker.start()
    try:
        if status:
            with status:
                yield
        else:
            yield
    finally:
        ended.set()
        speaker.join()


def length_of(items: Iterable[Any]) -> int | None:
    """Return how many items there are, if they say so.

    Examples
    --------
    >>> length_of([1, 2]), length_of(iter([1]))
    (2, None)
    """
    return len(items) if isinstance(items, Sized) else None
