"""The BitFusion study: its totals to the last digit, and that its counts are the mapper's."""

import ast
from pathlib import Path

import pytest

from bitlathe.mapping.bitfusion import Schedule
from bitlathe.reports.studies.bitfusion_isca18 import page, study
from bitlathe.reports.studies.bitfusion_isca18.study import Reproduction, published, reproduce


@pytest.fixture(scope="module")
def rebuilt() -> Reproduction:
    return reproduce()


def test_totals_beside_eyeriss(rebuilt: Reproduction) -> None:
    assert len(rebuilt.networks) == 8
    for line in rebuilt.networks:
        printed = published()["networks"][line["network"]]
        assert line["cycles"] == printed["cycles"]
        assert round(line["milliwatts"], 4) == printed["milliwatts"]
        for ratio in ("speed", "energy"):
            assert round(line[ratio], 3) == printed[ratio]
        assert line["agrees"]
    reproduced = rebuilt.means["reproduced"]
    assert {key: round(mean, 3) for key, mean in reproduced.items()} == published()["means"]


def test_all_rows(rebuilt: Reproduction) -> None:
    """61 layers on five chips; those of `bf_e` add up to the totals, one is printed in full."""
    assert len(rebuilt.rows) == 5 * 61
    assert published()["row"] in rebuilt.rows
    for line in rebuilt.networks:
        name, port = line["network"], 192
        rows = [row for row in rebuilt.rows if (row["network"], row["port_bits"]) == (name, port)]
        assert sum(row["cycles"] for row in rows) == line["cycles"]
    keys = ("columns", "port_bits", "network", "layer")
    assert len({tuple(row[key] for key in keys) for row in rebuilt.rows}) == 305


def test_more_hardware_is_slower(rebuilt: Reproduction) -> None:
    """What the specification of the study says of three networks."""
    lines = {line["network"]: line for line in study.by_chip(rebuilt.rows)}
    clocks = {
        name: [line[f"16x{columns}, 4096 bits"] for columns in (32, 64, 128, 256)]
        for name, line in lines.items()
    }
    assert clocks["SVHN"][3] > clocks["SVHN"][2]
    assert clocks["LeNet-5"][1] < clocks["LeNet-5"][2] < clocks["LeNet-5"][3]
    slower = [name for name, line in lines.items() if not line["always_faster"]]
    assert slower == ["SVHN", "LeNet-5"]


def test_on_equal_networks(rebuilt: Reproduction) -> None:
    """Clocks and means that were found apart from this project."""
    corrected = {line["network"]: line["corrected_cycles"] for line in rebuilt.networks}
    assert (corrected["AlexNet"], corrected["RESNET-18"]) == (11_789_416, 17_921_943)
    means = rebuilt.means["corrected"]
    assert (round(means["speed"], 3), round(means["energy"], 3)) == (5.147, 6.824)


def test_objections(rebuilt: Reproduction) -> None:
    ratios = {o["title"]: (o["speed_ratio"], o["energy_ratio"]) for o in rebuilt.objections}
    assert len(ratios) == 6
    assert [title for title, ratio in ratios.items() if ratio == (1, 1)] == [
        "The last store is that of the sums read back",
        "The printed power is not in milliwatts",
    ]
    assert ratios["Areas are not equal"] == (5.871 / 2.14, 1)


def test_counts_are_the_mapper_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows carry what the mapper gives, whatever that is: the study counts no traffic itself."""
    names = list(Schedule.__dataclass_fields__)[3:]
    marked = {name: 1009 + 13 * i for i, name in enumerate(names)}
    fake = Schedule(tile=(1, 1, 1, 1), order=(), dataflow="os", **marked)
    monkeypatch.setattr(study, "best_schedule", lambda *_: fake)
    found = study.schedules("bf-e", study.networks(), study.RULES["bitfusion"])
    for row in study._rows("bf-e", found):
        assert row["cycles"] == fake.cycles
        for column, memory in study.COLUMNS.items():
            for way in ("read", "write"):
                assert row[f"{column}_{way}"] == marked[f"{memory}_{way}"]
    folder = Path(study.__file__).parent
    called = {
        node.func.id
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    assert not called & {"ceil", "ceil_div", "Schedule", "operand_bytes", "units_of"}


def test_the_page(rebuilt: Reproduction, tmp_path: Path) -> None:
    paths = page.write(rebuilt, tmp_path)
    assert all(path.stat().st_size > 1000 for path in paths)
    html = (tmp_path / "report.html").read_text()
    assert "8 of 8" in html
    assert "http" not in html
    for row in (rebuilt.rows[0], rebuilt.rows[-1]):
        assert f"{row['dram_read']:,}" in html
