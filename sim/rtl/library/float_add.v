// Adds two numbers exactly and rounds the sum once, to nearest even, in a format.
//
// A number is sign, significand and the exponent of its last place, with flags for infinity and
// NaN; significands need not be normalized. A sum of zero is positive.
module float_add #(
    parameter X_BITS = 24,
    parameter Y_BITS = 22,
    parameter BITS = 24,                         // significand of the sum's format
    parameter LOWEST = -149,                     // exponent of a subnormal's last place
    parameter [BITS-1:0] LARGEST = {BITS{1'b1}}, // significand of the largest number
    parameter LARGEST_EXPONENT = 104,            // and the exponent of its last place
    parameter SATURATE = 0,                      // 0: beyond the largest number is infinity
    parameter WIDE = 12                          // bits of exponents, signed
) (
    input  wire                   x_sign, x_infinite, x_nan,
    input  wire [X_BITS-1:0]      x,
    input  wire signed [WIDE-1:0] x_exponent,
    input  wire                   y_sign, y_infinite, y_nan,
    input  wire [Y_BITS-1:0]      y,
    input  wire signed [WIDE-1:0] y_exponent,
    output wire                   sign, infinite, nan,
    output wire [BITS-1:0]        sum,
    output wire signed [WIDE-1:0] exponent
);
    localparam LONGER = X_BITS > Y_BITS ? X_BITS : Y_BITS;
    localparam N = LONGER > BITS ? LONGER : BITS;
    localparam SUM_BITS = N + 4;                 // a carry, guard, round and sticky bit
    localparam COUNT_BITS = $clog2(SUM_BITS + 1);
    localparam signed [WIDE-1:0] FLOOR = LOWEST, TOP = LARGEST_EXPONENT, KEPT = BITS;

    // both significands start with a one
    reg [COUNT_BITS-1:0] x_lead, y_lead;
    wire [N-1:0] x_wide = x, y_wide = y;
    integer i;
    always @* begin
        x_lead = {COUNT_BITS{1'b0}};
        y_lead = {COUNT_BITS{1'b0}};
        for (i = 0; i < N; i = i + 1) begin
            if (x_wide[i]) x_lead = N - 1 - i;
            if (y_wide[i]) y_lead = N - 1 - i;
        end
    end
    wire [N-1:0] x_one = x_wide << x_lead, y_one = y_wide << y_lead;
    wire signed [WIDE-1:0] x_at = x_exponent - $signed({1'b0, x_lead});
    wire signed [WIDE-1:0] y_at = y_exponent - $signed({1'b0, y_lead});

    // the number of the larger exponent stays, the other moves right and leaves a sticky bit
    wire x_zero = x == 0, y_zero = y == 0;
    wire x_stays = y_zero || (!x_zero && x_at >= y_at);
    wire [N-1:0] high = x_stays ? x_one : y_one;
    wire [N-1:0] low = x_stays ? y_one : x_one;
    wire high_sign = x_stays ? x_sign : y_sign;
    wire low_sign = x_stays ? y_sign : x_sign;
    wire signed [WIDE-1:0] high_at = x_stays ? x_at : y_at;
    wire signed [WIDE-1:0] apart = high_at - (x_stays ? y_at : x_at);
    wire far = apart > N + 3;
    wire [SUM_BITS-1:0] high_wide = {1'b0, high, 3'b000};
    wire [SUM_BITS-1:0] low_wide = {1'b0, low, 3'b000};
    wire [SUM_BITS-1:0] moved = far ? {SUM_BITS{1'b0}} : low_wide >> apart;
    wire lost = far ? low != 0 : (moved << apart) != low_wide;
    wire [SUM_BITS-1:0] jammed = {moved[SUM_BITS-1:1], moved[0] | lost};
    wire [SUM_BITS:0] difference = {1'b0, high_wide} - {1'b0, jammed};
    wire turned = difference[SUM_BITS];          // the other number was the larger one
    wire [SUM_BITS-1:0] total = high_sign == low_sign ? high_wide + jammed
        : turned ? -difference[SUM_BITS-1:0] : difference[SUM_BITS-1:0];
    wire total_sign = high_sign == low_sign ? high_sign : high_sign ^ turned;

    // round where the format's last place is
    reg [COUNT_BITS-1:0] length;
    integer k;
    always @* begin
        length = {COUNT_BITS{1'b0}};
        for (k = 0; k < SUM_BITS; k = k + 1)
            if (total[k]) length = k + 1;
    end
    wire signed [WIDE-1:0] unit = high_at - 3;   // exponent of the total's last bit
    wire signed [WIDE-1:0] normal_at = unit + $signed({1'b0, length}) - KEPT;
    wire signed [WIDE-1:0] at = normal_at > FLOOR ? normal_at : FLOOR;
    wire signed [WIDE-1:0] right = at - unit, left = unit - at;
    wire grows = unit > at;                      // exact: zeros come in on the right
    wire gone = right > SUM_BITS;                // far below the format's smallest number
    wire [SUM_BITS-1:0] kept = grows ? total << left
        : gone ? {SUM_BITS{1'b0}} : total >> right;
    wire [SUM_BITS-1:0] half =
        grows || gone ? {SUM_BITS{1'b0}} : ({{(SUM_BITS-1){1'b0}}, 1'b1} << right) >> 1;
    wire round_bit = (total & half) != 0 || (right == SUM_BITS && total[SUM_BITS-1]);
    wire rest = (total & (right == SUM_BITS ? {1'b0, {(SUM_BITS-1){1'b1}}} : half - 1'b1)) != 0;
    wire [BITS:0] rounded = kept[BITS-1:0] + (round_bit && (rest || kept[0]));
    wire carried = rounded[BITS];
    wire [BITS-1:0] significand = carried ? rounded[BITS:1] : rounded[BITS-1:0];
    wire signed [WIDE-1:0] place = carried ? at + 1 : at;
    wire over = significand != 0 && (place > TOP || (place == TOP && significand > LARGEST));

    assign nan = x_nan || y_nan || (x_infinite && y_infinite && x_sign != y_sign);
    wire given = (x_infinite || y_infinite) && !nan;
    assign infinite = given || (!nan && over && !SATURATE);
    assign sum = over ? LARGEST : significand;
    assign exponent = significand == 0 ? FLOOR : over ? TOP : place;
    assign sign = given ? (x_infinite ? x_sign : y_sign) : significand != 0 && total_sign;
endmodule
