"""Reports draw what the points ran with, whatever became of the files; and say who made them."""

import csv
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

import bitlathe as bl
from bitlathe.arch.loader import CHIPS
from bitlathe.reports import provenance
from bitlathe.reports.explore import run_sweep
from bitlathe.reports.explore.accuracy import measure, measure_accuracy
from bitlathe.reports.page import report

pytest.importorskip("matplotlib")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def page_data(out: Path) -> dict:
    text = (out / "report.html").read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert found
    return json.loads(found[1])


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """A sweep of a chip, a model and a format in files of their own; return its folder."""
    shutil.copy(CHIPS / "bitmod.yaml", tmp_path / "mine.yaml")
    (tmp_path / "own.yaml").write_text("name: own\ninteger_bits: 4\n")
    model = json.loads((Path(bl.__file__).parent / "workloads/models/opt-125m.json").read_text())
    (tmp_path / "net.json").write_text(json.dumps(model))
    (tmp_path / "s.yaml").write_text(
        "arch: mine.yaml\nmodels: net.json\nphases: [decode]\ncontexts: 64\n"
        f"schemes: {{linear: [int8@channel, {tmp_path / 'own.yaml'}@g128]}}\n"
    )
    run_sweep(tmp_path / "s.yaml", tmp_path / "out", jobs=1)
    return tmp_path


def test_a_chip_edited_after_the_sweep_changes_nothing(sweep: Path) -> None:
    out = sweep / "out"
    report(out, measure_accuracy(out))
    before = rows(out / "pareto.csv"), page_data(out)
    chip = sweep / "mine.yaml"
    text = chip.read_text()
    edited = text.replace("title: BitMoD", "title: Other").replace("rows: 32", "rows: 16")
    assert edited.count("Other") == 1
    assert edited != text
    chip.write_text(edited)
    report(out, measure_accuracy(out))
    assert (rows(out / "pareto.csv"), page_data(out)) == before
    assert before[1]["columns"][1]["levels"] == ["BitMoD"]
    assert len(before[1]["layers"]) == 2, "the stored chip still gives the stored clocks"
    chip.unlink()
    report(out, measure_accuracy(out))
    assert (rows(out / "pareto.csv"), page_data(out)) == before


def test_a_chips_own_format_is_the_one_that_ran(tmp_path: Path) -> None:
    """The fault of the page: format int8@channel beside 4.08 bits a weight."""
    shutil.copy(CHIPS / "bitmod.yaml", tmp_path / "mine.yaml")
    (tmp_path / "s.yaml").write_text("arch: mine.yaml\nmodels: opt-125m\ncontexts: 64\n")
    run_sweep(tmp_path / "s.yaml", tmp_path / "out", jobs=1)
    chip = tmp_path / "mine.yaml"
    chip.write_text(chip.read_text().replace("bitmod_fp4@g128/int8", "int8@channel"))
    report(tmp_path / "out", measure_accuracy(tmp_path / "out"))
    found = {
        (r["format"], r["scheme.linear"], r["weight_bits"])
        for r in rows(tmp_path / "out/pareto.csv")
    }
    # 4 bits, a group of 128 with an 8-bit scale and a 2-bit selector, a 16-bit scale a row of 4,096
    bits = 4 + (8 + 2) / 128 + 16 / 4096
    assert found == {("bitmod_fp4@g128/int8", "bitmod_fp4@g128/int8", str(bits))}


def test_a_format_edited_after_the_sweep_is_named_and_not_measured(sweep: Path) -> None:
    out, said = sweep / "out", []
    report(out, measure_accuracy(out), say=said.append)
    assert len(rows(out / "accuracy.csv")) == 2
    own = f"{sweep / 'own.yaml'}@g128"
    assert not any("has changed" in line for line in said)
    (sweep / "own.yaml").write_text("name: own\ninteger_bits: 8\n")
    report(out, measure_accuracy(out), say=said.append)
    assert any(f"The file of format {own} is gone or has changed" in line for line in said)
    assert [r["scheme"] for r in rows(out / "accuracy.csv")] == ["int8@channel"]


def test_a_kept_error_of_a_format_file_is_not_taken_for_another_content(tmp_path: Path) -> None:
    """Eight bits err less than three: the kept figure of the old file would be wrong."""
    mine = tmp_path / "mine.yaml"
    scheme = f"{mine}@g128"
    found = []
    for bits in (3, 3, 8):
        mine.write_text(f"name: mine\ninteger_bits: {bits}\n")
        found.append(measure([scheme], tmp_path)[0][scheme])
    assert found[0] == found[1] > 10 * found[2]


def test_a_model_edited_after_the_sweep_is_named_and_its_layers_stay(sweep: Path) -> None:
    out, said = sweep / "out", []
    report(out, measure_accuracy(out))
    before = page_data(out)["layers"]
    file = sweep / "net.json"
    model = json.loads(file.read_text())
    file.write_text(json.dumps(model | {"num_hidden_layers": model["num_hidden_layers"] - 1}))
    report(out, measure_accuracy(out), say=said.append)
    assert any("The file of model net.json is gone or has changed" in line for line in said)
    assert len(before) == 2
    assert page_data(out)["layers"] == before


def test_provenance_stands_in_its_file_the_page_and_the_pictures_and_in_no_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = pytest.importorskip("PIL.Image")
    file = tmp_path / "s.yaml"
    file.write_text("arch: bitmod\nmodels: opt-125m\ncontexts: 64\naxes: {array.rows: [16, 32]}\n")
    folders = []
    for k, name in enumerate(("one", "two")):
        facts = {
            "version": "9.9-test",
            "commit": f"c0ffee{k}",
            "date": f"2026-01-0{k + 1}T00:00:00+00:00",
            "command": f"bitlathe sweep {name}.yaml",
            "python": "3",
        }
        monkeypatch.setattr("bitlathe.reports.explore.sweep.provenance", lambda facts=facts: facts)
        out = tmp_path / name
        run_sweep(file, out, jobs=1)
        report(out, measure_accuracy(out))
        folders.append(out)
        kept = json.loads((out / "provenance.json").read_text())
        assert kept["sweep"] == facts
        assert kept["report"].keys() == facts.keys()
        page = (out / "report.html").read_text(encoding="utf-8")
        assert (
            f"bitlathe 9.9-test (c0ffee{k}), {facts['date']}, <code>{facts['command']}</code>"
            in page
        )
        with image.open(out / "energy_latency.png") as picture:
            text = picture.text
        assert text["Software"].startswith(f"bitlathe {bl.__version__}")
        assert text["Source"] == f"{facts['command']} (bitlathe 9.9-test (c0ffee{k}))"
        assert text["Creation Time"] == facts["date"]
        svg = (out / "energy_latency.svg").read_text(encoding="utf-8")
        assert facts["date"] in svg
        assert facts["command"] in svg
    one, two = ({p.name: p.read_bytes() for p in f.iterdir()} for f in folders)
    tables = [name for name in one if name.endswith((".csv", ".parquet"))]
    assert {"results.csv", "results.parquet", "pareto.csv"} <= set(tables)
    assert [name for name in tables if one[name] != two[name]] == []
    for name in tables:
        assert not any(word in one[name] for word in (b"c0ffee", b"2026-01", b"9.9-test"))


def test_facts_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/usr/bin/bitlathe", "sweep", "a b.yaml", "x\udcff"])
    facts = provenance.provenance()
    assert facts["command"] == "bitlathe sweep 'a b.yaml' 'x\\udcff'"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", facts["date"])
    assert facts["commit"] is None or re.fullmatch(r"[0-9a-f]{40}(-dirty)?", facts["commit"])
    json.dumps(facts).encode()
    monkeypatch.setattr("sys.argv", ["/a/b/__main__.py", "sweep"])
    monkeypatch.setattr("__main__.__spec__", SimpleNamespace(name="bitlathe.__main__"))
    assert provenance.command() == "python -m bitlathe sweep"


def test_a_package_inside_another_project_has_no_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkout around it is not its own."""
    monkeypatch.setattr(provenance, "ROOT", provenance.ROOT / "reports")
    assert provenance.commit.__wrapped__() is None
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    assert provenance.commit.__wrapped__() is None
