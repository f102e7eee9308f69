"""The ANT study: what is printed of it to the last digit, and that its counts are the mapper's."""

from pathlib import Path

import pytest

from bitlathe.mapping.bitfusion import Schedule
from bitlathe.reports.studies.ant_micro22 import page, study
from bitlathe.reports.studies.ant_micro22.study import FIGURES, Reproduction, published, reproduce


@pytest.fixture(scope="module")
def rebuilt() -> Reproduction:
    return reproduce()


def test_rows(rebuilt: Reproduction) -> None:
    """Printed figures to the printed digit; clocks in full."""
    rows = {(row["network"], row["chip"]): row for row in rebuilt.rows}
    assert len(rows) == 48
    printed = published()["printed"]
    assert sum(map(len, printed.values())) == 17
    for network, chips in printed.items():
        for chip, figures in chips.items():
            row = rows[network, chip]
            assert row["cycles"] == figures.get("cycles", row["cycles"])
            for figure in FIGURES:
                assert round(row[figure], 2) == figures.get(figure, round(row[figure], 2))
            assert row["agrees"]
    assert {row["agrees"] for row in rebuilt.rows} == {True, None}
    for row in rebuilt.rows:
        assert (row["chip"] == "AdaFloat") == (row["time"] == 1)
        if row["chip"] == "AdaFloat":
            assert sum(row[part] for part in study.ENERGIES) == pytest.approx(1)


def test_means(rebuilt: Reproduction) -> None:
    """What the specification says of the printed means, and of the ones they are not."""
    printed = {line["chip"]: line for line in rebuilt.means}
    assert round(printed["ANT-OS"]["time"], 3) == 0.247
    assert round(printed["ANT-WS"]["dram"], 4) == 0.0371
    assert round(printed["ANT-WS"]["buffer"], 4) == 0.1943
    for chip, figures in published()["printed_means"].items():
        assert {figure: round(printed[chip][figure], 2) for figure in figures} == figures
    by = {(o["title"], o["chip"], o["figure"]): o["instead"] for o in rebuilt.mean_objections}
    assert round(by["Geomean is arithmetic", "ANT-OS", "time"], 3) == 0.244
    assert round(by["A sum is not reset", "ANT-WS", "buffer"], 4) == 0.1897
    two = "Energies are over two networks"
    assert round(by[two, "BiScaled", "static"], 2) == 0.14
    assert round(by[two, "BiScaled", "core"], 2) == 0.11


def test_objections(rebuilt: Reproduction) -> None:
    effects = {(o["title"], o["chip"]): o for o in rebuilt.objections}
    assert {title for title, _ in effects} == {each.title for each in study.OBJECTIONS}
    same = effects["BitFusion runs most layers in 8 bits", "BitFusion"]
    normal = study.normalized(study.figures())
    assert same["time"] == pytest.approx(study.mean(normal, "ANT-OS", "time"))
    assert same["energy"] == pytest.approx(study.mean(normal, "ANT-OS", "energy"))
    leak = "Leakage of the SRAMs is left out"
    assert all(o["time_ratio"] == 1 for (title, _), o in effects.items() if title == leak)


def test_the_layers_are_those_of_the_data() -> None:
    found = study.layers()
    assert sum(map(len, found.values())) == 2286
    assert len(study.networks()) == 8
    true = study.layers(true_kernels=True)
    changed = {net for (net, chip), listed in found.items() if listed != true[net, chip]}
    assert changed == {"inceptionv3"}
    macs = {k: sum(layer.macs for layer in v) for k, v in found.items()}
    assert macs["vgg16", "ant"] == macs["vgg16", "adafloat"]
    assert macs["vgg16", "ant"] // 64 == 15_470_264_320  # torchvision's VGG-16, one image


def test_counts_are_the_mapper_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are sums of what the mapper gives, whatever that is."""
    names = list(Schedule.__dataclass_fields__)[3:]
    marked = {name: 1009 + 13 * i for i, name in enumerate(names)}
    fake = Schedule(tile=(1, 1, 1, 1), order=(), dataflow="os", **marked)
    monkeypatch.setattr(study, "_schedule", lambda *_: fake)
    for (network, chip), of in study.figures().items():
        listed = len(study.layers()[network, published()["chips"][chip]["layers"]])
        costs = study.Costs.of(study.load_arch(f"micro22/{published()['chips'][chip]['arch']}"))
        spent = fake.energy_pj(costs)
        assert of["cycles"] == listed * fake.cycles
        for part, keys in study.ENERGIES.items():
            expected = float(listed * sum(spent[key] for key in keys)) / 1000
            assert of[part] == pytest.approx(expected, rel=1e-12)
    text = (Path(study.__file__).parent / "study.py").read_text()
    assert "ceil" not in text
    assert "//" not in text


def test_the_page(rebuilt: Reproduction, tmp_path: Path) -> None:
    paths = page.write(rebuilt, tmp_path)
    assert all(path.stat().st_size > 1000 for path in paths)
    html = (tmp_path / "report.html").read_text()
    assert "17 of the 17 rows" in html
    assert "http" not in html
    for row in rebuilt.rows:
        assert f"{row['cycles']:,}" in html
