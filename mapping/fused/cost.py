"""What a fused chain costs: clocks of its schedule, energy by component, what passes DRAM.

Three machines work beside each other, each on one job after another, in a fixed order: the port of
the outermost memory, the array, the vector unit. Of block u (all blocks of all rows and instances,
in order), with p places and s = 1 where the array works ahead of the unit, else 0:

* load(u): inputs with the first block of rows, weights of the first product that are not there;
  waits for first(u - p). It is there a latency later.
* first(u): the first product; waits for load(u), and, where s is 0, for added(u - 1).
* steps(u): the vector unit on the block; waits for first(u).
* more(u): weights of the second product that are not there; waits for second(u - p).
* second(u): the second product; waits for steps(u), more(u), and, in the last block of its rows,
  for the results of the rows p blocks of rows before to have left.
* added(u): the unit adds the block's sums to the rows'; waits for second(u).
* store(u), of the last block of its rows: waits for added(u).

Where sums are spilled, all blocks of rows of one block of columns follow each other. Inputs come
with every block, weights with the first of them. more(u) brings the sums of its rows too, but for
the first block of columns, and waits for store(u - p); every block is stored, its sums unfinished
but for the last block of columns, and second(u) waits for store(u - p).

Order of the port: load(0), ..., load(u + s), more(u), store(u - p), ... (spilled,
store(u - p) before more(u)); of the array: first(0),
..., first(u + s), second(u), ...; of the unit: steps(0), ..., steps(u + s), added(u), ... Where s
is 0, array and unit take turns. The clocks are those of this schedule (`walk_kernels.walk` walks
it), or of the busiest port, if more: jobs take the clocks of their own accesses, and what passes
the ports beside them is not walked.

No schedule of the kind takes less than `lower_bound`: all of each machine's jobs between what must
go ahead of the first of them and what must follow the last; of blocks one after another, all jobs;
of two at a time, half of them.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

from ...datatypes.base.errors import BitlatheError
from .blocks import ALONE, FIRST, LAST
from .chain import Chain, Lanes
from .demand import Demand, demand
from .near import NearChip, PortAt
from .products import ProductOf
from .tiling import Tiling, problem
from .walk import Walk, Walked, walked


@dataclass(frozen=True, slots=True, kw_only=True)
class FusedCost:
    """What a chain costs, all instances together.

    Attributes
    ----------
    cycles : int
    lower_bound_cycles : int
        What no order of the same jobs undercuts (`lower_bound`).
    compute_cycles : Fraction
        Clocks of the array's steps.
    waits : (int, int, int, int)
        Clocks between the array's products in which it waits (`Walked`).
    busy_cycles : dict of str to int
        Clocks in which ``array`` (its steps), ``vector`` (its lanes) and the busiest port of each
        memory work: waits left out.
    accesses : dict of PortAt to (int, int)
        Reads and writes of each port.
    outer_bits : dict of str to Fraction
        Bits that pass the outermost memory, by operand.
    energy_pj : dict of str to float
        Of ``array``, ``vector``, ``sram_read``, ``sram_write``, ``dram``, ``static``; ``total``.
    """

    cycles: int
    lower_bound_cycles: int
    compute_cycles: Fraction
    waits: tuple[int, int, int, int]
    busy_cycles: Mapping[str, int]
    accesses: Mapping[PortAt, tuple[int, int]]
    outer_bits: Mapping[str, Fraction]
    energy_pj: Mapping[str, float]

    @property
    def total_pj(self) -> float:
        """Energy in all."""
        return self.energy_pj["total"]


def cost(
    chain: Chain, tiling: Tiling, near: NearChip, lanes: Lanes, product_of: ProductOf
) -> FusedCost:
    """Return what a chain costs under a tiling.

    Parameters
    ----------
    chain : Chain
    tiling : Tiling
    near : NearChip
        The chip.
    lanes : Lanes
        Its vector unit.
    product_of : callable
        What a block's product costs (`products.BlockProduct`).

    Raises
    ------
    BitlatheError
        The tiling does not fit the chip, or asks a unit to work beside the array that cannot.
    """
    wrong = problem(chain, tiling, near)
    if wrong is None and tiling.ahead and not lanes.overlap:
        wrong = "the vector unit does not work beside the array (vector.overlap), so ahead is off."
    if wrong:
        raise BitlatheError(f"fusion: {wrong}")
    return cost_of(chain, tiling, near, demand(chain, tiling, near, lanes, product_of))


def cost_of(
    chain: Chain, tiling: Tiling, near: NearChip, asked: Demand, walk: Walk | None = None
) -> FusedCost:
    """Return what a chain costs of which the jobs are known.

    Parameters
    ----------
    chain, tiling, near
        As of `cost`.
    asked : Demand
        Of one instance.
    walk : callable, optional
        Gives the clocks of the schedule, as `walked` does.
    """
    found = (walk or walked)(chain, tiling, near, asked)
    return _cost(chain, tiling, near, asked, found)


def bound_of(chain: Chain, tiling: Tiling, near: NearChip, asked: Demand) -> tuple[int, float]:
    """Return clocks and energy that a chain does not undercut, as `cost_of` without the walk.

    Parameters
    ----------
    chain, tiling, near, asked
        As of `cost_of`.
    """
    cycles = max(lower_bound(chain, tiling, near, asked), _in_turn(chain, tiling, near, asked))
    dynamic = math.fsum(asked.energy_pj.values()) * chain.instances
    return cycles, dynamic + cycles * near.whole.static_pj


def scheduled(chain: Chain, tiling: Tiling, near: NearChip, asked: Demand) -> tuple[int, float]:
    """Return the clocks and energy of a chain's schedule: those of `cost_of`, alone.

    With floors in the place of the products' costs no schedule undercuts them: each job starts
    when what it waits for has ended, in a fixed order, so that shorter jobs end none later.

    Parameters
    ----------
    chain, tiling, near, asked
        As of `cost_of`.
    """
    cycles = _at_ports(asked, chain.instances, walked(chain, tiling, near, asked))
    return cycles, math.fsum(_energy_pj(near, asked, chain.instances, cycles).values())


def _in_turn(chain: Chain, tiling: Tiling, near: NearChip, asked: Demand) -> int:
    """Return clocks that a schedule does not undercut in which weights come with every block.

    The last of them come when all that goes ahead of them has passed the port: other loads, and
    stores, but for those of the last p + 1 blocks. In the given order of the port, which
    `lower_bound` leaves open.
    """
    if tiling.held or tiling.spilled:
        return 0
    ends = [kind for kind in asked.counts if kind.place in (ALONE, LAST)]
    stores = [int(asked.stores[kind.rows, 0]) for kind in ends]
    behind = sum(min(int(asked.jobs[kind][i]) for kind in ends) for i in (2, 3)) + min(stores)
    in_rows = int((asked.blocks.high - asked.blocks.low).min())  # blocks, at least
    late = (1 + tiling.places // in_rows) * max(stores)
    ahead = asked.load_cycles * chain.instances
    ahead += max(0, asked.store_cycles * chain.instances - late)
    return ahead + near.outermost.latency_cycles + behind


def _cost(chain: Chain, tiling: Tiling, near: NearChip, asked: Demand, found: Walked) -> FusedCost:
    times = chain.instances
    cycles = _at_ports(asked, times, found)
    return priced(near, asked, times, cycles, lower_bound(chain, tiling, near, asked), found.waits)


def _at_ports(asked: Demand, times: int, found: Walked) -> int:
    """Return the clocks of a schedule, or of the busiest port, if more."""
    return max(found.cycles, _busiest(asked) * times)


class Asks(Protocol):
    """What jobs ask of a chip, once: as `demand.Demand`."""

    @property
    def busy(self) -> Mapping[str | PortAt, int]:
        """Clocks of the vector unit's lanes, and of each port."""

    @property
    def reads(self) -> Mapping[PortAt, int]:
        """Accesses."""

    @property
    def writes(self) -> Mapping[PortAt, int]:
        """Accesses."""

    @property
    def outer_bits(self) -> Mapping[str, Fraction]:
        """Bits that pass the outermost memory."""

    @property
    def step_cycles(self) -> Fraction:
        """Clocks of the array's steps."""

    @property
    def energy_pj(self) -> Mapping[str, float]:
        """Energy by component, without what runs with the clocks."""


def priced(
    near: NearChip,
    asked: Asks,
    times: int,
    cycles: int,
    lower_bound_cycles: int,
    waits: tuple[int, int, int, int],
) -> FusedCost:
    """Return the cost of jobs of which the clocks are known.

    Parameters
    ----------
    near : NearChip
    asked : Asks
        What they ask of it.
    times : int
        How often.
    cycles, lower_bound_cycles, waits
        As of `FusedCost`.
    """
    steps = asked.step_cycles * times
    busy = {"array": math.ceil(steps), "vector": asked.busy["vector"] * times}
    for at, clocks in asked.busy.items():
        if isinstance(at, PortAt):
            busy[at.memory] = max(busy.get(at.memory, 0), clocks * times)
    energy = _energy_pj(near, asked, times, cycles)
    return FusedCost(
        cycles=cycles,
        lower_bound_cycles=lower_bound_cycles,
        compute_cycles=steps,
        waits=waits,
        busy_cycles=busy,
        accesses={
            at: (asked.reads.get(at, 0) * times, asked.writes.get(at, 0) * times)
            for at in asked.busy
            if isinstance(at, PortAt)
        },
        outer_bits={operand: bits * times for operand, bits in asked.outer_bits.items()},
        energy_pj={**energy, "total": math.fsum(energy.values())},
    )


def _energy_pj(near: NearChip, asked: Asks, times: int, cycles: int) -> dict[str, float]:
    energy = {name: pj * times for name, pj in asked.energy_pj.items()}
    energy["static"] = cycles * near.whole.static_pj
    return energy


def _busiest(asked: Demand) -> int:
    return max(clocks for at, clocks in asked.busy.items() if isinstance(at, PortAt))


def lower_bound(chain: Chain, tiling: Tiling, near: NearChip, asked: Demand) -> int:
    """Return the clocks that no order of a chain's jobs undercuts.

    With L, A, V, S the clocks of all loads, products, jobs of the unit and stores; l and a those of
    the least first load and product, b, r, s of the least second product, addition and store at the
    end of rows; t the latency:

    array: l + t + A + r + s; unit: l + t + a + V + s, and b where all blocks are alone; port: L + t
    + b + r + s, and L + S. One block after another: l + t + A + V + s; with the array ahead half of
    A and of all steps, as the products and steps of every second block follow each other. The
    busiest of all ports. Instances that wait for each other: all of it each.

    Parameters
    ----------
    chain, tiling, near
        As of `cost`.
    asked : Demand
        Of one instance.
    """
    apart = chain.instances if tiling.held == 1 else 1
    times = 1 if tiling.held == 1 else chain.instances
    ends = [kind for kind in asked.counts if kind.place in (ALONE, LAST)]
    starts = [kind for kind in asked.counts if kind.place in (ALONE, FIRST)]
    load = min(int(asked.loads[kind.rows, kind.columns]) for kind in starts)
    head = load + near.outermost.latency_cycles
    store = min(int(asked.stores[kind.rows, 0]) for kind in ends)
    first = min(int(asked.jobs[kind][0]) for kind in starts)
    second, added = (min(int(asked.jobs[kind][i]) for kind in ends) for i in (2, 3))
    alone = all(kind.place == ALONE for kind in ends)
    array, unit = asked.array_cycles * times, asked.unit_cycles * times
    every = sum(int(asked.jobs[kind][3]) * count for kind, count in asked.counts.items()) * times
    together = math.ceil((array + unit - every) / 2) if tiling.ahead else array + unit
    loads, stores = asked.load_cycles * times, asked.store_cycles * times
    bounds = [
        head + array + added + store,
        head + first + unit + store + (second if alone else 0),
        loads + near.outermost.latency_cycles + second + added + store,
        loads + stores,
        head + together + store,
        _busiest(asked) * times,
    ]
    return max(bounds) * apart
