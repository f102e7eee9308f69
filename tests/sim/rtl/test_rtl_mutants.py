"""Hardware with one gate wrong is noticed: mutants of netlists, run like the design."""

from pathlib import Path

import pytest

from bitlathe.sim.rtl.generate import pe_case, pe_design
from bitlathe.sim.rtl.testbench import files_of, run_iverilog, write_files
from rtl_cases import CONFIGURATIONS, needs_iverilog, needs_pyosys
from rtl_mutants import mutants


def survivors(name: str, count: int, rows: int, folder: Path) -> list[str]:
    """Return what was changed in the mutants that show nothing else than the design."""
    pe, weight = CONFIGURATIONS[name]
    design = pe_design(pe, weight)
    texts = files_of(design, pe_case(pe, weight, rows, seed=7))
    kept = {k: v for k, v in texts.items() if k == "testbench.v" or k.endswith(".hex")}
    found = mutants(design, count, folder)
    assert len(found) == count
    alive = []
    for number, (change, text) in enumerate(found.items()):
        place = folder / f"run_{number}"
        write_files(place, kept | {"design.v": text})
        if run_iverilog(place).agree:
            alive.append(change)
    return alive


@needs_pyosys
@needs_iverilog
def test_wrong_gates_of_an_integer_mac_are_noticed(tmp_path: Path) -> None:
    assert not survivors("integer 5 x 3 into 7, wrapping", 12, 400, tmp_path)


@pytest.mark.slow
@needs_pyosys
@needs_iverilog
@pytest.mark.parametrize(
    ("name", "rows", "most"),
    [
        ("integer 8 x 8 into 18, four lanes", 400, 1),
        ("bit-serial int6 skipping", 400, 0),
        ("bit-serial hpca25 int8", 400, 0),
        ("integer 8 x 8 that splits for 2", 400, 0),
        ("ant 8 x 8 that splits for 4", 400, 0),
    ],
)
def test_wrong_gates_are_noticed(name: str, rows: int, most: int, tmp_path: Path) -> None:
    alive = survivors(name, 60, rows, tmp_path)
    assert len(alive) <= most, "\n".join(alive)
