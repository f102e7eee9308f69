"""Where the tensors of a checkpoint are: shards of a folder, with or without an index; one file."""

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from ..base.errors import BitlatheError, shown
from ..base.files import read_bytes, shown_path
from ..base.jsonfile import parse_json
from ..weights.safetensors_file import Stored, read_stored

SUFFIX: Final = ".safetensors"
INDEX_END: Final = f"{SUFFIX}.index.json"
INDEX: Final = f"model{INDEX_END}"
INDEX_MAX: Final = 64 << 20  # bytes of an index: about 400,000 tensors
# a shard that says by its name how many there are
_NUMBERED: Final = re.compile(r"(.*)-(\d{1,6})-of-(\d{1,6})" + re.escape(SUFFIX))


def shards_of(path: str | Path) -> list[Path]:
    """Return the safetensors files of a checkpoint: those its index names, or all of a folder.

    Parameters
    ----------
    path : str or Path
        A folder, or one file.

    Raises
    ------
    BitlatheError
        Raised if there are none, one that the index or the numbers in their names ask for is
        missing, or the index is damaged.
    """
    place = Path(path)
    if not place.is_dir():
        if place.suffix.lower() != SUFFIX:
            raise BitlatheError(
                f"{shown_path(place)}: a checkpoint is a folder with {SUFFIX} files, or one of them"
            )
        return [place]
    index = place / INDEX
    if not index.exists():
        found = sorted(place.glob(f"*{SUFFIX}"))
        if not found:
            raise BitlatheError(f"{shown_path(place)}: this folder has no {SUFFIX} files")
        _check_numbers(place, [file.name for file in found])
        return found
    names = sorted(set(_weight_map(index).values()))
    shards = [place / name for name in names]
    missing = [shard for shard in shards if not shard.is_file()]
    if missing:
        raise BitlatheError(f"{shown_path(index)}: {missing[0].name}, which it names, is missing")
    return shards


def _check_numbers(place: Path, names: list[str]) -> None:
    """Refuse shards named ``...-2-of-5...`` of which some are missing."""
    parts = [found.groups() for name in names if (found := _NUMBERED.fullmatch(name))]
    for start, count in sorted({(start, count) for start, _, count in parts}):
        held = {int(number) for own, number, of in parts if (own, of) == (start, count)}
        missing = next((i for i in range(1, int(count) + 1) if i not in held), None)
        if missing:
            lost = f"{start}-{missing:0{len(count)}}-of-{count}{SUFFIX}"
            raise BitlatheError(
                f"{shown_path(place)}: {lost} is missing, of {int(count)} shards by their names"
            )


def _weight_map(index: Path) -> dict[str, str]:
    where = f"{shown_path(index)}: weight_map"
    content = parse_json(read_bytes(index, "index", INDEX_MAX), f"{shown_path(index)}: the index")
    found = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(found, dict) or not found:
        raise BitlatheError(f"{where} is missing; it must map names of tensors to files")
    for name, file in found.items():
        if not isinstance(file, str) or Path(file).name != file or not file.endswith(SUFFIX):
            raise BitlatheError(
                f"{where}: {shown(name)} lies in {shown(file)}; it must be the name of a "
                f"{SUFFIX} file beside the index"
            )
    return found


def stored_tensors(
    path: str | Path,
) -> Iterator[tuple[Path, dict[str, Stored], dict[str, str]]]:
    """Yield shard by shard its file, its tensors as they lie in it, and its facts.

    Raises
    ------
    BitlatheError
        Raised if a file is damaged, two shards have a tensor of one name, or a tensor is in none
        although the index names it.
    """
    seen: dict[str, str] = {}
    for shard in shards_of(path):
        tensors, facts = read_stored(shard)
        for name in tensors:
            if name in seen:
                raise BitlatheError(
                    f"{shown_path(shard)}: tensor {shown(name)} is in {seen[name]} as well; an "
                    f"index, {INDEX}, says which files belong together"
                )
            seen[name] = shard.name
        yield shard, tensors, facts
    index = Path(path) / INDEX
    lost = [name for name in _weight_map(index) if name not in seen] if index.exists() else []
    if lost:
        raise BitlatheError(
            f"{shown_path(index)}: tensor {shown(lost[0])}, which it names, is in none of its files"
        )


def read_config(path: str | Path) -> dict[str, Any]:
    """Return the table of a checkpoint's config.json; empty where there is none.

    Raises
    ------
    BitlatheError
        Raised if it is not a table in JSON.
    """
    folder = Path(path)
    file = (folder if folder.is_dir() else folder.parent) / "config.json"
    if not file.exists():
        return {}
    found = parse_json(read_bytes(file, "configuration"), f"{shown_path(file)}: the configuration")
    if not isinstance(found, dict):
        raise BitlatheError(f"{shown_path(file)}: a table is needed, got {type(found).__name__}")
    return found


@contextmanager
def writing_folder(path: str | Path) -> Iterator[Path]:
    """Give a folder beside ``path`` to fill, which becomes it at the end: all of it, or nothing.

    Parameters
    ----------
    path : str or Path
        Of a folder that does not exist yet, or is empty.

    Raises
    ------
    BitlatheError
        It exists and is not empty, is no path, or cannot be written.
    """
    where = f"{shown_path(path)}: cannot be written"
    part: Path | None = None
    try:
        place = Path(os.path.realpath(os.fsdecode(path)))  # of a link what it leads to
        if place.exists() and (not place.is_dir() or any(place.iterdir())):
            kind = "a folder with files" if place.is_dir() else "a file"
            raise BitlatheError(f"{where}: it is {kind}; give the path of a new folder")
        made = place.with_name(f".{place.name}.{os.getpid()}.part")
        made.mkdir(parents=True)
        part = made
        yield made
        if place.exists():
            place.rmdir()
        made.replace(place)
    except BitlatheError:
        raise
    except (OSError, ValueError, TypeError) as err:
        raise BitlatheError(f"{where}: {getattr(err, 'strerror', None) or err}") from None
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)


def index_of(files: Mapping[str, Mapping[str, int]]) -> dict[str, Any]:
    """Return the index of shards: bytes of tensors by name, by file."""
    total = sum(sum(sizes.values()) for sizes in files.values())
    where = {name: file for file, tensors in files.items() for name in tensors}
    return {"metadata": {"total_size": total}, "weight_map": dict(sorted(where.items()))}
