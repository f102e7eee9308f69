// The edge of the rows: turns weights into terms, a term of every lane a clock, and says when.
//
// A chunk of LANES weights, those of all rows, stays at the inputs until chunk_ready. What it says
// of a term travels beside the data: it leaves here when the term is at the stage that needs it.
// A group's last term waits until the rescale units will be free for its sum, so that nothing
// behind this stage ever stops.
module term_stage #(
    parameter LANES = 4,                         // of all rows
    parameter STREAMS = 1,                       // rows that leave out terms of their own
    parameter WEIGHT_BITS = 8,                   // of an integer on the weights' grid
    parameter TERMS = 4,                         // clocks of a chunk
    parameter SHIFT_BITS = 3,                    // of a significance
    parameter [TERMS*SHIFT_BITS-1:0] SIGNIFICANCES = 0,  // of each clock, the first one lowest
    parameter SKIP = 0,                          // 1: leave out terms that no lane has
    parameter GAP = 0,                           // clocks between groups
    parameter UNIT = 0,                          // clocks of a rescale unit
    parameter SCALES_BITS = 8                    // of the scales of all rows
) (
    input  wire                         clk,
    input  wire                         rst,
    input  wire                         in_valid,
    input  wire                         in_first,     // first chunk of a group
    input  wire                         in_last,      // last chunk of a group
    input  wire [LANES*WEIGHT_BITS-1:0] weights,
    input  wire [SCALES_BITS-1:0]       scales,       // read with the last chunk
    output wire                         in_ready,     // the chunk is taken
    output reg  [STREAMS-1:0]           live,         // the clock has a term, here and below
    output reg  [LANES-1:0]             sign,         // 1: it is subtracted
    output reg  [LANES-1:0]             present,
    output reg  [2*LANES-1:0]           exponent,
    output wire                         add,          // for the accumulator: a term is there
    output wire                         add_first,    // the first one of its group
    output wire [STREAMS*SHIFT_BITS-1:0] significance, // of the term that is there
    output reg                          sum_valid,    // a group's sum is in the accumulator
    output reg  [SCALES_BITS-1:0]       sum_scales    // and these are its scales
);
    localparam INDEX_BITS = TERMS > 1 ? $clog2(TERMS) : 1;
    localparam STAGES = 6;                       // from here to the accumulator
    localparam EACH = LANES / STREAMS;           // lanes
    localparam SHIFTS_BITS = STREAMS * SHIFT_BITS;

    wire [LANES*TERMS-1:0]   term_sign, term_present;
    wire [2*LANES*TERMS-1:0] term_exponent;
    genvar n;
    generate
        for (n = 0; n < LANES; n = n + 1) begin : lane
            term_encoder encoder (
                .weight(weights[n*WEIGHT_BITS +: WEIGHT_BITS]),
                .sign(term_sign[n*TERMS +: TERMS]),
                .present(term_present[n*TERMS +: TERMS]),
                .exponent(term_exponent[2*n*TERMS +: 2*TERMS])
            );
        end
    endgenerate

    // which term enters
    reg [STREAMS*TERMS-1:0] chunk_present;
    integer i;
    always @* begin
        chunk_present = {STREAMS*TERMS{1'b0}};
        for (i = 0; i < LANES; i = i + 1)
            chunk_present[i/EACH*TERMS +: TERMS] =
                chunk_present[i/EACH*TERMS +: TERMS] | term_present[i*TERMS +: TERMS];
    end
    wire issue, issue_first, issue_last;
    wire [STREAMS-1:0] issue_live;
    wire [STREAMS*INDEX_BITS-1:0] index;
    term_sequencer #(
        .TERMS(TERMS), .STREAMS(STREAMS), .SKIP(SKIP), .GAP(GAP), .UNIT(UNIT)
    ) sequencer (
        .clk(clk), .rst(rst),
        .chunk_valid(in_valid), .chunk_first(in_first), .chunk_last(in_last),
        .present(chunk_present), .chunk_ready(in_ready),
        .issue(issue), .issue_first(issue_first), .issue_last(issue_last),
        .live(issue_live), .index(index)
    );

    integer j;
    reg [INDEX_BITS-1:0] at;
    reg [SHIFTS_BITS-1:0] issue_shifts;
    always @* begin
        at = {INDEX_BITS{1'b0}};
        for (j = 0; j < STREAMS; j = j + 1) begin
            at = index[j*INDEX_BITS +: INDEX_BITS];
            issue_shifts[j*SHIFT_BITS +: SHIFT_BITS] = SIGNIFICANCES[at*SHIFT_BITS +: SHIFT_BITS];
        end
    end
    genvar k;
    generate
        for (k = 0; k < LANES; k = k + 1) begin : chosen
            wire [INDEX_BITS-1:0] term = index[k/EACH*INDEX_BITS +: INDEX_BITS];
            always @(posedge clk) begin
                sign[k] <= term_sign[k*TERMS + term];
                present[k] <= term_present[k*TERMS + term];
                exponent[2*k +: 2] <= term_exponent[2*(k*TERMS + term) +: 2];
            end
        end
    endgenerate
    always @(posedge clk) live <= issue_live;

    // stage s holds what is s clocks behind the register above
    reg [STAGES-1:0]             valid, last;
    reg [STAGES-2:0]             first;
    reg [(STAGES-1)*SHIFTS_BITS-1:0] shifts;
    reg [STAGES*SCALES_BITS-1:0] waiting;
    always @(posedge clk)
        if (rst) begin
            valid <= {STAGES{1'b0}};
            sum_valid <= 1'b0;
        end else begin
            valid <= {valid[STAGES-2:0], issue};
            sum_valid <= valid[STAGES-1] && last[STAGES-1];
        end
    always @(posedge clk) begin
        first <= {first[STAGES-3:0], issue_first};
        last <= {last[STAGES-2:0], issue_last};
        shifts <= {shifts[(STAGES-2)*SHIFTS_BITS-1:0], issue_shifts};
        waiting <= {waiting[(STAGES-1)*SCALES_BITS-1:0], scales};
        sum_scales <= waiting[(STAGES-1)*SCALES_BITS +: SCALES_BITS];
    end
    assign add = valid[STAGES-2];
    assign add_first = valid[STAGES-2] && first[STAGES-2];
    assign significance = shifts[(STAGES-2)*SHIFTS_BITS +: SHIFTS_BITS];
endmodule
