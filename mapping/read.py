"""A user's mapping from a file: what `Mapping.to_dict` writes, as YAML or JSON, or a line."""

from pathlib import Path
from typing import Any

from ..datatypes.base.errors import BitlatheError
from ..datatypes.base.yamlfile import read_yaml
from .nest import Level, Loop, Mapping, Unroll


def read_mapping(path: Path) -> Mapping | str:
    """Return the mapping of a file; one that `bitlathe map --json` printed is taken as it is.

    Returns
    -------
    Mapping or str
        A line of text is left as it is: it is a mapping for a layer and a chip only
        (`loop_string.mapping_of_string`).

    Raises
    ------
    BitlatheError
        The file cannot be read, or is not a mapping; it names the entry.
    """
    data = read_yaml(path, "mapping file").data
    if isinstance(data, str):
        return data
    if isinstance(data, dict) and isinstance(data.get("mapping"), dict):
        data = data["mapping"]
    try:
        return mapping_of(data)
    except BitlatheError as err:
        raise BitlatheError(f"{path}: {err}") from None


def mapping_of(data: Any) -> Mapping:
    """Return the mapping of plain data.

    Raises
    ------
    BitlatheError
        Anything but what `Mapping.to_dict` gives; it names the entry.

    Examples
    --------
    >>> data = {"levels": [{"memory": "dram", "keeps": ["weight"], "loops": [["m", 4]]}]}
    >>> mapping_of(data).levels[0].loops
    (Loop(dim='m', tile=4),)
    """
    top = _keys(data, "the mapping", {"levels", "spatial"}, needed={"levels"})
    levels = tuple(
        _level(each, f"levels[{i}]") for i, each in enumerate(_list(top["levels"], "levels"))
    )
    spatial = []
    for i, each in enumerate(_list(top.get("spatial", []), "spatial")):
        axis, dim, size = _parts(each, f"spatial[{i}]", ("axis", "dimension", "size"))
        spatial.append(Unroll(axis, dim, size))
    return Mapping(levels=levels, spatial=tuple(spatial))


def _level(data: Any, where: str) -> Level:
    known = {"memory", "keeps", "loops", "doubled"}
    entry = _keys(data, where, known, needed={"memory", "keeps"})
    if not isinstance(entry["memory"], str):
        raise BitlatheError(f"{where}.memory is {entry['memory']!r}; give the name of a memory.")
    loops = []
    for i, each in enumerate(_list(entry.get("loops", []), f"{where}.loops")):
        dim, tile = _parts(each, f"{where}.loops[{i}]", ("dimension", "tile"))
        loops.append(Loop(dim, tile))
    names = {
        key: tuple(str(each) for each in _list(entry.get(key, []), f"{where}.{key}"))
        for key in ("keeps", "doubled")
    }
    return Level(memory=entry["memory"], loops=tuple(loops), **names)


def _keys(data: Any, where: str, known: set[str], *, needed: set[str]) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise BitlatheError(f"{where} is {data!r}; give {', '.join(sorted(known))}.")
    for key in [*data, *sorted(needed)]:
        if key not in known or key not in data:
            what = "is not one of its keys" if key in data else "is missing"
            raise BitlatheError(f"{where}: {key!r} {what}; give {', '.join(sorted(known))}.")
    return data


def _list(data: Any, where: str) -> list[Any]:
    if not isinstance(data, list):
        raise BitlatheError(f"{where} is {data!r}; give a list.")
    return data


def _parts(data: Any, where: str, names: tuple[str, ...]) -> list[Any]:
    """Return the entries of a short list: names, and a whole number at its end."""
    entries = _list(data, where)
    good = len(entries) == len(names) and all(isinstance(each, str) for each in entries[:-1])
    if not good or isinstance(entries[-1], bool) or not isinstance(entries[-1], int):
        raise BitlatheError(f"{where} is {data!r}; give [{', '.join(names)}].")
    return entries
