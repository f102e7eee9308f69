"""Hardware: Verilog made from a chip's PE, run clock by clock and compared with the bit rung."""
