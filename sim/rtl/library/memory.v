// A memory of words with one port to write and one to read. A word that is asked for is there in
// the clock after; one that is written at the same time is still the old one.
module memory #(
    parameter WORDS = 16,
    parameter BITS = 8,
    parameter ADDRESS_BITS = WORDS > 1 ? $clog2(WORDS) : 1
) (
    input  wire                    clk,
    input  wire                    write,
    input  wire [ADDRESS_BITS-1:0] write_address,
    input  wire [BITS-1:0]         written,
    input  wire                    read,         // else the word that was read last stays
    input  wire [ADDRESS_BITS-1:0] read_address,
    output reg  [BITS-1:0]         word
);
    reg [BITS-1:0] words [0:WORDS-1];
    always @(posedge clk) begin
        if (write) words[write_address] <= written;
        if (read) word <= words[read_address];
    end
endmodule
