"""Results kept in this process and on disk: found once, by what decides them.

A result is kept under the digest of the records that decide it, in a file named after the digest of
the sources that do: one line of JSON each, its key and the digest of the rest first. A line is
written in one piece; a line that is damaged, foreign or half there counts as absent. The file is
read once a process, and what other processes added to it since where a key is missing. Everything
may be deleted at any time.
"""

import hashlib
import json
import logging
import os
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from .user_folder import kept_folder

SEARCHES = logging.getLogger("bitlathe.searches")
"""Told, at level INFO, of each result that is not kept and has to be found: its kind."""

SWITCH = "BITLATHE_KEEP_MAPPINGS"
_OFF = {"0", "no", "off", "false"}
_HEX = 64
Found = TypeVar("Found")


def switched_off() -> bool:
    """Whether the environment says to keep nothing on disk: ``BITLATHE_KEEP_MAPPINGS=0``."""
    return os.environ.get(SWITCH, "1").strip().lower() in _OFF


@lru_cache(maxsize=4096)
def _text(part: object) -> str:
    return _written(part)


def _written(part: Any) -> str:
    """Return a record with all fields, also where its own repr is short, as that of a mapping."""
    if is_dataclass(part):
        each = (f"{f.name}={_written(getattr(part, f.name))}" for f in fields(part) if f.repr)
        return f"{type(part).__qualname__}({', '.join(each)})"
    if type(part) is tuple:
        return f"({', '.join(map(_written, part))}{',' * (len(part) == 1)})"
    return repr(part)


def key_of(*parts: Any) -> str:
    """Return the digest of frozen records: their fields, and those of what they hold, as text.

    That of hashable records, such as chips, is made once.
    """
    return hashlib.sha256("\n".join(map(_kept_text, parts)).encode()).hexdigest()


def _kept_text(part: object) -> str:
    try:
        return _text(part)
    except TypeError:  # it has no hash
        return _written(part)


class Kept(Generic[Found]):
    """Results of one kind.

    Parameters
    ----------
    folder : str
        Below the user's folder.
    sources : callable
        The digest of the sources that decide what is found.
    to_data, of_data : callable
        A result as plain data, and from it.
    """

    def __init__(
        self,
        folder: str,
        sources: Callable[[], str],
        to_data: Callable[[Found], dict[str, Any]],
        of_data: Callable[[dict[str, Any]], Found],
    ) -> None:
        self._folder, self.sources = folder, sources
        self._to_data, self._of_data = to_data, of_data
        self.forget()

    def forget(self) -> None:
        """Forget the results that this process has at hand; those on disk stay."""
        self._found: dict[str, Found] = {}
        self._stores: dict[Path, Store] = {}

    def get(self, key: str, find: Callable[[], Found], *, keep: bool = True) -> Found:
        """Return what is kept under a key; found, and kept, where nothing is.

        Parameters
        ----------
        key : str
            Made by `key_of`.
        find : callable
            Finds the result.
        keep : bool
            Whether to look on disk, and to add to what is there, unless that is switched off.
        """
        if key in self._found:
            return self._found[key]
        store = self._store() if keep and not switched_off() else None
        found = self._read(store.get(key)) if store else None
        if found is None:
            SEARCHES.info("%s", self._folder)
            found = find()
            if store:
                store.put(key, self._to_data(found))
        self._found[key] = found
        return found

    def _store(self) -> "Store":
        path = kept_folder() / self._folder / f"{self.sources()[:16]}.jsonl"
        if path not in self._stores:
            self._stores[path] = Store(path)
        return self._stores[path]

    def _read(self, data: dict[str, Any] | None) -> Found | None:
        try:
            return None if data is None else self._of_data(data)
        except (KeyError, TypeError, ValueError):
            return None


class Store:
    """A file of results, a line each.

    Parameters
    ----------
    path : Path
        Made, with its folder, when something is to be kept. Where that cannot be written nothing
        is kept.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines: dict[str, bytes] = {}
        self._read_bytes = 0

    def get(self, key: str) -> dict[str, Any] | None:
        """Return what is kept under a key; None where there is nothing sound."""
        if key not in self._lines:
            self._read_on()
        line = self._lines.get(key)
        return None if line is None else _checked(line)

    def _read_on(self) -> None:
        """Read the lines that were added since."""
        try:
            if self.path.stat().st_size <= self._read_bytes:
                return
            with self.path.open("rb") as file:
                file.seek(self._read_bytes)
                content = file.read()
        except OSError:
            return
        content = content[: content.rfind(b"\n") + 1]  # the rest is being written
        self._read_bytes += len(content)
        for line in content.split(b"\n"):
            self._lines[line[_KEY].decode("ascii", "replace")] = line

    def put(self, key: str, data: dict[str, Any]) -> None:
        """Keep data under a key, whole or not at all."""
        body = json.dumps(data, separators=(",", ":")).encode()
        check = hashlib.sha256(body).hexdigest()
        line = b'{"key":"%s","check":"%s","best":%s}' % (key.encode(), check.encode(), body)
        self._lines[key] = line
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            try:
                # of its own line, whatever a writer that was killed left before it
                os.write(file, b"\n" + line + b"\n")
            finally:
                os.close(file)
        except OSError:  # a full disk, a folder that cannot be written: search again next time
            return


_KEY = slice(len('{"key":"'), len('{"key":"') + _HEX)
_CHECK = slice(_KEY.stop + len('","check":"'), _KEY.stop + len('","check":"') + _HEX)
_BODY = slice(_CHECK.stop + len('","best":'), -1)


def _checked(line: bytes) -> dict[str, Any] | None:
    """Return the data of a line that is as it was written."""
    body = line[_BODY]
    if hashlib.sha256(body).hexdigest().encode() != line[_CHECK]:
        return None
    found = json.loads(body)
    return found if isinstance(found, dict) else None
