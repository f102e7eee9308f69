"""Measures kept on disk under a digest of everything they depend on."""

import hashlib
import json
import os
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

from ...datatypes.base.errors import BitlatheError
from ...datatypes.base.sources import PACKAGE, digest_of, files_of
from ...datatypes.schemes.scheme import Scheme

_CODE = ("datatypes", "workloads/lm")


@cache
def code_digest(rooms: tuple[str, ...] = _CODE) -> str:
    """Return the SHA-256 of the code and tables in some folders of the package."""
    files = files_of(PACKAGE, rooms, lambda path: path.suffix in {".py", ".yaml"})
    return digest_of(files, PACKAGE)


def scheme_key(scheme: Scheme | None) -> dict[str, str]:
    """Return what of a scheme decides a result: its text and the values of its formats."""
    formats = [] if scheme is None else [(f.name, *f.listed) for f in scheme.formats]
    levels = [] if scheme is None else scheme.unsaid
    return {
        "scheme": "" if scheme is None else str(scheme),
        "formats": hashlib.sha256(repr(formats + levels).encode()).hexdigest(),
    }


class MeasureCache:
    """A folder with a JSON file per measure.

    Parameters
    ----------
    folder : Path
        Made if missing.

    Raises
    ------
    BitlatheError
        The folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise BitlatheError(
                f"{folder}: measures cannot be kept there: {error.strerror or error}; name another "
                "folder with --cache or BITLATHE_CACHE."
            ) from None

    def get(self, key: dict[str, Any]) -> dict[str, Any] | None:
        """Return the measure of a key; None if there is none that can be read."""
        try:
            found = json.loads(self._path(key).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        if not isinstance(found, dict) or found.get("key") != key:
            return None
        measure = found.get("measure")
        return measure if isinstance(measure, dict) else None

    def put(self, key: dict[str, Any], measure: dict[str, Any]) -> None:
        """Keep a measure: whole or not at all."""
        text = json.dumps({"key": key, "measure": measure}, indent=1, sort_keys=True)
        handle, temporary = tempfile.mkstemp(dir=self.folder, suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text + "\n")
            os.replace(temporary, self._path(key))
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def _path(self, key: dict[str, Any]) -> Path:
        name = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
        return self.folder / f"{name[:32]}.json"
