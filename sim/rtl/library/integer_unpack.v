// Splits a two's complement activation into sign and magnitude; its exponent is 0.
module integer_unpack #(
    parameter SIGNIFICAND_BITS = 8
) (
    input  wire [SIGNIFICAND_BITS-1:0] bits,
    output wire                        sign,
    output wire                        exponent,
    output wire [SIGNIFICAND_BITS-1:0] significand
);
    assign sign = bits[SIGNIFICAND_BITS-1];
    assign exponent = 1'b0;
    assign significand = sign ? -bits : bits;
endmodule
