// A bit-serial processing element behind the edges of its array: terms of its row's weights times
// its column's activations. Six clocks after a term has entered it is in the accumulator; the
// group's sum is then multiplied by the group's scale, one bit a clock.
module bit_serial_core #(
    parameter LANES = 4,
    parameter SHIFT_BITS = 3,                    // of a significance
    parameter E_BITS = 5,                        // of an activation's exponent
    parameter SIGNIFICAND_BITS = 11,
    parameter GUARD_BITS = 3,
    parameter EXPONENT_BITS = 6,                 // of the accumulator
    parameter MANTISSA_BITS = 15,                // of the accumulator
    parameter ADDER_BITS = 0,
    parameter MAX_SHIFT = 6,
    parameter GATE = 1,
    parameter IN_REFERENCE = 0,
    parameter STICKY = 1,
    parameter NEAREST = 1,
    parameter SATURATE = 1,
    parameter RESCALE = 1,                       // 0: sums leave as they are
    parameter SCALE_BITS = 8
) (
    input  wire                              clk,
    input  wire                              rst,
    input  wire                              live,
    input  wire [LANES-1:0]                  sign,        // of the terms
    input  wire [LANES-1:0]                  present,
    input  wire [2*LANES-1:0]                term_exponent,
    input  wire [LANES-1:0]                  activation_sign,
    input  wire [LANES*E_BITS-1:0]           field,
    input  wire [LANES*SIGNIFICAND_BITS-1:0] significand,
    input  wire                              add,         // four clocks later
    input  wire                              add_first,
    input  wire [SHIFT_BITS-1:0]             significance,
    input  wire                              sum_valid,   // two clocks later again
    input  wire [SCALE_BITS-1:0]             scale,
    output wire signed [MANTISSA_BITS-1:0]   mantissa,
    output wire [EXPONENT_BITS-1:0]          exponent,
    output wire                              scaled_valid,
    output wire signed [MANTISSA_BITS+SCALE_BITS-1:0] scaled,
    output wire [EXPONENT_BITS-1:0]          scaled_exponent
);
    localparam PRODUCT_BITS = SIGNIFICAND_BITS + GUARD_BITS;
    localparam SUM_BITS = PRODUCT_BITS + $clog2(LANES) + 1;

    wire                              active;
    wire [EXPONENT_BITS-1:0]          reference;
    wire [LANES*EXPONENT_BITS-1:0]    distance;
    wire [LANES-1:0]                  product_sign;
    wire [LANES*SIGNIFICAND_BITS-1:0] product;
    exponent_match #(
        .LANES(LANES), .FIELD_BITS(E_BITS), .SIGNIFICAND_BITS(SIGNIFICAND_BITS),
        .EXPONENT_BITS(EXPONENT_BITS), .GATE(GATE)
    ) match (
        .clk(clk), .live(live), .sign(sign ^ activation_sign), .present(present),
        .term_exponent(term_exponent), .field(field), .significand(significand),
        .active(active), .reference(reference), .distance(distance),
        .product_sign(product_sign), .product(product)
    );

    // active and reference wait for the multiplier's two clocks
    reg [1:0]                 active_m;
    reg [2*EXPONENT_BITS-1:0] reference_m;
    always @(posedge clk) begin
        active_m <= {active_m[0], active};
        reference_m <= {reference_m[EXPONENT_BITS-1:0], reference};
    end

    wire [LANES-1:0]              lane_sign;
    wire [LANES*PRODUCT_BITS-1:0] lane;
    wire signed [SUM_BITS-1:0]    sum;
    bit_serial_multiply #(
        .LANES(LANES), .SIGNIFICAND_BITS(SIGNIFICAND_BITS), .GUARD_BITS(GUARD_BITS),
        .EXPONENT_BITS(EXPONENT_BITS), .IN_REFERENCE(IN_REFERENCE)
    ) multiply (
        .clk(clk), .distance(distance), .product_sign(product_sign),
        .product(product), .lane_sign(lane_sign), .lane(lane), .sum(sum)
    );

    group_accumulate #(
        .LANES(LANES), .PRODUCT_BITS(PRODUCT_BITS), .SHIFT_BITS(SHIFT_BITS),
        .MAX_SHIFT(MAX_SHIFT), .EXPONENT_BITS(EXPONENT_BITS), .MANTISSA_BITS(MANTISSA_BITS),
        .ADDER_BITS(ADDER_BITS), .IN_REFERENCE(IN_REFERENCE), .STICKY(STICKY),
        .NEAREST(NEAREST), .SATURATE(SATURATE)
    ) accumulate (
        .clk(clk), .rst(rst), .add(add && active_m[1]), .first(add_first),
        .significance(significance), .reference(reference_m[EXPONENT_BITS +: EXPONENT_BITS]),
        .lane_sign(lane_sign), .lane(lane), .sum(sum),
        .mantissa(mantissa), .exponent(exponent)
    );

    generate
        if (RESCALE) begin : scaling
            group_rescale #(
                .MANTISSA_BITS(MANTISSA_BITS), .EXPONENT_BITS(EXPONENT_BITS),
                .SCALE_BITS(SCALE_BITS)
            ) rescale (
                .clk(clk), .rst(rst), .sum_valid(sum_valid), .mantissa(mantissa),
                .exponent(exponent), .scale(scale),
                .scaled_valid(scaled_valid), .scaled(scaled), .scaled_exponent(scaled_exponent)
            );
        end else begin : plain
            assign scaled_valid = 1'b0;
            assign scaled = {(MANTISSA_BITS+SCALE_BITS){1'b0}};
            assign scaled_exponent = {EXPONENT_BITS{1'b0}};
        end
    endgenerate
endmodule
