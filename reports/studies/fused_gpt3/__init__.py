"""One layer of GPT-3 175B on a TPU-v4i-like chip, fused and apart, beside AccelForge's optima."""
