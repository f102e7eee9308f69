"""What a rebuilt study gives, and how the progress of its long loops is shown."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any

Progress = Callable[[Iterable[Any], str], Iterable[Any]]
"""Wraps an iterable, with a label; `unshown` shows nothing."""


def unshown(items: Iterable[Any], _: str) -> Iterable[Any]:
    """Return the items as they are.

    Examples
    --------
    >>> list(unshown([1, 2], "chips"))
    [1, 2]
    """
    return items


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The base of what studies give."""

    def plain(self) -> dict[str, Any]:
        """Return plain data for ``--json``: every field by its name."""
        return {each.name: getattr(self, each.name) for each in fields(self)}
