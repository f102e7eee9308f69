"""One process compiles, the others wait for what it keeps: a lock of the operating system."""

import time
from contextlib import suppress
from io import FileIO
from pathlib import Path

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

PATIENCE_SECONDS = 60.0
PAUSE_SECONDS = 0.05


class Turn:
    """The right to make a file, which one process has at a time; it ends with the process.

    Parameters
    ----------
    path : Path
        A file for the lock, beside what is made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: FileIO | None = None

    def take(self) -> bool:
        """Take the turn, and return whether another process had it before.

        Where it has not come after a minute, or where there are no locks, go on without: what two
        make is the same.
        """
        if fcntl is None:
            return False
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = FileIO(self._path, "w")
        except OSError:  # a folder that has gone or is read-only
            return False
        waited = False
        end = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < end:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return waited
            except BlockingIOError:
                waited = True
                time.sleep(PAUSE_SECONDS)
            except OSError:  # a file system without locks
                break
        self._file.close()
        return waited

    def end(self) -> None:
        """Give the turn to who waits."""
        if self._file is not None and not self._file.closed:
            with suppress(OSError):
                self._path.unlink()
            self._file.close()
