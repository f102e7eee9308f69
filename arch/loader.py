"""Load a chip from a shipped name or a YAML file, with overrides by dotted key."""

import os
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from ..datatypes.base.errors import BitlatheError, nearest, unknown_name
from ..datatypes.base.slugs import slug
from ..datatypes.base.yamlfile import Document, Location, parse_yaml, read_yaml, validate
from .keys import by_name, changes_of, nested, set_key
from .levels import SIZES
from .long_form import check_feeds
from .memories import DRAM_PAIRS
from .numerics import Numerics
from .pe import PE_KEYS
from .pe_base import PESection
from .schema import Arch, check_memories

CHIPS = Path(__file__).parent / "chips"


@cache
def arch_names() -> tuple[str, ...]:
    """Return the names of the shipped chips."""
    found = (p.relative_to(CHIPS).with_suffix("").as_posix() for p in CHIPS.rglob("*.yaml"))
    return tuple(sorted(found))


def _find(name_or_path: str | Path) -> tuple[Path, str]:
    """Return the file of a chip and the name it goes by."""
    text = str(name_or_path)
    wanted = slug(text)
    if wanted in arch_names():
        return CHIPS / f"{wanted}.yaml", wanted
    path = Path(text)
    # os.path's never raise, unlike Path's
    if text and (path.suffix in {".yaml", ".yml"} or os.path.exists(text)):
        if os.path.isdir(text):
            raise BitlatheError(f"{path} is a folder; give the YAML file of a chip.")
        return path, path.stem
    if os.path.isfile(CHIPS.parent / "systems" / f"{wanted}.yaml"):
        raise BitlatheError(
            f"{wanted!r} is a system of chips, where one chip is needed; `bitlathe archs {wanted}` "
            "names its chip. Python loads systems with load_system."
        )
    raise BitlatheError(
        unknown_name("chip", text, arch_names()) + "; or give the path of a YAML file."
    )


def _document(path: Path) -> Document:
    return _shipped(path) if path.is_relative_to(CHIPS) else _read(path)


@cache
def _shipped(path: Path) -> Document:
    return _read(path)


def _read(path: Path) -> Document:
    document = read_yaml(path, "architecture file")
    if not isinstance(document.data, dict):
        raise BitlatheError(f"{path}:1:1: an architecture file is a mapping of keys to values.")
    if {"chips", "links"} <= set(document.data):
        raise BitlatheError(
            f"{path}: this file is a system of chips, where one chip is needed: give the chip that "
            "its 'chip' names. Python loads systems with load_system."
        )
    if "models" in document.data and "technology" not in document.data:
        raise BitlatheError(
            f"{path}: this file is a sweep, not a chip: run it (bitlathe sweep {path} --out DIR), "
            "or name one of its chips."
        )
    return _dram_apart(document)


def _dram_apart(document: Document) -> Document:
    """Return a chip's document with the first of its memories, the DRAM, as section ``dram``."""
    data, marks = document.data, document.marks
    listed = data.get("memories")
    first = listed[0] if isinstance(listed, list) and listed else None
    outside = isinstance(first, dict) and {"gb_per_s", "bits_per_clock"} & set(first)
    if "dram" in data and outside:
        raise BitlatheError(
            f"{document.where(('memories', 0))}: memories: the DRAM is given twice, here and in "
            "section dram; leave one of them out."
        )
    if "memories" not in data or "dram" in data:
        return document
    if not outside:
        raise BitlatheError(
            f"{document.where(('memories', 0))}: memories: the first is the DRAM; give it gb_per_s "
            "or bits_per_clock, or give the chip a section dram."
        )
    moved: dict[Location, tuple[int, int]] = {}
    for loc, mark in marks.items():
        if loc[:1] == ("memories",) and len(loc) > 1:
            inside = int(loc[1]) - 1
            head: Location = ("memories", inside) if inside >= 0 else ("dram",)
            moved[(*head, *loc[2:])] = mark
        else:
            moved[loc] = mark
    rest = {**data, "dram": first, "memories": listed[1:]}
    return Document(source=document.source, data=rest, marks=moved)


def _of_dram(key: str, dram: str) -> str:
    """Return the key by which a chip's DRAM is set, where it is named as one of the memories.

    Examples
    --------
    >>> _of_dram("memories.hbm.gb_per_s", "hbm")
    'dram.gb_per_s'
    """
    head = f"memories.{dram}."
    return f"dram.{key.removeprefix(head)}" if key.startswith(head) else key


def _settable(value: Any, prefix: str = "") -> list[str]:
    """Return the dotted keys of a chip's record, leaves only."""
    value = by_name(value) or value
    if isinstance(value, dict) and not prefix.endswith("component."):  # one's own is a whole
        return [k for name, v in value.items() for k in _settable(v, f"{prefix}{name}.")]
    return [prefix[:-1]]


def _reaches(data: Any, key: str) -> bool:
    """Return whether a dotted key leads to something in nested data."""
    for part in key.split("."):
        data = by_name(data) or data
        if not isinstance(data, dict) or part not in data:
            return False
        data = data[part]
    return True


def _check_keys(arch: Arch, keys: Iterable[str], say: str) -> None:
    data = arch.model_dump(exclude={"overrides", "name"})
    if all(_reaches(data, key) for key in keys):
        return
    known = list(dict.fromkeys([*_settable(data), *(f"pe.{key}" for key in PE_KEYS)]))
    branches = {k.rsplit(".", n)[0] for k in known for n in range(4)}
    operands = {f"{k.rsplit('.', 1)[0]}.{p}" for k in known for p in ("bits", "scheme")}
    optional = {
        f"formats.{kind}.{op}"
        for kind in ("lm_head", "conv", "router", "norm")
        for op in ("weight", "input", "output")
    }
    optional |= {f"{axis}.{key}" for axis in SIZED for key in ("size", "dims")}
    optional |= {f"pe.numerics.{field}" for field in Numerics.model_fields}
    for key in keys:
        if key not in branches | set(known) | operands | optional:
            near = nearest(key, known, limit=1)
            parts = sorted({k.split(".")[0] for k in known})
            hint = (
                f"did you mean {near[0]!r}?"
                if near
                else (f"keys begin with {', '.join(parts)}; `bitlathe schema chip` has them all.")
            )
            raise BitlatheError(f"{say} {key!r}: no such key in a chip; {hint}")


SIZED = ("array.rows", "array.columns")
"""Keys that may be a number, or a size with dimensions."""


def _covers(key: str, other: str) -> bool:
    """Return whether setting ``key`` also settles ``other`` (equal, above or below it)."""
    return key == other or key.startswith(other + ".") or other.startswith(key + ".")


def load_arch(name_or_path: str | Path | Arch, overrides: Mapping[str, Any] | None = None) -> Arch:
    """Load a chip.

    Parameters
    ----------
    name_or_path : str, Path or Arch
        A shipped name (`arch_names`; case, ``_`` and blanks do not matter), or the path of a
        YAML file. An Arch is taken as it is.
    overrides : mapping, optional
        Values by dotted key, e.g. ``{"array.rows": 64}``. A key set here holds in every phase and
        for every model: the file's own conditional overrides of that key fall away.

    Raises
    ------
    BitlatheError
        Unknown name, unreadable file, bad YAML, unknown keys, impossible values: one line per
        problem with file, line, column, key and remedy.

    Examples
    --------
    >>> load_arch("bitmod", {"array.rows": 64}).array.rows
    64
    """
    if isinstance(name_or_path, Arch):
        arch = name_or_path
        document = Document(source="--set", data=nested(arch), marks={})
    else:
        path, name = _find(name_or_path)
        document = _document(path)
        arch = validate(Arch, document)
        arch = arch.model_copy(update={"name": name})
        _check_overrides(arch, document)
        _check_used(arch, document)
        if not overrides:
            _check_memories(arch, document)
    if not overrides:
        return arch
    overrides = {_of_dram(key, arch.dram.name): value for key, value in overrides.items()}
    _check_keys(arch, overrides, "--set")
    data: dict[str, Any] = {**document.data, "name": arch.name}
    for key, value in overrides.items():
        data = _without_twin(_one_size(set_key(data, key, value), key), key)
    kept = []
    for rule in data.get("overrides", []):
        left = {k: v for k, v in rule["set"].items() if not any(_covers(k, o) for o in overrides)}
        if left:
            kept.append({**rule, "set": left})
    data["overrides"] = kept
    marks: dict[Location, tuple[int, int]] = dict(document.marks)
    try:
        whole = Document(source=document.source, data=data, marks=marks)
        chip = validate(Arch, whole).with_settings({**arch.settings, **overrides})
        _check_own_figures(arch.pe, chip.pe, overrides)
        if _same_pe(chip.pe, arch.pe):
            chip = chip.built_as(arch)
        if arch.whole is not None:  # one phase of a chip: the setting holds for the whole of it
            chip = chip.resolved_from(load_arch(arch.whole, overrides))
        _check_memories(chip, whole)
    except BitlatheError as err:
        given = ", ".join(f"{k}={v}" for k, v in overrides.items())
        raise BitlatheError(f"with --set {given}: {err}") from None
    return chip


def _check_own_figures(was: PESection, pe: PESection, overrides: Iterable[str]) -> None:
    """Check that energy and area of one's own follow the lanes, as those of components do.

    Raises
    ------
    BitlatheError
        The lanes are set, the figures of the PE with the lanes of before stay.
    """
    if pe.lanes == was.lanes or not pe.own_costs or pe.operators is not None:
        return
    figures = ("energy_pj", "area_um2")
    left = [f"pe.{f}" for f in figures if not any(_covers(f"pe.{f}", key) for key in overrides)]
    if left:
        raise BitlatheError(
            f"pe.lanes: of lanes: {was.lanes}, not {pe.lanes}, are {' and '.join(left)}; set these "
            "too, in a sweep on one axis: 'pe.lanes, pe.energy_pj, pe.area_um2'."
        )


def _same_pe(one: PESection, other: PESection) -> bool:
    """Return whether two chips have PEs of the same kind, lanes and component."""
    return (one.kind, one.lanes, one.component) == (other.kind, other.lanes, other.component)


def _check_memories(arch: Arch, document: Document) -> None:
    """Check the memories of a chip whose overrides are known to be right; say where they stand."""
    try:
        if arch.memories:
            check_feeds(arch)
        else:
            check_memories(arch)
    except BitlatheError as err:
        loc = str(err).partition(":")[0].split(".")
        raise BitlatheError(f"{document.where(loc)}: {err}") from None


def _check_used(arch: Arch, document: Document) -> None:
    """Check that a dataflow of the file uses each of its memories; one set later may use fewer."""
    for level in arch.memories:
        if not any(level.used_in(flow) for flow in arch.array.dataflows):
            loc, known = ("memories", level.name, "dataflow"), ", ".join(arch.array.dataflows)
            raise BitlatheError(
                f"{document.where(loc)}: {'.'.join(loc)}: the array has no dataflow "
                f"{' or '.join(level.dataflow)}; it has {known}."
            )


def _without_twin(data: dict[str, Any], key: str) -> dict[str, Any]:
    """Return a chip's data where a DRAM rate or latency just set replaces that of the other unit.

    Examples
    --------
    >>> _without_twin({"dram": {"bits_per_clock": 256, "gb_per_s": 51.2}}, "dram.gb_per_s")
    {'dram': {'gb_per_s': 51.2}}
    """
    for pair in DRAM_PAIRS:
        if key in (f"dram.{pair[0]}", f"dram.{pair[1]}"):
            other = pair[key == f"dram.{pair[0]}"]
            return {**data, "dram": {k: v for k, v in data["dram"].items() if k != other}}
    return data


def _one_size(data: dict[str, Any], key: str) -> dict[str, Any]:
    """Return a chip's data where a size of a memory just set replaces that of the other unit."""
    head, _, rest = key.partition(".")
    name, _, last = rest.partition(".")
    entry = (by_name(data.get(head)) or {}).get(name)
    if head != "memories" or last not in SIZES or not isinstance(entry, dict):
        return data
    kept = {k: v for k, v in entry.items() if k not in SIZES or k == last}
    return set_key(data, f"memories.{name}", kept)


_REARRANGED = ("array.rows", "array.columns", "array.dataflow", "formats", "execution")
"""What may differ from phase to phase and model to model; the rest is one piece of silicon."""


def _check_same_silicon(keys: Iterable[str]) -> None:
    for key in keys:
        if not any(key == free or key.startswith(free + ".") for free in _REARRANGED):
            raise BitlatheError(
                f"override of {key!r}: a chip has one in all phases and for all models; overrides "
                f"set {', '.join(_REARRANGED)}"
            )


def _check_overrides(arch: Arch, document: Document) -> None:
    """Apply each conditional override once, so that its errors show at load with their line."""
    for i, rule in enumerate(arch.overrides):
        loc = ("overrides", i, "set")
        try:
            _check_keys(arch, rule.set, "override of")
            _check_same_silicon(rule.set)
            _apply(arch, rule.set)
        except BitlatheError as err:
            message = str(err).removeprefix("<override>: ")
            raise BitlatheError(f"{document.where(loc)}: overrides[{i}]: {message}") from None


def _apply(arch: Arch, changes: Mapping[str, Any]) -> Arch:
    data = nested(arch)
    for key, value in changes.items():
        data = set_key(data, key, value)
    return validate(Arch, Document(source="<override>", data=data, marks={}))


def resolve(arch: Arch, *, phase: str, model: str) -> Arch:
    """Return the chip as it is for one phase and model: matching overrides applied, in order.

    Examples
    --------
    >>> resolve(load_arch("hpca25/fp16"), phase="decode", model="phi-2").array.rows
    64
    """
    changes = changes_of(arch.overrides, phase, model)
    return _apply(arch, changes).resolved_from(arch) if changes else arch


def parse_setting(text: str) -> tuple[str, Any]:
    """Split ``key=value`` of the command line; the value is read as YAML.

    Raises
    ------
    BitlatheError
        If the key, the value or the ``=`` is missing, or the value is not YAML.

    Examples
    --------
    >>> parse_setting("array.rows=64")
    ('array.rows', 64)
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip() or not value.strip():
        raise BitlatheError(f"--set {text!r}: write KEY=VALUE, for example array.rows=64.")
    return key.strip(), parse_yaml(value, f"--set {key.strip()}").data
