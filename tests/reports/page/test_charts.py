"""Charts for papers: marks, ticks, scales, fronts as stairs."""

from typing import Any

import pytest

from bitlathe.reports.charts.marks import MOST, OTHER, mark
from bitlathe.reports.charts.ticks import apart, fitting_ticks, linear_ticks, words_of
from bitlathe.reports.page import figures
from bitlathe.reports.page.accuracy import Measured
from bitlathe.reports.page.frame import Frame
from bitlathe.reports.page.fronts import Tradeoff
from bitlathe.reports.page.page import render
from bitlathe.reports.page.series import series_of

COST = Tradeoff(name="energy_latency", title="t", x="seconds", y="energy_pj.total")


def row(**values: Any) -> dict[str, Any]:
    run = {"arch": "bitmod", "model": "m", "phase": "decode", "context": 256, "batch": 1}
    return run | {"format": "int8", "seconds": 1.0, "energy_pj.total": 1e9} | values


def drawn(rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the figure of some rows, instead of its files."""
    kept: list[Any] = []
    monkeypatch.setattr(figures, "save", lambda figure, *_, **__: kept.append(figure))
    frame = Frame.of(rows)
    figures.draw(frame, COST, Measured(frame=frame), [])
    return kept[0]


def test_no_two_marks_share_an_outline_or_a_color() -> None:
    marks = [mark(k) for k in range(MOST)]
    assert MOST >= 20
    assert len({m.rings for m in marks}) == MOST
    assert len({m.color for m in (*marks, OTHER)}) == MOST + 1


def test_page_and_charts_give_a_format_one_mark() -> None:
    names = [f"format{k}" for k in range(MOST + 3)]
    rows = [row(format=name, seconds=1.0 + k) for k, name in enumerate([*names[3:], *names])]
    frame = Frame.of(rows)
    series = series_of(frame, "format")
    assert [s.mark for s in series] == [*map(mark, range(MOST)), OTHER]
    assert series[-1].name == "3 others"
    assert sum(int(s.rows.sum()) for s in series) == len(rows)
    page = render(frame, title="t", description="", notes=[], tradeoffs=(COST,), layers={})
    for k, one in enumerate(series[:-1]):
        assert f'["{one.name}",{k}]' in page


@pytest.mark.parametrize(("low", "high"), [(9e3, 1.2e6), (1, 1e9), (20, 21), (0.03, 0.9)])
@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize("room", [90, 150, 300])
def test_ticks_stay_apart(low: float, high: float, log: bool, room: float) -> None:
    from math import log10

    found = fitting_ticks(low, high, log=log, room=room)
    place = log10 if log else float
    length = place(high) - place(low)
    assert 1 <= len(found) <= 5
    assert all(low <= v <= high for v in found)
    if len(found) > 2:
        assert apart([(place(v) - place(low)) / length * room for v in found], found, 9)


def test_ticks_are_round_and_few() -> None:
    assert linear_ticks(0, 0.23) == [0, 0.05, 0.1, 0.15, 0.2]
    assert linear_ticks(3, 3) == [3]
    assert [words_of(v) for v in (0.5, 1234567.0)] == ["0.5", "1,234,567"]


def test_an_axis_has_one_scale_in_all_panels_and_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = [row(seconds=10.0**k, **{"energy_pj.total": 2e9 - k}) for k in range(4)]
    narrow = [row(seconds=1 + k / 10, model="n") for k in range(4)]
    axes = drawn([*wide, *narrow], monkeypatch).axes
    assert [a.get_xscale() for a in axes] == ["log", "log"]
    assert [a.get_yscale() for a in axes] == ["linear", "linear"]
    assert {a.get_xlabel() for a in axes} == {"latency (ms), log scale"}
    assert "log" not in axes[0].get_ylabel()


def test_true_and_false_are_said_to_be_of_what(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(seconds=1.0, causal=True), row(seconds=2.0, causal=False)]
    legend = drawn(rows, monkeypatch).legends[0]
    assert {t.get_text() for t in legend.get_texts()} == {"true", "false"}
    assert legend.get_title().get_text() == "causal mask skipped"
    rows = [row(seconds=1.0), row(seconds=2.0)]
    assert drawn(rows, monkeypatch).legends[0].get_title().get_text() == ""


def test_fronts_are_stairs_and_named_only_where_there_are_any(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = [row(seconds=1.0), row(seconds=2.0, **{"energy_pj.total": 2e9})]
    legend = drawn(one, monkeypatch).legends[0]
    assert [t.get_text() for t in legend.get_texts()] == ["int8"]
    two = [row(seconds=1.0, **{"energy_pj.total": 2e9}), row(seconds=2.0)]
    figure = drawn(two, monkeypatch)
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["Pareto front", "int8"]
    line = figure.axes[0].lines[0]
    assert line.get_drawstyle() == "steps-post"
    assert [*line.get_xdata()] == [1000, 2000]


def test_ticks_have_room(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        row(model=f"m{m}", seconds=200.0 + k, **{"energy_pj.total": (1_125_000 + 5e3 * k) * 1e9})
        for m in range(12)
        for k in range(3)
    ]
    figure = drawn(rows, monkeypatch)
    assert all(a.get_tightbbox().x0 >= 0 for a in figure.axes)
    assert all(a.get_tightbbox().x1 <= figure.bbox.x1 + 1 for a in figure.axes)


def test_nothing_of_a_chart_covers_its_footer(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row(format=f"f{k}", seconds=1.0 + k, model=f"m{k % 3}") for k in range(12)]
    figure = drawn(rows, monkeypatch)
    foot = next(t for t in figure.texts if "Chip" in t.get_text())
    top = foot.get_window_extent().y1
    assert figure.legends[0].get_window_extent().y0 >= top - 1
    assert all(
        a.get_tightbbox().y0 >= figure.legends[0].get_window_extent().y1 - 1 for a in figure.axes
    )
    assert foot.get_text() == "Chip: bitmod. Context: 256. Batch: 1."


def words_of_chart(figure: Any) -> str:
    """Return the footer of a chart as one line."""
    text: str = next(t for t in figure.texts if "Chip" in t.get_text()).get_text()
    return text.replace("\n", " ")


def test_a_caption_names_the_points_that_are_drawn_and_those_that_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A chip without a latency has no point: it is no chip of the chart, and the footer says so."""
    rows = [row(), row(arch="fp16", format="fp16", seconds=2.0)]
    rows += [row(arch="ant", format="ant4", seconds=None, model=model) for model in ("m", "n")]
    words = words_of_chart(drawn(rows, monkeypatch))
    assert words.startswith("Chip: bitmod, fp16. ")
    assert "2 points are not shown, for want of latency (chip ant; format ant4)." in words
    complete = words_of_chart(drawn(rows[:2], monkeypatch))
    assert "shown" not in complete


def test_a_context_that_some_models_lack_is_named_with_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [row(model="opt"), row(model="resnet", context=None, seconds=2.0)]
    figure = drawn(rows, monkeypatch)
    assert "Context: 256 (none for resnet). " in words_of_chart(figure)
    assert [a.get_title(loc="left") for a in figure.axes] == ["opt, context 256", "resnet"]


def test_a_caption_leaves_out_the_workloads_that_have_no_panel(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Twelve panels of thirteen workloads: the last one's chip is in none of them."""
    rows = [row(model=f"m{k:02}", seconds=1.0 + k) for k in range(figures.MAX_PANELS)]
    rows.append(row(model="z", arch="late", seconds=99.0))
    assert words_of_chart(drawn(rows, monkeypatch)).startswith("Chip: bitmod. ")
    assert words_of_chart(drawn(rows[1:], monkeypatch)).startswith("Chip: bitmod, late. ")
