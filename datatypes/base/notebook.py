"""How results look in a notebook: tables as HTML, data frames, axes to draw on."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from .errors import BitlatheError, to_install

Rows = Sequence[Mapping[str, Any]]
_NUMBER = ' style="text-align:right"'


def html(title: str, facts: Mapping[str, Any] | None = None, *tables: Rows) -> str:
    """Return a title, a line of facts and tables as HTML, all text escaped.

    Parameters
    ----------
    title : str
    facts : mapping, optional
        Shown as ``name value``, those that are None or empty left out.
    *tables : sequences of mappings
        Rows with the same keys.
    """
    told = [f"{escape(str(k))} <b>{escape(_text(v))}</b>" for k, v in (facts or {}).items() if v]
    parts = [f"<p><b>{escape(title)}</b></p>", f"<p>{', '.join(told)}</p>" if told else ""]
    return "<div>" + "".join([*parts, *map(_table, tables)]) + "</div>"


def _table(rows: Rows) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{escape(str(key))}</th>" for key in rows[0])
    body = "".join(f"<tr>{''.join(map(_cell, row.values()))}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: Any) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"<td{_NUMBER if number else ''}>{escape(_text(value))}</td>"


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def flat(row: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Return a record without nesting: ``{"energy_pj": {"dram": 1}}`` as ``energy_pj.dram``.

    Examples
    --------
    >>> flat({"a": 1, "b": {"c": 2, "d": {"e": 3}}})
    {'a': 1, 'b.c': 2, 'b.d.e': 3}
    """
    found: dict[str, Any] = {}
    for key, value in row.items():
        name = f"{above}{key}"
        found.update(flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value})
    return found


def frame(rows: Iterable[Mapping[str, Any]] | Mapping[str, Any]) -> Any:
    """Return rows, or columns by name, as a pandas data frame.

    Nested records become columns with dots.

    Raises
    ------
    BitlatheError
        pandas is not installed.
    """
    try:
        import pandas as pd
    except ModuleNotFoundError:
        raise BitlatheError("to_frame needs pandas: pip install pandas") from None
    return pd.DataFrame(rows if isinstance(rows, Mapping) else [flat(row) for row in rows])


def axes_of(axes: Any, height: float) -> Any:
    """Return the axes that are given, or new ones of a height in inches.

    Raises
    ------
    BitlatheError
        matplotlib is not installed.
    """
    if axes is not None:
        return axes
    try:
        import matplotlib.pyplot as plt
    except ModuleNotFoundError:
        hint = to_install("matplotlib", "report")
        raise BitlatheError(f"plot needs matplotlib: {hint}") from None
    return plt.subplots(figsize=(7, height), layout="constrained")[1]
