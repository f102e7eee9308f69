"""All methods of calibration at 2, 3, 4 and 8 bits: errors on real weights, and their chips."""

from .study import reproduce

__all__ = ["reproduce"]
