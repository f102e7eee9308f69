"""The row of a run, column by column, by hand: layers with counts, so that none may be left out."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import bitlathe as bl
from bitlathe.arch import load_arch
from bitlathe.reports.explore.evaluate import load_evaluator
from bitlathe.reports.explore.points import Point
from bitlathe.reports.explore.rows import chip_row, layer_table, result_row, roofline
from bitlathe.reports.explore.store import LAYERS
from bitlathe.sim import simulate
from bitlathe.sim.run import LayerRun, Run


def layer(name: str, count: int, **figures: object) -> LayerRun:
    shape = {"m": 2, "n": 3, "k": 5, "batch": 7}
    return LayerRun(name=name, count=count, **shape, **figures)  # type: ignore[arg-type]


ONE = layer(
    "one",
    10,
    compute_cycles=3,
    dram_cycles=4,
    stall_cycles=1,
    cycles=4,
    utilization=0.25,
    dram_bits={"weight": 100, "input": 10, "output": 1},
    sram_accesses={"weight_read": 6},
    energy_pj={"pe": 1.0, "dram": 2.0, "total": 3.0},
    stalls={"weights": 1, "inputs": 0},
)
TWO = layer(
    "two",
    2,
    compute_cycles=20,
    dram_cycles=10,
    stall_cycles=10,
    cycles=30,
    utilization=0.75,
    dram_bits={"weight": 1000, "input": 200, "output": 30},
    sram_accesses={"weight_read": 8},
    energy_pj={"pe": 10.0, "dram": 5.0, "total": 15.0},
    stalls={"weights": 4, "inputs": 6},
)
RUN = Run(
    arch="bitmod",
    model="net",
    phase="decode",
    context=9,
    batch=1,
    fidelity="cycle",
    mapper="whole-buffer",
    clock_ghz=0.5,
    area_um2={"pe_array": 4.0, "total": 6.0},
    layers=(ONE, TWO),
)
ROW = result_row(RUN, load_arch("bitmod"))


def test_clocks_are_those_of_all_instances() -> None:
    assert ROW["cycles"] == 10 * 4 + 2 * 30 == 100
    assert ROW["seconds"] == 100 / 0.5e9
    assert ROW["compute_cycles"] == 10 * 3 + 2 * 20
    assert ROW["dram_cycles"] == 10 * 4 + 2 * 10
    assert ROW["stall_cycles"] == 10 * 1 + 2 * 10
    assert ROW["stall_weights_cycles"] == 10 * 1 + 2 * 4
    assert ROW["stall_inputs_cycles"] == 2 * 6
    assert ROW["context"] == 9


def test_utilization_is_the_mean_over_the_clocks_of_all_instances() -> None:
    """0.25 for 40 clocks and 0.75 for 60: 0.55. One instance of each would give 23.5 / 34."""
    assert ROW["utilization"] == pytest.approx(0.55, rel=1e-15)


def test_the_utilization_of_a_model_is_macs_done_over_those_possible() -> None:
    """Of opt-1.3b: all multiply-accumulates over lanes times clocks, as the layers define it."""
    from bitlathe.workloads import load_model

    run = simulate("bitmod", "opt-1.3b", "prefill", 64, fidelity="analytic")
    chip = load_arch("bitmod")
    terms = {"linear": 2, "attention": 4}  # clocks a chunk: two terms of BitMoD's FP4, four of INT8
    possible = busy = 0.0
    gemms = {g.name: g for g in load_model("opt-1.3b").gemms("prefill", 64, logits=run.logits)}
    lanes = chip.array.rows * chip.array.columns * chip.pe.lanes
    for each in run.layers:
        possible += each.cycles * each.count
        if each.unit is not None:  # the array waits
            continue
        names = [each.name] if each.fused is None else each.fused["layers"]
        for gemm in (gemms[name] for name in names if name in gemms):
            clocks = terms["attention" if gemm.kind.startswith("attention") else "linear"]
            busy += gemm.macs * each.count * clocks / lanes
    assert result_row(run, chip)["utilization"] == pytest.approx(busy / possible, rel=1e-12)


def test_a_fused_group_has_the_work_of_its_products() -> None:
    run = simulate("bitmod", "opt-125m", "prefill", 64, fidelity="analytic")
    groups = [row[:3] for row in roofline(run, {}) if "+" in row[0]]
    assert groups == [
        ["attention_qk+av", 12, 2 * 12 * 64 * 64 * 64],
        ["fc1+fc2", 12, 2 * 64 * 768 * 3072],
    ]
    table = layer_table(run)
    assert "fused" not in table["columns"]


def test_energy_and_traffic_are_those_of_all_instances() -> None:
    assert ROW["energy_pj.pe"] == 10 * 1.0 + 2 * 10.0
    assert ROW["energy_pj.dram"] == 10 * 2.0 + 2 * 5.0
    assert ROW["energy_pj.total"] == 60.0
    assert ROW["power_w"] == pytest.approx(60e-12 / 200e-9)
    assert ROW["edp_pj_s"] == pytest.approx(60 * 200e-9)
    assert ROW["tokens_per_second"] is ROW["energy_per_token_pj"] is None  # it says of no tokens
    told = result_row(replace(RUN, tokens=4), load_arch("bitmod"))
    assert told["tokens_per_second"] == pytest.approx(4 / 200e-9)
    assert told["energy_per_token_pj"] == 15
    assert told["model_flops_utilization"] == ROW["utilization"]
    assert told["time_to_first_token_s"] is ROW["model_flops_utilization"] is None
    first = result_row(replace(RUN, tokens=4, first_token=True), load_arch("bitmod"))
    assert first["time_to_first_token_s"] == first["seconds"]
    assert ROW["dram_bits.weight"] == 10 * 100 + 2 * 1000
    assert ROW["dram_bits.input"] == 10 * 10 + 2 * 200
    assert ROW["dram_bits.output"] == 10 * 1 + 2 * 30
    assert ROW["dram_bits.total"] == 3000 + 500 + 70
    assert (ROW["area_um2.pe_array"], ROW["area_um2.total"]) == (4.0, 6.0)


def test_the_format_of_linear_layers_is_there_in_any_case() -> None:
    """The run names no format of its own, as one of convolutions alone would."""
    assert ROW["scheme.linear"] == load_arch("bitmod").formats.linear.weight.label


def test_what_the_chip_alone_decides() -> None:
    """Rows x columns x lanes of the chip's file; bits a clock times clocks, over eight."""
    chip = load_arch("bitmod", {"technology.clock_ghz": 0.5, "dram.bits_per_clock": 64})
    row = chip_row(chip, {"total": 1.0})
    assert row["peak_macs_per_cycle"] == 32 * 32 * 4
    assert row["dram_gb_per_s"] == 64 * 0.5 / 8
    assert row["weight_bits"] == 4 + (8 + 2) / 128 + 16 / 4096
    assert row["area_um2.total"] == 1.0


def test_the_table_of_layers_holds_one_instance_each() -> None:
    table = layer_table(RUN)
    rows = [dict(zip(table["columns"], values, strict=True)) for values in table["rows"]]
    assert rows[1] == {
        "layer": "two", "count": 2, "m": 2, "n": 3, "k": 5, "batch": 7, "compute_cycles": 20,
        "dram_cycles": 10, "stall_cycles": 10, "cycles": 30, "utilization": 0.75,
        "dram_bits.weight": 1000, "dram_bits.input": 200, "dram_bits.output": 30,
        "sram_accesses.weight_read": 8, "energy_pj.pe": 10.0, "energy_pj.dram": 5.0,
        "energy_pj.total": 15.0, "stall_weights_cycles": 4, "stall_inputs_cycles": 6,
    }  # fmt: skip
    assert [row["layer"] for row in rows] == ["one", "two"]


def test_a_run_without_clocks_has_no_power_and_no_utilization() -> None:
    nothing = Run(
        **{name: getattr(RUN, name) for name in RUN.__dataclass_fields__} | {"layers": ()}
    )
    row = result_row(nothing, load_arch("bitmod"))
    assert (row["cycles"], row["power_w"], row["utilization"]) == (0, 0.0, 0.0)


def layers_on(point: Point) -> list[list[Any]]:
    """Return a point's layers as a roofline has them."""
    found = load_evaluator([point.arch], [point.model], Path())(point)[LAYERS]
    assert list(found) == ["roofline"]
    return found["roofline"]


CAUSAL = Point(
    arch="bitmod", model="opt-125m", phase="prefill", context=1024, batch=1, fidelity="analytic",
    mapper="whole-buffer",
)  # fmt: skip


def test_layers_under_a_causal_mask_have_their_own_work() -> None:
    run = bl.simulate("bitmod", "opt-125m", "prefill", 1024, fidelity="analytic", fusion=False)
    masked = layers_on(replace(CAUSAL, causal=True))
    products = [layer for layer in run.layers if layer.unit is None]
    for before, after, layer in zip(layers_on(CAUSAL), masked, products, strict=True):
        assert before[2] == layer.m * layer.n * layer.k * layer.batch
        if layer.name.startswith("attention"):
            assert 0.5 < after[2] / before[2] < 0.51  # a triangle and its diagonal
        else:
            assert after[2] == before[2]


def test_layers_that_overlap_keep_the_work_of_their_product() -> None:
    """One product may be two layers of a run; no multiply-accumulate is lost or counted twice."""
    overlapped = (("execution.overlap_layers", True),)
    layers = layers_on(replace(CAUSAL, context=64, fidelity="cycle", settings=overlapped))
    gemms = bl.load_model("opt-125m").gemms(phase="prefill", context=64, batch=1, logits="last")
    assert sum(count * macs for _, count, macs, *_ in layers) == sum(
        gemm.macs * gemm.count for gemm in gemms
    )
