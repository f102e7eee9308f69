"""Salvage of a damaged store: what can be read, and is what was stored, goes into a new one."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path
from typing import Any

from .store import FILE_NAME, FolderLock, Outcome, Store

DAMAGED = "sweep.damaged.sqlite"
MOST_ERRORS = 10_000  # after so many unreadable rows and ranges the rest is given up
BLOCK = 1000  # rows written at once
UNKNOWN = 2**24  # rows looked for where the file does not tell how many there are
Row = tuple[Any, ...]


def salvage(folder: Path) -> tuple[int, int]:
    """Put the results that a damaged store still holds into a new store.

    The damaged file is kept as ``sweep.damaged.sqlite``. Its list of points is not taken over: the
    sweep lists its points anew, and finds their results.

    Parameters
    ----------
    folder : Path
        The output folder; nothing is done where it holds no store.

    Returns
    -------
    (int, int)
        Results kept, and rows that were changed or could not be read.
    """
    if not (folder / FILE_NAME).exists():
        return 0, 0
    with FolderLock(folder):
        for end in ("", "-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.replace(folder / f"{FILE_NAME}{end}", folder / f"{DAMAGED}{end}")
    kept = lost = 0
    with Store(folder) as store, closing(_open(folder / DAMAGED)) as damaged:
        rows = _results(damaged)
        while block := list(islice(rows, BLOCK)):
            whole = [row for row in block if row is not None and _is_whole(row)]
            store.keep(whole)
            kept += len(whole)
            lost += len(block) - len(whole)
    return kept, lost


def _open(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)
    db.text_factory = lambda data: data.decode("utf-8", "replace")
    return db


def _results(db: sqlite3.Connection) -> Iterator[Row | None]:
    """Yield the rows of the table of results, None for what cannot be read."""
    try:
        last = int(db.execute("SELECT max(rowid) FROM results").fetchone()[0] or 0)
    except sqlite3.OperationalError:  # there is no such table
        return
    except sqlite3.DatabaseError:
        last = UNKNOWN
    errors = 0
    ranges = [(1, last)]
    query = "SELECT key, status, result, error, checksum FROM results WHERE rowid BETWEEN ? AND ?"
    while ranges and errors < MOST_ERRORS:
        first, end = ranges.pop()
        try:
            rows = db.execute(query, (first, end)).fetchall()
        except sqlite3.DatabaseError:
            errors += 1
            if first == end:
                yield None
                continue
            middle = (first + end) // 2
            ranges += [(middle + 1, end), (first, middle)]
            continue
        yield from rows


def _is_whole(row: Row) -> bool:
    key, status, text, error, checksum = row
    if not isinstance(key, str):
        return False
    return bool(Outcome(status=status, text=text, error=error).checksum(key) == checksum)
