"""Chips whose multipliers split, against the same chips written out for each pair of precisions."""

from typing import Any

import pytest

from bitlathe import load_arch, simulate
from bitlathe.arch import Arch
from bitlathe.arch.parts import Array
from bitlathe.arch.pe import SECTIONS, IntMacPE
from bitlathe.arch.splitting import check_one_side
from bitlathe.sim.chip import Chip
from bitlathe.workloads.gemm import Gemm

LAYERS = [
    Gemm(name="linear", m=24, n=200, k=96),
    Gemm(name="attention_qk", m=24, n=60, k=64, batch=3, kind="attention_qk"),
    Gemm(name="attention_av", m=24, n=64, k=60, batch=3, kind="attention_av"),
]
COST = {"energy_pj": 0.5, "area_um2": 800.0, "leakage_mw": 0.06}
SYSTOLIC = {"array.kind": "systolic", "array.dataflow": "ws"}
INT8 = {f"formats.{kind}.{name}": "int8@tensor" for kind in ("linear", "attention")
        for name in ("input", "output")}  # fmt: skip


def chip(weight: str, settings: dict[str, Any], **pe: Any) -> Arch:
    return load_arch("fp16", {
        "pe": {"kind": "int_mac", **COST, **pe}, "array.rows": 8, "array.columns": 6,
        "vector.lanes": 0, "buffers.weight.port_bits": 1024,
        "buffers.io.port_bits": 2048, **INT8, "formats.linear.weight": weight,
        "formats.attention.weight": "int8@channel", **settings,
    })  # fmt: skip


def layers(arch: Arch, mapper: str, fidelity: str) -> dict[str, Any]:
    run = simulate(arch, LAYERS, fidelity=fidelity, mapper=mapper, fusion=False)
    return {layer.name: layer for layer in run.layers}


WAYS = [  # weights, split, as written out for narrow weights
    ("int4@channel", {"split_bits": 4}, {"pe.lanes": 2}),
    ("int2@channel", {"split_bits": 2}, {"pe.lanes": 4}),
    ("int4@channel", {"split_bits": 4, "split_over": "axes"},
     {"array.rows": 16, **{f"pe.{k}": v / 2 for k, v in COST.items()}}),
    ("int8@channel", {"split_bits": 4, "split_over": "axes"}, {}),
]  # fmt: skip


@pytest.mark.parametrize("fidelity", ["analytic", "cycle"])
@pytest.mark.parametrize("mapper", ["whole-buffer", "search"])
@pytest.mark.parametrize(("weight", "split", "written"), WAYS)
def test_each_layer_runs_as_on_a_chip_written_out_for_it(
    weight: str, split: dict[str, Any], written: dict[str, Any], mapper: str, fidelity: str
) -> None:
    found = layers(chip(weight, {}, **split), mapper, fidelity)
    narrow = layers(chip(weight, written), mapper, fidelity)["linear"]
    wide = layers(chip(weight, {}), mapper, fidelity)
    for name, expected in {**wide, "linear": narrow}.items():
        assert found[name].cycles == expected.cycles, name
        assert found[name].utilization == expected.utilization, name
        assert found[name].sram_accesses == expected.sram_accesses, name
        assert found[name].energy_pj == pytest.approx(expected.energy_pj, rel=1e-12), name


def test_narrow_weights_on_a_weight_stationary_array_make_more_columns() -> None:
    split = {"split_bits": 4, "split_over": "axes"}
    found = layers(chip("int4@channel", SYSTOLIC, **split), "whole-buffer", "analytic")
    halved = {f"pe.{k}": v / 2 for k, v in COST.items()}
    twice = chip("int4@channel", {**SYSTOLIC, "array.columns": 12, **halved})
    assert found["linear"].cycles == layers(twice, "whole-buffer", "analytic")["linear"].cycles


def test_silicon_is_that_of_the_whole_chip() -> None:
    arch = chip("int4@channel", {}, split_bits=4, split_over="axes")
    whole = Chip.of(arch)
    narrow = whole.split_for((2, 1))
    assert (narrow.arch.array.rows, narrow.arch.array.columns) == (16, 6)
    assert narrow.area_um2 == whole.area_um2 == Chip.of(arch).area_um2
    assert narrow.leakage_mw == whole.leakage_mw
    assert narrow.split_for((1, 1)) is whole
    assert narrow.split_for((2, 1)) is narrow
    assert narrow.arch.split_for((2, 2)).array.columns == 12


def test_ports_follow_the_widest_need_of_any_split() -> None:
    """Rows of 4-bit weights take 16 x 4 bits, of 8 bits 8 x 8; lanes 2 x 8 x 4 and 8 x 8."""
    for over in ("axes", "lanes"):
        auto = {"buffers.weight.port_bits": "auto", "buffers.io.port_bits": "auto"}
        arch = chip("int4@channel", auto, split_bits=4, split_over=over)
        assert arch.port_bits("weight") == 64
        assert arch.port_bits("io") == 6 * 8 * (1 if over == "axes" else 2)
        assert Chip.of(arch).split_for((2, 1)).arch.port_bits("io") == arch.port_bits("io")


@pytest.mark.parametrize(
    ("kind", "weight", "stated", "bits"),
    [
        ("int_mac", "int4@g128", None, 4), ("int_mac", "int4_asym@g128", None, 5),
        ("int_mac", "fp4_e2m1@g128", None, 5), ("int_mac", "int8@channel", None, 8),
        ("int_mac", None, 4.125, 5), ("int_mac", "int4@channel", 5.0, 5),
        ("ant", "ant4@g128", None, 4), ("ant", "flint4@channel", None, 3),
        ("ant", "int8@channel", None, 8),
        ("olive", "olive4", None, 4), ("olive", "int8@channel", None, 8),
    ],
)  # fmt: skip
def test_multipliers_split_by_the_integers_behind_the_decoder(
    kind: str, weight: str | None, stated: float | None, bits: int
) -> None:
    section = SECTIONS[kind](
        kind=kind, weight_bits=8, split_bits=1, split_over="axes", **COST
    )  # fmt: skip
    arch = chip("int8@channel", {"formats.linear.weight": {"scheme": weight, "bits": stated}})
    layer = arch.formats.linear
    assert section.record.split(layer.weight, layer.input) == (8 // bits, 1)


def test_inputs_split_too() -> None:
    arch = chip("int4@channel", {"formats.linear.input": "int4@tensor"}, split_bits=2)
    layer = arch.formats.linear
    assert arch.pe.record.split(layer.weight, layer.input) == (2, 2)
    assert Chip.of(arch).split_for((2, 2)).arch.pe.lanes == 4


def test_decoders_at_the_border_have_their_area() -> None:
    cost = {"kind": "ant", "weight_bits": 8, "split_bits": 4, "split_over": "axes", **COST}
    arch = chip("ant4@g32", {"pe": {**cost, "decoder_um2": 10.0}})
    assert (arch.decoders, Chip.of(arch).area_um2["decoders"]) == (16, 160.0)
    assert "decoders" not in Chip.of(chip("ant4@g32", {"pe": cost})).area_um2


def test_dataflows_that_turn_the_array_are_refused_for_axes() -> None:
    array = Array.model_validate(
        {"kind": "systolic", "rows": 2, "columns": 2, "dataflow": ["ws", "is"]}
    )
    check_one_side(IntMacPE(split_bits=4), array)
    with pytest.raises(ValueError, match=r"pe\.split_over: 'axes' lengthens"):
        check_one_side(IntMacPE(split_bits=4, split_over="axes"), array)


def test_a_chip_with_a_study_s_rule_is_searched_on_request() -> None:
    """Without SRAM ports, which its rule does not count, the best nest is as fast as its tile."""
    settings = {"formats.linear.weight": "int4@tensor", "formats.linear.input": "int4@tensor"}
    wide = {f"buffers.{name}.port_bits": 4096 for name in ("weight", "input", "output")}
    arch = load_arch("isca18/bf-e", {**settings, **wide})
    rule = layers(arch, "bitfusion", "analytic")["linear"]
    searched = layers(arch, "search-cycles", "analytic")["linear"]
    assert searched.cycles <= rule.cycles
    # 4 x 4 bits: four products a unit in a clock
    assert searched.compute_cycles >= 24 * 200 * 96 / (16 * 32 * 4)
