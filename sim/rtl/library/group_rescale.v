// Multiplies a group's sum by the group's scale, most significant bit first, one bit a clock,
// beside the next group.
module group_rescale #(
    parameter MANTISSA_BITS = 15,
    parameter EXPONENT_BITS = 6,
    parameter SCALE_BITS = 8,
    parameter COUNT_BITS = $clog2(SCALE_BITS + 1)
) (
    input  wire                                        clk,
    input  wire                                        rst,
    input  wire                                        sum_valid,
    input  wire signed [MANTISSA_BITS-1:0]             mantissa,
    input  wire [EXPONENT_BITS-1:0]                    exponent,
    input  wire [SCALE_BITS-1:0]                       scale,
    output reg                                         scaled_valid,
    output reg signed [MANTISSA_BITS+SCALE_BITS-1:0]   scaled,
    output reg [EXPONENT_BITS-1:0]                     scaled_exponent
);
    reg signed [MANTISSA_BITS-1:0] kept;
    reg [SCALE_BITS-1:0] bits;                   // those not yet used, the next one on top
    reg [COUNT_BITS-1:0] left;                   // how many they are
    wire busy = left != {COUNT_BITS{1'b0}};
    wire signed [MANTISSA_BITS+SCALE_BITS-1:0] wide_new = mantissa, wide_kept = kept;

    always @(posedge clk)
        if (rst) begin
            left <= {COUNT_BITS{1'b0}};
            scaled_valid <= 1'b0;
        end else if (sum_valid) begin
            scaled <= scale[SCALE_BITS-1] ? wide_new : {(MANTISSA_BITS+SCALE_BITS){1'b0}};
            scaled_exponent <= exponent;
            scaled_valid <= SCALE_BITS == 1;
            kept <= mantissa;
            bits <= scale << 1;
            left <= SCALE_BITS - 1;
        end else begin
            if (busy) begin
                scaled <= (scaled <<< 1)
                    + (bits[SCALE_BITS-1] ? wide_kept : {(MANTISSA_BITS+SCALE_BITS){1'b0}});
                bits <= bits << 1;
                left <= left - 1'b1;
            end
            scaled_valid <= left == 1;
        end
endmodule
