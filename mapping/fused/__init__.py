"""Chains of layers fused on the chip: product, vector unit, product, block by block."""
