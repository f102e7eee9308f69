"""What the array takes and leaves, step by step, in many ways to unroll at once.

The same energy as `cost_kernels.step_cost` finds of one way.
"""

import numpy as np
from numpy.typing import NDArray

from .packed import LESS, Packed
from .space import Ways
from .step_kernels import add_taken_pj

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
    groups, found = len(packed.tiers), np.zeros(len(some))
    units, block = ways.units_by(tuple(packed.pers)), np.zeros(len(packed.dims), np.int64)
    add_taken_pj(
        groups, packed.move_rows, packed.ends, packed.pj, packed.sizes, ways.tiles, units, some,
        block, found,
    )  # fmt: skip
    return found
