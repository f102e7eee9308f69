"""Verilog of MACs behind a decoder: flint codes (ANT) and outlier-victim pairs (OliVe)."""

from typing import NamedTuple

from ...arch.pe import AntPE, IntMacPE, OlivePE
from ..pe.mac import flint_decode
from .stimulus import flint_bits
from .verilog import Design, Event, Port, bits_to_hold, library_modules

OLIVE_SHIFT = 5  # the largest: an exponent of 3, and 2


def _signed_bits(low: int, high: int) -> int:
    return max((-low - 1).bit_length() if low < 0 else 0, high.bit_length()) + 1


class Decoder(NamedTuple):
    """What makes a mantissa and a shift of a code: its module, its texts, and its widths."""

    module: str
    modules: dict[str, str]
    code_bits: int
    mantissa_bits: int
    most_shift: int
    partners: bool  # whether it reads the other code of a pair, too

    @property
    def shift_bits(self) -> int:
        """Bits of a shift."""
        return bits_to_hold(self.most_shift)


def decoder_of(pe: AntPE | OlivePE) -> Decoder:
    """Return the decoder of a PE's weights."""
    if isinstance(pe, AntPE):
        text, width, most = _flint_decoder(pe)
        return Decoder("flint_decoder", {"flint_decoder": text}, flint_bits(pe), width, most, False)
    return Decoder("olive_decoder", library_modules(("olive_decoder",)), 4, 4, OLIVE_SHIFT, True)


def _flint_decoder(pe: AntPE) -> tuple[str, int, int]:
    """Return the text of a PE's decoder, the bits of a mantissa, and the largest shift."""
    bits = flint_bits(pe)
    flint = flint_decode(range(1 << bits), pe.format)
    width = _signed_bits(int(flint.mantissa.min()), int(flint.mantissa.max()))
    most = int(flint.shift.max())
    shift_bits = bits_to_hold(most)
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


def _top(mac: IntMacPE, decoder: Decoder) -> str:
    """Return the module ``decoded_mac``: a decoder for each lane, then the MAC."""
    code_bits, mantissa_bits, shift_bits = (
        decoder.code_bits, decoder.mantissa_bits, decoder.shift_bits,
    )  # fmt: skip
    lanes, most = mac.lanes, decoder.most_shift
    partner = f"    input  wire [{lanes * code_bits - 1}:0] partners,\n" * decoder.partners
    read = f".partner(partners[n*{code_bits} +: {code_bits}]), " * decoder.partners
    return f"""\
// Multiply-accumulate of integers behind a {decoder.module.replace("_", " ")} for each lane.
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
            {decoder.module} decode (
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


def decoded_design(pe: AntPE | OlivePE) -> Design:
    """Return the Verilog of a decoder in front of a shifting MAC.

    Where the decoder reads pairs, each lane gets its code and that of its partner.
    """
    mac, decoder = pe.mac, decoder_of(pe)
    names = ("codes", "partners") if decoder.partners else ("codes",)
    return Design(
        top="decoded_mac",
        modules=library_modules(("shift_mac",))
        | decoder.modules
        | {"decoded_mac": _top(mac, decoder)},
        inputs=(
            Port(name="in_valid", bits=1),
            Port(name="in_first", bits=1),
            Port(name="in_last", bits=1),
            Port(name="activations", bits=mac.lanes * mac.activation_bits),
            *(Port(name=name, bits=mac.lanes * decoder.code_bits) for name in names),
        ),
        ready=None,
        events=(
            Event(
                valid="sum_valid",
                values=(Port(name="sum", bits=mac.accumulator_bits, signed=True),),
            ),
        ),
    )
