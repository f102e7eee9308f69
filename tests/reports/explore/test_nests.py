"""Sweeps over mappers: the mapper that ran, mappings beside the layers, nothing of the clock."""

import csv
import json
from pathlib import Path

import pytest

import bitlathe as bl
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.mapping.read import mapping_of
from bitlathe.reports.explore import Store, read_results, run_sweep
from bitlathe.reports.explore.nests import layer_nests, packed, unpacked

SMALL = """\
arch: bitmod
models: opt-125m
phases: prefill
contexts: 16
axes: {array.rows: [4, 8]}
"""
BOTH = SMALL + "mapper: [search-cycles, whole-buffer]\n"


def swept(tmp_path: Path, text: str, out: str = "out", jobs: int = 1) -> Path:
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    run_sweep(path, tmp_path / out, jobs=jobs)
    return tmp_path / out


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return swept(tmp_path_factory.mktemp("both"), BOTH + "layers: true\n")


def chip(rows: int) -> bl.Arch:
    return bl.load_arch("bitmod", {"array.rows": rows})


def test_the_mapper_is_an_axis_and_its_points_are_those_of_simulate(both: Path) -> None:
    rows = list(read_results(both))
    assert [(row["array.rows"], row["mapper"]) for row in rows] == [
        (4, "search-cycles"), (4, "whole-buffer"), (8, "search-cycles"), (8, "whole-buffer"),
    ]  # fmt: skip
    for row in rows:
        run = bl.simulate(
            chip(row["array.rows"]), "opt-125m", "prefill", 16,
            fidelity="analytic", mapper=row["mapper"],
        )  # fmt: skip
        assert (row["cycles"], row["energy_pj.total"]) == (run.cycles, run.energy_pj["total"])
    assert rows[0]["cycles"] != rows[1]["cycles"]


def test_a_searched_point_keeps_the_mappings_that_simulate_gives(both: Path) -> None:
    with Store(both, readonly=True) as store:
        kept = store.layers([0, 1, 2, 3])
    assert [("mappings" in kept[i]) for i in range(4)] == [True, False, True, False]
    run = bl.simulate(
        chip(4), "opt-125m", "prefill", 16, fidelity="analytic", mapper="search-cycles"
    )
    products = [layer for layer in run.layers if layer.unit is None]
    for entry, layer in zip(kept[0]["mappings"], products, strict=True):
        found = layer_nests(entry)
        assert found.busy_cycles == layer.busy_cycles
        assert layer.mapping is not None
        for nest, part in zip(found.nests, layer.mapping, strict=True):
            assert nest.mapping == mapping_of(part["nest"])
            assert (nest.sizes, nest.times) == (part["sizes"], part["times"])
            assert (nest.cycles, nest.optimal) == (part["cycles"], part["optimal"])
            assert nest.rows() == mapping_of(part["nest"]).rows(part["sizes"])


def test_tables_say_what_binds_and_hold_no_nest_and_no_seconds_of_a_search(both: Path) -> None:
    with (both / "layers.csv").open(newline="") as file:
        layers = list(csv.DictReader(file))
    assert {"binds", "busy_cycles.array", "busy_cycles.dram"} <= layers[0].keys()
    assert not [name for name in layers[0] if "search" in name or "mapping" in name]
    searched = [row for row in layers if row["binds"]]
    assert len(searched) == len(layers) / 2
    for row in searched:
        busy = {k: int(v) for k, v in row.items() if k.startswith("busy_cycles.") and v}
        assert busy[f"busy_cycles.{row['binds']}"] == max(busy.values())
        if row["unit"] != "vector":  # whose clocks are those that it adds
            assert max(busy.values()) <= int(row["cycles"])
    assert b"search_seconds" not in (both / "sweep.sqlite").read_bytes()


def test_stores_of_one_process_and_of_two_hold_the_same(both: Path, tmp_path: Path) -> None:
    other = swept(tmp_path, BOTH + "layers: true\n", jobs=2)
    for name in ("results.csv", "layers.csv"):
        assert (other / name).read_bytes() == (both / name).read_bytes()
    with Store(other, readonly=True) as one, Store(both, readonly=True) as two:
        assert list(one.rows()) == list(two.rows())


def test_auto_is_shown_as_what_ran(tmp_path: Path) -> None:
    """A published study's chip names its own rule; a constraint reads what ran."""
    text = SMALL.replace("bitmod", "[bitmod, hpca25/bitmod-lossy]").replace("[4, 8]", "4")
    ruled = text + "constraints: mapper == 'hpca25-whole-buffer'\n"
    (row,) = read_results(swept(tmp_path, ruled))
    assert (row["arch"], row["mapper"]) == ("hpca25/bitmod-lossy", "hpca25-whole-buffer")


def test_a_constraint_on_a_named_search_drops_points_before_they_run(tmp_path: Path) -> None:
    text = SMALL + "mapper: [search, search-cycles]\nconstraints: mapper == 'search-cycles'\n"
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    done = run_sweep(path, tmp_path / "out", jobs=1)
    assert (done.evaluated, done.ruled_out) == (2, 2)


@pytest.mark.parametrize(
    ("mappers", "words"),
    [
        ("[search, search]", "'search' stands twice in the list; every value once"),
        ("[search, best]", ":6:18: unknown mapper 'best'"),
        ("[]", "an empty list leaves no point"),
        ("[auto, hpca25-whole-buffer]", "mapper: 'hpca25-whole-buffer' is 'hpca25-whole-buffer'"),
    ],
)
def test_bad_mappers_name_their_place(tmp_path: Path, mappers: str, words: str) -> None:
    text = SMALL.replace("bitmod", "hpca25/bitmod-lossy")
    with pytest.raises(BitlatheError) as caught:
        swept(tmp_path, f"{text}mapper: {mappers}\n")
    assert words in str(caught.value)
    assert f"{tmp_path / 'sweep.yaml'}:6:" in str(caught.value)


def test_a_chip_that_no_search_describes_fails_with_the_key_that_says_so(tmp_path: Path) -> None:
    text = SMALL.replace("bitmod", "hpca25/bitmod-lossy") + "mapper: search\n"
    out = swept(tmp_path, text)
    assert "which a mapping does not describe" in (out / "failures.csv").read_text()


NEST = {
    "levels": [
        {
            "memory": "dram",
            "keeps": ["weight", "input", "output"],
            "loops": [["n", 128], ["k", 64]],
            "doubled": [],
        },
        {"memory": "io", "keeps": ["input", "output"], "loops": [], "doubled": ["input"]},
    ],
    "spatial": [["rows", "m", 4], ["columns", "n", 8]],
}


def test_a_packed_mapping_is_short_and_loses_nothing() -> None:
    text = json.dumps(packed(NEST), separators=(",", ":"))
    assert len(text) < len(json.dumps(NEST, separators=(",", ":"))) / 2
    assert mapping_of(unpacked(json.loads(text))) == mapping_of(NEST)


def test_what_a_level_has_beside_what_is_kept_is_refused_rather_than_lost() -> None:
    level = {**NEST["levels"][0], "bypass": ["input"]}
    with pytest.raises(TypeError, match="bypass"):
        packed({**NEST, "levels": [level]})
