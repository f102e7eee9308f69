"""The proof of a certificate: branch and bound over parts of the space, the least promising first.

The parts, their floors and their splits are those that `mapping.proof` checks. Here is decided only
where to split, which no one needs to trust.
"""

import heapq
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import count as numbers
from math import floor
from typing import Any

from .proof.bounds import Innermost, Unrolled, least
from .proof.record import Chip, Layer
from .proof.space import Storage, Way, storages, ways
from .proof.tree import Part
from .proof.ways import WayFloors


@dataclass(slots=True, kw_only=True)
class _Open:
    """A part that is not closed: a whole way, until it is looked at, or a part of one.

    ``tree``: its plain data, filled in when it is split or closed.
    """

    chip: int
    storage: int
    way: Way
    part: Part | None = None
    tree: list[Any] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What branch and bound found.

    Attributes
    ----------
    bound : Fraction
        What no mapping of the space undercuts.
    data : list
        The proof as plain data.
    """

    bound: Fraction
    data: list[Any]


class _Prover:
    def __init__(self, layer: Layer, chips: list[Chip], objective: str, best: Fraction) -> None:
        self.layer, self.chips, self.objective, self.best = layer, chips, objective, best
        self.storages: list[list[Storage]] = [storages(chip) for chip in chips]
        self.heap: list[tuple[Fraction, int, _Open]] = []
        self.order = numbers()
        self.trees: dict[tuple[int, int], dict[Way, list[Any]]] = {}
        self.least: list[Fraction] = []  # bounds of all that is closed
        self.work = 0

    def start(self) -> None:
        """Put all ways to unroll on the heap."""
        for i, chip in enumerate(self.chips):
            for j, storage in enumerate(self.storages[i]):
                quick = WayFloors(self.layer, chip, storage)
                self.trees[i, j] = {}
                for way in ways(self.layer, chip):
                    pair = quick.floor(way, energy=self.objective != "cycles")
                    self._push(pair.of(self.objective), _Open(chip=i, storage=j, way=way))

    def _push(self, bound: Fraction, each: _Open) -> None:
        heapq.heappush(self.heap, (bound, next(self.order), each))

    def run(self, budget: int) -> None:
        """Split the part with the least floor until nothing is below the best, or work is done."""
        while self.heap and self.heap[0][0] < self.best and self.work < budget:
            _, _, each = heapq.heappop(self.heap)
            if each.part is None:
                unrolled = Unrolled(
                    self.layer, self.chips[each.chip],
                    self.storages[each.chip][each.storage], each.way,
                )  # fmt: skip
                each.part = Part(unrolled=unrolled, sides=unrolled.sides())
                self.trees[each.chip, each.storage][each.way] = each.tree
                self._close_or_push(each)
            else:
                self._refine(each)

    def _close_or_push(self, each: _Open) -> None:
        """Note a part's floor; it is open as long as that is below the best."""
        assert each.part is not None
        choices, part = each.part.choices, each.part.narrowed()
        self.work += 1
        bound = part.floor(self.objective)
        if bound is None:
            each.tree[:] = ["room", choices]
            return
        each.tree[:] = ["floor", floor(bound), choices]
        self._push(bound, each)

    def _refine(self, each: _Open) -> None:
        assert each.part is not None
        part = each.part.narrowed()
        if part.single:
            each.tree[:] = ["all"]
            self._cost_all(part)
            return
        among = {at for at, pair in part.floors().items() if pair.of(self.objective) < self.best}
        tier, d, tile = max(_cuts(part), key=lambda cut: self._gain(each.part, cut, among))
        trees: list[list[Any]] = [[], []]
        each.tree[:] = [tier, self.layer.dims[d], tile, *trees]
        for half, tree in zip(each.part.split(tier, d, tile), trees, strict=True):
            assert half is not None
            self._close_or_push(
                _Open(chip=each.chip, storage=each.storage, way=each.way, part=half, tree=tree)
            )

    def _gain(
        self, part: Part | None, cut: tuple[int, int, int], among: set[Innermost]
    ) -> tuple[float, float]:
        """Return how near a split brings its two parts to being closed: together, and the worse.

        ``among``: innermost loops under which the part itself is open; the others close no later.
        """
        gains = []
        for half in part.split(*cut) if part else ():
            floors = half.narrowed().floors(among) if half else {}
            reached = (
                min(least(floors.values(), self.objective), self.best) if floors else self.best
            )
            gains.append(float(reached / self.best))
        return sum(gains), min(gains)

    def _cost_all(self, part: Part) -> None:
        for value, nest in part.mappings(self.objective, self.best):
            self.work += (30 if self.layer.windows else 10) if nest else 0
            self.least.append(value)
            if nest and value < self.best:
                self.best = value

    def data(self) -> list[Any]:
        """Return the proof as plain data: ways without a tree are excluded by their own floor."""
        rest: dict[tuple[int, int], Fraction] = {}
        for bound, _, each in self.heap:
            if each.part is None:
                key = each.chip, each.storage
                rest[key] = min(rest.get(key, bound), bound)
        return [
            {
                "chip": key[0],
                "storage": key[1],
                "ways": [
                    {"way": [list(unroll) for unroll in way], "tree": tree}
                    for way in ways(self.layer, self.chips[key[0]])
                    if (tree := trees.get(way))
                ],
                "rest": str(rest[key]) if key in rest else None,
            }
            for key, trees in self.trees.items()
        ]


def _cuts(part: Part) -> list[tuple[int, int, int]]:
    """Return where a part may be split: at each tier and dimension near the middle of its tiles."""
    found = []
    for tier in range(1, len(part.unrolled.groups)):
        for d, side in enumerate(part.sides):
            tiles = sorted({min(chain[tier], chain[0]) for chain in side.chains})
            if len(tiles) > 1:
                middle = (tiles[0] * tiles[-1]) ** 0.5
                small = [tile for tile in tiles[:-1] if tile <= middle]
                found.append((tier, d, small[-1] if small else tiles[0]))
    return found


def prove(layer: Layer, chips: list[Chip], objective: str, best: Fraction, *, budget: int) -> Proof:
    """Return a proof of what no mapping of the space undercuts.

    Parameters
    ----------
    layer : Layer
    chips : list of Chip
        One a dataflow.
    objective : {"cycles", "energy", "edp"}
    best : Fraction
        What the best mapping known takes.
    budget : int
        Parts to bound at most; a mapping to cost counts as ten, of a
        convolution as thirty. What is still open then lowers the
        bound.
    """
    prover = _Prover(layer, chips, objective, best)
    prover.start()
    prover.run(budget)
    bound = min([prover.best, *prover.least, *(each[0] for each in prover.heap)])
    return Proof(bound=bound, data=prover.data())
