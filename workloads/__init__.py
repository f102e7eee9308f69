"""What runs: layers as matrix products, transformer and convolution models."""
