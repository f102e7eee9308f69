"""Component tables: every row has a source; PEs say what they were made for; DRAM sums."""

import json
from pathlib import Path
from typing import Any

import pytest

from bitlathe.arch import Arch, load_arch
from bitlathe.arch.components import component_names, dram_component, pe_component
from bitlathe.arch.pe import SECTIONS
from bitlathe.datatypes.base.errors import BitlatheError


def test_every_component_has_a_source() -> None:
    for name in component_names("pe"):
        assert pe_component(name).source
    for name in component_names("dram"):
        assert dram_component(name).source


@pytest.mark.parametrize("name", component_names("pe"))
def test_a_pe_says_what_it_was_made_for(name: str) -> None:
    part = pe_component(name)
    section = SECTIONS[part.kind]
    assert set(part.arithmetic) <= set(section.arithmetic_keys())
    record = section(kind=part.kind, lanes=part.lanes, component=name).record  # type: ignore[arg-type]
    assert record.lanes == part.lanes
    for key, value in part.names_for(part.kind).items():
        assert record.value(key) == value


def test_leakage_is_a_ratio_of_pes_of_the_same_node_and_clock() -> None:
    """AxCore's table, nW at 1 GHz: FP multiply-add 5053 / 691006; FIGNA W8-FP16 2282 / 238167."""
    for name in component_names("pe"):
        part = pe_component(name)
        if part.node_nm == 28:
            fp16 = part.arithmetic.get("weight") == "fp16"
            ratio = 5053 / 691006 if fp16 else 2282 / 238167
            assert part.leakage_mw == pytest.approx(ratio * part.energy_pj, abs=5e-7)


def test_operators_of_45_nm_add_up() -> None:
    """ShiftAddLLM, table 1: pJ and um2 of multipliers, adders, a look-up of 8 bits."""
    sums = {
        "int8_mac_45nm": (0.2 + 0.1, 282 + 137),
        "fp16_mac_45nm": (1.1 + 0.4, 1640 + 1360),
        "fp16_mac_fp32_sum_45nm": (1.1 + 0.9, 1640 + 4184),
        "fp32_mac_45nm": (3.7 + 0.9, 7700 + 4184),
        "lut8_45nm": (0.37 + 0.9, 787 + 4184),
    }
    for name, (energy, area) in sums.items():
        assert pe_component(name).energy_pj == pytest.approx(energy)
        assert pe_component(name).area_um2 == area


def test_ddr4_by_its_data_sheet() -> None:
    """Micron's module of four x16 devices, DDR4-2666, milliamperes of the module, volts."""
    standby = 1.2 * 200 + 2.5 * 12
    refresh = (1.2 * (1120 - 200) + 2.5 * (112 - 12)) * 350 / 7800
    gb_per_s = 64 * 2.6667 / 8
    part = dram_component("ddr4_2666")
    assert part.background_mw_per_gb_s == pytest.approx((standby + refresh) / gb_per_s, abs=0.01)
    assert part.latency_ns == pytest.approx(14.16 + 19 * 0.75)
    # one device: 16 bits at 2.6667 GT/s; a row of 2 KiB is opened and closed once for all its bits
    gbit_per_s, row_bits, t_ras, t_rp = 16 * 2.6667, 2048 * 8, 43 * 0.75, 19 * 0.75
    idle = (50 * t_ras + 35 * t_rp) / (t_ras + t_rp)
    row_pj = (1.2 * (85 - idle) + 2.5 * (4 - 3)) * (t_ras + t_rp) / row_bits
    device = dram_component("ddr4_2666_device")
    read, write = (1.2 * (i - 50) / gbit_per_s + row_pj for i in (263, 244))
    assert device.bit_pj("read") == pytest.approx(read, abs=0.005)
    assert device.bit_pj("write") == pytest.approx(write, abs=0.005)
    assert dram_component("bitmod_ddr4").bit_pj("write") == 18.75


@pytest.mark.parametrize(
    ("name", "rails", "clocks", "row_bits", "gbit_per_s"),
    [  # volts and IDD0, 2N, 3N, 4R, 4W, 5; tRAS, tRP, tRFC, tREFI in ns and the banks that 3N opens
        (
            "lpddr4_3200",
            [
                (1.8, 3.5, 2, 2.25, 2.25, 2.25, 10),
                (1.1, 45, 27, 30, 275, 210, 90),
                (1.1, 0.75, 0.75, 0.75, 150, 55, 0.75),
            ],
            (68 / 1.6, 29 / 1.6, 448 / 1.6, 6246 / 1.6, 1),
            16384,
            51.2,
        ),
        (
            "ddr5_4800_device",
            [(1.1, 103, 92, 142, 377, 349, 277), (1.1, *[31] * 3, 57, 198, 31), (1.8, *[7] * 6)],
            (77 / 2.4, 39 / 2.4, 295, 3900, 32),
            8192,
            38.4,
        ),
        (
            "ddr5_5600_device",
            [(1.1, 53, 49, 91, 218, 241, 377), (1.1, *[70] * 3, 218, 271, 70), (1.8, *[8] * 6)],
            (90 / 2.8, 45 / 2.8, 295, 3900, 32),
            8192,
            44.8,
        ),
        (
            "lpddr4x_3200",
            [
                (1.8, 3.5, 2, 2.25, 2.25, 2.25, 10),
                (1.1, 45, 27, 30, 275, 210, 90),
                (0.6 * 85 / 105, 0.75, 0.75, 0.75, 150, 55, 0.75),
            ],
            (68 / 1.6, 29 / 1.6, 448 / 1.6, 6246 / 1.6, 1),
            16384,
            51.2,
        ),
        (
            "lpddr5_6400_device",
            [
                (1.05, 45, 30, 39, 372, 310, 170),
                (1.8, 2.9, 1.5, 2.8, 7.2, 7.2, 2.8),
                (0.5, 0.6, 0.6, 0.6, 106, 0.6, 0.6),
            ],
            (42, 18, 210, 3906, 1),
            16384,
            102.4,
        ),
        (
            "lpddr5x_7500_device",
            [
                (1.05, 53, 32.5, 40, 390, 265, 205),
                (1.8, 3.8, 1.5, 2.8, 18, 16.5, 2.8),
                (0.5, 0.6, 0.6, 0.6, 111.9, 0.6, 0.6),
            ],
            (42, 18, 280, 3906, 1),
            16384,
            120,
        ),
    ],
)
def test_devices_by_the_currents_of_their_data_sheets(
    name: str,
    rails: list[tuple[float, ...]],
    clocks: tuple[float, ...],
    row_bits: int,
    gbit_per_s: float,
) -> None:
    t_ras, t_rp, t_rfc, t_refi, banks = clocks
    row, read, write, standby = 0.0, 0.0, 0.0, 0.0
    for volts, idd0, idd2n, idd3n, idd4r, idd4w, idd5 in rails:
        one_bank = idd2n + (idd3n - idd2n) / banks
        row += volts * (idd0 * (t_ras + t_rp) - one_bank * t_ras - idd2n * t_rp)
        read += volts * (idd4r - idd3n)
        write += volts * (idd4w - idd3n)
        standby += volts * (idd3n + (idd5 - idd3n) * t_rfc / t_refi)
    part = dram_component(name)
    assert part.bit_pj("read") == pytest.approx(read / gbit_per_s + row / row_bits, abs=0.006)
    assert part.bit_pj("write") == pytest.approx(write / gbit_per_s + row / row_bits, abs=0.006)
    assert part.background_mw_per_gb_s == pytest.approx(standby / (gbit_per_s / 8), abs=0.006)
    assert part.energy_pj_per_bit == part.read_pj_per_bit


def test_unknown_component_names_the_near_ones() -> None:
    with pytest.raises(BitlatheError, match=r"did you mean 'bitmod_study'.*area_source: synth"):
        pe_component("bitmod_studdy")
    with pytest.raises(BitlatheError, match=r"did you mean 'ddr4_2666' or.*hbm3.*FILE.yaml#NAME"):
        dram_component("ddr4")


MAC = """kind: int_mac, lanes: 1, energy_pj: 0.2, area_um2: 400, node_nm: 28, clock_ghz: 1.5,
  arithmetic: {weight_bits: 8, activation_bits: 8}, source: ours"""
ROW = "energy_pj_per_bit: 4.5, latency_ns: 30, background_mw_per_gb_s: 2, source: ours"
LANE = """node_nm: 28, add_pj: 0.5, multiply_pj: 1, special_pj: 2, special_cycles: 4,
  area_um2: 900, source: ours"""
BIT = "area_um2_per_bit: 3, node_nm: 28, source: ours"
INT8 = dict.fromkeys(("weight", "input", "output"), "int8@channel")


def test_tables_of_ones_own_price_as_figures_in_the_chip_do(tmp_path: Path) -> None:
    file = tmp_path / "parts.yaml"
    rows = {"pe: {mac": MAC, "dram: {five": ROW, "vector: {lane": LANE, "registers: {bit": BIT}
    file.write_text("".join(f"{head}: {{{row}}}}}\n" for head, row in rows.items()))
    own = load_arch("bitmod", {"dram.component": f"{file}#five"}).dram
    assert own.read_bit_pj == own.write_bit_pj == 4.5
    assert own.part is not None
    assert own.part.latency_ns == 30
    pe = {"kind": "int_mac", "lanes": 1, "component": f"{file}#mac"}
    settings: dict[str, Any] = {"pe": pe, "formats": {"linear": INT8, "attention": INT8}}
    chip = load_arch("bitmod", settings)
    assert (chip.pe.clock_energy_pj, chip.pe.part and chip.pe.part.source) == (0.2, "ours")
    with pytest.raises(BitlatheError, match=r"parts.yaml#mac' has 1 lanes, not 2; use lanes: 1"):
        load_arch("bitmod", settings | {"pe": pe | {"lanes": 2}})
    unit = load_arch("bitmod", {"vector": {"lanes": 4, "component": f"{file}#lane"}}).vector
    assert unit is not None
    assert unit.lane(28).multiply_pj == 1
    file.unlink()  # a loaded chip holds what it read, on other machines, too
    again = Arch.model_validate_json(json.dumps(chip.model_dump(mode="json")), strict=False)
    assert again.pe.component == chip.pe.component
    assert load_arch(chip, {"array.rows": 8}).pe.clock_energy_pj == 0.2


@pytest.mark.parametrize(
    ("arithmetic", "asked", "said"),
    [
        ("", {"weight_bits": 16}, "pe.weight_bits: .* was made for at most 8"),
        ("weight_bits: 16", {"accumulator_bits": 48}, "pe.accumulator_bits: .* for at most 32"),
        ("weightbits: 8", {}, "arithmetic: unknown key 'weightbits'; did you mean 'weight_bits'"),
        ("accumulator_bits: [32]", {}, r"arithmetic.accumulator_bits: a whole number, got \[32\]"),
        ("weight_bits: true", {}, "arithmetic.weight_bits: a whole number, got True"),
        ("overflow: 3", {}, "arithmetic.overflow: a name, got 3"),
    ],
)
def test_what_a_table_leaves_out_of_a_pe_is_not_had_for_nothing(
    tmp_path: Path, arithmetic: str, asked: dict[str, Any], said: str
) -> None:
    file = tmp_path / "parts.yaml"
    file.write_text(
        f"pe: {{mac: {{{MAC.replace('weight_bits: 8, activation_bits: 8', arithmetic)}}}}}"
    )
    pe = {"kind": "int_mac", "lanes": 1, "component": f"{file}#mac", **asked}
    with pytest.raises(BitlatheError, match=said):
        load_arch("bitmod", {"pe": pe, "formats": {"linear": INT8, "attention": INT8}})


@pytest.mark.parametrize(
    ("text", "asked", "said"),
    [
        (f"dram: {{five: {{{ROW}}}}}", "six", r"parts.yaml:1:1: unknown dram .* Known: five"),
        (
            "dram: {five: {energy_pj_per_bit: -1, source: x}}",
            "five",
            r"parts.yaml:1:15: energy_pj_per_bit",
        ),
        ("dram: {five: {energy_pj_per_bit: 1}}", "five", "'source' is missing"),
        ("pe: {}", "five", "no table 'dram'; write dram: {five: "),
    ],
)
def test_what_is_wrong_with_a_table_is_said(
    tmp_path: Path, text: str, asked: str, said: str
) -> None:
    file = tmp_path / "parts.yaml"
    file.write_text(text)
    with pytest.raises(BitlatheError, match=said):
        load_arch("bitmod", {"dram.component": f"{file}#{asked}"})
