"""Sweep files: ranges, order, sampling, and errors that name the place and the remedy."""

import itertools
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bitlathe.arch import load_arch
from bitlathe.arch.loader import CHIPS
from bitlathe.cli import main
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.reports.explore import plan_sweep, run_sweep
from bitlathe.reports.explore.origin import Origin
from bitlathe.reports.explore.plan import _preview as preview
from bitlathe.reports.explore.search import shuffled
from bitlathe.reports.explore.space import constrained, parse_sweep
from bitlathe.reports.explore.spelling import place

RESULTS = ["cost", "energy_pj.total", "area_um2.total"]
BASE = "arch: bitmod\nmodels: [opt-1.3b]\n"


def space_of(text, source="s.yaml"):
    return constrained(parse_sweep(text, source), RESULTS)


def points_of(space):
    points = map(space.point, range(space.size))
    return [point for point in points if space.verdict(point) is not False]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("[16, 32]", (16, 32)),
        ("7", (7,)),
        ("{from: 64, to: 1024, factor: 2}", (64, 128, 256, 512, 1024)),
        ("{from: 64, to: 1000, factor: 2}", (64, 128, 256, 512)),
        ("{from: 1, to: 10, step: 4}", (1, 5, 9)),
        ("{from: 0.1, to: 0.3, step: 0.1}", (0.1, 0.2, 0.3)),
        ("{from: 0.1, to: 1.1, step: 0.1}", tuple(i / 10 for i in range(1, 12))),
        ("{from: 1, to: 2, step: 0.25}", (1, 1.25, 1.5, 1.75, 2)),
        ("{from: 0.1, to: 100, factor: 10}", (0.1, 1.0, 10.0, 100.0)),
        ("{from: 1, to: 2.0, factor: 1.4142135624}", (1, 1.4142135624, 2.0000000000760987)),
        ("{from: 1, to: 1.0e+299, factor: 1.0e+200}", (1, 1e200)),
        (
            f"{{from: {10**17 + 1}, to: {10**17 + 3}, step: 1}}",
            tuple(range(10**17 + 1, 10**17 + 4)),
        ),
        ("{from: 3, to: 3, step: 1}", (3,)),
        ("{from: 1, to: 2, factor: 1.5}", (1, 1.5)),
    ],
)
def test_axis_values(text, values):
    space = space_of(BASE + f"axes: {{array.rows: {text}}}\n")
    assert dict(space.dimensions)["array.rows"] == values


def test_space_is_the_product_in_order():
    space = space_of(
        "arch: [bitmod, ant]\nmodels: [a, b]\nphases: [prefill]\nbatches: [1, 2, 4]\n"
        "axes: {array.rows: [1, 2], 'pe.lanes, array.columns': [[1, 8], [2, 4]]}\n"
        "schemes: {linear: [int8, int4], attention: int8}\n"
    )
    assert space.size == 2 * 2 * 2 * 2 * 1 * 2 * 1 * 3
    points = points_of(space)
    assert len({json.dumps(p.columns()) for p in points}) == space.size
    places = itertools.product(*(range(len(values)) for _, values in space.chip_dimensions))
    assert [space.places(i) for i in range(space.candidates)] == list(places)
    assert [space.candidate(space.places(i)) for i in range(16)] == list(range(16))
    assert space.workloads == 6
    assert points[0].settings == (
        ("array.rows", 1), ("pe.lanes", 1), ("array.columns", 8),
        ("formats.linear.weight", "int8"), ("formats.attention.weight", "int8"),
    )  # fmt: skip
    assert [p.batch for p in points[:4]] == [1, 2, 4, 1]  # batches innermost
    assert [p.arch for p in points] == ["bitmod"] * 48 + ["ant"] * 48  # chips outermost


def test_early_constraints_remove_points_and_late_ones_stay():
    space = space_of(
        BASE + "axes: {array.rows: [1, 2, 4], array.columns: [1, 2, 4]}\nphases: [decode]\n"
        "constraints: [array.rows * array.columns == 4, cost < 3]\n"
    )
    shapes = [dict(p.settings) for p in points_of(space)]
    assert shapes == [{"array.rows": r, "array.columns": 4 // r} for r in (1, 2, 4)]
    assert [c.text for c in space.late] == ["cost < 3"]
    assert preview(space).points == 3
    assert preview(space).size == 9


def test_random_order_holds_every_point_once_and_is_seeded():
    drawn = list(shuffled(1000, 3))
    assert sorted(drawn) == list(range(1000))
    assert drawn == list(shuffled(1000, 3)) != list(shuffled(1000, 4))
    assert drawn[:100] != sorted(drawn[:100])


def test_random_points_from_a_huge_space_need_no_memory():
    axes = ", ".join(f"k{i}: {{from: 1, to: 1000, step: 1}}" for i in range(6))
    space = space_of(BASE + f"axes: {{{axes}}}\nphases: [decode]\n")
    assert space.size == 10**18
    assert len(set(itertools.islice(shuffled(space.size, 1), 50))) == 50
    assert preview(space).points == 10**18


def test_what_has_a_unit_may_carry_it_in_lists_and_ranges():
    space = space_of(
        BASE + "axes: {buffers.weight.size_kib: {from: 64 KiB, to: 1 MiB, factor: 4}, "
        "buffers.io.size_kib: [512 B, 2 MiB], "
        "'buffers.output.size_kib, array.rows': [[1 MiB, 4], [32, 8]], "
        "technology.clock_ghz: [250 MHz, 0.5, 1 GHz], dram.gb_per_s: [16, 25.6 GB/s]}\n"
        "iso: {resource: cost, target: 1, solve: buffers.input.size_kib, from: 4 KiB, to: 1 MiB}\n"
    )
    dimensions = dict(space.dimensions)
    assert dimensions["buffers.weight.size_kib"] == (64, 256, 1024)
    assert dimensions["buffers.io.size_kib"] == (0.5, 2048)
    assert dimensions["technology.clock_ghz"] == (0.25, 0.5, 1)
    assert dimensions["dram.gb_per_s"] == (16, 25.6)
    assert dimensions["buffers.output.size_kib, array.rows"] == ([1024, 4], [32, 8])
    assert (space.file.iso.low, space.file.iso.high) == (4, 1024)


def test_brackets_without_end_are_refused():
    with pytest.raises(BitlatheError, match=r"s\.yaml:3:\d+: nested more than 100 deep"):
        space_of(BASE + "axes: " + "[" * 5000 + "]" * 5000)


def test_keys_of_the_chip_may_stand_in_constraints_and_become_columns():
    space = parse_sweep(
        BASE + "axes: {array.rows: [8, 16]}\nconstraints: [pe.lanes * array.rows <= 32]\n", "s"
    )
    space = constrained(
        space, RESULTS, {"pe.lanes", "array.rows"}, lambda point, keys: {"pe.lanes": 4}
    )
    assert space.columns[-2:] == ["array.rows", "pe.lanes"]
    assert [space.row(point)["pe.lanes"] for point in points_of(space)] == [4, 4]
    assert [dict(point.settings) for point in points_of(space)] == [{"array.rows": 8}] * 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("models: [a]\n", "'arch' is missing"),
        (BASE + "axis: {}\n", "s.yaml:3:1: unknown key 'axis'; did you mean 'axes'?"),
        (BASE + "phases: [prefil]\n", "s.yaml:3:10: phases.0: input should be 'prefill' or"),
        (BASE + "batches: [0]\n", "s.yaml:3:11: batches.0: input should be greater than 0"),
        (BASE + "batches: [1, 1]\n", "stands twice"),
        (BASE + "batches: []\n", "empty list"),
        (BASE + "models: [b]\n", "given twice"),
        (BASE + "axes: {array.rows: {from: 1, to: 4}}\n", "either 'step' or 'factor'"),
        (BASE + "axes: {array.rows: {from: 4, to: 1, step: 1}}\n", "goes upwards"),
        (BASE + "axes: {array.rows: {from: 0, to: 4, factor: 2}}\n", "above 0"),
        (BASE + "axes: {array.rows: {from: 1, to: 4, factor: 1}}\n", "above 1"),
        (BASE + "axes: {array.rows: {from: 1, to: 4, step: 0}}\n", "above 0"),
        (BASE + "axes: {array.rows: {from: a, to: 4, step: 1}}\n", "must be a number"),
        (BASE + "axes: {array.rows: {from: 1, to: 1e9, step: 1}}\n", "at most"),
        (BASE + "axes: {array.rows: {from: 1, to: 1e99, step: 1}}\n", "1e+99 values"),
        (BASE + "axes: {array.rows: {from: 1, to: 1e299, factor: 1.0001}}\n", "at most"),
        (BASE + "axes: {array.rows: {from: 1 KiB, to: 2 KiB, step: 1}}\n", "must be a number"),
        (BASE + "axes: {a.size_kib: {from: 1 lb, to: 2 lb, step: 1}}\n", "must be a number"),
        (BASE + "constraints: ['abs(1, 2)']\n", "abs takes one number"),
        (BASE + "sampling: {nsga2: {budget: 1, seed: 1, objectives: [cost]}}\n",
         "s.yaml:3:20: a budget of 1 does not cover one chip"),
        (BASE + f"axes: {{array.rows: {{from: 1, to: {'9' * 400}, step: 1}}}}\n", "below 1e300"),
        (BASE + "axes: {array.rows: {from: 1, to: .inf, step: 1}}\n", "'to' of a range must be"),
        (BASE + "axes: {array.rows: {from: 1, to: .nan, step: 1}}\n", "'to' of a range must be"),
        (BASE + "causal: [1]\n", "s.yaml:3:10: causal.0: input should be a valid boolean"),
        (BASE + "fusion: [1]\n", "s.yaml:3:10: fusion.0: input should be a valid boolean"),
        (BASE + "layers: [true]\n", "s.yaml:3:1: layers: input should be a valid boolean"),
        (BASE + "axes: {array.rows: [[1, 2]]}\n", "s.yaml:3:8: axes.array.rows: [1, 2] is no"),
        (BASE + "axes: {'a, b': [[1]]}\n", "list of 2"),
        (BASE + "axes: {array.rows: [1], 'array.rows, b': [[1, 2]]}\n", "also set by"),
        (BASE + "schemes: {linear: [int8]}\naxes: {formats.linear.weight: [int8]}\n", "also set"),
        (BASE + "schemes: {lineal: [int8]}\n", "schemes.lineal"),
        (BASE + "constraints: [cots < 3]\n", "s.yaml:3:15: 'cots < 3': unknown key 'cots'; "),
        (BASE + "sampling: rnd\n", "write grid"),
        (BASE + "sampling: {random: {samples: 3}}\n", "'sampling.random.seed' is missing"),
        (BASE + "sampling: {nsga2: {budget: 9, seed: 1, objectives: []}}\n", "at least one"),
        (BASE + "sampling: {nsga2: {budget: 9, seed: 1, objectives: [csot]}}\n", "mean 'cost'"),
        (BASE + "iso: {resource: are, target: 1, solve: array.rows}\n", "unknown key 'are'"),
        (BASE + "iso: {resource: cost, target: 1, solve: a, from: 9, to: 3}\n", "must be below"),
        ("- 1\n", "a mapping"),
        ("", "empty"),
    ],
)  # fmt: skip
def test_errors_name_place_and_remedy(text, words):
    with pytest.raises(BitlatheError) as caught:
        space_of(text)
    assert words in str(caught.value)
    assert str(caught.value).startswith("s.yaml")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (BASE + "axes: {array.row: [1]}\n", ":3:8: 'array.row': no such key in a chip"),
        (BASE + "axes: {array.rows: [8, 0]}\n", ":3:24: array.rows:"),
        (BASE + "axes: {array.rows: [many]}\n", ":3:21: array.rows:"),
        (BASE + "schemes: {linear: [int8, bitmud_fp4]}\n", ":3:26: formats.linear.weight"),
        (BASE + "axes: {array: [{rows: 4}]}\n", ":3:16: key 'array.columns' is missing"),
        (BASE + "constraints: pe.lane > 1\n", ":3:1: 'pe.lane > 1': unknown key 'pe.lane'; did"),
        ("arch: bitmud\nmodels: [opt-1.3b]\n", ":1:1: unknown chip 'bitmud'; did you mean"),
        ("arch: bitmod\nmodels: [opt-1.3]\n", ":2:10: "),
        (BASE + "fidelity: exact\n", "unknown fidelity 'exact'"),
        (BASE + "mapper: best\n", "unknown mapper 'best'"),
        (BASE + "iso: {resource: area_um2, target: 1, solve: array.kind}\n", "is no number"),
    ],
)
def test_errors_about_chips_and_models_name_the_sweep_file(tmp_path, text, words):
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    with pytest.raises(BitlatheError) as caught:
        run_sweep(path, tmp_path / "out")
    expected = f"{path}{words}" if words.startswith(":") else words
    assert expected in str(caught.value)
    assert str(caught.value).startswith(f"{path}:")
    assert "--set" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_dry_run_writes_nothing(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(BASE + "axes: {array.rows: [16, 32]}\nschemes: {linear: int8}\n")
    shown = plan_sweep(path)
    assert shown.size == shown.points == 4
    assert len(shown.first) == 4
    assert "2 array.rows x 1 scheme.linear x 1 mapper x 1 fusion x 1 model" in shown.text()
    assert [file.name for file in tmp_path.iterdir()] == ["sweep.yaml"]
    without = CliRunner().invoke(main, ["sweep", str(path)])
    assert without.exit_code == 2
    assert "give --out" in without.stderr


# -- rows mean what they say --------------------------------------------------------------------

POINT = "arch: bitmod\nmodels: opt-125m\nphases: decode\ncontexts: 16\n"
OVERLAPS = [
    (
        "axes: {formats.linear.weight.scheme: [int8@channel]}\n"
        "schemes: {linear: [int4@g128, int3_asym@g128]}\n",
        r"'formats\.linear\.weight\.scheme' and 'formats\.linear\.weight' \(set by schemes\.lin",
    ),
    (
        "axes: {array: [{kind: tile, rows: 64, columns: 16}], array.rows: [8, 16, 32]}\n",
        r"'array\.rows' and 'array' \(set by axes\.array\) hold one another",
    ),
    (
        "axes: {array.rows: [8, 16], array: [{kind: tile, rows: 64, columns: 16}]}\n",
        r"'array' and 'array\.rows' \(set by axes\.array\.rows\) hold one another",
    ),
    (
        "axes: {formats.linear: [{weight: int8@channel}]}\nschemes: {linear: [int4@g128]}\n",
        r"'formats\.linear' and 'formats\.linear\.weight' \(set by schemes\.linear\)",
    ),
    (
        "axes: {'array.columns, array': [[8, {kind: tile, rows: 64, columns: 16}]]}\n",
        r"'array' and 'array\.columns' \(set by axes\.array\.columns, array\) hold one another",
    ),
    (
        "axes: {array: [{kind: tile, rows: 64, columns: 16}]}\n"
        "iso: {resource: area_um2, target: 4.0e6, solve: array.rows}\n",
        r"'array' and 'array\.rows' \(set by iso\.solve\) hold one another",
    ),
]


@pytest.mark.parametrize(("text", "says"), OVERLAPS)
def test_keys_above_and_below_each_other_are_refused(tmp_path, text, says):
    """A row would show a value that another key of it overrules."""
    path = tmp_path / "sweep.yaml"
    path.write_text(POINT + text)
    with pytest.raises(BitlatheError, match=rf"sweep\.yaml:\d+:\d+: axes: {says}"):
        run_sweep(path, tmp_path / "out", jobs=1)
    assert not (tmp_path / "out").exists()


def test_keys_that_only_begin_alike_are_two(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(POINT + "axes: {dram.bits_per_clock: [64], dram.latency_cycles: [0, 9]}\n")
    assert run_sweep(path, tmp_path / "out", jobs=1).rows == 2


TWICE = [
    ("arch: [bitmod, Bitmod]\nmodels: opt-125m\n", r":1:\d+: arch: 'Bitmod' is 'bitmod' again"),
    ("arch: bitmod\nmodels: [opt-1.3b, OPT_1.3B]\n", r":2:\d+: models: 'OPT_1\.3B' is 'opt-1\.3b'"),
    ("arch: [x.yaml, ./x.yaml]\nmodels: opt-125m\n", r"'\./x\.yaml' is 'x\.yaml' again"),
    (
        POINT + "schemes: {linear: [int8@channel, INT8@Channel]}\n",
        r"schemes\.linear: 'INT8@Channel' is 'int8@channel' again",
    ),
    (POINT + "schemes: {linear: [int8, int8@channel]}\n", "'int8@channel' is 'int8' again"),
    (
        POINT + "axes: {formats.linear.weight: [int4@g128, int4@g128/fp16]}\n",
        r"axes\.formats\.linear\.weight: 'int4@g128/fp16' is 'int4@g128' again",
    ),
    (
        POINT + "axes: {'array.rows, formats.linear.weight': [[8, int8], [8, INT8]]}\n",
        r"\[8, 'INT8'\] is \[8, 'int8'\] again",
    ),
    (
        POINT + "axes: {technology.clock_ghz: [1, 1.0]}\n",
        r"1\.0 stands twice in the list \(as 1\); every value once",
    ),
]


@pytest.mark.parametrize(("text", "says"), TWICE)
def test_two_spellings_of_one_thing_are_one_value(tmp_path, text, says):
    (tmp_path / "x.yaml").write_text((CHIPS / "bitmod.yaml").read_text())
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    with pytest.raises(BitlatheError, match=says):
        run_sweep(path, tmp_path / "out", jobs=1)


def test_tables_show_one_spelling_and_reuse_the_points_of_another(tmp_path):
    path, out = tmp_path / "sweep.yaml", tmp_path / "out"
    path.write_text(POINT + "schemes: {linear: int8@channel}\n")
    run_sweep(path, out, jobs=1)
    first = (out / "results.csv").read_bytes()
    odd = "arch: BitMoD\nmodels: OPT_125M\nphases: decode\ncontexts: 16\n"
    path.write_text(odd + "schemes: {linear: INT8}\nconstraints: scheme.linear == 'int8@channel'\n")
    again = run_sweep(path, out, jobs=1)
    assert (again.evaluated, again.reused, again.rows) == (0, 1, 1)
    assert (out / "results.csv").read_bytes() == first


@pytest.mark.parametrize(
    "text",
    ["'no'", "[0]", "array.rows", "cycles", "'false'", "batch or true", "not cycles",
     "array.rows * 2", "1", "max(array.rows, 3)", "model", "area_um2", "pe.lanes", "scheme.linear",
     "array.rows > 8 and batch", "context"],
)  # fmt: skip
def test_a_constraint_that_is_no_yes_or_no_is_refused(tmp_path, text):
    path = tmp_path / "sweep.yaml"
    path.write_text(f'{POINT}axes: {{array.rows: [8, 16]}}\nconstraints: "{text}"\n')
    with pytest.raises(BitlatheError, match=r"sweep\.yaml:6:1: .* is neither true nor false; comp"):
        plan_sweep(path)


@pytest.mark.parametrize(
    ("text", "points"),
    [("causal", 2), ("not causal or array.rows < 9", 3), ("'True'", 4), ("causal == false", 2)],
)
def test_a_yes_or_no_needs_no_comparison(tmp_path, text, points):
    path = tmp_path / "sweep.yaml"
    path.write_text(
        f"{POINT}causal: [false, true]\naxes: {{array.rows: [8, 16]}}\nconstraints: {text}\n"
    )
    assert plan_sweep(path).points == points


def test_a_list_of_formats_is_told_where_it_belongs(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text(POINT + "schemes: [int8, int4@g128]\n")
    with pytest.raises(
        BitlatheError, match=r":5:1: schemes: .*write schemes: \{linear: \[int8, int4"
    ):
        plan_sweep(path)


@pytest.mark.parametrize(
    ("word", "meant"), [("latency", "seconds"), ("Energy", "energy_pj"), ("area", "area_um2")]
)
def test_words_for_results_lead_to_their_columns(tmp_path, word, meant):
    path = tmp_path / "sweep.yaml"
    path.write_text(f"{POINT}constraints: {word} < 1\n")
    with pytest.raises(BitlatheError, match=f"unknown key '{word}'; did you mean '{meant}'\\?$"):
        plan_sweep(path)


LONG = "a" * 5000 + "/b.yaml"  # longer than a file name may be: asking whether it exists may raise


@pytest.mark.parametrize("key", ["arch", "models"])
def test_a_name_longer_than_any_files_is_refused_as_unknown(tmp_path, key):
    path = tmp_path / "s.yaml"
    lists = {"arch": "bitmod", "models": "opt-125m"} | {key: LONG}
    path.write_text("".join(f"{k}: {v}\n" for k, v in lists.items()))
    with pytest.raises(BitlatheError, match="aaa"):
        plan_sweep(path)
    assert Origin(home=tmp_path).place(LONG) == LONG


def test_a_path_lies_beside_the_sweep_file_if_it_leads_to_something_there(tmp_path):
    (tmp_path / "net.json").write_text("{}")
    (tmp_path / "net").mkdir()
    for text, where in {
        "net.json": tmp_path / "net.json",
        "./net.json": tmp_path / "net.json",
        "net/": tmp_path / "net",
        "net": "net",  # may be a shipped name
        "other.json": "other.json",
        "net\0.json": "net\0.json",
        str(tmp_path / "net.json"): tmp_path / "net.json",
    }.items():
        assert place(text, tmp_path) == str(where)
        assert Origin(home=tmp_path).place(text) == str(where)
    assert Origin().place("net.json") == "net.json"


@pytest.mark.parametrize("home", [".", "elsewhere"])
@pytest.mark.parametrize("twice", ["[net.json, ./net.json]", "[net, ./net]", "[net/, link.json]"])
def test_two_paths_of_one_file_are_one_value(tmp_path, monkeypatch, home, twice):
    """Wherever it lies: beside the sweep file or in the folder one is in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net").mkdir()
    (tmp_path / "net.json").write_text("{}")
    (tmp_path / "link.json").symlink_to("net")
    (tmp_path / home).mkdir(exist_ok=True)
    path = Path(home) / "s.yaml"
    path.write_text(f"arch: bitmod\nmodels: {twice}\n")
    with pytest.raises(BitlatheError, match="again; every value once"):
        plan_sweep(path)


def test_a_context_and_its_default_are_one_workload(tmp_path):
    path = tmp_path / "sweep.yaml"
    text = "arch: bitmod\nmodels: [resnet-18, opt-125m]\ncontexts: {}\n"
    path.write_text(text.format("[128, null, 256]"))
    with pytest.raises(BitlatheError, match=r"sweep\.yaml:3:17: contexts: null is 256 tokens"):
        plan_sweep(path)
    path.write_text(text.format("[null, 128]"))
    assert plan_sweep(path).points == 8
    path.write_text(text.format("[256, null]").replace(", opt-125m", ""))
    assert plan_sweep(path).points == 4  # of images alone: their points say what is impossible


def test_a_chip_is_not_taken_for_a_sweep_nor_a_sweep_for_a_chip(tmp_path):
    with pytest.raises(BitlatheError, match=r"bitmod\.yaml: this file is a chip, not a sweep"):
        plan_sweep(CHIPS / "bitmod.yaml")
    path = tmp_path / "sweep.yaml"
    path.write_text(BASE)
    with pytest.raises(BitlatheError, match=r"sweep\.yaml: this file is a sweep, not a chip"):
        load_arch(path)
