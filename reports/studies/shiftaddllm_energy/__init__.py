"""The energies of ShiftAddLLM (NeurIPS 2024), rebuilt: published, reproduced, corrected."""

from .study import reproduce

__all__ = ["reproduce"]
