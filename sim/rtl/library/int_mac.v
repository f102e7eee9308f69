// Integer multiply-accumulate: the products of all lanes are added exactly, then to an
// accumulator that saturates or wraps once a clock.
module int_mac #(
    parameter LANES = 1,
    parameter ACTIVATION_BITS = 8,
    parameter WEIGHT_BITS = 8,
    parameter ACCUMULATOR_BITS = 32,
    parameter SATURATE = 1                       // 0: the accumulator wraps
) (
    input  wire                               clk,
    input  wire                               rst,
    input  wire                               in_valid,
    input  wire                               in_first,     // first clock of a sum
    input  wire                               in_last,      // last clock of a sum
    input  wire [LANES*ACTIVATION_BITS-1:0]   activations,
    input  wire [LANES*WEIGHT_BITS-1:0]       weights,
    output wire                               sum_valid,
    output wire signed [ACCUMULATOR_BITS-1:0] sum
);
    shift_mac #(
        .LANES(LANES), .ACTIVATION_BITS(ACTIVATION_BITS), .MANTISSA_BITS(WEIGHT_BITS),
        .SHIFT_BITS(1), .MAX_SHIFT(0), .ACCUMULATOR_BITS(ACCUMULATOR_BITS), .SATURATE(SATURATE)
    ) mac (
        .clk(clk), .rst(rst), .in_valid(in_valid), .in_first(in_first), .in_last(in_last),
        .activations(activations), .mantissas(weights), .shifts({LANES{1'b0}}),
        .sum_valid(sum_valid), .sum(sum)
    );
endmodule
