"""What the charts of studies share: the rows of a folder, means over models, the footer."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, fsum, log
from pathlib import Path
from typing import Any, Protocol

from ...datatypes.base.errors import BitlatheError
from ..explore import Store, read_results
from ..explore.origin import Origin
from ..page.accuracy import Measured
from ..page.facts import conditions, titled
from ..page.frame import Frame

Row = Mapping[str, Any]
Key = tuple[Any, ...]
WIDTH, HEIGHT = 8.4, 2.7  # of a chart, and of a row of panels, in inches


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The rows of a sweep, where they come from, and the folder that holds them."""

    rows: Sequence[Row]
    folder: Path
    origin: Origin

    @classmethod
    def of(cls, folder: Path) -> "Source":
        """Return what ``bitlathe sweep`` wrote to a folder."""
        with Store(folder, readonly=True) as store:
            origin = Origin.of(store)
        return cls(rows=list(read_results(folder)), folder=folder, origin=origin)


class Chart(Protocol):
    """A chart of a study: a record that can be drawn."""

    def draw(self, source: Source, path: Path) -> None:
        """Draw the chart of some rows."""


def means(rows: Iterable[Row], keys: Sequence[str], value: str) -> dict[Key, float]:
    """Return the geometric mean of a column for each combination of some others, first come first.

    Examples
    --------
    >>> means([{"a": 1, "b": 2.0}, {"a": 1, "b": 8.0}], ["a"], "b")
    {(1,): 4.0}
    """
    logs: dict[Key, list[float]] = {}
    for row in rows:
        logs.setdefault(tuple(row[key] for key in keys), []).append(log(row[value]))
    return {key: exp(fsum(found) / len(found)) for key, found in logs.items()}


def _of(rows: Sequence[Row]) -> str:
    """Return the sentence that says over which models means are."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    start = "Geometric means over" if len(models) > 1 else "Model:"
    return f"{start} {', '.join(models)}."


def footer(rows: Sequence[Row], origin: Origin, measured: Sequence[str] = ()) -> list[str]:
    """Return the sentences below a chart: the models, what was run on, how it was measured."""
    frame = titled(Frame.of(rows), origin)
    return [_of(rows), *conditions(frame, Measured(frame=frame)), *measured]


def draw(chart: Chart, folder: Path, path: Path) -> None:
    """Draw the chart of a sweep's folder.

    Raises
    ------
    BitlatheError
        A folder without its sweep, a picture that cannot be written.
    """
    try:
        chart.draw(Source.of(folder), path)
    except OSError as err:
        raise BitlatheError(f"cannot write {path}: {err.strerror}.") from None


def main(study: str, chart: Chart) -> None:
    """Draw the chart of the folder that the command line names."""
    if len(sys.argv) != 3:
        sys.exit(f"usage: python -m bitlathe.reports.studies.{study} FOLDER PICTURE.png")
    try:
        draw(chart, Path(sys.argv[1]), Path(sys.argv[2]))
    except BitlatheError as err:
        sys.exit(str(err))
