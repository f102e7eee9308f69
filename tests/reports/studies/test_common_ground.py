"""The common ground: equal areas, weights of 4 bits at twice the speed, headlines."""

from pathlib import Path

import pytest

from bitlathe.arch import resolve
from bitlathe.reports.studies.common_ground import page, study
from bitlathe.reports.studies.common_ground.study import Reproduction, chip_of, ground
from bitlathe.sim import simulate


def made() -> list[dict[str, object]]:
    """Rows as if every chip took its place in the list times as long as FP16."""
    chips = list(ground()["chips"])
    return [
        {
            "chip": chip,
            "model": model,
            "phase": "image" if model in ground()["models"]["image"] else phase,
            "cycles": 1000 // (1 + chips.index(chip)),
            "energy_uj": 8.0 / 2 ** chips.index(chip),
            "pe_area_mm2": 1.58,
        }
        for chip, model, phase in study.points()
    ]


def test_arrays_are_of_equal_area() -> None:
    areas = []
    for name in ground()["chips"]:
        chip = chip_of(name)
        for phase in ("prefill", "decode"):
            array = resolve(chip, phase=phase, model="opt-1.3b").array
            areas.append(array.rows * array.columns * chip.pe.cell_area_um2 / 1e6)
        assert chip.technology.clock_ghz == ground()["clock_ghz"]
        assert chip.dram.component == "ddr4_2666"
        assert chip.vector_unit is None
    assert min(areas) > 1.56
    assert max(areas) < 1.6


def test_weights_of_4_bits_take_half_of_the_clocks() -> None:
    """Two products a PE and clock, at the energy of one of 8 x 8 bits; the same for all layers."""
    for name in ("BitFusion", "ANT-OS", "ANT-WS", "OliVe"):
        for model in ("opt-1.3b", "llama-3-8b"):
            chip = resolve(chip_of(name), phase="prefill", model=model)
            assert not chip.formats.rules
            layer = chip.formats.linear
            split = chip.pe.record.split(layer.weight, layer.input)
            assert split == (2, 1)
            both = (chip, chip.split_for(split))
            products = [c.array.rows * c.array.columns * c.pe.lanes for c in both]
            assert products[1] == 2 * products[0]
            spent = [c.array.rows * c.array.columns * c.pe.clock_energy_pj for c in both]
            assert spent[1] == pytest.approx(spent[0])


def test_a_row_is_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ground(), "mapper", "whole-buffer")
    plain = simulate(
        chip_of("ANT-OS"), "resnet-18", batch=16, fidelity="analytic", mapper="whole-buffer"
    )
    found = study.run(("ANT-OS", "resnet-18", "prefill"))
    assert found["cycles"] == plain.cycles
    assert found["energy_uj"] == pytest.approx(plain.energy_pj["total"] / 1e6)
    assert found["phase"] == "image"


def test_headlines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = made()
    told = {line["key"]: (line["published"], 1.0) for line in ground()["headlines"]}
    monkeypatch.setattr(study, "_of_studies", lambda: told)
    lines = study.headlines(rows)
    by = {line["claim"]: line for line in lines}
    assert by["ANT-OS over BitFusion in speed"]["common_ground"] == pytest.approx(500 / 333)
    assert by["lossy BitMoD over ANT in energy"]["common_ground"] == pytest.approx(8)
    assert by["speed over Eyeriss"]["common_ground"] is None
    done = Reproduction(
        rows=rows, summary=study.summary(rows), headlines=lines,
        assumptions=ground()["assumptions"],
    )  # fmt: skip
    assert done.summary[0]["image_speed"] == 1
    assert [line["chip"] for line in done.summary] == list(ground()["chips"])
    paths = page.write(done, tmp_path)
    assert all(path.stat().st_size > 500 for path in paths)
    assert "common ground" in (tmp_path / "report.html").read_text()


def test_every_study_says_what_it_assumed() -> None:
    for line in ground()["assumptions"]:
        assert list(line) == ["what", "bitfusion", "ant", "bitmod", "ground"]
        assert all(line.values())


@pytest.mark.slow
def test_all_of_it() -> None:
    done = study.reproduce()
    assert len(done.rows) == 6 * (4 + 2 * 6)
    assert done.summary[0]["decode_energy"] == 1
    for line in done.headlines:
        assert line["reproduced"] == pytest.approx(line["published"], rel=0.02)
