"""Timelines of systems: their spans are the step's clocks, and no unit does two things at once."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner

from bitlathe import load_system, simulate
from bitlathe.cli import main
from bitlathe.sim.system.run import SystemRun
from bitlathe.sim.system.timeline import inside, levels, sent, shares, spans
from bitlathe.sim.timeline import Span

TINY = {
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "vocab_size": 100,
    "num_hidden_layers": 5, "num_attention_heads": 4, "num_key_value_heads": 2,
}  # fmt: skip


def cycles_of(span: Span) -> int:
    return span.cycles


def run_of(batch: int, **parallel: int) -> SystemRun:
    system = load_system("bitmod-pair").divided(**parallel)
    run = simulate(system, TINY, "decode", 32, batch, fidelity="analytic")
    assert isinstance(run, SystemRun)
    return run


@pytest.mark.parametrize(
    ("batch", "parallel"),
    [
        (1, {"tensor": 2}),
        (6, {"tensor": 1, "pipeline": 3, "micro_batches": 4}),
        (5, {"tensor": 2, "pipeline": 2, "micro_batches": 5}),
    ],
)
def test_spans_are_the_step(batch: int, parallel: dict[str, int]) -> None:
    run = run_of(batch, **parallel)
    by_unit: dict[str, list[Span]] = {}
    for span in spans(run):
        by_unit.setdefault(span.unit, []).append(span)
    ends = [span.start_cycle + span.cycles for of_unit in by_unit.values() for span in of_unit]
    assert max(ends) == run.cycles
    for of_unit in by_unit.values():
        assert all(a.start_cycle + a.cycles <= b.start_cycle for a, b in pairwise(of_unit))
    for stage, cycles in enumerate(run.stage_cycles):
        own = [by_unit.get(f"stage {stage}{more}", []) for more in ("", ": links")]
        assert sum(span.cycles for of_unit in own for span in of_unit) == cycles
    moved = sum(each.total["cycles"] for each in run.collectives if each.kind != "send")
    linked = [span for unit, each in by_unit.items() if unit.endswith("links") for span in each]
    assert sum(span.cycles for span in linked) == moved
    carried = {span.unit for span in linked} | {
        f"{i} to {i + 1}" for i in range(len(run.stage_cycles))
    }
    assert {each.links for each in sent(run)} == carried & set(by_unit)
    groups = {"tensor": 1, "pipeline": parallel["tensor"]}
    one = sum(each.total["link_bits"] // groups[each.way] for each in run.collectives)
    assert sum(each.bits for each in sent(run)) == one
    units: dict[str, list[Span]] = {}
    for span in inside(run):
        units.setdefault(span.unit, []).append(span)
    for name, of_unit in units.items():
        stage = by_unit[name.partition(":")[0]]
        assert all(a.start_cycle + a.cycles <= b.start_cycle for a, b in pairwise(of_unit))
        if name.endswith(": layers"):
            assert sum(map(cycles_of, of_unit)) == sum(map(cycles_of, stage))
    assert {name.partition(": ")[2] for name in units} >= {
        "layers",
        "array",
        "vector",
        "dram",
        "io",
    }
    for stage in range(len(run.stage_cycles)):
        own = [each for each in levels(run) if each.memory.startswith(f"stage {stage}: ")]
        assert own
        for name in {each.memory for each in own}:
            busy = sum(span.cycles for span in by_unit[f"stage {stage}"])
            assert sum(each.cycles for each in own if each.memory == name) == busy
            assert any(each.filled.bits for each in own if each.memory == name)
    found = dict(shares(run))
    assert sum(found.values()) == pytest.approx(1)
    assert found["wait"] == pytest.approx(run.bubble)


def test_a_system_s_timeline_is_written(tmp_path: Path) -> None:
    path = tmp_path / "step.json"
    command = (
        "simulate --arch bitmod-pair --model opt-125m --phase decode --context 32 "
        f"--fidelity analytic --timeline {path}"
    )
    result = CliRunner().invoke(main, command.split())
    assert result.exit_code == 0, result.output
    found = json.loads(path.read_text())["traceEvents"]
    assert {e["args"]["name"] for e in found if e["name"] == "thread_name"} >= {
        *("stage 0", "stage 0: array", "stage 0: links", "stage 0: dram")
    }
    assert sum(e["args"]["cycles"] for e in found if e["ph"] == "X") > 0
    counters = {e["name"] for e in found if e["ph"] == "C"}
    assert {"stage 0: links: bits a clock", "stage 0: io: bits held"} <= counters
