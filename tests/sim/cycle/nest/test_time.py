"""Times of nests on the machine: played once, kept on disk, the same from there."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from bitlathe.arch.hierarchy import OPERANDS, Axis, Hierarchy, Memory, Port
from bitlathe.mapping.kept_results import KEPT as MAPPINGS
from bitlathe.mapping.nest import Loops
from bitlathe.mapping.operands import OperandBits
from bitlathe.mapping.search import search
from bitlathe.sim import simulate
from bitlathe.sim.cycle.nest import run
from bitlathe.sim.cycle.nest.time import KEPT, time_of_nest
from bitlathe.sim.mapped import Part

ASKED = ("bitmod", "opt-125m", "decode", 16)
PORTS = (Port(direction="both", width_bits=Fraction(24, 5), read_pj=1.5, write_pj=2.25),)
CHIP = Hierarchy(
    memories=(
        Memory(name="dram", holds=OPERANDS, size_bits=None, ports=PORTS),
        Memory(name="sram", holds=OPERANDS, size_bits=400, ports=PORTS),
    ),
    axes=(Axis(name="x", size=2, dims=("n",)),),
)
BITS = OperandBits(
    weight=Fraction(17, 4), input=Fraction(8), output=Fraction(16), step_cycles=Fraction(3, 2)
)
LAYER = Loops.product(5, 6, 7)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("BITLATHE_CACHE", str(tmp_path))
    monkeypatch.delenv("BITLATHE_KEEP_MAPPINGS", raising=False)
    for kept in (KEPT, MAPPINGS):
        kept.forget()
    yield tmp_path
    for kept in (KEPT, MAPPINGS):
        kept.forget()


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The nests that were played, as text."""
    done: list[str] = []
    run_nest = run.run_nest

    def noted(*arguments, **named):  # type: ignore[no-untyped-def]
        done.append(repr(arguments))
        return run_nest(*arguments, **named)

    monkeypatch.setattr(run, "run_nest", noted)
    return done


def test_a_nest_is_played_once_and_its_time_is_the_same_from_disk(
    folder: Path, played: list[str]
) -> None:
    first = simulate(*ASKED)
    count = len(played)
    assert count == len(set(played)) > 0
    again = simulate(*ASKED)
    KEPT.forget()
    kept = simulate(*ASKED)
    assert first == again == kept
    assert len(played) == count
    (file,) = (folder / "nests").iterdir()
    assert len(list(filter(None, file.read_text().splitlines()))) == count


CHANGES: dict[str, Callable[[Part], Part]] = {
    "loops": lambda part: replace(part, loops=Loops.product(5, 6, 8)),
    "mapping": lambda part: replace(
        part, best=replace(part.best, mapping=search(LAYER, BITS, CHIP, "energy", limit=1).mapping)
    ),
    "hierarchy": lambda part: replace(part, hierarchy=replace(CHIP, fill_cycles=1)),
    "bits": lambda part: replace(part, bits=replace(BITS, step_cycles=Fraction(2))),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_whatever_decides_the_time_is_part_of_the_key(
    change: Callable[[Part], Part], played: list[str]
) -> None:
    part = Part(loops=LAYER, bits=BITS, hierarchy=CHIP, best=search(LAYER, BITS, CHIP), times=1)
    for _ in range(2):
        time_of_nest(part)
        time_of_nest(replace(part, times=3))
    assert len(played) == 1
    time_of_nest(change(part))
    assert len(played) == 2


def test_a_kept_simulation_loads_no_compiler() -> None:
    """In a process of its own, behind one that keeps what it finds: none knows of this one's."""
    simulated = f"from bitlathe.sim import simulate\nsimulate(*{json.dumps(ASKED)})\n"
    alone = "import sys\nassert not {'numba', 'llvmlite'} & set(sys.modules)\n"
    for program in (simulated, simulated + alone):
        subprocess.run([sys.executable, "-c", program], check=True)
