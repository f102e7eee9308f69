"""The best mapping of a layer on a chip, proven: every mapping of the space is costed or bounded.

A part of the space is left out only where a bound on both clocks and energy says that it has
nothing better than what was found:

* an unrolling: clocks of its steps; energy of its array, of as many clocks, and of the tiles of the
  outer memories that would move least if a step were one element; for those that this leaves, of
  the whole accesses that the array takes step by step (`mapping.step_energy`);
* tiles of the outer tiers, whatever is further in: those, with first load and last store of those
  tiers, and what each port moves at least, the best dimension being innermost, with the least that
  transfers of each tier further in take, if its tiles are no larger (`mapping.tier_floors`). A
  smaller tile of the first tier moves no less, so one that is hopeless without its first load and
  last store excludes the smaller ones;
* two dimensions of a tier's tiles, whatever the third: the same, from tables;
* an order of the outermost loops, with tiles of one tier or more: those, with all that enters the
  first tier counted exactly, each transfer in the longest window that it could have.

Transfers below the first tier are repeated for every block of an outer tier that does not index
them, where a whole block has several of their tiles; and for every block of their own, but of the
dimension that is innermost of the loops outside. Units that take an element alike all write it.
Sums are unfinished where loops that add to them are outside a tile of which the next memory inside
holds a part only: they take the room of unfinished ones, and each block brings them in and out.
Whole blocks of the first tier move all of their tiles anew where other blocks come in between, or a
memory further in has no room for the block. Tiles that are known take whole accesses where they
move once. Unrollings that differ only in axes that are alike for all memories are tried once.
The most promising come first, which changes what is costed, not what is found: of mappings that
are equal in clocks and energy the first in an order of their own (`mapping.front_kernels`).

A search for an objective ends where a budget of nodes is spent, tiles that were bounded and what
takes as long. Then the bounds of all that is still open say how far the best found may be from the
best of all (`best.Best.within`).
"""

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from functools import cache
from math import prod
from typing import Any

from ..arch.hierarchy import OPERANDS, Axis, Hierarchy, Memory, Port
from ..datatypes.base.errors import BitlatheError, check_name
from .accesses import outermost_bits
from .best import OBJECTIVES, Best, Objective
from .budget import BUDGET
from .constraints import Constraints
from .cost import Cost, cost
from .counted import counted_cost
from .front_kernels import PARETO
from .nest import Loops, dims_of
from .operands import OperandBits
from .packed import Packed, TooFineError
from .part_search import PartSearch
from .space import FREE, ORDERED, Chains, least_extents, searchable, storages, ways_of
from .staying import searched as searched_chip
from .unrolled import PARETO_ROOM, Unrolled, new_front

NO_LIMIT = 1 << 60
FIRST_TURN = 1 << 18  # nodes of a part before the next has its turn
_PARTS = (0, 1 << 16, 1 << 12, 1 << 8)  # of a bit that are searched in, 0: as fine as asked
_LONGEST = 1 << 28  # elements of a dimension: some 30 s of tiles; more would not end


def search(
    layer: Loops,
    bits: OperandBits,
    hierarchy: Hierarchy,
    objective: Objective = "cycles",
    *,
    constraints: Constraints = FREE,
    limit: int = NO_LIMIT,
    budget: int = BUDGET,
) -> Best:
    """Return the best mapping of the space (`mapping.space`) for an objective.

    Parameters
    ----------
    layer : Loops
        A product (`Loops.product`) or a convolution (`Loops.conv`).
    bits : OperandBits
    hierarchy : Hierarchy
    objective : {"cycles", "energy", "edp"}
        What is least. Of mappings that are equal in it the one with less energy is taken, or with
        fewer clocks.
    constraints : Constraints
        What the mapping must keep to.
    limit : int
        Mappings to cost at most. The best of those is returned.
    budget : int
        Nodes to spend at most: tiles to bound, and what takes as long. More never finds less.

    Raises
    ------
    BitlatheError
        No mapping fits: it says which memory is too small, and what would do, or which constraint
        excludes all.
    """
    check_name("objective", objective, OBJECTIVES)
    number = OBJECTIVES.index(objective)
    return _checked(layer, bits, hierarchy, number, constraints, limit, budget)[0]


def front(
    layer: Loops, bits: OperandBits, hierarchy: Hierarchy, *, constraints: Constraints = FREE
) -> tuple[Best, ...]:
    """Return the mappings of which none has fewer clocks and no more energy, or less and no more.

    Of those with equal clocks and energy one. Energies that differ by less than 1e-12 are equal.

    Parameters
    ----------
    layer, bits, hierarchy, constraints
        As `search` takes them.

    Returns
    -------
    tuple of Best
        In ascending order of clocks; ``mappings_evaluated`` and ``search_seconds`` are those of the
        search for all of them.

    Raises
    ------
    BitlatheError
        As `search`.
    """
    return tuple(_checked(layer, bits, hierarchy, PARETO, constraints, NO_LIMIT, NO_LIMIT))


def _checked(
    layer: Loops,
    bits: OperandBits,
    hierarchy: Hierarchy,
    objective: int,
    constraints: Constraints,
    limit: int,
    budget: int,
) -> list[Best]:
    wrong = layer_problems(layer)
    if wrong:
        raise BitlatheError(wrong)
    constraints.check(layer, hierarchy)
    _compile()
    found = _searched(layer, bits, hierarchy, objective, constraints, limit, budget)
    if not found:
        raise BitlatheError(_excluded(layer, bits, hierarchy, constraints))
    return found


def _searched(
    layer: Loops,
    bits: OperandBits,
    hierarchy: Hierarchy,
    objective: int,
    constraints: Constraints,
    limit: int,
    budget: int,
) -> list[Best]:
    """Return the best mapping of an objective, or the front of both, fewest clocks first."""
    started = time.perf_counter()
    asked, layer, chip = layer, searchable(layer), searched_chip(hierarchy)
    ways = ways_of(layer, chip.axes, constraints)
    stored = [
        storage
        for storage in storages(chip)
        if constraints.stores({op: [m.name for m in some] for op, some in storage.items()})
    ]
    best, looked = new_front(objective, max(4, len(layer.sizes))), dict[int, Unrolled]()

    def part(i: int) -> PartSearch:
        packed = _packed(layer, bits, chip, stored[i], constraints)
        return PartSearch(packed, ways, i * len(ways), objective, best, looked)

    searches = _search_parts(part, len(stored), best, limit, budget)
    evaluated = sum(each.evaluated for each in searches)
    seconds = time.perf_counter() - started
    least = min((each.least() for each in searches if each.open), default=None)
    least = least if len(searches) == len(stored) else 0.0
    if best[2][0] < 0:
        raise BitlatheError(f"more than {PARETO_ROOM} mappings are best in clocks or energy.")
    found, exact = list[Best](), counts_all(asked, hierarchy)
    exact = exact and all(each.part.bits == bits for each in searches)
    for (cycles, _), row in zip(best[0][: best[2][0]], best[1], strict=False):
        at, way = divmod(int(row[0]), len(ways))
        mapping = looked[int(row[0])].mapping(row)
        if exact and objective != PARETO:
            costs, outer = counted_cost(searches[at].part, ways, way)
        else:
            costs = cost(asked, bits, mapping, hierarchy)
            outer = outermost_bits(asked, bits, mapping, hierarchy)
        assert not exact or costs.cycles == cycles, "the compiled counts are the plain ones"
        found.append(
            Best(
                mapping=mapping,
                cost=costs,
                outer_bits=outer,
                mappings_evaluated=evaluated,
                search_seconds=seconds,
                optimal=least is None and exact,
                within=_within(costs, objective, least) if exact else None,
            )
        )
    for each in searches:
        each.part.give_back()
    return found


def _packed(
    layer: Loops, bits: OperandBits, chip: Hierarchy, storage: Chains, constraints: Constraints
) -> Packed:
    """Return a layer as the search takes it, in bits that 64-bit counters hold.

    Scales of large tensors make bits of an element with long denominators. Where they are too long,
    mappings are searched in bits rounded up; what is found is counted as it was asked.
    """
    for parts in _PARTS:
        with suppress(TooFineError):
            taken = bits.coarser(parts) if parts else bits
            return Packed(layer, taken, chip, storage, constraints)
    return Packed(layer, bits, chip, storage, constraints)


def _search_parts(
    part: Callable[[int], PartSearch], many: int, best: Any, limit: int, budget: int
) -> list[PartSearch]:
    """Search all parts in turn, each for twice as many nodes as the time before; return them.

    A budget ends what has found something. After as many mappings as may be costed no part is made.
    """
    searches, most, spent = list[PartSearch](), FIRST_TURN, 0
    while len(searches) < many or any(each.open for each in searches):
        for i in range(many):
            may = limit - sum(each.evaluated for each in searches)
            if may <= 0:
                return searches
            if i == len(searches):
                searches.append(part(i))
            left = budget - spent if best[2][0] else NO_LIMIT
            if left > 0:
                searches[i].search(may, min(most, left))
            spent = sum(each.nodes for each in searches)
        if spent >= budget and best[2][0]:
            break
        most *= 2
    return searches


def _within(costs: Cost, objective: int, least: float | None) -> float | None:
    """Return how many times what no mapping undercuts the cost of one is, in an objective.

    ``least`` is None where nothing is open, and nothing where not all was bounded.
    """
    if least is None:
        return 1.0
    if not least:
        return None
    return max(1.0, (costs.cycles, costs.total_pj, costs.edp)[objective] / least)


@cache
def _compile() -> None:
    """Load the compiled kernels, or compile them, so that searches are timed without."""
    ports = (Port(direction="both", width_bits=Fraction(1)),)
    memories = tuple(
        Memory(name=name, holds=OPERANDS, size_bits=size, ports=ports)
        for name, size in (("outer", None), ("inner", 3))
    )
    bits = OperandBits(weight=Fraction(1), input=Fraction(1), output=Fraction(1), partial=1)
    chip = Hierarchy(memories=memories, axes=(Axis(name="x", size=2, dims=("n",)),))
    for objective in (1, PARETO):
        _searched(Loops.product(1, 2, 1), bits, chip, objective, FREE, NO_LIMIT, NO_LIMIT)


def counts_all(layer: Loops, hierarchy: Hierarchy) -> bool:
    """Return whether the search counts a layer as `cost` does.

    No halo is kept, and nothing stays behind the outermost memory.
    """
    halos = layer.windows and hierarchy.keeps_halos
    return not halos and not hierarchy.staying


def layer_problems(layer: Loops) -> str | None:
    """Return why a layer cannot be searched, or None."""
    dims = list(layer.sizes)
    if layer.windows and sorted(set(ORDERED[:7]) - set(dims)) == [] and set(dims) <= set(ORDERED):
        return None
    if layer.windows or dims[:3] != ["m", "n", "k"] or set(dims[3:]) - {"b"}:
        return (
            f"the search takes products, of dimensions m, n, k and b, and convolutions, of m, n, "
            f"c, p, q, r, s and g; this layer has {', '.join(layer.sizes)}."
        )
    for dim in "mnk":
        if layer.sizes[dim] > _LONGEST:
            return (
                f"{dim} is {layer.sizes[dim]}, but the search takes products of up to "
                f"{_LONGEST} (2^28) elements a dimension; give fewer tokens, or a mapper that is a "
                "rule, such as whole-buffer."
            )
    return None


def _excluded(
    layer: Loops, bits: OperandBits, hierarchy: Hierarchy, constraints: Constraints
) -> str:
    """Return why nothing was found: a memory that is too small, or a constraint."""
    if not constraints.entries or not _searched(layer, bits, hierarchy, 0, FREE, 1, NO_LIMIT):
        return too_small(layer, bits, hierarchy)
    for entry in constraints.entries:
        alone = Constraints(entries=(entry,))
        if not _searched(layer, bits, hierarchy, 0, alone, 1, NO_LIMIT):
            return (
                f"constraint {entry.text!r}: no mapping of this layer on this chip keeps to it; a "
                "tile must fit, and be a whole number of steps' tiles."
            )
    texts = ", ".join(repr(entry.text) for entry in constraints.entries)
    return f"no mapping keeps to all of the constraints {texts}; leave one out."


def too_small(layer: Loops, bits: OperandBits, hierarchy: Hierarchy) -> str:
    """Return which memories cannot hold the least tile of each operand that must pass them.

    That is one element; of a convolution in a memory of the chip a row of outputs, what it reads of
    a channel, and a channel's kernel.
    """
    found = []
    for memory in hierarchy.memories[1:]:
        held = [operand for operand in memory.holds if operand not in memory.optional]
        words = memory.words is not None
        size = memory.words if words else memory.size_bits
        needs = sum(
            _least_elements(layer, op, memory)
            if words
            else _least_bits(layer, bits, hierarchy, op, memory)
            for op in held
        )
        if size is not None and needs > size:
            rows = layer.windows and not memory.per
            found.append(
                f"memory {memory.name!r} is too small: {'a row' if rows else 'one element'} of "
                f"each operand it must hold ({', '.join(held)}) takes {needs} "
                f"{'words' if words else 'bits'}, and it has {size}, {needs - size} too few; give "
                f"at least {needs}."
            )
    return " ".join(found) or "no mapping of the layer fits the chip's memories; enlarge them."


def _least_elements(layer: Loops, operand: str, memory: Memory) -> int:
    if not layer.windows or memory.per:
        return 1
    sizes = {dim: size if dim in "qrs" else 1 for dim, size in layer.sizes.items()}
    rows, columns = layer.windows
    found = 0
    for p in range(layer.sizes["p"]):  # one in the middle reads less border than the first
        at = replace(rows, padding=-rows.low(p, 0))
        found = max(found, replace(layer, sizes=sizes, windows=(at, columns)).elements(operand))
    return found


def _least_bits(
    layer: Loops, bits: OperandBits, hierarchy: Hierarchy, operand: str, memory: Memory
) -> int:
    """Return what the least tile takes: a sum is finished where it arrives from inside once."""
    inside = hierarchy.chain(operand)[hierarchy.chain(operand).index(memory) + 1 :]
    summed = prod(size for dim, size in layer.sizes.items() if dim not in layer.indexes["output"])
    at_once = prod(
        max([1, *(u for u in least_extents(layer.sizes[dim], axis.size))])
        for axis in hierarchy.axes
        for dim in dims_of(axis.dims)
        if dim in layer.sizes and dim not in layer.indexes["output"]
    )
    partial = operand == "output" and not inside and at_once < summed
    elements = _least_elements(layer, operand, memory)
    return math.ceil(elements * bits.of(operand, partial=partial))
