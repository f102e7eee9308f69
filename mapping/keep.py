"""Which results stay on the chip between layers, instead of going to DRAM and back."""

import math
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass, replace
from itertools import chain, combinations
from typing import NamedTuple

from ..workloads.gemm import Gemm
from ..workloads.order import Order, Repeat, Step, steps_of
from .whole_buffer import Traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What stays on the chip around one layer.

    Attributes
    ----------
    input, output : bool
        Its inputs are not fetched; its results are not stored.
    kept_bytes : int
        Bytes of the input buffer that kept results take while it runs, its own among them.
    """

    input: bool = False
    output: bool = False
    kept_bytes: int = 0


NOTHING = Kept()


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A step of the order of execution with what stays on the chip around it."""

    step: Step
    kept: Kept = NOTHING

    @property
    def key(self) -> "LayerKey":
        """What it shares with steps that are alike."""
        return LayerKey(self.step.gemm, self.kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedRepeat:
    """Placed steps that run ``count`` times over."""

    count: int
    body: tuple["Placed | PlacedRepeat", ...]


Plan = tuple[Placed | PlacedRepeat, ...]
Total = tuple[int, float]
"""Clocks and energy."""


class LayerKey(NamedTuple):
    """A layer with what stays on the chip around it: steps that share it are alike."""

    gemm: Gemm
    kept: Kept


def placed_steps(plan: Plan, times: int = 1) -> Iterator[tuple[Placed, int]]:
    """Yield every placed step of a plan and how often it runs."""
    for node in plan:
        if isinstance(node, Placed):
            yield node, times
        else:
            yield from placed_steps(node.body, times * node.count)


def layer_counts(plan: Plan) -> dict[LayerKey, int]:
    """Return the layers of a plan, each once, and how many instances are alike."""
    counts: dict[LayerKey, int] = {}
    for placed, times in placed_steps(plan):
        counts[placed.key] = counts.get(placed.key, 0) + times * placed.step.gemm.count
    return counts


def nothing_kept(order: Order) -> Plan:
    """Return an order of execution with all results going to DRAM."""
    return tuple(
        Placed(step=node)
        if isinstance(node, Step)
        else PlacedRepeat(count=node.count, body=nothing_kept(node.body))
        for node in order
    )


def keep_outputs(
    order: Order,
    bytes_of: Callable[[Gemm], Traffic],
    buffer_bytes: int,
    barred: Set[str] = frozenset(),
) -> Plan:
    """Decide which results stay in the input buffer until they were last read.

    The results of a layer stay if, in every layer from it to their last reader, there is room in
    the buffer for the inputs of that layer and all other results that might stay. They do not
    where some layer reads them as its weight operand (K, V), where they are the model's, or read
    together with other instances' (experts), or where another result read with them does not stay.

    Parameters
    ----------
    order : Order
        The layers in the order of execution.
    bytes_of : callable
        Bytes of a product's operands, each counted once.
    buffer_bytes : int
        Size of the buffer that holds inputs and results.
    barred : set of str
        Layers whose results go to DRAM all the same.

    Returns
    -------
    Plan
        First and last turn of a Repeat stand alone: what they read or leave may differ.
    """
    unfolded = _first_and_last_apart(order)
    steps = list(steps_of(unfolded))
    lives = _Lives.of(steps, [bytes_of(step.gemm) for step in steps], barred)
    stay = lives.staying(buffer_bytes)
    kept = iter([lives.kept_at(i, stay) for i in range(len(steps))])
    return _with(unfolded, kept)


FEW = 8
"""Sets of results that are tried in all combinations, where they meet."""


def keep_where_better(
    order: Order,
    room_of: Callable[[tuple[Step, ...], Step], int | None],
    cost_of: Callable[[Gemm, Kept], Total | None],
    rank: Callable[[Total], tuple[float, float]],
) -> Plan:
    """Return an order of execution with the results kept that make it best, and nothing worse.

    The results that one layer reads stay together, or none of them; so do those that a layer in
    between has in common with another. Sets of results that are there at the same time are tried
    in all combinations, up to `FEW` of them; of more, each is taken in the order of execution where
    it makes the layers better. Neither clocks nor energy of the layers around is ever more.

    Parameters
    ----------
    order : Order
        The layers in the order of execution.
    room_of : callable
        Of layers and of one that reads the results of all of them: the bytes that these take, each
        as large; None where they cannot stay.
    cost_of : callable
        Clocks and energy of a layer with what stays around it; None where it has not the room.
    rank : callable
        What orders clocks and energy: less is better.
    """
    unfolded = _first_and_last_apart(order)
    placed = list(placed_steps(nothing_kept(unfolded)))
    steps, times = [each.step for each, _ in placed], [count for _, count in placed]
    nothing = Traffic(weight_bytes=0, input_bytes=0, output_bytes=0)
    lives = _Lives.of(steps, [nothing] * len(steps))
    some, rooms = _sets(lives, steps, room_of)
    lives = replace(lives, output_bytes=rooms)
    stay: set[int] = set()
    for sets in _met(lives, some):
        span = range(min(map(min, sets)), max(map(lives.last_of, sets)) + 1)

        def total(kept: set[int], span: range = span) -> Total | None:
            found = [cost_of(steps[i].gemm, lives.kept_at(i, kept)) for i in span]
            if any(each is None for each in found):
                return None
            pairs = [(each, times[i]) for each, i in zip(found, span, strict=True) if each]
            cycles = sum(cycles * count for (cycles, _), count in pairs)
            return cycles, math.fsum(pj * count for (_, pj), count in pairs)

        stay |= _best(sets, total, rank)
    kept = iter([lives.kept_at(i, stay) for i in range(len(steps))])
    return _with(unfolded, kept)


def _best(
    sets: list[frozenset[int]],
    total: Callable[[set[int]], Total | None],
    rank: Callable[[Total], tuple[float, float]],
) -> set[int]:
    """Return the results of the sets that are best, no worse in clocks and energy than none."""
    none = total(set())
    assert none is not None
    best, least = set[int](), none
    choices: Iterator[tuple[frozenset[int], ...]] = chain.from_iterable(
        combinations(sets, size) for size in range(1, len(sets) + 1)
    )
    for some in choices if len(sets) <= FEW else ((each,) for each in sets):
        kept = set().union(*some) | (best if len(sets) > FEW else set())
        found = total(kept)
        if found and found[0] <= none[0] and found[1] <= none[1] and rank(found) < rank(least):
            best, least = kept, found
    return best


def _sets(
    lives: "_Lives", steps: list[Step], room_of: Callable[[tuple[Step, ...], Step], int | None]
) -> tuple[list[frozenset[int]], list[int]]:
    """Return the sets of results that may stay, each whole or not at all, and what results take."""
    rooms = [0] * len(steps)
    joined: list[tuple[set[int], bool]] = []
    for i, sources in enumerate(lives.sources):
        if not sources:
            continue
        room = room_of(tuple(steps[j] for j in sources), steps[i])
        good = room is not None and not lives.barred & set(sources)
        for j in sources:
            rooms[j] = max(rooms[j], room or 0)
        mine = set(sources)
        for other in [each for each in joined if each[0] & mine]:
            joined.remove(other)
            mine, good = mine | other[0], good and other[1]
        joined.append((mine, good))
    return sorted((frozenset(some) for some, good in joined if good), key=min), rooms


def _met(lives: "_Lives", sets: list[frozenset[int]]) -> list[list[frozenset[int]]]:
    """Return sets of results that are there at the same time together, in the order of layers."""
    found: list[list[frozenset[int]]] = []
    end = -1
    for some in sets:
        if min(some) > end:
            found.append([])
        found[-1].append(some)
        end = max(end, lives.last_of(some))
    return found


def _first_and_last_apart(order: Order) -> Order:
    nodes: list[Step | Repeat] = []
    for node in order:
        if isinstance(node, Step):
            nodes.append(node)
            continue
        body = _first_and_last_apart(node.body)
        if node.count > 2:
            nodes += [*body, Repeat(count=node.count - 2, body=body), *body]
        else:
            nodes += body * node.count
    return tuple(nodes)


def _with(order: Order, kept: Iterator[Kept]) -> Plan:
    return tuple(
        Placed(step=node, kept=next(kept))
        if isinstance(node, Step)
        else PlacedRepeat(count=node.count, body=_with(node.body, kept))
        for node in order
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lives:
    """Results by the position of their layer: their size, who reads them, until when."""

    input_bytes: list[int]
    output_bytes: list[int]
    sources: list[tuple[int, ...]]  # of a layer's inputs
    last_reader: list[int]
    barred: set[int]  # never read, or must go to DRAM

    @classmethod
    def of(cls, steps: list[Step], sizes: list[Traffic], never: Set[str] = frozenset()) -> "_Lives":
        latest: dict[str, int] = {}
        sources: list[tuple[int, ...]] = []
        last_reader = list(range(len(steps)))
        barred = {
            i
            for i, step in enumerate(steps)
            if step.parts > 1 or step.leaves or step.gemm.name in never
        }
        for i, step in enumerate(steps):
            found = tuple(latest[name] for name in step.inputs if name in latest)
            whole = len(found) == len(step.inputs)
            sources.append(found if whole else ())
            weights = [latest[name] for name in step.weights if name in latest]
            barred.update(weights if whole else [*weights, *found])
            for j in (*found, *weights):
                last_reader[j] = i
            latest[step.gemm.name] = i
        return cls(
            input_bytes=[size.input_bytes for size in sizes],
            output_bytes=[size.output_bytes for size in sizes],
            sources=sources,
            last_reader=last_reader,
            barred=barred | {i for i, last in enumerate(last_reader) if last == i},
        )

    def alive(self, j: int, i: int) -> bool:
        """Return whether the results of layer j are there while layer i runs."""
        return j <= i <= self.last_reader[j]

    def last_of(self, results: Iterable[int]) -> int:
        """Return the last layer that reads some results."""
        return max(self.last_reader[j] for j in results)

    def kept_at(self, i: int, stay: set[int]) -> Kept:
        """Return what stays around layer i where some results stay."""
        return Kept(
            input=bool(self.sources[i]) and stay.issuperset(self.sources[i]),
            output=i in stay,
            kept_bytes=sum(self.output_bytes[j] for j in stay if self.alive(j, i)),
        )

    def demand_bytes(self, i: int, results: set[int]) -> int:
        """Return what layer i needs of the buffer with some results staying."""
        mine = sum(self.output_bytes[j] for j in self.sources[i] if j in results)
        others = sum(
            self.output_bytes[j] for j in results if self.alive(j, i) and j not in self.sources[i]
        )
        return max(self.input_bytes[i], mine) + others

    def _fitting(self, results: set[int], among: set[int] | None, buffer_bytes: int) -> set[int]:
        """Return the results that fit, each alone or ``among`` others, in all of their layers."""
        return {
            j
            for j in results
            if all(
                self.demand_bytes(i, {j} if among is None else among) <= buffer_bytes
                for i in range(j, self.last_reader[j] + 1)
            )
        }

    def staying(self, buffer_bytes: int) -> set[int]:
        """Return the layers whose results stay."""
        alone = self._fitting(set(range(len(self.output_bytes))) - self.barred, None, buffer_bytes)
        stay = self._fitting(alone, alone, buffer_bytes)
        while True:
            parted = {
                j for sources in self.sources if not stay.issuperset(sources) for j in sources
            }
            if not parted & stay:
                return stay
            stay -= parted
