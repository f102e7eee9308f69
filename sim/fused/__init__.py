"""Layers fused on the chip where a run is better so: attention, MLPs, experts, convolutions."""
