"""The store of a sweep: one SQLite file in the output folder, safe against kill -9.

Results are kept by the content of their configuration (``results.key``), with a checksum, a run's
layers beside its row; ``points`` says which of them the folder's sweep consists of, in its order,
and holds each `Point`. One transaction holds a chunk of both. ``meta`` holds facts about the sweep,
and a revision that each transaction raises.
"""

import hashlib
import json
import os
import sqlite3
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ...datatypes.base.errors import BitlatheError
from .guard import FileGuard
from .lock import FolderLock, has_locks, patient_lock
from .points import Point, point_paths

FILE_NAME = "sweep.sqlite"
LAYERS = "layers"  # the one result that is a mapping, not a number or a name
SCHEMA_VERSION = 4
LOOKUP = 500  # keys per query, below SQLite's limit of 999 variables

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS meta(name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS results(key TEXT PRIMARY KEY, status TEXT NOT NULL, "
    "result TEXT, layers TEXT, error TEXT, checksum TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS points(ordinal INTEGER PRIMARY KEY, key TEXT NOT NULL, "
    "point TEXT NOT NULL, checksum TEXT NOT NULL)",
)

RESULTS = "key, status, result, layers, error, checksum"  # the columns of `results`
Row = tuple[str, str, str | None, str | None, str | None, str]

# what SQLite raises; the words of an error about a damaged file may be no text
FAULTS = (sqlite3.Error, UnicodeDecodeError)

DONE, REFUSED, CRASHED = "done", "refused", "crashed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a point: its results, or why there are none.

    ``done``: results. ``refused``: the configuration is impossible, which a second run cannot
    change. ``crashed``: something failed that is not the configuration's fault; tried again when
    the sweep is run again. ``text`` is the JSON of the results, ``layers`` that of a run's layers:
    they are made where the run is, and go to the store and back as they are.
    """

    status: str
    text: str | None = None
    layers: str | None = None
    error: str | None = None

    @classmethod
    def of(cls, result: dict[str, Any]) -> "Outcome":
        """Return the outcome of a point with results."""
        layers = result.get(LAYERS)
        flat = {name: value for name, value in result.items() if name != LAYERS}
        return cls(status=DONE, text=_dump(flat), layers=None if layers is None else _dump(layers))

    @property
    def result(self) -> dict[str, Any] | None:
        """The results, read from their text."""
        return None if self.text is None else read_mapping(self.text)

    def checksum(self, key: str) -> str:
        """Return what tells a row that was changed or damaged from one that was stored."""
        return _checksum(key, self.status, self.text, self.layers, self.error)


def _checksum(*parts: object) -> str:
    content = json.dumps(parts, default=repr).encode()  # a damaged row may hold bytes
    return hashlib.blake2b(content, digest_size=8).hexdigest()


def read_mapping(text: str) -> dict[str, Any]:
    """Read a JSON mapping from the store.

    Raises
    ------
    BitlatheError
        If the text is not a JSON mapping: the row is damaged.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise _damaged(text)
    return content


def _damaged(text: str | None) -> BitlatheError:
    return BitlatheError(
        f"the store holds a damaged row ({str(text)[:40]!r}...); run the sweep with --salvage, "
        "which keeps the rows that can be read and runs the others again."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A point in the store: its place in the space, its key, what constraints read of its chip."""

    ordinal: int
    key: str
    point: Point
    chip: Mapping[str, Any] = field(default_factory=dict)

    @property
    def columns(self) -> dict[str, Any]:
        """The columns of the point."""
        return self.point.columns() | dict(self.chip)

    @property
    def text(self) -> str:
        """The JSON of the point and of its chip's keys."""
        return _dump(self.point.to_dict() | ({"chip": dict(self.chip)} if self.chip else {}))

    @classmethod
    def of(cls, ordinal: int, key: str, text: str) -> "Entry":
        """Return the entry of a text that was stored.

        Raises
        ------
        BitlatheError
            If the text does not describe a point: the row is damaged.
        """
        plain = read_mapping(text)
        try:
            point = Point.from_dict(plain)
        except (KeyError, AttributeError, ValueError):
            raise _damaged(text) from None
        return cls(ordinal=ordinal, key=key, point=point, chip=plain.get("chip", {}))


def _explain(path: Path, err: Exception, saved: str, again: str) -> BitlatheError:
    text = "its words are no text" if isinstance(err, UnicodeDecodeError) else str(err)
    if "full" in text or "disk I/O" in text:
        why, remedy = "the disk is full or failing", "free some space"
    elif "readonly" in text or "unable to open" in text:
        why, remedy = "it cannot be written", "use a folder you may write to"
    elif any(word in text for word in ("not a database", "malformed", "no such", "codec")):
        why = "it is no sweep store or is damaged"
        remedy = "run the sweep with --salvage, or use another output folder"
    elif "locked" in text:
        why, remedy = "another program holds it", "end that program"
    else:
        why, remedy = text, "use another output folder"
    return BitlatheError(f"{path}: {why} ({text}). {saved}; {remedy}, and {again} again.")


def other_layout(path: Path, found: str | None) -> BitlatheError:
    """Return the error of a store that another version has laid out."""
    return BitlatheError(
        f"{path}: written by another version (layout {found}, this one reads {SCHEMA_VERSION}); "
        "use another output folder."
    )


class Store:
    """A sweep's results on disk. Use as a context manager.

    One that writes has its folder to itself; any number may read.

    Parameters
    ----------
    folder : Path
        The output folder; made when it does not exist.
    readonly : bool
        Open an existing store for reading only.
    shared : bool
        Other machines may read the folder while this one writes: SQLite keeps no log that they
        would have to share memory for.
    """

    def __init__(self, folder: str | Path, *, readonly: bool = False, shared: bool = False) -> None:
        self.path = Path(folder) / FILE_NAME
        self._shared = shared
        self._again = "write the report" if readonly else "run the sweep"
        self._lock: FolderLock | None = None
        self._guard: FileGuard | None = None
        start = "The store is as it was" if readonly else "Nothing was started"
        try:
            self._db = self._open_toread_mapping() if readonly else self._open_to_write()
        except OSError as err:
            raise BitlatheError(
                f"{folder}: cannot make this output folder: {err.strerror or err}; use a folder "
                "you may write to."
            ) from None
        except FAULTS as err:
            self._unlock()
            raise _explain(self.path, err, start, self._again) from None
        self._db.isolation_level = None  # transactions are begun and ended here, by name
        # what is no UTF-8 any more fails its checksum, row by row
        self._db.text_factory = lambda data: data.decode("utf-8", "replace")
        try:
            if not readonly:
                self._prepare()
            self._check_version()
            if not readonly:
                self._guard = FileGuard(self.path)
        except FAULTS as err:
            self.close()
            raise _explain(self.path, err, start, self._again) from None
        except BitlatheError:
            self.close()
            raise

    def _connect(self, mode: str) -> sqlite3.Connection:
        if not has_locks(self.path.parent):
            mode, self._shared = f"{mode}&nolock=1", True
        # by its address, which takes any name that a file may have
        return sqlite3.connect(f"{self.path.absolute().as_uri()}?{mode}", uri=True, timeout=30)

    def _open_toread_mapping(self) -> sqlite3.Connection:
        folder = self.path.parent
        if not self.path.exists():
            raise BitlatheError(
                f"{folder} holds no sweep ({FILE_NAME}); make one with bitlathe sweep."
            )
        # SQLite makes a side file even to read, unless told that nobody writes
        wal, journal = (self.path.with_name(f"{FILE_NAME}-{end}") for end in ("wal", "journal"))
        writable = os.access(folder, os.W_OK)
        if journal.exists() and not has_locks(folder):  # undone, it might be that of a live one
            raise BitlatheError(
                f"{self.path}: a sweep is writing into it, or was killed while it did, and where "
                "there are no locks nobody can tell which; wait, or run the sweep again there."
            )
        if journal.exists() and writable:  # what a killed program left half done is undone
            return self._connect("mode=rw")
        still = not (writable or wal.exists() or journal.exists())
        return self._connect("immutable=1" if still else "mode=ro")

    def _open_to_write(self) -> sqlite3.Connection:
        folder = self.path.parent
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FolderLock(folder)
        return self._connect("mode=rwc")

    def _prepare(self) -> None:
        self._db.execute(f"PRAGMA journal_mode={'DELETE' if self._shared else 'WAL'}")
        self._db.execute(f"PRAGMA synchronous={'FULL' if self._shared else 'NORMAL'}")
        self._db.execute("BEGIN IMMEDIATE")
        _lay_out(self._db)
        self._db.execute("COMMIT")

    def _check_version(self) -> None:
        if not next(self._db.execute("SELECT count(*) FROM sqlite_master"))[0]:
            raise BitlatheError(
                f"{self.path.parent} holds no point yet: a sweep is starting there, or was stopped "
                "before it stored anything."
            )
        found = self.meta("schema")
        if found != str(SCHEMA_VERSION):
            raise other_layout(self.path, found)

    def __enter__(self) -> Self:
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
        if self._guard is not None:
            self._guard.close()
            self._guard = None
        if self._lock is not None:
            self._lock.release()

    # -- writing -------------------------------------------------------------------------------

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Do all or nothing; a failing disk becomes a BitlatheError."""
        self.check()
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute(
                "INSERT OR REPLACE INTO meta VALUES ('revision', ?)", (str(self.revision + 1),)
            )
            self._db.execute("COMMIT")
        except FAULTS as err:
            self._roll_back()
            raise _explain(self.path, err, self.saved(), self._again) from None
        except BaseException:
            self._roll_back()
            raise
        if self._guard is not None:
            self._guard.look()

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")

    def check(self) -> None:
        """Raise if the store's files are no longer those that this program opened.

        Raises
        ------
        BitlatheError
            The store was deleted, moved, replaced or cut short: which, and what became of the
            finished points.
        """
        if self._lock is not None and not self._lock.holds():
            self._lock.release()  # its file was deleted: take the new one
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = patient_lock(self.path.parent)
        problem = None if self._guard is None else self._guard.problem()
        if problem is None:
            return
        raise BitlatheError(
            f"{self.path}: it {problem} while the sweep ran. {self._fate(problem)}; run the sweep "
            "again to go on."
        )

    def _fate(self, problem: str) -> str:
        """Save what can be saved of a store that is not where it was, and say what became of it."""
        if problem != "was deleted":  # leave the files to whoever has them now
            with suppress(*FAULTS):
                self._db.execute("PRAGMA wal_checkpoint")
            if sys.version_info >= (3, 12):
                self._db.setconfig(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, True)
        if problem.startswith("was moved"):
            return "Its finished points are in it there; move it back"
        if problem == "was deleted" and not self.path.exists():
            try:
                return f"{self._rescue():,} finished points have been written to it anew"
            except (OSError, *FAULTS):
                pass
        return f"{self.saved()}, the others are lost"

    def _rescue(self) -> int:
        """Write a deleted store, which this program still has open, to its place again."""
        made = self.path.with_name(f"{FILE_NAME}.rescued")
        made.unlink(missing_ok=True)
        with closing(sqlite3.connect(f"{made.absolute().as_uri()}?mode=rwc", uri=True)) as copy:
            self._db.backup(copy)
            # a log of its own would be taken for that of the deleted file, and go with it
            copy.execute("PRAGMA journal_mode=DELETE")
            count = int(copy.execute(_COUNT).fetchone()[0])
        self._db.close()
        os.replace(made, self.path)
        return count

    def saved(self) -> str:
        """Say how many finished points the file holds, as another program would find it."""
        try:
            with closing(self._connect("mode=ro")) as db:
                count = int(db.execute(_COUNT).fetchone()[0])
        except FAULTS:
            return "None of the finished points can be read from it"
        return f"{count:,} finished points are safe in it"

    def begin(self, sweep: str, facts: dict[str, str]) -> None:
        """Make this the folder's sweep: points of another one are unlisted, results kept."""
        with self._transaction():
            if self.meta("sweep") != sweep:
                self._db.execute("DELETE FROM points")
            self._state(facts | {"sweep": sweep})

    def state(self, facts: dict[str, str]) -> None:
        """Keep facts about the sweep."""
        with self._transaction():
            self._state(facts)

    def _state(self, facts: dict[str, str]) -> None:
        self._db.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(facts.items()))

    def add(self, entries: Iterable[Entry], outcomes: Iterable[Outcome]) -> None:
        """Store a chunk of evaluated points in one transaction."""
        pairs = list(zip(entries, outcomes, strict=True))
        with self._transaction():
            self._db.executemany(
                f"INSERT OR REPLACE INTO results({RESULTS}) VALUES (?, ?, ?, ?, ?, ?)",
                [(e.key, o.status, o.text, o.layers, o.error, o.checksum(e.key)) for e, o in pairs],
            )
            self._list([e for e, _ in pairs])

    def list(self, entries: Iterable[Entry]) -> None:
        """List points whose results are already there."""
        with self._transaction():
            self._list(entries)

    def _list(self, entries: Iterable[Entry]) -> None:
        rows = [(e.ordinal, e.key, e.text) for e in entries]
        self._db.executemany(
            "INSERT OR REPLACE INTO points VALUES (?, ?, ?, ?)",
            [(*row, _checksum(*row)) for row in rows],
        )

    def make_view(self, columns: Sequence[str]) -> None:
        """Make the SQL view ``runs``: one row per finished point, one column per key."""
        parts = []
        for name in columns:
            places = [("r.result", f'$."{name}"'), *(("p.point", at) for at in point_paths(name))]
            found = ", ".join(f"json_extract({of}, {_quoted(at)})" for of, at in places)
            parts.append(f'coalesce({found}) AS "{name.replace(chr(34), chr(34) * 2)}"')
        with self._transaction():
            self._db.execute("DROP VIEW IF EXISTS runs")
            self._db.execute(
                f"CREATE VIEW runs AS SELECT p.ordinal AS ordinal, {', '.join(parts)} "
                "FROM points p JOIN results r USING (key) WHERE r.status = 'done'"
            )

    # -- reading -------------------------------------------------------------------------------

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Read one state of the store throughout, whatever a sweep writes meanwhile."""
        self._fetch("BEGIN")
        try:
            yield
        finally:
            self._roll_back()

    def _rows(self, query: str, values: Sequence[Any] = ()) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query; a damaged file becomes a BitlatheError."""
        try:
            yield from self._db.execute(query, values)
        except FAULTS as err:  # a damaged schema is quoted in errors
            raise _explain(self.path, err, self.saved(), self._again) from None

    def _fetch(self, query: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        return next(self._rows(query, values), None)

    def meta(self, name: str) -> str | None:
        """Return a stored fact about the sweep."""
        row = self._fetch("SELECT value FROM meta WHERE name = ?", (name,))
        return None if row is None else str(row[0])

    def all_facts(self) -> dict[str, str]:
        """Return every fact about the sweep, as it was stored."""
        return {
            str(name): str(value)
            for name, value in self._rows("SELECT name, value FROM meta")
            if name not in ("schema", "revision")
        }

    def view(self) -> str:
        """Return the SQL that makes the view ``runs``."""
        row = self._fetch("SELECT sql FROM sqlite_master WHERE type = 'view' AND name = 'runs'")
        return "" if row is None else str(row[0])

    def facts(self, name: str) -> dict[str, Any]:
        """Return a mapping of facts about the sweep; empty where the store has none."""
        text = self.meta(name)
        return {} if text is None else read_mapping(text)

    @property
    def revision(self) -> int:
        """A number that every change of the store raises."""
        text = self.meta("revision") or "0"
        return int(text) if text.isdecimal() else 0

    def find(self, keys: Sequence[str]) -> dict[str, Outcome]:
        """Return what is known of some keys; crashed ones count as unknown."""
        found: dict[str, Outcome] = {}
        for start in range(0, len(keys), LOOKUP):
            part = keys[start : start + LOOKUP]
            marks = ",".join("?" * len(part))
            rows = self._rows(f"SELECT {RESULTS} FROM results WHERE key IN ({marks})", part)
            for key, *values in rows:
                outcome = _checked(key, *values)
                if outcome.status != CRASHED:
                    found[key] = outcome
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

    def counts(self) -> dict[str, int]:
        """Return the number of listed points that have an outcome, by its status."""
        query = "SELECT status, count(*) FROM points JOIN results USING (key) GROUP BY status"
        return {str(status): int(count) for status, count in self._rows(query)}

    def count(self, status: str | None = None) -> int:
        """Return the number of listed points that have an outcome, or one kind of outcome."""
        counts = self.counts()
        return sum(counts.values()) if status is None else counts.get(status, 0)

    def rows(self) -> Iterator[tuple[Entry, Outcome]]:
        """Yield the sweep's points and outcomes in the order of the space.

        Raises
        ------
        BitlatheError
            If a row is not as it was written.
        """
        query = (
            "SELECT ordinal, point, p.checksum, key, status, result, layers, error, r.checksum "
            "FROM points p JOIN results r USING (key) "
            "ORDER BY ordinal"
        )
        for ordinal, point, checksum, key, *values in self._rows(query):
            if _checksum(ordinal, key, point) != checksum:
                raise _damaged(point)
            yield Entry.of(ordinal, key, point), _checked(key, *values)

    def layers(self, ordinals: Sequence[int]) -> dict[int, dict[str, Any]]:
        """Return what was stored of the layers of some points, by their places in the space."""
        found: dict[int, dict[str, Any]] = {}
        for start in range(0, len(ordinals), LOOKUP):
            part = ordinals[start : start + LOOKUP]
            marks = ",".join("?" * len(part))
            rows = self._rows(
                "SELECT ordinal, layers FROM points JOIN results USING (key) "
                f"WHERE layers IS NOT NULL AND ordinal IN ({marks})",
                part,
            )
            found |= {ordinal: read_mapping(text) for ordinal, text in rows}
        return found


def create(path: Path) -> sqlite3.Connection:
    """Make an empty store; the caller closes it."""
    db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rwc", uri=True)
    with db:
        _lay_out(db)
    return db


def _lay_out(db: sqlite3.Connection) -> None:
    for statement in _SCHEMA:
        db.execute(statement)
    db.execute("INSERT OR IGNORE INTO meta VALUES ('schema', ?)", (str(SCHEMA_VERSION),))


_COUNT = "SELECT count(*) FROM points JOIN results USING (key)"


def _quoted(text: str) -> str:
    """Return a text as a literal of SQL."""
    return "'" + text.replace("'", "''") + "'"


def _checked(
    key: str,
    status: str,
    text: str | None,
    layers: str | None,
    error: str | None,
    checksum: str | None,
) -> Outcome:
    """Return an outcome as it was stored.

    Raises
    ------
    BitlatheError
        The row is not the one that was stored.
    """
    outcome = Outcome(status=status, text=text, layers=layers, error=error)
    if outcome.checksum(key) != checksum:
        raise _damaged(text or error)
    return outcome


_dump = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
