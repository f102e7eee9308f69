// What was there some clocks ago; 0 after a reset.
module delay #(
    parameter CLOCKS = 1,
    parameter BITS = 8
) (
    input  wire            clk,
    input  wire            rst,
    input  wire [BITS-1:0] now,
    output wire [BITS-1:0] later
);
    generate
        if (CLOCKS == 0) begin : wires
            assign later = now;
        end else begin : registers
            localparam WIDTH = CLOCKS * BITS;
            reg [WIDTH-1:0] past;
            wire [WIDTH+BITS-1:0] all = {past, now};
            always @(posedge clk) past <= rst ? {WIDTH{1'b0}} : all[WIDTH-1:0];
            assign later = past[WIDTH-BITS +: BITS];
        end
    endgenerate
endmodule
