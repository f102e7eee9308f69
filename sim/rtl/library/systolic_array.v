// An output stationary systolic array with its control and its buffers. Inputs move right, weights
// down, one PE a clock; each PE keeps a sum. A row of results leaves a clock, beside the next fold.
//
// A row of input with load_input or load_weight writes a word of a buffer: one operand for each row
// or column of PEs. Any other row runs a fold, `length` words long, and stays until in_ready. Of
// the array the fold uses so many rows and columns, and takes
// length + used_rows + used_columns - 2 clocks, or waits for the results before it to leave.
module systolic_array #(
    parameter ROWS = 2,
    parameter COLUMNS = 2,
    parameter ACTIVATION_BITS = 8,
    parameter WEIGHT_BITS = 8,
    parameter SUM_BITS = 32,
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
    input  wire [ROWS*ACTIVATION_BITS-1:0] activations,     // a word of inputs
    input  wire [COLUMNS*WEIGHT_BITS-1:0]  weights,
    output wire                            in_ready,
    output wire                            row_valid,
    output wire [COLUMNS*SUM_BITS-1:0]     sums             // of a row, 0 beyond used_columns
);
    localparam COUNT_BITS = $clog2(WORDS + 2*ROWS + COLUMNS) + 1;

    // control: which word of the fold is read, and when its last product is made
    reg [COUNT_BITS-1:0] count;
    reg [ROWS_BITS:0]    leaving;                // clocks until the rows of older folds are gone
    wire runs = in_valid && !load_input && !load_weight;
    wire reads = runs && count < length;
    wire [COUNT_BITS-1:0] clocks = length + used_rows + used_columns;
    wire ends = runs && count + 3 >= clocks && leaving <= 2;
    assign in_ready = !runs || ends;
    reg                 hands_over_1, hands_over; // the sums are whole in the clock after next
    reg [ROWS_BITS-1:0] rows_1, rows_2, rows_left;
    always @(posedge clk)
        if (rst) begin
            count <= {COUNT_BITS{1'b0}};
            leaving <= {(ROWS_BITS+1){1'b0}};
            hands_over_1 <= 1'b0;
            hands_over <= 1'b0;
            rows_left <= {ROWS_BITS{1'b0}};
        end else begin
            count <= runs && !ends ? count + 1'b1 : {COUNT_BITS{1'b0}};
            if (ends) leaving <= used_rows + 1'b1;
            else if (leaving != 0) leaving <= leaving - 1'b1;
            hands_over_1 <= ends;
            hands_over <= hands_over_1;
            if (hands_over) rows_left <= rows_2 - 1'b1;
            else if (rows_left != 0) rows_left <= rows_left - 1'b1;
        end
    reg [COLUMNS_BITS-1:0] columns_1, columns_2, columns_held;
    wire [COLUMNS_BITS-1:0] columns_shown = hands_over ? columns_2 : columns_held;
    always @(posedge clk) begin
        rows_1 <= used_rows;
        rows_2 <= rows_1;
        columns_1 <= used_columns;
        columns_2 <= columns_1;
        columns_held <= columns_shown;
    end

    // buffers; what goes with the word that was read
    wire [ROWS*ACTIVATION_BITS-1:0] input_word;
    wire [COLUMNS*WEIGHT_BITS-1:0]  weight_word;
    wire [ADDRESS_BITS-1:0] input_from = input_address + count;
    wire [ADDRESS_BITS-1:0] weight_from = weight_address + count;
    memory #(.WORDS(WORDS), .BITS(ROWS*ACTIVATION_BITS)) inputs (
        .clk(clk), .write(in_valid && load_input), .write_address(input_address),
        .written(activations), .read(reads), .read_address(input_from), .word(input_word)
    );
    memory #(.WORDS(WORDS), .BITS(COLUMNS*WEIGHT_BITS)) stationary (
        .clk(clk), .write(in_valid && load_weight), .write_address(weight_address),
        .written(weights), .read(reads), .read_address(weight_from), .word(weight_word)
    );
    reg word_valid, word_first;
    always @(posedge clk) begin
        word_valid <= reads && !rst;
        word_first <= count == 0;
    end

    // row r starts r clocks after the first one, column c as many
    wire [ROWS*(COLUMNS+1)*ACTIVATION_BITS-1:0] right;  // from PE to PE
    wire [(ROWS+1)*COLUMNS*WEIGHT_BITS-1:0]     down;
    wire [ROWS*(COLUMNS+1)-1:0]                 valid, first;
    wire [ROWS*COLUMNS*SUM_BITS-1:0]            sum;
    genvar r, c;
    generate
        for (r = 0; r < ROWS; r = r + 1) begin : row_edge
            delay #(.CLOCKS(r), .BITS(ACTIVATION_BITS + 2)) skew (
                .clk(clk), .rst(rst),
                .now({word_valid, word_first, input_word[r*ACTIVATION_BITS +: ACTIVATION_BITS]}),
                .later({valid[r*(COLUMNS+1)], first[r*(COLUMNS+1)],
                        right[r*(COLUMNS+1)*ACTIVATION_BITS +: ACTIVATION_BITS]})
            );
        end
        for (c = 0; c < COLUMNS; c = c + 1) begin : column_edge
            delay #(.CLOCKS(c), .BITS(WEIGHT_BITS)) skew (
                .clk(clk), .rst(rst), .now(weight_word[c*WEIGHT_BITS +: WEIGHT_BITS]),
                .later(down[c*WEIGHT_BITS +: WEIGHT_BITS])
            );
        end
        for (r = 0; r < ROWS; r = r + 1) begin : row
            for (c = 0; c < COLUMNS; c = c + 1) begin : column
                localparam HERE = r*(COLUMNS+1) + c, BELOW = (r+1)*COLUMNS + c;
                delay #(.CLOCKS(1), .BITS(ACTIVATION_BITS + 2)) to_right (
                    .clk(clk), .rst(rst),
                    .now({valid[HERE], first[HERE],
                          right[HERE*ACTIVATION_BITS +: ACTIVATION_BITS]}),
                    .later({valid[HERE+1], first[HERE+1],
                            right[(HERE+1)*ACTIVATION_BITS +: ACTIVATION_BITS]})
                );
                delay #(.CLOCKS(1), .BITS(WEIGHT_BITS)) to_below (
                    .clk(clk), .rst(rst), .now(down[(r*COLUMNS+c)*WEIGHT_BITS +: WEIGHT_BITS]),
                    .later(down[BELOW*WEIGHT_BITS +: WEIGHT_BITS])
                );
                systolic_pe pe (
                    .clk(clk), .rst(rst), .in_valid(valid[HERE]), .in_first(first[HERE]),
                    .activation(right[HERE*ACTIVATION_BITS +: ACTIVATION_BITS]),
                    .weight(down[(r*COLUMNS+c)*WEIGHT_BITS +: WEIGHT_BITS]),
                    .sum(sum[(r*COLUMNS+c)*SUM_BITS +: SUM_BITS])
                );
            end
        end
    endgenerate

    // the first row leaves from its PEs, the others move up a row a clock behind it
    localparam ROW_BITS = COLUMNS * SUM_BITS;
    reg [ROWS*ROW_BITS-1:0] drain;
    wire [ROWS*ROW_BITS-1:0] source = hands_over ? sum : drain;
    always @(posedge clk) drain <= source >> ROW_BITS;
    assign row_valid = hands_over || rows_left != 0;
    generate
        for (c = 0; c < COLUMNS; c = c + 1) begin : shown
            assign sums[c*SUM_BITS +: SUM_BITS] =
                c < columns_shown ? source[c*SUM_BITS +: SUM_BITS] : {SUM_BITS{1'b0}};
        end
    endgenerate
endmodule
