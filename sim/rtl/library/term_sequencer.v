// Steps through the terms of a chunk of weights, one a clock, and waits between groups: GAP clocks
// after each, and the last term of a group until UNIT clocks after that of the group before.
//
// Without SKIP every chunk takes TERMS clocks. With SKIP terms that are zero in all lanes are left
// out; a chunk of zeros still takes one clock, in which nothing is live. Streams, the rows of an
// array, each step through terms of their own and go to the next chunk together: one that has none
// left is not live until the longest is done.
module term_sequencer #(
    parameter TERMS = 4,                         // clocks of a chunk
    parameter STREAMS = 1,                       // with SKIP: of terms
    parameter SKIP = 0,                          // 1: leave out terms that no lane has
    parameter GAP = 0,                           // clocks between groups
    parameter UNIT = 0,                          // clocks of the unit that takes a group's sum
    parameter INDEX_BITS = TERMS > 1 ? $clog2(TERMS) : 1,
    parameter PLACE_BITS = STREAMS > 1 ? $clog2(TERMS + 1) : INDEX_BITS,
    parameter GAP_BITS = GAP > 0 ? $clog2(GAP + 1) : 1,
    parameter BUSY_BITS = UNIT > 1 ? $clog2(UNIT) : 1
) (
    input  wire                  clk,
    input  wire                  rst,
    input  wire                  chunk_valid,
    input  wire                  chunk_first,    // first chunk of a group
    input  wire                  chunk_last,     // last chunk of a group
    input  wire [STREAMS*TERMS-1:0] present,     // terms that some lane of the chunk has
    output wire                  chunk_ready,    // the chunk is done with after this clock
    output wire                  issue,          // a term enters the pipeline in this clock
    output wire                  issue_first,    // the first one of its group
    output wire                  issue_last,     // the last one of its group
    output wire [STREAMS-1:0]    live,           // it is a term, not zeros passing
    output wire [STREAMS*INDEX_BITS-1:0] index   // which term
);
    reg [STREAMS*PLACE_BITS-1:0] position;       // terms below it are done with
    reg [GAP_BITS-1:0] gap_left;
    reg [BUSY_BITS-1:0] busy_left;               // clocks until the unit takes another sum
    wire gap_over = gap_left == {GAP_BITS{1'b0}};
    wire free = busy_left == {BUSY_BITS{1'b0}};
    wire more;                                   // the chunk has terms after this one

    wire [STREAMS*PLACE_BITS-1:0] following;     // position after this clock, within the chunk

    genvar n;
    generate
        if (SKIP) begin : skipping
            wire [STREAMS-1:0] further;
            assign more = |further;
            for (n = 0; n < STREAMS; n = n + 1) begin : stream
                wire [PLACE_BITS-1:0] from = position[n*PLACE_BITS +: PLACE_BITS];
                reg found, another;
                reg [INDEX_BITS-1:0] lowest;
                integer i;
                always @* begin
                    found = 1'b0;
                    another = 1'b0;
                    lowest = {INDEX_BITS{1'b0}};
                    for (i = 0; i < TERMS; i = i + 1)
                        if (present[n*TERMS + i] && i >= from) begin
                            if (found) another = 1'b1;
                            else lowest = i[INDEX_BITS-1:0];
                            found = 1'b1;
                        end
                end
                wire [PLACE_BITS-1:0] taken = lowest;
                assign index[n*INDEX_BITS +: INDEX_BITS] = lowest;
                assign live[n] = found;
                assign further[n] = another;
                assign following[n*PLACE_BITS +: PLACE_BITS] =
                    STREAMS > 1 && !found ? from : taken + 1'b1;
            end
        end else begin : stepping
            assign index = position;
            assign live = 1'b1;
            assign more = position != TERMS - 1;
            assign following = position + 1'b1;
        end
    endgenerate

    assign issue_first = chunk_first && position == {STREAMS*PLACE_BITS{1'b0}};
    assign issue_last = chunk_last && !more;
    wire go = gap_over && (free || !issue_last);
    assign issue = chunk_valid && go;
    assign chunk_ready = go && !more;

    always @(posedge clk)
        if (rst) begin
            position <= {STREAMS*PLACE_BITS{1'b0}};
            gap_left <= {GAP_BITS{1'b0}};
            busy_left <= {BUSY_BITS{1'b0}};
        end else begin
            if (!gap_over)
                gap_left <= gap_left - 1'b1;
            else if (issue) begin
                position <= more ? following : {STREAMS*PLACE_BITS{1'b0}};
                if (issue_last) gap_left <= GAP[GAP_BITS-1:0];
            end
            if (issue && issue_last)
                busy_left <= UNIT > 1 ? UNIT - 1 : 0;
            else if (!free)
                busy_left <= busy_left - 1'b1;
        end
endmodule
