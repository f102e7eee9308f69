"""CUDA twins of the kernels, and what all CUDA kernels of the package stand on."""
