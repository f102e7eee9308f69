// The edge of the rows: turns weights into terms, a term of every lane a clock, and says when.
//
// A chunk of LANES weights, those of all rows, stays at the inputs until chunk_ready. What it says
// of a term travels beside the data: it leaves here when the term is at the stage that needs it.
// A group's last term waits until the rescale units will be free for its sum, so that nothing
// behind this stage ever stops.
module term_stage #(
    parameter LANES = 4,
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
    output reg                          live,         // the clock has a term, here and below
    output reg  [LANES-1:0]             sign,         // 1: it is subtracted
    output reg  [LANES-1:0]             present,
    output reg  [2*LANES-1:0]           exponent,
    output wire                         add,          // for the accumulator: a term is there
    output wire                         add_first,    // the first one of its group
    output wire [SHIFT_BITS-1:0]        significance, // of the term that is there
    output reg                          sum_valid,    // a group's sum is in the accumulator
    output reg  [SCALES_BITS-1:0]       sum_scales    // and these are its scales
);
    localparam INDEX_BITS = TERMS > 1 ? $clog2(TERMS) : 1;
    localparam STAGES = 6;                       // from here to the accumulator

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
    reg [TERMS-1:0] chunk_present;
    integer i;
    always @* begin
        chunk_present = {TERMS{1'b0}};
        for (i = 0; i < LANES; i = i + 1)
            chunk_present = chunk_present | term_present[i*TERMS +: TERMS];
    end
    wire issue, issue_first, issue_last, issue_live;
    wire [INDEX_BITS-1:0] index;
    term_sequencer #(.TERMS(TERMS), .SKIP(SKIP), .GAP(GAP), .UNIT(UNIT)) sequencer (
        .clk(clk), .rst(rst),
        .chunk_valid(in_valid), .chunk_first(in_first), .chunk_last(in_last),
        .present(chunk_present), .chunk_ready(in_ready),
        .issue(issue), .issue_first(issue_first), .issue_last(issue_last),
        .live(issue_live), .index(index)
    );

    integer j;
    always @(posedge clk) begin
        live <= issue_live;
        for (j = 0; j < LANES; j = j + 1) begin
            sign[j] <= term_sign[j*TERMS + index];
            present[j] <= term_present[j*TERMS + index];
            exponent[2*j +: 2] <= term_exponent[2*(j*TERMS + index) +: 2];
        end
    end

    // stage s holds what is s clocks behind the register above
    reg [STAGES-1:0]             valid, last;
    reg [STAGES-2:0]             first;
    reg [(STAGES-1)*SHIFT_BITS-1:0] shifts;
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
        shifts <= {shifts[(STAGES-2)*SHIFT_BITS-1:0],
                   SIGNIFICANCES[index*SHIFT_BITS +: SHIFT_BITS]};
        waiting <= {waiting[(STAGES-1)*SCALES_BITS-1:0], scales};
        sum_scales <= waiting[(STAGES-1)*SCALES_BITS +: SCALES_BITS];
    end
    assign add = valid[STAGES-2];
    assign add_first = valid[STAGES-2] && first[STAGES-2];
    assign significance = shifts[(STAGES-2)*SHIFT_BITS +: SHIFT_BITS];
endmodule
