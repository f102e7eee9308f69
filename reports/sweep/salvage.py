"""What can be read of a damaged store, row by row, written to a new one.

Only results are kept, those whose checksum holds: the sweep lists its points anew when it runs. The
damaged store stays beside the new one.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from ...datatypes.errors import BitlatheError
from .store import FILE_NAME, FolderLock, Outcome, Row, create

DAMAGED = f"{FILE_NAME}.damaged"
_SIDES = ("-wal", "-shm")
_UNREADABLE = (sqlite3.Error, UnicodeDecodeError, OverflowError)
NUMBERS = 2**62  # no row's number is larger
SINGLE = 100_000  # numbers tried one by one after a row that cannot be read


def salvage_store(folder: Path) -> str:
    """Replace a folder's store by one of its sound results; return what was kept, in words.

    Raises
    ------
    BitlatheError
        There is no store, another sweep writes into the folder, or it cannot be written.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        raise BitlatheError(f"{folder} holds no sweep ({FILE_NAME}) that could be salvaged.")
    made = folder / f"{FILE_NAME}.salvaged"
    try:
        with FolderLock(folder):
            made.unlink(missing_ok=True)
            kept = _copy(path, made)
            for side in _SIDES:
                path.with_name(FILE_NAME + side).unlink(missing_ok=True)
            os.replace(path, folder / DAMAGED)
            os.replace(made, path)
    except (OSError, sqlite3.Error) as err:
        raise BitlatheError(f"{folder}: the store cannot be salvaged: {err}.") from None
    return (
        f"{kept:,} results of the store are sound and have been kept; the others run again. "
        f"The old store is {DAMAGED}."
    )


def _copy(damaged: Path, made: Path) -> int:
    """Write the sound results of a store to a new one; return how many."""
    address = f"{damaged.absolute().as_uri()}?mode=ro"
    with closing(create(made)) as new, closing(sqlite3.connect(address, uri=True)) as old:
        old.text_factory = lambda data: data.decode("utf-8", "replace")
        with new:
            for row in _readable(old):
                new.execute("INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?)", row)
        return int(new.execute("SELECT count(*) FROM results").fetchone()[0])


def _readable(db: sqlite3.Connection) -> Iterator[Row]:
    """Yield the sound rows of ``results``: from both ends up to what cannot be read, and between.

    A damaged page ends a walk through the table; the next sound row is looked for by its number,
    in steps that double, and what was stepped over is then tried row by row.
    """
    last, first = -1, NUMBERS  # what lies between them has not been read
    for number, row in _walk(db, "ORDER BY rowid"):
        last = number
        yield from row
    for number, row in _walk(db, "ORDER BY rowid DESC"):
        if number <= last:
            return
        first = number
        yield from row
    step = 1
    while last + step < first:
        between, walked = (last + step, first), last
        for number, row in _walk(db, "WHERE rowid >= ? AND rowid < ? ORDER BY rowid", *between):
            if last == walked:
                yield from _one_by_one(db, last + 1, number)
            last = number
            yield from row
        step = 1 if last > walked else 2 * step
    yield from _one_by_one(db, last + 1, first)


def _one_by_one(db: sqlite3.Connection, start: int, end: int) -> Iterator[Row]:
    """Yield the sound rows of a range of numbers, where a walk would end at the first bad one."""
    for number in range(start, min(end, start + SINGLE)):
        for _, row in _walk(db, "WHERE rowid = ?", number):
            yield from row


def _walk(db: sqlite3.Connection, which: str, *numbers: int) -> Iterator[tuple[int, list[Row]]]:
    """Yield numbers of rows, each with the row if it is sound, as far as they can be read."""
    query = f"SELECT rowid, key, status, result, error, checksum FROM results {which}"
    try:
        for number, key, status, result, error, checksum in db.execute(query, numbers):
            outcome = Outcome(status=status, text=result, error=error)
            sound = isinstance(number, int) and outcome.checksum(key) == checksum
            yield number, [(key, status, result, error, checksum)] if sound else []
    except _UNREADABLE:
        return
