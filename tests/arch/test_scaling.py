"""Figures of one node at another: the published table, exact polynomials, parts of a chip."""

from fractions import Fraction

import pytest

from bitlathe.arch import load_arch
from bitlathe.arch.components import pe_component
from bitlathe.arch.describe import chip_lines
from bitlathe.arch.long_form import memory_costs
from bitlathe.arch.scaling import NODES_NM, factor
from bitlathe.datatypes.base.errors import BitlatheError

# Stillmaker and Baas (2017): areas from node to node, as printed (two digits)
AREAS = {
    (65, 45): 0.66, (65, 7): 0.039, (45, 65): 1.5, (45, 32): 0.46, (45, 10): 0.1, (32, 20): 0.46,
    (32, 14): 0.38, (20, 16): 0.89, (20, 7): 0.28, (16, 10): 0.54, (14, 10): 0.59, (10, 7): 0.58,
    (7, 65): 25, (7, 32): 7.8, (7, 14): 2.9,
}  # fmt: skip
# its polynomials of the supply at three nodes: of its square, the supply and 1, at 0.8 V
POLYNOMIALS = {
    45: ("1.103", "-0.362", "0.2767"),
    20: ("0.373", "-0.1582", "0.04104"),
    7: ("0.1776", "-0.09097", "0.02447"),
}
SUPPLY = Fraction(4, 5)
ENERGIES = {
    node: Fraction(a) * SUPPLY**2 + Fraction(b) * SUPPLY + Fraction(c)
    for node, (a, b, c) in POLYNOMIALS.items()
}


def test_areas_are_those_of_the_published_table():
    for (before, after), printed in AREAS.items():
        assert factor("area", before, after) == pytest.approx(printed, rel=0.06), (before, after)


def test_energies_are_the_published_polynomials():
    for before, one in ENERGIES.items():
        for after, other in ENERGIES.items():
            assert factor("energy", before, after) == pytest.approx(float(other / one), rel=1e-12)


@pytest.mark.parametrize("figure", ["area", "energy"])
def test_figures_fall_with_the_node_and_there_is_a_way_back(figure):
    falling = [factor(figure, 65, node) for node in range(65, 6, -1)]
    assert falling == sorted(falling, reverse=True)
    assert falling[0] == 1
    for node in (28, *NODES_NM):
        there = factor(figure, 28, node) * factor(figure, node, 28)
        assert there == pytest.approx(1, rel=1e-12)


def scaled(chip, node_nm, **more):
    return load_arch(chip, {"technology.node_nm": node_nm, "technology.scaled": True} | more)


@pytest.mark.parametrize("node_nm", [7, 16, 22, 28, 65])
def test_parts_of_a_chip_follow_its_node(node_nm):
    part, chip = pe_component("bitmod_tile"), scaled("bitmod", node_nm)
    area, energy = factor("area", 28, node_nm), factor("energy", 28, node_nm)
    assert chip.pe_costs.area_um2 == pytest.approx(part.area_um2 * area)
    assert chip.pe_costs.energy_pj == pytest.approx(part.energy_pj * energy)
    assert chip.pe_costs.leakage_mw == pytest.approx(part.leakage_mw * energy)
    # SRAM: the table's own node where it has it, else the nearest
    table = node_nm if node_nm in (22, 28, 65) else 22
    own = {"technology.node_nm": table, "pe.energy_pj": 1.0, "pe.area_um2": 1.0}
    known = load_arch("bitmod", own).sram_cost("weight")
    cost = chip.sram_cost("weight")
    assert cost.read_pj == pytest.approx(known.read_pj * factor("energy", table, node_nm))
    assert cost.leakage_mw == pytest.approx(known.leakage_mw * factor("energy", table, node_nm))
    assert cost.area_um2 == pytest.approx(known.area_um2 * factor("area", table, node_nm))
    assert cost.cycle_ns == known.cycle_ns


def test_figures_of_the_chip_itself_are_of_its_node():
    part, own = pe_component("bitmod_tile"), {"pe.energy_pj": 0.25, "pe.leakage_mw": 0.003}
    costs = scaled("bitmod", 16, **own).pe_costs
    assert (costs.energy_pj, costs.leakage_mw) == (0.25, 0.003)
    assert costs.area_um2 == pytest.approx(part.area_um2 * factor("area", 28, 16))
    said = "not scaled, taken to be of 16 nm: the file's own pe.energy_pj, pe.leakage_mw"
    assert said in chip_lines(scaled("bitmod", 16, **own))
    assert not any("not scaled" in line for line in chip_lines(load_arch("ant")))


def test_synthesized_parts_follow_the_node():
    own = {"pe.area_source": "synthesis", "pe.component": None}
    made = load_arch("bitmod", own).pe_costs
    costs = scaled("bitmod", 7, **own).pe_costs
    assert costs.area_um2 == pytest.approx(made.area_um2 * factor("area", 28, 7))
    assert costs.energy_pj == pytest.approx(made.energy_pj * factor("energy", 28, 7))
    assert costs.leakage_mw == pytest.approx(made.leakage_mw * factor("energy", 28, 7))
    assert scaled("bitmod", 28, **own).pe_costs == made


def test_scaling_changes_nothing_where_every_part_is_of_the_node():
    plain, same = load_arch("bitmod"), scaled("bitmod", 28)
    assert same.pe_costs == plain.pe_costs
    assert same.sram_cost("io") == plain.sram_cost("io")


def test_registers_follow_the_node(tmp_path):
    path = tmp_path / "chip.yaml"
    path.write_text(
        "technology: {node_nm: 16, clock_ghz: 0.25, scaled: true}\n"
        "pe: {kind: int_mac, component: int8_mac_45nm}\n"
        "array: {kind: systolic, rows: 4, columns: 4, dataflow: ws}\n"
        "memories:\n"
        "  - {name: dram, component: lpddr4_3200, gb_per_s: 8}\n"
        "  - {name: buffer, size_kib: 64, holds: [weight, input, output]}\n"
        "  - {name: file, per: pe, holds: [weight], words: 4, dataflow: [ws],\n"
        "     component: register_file_45nm}\n"
        "formats:\n"
        "  linear: {weight: int8, input: int8@tensor, output: int8@tensor}\n"
        "  attention: {weight: int8, input: int8@tensor, output: int8@tensor}\n"
    )
    chip = load_arch(path)
    cost = memory_costs(chip)["file"]
    assert cost.read_bit_pj == pytest.approx(0.23125 * factor("energy", 45, 16))
    assert cost.area_um2 == pytest.approx(4 * 8 * 6.95 * factor("area", 45, 16))
    assert chip.pe_costs.energy_pj == pytest.approx(0.3 * factor("energy", 45, 16))
    path.write_text(path.read_text().replace(", scaled: true", ""))
    with pytest.raises(BitlatheError, match=r"use node_nm: 45, technology\.scaled: true, or give"):
        load_arch(path)


@pytest.mark.parametrize("node_nm", [5, 90])
def test_other_nodes_are_refused(node_nm):
    with pytest.raises(BitlatheError, match=rf"technology.node_nm: {node_nm} nm; figures are scal"):
        scaled("bitmod", node_nm).pe_costs  # noqa: B018
