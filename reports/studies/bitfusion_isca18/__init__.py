"""The BitFusion study (ISCA 2018), rebuilt: published beside reproduced beside corrected."""

from .study import reproduce

__all__ = ["reproduce"]
