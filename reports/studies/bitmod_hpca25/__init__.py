"""The BitMoD study (HPCA 2025), rebuilt: published beside reproduced beside corrected."""

from .study import reproduce

__all__ = ["reproduce"]
