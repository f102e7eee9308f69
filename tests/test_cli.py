"""The command line: real output for machines, and one paragraph for every mistake."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from bitlathe.arch.loader import CHIPS
from bitlathe.cli import main
from bitlathe.workloads.model import SHIPPED as MODELS


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_simulate_json_equals_the_api() -> None:
    import bitlathe as bl

    command = "simulate --arch bitmod --model llama-2-7b --phase decode --fidelity analytic --json"
    result = run(*command.split(), "--mapper", "whole-buffer")
    assert result.exit_code == 0
    expected = bl.simulate("bitmod", "llama-2-7b", "decode", 256, fidelity="analytic")
    assert json.loads(result.stdout) == json.loads(expected.to_json())


def test_simulate_table_names_layers_and_totals() -> None:
    result = run(*["simulate", "--arch", "fp16", "--model", "resnet-18", "--fidelity", "analytic"])
    assert result.exit_code == 0
    assert "conv1" in result.stdout
    assert "clocks" in result.stdout
    assert "area (mm2)" in result.stdout


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


def test_reproduce_prints_a_list_of_rows() -> None:
    rows = json.loads(run("reproduce", "bitmod-hpca25", "--json").stdout)
    keys = (
        "accelerator model phase published_cycles cycles published_onchip_uj onchip_uj "
        "published_total_uj total_uj"
    )
    assert len(rows) == 60
    assert all(set(keys.split()) <= set(row) for row in rows)


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


@pytest.mark.parametrize(("command", "says"), BAD_COMMANDS)
def test_bad_commands(command: str, says: str) -> None:
    check(run(*command.split()), says)
