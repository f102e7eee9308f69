// Bit-serial multiply, two clocks: products are shifted to the reference exponent, guard bits kept
// below and the rest dropped, then signed and added.
//
// Where the accumulator's exponent takes part in the reference (IN_REFERENCE), lanes are added
// behind it, and pass the second clock one by one.
module bit_serial_multiply #(
    parameter LANES = 4,
    parameter SIGNIFICAND_BITS = 11,
    parameter GUARD_BITS = 3,
    parameter EXPONENT_BITS = 6,
    parameter IN_REFERENCE = 0,
    parameter PRODUCT_BITS = SIGNIFICAND_BITS + GUARD_BITS,
    parameter SUM_BITS = PRODUCT_BITS + $clog2(LANES) + 1
) (
    input  wire                              clk,
    input  wire [LANES*EXPONENT_BITS-1:0]    distance,
    input  wire [LANES-1:0]                  product_sign,
    input  wire [LANES*SIGNIFICAND_BITS-1:0] product,
    output wire [LANES-1:0]                  lane_sign,
    output wire [LANES*PRODUCT_BITS-1:0]     lane,        // aligned magnitudes
    output wire signed [SUM_BITS-1:0]        sum          // of the lanes
);
    // first clock: q = (p << guard) >> (M - v)
    reg [LANES-1:0]              sign_1;
    reg [LANES*PRODUCT_BITS-1:0] aligned;
    integer i;
    always @(posedge clk) begin
        sign_1 <= product_sign;
        for (i = 0; i < LANES; i = i + 1)
            aligned[i*PRODUCT_BITS +: PRODUCT_BITS] <=
                {product[i*SIGNIFICAND_BITS +: SIGNIFICAND_BITS], {GUARD_BITS{1'b0}}}
                >> distance[i*EXPONENT_BITS +: EXPONENT_BITS];
    end

    // second clock: signs, then the tree of adders
    generate
        if (IN_REFERENCE) begin : lanes_pass
            reg [LANES-1:0]              sign_2;
            reg [LANES*PRODUCT_BITS-1:0] lane_2;
            always @(posedge clk) begin
                sign_2 <= sign_1;
                lane_2 <= aligned;
            end
            assign lane_sign = sign_2;
            assign lane = lane_2;
            assign sum = {SUM_BITS{1'b0}};
        end else begin : lanes_add
            reg signed [SUM_BITS-1:0] total, sum_2;
            integer j;
            always @* begin
                total = {SUM_BITS{1'b0}};
                for (j = 0; j < LANES; j = j + 1)
                    total = sign_1[j] ? total - aligned[j*PRODUCT_BITS +: PRODUCT_BITS]
                                      : total + aligned[j*PRODUCT_BITS +: PRODUCT_BITS];
            end
            always @(posedge clk) sum_2 <= total;
            assign lane_sign = {LANES{1'b0}};
            assign lane = {(LANES*PRODUCT_BITS){1'b0}};
            assign sum = sum_2;
        end
    endgenerate
endmodule
