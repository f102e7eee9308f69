"""What a report writes: files, fronts, tables; hostile names; empty and odd inputs."""

import csv
import hashlib
import json
import re
import shutil
import zipfile
from html.parser import HTMLParser
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import bitlathe as bl
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.reports.explore import Preview, accuracy, plan_sweep, run_sweep
from bitlathe.reports.explore.accuracy import measure, measure_accuracy
from bitlathe.reports.page import report, write
from bitlathe.reports.page.frame import Frame
from bitlathe.reports.page.fronts import NAMES, on_front, tradeoffs
from bitlathe.reports.page.page import sample, script_json
from bitlathe.workloads import minilm

HOSTILE = '</script><script>document.title="owned"</script><img src=x onerror=alert(1)>"\'&'
STUDIES = Path(__file__).resolve().parents[3] / "reports" / "studies"
SWEEP = """
title: A <b>trial</b>
description: Two chips' worth of points.
arch: bitmod
models: [opt-125m]
phases: [prefill, decode]
contexts: [64]
axes: {array.rows: [16, 64]}
schemes: {linear: [int8@channel, bitmod_fp4@g128/int8]}
"""


def rows(count: int = 24, models: int = 1, **extra: Any) -> list[dict[str, Any]]:
    rng = np.random.default_rng(3)
    formats = ("int8@channel", "int4_asym@g128", "bitmod_fp4@g128/int8")
    return [
        {
            "arch": f"chip{i % 2}",
            "model": f"model{i % models}",
            "phase": ("prefill", "decode")[i % 2],
            "context": 256,
            "batch": 1,
            "scheme.linear": formats[i % 3],
            "cycles": int(rng.integers(1e6, 1e8)),
            "seconds": float(rng.uniform(0.001, 1)),
            "energy_pj": {"pe": 1e9, "dram": 2e9, "total": float(rng.uniform(1e9, 1e12))},
            "area_um2": {"pe_array": 1e6, "total": float(rng.uniform(1e6, 5e6))},
            "weight_error": (0.01, 0.1, 0.09)[i % 3],
            **extra,
        }
        for i in range(count)
    ]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "s.yaml").write_text(SWEEP)
    run_sweep(folder / "s.yaml", folder / "out", jobs=1)
    report(folder / "out", measure_accuracy(folder / "out"))
    return folder / "out"


def page_data(folder: Path) -> dict[str, Any]:
    text = (folder / "report.html").read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_sweep_gets_all_files(sweep: Path) -> None:
    pictures = ("accuracy_area", "energy_latency", "accuracy_edp")
    for name in ("report.html", "results.csv", "pareto.csv", "accuracy.json"):
        assert (sweep / name).stat().st_size > 0
    for name in pictures:
        assert (sweep / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (sweep / f"{name}.svg").read_text()[:1000]
    assert len(table(sweep / "results.csv")) == 8


def test_the_page_holds_what_the_sweep_found(sweep: Path) -> None:
    data = page_data(sweep)
    columns = {c["name"]: c for c in data["columns"]}
    stored = table(sweep / "results.csv")
    assert data["count"] == len(stored)
    assert columns["cycles"]["values"] == [int(r["cycles"]) for r in stored]
    energy = [float(r["energy_pj.total"]) for r in stored]
    np.testing.assert_allclose(columns["energy_pj.total"]["values"], energy, rtol=1e-6)
    formats = columns["format"]
    assert [formats["levels"][c] for c in formats["values"]] == [r["scheme.linear"] for r in stored]


def test_layers_of_the_page_add_up_to_the_rows_clocks(sweep: Path) -> None:
    data = page_data(sweep)
    cycles = next(c for c in data["columns"] if c["name"] == "cycles")["values"]
    assert len(data["layers"]) == data["count"]
    for i, layers in data["layers"].items():  # products; the rest waits for the vector unit
        assert 0.9 * cycles[int(i)] < sum(layer[1] * layer[4] for layer in layers) <= cycles[int(i)]


def test_the_proxy_is_labeled_and_measured(sweep: Path) -> None:
    text = (sweep / "report.html").read_text(encoding="utf-8")
    assert "Accuracy is a proxy" in text
    assert "a proxy" in (sweep / "accuracy_area.svg").read_text() or "proxy" in text
    errors = json.loads((sweep / "accuracy.json").read_text())["errors"]
    assert 0.005 < errors["int8@channel"] < 0.02 < errors["bitmod_fp4@g128/int8"] < 0.2


def test_a_cached_measure_is_taken_and_a_stale_one_not(tmp_path: Path) -> None:
    first, _ = measure(["int4@g128"], tmp_path)
    path = tmp_path / "accuracy.json"
    content = json.loads(path.read_text())
    content["errors"]["int4@g128"] = 0.5
    path.write_text(json.dumps(content))
    assert measure(["int4@g128"], tmp_path)[0] == {"int4@g128": 0.5}
    path.write_text(json.dumps(content | {"identity": "other weights"}))
    assert measure(["int4@g128"], tmp_path)[0] == first
    path.write_text("{")
    assert measure(["int4@g128", "16 bits"], tmp_path)[0] == first


def test_real_weights_are_taken_if_they_are_what_they_should_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = pytest.importorskip("safetensors.numpy").save
    path = tmp_path / "model.zip"
    matrix = np.random.default_rng(0).standard_normal((8, 128), dtype=np.float32)
    tensors = {
        "encoder.layer.0.output.dense.weight": matrix,
        "encoder.layer.0.output.LayerNorm.weight": matrix[0].copy(),
        "embeddings.word_embeddings.weight": matrix.copy(),
    }
    data = save(tensors)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.safetensors", data)
    monkeypatch.setattr(minilm, "_archive", lambda: path)
    assert "Gaussian" in accuracy.reference_weights().title, "another file than the published one"
    monkeypatch.setattr(minilm, "WEIGHTS_SHA256", hashlib.sha256(data).hexdigest())
    found = accuracy.reference_weights()
    assert "MiniLM" in found.title
    assert len(found.matrices) == 1
    np.testing.assert_array_equal(found.matrices[0], matrix)
    relative = accuracy.relative_error("int4@g128", found)
    decoded = bl.quantize(matrix, "int4@g128").dequantize()
    assert relative == pytest.approx(np.linalg.norm(decoded - matrix) / np.linalg.norm(matrix))


def test_a_page_of_some_of_the_points_links_to_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("bitlathe.reports.page.report"), "PAGE_POINTS", 20)
    write(rows(2400), tmp_path, title="t")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page_data(tmp_path)["count"] == 20
    assert "The page shows 20 of 2,400 points: those on a Pareto front and an even sample" in text
    assert 'all 2,400 are in\n<a href="results.csv" download>results.csv</a> beside' in text
    with (tmp_path / "results.csv").open(newline="") as file:
        assert sum(1 for _ in csv.DictReader(file)) == 2400
    write(rows(20), tmp_path, title="t")
    assert 'id="files"' not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_a_chart_of_many_points_stays_small(tmp_path: Path) -> None:
    given = rows(9000, phase="decode", arch="one")
    write(given, tmp_path, title="t")
    assert (tmp_path / "energy_latency.svg").stat().st_size < 1_000_000
    assert page_data(tmp_path)["count"] == 9000


def test_the_same_sweep_gives_the_same_report(sweep: Path) -> None:
    dated = {"sweep.sqlite", "provenance.json"}  # the date of the report
    before = {p.name: p.read_bytes() for p in sweep.iterdir() if p.name not in dated}
    report(sweep, measure_accuracy(sweep))
    after = {p.name: p.read_bytes() for p in sweep.iterdir() if p.name not in dated}
    assert before.keys() == after.keys()
    assert [n for n in before if before[n] != after[n]] == []


def interrupted(sweep: Path, out: Path, after: int) -> None:
    """Run a sweep that is stopped once so many points have come back."""

    def stop(done: int, total: int) -> None:
        if done >= after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_sweep(sweep, out, jobs=1, progress=stop)


def test_an_unfinished_sweep_says_so(tmp_path: Path) -> None:
    """The first chunk has four points."""
    file, out = tmp_path / "s.yaml", tmp_path / "out"
    file.write_text(SWEEP)
    interrupted(file, out, 1)
    words: list[str] = []
    report(out, measure_accuracy(out), say=words.append)
    said = "4 of 8 points are done: the sweep is not finished."
    assert said in words
    assert said in (out / "report.html").read_text(encoding="utf-8")
    held = json.loads((out / "provenance.json").read_text())["tables"]
    assert (held["rows"], held["points"], held["of"], held["finished"]) == (4, 4, 8, False)
    run_sweep(file, out, jobs=1)
    words.clear()
    report(out, measure_accuracy(out), say=words.append)
    assert not any("finished" in line for line in words)
    held = json.loads((out / "provenance.json").read_text())["tables"]
    assert (held["rows"], held["points"], held["of"], held["finished"]) == (8, 8, 8, True)


def test_what_constraints_may_rule_out_is_counted_as_at_most(tmp_path: Path) -> None:
    file, out = tmp_path / "s.yaml", tmp_path / "out"
    file.write_text(SWEEP + "constraints: array.rows * 1 > 0\n")
    interrupted(file, out, 1)
    words: list[str] = []
    report(out, measure_accuracy(out), say=words.append)
    assert "4 of at most 8 points are done: the sweep is not finished." in words
    run_sweep(file, tmp_path / "shard", jobs=1, shard="1/2")
    words.clear()
    report(tmp_path / "shard", measure_accuracy(tmp_path / "shard"), say=words.append)
    assert (
        "This is shard 1/2: it is asked for at most 4 of the sweep's at most 8 points; "
        "bitlathe sweep merge joins all shards."
    ) in words


def test_a_report_leaves_the_store_as_it_was(sweep: Path, tmp_path: Path) -> None:
    shutil.copytree(sweep, tmp_path / "out")
    before = (tmp_path / "out" / "sweep.sqlite").read_bytes()
    report(tmp_path / "out", measure_accuracy(tmp_path / "out"))
    assert [p.name for p in (tmp_path / "out").glob("sweep.sqlite*")] == ["sweep.sqlite"]
    assert (tmp_path / "out" / "sweep.sqlite").read_bytes() == before


def test_chips_show_their_titles_and_tables_keep_their_names(sweep: Path) -> None:
    chips = next(c for c in page_data(sweep)["columns"] if c["name"] == "arch")
    assert (chips["levels"], chips["stored"]) == (["BitMoD"], ["bitmod"])
    assert {row["arch"] for row in table(sweep / "pareto.csv")} == {"bitmod"}


def test_pareto_table_lists_the_fronts_of_each_workload(tmp_path: Path) -> None:
    given = rows(models=3)
    write(given, tmp_path, title="t")
    found = {
        (r["model"], r["phase"], float(r["seconds"]))
        for r in table(tmp_path / "pareto.csv")
        if "energy_latency" in r["front"].split()
    }
    expected = set()
    for a in given:
        same = [b for b in given if (b["model"], b["phase"]) == (a["model"], a["phase"])]
        cost = (a["seconds"], a["energy_pj"]["total"])
        worse = any(
            b["seconds"] <= cost[0] and b["energy_pj"]["total"] <= cost[1] and b is not a
            for b in same
        )
        if not worse:
            expected.add((a["model"], a["phase"], a["seconds"]))
    assert found == expected


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)
        self.attributes |= {name for name, _ in attrs}


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    plain, hostile = tmp_path / "plain", tmp_path / "hostile"
    given = rows()
    write(given, plain, title="t", description="d", notes=["n"])
    evil = [r | {"arch": HOSTILE, "model": HOSTILE, f"{HOSTILE}": HOSTILE} for r in given]
    paths = write(evil, hostile, title=HOSTILE, description=HOSTILE, notes=[HOSTILE])
    assert {p.parent for p in paths} == {hostile}
    found = []
    for folder in (plain, hostile):
        tags = Tags()
        tags.feed((folder / "report.html").read_text(encoding="utf-8"))
        found.append((tags.found, tags.attributes))
        assert "onerror" not in tags.attributes
        assert "img" not in tags.found
    assert found[0] == found[1]
    levels = next(c for c in page_data(hostile)["columns"] if c["name"] == "arch")["levels"]
    assert levels == [HOSTILE]
    for svg in hostile.glob("*.svg"):
        assert "<script" not in svg.read_text(encoding="utf-8")


def test_names_that_mathematics_would_break_are_drawn(tmp_path: Path) -> None:
    names = ("$\\frac{", "_x_^{", "a\x00b\n", "\u202egnp.exe", "x" * 5000)
    given = [
        r | {"model": names[i % 5], "scheme.linear": names[i % 4]} for i, r in enumerate(rows())
    ]
    assert all(p.exists() for p in write(given, tmp_path, title="\\$"))


def test_odd_rows_formulae_holes_and_failures(tmp_path: Path) -> None:
    given = [r | {"model": "=HYPERLINK(1)", "status": "done"} for r in rows()]
    given[0]["seconds"] = None
    del given[1]["area_um2"]
    frame = Frame.of(given)
    for tradeoff in tradeoffs(frame):
        mask = on_front(frame, tradeoff)
        assert not mask[0] or tradeoff.x != "seconds"
        assert not mask[1] or not tradeoff.x.startswith("area")
    refused = {"arch": "x", "model": "=HYPERLINK(1)", "status": "refused", "error": "no"}
    write([*given, refused], tmp_path, title="t")
    assert page_data(tmp_path)["count"] == 24
    for name in ("results.csv", "pareto.csv"):
        assert {r["model"] for r in table(tmp_path / name)} == {"'=HYPERLINK(1)"}


def test_no_address_is_in_the_page(sweep: Path) -> None:
    text = (sweep / "report.html").read_text(encoding="utf-8")
    addresses = set(re.findall(r"(?:https?:)?//[a-z][\w.]+", text))
    assert addresses == {"http://www.w3.org"}, "the name space of SVG, which nothing fetches"
    assert "default-src 'none'" in text


def test_pictures_are_not_blank(sweep: Path) -> None:
    from matplotlib.image import imread

    for path in sorted(sweep.glob("*.png")):
        image = imread(path)[..., :3]
        ink = (image < 0.98).any(axis=-1).mean()
        assert 0.01 < ink < 0.5, path
        colors = np.unique((image.reshape(-1, 3) * 15).astype(int), axis=0)
        assert len(colors) > 20, path


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(p.parent.name for p in STUDIES.glob("*/sweep.yaml")))
def test_a_shipped_study_runs_without_a_failure(name: str, tmp_path: Path) -> None:
    summary = run_sweep(STUDIES / name / "sweep.yaml", tmp_path, jobs=2)
    assert not isinstance(summary, Preview)
    assert summary.failures == 0
    assert summary.rows == summary.points >= 20
    report(tmp_path, measure_accuracy(tmp_path))
    cycle = "fidelity: cycle" in (STUDIES / name / "sweep.yaml").read_text()
    assert len(page_data(tmp_path)["layers"]) == min(summary.points, 200 if cycle else 2000)


def test_without_an_accuracy_that_varies_area_takes_its_place() -> None:
    assert [t.name for t in tradeoffs(Frame.of(rows()))] == ["accuracy_area", "energy_latency"]
    same = Frame.of(r | {"weight_error": 0.1} for r in rows())
    assert [t.name for t in tradeoffs(same)] == ["latency_area", "energy_latency", "energy_area"]


def test_shipped_studies_are_sweeps_and_their_chips_load() -> None:
    studies = sorted(STUDIES.glob("*/sweep.yaml"))
    assert len(studies) >= 6
    for path in studies:
        plan = plan_sweep(path)
        assert isinstance(plan, Preview)
        assert plan.points
        assert plan.points >= 20, path


def test_no_point_and_no_folder_are_explained(tmp_path: Path) -> None:
    with pytest.raises(BitlatheError, match="no finished point"):
        write([], tmp_path, title="t")
    with pytest.raises(BitlatheError, match="holds no sweep"):
        report(tmp_path / "nowhere", measure_accuracy(tmp_path / "nowhere"))
    (tmp_path / "file").write_text("")
    with pytest.raises(BitlatheError, match="cannot write the report"):
        write(rows(), tmp_path / "file" / "below", title="t")


def test_one_point_makes_a_report(tmp_path: Path) -> None:
    assert all(p.exists() for p in write(rows(1), tmp_path, title="t"))
    assert page_data(tmp_path)["count"] == 1


def test_a_large_sweep_shows_its_fronts_and_a_sample() -> None:
    frame = Frame.of({"x": i} for i in range(1000))
    keep = np.zeros(1000, dtype=bool)
    keep[[3, 500, 999]] = True
    index = sample(frame, keep, 100)
    assert len(index) == 100
    assert {3, 500, 999} <= set(index.tolist())
    assert (np.diff(index) > 0).all()
    assert len(sample(frame, ~keep, 100)) == 100


def test_frames_keep_names_numbers_and_holes() -> None:
    frame = Frame.of(
        [{"a": 1, "b": "x", "c": {"d": 2.5}}, {"a": None, "b": 7.0}, {"a": 3, "b": True}]
    )
    assert frame.row(0) == {"a": 1, "b": "x", "c.d": 2.5}
    assert frame.row(1) == {"b": "7"}
    assert frame.row(2) == {"a": 3, "b": "true"}
    assert frame.varies("a")
    assert not Frame.of([{"a": 1}, {"a": 1}]).varies("a")
    assert [g.tolist() for g in Frame.of([{"m": "q"}, {"m": "p"}, {"m": "q"}]).groups(["m"])] == [
        [0, 2],
        [1],
    ]
    assert Frame.of([]).groups() == []


def test_layers_on_the_page_are_those_of_the_runs(sweep: Path) -> None:
    rows = table(sweep / "results.csv")
    i = next(
        i
        for i, r in enumerate(rows)
        if (r["phase"], r["array.rows"], r["scheme.linear"]) == ("decode", "16", "int8@channel")
    )
    settings = {"array.rows": 16, "formats.linear.weight": "int8@channel"}
    chip = bl.load_arch("bitmod", settings)
    run = bl.simulate(chip, "opt-125m", "decode", 64, fidelity="analytic")
    shown = page_data(sweep)["layers"][str(i)]
    products = [layer for layer in run.layers if layer.unit is None]
    assert [line[0] for line in shown] == [layer.name for layer in products]
    assert [line[4] for line in shown] == [layer.cycles for layer in products]
    assert run.cycles == int(rows[i]["cycles"])


def test_a_report_runs_nothing(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the simulator nor a quantizer: with both broken the page is the same."""

    def broken(*_: Any, **__: Any) -> None:
        raise AssertionError("the report runs something")

    before, measures = page_data(sweep), measure_accuracy(sweep)
    monkeypatch.setattr("bitlathe.reports.explore.evaluate.simulate", broken)
    monkeypatch.setattr("bitlathe.datatypes.quantize.quantize", broken)
    report(sweep, measures)
    assert page_data(sweep) == before


def test_rows_of_a_caller_bring_their_layers(tmp_path: Path) -> None:
    layers = [["q", 1, 8, 2.0, 4, 0, 0.5, 1.0]]
    given = [row | ({"layers": layers} if i == 1 else {}) for i, row in enumerate(rows())]
    write([given[0] | {"status": "refused"}, *given], tmp_path, title="t")
    assert page_data(tmp_path)["layers"] == {"1": layers}
    assert "layers" not in table(tmp_path / "results.csv")[0]


@pytest.mark.parametrize("text", ["</script>", "<!--", "&lt;", "\u2028", '"', "\\"])
def test_embedded_json_is_inert_and_whole(text: str) -> None:
    made = script_json([text])
    assert not set(made) & set("<>&\u2028")
    assert json.loads(made) == [text]


def test_a_chart_against_an_area_held_fixed_gives_way() -> None:
    held = [row | {"area_um2.total": 1e6 + 1e4 * i} for i, row in enumerate(rows())]
    names = [t.name for t in tradeoffs(Frame.of(held))]
    assert names == ["accuracy_latency", "energy_latency"]
    same = [row | {"weight_error": 0.1} for row in held]
    assert [t.name for t in tradeoffs(Frame.of(same))] == ["energy_latency"]
    for frame in (Frame.of(rows()), Frame.of(held), Frame.of(same)):
        assert {t.name for t in tradeoffs(frame)} <= set(NAMES)


def test_charts_of_an_earlier_report_do_not_stay(tmp_path: Path) -> None:
    held = [row | {"area_um2.total": 1e6} for row in rows()]
    write(rows(), tmp_path, title="t")
    assert (tmp_path / "accuracy_area.png").exists()
    write(held, tmp_path, title="t")
    assert not (tmp_path / "accuracy_area.png").exists()
    assert (tmp_path / "accuracy_latency.svg").exists()
