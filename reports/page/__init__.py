"""The report of a sweep: an interactive page, charts, tables of the Pareto fronts."""

from .report import report, write

__all__ = ["report", "write"]
