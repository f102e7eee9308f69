"""Design-space sweeps: a YAML file to points, points to results in a store, results to tables."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

# name -> module; loaded on use: a process of a sweep starts with what its evaluator takes
_LAZY = {
    "Preview": ".plan",
    "Store": ".store",
    "SweepSummary": ".sweep",
    "measure_accuracy": ".accuracy",
    "merge_shards": ".shards",
    "plan_sweep": ".plan",
    "read_results": ".sweep",
    "run_sweep": ".sweep",
}


def __getattr__(name: str) -> Any:
    """Load a name on first use (PEP 562)."""
    if name in _LAZY:
        from importlib import import_module

        return getattr(import_module(_LAZY[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
