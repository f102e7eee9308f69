"""The ANT study (MICRO 2022), rebuilt: published beside reproduced beside corrected."""

from .study import reproduce

__all__ = ["reproduce"]
