// Multiply-accumulate of integers and weights that are a mantissa and a shift: the products of all
// lanes are shifted, added exactly, then to an accumulator that saturates or wraps once a clock.
module shift_mac #(
    parameter LANES = 1,
    parameter ACTIVATION_BITS = 8,
    parameter MANTISSA_BITS = 4,                 // of a weight, with the sign
    parameter SHIFT_BITS = 3,
    parameter MAX_SHIFT = 6,
    parameter ACCUMULATOR_BITS = 32,
    parameter SATURATE = 1
) (
    input  wire                              clk,
    input  wire                              rst,
    input  wire                              in_valid,
    input  wire                              in_first,
    input  wire                              in_last,
    input  wire [LANES*ACTIVATION_BITS-1:0]  activations,
    input  wire [LANES*MANTISSA_BITS-1:0]    mantissas,
    input  wire [LANES*SHIFT_BITS-1:0]       shifts,
    output reg                               sum_valid,
    output reg signed [ACCUMULATOR_BITS-1:0] sum
);
    localparam PRODUCT_BITS = ACTIVATION_BITS + MANTISSA_BITS;
    localparam TREE_BITS = PRODUCT_BITS + MAX_SHIFT + $clog2(LANES);
    localparam TOTAL_BITS = (TREE_BITS > ACCUMULATOR_BITS ? TREE_BITS : ACCUMULATOR_BITS) + 1;

    reg signed [TREE_BITS-1:0] products, wide;
    reg signed [ACTIVATION_BITS-1:0] activation;
    reg signed [MANTISSA_BITS-1:0] mantissa;
    reg signed [PRODUCT_BITS-1:0] product;
    integer i;
    always @* begin
        products = {TREE_BITS{1'b0}};
        wide = {TREE_BITS{1'b0}};
        activation = {ACTIVATION_BITS{1'b0}};
        mantissa = {MANTISSA_BITS{1'b0}};
        product = {PRODUCT_BITS{1'b0}};
        for (i = 0; i < LANES; i = i + 1) begin
            activation = activations[i*ACTIVATION_BITS +: ACTIVATION_BITS];
            mantissa = mantissas[i*MANTISSA_BITS +: MANTISSA_BITS];
            product = activation * mantissa;
            wide = product;
            products = products + (wide <<< shifts[i*SHIFT_BITS +: SHIFT_BITS]);
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
