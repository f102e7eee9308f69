"""Errors of the bit-serial PE's numerics, also where activations are massive."""
