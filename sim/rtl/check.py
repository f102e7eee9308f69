"""Comparisons of hardware with the bit rung, by compiled simulation and by Icarus Verilog."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from .cxxrtl import simulate
from .expected import Case
from .rows import differences, pack
from .testbench import cells, files_of, run_iverilog, write_files
from .verilog import Design


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """How a design's run compares with what must be.

    Attributes
    ----------
    clocks : int
        Clocks that were run.
    numbers : int
        Clocks and values of events compared.
    agree : bool
    first : str
        The first difference, in words; empty if there is none.
    """

    clocks: int
    numbers: int
    agree: bool
    first: str = ""


def check_compiled(design: Design, case: Case, *, optimize: str = "-O1") -> Agreement:
    """Run a case by compiled simulation and compare every event with the bit rung's."""
    seen = simulate(design, pack(design, case.fields), case.clocks, optimize=optimize)
    first = ""
    for name, expected in case.expected.items():
        found = differences(expected, seen[name])
        if found["first"] is not None and not first:
            at = found["first"]
            want, got = (
                f"{e.values[at].tolist()} in clock {e.clocks[at]}" if at < len(e.clocks) else "none"
                for e in (expected, seen[name])
            )
            first = f"{name}, event {at}: {got} instead of {want}"
    return Agreement(clocks=case.clocks, numbers=cells(case), agree=not first, first=first)


def check_iverilog(design: Design, case: Case) -> Agreement:
    """Run a case and its testbench in Icarus Verilog."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder, files_of(design, case))
        verdict = run_iverilog(folder)
    first = "" if verdict.agree else verdict.text.strip().splitlines()[0]
    return Agreement(clocks=case.clocks, numbers=cells(case), agree=verdict.agree, first=first)
