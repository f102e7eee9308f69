"""Pictures of formats: drawn, not blank; errors name the file."""

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from bitlathe.cli import main
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.reports.charts import formats
from bitlathe.reports.charts.formats import draw_error_against_bits, draw_number_lines
from bitlathe.reports.charts.style import PALETTE, bars
from bitlathe.reports.studies.forty_schemes.study import SCHEMES
from gray import APART, lightness


def not_blank(path: Path) -> bool:
    import matplotlib.image as mpimg

    return float(np.std(mpimg.imread(path))) > 0.01


def test_quantize_prints_rows_and_draws(tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", np.random.default_rng(0).standard_normal((8, 256), np.float32))
    picture = tmp_path / "error.png"
    command = ["quantize", str(tmp_path / "w.npy"), "--json", "--plot", str(picture)]
    for scheme in ("int4@g128", "bitmod_fp4@g128/int8", "int8@channel"):
        command += ["--scheme", scheme]
    rows = json.loads(CliRunner().invoke(main, command).stdout)
    errors = {row["scheme"]: row["relative_mse"] for row in rows}
    assert errors["int8@channel"] < errors["bitmod_fp4@g128/int8"] < errors["int4@g128"]
    assert not_blank(picture)


def test_series_of_bars_are_told_apart_in_gray() -> None:
    looks = [bars(number) for number in range(len(PALETTE))]
    for one, other in combinations(looks, 2):
        steps = abs(lightness(one["color"]) - lightness(other["color"]))
        assert one["hatch"] != other["hatch"] or steps >= APART


def test_no_label_covers_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Any] = []
    monkeypatch.setattr(formats, "save", lambda figure, _: figures.append(figure))
    places = [(4.1, 0.010), (4.11, 0.0099), (4.13, 0.0098), (4.5, 0.0088), (4.63, 0.0068)]
    rows = [
        {"scheme": f"a_long_name_{i}@g128/int8", "bits_per_element": x, "relative_mse": y}
        for i, (x, y) in enumerate(places)
    ]
    draw_error_against_bits(rows, tmp_path / "x.png")
    notes = figures[0].axes[0].texts
    boxes = [note.get_window_extent() for note in notes]
    assert all(abs(note.get_position()[1]) < 40 for note in notes), "near their points"
    assert len(boxes) >= 2
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


def test_every_scheme_is_named_beside_its_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Any] = []
    monkeypatch.setattr(formats, "save", lambda figure, _: figures.append(figure))
    rng = np.random.default_rng(0)
    rows = [
        {"scheme": f"s{i}", "bits_per_element": x, "relative_mse": y}
        for i, (x, y) in enumerate(rng.uniform(1, 2, (20, 2)))
    ]
    for some in (rows, rows[:5]):
        draw_error_against_bits(some, tmp_path / "x.png")
        figure = figures[-1]
        texts = [note for axes in figure.axes for note in axes.texts]
        notes = {note.get_text() for note in texts}
        assert len(notes) == len(texts), "named once"
        assert notes == {r["scheme"] for r in some}
        assert len(figure.axes) == (2 if some is rows else 1), "crowds are drawn again"
        for axes in figure.axes:
            boxes = [note.get_window_extent() for note in axes.texts]
            assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


def test_number_lines(tmp_path: Path) -> None:
    draw_number_lines(["bitmod_fp4", "nf4", "int4"], tmp_path / "lines.png")
    assert not_blank(tmp_path / "lines.png")


def test_pictures_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(BitlatheError, match=r"use \.png"):
        draw_number_lines(["nf4"], tmp_path / "lines.xyz")
    row = {"scheme": "x", "bits_per_element": 4, "relative_mse": 0.1}
    with pytest.raises(BitlatheError, match="cannot write"):
        draw_error_against_bits([row], Path("/dev/null/x.png"))


def test_forty_different_schemes() -> None:
    assert len(set(SCHEMES)) == 40
