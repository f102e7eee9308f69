// Adds two integers; the sum saturates or wraps at its width.
module bounded_add #(
    parameter X_BITS = 32,
    parameter Y_BITS = 16,
    parameter BITS = 32,
    parameter SATURATE = 1
) (
    input  wire signed [X_BITS-1:0] x,
    input  wire signed [Y_BITS-1:0] y,
    output wire signed [BITS-1:0]   sum
);
    localparam LONGER = X_BITS > Y_BITS ? X_BITS : Y_BITS;
    localparam TOTAL_BITS = (LONGER > BITS ? LONGER : BITS) + 1;
    wire signed [TOTAL_BITS-1:0] wide_x = x, wide_y = y;
    wire signed [TOTAL_BITS-1:0] total = wide_x + wide_y;
    wire signed [BITS-1:0] wrapped = total[BITS-1:0];
    wire signed [TOTAL_BITS-1:0] wide_wrapped = wrapped;
    wire below = total[TOTAL_BITS-1];
    wire signed [BITS-1:0] bound = {below, {(BITS-1){!below}}};
    assign sum = SATURATE && wide_wrapped != total ? bound : wrapped;
endmodule
