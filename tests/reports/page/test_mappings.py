"""What binds the layers of a chosen point, and its mapping: as data, and in headless Chromium."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import browser
from bitlathe.mapping.read import mapping_of
from bitlathe.reports.explore.nests import packed
from bitlathe.reports.page.nests import nest_facts
from browser import Browser
from page_cases import HOSTILE, page, points

in_browser = [
    pytest.mark.browser,
    pytest.mark.skipif(not browser.AVAILABLE, reason="needs chromium and chromedriver"),
]


def nest(tile: int, memory: str = "io") -> dict[str, Any]:
    """Return a mapping of two memories; the loop over 100 columns of weights has a short end."""
    levels = [
        {"memory": "dram", "keeps": ["weight", "input", "output"],
         "loops": [["n", tile]], "doubled": []},
        {"memory": memory, "keeps": ["input", "output"], "loops": [["m", 4]], "doubled": ["input"]},
    ]  # fmt: skip
    return {"levels": levels, "spatial": [["rows", "n", 8]]}


SIZES = {"m": 16, "n": 100, "k": 32}
# clocks of one run, what is busy, then products: (times, clocks, tile)
QUERY = ["q", 2, 51_200, 1000.0, 100, 20, 0.5, 1e6]
HEAD = ["head", 1, 51_200, 1000.0, 1000, 0, 0.9, 1e6]


def layer(busy: dict[str, int], *parts: tuple[int, int, int], optimal: bool = True) -> list[Any]:
    return [busy, [[n, SIZES, clocks, optimal, packed(nest(tile))] for n, clocks, tile in parts]]


KEPT = {
    "roofline": [QUERY, HEAD],
    "mappings": [
        layer({"array": 40, "dram": 97, "io": 10}, (1, 60, 32), (2, 20, 64)),
        layer({"array": 900, "dram": 30, "io": 10}, (1, 1000, 32), optimal=False),
    ],
}


def test_equal_nests_and_rows_stand_on_the_page_once() -> None:
    found = nest_facts({3: KEPT["mappings"], 7: [KEPT["mappings"][0], None]})
    assert found["points"]["7"] == [found["points"]["3"][0], None]
    assert found["points"]["3"][0] == [
        {"array": 40, "dram": 97, "io": 10}, [[1, 60, True, 0], [2, 20, True, 1]],
    ]  # fmt: skip
    assert found["points"]["3"][1][1] == [[1, 1000, False, 0]]
    assert len(found["nests"]) == 2
    assert len({tuple(row) for row in found["rows"]}) == len(found["rows"])
    for place, tile in ((0, 32), (1, 64)):
        sizes, rows = found["nests"][place]
        assert sizes == "m 16, n 100, k 32"
        shown = [found["rows"][row] for row in rows]
        assert [tuple(row) for row in shown] == mapping_of(nest(tile)).rows(SIZES)
    assert (1, "for n", "4 x 32, the last of 4") in found["rows"]


def test_pages_without_mappings_have_none() -> None:
    assert nest_facts({}) == {"rows": [], "nests": [], "points": {}}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with Browser() as window:
        yield window


@pytest.fixture(scope="module")
def mapped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three points: with mappings, by a rule, without layers."""
    rows = points(3)
    kept = {0: KEPT, 1: {"roofline": [QUERY, HEAD]}}
    return page(tmp_path_factory.mktemp("page") / "report.html", rows, kept)


def choose(window: Browser, point: int) -> None:
    window.js("document.querySelector(`#table tr[data-point='${arguments[0]}']`).click()", point)


def rows_of(window: Browser, selector: str) -> list[list[str]]:
    code = """return [...document.querySelectorAll(arguments[0] + " tr")]
        .map((row) => [...row.cells].map((cell) => cell.textContent))"""
    found: list[list[str]] = window.js(code, selector)
    return found


def shown(window: Browser) -> bool:
    return bool(window.js('return document.getElementById("mapping").offsetHeight > 0'))


class TestPage:
    pytestmark = in_browser

    def test_what_binds_is_said_of_each_layer_and_of_all(
        self, chromium: Browser, mapped: Path
    ) -> None:
        """DRAM is busy in 97 of 100 clocks of q, the array in 900 of 1000 of the head.

        Of 1,200 clocks 200 are q's.
        """
        chromium.open(mapped)
        choose(chromium, 0)
        layers = rows_of(chromium, "#roofline tbody")
        assert [(row[0], row[-1]) for row in layers] == [
            ("q", "dram 97.0 %"), ("head", "array 90.0 %"),
        ]  # fmt: skip
        assert chromium.text("#binds").endswith("array 83.3 %, dram 16.7 %.")
        assert chromium.log() == []

    def test_the_longest_layer_is_shown_first(self, chromium: Browser, mapped: Path) -> None:
        chromium.open(mapped)
        choose(chromium, 0)
        busy = rows_of(chromium, "#nests .parts tbody")
        assert [row[:3] for row in busy] == [
            ["array", "900", "90.0 %"], ["dram", "30", "3.0 %"], ["io", "10", "1.0 %"],
        ]  # fmt: skip
        text = mapping_of(nest(32)).rows(SIZES)
        assert rows_of(chromium, "#nests .nest tbody") == [[row.what, row.detail] for row in text]
        assert "the search ended at a limit" in chromium.text("#nests .nest caption")

    def test_keys_choose_the_layer_and_it_stays_chosen(
        self, chromium: Browser, mapped: Path
    ) -> None:
        chromium.open(mapped)
        choose(chromium, 0)
        chromium.js('document.getElementById("layer").focus()')
        chromium.keys("q")
        assert chromium.js('return document.getElementById("layer").selectedOptions[0].text') == "q"
        code = 'return [...document.querySelectorAll(".nest caption")].map((c) => c.textContent)'
        assert chromium.js(code) == [
            "q, m 16, n 100, k 32: 60 clocks each", "q, m 16, n 100, k 32, 2 times: 20 clocks each",
        ]  # fmt: skip
        choose(chromium, 1)
        choose(chromium, 0)
        assert chromium.js('return document.getElementById("layer").selectedOptions[0].text') == "q"

    def test_points_of_a_rule_show_no_mapping(self, chromium: Browser, mapped: Path) -> None:
        chromium.open(mapped)
        choose(chromium, 0)
        assert shown(chromium)
        choose(chromium, 1)
        assert not shown(chromium)
        assert [row[-1] for row in rows_of(chromium, "#roofline tbody")] == ["memory", "array"]
        choose(chromium, 2)
        assert not shown(chromium)

    def test_paper_names_the_layer_and_has_no_list(
        self, chromium: Browser, mapped: Path, tmp_path: Path
    ) -> None:
        chromium.open(mapped)
        choose(chromium, 0)
        chromium.js("dispatchEvent(new Event('beforeprint'))")
        assert chromium.text("#nests .nest caption").startswith("head, m 16")
        chromium.js("dispatchEvent(new Event('afterprint'))")
        chromium.pdf(tmp_path / "p.pdf")

    def test_hostile_names_are_text(self, chromium: Browser, tmp_path: Path) -> None:
        entry = [{HOSTILE: 9, "array": 1}, [[1, SIZES, 10, True, packed(nest(32, HOSTILE))]]]
        kept = {"roofline": [[HOSTILE, 1, 100, 50.0, 10, 0, 0.5, 1.0]], "mappings": [entry]}
        chromium.open(page(tmp_path / "p.html", points(2), {0: kept, 1: kept}))
        choose(chromium, 1)
        assert HOSTILE in chromium.text("#nests .nest")
        assert chromium.js("return window.owned") is None
        assert (chromium.count("img"), chromium.count("script")) == (0, 2)
        assert chromium.log() == []

    def test_two_thousand_points_with_mappings_of_ten_thousand_stay_usable(
        self, chromium: Browser, tmp_path: Path
    ) -> None:
        """Nine layers each, with nests that differ; as large as a page gets."""
        kept = {}
        for i in range(2000):
            layers = [layer({"array": 10 + i % 7, "dram": 20 + k}, (1, 100, 1 + (9 * i + k) % 99))
                      for k in range(9)]  # fmt: skip
            kept[5 * i] = {"roofline": [[f"layer{k}", *QUERY[1:]] for k in range(9)],
                           "mappings": layers}  # fmt: skip
        path = page(tmp_path / "p.html", points(10_000), kept)
        assert path.stat().st_size < 12e6
        assert chromium.open(path) < 10
        assert shown(chromium) or choose(chromium, 0) is None
        timed = """const t = performance.now();
            document.querySelector("#table tbody tr:nth-child(9)").click();
            document.body.offsetHeight; return performance.now() - t"""
        assert min(float(chromium.js(timed)) for _ in range(3)) < 300
