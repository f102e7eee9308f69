"""Tables and progress bars on the terminal."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

SIGNIFICANT = 1000.0  # from here on, floats are shown as whole numbers
LARGE = 1e15  # from here on, with an exponent


def cell(value: Any) -> str:
    """Return a value as a table shows it.

    Examples
    --------
    >>> cell(1234567), cell(0.12345), cell(True), cell(4321.5)
    ('1,234,567', '0.1235', 'yes', '4,322')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        if abs(value) >= LARGE:
            return f"{value:.4g}"
        return f"{value:,.0f}" if abs(value) >= SIGNIFICANT else f"{value:.4g}"
    return str(value)


def print_table(
    rows: Sequence[Mapping[str, Any]], title: str = "", columns: Iterable[str] | None = None
) -> None:
    """Print records as a table on standard output; numbers stand to the right.

    Parameters
    ----------
    rows : sequence of mappings
        Records with equal keys.
    title : str
        A line above the table.
    columns : iterable of str, optional
        Which keys, in this order; all of the first record without it.
    """
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=200)
    keys = list(columns) if columns else list(rows[0]) if rows else []
    table = Table(title=escape(title) or None, box=SIMPLE, title_justify="left")
    for key in keys:
        number = any(
            isinstance(r.get(key), int | float) and not isinstance(r.get(key), bool) for r in rows
        )
        table.add_column(key.replace("_", " "), justify="right" if number else "left")
    for row in rows:
        table.add_row(*(escape(cell(row.get(key))) for key in keys))
    console.print(table)


@contextmanager
def progress_bar() -> Iterator[Callable[[Iterable[Any], str], Iterable[Any]]]:
    """Give a ``progress(items, label)``: a bar on standard error if that is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda items, label: items
        return
    with Progress(console=console, transient=True) as bar:
        yield lambda items, label: bar.track(items, description=label)
