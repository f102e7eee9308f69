"""Quantized tensors: what they hold, give back and store."""
