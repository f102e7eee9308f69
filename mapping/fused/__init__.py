"""Chains of layers fused on the chip, block by block; of convolutions, strip by strip."""
