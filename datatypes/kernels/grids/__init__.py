"""Kernels that code groups onto grids."""
