"""The published study: 60 clocks and 120 energies, to the last printed digit."""

import math
from pathlib import Path

import pytest

from bitlathe.reports.studies.bitmod_hpca25 import page
from bitlathe.reports.studies.bitmod_hpca25.study import Reproduction, reproduce


@pytest.fixture(scope="module")
def study() -> Reproduction:
    return reproduce()


def test_all_clocks(study: Reproduction) -> None:
    assert len(study.rows) == 60
    assert [r["cycles"] for r in study.rows] == [r["published_cycles"] for r in study.rows]


def test_all_energies(study: Reproduction) -> None:
    for row in study.rows:
        floored = (row["accelerator"], row["phase"]) == ("fp16", "prefill")
        printed = math.floor if floored else round
        assert printed(row["onchip_uj"]) == row["published_onchip_uj"], row
        assert printed(row["total_uj"]) == row["published_total_uj"], row
        assert row["agrees"]


def test_headlines(study: Reproduction) -> None:
    """The paper's ratios; 1.48 over OliVe is 1.47 from its own clocks."""
    for line in study.headlines:
        assert line["reproduced"] == pytest.approx(line["from_published_figures"], rel=1e-5)
        assert line["reproduced"] == pytest.approx(line["published"], abs=0.015)


def test_each_objection_changes_something(study: Reproduction) -> None:
    assert len(study.objections) == 8
    for objection in study.objections:
        assert objection["effects"], objection["title"]


def test_objections_go_the_stated_way(study: Reproduction) -> None:
    by_title = {o["title"]: o["effects"] for o in study.objections}
    for effect in by_title["Attention is over-counted"]:
        if effect["phase"] == "prefill":
            assert effect["cycles_ratio"] < 1
    for effect in by_title["Operands are fetched again without tiling K"]:
        assert effect["cycles_ratio"] <= 1
        assert effect["total_ratio"] < 1
    for effect in by_title["Leakage is left out"]:
        assert effect["cycles_ratio"] == 1
        assert effect["onchip_ratio"] > 1
    assert {e["accelerator"] for e in by_title["Serial arrays read SRAM at half cost"]} == {
        "bitmod-lossless",
        "bitmod-lossy",
    }


def test_page_is_self_contained_and_complete(study: Reproduction, tmp_path: Path) -> None:
    paths = page.write(study, tmp_path / "out")
    assert all(p.stat().st_size > 1000 for p in paths)
    html = (tmp_path / "out" / "report.html").read_text()
    assert "60 of 60" in html.replace("\n", " ")
    assert "http" not in html.replace("data:image", "")
    for row in study.rows:
        assert f"{row['published_cycles']:,}" in html


def test_a_folder_that_cannot_be_written(study: Reproduction, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot write to"):
        page.write(study, tmp_path / "file")
