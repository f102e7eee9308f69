"""Strict YAML input: YAML 1.2 scalars, no duplicate keys, errors with file, line and column.

PyYAML's own defaults follow YAML 1.1: they read ``5e-12`` as a string, ``on`` as a boolean and
``12:30`` as 750, and keep the last of two equal keys. Files that describe chips, formats and
sweeps cannot afford that.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import BitlatheError, cut, nearest, shown
from .files import read_text, shown_path
from .jsonfile import DEPTH_MAX, NUMBER_MAX

VALUES_MAX = 300_000  # in a document
_KIND = "kind"  # the key that tells the members of a union apart
PROBLEMS_MAX = 20  # reported for one file
SHOULD_BE = "Input should be "  # how pydantic begins
# libyaml where PyYAML was built with it (all wheels are): about ten times as fast
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Location = tuple[str | int, ...]
ModelT = TypeVar("ModelT", bound=BaseModel)


class Record(BaseModel):
    """Base of all records read from files: frozen, strict, unknown keys refused.

    ``meant`` has what other words than its keys are answered with.
    """

    meant: ClassVar[Mapping[str, str]] = {}
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def __init__(self, /, **data: Any) -> None:
        """Make a record of values as `validate` makes one of a document, refused in its words."""
        try:
            super().__init__(**data)
        except ValidationError as err:
            document = Document(source=type(self).__name__, data=data, marks={})
            raise _refusal(type(self), document, err) from None

    # pydantic: not called for records within others, whose problems have their place there
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Return a copy, without the cached properties of the record: its keys may be others."""
        made = super().model_copy(update=update, deep=deep)
        for name in vars(made).keys() - type(self).model_fields.keys():
            del vars(made)[name]
        return made


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A YAML document: its data, where each key stands, and the name errors give it."""

    source: str
    data: Any
    marks: Mapping[Location, tuple[int, int]]

    def part(self, *place: str | int) -> "Document":
        """Return what stands at a place as a document of its own, its lines those of the file."""
        data, deep = self.data, len(place)
        for key in place:
            data = data[key]
        marks = {loc[deep:]: mark for loc, mark in self.marks.items() if loc[:deep] == place}
        return Document(source=self.source, data=data, marks=marks)

    def where(self, loc: Sequence[str | int]) -> str:
        """Return ``file:line:column`` of the deepest part of ``loc`` that exists.

        An entry of a list may be given by its name.
        """
        loc = _places(loc, self.data)
        for depth in range(len(loc), -1, -1):
            mark = self.marks.get(tuple(loc[:depth]))
            if mark is not None:
                return f"{self.source}:{mark[0]}:{mark[1]}"
        return self.source


def _places(loc: Sequence[str | int], data: Any) -> Location:
    """Return ``loc`` with places in lists instead of names of entries, or of digits."""
    found: list[str | int] = []
    for part in loc:
        place = part
        if isinstance(data, list) and isinstance(part, str):
            names = [each.get("name") if isinstance(each, dict) else None for each in data]
            place = names.index(part) if part in names else int(part) if part.isdigit() else part
        found.append(place)
        data = _part(data, place)
    return tuple(found)


def _shown(loc: Sequence[str | int], data: Any) -> str:
    """Return ``loc`` as a dotted key, with the names of entries that have one."""
    found = []
    for part in loc:
        data = _part(data, part)
        name = data.get("name") if isinstance(part, int) and isinstance(data, dict) else None
        found.append(name if isinstance(name, str) else str(part))
    return ".".join(found)


# Scalars of the YAML 1.2 core schema; what matches none is a string.
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_NULL = re.compile(r"~|null|Null|NULL|")
_INT = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_TEXT_TAGS = ("!", "tag:yaml.org,2002:str")


class _Builder:
    """Makes plain data of a document's events, one after the other, within the limits above."""

    def __init__(self, events: Iterator[yaml.Event], source: str) -> None:
        self.events = events
        self.source = source
        self.marks: dict[Location, tuple[int, int]] = {}

    def error(self, event: Any, message: str) -> BitlatheError:
        line, column = _place(event)
        return BitlatheError(f"{self.source}:{line}:{column}: {message}")

    def value(self, event: Any, loc: Location) -> Any:
        """Return what starts with an event; its further events are taken."""
        self.marks.setdefault(loc, _place(event))
        if len(self.marks) > VALUES_MAX:
            raise self.error(
                event, f"more than {VALUES_MAX:,} values; that is the limit of a file."
            )
        if isinstance(event, yaml.AliasEvent):
            raise self.error(event, "YAML aliases (*name) are not supported; write the value out.")
        is_text = isinstance(event, yaml.ScalarEvent)
        if event.tag is not None and not (is_text and event.tag in _TEXT_TAGS):
            raise self.error(
                event,
                f"tag {shown(event.tag)} is not allowed; "
                "write a plain number, string, list or mapping.",
            )
        if is_text:
            plain = event.tag is None and event.implicit[0]
            return self.scalar(event) if plain else event.value
        if len(loc) >= DEPTH_MAX:
            raise self.error(event, f"nested more than {DEPTH_MAX} deep.")
        return self.items(loc) if isinstance(event, yaml.SequenceStartEvent) else self.table(loc)

    def scalar(self, event: Any) -> Any:
        text: str = event.value
        if _NULL.fullmatch(text):
            return None
        if _BOOL.fullmatch(text):
            return text.lower() == "true"
        whole = _INT.fullmatch(text)
        if not whole and not _FLOAT.fullmatch(text):
            return text
        if len(text) > NUMBER_MAX:
            raise self.error(
                event, f"a number of {len(text):,} characters; at most {NUMBER_MAX:,} are read."
            )
        if whole:
            return int(text)
        return float(text.replace(".", "") if text[-1].isalpha() else text)

    def items(self, loc: Location) -> list[Any]:
        out: list[Any] = []
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            out.append(self.value(event, (*loc, len(out))))
        return out

    def table(self, loc: Location) -> dict[str, Any]:
        out: dict[str, Any] = {}
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent) or event.tag not in (None, *_TEXT_TAGS):
                raise self.error(event, "a key must be a plain word.")
            key = event.value
            if key in out:
                first = self.marks[(*loc, key)]
                raise self.error(
                    event,
                    f"key {shown(key)} is given twice (first on line {first[0]}); "
                    "remove one of the two.",
                )
            self.marks[(*loc, key)] = _place(event)
            out[key] = self.value(next(self.events), (*loc, key))
        return out

    def document(self) -> Any:
        """Return the value of the only document."""
        starts = (yaml.StreamStartEvent, yaml.DocumentStartEvent)
        while isinstance(event := next(self.events), starts):
            pass
        if isinstance(event, yaml.StreamEndEvent):
            raise BitlatheError(f"{self.source}: the file is empty.")
        data = self.value(event, ())
        next(self.events)  # the document's end
        if not isinstance(event := next(self.events), yaml.StreamEndEvent):
            raise self.error(event, "not valid YAML: a second document; a file holds one.")
        return data


def _place(event: Any) -> tuple[int, int]:
    return event.start_mark.line + 1, event.start_mark.column + 1


def parse_yaml(text: str, source: str) -> Document:
    r"""Parse YAML text into plain data with a line and column for every key.

    Takes time and memory in proportion to the length of the text.

    Parameters
    ----------
    text : str
        The document.
    source : str
        The file's name, as errors show it.

    Raises
    ------
    BitlatheError
        Bad syntax, a duplicate key, an alias or a tag, an empty document, lists in lists beyond
        `DEPTH_MAX`, too long a number, too many values; with its place.

    Examples
    --------
    >>> parse_yaml("a: 5e-3\nb: on", "x.yaml").data
    {'a': 0.005, 'b': 'on'}
    """
    try:
        builder = _Builder(yaml.parse(text, Loader=_LOADER), source)
        data = builder.document()
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        place = f"{source}:{mark.line + 1}:{mark.column + 1}" if mark else source
        problem = cut(str(err.problem or err.context), 200)
        if "nesting depth" in problem:  # newer libyaml's own limit, met while it looks ahead
            raise BitlatheError(f"{place}: nested more than {DEPTH_MAX} deep.") from None
        raise BitlatheError(f"{place}: not valid YAML: {problem}.") from None
    except (yaml.YAMLError, UnicodeError) as err:
        raise BitlatheError(f"{source}: not valid YAML: {str(err).splitlines()[0]}.") from None
    return Document(source=source, data=data, marks=builder.marks)


def read_yaml(path: Path, what: str = "file") -> Document:
    """Read and parse a YAML file; see `parse_yaml`."""
    return parse_yaml(read_text(path, what), shown_path(path))


def _model_at(
    model: type[BaseModel], loc: Sequence[str | int], data: Any
) -> type[BaseModel] | None:
    """Return the record class that holds the last key of ``loc``; of a union that of its kind."""

    def records(annotation: Any) -> list[type[BaseModel]]:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return [annotation]
        return [r for arg in get_args(annotation) for r in records(arg)]

    current: type[BaseModel] | None = model
    for key in loc[:-1]:
        data = _part(data, key)
        if current is not None and key in current.model_fields:
            found = records(current.model_fields[str(key)].annotation)
            current = next((r for r in found if _tag(data) in _tags(r)), (*found, None)[0])
    return current


def _part(data: Any, key: str | int) -> Any:
    """Return what stands at a key of data; None where nothing does."""
    if isinstance(data, dict):
        return data.get(key)
    inside = isinstance(data, list) and isinstance(key, int) and key < len(data)
    return data[key] if inside else None


def _tag(data: Any) -> Any:
    """Return the kind that data give, by which the members of a union are told apart."""
    return data.get(_KIND) if isinstance(data, dict) else None


def _tags(record: type[BaseModel]) -> tuple[Any, ...]:
    """Return the kinds that a record is for."""
    return get_args(record.model_fields[_KIND].annotation) if _KIND in record.model_fields else ()


def _of_union(error: Any) -> Any:
    """Return an error about a union's kind as one about the key that says it."""
    kind, loc = error["type"], (*error["loc"], _KIND)
    if kind == "union_tag_not_found":
        return {**error, "type": "missing", "loc": loc}
    if kind == "union_tag_invalid":
        known, _, last = error["ctx"]["expected_tags"].rpartition(", ")
        message, given = f"Input should be {known} or {last}", error["input"][_KIND]
        return {**error, "type": "literal_error", "loc": loc, "msg": message, "input": given}
    return {**error, "type": "model_type"} if kind == "model_attributes_type" else error


def _joined(errors: Iterable[Any], data: Any) -> list[Any]:
    """Return errors; those of several members of a union about one plain value as one.

    Pydantic puts a member's name behind the key: ``port_bits.constrained-int``.
    """
    found: dict[Any, list[Any]] = {}
    errors = list(errors)
    of_mappings = {error["loc"][:-2] for error in errors if len(error["loc"]) > 2}
    for i, error in enumerate(errors):
        if isinstance(error["input"], dict) and error["loc"][:-1] in of_mappings:
            continue  # a member that is no mapping; what is wrong with the mapping is said
        loc = error["loc"]
        holder = reduce(_part, loc[:-2], data)
        plain = len(loc) > 1 and isinstance(holder, dict) and loc[-2] in holder
        plain = plain and not isinstance(holder[loc[-2]], dict | list)
        found.setdefault(loc[:-1] if plain else (loc, i), []).append(error)
    return [some[0] if len(some) == 1 else _one_of(some) for some in found.values()]


def _one_of(errors: Sequence[Any]) -> Any:
    """Return one error for those of all members of a union about a value."""
    first, *others = errors
    also = (error["msg"].removeprefix(SHOULD_BE) for error in others)
    return {**first, "loc": first["loc"][:-1], "msg": ", or ".join([first["msg"], *also])}


def _explain(model: type[BaseModel], error: Any, data: Any) -> str:
    """Return what is wrong and what would be right for one pydantic error."""
    loc, kind = error["loc"], error["type"]
    key = _shown(loc, data)
    if kind == "extra_forbidden":
        holder = _model_at(model, loc, data)
        fields = holder.model_fields.items() if holder else ()
        known = sorted(field.alias or name for name, field in fields)
        meant = getattr(holder, "meant", {}).get(str(loc[-1]).lower())
        near = [meant] if meant else [repr(key) for key in nearest(str(loc[-1]), known, limit=1)]
        hint = f"did you mean {near[0]}? " if near else ""
        return f"unknown key {shown(key)}; {hint}Known keys here: {', '.join(known)}."
    if kind == "missing":
        return f"key {key!r} is missing."
    message = error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    message = message[:1].lower() + message[1:].removesuffix(".")
    if kind == "model_type":
        message = "must be a mapping of keys to values"
    if kind in ("tuple_type", "list_type"):  # Python's words for what the file calls a list
        message = "must be a list"
    if "\n" in message:  # a scheme string with a caret under its fault
        return f"{key}: {message}"
    inner = re.match(r"([a-z_]+)((?:\.[a-z_0-9]+)*): ", message) if key else None
    if inner and isinstance(error["input"], dict) and inner[1] in error["input"]:
        return f"{key}.{message}."  # a check across keys names the one that it is about
    if isinstance(error["input"], dict | list) or kind == "value_error":
        return f"{key}: {message}." if key else f"{message}."
    return f"{key}: {message} (got {shown(error['input'])})." if key else f"{message}."


def _in_file(loc: Sequence[str | int], data: Any) -> Location:
    """Return ``loc`` without the names of a union's members, which pydantic puts between keys."""
    found: list[str | int] = []
    for i, part in enumerate(loc):
        keys = range(len(data)) if isinstance(data, list) else data
        inside = isinstance(data, dict | list) and part in keys
        if inside:
            data = data[part]
        named = isinstance(part, str) and (part[:1].isupper() or part == _tag(data))
        if inside or not named or i == len(loc) - 1 == 0:
            found.append(part)
    return tuple(found)


def validate(model: type[ModelT], document: Document) -> ModelT:
    """Make a record of a document's data.

    Raises
    ------
    BitlatheError
        One line per problem: ``file:line:column: key, what is wrong, what would be right``.
    """
    try:
        return model.model_validate(document.data)
    except ValidationError as err:
        raise _refusal(model, document, err) from None


def _refusal(model: type[BaseModel], document: Document, err: ValidationError) -> BitlatheError:
    """Return what pydantic found in a document, one line per problem."""
    seen: dict[str, None] = {}
    errors = islice(err.errors(include_url=False), PROBLEMS_MAX)
    for error in _joined(map(_of_union, errors), document.data):
        loc = _in_file(error["loc"], document.data)
        text = _explain(model, {**error, "loc": loc}, document.data)
        named = re.match(r"([a-z_]+(?:\.[a-z_0-9]+)*): ", text)
        if named and (not loc or named[1].startswith(f"{_shown(loc, document.data)}.")):
            loc = tuple(named[1].split("."))  # a check across keys names the one it is about
        seen[f"{document.where(loc)}: {text}"] = None
    if err.error_count() > PROBLEMS_MAX:
        seen[f"{document.source}: ... {err.error_count():,} problems in all."] = None
    return BitlatheError("\n".join(seen))
