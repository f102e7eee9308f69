"""Other ways in: models as lists, topologies, graphs and weight files."""

from .find import Source, find, stored_formats
from .found import Found
from .kinds import no_such
from .weights import check_weights

__all__ = ["Found", "Source", "check_weights", "find", "no_such", "stored_formats"]
