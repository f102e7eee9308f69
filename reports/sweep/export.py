"""Tables of a sweep: CSV and Parquet in the order of the space, byte for byte reproducible."""

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from ...datatypes.errors import BitlatheError
from .expr import Expression
from .spec import POINT_COLUMNS
from .store import DONE, Store

ROW_GROUP = 5_000
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written: files and the number of rows, failures and ruled-out points."""

    files: tuple[Path, ...]
    rows: int
    failures: int
    ruled_out: int


def results(store: Store, constraints: Sequence[Expression] = ()) -> Iterator[dict[str, Any]]:
    """Yield the finished points that meet the constraints as flat rows, in order."""
    for point, outcome in store.rows():
        if outcome.status == DONE and outcome.result is not None:
            row = point | outcome.result
            if all(constraint(row) for constraint in constraints):
                yield row


def failures(store: Store) -> Iterator[dict[str, Any]]:
    """Yield the points without results as flat rows with ``status`` and ``error``, in order."""
    for point, outcome in store.rows():
        if outcome.status != DONE:
            yield {**point, "status": outcome.status, "error": outcome.error}


def columns_of(rows: Iterator[dict[str, Any]], order: Sequence[str]) -> dict[str, type]:
    """Return every column of the rows and the narrowest type that holds it.

    Columns of ``order`` come first, the others sorted by name. Whole numbers and fractions
    together are float; anything else together is str.
    """
    types: dict[str, type] = {}
    for row in rows:
        for name, value in row.items():
            kind = type(value)
            if value is None or types.get(name) is kind:
                types.setdefault(name, type(None))
            elif types.get(name, type(None)) is type(None):
                types[name] = kind
            elif {types[name], kind} == {int, float}:
                types[name] = float
            else:
                types[name] = str
    known = [name for name in order if name in types]
    return {name: types[name] for name in [*known, *sorted(types.keys() - set(known))]}


def _cell(value: Any) -> str:
    """Return a value as CSV text; names that a spreadsheet would run as a formula get a quote."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    return repr(value)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Give a file beside ``path`` to write, moved there at the end: readers see old or new."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, path)
    except OSError as err:
        raise BitlatheError(
            f"{path}: cannot write this table: {err.strerror or err}. The results are safe in the "
            "store; free some space or use a folder you may write to, and run the sweep again."
        ) from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


class _CsvTable:
    """A CSV file in the making (UTF-8, LF)."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._columns = columns
        self._file = path.open("w", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow([_cell(name) for name in columns])

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        """Append rows."""
        columns = self._columns
        self._writer.writerows([_cell(row.get(name)) for name in columns] for row in rows)

    def close(self) -> None:
        """End the file."""
        self._file.close()


class _ParquetTable:
    """A Parquet file in the making, one row group for each call of `add`."""

    def __init__(self, path: Path, columns: dict[str, type]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        kinds = {int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
        fields = [(name, kinds.get(kind, pa.string())) for name, kind in columns.items()]
        self._arrow: Any = pa
        self._schema: Any = pa.schema(fields)
        self._columns = columns
        self._writer: Any = pq.ParquetWriter(path, self._schema, compression="zstd")

    def add(self, rows: Sequence[dict[str, Any]]) -> None:
        """Append rows."""
        data = [
            self._arrow.array(
                [_typed(row.get(name), kind) for row in rows], self._schema.field(name).type
            )
            for name, kind in self._columns.items()
        ]
        self._writer.write_table(self._arrow.Table.from_arrays(data, schema=self._schema))

    def close(self) -> None:
        """End the file."""
        self._writer.close()


def _typed(value: Any, kind: type) -> Any:
    if value is None:
        return None
    if kind is str and not isinstance(value, str):
        return _cell(value)
    return float(value) if kind is float else value


def write_csv(path: Path, rows: Iterable[dict[str, Any]], columns: Sequence[str]) -> int:
    """Write rows as CSV (UTF-8, LF); return their number."""
    return _write([(path, lambda part: _CsvTable(part, columns))], rows)


def _write(
    tables: Sequence[tuple[Path, Callable[[Path], _CsvTable | _ParquetTable]]],
    rows: Iterable[dict[str, Any]],
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
                for table in opened:
                    table.add(group)
                count += len(group)
    return count


def export(
    store: Store, folder: Path, order: Sequence[str], constraints: Sequence[Expression] = ()
) -> Exported:
    """Write ``results.csv``, ``results.parquet`` (with pyarrow) and ``failures.csv`` (if any).

    Parameters
    ----------
    store : Store
        The sweep's store.
    folder : Path
        Where to write.
    order : sequence of str
        Columns to put first.
    constraints : sequence of Expression
        A row must meet all of them.
    """
    columns = columns_of(results(store, constraints), order)
    if not columns:
        columns = dict.fromkeys(POINT_COLUMNS, str)
    files = [folder / "results.csv"]
    tables: list[Any] = [(files[0], lambda part: _CsvTable(part, list(columns)))]
    if find_spec("pyarrow") is not None:
        files.append(folder / "results.parquet")
        tables.append((files[1], lambda part: _ParquetTable(part, columns)))
    rows = _write(tables, results(store, constraints))
    failed = store.count() - store.count(DONE)
    bad = folder / "failures.csv"
    if failed:
        names = columns_of(failures(store), [*order, "status", "error"])
        write_csv(bad, failures(store), list(names))
        files.append(bad)
    else:
        bad.unlink(missing_ok=True)
    return Exported(
        files=tuple(files),
        rows=rows,
        failures=failed,
        ruled_out=store.count(DONE) - rows,
    )
