"""The store: full disks, folders that cannot be written, foreign files, hostile names."""

import csv
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.reports.explore import Store, read_results, run_sweep, tables
from bitlathe.reports.explore.salvage import salvage_store
from bitlathe.reports.explore.store import Entry, Outcome
from bitlathe.reports.explore.sweepfile import Iso
from naive.sweep_model import PlainEvaluator, point

PLAIN = PlainEvaluator()
HOSTILE = [
    "<script>alert(1)</script>",
    "../../etc/passwd",
    "'; DROP TABLE results; --",
    '"quoted", and; split',
    "=cmd|' /C calc'!A0",
    "line\nbreak\tand tab",
    "naïve 数 \U0001f600",
    "{{ 7 * 7 }}",
    "%s %d",
]


def write(tmp_path, rows=400, models="net"):
    path = tmp_path / "sweep.yaml"
    path.write_text(
        f"arch: chip\nmodels: {models}\nphases: decode\n"
        f"axes: {{array.rows: {{from: 1, to: {rows}, step: 1}}, array.columns: [1]}}\n"
    )
    return path


def entries(first, count):
    return [Entry(ordinal=i, key=f"k{i}", point=point(i)) for i in range(first, first + count)]


def outcomes(count):
    return [Outcome.of({"cost": "x" * 500})] * count


def test_a_full_disk_is_a_clear_error_and_loses_nothing(tmp_path):
    with Store(tmp_path) as store:
        store.add(entries(0, 50), outcomes(50))
        store._db.execute("PRAGMA max_page_count = 40")
        with pytest.raises(BitlatheError, match=r"disk is full.*50 finished points are safe"):
            store.add(entries(50, 500), outcomes(500))
        assert store.count() == 50  # all of the failing chunk is undone
    with Store(tmp_path) as store:
        store.add(entries(50, 500), outcomes(500))
        assert store.count() == 550


def test_a_sweep_that_runs_out_of_space_goes_on_later(tmp_path):
    path, out = write(tmp_path, rows=3000), tmp_path / "out"
    code = (
        "import resource, signal, sys\n"
        "from bitlathe.datatypes.base.errors import BitlatheError\n"
        "from bitlathe.reports.explore import run_sweep\n"
        "from naive.sweep_model import PlainEvaluator, point\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))\n"
        "try:\n"
        "    run_sweep(sys.argv[1], sys.argv[2], jobs=1, evaluator=PlainEvaluator())\n"
        "except BitlatheError as err:\n"
        "    sys.exit(f'user error: {err}')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path, out],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])},
    )
    assert done.returncode == 1
    assert done.stderr.startswith("user error: "), done.stderr
    assert "safe" in done.stderr
    assert "Traceback" not in done.stderr
    with Store(out) as store:
        saved = store.count()
    assert saved > 0
    again = run_sweep(path, out, jobs=1, evaluator=PLAIN)
    assert (again.rows, again.reused) == (3000, saved)


@pytest.mark.parametrize("folder", ["/proc/nothing/out", "/dev/null/out", "/proc/self"])
def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path, folder):
    with pytest.raises(BitlatheError, match="may write to"):
        run_sweep(write(tmp_path), folder, jobs=1, evaluator=PLAIN)


def test_a_store_that_became_read_only_is_a_clear_error(tmp_path):
    with Store(tmp_path) as store:
        store.add(entries(0, 5), outcomes(5))
        store._db.execute("PRAGMA query_only = 1")
        with pytest.raises(BitlatheError, match=r"cannot be written.*5 finished points are safe"):
            store.add(entries(5, 5), outcomes(5))


def test_tables_that_cannot_be_written_are_a_clear_error(tmp_path, monkeypatch):
    out = tmp_path / "out"
    (out / "results.csv").mkdir(parents=True)
    with pytest.raises(BitlatheError, match=r"results\.csv: cannot write this table"):
        run_sweep(write(tmp_path), out, jobs=1, evaluator=PLAIN)
    assert [p.name for p in out.iterdir() if p.name.endswith(".part")] == []
    (out / "results.csv").rmdir()

    def no_room(*_):
        raise ImportError("libarrow.so: failed to map segment from shared object")

    with monkeypatch.context() as patch:
        patch.setattr(tables, "_ParquetTable", no_room)
        with pytest.raises(BitlatheError, match=r"parquet: cannot .*failed to map segment"):
            run_sweep(write(tmp_path), out, jobs=1, evaluator=PLAIN)
    assert run_sweep(write(tmp_path), out, jobs=1, evaluator=PLAIN).evaluated == 0


def test_foreign_files_are_refused(tmp_path):
    (tmp_path / "sweep.sqlite").write_bytes(b"this is no database, at all" * 100)
    with pytest.raises(BitlatheError, match="no sweep store"):
        Store(tmp_path)
    assert (tmp_path / "sweep.sqlite").read_bytes().startswith(b"this is no database")


def test_a_damaged_row_is_a_clear_error(tmp_path):
    path, out = write(tmp_path, rows=5), tmp_path / "out"
    run_sweep(path, out, jobs=1, evaluator=PLAIN)
    with Store(out) as store:
        store._db.execute("UPDATE results SET result = substr(result, 1, 9) WHERE rowid = 3")
    with pytest.raises(BitlatheError, match=r"damaged row \('\{\"cost\":"):
        run_sweep(path, out, jobs=1, evaluator=PLAIN)
    (out / "sweep.sqlite").write_bytes((out / "sweep.sqlite").read_bytes()[:8192])
    with pytest.raises(BitlatheError, match=r"sweep\.sqlite: it is no sweep store or is damaged"):
        list(read_results(out))


def test_a_store_that_is_just_being_made_is_not_called_damaged(tmp_path):
    """The file is there before its tables are."""
    (tmp_path / "sweep.sqlite").touch()
    with pytest.raises(BitlatheError, match=r"holds no point yet: a sweep is starting there"):
        Store(tmp_path, readonly=True)
    with Store(tmp_path) as store:
        assert store.count() == 0


def test_another_layout_is_refused(tmp_path):
    with Store(tmp_path) as store:
        store._db.execute("UPDATE meta SET value = '99' WHERE name = 'schema'")
    with pytest.raises(BitlatheError, match="layout 99"):
        Store(tmp_path)


def test_a_transaction_is_all_or_nothing(tmp_path):
    with Store(tmp_path) as store:
        bad = [*entries(0, 3), Entry(ordinal=3, key="k3", point=point(float("nan")))]
        with pytest.raises(ValueError, match="JSON"):
            store.add(bad, outcomes(4))
        assert store._db.execute("SELECT count(*) FROM results").fetchone() == (0,)


def test_hostile_names_come_out_whole_and_harmless(tmp_path):
    path, out = (
        write(tmp_path, rows=2, models=json.dumps(HOSTILE, ensure_ascii=False)),
        tmp_path / "out",
    )
    done = run_sweep(path, out, jobs=1, evaluator=PLAIN)
    assert done.rows == 2 * len(HOSTILE)
    assert [r["model"] for r in read_results(out)][: len(HOSTILE)] == HOSTILE
    with (out / "results.csv").open(newline="", encoding="utf-8") as file:
        cells = [row["model"] for row in csv.DictReader(file)][: len(HOSTILE)]
    expected = [f"'{name}" if name.startswith("=") else name for name in HOSTILE]
    assert cells == expected  # spreadsheets do not run a quoted formula
    written = {p.name for p in tmp_path.rglob("*") if p.is_file()}
    assert written <= {
        "sweep.yaml", "sweep.lock", "sweep.sqlite", "sweep.sqlite-wal", "sweep.sqlite-shm",
        "results.csv", "results.parquet", "provenance.json",
    }  # fmt: skip


@pytest.mark.parametrize("late", [{"cost": 0.5}, {"cost": "dear"}, {"cost": 1, "more": True}])
def test_columns_widen_for_rows_that_come_late(tmp_path, monkeypatch, late):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(tables, "ROW_GROUP", 10)
    rows = [{"cost": i, "name": "a"} for i in range(25)] + [late]
    files, count = tables.write_tables(tmp_path / "t", lambda: iter(rows), ["name"])
    assert count == 26
    types = tables.columns_of(iter(rows), ["name"])
    assert list(types) == ["name", "cost", "more"][: len(types)]
    back = parquet.read_table(files[1]).to_pylist()
    assert [type(row["cost"]) for row in back] == [types["cost"]] * 26
    assert [row["cost"] for row in back] == [types["cost"](row["cost"]) for row in rows]
    assert back[-1].get("more") == late.get("more")
    with files[0].open(newline="") as file:
        cells = [row["cost"] for row in csv.DictReader(file)]
    assert cells == [str(row["cost"]) for row in rows]


OLD_LAYOUT = """
CREATE TABLE meta(name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE results(key TEXT PRIMARY KEY, status TEXT NOT NULL, result TEXT, error TEXT,
  checksum TEXT NOT NULL);
CREATE TABLE points(ordinal INTEGER PRIMARY KEY, key TEXT NOT NULL, point TEXT NOT NULL,
  checksum TEXT NOT NULL);
INSERT INTO meta VALUES ('schema', '3');
"""


@pytest.mark.parametrize(
    "use",
    [
        Store,
        lambda folder: Store(folder, readonly=True),
        lambda folder: list(read_results(folder)),
        salvage_store,
    ],
)
def test_a_store_without_layers_is_refused_and_stays_as_it_is(tmp_path, use):
    with closing(sqlite3.connect(tmp_path / "sweep.sqlite")) as db:
        db.executescript(OLD_LAYOUT)
    with pytest.raises(BitlatheError, match=r"layout 3, this one reads 4.*another output folder"):
        use(tmp_path)
    with closing(sqlite3.connect(tmp_path / "sweep.sqlite")) as db:
        assert [row[0] for row in db.execute("SELECT value FROM meta")] == ["3"]
        assert len(db.execute("PRAGMA table_info(results)").fetchall()) == 5


POINTS = (
    point(1),
    point({"b": [1, None], "c": "d"}),
    replace(point(0.1), causal=True, layers=True, context=256, settings=()),
    replace(
        point(True),
        settings=(("formats.linear.weight", "int8"), ("z", "a"), ("array", {"rows": 8})),
        iso=Iso.model_validate({"resource": "area_um2", "target": 1e6, "solve": "z", "from": 2}),
    ),
)


@pytest.mark.parametrize("kept", POINTS)
def test_the_store_keeps_points_whole(tmp_path, kept):
    entry = Entry(ordinal=7, key="k", point=kept, chip={"pe.lanes": 4})
    layers = {"roofline": [["q", 1, 2, 3.0, 4, 0, 0.5, 1.0]]}
    columns = list(entry.columns)
    with Store(tmp_path) as store:
        store.add([entry], [Outcome.of({"cycles": 5, "layers": layers})])
        store.make_view([*columns, "cycles"])
    with Store(tmp_path, readonly=True) as store:
        ((back, outcome),) = store.rows()
        assert back == entry
        assert repr(back.point) == repr(kept)  # 1 and true are equal, and not the same
        assert outcome.result == {"cycles": 5}
        assert store.layers([6, 7, 8]) == {7: layers}
        names = ", ".join(f'"{name}"' for name in [*columns, "cycles"])
        seen = next(iter(store._db.execute(f"SELECT {names} FROM runs")))
        assert seen == (*entry.columns.values(), 5)
