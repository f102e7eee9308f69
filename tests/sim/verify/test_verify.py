"""`bitlathe verify`: every rung agrees, and a disagreement is seen and ends with status 1."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from bitlathe.arch import arch_names, load_arch
from bitlathe.arch.pe import AntPE, BitSerialPE, FpMacPE, IntMacPE, LutPE, OlivePE
from bitlathe.cli import main
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.formats.format import Format
from bitlathe.sim.rtl import generate
from bitlathe.sim.rtl.generate import pe_design
from bitlathe.sim.rtl.testbench import run_iverilog
from bitlathe.sim.rtl.tools import missing_for_iverilog
from bitlathe.sim.rtl.verilog import Design
from bitlathe.sim.verify import run as verifying
from bitlathe.sim.verify.dots import DOTS
from bitlathe.sim.verify.reference import reference
from rtl_cases import CONFIGURATIONS

OTHERS = {
    "fp16 into fp32": FpMacPE(),
    "fp8 into fp16, three lanes": FpMacPE(
        activation="fp8_e4m3", weight="fp8_e5m2", accumulator="fp16", lanes=3
    ),
    "fp16 x int8, rounded, saturating": FpMacPE(
        weight="int8", product="fp16", accumulator="fp16", overflow="saturate", lanes=5
    ),
    "fp6 into fp4": FpMacPE(activation="fp6_e3m2", weight="fp6_e2m3", accumulator="fp4_e2m1"),
    "fp32 into bf16": FpMacPE(activation="fp32", weight="fp32", accumulator="bf16", lanes=2),
    "tables": LutPE(inputs=3),
    "flint": AntPE(),
    "pairs": OlivePE(mac=IntMacPE(weight_bits=4, accumulator_bits=12, lanes=2)),
}
SUBJECTS = CONFIGURATIONS | {name: (pe, "") for name, pe in OTHERS.items()}


@pytest.mark.parametrize("name", SUBJECTS)
def test_the_bit_rung_gives_what_exact_arithmetic_gives(name: str) -> None:
    pe, weight = SUBJECTS[name]
    dots = DOTS[pe.kind]
    operands = dots.operands(pe, weight, (40, 23), 3)
    found, wanted = dots.run(pe, weight, operands, "cpu"), reference(pe, weight, operands)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what takes seconds to start: the simulator of CUDA, compilers."""
    monkeypatch.setattr(
        verifying,
        "cuda_results",
        lambda jobs, _: [DOTS[p.kind].run(p, w, o, "cpu") for p, w, o in jobs],
    )
    monkeypatch.setattr(verifying, "missing_for_cxxrtl", lambda: "needs pyosys: pip install pyosys")
    monkeypatch.setattr(verifying, "missing_for_iverilog", lambda: "needs Icarus Verilog")


def test_what_is_not_run_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    _alone(monkeypatch)
    done = CliRunner().invoke(main, ["verify", "--arch", "gemmini-like", "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.output)
    assert [check["rung"] for check in said["checks"]] == ["bit", "cuda (simulator)"]
    assert all(check["agree"] and check["cases"] == 96 for check in said["checks"])
    assert said["checks"][0] == {
        "name": "gemmini-like int_mac",
        "rung": "bit",
        "against": "reference",
        "cases": 96,
        "agree": True,
    }
    assert said["not_run"][0] == {
        "name": "gemmini-like int_mac, hardware (compiled)",
        "why": "needs pyosys: pip install pyosys",
    }


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _alone(monkeypatch)
    monkeypatch.setattr("bitlathe.datatypes.kernels.cuda.launch.device_available", lambda: False)
    monkeypatch.setattr("bitlathe.sim.verify.cuda.device_available", lambda: False)
    done = CliRunner().invoke(main, ["verify", "--arch", "gemmini-like", "--device", "cuda"])
    assert done.exit_code == 2
    assert "numba finds no CUDA device" in done.output
    with pytest.raises(BitlatheError, match="device 'gpu': 'cpu'"):
        verifying.verify((), device="gpu")
    command = ["verify", "--arch", "gemmini-like", "--device", "cpu", "--json"]
    said = json.loads(CliRunner().invoke(main, command).output)
    assert said["checks"][1]["rung"] == "cuda (simulator)"


def test_a_disagreement_ends_with_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    _alone(monkeypatch)
    monkeypatch.setattr(
        verifying, "reference", lambda *job: tuple(each + 1 for each in reference(*job))
    )
    done = CliRunner().invoke(main, ["verify", "--arch", "gemmini-like"])
    assert done.exit_code == 1
    assert "number 0:" in done.output


def test_bad_places_and_chips_are_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "inside"):
        done = CliRunner().invoke(main, ["rtl", "--arch", "bitmod", "--out", str(folder)])
        assert done.exit_code == 2
        assert "is a file, not a folder" in done.output
    chip = load_arch(
        "bitmod", {"formats.linear.weight": {"bits": 4}, "formats.attention.weight": {"bits": 8}}
    )
    with pytest.raises(BitlatheError, match="a scheme, such as"):
        verifying.subjects_of(chip)


def test_what_is_written_passes_in_another_simulator(tmp_path: Path) -> None:
    out = ["--out", str(tmp_path / "out"), "--json"]
    command = ["rtl", "--arch", "ant-fp16", "--rows", "40", *out]
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 0, done.output
    (said,) = json.loads(done.output)
    assert {"fp_mac.v", "testbench.v", "rows.hex"} <= set(said["files"])
    if missing_for_iverilog() is None:
        assert run_iverilog(Path(said["folder"])).agree


def _written(row: str) -> dict[str, tuple[str, str]]:
    """Return chips of a table's row, each with what is said of its PE and of its array."""
    chips, pe, array = row.strip("| ").split(" | ")
    return dict.fromkeys(re.findall(r"`([^`]+)`", chips), (pe, array))


def test_the_page_says_what_is_written_of_every_chip(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "verify.md").read_text(encoding="utf-8")
    table = page.split("| chips | PE | array |\n|---|---|---|\n")[1].split("\n\n")[0]
    said: dict[str, tuple[str, str]] = {}
    for row in table.splitlines():
        found = _written(row)
        assert not found.keys() & said.keys()
        said |= found
    assert said.keys() == set(arch_names())
    for number, (chip, cells) in enumerate(said.items()):
        for cell, more in zip(cells, ((), ("--pes", "1x1")), strict=True):
            out = tmp_path / f"{number}{len(more)}"
            command = ["rtl", "--arch", chip, "--rows", "1", "--out", str(out), *more]
            done = CliRunner().invoke(main, command)
            (name, *_) = re.findall(r"`([^`]+)`", cell)
            if cell.startswith("refused, "):
                assert (done.exit_code, out.exists()) == (2, False), chip
                assert re.match(rf"Error: {re.escape(name)}(:| is )", done.stderr), done.stderr
            else:
                assert done.exit_code == 0, done.output
                assert all((each / f"{name}.v").is_file() for each in out.iterdir()), chip


def test_an_array_of_another_dataflow_than_the_chips_is_said_to_be_one(tmp_path: Path) -> None:
    command = ["rtl", "--rows", "3", "--pes", "1x1", "--out", str(tmp_path / "out"), "--arch"]
    done = CliRunner().invoke(main, [*command, "gemmini-like"])
    assert "The array that is written has dataflow ws; os is of another array" in done.stderr
    assert (tmp_path / "out" / "int_mac" / "stationary_array.v").is_file()
    done = CliRunner().invoke(main, [*command, "bitmod"])
    assert (done.exit_code, done.stderr) == (0, "")
    for chip, why in (
        (
            ["gemmini-like", "--set", "array.dataflow=is"],
            "array.dataflow 'is': systolic arrays are",
        ),
        (
            ["fp16", "--set", "array.kind=systolic", "--set", "array.dataflow=ws"],
            "pe.kind: no weight",
        ),
    ):
        done = CliRunner().invoke(main, [*command, *chip])
        assert (done.exit_code, done.stderr.startswith(f"Error: {why}")) == (2, True), done.stderr


def test_no_folder_is_written_where_one_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    command = ["rtl", "--arch", "bitmod", "--rows", "3", "--out", str(out)]

    def one_has_none(pe: BitSerialPE, weight: Format) -> Design:
        if weight.name == "int8":
            raise BitlatheError("no hardware for int8")
        return pe_design(pe, weight)

    with monkeypatch.context() as patch:
        patch.setattr(generate, "pe_design", one_has_none)
        done = CliRunner().invoke(main, command)
    assert (done.exit_code, done.output) == (2, "Error: no hardware for int8\n")
    assert not out.exists()

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "name")

    monkeypatch.setattr(Path, "write_text", refused)
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2
    assert done.output.startswith(f"Error: cannot write to {out}")
    assert "Permission denied." in done.output
