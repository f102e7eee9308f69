"""Scaling over chips: all ways are tried, the best is found, one chip is the plain chip."""

import json

import pytest
from click.testing import CliRunner

import bitlathe as bl
from bitlathe import BitlatheError
from bitlathe.arch.system import DEGREES
from bitlathe.cli import main
from bitlathe.reports.systems.chart import draw_scaling
from bitlathe.reports.systems.scaling import Work, divisions, scaling

SMALL = {
    "model_type": "mixtral", "hidden_size": 256, "num_hidden_layers": 4,
    "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 512,
    "vocab_size": 1024, "num_local_experts": 4, "num_experts_per_tok": 2,
}  # fmt: skip


@pytest.fixture(scope="module")
def points():
    work = Work(model=bl.load_model(SMALL), context=64, batch=4, mapper="whole-buffer")
    return scaling(bl.load_system("bitmod-pair"), work, (1, 2, 4), ("strong", "weak"), None)


def test_all_ways_are_tried():
    model = bl.load_model(SMALL)
    found = {tuple(each.values()) for each in divisions(model, 4, 2)}
    ways = [
        (t, p, e, d)
        for t in (1, 2, 4)
        for p in (1, 2, 4)
        for e in (1, 2, 4)
        for d in (1, 2, 4)
        if t * p * e * d == 4 and e * d <= 2
    ]
    assert found == set(ways)
    assert max(each["expert"] for each in divisions(model, 8, 64)) == 4


def test_the_best_is_no_slower_than_any_way_alone(points):
    for law in ("strong", "weak"):
        for chips in (1, 2, 4):
            here = [p for p in points if p.law == law and p.run.chips == chips]
            assert here[0].way == "best"
            assert here[0].speedup == max(p.speedup for p in here)
    first = points[0]
    assert (first.run.chips, first.speedup, first.efficiency) == (1, 1, 1)


def test_copies_scale_as_their_number_and_more_chips_are_not_slower(points):
    data = [p for p in points if (p.law, p.way) == ("weak", "data")]
    assert [p.efficiency for p in data] == [1, 1, 1]
    for law in ("strong", "weak"):
        best = [p.speedup for p in points if (p.law, p.way) == (law, "best")]
        assert best == sorted(best)


def test_rows_say_how_the_model_is_divided(points):
    row = points[-1].row()
    assert {*DEGREES, "law", "way", "chips", "efficiency"} <= set(row)
    assert row["chips"] == row["tensor"] * row["pipeline"] * row["expert"] * row["data"]


def test_the_chart_and_the_command(points, tmp_path):
    draw_scaling(points, "small", tmp_path / "a.svg")
    assert "tensor alone" in (tmp_path / "a.svg").read_text()
    model = tmp_path / "config.json"
    model.write_text(json.dumps(SMALL))
    asked = ["scaling", "--arch", "bitmod-pair", "--model", str(model), "--context", "64"]
    asked += ["--batch", "4", "--mapper", "whole-buffer", "--chips", "1,2", "--json"]
    result = CliRunner().invoke(main, [*asked, "--law", "strong"])
    rows = json.loads(result.output)
    assert [r["chips"] for r in rows if r["way"] == "best"] == [1, 2]
    same = [p.run.seconds * 1e3 for p in points[:6] if p.way == "best" and p.run.chips <= 2]
    assert [r["step_ms"] for r in rows if r["way"] == "best"] == same


@pytest.mark.parametrize(
    ("chips", "said"),
    [((0,), "chips: 0 is too small; the least is 1."), ((2, 2), "chips: 2 stands there twice")],
)
def test_odd_numbers_of_chips_are_said(chips, said):
    work = Work(model=bl.load_model(SMALL), context=64, batch=1, mapper="whole-buffer")
    with pytest.raises(BitlatheError, match=said):
        scaling(bl.load_system("bitmod-pair"), work, chips, ("strong",), None)


def test_chips_that_cannot_be_used_are_said():
    work = Work(model=bl.load_model(SMALL), context=64, batch=1, mapper="whole-buffer")
    with pytest.raises(BitlatheError, match=r"cannot be divided among 64 chips; use fewer"):
        scaling(bl.load_system("bitmod-pair"), work, (64,), ("strong",), None)
