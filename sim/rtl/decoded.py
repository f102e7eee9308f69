"""Verilog of MACs behind a decoder: flint codes (ANT) and outlier-victim pairs (OliVe)."""

from ...arch.pe import AntPE, IntMacPE, OlivePE
from ..pe.mac import flint_decode
from .stimulus import flint_bits
from .verilog import Design, Event, Port, library_modules

OLIVE_SHIFT = 5  # the largest: an exponent of 3, and 2


def _signed_bits(low: int, high: int) -> int:
    return max((-low - 1).bit_length() if low < 0 else 0, high.bit_length()) + 1


def flint_decoder(pe: AntPE) -> tuple[str, int, int]:
    """Return the text of a PE's decoder, the bits of a mantissa, and the largest shift."""
    bits = flint_bits(pe)
    flint = flint_decode(range(1 << bits), pe.format)
    width = _signed_bits(int(flint.mantissa.min()), int(flint.mantissa.max()))
    most = int(flint.shift.max())
    shift_bits = max(most.bit_length(), 1)
    rows = [
        f"            {bits}'d{code}: fields = {{{width}'d{m % (1 << width)}, {shift_bits}'d{s}}};"
        f"  // {m << s}"
        for code, (m, s) in enumerate(
            zip(flint.mantissa.tolist(), flint.shift.tolist(), strict=True)
        )
    ]
    text = f"""\
// Codes of {pe.format} as an odd mantissa and a shift.
module flint_decoder (
    input  wire [{bits - 1}:0] code,
    output wire signed [{width - 1}:0] mantissa,
    output wire [{shift_bits - 1}:0] shift
);
    reg [{width + shift_bits - 1}:0] fields;
    always @*
        case (code)
{chr(10).join(rows)}
            default: fields = {{{width + shift_bits}{{1'b0}}}};
        endcase
    assign {{mantissa, shift}} = fields;
endmodule
"""
    return text, width, most


def _top(mac: IntMacPE, decoder: str, widths: tuple[int, int, int], partners: bool) -> str:
    """Return the module ``decoded_mac``: a decoder for each lane, then the MAC."""
    code_bits, mantissa_bits, most = widths
    shift_bits = max(most.bit_length(), 1)
    lanes = mac.lanes
    partner = f"    input  wire [{lanes * code_bits - 1}:0] partners,\n" if partners else ""
    read = f".partner(partners[n*{code_bits} +: {code_bits}]), " if partners else ""
    return f"""\
// Multiply-accumulate of integers behind a {decoder.replace("_", " ")} for each lane.
module decoded_mac (
    input  wire clk,
    input  wire rst,
    input  wire in_valid,
    input  wire in_first,                        // first clock of a sum
    input  wire in_last,                         // last clock of a sum
    input  wire [{lanes * mac.activation_bits - 1}:0] activations,
    input  wire [{lanes * code_bits - 1}:0] codes,
{partner}    output wire sum_valid,
    output wire signed [{mac.accumulator_bits - 1}:0] sum
);
    wire [{lanes * mantissa_bits - 1}:0] mantissas;
    wire [{lanes * shift_bits - 1}:0] shifts;
    genvar n;
    generate
        for (n = 0; n < {lanes}; n = n + 1) begin : operand
            {decoder} decode (
                .code(codes[n*{code_bits} +: {code_bits}]), {read}
                .mantissa(mantissas[n*{mantissa_bits} +: {mantissa_bits}]),
                .shift(shifts[n*{shift_bits} +: {shift_bits}])
            );
        end
    endgenerate
    shift_mac #(
        .LANES({lanes}), .ACTIVATION_BITS({mac.activation_bits}),
        .MANTISSA_BITS({mantissa_bits}), .SHIFT_BITS({shift_bits}), .MAX_SHIFT({most}),
        .ACCUMULATOR_BITS({mac.accumulator_bits}), .SATURATE({int(mac.overflow == "saturate")})
    ) mac (
        .clk(clk), .rst(rst), .in_valid(in_valid), .in_first(in_first), .in_last(in_last),
        .activations(activations), .mantissas(mantissas), .shifts(shifts),
        .sum_valid(sum_valid), .sum(sum)
    );
endmodule
"""


def _design(mac: IntMacPE, modules: dict[str, str], code_bits: int, partners: bool) -> Design:
    codes = [Port(name="codes", bits=mac.lanes * code_bits)]
    if partners:
        codes.append(Port(name="partners", bits=mac.lanes * code_bits))
    return Design(
        top="decoded_mac",
        modules=library_modules(("shift_mac",)) | modules,
        inputs=(
            Port(name="in_valid", bits=1),
            Port(name="in_first", bits=1),
            Port(name="in_last", bits=1),
            Port(name="activations", bits=mac.lanes * mac.activation_bits),
            *codes,
        ),
        ready=None,
        events=(
            Event(
                valid="sum_valid",
                values=(Port(name="sum", bits=mac.accumulator_bits, signed=True),),
            ),
        ),
    )


def ant_design(pe: AntPE) -> Design:
    """Return the Verilog of a flint decoder in front of a shifting MAC."""
    text, width, most = flint_decoder(pe)
    bits = flint_bits(pe)
    top = _top(pe.mac, "flint_decoder", (bits, width, most), partners=False)
    return _design(pe.mac, {"flint_decoder": text, "decoded_mac": top}, bits, partners=False)


def olive_design(pe: OlivePE) -> Design:
    """Return the Verilog of a pair decoder in front of a shifting MAC.

    Each lane gets its code and that of its partner.
    """
    modules = library_modules(("olive_decoder",))
    modules["decoded_mac"] = _top(pe.mac, "olive_decoder", (4, 4, OLIVE_SHIFT), partners=True)
    return _design(pe.mac, modules, 4, partners=True)
