"""One spelling for each thing that a sweep file names, and no thing twice."""

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...arch.loader import arch_names
from ...datatypes.base.errors import BitlatheError
from ...datatypes.base.slugs import slug
from ...datatypes.schemes.scheme import Scheme
from ...workloads.load import model_names
from ...workloads.sources.kinds import ENDINGS
from .space import Space
from .sweepfile import axis_keys

Where = tuple[str | int, ...]
OPERANDS = ("weight", "input", "output")


def spelled(space: Space, folder: Path) -> Space:
    """Return the space with shipped names and schemes in their own spelling.

    Parameters
    ----------
    space : Space
        From `parse_sweep`.
    folder : Path
        The sweep file's, where its relative paths start.

    Raises
    ------
    BitlatheError
        Two entries of a list are the same chip, model or format.
    """
    file = space.file

    def once(loc: Where, values: Sequence[Any], name: Callable[[Any], Any]) -> list[Any]:
        """Return values by their names; a path counts as the file that it leads to."""
        seen: dict[Any, Any] = {}
        out = []
        for i, value in enumerate(values):
            known = name(value)
            same = _identity(known, folder, _SHIPPED.get(loc[0]))
            if same in seen:
                raise BitlatheError(
                    f"{space.document.where((*loc, i))}: {'.'.join(map(str, loc))}: {value!r} is "
                    f"{seen[same]!r} again; every value once."
                )
            seen[same] = value
            out.append(known)
        return out

    axes = {
        axis: once(("axes", axis), values, _axis_speller(axis))
        for axis, values in file.axes.items()
    }
    schemes = {
        kind: once(("schemes", kind), values, _scheme) for kind, values in file.schemes.items()
    }
    update = {
        "arch": once(("arch",), file.arch, lambda text: _shipped(text, arch_names())),
        "models": once(("models",), file.models, lambda text: _shipped(text, model_names())),
        "axes": axes,
        "schemes": schemes,
    }
    return replace(space, file=file.model_copy(update=update))


_SHIPPED: dict[Any, Callable[[], Sequence[str]]] = {"arch": arch_names, "models": model_names}


def _identity(known: Any, folder: Path, names: Callable[[], Sequence[str]] | None) -> str:
    """Return what two values that are the same have in common; of paths, the file's own."""
    if names is None or not isinstance(known, str) or known in names():
        return repr(known)
    path = place(known, folder)
    return os.path.realpath(path) if os.path.exists(path) else repr(known)


def place(name: str, folder: Path | None) -> str:
    """Return where a chip or model of a sweep file lies: beside that file if it does.

    Parameters
    ----------
    name : str
        As the sweep file has it: a shipped name or a path.
    folder : Path, optional
        The sweep file's.
    """
    is_path = "/" in name or Path(name).suffix.lower() in ENDINGS
    if folder is None or not is_path:
        return name
    beside = str(folder / name)
    return beside if os.path.exists(beside) else name  # unlike Path.exists, never raises


def _shipped(text: str, names: Sequence[str]) -> str:
    spelling = slug(text)
    return spelling if spelling in names else text


def _scheme(text: Any) -> Any:
    try:
        return str(Scheme.parse(text)) if isinstance(text, str) else text
    except BitlatheError:  # refused with its place later
        return text


def _axis_speller(axis: str) -> Callable[[Any], Any]:
    """Return what spells a value of an axis: schemes of its keys that are formats."""
    keys = [_is_scheme(key) for key in axis_keys(axis)]
    if len(keys) == 1:
        return _scheme if keys[0] else lambda value: value

    def spell(row: Any) -> Any:
        return [_scheme(v) if named else v for named, v in zip(keys, row, strict=True)]

    return spell


def _is_scheme(key: str) -> bool:
    parts = key.removesuffix(".scheme").split(".")
    return parts[0] == "formats" and len(parts) == 3 and parts[2] in OPERANDS
