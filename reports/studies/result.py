"""What a rebuilt study gives, and how the progress of its long loops is shown."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any

from ...datatypes.base.errors import BitlatheError, unknown_name
from ...datatypes.base.notebook import Rows, frame, html

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


_SHOWN = 40  # rows of a table in a notebook


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Result:
    """The base of what studies give."""

    def plain(self) -> Any:
        """Return plain data for ``--json``: every field by its name."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def tables(self) -> dict[str, Rows]:
        """Return the tables of ``plain()`` by name; ``rows`` where it is one list."""
        data = self.plain()
        named = data if isinstance(data, dict) else {"rows": data}
        return {
            name: [{"": key, **row} for key, row in part.items()]
            if isinstance(part, dict)
            else part
            for name, part in named.items()
        }

    def to_frame(self, table: str = "rows") -> Any:
        """Return one of `tables` as a pandas data frame.

        Raises
        ------
        BitlatheError
            The study has no such table, or pandas is not installed.
        """
        tables = self.tables()
        if table not in tables:
            raise BitlatheError(f"{unknown_name('table', table, tables)}.")
        return frame(tables[table])

    def _called(self) -> str:
        return f"{type(self).__module__.split('.')[-2]}.{type(self).__name__}"

    def __repr__(self) -> str:
        told = ", ".join(f"{len(rows)} {name}" for name, rows in self.tables().items())
        return f"{self._called()}({told})"

    def _repr_html_(self) -> str:
        return "".join(
            html(
                f"{self._called()}: {name}, {len(rows[:_SHOWN])} of {len(rows)} rows",
                {},
                rows[:_SHOWN],
            )
            for name, rows in self.tables().items()
        )
