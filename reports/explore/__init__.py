"""Design-space sweeps: a YAML file to points, points to results in a store, results to tables."""

from .accuracy import measure_accuracy
from .plan import Preview, plan_sweep
from .shards import merge_shards
from .store import Store
from .sweep import SweepSummary, read_results, run_sweep

__all__ = [
    "Preview",
    "Store",
    "SweepSummary",
    "measure_accuracy",
    "merge_shards",
    "plan_sweep",
    "read_results",
    "run_sweep",
]
