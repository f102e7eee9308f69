"""What a rebuilt study gives, and how the progress of its long loops is shown."""

from collections.abc import Callable, Iterable
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


class Result:
    """The base of what studies give: frozen records with slots."""

    __slots__ = ()

    def plain(self) -> dict[str, Any]:
        """Return plain data for ``--json``: every field by its name."""
        return {key: getattr(self, key) for key in self.__slots__}
