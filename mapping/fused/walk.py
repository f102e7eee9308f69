"""The clocks of a chain's schedule (`cost`), walked by `walk_kernels.walk`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .chain import Chain
from .demand import Demand
from .near import NearChip
from .tiling import Tiling


class Walked(NamedTuple):
    """The clocks of a schedule, and those in which the array waits: ports aside.

    ``waits``: for weights, for inputs alone, for the vector unit, for results to leave.
    """

    cycles: int
    waits: tuple[int, int, int, int]


Walk = Callable[[Chain, Tiling, NearChip, Demand], Walked]


def walked(chain: Chain, tiling: Tiling, near: NearChip, asked: Demand) -> Walked:
    """Return the clocks of the schedule of all jobs.

    Parameters
    ----------
    chain, tiling, near, asked
        As of `cost_of`.
    """
    from .walk_kernels import walk  # loads the compiler

    cycles, waits = walk(*walk_arguments(chain, tiling, near, asked))
    weights, inputs, vector, results = waits.tolist()
    return Walked(int(cycles), (weights, inputs, vector, results))


def walk_arguments(chain: Chain, tiling: Tiling, near: NearChip, asked: Demand) -> tuple[Any, ...]:
    """Return what decides a walk, as `walk_kernels.walk` takes it.

    Parameters
    ----------
    chain, tiling, near, asked
        As of `cost_of`.
    """
    blocks, latency = asked.blocks, near.outermost.latency_cycles
    tiled = (tiling.places, tiling.ahead, tiling.held, tiling.spilled)
    options = (latency, *tiled, chain.instances)
    of_blocks = (blocks.low, blocks.high, blocks.kinds, blocks.short)
    of_jobs = (asked.jobs, asked.loads, asked.more, asked.stores)
    return of_blocks, *of_jobs, np.array(options, np.int64)
