"""Digests of what results depend on: code, component tables, chips, models, files of formats."""

import csv
import hashlib
import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from ...arch import Arch
from ...arch.components import FOLDER, own_component
from ...datatypes.base.errors import BitlatheError
from ...datatypes.base.sources import PACKAGE, digest_of, files_of
from ...datatypes.base.yamlfile import read_yaml
from ...datatypes.schemes.scheme import Scheme
from ...workloads import Model
from .sweepfile import canonical

# rooms whose code decides results
MODEL_ROOMS = ("datatypes", "workloads", "arch", "mapping", "sim")
# what makes rows of runs
ROWS = ("evaluate", "rows", "nests", "iso")
HERE = [Path(__file__).resolve().with_name(f"{name}.py") for name in ROWS]


def sha(*parts: str | bytes) -> str:
    """Return the SHA-256 of some texts or bytes, apart from each other."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


@cache
def models_version() -> str:
    """Return the digest of all code and format files that decide results.

    Component tables and model files are left out: a point's key holds those it uses.
    """

    def counts(path: Path) -> bool:
        code = path.suffix == ".py" and "cuda" not in path.parts
        return code or (path.parts[0] == "datatypes" and path.suffix == ".yaml")

    return digest_of([*HERE, *files_of(PACKAGE, MODEL_ROOMS, counts)], PACKAGE)


@cache
def component_digests() -> dict[str, str]:
    """Return the digest of every entry of the component tables, by its name."""
    digests: dict[str, str] = {}
    for kind in ("pe", "dram", "sram"):
        for name, entry in read_yaml(FOLDER / f"{kind}.yaml").data.items():
            values = {k: v for k, v in entry.items() if k != "source"}
            extra = ""
            if kind == "sram":
                with (FOLDER / entry["file"]).open(encoding="utf-8", newline="") as file:
                    extra = canonical(list(csv.reader(file)))
            digests[name] = sha(digests.get(name, ""), kind, canonical(values), extra)
    return digests


def texts_of(value: Any) -> set[str]:
    """Return every string in nested plain data."""
    if isinstance(value, str):
        return {value}
    if isinstance(value, Mapping):
        return set().union(*(texts_of(v) for v in value.values()))
    if isinstance(value, list | tuple):
        return set().union(*(texts_of(v) for v in value))
    return set()


def own_files(texts: Collection[str]) -> dict[str, str]:
    """Return a digest of what files say of formats, levels of scales and components, by name."""
    found: dict[str, str] = {}
    for text in texts:
        if re.search(r"\.ya?ml", text, re.IGNORECASE):
            for kind in ("pe", "dram", "registers", "vector"):
                with suppress(BitlatheError):  # no such table, or one that the point will fail with
                    if (part := own_component(kind, text)) is not None:
                        found[text] = sha(found.get(text, ""), part.model_dump_json())
            with suppress(BitlatheError):  # no scheme, or one that the point will fail with
                scheme = Scheme.parse(text)
                formats = [(f.bits, *f.listed) for f in scheme.formats]
                found[text] = sha(repr(formats + scheme.unsaid))
    return found


def model_digest(model: Model) -> str:
    """Return the digest of what decides a model's results: its sizes, not its name."""
    return sha(model.family, repr(model.shape))


def arch_content(arch: Arch) -> dict[str, Any]:
    """Return what of a chip decides results: all but its names and descriptions."""
    return arch.model_dump(mode="json", exclude={"name", "title", "description"})
