"""Progress of a sweep: a bar on a terminal, lines in a log, or the caller's function."""

import sys
from collections.abc import Callable
from types import TracebackType
from typing import Any

from ..terminal import ProgressLines

Report = Callable[[int, int], None]


class Progress:
    """Counts finished points against a total. Use as a context manager.

    Parameters
    ----------
    show : bool, callable or None
        True and False as they say; None shows the bar when stderr is a terminal, else lines; a
        callable is called with (finished, total).
    total : int
        Points to do.
    """

    def __init__(self, show: "bool | Report | None", total: int) -> None:
        self.done = 0
        self.total = total
        self._report = show if callable(show) else None
        wanted = sys.stderr.isatty() if show is None else show is True
        self._bar: Any = _bar() if wanted else None
        self._task: Any = None
        self._lines = ProgressLines("sweep, points", total) if show is None and not wanted else None

    def __enter__(self) -> "Progress":
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("sweep", total=self.total, rate="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def add(self, count: int) -> None:
        """Count finished (or ruled-out) points."""
        if not count:
            return
        self.done += count
        if self._report is not None:
            self._report(self.done, self.total)
        if self._lines is not None:
            self._lines.add(count)
        if self._bar is not None:
            speed = self._bar.tasks[0].speed
            rate = f"{speed:,.0f} points/s" if speed else ""
            self._bar.update(self._task, advance=count, rate=rate)


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    return Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
