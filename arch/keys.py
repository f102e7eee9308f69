"""Dotted keys of a chip: setting one, and conditional overrides of some."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import Field, field_serializer, field_validator

from ..datatypes.base.errors import BitlatheError
from ..datatypes.base.yamlfile import Record
from ..datatypes.schemes.scheme import Scheme

Phase = Literal["prefill", "decode"]


class Condition(Record):
    """When an override applies."""

    phase: Phase | None = Field(default=None, description="of this phase only")
    model: str | list[str] | None = Field(default=None, description="of these models only")


def _with_scheme(value: Any) -> Any:
    """Return a value of ``formats`` with text parsed to schemes; text that is no scheme stays."""
    if isinstance(value, dict):
        return {key: _with_scheme(part) for key, part in value.items()}
    try:
        return Scheme.parse(value) if isinstance(value, str) else value
    except BitlatheError:  # refused with its place when the override is applied
        return value


def _as_text(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _as_text(part) for key, part in value.items()}
    return str(value) if isinstance(value, Scheme) else value


class Override(Record):
    """Keys that change for one phase or some models."""

    when: Condition = Field(description="phase, models, or both")
    set: dict[str, Any] = Field(description="dotted keys and their values, as array.rows: 64")

    @field_validator("set")
    @classmethod
    def _schemes_as_read(cls, value: dict[str, Any]) -> dict[str, Any]:
        """Read schemes once, with the file: a format's own file may change later."""
        formats = (key for key in value if key.split(".")[0] == "formats")
        return value | {key: _with_scheme(value[key]) for key in formats}

    @field_serializer("set")
    def _schemes_as_text(self, value: dict[str, Any]) -> dict[str, Any]:
        return {key: _as_text(part) for key, part in value.items()}

    def __hash__(self) -> int:
        return hash((self.when.phase, *self.set))  # what is set may be a list or a mapping


def nested(record: Record) -> dict[str, Any]:
    """Return a record's keys that have a value, nested; values stay what they are."""
    return {key: _nested(value) for key, value in record if value is not None}


def _nested(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_nested(part) for part in value]
    return nested(value) if isinstance(value, Record) else value


def set_key(data: dict[str, Any], dotted: str, value: Any) -> dict[str, Any]:
    """Return ``data`` with the value of one dotted key replaced; other branches are shared.

    Examples
    --------
    >>> set_key({"array": {"rows": 32, "columns": 8}}, "array.rows", 64)
    {'array': {'rows': 64, 'columns': 8}}
    """
    head, _, rest = dotted.partition(".")
    child = data.get(head)
    if not rest:
        if isinstance(child, dict) and "size" in child and not isinstance(value, dict):
            value = {**child, "size": value}  # of an axis; its dimensions stay
        return {**data, head: value}
    if isinstance(child, list | tuple):
        return {**data, head: _set_named(child, rest, value)}
    if isinstance(child, int) and rest in ("size", "dims"):
        child = {"size": child}  # an axis written as a plain number
    if isinstance(child, str | Scheme) and rest in {"bits", "scheme"}:
        child = {"scheme": child}  # a scheme written as a plain string
    if isinstance(child, str) and head == "numerics":
        child = {"preset": child}
    return {**data, head: set_key(child if isinstance(child, dict) else {}, rest, value)}


def _set_named(entries: Iterable[Any], dotted: str, value: Any) -> list[Any]:
    """Return a list of entries with names, one key of one of them replaced; or an entry whole."""
    name, _, rest = dotted.partition(".")
    return [
        (set_key(entry, rest, value) if rest else value)
        if isinstance(entry, dict) and entry.get("name") == name
        else entry
        for entry in entries
    ]


def by_name(entries: Any) -> dict[str, Any] | None:
    """Return a list of entries that all have names as a mapping; None of anything else."""
    listed = isinstance(entries, list | tuple) and len(entries) > 0
    if not listed or not all(isinstance(each, dict) and "name" in each for each in entries):
        return None
    return {str(each["name"]): each for each in entries}


def _models(rule: Override) -> tuple[str, ...]:
    model = rule.when.model
    return () if model is None else (model,) if isinstance(model, str) else tuple(model)


def changes_of(overrides: Iterable[Override], phase: str, model: str | None) -> dict[str, Any]:
    """Return what the overrides of a phase and model set, by dotted key; later ones win."""
    changes: dict[str, Any] = {}
    for rule in overrides:
        if rule.when.phase in (None, phase) and (rule.when.model is None or model in _models(rule)):
            changes |= rule.set
    return changes


def variants_of(overrides: Iterable[Override]) -> list[dict[str, Any]]:
    """Return the different changes that any phase and any model brings."""
    rules = list(overrides)
    models = (None, *(model for rule in rules for model in _models(rule)))
    found: list[dict[str, Any]] = []
    for phase in ("prefill", "decode"):
        for model in models:
            changes = changes_of(rules, phase, model)
            if changes not in found:
                found.append(changes)
    return found
