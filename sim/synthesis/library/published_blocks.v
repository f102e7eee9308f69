// The four blocks of BitMoD's processing element (HPCA 2025) with the widths that its authors
// publish, from the paper's description, to calibrate a cell library with. Logic alone.

// v = E + exp of four lanes, their maximum, and each lane's distance from it.
module published_match (
    input  wire [19:0] field,
    input  wire [7:0]  term_exponent,
    output reg  [5:0]  reference,
    output reg  [23:0] distance
);
    reg [23:0] v;
    integer i;
    always @* begin
        reference = 6'd0;
        for (i = 0; i < 4; i = i + 1) begin
            v[6*i +: 6] = field[5*i +: 5] + term_exponent[2*i +: 2];
            if (v[6*i +: 6] > reference) reference = v[6*i +: 6];
        end
        for (i = 0; i < 4; i = i + 1) distance[6*i +: 6] = reference - v[6*i +: 6];
    end
endmodule

// Significands times the term's bit, aligned with three guard bits, signed, added.
module published_multiply (
    input  wire [43:0]        significand,
    input  wire [3:0]         present,
    input  wire [3:0]         sign,
    input  wire [23:0]        distance,
    output wire signed [16:0] sum
);
    wire [59:0] signed_lanes;
    genvar n;
    generate
        for (n = 0; n < 4; n = n + 1) begin : lane
            wire [13:0] product = {present[n] ? significand[11*n +: 11] : 11'd0, 3'b000};
            wire [14:0] aligned = product >> distance[6*n +: 6];
            assign signed_lanes[15*n +: 15] = sign[n] ? -aligned : aligned;
        end
    endgenerate
    wire signed [14:0] a = signed_lanes[14:0], b = signed_lanes[29:15];
    wire signed [14:0] c = signed_lanes[44:30], d = signed_lanes[59:45];
    assign sum = (a + b) + (c + d);
endmodule

// The sum at its significance plus the accumulator, which alone is shifted; then normalized to 15
// bits. SHIFT_SUM adds the shifter that the published block lacks: of a sum below the accumulator.
module published_accumulate #(
    parameter SHIFT_SUM = 0
) (
    input  wire signed [16:0] sum,
    input  wire [2:0]         significance,
    input  wire [5:0]         reference,
    input  wire signed [14:0] mantissa,
    input  wire [5:0]         exponent,
    output wire signed [14:0] next_mantissa,
    output wire [5:0]         next_exponent
);
    localparam signed [14:0] NONE = 0;
    wire signed [22:0] wide = sum;
    wire signed [22:0] incoming = wide <<< significance;
    wire above = SHIFT_SUM && exponent > reference;
    wire [5:0] apart = above ? exponent - reference : reference - exponent;
    wire signed [22:0] moved = above ? incoming >>> apart : incoming;
    wire signed [14:0] kept = above ? mantissa : apart >= 14 ? NONE : mantissa >>> apart[3:0];
    wire signed [22:0] total = moved + kept;
    wire [22:0] magnitude = total[22] ? -total : total;
    reg [4:0] length;
    integer k;
    always @* begin
        length = 5'd0;
        for (k = 0; k < 23; k = k + 1) if (magnitude[k]) length = k + 1;
    end
    wire [4:0] right = length > 14 ? length - 5'd14 : 5'd0;
    wire signed [22:0] normal = total >>> right;
    assign next_mantissa = normal[14:0];
    assign next_exponent = (above ? exponent : reference) + right;
endmodule

// A step of the rescale unit: twice what there is, or nothing, plus the mantissa if the bit is one.
module published_rescale (
    input  wire               start,
    input  wire               scale_bit,
    input  wire signed [14:0] mantissa,
    input  wire signed [20:0] product,
    output wire signed [20:0] next_product
);
    localparam signed [20:0] NONE = 0;
    wire signed [20:0] wide = mantissa;
    wire signed [20:0] twice = product <<< 1;
    assign next_product = (start ? NONE : twice) + (scale_bit ? wide : NONE);
endmodule

// All four with registers between them, once each.
module published_pe (
    input  wire               clk,
    input  wire               rst,
    input  wire               in_valid,
    input  wire               in_first,
    input  wire [19:0]        field,
    input  wire [7:0]         term_exponent,
    input  wire [43:0]        significand,
    input  wire [3:0]         present,
    input  wire [3:0]         sign,
    input  wire [2:0]         significance,
    input  wire               scale_bit,
    output reg signed [14:0]  mantissa,
    output reg [5:0]          exponent,
    output reg signed [20:0]  product
);
    wire [5:0] reference;
    wire [23:0] distance;
    published_match match (.field(field), .term_exponent(term_exponent),
        .reference(reference), .distance(distance));
    reg [5:0] reference_1, reference_2;
    reg [23:0] distance_1;
    reg [43:0] significand_1;
    reg [3:0] present_1, sign_1;
    reg [2:0] significance_1, significance_2;
    reg [1:0] first, valid;
    wire signed [16:0] sum;
    reg signed [16:0] sum_2;
    published_multiply multiply (.significand(significand_1), .present(present_1),
        .sign(sign_1), .distance(distance_1), .sum(sum));
    wire signed [14:0] next_mantissa;
    wire [5:0] next_exponent;
    published_accumulate accumulate (.sum(sum_2), .significance(significance_2),
        .reference(reference_2), .mantissa(first[1] ? 15'd0 : mantissa),
        .exponent(first[1] ? 6'd0 : exponent),
        .next_mantissa(next_mantissa), .next_exponent(next_exponent));
    wire signed [20:0] next_product;
    reg signed [14:0] group;
    published_rescale rescale (.start(first[1]), .scale_bit(scale_bit), .mantissa(group),
        .product(product), .next_product(next_product));
    always @(posedge clk) begin
        {reference_2, reference_1} <= {reference_1, reference};
        distance_1 <= distance;
        significand_1 <= significand;
        present_1 <= present;
        sign_1 <= sign;
        {significance_2, significance_1} <= {significance_1, significance};
        first <= rst ? 2'd0 : {first[0], in_first};
        valid <= rst ? 2'd0 : {valid[0], in_valid};
        sum_2 <= sum;
        if (first[1]) group <= mantissa;
        product <= next_product;
        if (rst) begin
            mantissa <= 15'd0;
            exponent <= 6'd0;
        end else if (valid[1]) begin
            mantissa <= next_mantissa;
            exponent <= next_exponent;
        end
    end
endmodule
