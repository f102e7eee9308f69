"""Strict YAML input: YAML 1.2 scalars, no duplicate keys, errors with file, line and column.

PyYAML's own defaults follow YAML 1.1: they read ``5e-12`` as a string, ``on`` as a boolean and
``12:30`` as 750, and keep the last of two equal keys. Files that describe chips, formats and
sweeps cannot afford that.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import BitlatheError, nearest

Location = tuple[str | int, ...]
ModelT = TypeVar("ModelT", bound=BaseModel)


class Record(BaseModel):
    """Base of all records read from files: frozen, strict, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A YAML document: its data, where each key stands, and the name errors give it."""

    source: str
    data: Any
    marks: Mapping[Location, tuple[int, int]]

    def where(self, loc: Sequence[str | int]) -> str:
        """Return ``file:line:column`` of the deepest part of ``loc`` that exists."""
        for depth in range(len(loc), -1, -1):
            mark = self.marks.get(tuple(loc[:depth]))
            if mark is not None:
                return f"{self.source}:{mark[0]}:{mark[1]}"
        return self.source


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalar rules of the YAML 1.2 core schema."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML declares it on the instance


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"^[-+]?[0-9]+$"), list("-+0123456789")
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+.0123456789"),
)


def _scalar(node: yaml.ScalarNode, source: str) -> Any:
    tag = node.tag.rpartition(":")[2]
    text = node.value
    if tag == "int":
        return int(text)
    if tag == "float":
        return float(text.replace(".", "") if text[-1].isalpha() else text)
    if tag == "bool":
        return text.lower() == "true"
    if tag == "null":
        return None
    if tag == "str":
        return text
    mark = node.start_mark
    raise BitlatheError(
        f"{source}:{mark.line + 1}:{mark.column + 1}: tag {node.tag!r} is not allowed; "
        "write a plain number, string, list or mapping."
    )


def _build(node: yaml.Node, loc: Location, source: str, marks: dict[Location, Any]) -> Any:
    marks.setdefault(loc, (node.start_mark.line + 1, node.start_mark.column + 1))
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node, source)
    if isinstance(node, yaml.SequenceNode):
        return [_build(item, (*loc, i), source, marks) for i, item in enumerate(node.value)]
    assert isinstance(node, yaml.MappingNode)
    out: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line, column = key_node.start_mark.line + 1, key_node.start_mark.column + 1
        if not isinstance(key_node, yaml.ScalarNode):
            raise BitlatheError(f"{source}:{line}:{column}: a key must be a plain word.")
        key = key_node.value
        if key in out:
            first = marks[(*loc, key)]
            raise BitlatheError(
                f"{source}:{line}:{column}: key {key!r} is given twice (first on line {first[0]}); "
                "remove one of the two."
            )
        marks[(*loc, key)] = (line, column)
        out[key] = _build(value_node, (*loc, key), source, marks)
    return out


def parse_yaml(text: str, source: str) -> Document:
    r"""Parse YAML text into plain data with a line and column for every key.

    Parameters
    ----------
    text : str
        The document.
    source : str
        The file's name, as errors shall show it.

    Raises
    ------
    BitlatheError
        Bad syntax, a duplicate key, an alias or a tag, an empty document; with its place.

    Examples
    --------
    >>> parse_yaml("a: 5e-3\nb: on", "x.yaml").data
    {'a': 0.005, 'b': 'on'}
    """
    try:
        for token in yaml.scan(text, Loader=_Loader):
            if isinstance(token, yaml.AliasToken):
                mark = token.start_mark
                raise BitlatheError(
                    f"{source}:{mark.line + 1}:{mark.column + 1}: YAML aliases (*name) are not "
                    "supported; write the value out."
                )
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as err:
        mark = err.problem_mark or err.context_mark
        place = f"{source}:{mark.line + 1}:{mark.column + 1}" if mark else source
        raise BitlatheError(f"{place}: not valid YAML: {err.problem or err.context}.") from None
    except (yaml.YAMLError, RecursionError) as err:
        raise BitlatheError(f"{source}: not valid YAML: {str(err).splitlines()[0]}.") from None
    if root is None:
        raise BitlatheError(f"{source}: the file is empty.")
    marks: dict[Location, tuple[int, int]] = {}
    return Document(source=source, data=_build(root, (), source, marks), marks=marks)


def read_text(path: Path, what: str) -> str:
    """Return a text file's content, or raise a BitlatheError that says why it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as err:
        raise BitlatheError(f"{path}: not a text file (byte {err.start} is not UTF-8).") from None
    except OSError as err:
        reason = err.strerror or "unreadable"
        raise BitlatheError(f"{path}: cannot read this {what}: {reason}.") from None


def read_yaml(path: Path, what: str = "file") -> Document:
    """Read and parse a YAML file; see `parse_yaml`."""
    return parse_yaml(read_text(path, what), str(path))


def _model_at(model: type[BaseModel], loc: Sequence[str | int]) -> type[BaseModel] | None:
    """Return the record class that holds the last key of ``loc``."""

    def records(annotation: Any) -> list[type[BaseModel]]:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return [annotation]
        return [r for arg in get_args(annotation) for r in records(arg)]

    current: type[BaseModel] | None = model
    for key in loc[:-1]:
        if current is not None and key in current.model_fields:
            found = records(current.model_fields[str(key)].annotation)
            current = found[0] if found else None
    return current


def _explain(model: type[BaseModel], error: Any) -> str:
    """Return what is wrong and what would be right for one pydantic error."""
    loc, kind = error["loc"], error["type"]
    key = ".".join(str(part) for part in loc)
    if kind == "extra_forbidden":
        holder = _model_at(model, loc)
        known = sorted(holder.model_fields) if holder else []
        near = nearest(str(loc[-1]), known, limit=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        return f"unknown key {key!r}; {hint}Known keys here: {', '.join(known)}."
    if kind == "missing":
        return f"key {key!r} is missing."
    message = error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    message = message[0].lower() + message[1:].removesuffix(".")
    if kind == "model_type":
        message = "must be a mapping of keys to values"
    if "\n" in message:  # a scheme string with a caret under its fault
        return f"{key}: {message}"
    if isinstance(error["input"], dict | list) or kind == "value_error":
        return f"{key}: {message}." if key else f"{message}."
    return f"{key}: {message} (got {error['input']!r})."


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
        seen: dict[str, None] = {}
        for error in err.errors(include_url=False):
            # a union reports under the name of each member tried: keep keys that are in the file
            loc = tuple(p for p in error["loc"] if not (isinstance(p, str) and p[:1].isupper()))
            text = _explain(model, {**error, "loc": loc})
            named = re.match(r"([a-z_]+(?:\.[a-z_]+)+): ", text)
            if not loc and named:  # a check across keys names the key it is about
                loc = tuple(named[1].split("."))
            seen[f"{document.where(loc)}: {text}"] = None
        raise BitlatheError("\n".join(seen)) from None
