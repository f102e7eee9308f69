"""How a layer is laid on a chip: tilings, reuse, traffic."""

from .whole_buffer import Capacity, Sums, Traffic, operand_bytes, output_tiled, whole_buffer

__all__ = ["Capacity", "Sums", "Traffic", "operand_bytes", "output_tiled", "whole_buffer"]
