"""Kernels over whole streams: casts, packing, dequantization."""
