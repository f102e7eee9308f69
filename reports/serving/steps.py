"""Rows of a table of steps: latency, energy and power of each, and what binds it."""

from typing import Any

from ...sim import Run
from .grid import Point


def step_row(point: Point, run: Run) -> dict[str, Any]:
    """Return a step as a flat record.

    Parameters
    ----------
    point : Point
        The sizes of the step.
    run : Run
        What it takes.

    Returns
    -------
    dict
        Sizes of the step; ``tokens`` computed; latency, energy, power, traffic; ``utilization``
        (`Run.utilization`); ``binds``, what binds most of the clocks, and the share that it binds.
    """
    binds = next(iter(run.binds.items()), None)
    return {
        "batch": point.batch,
        "context": point.context,
        "chunk": point.chunk,
        "cached": point.cached,
        "tokens": run.tokens,
        "cycles": run.cycles,
        "latency_us": run.seconds * 1e6,
        "energy_uj": run.energy_pj["total"] * 1e-6,
        "power_w": run.power_w,
        "tokens_per_second": run.tokens_per_second,
        "energy_per_token_uj": (run.energy_per_token_pj or 0.0) * 1e-6,
        "utilization": run.utilization,
        "dram_mib": run.dram_bits["total"] / 8 / 2**20,
        "binds": None if binds is None else binds[0],
        "binds_share": None if binds is None else binds[1] / run.cycles,
    }
