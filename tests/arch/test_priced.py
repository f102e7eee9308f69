"""What a chip's parts cost: refusals of what no figure covers, sums, every key of the schema."""

import math
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from bitlathe.arch import Arch, load_arch, resolve
from bitlathe.arch.components import Component
from bitlathe.arch.hierarchies import hierarchies_of
from bitlathe.arch.loader import CHIPS
from bitlathe.arch.long_form import memory_costs
from bitlathe.arch.pe import LutPE
from bitlathe.arch.vector import Lane
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.sim.chip import Chip
from bitlathe.sim.energy import timed_energy_pj

DOCS = Path(__file__).parents[2] / "docs" / "chips.md"
BITMOD = (CHIPS / "bitmod.yaml").read_text()
OWN = "or give energy_pj and area_um2 of your own PE"
COST = {"pe.energy_pj": 0.3, "pe.area_um2": 400.0}


def refused(chip: str | Path, settings: dict[str, Any] | None = None) -> str:
    with pytest.raises(BitlatheError) as caught:
        load_arch(chip, settings)
    return re.sub(r"^.*?\.yaml:\d+:\d+: ", "", str(caught.value))


@pytest.mark.parametrize(
    ("chip", "settings", "says"),
    [
        (
            "bitmod",
            {"pe.lanes": 8},
            f"pe.lanes: component 'bitmod_tile' has 4 lanes, not 8; use lanes: 4, {OWN}.",
        ),
        (
            "bitmod",
            {"technology.node_nm": 45},
            "technology.node_nm: component 'bitmod_tile' was made at 28 nm, not 45 nm; use "
            f"node_nm: 28, technology.scaled: true, {OWN}.",
        ),
        (
            "bitmod",
            {"technology.clock_ghz": 2.4},
            "technology.clock_ghz: component 'bitmod_tile' was made for at most 1 GHz, not 2.4 "
            f"GHz; use a slower clock, {OWN}.",
        ),
        (
            "bitmod",
            {"pe.activation": "int8"},
            f"pe.activation: component 'bitmod_tile' was made for fp16; use that, {OWN}, or say "
            "unpriced: [activation] to take it at the component's cost.",
        ),
        (
            "bitmod",
            {"pe.numerics.accumulator_bits": 32},
            "pe.numerics.accumulator_bits: component 'bitmod_tile' was made for at most 15; use "
            f"that, {OWN}, or say unpriced: [numerics] to take it at the component's cost.",
        ),
        (
            "bitmod",
            {"pe.skip_zero_terms": True},
            f"pe.skip_zero_terms: component 'bitmod_tile' was made for false; use that, {OWN}, or "
            "say unpriced: [skip_zero_terms] to take it at the component's cost.",
        ),
        (
            "fp16",
            {"pe.accumulator": "fp32"},
            f"pe.accumulator: component 'fp16_mac_tile' was made for fp16; use that, {OWN}, or say "
            "unpriced: [accumulator] to take it at the component's cost.",
        ),
        (
            "bitmod",
            {"buffers.weight.banks": 8},
            "buffers.weight: a bank takes 1.03 ns per access, the clock gives 1 ns; use 16 banks, "
            "or banks: auto",
        ),
        (
            "bitmod",
            {"buffers.weight.component": "cacti7_lstp", "technology.device": "lstp"},
            "buffers.weight: SRAM table 'cacti7_lstp' was made for one port, not for ports: 2; use "
            "ports: 1, or component: cacti7.",
        ),
        (
            "bitmod",
            {"buffers.weight.read_pj": 5.0},
            "buffers.weight: costs given instead of a table's: give write_pj, leakage_mw, "
            "area_um2 too.",
        ),
        (
            "bitmod",
            {"dram": {"component": "ddr4_2666", "gb_per_s": 32, "bits_per_clock": 256}},
            "dram: give 'bits_per_clock' or 'gb_per_s', not both.",
        ),
        (
            "bitmod",
            {"dram": {"component": "ddr4_2666"}},
            "dram: give 'bits_per_clock' or 'gb_per_s'.",
        ),
        (
            "bitmod",
            {"accounting.serial_port_fraction": 0.5},
            "accounting: serial_port_fraction is part of a study's rule for SRAM; use study: "
            "hpca25, or leave it out.",
        ),
        (
            "bitmod",
            {"pe.unpriced": ["lanes"]},
            "pe.unpriced: 'lanes' is not one of activation, numerics, scale_bits, group_gap, "
            "skip_zero_terms, skip_sync, skip_weights.",
        ),
    ],
)
def test_what_no_figure_covers_is_refused(chip: str, settings: dict[str, Any], says: str) -> None:
    assert refused(chip, settings) == says


def test_a_component_of_another_kind_is_refused() -> None:
    said = refused("fp16", {"pe.component": "bitmod_tile"})
    assert said.startswith("pe.component: 'bitmod_tile' is a PE of kind 'bit_serial', not 'fp_mac'")
    assert "fp16_mac_tile" in said


@pytest.mark.parametrize("chip", ["ant-fp16", "olive-fp16"])
def test_fp16_products_need_a_multiplier_for_them(chip: str) -> None:
    said = refused(chip, {"formats.attention.weight": "fp16"})
    assert said.startswith(
        "formats.attention.weight: a PE of kind fp_mac (activation fp16, weight int8) cannot take "
        "'fp16' as weights; it takes int2, "
    )
    assert said.endswith(
        f"component {load_arch(chip).pe.component!r} was made for these ports, fp16_mac_sheet and "
        "fp16_mac_tile take 'fp16'."
    )
    named = load_arch(chip, {"formats.attention.weight": "fp16", "pe.component": "fp16_mac_tile"})
    assert named.pe.cell_area_um2 == 1989.5417


@pytest.mark.parametrize(
    "settings",
    [
        {"pe.lanes": 8},
        {"technology.node_nm": 22},
        {
            "pe.activation": "bf16",
            **{f"formats.{k}.input": "bf16" for k in ("linear", "attention")},
        },
        {"pe.numerics": "exact"},
        {"pe.skip_zero_terms": True},
    ],
)
def test_figures_of_one_s_own_cover_what_they_say(settings: dict[str, Any]) -> None:
    chip = load_arch("bitmod", {**settings, **COST})
    assert (chip.pe.clock_energy_pj, chip.pe.cell_area_um2, chip.pe_leakage_mw) == (0.3, 400.0, 0.0)


def test_figures_of_one_s_own_do_not_outlive_their_lanes() -> None:
    own = load_arch("bitmod", COST)
    twice = {"pe.energy_pj": 0.6, "pe.area_um2": 800}
    assert load_arch(own, {"pe.lanes": 8, **twice}).pe.lanes == 8
    assert load_arch(own, {"pe.lanes": own.pe.lanes, "array.rows": 64}).pe.lanes == own.pe.lanes
    with pytest.raises(BitlatheError, match=r"lanes: 4, not 8, are pe\.energy_pj and pe\.area_um2"):
        load_arch(own, {"pe.lanes": 8})
    with pytest.raises(BitlatheError, match=r"lanes: 4, not 8, are pe\.area_um2; set"):
        load_arch(own, {"pe.lanes": 8, "pe.energy_pj": 0.6})


def test_unpriced_keys_are_said_by_the_chip() -> None:
    chip = load_arch("bitmod", {"pe.skip_zero_terms": True, "pe.unpriced": ["skip_zero_terms"]})
    assert chip.pe.unpriced == ("skip_zero_terms",)
    assert load_arch("bitmod").pe.unpriced == ()


def test_the_study_s_chips_keep_their_16_bit_keys_and_values() -> None:
    for name in ("ant", "olive"):
        chip = load_arch(f"hpca25/{name}")
        assert chip.formats.attention.weight.label == "fp16"
        assert chip.published_accounting
        assert chip.mapper == "hpca25-whole-buffer"
        assert (chip.pe_leakage_mw, chip.dram_background_mw, chip.dram_latency_cycles) == (0, 0, 0)
    assert not load_arch("ant").published_accounting
    assert load_arch("ant").mapper is None


# -- sums ----------------------------------------------------------------------------------------


def test_leakage_is_that_of_all_banks_and_pes() -> None:
    """16 banks of 32 KiB, 32 and 64 bits, lop at 300 K: 1.24842 and 1.24357 mW; PEs, lanes."""
    chip = load_arch("bitmod")
    on = Chip.of(chip)
    assert [chip.banks(name) for name in chip.buffers.names] == [16, 16]
    all_mw = 16 * 1.24842 + 16 * 1.24357 + 1024 * 0.005899 + 64 * 0.010965 * 28 / 45
    assert on.leakage_mw == pytest.approx(all_mw)
    energy = timed_energy_pj(on, 1000)
    assert energy["leakage"] == pytest.approx(all_mw * 1000)
    assert energy["dram_background"] == pytest.approx(15.50 * 32 * 1000)
    half = load_arch("bitmod", {"technology.clock_ghz": 0.5})
    slow = timed_energy_pj(Chip.of(half), 1000)
    assert slow["leakage"] == pytest.approx(2 * 1000 * Chip.of(half).leakage_mw)


def test_dram_by_time_holds_whatever_the_clock() -> None:
    for clock, bits, cycles in ((1.0, 256, 29), (0.5, 512, 15), (0.8, 320, 23)):
        chip = load_arch("bitmod", {"technology.clock_ghz": clock})
        assert chip.dram_bits_per_clock == bits  # 32 GB/s
        assert chip.dram_latency_cycles == cycles == math.ceil(28.41 * clock)
        assert chip.dram_background_mw == pytest.approx(15.50 * 32)
    chip = load_arch("bitmod", {"dram.gb_per_s": 25.6})
    assert chip.dram_bits_per_clock == Fraction(1024, 5)


def test_a_rate_or_latency_that_is_set_replaces_the_other_unit() -> None:
    chip = load_arch("bitmod", {"dram.bits_per_clock": 128, "dram.latency_cycles": 7})
    assert (chip.dram_bits_per_clock, chip.dram_latency_cycles) == (128, 7)
    back = load_arch(chip, {"dram.gb_per_s": 64.0, "dram.latency_ns": 0.0})
    assert (back.dram_bits_per_clock, back.dram_latency_cycles) == (512, 0)


def test_reads_and_writes_of_dram_apart() -> None:
    both = load_arch("bitmod", {"dram.component": "ddr4_2666_device"}).dram
    assert (both.read_bit_pj, both.write_bit_pj) == (6.13, 5.60)
    one = load_arch("bitmod", {"dram.write_pj_per_bit": 20.0}).dram
    assert (one.read_bit_pj, one.write_bit_pj) == (18.75, 20.0)
    given = load_arch("bitmod", {"dram.energy_pj_per_bit": 4.0}).dram
    assert (given.read_bit_pj, given.write_bit_pj) == (4.0, 4.0)


SYSTOLIC = {
    "array.kind": "systolic",
    "pe": {"kind": "fp_mac", "component": "fp16_mac_tile"},
    "formats.linear.weight": "fp16",
    "formats.attention.weight": "fp16",
}


@pytest.mark.parametrize(
    ("dataflow", "key", "bits"),
    [("ws", "double_buffered_operand", 16), ("os", "drain_register", 16)],
)
def test_registers_of_a_systolic_pe_have_an_area(dataflow: str, key: str, bits: int) -> None:
    """2.69 um2 a bit at 28 nm: the second FP16 operand, or the FP16 sum."""
    base = {**SYSTOLIC, "array.dataflow": dataflow}
    with_it = load_arch("bitmod", base)
    without = load_arch("bitmod", {**base, f"pe.{key}": False})
    assert without.pe_area_um2 == 1989.5417
    assert with_it.pe_area_um2 == pytest.approx(1989.5417 + bits * 2.69)
    areas = [Chip.of(chip).area_um2["pe_array"] for chip in (with_it, without)]
    assert areas[0] - areas[1] == pytest.approx(1024 * bits * 2.69)


def test_partial_sums_at_the_edge_take_sram() -> None:
    kept = {**SYSTOLIC, "array.dataflow": "ws", "array.accumulator_buffer": True}
    said = refused("bitmod", kept)
    assert said.startswith(
        "buffers.accumulator: array.accumulator_buffer keeps partial sums in SRAM"
    )
    chip = load_arch("bitmod", {**kept, "buffers.accumulator": {"size_kib": 128}})
    assert chip.port_bits("accumulator") == 32 * 16  # a sum of FP16 in every column
    area = Chip.of(chip).area_um2
    assert area["accumulator_buffer"] == chip.sram_cost("accumulator").area_um2 > 0
    assert Chip.of(chip).sram["accumulator"].cost.read_pj > 0
    said = refused("bitmod", {"buffers.accumulator": {"size_kib": 128}})
    assert said == "buffers.accumulator: for array.accumulator_buffer: true; leave it out."


def test_filling_a_table_takes_clocks_and_energy() -> None:
    """8 inputs: 4 x 2^2 + 2 x 2^4 + 2^8 = 304 additions of 0.4 pJ, by the 32 PEs of a column."""
    assert LutPE(inputs=8).table_additions == 4 * 4 + 2 * 16 + 256 == 304
    chip = load_arch(
        "bitmod",
        {
            "technology": {"node_nm": 45, "clock_ghz": 0.25},
            "pe": {"kind": "lut", "lanes": 8, "component": "lut8_45nm"},
            "formats.linear.weight": "bcq3",
            "formats.attention.weight": "bcq4",
        },
    )
    assert chip.table_fill_cycles == 10  # ceil(304 / 32)
    assert chip.table_fill_pj == pytest.approx(304 * 0.4)
    assert (load_arch("bitmod").table_fill_cycles, load_arch("bitmod").table_fill_pj) == (0, 0)


def test_figures_of_one_s_own_for_a_buffer() -> None:
    own = {"size_kib": 256, "port_bits": 512, "read_pj": 9.0, "write_pj": 11.0}
    chip = load_arch("bitmod", {"buffers.weight": {**own, "leakage_mw": 1.0, "area_um2": 5e5}})
    cost = chip.sram_cost("weight")
    assert (cost.read_pj, cost.write_pj, cost.leakage_mw, cost.area_um2) == (9.0, 11.0, 1.0, 5e5)
    said = refused(
        "bitmod",
        {"buffers.weight": {**own, "port_bits": "auto", "leakage_mw": 1.0, "area_um2": 5.0}},
    )
    assert said == (
        "buffers.weight: costs given instead of a table's hold for one width: give port_bits."
    )


# -- every key has its price ---------------------------------------------------------------------


def figures(chip: Arch) -> dict[str, Any]:
    """All that a chip costs, as the energy model takes it."""
    on, dram = Chip.of(chip), chip.dram
    return {
        "memories": [h.memories[1:] for h in hierarchies_of(chip)] if chip.memories else [],
        "copies": memory_costs(chip) if chip.memories else {},
        "area": on.area_um2,
        "buffers": on.sram,
        "leakage": on.leakage_mw,
        "pe": (chip.pe.clock_energy_pj, chip.accounting.layout_factor, chip.table_fill_pj),
        "scales": chip.pe.group_sum_pj,
        "dram": (dram.read_bit_pj, dram.write_bit_pj, chip.dram_background_mw),
        "vector": chip.vector_lane,
    }


PRICED: dict[str, tuple[str, Any]] = {
    # key: (the chip that has it, another value): its figures change
    "technology.node_nm": ("own", 45),
    "technology.device": ("bitmod", "hp"),
    "technology.temperature_k": ("bitmod", 360),
    "array.rows": ("bitmod", 128),
    "array.columns": ("bitmod", 128),
    "buffers.weight.size_kib": ("bitmod", 1024),
    "buffers.weight.banks": ("bitmod", 32),
    "buffers.weight.component": ("plain", "cacti7_hp"),
    "buffers.weight.port_bits": ("bitmod", 64),
    "buffers.weight.ports": ("bitmod", 1),
    "dram.gb_per_s": ("bitmod", 64.0),
    "dram.bits_per_clock": ("bitmod", 512),
    "dram.component": ("bitmod", "lpddr4"),
    "dram.energy_pj_per_bit": ("bitmod", 5.0),
    "dram.read_pj_per_bit": ("bitmod", 5.0),
    "dram.write_pj_per_bit": ("bitmod", 5.0),
    "dram.background_mw": ("bitmod", 1.0),
    "pe.component": ("bitmod", "bitmod_sheet"),
    "pe.energy_pj": ("bitmod", 5.0),
    "pe.area_um2": ("bitmod", 5.0),
    "pe.leakage_mw": ("bitmod", 5.0),
    "pe.table_addition_pj": ("lut", 5.0),
    "pe.double_buffered_operand": ("ws", False),
    "pe.drain_register": ("os", False),
    "array.dataflow": ("int8", "ws"),
    "array.kind": ("os", "tile"),
    "accounting.layout_factor": ("bitmod", 1.0),
    "cores.size": ("gemmini", 2),
    "memories.scratchpad.size_kib": ("gemmini", 512),
    "memories.sums.size_bytes": ("gemmini", 64),
    "memories.sums.words": ("gemmini", 8),
    "memories.sums.bits": ("gemmini", 64),
    "memories.sums.per": ("gemmini", ["rows"]),
    "memories.scratchpad.banks": ("gemmini", 16),
    "memories.weights.component": ("gemmini", "pe"),
    "memories.accumulator.ports.read": ("gemmini", [{"read": 1024}, {"write": 512}]),
    "memories.accumulator.ports.write": ("gemmini", [{"read": 512}, {"write": 1024}]),
    "memories.accumulator.ports.both": ("gemmini", [{"both": 512}]),
    "vector.lanes": ("bitmod", 128),
    "pe.decoder_um2": ("ant", 20.0),
    "pe.decoder.operators": ("dgq", {"int32_add": 2}),
    "pe.operators.clock": ("dgq", {"int32_add": 2}),
    "pe.operators.group": ("dgq", {"int32_add": 2}),
    "pe.operators.reused": ("dgq", {"int32_add": 2}),
    "pe.split_over": ("ant", "lanes"),
}
REFUSED: dict[str, tuple[str, Any]] = {
    "technology.clock_ghz": ("bitmod", 2.0),
    "pe.kind": ("fp16", "int_mac"),
    "pe.area_source": ("bitmod", "synthesis"),  # in place of a component
    "pe.operators.node_nm": ("dgq", 45),
    "pe.lanes": ("bitmod", 8),
    "pe.activation": ("bitmod", "int8"),
    "pe.numerics.preset": ("bitmod", "exact"),
    "pe.numerics.guard_bits": ("bitmod", 8),
    "pe.numerics.accumulator_bits": ("bitmod", 32),
    "pe.numerics.exponent_bits": ("bitmod", 16),
    "pe.numerics.sum_bits": ("floor", 62),
    "pe.scale_bits": ("bitmod", 16),
    "pe.skip_zero_terms": ("bitmod", True),
    "pe.activation_bits": ("int8", 16),
    "pe.weight_bits": ("int8", 16),
    "pe.split_bits": ("int8", 2),
    "pe.accumulator_bits": ("int8", 48),
    "pe.weight": ("ant-fp16", "fp16"),
    "pe.accumulator": ("fp16", "fp32"),
    "pe.table": ("lut", "fp32"),
    "array.accumulator_buffer": ("ws", True),
    "accounting.serial_port_fraction": ("bitmod", 0.5),
}
FREE = {
    # what runs, and how it is counted: no silicon
    "name", "title", "description", "mapper",
    "execution.overlap_layers", "execution.keep_outputs",
    "accounting.leakage", "accounting.idle_pes", "accounting.study",
    # a statement that something is not priced, repeated by the chip
    "pe.unpriced",
    # slower or less, never faster; or a rounding rule of no cost that is known
    "pe.group_gap", "pe.skip_sync", "pe.skip_weights", "pe.overflow", "pe.product",
    "pe.numerics.reference", "pe.numerics.alignment", "pe.numerics.rounding",
    "pe.numerics.overflow",
    "pe.numerics.gate_zero_terms", "pe.decoder.entries", "pe.decoder.table_of",
    # clocks and energy of the tables that scaled inputs need (tests/sim/test_method_chips.py)
    "pe.scale_inputs",
    # who multiplies by scales: what it leaves is work of the vector unit (the same tests)
    "pe.operators.scale_bits", "pe.decoder.scale_bits",
    # where figures of the node come from, by a published rule
    "technology.scaled",
    # what the head computes
    "accounting.logits",
    # how the buffer's capacity and the DRAM are used
    "buffers.weight.double_buffered", "dram.latency_cycles", "dram.latency_ns", "dram.burst_bits",
    "array.timing", "dram.refresh_fraction", "dram.name", "dram.size_gib", "cores.multicast",
    # which operands and dimensions the mapper may send where; wires have no known cost
    "memories.name", "memories.holds", "memories.bypass", "memories.dataflow",
    "memories.double_buffered", "memories.keep_halo", "memories.ports.operands",
    "array.row_dims", "array.column_dims", "cores.dims",
    # which memory it stands beside, whether it waits; one component so far
    "vector.memory", "vector.overlap", "vector.component", "vector.operations",
    # work of the vector unit for each layer (tests/sim/test_method_chips.py)
    "beside.outlier_fraction", "beside.sparse_fraction", "beside.rank", "beside.rotation",
    "beside.divisors",
    # said of the chip in what it does not price
    "memories.unpriced",
}  # fmt: skip
OWN_FIGURES = {f"buffers.weight.{k}" for k in ("read_pj", "write_pj", "leakage_mw", "area_um2")}
OWN_FIGURES |= {f"vector.{k}" for k in Lane._fields}
OWN_FIGURES |= {
    f"memories.{k}" for k in ("read_pj_per_bit", "write_pj_per_bit", "leakage_mw", "area_um2")
}

BASES: dict[str, tuple[str, dict[str, Any]]] = {
    "bitmod": ("bitmod", {}),
    "fp16": ("fp16", {}),
    "ant": ("ant", {}),
    "ant-fp16": ("ant-fp16", {}),
    "dgq": ("dgq", {}),
    "gemmini": ("gemmini-like", {}),
    "own": ("bitmod", COST),
    "plain": ("bitmod", {"technology": {"node_nm": 28, "clock_ghz": 1.0}}),
    "floor": ("bitmod", {"pe.numerics": "hpca25"}),
    "os": ("bitmod", {**SYSTOLIC, "array.columns": 16}),
    "ws": ("bitmod", {**SYSTOLIC, "array.dataflow": "ws"}),
    "lut": ("bitmod", {
        "technology": {"node_nm": 45, "clock_ghz": 0.25},
        "pe": {"kind": "lut", "lanes": 8, "component": "lut8_45nm"},
        "formats.linear.weight": "bcq3", "formats.attention.weight": "bcq4",
    }),
    "int8": ("bitmod", {
        "technology": {"node_nm": 45, "clock_ghz": 0.25},
        "pe": {"kind": "int_mac", "component": "int8_mac_45nm"}, "array.kind": "systolic",
        **{f"formats.{kind}.{operand}": "int8" for kind in ("linear", "attention")
           for operand in ("weight", "input")},
    }),
}  # fmt: skip


@pytest.mark.parametrize("key", PRICED)
def test_a_key_changes_what_the_chip_costs(key: str) -> None:
    base, value = PRICED[key]
    name, settings = BASES[base]
    other = {**settings, key: value}
    if "ports." in key and base == "gemmini":
        other = {**settings, key.rpartition(".")[0]: value}
    if key == "buffers.weight.component":  # one device and temperature for all buffers
        other["buffers.io.component"] = value
    assert figures(load_arch(name, other)) != figures(load_arch(name, settings))


@pytest.mark.parametrize("key", REFUSED)
def test_a_key_that_no_figure_covers_is_refused(key: str) -> None:
    base, value = REFUSED[key]
    name, settings = BASES[base]
    load_arch(name, settings)
    with pytest.raises(BitlatheError, match=r"component|buffers.accumulator|study|node_nm"):
        load_arch(name, {**settings, key: value})


def _leaves(model: Any, prefix: str = "") -> set[str]:
    found = set()
    for name, field in model.model_fields.items():
        records = [r for r in _records(field.annotation) if not issubclass(r, Component)]
        key = f"{prefix}{name}"
        found |= {leaf for r in records for leaf in _leaves(r, f"{key}.")} if records else {key}
    return found


def _records(annotation: Any) -> list[Any]:
    from typing import get_args

    from pydantic import BaseModel

    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [r for arg in get_args(annotation) for r in _records(arg)]


def keys_of_a_chip() -> set[str]:
    """Every key, those of one buffer standing for all."""
    keys = {k for k in _leaves(Arch) if not k.startswith(("formats.", "overrides."))}
    return {k for k in keys if not re.match(r"buffers\.(?!weight)", k)}


def test_every_key_is_priced_refused_or_said_to_be_free() -> None:
    """Formats cost the bits and clocks they take; overrides set keys that are listed here."""
    priced = {re.sub(r"^memories\.\w+\.", "memories.", key) for key in PRICED}
    listed = [priced, set(REFUSED), FREE, OWN_FIGURES]
    known = set().union(*listed)
    assert sum(map(len, listed)) == len(known)
    assert keys_of_a_chip() <= known, keys_of_a_chip() - known
    assert known <= keys_of_a_chip(), known - keys_of_a_chip()


def test_the_page_lists_every_key() -> None:
    text = DOCS.read_text()
    for key in keys_of_a_chip() - {"name"}:
        last = key.rpartition(".")[2]
        last = {"operands": "for", "row_dims": "dims", "column_dims": "dims"}.get(last, last)
        assert f"`{last}`" in text or f"`{key}`" in text, key


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_a_resolved_chip_costs_what_the_whole_costs(phase: str) -> None:
    whole = load_arch("bitmod")
    assert figures(resolve(whole, phase=phase, model="phi-2")) == figures(whole)


def test_a_chip_answers_for_its_dram_in_both_units() -> None:
    dram = load_arch("bitmod", {"technology.clock_ghz": 0.5}).plain()["dram"]
    assert (dram["bits_per_clock"], dram["gb_per_s"]) == (512.0, 32.0)
    assert (dram["latency_cycles"], dram["latency_ns"]) == (15, 30.0)
    study = load_arch("hpca25/ant").plain()["dram"]
    assert (study["bits_per_clock"], study["gb_per_s"], study["latency_ns"]) == (256.0, 32.0, 0.0)
