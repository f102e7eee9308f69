"""The charts of shipped studies: their records, and what they show of a sweep's rows."""

import csv
from pathlib import Path
from typing import Any

import pytest

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.reports.explore import run_sweep
from bitlathe.reports.explore.origin import Origin
from bitlathe.reports.studies import drawing, lines, points
from bitlathe.reports.studies.array_shape import chart as array_shape
from bitlathe.reports.studies.buffer_bandwidth import chart as buffer_bandwidth
from bitlathe.reports.studies.drawing import Source
from bitlathe.reports.studies.formats_iso_area import chart as formats_iso_area

STUDIES = Path(drawing.__file__).parent


def row(**values: Any) -> dict[str, Any]:
    run = {"arch": "bitmod", "model": "m", "phase": "decode", "context": 256, "batch": 1}
    return run | {"format": "int8", "seconds": 1.0, "energy_pj.total": 1e9} | values


def source(
    rows: list[dict[str, Any]], folder: Path, accuracies: list[dict[str, str]] | None = None
) -> Source:
    if accuracies is not None:
        names = [*dict.fromkeys(name for line in accuracies for name in line)] or ["ranked"]
        with (folder / "accuracy.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(accuracies)
    return Source(rows=rows, folder=folder, origin=Origin())


def test_means_are_geometric_and_by_key() -> None:
    rows = [row(model="a", seconds=2.0), row(model="b", seconds=8.0), row(phase="prefill")]
    assert drawing.means(rows, ["phase"], "seconds") == {("decode",): 4.0, ("prefill",): 1.0}


def test_studies_with_a_chart_are_shipped() -> None:
    for path in STUDIES.glob("*/chart.py"):
        assert path.with_name("sweep.yaml").exists()
        assert f'main("{path.parent.name}", CHART)' in path.with_name("__main__.py").read_text()


def test_a_chart_is_drawn_from_the_folder_of_a_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = (STUDIES / "array_shape" / "sweep.yaml").read_text()
    short = sweep.replace("[opt-1.3b, llama-2-7b, llama-3-8b]", "opt-125m")
    (tmp_path / "sweep.yaml").write_text(short)
    run_sweep(tmp_path / "sweep.yaml", tmp_path / "out", jobs=1)
    picture = tmp_path / "chart.png"
    monkeypatch.setattr("sys.argv", ["array_shape", str(tmp_path / "out"), str(picture)])
    drawing.main("array_shape", array_shape.CHART)
    assert picture.stat().st_size > 10_000
    monkeypatch.setattr("sys.argv", ["array_shape", str(tmp_path / "none"), str(picture)])
    with pytest.raises(SystemExit, match="holds no sweep"):
        drawing.main("array_shape", array_shape.CHART)
    monkeypatch.setattr("sys.argv", ["array_shape"])
    with pytest.raises(SystemExit, match=r"usage: .*array_shape FOLDER PICTURE"):
        drawing.main("array_shape", array_shape.CHART)


def test_lines_say_when_they_are_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[Any] = []
    monkeypatch.setattr(lines, "save", lambda figure, *_: kept.append(figure))
    sizes = ("buffers.weight.size_kib", "buffers.io.size_kib")
    rows = [
        row(
            dram_gb_per_s=b,
            seconds=8 / b,
            **{sizes[0]: s, sizes[1]: o},
            **{"energy_pj.total": s * 1e9},
        )
        for b in (8, 16, 32)
        for s in (64, 128)
        for o in (64, 128)
    ]
    buffer_bandwidth.CHART.draw(source(rows, tmp_path), tmp_path / "x.png")
    latency, energy = kept[0].axes
    assert [len(a.lines) for a in (latency, energy)] == [2, 2]
    assert [t.get_text() for t in latency.texts] == ["all lines lie on each other"]
    assert not energy.texts
    assert [*energy.lines[1].get_ydata()] == pytest.approx([128] * 3)
    assert [t.get_text() for t in latency.get_xticklabels()] == ["8", "16", "32"]


def test_points_join_accuracy_and_show_every_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[Any] = []
    monkeypatch.setattr(points, "save", lambda figure, *_: kept.append(figure))
    costs = {"fp16": 4.0, "int8": 2.0, "int4": 1.0, "other": 1.0}
    errors = {"fp16": 0.001, "int8": 0.01, "int4": 0.1, "other": 0.2}
    rows = [
        row(model=m, phase=p, edp_pj_s=cost * scale, **{"scheme.linear": name})
        for m, scale in (("a", 1), ("b", 100))
        for p in ("prefill", "decode")
        for name, cost in costs.items()
    ]
    accuracies = [
        {
            "model": m,
            "scheme": s,
            "value": str(v),
            "measure": "weight_error.gaussian",
            "proxy": "true",
        }
        | {"ranked": "", "of": "Gaussian weights"}
        for m in ("a", "b")
        for s, v in errors.items()
    ]
    chart = formats_iso_area.CHART
    chart.draw(source(rows, tmp_path, accuracies), tmp_path / "x.png")
    axes = kept[0].axes
    assert [a.get_title(loc="left") for a in axes] == ["prefill", "decode"]
    front, *marks = axes[0].lines
    assert [*front.get_xdata()] == pytest.approx([0.25, 0.5, 1])
    assert len(marks) == len(costs)
    assert any("A proxy" in t.get_text() for t in kept[0].texts)
    own = [line | {"loss_se_nats": "0.1"} for line in accuracies if line["model"] == "a"]
    alone = [r for r in rows if r["model"] == "a"]
    chart.draw(source(alone, tmp_path, own), tmp_path / "x.png")
    assert len(kept[1].axes[0].collections) == len(costs)  # bars of one standard error
    with pytest.raises(BitlatheError, match="write its report again"):
        chart.draw(source(rows, tmp_path, []), tmp_path / "x.png")
