// Multiply-accumulate of integers whose multipliers split: a lane has a small multiplier for each
// pair of digits of a weight and an activation. What a part of it, some digits of either, makes is
// one product. The parts are added to one sum (JOINED), or each has a sum of its own, kept beside
// the small multiplier of its lowest digits.
module split_mac #(
    parameter LANES = 1,
    parameter WEIGHT_DIGITS = 2,
    parameter ACTIVATION_DIGITS = 2,
    parameter DIGIT_BITS = 4,
    parameter SHIFT_BITS = 1,                    // of weights, beyond the places of their digits
    parameter MAX_SHIFT = 0,
    parameter JOINED = 1,
    parameter ACCUMULATOR_BITS = 32,
    parameter SATURATE = 1,
    parameter SMALL = WEIGHT_DIGITS * ACTIVATION_DIGITS,  // multipliers of a lane, weights first
    parameter SUMS = JOINED ? 1 : SMALL,
    parameter W_BITS = WEIGHT_DIGITS > 1 ? $clog2(WEIGHT_DIGITS) : 1,
    parameter A_BITS = ACTIVATION_DIGITS > 1 ? $clog2(ACTIVATION_DIGITS) : 1
) (
    input  wire                                clk,
    input  wire                                rst,
    input  wire                                in_valid,
    input  wire                                in_first,
    input  wire                                in_last,
    input  wire [WEIGHT_DIGITS*W_BITS-1:0]     weight_low,      // lowest digit of each one's part
    input  wire [WEIGHT_DIGITS-1:0]            weight_top,      // it is the highest, with the sign
    input  wire [ACTIVATION_DIGITS*A_BITS-1:0] activation_low,
    input  wire [ACTIVATION_DIGITS-1:0]        activation_top,
    input  wire [LANES*SMALL*DIGIT_BITS-1:0]   activations,     // a digit for each multiplier
    input  wire [LANES*SMALL*DIGIT_BITS-1:0]   weights,
    input  wire [LANES*SMALL*SHIFT_BITS-1:0]   shifts,
    output wire                                sum_valid,
    output wire [SUMS*ACCUMULATOR_BITS-1:0]    sums
);
    localparam TREE_BITS = (WEIGHT_DIGITS + ACTIVATION_DIGITS) * DIGIT_BITS + MAX_SHIFT
                           + $clog2(LANES * SMALL);

    reg [SUMS*TREE_BITS-1:0] totals;
    reg signed [TREE_BITS-1:0] wide;
    reg signed [DIGIT_BITS:0] activation, weight;
    reg signed [2*DIGIT_BITS+1:0] product;
    reg [W_BITS-1:0] w_low;
    reg [A_BITS-1:0] a_low;
    integer n, i, j, k, w, a, place;
    always @* begin
        totals = {SUMS*TREE_BITS{1'b0}};
        for (n = 0; n < LANES; n = n + 1)
            for (i = 0; i < WEIGHT_DIGITS; i = i + 1)
                for (j = 0; j < ACTIVATION_DIGITS; j = j + 1) begin
                    k = (n*WEIGHT_DIGITS + i)*ACTIVATION_DIGITS + j;
                    w_low = weight_low[i*W_BITS +: W_BITS];
                    a_low = activation_low[j*A_BITS +: A_BITS];
                    weight = {weight_top[i] & weights[(k+1)*DIGIT_BITS-1],
                              weights[k*DIGIT_BITS +: DIGIT_BITS]};
                    activation = {activation_top[j] & activations[(k+1)*DIGIT_BITS-1],
                                  activations[k*DIGIT_BITS +: DIGIT_BITS]};
                    product = activation * weight;
                    place = (i - w_low + j - a_low)*DIGIT_BITS;
                    wide = product;
                    wide = wide <<< place;
                    wide = wide <<< shifts[k*SHIFT_BITS +: SHIFT_BITS];
                    if (JOINED)
                        totals = totals + wide;
                    else
                        for (w = 0; w <= i; w = w + 1)
                            for (a = 0; a <= j; a = a + 1)
                                if (w_low == w && a_low == a)
                                    totals[(w*ACTIVATION_DIGITS + a)*TREE_BITS +: TREE_BITS] =
                                        totals[(w*ACTIVATION_DIGITS + a)*TREE_BITS +: TREE_BITS]
                                        + wide;
                end
    end

    // with one lane and an activation of 1 it only accumulates
    wire [SUMS-1:0] valid;
    assign sum_valid = valid[0];
    genvar s;
    generate
        for (s = 0; s < SUMS; s = s + 1) begin : part
            shift_mac #(
                .LANES(1), .ACTIVATION_BITS(2), .MANTISSA_BITS(TREE_BITS), .SHIFT_BITS(1),
                .MAX_SHIFT(0), .ACCUMULATOR_BITS(ACCUMULATOR_BITS), .SATURATE(SATURATE)
            ) accumulate (
                .clk(clk), .rst(rst), .in_valid(in_valid), .in_first(in_first), .in_last(in_last),
                .activations(2'b01), .mantissas(totals[s*TREE_BITS +: TREE_BITS]), .shifts(1'b0),
                .sum_valid(valid[s]), .sum(sums[s*ACCUMULATOR_BITS +: ACCUMULATOR_BITS])
            );
        end
    endgenerate
endmodule
