"""Run a sweep file: evaluate what is missing, store, write tables."""

import hashlib
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from ...datatypes.base.errors import BitlatheError
from ..provenance import FILE_NAME, provenance, record
from .evaluator import Evaluator
from .expressions import Verdict, verdict
from .plan import Sweep, planned_points, read_sweep, share_of
from .points import Point
from .progress import Progress, Report
from .runner import (
    POINT_SECONDS,
    InlineExecutor,
    Job,
    Runner,
    process_pool,
    refuse_reading_anew,
)
from .salvage import salvage_store
from .search import guided, shuffled
from .shards import Shard, refuse_other_shard, shard_facts, shared
from .space import Space
from .store import REFUSED, Entry, Outcome, Store
from .sweepfile import canonical
from .tables import (
    PAGE,
    Finished,
    Reason,
    constraints_of,
    crashed,
    export,
    old_page,
    reasons_text,
    set_aside,
)

BLOCK = 500  # points planned at once
Judged = tuple[int, Point, Verdict]  # a point with its index, and what the constraints say of it
MAX_JOBS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSummary:
    """What a sweep did. ``rows`` are in the tables, ``ruled_out`` fail a constraint.

    ``points`` have an outcome: rows, failures, and those whose results fail a constraint.
    """

    folder: str
    points: int
    evaluated: int
    reused: int
    rows: int
    ruled_out: int
    failures: int
    seconds: float
    files: tuple[str, ...]
    reasons: tuple[Reason, ...] = ()

    @property
    def crashed(self) -> int:
        """Points without a result that their configuration is not to blame for."""
        return crashed(self.reasons)

    def reasons_text(self) -> list[str]:
        """Return why points have no result, in lines: the most frequent reasons."""
        return reasons_text(self.reasons)

    @property
    def failed(self) -> bool:
        """Whether there are points and not one has results."""
        return self.failures > 0 and self.failures == self.points

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)

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
    progress: bool | Report | None = None,
    evaluator: Evaluator | None = None,
    timeout: float | None = None,
    say: Callable[[str], None] | None = None,
    salvage: bool = False,
    shard: str | None = None,
) -> SweepSummary:
    """Run a sweep file; what the output folder already holds is not run again.

    Parameters
    ----------
    path : str or Path
        The sweep file.
    out : str or Path
        Output folder: the store and the tables.
    jobs : int, optional
        Processes; all cores by default, 1 runs in this process. A program with more of them calls
        this under ``if __name__ == "__main__":``, as each reads the program anew.
    dask : str, optional
        Address of a Dask scheduler to run on instead.
    executor : concurrent.futures.Executor, optional
        Any other executor to run on; it is not shut down.
    progress : bool or callable, optional
        True, False, None (a bar when stderr is a terminal, lines where it is not) or a function
        of (finished, total).
    evaluator : Evaluator, optional
        What to run on each point, instead of the simulator.
    timeout : float, optional
        Seconds that a point may take, `runner.POINT_SECONDS` by default; it becomes a failure
        then, and its process is ended. Only processes of this machine have a limit: not one job
        (unless it is given one here), not Dask, no executor of the caller's.
    say : callable, optional
        Called with each remark: what was set aside.
    salvage : bool
        First replace a damaged store by one of its sound results; the others run again.
    shard : str, optional
        ``"I/N"``: run only shard I of N into a folder of its own; `merge_shards` joins all.

    Raises
    ------
    BitlatheError
        A bad sweep file (file, line, column), a folder or disk that cannot be written, a cluster
        that does not answer, a lost executor.
    """
    refuse_reading_anew()
    sweep = read_sweep(Path(path), evaluator)
    if not str(out):
        raise BitlatheError("out: an empty name; give a folder, '.' for the one you are in.")
    _check_workers(jobs, timeout, elsewhere=dask is not None or executor is not None)
    share = share_of(sweep.space, shard)
    start, folder, say = time.perf_counter(), Path(out), say or (lambda _: None)
    if salvage:
        say(salvage_store(folder))
    with ExitStack() as stack:
        store = stack.enter_context(Store(folder, shared=share is not None))
        runner = _open_runner(sweep.evaluator, jobs, dask, executor, timeout, stack)
        _begin(sweep, store, folder, say, share)
        bar = stack.enter_context(Progress(progress, planned_points(sweep.space, share)))
        walk = _Walk(sweep, store, runner, bar, share)
        walk.run()
        seconds = time.perf_counter() - start
        store.state(_progress(sweep.space, share, finished=True))
        done = export(store, folder)
        if walk.evaluated and (folder / PAGE).exists():
            say(old_page(folder))
        return SweepSummary(
            folder=str(folder),
            points=store.count(),
            evaluated=walk.evaluated,
            reused=walk.reused,
            rows=done.rows,
            ruled_out=done.ruled_out + walk.ruled_out,
            failures=done.failures,
            seconds=seconds,
            reasons=done.reasons,
            files=tuple(str(file) for file in (*done.files, folder / FILE_NAME)),
        )


def read_results(folder: str | Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a sweep's folder: finished, within the constraints, in order."""
    with Store(folder, readonly=True) as store, store.snapshot():
        yield from (row for _, row in Finished(store, constraints_of(store)).placed())


class _Walk:
    """One run: moves points from the space through the runner into the store."""

    def __init__(
        self, sweep: Sweep, store: Store, runner: Runner, bar: Progress, share: Shard | None
    ) -> None:
        self.evaluated = self.reused = self.ruled_out = 0
        self._space, self._evaluator, self._store = sweep.space, sweep.evaluator, store
        self._runner, self._bar, self._share = runner, bar, share

    def run(self) -> None:
        """Evaluate what is missing."""
        space, sampling = self._space, self._space.file.sampling
        if sampling.nsga2 is not None:
            self.ruled_out = guided(space, sampling.nsga2, self._batch)
        elif sampling.random is not None:
            order = shuffled(space.size, sampling.random.seed)
            drawn = islice(self._met(order), sampling.random.samples)
            self._runner.run(self._jobs(shared(drawn, self._share)), self._deliver)
        else:
            indices = shared(range(space.size), self._share)
            self._runner.run(self._jobs(self._met(indices, whole=True)), self._deliver)

    def _met(self, indices: Iterable[int], *, whole: bool = False) -> Iterator[Judged]:
        """Yield the points that are not ruled out; ``whole``: the bar counts the others too."""
        for index in indices:
            point = self._space.point(index)
            met = self._space.verdict(point)
            if met is not False:
                yield index, point, met
                continue
            self.ruled_out += 1
            if whole and self.ruled_out % BLOCK == 0:
                self._bar.add(BLOCK)
        if whole:
            self._bar.add(self.ruled_out % BLOCK)

    def _jobs(self, points: Iterator[Judged]) -> Iterator[Job]:
        """Yield the jobs of points without a result; list the others."""
        while block := list(islice(points, BLOCK)):
            self._refuse([(i, point, met) for i, point, met in block if isinstance(met, str)])
            jobs = [
                (self._entry(i, p, self._evaluator.key(p)), p) for i, p, met in block if met is True
            ]
            known = self._store.known([entry.key for entry, _ in jobs])
            reused = [entry for entry, _ in jobs if entry.key in known]
            if reused:
                self._store.list(reused)
                self.reused += len(reused)
                self._bar.add(len(reused))
            yield from (job for job in jobs if job[0].key not in known)

    def _entry(self, index: int, point: Point, key: str) -> Entry:
        return Entry(ordinal=index, key=key, point=point, chip=self._space.chip_row(point))

    def _refuse(self, points: list[tuple[int, Point, str]]) -> None:
        """Record points of which a constraint cannot be computed."""
        if points:
            keys = [hashlib.sha256(error.encode()).hexdigest() for *_, error in points]
            entries = [
                self._entry(index, point, f"constraint {key}")
                for key, (index, point, _) in zip(keys, points, strict=True)
            ]
            self._store.add(entries, [Outcome(status=REFUSED, error=e) for *_, e in points])
            self._bar.add(len(points))

    def _deliver(self, entries: list[Entry], outcomes: list[Outcome]) -> None:
        self._store.add(entries, outcomes)
        self.evaluated += len(entries)
        self._bar.add(len(entries))

    def _batch(self, indices: list[int]) -> list[dict[str, Any] | None]:
        """Evaluate the points with these indices; a guided search's view of the sweep."""
        jobs = self._jobs(self._met(indices))
        self._runner.run(jobs, self._deliver, total=len(indices))
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
            row = self._space.row(point) | result
            rows.append(row if verdict(self._space.late, row) is True else None)
        return rows


def _check_workers(jobs: int | None, timeout: float | None, *, elsewhere: bool) -> None:
    """Refuse a number of processes or a time limit that cannot be kept."""
    if jobs is not None and not 1 <= jobs <= MAX_JOBS:
        raise BitlatheError(f"jobs: {jobs} processes; give 1 to {MAX_JOBS}.")
    if timeout is not None and not 0 < timeout < math.inf:
        raise BitlatheError(f"timeout: {timeout:g} seconds; give a number above 0.")
    if timeout is not None and elsewhere:
        raise BitlatheError(
            "timeout: a limit ends processes of this sweep, not those of Dask or of an executor; "
            "leave it out there."
        )


def _open_runner(
    evaluator: Evaluator,
    jobs: int | None,
    dask: str | None,
    executor: Executor | None,
    timeout: float | None,
    stack: ExitStack,
) -> Runner:
    if dask is not None:
        from .cluster import Cluster

        cluster = Cluster(dask)
        stack.callback(cluster.close)
        cluster.wait_for_worker()
        runner = Runner(evaluator, cluster.executor, cluster.threads, idle=cluster.wait_for_worker)
    elif executor is not None:
        runner = Runner(evaluator, lambda: executor, os.cpu_count() or 1, lent=True)
    else:
        count = jobs or os.cpu_count() or 1
        inline = count == 1 and timeout is None
        pool = InlineExecutor if inline else partial(process_pool, count)
        limit = None if inline else timeout or POINT_SECONDS
        runner = Runner(evaluator, pool, count, limit=limit)
    stack.callback(runner.close)
    return runner


def _begin(
    sweep: Sweep,
    store: Store,
    folder: Path,
    say: Callable[[str], None],
    share: Shard | None,
) -> None:
    """Make this the folder's sweep; what tells of another one is set aside."""
    made, facts = provenance(), _facts(sweep, share)
    digest = _digest(sweep, facts)
    refuse_other_shard(store, digest, share)
    if store.meta("sweep") not in (None, digest) and (kept := set_aside(folder)):
        names = ", ".join(path.name for path in kept)
        say(
            f"{folder} held the tables or the report of another sweep; they are kept as {names}. "
            "Its results stay in the store."
        )
    store.begin(digest, facts | {"provenance": canonical(made)})
    record(folder, "sweep", made)
    store.make_view(sweep.columns)


def _progress(space: Space, share: Shard | None, *, finished: bool) -> dict[str, str]:
    """Return how many points a sweep asks for, and whether it has run to its end.

    The number is an upper bound where constraints may rule points out; ``exact`` says so.
    """
    exact = not space.early and space.file.sampling.nsga2 is None
    facts = {"planned": planned_points(space, share), "exact": exact, "finished": finished}
    return {"progress": canonical(facts)}


def _facts(sweep: Sweep, share: Shard | None) -> dict[str, str]:
    """Return what the store keeps about the sweep, and of the files that it reads."""
    space = sweep.space
    values = [value for _, of_axis in space.dimensions for value in of_axis]
    return {
        "file": canonical({"text": sweep.text, "folder": str(sweep.folder.resolve())}),
        "tables": canonical(
            {
                "order": [*space.columns, *sweep.results],
                "layers": space.file.layers,
                "constraints": [[each.text, each.place] for each in space.late],
            }
        ),
        **_progress(space, share, finished=False),
        **shard_facts(share, planned_points(space)),
        **{name: canonical(held) for name, held in sweep.evaluator.described(values).items()},
    }


def _digest(sweep: Sweep, facts: Mapping[str, str]) -> str:
    """Return the digest of the sweep itself: its lists, sampling, and what it runs on."""
    content = sweep.space.file.model_dump(mode="json", exclude={"title", "description"})
    parts = [canonical(content), sweep.evaluator.version, sweep.evaluator.content]
    return hashlib.sha256("\n".join([*parts, facts.get("formats", "")]).encode()).hexdigest()
