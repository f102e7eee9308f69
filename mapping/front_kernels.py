"""The best mappings found so far, compiled: one of an objective, or the front of both.

A *front* is a tuple: costs (N, 2), clocks and energy of those kept, in ascending order of clocks;
found (N, 4 + D), what each is; kept (1,), how many there are, -1 where N were not enough.

What a mapping is stands in numbers: the unrolling, the chain of each dimension, orders outside and
inside, doubled places. Of an objective's mappings that are equal in clocks and energy (but for the
rounding of sums, `SAME`) the first in the order of these numbers is kept, so that no bound, and no
order in which they are tried, changes what is found.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

from ..datatypes.base.inner_kernels import inner
from .tuple_kernels import COSTS, FOUND, MANY

PARETO = 3
SAME = 1 - 1e-12  # sums of the same terms in another order


@inner
def _at_most(cycles, costs, many):
    """Return how many on the front have at most so many clocks."""
    low, high = 0, many
    while low < high:
        middle = (low + high) // 2
        if costs[middle, 0] <= cycles:
            low = middle + 1
        else:
            high = middle
    return low


@inner
def hopeless(cycles, energy, way, first, front, objective):
    """Whether nothing of at least so many clocks and so much energy beats the best so far.

    ``way``, ``first`` (D,): the unrolling and the first chains of what is bounded.
    """
    costs, kept = front[COSTS], front[MANY]
    if objective == PARETO:
        before = _at_most(cycles, costs, kept[0])
        return before > 0 and energy * SAME >= costs[before - 1, 1] * SAME
    best, best_pj = costs[0, 0], costs[0, 1]
    least, other = _compared(cycles, energy, best, best_pj, objective)
    if least or other:
        return least > 0 or (least == 0 and other > 0)
    return _after(way, first, front[FOUND][0])


@inner
def _sign(one, other):
    """Return whether a sum is more (1) or less (-1) than another, or the same (0)."""
    return int(one * SAME > other) - int(one < other * SAME)


@inner
def _compared(cycles, energy, best, best_pj, objective):
    """Return how an objective compares with the best, and what breaks its ties."""
    fewer, less = _sign(cycles, best), _sign(energy, best_pj)
    if objective == 0:
        return fewer, less
    return (less if objective == 1 else _sign(cycles * energy, best * best_pj)), fewer


@inner
def _after(way, chosen, found):
    """Whether an unrolling and chains come after those of the mapping that was found."""
    if way != found[0]:
        return way > found[0]
    for d in range(chosen.size):
        if chosen[d] != found[1 + d]:
            return chosen[d] > found[1 + d]
    return False


@inner
def _before(way, chosen, orders, found):
    """Whether a mapping comes before the one that was found."""
    if way != found[0]:
        return way < found[0]
    for d in range(chosen.size):
        if chosen[d] != found[1 + d]:
            return chosen[d] < found[1 + d]
    for i in range(3):
        at = found.size - 3 + i
        if orders[i] != found[at]:
            return orders[i] < found[at]
    return False


@inner
def keep(cycles, energy, objective, way, chosen, outer, inside, mask, front):
    """Keep a mapping if it is the best so far, or not dominated; return whether it was kept.

    Parameters
    ----------
    cycles, energy : int, float
    objective : int
    way : int
        Number of the unrolling.
    chosen : (D,) int64 array
        Chain of each dimension.
    outer, inside, mask : int
        Numbers of the orders, places that are doubled.
    front : tuple
    """
    costs, found, kept = front
    at = 0
    if objective != PARETO:
        least, other = _compared(cycles, energy, costs[0, 0], costs[0, 1], objective)
        if least > 0 or (least == 0 and other > 0):
            return False
        orders = outer, inside, mask
        if least == 0 and other == 0 and not _before(way, chosen, orders, found[0]):
            return False
        kept[0] = 1
    else:
        many = kept[0]
        at = _at_most(cycles, costs, many)
        if many < 0 or (at and energy >= costs[at - 1, 1] * SAME):
            return False
        if at and costs[at - 1, 0] == cycles:
            at -= 1
        stop = at  # those from here on that have more energy are dominated
        while stop < many and costs[stop, 1] >= energy * SAME:
            stop += 1
        if not _make_room(at, stop, front):
            return False
    costs[at, 0], costs[at, 1] = cycles, energy
    found[at, 0] = way
    for d in range(chosen.size):
        found[at, 1 + d] = chosen[d]
    last = found.shape[1]
    found[at, last - 3], found[at, last - 2], found[at, last - 1] = outer, inside, mask
    return True


@inner
def _make_room(at, stop, front):
    """Replace the rows from ``at`` to ``stop`` by one; return whether there is room."""
    costs, found, kept = front
    many = kept[0]
    if many + 1 - (stop - at) > costs.shape[0]:
        kept[0] = -1
        return False
    if stop == at:
        for row in range(many, at, -1):
            _copy(row - 1, row, costs, found)
    else:
        for row in range(stop, many):
            _copy(row, row + at + 1 - stop, costs, found)
    kept[0] = many + 1 - (stop - at)
    return True


@inner
def _copy(here, there, costs, found):
    for column in range(2):
        costs[there, column] = costs[here, column]
    for column in range(found.shape[1]):
        found[there, column] = found[here, column]
