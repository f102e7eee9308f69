"""Agreement of the rungs: plain fractions, the bit rung, CUDA, generated hardware."""
