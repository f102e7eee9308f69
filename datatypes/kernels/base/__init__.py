"""What the kernels share: bit tricks, scales of groups, tables, threads."""
