"""Series: the values of a column with a mark each, the same on the page and in every chart."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..charts.marks import MOST, OTHER, Mark, mark
from .columns import WORKLOAD, is_result
from .frame import Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Rows that share a mark."""

    name: str
    mark: Mark
    rows: NDArray[np.bool_]


def series_column(frame: Frame) -> str:
    """Return the column whose values get a mark each: format, chip, or a setting."""
    settings = [n for n in frame.names if not is_result(n) and n not in WORKLOAD]
    found = (n for n in ("format", "arch", *settings) if n in frame.names and frame.varies(n))
    return next(found, "format")


def places(frame: Frame, column: str) -> dict[Any, int]:
    """Return the place of each value of a column among the marks.

    Names in order of appearance, numbers upwards. Where there are more values than marks, the
    rarest have no place: they are the "others".
    """
    if column in frame.texts:
        texts = frame.texts[column]
        values: list[Any] = list(texts.levels)
        sizes = np.bincount(texts.codes, minlength=len(values))
    elif column in frame.numbers:
        numbers = frame.numbers[column]
        found, sizes = np.unique(numbers[np.isfinite(numbers)], return_counts=True)
        values = found.tolist()
    else:
        return {}
    if len(values) > MOST:
        common = np.argsort(-sizes, kind="stable")[:MOST]
        values = [values[i] for i in sorted(common.tolist())]
    return {value: k for k, value in enumerate(values)}


def series_of(frame: Frame, column: str) -> list[Series]:
    """Return the series of a column that have rows; what has no place comes last, in gray."""
    if column not in frame.names:
        everything = np.ones(frame.count, dtype=bool)
        return [Series(name="all points", mark=mark(0), rows=everything)]
    found = []
    rest = np.ones(frame.count, dtype=bool)
    texts = frame.texts.get(column)
    for value, place in places(frame, column).items():
        if texts is not None:
            rows = texts.codes == texts.levels.index(value)
        else:
            rows = frame.numbers[column] == value
        rest &= ~rows
        name = value if texts is not None else f"{value:g}"
        found.append(Series(name=name or "(none)", mark=mark(place), rows=rows))
    left = len(np.unique(frame.codes(column)[rest]))
    if left:
        found.append(Series(name=f"{left} others", mark=OTHER, rows=rest))
    return found
