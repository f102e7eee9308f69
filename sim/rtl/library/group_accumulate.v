// Group accumulate, two clocks: the lane sum is shifted by the significance of its clock, then
// added to an accumulator of mantissa and exponent, which is normalized to the right only.
//
// IN_REFERENCE: the accumulator's exponent takes part in the reference, so the lanes are shifted
// by the rest of the distance and added here. STICKY: bits that leave at alignment are kept for
// the one rounding at the end. The accumulator is worth mantissa * 2**(exponent - offset).
module group_accumulate #(
    parameter LANES = 4,
    parameter PRODUCT_BITS = 14,
    parameter SUM_BITS = PRODUCT_BITS + $clog2(LANES) + 1,
    parameter SHIFT_BITS = 3,                    // of a significance
    parameter MAX_SHIFT = 6,                     // the largest significance
    parameter EXPONENT_BITS = 6,
    parameter MANTISSA_BITS = 15,                // with the sign
    parameter ADDER_BITS = 0,                    // the adder's width; 0: as wide as sums get
    parameter IN_REFERENCE = 0,
    parameter STICKY = 1,
    parameter NEAREST = 1,                       // round to nearest even; 0: floor
    parameter SATURATE = 1                       // 0: sums and exponents wrap
) (
    input  wire                            clk,
    input  wire                            rst,
    input  wire                            add,          // the clock adds something
    input  wire                            first,        // and is the first of its group
    input  wire [SHIFT_BITS-1:0]           significance,
    input  wire [EXPONENT_BITS-1:0]        reference,    // M of the lanes
    input  wire [LANES-1:0]                lane_sign,
    input  wire [LANES*PRODUCT_BITS-1:0]   lane,
    input  wire signed [SUM_BITS-1:0]      sum,
    output reg signed [MANTISSA_BITS-1:0]  mantissa,
    output reg [EXPONENT_BITS-1:0]         exponent
);
    localparam INCOMING_BITS = SUM_BITS + MAX_SHIFT;
    localparam LIMIT = MANTISSA_BITS - 1;        // bits of a normalized magnitude
    localparam REACH = INCOMING_BITS + 1;        // from here on a sum is only a sticky bit
    localparam TOTAL_BITS = STICKY ? INCOMING_BITS + MANTISSA_BITS + 2
        : (INCOMING_BITS > MANTISSA_BITS ? INCOMING_BITS : MANTISSA_BITS) + 1;
    localparam COUNT_BITS = $clog2(TOTAL_BITS + 1);
    localparam WIDE_BITS = (EXPONENT_BITS > COUNT_BITS ? EXPONENT_BITS : COUNT_BITS) + 2;
    localparam [WIDE_BITS-1:0] TOP = (1 << EXPONENT_BITS) - 1;
    localparam signed [MANTISSA_BITS-1:0] LARGEST = (1 << LIMIT) - 1;
    localparam signed [TOTAL_BITS-1:0] ZERO = 0; // signed, or the shifts beside it are not

    // what is accumulated so far: nothing at the start of a group
    reg                            add_1, first_1;
    reg [EXPONENT_BITS-1:0]        reference_1;
    wire signed [MANTISSA_BITS-1:0] old_mantissa = first_1 ? {MANTISSA_BITS{1'b0}} : mantissa;
    wire [EXPONENT_BITS-1:0]        old_exponent = first_1 ? {EXPONENT_BITS{1'b0}} : exponent;

    // first clock: the sum goes to its significance
    wire [EXPONENT_BITS-1:0]        top;         // reference exponent of the sum
    wire signed [INCOMING_BITS-1:0] incoming;
    generate
        if (IN_REFERENCE) begin : lanes_add
            reg [SHIFT_BITS-1:0]         significance_1;
            reg [LANES-1:0]              sign_1;
            reg [LANES*PRODUCT_BITS-1:0] lane_1;
            always @(posedge clk) begin
                significance_1 <= significance;
                sign_1 <= lane_sign;
                lane_1 <= lane;
            end
            wire above = old_exponent > reference_1;
            wire [EXPONENT_BITS-1:0] rest =
                above ? old_exponent - reference_1 : {EXPONENT_BITS{1'b0}};
            reg signed [SUM_BITS-1:0] total;
            reg [PRODUCT_BITS-1:0] aligned;
            integer i;
            always @* begin
                total = {SUM_BITS{1'b0}};
                aligned = {PRODUCT_BITS{1'b0}};
                for (i = 0; i < LANES; i = i + 1) begin
                    aligned = lane_1[i*PRODUCT_BITS +: PRODUCT_BITS] >> rest;
                    total = sign_1[i] ? total - aligned : total + aligned;
                end
            end
            wire signed [INCOMING_BITS-1:0] extended = total;
            assign incoming = extended <<< significance_1;
            assign top = above ? old_exponent : reference_1;
        end else begin : sum_shifts
            reg signed [INCOMING_BITS-1:0] shifted;
            wire signed [INCOMING_BITS-1:0] extended = sum;
            always @(posedge clk) shifted <= extended <<< significance;
            assign incoming = shifted;
            assign top = reference_1;
        end
    endgenerate
    always @(posedge clk) begin
        add_1 <= add && !rst;
        first_1 <= first && !rst;
        reference_1 <= reference;
    end

    // second clock: align
    wire sum_above = top >= old_exponent;
    wire [EXPONENT_BITS-1:0] apart = sum_above ? top - old_exponent : old_exponent - top;
    wire signed [TOTAL_BITS-1:0] wide_sum = incoming, wide_mantissa = old_mantissa;
    wire signed [TOTAL_BITS-1:0] total;
    wire [COUNT_BITS-1:0] below;                 // fraction bits of the total
    generate
        if (STICKY) begin : keep
            // the operand of the larger exponent goes left; the other is at most a sticky bit
            wire signed [TOTAL_BITS-1:0] high = sum_above ? wide_sum : wide_mantissa;
            wire signed [TOTAL_BITS-1:0] low = sum_above ? wide_mantissa : wide_sum;
            wire [COUNT_BITS-1:0] most = sum_above ? LIMIT + 2 : REACH;
            wire far = apart > most;
            wire signed [TOTAL_BITS-1:0] trace = low == 0 ? low : (low >>> (TOTAL_BITS-1)) | 1;
            assign below = far ? most : apart[EXPONENT_BITS-1:0];
            assign total = (high <<< below) + (far ? trace : low);
        end else begin : drop
            wire gone = sum_above && apart >= LIMIT;
            wire signed [TOTAL_BITS-1:0] moved_mantissa =
                gone ? ZERO : sum_above ? wide_mantissa >>> apart : wide_mantissa;
            wire signed [TOTAL_BITS-1:0] moved_sum = sum_above ? wide_sum : wide_sum >>> apart;
            wire signed [TOTAL_BITS-1:0] unbounded = moved_mantissa + moved_sum;
            assign below = {COUNT_BITS{1'b0}};
            if (ADDER_BITS == 0 || ADDER_BITS >= TOTAL_BITS) begin : whole
                assign total = unbounded;
            end else begin : narrow
                wire signed [ADDER_BITS-1:0] kept = unbounded[ADDER_BITS-1:0];
                wire signed [TOTAL_BITS-1:0] wrapped = kept;
                wire signed [ADDER_BITS-1:0] bound =
                    {unbounded[TOTAL_BITS-1], {(ADDER_BITS-1){!unbounded[TOTAL_BITS-1]}}};
                wire signed [TOTAL_BITS-1:0] wide_bound = bound;
                assign total = SATURATE && wrapped != unbounded ? wide_bound : wrapped;
            end
        end
    endgenerate

    // normalize to LIMIT bits and round
    wire [TOTAL_BITS-1:0] magnitude = total[TOTAL_BITS-1] ? -total : total;
    reg [COUNT_BITS-1:0] length;
    integer k;
    always @* begin
        length = {COUNT_BITS{1'b0}};
        for (k = 0; k < TOTAL_BITS; k = k + 1)
            if (magnitude[k]) length = k + 1;
    end
    wire too_long = length > below + LIMIT;
    wire [COUNT_BITS-1:0] shift = too_long ? length - LIMIT : below;
    wire [TOTAL_BITS-1:0] half = ({{(TOTAL_BITS-1){1'b0}}, 1'b1} << shift) >> 1;
    wire round_bit = |(total & half);
    wire rest_bit = |(total & (half - 1'b1));
    wire signed [TOTAL_BITS-1:0] floored = total >>> shift;
    wire up = NEAREST && round_bit && (rest_bit || floored[0]);
    wire signed [MANTISSA_BITS:0] rounded = floored[MANTISSA_BITS:0] + {{MANTISSA_BITS{1'b0}}, up};
    wire carried = !rounded[MANTISSA_BITS] && rounded[MANTISSA_BITS-1];
    wire signed [MANTISSA_BITS-1:0] narrowed =
        carried ? rounded[MANTISSA_BITS:1] : rounded[MANTISSA_BITS-1:0];

    wire [EXPONENT_BITS-1:0] larger = sum_above ? top : old_exponent;
    wire [WIDE_BITS-1:0] raised = larger + (shift - below) + carried;
    wire over = raised > TOP;
    wire signed [MANTISSA_BITS-1:0] bound = narrowed > 0 ? LARGEST : -LARGEST;

    always @(posedge clk)
        if (rst) begin
            mantissa <= {MANTISSA_BITS{1'b0}};
            exponent <= {EXPONENT_BITS{1'b0}};
        end else if (add_1) begin
            mantissa <= SATURATE && over ? bound : narrowed;
            exponent <= SATURATE && over ? TOP[EXPONENT_BITS-1:0] : raised[EXPONENT_BITS-1:0];
        end else begin
            mantissa <= old_mantissa;
            exponent <= old_exponent;
        end
endmodule
