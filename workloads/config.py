"""Read a model's configuration file, and say where in it a value is wrong."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..datatypes.base.errors import BitlatheError, nearest, shown
from ..datatypes.base.files import read_text, shown_path
from ..datatypes.base.jsonfile import parse_json, place_of

MOST_LISTED = 100_000
"""Layers of a model, or other things of it, that are told one by one."""
_MISSING = object()
_LARGEST = 2**40  # no dimension of a real model comes near it


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """An object of a configuration file, with the place it was read from.

    Attributes
    ----------
    data : mapping
        The object's keys and values.
    source : str
        The file, as errors name it.
    text : str
        The whole text of the file, searched for a key's line when an error needs it.
    loc : tuple
        Keys and positions that lead from the file's top to this object.
    defaults : mapping
        Values of keys the object may leave out.
    place : str or None
        What errors say instead of file, line and column, where the keys stand in no text.
    """

    data: Mapping[str, Any]
    source: str
    text: str = field(repr=False)
    loc: tuple[str | int, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    place: str | None = None

    def where(self, key: str | None = None) -> str:
        """Return ``file:line:column`` of a key, or of the deepest part that exists."""
        if self.place is not None:
            return ".".join((self.place, *map(str, self.loc)))
        loc = self.loc if key is None else (*self.loc, key)
        if _is_yaml(self.source):
            from ..datatypes.base.yamlfile import parse_yaml  # slow to import: not needed for JSON

            return parse_yaml(self.text, self.source).where(loc)
        line, column = place_of(self.text, loc)
        return f"{self.source}:{line}:{column}"

    def error(self, message: str, key: str | None = None) -> BitlatheError:
        """Return an error that starts with the place of ``key``."""
        return BitlatheError(f"{self.where(key)}: {message}")

    def get(self, key: str) -> Any:
        """Return a value, the default of a key left out, or None."""
        value = self.data.get(key, _MISSING)
        return self.defaults.get(key) if value is _MISSING else value

    def integer(self, key: str, *, default: int | None = None, least: int = 1) -> int:
        """Return an integer of at least ``least``; without a default the key is required.

        Raises
        ------
        BitlatheError
            If the key is missing or null without a default, not an integer, or out of range.
        """
        value = self.get(key)
        if value is None:
            if default is not None:
                return default
            if key in self.data:
                raise self.error(f"{key!r} is null; it must be an integer.", key)
            raise self.missing(key)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(f"{key!r} is {shown(value)}; it must be an integer, such as 32.", key)
        if not least <= value <= _LARGEST:
            raise self.error(
                f"{key!r} is {shown(value)}; it must be from {least} to {_LARGEST}.", key
            )
        return value

    def count(self, key: str, *, least: int = 1) -> int:
        """Return how many layers, or other things that are listed one by one, a key asks for.

        Raises
        ------
        BitlatheError
            If it is no integer of at least ``least``, or more than `MOST_LISTED`.
        """
        count = self.integer(key, least=least)
        if count > MOST_LISTED:
            raise self.error(f"{key!r} is {count}; at most {MOST_LISTED} are supported.", key)
        return count

    def flag(self, key: str, *, default: bool) -> bool:
        """Return true or false.

        Raises
        ------
        BitlatheError
            If the value is neither.
        """
        value = self.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.error(f"{key!r} is {shown(value)}; it must be true or false.", key)
        return value

    def string(self, key: str) -> str:
        """Return a required string.

        Raises
        ------
        BitlatheError
            If the key is missing, or its value is not a string.
        """
        value = self.get(key)
        if value is None and key not in self.data:
            raise self.missing(key)
        if not isinstance(value, str):
            raise self.error(f"{key!r} is {shown(value)}; it must be a string.", key)
        return value

    def items(self, key: str) -> Sequence[Any]:
        """Return a list; one left out is empty.

        Raises
        ------
        BitlatheError
            If the value is not a list.
        """
        value = self.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.error(f"{key!r} is {shown(value)}; it must be a list.", key)
        return value

    def child(self, key: str, index: int | None = None) -> "Config":
        """Return the object under a key, or at a position of the list under it.

        Raises
        ------
        BitlatheError
            If what stands there is not an object of keys and values.
        """
        value = self.data[key] if index is None else self.data[key][index]
        loc = (*self.loc, key) if index is None else (*self.loc, key, index)
        if not isinstance(value, dict):
            raise BitlatheError(
                f"{replace(self, data={}, loc=loc).where()}: {shown(value)} stands where an "
                "object of keys and values belongs."
            )
        return replace(self, data=value, loc=loc, defaults={})

    def missing(self, key: str) -> BitlatheError:
        """Return the error for a required key that is not there."""
        near = nearest(key, (k for k in self.data if isinstance(k, str)), limit=1)
        hint = f" Is {near[0]!r} meant to be it?" if near else ""
        return self.error(f"required key {key!r} is missing.{hint}", near[0] if near else None)


def read_config(path: Path) -> Config:
    """Read a JSON or YAML file whose top is an object.

    Raises
    ------
    BitlatheError
        If the file cannot be read or parsed; syntax errors name line and column.
    """
    text = read_text(path, "model file")
    source = shown_path(path)
    if _is_yaml(source):
        from ..datatypes.base.yamlfile import parse_yaml

        data = parse_yaml(text, source).data
    else:
        data = parse_json(text, source)
    if not isinstance(data, dict):
        raise BitlatheError(
            f"{source}:1: the file holds {type(data).__name__!r} at its top; a model's file holds "
            "an object with 'model_type' (transformers), 'input' and 'layers' (convolutions) or "
            "'products' (a list of them)."
        )
    return Config(data=data, source=source, text=text)


def _is_yaml(source: str) -> bool:
    return source.lower().endswith((".yaml", ".yml"))
