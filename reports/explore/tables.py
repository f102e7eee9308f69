"""Tables of a sweep: CSV and Parquet in the order of the space, byte for byte reproducible."""

import csv
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import reduce
from importlib.util import find_spec
from itertools import count, islice
from operator import itemgetter
from pathlib import Path
from typing import Any

from ...datatypes.base.errors import BitlatheError
from ..provenance import record, recorded
from .expressions import Expression, parse_expression, verdict
from .points import POINT_COLUMNS
from .store import CRASHED, DONE, REFUSED, Entry, Outcome, Store, read_mapping

ROW_GROUP = 5_000
# the first columns of the table of layers; the others follow by name
LAYER_COLUMNS = ("key", "layer", "count", "m", "n", "k", "batch", "cycles", "compute_cycles")
TABLES = ("results.csv", "results.parquet", "layers.csv", "layers.parquet", "failures.csv")
# what `bitlathe report` writes about one sweep; accuracy.json is about formats and stays
PAGE = "report.html"
REPORT = (
    *(PAGE, "pareto.csv", "accuracy.csv", "provenance.json"),
    *(f"{axis}_*.{kind}" for axis in ("accuracy", "proxy", "latency", "energy")
      for kind in ("png", "svg")),
)  # fmt: skip
_OLD = re.compile(r"\.old[0-9]*$")
SHOWN_REASONS = 5
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why points have no row: the outcome's status, its error, and how many share it."""

    status: str
    error: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written: files and the number of rows, failures and ruled-out points.

    ``reasons`` are those of the failures, the most frequent first.
    """

    files: tuple[Path, ...]
    rows: int
    failures: int
    ruled_out: int
    reasons: tuple[Reason, ...] = ()


def crashed(reasons: Iterable[Reason]) -> int:
    """Return how many points have no result that their configuration is not to blame for."""
    return sum(reason.count for reason in reasons if reason.status == CRASHED)


def reasons_text(reasons: Sequence[Reason]) -> list[str]:
    """Return why points have no row, in lines: the most frequent reasons."""
    shown = [
        f"{reason.count:,} point{'s' if reason.count > 1 else ''}: {reason.error}"
        for reason in reasons[:SHOWN_REASONS]
    ]
    left = len(reasons) - len(shown)
    others = f"{left:,} other reason{'s' if left > 1 else ''}"
    return [*shown, f"... and {others}, in failures.csv"] if left else shown


def constraints_of(store: Store) -> list[Expression]:
    """Return the constraints on results of a store's sweep."""
    kept = store.facts("tables").get("constraints", [])
    return [parse_expression(text, place=place) for text, place in kept]


class Finished:
    """The finished points that meet a sweep's constraints, in the order of the space.

    ``unclear`` counts those of which a constraint cannot be computed, once all have been walked.
    """

    def __init__(self, store: Store, constraints: Sequence[Expression]) -> None:
        self.unclear = 0
        self._store, self._constraints = store, constraints

    def _walk(self) -> Iterator[tuple[Entry, dict[str, Any], Outcome]]:
        self.unclear = 0
        for entry, outcome in self._store.rows():
            result = outcome.result
            if result is None:
                continue
            row = entry.columns | result
            met = verdict(self._constraints, row)
            if met is True:
                yield entry, row, outcome
            self.unclear += isinstance(met, str)

    def placed(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the flat row of each point with its place in the space."""
        return ((entry.ordinal, row) for entry, row, _ in self._walk())

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield flat rows; points that keep whole tables of layers have a column ``key``."""
        for entry, row, _ in self._walk():
            yield row | {"key": entry.key} if entry.point.layers else row

    def layers(self) -> Iterator[dict[str, Any]]:
        """Yield the layers of the points as flat rows, each with the ``key`` of its point."""
        for entry, _, outcome in self._walk():
            if entry.point.layers and outcome.layers is not None:
                table = read_mapping(outcome.layers)
                for values in table["rows"]:
                    yield {"key": entry.key, **dict(zip(table["columns"], values, strict=True))}


def failures(store: Store, constraints: Sequence[Expression] = ()) -> Iterator[dict[str, Any]]:
    """Yield the points without a row as flat rows with ``status`` and ``error``, in order.

    They have no results, or results of which a constraint cannot be computed.
    """
    for entry, outcome in store.rows():
        if outcome.status != DONE:
            yield {**entry.columns, "status": outcome.status, "error": outcome.error}
        elif constraints:
            met = verdict(constraints, entry.columns | (outcome.result or {}))
            if isinstance(met, str):
                yield {**entry.columns, "status": REFUSED, "error": met}


def columns_of(rows: Iterator[dict[str, Any]], order: Sequence[str]) -> dict[str, type]:
    """Return every column of the rows and the narrowest type that holds it.

    Columns of ``order`` come first, the others sorted by name. Whole numbers and fractions
    together are float; anything else together is str.
    """
    types: dict[str, type] = {}
    seen: set[tuple[Any, ...]] = set()
    for row in rows:
        shape = (*row, *map(type, row.values()))
        if shape not in seen:
            seen.add(shape)
            for name, value in row.items():
                types[name] = _joint(types.get(name, type(None)), type(value))
    known = [name for name in order if name in types]
    return {name: types[name] for name in [*known, *sorted(types.keys() - set(known))]}


def _joint(one: type, other: type) -> type:
    if one is other or other is type(None) or one is str:
        return one
    if one is type(None):
        return other
    return float if {one, other} == {int, float} else str


def _cell(value: Any) -> str:
    """Return a value as CSV text; names that a spreadsheet would run as a formula get a quote."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    return str(value)


class TableError(BitlatheError):
    """A table cannot be written."""


def _discard(paths: Iterable[Path]) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink(missing_ok=True)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Give a file beside ``path`` to write, moved there at the end: readers see old or new."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, path)
    except (OSError, MemoryError, ImportError) as err:  # a library that no memory is left for
        why = getattr(err, "strerror", None) or str(err) or "no memory is left"
        raise TableError(f"{path}: cannot write this table: {why}") from None
    finally:
        _discard([part])


Columns = list[list[Any]]  # the values of some rows, column by column


class _CsvTable:
    """A CSV file in the making (UTF-8, LF)."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow([_cell(name) for name in columns])

    def add(self, columns: Columns) -> None:
        """Append rows."""
        self._writer.writerows(zip(*map(_plain, columns), strict=True))

    def close(self) -> None:
        """End the file."""
        self._file.close()


_NUMBERS = {int, float, type(None)}  # csv writes them as `_cell` does, only faster


def _plain(values: list[Any]) -> list[Any]:
    return values if set(map(type, values)) <= _NUMBERS else [_cell(value) for value in values]


class _ParquetTable:
    """A Parquet file in the making, one row group for each call of `add`."""

    def __init__(self, path: Path, columns: dict[str, type]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        kinds = {int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
        fields = [(name, kinds.get(kind, pa.string())) for name, kind in columns.items()]
        self._arrow: Any = pa
        self._schema: Any = pa.schema(fields)
        self._kinds = list(columns.values())
        self._file = path.open("wb")  # of a name it would make an address, or a home folder
        self._writer: Any = pq.ParquetWriter(self._file, self._schema, compression="zstd")

    def add(self, columns: Columns) -> None:
        """Append rows."""
        data = [
            self._arrow.array(_typed(values, kind), field.type)
            for values, kind, field in zip(columns, self._kinds, self._schema, strict=True)
        ]
        self._writer.write_table(self._arrow.Table.from_arrays(data, schema=self._schema))

    def close(self) -> None:
        """End the file."""
        try:
            self._writer.close()
        finally:
            self._file.close()


def _typed(values: list[Any], kind: type) -> list[Any]:
    """Return values as one type; None stays."""
    if set(map(type, values)) <= {kind, type(None)}:
        return values
    convert: Callable[[Any], Any] = float if kind is float else _cell
    keep = (type(None), str) if kind is str else type(None)
    return [value if isinstance(value, keep) else convert(value) for value in values]


def write_csv(path: Path, rows: Iterable[dict[str, Any]], columns: Sequence[str]) -> int:
    """Write rows as CSV (UTF-8, LF); return their number."""
    return _write(
        [(path, lambda part: _CsvTable(part, columns))],
        rows,
        lambda group: _by_column(group, list(columns)),
    )


def _write(
    tables: Sequence[tuple[Path, Callable[[Path], _CsvTable | _ParquetTable]]],
    rows: Iterable[dict[str, Any]],
    gather: Callable[[list[dict[str, Any]]], Columns],
) -> int:
    """Write rows into all tables in one walk; return their number."""
    count = 0
    source = iter(rows)
    with ExitStack() as stack:
        parts = [stack.enter_context(_replacing(path)) for path, _ in tables]
        with ExitStack() as files:
            opened = []
            for (_, make), part in zip(tables, parts, strict=True):
                opened.append(make(part))
                files.callback(opened[-1].close)
            while group := list(islice(source, ROW_GROUP)):
                values = gather(group)
                for table in opened:
                    table.add(values)
                count += len(group)
    return count


class _TooNarrowError(Exception):
    """A row does not fit the columns that the first rows have."""


def _fitting(group: list[dict[str, Any]], columns: dict[str, type]) -> Columns:
    """Return rows column by column; every value has a column that holds it."""
    if not set().union(*group) <= columns.keys():
        raise _TooNarrowError
    found = _by_column(group, list(columns))
    for values, kind in zip(found, columns.values(), strict=True):
        if reduce(_joint, set(map(type, values)), kind) is not kind:
            raise _TooNarrowError
    return found


def _by_column(group: list[dict[str, Any]], names: list[str]) -> Columns:
    """Return the values of rows column by column, None where a row has none."""
    if len(names) > 1 and all(len(row) == len(names) for row in group):
        with suppress(KeyError):
            return list(map(list, zip(*map(itemgetter(*names), group), strict=True)))
    return [[row.get(name) for row in group] for name in names]


def write_tables(
    stem: Path, rows: Callable[[], Iterator[dict[str, Any]]], order: Sequence[str]
) -> tuple[list[Path], int]:
    """Write ``STEM.csv`` and, with pyarrow, ``STEM.parquet``; return the files and the rows.

    The columns are those of the first rows; where later ones need more or wider ones, all rows
    are read for the columns first.
    """
    first = columns_of(islice(rows(), ROW_GROUP), order)
    try:
        return _write_typed(stem, rows(), first)
    except _TooNarrowError:
        return _write_typed(stem, rows(), columns_of(rows(), order))


def _write_typed(
    stem: Path, rows: Iterator[dict[str, Any]], columns: dict[str, type]
) -> tuple[list[Path], int]:
    columns = columns or dict.fromkeys(POINT_COLUMNS, str)
    tables: list[Any] = [(stem.with_suffix(".csv"), lambda part: _CsvTable(part, list(columns)))]
    if find_spec("pyarrow") is not None:
        tables.append((stem.with_suffix(".parquet"), lambda part: _ParquetTable(part, columns)))
    count = _write(tables, rows, lambda group: _fitting(group, columns))
    return [path for path, _ in tables], count


def export(store: Store, folder: Path) -> Exported:
    """Write the tables of a sweep; the folder must be locked.

    ``results``, ``layers`` (if points kept theirs), each as CSV and, with pyarrow, as Parquet,
    and ``failures.csv`` (if there are any). `tables_of` tells afterwards what they hold.

    Parameters
    ----------
    store : Store
        The sweep's store.
    folder : Path
        Where to write.

    Raises
    ------
    BitlatheError
        If a table cannot be written; those of before stay.
    """
    _discard(part for name in TABLES for part in folder.glob(f".{name}.*.part"))  # of the killed
    try:
        done = _export(store, folder)
    except TableError as err:
        store.check()
        raise BitlatheError(
            f"{err}. {store.saved()}; free some space or use a folder you may write to, and run "
            "the sweep again."
        ) from None
    store.check()
    record(folder, "tables", holding(store) | {"rows": done.rows})
    return done


def _export(store: Store, folder: Path) -> Exported:
    late = constraints_of(store)
    order = store.facts("tables").get("order", [])
    found = Finished(store, late)
    files, rows = write_tables(folder / "results", found.rows, order)
    unclear = found.unclear
    if store.facts("tables").get("layers") and rows:
        files += write_tables(folder / "layers", found.layers, LAYER_COLUMNS)[0]
    counts = store.counts()
    total = sum(counts.values())
    reasons: list[Reason] = []
    failed = total - counts.get(DONE, 0) + unclear
    if failed:
        names = columns_of(failures(store, late), [*order, "status", "error"])
        seen: Counter[tuple[str, str]] = Counter()
        write_csv(folder / "failures.csv", _counted(failures(store, late), seen), list(names))
        files.append(folder / "failures.csv")
        reasons = [Reason(status=s, error=e, count=n) for (s, e), n in seen.most_common()]
    _discard(folder / name for name in TABLES if folder / name not in files)
    return Exported(
        files=tuple(files),
        rows=rows,
        failures=failed,
        ruled_out=total - failed - rows,
        reasons=tuple(reasons),
    )


def _counted(
    rows: Iterable[dict[str, Any]], seen: Counter[tuple[str, str]]
) -> Iterator[dict[str, Any]]:
    for row in rows:
        seen[str(row["status"]), str(row["error"])] += 1
        yield row


def holding(store: Store) -> dict[str, Any]:
    """Return what tables made of a store now would hold: how many points of how many, of which.

    ``of`` is what the sweep asks for, at most where constraints rule points out; ``finished``
    whether it ran to its end; ``sweep`` and ``revision`` name the state of the store.
    """
    progress = store.facts("progress")
    return {
        "points": store.count(),
        "of": progress.get("planned"),
        "finished": bool(progress.get("finished")),
        "sweep": store.meta("sweep"),
        "revision": store.revision,
    }


def are_current(store: Store, folder: Path) -> bool:
    """Whether a folder's tables are those of the store as it is now."""
    known = recorded(folder).get("tables")
    if not isinstance(known, dict) or not (folder / TABLES[0]).exists():
        return False
    return known.items() >= holding(store).items()


def set_aside(folder: Path) -> list[Path]:
    """Keep the tables and the report of another sweep under names with ``.old`` in them."""
    names = [*TABLES, *REPORT]
    found = sorted({path for name in names for path in folder.glob(name)})
    return [keep_old(path) for path in found if not _OLD.search(path.stem)]


def old_page(folder: Path) -> str:
    """Say that a folder's report is older than its results."""
    return (
        f"{folder / PAGE} and its pictures are from before these results; bitlathe report "
        f"{folder} makes them anew."
    )


def keep_old(path: Path) -> Path:
    """Give a file that no longer tells of its folder's sweep another name, and return it.

    The first free one of ``NAME.old``, ``NAME.old2``, ``NAME.old3`` ...
    """
    names = (path.with_stem(f"{path.stem}.old{n if n > 1 else ''}") for n in count(1))
    old = next(name for name in names if not os.path.lexists(name))
    os.replace(path, old)
    return old
