"""The command line: real output for machines, and one paragraph for every mistake."""

import json
import re
import shutil
import sys
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result

from bitlathe.arch.loader import CHIPS
from bitlathe.cli import main
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.reports.studies.published import STUDIES
from bitlathe.workloads.load import SHIPPED as MODELS


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_simulate_json_equals_the_api() -> None:
    import bitlathe as bl

    command = "simulate --arch bitmod --model llama-2-7b --phase decode --fidelity analytic --json"
    result = run(*command.split(), "--mapper", "whole-buffer")
    assert result.exit_code == 0
    how = {"fidelity": "analytic", "mapper": "whole-buffer"}  # a search tells its time
    expected = bl.simulate("bitmod", "llama-2-7b", "decode", 256, **how)
    assert json.loads(result.stdout) == json.loads(expected.to_json())


def test_simulate_table_names_layers_and_totals() -> None:
    result = run(*["simulate", "--arch", "fp16", "--model", "resnet-18", "--fidelity", "analytic"])
    assert result.exit_code == 0
    assert "conv1" in result.stdout
    assert "clocks" in result.stdout
    assert "area (mm2)" in result.stdout


def test_a_chip_without_areas_says_so() -> None:
    command = "simulate --arch isca18/bf-e --model resnet-18 --fidelity analytic"
    shown = run(*command.split()).stdout
    assert shown.endswith("area: the chip's file states none\n")
    assert "(mm2)" not in shown


def test_simulate_names_layers_that_a_search_counts_otherwise(tmp_path: Path) -> None:
    layers = [{"name": "stem", "out_channels": 3, "kernel": 3, "padding": 1},
              {"name": "head", "type": "linear", "out_channels": 5}]  # fmt: skip
    model = {"model_type": "convnet", "input": [2, 4, 4], "layers": layers}
    (tmp_path / "net.json").write_text(json.dumps(model))
    asked = ["simulate", "--model", str(tmp_path / "net.json"), "--fidelity", "analytic", "--arch"]
    said = {}
    for arch in ("eyeriss-like", "bitmod"):  # the first keeps halos
        found = CliRunner().invoke(main, [*asked, arch])
        said[arch] = [line for line in found.stdout.splitlines() if "not proven" in line]
    assert said["bitmod"] == []
    assert [line.split(": ")[-1] for line in said["eyeriss-like"]] == ["stem"]


def test_simulate_says_what_binds_each_layer_and_the_run() -> None:
    """A port of 4 bits a clock binds all layers; its clocks are the run's but for few."""
    command = "simulate --arch bitmod --model opt-125m --phase decode --context 16"
    slow = [*command.split(), "--fidelity", "analytic", "--set", "dram.bits_per_clock=4"]
    searched = run(*slow, "--mapper", "search-cycles")
    assert searched.exit_code == 0, searched.output
    assert "bound by (share of clocks): dram 100.0 %" in searched.stdout
    assert {"binds", "busy"} <= set(searched.stdout.split())
    ruled = run(*slow, "--mapper", "whole-buffer")
    assert "bound by" not in ruled.stdout
    assert "binds" not in ruled.stdout


def test_set_changes_the_chip() -> None:
    command = "simulate --arch bitmod --model phi-2 --fidelity analytic --json"
    plain = json.loads(run(*command.split()).stdout)
    wide = json.loads(run(*command.split(), "--set", "array.rows=64").stdout)
    assert wide["area_um2"]["pe_array"] == 2 * plain["area_um2"]["pe_array"]
    assert wide["layers"][0]["compute_cycles"] * 2 == plain["layers"][0]["compute_cycles"]


def test_a_users_own_files(tmp_path: Path) -> None:
    chip, model = tmp_path / "mine.yaml", tmp_path / "mine" / "config.json"
    model.parent.mkdir()
    shutil.copy(CHIPS / "bitmod.yaml", chip)
    shutil.copy(MODELS / "llama-2-7b.json", model)
    command = ["simulate", "--fidelity", "analytic", "--json"]
    ours = json.loads(run(*command, "--arch", str(chip), "--model", str(model.parent)).stdout)
    shipped = json.loads(run(*command, "--arch", "bitmod", "--model", "llama-2-7b").stdout)
    assert (ours["arch"], ours["model"]) == ("mine", "mine")
    assert ours["layers"] == shipped["layers"]


def test_lists() -> None:
    for command in ("archs", "models", "formats"):
        rows = json.loads(run(command, "--json").stdout)
        names = {row["name"] for row in rows}
        assert {"archs": "bitmod", "models": "phi-2", "formats": "nf4"}[command] in names
        assert run(command).exit_code == 0
    assert run("archs").stdout.splitlines()[-1] == "systems of chips: bitmod-pair"


def test_a_context_that_no_model_takes_leaves_nothing_printed() -> None:
    for context in ("0", "1025"):
        result = run("models", "gpt2", "--context", context)
        assert result.exit_code
        assert not result.stdout


def test_help_is_whole() -> None:
    """No line is cut at 80 columns, every option says what it is, every study is named."""
    shown = run("--help").stdout
    for name, command in main.commands.items():
        brief = command.get_short_help_str(80 - 2 - max(map(len, main.commands)) - 2)
        assert not brief.endswith("..."), name
        assert " ".join(brief.split()) in " ".join(shown.split())
        silent = [p.name for p in command.params if isinstance(p, click.Option) and not p.help]
        assert silent == [], name
    assert "\n  First steps:\n    bitlathe formats; bitlathe archs" in shown
    told = " ".join(run("reproduce", "--help").stdout.split())
    assert [study for study in STUDIES if study not in told] == []


def test_reproduce_prints_a_list_of_rows() -> None:
    rows = json.loads(run("reproduce", "bitmod-hpca25", "--json").stdout)
    keys = (
        "accelerator model phase published_cycles cycles published_onchip_uj onchip_uj "
        "published_total_uj total_uj"
    )
    assert len(rows) == 60
    assert all(set(keys.split()) <= set(row) for row in rows)


def test_reproduce_bitfusion_prints_rows_and_networks() -> None:
    data = json.loads(run("reproduce", "bitfusion-isca18", "--json").stdout)
    keys = (
        "rows columns port_bits network layer cycles stall_cycles wbuf_read wbuf_write ibuf_read "
        "ibuf_write obuf_read obuf_write dram_read dram_write"
    )
    assert len(data["rows"]) == 305
    assert all(list(row) == keys.split() for row in data["rows"])
    keys = "network cycles milliwatts eyeriss_cycles eyeriss_milliwatts speed energy"
    assert all(set(keys.split()) <= set(line) for line in data["networks"])


def test_reproduce_ant_prints_rows_and_means() -> None:
    data = json.loads(run("reproduce", "ant-micro22", "--json").stdout)
    keys = "network chip cycles stall_cycles time static dram buffer core"
    assert len(data["rows"]) == 48
    assert all(list(row)[:9] == keys.split() for row in data["rows"])
    chips = ["ANT-OS", "ANT-WS", "BitFusion", "OLAccel", "BiScaled", "AdaFloat"]
    assert [line["chip"] for line in data["means"]] == chips


CHIP = (CHIPS / "bitmod.yaml").read_text()
MODEL = json.loads((MODELS / "llama-2-7b.json").read_text())


def chip(old: str, new: str) -> tuple[str, str]:
    assert old in CHIP
    return "chip.yaml", CHIP.replace(old, new)


def model(**changes: object) -> tuple[str, str]:
    data = {k: v for k, v in (MODEL | changes).items() if v != "absent"}
    return "config.json", json.dumps(data, indent=2)


BAD_FILES = [
    (chip("rows: 32", "row: 32"), "did you mean 'rows'"),
    (chip("rows: 32", "rows: many"), "array.rows"),
    (chip("rows: 32", "rows: 0"), "greater than 0"),
    (chip("512, banks", "512 kb, banks"), "KiB"),
    (chip("size_kib: 512", "size_kib: 99999999"), "banks"),
    (chip("array:", "array"), "not valid YAML"),
    (chip("bitmod_fp4", "bitmod_fp5"), "bitmod_fp4"),
    (chip("title: BitMoD\n", "title: BitMoD\ntitle: B\n"), "given twice"),
    (("chip.yaml", ""), "empty"),
    (("chip.yaml", "\0"), "not valid YAML"),
    (model(hidden_size="absent"), "hidden_size"),
    (model(hidden_size="4096"), "hidden_size"),
    (model(num_attention_heads=-32), "num_attention_heads"),
    (model(num_key_value_heads=5), "num_key_value_heads"),
    (model(model_type="lama"), "llama"),
    (model(num_hidden_layers=1.5), "num_hidden_layers"),
    (("config.json", '{"model_type": "llama",}'), "config.json:1:"),
    (("config.json", "[]"), "config.json"),
    (("config.json", ""), "config.json"),
]


def check(result: Result, says: str) -> None:
    assert result.exit_code == 2, result.output
    assert says in result.stderr
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert result.stdout == ""


@pytest.mark.parametrize(("file", "says"), BAD_FILES)
def test_bad_files(tmp_path: Path, file: tuple[str, str], says: str) -> None:
    name, text = file
    path = tmp_path / name
    path.write_text(text)
    arch, network = (str(path), "phi-2") if name == "chip.yaml" else ("bitmod", str(path))
    result = run("simulate", "--arch", arch, "--model", network, "--fidelity", "analytic")
    check(result, says)
    assert name in result.stderr


GOOD = "simulate --arch bitmod --model phi-2 --fidelity analytic"
BAD_COMMANDS = [
    ("simulat", "Did you mean 'simulate'"),
    ("simulate --arch bitmod", "--model"),
    ("simulate --arch bitmod --modle phi-2", "--model"),
    ("simulate --arch bitmd --model phi-2", "did you mean 'bitmod'"),
    ("simulate --arch bitmod --model phi2", "did you mean 'phi-2'"),
    ("simulate --arch /nowhere/x.yaml --model phi-2", "No such file"),
    (f"{GOOD} --phase train", "prefill"),
    (f"{GOOD} --context 0", "context"),
    (f"{GOOD} --context many", "'many' is not a valid integer"),
    (f"{GOOD} --batch -4", "batch"),
    (f"{GOOD} --fidelity exact", "analytic"),
    (f"{GOOD} --mapper best", "whole-buffer"),
    (f"{GOOD} --set array.rows", "KEY=VALUE"),
    (f"{GOOD} --set array.row=3", "did you mean 'array.rows'"),
    (f"{GOOD} --set array.rows=few", "array.rows"),
    (f"{GOOD} --set formats.linear.weight=int4@h128", "^"),
    ("simulate --arch bitmod --model bert-base --phase decode --fidelity analytic", "decode"),
    ("simulate --arch bitmod --model resnet-18 --context 9 --fidelity analytic", "context"),
    (
        "simulate --arch bitmod --model phi-2 --set formats.linear.weight=fp16",
        "cannot take 'fp16' as weights",
    ),
    ("reproduce bitmod", "bitmod-hpca25"),
    ("reproduce bitmod-hpca25 --out /dev/null/x", "cannot write"),
    ("formats bitmod_fp9", "bitmod_fp"),
    ("formats nowhere.yaml", "nowhere.yaml: cannot read"),
    ("formats int4@g64", "or 'int4'"),
    ("quantize /nowhere.npy --scheme int4", "/nowhere.npy"),
    ("quantize /nowhere.npy --scheme nowhere.yaml@g64", "nowhere.yaml: cannot read"),
]


def test_json_has_null_for_what_is_no_number(tmp_path: Path) -> None:
    np.save(tmp_path / "z.npy", np.zeros((4, 64), np.float32))
    result = run("quantize", str(tmp_path / "z.npy"), "--scheme", "int4@g64", "--json")
    (row,) = json.loads(result.stdout, parse_constant=pytest.fail)
    assert (row["relative_mse"], row["sqnr_db"]) == (0.0, None)
    for command in (
        "formats",
        "formats fp16",
        "formats e8m0",
        "archs",
        "models",
        "simulate --arch bitmod --model resnet-18 --fidelity analytic",
    ):
        json.loads(run(*command.split(), "--json").stdout, parse_constant=pytest.fail)


def test_a_users_own_format(tmp_path: Path) -> None:
    mine = tmp_path / "My.yaml"
    mine.write_text("name: my3\nvalues: [0, 1, 2, 5, -1, -2, -5]\n")
    shown = json.loads(run("formats", str(mine), "--json").stdout)
    assert [code["value"] for code in shown["formats"][0]["codes"][:4]] == [0, 1, 2, 5]
    assert (shown["name"], shown["source"], shown["formats"][0]["name"]) == (
        str(mine),
        str(mine),
        "my3",
    )
    assert "my3, 3 bits" in run("formats", str(mine)).stdout
    np.save(tmp_path / "w.npy", np.eye(8, 64, dtype=np.float32))
    scheme = f"{mine}@g64"
    (row,) = json.loads(
        run("quantize", str(tmp_path / "w.npy"), "--scheme", scheme, "--json").stdout
    )
    assert (row["scheme"], row["bits_per_element"]) == (scheme, 3.25)


def test_terms_on_a_fixed_point_are_marked(tmp_path: Path) -> None:
    assert "largest error is 2." in run("formats", "fp8_e4m3").stdout
    shown = json.loads(run("formats", "fp8_e4m3", "--json").stdout)["formats"][0]
    assert (shown["term_unit"], shown["term_error"]) == (4.0, 2.0)
    assert "rounded" not in run("formats", "int8").stdout
    np.save(tmp_path / "w.npy", np.eye(8, 64, dtype=np.float32))
    command = ("quantize", str(tmp_path / "w.npy"), "--scheme", "fp8_e4m3")
    assert "fp8_e4m3@channel: terms are of its values rounded, by up to 2." in run(*command).stdout
    assert json.loads(run(*command, "--json").stdout)[0]["term_error"] == 2.0


def test_quantize_says_what_it_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    np.savez(path, w=np.eye(4, 64), bias=np.ones(4), ids=np.arange(3))
    shown = run("quantize", str(path), "--scheme", "int4").stdout
    assert "Passed over 2 (vectors, integers, empty): bias, ids" in shown
    np.savez(path, w=np.eye(4, 64))
    assert "Passed over" not in run("quantize", str(path), "--scheme", "int4").stdout


@pytest.mark.parametrize("name", ["minilm-l6", "MiniLM_L6", " MiniLM L6 "])
def test_the_encoder_is_known_by_any_spelling_of_its_name(name: str) -> None:
    """As chips and models are: refused for the option, not for the name."""
    command = ["accuracy", "--model", name, "--scheme", "int4@g64", "--tokens", "5"]
    check(run(*command), "--tokens: minilm-l6 embeds fixed passages")


@pytest.mark.filterwarnings("default")
def test_a_warning_is_one_line_without_its_place_in_the_code(tmp_path: Path) -> None:
    """1e-9 / 7 is far below 2^-24, the least fp16: one line a scheme, results as ever."""
    np.save(tmp_path / "w.npy", np.full((2, 64), 1e-9, np.float32))
    schemes = ("int4@g64", "int4@g32")
    command = ["quantize", str(tmp_path / "w.npy"), "--scheme", schemes[0], "--scheme", schemes[1]]
    result = run(*command, "--json")
    assert result.exit_code == 0
    assert len(json.loads(result.stdout)) == 2
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    for line, scheme in zip(lines, schemes, strict=True):
        assert line.startswith(f"Warning: tensor 'w': {scheme}: the scale of group 0")
        assert "UserWarning" not in line


@pytest.mark.parametrize(("command", "says"), BAD_COMMANDS)
def test_bad_commands(command: str, says: str) -> None:
    check(run(*command.split()), says)


# -- numbers, hints, reasons --------------------------------------------------------------------


@pytest.mark.parametrize("columns", [60, 80, 200, None])
def test_tables_of_commands_show_every_digit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: int | None
) -> None:
    """At any width and in a pipe: what `--json` holds stands in the table."""
    if columns is None:
        monkeypatch.delenv("COLUMNS", raising=False)
    else:
        monkeypatch.setenv("COLUMNS", str(columns))
    command = ["simulate", "--arch", "bitmod", "--model", "llama-2-7b", "--fidelity", "analytic"]
    data = json.loads(run(*command, "--json").stdout)
    shown = run(*command).stdout
    for layer in data["layers"]:
        assert f"{layer['total']['cycles']:,}" in shown
        assert layer["name"] in shown
    assert "energy uJ" in " ".join(shown.split())
    weights = np.random.default_rng(0).standard_normal((8, 128), np.float32)
    np.savez(tmp_path / "w.npz", **{f"encoder.layer.{'x' * 70}.{k}": weights for k in (1, 2)})
    command = ["quantize", str(tmp_path / "w.npz"), "--scheme", "int4@g128"]
    row = json.loads(run(*command, "--json").stdout)[0]
    shown = run(*command).stdout
    assert f"{row['sqnr_db']:.4g}" in shown
    assert f"{row['relative_mse']:.4g}" in shown
    assert "…" not in shown


def test_trace_as_json() -> None:
    """The picture of docs and doctest, 3 x 2 x 2 weight-stationary: 7 clocks, edges by hand."""
    data = json.loads(run(*["trace", "--gemm", "3x2x2", "--array", "2x2", "--json"]).stdout)
    assert (data["cycles"], data["rows"], data["cols"]) == (7, 2, 2)
    assert data["reads"] == [2, 2, 1, 2, 2, 1, 0]
    assert data["writes"] == [0, 0, 0, 1, 2, 2, 1]
    assert [len(clocks) for clocks in data["activity"]] == [7] * 4
    assert data["activity"][0] == [0, 1, 3, 3, 3, 0, 0]
    tile = json.loads(
        run(
            *[
                "trace",
                "--kind",
                "tile",
                "--gemm",
                "1x1x8",
                "--array",
                "1x1",
                "--format",
                "int4",
                "--json",
            ]
        ).stdout
    )
    assert len(tile["reads"]) == tile["cycles"] == len(tile["activity"][0])


def test_the_help_of_trace_names_every_ending_that_it_writes() -> None:
    from bitlathe.cli.base import PICTURES
    from bitlathe.sim.array.picture import KINDS

    assert {*PICTURES, ".csv", ".json"} == set(KINDS)
    told = " ".join(run("trace", "--help").stdout.split())
    (line,) = re.findall(r"--out PATH +(.*?) file to write", told)
    assert set(re.findall(r"\.[a-z]+", line)) == set(KINDS)


def test_a_trace_written_and_printed_as_json(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    data = json.loads(run(*f"trace --gemm 3x2x2 --array 2x2 --json --out {file}".split()).stdout)
    assert data["cycles"] == 7
    assert file.read_text().startswith("clock")


def test_a_missing_matplotlib_is_said_before_anything_is_computed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("bitlathe.cli.base.find_spec", lambda name: None)
    monkeypatch.setattr("bitlathe.sim.array.systolic.trace.timeline", pytest.fail)
    result = run(*f"trace --gemm 2x2x2 --out {tmp_path / 'x.png'}".split())
    check(result, "pictures need matplotlib: pip install matplotlib, or in the checkout")


def test_no_hint_names_a_distribution_that_is_not_published() -> None:
    """The project is on no index: who registers its name would be run by those who follow."""
    root = Path(__file__).parents[1]
    hints = [
        f"{path.relative_to(root)}: {line.strip()}"
        for kind in ("py", "md", "toml")
        for path in root.rglob(f"*.{kind}")
        if not {".venv", "runs"} & set(path.relative_to(root).parts) and path != Path(__file__)
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"pip3? install[^\n]*[ '\"]bitlathe(?![\w/.])", line)
    ]
    assert hints == []


CNN = "arch: bitmod\nmodels: [resnet-18, opt-125m]\nphases: [prefill, decode]\ncontexts: [null]\n"


def test_reasons_of_failed_points_are_on_the_terminal(tmp_path: Path) -> None:
    """A network of convolutions has no decode: said, and no fault of the run's."""
    (tmp_path / "s.yaml").write_text(CNN)
    command = ["sweep", str(tmp_path / "s.yaml"), "--out", str(tmp_path / "out"), "--jobs", "1"]
    result = run(*command)
    assert result.exit_code == 0
    assert "1 failed" in result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith("1 point: resnet-18")
    assert "decode" in line
    (reason,) = json.loads(run(*command, "--json").stdout)["reasons"]
    assert (reason["count"], reason["status"]) == (1, "refused")
    assert line == f"1 point: {reason['error']}"


def test_points_that_could_not_be_computed_end_with_status_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bitlathe.reports.explore import evaluate

    simulate = evaluate.simulate

    def broken(arch: object, model: object, phase: str, *rest: object, **options: object) -> object:
        if phase == "decode":
            raise ZeroDivisionError("in the middle")
        return simulate(arch, model, phase, *rest, **options)

    monkeypatch.setattr(evaluate, "simulate", broken)
    (tmp_path / "s.yaml").write_text(CNN.replace("resnet-18, ", ""))
    result = run("sweep", str(tmp_path / "s.yaml"), "--out", str(tmp_path / "out"), "--jobs", "1")
    assert result.exit_code == 3
    assert result.stderr.splitlines() == [
        "1 point: ZeroDivisionError: in the middle",
        "Error: 1 of 2 points could not be computed; the same command tries them again.",
    ]
    monkeypatch.undo()
    again = run("sweep", str(tmp_path / "s.yaml"), "--out", str(tmp_path / "out"), "--jobs", "1")
    assert (again.exit_code, again.stderr) == (0, "")


@pytest.mark.parametrize(
    ("count", "last"), [(8, "... and 3 other reasons"), (6, "... and 1 other reason")]
)
def test_many_reasons_are_counted(count: int, last: str) -> None:
    from bitlathe.reports.explore.sweep import SweepSummary
    from bitlathe.reports.explore.tables import Reason

    reasons = tuple(Reason(status="refused", error=f"e{k}", count=9 - k) for k in range(count))
    done = SweepSummary(folder="f", points=99, evaluated=0, reused=0, rows=0, ruled_out=0,
                        failures=44, seconds=1.0, files=(), reasons=reasons)  # fmt: skip
    assert done.reasons_text() == [
        *(f"{9 - k} points: e{k}" for k in range(5)),
        f"{last}, in failures.csv",
    ]


@pytest.mark.parametrize(
    "command",
    [("report", ""), ("sweep", "x.yaml", "--out", ""), ("quantize", "", "--scheme", "int4")],
)
def test_an_empty_name_is_not_the_folder_one_is_in(command: tuple[str, ...]) -> None:
    check(run(*command), "an empty name; write '.'")


def test_what_the_report_will_need_is_said_before_the_sweep_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "s.yaml").write_text(CNN)
    assert run("sweep", str(tmp_path / "s.yaml"), "--dry-run").stderr == ""
    monkeypatch.setattr("bitlathe.cli.reports.find_spec", lambda name: None)
    result = run("sweep", str(tmp_path / "s.yaml"), "--dry-run")
    assert result.exit_code == 0
    assert result.stderr == (
        "Note: the report of a sweep needs matplotlib and jinja2: pip install matplotlib jinja2, "
        "or in the checkout pip install -e '.[report]'.\n"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("simulate --phase prefil", "--phase: unknown value 'prefil'; did you mean 'prefill'?"),
        ("simulate --fidelity exact", "--fidelity: unknown value 'exact'. Known: analytic, cycle"),
        ("simulate --mapper best", "--mapper: unknown value 'best'"),
        ("simulate --logits first", "--logits: unknown value 'first'"),
        ("trace --gemm 1x1x1 --dataflow xs", "--dataflow: unknown value 'xs'"),
        ("trace --gemm 1x1x1 --kind tile --skip all", "--skip: unknown value 'all'"),
    ],
)
def test_a_name_that_an_option_does_not_know_is_refused_with_the_option(
    arguments: str, words: str
) -> None:
    more = ["--arch", "bitmod", "--model", "opt-125m"] if arguments.startswith("sim") else []
    done = CliRunner().invoke(main, [*arguments.split(), *more])
    assert done.exit_code == 2
    assert f"Error: {words}" in done.stderr


@pytest.mark.parametrize(
    ("pes", "words"),
    [
        ("8x9", "72 PEs; give 64 at most."),
        ("0x1", "write ROWSxCOLUMNS, for example 2x3."),
        ("4", "write ROWSxCOLUMNS, for example 2x3."),
    ],
)
def test_an_array_of_hardware_that_is_none_is_refused_by_its_option(
    tmp_path: Path, pes: str, words: str
) -> None:
    done = run("rtl", "--arch", "bitmod", "--out", str(tmp_path / "rtl"), "--pes", pes)
    assert done.exit_code == 2
    assert f"Error: --pes '{pes}': {words}" in done.stderr
    assert not (tmp_path / "rtl").exists()


def test_every_command_has_an_example_that_it_reads() -> None:
    from bitlathe.cli.guide import EXAMPLES

    assert set(EXAMPLES) == set(main.commands)
    for name, line in EXAMPLES.items():
        words = line.split()
        assert line.startswith(f"{name} ")
        assert f"bitlathe {line}" in " ".join(run(*name.split(), "--help").stdout.split())
        command = main.commands[name]
        known = {option for param in command.params for option in param.opts}
        assert {word for word in words if word.startswith("--")} <= known, line


def completed(*words: str) -> list[str]:
    from click.shell_completion import ShellComplete

    shell = ShellComplete(main, {}, "bitlathe", "_BITLATHE_COMPLETE")
    return [item.value for item in shell.get_completions(list(words[:-1]), words[-1])]


def test_the_shell_completes_names() -> None:
    assert completed("simulate", "--arch", "bitmod-") == ["bitmod-int6", "bitmod-pair"]
    assert "opt-125m" in completed("simulate", "--model", "opt")
    assert {"bitmod_fp3_er", "bitmod_fp3_ea"} <= set(completed("formats", "bitmod_fp3_e"))
    assert "nvfp4" in completed("quantize", "w.npy", "--scheme", "nv")
    assert completed("simulate", "--phase", "d") == ["decode"]
    assert completed("schema", "ch") == ["chip"]
    assert completed("sim") == ["simulate"]


def test_help_shows_choices() -> None:
    shown = run("simulate", "--help").stdout
    names = shown.partition("Shipped names")[2].replace(",", "").split()
    assert {"bitmod", "hpca25/ant", "bitmod-pair", "llama-2-7b"} <= set(names)
    assert "Shipped names" not in run("accuracy", "--help").stdout + run("trace", "--help").stdout
    assert "[prefill|decode]" in shown
    assert "[analytic|cycle]" in shown


@pytest.mark.filterwarnings("default")
def test_strict_ends_with_status_1_where_there_is_a_note(tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", np.full((2, 64), 1e-9, np.float32))
    command = ("quantize", str(tmp_path / "w.npy"), "--scheme", "int4@g64")
    done = run("--strict", *command)
    assert done.exit_code == 1
    assert done.stderr.endswith("Error: --strict: there is a note or a warning above.\n")
    assert run(*command).exit_code == 0
    assert run("--strict", "formats", "int4").exit_code == 0
    points = "models: [resnet-18]\nphases: [prefill, decode]\nmapper: whole-buffer\n"
    (tmp_path / "s.yaml").write_text("arch: bitmod\n" + points)
    sweep = ("sweep", str(tmp_path / "s.yaml"), "--out", str(tmp_path / "out"), "--jobs", "1")
    assert (run(*sweep).exit_code, run(*sweep, "--strict").exit_code) == (0, 1)


def test_what_people_try_is_read(tmp_path: Path) -> None:
    from bitlathe.arch import load_arch

    chip = tmp_path / "mine.yaml"
    text = CHIP.replace("gb_per_s: 32", "gb_per_s: 32 GB/s").replace("ddr4_2666", "DDR4-2666")
    text = text.replace("weight: {size_kib: 512,", "weight: {size_kib: 512 KB,")
    chip.write_text(text)
    ours, shipped = load_arch(chip), load_arch("bitmod")
    assert ours.plain()["dram"] | {"component": ""} == shipped.plain()["dram"] | {"component": ""}
    assert ours.dram.part == shipped.dram.part
    assert ours.buffers == shipped.buffers
    systolic = {"array.kind": "systolic", "array.dataflow": "output_stationary"}
    assert load_arch("fp16", systolic).array.dataflow == "os"
    chip.write_text(CHIP.replace("gb_per_s: 32", "gb_per_s: 32 Gb/s"))
    check(run("archs", str(chip)), "'32 Gb/s' is not a bandwidth")
    for text in ("250 MHz", "0.25 GHz", 0.25):
        assert load_arch("bitmod", {"technology.clock_ghz": text}).technology.clock_ghz == 0.25
    with pytest.raises(BitlatheError, match="'4 ns' is not a clock: write a number of GHz, or"):
        load_arch("bitmod", {"technology.clock_ghz": "4 ns"})


def test_a_run_that_compiles_says_so_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bitlathe.cli import base

    base.first_run()
    assert base.COMPILES.handlers == []  # a program that calls a command is told nothing
    monkeypatch.setattr("sys.__stderr__", sys.stderr)
    base.first_run()
    for name in ("a", "b"):
        base.COMPILES.info("compiles %s", name)
    assert capsys.readouterr().err == (
        "Note: what is needed is compiled at its first use, up to a minute or two, and kept.\n"
    )


def test_every_command_prints_json() -> None:
    lacking = [n for n, c in main.commands.items() if "as_json" not in {p.name for p in c.params}]
    assert lacking == []


@pytest.mark.parametrize(
    "command",
    [
        "archs {long}.yaml",
        "quantize {tensor} --scheme int4@g8 --plot {long}.png",
        "simulate --arch bitmod --model opt-125m --timeline {long}.json",
    ],
)
def test_a_name_too_long_for_the_file_system_is_said(tmp_path: Path, command: str) -> None:
    np.save(tmp_path / "t.npy", np.linspace(-1, 1, 16, dtype="f4").reshape(2, 8))
    result = run(*command.format(long="a" * 5000, tensor=tmp_path / "t.npy").split())
    assert result.exit_code == 2, result.output
    assert re.search(r"\AError: .*a\.\.\.a.*: File name too long\.\n\Z", result.stderr)
    assert len(result.stderr) < 400
