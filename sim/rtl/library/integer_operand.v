// A two's complement integer as sign, magnitude and an exponent of 0.
module integer_operand #(
    parameter BITS = 8,
    parameter WIDE = 12
) (
    input  wire [BITS-1:0]        bits,
    output wire                   sign,
    output wire [BITS-1:0]        significand,
    output wire signed [WIDE-1:0] exponent
);
    assign sign = bits[BITS-1];
    assign significand = sign ? -bits : bits;
    assign exponent = {WIDE{1'b0}};
endmodule
