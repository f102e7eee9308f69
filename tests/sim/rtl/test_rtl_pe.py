"""Generated hardware gives the bits and the clocks of the bit rung."""

from dataclasses import replace
from pathlib import Path

import pytest

from bitlathe.arch.numerics import EXACT
from bitlathe.arch.pe import PE_KINDS, BitSerialPE, IntMacPE, LutPE, OlivePE
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.sim.rtl.check import check_compiled, check_iverilog
from bitlathe.sim.rtl.generate import KINDS, pe_case, pe_design
from bitlathe.sim.rtl.lut import lut_case, lut_parts
from bitlathe.sim.rtl.testbench import files_of, write_files
from bitlathe.sim.rtl.tools import run_tool
from rtl_cases import CONFIGURATIONS, needs_cxxrtl, needs_iverilog

ROWS = 150
CLOCKS = 100_000


@needs_iverilog
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_bit_and_clock_of_a_short_run(name: str) -> None:
    pe, weight = CONFIGURATIONS[name]
    found = check_iverilog(pe_design(pe, weight), pe_case(pe, weight, ROWS, seed=1))
    assert found.agree, found.first
    assert found.numbers > ROWS / 10


@needs_iverilog
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_names_are_no_words_of_systemverilog(name: str, tmp_path: Path) -> None:
    pe, weight = CONFIGURATIONS[name]
    texts = files_of(pe_design(pe, weight), pe_case(pe, weight, 1, seed=1))
    write_files(tmp_path, texts)
    sources = sorted(each for each in texts if each.endswith(".v"))
    run_tool("iverilog", ["iverilog", "-g2012", "-t", "null", *sources], tmp_path)


@pytest.mark.slow
@needs_cxxrtl
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_every_bit_and_clock_of_a_hundred_thousand(name: str) -> None:
    pe, weight = CONFIGURATIONS[name]
    found = check_compiled(pe_design(pe, weight), pe_case(pe, weight, CLOCKS, seed=2))
    assert found.agree, found.first
    assert found.clocks >= CLOCKS


@needs_iverilog
def test_a_shared_table_and_a_pe_that_looks_up_in_it_are_the_look_up_pe() -> None:
    """Its parts as synthesis prices them, joined, in a run of one table."""
    pe = LutPE(inputs=3)
    whole, (column, look) = pe_design(pe, ""), lut_parts(pe)
    ports = [f"input wire [{p.bits - 1}:0] {p.name}" for p in whole.inputs]
    ports += [f"output wire [{p.bits - 1}:0] {p.name}" for p in whole.outputs]
    entries = next(p.bits for p in look.inputs if p.name == "entries")
    taken = [p.name for p in (*look.inputs[2:], *look.outputs)]
    joined = f"""
module lut_joined (input wire clk, input wire rst, {", ".join(ports)});
    wire [{entries - 1}:0] entries;
    wire filled;
    assign in_ready = !fill || filled;
    lut_column column (.clk(clk), .rst(rst), .in_valid(in_valid && fill),
        .activations(activations), .in_ready(filled), .entries(entries));
    lut_look look (.clk(clk), .rst(rst), .in_valid(in_valid && !fill), .entries(entries),
        {", ".join(f".{name}({name})" for name in taken)});
endmodule
"""
    modules = {**column.modules, **look.modules, "lut_joined": joined}
    found = check_iverilog(
        replace(whole, top="lut_joined", modules=modules), lut_case(pe, ROWS, seed=3, tables=1)
    )
    assert found.agree, found.first
    assert found.numbers > ROWS / 10


def test_every_kind_of_pe_is_run() -> None:
    assert {pe.kind for pe, _ in CONFIGURATIONS.values()} == set(KINDS) == set(PE_KINDS)


def test_what_has_no_hardware_is_refused() -> None:
    with pytest.raises(BitlatheError, match="exact sums have no width"):
        pe_design(BitSerialPE(numerics=EXACT), "int8")
    with pytest.raises(BitlatheError, match=r"pe\.table: .* table of 1 input in bf16"):
        pe_design(LutPE(inputs=1, table="bf16"), "bcq4")
    with pytest.raises(BitlatheError, match=r"pe\.scale_inputs: .* scales inputs before a table"):
        pe_design(LutPE(scale_inputs=True), "bcq4")
    with pytest.raises(BitlatheError, match=r"pe\.split_bits is 1: .* these have 256"):
        pe_design(IntMacPE(split_bits=1, weight_bits=16, activation_bits=16))
    with pytest.raises(BitlatheError, match=r"pe\.weight_bits is 2: .* integers of 4 bits"):
        pe_design(OlivePE(mac=IntMacPE(split_bits=2, weight_bits=2)), "olive4")
