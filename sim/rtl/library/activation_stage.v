// The edge of the columns: splits activations into sign, exponent and significand.
module activation_stage #(
    parameter LANES = 4,
    parameter ACTIVATION_BITS = 16,
    parameter FIELD_BITS = 5,                    // of an activation's exponent; 0: integers
    parameter SIGNIFICAND_BITS = 11,
    parameter E_BITS = FIELD_BITS > 0 ? FIELD_BITS : 1
) (
    input  wire                              clk,
    input  wire [LANES*ACTIVATION_BITS-1:0]  activations,
    output reg  [LANES-1:0]                  sign,
    output reg  [LANES*E_BITS-1:0]           field,
    output reg  [LANES*SIGNIFICAND_BITS-1:0] significand
);
    wire [LANES-1:0]                  sign_0;
    wire [LANES*E_BITS-1:0]           field_0;
    wire [LANES*SIGNIFICAND_BITS-1:0] significand_0;
    genvar n;
    generate
        for (n = 0; n < LANES; n = n + 1) begin : lane
            if (FIELD_BITS > 0) begin : floating
                float_unpack #(.EXPONENT_BITS(FIELD_BITS), .SIGNIFICAND_BITS(SIGNIFICAND_BITS))
                unpack (
                    .bits(activations[n*ACTIVATION_BITS +: ACTIVATION_BITS]),
                    .sign(sign_0[n]),
                    .exponent(field_0[n*E_BITS +: E_BITS]),
                    .significand(significand_0[n*SIGNIFICAND_BITS +: SIGNIFICAND_BITS])
                );
            end else begin : whole
                integer_unpack #(.SIGNIFICAND_BITS(SIGNIFICAND_BITS)) unpack (
                    .bits(activations[n*ACTIVATION_BITS +: ACTIVATION_BITS]),
                    .sign(sign_0[n]),
                    .exponent(field_0[n]),
                    .significand(significand_0[n*SIGNIFICAND_BITS +: SIGNIFICAND_BITS])
                );
            end
        end
    endgenerate
    always @(posedge clk) begin
        sign <= sign_0;
        field <= field_0;
        significand <= significand_0;
    end
endmodule
