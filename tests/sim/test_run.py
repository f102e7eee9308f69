"""What a run says of itself: totals that add up, settings, formats; in JSON and in tables."""

import json
from functools import partial

import pytest

import bitlathe as bl
from bitlathe.sim.run import LayerRun, Run, with_total

simulate = partial(bl.simulate, mapper="whole-buffer")  # the rule, not a search

LAYER = {
    "name": "a",
    "count": 3,
    "m": 1,
    "n": 2,
    "k": 4,
    "batch": 1,
    "compute_cycles": 10,
    "dram_cycles": 7,
    "stall_cycles": 5,
    "cycles": 15,
    "utilization": 0.5,
    "dram_bits": {"weight": 100, "input": 20, "output": 3},
    "sram_accesses": {"weight_read": 4},
    "energy_pj": {"pe": 0.5, "dram": 2.0, "total": 2.5},
    "stalls": {"weights": 5},
}


def run(*layers: LayerRun) -> Run:
    facts = {"arch": "c", "model": "n", "phase": "decode", "context": 8, "batch": 1}
    return Run(
        **facts, fidelity="cycle", mapper="m", clock_ghz=2.0, area_um2={"total": 1.0}, layers=layers
    )


def test_a_layers_total_is_that_of_all_its_instances() -> None:
    """Three instances of the layer above: every figure times three, by hand."""
    layer = LayerRun(**LAYER)
    data = layer.to_dict()
    assert {name: data[name] for name in LAYER} == LAYER, "figures of one instance stay"
    assert data["total"] == {
        "compute_cycles": 30,
        "dram_cycles": 21,
        "stall_cycles": 15,
        "cycles": 45,
        "dram_bits": {"weight": 300, "input": 60, "output": 9},
        "sram_accesses": {"weight_read": 12},
        "energy_pj": {"pe": 1.5, "dram": 6.0, "total": 7.5},
        "stalls": {"weights": 15},
    }


def test_totals_of_layers_sum_to_the_runs() -> None:
    other = LayerRun(**{**LAYER, "name": "b", "count": 2, "cycles": 20, "stall_cycles": 10,
                        "stalls": {"weights": 4, "inputs": 6}})  # fmt: skip
    data = run(LayerRun(**LAYER), other).to_dict()
    assert (data["cycles"], data["stall_cycles"]) == (3 * 15 + 2 * 20, 3 * 5 + 2 * 10)
    assert data["stalls"] == {"weights": 3 * 5 + 2 * 4, "inputs": 2 * 6}
    assert data["dram_bits"] == {"weight": 500, "input": 100, "output": 15, "total": 615}
    assert data["energy_pj"]["total"] == 5 * 2.5
    assert data["seconds"] == 85 / 2e9


@pytest.mark.parametrize("fidelity", ["analytic", "cycle"])
@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_the_json_of_a_real_run_adds_up_over_its_layers(fidelity: str, phase: str) -> None:
    """Layers with counts from 1 to 24: whoever sums `cycles` alone gets another figure."""
    data = json.loads(simulate("bitmod", "opt-1.3b", phase, 64, fidelity=fidelity).to_json())
    totals = [layer["total"] for layer in data["layers"]]
    for name in ("cycles", "stall_cycles"):
        assert sum(total[name] for total in totals) == data[name]
    for part, bits in data["dram_bits"].items():
        parts = ("weight", "input", "output") if part == "total" else (part,)
        assert sum(total["dram_bits"][p] for total in totals for p in parts) == bits
    for part, energy in data["energy_pj"].items():
        assert sum(t["energy_pj"].get(part, 0) for t in totals) == pytest.approx(energy, rel=1e-12)
    for cause, clocks in data["stalls"].items():
        assert sum(total["stalls"].get(cause, 0) for total in totals) == clocks
    assert (data["stalls"] != {}) == (fidelity == "cycle")
    assert sum(layer["cycles"] for layer in data["layers"]) < data["cycles"] / 4


def test_a_run_says_what_it_was_run_on() -> None:
    chip = bl.load_arch(bl.load_arch("bitmod", {"array.rows": 64}), {"pe.lanes": 4})
    data = simulate(chip, "opt-1.3b", "prefill", 64, fidelity="analytic", causal=True).to_dict()
    assert data["version"] == bl.__version__
    assert data["settings"] == {"array.rows": 64, "pe.lanes": 4}
    assert (data["causal"], data["clock_ghz"]) == (True, 1.0)
    plain = simulate("bitmod", "opt-1.3b", "prefill", 64, fidelity="analytic").to_dict()
    assert (plain["settings"], plain["causal"]) == ({}, False)


def test_formats_are_those_of_the_layers_the_model_has() -> None:
    """The chip's policy, by hand: heads and convolutions follow linear layers unless told."""
    chip = bl.load_arch("bitmod", {"formats.lm_head.weight": "int8@channel"})
    text = simulate(chip, "opt-125m", "decode", 64, fidelity="analytic").formats
    assert {kind: operands["weight"] for kind, operands in text.items()} == {
        "linear": "bitmod_fp4@g128/int8",
        "attention": "int8@channel",
        "lm_head": "int8@channel",
    }
    assert text["linear"]["input"] == "fp16"
    images = simulate("bitmod", "resnet-18", fidelity="analytic").formats
    assert {kind: operands["weight"] for kind, operands in images.items()} == {
        "conv": "bitmod_fp4@g128/int8",
        "linear": "bitmod_fp4@g128/int8",
    }


def test_formats_are_as_the_phase_has_them() -> None:
    """A chip that takes four bits in decode alone (conditional override)."""
    base = bl.load_arch("bitmod", {"formats.linear.weight": "int8@channel"})
    rule = {"when": {"phase": "decode"}, "set": {"formats.linear.weight": "int4@g128"}}
    chip = type(base).model_validate({**base.model_dump(exclude_none=True), "overrides": [rule]})
    found = [
        simulate(chip, "opt-125m", phase, 64, fidelity="analytic").formats["linear"]["weight"]
        for phase in ("prefill", "decode")
    ]
    assert found == ["int8@channel", "int4@g128"]


def test_tables_hold_all_instances_of_a_layer() -> None:
    """Three instances: 123 bits each are 369 / 8 / 2**20 MiB; 2.5 pJ each are 7.5e-6 uJ."""
    (row,) = run(LayerRun(**LAYER)).rows()
    assert (row["cycles"], row["stall_cycles"], row["count"]) == (45, 15, 3)
    assert row["dram_mib"] == 369 / 8 / 2**20
    assert row["energy_uj"] == 7.5e-6
    assert row["shape"] == "1 x 2 x 4"


def test_energy_on_the_chip_is_all_but_that_of_dram() -> None:
    parts = {"pe": 1.0, "dram": 2.0, "dram_background": 4.0, "total": 7.0}
    assert run(LayerRun(**{**LAYER, "count": 1, "energy_pj": parts})).onchip_pj == 1.0


def test_sums_of_floats_are_rounded_once() -> None:
    """0.1 ten times is 1 when rounded once; term by term it is 0.9999999999999999."""
    assert with_total({str(i): 0.1 for i in range(10)})["total"] == 1.0
    parts = {"pe": 0.1, "dram": 0.0, "total": 0.1}
    layers = [
        LayerRun(**{**LAYER, "name": str(i), "count": 1, "energy_pj": parts}) for i in range(10)
    ]
    assert run(*layers).energy_pj["pe"] == 1.0


BOUND = {**LAYER, "binds": "dram", "busy_cycles": {"array": 10, "dram": 12}}


def test_what_binds_is_said_of_layers_and_of_the_run() -> None:
    """12 of 15 clocks of DRAM's port; 45 clocks of layers that it binds, 40 that the array does."""
    array = {"binds": "array", "cycles": 20, "count": 2, "busy_cycles": {"array": 20, "dram": 3}}
    found = run(LayerRun(**BOUND), LayerRun(**{**BOUND, "name": "b", **array}))
    assert found.binds == found.to_dict()["binds"] == {"dram": 3 * 15, "array": 2 * 20}
    assert [row["binds"] for row in found.rows()] == ["dram", "array"]
    assert [row["busy"] for row in found.rows()] == [12 / 15, 20 / 20]
    beside = {"binds": "vector", "cycles": 2, "busy_cycles": {"vector": 9000}}  # 8998 hidden
    assert LayerRun(**{**BOUND, **beside}).busy == 1.0
    assert found.to_dict()["layers"][0]["total"]["busy_cycles"] == {"array": 30, "dram": 36}


def test_runs_without_mappings_say_nothing_of_what_binds() -> None:
    found = run(LayerRun(**LAYER))
    assert found.binds == {}
    assert "binds" not in found.to_dict()
    assert not {"binds", "busy"} & found.rows()[0].keys()
    mixed = run(LayerRun(**BOUND), LayerRun(**{**LAYER, "name": "b"}))
    assert [row["binds"] for row in mixed.rows()] == ["dram", None]
    assert "None" not in mixed.table()
