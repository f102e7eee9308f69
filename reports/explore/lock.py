"""One writer a folder: a lock of the operating system, which ends with its process."""

import errno
import os
import time
from contextlib import suppress
from pathlib import Path

from ...datatypes.base.errors import BitlatheError

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

LOCK_NAME = "sweep.lock"
LOCK_SECONDS = 30.0
# what a file system without locks answers, as some that are mounted over a network
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)


class FolderInUseError(BitlatheError):
    """Another program writes into the folder."""


class FolderLock:
    """Keeps other writers out of a folder while this one writes; it ends with the process.

    A lock of the operating system on an empty file, which holds the process id for errors. Where
    the file system knows no locks there is none: `has_locks`.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK_NAME
        self._file = self._path.open("a+", encoding="ascii")
        if fcntl is None:  # no such locks on this system
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            pid = self._file.read(20).strip() or "unknown"
            self._file.close()
            raise FolderInUseError(
                f"{folder}: another sweep (pid {pid}) or its report is writing here; wait for it, "
                "or use another output folder."
            ) from None
        except OSError as err:
            if err.errno not in NO_LOCKS:
                self._file.close()
                raise
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def holds(self) -> bool:
        """Whether the file that is locked still is the folder's lock."""
        try:
            return os.path.samestat(os.fstat(self._file.fileno()), os.stat(self._path))
        except OSError:
            return False

    def release(self) -> None:
        """Let others in."""
        self._file.close()

    def __enter__(self) -> "FolderLock":
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def has_locks(folder: Path) -> bool:
    """Whether the file system of a folder that has a lock file knows locks, as far as it tells."""
    if fcntl is None:
        return True
    with suppress(BlockingIOError, FileNotFoundError), (folder / LOCK_NAME).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError as err:
            if err.errno in NO_LOCKS:
                return False
            raise
    return True


def patient_lock(folder: Path) -> FolderLock:
    """Lock a folder; a report that holds it for its tables is waited for."""
    end = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            return FolderLock(folder)
        except FolderInUseError:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
