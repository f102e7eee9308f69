"""The rows of a sweep as columns, small enough for a hundred thousand points."""

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .columns import RUN, WORKLOAD, is_result

Floats = NDArray[np.float64]
Codes = NDArray[np.int32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """A column of names: the distinct ones in order of appearance, and which each row has."""

    levels: tuple[str, ...]
    codes: Codes

    def take(self, index: NDArray[np.intp]) -> "Texts":
        """Return some rows of the column, with the levels they use.

        Parameters
        ----------
        index : (rows,) int array
            Places of the rows.
        """
        used, codes = np.unique(self.codes[index], return_inverse=True)
        return Texts(levels=tuple(self.levels[i] for i in used), codes=codes.astype(np.int32))


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Rows as columns: numbers (NaN where a row has none) and names ("" where it has none)."""

    count: int
    numbers: dict[str, Floats]
    texts: dict[str, Texts]

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]]) -> "Frame":
        """Gather rows, streaming; nested mappings become dotted columns.

        A column is numeric if all its values are numbers; anything else is kept as text.
        """
        columns: dict[str, _Column] = {}
        count = 0
        for row in rows:
            for name, value in _flat(row):
                column = columns.get(name)
                if column is None:
                    column = columns[name] = _Column()
                column.add(count, value)
            count += 1
        numbers, texts = {}, {}
        for name in sorted(columns, key=_rank):
            if columns[name].numeric:
                numbers[name] = columns[name].as_numbers(count)
            else:
                texts[name] = columns[name].as_texts(count)
        return cls(count=count, numbers=numbers, texts=texts)

    @property
    def names(self) -> list[str]:
        """All columns: what was run first, then results, in the order of tables."""
        return sorted([*self.numbers, *self.texts], key=_rank)

    def with_numbers(self, name: str, values: Floats) -> "Frame":
        """Return the frame with a numeric column added or replaced.

        Parameters
        ----------
        name : str
            Of the column.
        values : (count,) float array
            Its numbers; NaN where a row has none.
        """
        return Frame(
            count=self.count, numbers={**self.numbers, name: values}, texts=dict(self.texts)
        )

    def with_texts(self, name: str, values: Sequence[str]) -> "Frame":
        """Return the frame with a column of names added or replaced."""
        column = _Column()
        for i, value in enumerate(values):
            column.add(i, value)
        texts = {**self.texts, name: column.as_texts(self.count)}
        return Frame(count=self.count, numbers=dict(self.numbers), texts=texts)

    def take(self, index: NDArray[np.intp]) -> "Frame":
        """Return some rows, in the given order.

        Parameters
        ----------
        index : (rows,) int array
            Places of the rows.
        """
        return Frame(
            count=len(index),
            numbers={name: values[index] for name, values in self.numbers.items()},
            texts={name: column.take(index) for name, column in self.texts.items()},
        )

    def row(self, i: int) -> dict[str, Any]:
        """Return a row as plain values; whole numbers as int, absent ones left out."""
        out: dict[str, Any] = {}
        for name in self.names:
            if name in self.texts:
                text = self.texts[name].levels[self.texts[name].codes[i]]
                if text:
                    out[name] = text
            elif not np.isnan(self.numbers[name][i]):
                value = float(self.numbers[name][i])
                out[name] = int(value) if value.is_integer() else value
        return out

    def codes(self, name: str) -> Codes:
        """Return a column as small whole numbers, equal where the values are equal."""
        if name in self.texts:
            return self.texts[name].codes
        values = np.unique(self.numbers[name], return_inverse=True, equal_nan=True)[1]
        return values.reshape(-1).astype(np.int32)

    def varies(self, name: str) -> bool:
        """Whether a column holds more than one value."""
        return self.count > 0 and bool((self.codes(name) != self.codes(name)[0]).any())

    def groups(self, by: Sequence[str] = WORKLOAD) -> list[NDArray[np.intp]]:
        """Return the rows of each distinct combination of some columns, first come first."""
        present = [name for name in by if name in self.texts or name in self.numbers]
        if not present or not self.count:
            return [np.arange(self.count)] if self.count else []
        table = np.column_stack([self.codes(name) for name in present])
        _, first, inverse = np.unique(table, axis=0, return_index=True, return_inverse=True)
        inverse = inverse.reshape(-1)
        return [np.flatnonzero(inverse == g) for g in np.argsort(first, kind="stable")]


class _Column:
    """A column while it is gathered: numbers as doubles, names as codes of a dictionary."""

    __slots__ = ("codes", "levels", "numeric", "places", "values")

    def __init__(self) -> None:
        self.numeric = True
        self.places = array("q")
        self.values = array("d")
        self.codes = array("i")
        self.levels: dict[str, int] = {}

    def add(self, row: int, value: Any) -> None:
        if value is None:
            return
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if self.numeric and not number:
            self._turn_to_text()
        self.places.append(row)
        if self.numeric:
            self.values.append(float(value))
        else:
            self.codes.append(self.levels.setdefault(_text(value), len(self.levels)))

    def _turn_to_text(self) -> None:
        self.numeric = False
        for value in self.values:
            self.codes.append(self.levels.setdefault(_text(value), len(self.levels)))
        self.values = array("d")

    def as_numbers(self, count: int) -> Floats:
        out = np.full(count, np.nan)
        out[np.frombuffer(self.places, dtype=np.int64)] = np.frombuffer(self.values)
        return out

    def as_texts(self, count: int) -> Texts:
        levels = dict(self.levels)
        codes = np.full(count, -1, dtype=np.int32)
        if len(self.places):
            codes[np.frombuffer(self.places, dtype=np.int64)] = np.frombuffer(
                self.codes, dtype=np.int32
            )
        if (codes < 0).any():
            codes[codes < 0] = levels.setdefault("", len(levels))
        return Texts(levels=tuple(levels), codes=codes)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _flat(row: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    for name, value in row.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{part}", inner) for part, inner in _flat(value))
        elif not isinstance(value, list | tuple):
            yield name, value


_RUN_ORDER = {name: i for i, name in enumerate(RUN)}


def _rank(name: str) -> tuple[int, int, str]:
    """Order of columns: the known ones of a run, other settings, results."""
    if is_result(name):
        return 2, 0, ""
    return (0, _RUN_ORDER[name], name) if name in _RUN_ORDER else (1, 0, name)
