// An array of bit-serial processing elements: each row has weights of one output, each column
// activations of one token. All take their terms together, one a clock; with SKIP each row leaves
// terms out that none of its lanes has, and all go to the next chunk together. With one row and
// one column it is a single processing element.
module bit_serial_array #(
    parameter ROWS = 1,
    parameter COLUMNS = 1,
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
    input  wire                                    clk,
    input  wire                                    rst,
    input  wire                                    in_valid,
    input  wire                                    in_first,     // first chunk of a group
    input  wire                                    in_last,      // last chunk of a group
    input  wire [ROWS*LANES*WEIGHT_BITS-1:0]       weights,
    input  wire [COLUMNS*LANES*ACTIVATION_BITS-1:0] activations,
    input  wire [ROWS*SCALE_BITS-1:0]              scale,        // read with the last chunk
    output wire                                    in_ready,     // the chunk is taken
    output wire                                    sum_valid,    // the groups' sums are there
    output wire [ROWS*COLUMNS*MANTISSA_BITS-1:0]   mantissa,     // row by row
    output wire [ROWS*COLUMNS*EXPONENT_BITS-1:0]   exponent,
    output wire                                    scaled_valid, // and here times their scales
    output wire [ROWS*COLUMNS*(MANTISSA_BITS+SCALE_BITS)-1:0] scaled,
    output wire [ROWS*COLUMNS*EXPONENT_BITS-1:0]   scaled_exponent
);
    localparam E_BITS = FIELD_BITS > 0 ? FIELD_BITS : 1;
    localparam SCALED_BITS = MANTISSA_BITS + SCALE_BITS;

    localparam STREAMS = SKIP ? ROWS : 1;
    wire                        add, add_first;
    wire [STREAMS-1:0]          live;
    wire [ROWS*LANES-1:0]       sign, present;
    wire [2*ROWS*LANES-1:0]     term_exponent;
    wire [STREAMS*SHIFT_BITS-1:0] significance;
    wire [ROWS*SCALE_BITS-1:0]  sum_scales;
    term_stage #(
        .LANES(ROWS*LANES), .STREAMS(STREAMS), .WEIGHT_BITS(WEIGHT_BITS), .TERMS(TERMS), .SHIFT_BITS(SHIFT_BITS),
        .SIGNIFICANCES(SIGNIFICANCES), .SKIP(SKIP), .GAP(GAP),
        .UNIT(RESCALE ? SCALE_BITS : 0), .SCALES_BITS(ROWS*SCALE_BITS)
    ) row_edge (
        .clk(clk), .rst(rst), .in_valid(in_valid), .in_first(in_first), .in_last(in_last),
        .weights(weights), .scales(scale), .in_ready(in_ready),
        .live(live), .sign(sign), .present(present), .exponent(term_exponent),
        .add(add), .add_first(add_first), .significance(significance),
        .sum_valid(sum_valid), .sum_scales(sum_scales)
    );

    wire [COLUMNS*LANES-1:0]                  activation_sign;
    wire [COLUMNS*LANES*E_BITS-1:0]           field;
    wire [COLUMNS*LANES*SIGNIFICAND_BITS-1:0] significand;
    activation_stage #(
        .LANES(COLUMNS*LANES), .ACTIVATION_BITS(ACTIVATION_BITS), .FIELD_BITS(FIELD_BITS),
        .SIGNIFICAND_BITS(SIGNIFICAND_BITS)
    ) column_edge (
        .clk(clk), .activations(activations),
        .sign(activation_sign), .field(field), .significand(significand)
    );

    wire [ROWS*COLUMNS-1:0] all_scaled_valid;
    assign scaled_valid = all_scaled_valid[0];
    genvar r, c;
    generate
        for (r = 0; r < ROWS; r = r + 1) begin : row
            for (c = 0; c < COLUMNS; c = c + 1) begin : column
                localparam P = r*COLUMNS + c;
                localparam S = SKIP ? r : 0;
                bit_serial_core #(
                    .LANES(LANES), .SHIFT_BITS(SHIFT_BITS), .E_BITS(E_BITS),
                    .SIGNIFICAND_BITS(SIGNIFICAND_BITS), .GUARD_BITS(GUARD_BITS),
                    .EXPONENT_BITS(EXPONENT_BITS), .MANTISSA_BITS(MANTISSA_BITS),
                    .ADDER_BITS(ADDER_BITS), .MAX_SHIFT(MAX_SHIFT), .GATE(GATE),
                    .IN_REFERENCE(IN_REFERENCE), .STICKY(STICKY), .NEAREST(NEAREST),
                    .SATURATE(SATURATE), .RESCALE(RESCALE), .SCALE_BITS(SCALE_BITS)
                ) pe (
                    .clk(clk), .rst(rst), .live(live[S]),
                    .sign(sign[r*LANES +: LANES]), .present(present[r*LANES +: LANES]),
                    .term_exponent(term_exponent[2*r*LANES +: 2*LANES]),
                    .activation_sign(activation_sign[c*LANES +: LANES]),
                    .field(field[c*LANES*E_BITS +: LANES*E_BITS]),
                    .significand(significand[c*LANES*SIGNIFICAND_BITS +: LANES*SIGNIFICAND_BITS]),
                    .add(add), .add_first(add_first), 
                    .significance(significance[S*SHIFT_BITS +: SHIFT_BITS]),
                    .sum_valid(sum_valid), .scale(sum_scales[r*SCALE_BITS +: SCALE_BITS]),
                    .mantissa(mantissa[P*MANTISSA_BITS +: MANTISSA_BITS]),
                    .exponent(exponent[P*EXPONENT_BITS +: EXPONENT_BITS]),
                    .scaled_valid(all_scaled_valid[P]),
                    .scaled(scaled[P*SCALED_BITS +: SCALED_BITS]),
                    .scaled_exponent(scaled_exponent[P*EXPONENT_BITS +: EXPONENT_BITS])
                );
            end
        end
    endgenerate
endmodule
