"""The sweep files, Python and SQL of docs/sweeps.md run as they stand."""

import csv
import re
from functools import reduce
from pathlib import Path

import pytest

from bitlathe.reports.explore import run_sweep
from bitlathe.reports.explore.accuracy import measure, measure_accuracy
from bitlathe.reports.explore.plan import planned_points, read_sweep
from bitlathe.reports.page import report

TEXT = (Path(__file__).parents[3] / "docs" / "sweeps.md").read_text(encoding="utf-8")
WHOLE = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
SMALLER = {
    "opt-1.3b": "opt-125m",
    "llama-2-7b": "smollm2-135m",
    "array.rows: [16, 32, 64]": "array.rows: [16, 64]",
    "{from: 8, to: 32, step: 8}": "{from: 16, to: 32, step: 16}",
    "{from: 256, to: 1024, factor: 2}": "{from: 256, to: 1024, factor: 4}",
    "samples: 50": "samples: 10",
    "budget: 60": "budget: 24",
}
FILES = [reduce(lambda text, pair: text.replace(*pair), SMALLER.items(), text) for text in WHOLE]
"""With small models in the place of large ones and fewer shapes, so that they run in seconds."""
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
SQL, ACCURACY_SQL, LAYERS_SQL = re.findall(r"```sql\n(.*?)```", TEXT, re.DOTALL)
REPORTS = (Path(__file__).parents[3] / "docs" / "reports.md").read_text(encoding="utf-8")
(REPORT_SQL,) = re.findall(r"```sql\n(.*?)```", REPORTS, re.DOTALL)


def test_what_is_made_smaller_stands_in_the_page():
    assert [large for large in SMALLER if large not in TEXT] == []


@pytest.mark.parametrize("text", WHOLE)
def test_documented_files_are_read_as_they_stand(tmp_path, text):
    (tmp_path / "sweep.yaml").write_text(text)
    assert planned_points(read_sweep(tmp_path / "sweep.yaml").space) > 0


@pytest.mark.parametrize("text", FILES)
def test_documented_files_run(tmp_path, text):
    if "nsga2" in text:
        pytest.importorskip("optuna")
    (tmp_path / "sweep.yaml").write_text(text)
    done = run_sweep(tmp_path / "sweep.yaml", tmp_path / "out", jobs=1)
    assert done.rows > 0
    assert done.failures == 0


def test_documented_questions_have_answers(tmp_path, monkeypatch):
    duckdb = pytest.importorskip("duckdb")
    pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    Path("sweep.yaml").write_text(FILES[0])
    names: dict[str, object] = {"__name__": "__main__"}
    for block in PYTHON:
        exec(block.replace("jobs=2", "jobs=1"), names)  # the text is ours
    assert len(names["rows"]) > 0
    assert len(names["best"]) == 4
    assert len(duckdb.sql(SQL).fetchall()) == 4
    errors, _ = measure({row["scheme.linear"] for row in names["rows"]}, Path("runs/x"))
    allowed = {scheme for scheme, error in errors.items() if error < 0.1}
    answers = duckdb.sql(ACCURACY_SQL).fetchall()
    assert len(answers) == 4
    assert {scheme for _, _, scheme, _ in answers} <= allowed


PLAIN = "arch: [bitmod, fp16]\nmodels: [opt-125m, opt-1.3b]\ncontexts: 64\n"


def test_documented_questions_have_answers_without_schemes(tmp_path, monkeypatch):
    """A sweep that leaves formats to its chips: the queries of both pages run on it."""
    duckdb = pytest.importorskip("duckdb")
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    Path("sweep.yaml").write_text(PLAIN)
    run_sweep("sweep.yaml", "runs/x", jobs=1)
    run_sweep("sweep.yaml", "runs/formats", jobs=1)
    report("runs/formats", measure_accuracy("runs/formats"))
    report("runs/x", measure_accuracy("runs/x"))
    formats = {"bitmod": "bitmod_fp4@g128/int8", "fp16": "fp16"}  # the chips' files say so
    chosen = duckdb.sql("SELECT DISTINCT arch, \"scheme.linear\" FROM 'runs/x/results.csv'")
    assert dict(chosen.fetchall()) == formats
    assert len(duckdb.sql(SQL.replace("3.6e6", "9e6")).fetchall()) == 4
    allowed = duckdb.sql(ACCURACY_SQL).fetchall()
    assert [scheme for _, _, scheme, _ in allowed] == ["bitmod_fp4@g128/int8"] * 4, "FP16 is dearer"
    joined = duckdb.sql(REPORT_SQL).fetchall()
    assert len(joined) == 8, "two models, two phases, two formats"
    assert {(scheme, proxy) for _, _, scheme, _, proxy, *_ in joined} == {
        (scheme, True) for scheme in formats.values()
    }


def test_documented_question_about_layers_has_an_answer(tmp_path, monkeypatch):
    duckdb = pytest.importorskip("duckdb")
    monkeypatch.chdir(tmp_path)
    (text,) = [text for text in FILES if "layers: true" in text]
    Path("sweep.yaml").write_text(text)
    run_sweep("sweep.yaml", "runs/x", jobs=1)
    answers = duckdb.sql(LAYERS_SQL).fetchall()
    with Path("runs/x/results.csv").open(newline="") as file:
        phases = {row["key"]: row["phase"] for row in csv.DictReader(file)}
    with Path("runs/x/layers.csv").open(newline="") as file:
        layers = {(phases[row["key"]], row["layer"]) for row in csv.DictReader(file)}
    assert {phase for phase, _ in layers} == {"prefill", "decode"}
    assert {(phase, layer) for phase, layer, _ in answers} == layers
    assert max(share for _, _, share in answers) > 0.3
    assert all(0 <= share <= 1 for _, _, share in answers)


def test_documented_columns_are_those_of_a_sweep(tmp_path):
    (text,) = [text for text in FILES if "layers: true" in text]
    (tmp_path / "sweep.yaml").write_text(text)
    run_sweep(tmp_path / "sweep.yaml", tmp_path / "out", jobs=1)
    words = set(re.findall(r"`([\w.]+)`", TEXT))
    for name in ("results", "layers"):
        with (tmp_path / "out" / f"{name}.csv").open(newline="") as file:
            header = next(csv.reader(file))
        known = words | {"arch", "model", "phase", "context", "mapper", "fidelity", "fusion"}
        parts = {column.partition(".")[0] + ".PART" for column in header if "." in column}
        assert ("scheme.PART" in parts, "scheme.KIND" in words) == (name == "results", True)
        assert [c for c in header if "." not in c and c not in known] == []
        assert parts - {"dram.PART", "scheme.PART"} <= words
