"""What can be read of a damaged store, row by row, written to a new one.

Only results are kept, those whose checksum holds: the sweep lists its points anew when it runs. The
damaged store stays beside the new one, with what SQLite had not yet written into it.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from itertools import count
from pathlib import Path

from ...datatypes.base.errors import BitlatheError
from .lock import FolderLock
from .store import (
    FILE_NAME,
    RESULTS,
    SCHEMA_VERSION,
    Outcome,
    Row,
    create,
    other_layout,
)

DAMAGED = f"{FILE_NAME}.damaged"
LOG, INDEX = "-wal", "-shm"  # SQLite's files beside a store; the index can be made anew
_UNREADABLE = (sqlite3.Error, UnicodeDecodeError, OverflowError)
NUMBERS = 2**62  # no row's number is larger
SINGLE = 100_000  # numbers tried one by one after a row that cannot be read


def salvage_store(folder: Path) -> str:
    """Replace a folder's store by one of its sound results; return what was kept, in words.

    Raises
    ------
    BitlatheError
        There is no store, or one of another version; another sweep writes into the folder, or it
        cannot be written.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        raise BitlatheError(f"{folder} holds no sweep ({FILE_NAME}) that could be salvaged.")
    made = folder / f"{FILE_NAME}.salvaged"
    try:
        with FolderLock(folder):
            made.unlink(missing_ok=True)
            kept = _copy(path, made)
            aside = _free_name(folder)
            log = path.with_name(FILE_NAME + LOG)
            if log.exists() and log.stat().st_size:
                os.replace(log, f"{aside}{LOG}")
            log.unlink(missing_ok=True)  # an empty one, which reading makes
            path.with_name(FILE_NAME + INDEX).unlink(missing_ok=True)
            os.replace(path, aside)
            os.replace(made, path)
    except (OSError, sqlite3.Error) as err:
        raise BitlatheError(f"{folder}: the store cannot be salvaged: {err}.") from None
    sound = (
        "result of the store is sound and has"
        if kept == 1
        else "results of the store are sound and have"
    )
    return f"{kept:,} {sound} been kept; the others run again. The old store is {aside.name}."


def _free_name(folder: Path) -> Path:
    """Return the first name for a damaged store that no earlier one has."""
    names = (folder / f"{DAMAGED}{n if n > 1 else ''}" for n in count(1))
    return next(p for p in names if not os.path.lexists(p) and not os.path.lexists(f"{p}{LOG}"))


def _copy(damaged: Path, made: Path) -> int:
    """Write the sound results of a store to a new one; return how many."""
    address = f"{damaged.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True)) as old:
        old.text_factory = lambda data: data.decode("utf-8", "replace")
        _refuse_other_layout(old, damaged)
        marks = ", ".join("?" * len(RESULTS.split(",")))
        with closing(create(made)) as new:
            with new:
                for row in _readable(old):
                    new.execute(f"INSERT OR REPLACE INTO results({RESULTS}) VALUES ({marks})", row)
            return int(new.execute("SELECT count(*) FROM results").fetchone()[0])


def _refuse_other_layout(db: sqlite3.Connection, path: Path) -> None:
    """Refuse a store whose layout can be read and is another one: it is not damaged."""
    try:
        found = db.execute("SELECT value FROM meta WHERE name = 'schema'").fetchone()
    except _UNREADABLE:
        return
    if found and str(found[0]).isdecimal() and str(found[0]) != str(SCHEMA_VERSION):
        raise other_layout(path, found[0])


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
    query = f"SELECT rowid, {RESULTS} FROM results {which}"
    try:
        for number, *row in db.execute(query, numbers):
            key, status, result, layers, error, checksum = row
            outcome = Outcome(status=status, text=result, layers=layers, error=error)
            sound = isinstance(number, int) and outcome.checksum(key) == checksum
            yield number, [(key, status, result, layers, error, checksum)] if sound else []
    except _UNREADABLE:
        return
