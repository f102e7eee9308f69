"""`bitlathe quantize` on folders: what it writes, compares and refuses."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from bitlathe.cli import main
from bitlathe.datatypes import read_checkpoint
from bitlathe.datatypes.weights.safetensors_file import Stored, write_stored


@pytest.fixture
def source(tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "model"
    folder.mkdir()
    shapes = {"a.weight": (8, 64), "b.weight": (4, 32), "norm": (64,)}
    tensors = {n: Stored.of(rng.normal(size=s).astype(np.float32)) for n, s in shapes.items()}
    write_stored(tensors, {}, folder / "model.safetensors")
    return folder


def run(*words):
    return CliRunner().invoke(main, ["quantize", *map(str, words)])


def test_a_folder_is_written(source, tmp_path):
    out = tmp_path / "out"
    shown = run(source, "--scheme", "int4@g32", "--rule", "b.*=nf4@g16", "--out", out)
    assert shown.exit_code == 0, shown.output
    assert "Left as they are, 1: norm" in shown.stdout
    # 8 x 64 at 4.5 bits, 4 x 32 at 4 + 32/16, 64 in float32
    assert f"{out}: {288 + 96 + 256} bytes of tensors" in shown.stdout
    found = read_checkpoint(out)
    assert [str(found[n].scheme) for n in ("a.weight", "b.weight")] == ["int4@g32", "nf4@g16"]
    again = run(source, "--scheme", "int4", "--out", out)
    assert "it is a folder with files; give the path of a new folder" in again.output
    rows = json.loads(run(source, "--scheme", "int4", "--out", tmp_path / "o", "--json").stdout)
    assert [row["scheme"] for row in rows] == ["int4@channel", "int4@channel", ""]


def test_schemes_by_name_are_compared(source):
    rows = json.loads(run(source, "--rule", "b.*=int8", "--scheme", "int4", "--json").stdout)
    assert [row["scheme"] for row in rows] == ["int4@channel", "int8@channel", "by name"]
    assert rows[2]["terms_per_weight"] is None
    shown = run(source, "--rule", "b.*=int8", "--include", "*.weight").stdout
    assert "Passed over 2 (vectors, integers, empty, by pattern): a.weight, norm" in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--scheme or --rule is needed"),
        (["--rule", "int8"], "--rule 'int8': write PATTERN=SCHEME"),
        (["--rule", "a=int8", "--scheme", "int4", "--scheme", "int3"], "give one --scheme"),
        (["--scheme", "int4", "--layout", "bitlathe"], "give a folder as --out"),
        (["--scheme", "int4", "--scheme", "int3", "--out", "o"], "--out: give one --scheme"),
        (["--scheme", "int4", "--out", "o", "--layout", "gguf"], "unknown layout 'gguf'"),
        (["--scheme", "int4", "--exclude", "c.*"], "pattern 'c.*' matches no tensor; there are"),
        (["--scheme", "int4", "--include", "norm"], "no tensor to quantize"),
        (["--scheme", "int4", "--exclude", "*"], "--exclude, --rule: they leave no tensor to quan"),
    ],
)
def test_options_that_do_not_go_together(source, words, said):
    found = run(source, *words)
    assert found.exit_code != 0
    assert said in found.output


def test_what_is_quantized_is_not_compared_as_weights(source, tmp_path):
    for layout, said in ("bitlathe", "quantized tensors already"), ("compressed-tensors", "it is"):
        out = tmp_path / layout
        assert run(source, "--scheme", "int4@g32", "--layout", layout, "--out", out).exit_code == 0
        found = run(out, "--scheme", "int4")
        assert found.exit_code == 2
        assert said in found.output


def test_names_are_shown_as_they_can_be_printed(source):
    write_stored({"\x1b[31m": Stored.of(np.ones(2))}, {}, source / "odd.safetensors")
    passed = run(source, "--scheme", "int4").stdout
    missed = run(source, "--scheme", "int4", "--exclude", "\x1b[32m").output
    assert "\\x1b[31m" in passed
    assert "\x1b" not in passed + missed
