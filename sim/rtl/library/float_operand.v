// A finite floating-point pattern as sign, significand and the exponent of its last place.
module float_operand #(
    parameter EXPONENT_BITS = 5,
    parameter SIGNIFICAND_BITS = 11,             // with the hidden bit
    parameter LOWEST = -24,                      // exponent of a subnormal's last place
    parameter WIDE = 12                          // bits of exponents, signed
) (
    input  wire [EXPONENT_BITS+SIGNIFICAND_BITS-1:0] bits,
    output wire                                      sign,
    output wire [SIGNIFICAND_BITS-1:0]               significand,
    output wire signed [WIDE-1:0]                    exponent
);
    wire [EXPONENT_BITS-1:0] field = bits[SIGNIFICAND_BITS-1 +: EXPONENT_BITS];
    wire normal = field != {EXPONENT_BITS{1'b0}};
    wire signed [WIDE-1:0] above = normal ? field - 1'b1 : {EXPONENT_BITS{1'b0}};
    assign sign = bits[EXPONENT_BITS+SIGNIFICAND_BITS-1];
    assign significand = {normal, bits[SIGNIFICAND_BITS-2:0]};
    assign exponent = above + LOWEST;
endmodule
