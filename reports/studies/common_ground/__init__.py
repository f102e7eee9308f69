"""Chips of the BitFusion, ANT and BitMoD studies on common ground: what is left of headlines."""

from .study import reproduce

__all__ = ["reproduce"]
