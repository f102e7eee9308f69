"""Notice that a store's files were deleted, moved, replaced or cut while a sweep writes to them.

SQLite goes on writing to a file that no longer has a name: without a look at the folder, a sweep
would run for hours into nothing.
"""

import os
from contextlib import suppress
from pathlib import Path

Seen = tuple[int, int, int]  # device, inode, bytes


class FileGuard:
    """Watches a database file and its log (``-wal``), which never shrink while they are in use.

    Holds the file without opening it (Linux): so it can tell a deleted file from a moved one, and
    say where it went. Such a handle takes no part in the locks of the process, which SQLite needs.
    """

    def __init__(self, path: Path) -> None:
        self._paths = (path, path.with_name(f"{path.name}-wal"))
        self._seen: dict[Path, Seen] = {}
        flag = getattr(os, "O_PATH", None)  # not on macOS
        self._handle = None if flag is None else os.open(path, flag)
        self.look()

    def look(self) -> None:
        """Take the files as they are now for what they shall be."""
        self._seen = {path: seen for path in self._paths if (seen := _seen(path)) is not None}

    def problem(self) -> str | None:
        """Return what has happened to the files since the last look, None for nothing.

        The end of a sentence: it ``was deleted``, ``was moved to PLACE``, ``was replaced by another
        file``, ``was cut short``.
        """
        for path in self._paths:
            before, now = self._seen.get(path), _seen(path)
            if before is None:
                continue
            if now is None:
                return "was deleted" if self.is_deleted() else f"was moved{self._place()}"
            if now[:2] != before[:2]:
                return "was replaced by another file"
            if now[2] < before[2]:
                return "was cut short"
        return None

    def is_deleted(self) -> bool:
        """Whether the database has no name any more, as far as that can be told."""
        return self._handle is None or os.fstat(self._handle).st_nlink == 0

    def _place(self) -> str:
        with suppress(OSError):
            return f" to {os.readlink(f'/proc/self/fd/{self._handle}')}"
        return ""

    def close(self) -> None:
        """Let the file go."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None


def _seen(path: Path) -> Seen | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size
