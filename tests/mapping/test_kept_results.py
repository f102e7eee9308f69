"""Results kept on disk: the same answer, found once, whatever happens to the file."""

import json
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from bitlathe.arch.hierarchy import OPERANDS, Axis, Hierarchy, Memory, Port
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.base.kept_lines import Store, key_of
from bitlathe.mapping import kept_results
from bitlathe.mapping.best import best_of
from bitlathe.mapping.budget import BUDGET, node_budget
from bitlathe.mapping.kept_results import best_mapping
from bitlathe.mapping.nest import Loops
from bitlathe.mapping.operands import OperandBits
from bitlathe.mapping.search import search

PORTS = (Port(direction="both", width_bits=Fraction(24, 5), read_pj=1.5, write_pj=2.25),)
CHIP = Hierarchy(
    memories=(
        Memory(name="dram", holds=OPERANDS, size_bits=None, ports=PORTS),
        Memory(name="sram", holds=OPERANDS, size_bits=400, ports=PORTS),
    ),
    axes=(Axis(name="x", size=2, dims=("n",)),),
    static_pj=0.1,
)
BITS = OperandBits(
    weight=Fraction(17, 4), input=Fraction(8), output=Fraction(16), step_cycles=Fraction(3, 2)
)
LAYER = Loops.product(5, 6, 7)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("BITLATHE_CACHE", str(tmp_path))
    monkeypatch.delenv("BITLATHE_KEEP_MAPPINGS", raising=False)
    kept_results.KEPT.forget()
    yield tmp_path
    kept_results.KEPT.forget()


def kept_file(folder: Path) -> Path:
    (found,) = (folder / "mappings").iterdir()
    return found


@pytest.fixture
def searches(monkeypatch: pytest.MonkeyPatch) -> list[Loops]:
    """The layers that were searched."""
    done: list[Loops] = []

    def noted(layer, *rest, **named):
        done.append(layer)
        return search(layer, *rest, **named)

    monkeypatch.setattr("bitlathe.mapping.search.search", noted)
    return done


def test_a_kept_result_is_the_one_that_was_found(searches: list[Loops]) -> None:
    found = best_mapping(LAYER, BITS, CHIP, "energy")
    kept_results.KEPT.forget()
    assert best_mapping(LAYER, BITS, CHIP, "energy") == found
    assert len(searches) == 1
    assert found.cost.compute_cycles.denominator > 0
    assert best_of(json.loads(json.dumps(found.to_dict()))) == found


CHANGES = {
    "layer": lambda layer, bits, chip: (Loops.product(5, 6, 8), bits, chip),
    "bits": lambda layer, bits, chip: (layer, replace(bits, partial=31), chip),
    "port": lambda layer, bits, chip: (
        layer,
        bits,
        replace(chip, memories=(chip.memories[0], replace(chip.memories[1], size_bits=401))),
    ),
    "axis": lambda layer, bits, chip: (
        layer,
        bits,
        replace(chip, axes=(replace(chip.axes[0], size=3),)),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_decides_the_answer_is_part_of_the_key(change: str, searches: list[Loops]) -> None:
    best_mapping(LAYER, BITS, CHIP)
    best_mapping(*CHANGES[change](LAYER, BITS, CHIP))
    best_mapping(LAYER, BITS, CHIP, "energy")
    assert len(searches) == 3


def test_results_of_budgets_are_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    spent: list[int] = []

    def noted(*of, budget: int, **named):
        spent.append(budget)
        return replace(search(*of, budget=budget, **named), mappings_evaluated=budget)

    monkeypatch.setattr("bitlathe.mapping.search.search", noted)
    for _ in range(2):  # the second time from disk
        for nodes in (None, 9, 1 << 30):
            with node_budget(nodes):
                found = best_mapping(LAYER, BITS, CHIP)
            assert found.mappings_evaluated == (nodes or BUDGET)
        kept_results.KEPT.forget()
    assert spent == [BUDGET, 9, 1 << 30]
    with pytest.raises(BitlatheError, match="budget is 0; give a whole number of nodes"):
        node_budget(0).__enter__()


def test_sources_are_part_of_the_file_name(
    folder: Path, searches: list[Loops], monkeypatch
) -> None:
    best_mapping(LAYER, BITS, CHIP)
    kept_results.KEPT.forget()
    monkeypatch.setattr(kept_results.KEPT, "sources", lambda: "f" * 64)
    best_mapping(LAYER, BITS, CHIP)
    assert len(searches) == 2
    assert len(list((folder / "mappings").iterdir())) == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],  # a writer that was killed
        lambda content: content.replace(b'"cycles":', b'"cycles":9'),
        lambda content: content[:-2],
        lambda content: content.replace(b'"check":"', b'"check":"0', 1),
        lambda content: b"\x00\xff" * 300 + b"\n" + b'{"key":"',
        lambda content: b"",
    ],
)
def test_damage_means_another_search(folder: Path, searches: list[Loops], damage) -> None:
    found = best_mapping(LAYER, BITS, CHIP)
    path = kept_file(folder)
    path.write_bytes(damage(path.read_bytes()))
    for _ in range(2):  # the second time it is there again
        kept_results.KEPT.forget()
        again = best_mapping(LAYER, BITS, CHIP)
        assert (again.mapping, again.cost) == (found.mapping, found.cost)
    assert len(searches) == 2


def test_what_another_process_adds_is_seen(tmp_path: Path) -> None:
    one, two = Store(tmp_path / "a.jsonl"), Store(tmp_path / "a.jsonl")
    for i in range(4):
        writer, reader = (one, two) if i % 2 else (two, one)
        writer.put(f"{i:064}", {"n": i})
        assert reader.get(f"{i:064}") == {"n": i}
    assert one.get("f" * 64) is None


WRITER = """
import sys
from pathlib import Path
from bitlathe.datatypes.base.kept_lines import Store

store, first = Store(Path(sys.argv[1])), int(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for i in range(first, first + 50):
    store.put(f"{i:064}", {"n": i, "long": "x" * 5000})
"""


def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    """Programs of their own: a function of this file could not be found by a new process."""
    path = tmp_path / "a.jsonl"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(first)], **pipes)
        for first in (0, 50, 100)
    ]
    for writer in writers:
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        writer.stdin.close()  # they begin at once
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    for writer in writers:
        writer.stdout.close()
    store = Store(path)
    assert [(store.get(f"{i:064}") or {}).get("n") for i in range(150)] == list(range(150))


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_it_can_be_switched_off(folder: Path, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if how == "environment":
        monkeypatch.setenv("BITLATHE_KEEP_MAPPINGS", "0")
    best_mapping(LAYER, BITS, CHIP, keep=how == "environment")
    assert not (folder / "mappings").exists()


def test_a_folder_that_cannot_be_written_only_costs_time(folder: Path) -> None:
    (folder / "mappings").write_text("a file")
    assert best_mapping(LAYER, BITS, CHIP).optimal


def test_a_kept_result_loads_no_compiler() -> None:
    best_mapping(LAYER, BITS, CHIP)
    program = (
        "import sys\n"
        "from fractions import Fraction\n"
        "from bitlathe.arch.hierarchy import *\n"
        "from bitlathe.mapping.kept_results import best_mapping\n"
        "from bitlathe.mapping.nest import Loops\n"
        "from bitlathe.mapping.operands import OperandBits\n"
        f"chip = {CHIP!r}\n"
        f"bits = {BITS!r}\n"
        f"best_mapping(Loops.product(5, 6, 7), bits, chip)\n"
        "assert not {'numba', 'llvmlite'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_mappings_that_are_shown_alike_are_kept_apart():
    """A repr is a line for readers; what decides a result is every loop and tile."""
    mapping = best_mapping(LAYER, BITS, CHIP, "cycles", keep=False).mapping
    level = next(each for each in mapping.levels if each.loops)
    loop = replace(level.loops[0], tile=level.loops[0].tile + 1)
    other = replace(
        mapping,
        levels=tuple(
            replace(each, loops=(loop, *each.loops[1:])) if each is level else each
            for each in mapping.levels
        ),
    )
    assert repr(mapping) == repr(other)
    assert len({key_of(LAYER, each) for each in (mapping, other)}) == 2
    assert len({key_of((each, 1)) for each in (mapping, other)}) == 2
