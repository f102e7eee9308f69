"""`bitlathe map`: what it prints, what it takes back, what it refuses."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bitlathe.arch import load_arch
from bitlathe.cli import main
from bitlathe.sim import simulate
from bitlathe.sim.map_group import group_on
from bitlathe.workloads import load_model

GEMM = "16x256x256"


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["map", "--arch", "bitmod", "--gemm", GEMM, *arguments])


def test_json_has_the_documented_keys() -> None:
    found = json.loads(run("--json").stdout)
    assert found["optimal"] is True
    assert found["cycles"] >= found["lower_bound_cycles"] > 0
    assert found["energy_pj"]["total"] > 0
    traffic = found["dram_traffic"]
    assert traffic["bits"] >= traffic["nest_floor_bits"] >= traffic["floor_bits"] > 0
    assert {"mappings_evaluated", "search_seconds"} <= set(found)
    assert set(found["loops"][0]) == {"memory", "dim", "bound", "tile", "last"}


def test_a_mapping_it_printed_costs_the_same_when_given_back(tmp_path: Path) -> None:
    printed = run("--json").stdout
    file = tmp_path / "mapping.json"
    file.write_text(printed)
    first, again = json.loads(printed), json.loads(run("--json", "--mapping", str(file)).stdout)
    for key in ("cycles", "energy_pj", "loops", "accesses", "ports", "mapping"):
        assert first[key] == again[key]
    assert (again["optimal"], again["mappings_evaluated"]) == (False, 1)


def test_table_shows_loops_moves_ports_and_energy() -> None:
    text = run().stdout
    for part in (
        "for ",
        "dram",
        "stall cycles",
        "clocks: ",
        "energy (uJ): ",
        "no schedule less than",
        "the best of",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("memory", "sram"), "mapping.json: levels[0]: unknown memory 'sram'"),
        (("loops", [["q", 4]]), "levels[0].loops[0]: unknown dimension 'q'. Known: k, m, n."),
        (("loops", [["m", 0]]), "a loop over m has a tile of 0; give at least 1."),
        (("loops", [["m"]]), "levels[0].loops[0] is ['m']; give [dimension, tile]."),
        (("keeps", ["weight"]), "memory 'dram' must keep inputs on their way"),
        (("color", "red"), "levels[0]: 'color' is not one of its keys"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, change: tuple[str, object], says: str) -> None:
    mapping = json.loads(run("--json").stdout)["mapping"]
    mapping["levels"][0][change[0]] = change[1]
    file = tmp_path / "mapping.json"
    file.write_text(json.dumps(mapping))
    result = run("--mapping", str(file))
    assert result.exit_code == 2
    assert says in result.stderr


def test_unrolling_more_than_an_axis_has_is_refused(tmp_path: Path) -> None:
    mapping = json.loads(run("--json").stdout)["mapping"]
    mapping["spatial"] = [["rows", "n", 64], ["columns", "m", 32], ["lanes", "k", 4]]
    file = tmp_path / "mapping.json"
    file.write_text(json.dumps(mapping))
    result = run("--mapping", str(file))
    assert "axis 'rows' has 32 units, and 64 are unrolled on it; unroll at most 32." in (
        result.stderr
    )


def test_a_layer_of_a_model_is_mapped_as_a_simulation_maps_it() -> None:
    chip, model = ["--arch", "bitmod"], ["--model", "opt-1.3b", "--context", "32"]
    found = CliRunner().invoke(main, ["map", *chip, *model, "--layer", "q_proj", "--json"])
    run = simulate("bitmod", "opt-1.3b", "prefill", 32, 1, "analytic", "search-cycles")
    layer = next(layer for layer in run.layers if layer.name == "q_proj")
    assert json.loads(found.stdout)["cycles"] == layer.cycles


def test_a_string_costs_what_the_same_nest_costs_as_data(tmp_path: Path) -> None:
    line, data = tmp_path / "line.txt", tmp_path / "data.json"
    line.write_text("L3[WIO] K8 - L2[W] - L1[IO] K32X P16X - L0[O] C64 C4X")
    first = json.loads(run("--json", "--mapping", str(line)).stdout)
    data.write_text(json.dumps(first))
    again = json.loads(run("--json", "--mapping", str(data)).stdout)
    for key in ("cycles", "energy_pj", "accesses", "mapping"):
        assert first[key] == again[key]
    assert [(row["dim"], row["bound"], row["tile"]) for row in first["loops"]] == [
        ("n", 8, 32),
        ("k", 64, 4),
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "map takes a product (--gemm), or a layer (--model and --layer)."),
        (["--model", "opt-1.3b"], "map takes a product (--gemm), or a layer"),
        (["--gemm", GEMM, "--model", "opt-1.3b", "--layer", "q_proj"], "map takes a product"),
        (["--model", "opt-1.3b", "--layer", "qproj"], "unknown layer 'qproj'"),
    ],
)
def test_a_layer_is_asked_for_in_one_way(arguments: list[str], says: str) -> None:
    result = CliRunner().invoke(main, ["map", "--arch", "bitmod", *arguments])
    assert result.exit_code == 2
    assert says in result.stderr


def test_a_convolution_is_mapped_by_name() -> None:
    """Rows p, channels c and outputs n in the buffers; inputs from DRAM once, not nine times."""
    layer = ["--model", "resnet-18", "--layer", "layer1.0.conv1"]
    found = json.loads(
        CliRunner().invoke(main, ["map", "--arch", "bitmod", *layer, "--json"]).stdout
    )
    assert found["optimal"] is True
    fetched = sum(
        row["parent_elements"]
        for row in found["accesses"]
        if (row["operand"], row["parent"]) == ("input", "dram")
    )
    assert 56 * 56 * 64 <= fetched < 2 * 56 * 56 * 64
    text = CliRunner().invoke(main, ["map", "--arch", "bitmod", *layer]).stdout
    assert "the best of its space; " in text
    assert {row["dim"] for row in found["loops"]} >= {"r", "s"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--batch", "4"), "--batch says nothing beside --gemm; leave it out."),
        (("--batch", "0"), "--batch says nothing beside --gemm; leave it out."),
        (("--context", "7"), "--context says nothing beside --gemm; leave it out."),
        (("--parts", "0"), "--parts says nothing without --certificate; leave it out."),
        (("--check", "x", "--parts", "0"), "--parts says nothing beside --check; leave it out."),
        (("--check", "x", "--mapping", "y"), "--mapping says nothing beside --check; leave it"),
        (("--check", "x", "--certificate", "y"), "--certificate says nothing beside --check;"),
        (("--check", "x", "--constraint", "rows=none"), "--constraint says nothing beside --check"),
        (("--check", "x", "--budget", "9"), "--budget says nothing beside --check; leave it out."),
        (("--mapping", "x", "--budget", "9"), "--budget says nothing beside --mapping; leave it"),
        (("--budget", "0"), "Invalid value for '--budget': 0 is not in the range x>=1."),
        (("--certificate", "."), "--certificate . is a folder; name a file."),
        (("--certificate", f"{__file__}/x.json"), "test_map_command.py is a file, not a folder."),
    ],
)
def test_options_that_would_do_nothing_are_refused(options: tuple[str, ...], says: str) -> None:
    found = run(*options)
    assert found.exit_code == 2
    assert says in found.stderr


def test_a_group_tells_how_far_its_products_are_from_proven() -> None:
    found = group_on(load_arch("bitmod"), load_model("opt-125m"), "attention_qk+av", "decode", 8)
    best = found.best()
    assert not any("not proven" in line for line in best.lines())
    (asked, one), *others = best.fused.found.products.items()
    products = {asked: replace(one, optimal=False, within=1.25), **dict(others)}
    less = replace(
        best, fused=replace(best.fused, found=replace(best.fused.found, products=products))
    )
    assert less.lines()[:-1] == best.lines()
    assert less.lines()[-1] == (
        f"products: the mappings of 1 of {len(products)} are not proven; 1 of them within 1.2500 x "
        "of what no mapping of theirs undercuts, so the schedule is the best with such products"
    )
    told = [(each["optimal"], each["within"]) for each in less.to_dict()["products"]]
    assert told == [(False, 1.25)] + [(True, each.within) for _, each in others]
