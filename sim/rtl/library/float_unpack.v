// Splits a floating-point activation: the exponent of zero and of subnormals is 1, their hidden
// bit 0. Infinities and NaN are not told from numbers.
module float_unpack #(
    parameter EXPONENT_BITS = 5,
    parameter SIGNIFICAND_BITS = 11              // with the hidden bit
) (
    input  wire [EXPONENT_BITS+SIGNIFICAND_BITS-1:0] bits,
    output wire                                      sign,
    output wire [EXPONENT_BITS-1:0]                  exponent,
    output wire [SIGNIFICAND_BITS-1:0]               significand
);
    wire [EXPONENT_BITS-1:0] field = bits[SIGNIFICAND_BITS-1 +: EXPONENT_BITS];
    wire normal = field != {EXPONENT_BITS{1'b0}};
    assign sign = bits[EXPONENT_BITS+SIGNIFICAND_BITS-1];
    assign exponent = normal ? field : {{(EXPONENT_BITS-1){1'b0}}, 1'b1};
    assign significand = {normal, bits[SIGNIFICAND_BITS-2:0]};
endmodule
