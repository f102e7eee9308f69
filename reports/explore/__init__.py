"""Design-space sweeps: a YAML file to points, points to results in a store, results to tables."""

from .api import Preview, SweepSummary, read_results, run_sweep
from .store import Store

__all__ = ["Preview", "Store", "SweepSummary", "read_results", "run_sweep"]
