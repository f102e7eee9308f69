"""Timelines of runs: their spans are the run's clocks, and no unit does two things at once."""

import json
import re
from collections import Counter
from fractions import Fraction
from importlib.resources import files
from itertools import pairwise
from math import ceil

import pytest
from click.testing import CliRunner

from bitlathe import load_arch, simulate
from bitlathe.cli import main
from bitlathe.sim.timeline import LAYERS, bound, first_block, levels, shares, spans, trace

TINY = {
    "model_type": "llama", "hidden_size": 256, "intermediate_size": 512, "vocab_size": 1000,
    "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
}  # fmt: skip
MODERN = {
    "model_type": "modernbert", "hidden_size": 32, "intermediate_size": 48, "vocab_size": 100,
    "num_hidden_layers": 2, "num_attention_heads": 4,
}  # fmt: skip
NET = {
    "input": [3, 20, 20],
    "layers": [
        {"name": "wide", "out_channels": 24, "kernel": 1, "activation": "relu6"},
        {"name": "deep", "out_channels": 24, "kernel": 3, "groups": 24},
        {"name": "thin", "out_channels": 8, "kernel": 1},
    ],
}
RUNS = [
    ("bitmod", TINY, "prefill", 96, "analytic"),
    ("bitmod", TINY, "decode", 96, "cycle"),
    ("ant", "resnet-18", "prefill", None, "analytic"),
    ("edge-npu", MODERN, "prefill", 1, "analytic"),  # its last norm would outlast it
    ("edge-npu", NET, "prefill", None, "analytic"),
]


@pytest.fixture(
    params=RUNS, ids=["prefill", "decode", "convolutions", "norms", "fused"], scope="module"
)
def run(request):
    chip, model, phase, context, fidelity = request.param
    return simulate(chip, model, phase, context, fidelity=fidelity)


def test_spans_of_the_layers_are_the_run(run):
    """One behind the other without gaps, each layer as often as it runs."""
    found = [span for span in spans(run) if span.unit == LAYERS]
    assert [b.start_cycle - a.start_cycle for a, b in pairwise(found)] == [
        span.cycles for span in found[:-1]
    ]
    assert found[0].start_cycle == 0
    assert found[-1].start_cycle + found[-1].cycles == run.cycles
    times = Counter(layer.name for layer in run.layers for _ in range(layer.count))
    assert Counter(span.layer for span in found) == times


def test_units_are_busy_as_long_as_the_run_says(run):
    told: Counter[str] = Counter()
    for layer in run.layers:
        for unit, busy in layer.busy_cycles.items():
            told[unit] += busy * layer.count
    found: Counter[str] = Counter()
    for span in spans(run):
        found[span.unit] += span.cycles
    assert found.pop(LAYERS) == run.cycles
    assert found == +told


def test_of_rules_without_nests_the_layers_stand_alone():
    """Of the memories only what the vector unit asks of them is known: DRAM would look idle."""
    run = simulate("bitmod", TINY, "decode", 96, fidelity="analytic", mapper="whole-buffer")
    assert any(layer.busy_cycles for layer in run.layers)
    found = list(spans(run))
    assert {span.unit for span in found} == {LAYERS}
    assert sum(span.cycles for span in found) == run.cycles


def test_no_unit_does_two_things_at_once_or_outlasts_the_run(run):
    by_unit: dict[str, list] = {}
    for span in spans(run):
        by_unit.setdefault(span.unit, []).append(span)
    for of_unit in by_unit.values():
        assert all(a.start_cycle + a.cycles <= b.start_cycle for a, b in pairwise(of_unit))
        assert of_unit[-1].start_cycle + of_unit[-1].cycles <= run.cycles
        assert of_unit[0].start_cycle >= 0


def test_memories_are_filled_all_the_time_and_never_beyond_their_sizes(run):
    """Each memory's levels are the run; tiles of layers under mappings fit, and there are some."""
    by_memory: dict[str, list] = {}
    for level in levels(run):
        by_memory.setdefault(level.memory, []).append(level)
    assert set(by_memory) >= {"edge-npu": {"sram", "block"}}.get(run.arch, {"io", "weight"})
    for name, of_memory in by_memory.items():
        assert [b.start_cycle - a.start_cycle for a, b in pairwise(of_memory)] == [
            level.cycles for level in of_memory[:-1]
        ]
        assert of_memory[-1].start_cycle + of_memory[-1].cycles == run.cycles
        assert all(0 <= each.filled.bits <= each.filled.size_bits for each in of_memory)
        assert any(each.filled.bits for each in of_memory), name


def test_what_fused_convolutions_hold_is_worked_out_by_hand():
    """Strips of two rows, filters held; a map shares 16 bits, of which rows hold their part."""
    chip = load_arch("edge-npu", {"memories.sram.size_kib": 4})
    (layer,) = simulate(chip, NET, fidelity="analytic").layers
    assert layer.fused["layers"] == ["wide", "wide.relu6", "deep", "thin"]
    tiling = {"rows": 2, "kept": [False, True, False], "places": 1, "held": True}
    assert layer.fused["tiling"] == tiling
    parts = [
        4 * 3 * 20 * 8 + ceil(16 * Fraction(4, 20)),  # four rows of inputs, as the first strip has
        4 * 24 * 20 * 8 + ceil(16 * Fraction(4, 20)),  # of the first map, for filters of 3 x 3
        2 * 24 * 18 * 8 + ceil(16 * Fraction(2, 18)),  # two rows of the second
        2 * 8 * 18 * 8 + ceil(16 * Fraction(2, 18)),  # and of the results
        24 * (3 * 8 + 16),  # filters of each layer
        24 * (9 * 8 + 16),
        8 * (24 * 8 + 16),
    ]
    assert layer.held["sram"] == (sum(parts), 4 * 8192)


def test_fused_convolutions_hold_sums_that_are_not_finished(tmp_path):
    """One memory and 8 lanes: 16 input channels take two steps, between which a sum lies there."""
    memories = """
memories:
  - {name: dram, component: lpddr4, gb_per_s: 2}
  - {name: sram, holds: [weight, input, output], size_kib: 3, ports: [{both: 64}]}
array:"""
    text = (files("bitlathe") / "arch/chips/edge-npu.yaml").read_text("utf-8")
    chip = tmp_path / "one.yaml"
    chip.write_text(re.sub(r"\nmemories:.*?\narray:", memories, text, flags=re.DOTALL), "utf-8")
    convs = [
        {"name": "one", "out_channels": 16, "kernel": 1},
        {"name": "two", "out_channels": 6, "kernel": 1},
    ]
    (layer,) = simulate(chip, {"input": [4, 6, 5], "layers": convs}, fidelity="analytic").layers
    assert layer.fused["tiling"]["rows"] == 3
    assert layer.fused["tiling"]["places"] == 2
    parts = [
        2 * (3 * 4 * 5 * 8 + 8),  # three of six rows of inputs, and the next three
        3 * 16 * 5 * 8 + 8,  # of the map
        2 * 3 * 5 * 6 * 32,  # of results, as sums
        16 * (4 * 8 + 16),  # filters
        6 * (16 * 8 + 16),
    ]
    assert layer.held["sram"] == (sum(parts), 3 * 8192)


def test_blocks_follow_each_other():
    run = simulate("bitmod", TINY, "decode", 96, fidelity="analytic")
    order = [span.layer for span in spans(run) if span.unit == LAYERS]
    assert order.count("q_proj") == 3
    assert order.index("lm_head") < order.index("q_proj", order.index("q_proj") + 1)
    assert all(span.instance == 0 for span in first_block(run))
    assert sum(share for _, share in shares(run)) == pytest.approx(1)


def test_what_binds_is_all_of_the_run(run):
    """Each layer's clocks go to the unit that is busy longest in it."""
    clocks: Counter[str] = Counter()
    for layer in run.layers:
        longest = max(layer.busy_cycles.values())
        (unit, *_) = [name for name, busy in layer.busy_cycles.items() if busy == longest]
        clocks[unit] += layer.cycles * layer.count
    found = bound(run)
    assert dict(found) == {unit: count / run.cycles for unit, count in clocks.items() if count}
    assert sum(share for _, share in found) == pytest.approx(1)
    assert [share for _, share in found] == sorted((s for _, s in found), reverse=True)


def test_a_trace_is_one_that_viewers_open(run):
    """Complete events with times in microseconds; threads with names."""
    found = json.loads(json.dumps(trace(run)))["traceEvents"]
    names = {e["tid"]: e["args"]["name"] for e in found if e["name"] == "thread_name"}
    events = [e for e in found if e["ph"] == "X"]
    assert {names[e["tid"]] for e in events} == {span.unit for span in spans(run)}
    layers = [e for e in events if names[e["tid"]] == LAYERS]
    assert sum(e["dur"] for e in layers) == pytest.approx(run.seconds * 1e6, rel=1e-9)
    assert sum(e["args"]["cycles"] for e in layers) == run.cycles
    counters = [e for e in found if e["ph"] == "C"]
    assert [e["args"]["bits"] for e in counters] == [each.filled.bits for each in levels(run)]
    assert {e["name"] for e in counters} == {f"{x.memory}: bits held" for x in levels(run)}


def command(path):
    words = "simulate --arch bitmod --model opt-125m --context 16 --phase decode --timeline"
    return CliRunner().invoke(main, [*words.split(), str(path)])


def test_the_command_writes_a_picture_or_a_trace(tmp_path):
    pytest.importorskip("matplotlib")
    for name in ("t.json", "t.svg"):
        done = command(tmp_path / name)
        assert done.exit_code == 0, done.output
        assert (tmp_path / name).stat().st_size > 1000
    for row in ("whole run", "bound by"):
        assert row in (tmp_path / "t.svg").read_text()


@pytest.mark.parametrize("name", ["t.json", "t.svg"])
def test_a_file_that_cannot_be_written_is_one_sentence(tmp_path, name):
    (tmp_path / "file").touch()
    done = command(tmp_path / "new" / name)
    assert done.exit_code == 0, done.output
    done = command(tmp_path / "file" / name)
    assert done.exit_code == 2
    last = done.output.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    assert f"cannot write {tmp_path / 'file' / name}: " in last


def test_other_files_are_refused(tmp_path):
    done = command(tmp_path / "t.txt")
    assert done.exit_code != 0
    assert "--timeline: t.txt ends in none of .json, .png, .svg, .pdf." in done.output
    assert not (tmp_path / "t.txt").exists()


def test_places_that_cannot_be_written_are_refused(tmp_path):
    command = "simulate --arch bitmod --model opt-125m --context 8 --fidelity analytic --timeline"
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "file").touch()
    for name, says in (("folder.json", "is a folder"), ("file/x.png", "is a file, not a folder")):
        found = CliRunner().invoke(main, [*command.split(), str(tmp_path / name)])
        assert (found.exit_code, says in found.stderr) == (2, True)
