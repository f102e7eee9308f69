// Steps through the terms of a chunk of weights, one a clock, and waits between groups: GAP clocks
// after each, and the last term of a group until UNIT clocks after that of the group before.
//
// Without SKIP every chunk takes TERMS clocks. With SKIP terms that are zero in all lanes are left
// out; a chunk of zeros still takes one clock, in which nothing is live.
module term_sequencer #(
    parameter TERMS = 4,                         // clocks of a chunk
    parameter SKIP = 0,                          // 1: leave out terms that no lane has
    parameter GAP = 0,                           // clocks between groups
    parameter UNIT = 0,                          // clocks of the unit that takes a group's sum
    parameter INDEX_BITS = TERMS > 1 ? $clog2(TERMS) : 1,
    parameter GAP_BITS = GAP > 0 ? $clog2(GAP + 1) : 1,
    parameter BUSY_BITS = UNIT > 1 ? $clog2(UNIT) : 1
) (
    input  wire                  clk,
    input  wire                  rst,
    input  wire                  chunk_valid,
    input  wire                  chunk_first,    // first chunk of a group
    input  wire                  chunk_last,     // last chunk of a group
    input  wire [TERMS-1:0]      present,        // terms that some lane of the chunk has
    output wire                  chunk_ready,    // the chunk is done with after this clock
    output wire                  issue,          // a term enters the pipeline in this clock
    output wire                  issue_first,    // the first one of its group
    output wire                  issue_last,     // the last one of its group
    output wire                  live,           // it is not a chunk of zeros passing
    output wire [INDEX_BITS-1:0] index           // which term
);
    reg [INDEX_BITS-1:0] position;               // terms below it are done with
    reg [GAP_BITS-1:0] gap_left;
    reg [BUSY_BITS-1:0] busy_left;               // clocks until the unit takes another sum
    wire gap_over = gap_left == {GAP_BITS{1'b0}};
    wire free = busy_left == {BUSY_BITS{1'b0}};
    wire more;                                   // the chunk has terms after this one

    generate
        if (SKIP) begin : skipping
            reg found, further;
            reg [INDEX_BITS-1:0] lowest;
            integer i;
            always @* begin
                found = 1'b0;
                further = 1'b0;
                lowest = {INDEX_BITS{1'b0}};
                for (i = 0; i < TERMS; i = i + 1)
                    if (present[i] && i >= position) begin
                        if (found) further = 1'b1;
                        else lowest = i[INDEX_BITS-1:0];
                        found = 1'b1;
                    end
            end
            assign index = lowest;
            assign live = found;
            assign more = further;
        end else begin : stepping
            assign index = position;
            assign live = 1'b1;
            assign more = position != TERMS - 1;
        end
    endgenerate

    assign issue_first = chunk_first && position == {INDEX_BITS{1'b0}};
    assign issue_last = chunk_last && !more;
    wire go = gap_over && (free || !issue_last);
    assign issue = chunk_valid && go;
    assign chunk_ready = go && !more;

    always @(posedge clk)
        if (rst) begin
            position <= {INDEX_BITS{1'b0}};
            gap_left <= {GAP_BITS{1'b0}};
            busy_left <= {BUSY_BITS{1'b0}};
        end else begin
            if (!gap_over)
                gap_left <= gap_left - 1'b1;
            else if (issue) begin
                position <= more ? index + 1'b1 : {INDEX_BITS{1'b0}};
                if (issue_last) gap_left <= GAP[GAP_BITS-1:0];
            end
            if (issue && issue_last)
                busy_left <= UNIT > 1 ? UNIT - 1 : 0;
            else if (!free)
                busy_left <= busy_left - 1'b1;
        end
endmodule
