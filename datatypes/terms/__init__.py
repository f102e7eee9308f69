"""Bit-serial terms: how a number falls into signed powers of two, and how many."""
