"""Other ways in: models as lists, topologies, graphs and weight files."""

from .find import Source, find
from .found import Found

__all__ = ["Found", "Source", "find"]
