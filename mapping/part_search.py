"""A part of the search: all ways to unroll a layer whose operands lie in some memories.

The most promising way comes first. Those that it does not exclude are bounded again, and those that
this leaves looked into one by one, in the order of their bounds. One that takes more nodes than a
slice of them is put off until all others were looked into, and then looked into anew with a larger
slice. Nodes are counted, not seconds: what is found does not depend on the machine.
"""

from typing import Any

import numpy as np

from .front_kernels import PARETO, SAME, hopeless
from .packed import Packed
from .space import Ways
from .step_energy import exact_bounds
from .unrolled import Unrolled

FIRST_SLICE, LARGER = 1 << 17, 8  # nodes of a way at first, and how many times as many after it
NODES_OF_A_WAY = 1 << 10  # what looking into one takes beside the tiles that are bounded
_NONE: Any = np.zeros(0, np.int64)  # no chains


class PartSearch:
    """The ways to unroll that may still be best, and their bounds.

    Parameters
    ----------
    part : Packed
    ways : Ways
    first : int
        The number of the first way.
    objective : int
    best : tuple
        The best so far, of all parts (`unrolled.new_front`); overwritten.
    looked : dict of int to Unrolled
        Of the ways with mappings among the best, by their numbers; added to.

    Attributes
    ----------
    evaluated, nodes : int
        Mappings costed, nodes spent.
    """

    def __init__(
        self,
        part: Packed,
        ways: Ways,
        first: int,
        objective: int,
        best: Any,
        looked: dict[int, Unrolled],
    ) -> None:
        self.part, self.ways, self.first, self.objective = part, ways, first, objective
        self.best, self.looked = best, looked
        self.evaluated = self.nodes = 0
        self._left: Any = ways.distinct((*part.pers, *part.hierarchy.counted_units))
        cycles, energy = part.bounds(ways)
        self._cycles, self._energy = cycles[self._left], energy[self._left]
        self._put_off: Any = np.zeros(self._left.size, np.bool_)
        self._slice, self._bounded = FIRST_SLICE, False

    @property
    def open(self) -> bool:
        """Whether some way may still be best."""
        return bool(self._left.size)

    def least(self) -> float:
        """Return what no mapping of the open ways undercuts in the objective; 0 of a front."""
        if self.objective == PARETO:
            return 0.0
        some: tuple[Any, ...] = (self._cycles, self._energy, self._cycles * self._energy)
        return float(some[self.objective].min())

    def search(self, limit: int, most: int) -> None:
        """Look into ways until none is open, or so many mappings were costed, or nodes spent."""
        until, stop = self.evaluated + limit, self.nodes + most
        if not self._bounded and self._left.size:
            self._bound(limit, most)
        elif self._left.size:
            self._keep(self._may_be_best())  # other parts have found something since
        while self._left.size and self.evaluated < until and self.nodes < stop:
            waiting = np.flatnonzero(~self._put_off)
            if not waiting.size:
                self._put_off[:], self._slice = False, LARGER * self._slice
                continue
            closed = self._close_hopeless(waiting, stop)
            if closed == waiting.size or self.nodes >= stop:
                continue
            at, before = waiting[closed] - closed, self.best[0][0].tolist()
            done = self._look_into(at, until - self.evaluated, stop - self.nodes)
            self._put_off[at] = True
            found = self.objective == PARETO or self.best[0][0].tolist() != before
            if done or found:
                may = self._may_be_best() if found else np.ones(self._left.size, np.bool_)
                may[at] &= not done
                self._keep(may)

    def _bound(self, limit: int, most: int) -> None:
        """Look into the most promising way, bound the others again, and put them in order."""
        self._bounded, start = True, self._first()
        may = self._may_be_best()
        if may[start]:
            done = self._look_into(start, limit, most)
            may = self._may_be_best()
            may[start], self._put_off[start] = not done, True
        self._keep(may)
        if not self._left.size:
            return
        for sharper in (Packed.floor_bounds, exact_bounds):
            if self._left.size:
                self._cycles, self._energy = sharper(
                    self.part, self.ways, self._left, self._cycles, self._energy
                )
                self._keep(self._may_be_best())
        self._keep(np.lexsort(self._keys()))

    def _close_hopeless(self, waiting: Any, stop: int) -> int:
        """Close the ways ahead of one that may be best, of those that wait; return how many."""
        some = waiting[: -((self.nodes - stop) // NODES_OF_A_WAY)]
        closed = self.part.hopeless_ways(
            self.ways, self._left[some], self.first, self.objective, self.best
        )
        if closed:
            self.nodes += closed * NODES_OF_A_WAY
            left = np.ones(self._left.size, np.bool_)
            left[waiting[:closed]] = False
            self._keep(left)
        return closed

    def _look_into(self, at: int, limit: int, most: int) -> bool:
        """Look into a way for a slice of nodes, or fewer; return whether that was all of it."""
        way, number = int(self._left[at]), self.first + int(self._left[at])
        units_pj = self.part.units_pj(self.ways)[way]
        unrolled = Unrolled(self.part, self.ways.way(way), number, units_pj)
        nodes = min(self._slice, most)
        evaluated = unrolled.search(self.objective, limit, self.best, nodes)
        self.evaluated += evaluated
        self.nodes += NODES_OF_A_WAY + unrolled.nodes
        if evaluated and (self.best[1][: self.best[2][0], 0] == number).any():
            self.looked[number] = unrolled
        return unrolled.nodes < nodes and evaluated < limit

    def _keep(self, some: Any) -> None:
        """Leave ways open: a mask, or their places in order."""
        self._left, self._put_off = self._left[some], self._put_off[some]
        self._cycles, self._energy = self._cycles[some], self._energy[some]

    def _may_be_best(self) -> Any:
        """Return which open ways may be best by their bounds (`front_kernels.hopeless`)."""
        cycles, energy, best = self._cycles, self._energy, self.best
        if self.objective == PARETO:
            return np.array(
                [
                    not hopeless(least, pj, 0, _NONE, best, PARETO)
                    for least, pj in zip(cycles, energy, strict=True)
                ],
                np.bool_,
            )
        (least, least_pj), found = best[0][0].tolist(), best[1][0, 0]
        sums = {0: (cycles, least), 1: (energy, least_pj), 2: (cycles * energy, least * least_pj)}
        one, most = sums[self.objective]
        other, other_most = sums[1 if self.objective == 0 else 0]
        same, other_same = one >= most * SAME, other >= other_most * SAME
        worse, numbers = other * SAME > other_most, self.first + self._left
        return ~((one * SAME > most) | (same & (worse | (other_same & (numbers > found)))))

    def _keys(self) -> tuple[Any, Any]:
        """Return by what open ways are ordered: what breaks ties, and what counts first."""
        if self.objective == 0:
            return self._energy, self._cycles
        one = self._energy if self.objective == 1 else self._cycles * self._energy
        return self._cycles, one

    def _first(self) -> int:
        """Return the place of the most promising way."""
        ties, one = self._keys()
        least = np.flatnonzero(one == one.min())
        return int(least[ties[least].argmin()])
