"""Write the report of a sweep: page, charts, tables."""

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...datatypes.errors import BitlatheError
from ...datatypes.yamlfile import parse_yaml
from ..provenance import provenance, record
from ..sweep.api import read_results, run_sweep
from ..sweep.export import columns_of, write_csv
from ..sweep.spec import AccuracyAsked
from ..sweep.store import DONE, FILE_NAME, Store
from . import figures
from .accuracy import Measured, Progress, Wanted, with_accuracy
from .facts import titled
from .frame import Frame
from .fronts import NAMES, on_front, tradeoffs
from .layers import layers_of, with_formats
from .origin import Origin
from .page import render, sample

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
        text, home = store.meta("file") or "", store.meta("folder")
        title, description, stated = _words(text)
        origin = Origin.of(store)
        words = Words(
            title=title or folder.resolve().name,
            description=description,
            notes=(*_missing(store, text, home), *origin.changes()),
            origin=origin,
            wanted=accuracy or _wanted(stated, home),
            progress=progress,
            say=say or (lambda _: None),
        )
        return _write(lambda: read_results(folder), folder, words)


@contextmanager
def _last_to_close(path: Path) -> Iterator[None]:
    """Hold a store as a writer would: the last one to close it takes its side files away.

    Readers alone leave ``-wal`` and ``-shm`` behind, as they may not remove them.
    """
    if not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        yield
        return
    with closing(sqlite3.connect(path)) as holder:
        with suppress(sqlite3.Error):  # which the store explains
            holder.execute("SELECT count(*) FROM meta").fetchone()  # opens the file
        yield


def _missing(store: Store, text: str, home: str | None) -> Iterator[str]:
    """Yield what a reader must know of points that are not there, or not yet."""
    held, planned = store.count(), _planned(text, home)
    if planned is not None and held < planned:
        yield f"{held:,} of {planned:,} points are done: the sweep is not finished."
    failed = held - store.count(DONE)
    if failed:
        yield (
            f"{failed:,} points have no result; failures.csv says why for each."
            if failed > 1
            else "One point has no result; failures.csv says why."
        )


def _planned(text: str, home: str | None) -> int | None:
    """Return how many points a sweep file asks for; None where that cannot be told."""
    try:
        data = parse_yaml(text, "sweep file").data
        if data.get("sampling") and data.get("constraints"):
            return None  # a sample is as large as the constraints let it be
        with TemporaryDirectory() as folder:  # the file's own may be read-only
            for first in {Path(str(name)).parts[0] for name in _names(data)}:
                found = Path(home or "") / first
                if found.exists() and first not in {"/", ".."}:
                    (Path(folder) / first).symlink_to(found.absolute())
            file = Path(folder) / "the sweep.yaml"
            file.write_text(text, encoding="utf-8")
            plan = run_sweep(file, folder, dry_run=True)
    except (AttributeError, BitlatheError, KeyError, OSError, TypeError, ValueError):
        return None
    return plan.points


def _names(data: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the chips and models of a sweep file."""
    for key in ("arch", "models"):
        yield from data[key] if isinstance(data[key], list) else [data[key]]


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


def _wanted(stated: Any, home: str | None) -> Wanted | None:
    """Return what a sweep file's key ``accuracy`` asks for."""
    if stated is None:
        return None
    asked = AccuracyAsked.model_validate(stated)
    text = None if asked.text is None else Path(home or "") / asked.text
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
    """Write all files; ``results``: results.csv too, even where there is one."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return _write_files(source, folder, words, results=results)
    except OSError as err:
        raise BitlatheError(
            f"cannot write the report to {folder}: {err.strerror or err}; choose a folder you may "
            "write to, with free space."
        ) from None


def _write_files(source: Source, folder: Path, words: Words, *, results: bool) -> list[Path]:
    measured = _prepare(source(), folder, words)
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
    paths = [folder / "report.html"]
    for name in {*NAMES} - {t.name for t in chosen}:  # of an earlier report
        for kind in ("png", "svg"):
            (folder / f"{name}.{kind}").unlink(missing_ok=True)
    for tradeoff in chosen:
        pair = [folder / f"{tradeoff.name}.{kind}" for kind in ("png", "svg")]
        figures.draw(named, tradeoff, measured, pair, words.origin.made)
        paths += pair
    table = folder / "results.csv"
    if results or not table.exists():
        rows = [dict(row) for row in source()]
        write_csv(table, iter(rows), list(columns_of(iter(rows), [])))
    _write_pareto(folder / "pareto.csv", frame, masks, on_any)
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
    paths[0].write_text(page, encoding="utf-8")
    for remark in remarks:
        words.say(remark)
    return [*paths, table, folder / "pareto.csv", record(folder, "report", provenance())]


def _prepare(rows: Iterable[Mapping[str, Any]], folder: Path, words: "Words") -> Measured:
    """Return the finished rows as columns, with formats and an accuracy axis."""
    frame = Frame.of(row for row in rows if row.get("status", DONE) == DONE)
    if not frame.count:
        raise BitlatheError(
            f"{folder} holds no finished point to report; failures.csv there says what failed, "
            "or run the sweep first."
        )
    frame = with_formats(frame, words.origin)
    return with_accuracy(frame, folder, words.origin, words.wanted, words.progress)


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
