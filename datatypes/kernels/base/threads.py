"""Run a kernel over blocks of rows in threads; rows are independent, so the bits are the same."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any

from numpy.typing import NDArray

MIN_VALUES_PER_THREAD = 1 << 15


def available_threads() -> int:
    """Return the number of cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else (os.cpu_count() or 1)


@cache
def _pool(threads: int, pid: int) -> ThreadPoolExecutor:
    # keyed by pid: threads do not survive a fork
    return ThreadPoolExecutor(threads, thread_name_prefix=f"bitlathe-{pid}")


def over_rows(
    work: Callable[[int, int], None], rows: int, values_per_row: int, threads: int | None = None
) -> None:
    """Call ``work(first, last)`` on blocks of rows that together cover ``range(rows)``.

    Parameters
    ----------
    work : callable
        Must release the interpreter lock (a kernel compiled with ``nogil``).
    rows, values_per_row : int
    threads : int, optional
        All available cores by default; small inputs run in the caller.
    """
    wanted = available_threads() if threads is None else max(1, threads)
    if threads is None:
        wanted = min(wanted, max(1, rows * values_per_row // MIN_VALUES_PER_THREAD))
    count = max(1, min(wanted, rows))
    if count == 1:
        work(0, rows)
        return
    edges = [rows * i // count for i in range(count + 1)]
    pool = _pool(count - 1, os.getpid())
    waiting = [pool.submit(work, a, b) for a, b in pairwise(edges[1:])]
    work(edges[0], edges[1])
    for one in waiting:
        one.result()


def on_rows(
    kernel: Callable[..., None],
    by_row: Sequence[NDArray[Any]],
    shared: Sequence[Any],
    values_per_row: int,
) -> None:
    """Call ``kernel(*by_row, *shared)`` on blocks of rows.

    Parameters
    ----------
    kernel : callable
        See `over_rows`.
    by_row : sequence of (rows, ...) array
        Read or written, cut along their first axis.
    shared : sequence
        Handed over as they are.
    values_per_row : int
    """
    over_rows(
        lambda a, b: kernel(*(x[a:b] for x in by_row), *shared), len(by_row[0]), values_per_row
    )
