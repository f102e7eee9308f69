"""Steps that work on the same elements, one after the other, as one pass of a vector unit.

A gate is an activation, and the product of what it leaves with another result; a graph may write a
GELU as five steps. A unit does all that with an element as it comes. So steps of single elements
that nothing but the next of them reads are one step, if a linear layer alone reads what the last
one leaves: of several products, where they join some (gate and up).
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from ..vector_step import Tensor, VectorStep


class Operand(NamedTuple):
    """What a step reads that depends on inputs.

    ``maker`` is the place of the product whose results it is, each element in its place, ``step``
    that of the step which worked on it last; None where there is none, or elements were moved.
    """

    maker: int | None
    step: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """A step of a graph.

    Attributes
    ----------
    step : VectorStep
        Without the names of products.
    behind : int or None
        Place of the latest product whose results are in what it reads.
    makers : tuple of int or None
        Places of the products whose results its ``reads`` are, where they are some's.
    operands : tuple of Operand
    joined : tuple of int
        Places of all products whose results it works on, where these are known to be all.
    """

    step: VectorStep
    behind: int | None
    makers: tuple[int | None, ...]
    operands: tuple[Operand, ...]
    joined: tuple[int, ...] = ()

    @property
    def after(self) -> tuple[int, ...]:
        """Places of the products that it stands behind."""
        return self.joined or (() if self.behind is None else (self.behind,))


def one_pass(
    noted: Sequence[Noted],
    reads: Mapping[int, int],
    looked_at: Collection[int],
    made: Sequence[int],
) -> tuple[list[Noted], frozenset[int]]:
    """Return steps of which those that are one pass stand once.

    Parameters
    ----------
    noted : sequence of Noted
        In their order.
    reads : mapping of int to int
        From the place of a linear layer to that of the step whose results are its inputs, each
        element in its place.
    looked_at : collection of int
        Steps whose results anything else reads that is no step.
    made : sequence of int
        Elements that each product makes.

    Returns
    -------
    (list of Noted, frozenset of int)
        And the places of the linear layers that read what such a pass leaves.
    """
    readers: Mapping[int, list[int]] = defaultdict(list)
    for i, each in enumerate(noted):
        for operand in each.operands:
            if operand.step is not None:
                readers[operand.step].append(i)
    found, gone, joins = list(noted), set[int](), set[int]()
    times = Counter(reads.values())
    for layer, last in reads.items():
        some = _ahead_of(noted, last, made)
        inside = some - {last}
        alone = times[last] == 1 and not readers[last] and not some & {*looked_at}
        if some and alone and not inside & {*times} and all(some >= {*readers[i]} for i in inside):
            found[last] = _whole([noted[i] for i in sorted(some)])
            gone |= inside
            joins.add(layer)
    return [each for i, each in enumerate(found) if i not in gone], frozenset(joins)


def _ahead_of(noted: Sequence[Noted], last: int, made: Sequence[int]) -> set[int]:
    """Return the steps of a pass by its last; none where more than products' results is in it."""
    elements, some, waiting = noted[last].step.elements, set[int](), [last]
    while waiting:
        i = waiting.pop()
        some.add(i)
        step = noted[i].step
        if not (step.streams and step.direct and step.elements == elements):
            return set()
        for maker, ahead in noted[i].operands:
            if ahead is not None:
                waiting += [ahead] if ahead not in some else []
            elif maker is None or made[maker] != elements:
                return set()
    return some


def _whole(some: Sequence[Noted]) -> Noted:
    """Return steps as one: the latest product's results stream in, the others' lie in memory."""
    last = some[-1].step
    operands = [operand for each in some for operand in each.operands]
    makers = (each.maker for each in operands if each.step is None)
    places = tuple(sorted({maker for maker in makers if maker is not None}))
    vector = Tensor(last.elements, last.elements // last.rows)
    step = replace(
        last,
        operations=tuple(name for each in some for name in each.step.operations),
        pieces=last.elements,
        reads=(vector,) * (len(places) - 1),
        makes=(vector._replace(operand="input"),),
    )
    return Noted(
        step=step, behind=places[-1], makers=places[:-1], operands=tuple(operands), joined=places
    )
