"""Chips whose PE is priced by synthesis: the right parts, shared and scaled, or an error."""

from fractions import Fraction
from functools import partial
from pathlib import Path

import pytest

from bitlathe.arch import arch_names, load_arch
from bitlathe.arch.numerics import PENumerics
from bitlathe.arch.pe import BitSerialPE, LutPE
from bitlathe.arch.synthesized import (
    LEAKAGE_RATIO,
    Block,
    Part,
    Results,
    SynthesizedLibrary,
    SynthesizedPE,
    kept_path,
    pe_key,
    read_results,
    shipped,
    synthesized_costs,
    weight_key,
    write_results,
)
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.formats import catalogue
from bitlathe.datatypes.formats.constructors import codebook
from bitlathe.sim.entry import simulate
from bitlathe.sim.rtl.generate import pe_design
from bitlathe.sim.rtl.lut import lut_parts
from bitlathe.sim.synthesis.shipped import SHIPPED
from bitlathe.sim.verify.run import subjects_of

OWN = {"pe.component": None, "pe.area_source": "synthesis"}
LIBRARY = SynthesizedLibrary(
    name="round", units_per_um2=10.0, pj_per_pj=2.0, fanout_of_4_ns=0.5, operands="none"
)


def part(units: float, registers: int = 0, energy_pj: float = 0.0) -> Part:
    return Part(units=units, registers=registers, energy_pj=energy_pj, path_ns=5.0)


def keep(made: BitSerialPE, weight: str, **parts: Part) -> None:
    path = kept_path(pe_key(made), weight)
    path.parent.mkdir(parents=True, exist_ok=True)
    pes = [SynthesizedPE(pe=pe_key(made), weight=weight, parts=parts)]
    path.write_text(write_results(Results(library=LIBRARY, pes=pes)), encoding="utf-8")


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITLATHE_CACHE", str(tmp_path))


@pytest.mark.usefixtures("kept")
def test_edges_are_shared_and_formats_added() -> None:
    pe = BitSerialPE(lanes=3)  # not shipped
    keep(pe, "int8", pe=part(1000, 10, 8), row_edge=part(80, 0, 4), column_edge=part(40, 0, 2))
    keep(pe, "int4", pe=part(1100, 10, 6), row_edge=part(160, 0, 4), column_edge=part(40, 0, 2))
    costs = synthesized_costs(pe, ("int8", "int4"), 4, 8, 28)
    # the larger PE, a column's edge over 4 rows, both encoders over 8 columns
    wanted = Fraction(1100, 10) + Fraction(40, 40) + Fraction(240, 80)
    assert costs.area_um2 == pytest.approx(float(wanted), rel=1e-12)
    assert costs.energy_pj == pytest.approx((8 + 4 / 8 + 2 / 4) / 2, rel=1e-12)
    assert costs.leakage_mw == pytest.approx(costs.energy_pj * LEAKAGE_RATIO)
    older = synthesized_costs(pe, ("int8", "int4"), 4, 8, 56)
    assert (older.area_um2, older.energy_pj) == (4 * costs.area_um2, 2 * costs.energy_pj)


@pytest.mark.usefixtures("kept")
def test_what_was_not_measured_says_how() -> None:
    with pytest.raises(BitlatheError, match="no synthesis of this PE with int8 weights"):
        synthesized_costs(BitSerialPE(lanes=3), ("int8",), 1, 1, 28)
    with pytest.raises(BitlatheError, match=r"bitlathe synthesize --arch"):
        load_arch("bitmod", {**OWN, "pe.lanes": 3})


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize(
    "text",
    ["", "[1]", "library: {}\npes: []\n", "library: 3\npes: 3\n", "\0", "other", "no part"],
)
def test_a_damaged_result_is_told_from_none(text: str) -> None:
    pe, other = BitSerialPE(lanes=3), BitSerialPE(lanes=5)
    keep(other, "int8", pe=part(1))
    whole = kept_path(pe_key(other), "int8").read_text(encoding="utf-8")
    more = {"other": whole, "no part": whole.replace("{pe: {", "{edge: {")}
    kept_path(pe_key(pe), "int8").write_text(more.get(text, text), encoding="utf-8")
    with pytest.raises(BitlatheError, match=r"found is damaged, .*remove this file") as raised:
        synthesized_costs(pe, ("int8",), 1, 1, 28)
    assert "\n" not in str(raised.value)


def test_every_weight_format_has_an_encoder_and_none_is_free() -> None:
    int6 = {"formats.rules": [{"layers": [0], "weight": "int6@g128"}]}
    one, other = (load_arch("bitmod", {**OWN, **more}).pe_costs.area_um2 for more in ({}, int6))
    encoder = shipped()[1][pe_key(BitSerialPE(lanes=4)), "int6"].parts["row_edge"]
    assert other - one == pytest.approx(shipped()[0].area_um2(encoder) / 32, rel=1e-9)
    with pytest.raises(BitlatheError, match=r"formats\.attention\.weight states bits alone"):
        load_arch("bitmod", {**OWN, "formats.attention.weight": {"bits": 8}})


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"pe.area_source": "synthesis"}, "component: area_source is synthesis"),
        ({**OWN, "pe.area_um2": 1.0}, "area_um2: area_source is synthesis"),
        ({**OWN, "pe.area_source": "sheet"}, "'published' or 'synthesis'"),
    ],
)
def test_one_source_of_costs(settings: dict[str, object], why: str) -> None:
    with pytest.raises(BitlatheError, match=why):
        load_arch("bitmod", settings)


def test_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    blocks = {"adder": Block(units=7.5, registers=2)}
    parts = {"pe": part(12.5, 3, 0.125)}
    pes = [SynthesizedPE(pe="lut x=1", weight="", parts=parts, blocks=blocks)]
    path = tmp_path / "results.yaml"
    path.write_text(write_results(Results(library=LIBRARY, pes=pes)), encoding="utf-8")
    assert read_results(path) == Results(library=LIBRARY, pes=pes)


def test_all_that_should_be_shipped_is() -> None:
    _, found = shipped()
    wanted = {(pe_key(pe), weight) for _, pe, weight in SHIPPED}
    assert set(found) == wanted
    assert len(wanted) == len(SHIPPED)


def test_every_bit_serial_pe_is_priced_by_block() -> None:
    library, found = shipped()
    for key, each in found.items():
        if not key[0].startswith("bit_serial"):
            continue
        inside = {"exponent_match", "bit_serial_multiply", "group_accumulate"}
        inside |= set() if "scale_bits=0" in key[0] else {"group_rescale"}
        assert inside | {"term_encoder", "term_sequencer"} <= set(each.blocks)
        # blocks mapped apart share no gates, and the PE has a few registers between them
        apart = sum(library.area_um2(each.blocks[name]) for name in inside)
        whole = library.area_um2(each.parts["pe"])
        assert 0.9 < apart / whole < 1.12, key
        registers = sum(each.blocks[name].registers for name in inside)
        assert 0 <= each.parts["pe"].registers - registers <= 24


def test_the_gate_of_zero_terms_is_a_part_of_the_exponent_match() -> None:
    library, found = shipped()
    gated, plain = (
        found[pe_key(BitSerialPE(numerics=PENumerics(gate_zero_terms=gate))), "int8"]
        for gate in (True, False)
    )
    one, other = (library.area_um2(each.blocks["exponent_match"]) for each in (gated, plain))
    assert 0 < one - other < 0.1 * other
    for on, each in ((True, gated), (False, plain)):
        chip = load_arch("bitmod", {**OWN, "pe.numerics.gate_zero_terms": on})
        own = chip.pe_costs.energy_pj - library.energy_pj(each.parts["pe"])
        assert own > 0  # the edges' share, and that of costlier weights


def test_every_pe_of_a_shipped_chip_that_has_hardware_is_priced() -> None:
    _, found = shipped()
    lacking = set()
    for name in arch_names():
        for _, pe, element in subjects_of(load_arch(name)):
            weight = weight_key(element) if element else ""
            if (pe_key(pe), weight) in found:
                continue
            lut = isinstance(pe, LutPE)
            made = partial(lut_parts, pe) if lut else partial(pe_design, pe, element)
            with pytest.raises(BitlatheError, match="no hardware is generated"):
                made()
            lacking.add(name)
    assert lacking == {"shiftadd-columns"}


def test_a_look_up_pe_shares_its_columns_table() -> None:
    own = {"pe.operators": None, "pe.table_addition_pj": None, "pe.area_source": "synthesis"}
    chip, (library, found) = load_arch("shiftadd", own), shipped()
    parts = found[pe_key(LutPE()), ""].parts
    area = library.area_um2(parts["pe"]) + library.area_um2(parts["column_edge"]) / 24
    assert chip.pe_costs.area_um2 == pytest.approx(area, rel=1e-12)
    assert chip.pe_costs.energy_pj == pytest.approx(library.energy_pj(parts["pe"]), rel=1e-12)
    # 256 entries of 304 additions of the tree
    assert chip.table_fill_pj == pytest.approx(256 * library.energy_pj(parts["column_edge"]))
    assert parts["column_edge"].registers == 256 * 18 + 8
    with pytest.raises(BitlatheError, match="no synthesis of this PE"):
        load_arch("shiftadd", own | {"pe.scale_inputs": True})


def test_a_chip_is_simulated_with_synthesized_costs() -> None:
    plain, chip = load_arch("bitmod"), load_arch("bitmod", OWN)
    costs = chip.pe_costs
    assert costs.area_um2 > plain.pe_costs.area_um2
    one, other = (simulate(arch, "opt-125m", phase="decode") for arch in (plain, chip))
    assert one.cycles == other.cycles
    assert other.energy_pj["pe"] / one.energy_pj["pe"] == pytest.approx(
        costs.energy_pj / plain.pe_costs.energy_pj
    )
    assert other.area_um2["pe_array"] == pytest.approx(1024 * costs.area_um2)


def test_other_numerics_cost_something_else() -> None:
    narrow, wide = (
        load_arch("bitmod", {**OWN, "pe.numerics.accumulator_bits": bits}).pe_costs.area_um2
        for bits in (15, 21)
    )
    assert wide > 1.05 * narrow


def test_formats_of_equal_names_are_told_apart() -> None:
    one, other = codebook("mine", [0, 1, 2, 3]), codebook("mine", [0, 1, 2, 4])
    assert weight_key(one) != weight_key(other)
    assert weight_key(catalogue.element("int8")) == "int8"
    assert weight_key(None) == ""


def test_a_chip_that_waits_to_be_measured_can_be_named() -> None:
    from bitlathe.cli.synthesis import _chip

    chip = _chip("bitmod", {**OWN, "pe.lanes": 3})
    assert (chip.pe.record.lanes, chip.pe.area_source) == (3, "published")
    with pytest.raises(BitlatheError, match="component 'bitmod_tile' has 4 lanes"):
        _chip("bitmod", {"pe.lanes": 3})
