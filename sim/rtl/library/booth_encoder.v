// Radix-4 Booth digits of a two's complement integer, lowest first.
//
// Digit i is w[2i-1] + w[2i] - 2 w[2i+1], one of -2..2. Its term has the magnitude
// 2**(exponent + significance of the clock); OFFSETS holds what the digit's weight 4**i exceeds
// that significance by, two bits a digit.
module booth_encoder #(
    parameter WEIGHT_BITS = 8,
    parameter TERMS = 4,
    parameter [2*TERMS-1:0] OFFSETS = 0
) (
    input  wire [WEIGHT_BITS-1:0] weight,
    output wire [TERMS-1:0]       sign,          // 1: the term is subtracted
    output wire [TERMS-1:0]       present,       // 0: the digit is zero
    output wire [2*TERMS-1:0]     exponent       // 0..3
);
    wire [2*TERMS:0] padded = {{(2*TERMS+1-WEIGHT_BITS){weight[WEIGHT_BITS-1]}}, weight} << 1;
    genvar i;
    generate
        for (i = 0; i < TERMS; i = i + 1) begin : digit
            wire low = padded[2*i], middle = padded[2*i+1], high = padded[2*i+2];
            wire two = (low == middle) && (middle != high);
            assign present[i] = (low != middle) || (middle != high);
            assign sign[i] = high && present[i];
            assign exponent[2*i +: 2] = present[i] ? OFFSETS[2*i +: 2] + {1'b0, two} : 2'd0;
        end
    endgenerate
endmodule
