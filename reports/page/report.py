"""Write the report of a sweep: page, charts, tables."""

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...datatypes.base.errors import BitlatheError
from ...datatypes.base.files import shown_path
from ...datatypes.base.yamlfile import parse_yaml
from ..explore.space import AccuracyAsked
from ..explore.store import DONE, FAULTS, FILE_NAME, FolderInUseError, FolderLock, Store
from ..explore.tables import (
    TableError,
    are_current,
    columns_of,
    constraints_of,
    export,
    keep_old,
    results,
    write_csv,
)
from ..provenance import provenance, record
from . import figures
from .accuracy import TABLE, Measured, Progress, Wanted, with_accuracy
from .facts import titled
from .frame import Frame
from .fronts import NAMES, on_front, tradeoffs
from .layers import layers_of, with_formats
from .origin import Origin
from .page import render, sample

PAGE = "report.html"
PAGE_POINTS = 20_000
LAYER_POINTS = {"analytic": 2000}
FEW_LAYER_POINTS = 200  # for rungs that take milliseconds a layer


def report(
    folder: str | Path,
    accuracy: Wanted | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> list[Path]:
    """Write the report of a sweep's folder into it.

    Parameters
    ----------
    folder : str or Path
        What ``bitlathe sweep --out`` wrote.
    accuracy : Wanted, optional
        How to measure the perplexity of models whose weights are at hand, in place of what the
        sweep file's key ``accuracy`` says. Without either, accuracy is a proxy.
    progress : callable, optional
        ``progress(items, label)`` yields the items and may show how far it is.
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
            title, description, stated = _words(str(file.get("text", "")))
            words = Words(
                title=title or shown_path(folder.resolve().name),
                description=description,
                notes=(*_missing(store), *tables, *origin.changes()),
                origin=origin,
                wanted=accuracy or _wanted(stated, origin.home),
                progress=progress,
                say=say or (lambda _: None),
            )
            late = constraints_of(store)
            return _write(lambda: results(store, late), folder, words)


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
    if planned is not None and not progress.get("finished"):
        most = "" if progress.get("exact") else "at most "
        yield f"{held:,} of {most}{planned:,} points are done: the sweep is not finished."
    failed = held - counts.get(DONE, 0)
    if failed:
        yield (
            f"{failed:,} points have no result; failures.csv says why for each."
            if failed > 1
            else "One point has no result; failures.csv says why."
        )


def _words(text: str) -> tuple[str, str, Any]:
    """Return title, description and the key ``accuracy`` of a sweep file's text."""
    try:
        data = parse_yaml(text, "sweep file").data
    except BitlatheError:
        return "", "", None
    if not isinstance(data, dict):
        return "", "", None
    return (
        str(data.get("title") or ""),
        str(data.get("description") or ""),
        data.get("accuracy"),
    )


def _wanted(stated: Any, home: Path | None) -> Wanted | None:
    """Return what a sweep file's key ``accuracy`` asks for."""
    if stated is None:
        return None
    asked = AccuracyAsked.model_validate(stated)
    text = None if asked.text is None else (home or Path()) / asked.text
    return Wanted(tokens=asked.tokens, context=asked.context, text=text)


def write(
    rows: Sequence[Mapping[str, Any]],
    folder: Path,
    *,
    title: str,
    description: str = "",
    notes: Sequence[str] = (),
) -> list[Path]:
    """Write page, charts and tables for any rows.

    Parameters
    ----------
    rows : sequence of mappings
        One record a point: ``arch, model, phase, context, batch``, what was chosen, and results
        named as in a sweep's table (``seconds``, ``energy_pj.total``, ``area_um2.total`` ...;
        nested mappings become dotted columns). A measure of accuracy may be among them
        (``perplexity``, ``kl_nats``, ``output_error``, ``weight_error``); without one, the error
        of each format on reference weights is measured and labelled as a proxy. Rows whose
        ``status`` is not ``done`` are left out.
    folder : Path
        Where to write; made if missing.
    title, description : str
        Shown on top of the page.
    notes : sequence of str
        What a reader must know beside what this function finds.

    Returns
    -------
    list of Path
        The files written, ``report.html`` first.

    Raises
    ------
    BitlatheError
        No row, a folder that cannot be written, a missing package of the [report] extra.
    """
    words = Words(title=title, description=description, notes=tuple(notes))
    return _write(lambda: rows, folder, words, results=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What the page says beside its data, where that comes from, what is to be measured."""

    title: str
    description: str = ""
    notes: tuple[str, ...] = ()
    origin: Origin = field(default_factory=Origin)
    wanted: Wanted | None = None
    progress: Progress | None = None
    say: Callable[[str], None] = lambda _: None


Source = Callable[[], Iterable[Mapping[str, Any]]]


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
    measured = _prepare(source(), part, folder, words)
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
        rows = [dict(row) for row in source()]
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
        layers=_layers(frame.take(index), on_any[index], words.origin),
    )
    (part / PAGE).write_text(page, encoding="utf-8", errors="backslashreplace")
    for remark in remarks:
        words.say(remark)
    return [*names, "results.csv", "pareto.csv"]


def _prepare(rows: Iterable[Mapping[str, Any]], part: Path, folder: Path, words: Words) -> Measured:
    """Return the finished rows as columns, with formats and an accuracy axis."""
    frame = Frame.of(row for row in rows if row.get("status", DONE) == DONE)
    if not frame.count:
        raise BitlatheError(
            f"{folder} holds no finished point to report; failures.csv there says what failed, "
            "or run the sweep first."
        )
    frame = with_formats(frame, words.origin)
    return with_accuracy(frame, part, folder, words.origin, words.wanted, words.progress)


def _layers(
    frame: Frame, preferred: NDArray[np.bool_], origin: Origin
) -> dict[int, list[list[Any]]]:
    """Simulate points again for their layers: those on a front first, up to a budget."""
    fidelities = frame.texts.get("fidelity")
    rungs = set(fidelities.levels) if fidelities is not None else {"analytic"}
    most = min(LAYER_POINTS.get(rung, FEW_LAYER_POINTS) for rung in rungs)
    return layers_of(frame, sample(frame, preferred, most).tolist(), origin)


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
