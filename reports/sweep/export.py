"""Tables of a sweep: CSV and Parquet in the order of the space, byte for byte reproducible."""

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...datatypes.errors import BitlatheError
from .expr import Expression
from .spec import POINT_COLUMNS
from .store import DONE, Store

ROW_GROUP = 20_000
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


def _replace(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file beside its place and move it there: readers see the old or the new one."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(part)
        os.replace(part, path)
    except OSError as err:
        raise BitlatheError(
            f"{path}: cannot write this table: {err.strerror or err}. The results are safe in the "
            "store; free some space or use a folder you may write to, and run the sweep again."
        ) from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def write_csv(path: Path, rows: Iterator[dict[str, Any]], columns: Sequence[str]) -> int:
    """Write rows as CSV (UTF-8, LF); return their number."""
    count = 0

    def write(part: Path) -> None:
        nonlocal count
        with part.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(_cell(name) for name in columns)
            for row in rows:
                writer.writerow(_cell(row.get(name)) for name in columns)
                count += 1

    _replace(path, write)
    return count


def write_parquet(path: Path, rows: Iterator[dict[str, Any]], columns: dict[str, type]) -> bool:
    """Write rows as Parquet; return False when pyarrow is not installed."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        return False
    kinds = {int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    schema = pa.schema([(name, kinds.get(kind, pa.string())) for name, kind in columns.items()])

    def cell(value: Any, kind: type) -> Any:
        if value is None:
            return None
        if kind is str and not isinstance(value, str):
            return _cell(value)
        return float(value) if kind is float else value

    def write(part: Path) -> None:
        with pq.ParquetWriter(part, schema, compression="zstd") as writer:
            for group in _groups(rows, ROW_GROUP):
                data = [
                    pa.array([cell(row.get(n), kind) for row in group], schema.field(n).type)
                    for n, kind in columns.items()
                ]
                writer.write_table(pa.Table.from_arrays(data, schema=schema))

    _replace(path, write)
    return True


def _groups(rows: Iterator[dict[str, Any]], size: int) -> Iterator[list[dict[str, Any]]]:
    group: list[dict[str, Any]] = []
    for row in rows:
        group.append(row)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


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
    rows = write_csv(files[0], results(store, constraints), list(columns))
    parquet = folder / "results.parquet"
    if write_parquet(parquet, results(store, constraints), columns):
        files.append(parquet)
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
