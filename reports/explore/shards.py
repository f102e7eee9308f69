"""A sweep in shards: which points are whose, and the shards' stores joined to that of one run."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar
from zlib import crc32

from ...datatypes.base.errors import BitlatheError
from ..provenance import FILE_NAME as PROVENANCE
from ..provenance import provenance, record
from .lock import LOCK_NAME
from .store import CRASHED, FILE_NAME, RESULTS, Entry, Outcome, Store, read_mapping
from .sweepfile import canonical
from .tables import PAGE, Exported, Reason, crashed, export, old_page, set_aside

T = TypeVar("T")
MAX_SHARDS = 100_000
BLOCK = 500  # points joined at once
SHOWN = 10  # shards that an error names


@dataclass(frozen=True, slots=True)
class Shard:
    """One of ``of`` shares of a sweep's points, numbered from 1.

    Of every ``of`` points in a row a shard has one, whose place turns from row to row: a shard has
    its share of every chip, model and phase, whatever the lengths of the lists.
    """

    index: int
    of: int

    def __str__(self) -> str:
        return f"{self.index}/{self.of}"

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read ``2/4``.

        Raises
        ------
        BitlatheError
            The text is not two whole numbers, or they name no shard.

        Examples
        --------
        >>> Shard.parse("2/4")
        Shard(index=2, of=4)
        """
        found = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text, re.ASCII)
        index, of = map(int, found.groups()) if found else (0, 0)
        if not 1 <= index <= of <= MAX_SHARDS:
            raise BitlatheError(
                f"shard: {text!r}; write I/N, shard I of N, with I from 1 to N and N at most "
                f"{MAX_SHARDS}, as 2/4."
            )
        return cls(index, of)

    def has(self, position: int) -> bool:
        """Whether the point with this place in the sweep's order is the shard's."""
        return position % self.of == self._place(position // self.of)

    def count(self, total: int) -> int:
        """Return how many of a sweep's points the shard has."""
        rows, rest = divmod(total, self.of)
        return rows + (self._place(rows) < rest)

    def _place(self, row: int) -> int:
        return (self.index - 1 + crc32(row.to_bytes(8))) % self.of


def shared(items: Iterable[T], shard: Shard | None) -> Iterator[T]:
    """Return those of a sweep's points, in its order, that a shard has; all without one."""
    if shard is None:
        return iter(items)
    return (item for position, item in enumerate(items) if shard.has(position))


def shard_of(store: Store) -> Shard | None:
    """Return which shard a store holds; None where it is a sweep's only one."""
    facts = store.facts("shard")
    return Shard(facts["index"], facts["of"]) if facts else None


def shard_facts(shard: Shard | None, planned: int) -> dict[str, str]:
    """Return what the store keeps about its shard; ``planned`` counts the whole sweep's points."""
    return {"shard": canonical(asdict(shard) | {"planned": planned} if shard else {})}


def refuse_other_shard(store: Store, sweep: str, shard: Shard | None) -> None:
    """Refuse to run a shard where another one of the same sweep, or all of it, stands.

    Raises
    ------
    BitlatheError
        The tables of the folder would hold what is not the shard's.
    """
    if shard is None or store.meta("sweep") != sweep or not store.count():
        return
    if (held := shard_of(store)) != shard:
        what = "all points" if held is None else f"shard {held}"
        raise BitlatheError(
            f"{store.path.parent}: it holds {what} of this sweep; give shard {shard} a folder of "
            "its own."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What became of shards that were joined: ``points`` have an outcome, ``rows`` are in tables.

    The sweep, run in the folder, tries those again that crashed.
    """

    folder: str
    shards: int
    points: int
    rows: int
    ruled_out: int
    failures: int
    files: tuple[str, ...]
    reasons: tuple[Reason, ...] = ()

    @property
    def crashed(self) -> int:
        """Points that were not computed, though their configuration is not to blame."""
        return crashed(self.reasons)

    @property
    def failed(self) -> bool:
        """Whether there are points and not one has results."""
        return self.failures > 0 and self.failures == self.points

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)

    def text(self) -> str:
        """Return the summary for people."""
        return (
            f"{self.points:,} points of {self.shards} shards: {self.rows:,} rows, "
            f"{self.failures:,} failed, {self.ruled_out:,} ruled out by constraints\n"
        ) + "\n".join(self.files)


def merge_shards(
    folders: Sequence[str | Path],
    out: str | Path,
    *,
    say: Callable[[str], None] | None = None,
) -> Merged:
    """Join the shards of a sweep; the tables are byte for byte those of one run.

    Parameters
    ----------
    folders : sequence of str or Path
        What ``run_sweep(..., shard=)`` made: every shard, in any order, each run to its end.
    out : str or Path
        Output folder, which is a sweep's like any other afterwards.
    say : callable, optional
        Called with each remark: what was set aside.

    Raises
    ------
    BitlatheError
        A folder holds no shard, or one of another sweep, version or number of shards; a shard is
        missing or unfinished; two hold one point with different results. Nothing is written then.
    """
    target, say = Path(out), say or (lambda _: None)
    if not folders:
        raise BitlatheError("no shards to join; name their folders.")
    if any(Path(folder).resolve() == target.resolve() for folder in folders):
        raise BitlatheError(f"{target}: it holds a shard; join into another folder.")
    heads = [_Head.of(folder) for folder in folders]
    whole = _complete(heads)
    is_new, had_folder = not (target / FILE_NAME).exists(), target.exists()
    try:
        done = _write(heads, target, say)
    except BaseException:
        if is_new:
            _clear(target, with_folder=not had_folder)
        raise
    return Merged(
        folder=str(target),
        shards=whole.of,
        points=done.rows + done.failures + done.ruled_out,
        rows=done.rows,
        ruled_out=done.ruled_out,
        failures=done.failures,
        reasons=done.reasons,
        files=tuple(str(file) for file in (*done.files, target / PROVENANCE)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    """What a shard's store says of itself."""

    folder: Path
    shard: Shard
    sweep: str
    revision: int
    facts: Mapping[str, str]
    view: str

    @classmethod
    def of(cls, folder: str | Path) -> "_Head":
        with Store(folder, readonly=True) as store, store.snapshot():
            shard = shard_of(store)
            if shard is None:
                raise BitlatheError(
                    f"{folder}: it holds no shard of a sweep; make one with bitlathe sweep FILE "
                    f"--out {folder} --shard I/N."
                )
            return cls(
                folder=Path(folder),
                shard=shard,
                sweep=str(store.meta("sweep")),
                revision=store.revision,
                facts=store.all_facts(),
                view=store.view(),
            )

    def read(self, name: str) -> dict[str, Any]:
        """Return a mapping of facts."""
        return read_mapping(self.facts.get(name, "{}"))

    def blocks(self) -> Iterator[tuple[Path, list[tuple[Entry, Outcome]]]]:
        """Yield the points and outcomes some at a time, with the folder."""
        with Store(self.folder, readonly=True) as store, store.snapshot():
            if store.revision != self.revision:
                raise BitlatheError(
                    f"{self.folder}: a sweep writes into it; wait until it has ended."
                )
            rows = store.rows()
            while block := list(islice(rows, BLOCK)):
                yield self.folder, block


def _complete(heads: Sequence[_Head]) -> Shard:
    """Return the last shard of a sweep of which all shards are there."""
    first = heads[0]
    for head in heads:
        if head.sweep != first.sweep:
            raise BitlatheError(
                f"{head.folder}: it holds a shard of another sweep, or of another version of "
                f"bitlathe, than {first.folder}; join shards of one sweep file, run by one "
                "version on the same files."
            )
        if head.shard.of != first.shard.of:
            raise BitlatheError(
                f"{head.folder}: it holds shard {head.shard}, {first.folder} holds shard "
                f"{first.shard}; join shards of one division."
            )
    if cut := [head for head in heads if not head.read("progress").get("finished")]:
        places = _named([str(head.folder) for head in cut])
        shards = _named([str(head.shard) for head in cut])
        raise BitlatheError(
            f"{places}: shard{'s' if len(cut) > 1 else ''} {shards} "
            f"{'are' if len(cut) > 1 else 'is'} not finished; run the same command there again."
        )
    of, held = first.shard.of, {head.shard.index for head in heads}
    missing = [str(i) for i in range(1, of + 1) if i not in held]
    if missing:
        raise BitlatheError(
            f"{len(missing)} of {of} shards {'is' if len(missing) == 1 else 'are'} missing: "
            f"{_named(missing)}; name the folders of all of them."
        )
    return Shard(of, of)


def _named(texts: Sequence[str]) -> str:
    return ", ".join(texts[:SHOWN]) + (", ..." if len(texts) > SHOWN else "")


def _write(heads: Sequence[_Head], target: Path, say: Callable[[str], None]) -> Exported:
    """Join checked shards in a folder; on an error its store is as it was."""
    first = heads[0]
    planned = first.read("shard")["planned"]
    progress = first.read("progress") | {"planned": planned}
    of_shards = [{"shard": str(head.shard), **head.read("provenance")} for head in heads]
    made = provenance() | {"shards": of_shards}
    facts = {
        **first.facts,
        **shard_facts(None, planned),
        "progress": canonical(progress),
        "provenance": canonical(made),
    }
    with _Joined(target) as store:
        other, before = store.meta("sweep") not in (None, first.sweep), store.counts()
        store.join(facts, chain.from_iterable(head.blocks() for head in heads), first.view)
        if other and (kept := set_aside(target)):
            say(
                f"{target} held the tables or the report of another sweep; they are kept as "
                f"{', '.join(path.name for path in kept)}. Its results stay in the store."
            )
        record(target, "sweep", made)
        done = export(store, target)
        if store.counts() != before and (target / PAGE).exists():
            say(old_page(target))
        return done


class _Joined(Store):
    """A store that takes the points of others."""

    def join(
        self,
        facts: Mapping[str, str],
        blocks: Iterable[tuple[Path, list[tuple[Entry, Outcome]]]],
        view: str,
    ) -> None:
        """Make a sweep of points from other stores the folder's, in one transaction.

        Parameters
        ----------
        facts : mapping of str to str
            All facts of the sweep.
        blocks : iterable of (Path, list of (Entry, Outcome))
            Its points, with the folder that they are of.
        view : str
            The SQL that makes its view.

        Raises
        ------
        BitlatheError
            Two stores, or one and this, hold a point with different results.
        """
        with self._transaction():
            self._db.execute("DELETE FROM points")
            self._state(dict(facts))
            for folder, block in blocks:
                self._join(folder, block)
            self._db.execute("DROP VIEW IF EXISTS runs")
            self._db.execute(view)

    def _join(self, folder: Path, block: list[tuple[Entry, Outcome]]) -> None:
        marks = ",".join("?" * len(block))
        keys, places = [e.key for e, _ in block], [e.ordinal for e, _ in block]
        query = f"SELECT key, status, checksum FROM results WHERE key IN ({marks})"
        known = {key: (status, checksum) for key, status, checksum in self._rows(query, keys)}
        listed = f"SELECT ordinal, key FROM points WHERE ordinal IN ({marks})"
        taken = dict(self._rows(listed, places))
        fresh: list[tuple[Any, ...]] = []
        for entry, outcome in block:
            status, checksum = known.get(entry.key, (CRASHED, ""))
            now = outcome.checksum(entry.key)
            same = checksum == now or CRASHED in (status, outcome.status)
            if not same or taken.get(entry.ordinal, entry.key) != entry.key:
                what = ", ".join(f"{k} {v}" for k, v in entry.columns.items() if v is not None)
                raise BitlatheError(
                    f"{folder}: this point has another result than in a folder before it, or in "
                    f"{self.path.parent}: {what}. One version gives one result: run the shard "
                    "again in an empty folder, and join into another one."
                )
            if status == CRASHED:
                o = outcome
                fresh.append((entry.key, o.status, o.text, o.layers, o.error, now))
        self._db.executemany(
            f"INSERT OR REPLACE INTO results({RESULTS}) VALUES (?, ?, ?, ?, ?, ?)", fresh
        )
        self._list([entry for entry, _ in block])


def _clear(folder: Path, *, with_folder: bool) -> None:
    """Remove what a store that was refused leaves in a folder that had none."""
    for name in (FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm", LOCK_NAME):
        (folder / name).unlink(missing_ok=True)
    if with_folder:
        with suppress(OSError):  # of files of others
            folder.rmdir()
