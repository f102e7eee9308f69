"""The sweep files, Python and SQL of docs/sweeps.md run as they stand."""

import re
from pathlib import Path

import pytest

from bitlathe.reports.sweep import run_sweep

TEXT = (Path(__file__).parents[2] / "docs" / "sweeps.md").read_text(encoding="utf-8")
FILES = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
(SQL,) = re.findall(r"```sql\n(.*?)```", TEXT, re.DOTALL)


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
    names: dict[str, object] = {}
    for block in PYTHON:
        exec(block.replace("jobs=2", "jobs=1"), names)  # the text is ours
    assert len(names["rows"]) > 0
    assert len(names["best"]) == 4
    assert len(duckdb.sql(SQL).fetchall()) == 4
