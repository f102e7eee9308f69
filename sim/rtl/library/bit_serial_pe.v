// A bit-serial processing element: terms of the weights times activations, one term a clock.
//
// A chunk of LANES weights and activations stays at the inputs until chunk_ready. Six clocks after
// a term has entered (one more for the register of the term encoder) it is in the accumulator; the
// group's sum is then multiplied by the group's scale, one bit a clock.
module bit_serial_pe #(
    parameter LANES = 4,
    parameter WEIGHT_BITS = 8,                   // of an integer on the weights' grid
    parameter TERMS = 4,                         // clocks of a chunk
    parameter SHIFT_BITS = 3,                    // of a significance
    parameter [TERMS*SHIFT_BITS-1:0] SIGNIFICANCES = 0,  // of each clock, the first one lowest
    parameter SKIP = 0,                          // 1: leave out terms that no lane has
    parameter GAP = 0,                           // clocks between groups
    parameter ACTIVATION_BITS = 16,
    parameter FIELD_BITS = 5,                    // of an activation's exponent; 0: integers
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
    input  wire                                      clk,
    input  wire                                      rst,
    input  wire                                      in_valid,
    input  wire                                      in_first,     // first chunk of a group
    input  wire                                      in_last,      // last chunk of a group
    input  wire [LANES*WEIGHT_BITS-1:0]              weights,
    input  wire [LANES*ACTIVATION_BITS-1:0]          activations,
    input  wire [SCALE_BITS-1:0]                     scale,        // read with the last chunk
    output wire                                      in_ready,     // the chunk is taken
    output wire                                      sum_valid,    // a group's sum is there
    output wire signed [MANTISSA_BITS-1:0]           mantissa,
    output wire [EXPONENT_BITS-1:0]                  exponent,
    output wire                                      scaled_valid, // and here times its scale
    output wire signed [MANTISSA_BITS+SCALE_BITS-1:0] scaled,
    output wire [EXPONENT_BITS-1:0]                  scaled_exponent
);
    localparam INDEX_BITS = TERMS > 1 ? $clog2(TERMS) : 1;
    localparam E_BITS = FIELD_BITS > 0 ? FIELD_BITS : 1;
    localparam PRODUCT_BITS = SIGNIFICAND_BITS + GUARD_BITS;
    localparam SUM_BITS = PRODUCT_BITS + $clog2(LANES) + 1;
    localparam STAGES = 6;                       // pipeline registers before the accumulator

    wire enable;                                 // 0: the rescale unit is not free yet

    // terms and fields of each lane
    wire [LANES*TERMS-1:0]            term_sign, term_present;
    wire [2*LANES*TERMS-1:0]          term_exponent;
    wire [LANES-1:0]                  sign;
    wire [LANES*E_BITS-1:0]           field;
    wire [LANES*SIGNIFICAND_BITS-1:0] significand;
    genvar n;
    generate
        for (n = 0; n < LANES; n = n + 1) begin : operand
            term_encoder encoder (
                .weight(weights[n*WEIGHT_BITS +: WEIGHT_BITS]),
                .sign(term_sign[n*TERMS +: TERMS]),
                .present(term_present[n*TERMS +: TERMS]),
                .exponent(term_exponent[2*n*TERMS +: 2*TERMS])
            );
            if (FIELD_BITS > 0) begin : floating
                float_unpack #(.EXPONENT_BITS(FIELD_BITS), .SIGNIFICAND_BITS(SIGNIFICAND_BITS))
                unpack (
                    .bits(activations[n*ACTIVATION_BITS +: ACTIVATION_BITS]),
                    .sign(sign[n]),
                    .exponent(field[n*E_BITS +: E_BITS]),
                    .significand(significand[n*SIGNIFICAND_BITS +: SIGNIFICAND_BITS])
                );
            end else begin : whole
                integer_unpack #(.SIGNIFICAND_BITS(SIGNIFICAND_BITS)) unpack (
                    .bits(activations[n*ACTIVATION_BITS +: ACTIVATION_BITS]),
                    .sign(sign[n]),
                    .exponent(field[n]),
                    .significand(significand[n*SIGNIFICAND_BITS +: SIGNIFICAND_BITS])
                );
            end
        end
    endgenerate

    // which term enters
    reg [TERMS-1:0] chunk_present;
    integer i;
    always @* begin
        chunk_present = {TERMS{1'b0}};
        for (i = 0; i < LANES; i = i + 1)
            chunk_present = chunk_present | term_present[i*TERMS +: TERMS];
    end
    wire issue, issue_first, issue_last, live;
    wire [INDEX_BITS-1:0] index;
    term_sequencer #(.TERMS(TERMS), .SKIP(SKIP), .GAP(GAP)) sequencer (
        .clk(clk), .rst(rst), .enable(enable),
        .chunk_valid(in_valid), .chunk_first(in_first), .chunk_last(in_last),
        .present(chunk_present), .chunk_ready(in_ready),
        .issue(issue), .issue_first(issue_first), .issue_last(issue_last),
        .live(live), .index(index)
    );

    // the register of the term encoder
    reg                              live_0;
    reg [LANES-1:0]                  sign_0, present_0;
    reg [2*LANES-1:0]                exponent_0;
    reg [LANES*E_BITS-1:0]           field_0;
    reg [LANES*SIGNIFICAND_BITS-1:0] significand_0;
    integer j;
    always @(posedge clk)
        if (enable) begin
            live_0 <= live;
            field_0 <= field;
            significand_0 <= significand;
            for (j = 0; j < LANES; j = j + 1) begin
                sign_0[j] <= sign[j] ^ term_sign[j*TERMS + index];
                present_0[j] <= term_present[j*TERMS + index];
                exponent_0[2*j +: 2] <= term_exponent[2*(j*TERMS + index) +: 2];
            end
        end

    // what travels beside the data: stage s holds what is s clocks behind the encoder's register
    reg [STAGES-1:0]            valid, first, last;
    reg [STAGES*SHIFT_BITS-1:0] significance;
    reg [STAGES*SCALE_BITS-1:0] scales;
    always @(posedge clk)
        if (rst)
            valid <= {STAGES{1'b0}};
        else if (enable) begin
            valid <= {valid[STAGES-2:0], issue};
            first <= {first[STAGES-2:0], issue_first};
            last <= {last[STAGES-2:0], issue_last};
            significance <= {significance[(STAGES-1)*SHIFT_BITS-1:0],
                             SIGNIFICANCES[index*SHIFT_BITS +: SHIFT_BITS]};
            scales <= {scales[(STAGES-1)*SCALE_BITS-1:0], scale};
        end

    wire                              active;
    wire [EXPONENT_BITS-1:0]          reference;
    wire [LANES*EXPONENT_BITS-1:0]    distance;
    wire [LANES-1:0]                  product_sign;
    wire [LANES*SIGNIFICAND_BITS-1:0] product;
    exponent_match #(
        .LANES(LANES), .FIELD_BITS(E_BITS), .SIGNIFICAND_BITS(SIGNIFICAND_BITS),
        .EXPONENT_BITS(EXPONENT_BITS), .GATE(GATE)
    ) match (
        .clk(clk), .enable(enable), .live(live_0), .sign(sign_0), .present(present_0),
        .term_exponent(exponent_0), .field(field_0), .significand(significand_0),
        .active(active), .reference(reference), .distance(distance),
        .product_sign(product_sign), .product(product)
    );

    // active and reference wait for the multiplier's two clocks
    reg [1:0]                 active_m;
    reg [2*EXPONENT_BITS-1:0] reference_m;
    always @(posedge clk)
        if (enable) begin
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
        .clk(clk), .enable(enable), .distance(distance), .product_sign(product_sign),
        .product(product), .lane_sign(lane_sign), .lane(lane), .sum(sum)
    );

    group_accumulate #(
        .LANES(LANES), .PRODUCT_BITS(PRODUCT_BITS), .SHIFT_BITS(SHIFT_BITS),
        .MAX_SHIFT(MAX_SHIFT), .EXPONENT_BITS(EXPONENT_BITS), .MANTISSA_BITS(MANTISSA_BITS),
        .ADDER_BITS(ADDER_BITS), .IN_REFERENCE(IN_REFERENCE), .STICKY(STICKY),
        .NEAREST(NEAREST), .SATURATE(SATURATE)
    ) accumulate (
        .clk(clk), .rst(rst), .enable(enable),
        .add(valid[4] && active_m[1]), .first(valid[4] && first[4]),
        .significance(significance[4*SHIFT_BITS +: SHIFT_BITS]),
        .reference(reference_m[EXPONENT_BITS +: EXPONENT_BITS]),
        .lane_sign(lane_sign), .lane(lane), .sum(sum),
        .mantissa(mantissa), .exponent(exponent)
    );

    // a group ends: its sum is in the accumulator for one clock
    reg                  ended;
    reg [SCALE_BITS-1:0] ended_scale;
    always @(posedge clk)
        if (rst)
            ended <= 1'b0;
        else begin
            ended <= enable && valid[5] && last[5];
            if (enable) ended_scale <= scales[5*SCALE_BITS +: SCALE_BITS];
        end
    assign sum_valid = ended;

    wire blocked;
    assign enable = !(valid[5] && last[5] && blocked);
    generate
        if (RESCALE) begin : scaling
            group_rescale #(
                .MANTISSA_BITS(MANTISSA_BITS), .EXPONENT_BITS(EXPONENT_BITS),
                .SCALE_BITS(SCALE_BITS)
            ) rescale (
                .clk(clk), .rst(rst), .sum_valid(ended), .mantissa(mantissa),
                .exponent(exponent), .scale(ended_scale), .blocked(blocked),
                .scaled_valid(scaled_valid), .scaled(scaled), .scaled_exponent(scaled_exponent)
            );
        end else begin : plain
            assign blocked = 1'b0;
            assign scaled_valid = 1'b0;
            assign scaled = {(MANTISSA_BITS+SCALE_BITS){1'b0}};
            assign scaled_exponent = {EXPONENT_BITS{1'b0}};
        end
    endgenerate
endmodule
