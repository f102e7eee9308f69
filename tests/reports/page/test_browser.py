"""The report page in headless Chromium: points, filters, sorting, keys, hostile names, size."""

import csv
import io
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import browser
from bitlathe.reports.explore.accuracy import Measures
from bitlathe.reports.explore.rows import roofline
from bitlathe.reports.page.accuracy import Measured
from bitlathe.reports.page.frame import Frame
from bitlathe.reports.page.fronts import tradeoffs
from bitlathe.reports.page.page import render
from bitlathe.workloads.accuracy import Accuracy
from browser import DOWN, END, ENTER, HOME, RIGHT, Browser
from page_cases import FORMATS, HOSTILE, page, points

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not browser.AVAILABLE, reason="needs chromium and chromedriver"),
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with Browser() as window:
        yield window


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return page(tmp_path_factory.mktemp("page") / "report.html", points(60))


def drawn(window: Browser, chart: str = "#chart1") -> int:
    """Count the markers of a chart: one closed outline each."""
    code = """return [...document.querySelectorAll(arguments[0] + " .points > path")]
        .map((p) => p.getAttribute("d").split("Z").length - 1).reduce((a, b) => a + b, 0)"""
    return int(window.js(code, chart))


def column(window: Browser, name: str) -> list[str]:
    code = """const at = [...document.querySelectorAll("#table thead th")]
        .findIndex((h) => h.dataset.name === arguments[0]);
        const rows = [...document.querySelectorAll("#table tbody tr")];
        return rows.map((r) => r.cells[at].textContent)"""
    return [str(cell) for cell in window.js(code, name)]


def head(name: str) -> str:
    return f'#table th[data-name="{name}"] button'


def focus(window: Browser, selector: str) -> None:
    window.js("document.querySelector(arguments[0]).focus()", selector)


def test_all_points_are_drawn_without_complaint(chromium: Browser, small: Path) -> None:
    chromium.open(small)
    assert chromium.log() == []
    assert [drawn(chromium, f"#chart{i}") for i in range(chromium.count("figure.scatter"))] == [
        60
    ] * 2
    assert chromium.text("#count") == "60 of 60 points"


def test_markers_stand_where_their_values_are(chromium: Browser, small: Path) -> None:
    """The pixel of each hovered point against the axis, by its own ticks."""
    chromium.open(small)
    code = """const svg = document.querySelector("#chart1 svg"), box = svg.getBoundingClientRect();
      const ticks = [...svg.querySelectorAll(".axes text")]
        .filter((t) => t.getAttribute("text-anchor") === "middle" && !t.classList.length)
        .map((t) => [Number(t.textContent.replaceAll(",", "")), Number(t.getAttribute("x"))]);
      const path = svg.querySelector(".points > path").getAttribute("d").split("Z");
      return [ticks, box.left, box.top]"""
    ticks, _, _ = chromium.js(code)
    (v0, x0), (v1, x1) = ticks[0], ticks[-1]
    focus(chromium, "#chart1 svg")
    found = []
    chromium.keys(HOME)
    for _ in range(5):
        words = chromium.text("#announce")
        shown = float(words.partition("latency ")[2].partition(" ms")[0])
        x = float(
            chromium.js('return document.querySelector("#chart1 .cursor").getAttribute("cx")')
        )
        place = math.log(shown / v0) / math.log(v1 / v0) * (x1 - x0) + x0
        assert abs(place - x) < 1
        found.append(shown)
        chromium.keys(RIGHT)
    truth = sorted(r["seconds"] * 1e3 for r in points(60))[:5]
    np.testing.assert_allclose(found, truth, rtol=1e-3)


def test_a_filter_hides_its_points_everywhere(chromium: Browser, small: Path) -> None:
    chromium.open(small)
    chromium.click('[data-filter="format"] .levels label:nth-child(2) input')
    assert chromium.text("#count") == "40 of 60 points"
    assert drawn(chromium) == 40
    assert "int4_asym@g128" not in column(chromium, "format")
    chromium.click('[data-filter="arch"] .both button:nth-child(2)')
    assert chromium.text("#count") == "0 of 60 points"
    assert "No point" in chromium.text("#chart1 svg")
    chromium.click('[data-filter="arch"] .both button:nth-child(1)')
    chromium.click('[data-filter="format"] .both button:nth-child(1)')
    assert drawn(chromium) == 60


def test_fronts_are_those_of_the_filtered_points(chromium: Browser, small: Path) -> None:
    chromium.open(small)
    chromium.click('[data-filter="model"] .levels label:nth-child(1) input')
    chromium.click('[data-filter="phase"] .levels label:nth-child(2) input')
    left = [r for r in points(60) if (r["model"], r["phase"]) == ("model1", "prefill")]
    pairs = [(r["seconds"], r["energy_pj.total"]) for r in left]
    front = [p for p in pairs if not any(q[0] <= p[0] and q[1] <= p[1] and q != p for q in pairs)]
    code = """return [...document.querySelectorAll("#chart1 .fore")]
        .map((p) => p.getAttribute("d").split("Z").length - 1).reduce((a, b) => a + b, 0)"""
    assert chromium.js(code) == len(front)
    assert len(front) > 1
    line = 'return document.querySelector("#chart1 .fronts path").getAttribute("d")'
    assert str(chromium.js(line)).count("V") == len(front) - 1  # a staircase: a step a point
    assert not set(str(chromium.js(line))) & set("LC")
    assert chromium.count("#chart1 .fronts path") == 1


def test_columns_sort_both_ways(chromium: Browser, small: Path) -> None:
    chromium.open(small)
    chromium.click(head("seconds"))
    up = [float(v.replace(",", "")) for v in column(chromium, "seconds")]
    assert up == sorted(up)
    assert len(up) == 50
    chromium.click(head("seconds"))
    down = [float(v.replace(",", "")) for v in column(chromium, "seconds")]
    assert down == sorted(down, reverse=True)
    assert down[0] >= up[-1]
    selector = '#table th[aria-sort="descending"]'
    assert chromium.js("return document.querySelector(arguments[0]).dataset.name", selector) == (
        "seconds"
    )
    chromium.click("#next")
    assert chromium.text("#range") == "51 to 60 of 60"


def test_everything_works_by_keys(chromium: Browser, small: Path) -> None:
    chromium.open(small)
    focus(chromium, "#chart1 svg")
    chromium.keys(END, ENTER)
    slowest = max(points(60), key=lambda r: r["seconds"])
    assert slowest["arch"] in chromium.text("#chosen")
    assert slowest["format"] in chromium.text("#details")
    chromium.keys(HOME, RIGHT, ENTER)
    second = sorted(points(60), key=lambda r: r["seconds"])[1]
    assert chromium.text("#chosen").startswith(f"{second['format']}, {second['arch']}")
    focus(chromium, head("energy_pj.total"))
    chromium.keys(ENTER)
    focus(chromium, '#table tr[tabindex="0"]')
    chromium.keys(HOME, DOWN, DOWN, ENTER)
    third = sorted(points(60), key=lambda r: r["energy_pj.total"])[2]
    assert chromium.text("#chosen").startswith(f"{third['format']}, {third['arch']}")
    assert chromium.count('#table tr[aria-selected="true"]') == 1
    assert chromium.js("return document.activeElement.tagName") == "TR"
    focus(chromium, '[data-filter="phase"] input')
    chromium.keys(" ")
    assert chromium.text("#count") != "60 of 60 points"


def test_every_control_has_a_name_and_is_reached_by_tab(chromium: Browser, small: Path) -> None:
    chromium.open(small)
    code = """const all = document.querySelectorAll("input, select, button, svg[tabindex]");
      const labeled = (c) => [...(c.labels ?? [])].some((l) => l.textContent.trim());
      const named = (c) => c.getAttribute("aria-label") || c.textContent.trim() || labeled(c);
      return [all.length, [...all].filter((c) => !named(c) || c.tabIndex < 0).length]"""
    controls, bad = chromium.js(code)
    assert controls > 30
    assert bad == 0
    assert chromium.count("h1") == 1
    assert chromium.js("return document.documentElement.lang") == "en"


def test_hover_and_click_choose_a_point(chromium: Browser, small: Path) -> None:
    chromium.open(small)
    focus(chromium, "#chart1 svg")
    chromium.keys(HOME)
    code = """const ring = document.querySelector("#chart1 .cursor");
      ring.scrollIntoView({ block: "center" });
      const box = ring.getBoundingClientRect();
      return [box.left + box.width / 2, box.top + box.height / 2]"""
    x, y = chromium.js(code)
    chromium.keys(browser.ESCAPE)
    assert chromium.js('return document.querySelector("#chart1 .tip").hidden')
    chromium.point(x, y, click=True)
    time.sleep(0.2)
    fastest = min(points(60), key=lambda r: r["seconds"])
    assert fastest["arch"] in chromium.text("#chart1 .tip")
    covered = """const tip = document.querySelector("#chart1 .tip").getBoundingClientRect();
      const plot = document.querySelector("#chart1 svg").getBoundingClientRect();
      return tip.top < plot.bottom - 1 && tip.bottom > plot.top + 1"""
    assert not chromium.js(covered)
    assert chromium.text("#chosen").startswith(f"{fastest['format']}, {fastest['arch']}")


def test_breakdown_shows_parts_and_shares(chromium: Browser, small: Path) -> None:
    chromium.open(small)
    text = chromium.text("#details")
    assert "DRAM6" in text
    assert "PEs2" in text
    total = float(text.partition("Energy: ")[2].partition(" mJ")[0].replace(",", ""))
    share = float(text.partition("DRAM6")[2].partition(" %")[0])
    assert share == pytest.approx(600 / total, abs=0.1)


def test_roofline_has_the_models_layers(chromium: Browser, tmp_path: Path) -> None:
    rows = []
    for phase in ("prefill", "decode"):
        choice = {"arch": "bitmod", "model": "opt-125m", "phase": phase, "context": 64, "batch": 1}
        rows.append(choice | {"seconds": 1.0, "energy_pj.total": 1.0, "dram_gb_per_s": 32.0})
    from bitlathe.sim import simulate

    layers = {}
    for i, row in enumerate(rows):
        run = simulate("bitmod", "opt-125m", row["phase"], 64, fidelity="analytic")
        row |= {"cycles": run.cycles, "seconds": run.seconds}
        layers[i] = {"roofline": roofline(run, {})}
    chromium.open(page(tmp_path / "p.html", rows, layers))
    assert chromium.log() == []
    assert chromium.count("#roofline circle.layer") == len(layers[0]["roofline"])
    names = [layer[0] for layer in layers[0]["roofline"]]
    code = 'return [...document.querySelectorAll("#roofline tbody th")].map((t) => t.textContent)'
    assert chromium.js(code) == names
    above = """const svg = document.querySelector("#roofline svg");
      const top = Math.min(...[...svg.querySelectorAll(".roof")].map((p) => p.getBBox().y));
      const heights = [...svg.querySelectorAll("circle")].map((c) => c.getAttribute("cy"));
      return heights.filter((y) => y < top - 1).length"""
    assert chromium.js(above) == 0


def test_download_is_what_is_shown(chromium: Browser, small: Path) -> None:
    chromium.open(small)
    chromium.click('[data-filter="format"] .levels label:nth-child(1) input')
    chromium.click(head("cycles"))
    chromium.js(
        """window.saved = null;
        URL.createObjectURL = (blob) => {
          blob.text().then((t) => { window.saved = t; });
          return "#";
        };
        HTMLAnchorElement.prototype.click = function () { window.savedName = this.download; };"""
    )
    chromium.click("#csv")
    time.sleep(0.1)
    saved = list(csv.DictReader(io.StringIO(str(chromium.js("return window.saved")))))
    expected = sorted(r["cycles"] for r in points(60) if r["format"] != FORMATS[0])
    assert [int(r["cycles"]) for r in saved] == expected
    assert chromium.js("return window.savedName") == "points.csv"


def test_hostile_names_run_nothing(chromium: Browser, tmp_path: Path) -> None:
    rows = points(12)
    for i, row in enumerate(rows):
        row |= {
            "format": HOSTILE + str(i % 2),
            "arch": HOSTILE + str(i % 3),
            HOSTILE: HOSTILE + str(i % 4),
        }
    words = {"title": HOSTILE, "description": HOSTILE, "notes": [HOSTILE]}
    layers = {0: {"roofline": [[HOSTILE, 1, 100, 50.0, 10, 0, 0.5, 1.0]]}}
    chromium.open(page(tmp_path / "p.html", rows, layers, **words))
    focus(chromium, "#chart1 svg")
    chromium.keys(HOME, RIGHT, ENTER)
    for k in range(12):
        chromium.js("document.querySelectorAll('#table tr[data-point]')[arguments[0]].click()", k)
    time.sleep(0.2)
    assert chromium.js("return window.owned") is None
    assert chromium.count("img") == 0
    assert chromium.count("script") == 2
    assert chromium.js("return document.title") == HOSTILE
    assert chromium.text("h1") == HOSTILE
    assert HOSTILE + "0" in column(chromium, "format")
    assert chromium.log() == []


def test_an_injected_script_is_refused(chromium: Browser, small: Path, tmp_path: Path) -> None:
    """Were a name ever to get through as markup, the page's own policy stops it."""
    text = small.read_text(encoding="utf-8")
    evil = text.replace("<main>", "<main><script>window.owned = 1</script>")
    assert evil != text
    (tmp_path / "p.html").write_text(evil, encoding="utf-8")
    chromium.open(tmp_path / "p.html")
    assert chromium.js("return window.owned") is None
    assert any("Content Security Policy" in line for line in chromium.log())


# move the mouse onto a point, wait until the page has been painted, in milliseconds
HOVER = """const svg = document.querySelector("#chart1 svg"), box = svg.getBoundingClientRect();
  const at = svg.querySelector(".points > path").getAttribute("d").match(/^M([\\d.]+) ([\\d.]+)/);
  const place = { clientX: box.left + Number(at[1]), clientY: box.top + Number(at[2]) };
  const t = performance.now();
  svg.dispatchEvent(new PointerEvent("pointermove", place));
  return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(
    () => done(performance.now() - t))))"""


def test_ten_thousand_points_stay_usable(chromium: Browser, tmp_path: Path) -> None:
    path = page(tmp_path / "p.html", points(10_000))
    assert chromium.open(path) < 10
    assert drawn(chromium) == 10_000
    times = {}
    for what, code in {
        "filter": "document.querySelector('[data-filter=\"format\"] input').click()",
        "sort": "document.querySelector('#table th[data-name=\"seconds\"] button').click()",
        "axis": """const list = document.querySelector("#chart1-x");
            list.selectedIndex = (list.selectedIndex + 1) % 3;
            list.dispatchEvent(new Event("change"))""",
        "select": "document.querySelector('#table tbody tr:nth-child(9)').click()",
    }.items():
        timed = f"const t = performance.now(); {code}; document.body.offsetHeight; " + (
            "return performance.now() - t"
        )
        # the best of three: other programs may have the processor
        times[what] = min(float(chromium.js(timed)) for _ in range(3))
    times["hover"] = float(chromium.js(HOVER))
    print({k: f"{v:.0f} ms" for k, v in times.items()})
    assert chromium.text("#count") == "6,666 of 10,000 points"
    assert drawn(chromium) == 6666
    assert max(times.values()) < 300
    assert chromium.count("#chart1 .tip:not([hidden]) dt") > 4


def test_print_shows_charts_and_table(chromium: Browser, small: Path, tmp_path: Path) -> None:
    chromium.open(small)
    chromium.pdf(tmp_path / "p.pdf")
    content = (tmp_path / "p.pdf").read_bytes()
    assert content.startswith(b"%PDF")
    assert len(content) > 20_000


def test_paper_has_wide_charts_and_says_which_rows_it_has(chromium: Browser, small: Path) -> None:
    chromium.open(small)
    shown = """return [document.querySelector("#chart1 svg").getAttribute("viewBox"),
      document.querySelectorAll("#table tbody tr").length,
      document.querySelectorAll("#table thead button").length,
      document.getElementById("range").textContent]"""
    screen = chromium.js(shown)
    chromium.js("dispatchEvent(new Event('beforeprint'))")
    box, rows, buttons, words = chromium.js(shown)
    assert box.startswith("0 0 680 ")
    assert (rows, buttons, words) == (60, 0, "1 to 60 of 60")
    chromium.js("dispatchEvent(new Event('afterprint'))")
    assert chromium.js(shown) == screen


@pytest.mark.parametrize("width", [500, 1280, 1440, 1920])
def test_words_of_charts_are_whole_and_apart(chromium: Browser, tmp_path: Path, width: int) -> None:
    rows = points(40)
    for row in rows:
        row["weight_error.gaussian"] = row.pop("weight_error")
        row["edp_pj_s"] = row["seconds"] * row["energy_pj.total"] * 1e4
        row["area_um2.total"] = 1e6
    chromium.resize(width, 1600)
    try:
        chromium.open(page(tmp_path / "p.html", rows))
        assert chromium.count("figure.scatter") == 3
        code = """const inside = [], over = [];
          for (const svg of document.querySelectorAll("figure.scatter svg")) {
            const [, , w, h] = svg.getAttribute("viewBox").split(" ").map(Number);
            const boxes = [...svg.querySelectorAll(".axes text")].map((t) => {
              const { x, y, width, height } = t.getBBox();
              return { words: t.textContent, left: x, top: y, right: x + width, end: y + height };
            });
            for (const b of boxes) {
              if (b.left < 0 || b.top < 0 || b.right > w || b.end > h) inside.push(b.words);
            }
            boxes.forEach((a, i) => boxes.slice(i + 1).forEach((b) => {
              if (a.left < b.right && b.left < a.right && a.top < b.end && b.top < a.end) {
                over.push([a.words, b.words]);
              }
            }));
          }
          return [inside, over]"""
        assert chromium.js(code) == [[], []]
        assert "a proxy, log scale" in chromium.text("#chart0 .axes")
        assert chromium.js("return document.documentElement.scrollWidth <= innerWidth")
    finally:
        chromium.resize(1280, 1600)


def luminance(color: str) -> float:
    """Relative luminance of an opaque ``rgb(r, g, b)``, by WCAG 2."""
    parts = [int(v) / 255 for v in color.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


def test_a_sampled_page_says_so_and_reads_in_the_dark(chromium: Browser, tmp_path: Path) -> None:
    rows = [row | {"format": f"int{2 + i % 14}@g64"} for i, row in enumerate(points(60))]
    path = page(tmp_path / "p.html", rows, index=np.arange(0, 60, 2), files=("results.csv",))
    found = {}
    for scheme in ("light", "dark"):
        chromium.colors(scheme)
        chromium.open(path)
        style = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
        of = [("body", "backgroundColor"), ("body", "color"), ("h2 small", "color")]
        of += [("#chart1 text", "fill"), ("#chart1 .fore", "stroke"), ("button", "color")]
        paper, *others = [str(chromium.js(style, *at)) for at in of]
        found[scheme] = paper
        assert min(contrast(paper, one) for one in others) > 5
        blacks = """return [...document.querySelectorAll('path[fill="#000000"]')]
            .map((e) => getComputedStyle(e).fill)"""
        assert min(contrast(paper, str(one)) for one in chromium.js(blacks)) > 5
    chromium.colors("light")
    assert luminance(found["light"]) > 0.9
    assert luminance(found["dark"]) < 0.1
    assert chromium.text("#count") == "30 of 60 points shown"
    chromium.click('[data-filter="model"] input')
    assert chromium.text("#count") == "14 of the 30 points shown, of 60"
    assert chromium.count('#files a[href="results.csv"]') == 1


def test_many_workloads_open_on_one(chromium: Browser, tmp_path: Path) -> None:
    rows = [row | {"batch": 1 + i % 3} for i, row in enumerate(points(120))]
    chromium.open(page(tmp_path / "p.html", rows))
    first = [r for r in rows if (r["model"], r["phase"], r["batch"]) == ("model0", "prefill", 1)]
    assert chromium.text("#count") == "120 of 120 points"
    assert drawn(chromium) == len(first) < 120
    assert chromium.count("#chart1 .fronts path") <= 1
    assert "of 12 workloads" in chromium.text("#fronts thead")
    assert chromium.text("#chart1 figcaption").startswith("model0, prefill, batch 1.")
    chromium.click('[data-filter="model"] .levels label:nth-child(1) input')
    assert "model1" in chromium.text("#chart1 figcaption")
    chromium.js(
        """const list = document.querySelector("#workload");
        list.value = -1;
        list.dispatchEvent(new Event("change"));"""
    )
    assert drawn(chromium) == 60


def test_perplexities_have_bars_and_a_line_for_the_unquantized(
    chromium: Browser, tmp_path: Path
) -> None:
    rows = []
    for row in points(40):
        error = row.pop("weight_error")
        rows.append(row | {"perplexity": 14 + 100 * error, "perplexity_se": 0.5 + error})
    frame = Frame.of(rows)
    facts = {"text": "words", "tokens": 4000, "context": 512, "window_nll": ()}
    numbers = dict.fromkeys(("loss_nats", "kl_nats", "weight_error", "output_error"), 0.0)
    own = Accuracy(
        model="model0", scheme="unquantized", bits_per_weight=None, perplexity=13.0,
        loss_se_nats=None, top1_agreement=1.0, ranked=True, **numbers, **facts,
    )  # fmt: skip
    measured = Measured(frame=frame, measures=Measures(own={"model0": (own,)}))
    text = render(
        frame, title="t", description="", notes=[], tradeoffs=tradeoffs(frame), layers={},
        measured=measured,
    )  # fmt: skip
    (tmp_path / "p.html").write_text(text, encoding="utf-8")
    chromium.open(tmp_path / "p.html")
    bars = 'return document.querySelector("#chart0 .bars").getAttribute("d").split("M").length - 1'
    assert chromium.js(bars) == 40
    inside = """const box = document.querySelector("#chart0 .frame").getBBox();
      const bars = document.querySelector("#chart0 .bars").getBBox();
      return bars.y >= box.y && bars.y + bars.height <= box.y + box.height"""
    assert chromium.js(inside)
    assert chromium.count("#chart0 .base") == 1
    assert chromium.count("#chart1 .base") == 0
    words = chromium.text("#chart0 figcaption")
    assert "model0: 4,000 tokens of words, in windows of 512; perplexity unquantized 13" in words
    assert "one standard error" in words


def test_the_heaviest_layers_are_named(chromium: Browser, tmp_path: Path) -> None:
    row = points(1)[0] | {"cycles": 1000, "seconds": 1e-6}
    layers = [
        [f"layer{k}", 1, 10_000 * (k + 1), 500.0 + k, 10 * (k + 1), 0, 0.9, 1.0] for k in range(13)
    ]
    chromium.open(page(tmp_path / "p.html", [row], {0: {"roofline": layers}}))
    names = chromium.js(
        'return [...document.querySelectorAll("#roofline .layername")].map((t) => t.textContent)'
    )
    assert names[0].startswith("layer12")
    assert names[0].endswith(" %")


def test_series_differ_in_shape_and_in_gray(chromium: Browser, small: Path) -> None:
    """Formats can be told apart without color: by shape; and by color in lightness."""
    chromium.open(small)
    code = """return [...document.querySelectorAll("#legend path")]
        .map((p) => [p.getAttribute("fill"), p.getAttribute("d")])"""
    marks = chromium.js(code)
    assert len(marks) == 3
    assert len({shape for _, shape in marks}) == 3
    assert len({color for color, _ in marks}) == 3


def test_fronts_are_counted_by_workload(chromium: Browser, tmp_path: Path) -> None:
    chromium.open(page(tmp_path / "report.html", points(400)))

    def counted() -> dict[str, list[int]]:
        code = """return [...document.querySelectorAll("#fronts tbody tr")]
            .map((row) => [...row.cells].map((cell) => cell.textContent.trim()))"""
        return {row[0]: [int(cell) for cell in row[1:]] for row in chromium.js(code)}

    def expected(rows: list[dict[str, Any]]) -> dict[str, list[int]]:
        found = {name: [0] * 2 for name in FORMATS}
        for workload in {(row["model"], row["phase"]) for row in rows}:
            group = [row for row in rows if (row["model"], row["phase"]) == workload]
            for k, (x, y) in enumerate(
                [("area_um2.total", "weight_error"), ("seconds", "energy_pj.total")]
            ):
                best = {
                    a["format"]
                    for a in group
                    if not any(
                        b[x] <= a[x] and b[y] <= a[y] and (b[x] < a[x] or b[y] < a[y])
                        for b in group
                    )
                }
                for name in best:
                    found[name][k] += 1
        return found

    rows = points(400)
    assert counted() == expected(rows)
    assert "of 4 workloads" in chromium.text("#fronts thead")
    chromium.click('[data-filter="phase"] .levels label:nth-child(2) input')
    assert counted() == expected([row for row in rows if row["phase"] == "prefill"])
    assert "of 2 workloads" in chromium.text("#fronts thead")


def test_what_a_model_lacks_is_neither_said_nor_filtered(chromium: Browser, tmp_path: Path) -> None:
    """Convolutions have no context: it follows from the model, as most formats from the chip."""
    rows = [
        row | ({"context": 256} if row["model"] == "model0" else {})
        | {"scheme.attention": f"kv of {row['arch']}", "scheme.lm_head": row["format"]}
        for row in points(60)
    ]  # fmt: skip
    chromium.open(page(tmp_path / "report.html", rows))
    assert chromium.log() == []
    code = 'return [...document.querySelectorAll("fieldset")].map((f) => f.dataset.filter)'
    assert chromium.js(code) == ["format", "arch", "model", "phase", "array.rows"]
    words = chromium.js(
        'return [...document.querySelectorAll("#workload option")].map((o) => o.text)'
    )
    assert words[1:] == ["model0, prefill, context 256", "model1, prefill",
                         "model0, decode, context 256", "model1, decode"]  # fmt: skip
    shown = next(i for i, row in enumerate(rows) if row["model"] == "model1")
    chromium.js("document.querySelector(`#table tr[data-point='${arguments[0]}']`).click()", shown)
    assert "context" not in chromium.text("#chosen")
    varied = [row | {"context": 128 + 128 * (i % 2)} for i, row in enumerate(points(60))]
    chromium.open(page(tmp_path / "varied.html", varied))
    assert "context" in chromium.js(code)


@pytest.mark.parametrize("width", [400, 1280, 2200])
def test_names_of_measures_are_whole(tmp_path: Path, width: int) -> None:
    rows = [row | {"weight_error.gaussian": row.pop("weight_error")} for row in points(20)]
    for row in rows:
        row |= {"dram_gb_per_s": 32.0, "cycles": 1000}
    of_each = {"roofline": [["q_proj", 1, 100, 50.0, 10, 0, 0.5, 1.0]]}
    layers = dict.fromkeys(range(len(rows)), of_each)
    file = page(tmp_path / "report.html", rows, layers)
    code = """return [...document.querySelectorAll(".axis select")].map((list) => {
        const probe = document.createElement("span"), style = getComputedStyle(list);
        probe.style.cssText = `position:absolute;white-space:nowrap;font:${style.font}`;
        probe.textContent = list.selectedOptions[0].textContent;
        document.body.append(probe);
        return [probe.textContent, probe.offsetWidth, list.clientWidth,
          list.getBoundingClientRect().right, innerWidth];
      })"""
    with Browser() as window:
        window.viewport(width, 1600)
        window.open(file)
        found = window.js(code)
        assert window.count("#roofline svg") == 1
        shown, needed = window.js("return [innerWidth, document.documentElement.scrollWidth]")
        assert (shown, needed <= shown) == (width, True)
    assert any(words == "relative error of Gaussian weights, a proxy" for words, *_ in found)
    for words, needed, given, right, screen in found:
        assert needed + 16 <= given, words  # the arrow of the list
        assert right <= screen, words
