"""CUDA twins of the numba kernels, for checking results."""
