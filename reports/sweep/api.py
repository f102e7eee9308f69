"""Run a sweep file: plan, evaluate what is missing, store, export."""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ...arch import Arch, load_arch
from ...datatypes.errors import BitlatheError, unknown_name
from ...datatypes.yamlfile import read_text
from ...sim.engine import FIDELITIES, MAPPERS
from ...workloads import Model
from .evaluate import SimulatorEvaluator, load_evaluator, plain_words, result_columns
from .export import export, results
from .expr import parse_expression
from .progress import Progress, Report
from .runner import Evaluator, Job, Runner, process_pool
from .search import draw, guided
from .spec import Space, axis_keys, canonical, parse_sweep
from .store import Entry, Outcome, Store

BLOCK = 500  # points planned at once
CHECKED_VALUES = 1000
FIRST = 5
MAX_JOBS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What ``--dry-run`` shows: sizes and the first points.

    ``size`` counts the product of all lists, ``points`` what is evaluated: after the constraints
    that points alone decide (None when the space is too large to walk), samples or budget.
    """

    size: int
    points: int | None
    dimensions: dict[str, int]
    first: list[dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {name: getattr(self, name) for name in self.__slots__}

    def text(self) -> str:
        """Return the preview for people."""
        product = " x ".join(f"{count} {name}" for name, count in self.dimensions.items())
        count = "not counted" if self.points is None else f"{self.points:,}"
        lines = [f"space: {self.size:,} points ({product})", f"to evaluate: {count}"]
        lines += [", ".join(f"{k}={v}" for k, v in row.items()) for row in self.first]
        return "\n".join(lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSummary:
    """What a sweep did. ``rows`` are in the tables, ``ruled_out`` fail a constraint."""

    folder: str
    points: int
    evaluated: int
    reused: int
    rows: int
    ruled_out: int
    failures: int
    seconds: float
    files: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {name: getattr(self, name) for name in self.__slots__}

    def text(self) -> str:
        """Return the summary for people."""
        rate = f" ({self.evaluated / self.seconds:,.0f} points/s)" if self.seconds > 0 else ""
        points = f"{self.points:,} point{'s' if self.points != 1 else ''}"
        text = (
            f"{points}: {self.evaluated:,} evaluated{rate}, {self.reused:,} reused, "
            f"{self.failures:,} failed, {self.ruled_out:,} ruled out by constraints\n"
        )
        return text + "\n".join(self.files)


def run_sweep(
    path: str | Path,
    out: str | Path,
    *,
    jobs: int | None = None,
    dask: str | None = None,
    executor: Executor | None = None,
    dry_run: bool = False,
    progress: bool | Report | None = None,
    evaluator: Evaluator | None = None,
) -> SweepSummary | Preview:
    """Run a sweep file; what the output folder already holds is not run again.

    Parameters
    ----------
    path : str or Path
        The sweep file.
    out : str or Path
        Output folder: the store and the tables.
    jobs : int, optional
        Processes; all cores by default, 1 runs in this process.
    dask : str, optional
        Address of a Dask scheduler to run on instead.
    executor : concurrent.futures.Executor, optional
        Any other executor to run on; it is not shut down.
    dry_run : bool
        Evaluate nothing, write nothing; return the size of the space and the first points.
    progress : bool or callable, optional
        True, False, None (a bar when stderr is a terminal) or a function of (finished, total).
    evaluator : Evaluator, optional
        What to run on each point, instead of the simulator.

    Returns
    -------
    SweepSummary or Preview
        A Preview with ``dry_run``.

    Raises
    ------
    BitlatheError
        A bad sweep file (file, line, column), a folder or disk that cannot be written, a cluster
        that does not answer, a lost executor.
    """
    path, folder = Path(path), Path(out)
    text = read_text(path, "sweep file")
    given = getattr(evaluator, "columns", None)
    space = parse_sweep(text, str(path), result_columns if given is None else lambda _: given)
    columns = list(result_columns(space.file.fidelity) if given is None else given)
    if evaluator is None:
        evaluator = _simulator(space, path.parent)
    if dry_run:
        return preview(space)
    if jobs is not None and not 1 <= jobs <= MAX_JOBS:
        raise BitlatheError(f"jobs: {jobs} processes; give 1 to {MAX_JOBS}.")
    start = time.perf_counter()
    with ExitStack() as stack:
        store = stack.enter_context(Store(folder))
        store.begin(_sweep_digest(space, evaluator), _facts(space, text, path.parent))
        runner = _open_runner(evaluator, jobs, dask, executor, stack)
        total = _planned(space)
        bar = stack.enter_context(Progress(progress, total))
        sweep = _Sweep(space, evaluator, store, runner, bar)
        sweep.run()
        seconds = time.perf_counter() - start
        done = export(store, folder, [*space.columns, *columns], space.late)
        _view(store, space, columns)
        return SweepSummary(
            folder=str(folder),
            points=store.count(),
            evaluated=sweep.evaluated,
            reused=sweep.reused,
            rows=done.rows,
            ruled_out=done.ruled_out,
            failures=done.failures,
            seconds=seconds,
            files=tuple(str(file) for file in done.files),
        )


def read_results(folder: str | Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a sweep's folder: finished, within the constraints, in order."""
    with Store(folder, readonly=True) as store:
        late = json.loads(store.meta("constraints") or "[]")
        yield from results(store, [parse_expression(text) for text in late])


class _Sweep:
    """One run: moves points from the space through the runner into the store."""

    def __init__(
        self, space: Space, evaluator: Evaluator, store: Store, runner: Runner, bar: Progress
    ) -> None:
        self.evaluated = self.reused = 0
        self._space, self._evaluator, self._store = space, evaluator, store
        self._runner, self._bar = runner, bar

    def run(self) -> None:
        """Evaluate what is missing."""
        sampling = self._space.file.sampling
        if sampling.nsga2 is not None:
            guided(self._space, sampling.nsga2, self._batch)
        elif sampling.random is not None:
            picked = draw(self._space, sampling.random.samples, sampling.random.seed)
            self._runner.run(self._jobs(picked), self._deliver)
        else:
            self._runner.run(self._jobs(range(self._space.size)), self._deliver)

    def _jobs(self, indices: Iterable[int]) -> Iterator[Job]:
        """Yield the jobs of points without a result; list the others. Skips ruled-out points."""
        source = iter(indices)
        while block := list(islice(source, BLOCK)):
            points = [(index, self._space.point(index)) for index in block]
            allowed = [(index, point) for index, point in points if self._space.allowed(point)]
            self._bar.add(len(points) - len(allowed))
            jobs = [
                (Entry(ordinal=i, key=self._evaluator.key(p), columns=p.columns()), p)
                for i, p in allowed
            ]
            known = self._store.known([entry.key for entry, _ in jobs])
            reused = [entry for entry, _ in jobs if entry.key in known]
            if reused:
                self._store.list(reused)
                self.reused += len(reused)
                self._bar.add(len(reused))
            yield from (job for job in jobs if job[0].key not in known)

    def _deliver(self, entries: list[Entry], outcomes: list[Outcome]) -> None:
        self._store.add(entries, outcomes)
        self.evaluated += len(entries)
        self._bar.add(len(entries))

    def _batch(self, indices: list[int]) -> list[dict[str, Any] | None]:
        """Evaluate the points with these indices; a guided search's view of the sweep."""
        self._runner.run(self._jobs(indices), self._deliver, total=len(indices))
        points = [self._space.point(index) for index in indices]
        keys = [self._evaluator.key(point) for point in points]
        found = self._store.find(keys)
        rows: list[dict[str, Any] | None] = []
        for point, key in zip(points, keys, strict=True):
            outcome = found.get(key)
            result = None if outcome is None else outcome.result
            if result is None:
                rows.append(None)
                continue
            row = point.columns() | result
            rows.append(row if all(c(row) for c in self._space.late) else None)
        return rows


def _open_runner(
    evaluator: Evaluator,
    jobs: int | None,
    dask: str | None,
    executor: Executor | None,
    stack: ExitStack,
) -> Runner:
    if dask is not None:
        from .cluster import Cluster

        cluster = Cluster(dask)
        stack.callback(cluster.close)
        runner = Runner(evaluator, cluster.executor, cluster.threads)
    elif executor is not None:
        runner = Runner(evaluator, lambda: executor, os.cpu_count() or 1, lent=True)
    else:
        count = jobs or os.cpu_count() or 1
        runner = Runner(evaluator, lambda: process_pool(count), count)
    stack.callback(runner.close)
    return runner


WALKED = 200_000


def _planned(space: Space) -> int:
    """Return the points that the progress bar counts."""
    sampling = space.file.sampling
    if sampling.random is not None:
        return min(sampling.random.samples, space.size)
    return min(sampling.nsga2.budget, space.size) if sampling.nsga2 is not None else space.size


def preview(space: Space) -> Preview:
    """Return the size of a space and its first points."""
    points: int | None = _planned(space)
    sampling = space.file.sampling
    if sampling.random is not None:
        indices: Iterable[int] = draw(space, FIRST, sampling.random.seed)
        first = [space.point(i).columns() for i in islice(indices, sampling.random.samples)]
    else:
        walk = islice(iter(space), FIRST) if space.size <= WALKED or not space.early else iter(())
        first = [point.columns() for _, point in walk]
    if space.early and sampling.nsga2 is None and sampling.random is None:
        points = sum(1 for _ in space) if space.size <= WALKED else None
    return Preview(
        size=space.size,
        points=points,
        dimensions={name: len(values) for name, values in space.dimensions},
        first=first,
    )


def _facts(space: Space, text: str, folder: Path) -> dict[str, str]:
    """Return what the store keeps about the sweep."""
    return {
        "file": text,
        "folder": str(folder.resolve()),
        "title": space.file.title,
        "constraints": canonical([c.text for c in space.late]),
    }


def _sweep_digest(space: Space, evaluator: Evaluator) -> str:
    """Return the digest of the sweep itself: its lists, sampling, and what it runs on."""
    content = space.file.model_dump(mode="json", exclude={"title", "description"})
    parts = [canonical(content), evaluator.version, getattr(evaluator, "content", "")]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _view(store: Store, space: Space, columns: list[str]) -> None:
    solved = [space.file.iso.solve] if space.file.iso else []
    store.make_view(list(dict.fromkeys([*space.columns, *solved, *columns])))


# -- what only the chips, models and simulator can check ---------------------------------------


def _simulator(space: Space, folder: Path) -> SimulatorEvaluator:
    """Load the sweep's chips and models; errors get the place in the sweep file."""
    file, document = space.file, space.document
    for key, value, known in (
        ("fidelity", file.fidelity, FIDELITIES),
        ("mapper", file.mapper, MAPPERS),
    ):
        if value not in known:
            raise BitlatheError(f"{document.where((key,))}: {unknown_name(key, value, known)}")
    archs: dict[str, Arch] = {}
    models: dict[str, Model] = {}
    for i, name in enumerate(file.arch):
        with _at(space, ("arch", i)):
            archs |= load_evaluator([name], [], folder).archs
    for i, name in enumerate(file.models):
        with _at(space, ("models", i)):
            models |= load_evaluator([], [name], folder).models
    _check_settings(space, list(archs.values()))
    return SimulatorEvaluator(archs=archs, models=models)


class _at:  # noqa: N801 - reads as a word
    """Put the place in the sweep file before an error."""

    def __init__(self, space: Space, loc: tuple[str | int, ...]) -> None:
        self._where = space.document.where(loc)

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, err: BaseException | None, trace: Any) -> None:
        if isinstance(err, BitlatheError):
            raise BitlatheError(f"{self._where}: {err}") from None


def _check_settings(space: Space, archs: list[Arch]) -> None:
    """Try every value of every axis alone: unknown keys and values no chip takes are errors.

    A value that only some chips take, or that is only impossible together with others, is left to
    its points.
    """
    file = space.file
    columns: list[tuple[tuple[str | int, ...], str, list[Any]]] = []
    for name, values in file.axes.items():
        keys = axis_keys(name)
        for i, key in enumerate(keys):
            alone = [value[i] for value in values] if len(keys) > 1 else values
            columns.append((("axes", name), key, alone))
    for kind, schemes in file.schemes.items():
        columns.append((("schemes", kind), f"formats.{kind}.weight", list(schemes)))
    if file.iso is not None:
        columns.append((("iso", "solve"), file.iso.solve, []))
        for arch in archs:
            _check_solvable(space, arch, file.iso.solve)
    for loc, key, values in columns:
        for i, value in enumerate(values[:CHECKED_VALUES]):
            refusals = [_refusal(arch, key, value) for arch in archs]
            missing = next((text for text in refusals if "no such key" in text), "")
            if missing:
                raise BitlatheError(f"{space.document.where(loc)}: {missing}")
            if all(refusals):
                raise BitlatheError(f"{space.document.where((*loc, i))}: {refusals[0]}")


def _refusal(arch: Arch, key: str, value: Any) -> str:
    """Return why a chip does not take a key or a value by itself; empty where it does."""
    try:
        load_arch(arch, {key: value})
    except BitlatheError as err:
        text = plain_words(err)
        named = f" {key}:" in f" {text}" or f" {key}." in f" {text}"
        return text if named or "no such key" in text else ""
    return ""


def _check_solvable(space: Space, arch: Arch, key: str) -> None:
    value: Any = arch.model_dump()
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BitlatheError(
            f"{space.document.where(('iso', 'solve'))}: iso.solve: {key!r} is no number of chip "
            f"{arch.name!r}; name a key such as array.rows, dram.bits_per_clock or "
            "buffers.weight.size_kib."
        )
