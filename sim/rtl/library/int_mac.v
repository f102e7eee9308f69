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
    output reg                                sum_valid,
    output reg signed [ACCUMULATOR_BITS-1:0]  sum
);
    localparam PRODUCT_BITS = ACTIVATION_BITS + WEIGHT_BITS;
    localparam TREE_BITS = PRODUCT_BITS + $clog2(LANES);
    localparam TOTAL_BITS = (TREE_BITS > ACCUMULATOR_BITS ? TREE_BITS : ACCUMULATOR_BITS) + 1;

    reg signed [TREE_BITS-1:0] products;
    reg signed [ACTIVATION_BITS-1:0] activation;
    reg signed [WEIGHT_BITS-1:0] weight;
    reg signed [PRODUCT_BITS-1:0] product;
    integer i;
    always @* begin
        products = {TREE_BITS{1'b0}};
        activation = {ACTIVATION_BITS{1'b0}};
        weight = {WEIGHT_BITS{1'b0}};
        product = {PRODUCT_BITS{1'b0}};
        for (i = 0; i < LANES; i = i + 1) begin
            activation = activations[i*ACTIVATION_BITS +: ACTIVATION_BITS];
            weight = weights[i*WEIGHT_BITS +: WEIGHT_BITS];
            product = activation * weight;
            products = products + product;
        end
    end

    wire signed [ACCUMULATOR_BITS-1:0] old = in_first ? {ACCUMULATOR_BITS{1'b0}} : sum;
    wire signed [TOTAL_BITS-1:0] wide_old = old, wide_products = products;
    wire signed [TOTAL_BITS-1:0] total = wide_old + wide_products;
    wire signed [ACCUMULATOR_BITS-1:0] wrapped = total[ACCUMULATOR_BITS-1:0];
    wire signed [TOTAL_BITS-1:0] wide_wrapped = wrapped;
    wire below = total[TOTAL_BITS-1];
    wire signed [ACCUMULATOR_BITS-1:0] bound = {below, {(ACCUMULATOR_BITS-1){!below}}};

    always @(posedge clk)
        if (rst) begin
            sum_valid <= 1'b0;
            sum <= {ACCUMULATOR_BITS{1'b0}};
        end else begin
            sum_valid <= in_valid && in_last;
            if (in_valid) sum <= SATURATE && wide_wrapped != total ? bound : wrapped;
        end
endmodule
