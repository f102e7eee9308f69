// A weight stationary systolic array with its control and its buffers. Weights are shifted in over
// the bottom edge, a row a clock, beside the fold before; inputs move right, sums down, one PE a
// clock. A sum that leaves a column is the first of its result, or joins what a buffer keeps of it.
//
// A row of input with load_input or load_weight writes a word of a buffer: one operand for each row
// or column of PEs. Any other row is a fold: it stays until its weights are there and the fold
// before has left the array; then it streams `length` words of inputs. It uses the lowest rows of
// the array and the first columns, and takes length + used_rows + used_columns - 2 clocks.
module stationary_array #(
    parameter ROWS = 2,
    parameter COLUMNS = 2,
    parameter ACTIVATION_BITS = 8,
    parameter WEIGHT_BITS = 8,
    parameter SUM_BITS = 32,
    parameter SATURATE = 1,
    parameter WORDS = 64,                        // of each buffer
    parameter ADDRESS_BITS = $clog2(WORDS),
    parameter LENGTH_BITS = $clog2(WORDS + 1),
    parameter ROWS_BITS = $clog2(ROWS + 1),
    parameter COLUMNS_BITS = $clog2(COLUMNS + 1)
) (
    input  wire                            clk,
    input  wire                            rst,
    input  wire                            in_valid,
    input  wire                            load_input,
    input  wire                            load_weight,
    input  wire [ADDRESS_BITS-1:0]         input_address,   // of the word, or a fold's first one
    input  wire [ADDRESS_BITS-1:0]         weight_address,
    input  wire [LENGTH_BITS-1:0]          length,
    input  wire [ROWS_BITS-1:0]            used_rows,
    input  wire [COLUMNS_BITS-1:0]         used_columns,
    input  wire                            in_first,        // its sums are the first of results
    input  wire                            in_shown,        // its sums are shown
    input  wire [ROWS*ACTIVATION_BITS-1:0] activations,     // a word of inputs, used rows first
    input  wire [COLUMNS*WEIGHT_BITS-1:0]  weights,
    output wire                            in_ready,
    output wire [COLUMNS-1:0]              sum_valid,       // of each column
    output wire [COLUMNS*SUM_BITS-1:0]     sums
);
    localparam COUNT_BITS = $clog2(WORDS + ROWS + COLUMNS) + 1;

    // control: the fold that is offered loads, the one before streams
    reg [ROWS_BITS-1:0]    loaded, rows_0, rows_1;
    reg [COLUMNS_BITS-1:0] columns_0, columns_1, columns_2;
    reg [LENGTH_BITS-1:0]  length_0;
    reg [ADDRESS_BITS-1:0] input_0;
    reg [COUNT_BITS-1:0]   count;
    reg streams, first_0, first_1, first_2, shown_0, shown_1, shown_2;
    reg starts_1, starts_2, loads_1;
    wire runs = in_valid && !load_input && !load_weight;
    wire loads = runs && loaded < used_rows;
    wire [COUNT_BITS-1:0] clocks = length_0 + rows_0 + columns_0;
    wire ends = streams && count + 3 >= clocks;
    wire starts = runs && (!streams || ends) && loaded + loads >= used_rows;
    assign in_ready = !runs || starts;
    always @(posedge clk)
        if (rst) begin
            loaded <= {ROWS_BITS{1'b0}};
            count <= {COUNT_BITS{1'b0}};
            streams <= 1'b0;
            starts_1 <= 1'b0;
            starts_2 <= 1'b0;
            loads_1 <= 1'b0;
            rows_0 <= {ROWS_BITS{1'b0}};
            rows_1 <= {ROWS_BITS{1'b0}};         // nothing is fed
        end else begin
            loaded <= starts ? {ROWS_BITS{1'b0}} : loaded + loads;
            count <= starts ? {COUNT_BITS{1'b0}} : count + 1'b1;
            streams <= starts || (streams && !ends);
            starts_1 <= starts;
            starts_2 <= starts_1;
            loads_1 <= loads;
            if (starts) rows_0 <= used_rows;
            rows_1 <= rows_0;                    // of the word at the edge
        end
    always @(posedge clk) begin
        if (starts) begin
            columns_0 <= used_columns;
            length_0 <= length;
            input_0 <= input_address;
            first_0 <= in_first;
            shown_0 <= in_shown;
        end
        {columns_2, columns_1} <= {columns_1, columns_0};
        {first_2, first_1} <= {first_1, first_0};  // of the sums that leave
        {shown_2, shown_1} <= {shown_1, shown_0};
    end

    // buffers
    wire [ROWS*ACTIVATION_BITS-1:0] input_word;
    wire [COLUMNS*WEIGHT_BITS-1:0]  weight_word;
    wire [ADDRESS_BITS-1:0] input_from = input_0 + count, weight_from = weight_address + loaded;
    wire reads = streams && count < length_0;
    memory #(.WORDS(WORDS), .BITS(ROWS*ACTIVATION_BITS)) inputs (
        .clk(clk), .write(in_valid && load_input), .write_address(input_address),
        .written(activations), .read(reads), .read_address(input_from), .word(input_word)
    );
    memory #(.WORDS(WORDS), .BITS(COLUMNS*WEIGHT_BITS)) stationary (
        .clk(clk), .write(in_valid && load_weight), .write_address(weight_address),
        .written(weights), .read(loads), .read_address(weight_from), .word(weight_word)
    );
    reg word_valid;
    always @(posedge clk) word_valid <= reads && !rst;

    // weights that wait move up from the bottom; they come into use where the next fold starts
    localparam ROW_BITS = COLUMNS * WEIGHT_BITS;
    reg [ROWS*ROW_BITS-1:0] waiting, used;
    wire [(ROWS+1)*ROW_BITS-1:0] pushed = {weight_word, waiting};
    wire [ROWS*ROW_BITS-1:0] next_waiting = loads_1 ? pushed[ROW_BITS +: ROWS*ROW_BITS] : waiting;
    always @(posedge clk) begin
        waiting <= next_waiting;
        if (starts_1) used <= next_waiting;
    end

    // each used row starts a clock behind the one above; used ones lie at the bottom
    localparam LANE = ACTIVATION_BITS + 1;
    wire [ROWS*LANE-1:0] skewed;
    wire [ROWS_BITS-1:0] unused = ROWS - rows_1;
    wire [ROWS*LANE-1:0] fed = skewed << unused * LANE;
    wire [ROWS*(COLUMNS+1)*ACTIVATION_BITS-1:0] right;  // from PE to PE
    wire [ROWS*(COLUMNS+1)-1:0]                 valid;
    wire [(ROWS+1)*COLUMNS*SUM_BITS-1:0]        down;
    assign down[0 +: COLUMNS*SUM_BITS] = {COLUMNS*SUM_BITS{1'b0}};
    genvar r, c;
    generate
        for (r = 0; r < ROWS; r = r + 1) begin : row
            delay #(.CLOCKS(r), .BITS(LANE)) skew (
                .clk(clk), .rst(rst),
                .now({word_valid && r < rows_1, input_word[r*ACTIVATION_BITS +: ACTIVATION_BITS]}),
                .later(skewed[r*LANE +: LANE])
            );
            assign {valid[r*(COLUMNS+1)],
                    right[r*(COLUMNS+1)*ACTIVATION_BITS +: ACTIVATION_BITS]} = fed[r*LANE +: LANE];
            for (c = 0; c < COLUMNS; c = c + 1) begin : column
                localparam HERE = r*(COLUMNS+1) + c;
                delay #(.CLOCKS(1), .BITS(LANE)) to_right (
                    .clk(clk), .rst(rst || starts_1),
                    .now({valid[HERE], right[HERE*ACTIVATION_BITS +: ACTIVATION_BITS]}),
                    .later({valid[HERE+1], right[(HERE+1)*ACTIVATION_BITS +: ACTIVATION_BITS]})
                );
                stationary_pe pe (
                    .clk(clk), .in_valid(valid[HERE]),
                    .activation(right[HERE*ACTIVATION_BITS +: ACTIVATION_BITS]),
                    .weight(used[(r*COLUMNS+c)*WEIGHT_BITS +: WEIGHT_BITS]),
                    .above(down[(r*COLUMNS+c)*SUM_BITS +: SUM_BITS]),
                    .sum(down[((r+1)*COLUMNS+c)*SUM_BITS +: SUM_BITS])
                );
            end
        end
    endgenerate

    // what leaves a column joins its result, which a buffer keeps until the next row of folds
    generate
        for (c = 0; c < COLUMNS; c = c + 1) begin : result
            reg leaves;
            reg [ADDRESS_BITS-1:0] place;
            reg [SUM_BITS-1:0] kept [0:WORDS-1];
            wire [SUM_BITS-1:0] left = down[(ROWS*COLUMNS+c)*SUM_BITS +: SUM_BITS];
            wire [SUM_BITS-1:0] old = kept[place];
            wire [SUM_BITS-1:0] joined;
            bounded_add #(
                .X_BITS(SUM_BITS), .Y_BITS(SUM_BITS), .BITS(SUM_BITS), .SATURATE(SATURATE)
            ) join_old (.x(old), .y(left), .sum(joined));
            wire taken = leaves && c < columns_2;
            wire [SUM_BITS-1:0] whole = first_2 ? left : joined;
            always @(posedge clk) begin
                leaves <= !rst && valid[(ROWS-1)*(COLUMNS+1) + c];
                if (rst || starts_2) place <= {ADDRESS_BITS{1'b0}};
                else if (taken) place <= place + 1'b1;
                if (taken) kept[place] <= whole;
            end
            assign sum_valid[c] = taken && shown_2;
            assign sums[c*SUM_BITS +: SUM_BITS] = whole;
        end
    endgenerate
endmodule
