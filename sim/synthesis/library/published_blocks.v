// The four blocks of BitMoD's processing element (HPCA 2025), with the widths and the registers
// that its authors' synthesis sheet prices, to calibrate a cell library with. Written from the
// paper's description. The sheet lists each block twice: as it is here, and with registers at its
// border (the modules named `.._held`). Accumulate and dequantize keep their sums in registers of
// their own, which both columns contain; exponent match and multiply have none.

// v = E + exp of four lanes, the largest v, each lane's distance from it; the products' signs.
module published_match (
    input  wire [19:0] field,
    input  wire [7:0]  term_exponent,
    input  wire [3:0]  activation_sign,
    input  wire [3:0]  term_sign,
    output reg  [5:0]  reference,
    output wire [23:0] distance,
    output wire [3:0]  sign
);
    wire [23:0] v;
    genvar n;
    generate
        for (n = 0; n < 4; n = n + 1) begin : lane
            assign v[6*n +: 6] = field[5*n +: 5] + term_exponent[2*n +: 2];
            assign distance[6*n +: 6] = reference - v[6*n +: 6];
        end
    endgenerate
    // the largest, from its top bit down: lanes with a 0 where another that is left has a 1 drop out
    reg [3:0] left;
    integer bit, m;
    always @* begin
        left = 4'b1111;
        reference = 6'd0;
        for (bit = 5; bit >= 0; bit = bit - 1) begin
            for (m = 0; m < 4; m = m + 1)
                if (left[m] && v[6*m + bit]) reference[bit] = 1'b1;
            for (m = 0; m < 4; m = m + 1)
                if (reference[bit] && !v[6*m + bit]) left[m] = 1'b0;
        end
    end
    assign sign = activation_sign ^ term_sign;
endmodule

// Shift right by a distance that is decoded as a whole: a line for each of its values, no stages of
// powers of two. From 14 on nothing is left.
module published_shift #(
    parameter BITS = 14,
    parameter SIGNED = 0
) (
    input  wire [BITS-1:0] word,
    input  wire [5:0]      distance,
    output reg  [BITS-1:0] shifted
);
    wire [2*BITS-1:0] extended = {{BITS{SIGNED && word[BITS-1]}}, word};
    wire [14*BITS-1:0] by;                       // the word shifted by 0, 1, .. 13
    genvar k;
    generate
        for (k = 0; k < 14; k = k + 1) begin : each
            assign by[k*BITS +: BITS] = extended[k +: BITS];
        end
    endgenerate
    always @*
        case (distance)
            6'd0: shifted = by[0*BITS +: BITS];
            6'd1: shifted = by[1*BITS +: BITS];
            6'd2: shifted = by[2*BITS +: BITS];
            6'd3: shifted = by[3*BITS +: BITS];
            6'd4: shifted = by[4*BITS +: BITS];
            6'd5: shifted = by[5*BITS +: BITS];
            6'd6: shifted = by[6*BITS +: BITS];
            6'd7: shifted = by[7*BITS +: BITS];
            6'd8: shifted = by[8*BITS +: BITS];
            6'd9: shifted = by[9*BITS +: BITS];
            6'd10: shifted = by[10*BITS +: BITS];
            6'd11: shifted = by[11*BITS +: BITS];
            6'd12: shifted = by[12*BITS +: BITS];
            6'd13: shifted = by[13*BITS +: BITS];
            default: shifted = {BITS{1'b0}};
        endcase
endmodule

// Significands times the term's bit, aligned with three guard bits, negated lane by lane, added.
module published_multiply (
    input  wire [43:0]        significand,
    input  wire [3:0]         present,
    input  wire [3:0]         sign,
    input  wire [23:0]        distance,
    output wire signed [16:0] sum
);
    wire [59:0] lanes;
    genvar n;
    generate
        for (n = 0; n < 4; n = n + 1) begin : lane
            wire [13:0] aligned;
            published_shift shift (
                .word({significand[11*n +: 11] & {11{present[n]}}, 3'b000}),
                .distance(distance[6*n +: 6]), .shifted(aligned));
            assign lanes[15*n +: 15] = sign[n] ? -{1'b0, aligned} : {1'b0, aligned};
        end
    endgenerate
    wire signed [14:0] a = lanes[14:0], b = lanes[29:15], c = lanes[44:30], d = lanes[59:45];
    wire signed [15:0] ab = a + b, cd = c + d;
    assign sum = ab + cd;
endmodule

// The sum at its significance plus the accumulator, which alone is shifted; then normalized to 15
// bits. SHIFT_SUM adds the shifter that the published block lacks: of a sum below the accumulator.
module published_accumulate #(
    parameter SHIFT_SUM = 0
) (
    input  wire               clk,
    input  wire               clear,
    input  wire               enable,
    input  wire signed [16:0] sum,
    input  wire [2:0]         significance,
    input  wire [5:0]         reference,
    output reg signed [14:0]  mantissa,
    output reg [5:0]          exponent,
    output reg                negative
);
    wire above = exponent > reference;
    wire [5:0] top = above ? exponent : reference;
    wire signed [22:0] wide = sum;
    reg signed [22:0] placed;
    always @*
        case (significance)
            3'd0: placed = wide;
            3'd1: placed = wide <<< 1;
            3'd2: placed = wide <<< 2;
            3'd3: placed = wide <<< 3;
            3'd4: placed = wide <<< 4;
            3'd5: placed = wide <<< 5;
            3'd6: placed = wide <<< 6;
            default: placed = 23'bx;
        endcase
    wire [22:0] incoming;
    generate
        if (SHIFT_SUM) begin : falls
            assign incoming = placed >>> (top - reference);
        end else begin : stays
            assign incoming = placed;
        end
    endgenerate
    wire [14:0] kept;
    published_shift #(.BITS(15), .SIGNED(1)) shift (
        .word(mantissa), .distance(top - exponent), .shifted(kept));
    wire signed [22:0] addend = {{8{kept[14]}}, kept};
    wire signed [22:0] total = $signed(incoming) + addend;
    wire [22:0] magnitude = total[22] ? -total : total;
    reg [3:0] right;                             // bits above 14: 22 of a magnitude are nine at most
    always @*
        casez (magnitude[22:14])
            9'b01???????: right = 4'd8;
            9'b001??????: right = 4'd7;
            9'b0001?????: right = 4'd6;
            9'b00001????: right = 4'd5;
            9'b000001???: right = 4'd4;
            9'b0000001??: right = 4'd3;
            9'b00000001?: right = 4'd2;
            9'b000000001: right = 4'd1;
            default: right = 4'd0;
        endcase
    wire signed [22:0] normal = total >>> right;
    always @(posedge clk)
        if (clear) {mantissa, exponent, negative} <= 22'd0;
        else if (enable) begin
            mantissa <= normal[14:0];
            exponent <= top + right;
            negative <= total[22];
        end
endmodule

// A step of the rescale unit: twice what there is, plus the mantissa if the bit is one; the
// exponent and the sign pass by. The start of the published unit does not clear the product, which
// is therefore kept as it is here; CLEARS adds the clear that a working unit needs.
module published_rescale #(
    parameter CLEARS = 0
) (
    input  wire               clk,
    input  wire               clear,
    input  wire               enable,
    input  wire               start,
    input  wire               scale_bit,
    input  wire               scale_sign,
    input  wire signed [14:0] mantissa,
    input  wire [5:0]         exponent,
    input  wire               negative,
    output reg signed [20:0]  product,
    output reg [5:0]          product_exponent,
    output reg                product_negative
);
    wire signed [14:0] step = mantissa & {15{scale_bit}};
    wire cleared = CLEARS && clear;
    always @(posedge clk)
        if (cleared) product <= 21'd0;
        else if (enable) product <= (product <<< 1) + step;
    always @(posedge clk)
        if (cleared) {product_exponent, product_negative} <= 7'd0;
        else if (start) {product_exponent, product_negative} <= {exponent, negative ^ scale_sign};
endmodule

// Registers at a border, with a clear and an enable.
module published_border #(
    parameter BITS = 1
) (
    input  wire            clk,
    input  wire            clear,
    input  wire            enable,
    input  wire [BITS-1:0] now,
    output reg  [BITS-1:0] held
);
    always @(posedge clk)
        if (clear) held <= {BITS{1'b0}};
        else if (enable) held <= now;
endmodule

module published_match_held (
    input  wire        clk, clear, enable,
    input  wire [19:0] field,
    input  wire [7:0]  term_exponent,
    input  wire [3:0]  activation_sign, term_sign,
    output wire [5:0]  reference,
    output wire [23:0] distance,
    output wire [3:0]  sign
);
    wire [35:0] in;
    wire [33:0] out;
    published_border #(.BITS(36)) before (.clk(clk), .clear(clear), .enable(enable),
        .now({field, term_exponent, activation_sign, term_sign}), .held(in));
    published_match block (.field(in[35:16]), .term_exponent(in[15:8]), .activation_sign(in[7:4]),
        .term_sign(in[3:0]), .reference(out[33:28]), .distance(out[27:4]), .sign(out[3:0]));
    published_border #(.BITS(34)) behind (.clk(clk), .clear(clear), .enable(enable), .now(out),
        .held({reference, distance, sign}));
endmodule

module published_multiply_held (
    input  wire        clk, clear, enable,
    input  wire [43:0] significand,
    input  wire [3:0]  present, sign,
    input  wire [23:0] distance,
    output wire [16:0] sum
);
    wire [75:0] in;
    wire [16:0] out;
    published_border #(.BITS(76)) before (.clk(clk), .clear(clear), .enable(enable),
        .now({significand, present, sign, distance}), .held(in));
    published_multiply block (.significand(in[75:32]), .present(in[31:28]), .sign(in[27:24]),
        .distance(in[23:0]), .sum(out));
    published_border #(.BITS(17)) behind (.clk(clk), .clear(clear), .enable(enable), .now(out),
        .held(sum));
endmodule

module published_accumulate_held (
    input  wire        clk, clear, enable,
    input  wire [16:0] sum,
    input  wire [2:0]  significance,
    input  wire [5:0]  reference,
    output wire [14:0] mantissa,
    output wire [5:0]  exponent,
    output wire        negative
);
    wire [25:0] in;
    published_border #(.BITS(26)) before (.clk(clk), .clear(clear), .enable(enable),
        .now({sum, significance, reference}), .held(in));
    published_accumulate block (.clk(clk), .clear(clear), .enable(enable), .sum(in[25:9]),
        .significance(in[8:6]), .reference(in[5:0]), .mantissa(mantissa), .exponent(exponent),
        .negative(negative));
endmodule

module published_rescale_held (
    input  wire        clk, clear, enable, start, latch, scale_bit, scale_sign,
    input  wire [14:0] mantissa,
    input  wire [5:0]  exponent,
    input  wire        negative,
    output wire [20:0] product,
    output wire [5:0]  product_exponent,
    output wire        product_negative
);
    wire [23:0] in;
    published_border #(.BITS(24)) before (.clk(clk), .clear(clear), .enable(latch),
        .now({scale_bit, scale_sign, mantissa, exponent, negative}), .held(in));
    published_rescale block (.clk(clk), .clear(clear), .enable(enable), .start(start),
        .scale_bit(in[23]), .scale_sign(in[22]), .mantissa(in[21:7]), .exponent(in[6:1]),
        .negative(in[0]), .product(product), .product_exponent(product_exponent),
        .product_negative(product_negative));
endmodule
