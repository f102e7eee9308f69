"""Which results stay on the chip between layers, instead of going to DRAM and back."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
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


def keep_outputs(order: Order, bytes_of: Callable[[Gemm], Traffic], buffer_bytes: int) -> Plan:
    """Decide which results stay in the input buffer until they were last read.

    The results of a layer stay if, in every layer from it to their last reader, there is room in
    the buffer for the inputs of that layer and all other results that might stay. They do not
    where some layer reads them as its weight operand (K, V), where they are read together with
    other instances' (experts), or where another result read with them does not stay.

    Parameters
    ----------
    order : Order
        The layers in the order of execution.
    bytes_of : callable
        Bytes of a product's operands, each counted once.
    buffer_bytes : int
        Size of the buffer that holds inputs and results.

    Returns
    -------
    Plan
        First and last turn of a Repeat stand alone: what they read or leave may differ.
    """
    unfolded = _first_and_last_apart(order)
    steps = list(steps_of(unfolded))
    lives = _Lives.of(steps, [bytes_of(step.gemm) for step in steps])
    stay = lives.staying(buffer_bytes)
    kept = iter(
        [
            Kept(
                input=bool(lives.sources[i]) and stay.issuperset(lives.sources[i]),
                output=i in stay,
                kept_bytes=sum(lives.output_bytes[j] for j in stay if lives.alive(j, i)),
            )
            for i in range(len(steps))
        ]
    )
    return _with(unfolded, kept)


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
    def of(cls, steps: list[Step], sizes: list[Traffic]) -> "_Lives":
        latest: dict[str, int] = {}
        sources: list[tuple[int, ...]] = []
        last_reader = list(range(len(steps)))
        barred = {i for i, step in enumerate(steps) if step.parts > 1}
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
