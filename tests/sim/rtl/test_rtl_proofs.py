"""Small blocks proved for every input, by the SAT solver of Yosys."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.sim.pe.mac import olive_decode
from bitlathe.sim.pe.weights import weight_decoder
from bitlathe.sim.rtl.bit_serial import term_encoder, weight_bits
from bitlathe.sim.rtl.fp_mac import float_parameters
from bitlathe.sim.rtl.tools import run_yosys
from bitlathe.sim.rtl.verilog import library
from bitlathe.sim.verify.reference import rounded
from rtl_cases import needs_pyosys

SAT = (
    "hierarchy -top miter",
    "proc -norom",
    "flatten",
    "opt -full",
    "sat -verify -prove ok 1 miter",
)


def prove(folder: Path, *texts: str) -> None:
    """Prove that the output ``ok`` of the module ``miter`` is 1 for every input."""
    (folder / "proof.v").write_text("\n".join(texts), encoding="utf-8")
    run_yosys(["read_verilog proof.v", *SAT], folder)


FORMATS = ("int8", "int6", "int5", "int3", "uint4", "fp3", "bitmod_fp4", "fp6_e2m3", "nf4")


def encoder_miter(name: str) -> str:
    """Return a module that adds the terms of a weight up again."""
    decoder = weight_decoder(name)
    bits, terms = weight_bits(decoder), decoder.terms
    known = " || ".join(f"w == {int(g)}" for g in decoder.grid[decoder.valid])
    added = " + ".join(
        f"(present[{i}] ? (sign[{i}] ? -one : one) << (exponent[{2 * i} +: 2] + {bsig}) : none)"
        for i, bsig in enumerate(decoder.schedule.bsig)
    )
    return f"""
module miter(input wire signed [{bits - 1}:0] w, output wire ok);
    wire [{terms - 1}:0] sign, present;
    wire [{2 * terms - 1}:0] exponent;
    wire signed [19:0] one = 1, none = 0;
    term_encoder encoder (.weight(w), .sign(sign), .present(present), .exponent(exponent));
    wire signed [19:0] sum = {added};
    assign ok = !({known}) || sum == w;
endmodule"""


@needs_pyosys
@pytest.mark.parametrize("name", FORMATS)
def test_the_terms_of_every_weight_add_up_to_it(name: str, tmp_path: Path) -> None:
    prove(tmp_path, *term_encoder(weight_decoder(name)).values(), encoder_miter(name))


@needs_pyosys
def test_a_wrong_encoder_is_not_proved(tmp_path: Path) -> None:
    (text,) = term_encoder(weight_decoder("int6")).values()
    wrong = text.replace("wire two = (low == middle) && (middle != high);", "wire two = low;")
    assert wrong != text
    with pytest.raises(BitlatheError, match="yosys failed"):
        prove(tmp_path, wrong, encoder_miter("int6"))


@needs_pyosys
def test_every_pair_of_codes_is_decoded_as_the_bit_rung_does(tmp_path: Path) -> None:
    rows = []
    for code in range(16):
        for partner in range(16):
            if 8 in (code, partner) and (code == partner or 0 in (code, partner)):
                continue  # stands for nothing
            value = int(olive_decode(np.array([code, partner]))[0])
            rows.append(f"8'd{16 * code + partner}: wanted = {value};")
    miter = f"""
module miter(input wire [3:0] code, input wire [3:0] partner, output wire ok);
    wire signed [3:0] mantissa;
    wire [2:0] shift;
    olive_decoder decode (.code(code), .partner(partner), .mantissa(mantissa), .shift(shift));
    wire signed [10:0] wide = mantissa;
    wire signed [10:0] value = wide <<< shift;
    reg signed [10:0] wanted;
    always @* case ({{code, partner}})
        {" ".join(rows)}
        default: wanted = value;
    endcase
    assign ok = value == wanted;
endmodule"""
    prove(tmp_path, library("olive_decoder"), miter)


def numbers(name: str) -> list[tuple[int, int, int, Fraction]]:
    """Return (sign, significand, exponent, value) of every number of a format, twice zero."""
    parameters = float_parameters(name)
    lowest, top = parameters["LOWEST"], parameters["LARGEST_EXPONENT"]
    found = []
    for exponent in range(lowest, top + 1):
        for significand in range(1 << parameters["BITS"]):
            if exponent > lowest and significand < 1 << (parameters["BITS"] - 1):
                continue
            if exponent == top and significand > parameters["LARGEST"]:
                continue
            value = significand * Fraction(2) ** exponent
            found += [(0, significand, exponent, value), (1, significand, exponent, -value)]
    return found


@needs_pyosys
@pytest.mark.parametrize(
    ("operands", "result"), [("fp4_e2m1", "fp4_e2m1"), ("fp4_e2m1", "fp6_e3m2")]
)
def test_every_sum_of_small_numbers_is_rounded_as_fractions_are(
    operands: str, result: str, tmp_path: Path
) -> None:
    every, out = numbers(operands), float_parameters(result)
    bits = float_parameters(operands)["BITS"]
    rows = []
    for i, (xs, x, xe, xv) in enumerate(every):
        for j, (ys, y, ye, yv) in enumerate(every):
            found = rounded(xv + yv, result)
            if isinstance(found, float):
                code = f"{{1'b1, 1'b{int(found < 0)}, {out['BITS']}'d0, 8'd0}}"
            else:
                at = max(out["LOWEST"], _places(found) - out["BITS"])
                size = int(abs(found) / Fraction(2) ** at)
                code = f"{{1'b0, 1'b{int(found < 0)}, {out['BITS']}'d{size}, 8'd{at % 256}}}"
            given = f"xs = {xs}; x = {x}; xe = {xe}; ys = {ys}; y = {y}; ye = {ye};"
            rows.append(f"12'd{64 * i + j}: begin {given} wanted = {code}; end")
    sets = ", ".join(f".{key}({value})" for key, value in out.items())
    miter = f"""
module miter(input wire [11:0] which, output wire ok);
    reg xs, ys;
    reg [{bits - 1}:0] x, y;
    reg signed [7:0] xe, ye;
    reg [{out["BITS"] + 9}:0] wanted;
    always @* begin
        xs = 0; ys = 0; x = 0; y = 0; xe = {out["LOWEST"]}; ye = {out["LOWEST"]};
        wanted = {{2'b00, {out["BITS"]}'d0, 8'd{out["LOWEST"] % 256}}};
        case (which)
        {" ".join(rows)}
        endcase
    end
    wire sign, infinite, nan;
    wire [{out["BITS"] - 1}:0] sum;
    wire signed [7:0] exponent;
    float_add #(.X_BITS({bits}), .Y_BITS({bits}), {sets}, .WIDE(8)) add (
        .x_sign(xs), .x_infinite(1'b0), .x_nan(1'b0), .x(x), .x_exponent(xe),
        .y_sign(ys), .y_infinite(1'b0), .y_nan(1'b0), .y(y), .y_exponent(ye),
        .sign(sign), .infinite(infinite), .nan(nan), .sum(sum), .exponent(exponent));
    wire [{out["BITS"] + 9}:0] seen = infinite ? {{1'b1, sign, {out["BITS"] + 8}'d0}}
        : {{1'b0, sign, sum, exponent}};
    assign ok = !nan && seen == wanted;
endmodule"""
    prove(tmp_path, library("float_add"), miter)


def _places(value: Fraction) -> int:
    """Return the bits of a magnitude before the binary point."""
    value, places = abs(value), -8
    while value >= Fraction(2) ** places:
        places += 1
    return places
