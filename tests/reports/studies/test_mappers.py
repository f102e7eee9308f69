"""The study of mappers: gains by hand, layers that sum to the runs."""

from itertools import pairwise
from typing import Any

import pytest

from bitlathe.arch import load_arch
from bitlathe.mapping.best import OBJECTIVES
from bitlathe.mapping.floors import COMPULSORY, TILES
from bitlathe.mapping.search import search
from bitlathe.reports.studies.mappers.kinds import kind_rows
from bitlathe.reports.studies.mappers.layers import layer_rows
from bitlathe.reports.studies.mappers.rates import decode_rows, prefill_rows
from bitlathe.reports.studies.mappers.study import RULE, Place, by_phase, gains, of_the_search
from bitlathe.reports.studies.mappers.trade import trade_rows
from bitlathe.sim import simulate
from bitlathe.sim.map_layer import product_on
from bitlathe.workloads import load_model
from naive.products_alone import alone


def row(chip: str, model: str, mapper: str, cycles: float) -> dict[str, Any]:
    return {
        "arch": chip,
        "model": model,
        "phase": "decode",
        "context": 256,
        "batch": 1,
        "mapper": mapper,
        "cycles": cycles,
        "energy_pj.total": 2 * cycles,
        "dram_bits.total": 8,
    }


ROWS = [
    row("bitmod", "a", RULE, 10),
    row("bitmod", "b", RULE, 10),
    row("fp16", "a", RULE, 20),
    row("fp16", "b", RULE, 80),
    row("bitmod", "a", "search", 10),
    row("fp16", "a", "search", 20),
    row("fp16", "b", "search", 40),  # without a point of BitMoD: not compared
]


def test_gains_are_means_over_the_models_of_both_chips() -> None:
    found = gains(ROWS, "cycles")
    assert found == {
        ("fp16", Place("decode", 256, 1, RULE)): pytest.approx(4.0),
        ("fp16", Place("decode", 256, 1, "search")): pytest.approx(2.0),
    }
    (line,) = by_phase(ROWS)
    assert (line["phase"], line["over"]) == ("decode", "fp16")
    assert line[f"clocks, {RULE}"] == pytest.approx(4.0)
    assert line["clocks, search"] == pytest.approx(2.0)
    assert line["DRAM traffic, search"] == pytest.approx(1.0)


def test_what_the_search_gains_is_of_points_under_both() -> None:
    lines = {line["chip"]: line for line in of_the_search(ROWS)}
    assert lines["bitmod"]["clocks, search"] == pytest.approx(1.0)
    assert lines["fp16"]["energy, search"] == pytest.approx(2**0.5)


def test_layers_sum_to_the_runs() -> None:
    rows = layer_rows("bitmod", "opt-125m", "decode", 16)
    names = {gemm.name for gemm in load_model("opt-125m").gemms("decode", 16, 1)}
    totals = [each for each in rows if each["layer"] == "all"]
    assert len(rows) == (len(names) + 1) * len(totals)
    for each in totals:
        run = simulate(alone("bitmod"), "opt-125m", "decode", 16, 1, "analytic", each["mapper"])
        assert each["Mclk"] * 1e6 == pytest.approx(run.cycles)
        assert each["uJ"] * 1e6 == pytest.approx(run.energy_pj["total"])
    for each in rows:
        assert each["over nests' floor"] >= 1
        assert each["over any floor"] >= each["over nests' floor"] * (1 - 1e-9)


def test_tokens_a_second_of_llama_2_7b_at_32_gigabytes_a_second() -> None:
    """With the batch they do not fall, on either rung; every weight and key once is the ceiling."""
    chip, model = load_arch("bitmod"), load_model("llama-2-7b")
    assert chip.dram_bits_per_clock * chip.technology.clock_ghz / 8 == 32  # net of refresh
    rows = decode_rows(chip, model, 2048, ["search"])
    assert [row["batch"] for row in rows] == [1, 8, 16, 64]
    for rung in ("cycle", "analytic"):
        rates = [row[f"tokens/s, {rung}"] for row in rows]
        assert rates == sorted(rates)
        assert rates[1] >= 32
        assert rates[3] >= 47
    for row in rows:
        assert row["tokens/s, cycle"] <= row["tokens/s, analytic"]
        run = simulate(chip, model, "decode", 2048, row["batch"], "analytic")
        once = run.dram_bits["total"] / chip.dram_bits_per_clock
        assert row["tokens/s, analytic"] <= row["batch"] * 1e9 / once


def test_a_prefill_of_2048_tokens_takes_its_clocks() -> None:
    (row,) = prefill_rows(load_arch("bitmod"), load_model("llama-2-7b"), 2048, ["search"])
    assert row["Gclk, analytic"] <= row["Gclk, cycle"] <= 8.3
    assert 1 <= row["over the floor"] <= 1.26
    assert row["floor"] == f"{TILES['output']}, {COMPULSORY}"  # the latter of the head's one token


def test_a_product_trades_clocks_for_traffic() -> None:
    chip = load_arch("bitmod")
    rows = trade_rows(chip, 48, 96, 512)
    asked = product_on(chip, 48, 96, 512)
    of = asked.layer, asked.bits, asked.hierarchies[0]
    (width,) = {float(port.width_bits) for port in of[2].memories[0].ports}
    assert rows[0]["Mclk"] * 1e6 == pytest.approx(search(*of, "cycles").cost.cycles)
    for one, other in pairwise(rows):
        assert one["Mclk"] < other["Mclk"]
        assert one["DRAM MB"] > other["DRAM MB"]
    for objective in OBJECTIVES:  # none is below and left of the front
        found = search(*of, objective)
        loads = (load for load in found.cost.ports if load.memory == "dram")
        moved = sum((load.reads + load.writes) * width for load in loads) / 8e6
        fitting = [row for row in rows if row["Mclk"] * 1e6 <= found.cost.cycles]
        assert fitting[-1]["DRAM MB"] <= moved * (1 + 1e-9)
    assert rows[-1]["over the floor"] >= 1


@pytest.mark.slow  # a minute of search
def test_a_prefill_of_2048_tokens_moves_little_beyond_the_floor() -> None:
    rows = {
        row["mapper"]: row
        for row in prefill_rows(load_arch("bitmod"), load_model("llama-2-7b"), 2048)
    }
    assert rows["search-energy"]["over the floor"] <= 1.15
    clocks = {mapper: row["Gclk, analytic"] for mapper, row in rows.items()}
    moved = {mapper: row["linear GB"] for mapper, row in rows.items()}
    assert min(clocks, key=clocks.__getitem__) == "search-cycles"
    assert min(moved, key=moved.__getitem__) == "search-energy"
    assert all(row["over the floor"] >= 1 for row in rows.values())


def test_kinds_of_layers_are_ratios_of_the_runs() -> None:
    rows = kind_rows(load_model("opt-125m"), 16, [("decode", 1)])
    one = {row["chip"]: row for row in rows if row["layers"] == "fc1"}
    assert set(one) == {"bitmod", "ant-fp16", "olive-fp16", "fp16"}
    clocks = {
        (chip, mapper): next(
            layer.cycles
            for layer in simulate(
                alone(chip), "opt-125m", "decode", 16, 1, "analytic", mapper
            ).layers
            if layer.name == "fc1"
        )
        for chip in ("bitmod", "fp16")
        for mapper in (RULE, "search")
    }
    row = one["fp16"]
    gain = clocks["fp16", RULE] / clocks["fp16", "search"]
    assert row["clocks, rule / search"] == pytest.approx(gain)
    over = clocks["fp16", "search"] / clocks["bitmod", "search"]
    assert row["clocks over bitmod, search"] == pytest.approx(over)
    for each in one.values():
        own = one["bitmod"]["clocks, rule / search"]
        rule, search = (each[f"clocks over bitmod, {name}"] for name in ("rule", "search"))
        assert rule / search == pytest.approx(each["clocks, rule / search"] / own)
