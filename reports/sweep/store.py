"""The store of a sweep: one SQLite file in the output folder, safe against kill -9.

Results are kept by the content of their configuration (``results.key``); ``points`` says which of
them the folder's sweep consists of, in its order. One transaction holds a chunk of both.
"""

import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from ...datatypes.errors import BitlatheError

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

FILE_NAME = "sweep.sqlite"
LOCK_NAME = "sweep.lock"
LAYERS = "layers"  # the one result that is a table, not a number or a name
SCHEMA_VERSION = 1
LOOKUP = 500  # keys per query, below SQLite's limit of 999 variables

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS results(key TEXT PRIMARY KEY, status TEXT NOT NULL, "
    "result TEXT, error TEXT)",
    "CREATE TABLE IF NOT EXISTS points(ordinal INTEGER PRIMARY KEY, key TEXT NOT NULL, "
    "point TEXT NOT NULL)",
)

DONE, REFUSED, CRASHED = "done", "refused", "crashed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a point: its results, or why there are none.

    ``done``: results. ``refused``: the configuration is impossible, which a second run cannot
    change. ``crashed``: something failed that is not the configuration's fault; tried again when
    the sweep is run again. ``text`` is the JSON of the results: it is made where they are, and
    goes to the store and back as it is.
    """

    status: str
    text: str | None = None
    error: str | None = None

    @classmethod
    def of(cls, result: dict[str, Any]) -> "Outcome":
        """Return the outcome of a point with results."""
        return cls(status=DONE, text=_dump(result))

    @property
    def result(self) -> dict[str, Any] | None:
        """The results, read from their text."""
        return None if self.text is None else _read(self.text)


def _read(text: str) -> dict[str, Any]:
    """Read a JSON mapping from the store."""
    try:
        content: dict[str, Any] = json.loads(text)
    except ValueError:
        raise BitlatheError(
            f"the store holds a damaged row ({text[:40]!r}...); use another output folder, or "
            f"delete {FILE_NAME} and run the sweep again."
        ) from None
    return content


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A point on its way into the store: its place in the space, its key, its columns."""

    ordinal: int
    key: str
    columns: dict[str, Any]


def _explain(path: Path, err: sqlite3.Error, saved: str) -> BitlatheError:
    text = str(err)
    if "full" in text or "disk I/O" in text:
        why, remedy = "the disk is full or failing", "free some space"
    elif "readonly" in text or "unable to open" in text:
        why, remedy = "it cannot be written", "use a folder you may write to"
    elif "not a database" in text or "malformed" in text:
        why, remedy = "it is no sweep store or is damaged", "use another output folder"
    elif "locked" in text:
        why, remedy = "another program holds it", "end that program"
    else:
        why, remedy = text, "use another output folder"
    return BitlatheError(f"{path}: {why} ({text}). {saved}; {remedy} and run the sweep again.")


class FolderLock:
    """Keeps other sweeps out of a folder while this one writes; it ends with the process.

    A lock of the operating system on an empty file, which holds the process id for errors.
    """

    def __init__(self, folder: Path) -> None:
        self._file = (folder / LOCK_NAME).open("a+", encoding="ascii")
        if fcntl is None:  # no such locks on this system
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            pid = self._file.read(20).strip() or "unknown"
            self._file.close()
            raise BitlatheError(
                f"{folder}: another sweep (pid {pid}) is writing here; wait for it, or use "
                "another output folder."
            ) from None
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        """Let others in."""
        self._file.close()


class Store:
    """A sweep's results on disk. Use as a context manager.

    One that writes has its folder to itself; any number may read.

    Parameters
    ----------
    folder : Path
        The output folder; made when it does not exist.
    readonly : bool
        Open an existing store for reading only.
    """

    def __init__(self, folder: str | Path, *, readonly: bool = False) -> None:
        self.path = Path(folder) / FILE_NAME
        self._lock: FolderLock | None = None
        try:
            self._db = self._open_to_read() if readonly else self._open_to_write()
        except OSError as err:
            raise BitlatheError(
                f"{folder}: cannot make this output folder: {err.strerror}; use a folder you may "
                "write to."
            ) from None
        except sqlite3.Error as err:
            self._unlock()
            raise _explain(self.path, err, "Nothing was started") from None
        self._db.isolation_level = None  # transactions are begun and ended here, by name
        try:
            if not readonly:
                self._prepare()
            self._check_version()
        except sqlite3.Error as err:
            self.close()
            raise _explain(self.path, err, "Nothing was started") from None
        except BitlatheError:
            self.close()
            raise

    def _open_to_read(self) -> sqlite3.Connection:
        folder = self.path.parent
        if not self.path.exists():
            raise BitlatheError(
                f"{folder} holds no sweep ({FILE_NAME}); make one with bitlathe sweep."
            )
        # SQLite makes a side file even to read, unless told that nobody writes
        wal = self.path.with_name(f"{FILE_NAME}-wal")
        still = not os.access(folder, os.W_OK) and not wal.exists()
        mode = "immutable=1" if still else "mode=ro"
        return sqlite3.connect(f"{self.path.absolute().as_uri()}?{mode}", uri=True)

    def _open_to_write(self) -> sqlite3.Connection:
        folder = self.path.parent
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FolderLock(folder)
        return sqlite3.connect(self.path, timeout=30)

    def _prepare(self) -> None:
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute("BEGIN IMMEDIATE")
        for statement in _SCHEMA:
            self._db.execute(statement)
        self._db.execute("INSERT OR IGNORE INTO meta VALUES ('schema', ?)", (str(SCHEMA_VERSION),))
        self._db.execute("COMMIT")

    def _check_version(self) -> None:
        found = self.meta("schema")
        if found != str(SCHEMA_VERSION):
            raise BitlatheError(
                f"{self.path}: written by another version (layout {found}, this one reads "
                f"{SCHEMA_VERSION}); use another output folder."
            )

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; everything committed is already safe."""
        self._db.close()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Do all or nothing; a failing disk becomes a BitlatheError."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except sqlite3.Error as err:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise _explain(self.path, err, self._saved()) from None
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _saved(self) -> str:
        try:
            return f"{self.count()} finished points are safe in it"
        except sqlite3.Error:
            return "Finished points stay in it"

    def _rows(self, query: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query; a damaged file becomes a BitlatheError."""
        try:
            yield from self._db.execute(query, values)
        except sqlite3.Error as err:
            raise _explain(self.path, err, self._saved()) from None

    def meta(self, name: str) -> str | None:
        """Return a stored fact about the sweep."""
        row = self._db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

    def begin(self, sweep: str, facts: dict[str, str]) -> None:
        """Make this the folder's sweep: points of another one are unlisted, results kept."""
        with self._transaction():
            if self.meta("sweep") != sweep:
                self._db.execute("DELETE FROM points")
            self._db.executemany(
                "INSERT OR REPLACE INTO meta VALUES (?, ?)", [*facts.items(), ("sweep", sweep)]
            )

    def find(self, keys: Sequence[str]) -> dict[str, Outcome]:
        """Return what is known of some keys; crashed ones count as unknown."""
        found: dict[str, Outcome] = {}
        for start in range(0, len(keys), LOOKUP):
            part = keys[start : start + LOOKUP]
            marks = ",".join("?" * len(part))
            rows = self._rows(
                f"SELECT key, status, result, error FROM results WHERE key IN ({marks})", part
            )
            for key, status, result, error in rows:
                if status != CRASHED:
                    found[key] = Outcome(status=status, text=result, error=error)
        return found

    def known(self, keys: Sequence[str]) -> set[str]:
        """Return which keys need no evaluation; as `find`, without reading the results."""
        found: set[str] = set()
        for start in range(0, len(keys), LOOKUP):
            part = keys[start : start + LOOKUP]
            marks = ",".join("?" * len(part))
            rows = self._rows(
                f"SELECT key FROM results WHERE status != ? AND key IN ({marks})", (CRASHED, *part)
            )
            found.update(row[0] for row in rows)
        return found

    def add(self, entries: Iterable[Entry], outcomes: Iterable[Outcome]) -> None:
        """Store a chunk of evaluated points in one transaction."""
        pairs = list(zip(entries, outcomes, strict=True))
        with self._transaction():
            self._db.executemany(
                "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?)",
                [(e.key, o.status, o.text, o.error) for e, o in pairs],
            )
            self._list([e for e, _ in pairs])

    def list(self, entries: Iterable[Entry]) -> None:
        """List points whose results are already there."""
        with self._transaction():
            self._list(entries)

    def _list(self, entries: Iterable[Entry]) -> None:
        self._db.executemany(
            "INSERT OR REPLACE INTO points VALUES (?, ?, ?)",
            [(e.ordinal, e.key, _dump(e.columns)) for e in entries],
        )

    def count(self, status: str | None = None) -> int:
        """Return the number of listed points that have an outcome, or one kind of outcome."""
        query = "SELECT count(*) FROM points JOIN results USING (key)"
        if status is None:
            return int(self._db.execute(query).fetchone()[0])
        return int(self._db.execute(f"{query} WHERE status = ?", (status,)).fetchone()[0])

    def rows(self) -> Iterator[tuple[Entry, Outcome]]:
        """Yield the sweep's points and outcomes in the order of the space."""
        query = (
            "SELECT ordinal, key, point, status, result, error "
            "FROM points JOIN results USING (key) "
            "ORDER BY ordinal"
        )
        for ordinal, key, point, status, result, error in self._rows(query):
            entry = Entry(ordinal=ordinal, key=key, columns=_read(point))
            yield entry, Outcome(status=status, text=result, error=error)

    def make_view(self, columns: Sequence[str]) -> None:
        """Make the SQL view ``runs``: one row per finished point, one column per key."""
        point = "json_extract(p.point, {0})"
        both = f"coalesce(json_extract(r.result, {{0}}), {point})"
        parts = []
        for name in columns:
            path = "'$.\"" + name.replace("'", "''") + "\"'"
            parts.append(f'{both.format(path)} AS "{name.replace(chr(34), chr(34) * 2)}"')
        with self._transaction():
            self._db.execute("DROP VIEW IF EXISTS runs")
            self._db.execute(
                f"CREATE VIEW runs AS SELECT p.ordinal AS ordinal, {', '.join(parts)} "
                "FROM points p JOIN results r USING (key) WHERE r.status = 'done'"
            )


_dump = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
