// Exponent match, two clocks: v = E + exp of each lane, then the largest v of the clock (the
// reference exponent M) and how far each lane lies below it.
//
// With GATE a lane whose term is zero takes no part, and a clock without any term is not active.
module exponent_match #(
    parameter LANES = 4,
    parameter FIELD_BITS = 5,                    // of an activation's exponent
    parameter SIGNIFICAND_BITS = 11,
    parameter EXPONENT_BITS = 6,                 // of v and of the accumulator
    parameter GATE = 1
) (
    input  wire                              clk,
    input  wire                              live,
    input  wire [LANES-1:0]                  sign,        // of the product
    input  wire [LANES-1:0]                  present,     // the lane's term is not zero
    input  wire [2*LANES-1:0]                term_exponent,
    input  wire [LANES*FIELD_BITS-1:0]       field,
    input  wire [LANES*SIGNIFICAND_BITS-1:0] significand,
    output reg                               active,      // the clock adds something
    output reg  [EXPONENT_BITS-1:0]          reference,   // M
    output reg  [LANES*EXPONENT_BITS-1:0]    distance,    // M - v of each lane
    output reg  [LANES-1:0]                  product_sign,
    output reg  [LANES*SIGNIFICAND_BITS-1:0] product      // significand times the term's bit
);
    // first clock: v = E + exp
    reg                              live_1;
    reg [LANES-1:0]                  sign_1, present_1;
    reg [LANES*SIGNIFICAND_BITS-1:0] significand_1;
    reg [LANES*EXPONENT_BITS-1:0]    v;
    integer i;
    always @(posedge clk) begin
        live_1 <= live;
        sign_1 <= sign;
        present_1 <= present;
        significand_1 <= significand;
        for (i = 0; i < LANES; i = i + 1)
            v[i*EXPONENT_BITS +: EXPONENT_BITS] <=
                field[i*FIELD_BITS +: FIELD_BITS] + term_exponent[2*i +: 2];
    end

    // second clock: M = max(v), and the distances
    wire [LANES-1:0] counted = GATE ? present_1 : {LANES{1'b1}};
    reg [EXPONENT_BITS-1:0] largest;
    integer j;
    always @* begin
        largest = {EXPONENT_BITS{1'b0}};
        for (j = 0; j < LANES; j = j + 1)
            if (counted[j] && v[j*EXPONENT_BITS +: EXPONENT_BITS] > largest)
                largest = v[j*EXPONENT_BITS +: EXPONENT_BITS];
    end

    integer k;
    always @(posedge clk) begin
        active <= live_1 && counted != {LANES{1'b0}};
        reference <= largest;
        product_sign <= sign_1;
        for (k = 0; k < LANES; k = k + 1) begin
            distance[k*EXPONENT_BITS +: EXPONENT_BITS] <=
                largest - v[k*EXPONENT_BITS +: EXPONENT_BITS];
            product[k*SIGNIFICAND_BITS +: SIGNIFICAND_BITS] <=
                present_1[k] ? significand_1[k*SIGNIFICAND_BITS +: SIGNIFICAND_BITS]
                             : {SIGNIFICAND_BITS{1'b0}};
        end
    end
endmodule
