"""Candidates in the order of their bounds, compiled."""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

from ..datatypes.base.inner_kernels import inner


@inner
def _rank(bounds, i, objective):
    if objective == 0:
        return bounds[i, 2]
    return bounds[i, 1] if objective == 1 else bounds[i, 2] * bounds[i, 1]


@inner
def _move(numbers, bounds, here, i, j):
    """Copy a candidate to the other half of the arrays."""
    numbers[1 - here, j] = numbers[here, i]
    for column in range(3):
        bounds[1 - here, j, column] = bounds[here, i, column]


@inner
def _merge(start, middle, end, here, objective, numbers, bounds):
    """Merge two sorted runs into the other half; of equals the first stays first."""
    i, j = start, middle
    for at in range(start, end):
        first = j >= end
        if i < middle and not first:
            rank = _rank(bounds[here], j, objective)
            first = _rank(bounds[here], i, objective) <= rank
        if first:
            _move(numbers, bounds, here, i, at)
            i += 1
        else:
            _move(numbers, bounds, here, j, at)
            j += 1


@inner
def sort(start, end, objective, numbers, bounds):
    """Sort candidates by what is least under an objective; equals stay in their order.

    Parameters
    ----------
    start, end : int
        Which are sorted.
    objective : int
        0 clocks, 1 energy, else their product.
    numbers : (2, N) int64 array
        What they are, in the first row; the second is room.
    bounds : (2, N, 3) float64 array
        Their clocks and energy, and the clocks that are likely, likewise.
    """
    here, width = 0, 1
    while width < end - start:
        for first in range(start, end, 2 * width):
            middle = min(first + width, end)
            _merge(first, middle, min(middle + width, end), here, objective, numbers, bounds)
        here = 1 - here
        width *= 2
    if here:
        for i in range(start, end):
            _move(numbers, bounds, here, i, i)
