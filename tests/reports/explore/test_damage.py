"""Damaged stores, odd names of folders: one sentence, and a way to keep what is whole."""

import json
import os
import random
import sqlite3
from contextlib import closing

import pytest
from click.testing import CliRunner

from bitlathe.cli import main
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.reports.explore import Store, read_results, run_sweep
from naive.sweep_model import PlainEvaluator

PLAIN = PlainEvaluator()
COUNT = 240


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "sweep.yaml"
    file.write_text(
        "arch: chip\nmodels: [net]\nphases: [prefill, decode]\n"
        "axes: {array.rows: {from: 1, to: 40, step: 1}, array.columns: [1, 2, 4]}\n"
    )
    return file


@pytest.fixture
def out(path, tmp_path):
    run_sweep(path, tmp_path / "out", jobs=1, evaluator=PLAIN)
    return tmp_path / "out"


def tables(out):
    return {p.name: p.read_bytes() for p in out.iterdir() if p.suffix in {".csv", ".parquet"}}


def change(out, *statements):
    with closing(sqlite3.connect(out / "sweep.sqlite")) as db, db:
        for statement in statements:
            db.execute(*statement) if isinstance(statement, tuple) else db.execute(statement)


TAMPERED = [
    "UPDATE results SET result = '{\"cycles\": 1}' WHERE rowid = 7",
    "UPDATE results SET result = '[1,2]' WHERE rowid = 7",
    "UPDATE results SET status = 'refused' WHERE rowid = 7",
    "UPDATE results SET key = 'a' || key WHERE rowid IN (SELECT rowid FROM results LIMIT 1)",
    ("UPDATE results SET result = CAST(? AS TEXT) WHERE rowid = 7", (b'{"cost":"\xff\xfe"}',)),
    "UPDATE results SET checksum = NULL WHERE rowid = 7",
]


@pytest.mark.parametrize("statement", TAMPERED[:3] + TAMPERED[4:5])
def test_a_changed_row_is_refused_and_salvaged_around(path, out, statement):
    """Its point runs again, all others are kept."""
    change(out, statement)
    for use in (
        lambda: run_sweep(path, out, jobs=1, evaluator=PLAIN),
        lambda: list(read_results(out)),
    ):
        with pytest.raises(BitlatheError, match=r"damaged row .* run the sweep with --salvage"):
            use()
    before, said = tables(out), []
    done = run_sweep(path, out, jobs=1, evaluator=PLAIN, salvage=True, say=said.append)
    assert (done.reused, done.evaluated, done.rows) == (COUNT - 1, 1, COUNT)
    assert said[0].startswith(f"{COUNT - 1} results of the store are sound")
    assert tables(out) == before


BROKEN = [
    "UPDATE meta SET value = 'no JSON' WHERE name = 'tables'",
    "UPDATE meta SET value = '[1]' WHERE name = 'progress'",
    "DROP TABLE points",
    "ALTER TABLE results RENAME COLUMN key TO other",
    "ALTER TABLE points DROP COLUMN point",
    "DROP TABLE meta",
    "UPDATE meta SET value = 'zero' WHERE name = 'revision'",
]


@pytest.mark.parametrize("statement", BROKEN)
def test_broken_layouts_end_in_a_sentence(path, out, statement, tmp_path):
    """Sweep, report and readers: an answer or a BitlatheError, and nothing else."""
    change(out, "DROP VIEW runs", statement)
    for use in (
        lambda: list(read_results(out)),
        lambda: CliRunner().invoke(main, ["report", str(out)], catch_exceptions=False),
        lambda: run_sweep(path, out, jobs=1, evaluator=PLAIN),
    ):
        try:
            use()
        except BitlatheError as err:
            assert "\n" not in str(err)  # noqa: PT017


@pytest.mark.parametrize("seed", range(12))
def test_random_damage_is_noticed_or_harmless_and_can_be_salvaged(path, out, seed):
    """Bytes are changed anywhere: no wrong row comes out, no traceback, and salvage goes on."""
    store, before = out / "sweep.sqlite", tables(out)
    data, rng = bytearray(store.read_bytes()), random.Random(seed)
    for _ in range(rng.choice([1, 10, 200])):
        data[rng.randrange(100 if seed % 2 else 0, len(data))] = rng.randrange(256)
    store.write_bytes(data)
    good = [row["cost"] for row in _plain_rows(path, out.parent / "again")]
    try:
        rows = [row["cost"] for row in read_results(out)]
    except BitlatheError:
        pass
    else:
        assert set(rows) <= set(good)
    try:
        done = run_sweep(path, out, jobs=1, evaluator=PLAIN, salvage=True)
    except BitlatheError as err:
        assert "layout" in str(err)  # noqa: PT017 - the version itself was hit
        return
    assert done.rows == COUNT
    assert tables(out) == before


def _plain_rows(path, folder):
    run_sweep(path, folder, jobs=1, evaluator=PLAIN)
    return read_results(folder)


NAMES = ["a:b", "~", "file:///x", "a b", "percent%20", "question?mark", "hash#", "-x", "$HOME",
         "$\\frac{", "quote'\"", "ünï", os.fsdecode(b"byte\xff")]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_any_legal_name_is_a_folder(tmp_path, monkeypatch, name):
    """Relative, as typed: all tables, readable rows, a report."""
    pytest.importorskip("pyarrow")
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text("arch: bitmod\nmodels: opt-125m\ncontexts: 16\n")
    command = ["sweep", "s.yaml", "--jobs", "1", "--json", "--out", name]
    done = CliRunner().invoke(main, command, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["rows"] == 2
    written = {path.name for path in (tmp_path / name).iterdir()}
    assert {"results.csv", "results.parquet", "sweep.sqlite", "provenance.json"} <= written
    assert len(list(read_results(name))) == 2
    shown = CliRunner().invoke(main, ["report", "--", name], catch_exceptions=False)
    assert shown.exit_code == 0, shown.output
    assert (tmp_path / name / "report.html").stat().st_size > 0
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["s.yaml", name.partition("/")[0]])


def test_a_report_on_a_folder_that_cannot_be_opened_says_what_it_left(path, out, monkeypatch):
    """It speaks of the report that was asked for, not of a sweep."""
    change(out, "UPDATE meta SET value = value WHERE name = 'sweep'")

    def full(*_, **__):
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Store, "_check_version", full)
    with pytest.raises(BitlatheError) as caught:
        Store(out, readonly=True)
    assert str(caught.value).endswith(
        "The store is as it was; free some space, and write the report again."
    )
