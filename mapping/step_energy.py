"""What the array takes and leaves, step by step, in many ways to unroll at once.

The same energy as `cost_kernels.step_cost` finds of one way.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import cost_kernels as kernels
from .packed import LESS, Packed
from .space import Ways

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def exact_bounds(
    packed: Packed, ways: Ways, some: Ints, cycles: Ints, energy: Floats
) -> tuple[Ints, Floats]:
    """Return sharper bounds of some ways to unroll: with the whole accesses that the array takes.

    Parameters
    ----------
    packed : Packed
    ways : Ways
        Of the same layer.
    some : (N,) int64 array
        Numbers of ways.
    cycles, energy : (N,) arrays
        Their bounds so far; those of a convolution stay as they are.
    """
    if packed.layer.windows:
        return cycles, energy
    taken = packed.units_pj(ways)[some] + taken_pj(packed, ways, some)
    return cycles, energy + (taken - packed.step_bounds(ways)[1][some]) * LESS


def taken_pj(packed: Packed, ways: Ways, some: Ints) -> Floats:
    """Return the energy of what the array takes and leaves in all steps.

    Parameters
    ----------
    packed : Packed
        A product: nothing slides.
    ways : Ways
        Of the same layer.
    some : (N,) int64 array
        Numbers of ways.

    Returns
    -------
    (N,) float64 array
    """
    dims, total = range(len(packed.dims)), np.zeros(len(some))
    tiles: Ints = ways.tiles[some].T.copy()
    sizes: Ints = packed.sizes[:, None]
    full, rest = sizes // tiles, sizes % tiles
    units = {axes: ways.units_at(axes)[some].transpose(2, 3, 1, 0).copy() for axes in packed.pers}
    for number in range(1 << len(dims)):  # which dimensions are short
        short = [number >> d & 1 for d in dims]
        times = [(rest[d] > 0).astype(np.int64) if short[d] else full[d] for d in dims]
        count = _product(times)
        if not count.any():
            continue
        extents = [rest[d] if short[d] else tiles[d] for d in dims]
        for t, move in enumerate(packed.moves):
            if move.child is not None:
                continue
            indexed = [dim in packed.layer.indexes[move.operand] for dim in packed.dims]
            visits = {kernels.FETCH: count}
            if move.operand == "output":
                last = [1 if short[d] else rest[d] == 0 for d in dims]
                first = [full[d] == 0 if short[d] else 1 for d in dims]
                finished = _product(times[d] if indexed[d] else last[d] for d in dims)
                new = _product(times[d] if indexed[d] else first[d] for d in dims)
                visits = {
                    kernels.FINISHED: finished,
                    kernels.PARTIAL: count - finished,
                    kernels.READBACK: count - new,
                }
            for kind, many in visits.items():
                end = packed.ends[t, kind, 0]
                own = units[packed.pers[end[kernels.OWN]]]
                alike = units[packed.pers[end[kernels.REACHED]]]
                each = [extents[d] if indexed[d] else alike[short[d], 0, d] for d in dims]
                elements = _product(each)
                share, copies = elements, 1
                if not end[kernels.APART]:
                    share = _product(own[short[d], 1, d] for d in dims if indexed[d])
                    reached = (own if indexed[d] else alike for d in dims)
                    copies = _product(of[short[d], 0, d] for d, of in enumerate(reached))
                clocks = -(-share * end[kernels.UP] // end[kernels.DOWN])
                if end[kernels.BURST_UP]:
                    clocks = -(-clocks * end[kernels.BURST_UP] // end[kernels.BURST_DOWN])
                access_pj, element_pj = packed.pj[t, kind, 0]
                total += many * (clocks * copies * access_pj + elements * element_pj)
    return total


def _product(factors: Iterable[Any]) -> Any:
    found: Any = 1
    for each in factors:
        found = found * each
    return found
