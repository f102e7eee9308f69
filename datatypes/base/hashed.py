"""Frozen records whose hash is found once: keys of what is looked up often."""

from typing import Any, TypeVar


class Hashed:
    """A base of frozen dataclasses with slots that `hashed_once` decorates: room for the hash."""

    __slots__ = ("_hash",)


Record = TypeVar("Record", bound=Hashed)


def hashed_once(record: type[Record]) -> type[Record]:
    """Return a frozen dataclass that keeps its hash, which its fields never change.

    Parameters
    ----------
    record : type
        A subclass of `Hashed`.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> @hashed_once
    ... @dataclass(frozen=True, slots=True)
    ... class Pair(Hashed):
    ...     one: int
    ...     other: int
    >>> hash(Pair(1, 2)) == hash(Pair(1, 2)), {Pair(1, 2): "found"}[Pair(1, 2)]
    (True, 'found')
    """
    found = record.__hash__

    def kept(self: Any) -> int:
        try:
            mine: int = self._hash
        except AttributeError:
            mine = found(self)
            object.__setattr__(self, "_hash", mine)
        return mine

    record.__hash__ = kept  # type: ignore[method-assign]
    return record
