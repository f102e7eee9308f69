"""Design-space sweeps: a YAML file to points, points to results in a store, results to tables."""

from .store import Store
from .sweep import Preview, SweepSummary, read_results, run_sweep

__all__ = ["Preview", "Store", "SweepSummary", "read_results", "run_sweep"]
