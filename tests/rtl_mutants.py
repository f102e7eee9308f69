"""Mutants of a netlist, made by Yosys: a port of one gate inverted, stuck or tied to another."""

from pathlib import Path

from bitlathe.sim.rtl.tools import run_yosys
from bitlathe.sim.rtl.verilog import Design


def mutants(design: Design, count: int, folder: Path, seed: int = 1) -> dict[str, str]:
    """Return texts of the whole netlist by the command that changed it, one change each.

    The netlist is of gates, without those that a configuration does not use.
    """
    (folder / "design.v").write_text(design.text, encoding="utf-8")
    netlist = ["read_verilog design.v", f"synth -flatten -noabc -top {design.top}",
               "abc -g AND,XOR,MUX", "opt_clean -purge"]  # fmt: skip
    run_yosys([*netlist, f"mutate -list {count} -seed {seed} -o list.txt"], folder)
    commands = (folder / "list.txt").read_text(encoding="utf-8").splitlines()
    passes = [*netlist, "design -save whole"]
    for number, command in enumerate(commands):
        passes += ["design -load whole", command, f"write_verilog -noattr mutant_{number}.v"]
    run_yosys(passes, folder)
    return {
        command: (folder / f"mutant_{number}.v").read_text(encoding="utf-8")
        for number, command in enumerate(commands)
    }
