"""The best mapping of a layer on a chip, found once: results kept by what decides them.

A result is kept under the digest of layer, bits, hierarchy, objective and constraints, in a file
named after the digest of the sources that decide it: one line of JSON each, its key and the digest
of the rest first. A line is written in one piece; a line that is damaged, foreign or half there
counts as absent. The file is read once a process, and what other processes added to it since where
a key is missing. Everything may be deleted at any time.
"""

import hashlib
import json
import os
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from ..arch.hierarchy import Hierarchy
from ..datatypes.base.sources import PACKAGE, digest_of
from ..datatypes.base.user_folder import kept_folder
from .best import Best, Objective, best_of
from .constraints import Constraints
from .nest import Loops
from .operands import OperandBits

SWITCH = "BITLATHE_KEEP_MAPPINGS"
_OFF = {"0", "no", "off", "false"}
_HEX = 64
_BASE = ("numbers", "compiled", "inner_kernels")
FREE = Constraints()


def best_mapping(
    layer: Loops,
    bits: OperandBits,
    hierarchy: Hierarchy,
    objective: Objective = "cycles",
    *,
    constraints: Constraints = FREE,
    keep: bool = True,
) -> Best:
    """Return the best mapping of a layer, searched the first time and looked up from then on.

    Parameters
    ----------
    layer : Loops
    bits : OperandBits
    hierarchy : Hierarchy
    objective : {"cycles", "energy", "edp"}
        What is least.
    constraints : Constraints
        What the mapping must keep to.
    keep : bool
        Whether to look among the results on disk, and to add to them. Without it, or with
        ``BITLATHE_KEEP_MAPPINGS=0``, they are kept in this process only.

    Returns
    -------
    Best
        With the figures of the search that found it, whenever that was.

    Raises
    ------
    BitlatheError
        No mapping fits, or something is wrong with the arguments.
    """
    key = _key(layer, bits, hierarchy, objective, constraints)
    found = _FOUND.get(key)
    if found is not None:
        return found
    store = _store(kept_folder() / "mappings") if keep and not switched_off() else None
    data = store.get(key) if store else None
    if data is not None:
        found = _read(data)
    if found is None:
        from .search import search  # loads the compiler, which a kept result does not need

        found = search(layer, bits, hierarchy, objective, constraints=constraints)
        if store:
            store.put(key, found.to_dict())
    _FOUND[key] = found
    return found


_FOUND: dict[str, Best] = {}


def switched_off() -> bool:
    """Whether the environment says to keep nothing on disk: ``BITLATHE_KEEP_MAPPINGS=0``."""
    return os.environ.get(SWITCH, "1").strip().lower() in _OFF


def forget() -> None:
    """Forget the results that this process has at hand; those on disk stay."""
    _FOUND.clear()
    _store.cache_clear()


@cache
def sources_digest() -> str:
    """Return the digest of the sources that decide what is found."""
    base = [PACKAGE / "datatypes" / "base" / f"{name}.py" for name in _BASE]
    files = [*(PACKAGE / "mapping").glob("*.py"), PACKAGE / "arch" / "hierarchy.py"]
    return digest_of([*files, *base], PACKAGE)


@lru_cache(maxsize=1024)
def _text(part: object) -> str:
    return repr(part)


def _key(*parts: Any) -> str:
    """Return the digest of records: their fields, and those of what they hold, as text."""
    layer, *rest = parts
    text = "\n".join((repr(layer), *map(_text, rest)))
    return hashlib.sha256(text.encode()).hexdigest()


def _read(data: dict[str, Any]) -> Best | None:
    try:
        return best_of(data)
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


@cache
def _store(folder: Path) -> Store:
    return Store(folder / f"{sources_digest()[:16]}.jsonl")
