"""Write the report of a sweep, page, charts, tables, from what was measured: it runs nothing."""

import os
import sqlite3
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...datatypes.base.errors import BitlatheError
from ...datatypes.base.files import shown_path
from ...datatypes.base.yamlfile import parse_yaml
from ..explore.accuracy import Measures
from ..explore.lock import FolderInUseError, FolderLock
from ..explore.origin import Origin
from ..explore.shards import shard_of
from ..explore.store import (
    DONE,
    FAULTS,
    FILE_NAME,
    LAYERS,
    Store,
)
from ..explore.tables import (
    Finished,
    TableError,
    are_current,
    columns_of,
    constraints_of,
    export,
    keep_old,
    write_csv,
)
from ..provenance import provenance, record
from . import figures
from .accuracy import TABLE, Measured, with_accuracy
from .facts import titled, with_formats
from .frame import Frame
from .fronts import NAMES, on_front, tradeoffs
from .page import Kept, render, sample

PAGE = "report.html"
WHOLE = ("results.csv", "results.parquet")  # what a page that shows some of the points links to
PAGE_POINTS = 20_000
LAYER_POINTS = {"analytic": 2000}
FEW_LAYER_POINTS = 200  # of other rungs, whose models have more layers that differ


def report(
    folder: str | Path,
    measures: Measures | None = None,
    say: Callable[[str], None] | None = None,
) -> list[Path]:
    """Write the report of a sweep's folder into it.

    Parameters
    ----------
    folder : str or Path
        What ``bitlathe sweep --out`` wrote.
    measures : Measures, optional
        What was measured of its models and formats (`explore.accuracy.measure_accuracy`).
    say : callable, optional
        Called with each remark that the page shows: points that are missing, what accuracy is.

    Returns
    -------
    list of Path
        ``report.html``, a ``.png`` and ``.svg`` per trade-off, ``results.csv``, ``pareto.csv``.

    Raises
    ------
    BitlatheError
        The folder holds no sweep or no finished point, cannot be written, or a package of the
        [report] extra is missing.
    """
    folder = Path(folder)
    with _last_to_close(folder / FILE_NAME), Store(folder, readonly=True) as store:
        tables = _tables(store, folder)
        with store.snapshot():
            file, origin = store.facts("file"), Origin.of(store)
            title, description = _words(str(file.get("text", "")))
            words = Words(
                title=title or shown_path(folder.resolve().name),
                description=description,
                notes=(*_missing(store), *tables, *origin.changes()),
                origin=origin,
                measures=measures or Measures(),
                say=say or (lambda _: None),
            )
            return _write(_Stored(store), folder, words)


def _tables(store: Store, folder: Path) -> list[str]:
    """Bring the sweep's tables up to date; return what a reader must know of them.

    A sweep that runs, or another report, has the folder to itself: its files are left alone.
    """
    if are_current(store, folder):
        return []
    try:
        lock = FolderLock(folder)
    except FolderInUseError:
        return ["A sweep is running here: it writes results.csv when it has come to its end."]
    except OSError:  # a folder that cannot be written: the report will say so
        return []
    with lock, store.snapshot():
        export(store, folder)
    return []


@contextmanager
def _last_to_close(path: Path) -> Iterator[None]:
    """Hold a store as a writer would: the last one to close it takes its side files away.

    Readers alone leave ``-wal`` and ``-shm`` behind, as they may not remove them.
    """
    if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        yield
        return
    address = f"{path.absolute().as_uri()}?mode=rw"
    with closing(sqlite3.connect(address, uri=True)) as holder:
        with suppress(*FAULTS):  # which the store explains
            holder.execute("SELECT count(*) FROM meta").fetchone()  # opens the file
        yield


def _missing(store: Store) -> Iterator[str]:
    """Yield what a reader must know of points that are not there, or not yet."""
    counts, progress = store.counts(), store.facts("progress")
    held, planned = sum(counts.values()), progress.get("planned")
    most = "" if progress.get("exact") else "at most "
    if shard := shard_of(store):
        whole = store.facts("shard")["planned"]
        yield (
            f"This is shard {shard}: it is asked for {most}{planned:,} of the sweep's {most}"
            f"{whole:,} points; bitlathe sweep merge joins all shards."
        )
    if planned is not None and not progress.get("finished"):
        yield f"{held:,} of {most}{planned:,} points are done: the sweep is not finished."
    failed = held - counts.get(DONE, 0)
    if failed:
        yield (
            f"{failed:,} points have no result; failures.csv says why for each."
            if failed > 1
            else "One point has no result; failures.csv says why."
        )


def _words(text: str) -> tuple[str, str]:
    """Return title and description of a sweep file's text."""
    try:
        data = parse_yaml(text, "sweep file").data
    except BitlatheError:
        return "", ""
    if not isinstance(data, dict):
        return "", ""
    return str(data.get("title") or ""), str(data.get("description") or "")


def write(
    rows: Sequence[Mapping[str, Any]],
    folder: Path,
    *,
    title: str,
    description: str = "",
    notes: Sequence[str] = (),
    measures: Measures | None = None,
) -> list[Path]:
    """Write page, charts and tables for any rows.

    Parameters
    ----------
    rows : sequence of mappings
        One record a point: ``arch, model, phase, context, batch``, what was chosen, and results
        named as in a sweep's table (``seconds``, ``energy_pj.total``, ``area_um2.total`` ...;
        nested mappings become dotted columns). A measure of accuracy may be among them
        (``perplexity``, ``kl_nats``, ``output_error``, ``weight_error``), and ``layers`` for
        rooflines (`explore.rows.roofline`). Rows whose ``status`` is not ``done`` are left out.
    folder : Path
        Where to write; made if missing.
    title, description : str
        Shown on top of the page.
    notes : sequence of str
        What a reader must know beside what this function finds.
    measures : Measures, optional
        What was measured of rows that carry no accuracy (`explore.accuracy.measure_pairs`).

    Returns
    -------
    list of Path
        The files written, ``report.html`` first.

    Raises
    ------
    BitlatheError
        No row, a folder that cannot be written, a missing package of the [report] extra.
    """
    words = Words(
        title=title,
        description=description,
        notes=tuple(notes),
        measures=measures or Measures(),
    )
    return _write(_Given(rows), folder, words, results=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What the page says beside its data, where that comes from, what was measured of it."""

    title: str
    description: str = ""
    notes: tuple[str, ...] = ()
    origin: Origin = field(default_factory=Origin)
    measures: Measures = field(default_factory=Measures)
    say: Callable[[str], None] = lambda _: None


class Source(Protocol):
    """Where a report's points come from."""

    def rows(self) -> Iterable[Mapping[str, Any]]:
        """Return the finished points as flat rows."""

    def layers(self, places: Sequence[int]) -> dict[int, Kept]:
        """Return the layers of some of the rows, once these have been walked, by their places.

        What has none is left out; all others have a ``roofline``.
        """


class _Stored:
    """The points of a sweep's store."""

    def __init__(self, store: Store) -> None:
        self._store, self._ordinals = store, array("q")

    def rows(self) -> Iterator[Mapping[str, Any]]:
        self._ordinals = array("q")
        for ordinal, row in Finished(self._store, constraints_of(self._store)).placed():
            self._ordinals.append(ordinal)
            yield row

    def layers(self, places: Sequence[int]) -> dict[int, Kept]:
        kept = self._store.layers([self._ordinals[i] for i in places])
        found = {i: kept.get(self._ordinals[i], {}) for i in places}
        return {i: layers for i, layers in found.items() if "roofline" in layers}


class _Given:
    """Rows that a caller has."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self._rows = [row for row in rows if row.get("status", DONE) == DONE]

    def rows(self) -> Iterable[Mapping[str, Any]]:
        return self._rows

    def layers(self, places: Sequence[int]) -> dict[int, Kept]:
        return {i: {"roofline": self._rows[i][LAYERS]} for i in places if LAYERS in self._rows[i]}


def _write(source: Source, folder: Path, words: Words, *, results: bool = False) -> list[Path]:
    """Write all files; ``results``: results.csv too."""
    part = folder / f".report.{os.getpid()}.part"
    try:
        part.mkdir(parents=True, exist_ok=True)
        names = _write_files(source, part, folder, words, results=results)
        return _publish(part, folder, names, words)
    except OSError as err:
        raise BitlatheError(
            f"cannot write the report to {folder}: {err.strerror or err}; choose a folder you may "
            "write to, with free space. What was there is as it was."
        ) from None
    except TableError as err:
        raise BitlatheError(f"{err}; free some space and write the report again.") from None
    finally:
        rmtree(part, ignore_errors=True)


def _publish(part: Path, folder: Path, names: list[str], words: Words) -> list[Path]:
    """Move finished files to their places, the page last; set aside what is no longer made."""
    made = sorted(path.name for path in part.iterdir())
    for name in made:
        if name != PAGE:
            os.replace(part / name, folder / name)
    os.replace(part / PAGE, folder / PAGE)
    pictures = [f"{name}.{kind}" for name in NAMES for kind in ("png", "svg")]
    gone = [name for name in (*pictures, TABLE) if name not in made and (folder / name).exists()]
    if gone:
        kept = [keep_old(folder / name).name for name in gone]
        words.say(f"This report no longer makes {', '.join(gone)}; kept as {', '.join(kept)}.")
    found = [folder / name for name in names if (folder / name).exists()]
    return [*found, record(folder, "report", provenance())]


def _write_files(
    source: Source, part: Path, folder: Path, words: Words, *, results: bool
) -> list[str]:
    """Write all files into ``part``; return the names that the folder then has."""
    measured = _prepare(source.rows(), part, folder, words)
    frame, remarks = measured.frame, [*words.notes, *measured.remarks]
    named = titled(frame, words.origin)
    chosen = tradeoffs(frame)
    masks = {t.name: on_front(frame, t) for t in chosen}
    on_any = np.zeros(frame.count, dtype=bool)
    for mask in masks.values():
        on_any |= mask
    index = sample(frame, on_any, PAGE_POINTS)
    if len(index) < frame.count:
        remarks.append(
            f"The page shows {len(index):,} of {frame.count:,} points: those on a Pareto front "
            "and an even sample of the rest. results.csv holds all."
        )
    names = [PAGE]
    for tradeoff in chosen:
        pair = [f"{tradeoff.name}.{kind}" for kind in ("png", "svg")]
        figures.draw(named, tradeoff, measured, [part / n for n in pair], words.origin.made)
        names += pair
    if results:
        rows = [{k: v for k, v in row.items() if k != LAYERS} for row in source.rows()]
        write_csv(part / "results.csv", iter(rows), list(columns_of(iter(rows), [])))
    _write_pareto(part / "pareto.csv", frame, masks, on_any)
    page = render(
        named,
        title=words.title,
        description=words.description,
        notes=remarks,
        tradeoffs=chosen,
        measured=measured,
        index=index,
        made=words.origin.made,
        files=[n for n in WHOLE if (part / n).exists() or (folder / n).exists()],
        layers=_layers(source, frame, index, on_any),
    )
    (part / PAGE).write_text(page, encoding="utf-8", errors="backslashreplace")
    for remark in remarks:
        words.say(remark)
    return [*names, "results.csv", "pareto.csv"]


def _prepare(rows: Iterable[Mapping[str, Any]], part: Path, folder: Path, words: Words) -> Measured:
    """Return the finished rows as columns, with formats and an accuracy axis."""
    frame = Frame.of(rows)
    if not frame.count:
        raise BitlatheError(
            f"{folder} holds no finished point to report; failures.csv there says what failed, "
            "or run the sweep first."
        )
    frame = with_formats(frame, words.origin)
    return with_accuracy(frame, words.measures, part)


def _layers(
    source: Source, frame: Frame, index: NDArray[np.intp], on_any: NDArray[np.bool_]
) -> dict[int, Kept]:
    """Return the layers of shown points, by their places on the page: those on a front first."""
    fidelities = frame.texts.get("fidelity")
    rungs = set(fidelities.levels) if fidelities is not None else {"analytic"}
    most = min(LAYER_POINTS.get(rung, FEW_LAYER_POINTS) for rung in rungs)
    chosen = sample(frame.take(index), on_any[index], most)
    found = source.layers(index[chosen].tolist())
    return {
        i: found[j]
        for i, j in zip(chosen.tolist(), index[chosen].tolist(), strict=True)
        if j in found
    }


def _write_pareto(
    path: Path,
    frame: Frame,
    masks: dict[str, NDArray[np.bool_]],
    chosen: NDArray[np.bool_],
) -> None:
    """Write the rows on a front, and which fronts they are on."""

    def lines() -> Iterator[dict[str, Any]]:
        for i in np.flatnonzero(chosen).tolist():
            fronts = " ".join(name for name, mask in masks.items() if mask[i])
            yield {"front": fronts, **frame.row(i)}

    write_csv(path, lines(), ["front", *frame.names])
