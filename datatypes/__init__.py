"""Numbers: formats, rounding, scales, quantised tensors, mixtures, bit-serial terms."""
