"""Accuracy in a report: a model's own perplexity where its weights are at hand, else a proxy."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from bitlathe.cli import main
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.reports.explore import run_sweep
from bitlathe.reports.explore.accuracy import Wanted, measure_accuracy
from bitlathe.reports.page import report
from bitlathe.reports.page.columns import label_of
from bitlathe.reports.page.frame import Frame
from bitlathe.reports.page.fronts import accuracy_columns, tradeoffs
from bitlathe.workloads.accuracy import accuracy
from naive import tiny_lm

pytest.importorskip("torch")
pytest.importorskip("tokenizers")

FORMATS = ["int8@channel", "int4@g8", "int3@g8"]
SWEEP = f"""
arch: bitmod
models: [own/tiny, opt-125m]
phases: decode
axes: {{array.rows: [16, 256]}}
schemes: {{linear: [{", ".join(FORMATS)}]}}
accuracy: {{tokens: 60, context: 16, text: words.txt}}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("accuracy")
    tiny_lm.write(folder / "own" / "tiny", tiny_lm.CONFIGS["llama"])
    words = np.random.default_rng(1).choice(tiny_lm.WORDS, 300)
    (folder / "words.txt").write_text(" ".join(words))
    (folder / "s.yaml").write_text(SWEEP)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BITLATHE_CACHE", str(folder / "kept"))
        run_sweep(folder / "s.yaml", folder / "out", jobs=1)
        report(folder / "out", measure_accuracy(folder / "out"))
        yield folder


def page_columns(folder: Path) -> dict:
    text = (folder / "report.html").read_text(encoding="utf-8")
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    return {c["name"]: c for c in data["columns"]}


def levels(column: dict, count: int) -> list:
    values = column["values"]
    values = values * count if len(values) == 1 else values
    return [column["levels"][v] for v in values] if "levels" in column else values


def test_each_model_gets_its_own_measure_or_a_proxy(place):
    columns = page_columns(place / "out")
    count = len(columns["model"]["values"])
    model, scheme = (levels(columns[name], count) for name in ("model", "format"))
    rows = accuracy(
        place / "own" / "tiny", FORMATS, tokens=60, context=16, text=place / "words.txt"
    )
    expected = {row.scheme: row.perplexity for row in rows}
    proxy = next(name for name in columns if name.startswith("weight_error."))
    assert "a proxy" in columns[proxy]["label"]
    assert ("MiniLM" in columns[proxy]["label"]) == (proxy == "weight_error.minilm")
    for i in range(count):
        own, other = columns["perplexity"]["values"][i], columns[proxy]["values"][i]
        if model[i] == "own/tiny":
            assert own == pytest.approx(expected[scheme[i]], rel=1e-6)
            assert other is None
        else:
            assert own is None
            assert 0 < other < 1


def test_the_page_says_what_the_perplexity_is_of(place):
    text = (place / "out" / "report.html").read_text(encoding="utf-8")
    assert "Perplexity of own/tiny: measured on 60 tokens of words.txt, context 16" in text
    assert "For models without weights at hand accuracy is a proxy" in text


def test_both_measures_have_charts_and_the_table_holds_all(place):
    for name in ("accuracy_area", "proxy_area", "accuracy_edp", "proxy_edp"):
        assert (place / "out" / f"{name}.svg").exists(), name
    assert "a proxy" in (place / "out" / "proxy_area.svg").read_text()
    with (place / "out" / "accuracy.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    own, others = rows[:4], rows[4:]
    assert [row["scheme"] for row in own] == ["unquantized", *FORMATS]
    assert {row["model"] for row in own} == {"own/tiny"}
    assert {(row["measure"], row["proxy"], row["of"]) for row in own} == {
        ("perplexity", "false", "words.txt")
    }
    assert all(row["value"] == row["perplexity"] for row in own)
    assert [row["scheme"] for row in others] == FORMATS
    assert {(row["model"], row["proxy"], row["perplexity"]) for row in others} == {
        ("opt-125m", "true", "")
    }
    assert all("a proxy" in label_of(row["measure"]).text for row in others)


def test_charts_say_what_a_perplexity_is_of_and_how_sure_it_is(place):
    words = (place / "out" / "accuracy_area.svg").read_text()
    assert "own/tiny: 60 tokens of words.txt, in windows of 16" in words
    assert "unquantized" in words
    assert "one standard error" in words
    assert "Chip: BitMoD." in words
    text = (place / "out" / "report.html").read_text(encoding="utf-8")
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])
    assert data["charts"][0]["conditions"][0] in words
    assert data["unquantized"]["perplexity"].keys() == {"own/tiny"}
    rows = accuracy(
        place / "own" / "tiny", FORMATS, tokens=60, context=16, text=place / "words.txt"
    )
    expected = {row.scheme: row.perplexity * row.loss_se_nats for row in rows[1:]}
    columns = {c["name"]: c for c in data["columns"]}
    formats = levels(columns["format"], data["count"])
    for scheme, error in zip(formats, columns["perplexity_se"]["values"], strict=True):
        assert error is None or error == pytest.approx(expected[scheme], rel=1e-6)


def test_the_table_joins_the_results(place):
    duckdb = pytest.importorskip("duckdb")
    found = duckdb.sql(
        f"""SELECT r.model, a.scheme, a.measure, a.value
        FROM '{place}/out/results.csv' r JOIN '{place}/out/accuracy.csv' a
        ON a.model = r.model AND a.scheme = r."scheme.linear" """
    ).fetchall()
    assert len(found) == 12, "two models, two phases, three formats"
    assert {row[2] == "perplexity" for row in found if row[0] == "own/tiny"} == {True}


def test_without_the_key_nothing_is_run(place, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "bitlathe.workloads.lm.evaluate.run_baseline", lambda *_: pytest.fail("ran a model")
    )
    file = place / "plain.yaml"
    file.write_text("\n".join(SWEEP.splitlines()[:-1]))
    run_sweep(file, tmp_path / "out", jobs=1)
    report(tmp_path / "out", measure_accuracy(tmp_path / "out"))
    assert "perplexity" not in page_columns(tmp_path / "out")
    table = (tmp_path / "out" / "accuracy.csv").read_text(encoding="utf-8")
    assert "perplexity," in table.splitlines()[0]
    assert ",perplexity," not in "".join(table.splitlines()[1:])


def test_the_command_asks_for_it(place, tmp_path):
    file = place / "plain.yaml"
    file.write_text("\n".join(SWEEP.splitlines()[:-1]).replace("[own/tiny, opt-125m]", "own/tiny"))
    run_sweep(file, tmp_path / "out", jobs=1)
    result = CliRunner().invoke(main, ["report", str(tmp_path / "out"), "--accuracy", "0"])
    assert result.exit_code == 2
    wanted = Wanted(tokens=60, context=16, text=place / "words.txt")
    report(tmp_path / "out", measure_accuracy(tmp_path / "out", wanted))
    columns = page_columns(tmp_path / "out")
    assert columns["perplexity"]["values"] == [
        v for v in page_columns(place / "out")["perplexity"]["values"] if v is not None
    ]
    assert not any(name.startswith("weight_error") for name in columns)


def test_a_sweep_of_models_without_weights_says_so(tmp_path):
    (tmp_path / "s.yaml").write_text(
        "{arch: bitmod, models: opt-125m, phases: decode, accuracy: {},"
        " schemes: {linear: [int8@channel, int4@g128]}}"
    )
    run_sweep(tmp_path / "s.yaml", tmp_path / "out", jobs=1)
    result = CliRunner().invoke(main, ["report", str(tmp_path / "out")])
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    for words in (text, result.stderr):
        assert "No model of this sweep has its weights at hand" in words
        assert "Accuracy is a proxy" in words
    assert "proxy" not in result.stdout
    assert "perplexity" not in page_columns(tmp_path / "out")


def test_a_wrong_key_names_its_line(tmp_path):
    (tmp_path / "s.yaml").write_text("arch: bitmod\nmodels: opt-125m\naccuracy: {token: 3}\n")
    with pytest.raises(BitlatheError, match=r"s.yaml:3:12: .*token"):
        run_sweep(tmp_path / "s.yaml", tmp_path / "out", jobs=1)


def frame(**columns) -> Frame:
    cost = {"model": "m", "energy_pj.total": 1.0, "edp_pj_s": 1.0}
    count = len(next(iter(columns.values())))
    return Frame.of(
        cost
        | {"seconds": 1.0 + i, "area_um2.total": 1.0 + i}
        | {name: values[i] for name, values in columns.items()}
        for i in range(count)
    )


def test_a_row_is_charted_by_its_most_telling_measure():
    both = frame(**{"perplexity": [3.0, None], "weight_error.minilm": [0.2, 0.1]})
    assert accuracy_columns(both) == ["perplexity", "weight_error.minilm"]
    all_own = frame(**{"perplexity": [3.0, 4.0], "weight_error": [0.2, 0.1]})
    assert accuracy_columns(all_own) == ["perplexity"]
    assert {t.y for t in tradeoffs(all_own)} == {"perplexity", "energy_pj.total"}
