// A 4-bit code of an outlier-victim pair as mantissa and shift, read beside its partner.
//
// Code 1000 is a victim, worth 0; it makes its partner an outlier: sign, two bits e, one bit m,
// worth (2 + m) << (e + 2). Other pairs are two's complement.
module olive_decoder (
    input  wire [3:0]        code,
    input  wire [3:0]        partner,
    output wire signed [3:0] mantissa,
    output wire [2:0]        shift
);
    wire victim = code == 4'b1000;
    wire outlier = partner == 4'b1000;
    wire signed [3:0] size = {3'b001, code[0]};
    assign mantissa = victim ? 4'sd0 : outlier ? (code[3] ? -size : size) : code;
    assign shift = outlier ? {1'b0, code[2:1]} + 3'd2 : 3'd0;
endmodule
