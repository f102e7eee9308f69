"""What the array takes and leaves, step by step, in many ways to unroll, compiled."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

from ..datatypes.base.compiled import compiled
from ..datatypes.base.inner_kernels import OPTIONS, inner
from .cost_kernels import (
    APART,
    FETCH,
    FINISHED,
    OP,
    OWN,
    REACHED,
    READBACK,
    RELEVANT,
    TIER,
    clocks_of,
    step_tile_of,
)


@compiled(**OPTIONS)
def add_taken_pj(groups, moves, ends, pj, sizes, tiles, units, some, block, found):
    """Add the energy of all steps of some ways to unroll.

    Parameters
    ----------
    groups : int
        The array's tier.
    moves, ends, pj, sizes : arrays
        As `cost_kernels` has them in a plan.
    tiles : (W, D) int64 array
        What a step does of each dimension, by way.
    units : (A, W, D, 2, 2) int64 array
        Of a whole step, and of a short one, the units that are reached, and the first's elements,
        by axes of copies (`space.Ways.units_at`).
    some : (N,) int64 array
        Numbers of ways.
    block : (D,) int64 array
        Room to compute in.
    found : (N,) float64 array
    """
    for i in range(some.size):
        way = some[i]
        for number in range(1 << sizes.size):  # which dimensions are short
            for t in range(moves.shape[0]):
                if moves[t, TIER] != groups:
                    continue
                count, first, last = step_tile_of(
                    number, moves[t, RELEVANT], sizes, tiles[way], block
                )
                if count == 0:
                    break
                if moves[t, OP] < 2:
                    found[i] += count * _pj(t, FETCH, number, moves, ends, pj, way, units, block)
                    continue
                for kind in range(FINISHED, READBACK + 1):
                    without = first if kind == READBACK else last
                    many = last if kind == FINISHED else count - without
                    found[i] += many * _pj(t, kind, number, moves, ends, pj, way, units, block)


@inner
def _pj(t, kind, number, moves, ends, pj, way, units, block):
    """Return the energy of one step's transfer at the memory, short in the bits of a number."""
    own, alike = units[ends[t, kind, 0, OWN], way], units[ends[t, kind, 0, REACHED], way]
    elements = share = copies = 1
    for d in range(block.size):
        short = number >> d & 1
        if moves[t, RELEVANT] >> d & 1:
            elements *= block[d]
            share *= own[d, short, 1]
            copies *= own[d, short, 0]
        else:
            elements *= alike[d, short, 0]
            copies *= alike[d, short, 0]
    if ends[t, kind, 0, APART]:
        share, copies = elements, 1
    accesses = clocks_of(share, t, kind, 0, ends) * copies
    return accesses * pj[t, kind, 0, 0] + elements * pj[t, kind, 0, 1]
