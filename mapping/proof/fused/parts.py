"""Certificates of chains of any kind: a schedule's cost, and the parts that bound all tilings.

A kind says what its products are, which tilings there are, and what the jobs of one ask
(`Blocks`). Each tiling is a part with a floor by one of three formulas (`BOUNDS`); the least of
them is the bound that a certificate claims. What is proven of products stands under ``proofs``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import replace
from fractions import Fraction
from math import floor, inf
from typing import Any, ClassVar

from ..about import chips_lines
from ..check import Checker, Verdict, same
from ..cost import DECODERS, Cost, cost
from ..figures import Work, check_needed, chip_figures, layer_figures, mapping_figures
from ..legal import problem as problem_of_nest
from ..record import (
    KINDS,
    OBJECTIVES,
    Chip,
    Layer,
    Loop,
    Nest,
    ProofError,
    exact,
    listed,
    nest_of,
    short,
    take,
    whole,
)
from ..space import extents
from .floors import Floors
from .near import Near
from .record import Lanes
from .totals import FusedCost, Made, Total, cost_of, value_of

VERSION = 5
KEYS = (
    "about objective chain lanes chip space schedule figures cost bound proofs parts dataflows "
    "others traffic"
)
BOUNDS = {
    "sums": "all clocks of the array and of the vector unit, in turn or beside, or of a port",
    "walk": "the schedule walked with the floors of the blocks' products",
    "products": "the schedule walked with the proven bounds of the blocks' products",
}
ProductOf = Callable[[Any], Made]


class Blocks(ABC):
    """A chain on a chip, cut into blocks, and what is proven of the products of these.

    Parameters
    ----------
    near : Near
    lanes : Lanes
    objective : str
    """

    NAME: ClassVar[str]
    """The key of its version in a file."""
    ABOUT: ClassVar[str]
    SPACE: ClassVar[dict[str, str]]

    def __init__(self, near: Near, lanes: Lanes, objective: str) -> None:
        self.near, self.lanes, self.objective = near, lanes, objective
        self.floors = Floors(near)
        self.least: dict[Any, Made] = {}
        self.proven: dict[Any, Made] = {}
        self.used: set[Any] = set()
        self.parts = 0
        self.enough: Fraction | float = inf

    @abstractmethod
    def layer(self, asked: Any) -> Layer:
        """Return a product of a block."""

    @abstractmethod
    def unit_pj(self, asked: Any) -> Fraction:
        """Return the energy of a unit in a clock of a product's steps."""

    @abstractmethod
    def line(self) -> str:
        """Return the chain in a line."""

    @abstractmethod
    def text(self, asked: Any) -> str:
        """Return a product in words."""

    @abstractmethod
    def asked_of(self, data: Any, where: str) -> Any:
        """Return the product that plain data names."""

    @abstractmethod
    def tiling_of(self, data: Any, where: str) -> Any:
        """Return the tiling of plain data."""

    @abstractmethod
    def tilings(self) -> Iterable[Any]:
        """Return every tiling of the space that fits the chip."""

    @abstractmethod
    def named(self, tiling: Any) -> list[Any]:
        """Return a tiling as the parts of a certificate name it."""

    @abstractmethod
    def problem(self, tiling: Any, unfinished: frozenset[Any]) -> str | None:
        """Return what keeps a tiling from running, or None.

        ``unfinished``: products that leave sums in the near memory before these are finished.
        """

    @abstractmethod
    def taken(self, tiling: Any, unfinished: frozenset[Any]) -> dict[str, list[int]]:
        """Return the bits, and the elements, that a tiling takes of each near memory."""

    @abstractmethod
    def asks(self, tiling: Any, product: ProductOf, *, walked: bool) -> tuple[int, Total, int]:
        """Return the clocks of a tiling's jobs, what one instance asks, and the instances.

        ``walked``: whether the clocks are those of the schedule, else sums over its jobs that it
        does not undercut.
        """

    @abstractmethod
    def works(self) -> list[Work]:
        """Return the chain's products as if there was one block."""

    @abstractmethod
    def unit_figures(self) -> dict[str, Any]:
        """Return what follows from the steps of the vector unit, as plain data."""

    def figures(self) -> dict[str, Any]:
        """Return what follows from chain and chip (`proof.figures`) as plain data.

        Raises
        ------
        ProofError
            The chip says what nothing depends on.
        """
        works, chip = self.works(), self.near.whole
        check_needed(works, chip, "chip")
        return {
            "layers": [layer_figures(work) for work in works],
            "chip": chip_figures(works, chip),
            "unit": self.unit_figures(),
        }

    def mapping_figures(self, nests: dict[Any, Nest]) -> list[dict[str, Any]]:
        """Return what follows from the mappings of a schedule's products as plain data."""
        return [mapping_figures(*self.of(asked), nest) for asked, nest in nests.items()]

    @abstractmethod
    def lowest_traffic(self) -> tuple[int, str, Fraction]:
        """Return the bits that no schedule undercuts, the formula, and all operands once."""

    def traffic_data(self, found: FusedCost) -> dict[str, Any]:
        """Return the traffic of a schedule and its floor as plain data."""
        bits, formula, once = self.lowest_traffic()
        return {
            "bits": str(sum(found.outer_bits.values(), Fraction(0))),
            "floor_bits": bits,
            "formula": formula,
            "once_bits": str(once),
        }

    def scheduled(self, data: Any) -> tuple[FusedCost, dict[Any, Nest]]:
        """Return what the certificate's schedule costs, and the mappings of its products.

        Raises
        ------
        ProofError
            The chip cannot run it, or a product has no mapping, or one that it cannot run.
        """
        tiled, rows = take(data, "schedule", "tiling products")
        tiling, nests = self.tiling_of(tiled, "schedule.tiling"), dict[Any, Nest]()
        for i, row in enumerate(listed(rows, "schedule.products")):
            where = f"schedule.products[{i}]"
            asked, levels, spatial = take(row, where, "asked levels spatial")
            nest = nest_of({"levels": levels, "spatial": spatial}, where)
            nests[self.asked_of(asked, where)] = nest
        if len(nests) != len(rows):
            raise ProofError("schedule.products has a product twice; each must be there once.")
        if list(nests) != sorted(nests):
            raise ProofError("schedule.products is out of order; the least must be first.")
        return self.cost(tiling, nests), nests

    def cost(self, tiling: Any, nests: dict[Any, Nest]) -> FusedCost:
        """Return what a schedule costs, all instances together.

        Parameters
        ----------
        tiling : NamedTuple
        nests : dict
            The mapping of each product of its blocks.

        Raises
        ------
        ProofError
            The chip cannot run it.
        """
        made = dict[Any, Made]()

        def product(asked: Any) -> Made:
            if asked not in made:
                if asked not in nests:
                    raise ProofError(f"schedule.products: {self.text(asked)} is missing.")
                made[asked] = self.made(asked, nests[asked])
            return made[asked]

        wrong = self.problem(tiling, frozenset())
        if wrong:
            raise ProofError(f"the schedule: {wrong}")
        clocks, total, times = self.asks(tiling, product, walked=True)
        if set(nests) != set(made):
            extra = self.text(next(iter(set(nests) - set(made))))
            raise ProofError(f"schedule.products: {extra} is none of the schedule's.")
        unfinished = frozenset(
            each for each in made if leaves_unfinished(self.layer(each), nests[each])
        )
        wrong = self.problem(tiling, unfinished)
        if wrong:
            raise ProofError(f"the schedule, with sums that its products leave unfinished: {wrong}")
        found = cost_of(self.near, total, clocks, times)
        return replace(found, taken=self.taken(tiling, unfinished))

    def made(self, asked: Any, nest: Nest) -> Made:
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
            raise ProofError(f"the mapping of {self.text(asked)}: {wrong}")
        return made_of(cost(layer, chip, nest), self.near)

    def of(self, asked: Any, *, static: bool = True) -> tuple[Layer, Chip]:
        """Return a product and the chip behind the near memories; without what runs with clocks."""
        chip = self.near.behind(self.unit_pj(asked))
        return self.layer(asked), chip if static else replace(chip, static_pj=Fraction(0))

    def floor(self, asked: Any) -> Made:
        """Return what no mapping of a product undercuts, without a proof."""
        if asked not in self.least:
            self.least[asked] = self.floors.product(self.layer(asked), self.unit_pj(asked))
        return self.least[asked]

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
            asked = self.asked_of(said, where)
            if asked in self.proven:
                raise ProofError(f"{where} is of a product that is there before.")
            least = self._proven(asked, "cycles", cycles, f"{where}.cycles")
            pj = None
            if self.objective != "cycles":
                pj = self._proven(asked, "energy", energy, f"{where}.energy")
            elif energy is not None:
                raise ProofError(f"{where}.energy is there, and the objective is clocks alone.")
            self.prove(asked, least, pj)
        if list(self.proven) != sorted(self.proven):
            raise ProofError("proofs is out of order; that of the least product must be first.")

    def prove(self, asked: Any, cycles: Fraction, pj: Fraction | None) -> None:
        """Note the proven bounds of a product: clocks, and energy without what runs with them."""
        made = self.floor(asked)
        both = max(pj or Fraction(0), made.array_pj + made.memory_pj)
        cycles_ = max(made.cycles, -floor(-cycles))
        self.proven[asked] = made._replace(cycles=cycles_, array_pj=both, memory_pj=Fraction(0))

    def _proven(self, asked: Any, objective: str, data: Any, where: str) -> Fraction:
        bound, proof = take(data, where, "bound proof")
        least = exact(bound, f"{where}.bound", positive=True)
        layer, chip = self.of(asked, static=objective == "cycles")
        derived, parts = Checker(layer, objective, least).proof([chip], proof)
        self.parts += parts
        if derived != least:
            raise ProofError(f"{where}.bound is {short(bound)}; its parts prove {derived}.")
        return least

    def bound(self, tiling: Any, formula: str) -> Fraction:
        """Return what no schedule of a tiling undercuts.

        Parameters
        ----------
        tiling : NamedTuple
        formula : str
            Of `BOUNDS`.

        Raises
        ------
        ProofError
            There is no proof of a product.
        """
        product = self._of_proofs if formula == "products" else self.floor
        clocks, total, times = self.asks(tiling, product, walked=formula != "sums")
        cycles = max(clocks, total.busiest * times)
        pj = sum(total.energy_pj().values(), Fraction(0)) * times
        return value_of(self.objective, cycles, pj + cycles * self.near.whole.static_pj)

    def _of_proofs(self, asked: Any) -> Made:
        if asked not in self.proven:
            raise ProofError(f"proofs: {self.text(asked)} is missing, and a part needs it.")
        self.used.add(asked)
        return self.proven[asked]

    def least_of(self, data: Any) -> list[Fraction]:
        """Return the bounds of all parts of the space.

        Raises
        ------
        ProofError
            A part is missing, or has another bound than is said.
        """
        some = list(self.tilings())
        rows = listed(data, "parts")
        if len(rows) != len(some):
            raise ProofError(f"parts has {len(rows)} entries; {len(some)} tilings fit the chip.")
        found = []
        for i, (tiling, row) in enumerate(zip(some, rows, strict=True)):
            where = f"parts[{i}]"
            named, formula, said = take(row, where, "tiling formula bound")
            same(named, self.named(tiling), f"{where}.tiling")
            if formula not in BOUNDS:
                raise ProofError(f"{where}.formula is {short(formula)}; it is one of {[*BOUNDS]}.")
            bound = self.bound(tiling, formula)
            same(said, floor(bound), f"{where}.bound")
            before = [*BOUNDS][: [*BOUNDS].index(formula)][-1:]
            if before and self.bound(tiling, before[0]) >= self.enough:
                raise ProofError(f"{where}.formula is {formula!r}, and {before[0]!r} is enough.")
            found.append(bound)
        self.parts += len(some)
        unused = set(self.proven) - self.used
        if unused:
            raise ProofError(f"proofs: no part needs that of {self.text(next(iter(unused)))}.")
        return found


def made_of(found: Cost, near: Near) -> Made:
    """Return what a product takes, by the ports of the whole chip."""
    memories = (memory.name for memory in near.inside.memories)
    return Made(
        cycles=found.cycles,
        steps=found.compute,
        ports={near.key(key): each[:3] for key, each in found.ports.items()},
        array_pj=found.energy_pj["array"] + found.energy_pj.get(DECODERS, Fraction(0)),
        memory_pj=sum((found.energy_pj[name] for name in memories), Fraction(0)),
    )


def leaves_unfinished(layer: Layer, nest: Nest) -> bool:
    """Whether a product's sums leave for the near memory before they are finished.

    They do where a loop that adds to them has a loop over another tile of results inside it, both
    outside the next memory that keeps them; with no such memory, where there is any loop that adds.
    """
    loops, keeps = list[Loop](), 0
    for level in nest.levels:
        keeps += "output" in level.keeps
        if keeps > 1:
            break
        loops += level.loops
    block, added = dict(zip(layer.dims, layer.sizes, strict=True)), False
    for dim, tile in loops:
        if tile < block[dim]:
            block[dim] = tile
            adds = KINDS[dim] == 2
            if added and not adds:
                return True
            added = added or adds
    return added and keeps < 2


def check_blocks(top: dict[str, Any], kind: type[Blocks], read: Callable[..., Blocks]) -> Verdict:
    """Check a certificate of a chain.

    Parameters
    ----------
    top : dict
        What its JSON says.
    kind : type
    read : callable
        Gives the blocks of what the file says of chain, vector unit, chip and objective.

    Raises
    ------
    ProofError
        Something in it does not hold: it says what, in a sentence.
    """
    keys = f"{kind.NAME} {KEYS}"
    version, about, objective, chain, lanes, chip, space, schedule, figures, costs, bound, proofs, \
        parts, dataflows, others, traffic = take(top, "the certificate", keys)  # fmt: skip
    if version != VERSION or isinstance(version, bool):
        raise ProofError(f"{kind.NAME} is {short(version)}; this checker knows version {VERSION}.")
    if objective not in OBJECTIVES:
        raise ProofError(f"objective is {short(objective)}; it must be one of {OBJECTIVES}.")
    for name, said, known in (("about", about, kind.ABOUT), ("space", space, kind.SPACE)):
        if said != known:
            raise ProofError(f"{name} does not say what this checker checks: {short(said)}.")
    of = read(chain, lanes, chip, objective)
    found, nests = of.scheduled(schedule)
    same(costs, found.data(), "cost")
    lowest = of.traffic_data(found)
    same(traffic, lowest, "traffic")
    least = exact(bound, "bound")
    if not least:
        raise ProofError("bound is 0; it must be more than 0.")
    of.read_proofs(proofs)
    value = of.enough = found.of(objective)
    derived, many = min([value, *of.least_of(parts)]), of.parts
    if whole(dataflows, "dataflows", 1) != 1 + len(listed(others, "others")):
        raise ProofError(
            f"others has {len(others)} entries; the chip has {dataflows} dataflows in which it can "
            "fuse the chain, the schedule's and one for each entry."
        )
    chips = [of.near.whole]
    for i, other in enumerate(others):
        own, its_chip, its_figures, its_proofs, its_parts = take(
            other, f"others[{i}]", "chain chip figures proofs parts"
        )
        try:
            beside = read(own, lanes, its_chip, objective)
            beside.enough = value
            beside.read_proofs(its_proofs)
            derived = min([derived, *beside.least_of(its_parts)])
            same(its_figures, beside.figures(), "figures")
        except ProofError as err:
            raise ProofError(f"others[{i}]: {err}") from None
        many += beside.parts
        chips.append(beside.near.whole)
    if derived != least:
        raise ProofError(f"bound is {short(bound)}; the parts prove {derived}, which it must be.")
    same(figures, of.figures() | {"mappings": of.mapping_figures(nests)}, "figures")
    return Verdict(
        objective=objective,
        value=value,
        bound=least,
        parts=many,
        dataflows=dataflows,
        traffic_bits=sum(found.outer_bits.values(), Fraction(0)),
        floor_bits=lowest["floor_bits"],
        floor=lowest["formula"],
        about=(of.line(), *chips_lines(chips)),
    )
