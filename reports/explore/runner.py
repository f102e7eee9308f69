"""Run points through any executor: in chunks, a few in flight, whatever dies.

The executor is one of `concurrent.futures`: processes here, a Dask cluster's, or the caller's.
Chunks are sized by time, so that handing them out costs little and a kill loses little.
"""

import gc
import math
import multiprocessing
import multiprocessing.connection
import os
import platform
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from ...datatypes.base.errors import BitlatheError
from .evaluator import Evaluator
from .points import Point
from .store import CRASHED, REFUSED, Entry, Outcome

CHUNK_SECONDS = 0.4
MAX_CHUNK = 2000
IDLE_SECONDS = 5.0
POINT_SECONDS = 3600.0  # how long a point may take, unless told otherwise
START_SECONDS = 60.0  # how long processes may take to start, beside that
STARTS = 20  # how often they may die as they start
READ_ANEW = 79  # exit status of a process that met the sweep while it read the program
_POOL_OF = "BITLATHE_POOL_OF"  # in the environment of our processes: who started them
TRIES = 3  # a point alone in its process is tried so often before its process's death is its fault

GUARD = (
    "A program that runs a sweep in processes calls it under if __name__ == '__main__':, as each "
    "process reads the program anew; with jobs=1 there are none."
)
_DIED = f"the worker process died {TRIES} times (killed, or out of memory)"

Job = tuple[Entry, Point]
Deliver = Callable[[list[Entry], list[Outcome]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkResult:
    """Outcomes of a chunk's points, in order, and the seconds they took, waiting or computing."""

    outcomes: list[Outcome]
    seconds: float
    cpu_seconds: float


def _checked(result: dict[str, Any]) -> dict[str, Any]:
    for name, value in result.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ArithmeticError(f"{name} is {value}")
    return result


def run_point(evaluator: Evaluator, point: Point) -> Outcome:
    """Evaluate one point; a failure becomes its outcome."""
    try:
        return Outcome.of(_checked(evaluator(point)))
    except BitlatheError as err:
        return Outcome(status=REFUSED, error=str(err))
    except Exception as err:  # one point's failure must not stop the rest
        return Outcome(status=CRASHED, error=f"{type(err).__name__}: {err}")


def run_chunk(evaluator: Evaluator, version: str, points: list[Point]) -> ChunkResult:
    """Evaluate a chunk in the process at hand; the unit of work of every executor.

    Raises
    ------
    BitlatheError
        If this process runs another version than the program that made the chunk.
    """
    if evaluator.version != version:
        raise BitlatheError(
            f"worker {platform.node()} runs another version of bitlathe or of its component "
            "tables than this program; install the same on all workers."
        )
    start, cpu_start = time.perf_counter(), time.thread_time()
    outcomes = [run_point(evaluator, point) for point in points]
    return ChunkResult(
        outcomes=outcomes,
        seconds=time.perf_counter() - start,
        cpu_seconds=time.thread_time() - cpu_start,
    )


def refuse_reading_anew() -> None:
    """Refuse to run a sweep in a process that only reads the program, to work for one.

    Raises
    ------
    BitlatheError
        The program calls the sweep at its top, and each process would run it again.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        if os.environ.get(_POOL_OF) == str(os.getppid()):
            sys.exit(READ_ANEW)  # who started it says why
        raise BitlatheError(GUARD)


class InlineExecutor(Executor):
    """Run each task at once in this process."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run ``fn`` and return its finished future."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as err:
            future.set_exception(err)
        return future


def _end_with_parent() -> None:
    """Leave Ctrl-C to the parent, and end this worker when the parent is gone, even by kill -9."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch(sentinel: int) -> None:
        multiprocessing.connection.wait([sentinel])
        os._exit(1)

    threading.Thread(target=watch, args=(parent.sentinel,), daemon=True).start()


def _ready() -> None:
    """Make a worker ready: what it holds lives long, so that garbage is looked for rarely."""
    gc.set_threshold(50_000)
    _end_with_parent()


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Hold Ctrl-C back until the end; a process that is started meanwhile never sees one.

    The mask is for the processes. In this one any thread may get the signal, and the main thread
    is interrupted for it: between the start of a process and the sending of what it needs, say.
    """
    before = signal.getsignal(signal.SIGINT)
    in_main = threading.current_thread() is threading.main_thread()
    if not (in_main and callable(before) and hasattr(signal, "pthread_sigmask")):
        yield
        return
    came: list[Any] = []
    signal.signal(signal.SIGINT, lambda *what: came.append(what))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, before)
        if came:
            before(*came[0])


def process_pool(jobs: int) -> Executor:
    """Return an executor of ``jobs`` fresh processes."""
    context = multiprocessing.get_context("spawn")
    os.environ[_POOL_OF] = str(os.getpid())
    return ProcessPoolExecutor(jobs, mp_context=context, initializer=_ready)


class Runner:
    """Hands chunks to an executor and delivers what comes back.

    Parameters
    ----------
    evaluator : Evaluator
        What to run on each point.
    open_pool : callable
        Makes the executor; called again when a worker's death has broken it.
    workers : int
        How many chunks can run at once.
    lent : bool
        The executor is the caller's: it is neither shut down nor made anew.
    idle : callable, optional
        Called when no chunk has come back for a while; it may say so, wait, or give up.
    limit : float, optional
        Seconds that a chunk may run; the processes of the pool are ended then.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        open_pool: Callable[[], Executor],
        workers: int,
        *,
        lent: bool = False,
        idle: Callable[[], None] | None = None,
        limit: float | None = None,
    ) -> None:
        self._lent, self._idle, self._limit = lent, idle, limit
        self._evaluator = evaluator
        self._version = evaluator.version
        self._open_pool = open_pool
        self._pool = open_pool()
        self._in_flight = 1 if isinstance(self._pool, InlineExecutor) else 2 * workers
        self._workers = workers
        self._chunk = 4
        self._started: dict[Future[ChunkResult], float] = {}
        self._warm = False  # a chunk has come back from this pool

    def close(self) -> None:
        """Give the executor up without waiting for what it still runs."""
        if self._lent:
            return
        processes = self._processes()
        with suppress(Exception):
            self._pool.shutdown(wait=False, cancel_futures=True)  # and forgets its processes
        for (
            process
        ) in processes:  # the program's end waits for them: one that is stopped never ends
            with suppress(Exception):
                process.kill()

    def _processes(self) -> list[Any]:
        return list((getattr(self._pool, "_processes", None) or {}).values())

    def run(self, jobs: Iterable[Job], deliver: Deliver, total: int | None = None) -> None:
        """Evaluate all jobs; ``deliver`` gets each finished chunk, in no fixed order.

        With a small ``total``, chunks are kept small enough to occupy every worker.
        """
        most = MAX_CHUNK if total is None else max(1, -(-total // self._workers))
        source = iter(jobs)
        running: dict[Future[ChunkResult], list[Job]] = {}
        suspects: deque[list[Job]] = deque()
        exhausted = False
        while True:
            while not exhausted and len(running) < self._in_flight:
                chunk = _take(source, min(self._chunk, most))
                exhausted = not chunk
                if chunk:
                    self._submit(chunk, running, suspects)
            if not running and not suspects:
                return
            for future in self._returned(running):
                chunk = running.pop(future, [])
                if not self._collect(future, chunk, deliver):
                    suspects.append(chunk)
            if suspects or self._overdue(running):  # what is in flight is lost with the pool
                self._settle(running, suspects, deliver)

    def _returned(self, running: dict[Future[ChunkResult], list[Job]]) -> set[Future[ChunkResult]]:
        """Return the futures that are done, at least one unless nothing runs or a limit is met."""
        if not running:
            return set()
        patience = IDLE_SECONDS if self._idle is not None else None
        if self._limit is not None:
            patience = min(self._limit / 4, IDLE_SECONDS)
        while True:
            self._note_starts(running)
            if done := wait(running, patience, FIRST_COMPLETED).done:
                return done
            if self._overdue(running):
                return set()
            if self._idle is not None:
                self._idle()

    def _note_starts(self, running: Iterable[Future[ChunkResult]]) -> None:
        """Note when chunks began: as many run as there are workers, those handed out first."""
        now = time.monotonic()
        first = list(islice(running, self._workers))
        self._started = {future: self._started.get(future, now) for future in first}

    def _overdue(self, running: Iterable[Future[ChunkResult]]) -> bool:
        """Whether a chunk has run for longer than it may."""
        if self._limit is None:
            return False
        now = time.monotonic()
        allowed = self._limit + (0.0 if self._warm else START_SECONDS)
        return any(
            not future.done() and now - self._started.get(future, now) > allowed
            for future in running
        )

    def _submit(
        self,
        chunk: list[Job],
        running: dict[Future[ChunkResult], list[Job]],
        suspects: deque[list[Job]],
    ) -> None:
        try:
            running[self._start(chunk)] = chunk
        except BrokenExecutor:
            suspects.append(chunk)

    def _start(self, chunk: list[Job]) -> Future[ChunkResult]:
        points = [point for _, point in chunk]
        return self._hand_over(run_chunk, self._evaluator, self._version, points)

    def _hand_over(self, call: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Submit a call to the pool; a pool that breaks meanwhile is a broken one.

        Its thread may close the pool's pipes while a process is started that inherits them.
        """
        try:
            with _without_interrupts():
                return self._pool.submit(call, *arguments)
        except (OSError, ValueError) as err:
            if getattr(self._pool, "_broken", False):
                raise BrokenExecutor(str(err)) from err
            raise

    def _collect(self, future: Future[ChunkResult], chunk: list[Job], deliver: Deliver) -> bool:
        """Deliver a finished chunk; return whether there was one."""
        try:
            done = future.result()
        except Exception as err:
            if _worker_died(err):
                return False
            if isinstance(err, BitlatheError):
                raise
            raise BitlatheError(
                f"the runner failed ({type(err).__name__}: {err}). Finished points are safe; run "
                "the sweep again to continue."
            ) from err
        self._warm = True
        each = max(done.seconds, 1e-6) / len(chunk)
        self._chunk = max(1, min(MAX_CHUNK, 4 * self._chunk, round(CHUNK_SECONDS / each)))
        deliver([entry for entry, _ in chunk], done.outcomes)
        return True

    def _settle(
        self,
        running: dict[Future[ChunkResult], list[Job]],
        suspects: deque[list[Job]],
        deliver: Deliver,
    ) -> None:
        """Run the chunks that were in flight one at a time, halving one that does not come back.

        A process that dies may have been killed by anyone, and takes down the pool whichever chunk
        it ran: innocent chunks come through. A point whose process dies each time it runs alone,
        or that takes longer than the limit, is recorded.
        """
        for future, chunk in running.items():
            finished = future.done() and not future.cancelled() and future.exception() is None
            if not (finished and self._collect(future, chunk, deliver)):
                suspects.append(chunk)
        running.clear()
        self._reopen()
        tries = 0
        while suspects:
            chunk = suspects.popleft()
            why = self._alone(chunk, deliver)
            tries = tries + 1 if why else 0
            if not why:
                continue
            self._reopen()
            if len(chunk) > 1:
                middle = len(chunk) // 2
                suspects.extendleft([chunk[middle:], chunk[:middle]])
                tries = 0
            elif why == _DIED and tries < TRIES:
                suspects.appendleft(chunk)
            else:
                deliver([chunk[0][0]], [Outcome(status=CRASHED, error=why)])
                tries = 0

    def _alone(self, chunk: list[Job], deliver: Deliver) -> str:
        """Run a chunk with nothing beside it; return why it did not come back, empty if it did."""
        self._warm_up()
        try:
            future = self._start(chunk)
        except BrokenExecutor:
            return _DIED
        if not wait([future], self._limit).done:
            return f"no result within {self._limit:g} s, the time limit of a point (--timeout)"
        return "" if self._collect(future, chunk, deliver) else _DIED

    def _warm_up(self) -> None:
        """Wait until the pool's processes work: a death before that is no point's fault."""
        for _ in range(STARTS):
            if self._warm or self._limit is None:  # which says that these are our own processes
                return
            with suppress(BrokenExecutor, TimeoutError):
                self._warm = self._hand_over(abs, -1).result(START_SECONDS) == 1
                return
            self._reopen()
        raise BitlatheError(
            f"the worker processes died {STARTS} times as they started. Finished points are safe; "
            f"see what ends them, and run the sweep again. {GUARD}"
        )

    def _reopen(self) -> None:
        if self._lent:
            raise BitlatheError(
                "the executor lost a worker process and cannot go on. Finished points are safe; "
                "run the sweep again with a new executor."
            )
        broken = getattr(self._pool, "_broken", False)  # it ends its processes in another thread
        if broken and any(_exit_status(process) == READ_ANEW for process in self._processes()):
            raise BitlatheError(GUARD)
        self.close()
        self._started.clear()
        self._warm = False
        self._pool = self._open_pool()


def _exit_status(process: Any) -> int | None:
    """Return how a process ended that ends or has ended, or None: where it takes a second."""
    end = time.monotonic() + 1
    while process.exitcode is None and time.monotonic() < end:
        time.sleep(0.01)  # `join` returns at once where another thread is about to note the end
    status: int | None = process.exitcode
    return status


def _worker_died(err: Exception) -> bool:
    """Whether an error says that a worker was lost (Dask's own is known by its name)."""
    return isinstance(err, BrokenExecutor) or type(err).__name__ == "KilledWorker"


def _take(source: Iterator[Job], count: int) -> list[Job]:
    return list(islice(source, count))
