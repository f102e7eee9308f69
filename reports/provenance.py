"""Provenance: which program, of which commit, when, by which command made a result."""

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from .. import __version__
from ..datatypes.base.errors import BitlatheError

FILE_NAME = "provenance.json"
ROOT = Path(__file__).parents[1]
GIT_SECONDS = 5.0

Facts = Mapping[str, Any]


@cache
def commit() -> str | None:
    """Return the commit of the checkout that runs, with ``-dirty`` if files differ from it.

    None for an installed package, which is no checkout, and where git is not at hand.
    """
    try:
        if Path(_git("rev-parse", "--show-toplevel")).resolve() != ROOT.resolve():
            return None  # a package installed somewhere inside another project
        return _git("describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(ROOT), *arguments],
        capture_output=True,
        check=True,
        text=True,
        timeout=GIT_SECONDS,
    )
    return done.stdout.strip()


def command() -> str:
    """Return the command line of this process, as a shell takes it."""
    name, *arguments = sys.argv or [""]
    start, module = [Path(name).name], getattr(sys.modules["__main__"], "__spec__", None)
    if start == ["__main__.py"] and module is not None:
        start = ["python", "-m", module.name.removesuffix(".__main__")]
    text = shlex.join([*start, *arguments])
    return text.encode("utf-8", "backslashreplace").decode()


def provenance() -> dict[str, Any]:
    """Return the facts of now: version, commit, date (UTC), command, version of Python."""
    return {
        "version": __version__,
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command(),
        "python": platform.python_version(),
    }


def software(facts: Facts | None = None) -> str:
    """Return program, version and commit in words; those that run now without ``facts``.

    Examples
    --------
    >>> software({"version": "0.1.0", "commit": "3dae14a"})
    'bitlathe 0.1.0 (3dae14a)'
    """
    known = {"version": __version__, "commit": commit()} if facts is None else facts
    hash_ = f" ({known['commit']})" if known.get("commit") else ""
    return f"bitlathe {known.get('version')}{hash_}"


def recorded(folder: Path) -> dict[str, Any]:
    """Return what a folder's provenance file says, by part; empty where there is none."""
    with suppress(OSError, ValueError):
        known = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
        if isinstance(known, dict):
            return known
    return {}


def record(folder: Path, part: str, facts: Facts) -> Path:
    """Write the provenance of a part of a folder's files; that of other parts stays.

    Parameters
    ----------
    folder : Path
        The results folder.
    part : {"sweep", "tables", "report"}
        What was made.
    facts : mapping
        From `provenance`, or what tables hold.

    Raises
    ------
    BitlatheError
        The folder cannot be written.
    """
    path = folder / FILE_NAME
    known = recorded(folder) | {part: dict(facts)}
    parts = {name: known[name] for name in ("sweep", "tables", "report") if name in known}
    made = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        made.write_text(json.dumps(parts, indent=1) + "\n", encoding="utf-8")
        os.replace(made, path)
    except OSError as err:
        raise BitlatheError(f"{path}: cannot write this file: {err.strerror or err}.") from None
    finally:
        with suppress(OSError):
            made.unlink(missing_ok=True)
    return path
