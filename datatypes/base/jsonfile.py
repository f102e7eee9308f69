"""Strict JSON input: no duplicate keys, no NaN, limits on depth and numbers, places of keys."""

import json
import re
from collections.abc import Sequence
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

from .errors import BitlatheError, shown

DEPTH_MAX = 100  # of lists and objects in one another
NUMBER_MAX = 1100  # characters of a number: every float64 written out exactly has fewer

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise BitlatheError(
                    f"key {shown(name)} stands twice in one object; keep one of them"
                )
            seen.add(name)
    return table


def _constant(name: str) -> Any:
    raise BitlatheError(f"{name} is not a JSON number; write a finite number")


def _checked(text: str) -> str:
    if len(text) > NUMBER_MAX:
        raise BitlatheError(
            f"not a usable JSON file: a number of {len(text):,} characters; at most "
            f"{NUMBER_MAX:,} are read"
        )
    return text


def _integer(text: str) -> int:
    return int(_checked(text))


def _number(text: str) -> float:
    return float(_checked(text))


def _is_deep(data: Any) -> bool:
    """Whether lists and objects stand in one another more than `DEPTH_MAX` deep."""
    level: list[Any] = [data]
    for _ in range(DEPTH_MAX):
        level = [
            item
            for group in level
            for item in (group.values() if isinstance(group, dict) else group)
            if isinstance(item, dict | list)
        ]
        if not level:
            return False
    return True


def parse_json(text: str | bytes, source: str) -> Any:
    """Parse JSON text into plain data, in time proportional to its length.

    Parameters
    ----------
    text : str or bytes
        The document; bytes in UTF-8.
    source : str
        The file's name, as errors show it.

    Raises
    ------
    BitlatheError
        Bad syntax (with line and column), a duplicate key, NaN or infinity, lists in lists beyond
        `DEPTH_MAX`, too long a number.

    Examples
    --------
    >>> parse_json('{"a": [1, 2.5]}', "x.json")
    {'a': [1, 2.5]}
    """
    try:
        data = json.loads(
            text.decode() if isinstance(text, bytes) else text,
            object_pairs_hook=_table,
            parse_constant=_constant,
            parse_int=_integer,
            parse_float=_number,
        )
    except json.JSONDecodeError as error:
        raise BitlatheError(
            f"{source}:{error.lineno}:{error.colno}: not valid JSON: {error.msg}. "
            "Correct it there, or just before."
        ) from None
    except BitlatheError as error:
        raise BitlatheError(f"{source}: {error}.") from None
    except UnicodeDecodeError as error:
        raise BitlatheError(f"{source}: not valid JSON: not UTF-8: {error}.") from None
    except RecursionError:
        data = None
        deep = True
    else:
        deep = isinstance(data, dict | list) and _is_deep(data)
    if deep:
        raise BitlatheError(f"{source}: not a usable JSON file: nested more than {DEPTH_MAX} deep.")
    return data


def place_of(text: str, loc: Sequence[str | int]) -> tuple[int, int]:
    r"""Return line and column of the deepest part of ``loc`` that valid JSON text holds.

    That of a key for a part of an object, of the value for a part of a list.

    Examples
    --------
    >>> place_of('{"a": 1,\n "b": [4, 5]}', ("b", 1))
    (2, 11)
    """
    at = found = _skip(text, 0)
    for part in loc:
        step = _entry(text, at, part)
        if step is None:
            break
        found, at = step
    before = text.rfind("\n", 0, found)
    return text.count("\n", 0, found) + 1, found - before


def _entry(text: str, at: int, part: str | int) -> tuple[int, int] | None:
    """Return where an entry of the object or list at a place starts, and where its value does."""
    if text[at : at + 1] != ("{" if isinstance(part, str) else "["):
        return None
    at, index = _skip(text, at + 1), 0
    while text[at] not in "]}":
        start, name = at, index
        if isinstance(part, str):
            name, at = scanstring(text, at + 1)
            at = _skip(text, _skip(text, at) + 1)  # past the colon
        if name == part:
            return start, at
        at = _skip(text, _DECODER.raw_decode(text, at)[1])
        if text[at] == ",":
            at = _skip(text, at + 1)
        index += 1
    return None


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at
