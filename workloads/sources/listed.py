"""Lists of products and convolutions: from YAML, JSON, CSV, and from Python."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ...datatypes.base.errors import BitlatheError, nearest, shown
from ..circles import reads_of
from ..config import Config
from ..gemm import Gemm
from ..products import Entry, Phase, Products, listed
from .entries import CONV_KEYS, PRODUCT_KEYS, read_entry

KEY = "products"
_KEYS = (KEY, "phase")
_WORDS = {"name", "from", "kind", "stationary", "causal"}
_ENTRIES_MAX = 100_000


def read_list(config: Config) -> Products:
    """Read an object with a list under ``products``, and the ``phase`` it is for, if it says so.

    Raises
    ------
    BitlatheError
        Raised if an entry or a key is wrong; its place is named.
    """
    for key in config.data:
        if key not in _KEYS:
            near = nearest(str(key), _KEYS, limit=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(_KEYS)}."
            raise config.error(f"unknown key {shown(key)} of a list of products. {hint}", str(key))
    phase = config.get("phase")
    if phase not in (None, "prefill", "decode"):
        raise config.error(
            f"'phase' is {shown(phase)}; it must be 'prefill' or 'decode', or left out.", "phase"
        )
    config.items(KEY)
    return of_entries([config.child(KEY, i) for i in range(len(config.data[KEY]))], config, phase)


def of_entries(entries: Iterable[Config], config: Config, phase: Phase | None = None) -> Products:
    """Read the entries of a list, in their order.

    Raises
    ------
    BitlatheError
        Raised if there is none, or one is wrong; its place is named.
    """
    found: list[Entry] = []
    names: set[str] = set()
    entries = list(entries)
    reads = reads_of(entry.data for entry in entries)
    for place, entry in enumerate(entries):
        found.append(read_entry(entry, place, names, reads))
        names.add(found[-1].gemm.name)
    if not found:
        raise config.error("the list of products is empty; give at least one.")
    return Products(entries=tuple(found), phase=phase)


def rows_of(text: str, source: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV file that hold something, each with its line, cells stripped.

    Raises
    ------
    BitlatheError
        Raised if a quoted cell does not end.
    """
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells) and not cells[0].startswith("#"):
                yield reader.line_num, cells
    except csv.Error as problem:
        raise BitlatheError(f"{source}:{reader.line_num}: not valid CSV: {problem}.") from None


def read_table(rows: Sequence[tuple[int, list[str]]], source: str) -> Products:
    """Read the rows of a CSV file whose header names the keys of products.

    An empty cell is a key left out; a value of several parts has spaces between them ("2 1").

    Raises
    ------
    BitlatheError
        Raised if a column is unknown or stands twice, a cell or a row is wrong; with its line.
    """
    (line, header), *body = rows
    names = [name.lower() for name in header]
    while names and not names[-1]:
        names.pop()
    known = tuple(dict.fromkeys((*PRODUCT_KEYS, *CONV_KEYS)))
    for i, name in enumerate(names):
        if name not in known:
            near = nearest(name, known, limit=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(known)}."
            raise BitlatheError(
                f"{source}:{line}: unknown column {shown(header[i])} of a list of products. {hint}"
            )
        if name in names[:i]:
            raise BitlatheError(f"{source}:{line}: column {name!r} stands twice; keep one.")
    whole = Config(data={}, source=source, text="", place=source)
    return of_entries((_row(names, row, source, at) for at, row in body), whole)


def _row(names: Sequence[str], row: Sequence[str], source: str, line: int) -> Config:
    if any(row[len(names) :]):
        raise BitlatheError(
            f"{source}:{line}: {len(row)} cells under {len(names)} columns: {shown(row[-1])} has "
            "none."
        )
    cells = zip(names, row, strict=False)
    data = {name: _value(name, cell) for name, cell in cells if cell}
    return Config(data=data, source=source, text="", place=f"{source}:{line}")


def _value(name: str, cell: str) -> Any:
    """Return a cell as YAML would have its value."""
    parts = cell.split()
    if name in _WORDS:
        return parts if name == "from" else cell
    numbers = [whole_or_text(part) for part in parts]
    return numbers[0] if len(numbers) == 1 else numbers


def whole_or_text(cell: str) -> int | str:
    """Return the integer that a cell holds, else the cell; no size has twenty digits."""
    return int(cell) if cell.lstrip("-").isdecimal() and len(cell) < 20 else cell


def of_python(given: Sequence[Any]) -> Products:
    """Return a Python list of Gemms, or of dicts with the keys of products, as products.

    Raises
    ------
    BitlatheError
        Raised if an entry is neither, or wrong; its place in the list is named.
    """
    if all(isinstance(each, Gemm) for each in given):
        return listed(given)
    for i, each in enumerate(given):
        if not isinstance(each, Mapping):
            raise BitlatheError(
                f"model[{i}]: {shown(each)} stands where a product belongs; give a Gemm, or a dict "
                "with m, n and k, and all of one kind."
            )
    whole = Config(data={}, source="model", text="", place="model")
    return of_entries(
        (
            Config(data=dict(each), source="model", text="", place=f"model[{i}]")
            for i, each in enumerate(given)
        ),
        whole,
    )
