"""Fused attention in runs: never worse than apart, accounted for, left alone where it must be."""

import math
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner

import bitlathe as bl
from bitlathe.cli import main
from bitlathe.sim.fused import chosen, groups_of
from bitlathe.sim.run import LayerRun, Run
from bitlathe.workloads import Gemm, load_model
from bitlathe.workloads.vector_step import VectorStep

STEP = {"prefill": [[24, 8]], "decode": [40, {"context": 17, "sequences": 3}]}
CASES: tuple[dict[str, Any], ...] = (
    {"model": "opt-125m", "context": 64, "batch": 2},
    {"model": "opt-125m", "phase": "decode", "context": 96, "batch": 3},
    {"model": "opt-125m", "context": 96, "causal": True},
    {"model": "gemma-3-1b", "context": 700, "causal": True},
    {"model": "gemma-3-1b", "step": STEP},
)
RANKS = {
    "search": lambda run: run.cycles * run.energy_pj["total"],
    "search-cycles": lambda run: run.cycles,
    "search-energy": lambda run: run.energy_pj["total"],
}


def fused_of(run: Run) -> list[LayerRun]:
    return [layer for layer in run.layers if layer.fused is not None]


@pytest.mark.parametrize("mapper", RANKS)
@pytest.mark.parametrize("case", range(len(CASES)))
def test_a_run_is_never_worse_fused_and_never_faster_in_cycles_than_in_closed_form(
    case: int, mapper: str
) -> None:
    runs = {}
    for rung in ("analytic", "cycle"):
        how: dict[str, Any] = {"arch": "bitmod", "fidelity": rung, "mapper": mapper, **CASES[case]}
        fused, apart = bl.simulate(**how), bl.simulate(**how, fusion=False)
        assert not fused_of(apart)
        assert RANKS[mapper](fused) <= RANKS[mapper](apart)
        assert fused_of(fused)
        runs[rung] = fused
        for layer in fused.layers:
            accounted(layer, rung)
    assert runs["analytic"].cycles <= runs["cycle"].cycles


def accounted(layer: LayerRun, rung: str) -> None:
    energy = layer.energy_pj
    assert math.isclose(energy["total"], math.fsum(energy.values()) - energy["total"])
    assert layer.cycles == layer.compute_cycles + layer.stall_cycles
    if rung == "cycle":
        assert layer.stalls is not None
        assert sum(layer.stalls.values()) == layer.stall_cycles
        assert min(layer.stalls.values()) >= 0
    if layer.fused is not None:
        assert layer.busy_cycles is not None
        assert layer.fused["lower_bound_cycles"] <= layer.cycles
        assert max(layer.busy_cycles.values()) <= layer.cycles
        assert 0 < layer.utilization <= 1


def test_a_group_names_its_layers_and_stands_in_their_place() -> None:
    how: dict[str, Any] = {"fidelity": "analytic", **CASES[0]}
    fused, apart = bl.simulate("bitmod", **how), bl.simulate("bitmod", **how, fusion=False)
    names = [layer.name for layer in apart.layers]
    (group,) = fused_of(fused)
    assert group.name == "attention_qk+av"
    assert group.fused is not None
    assert group.fused["layers"] == ["attention_qk", "softmax", "attention_av"]
    at = names.index("attention_qk")
    assert names[at : at + 3] == group.fused["layers"]
    assert [layer.name for layer in fused.layers] == [*names[:at], group.name, *names[at + 3 :]]
    others = [layer for layer in apart.layers if layer.name not in group.fused["layers"]]
    assert [layer for layer in fused.layers if layer is not group] == others
    assert group.name in fused.table()


def test_the_command_names_what_is_fused() -> None:
    command = "simulate --arch bitmod --model opt-125m --context 64 --fidelity analytic"
    fused, apart = (
        CliRunner().invoke(main, [*command.split(), *more]).output for more in ([], ["--no-fusion"])
    )
    assert "fused on the chip: attention_qk, softmax, attention_av\n" in fused
    assert "fused" not in apart


def test_scores_never_touch_dram_and_keys_come_once_for_each_block_of_rows() -> None:
    run = bl.simulate("bitmod", **CASES[0], fidelity="analytic", mapper="search")
    (group,) = fused_of(run)
    assert group.fused is not None
    tiling, heads, tokens, width = group.fused["tiling"], 12 * 2, 64, 64
    passes = 1 if tiling["held"] else math.ceil(tokens / tiling["rows"])
    # INT8 in channels: of a key one 16-bit scale for 64 elements, of a value one for all tokens
    stored = 8 + 16 / 64
    assert group.dram_bits["weight"] == passes * heads * tokens * width * (stored + stored)
    assert group.dram_bits["input"] == group.dram_bits["output"] == heads * tokens * width * 16


@pytest.mark.parametrize(
    "how",
    [
        {"arch": "hpca25/bitmod-lossy"},
        {"arch": "bitmod", "mapper": "whole-buffer"},
        {"arch": "bitmod", "mapper": "nest-whole-buffer"},
        {"arch": bl.load_arch("bitmod", {"vector.lanes": 0})},
        {"arch": "bitmod", "bandwidth": True},
    ],
)
def test_other_runs_keep_layers_apart(how: dict[str, Any]) -> None:
    assert not fused_of(bl.simulate(**how, model="opt-125m", context=32))


def test_a_chip_without_room_keeps_layers_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_small(*_: Any) -> None:
        raise bl.BitlatheError("too small to fuse")

    monkeypatch.setattr("bitlathe.sim.fused.best_fusion", too_small)
    how: dict[str, Any] = {"model": "opt-125m", "context": 32, "fidelity": "analytic"}
    assert bl.simulate("bitmod", **how).layers == bl.simulate("bitmod", **how, fusion=False).layers


def test_each_attention_of_a_step_is_fused_or_apart() -> None:
    model = load_model("gemma-3-1b")
    fused = bl.simulate("bitmod", model, step=STEP, fidelity="analytic").layers
    apart = bl.simulate("bitmod", model, step=STEP, fidelity="analytic", fusion=False).layers

    def count(layers: tuple[LayerRun, ...], name: str) -> int:
        return sum(each.count for each in layers if each.name.startswith(name))

    groups = sum(each.count for each in fused if each.fused is not None)
    assert 0 < groups < count(apart, "attention_qk")
    assert count(fused, "attention_qk") == count(apart, "attention_qk")
    for name in ("softmax", "attention_av"):
        assert count(fused, name) + groups == count(apart, name)


def gemms() -> tuple[Gemm, Gemm, VectorStep]:
    scores = Gemm(name="attention_qk", m=8, n=16, k=4, batch=2, kind="attention_qk", count=3)
    mix = replace(scores, name="attention_av", n=4, k=16, kind="attention_av")
    softmax = VectorStep(
        name="softmax",
        operations=("softmax",),
        rows=16,
        elements=256,
        after=("attention_qk",),
        count=3,
    )
    return scores, mix, softmax


def test_groups_are_what_follows_each_other() -> None:
    scores, mix, softmax = gemms()
    (group,) = groups_of([scores, mix], [softmax])
    assert (group.scores, group.mix, group.softmax) == (scores, mix, softmax)
    none: list[tuple[list[Gemm], list[VectorStep]]] = [
        ([mix, scores], [softmax]),  # the mix is another's
        ([scores, replace(mix, batch=1)], [softmax]),
        ([scores, mix], []),
        ([scores, mix], [replace(softmax, count=2)]),
        ([scores, mix], [replace(softmax, operations=("tanh", "softmax"))]),
        ([scores, mix], [softmax, replace(softmax, name="x", operations=("add",))]),
    ]
    for products, steps in none:
        assert not list(groups_of(products, steps))


def test_groups_are_taken_while_the_run_gets_better() -> None:
    def layer(cycles: int, energy: float) -> LayerRun:
        return LayerRun(
            name="x", count=1, m=1, n=1, k=1, batch=1, compute_cycles=0, dram_cycles=0,
            stall_cycles=cycles, cycles=cycles, utilization=0.0, dram_bits={}, sram_accesses={},
            energy_pj={"total": energy},
        )  # fmt: skip

    made: list[Any] = [
        ("saves", layer(-3, -1.0)),
        ("wastes", layer(2, 5.0)),
        ("trades", layer(2, -9.0)),
    ]

    def layers_of(some: Any) -> tuple[LayerRun, ...]:
        return (layer(20, 20.0), *(each for _, each in some))

    found = {name: len(chosen(made, layers_of, name)) for name in ("cycles", "energy", "edp")}  # type: ignore[arg-type]
    assert found == {"cycles": 2, "energy": 3, "edp": 3}
    many = made * 6  # all, or none: all have 6 clocks more and 30 pJ less
    assert len(chosen(many, layers_of, "cycles")) == 1
    assert len(chosen(many, layers_of, "energy")) == 19
