// A PE's product of an activation and a weight, mantissa and shift, added to the sum from above.
module stationary_mac #(
    parameter ACTIVATION_BITS = 8,
    parameter MANTISSA_BITS = 8,
    parameter SHIFT_BITS = 1,
    parameter MAX_SHIFT = 0,
    parameter ACCUMULATOR_BITS = 32,
    parameter SATURATE = 1
) (
    input  wire                               clk,
    input  wire                               in_valid,   // else the sum is 0
    input  wire signed [ACTIVATION_BITS-1:0]  activation,
    input  wire signed [MANTISSA_BITS-1:0]    mantissa,
    input  wire [SHIFT_BITS-1:0]              shift,
    input  wire signed [ACCUMULATOR_BITS-1:0] above,
    output reg signed [ACCUMULATOR_BITS-1:0]  sum
);
    localparam PRODUCT_BITS = ACTIVATION_BITS + MANTISSA_BITS;
    wire signed [PRODUCT_BITS-1:0] product = activation * mantissa;
    wire signed [PRODUCT_BITS+MAX_SHIFT-1:0] wide = product;
    wire signed [PRODUCT_BITS+MAX_SHIFT-1:0] moved = wide <<< shift;
    wire signed [ACCUMULATOR_BITS-1:0] total;
    bounded_add #(
        .X_BITS(ACCUMULATOR_BITS), .Y_BITS(PRODUCT_BITS + MAX_SHIFT),
        .BITS(ACCUMULATOR_BITS), .SATURATE(SATURATE)
    ) add (.x(above), .y(moved), .sum(total));
    always @(posedge clk) sum <= in_valid ? total : {ACCUMULATOR_BITS{1'b0}};
endmodule
