"""Schemes of nested scales from a user's YAML file: what is too long for a line, or has no name.

::

    name: mine                                # optional
    element: fp4_e2m1                         # a name, a format file, a table as in one, or
                                              # {mixture: [...]}, a list of these
    scales:                                   # the innermost first
      - {group: g8, format: {values: [1, 1.25, 1.5, 1.75]}, search: true}
      - {group: g32, format: e8m0, rule: floor}
    minimum: [{group: g8, format: fp16}]      # optional; or zero

What a key means is said in `schemes.levels`.
"""

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from ..base.errors import BitlatheError, nearest
from ..base.yamlfile import Document, Record, read_yaml, validate
from ..formats.catalogue import ENTRIES, is_file
from ..formats.families import KNOWN, named, named_element
from ..formats.files import format_of, load_format
from ..formats.format import Format, Mixture
from .granularity import GRANULARITIES, Granularity
from .levels import Level, Offset
from .scales import SCALES

Given = str | dict[str, Any]


class LevelEntry(Record):
    """A level of scales, minima or zero points."""

    group: str = Field(description="what shares a scale: g32, channel, tensor")
    format: Given = Field(description="format of the scales: a name, or a table of keys")
    rule: str | None = Field(
        default=None, description="how scales are chosen; the format's own if left out"
    )
    search: bool = Field(
        default=False, description="try the format's values, and take those of least error"
    )
    signed: bool = Field(default=False, description="whether scales have a sign")


Entries = Annotated[list[LevelEntry], Field(min_length=1)]


class MixtureEntry(Record):
    """Formats of one width, of which each group takes that of least error."""

    mixture: Annotated[list[Given], Field(min_length=1)] = Field(
        description="formats: names, files or tables of keys; the first of equals wins"
    )


class SchemeFile(Record):
    """A scheme."""

    name: str = Field(default="", description="name in tables; the file's by default")
    element: Given = Field(
        description="format of an element: a name, a file, a table of keys, or a mixture of these"
    )
    scales: Entries = Field(description="levels of scales, the innermost first")
    minimum: Entries | None = Field(default=None, description="levels of minima, beside the scales")
    zero: Entries | None = Field(
        default=None, description="levels of zero points, beside the scales"
    )


def is_scheme(document: Document) -> bool:
    """Return whether a document describes a scheme rather than a format."""
    return isinstance(document.data, dict) and bool({"element", "scales"} & set(document.data))


def read_scheme_file(path: str | Path) -> Document:
    """Return the document of a file that describes a format or a scheme.

    Raises
    ------
    BitlatheError
        Raised if the file cannot be read.
    """
    return read_yaml(Path(path), "format file")


def scheme_facts(document: Document, path: str) -> dict[str, Any]:
    """Return the arguments of `Scheme` that a document gives.

    Raises
    ------
    BitlatheError
        Naming file, line and key.
    """
    found = validate(SchemeFile, document)
    if found.minimum and found.zero:
        raise BitlatheError(
            f"{document.where(('zero',))}: a group has a minimum or a zero point, not both; leave "
            "one out"
        )
    levels = _levels(document, "scales", found.scales, path, found.name)
    offset = None
    for kind in ("minimum", "zero"):
        entries = getattr(found, kind)
        if entries:
            offset = Offset(kind=kind, levels=_levels(document, kind, entries, path, found.name))
    made = _element(document, found.element, path, found.name)
    facts: dict[str, Any] = {
        "name": made.name,
        "file": path,
        "element": made,
        "granularity": levels[0].granularity,
    }
    plain = SCALES.get(str(levels[0]))
    if len(levels) == 1 and offset is None and plain and plain.kind in ("float", "ocp"):
        return {**facts, "scale": str(levels[0])}
    coder = "offset" if offset else "levels"
    return {**facts, "scale": "levels", "levels": levels, "offset": offset, "coder": coder}


def _levels(
    document: Document, key: str, entries: list[LevelEntry], path: str, name: str
) -> tuple[Level, ...]:
    levels = []
    for k, entry in enumerate(entries):
        shape = Granularity.parse(entry.group)
        if shape is None:
            raise BitlatheError(
                f"{document.where((key, k, 'group'))}: unknown granularity {entry.group!r}; known: "
                f"{', '.join(GRANULARITIES)}"
            )
        made = _format(document, (key, k, "format"), entry.format, path, name)
        levels.append(Level.of(shape, made, entry.rule, entry.search, entry.signed))
    return tuple(levels)


def _format(
    document: Document, place: tuple[str | int, ...], given: Given, path: str, name: str
) -> str | Format:
    if isinstance(given, dict):
        return format_of(document.part(*place), f"{name or Path(path).stem}_{place[0]}", path)
    if is_file(given):
        return load_format(Path(path).parent / given)
    if given == "fp32" or named(given):
        return given
    known = (*ENTRIES, *KNOWN, "fp32")
    near = nearest(given, known)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise BitlatheError(f"{document.where(place)}: unknown format {given!r}{hint}")


def _element(document: Document, given: Given, path: str, name: str) -> Format | Mixture:
    if isinstance(given, dict) and "mixture" in given:
        return _mixture(document, path, name or Path(path).stem)
    if isinstance(given, str) and not is_file(given):
        try:
            return named_element(given)
        except BitlatheError as problem:
            raise BitlatheError(f"{document.where(('element',))}: {problem}") from None
    found = _format(document, ("element",), given, path, name)
    assert isinstance(found, Format)
    return found


def _mixture(document: Document, path: str, name: str) -> Mixture:
    place = ("element", "mixture")
    given = validate(MixtureEntry, document.part("element")).mixture
    members = []
    for k, one in enumerate(given):
        made = _format(document, (*place, k), one, path, f"{name}_{k}")
        found = named(made) if isinstance(made, str) else made
        assert found is not None  # a name that is unknown was refused
        members.append(found)
    try:
        return Mixture(name=name, formats=tuple(members))
    except BitlatheError as problem:
        raise BitlatheError(f"{document.where(place)}: {problem}") from None
