"""Check a certificate of a fused chain: everything in it is derived again and compared exactly.

The schedule is walked block by block, its products counted from their loops (`proof.cost`); the
space of tilings is written down from chain and chip (`room`); each tiling is a part with a floor by
one of three formulas (`BOUNDS`), and the least of them is the bound that the certificate claims.
"""

from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache
from math import floor
from typing import Any

from ..check import Checker, Verdict, same
from ..cost import Cost, cost
from ..legal import problem as problem_of_nest
from ..record import (
    OBJECTIVES,
    Chip,
    Layer,
    Loop,
    Nest,
    ProofError,
    chip_of,
    exact,
    listed,
    nest_of,
    short,
    take,
    whole,
)
from ..space import extents
from .floors import Floors, traffic_floor
from .jobs import Cut, Jobs, Made, Total
from .near import Near, near_of
from .record import Asked, Chain, Lanes, Tiling, asked_of, chain_of, lanes_of, tiling_of
from .room import problem, taken, tilings
from .walk import walk

VERSION = 1
KEYS = (
    "fused_certificate about objective chain lanes chip space schedule cost bound proofs parts "
    "traffic cycle_rung_cycles"
)
ABOUT = (
    "clocks of the analytic rung, those of the schedule of blocks (docs/mapping.md, Fused chains) "
    "or of the busiest port, and energy; what the cycle rung takes is beside it and not proven"
)
SPACE = {
    "blocks": "of rows, whole tokens, and of columns, the least for 1 to 8, 12, 16, 24, 32 ... "
    "blocks",
    "places": "one or two of what comes and leaves; the array ahead of the vector unit, where that "
    "works beside it, or not",
    "weights": "with every block, of one instance or of two held whole, or once with sums spilled",
    "products": "of each block every mapping on the near memories, as of the certificate of a "
    "product",
}
BOUNDS = {
    "sums": "all clocks of the array and of the vector unit, in turn or beside, or of a port",
    "walk": "the schedule walked with the floors of the blocks' products",
    "products": "the schedule walked with the proven bounds of the blocks' products",
}


def check_fused(top: dict[str, Any]) -> Verdict:
    """Check a certificate of a fused chain.

    Parameters
    ----------
    top : dict
        What its JSON says.

    Raises
    ------
    ProofError
        Something in it does not hold: it says what, in a sentence.
    """
    version, about, objective, chain, lanes, chip, space, schedule, costs, bound, proofs, parts, \
        traffic, rung = take(top, "the certificate", KEYS)  # fmt: skip
    if version != VERSION or isinstance(version, bool):
        raise ProofError(
            f"fused_certificate is {short(version)}; this checker knows version {VERSION}."
        )
    if objective not in OBJECTIVES:
        raise ProofError(f"objective is {short(objective)}; it must be one of {OBJECTIVES}.")
    for name, said, known in (("about", about, ABOUT), ("space", space, SPACE)):
        if said != known:
            raise ProofError(f"{name} does not say what this checker checks: {short(said)}.")
    of = Fusion(chain_of(chain), near_of(chip_of(chip, "chip")), lanes_of(lanes), objective)
    found = of.scheduled(schedule)
    same(costs, found.data(), "cost")
    lowest = traffic_data(found, of)
    same(traffic, lowest, "traffic")
    least = exact(bound, "bound")
    if not least:
        raise ProofError("bound is 0; it must be more than 0.")
    if rung is not None and whole(rung, "cycle_rung_cycles") < found.cycles:
        raise ProofError("cycle_rung_cycles is less than cycles, which it cannot be.")
    of.read_proofs(proofs)
    value = found.of(objective)
    derived = min(value, of.least_of(parts))
    if derived != least:
        raise ProofError(f"bound is {short(bound)}; the parts prove {derived}, which it must be.")
    return Verdict(
        objective=objective,
        value=value,
        bound=least,
        parts=of.parts,
        traffic_bits=sum(found.outer_bits.values(), Fraction(0)),
        floor_bits=lowest["floor_bits"],
        floor=lowest["formula"],
    )


def traffic_data(found: "FusedCost", of: "Fusion") -> dict[str, Any]:
    """Return the traffic of a schedule and its floor as plain data."""
    bits, formula, once = traffic_floor(of.chain, of.near.whole)
    return {
        "bits": str(sum(found.outer_bits.values(), Fraction(0))),
        "floor_bits": bits,
        "formula": formula,
        "once_bits": str(once),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class FusedCost:
    """What all instances of a chain take: clocks, exact energies in pJ, what passes each port.

    ``taken``: bits, and elements, that lie in each near memory.
    """

    cycles: int
    compute: Fraction
    lanes: int
    ports: dict[tuple[str, int], tuple[int, int, int]]
    outer_bits: dict[str, Fraction]
    energy_pj: dict[str, Fraction]
    taken: dict[str, list[int]] = field(default_factory=dict)

    def of(self, objective: str) -> Fraction:
        """Return the objective's value: clocks, pJ, or their product."""
        return value_of(objective, self.cycles, sum(self.energy_pj.values(), Fraction(0)))

    def data(self) -> dict[str, Any]:
        """Return plain data: exact numbers as integers and text."""
        return {
            "cycles": self.cycles,
            "compute_cycles": str(self.compute),
            "vector_cycles": self.lanes,
            "ports": [
                {
                    "memory": memory, "port": port, "reads": reads, "writes": writes,
                    "busy_cycles": busy,
                }
                for (memory, port), (reads, writes, busy) in self.ports.items()
            ],
            "outermost_bits": {name: str(bits) for name, bits in self.outer_bits.items()},
            "taken_bits_and_elements": self.taken,
            "energy_pj": {name: str(pj) for name, pj in self.energy_pj.items()},
            "total_pj": str(sum(self.energy_pj.values(), Fraction(0))),
        }  # fmt: skip


def value_of(objective: str, cycles: int, pj: Fraction) -> Fraction:
    """Return clocks, pJ, or their product."""
    return Fraction(1 if objective == "energy" else cycles) * (1 if objective == "cycles" else pj)


@dataclass(slots=True, eq=False)
class Fusion:
    """A chain on a chip, and what is proven of its blocks' products.

    Parameters
    ----------
    chain : Chain
    near : Near
    lanes : Lanes
    objective : str
    """

    chain: Chain
    near: Near
    lanes: Lanes
    objective: str
    floors: Floors = field(init=False)
    proven: dict[Asked, Made] = field(default_factory=dict)
    used: set[Asked] = field(default_factory=set)
    parts: int = 0
    cut: Any = field(init=False)

    def __post_init__(self) -> None:
        self.floors = Floors(self.chain, self.near)
        self.cut = cache(lambda rows, columns: Cut(self.chain, rows, columns))

    def jobs(self, tiling: Tiling, product: Any) -> Jobs:
        """Return the jobs of a tiling whose products take what ``product`` says."""
        cut = self.cut(tiling.rows, tiling.columns)
        return Jobs(self.chain, cut, tiling, self.near, self.lanes, product)

    def walked(self, jobs: Jobs) -> int:
        """Return the clocks of a schedule, all instances together, ports aside."""
        runs = [(many, jobs.times(*kind)) for many, kind in jobs.cut.order(jobs.tiling)]
        latency = self.near.outermost.latency
        return walk(runs, jobs.tiling, latency, self.chain.instances)

    def scheduled(self, data: Any) -> FusedCost:
        """Return what the certificate's schedule costs.

        Raises
        ------
        ProofError
            The chip cannot run it, or a product has no mapping, or one that it cannot run.
        """
        tiled, rows = take(data, "schedule", "tiling products")
        tiling, nests = tiling_of(tiled), dict[Asked, Nest]()
        for i, row in enumerate(listed(rows, "schedule.products")):
            where = f"schedule.products[{i}]"
            asked, levels, spatial = take(row, where, "asked levels spatial")
            nests[asked_of(asked, where)] = nest_of({"levels": levels, "spatial": spatial}, where)
        if len(nests) != len(rows):
            raise ProofError("schedule.products has a product twice; each must be there once.")
        return self.cost(tiling, nests)

    def cost(self, tiling: Tiling, nests: dict[Asked, Nest]) -> FusedCost:
        """Return what a schedule costs, all instances together.

        Parameters
        ----------
        tiling : Tiling
        nests : dict
            The mapping of each product of its blocks.

        Raises
        ------
        ProofError
            The chip cannot run it.
        """
        used, made = set[Asked](), dict[Asked, Made]()

        def product(asked: Asked) -> Made:
            used.add(asked)
            if asked not in made:
                if asked not in nests:
                    raise ProofError(f"schedule.products: {asked_text(asked)} is missing.")
                made[asked] = self.made(asked, nests[asked])
            return made[asked]

        wrong = problem(self.chain, tiling, self.near, self.lanes)
        if tiling.rows > self.chain.m or tiling.columns > self.chain.middle:
            wrong = "its blocks have more rows or columns than the chain."
        if wrong:
            raise ProofError(f"the schedule: {wrong}")
        jobs = self.jobs(tiling, product)
        total, walked = jobs.total(), self.walked(jobs)
        if set(nests) != used:
            extra = asked_text(next(iter(set(nests) - used)))
            raise ProofError(f"schedule.products: {extra} is none of the schedule's.")
        unfinished = frozenset(
            each.second
            for each in used
            if each.finished and leaves_unfinished(self.chain.layer(each), nests[each])
        )
        wrong = problem(self.chain, tiling, self.near, self.lanes, unfinished)
        if wrong:
            raise ProofError(f"the schedule, with sums that its products leave unfinished: {wrong}")
        found = self.total_cost(total, walked)
        return replace(found, taken=taken(self.chain, tiling, self.near, unfinished))

    def total_cost(self, total: Total, walked: int) -> FusedCost:
        """Return what all instances take of which the jobs, and the clocks, are known."""
        times = self.chain.instances
        cycles = max(walked, total.busiest * times)
        energy = {name: pj * times for name, pj in total.energy_pj().items()}
        energy["static"] = cycles * self.near.whole.static_pj
        keys = [
            (memory.name, i)
            for memory in self.near.whole.memories
            for i in range(len(memory.ports))
        ]
        return FusedCost(
            cycles=cycles,
            compute=total.steps * times,
            lanes=total.lanes * times,
            ports={
                key: (total.accesses[key, True] * times, total.accesses[key, False] * times,
                      total.busy[key] * times)
                for key in keys
            },
            outer_bits={
                name: total.bits.get(name, Fraction(0)) * times
                for name in ("weight", "input", "output")
            },
            energy_pj=energy,
        )  # fmt: skip

    def made(self, asked: Asked, nest: Nest) -> Made:
        """Return what a product takes under a mapping.

        Raises
        ------
        ProofError
            The chip cannot run it.
        """
        layer, chip = self.of(asked)
        sizes = dict(zip(layer.dims, layer.sizes, strict=True))
        most = {axis.name: axis.size for axis in chip.axes}
        wrong = problem_of_nest(layer, chip, nest)
        if not wrong and any(u not in extents(sizes[d], most[axis]) for axis, d, u in nest.spatial):
            wrong = "it unrolls an extent that is not the least for its number of steps."
        if wrong:
            raise ProofError(f"the mapping of {asked_text(asked)}: {wrong}")
        return made_of(cost(layer, chip, nest), self.near)

    def of(self, asked: Asked, *, static: bool = True) -> tuple[Layer, Chip]:
        """Return a product and the chip behind the near memories; without what runs with clocks."""
        chip = self.near.behind(self.chain.products[asked.second].unit_pj)
        return self.chain.layer(asked), chip if static else replace(chip, static_pj=Fraction(0))

    def read_proofs(self, data: Any) -> None:
        """Check what is proven of blocks' products.

        Raises
        ------
        ProofError
            Something does not hold.
        """
        for i, row in enumerate(listed(data, "proofs")):
            where = f"proofs[{i}]"
            said, cycles, energy = take(row, where, "asked cycles energy")
            asked = asked_of(said, where)
            if asked in self.proven:
                raise ProofError(f"{where} is of a product that is there before.")
            least = self._proven(asked, "cycles", cycles, f"{where}.cycles")
            pj = None
            if self.objective != "cycles":
                pj = self._proven(asked, "energy", energy, f"{where}.energy")
            elif energy is not None:
                raise ProofError(f"{where}.energy is there, and the objective is clocks alone.")
            self.prove(asked, least, pj)

    def prove(self, asked: Asked, cycles: Fraction, pj: Fraction | None) -> None:
        """Note the proven bounds of a product: clocks, and energy without what runs with them."""
        made = self.floors.product(asked)
        both = max(pj or Fraction(0), made.array_pj + made.memory_pj)
        cycles_ = max(made.cycles, -floor(-cycles))
        self.proven[asked] = made._replace(cycles=cycles_, array_pj=both, memory_pj=Fraction(0))

    def _proven(self, asked: Asked, objective: str, data: Any, where: str) -> Fraction:
        bound, proof = take(data, where, "bound proof")
        least = exact(bound, f"{where}.bound", positive=True)
        layer, chip = self.of(asked, static=objective == "cycles")
        derived, parts = Checker(layer, objective, least).proof([chip], proof)
        self.parts += parts
        if derived != least:
            raise ProofError(f"{where}.bound is {short(bound)}; its parts prove {derived}.")
        return least

    def bound(self, tiling: Tiling, formula: str) -> Fraction:
        """Return what no schedule of a tiling undercuts.

        Parameters
        ----------
        tiling : Tiling
        formula : str
            Of `BOUNDS`.

        Raises
        ------
        ProofError
            There is no proof of a product.
        """
        jobs = self.jobs(tiling, self._of_proofs if formula == "products" else self.floors.product)
        total, times = jobs.total(), self.chain.instances
        cycles = self.sums(jobs, total) if formula == "sums" else self.walked(jobs)
        cycles = max(cycles, total.busiest * times)
        pj = sum(total.energy_pj().values(), Fraction(0)) * times
        return value_of(self.objective, cycles, pj + cycles * self.near.whole.static_pj)

    def sums(self, jobs: Jobs, total: Total) -> int:
        """Return the clocks of all jobs of the array, and of the vector unit, in turn or beside."""
        tiling = jobs.tiling
        beside = max(total.array, total.unit) if tiling.ahead else total.array + total.unit
        return beside * self.chain.instances

    def _of_proofs(self, asked: Asked) -> Made:
        if asked not in self.proven:
            raise ProofError(f"proofs: {asked_text(asked)} is missing, and a part needs it.")
        self.used.add(asked)
        return self.proven[asked]

    def least_of(self, data: Any) -> Fraction:
        """Return the least bound of all parts of the space.

        Raises
        ------
        ProofError
            A part is missing, or has another bound than is said.
        """
        some = list(tilings(self.chain, self.near, self.lanes))
        rows = listed(data, "parts")
        if len(rows) != len(some):
            raise ProofError(f"parts has {len(rows)} entries; {len(some)} tilings fit the chip.")
        found = []
        for i, (tiling, row) in enumerate(zip(some, rows, strict=True)):
            where = f"parts[{i}]"
            named, formula, said = take(row, where, "tiling formula bound")
            same(named, list(tiling), f"{where}.tiling")
            if formula not in BOUNDS:
                raise ProofError(f"{where}.formula is {short(formula)}; it is one of {[*BOUNDS]}.")
            bound = self.bound(tiling, formula)
            same(said, floor(bound), f"{where}.bound")
            found.append(bound)
        self.parts += len(some)
        unused = set(self.proven) - self.used
        if unused:
            raise ProofError(f"proofs: no part needs that of {asked_text(next(iter(unused)))}.")
        return min(found)


def made_of(found: Cost, near: Near) -> Made:
    """Return what a product takes, by the ports of the whole chip."""
    memories = (memory.name for memory in near.inside.memories)
    return Made(
        cycles=found.cycles,
        steps=found.compute,
        ports={near.key(key): each[:3] for key, each in found.ports.items()},
        array_pj=found.energy_pj["array"],
        memory_pj=sum((found.energy_pj[name] for name in memories), Fraction(0)),
    )


def leaves_unfinished(layer: Layer, nest: Nest) -> bool:
    """Whether a product's sums leave for the near memory before they are finished.

    They do where a loop over k has a loop over another tile of results inside it, both outside the
    next memory that keeps them; with no such memory, where there is any loop over k.
    """
    loops, keeps = list[Loop](), 0
    for level in nest.levels:
        keeps += "output" in level.keeps
        if keeps > 1:
            break
        loops += level.loops
    block, adds = dict(zip(layer.dims, layer.sizes, strict=True)), False
    for dim, tile in loops:
        if tile < block[dim]:
            block[dim] = tile
            if adds and dim != "k":
                return True
            adds = adds or dim == "k"
    return adds and keeps < 2


def asked_text(asked: Asked) -> str:
    """Return a product of a block in words."""
    which = "the second product" if asked.second else "the first product"
    return f"{which} of a block of {asked.rows} x {asked.columns}"
