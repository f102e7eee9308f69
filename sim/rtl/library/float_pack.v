// The pattern of a number. Infinity has the largest field and a significand of 0, NaN the same
// field and a one on top of the significand, in formats with such codes and in others; there the
// flags beside the pattern tell them from numbers.
module float_pack #(
    parameter EXPONENT_BITS = 8,
    parameter BITS = 24,                         // of a significand, with the hidden bit
    parameter LOWEST = -149,
    parameter WIDE = 12
) (
    input  wire                          sign, infinite, nan,
    input  wire [BITS-1:0]               significand,
    input  wire signed [WIDE-1:0]        exponent,
    output wire [EXPONENT_BITS+BITS-1:0] bits
);
    localparam signed [WIDE-1:0] ABOVE = 1 - LOWEST;
    wire signed [WIDE-1:0] raised = exponent + ABOVE;
    wire [EXPONENT_BITS-1:0] field =
        significand[BITS-1] ? raised[EXPONENT_BITS-1:0] : {EXPONENT_BITS{1'b0}};
    wire [BITS-1:0] special = {{(BITS-1){1'b0}}, nan} << (BITS - 2);
    assign bits = nan || infinite
        ? {sign && !nan, {EXPONENT_BITS{1'b1}}, special[BITS-2:0]}
        : {sign, field, significand[BITS-2:0]};
endmodule
