"""Certificates of chains of any kind: a schedule's cost, and the parts that bound all tilings.

A kind says what its products are, which tilings there are, and what the jobs of one ask
(`Blocks`). Each tiling is a part with a floor by one of three formulas (`BOUNDS`); the least of
them is the bound that a certificate claims. What is proven of products stands under ``proofs``.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from math import floor, inf
from typing import Any, ClassVar, Self

from ..about import chips_lines
from ..check import Checker, Verdict, said_of, same, verdict
from ..cost import DECODERS, Cost, cost
from ..count import Counted
from ..figures import Work, chip_figures, layer_figures, mapping_figures
from ..legal import problem as problem_of_nest
from ..record import (
    Chip,
    Layer,
    Nest,
    Positive,
    ProofError,
    read,
    refuse,
    take,
)
from ..space import extents
from .floors import Floors
from .near import Near, near_of
from .record import Lanes
from .room import Need, overfull, taken
from .totals import FusedCost, Made, Total, cost_of, value_of

KEYS = (
    "about objective chain lanes chip space schedule figures cost bound proofs parts dataflows "
    "others traffic"
)
SIDE_KEYS = "chain chip figures proofs parts"
BOUNDS = {
    "sums": "all clocks of the array and of the vector unit, in turn or beside, or of a port",
    "walk": "the schedule walked with the floors of the blocks' products",
    "products": "the schedule walked with the proven bounds of the blocks' products",
}
ProductOf = Callable[[Any], Made]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A bound and the parts that prove it."""

    bound: Positive
    proof: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """What is proven of a product of blocks: in clocks, and, where it is asked for, in energy."""

    asked: Any
    cycles: Proof
    energy: Proof | None


class Blocks(ABC):
    """A chain on a chip, cut into blocks, and what is proven of the products of these.

    Parameters
    ----------
    chain : object
    near : Near
    lanes : Lanes
    objective : str
    """

    NAME: ClassVar[str]
    """The key of its version in a file."""
    ABOUT: ClassVar[str]
    SPACE: ClassVar[dict[str, str]]
    CHAIN: ClassVar[Any]
    ASKED: ClassVar[Any]
    TILING: ClassVar[Any]
    """Records of a chain, of a product of its blocks, of how it is cut."""

    def __init__(self, chain: Any, near: Near, lanes: Lanes, objective: str) -> None:
        self.chain, self.near, self.lanes, self.objective = chain, near, lanes, objective
        self.floors = Floors(near)
        self.least: dict[Any, Made] = {}
        self.proven: dict[Any, Made] = {}
        self.said: dict[Any, Proven] = {}
        self.parts = 0
        self.enough: Fraction | float = inf

    @classmethod
    def of_data(cls, chain: Any, lanes: Any, chip: Any, objective: str) -> Self:
        """Return the chain on the chip of plain data.

        Parameters
        ----------
        chain, lanes, chip : object
            As the file says them.
        objective : str
        """
        near = near_of(read(Chip, chip, "chip"))
        return cls(read(cls.CHAIN, chain, "chain"), near, read(Lanes, lanes, "lanes"), objective)

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
    def every(self) -> Iterable[Any]:
        """Return every tiling of the space, whether it fits the chip or not."""

    @abstractmethod
    def cannot(self, tiling: Any) -> str | None:
        """Return what keeps a tiling from running, room aside, or None."""

    @abstractmethod
    def needs(self, tiling: Any, unfinished: frozenset[Any]) -> Iterable[Need]:
        """Return the tiles that lie in the near memories.

        ``unfinished``: products that leave sums in the near memory before these are finished.
        """

    def tilings(self) -> Iterable[Any]:
        """Return every tiling of the space that fits the chip."""
        return (each for each in self.every() if self.problem(each, frozenset()) is None)

    def problem(self, tiling: Any, unfinished: frozenset[Any]) -> str | None:
        """Return what keeps a tiling from running, or None."""
        return self.cannot(tiling) or overfull(self.needs(tiling, unfinished), self.near)

    @staticmethod
    def named(tiling: tuple[Any, ...]) -> list[Any]:
        """Return a tiling as the parts of a certificate name it."""
        return [list(each) if isinstance(each, tuple) else each for each in tiling]

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
        """Return what follows from chain and chip (`proof.figures`) as plain data."""
        works = self.works()
        return {
            "layers": [layer_figures(work) for work in works],
            "chip": chip_figures(works, self.near.whole),
            "lanes": self.lanes.each(),
            "unit": self.unit_figures(),
        }

    @abstractmethod
    def lowest_traffic(self) -> tuple[int, str, Fraction]:
        """Return the bits that no schedule undercuts, the formula, and all operands once."""

    def derived(self, found: FusedCost, nests: dict[Any, Nest]) -> dict[str, Any]:
        """Return what a certificate must say beside what it is about, its bound and its proof.

        Parameters
        ----------
        found : FusedCost
            What the schedule costs.
        nests : dict
            The mapping of each product of its blocks.
        """
        bits, formula, once = self.lowest_traffic()
        mappings = [mapping_figures(*self.of(asked), nest) for asked, nest in nests.items()]
        return {
            "about": self.ABOUT,
            "space": self.SPACE,
            "figures": self.figures() | {"mappings": mappings},
            "cost": found.data(),
            "traffic": {
                "bits": str(sum(found.outer_bits.values(), Fraction(0))),
                "floor_bits": bits,
                "formula": formula,
                "once_bits": str(once),
            },
        }

    def scheduled(self, data: Any) -> tuple[FusedCost, dict[Any, Nest]]:
        """Return what the certificate's schedule costs, and the mappings of its products.

        Raises
        ------
        ProofError
            The chip cannot run it, or a product has no mapping, or one that it cannot run.
        """
        tiled, rows = take(data, "schedule", ["tiling", "products"])
        tiling, nests = read(self.TILING, tiled, "schedule.tiling"), dict[Any, Nest]()
        for i, row in enumerate(read(tuple[Any, ...], rows, "schedule.products")):
            where = f"schedule.products[{i}]"
            asked, levels, spatial = take(row, where, ["asked", "levels", "spatial"])
            each = read(self.ASKED, asked, where)
            nests[each] = read(Nest, {"levels": levels, "spatial": spatial}, where)
        if len(nests) != len(rows) or list(nests) != sorted(nests):
            raise ProofError("schedule.products must have each product once, the least first.")
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
        unfinished = frozenset(each for each in made if self.unfinished(each, nests[each]))
        wrong = self.problem(tiling, unfinished)
        if wrong:
            raise ProofError(f"the schedule, with sums that its products leave unfinished: {wrong}")
        found = cost_of(self.near, total, clocks, times)
        return replace(found, taken=taken(self.needs(tiling, unfinished), self.near))

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

    def unfinished(self, asked: Any, nest: Nest) -> bool:
        """Return whether a product's sums leave for the near memory before they are finished."""
        counted = Counted(*self.of(asked), nest)
        return counted.adds(next(iter(counted.chain("output")[1:]), None))

    def of(self, asked: Any, *, static: bool = True) -> tuple[Layer, Chip]:
        """Return a product and the chip behind the near memories; without what runs with clocks."""
        chip = self.near.behind(self.unit_pj(asked))
        return self.layer(asked), chip if static else replace(chip, static_pj=Fraction(0))

    def floor(self, asked: Any) -> Made:
        """Return what no mapping of a product undercuts, without a proof."""
        if asked not in self.least:
            self.least[asked] = self.floors.product(self.layer(asked), self.unit_pj(asked))
        return self.least[asked]

    def prove(self, asked: Any, cycles: Fraction, pj: Fraction | None) -> None:
        """Note the proven bounds of a product: clocks, and energy without what runs with them."""
        made = self.floor(asked)
        both = max(pj or Fraction(0), made.array_pj + made.memory_pj)
        cycles_ = max(made.cycles, -floor(-cycles))
        self.proven[asked] = made._replace(cycles=cycles_, array_pj=both, memory_pj=Fraction(0))

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
        """Return what the file proves of a product, checked when a part first needs it."""
        if asked not in self.proven:
            row = self.said.pop(asked, None)
            if row is None:
                raise ProofError(f"proofs: {self.text(asked)} is missing, and a part needs it.")
            cycles = self._checked(asked, "cycles", row.cycles)
            if (row.energy is None) != (self.objective == "cycles"):
                raise ProofError("proofs must have energy unless the objective is clocks alone.")
            pj = None if row.energy is None else self._checked(asked, "energy", row.energy)
            self.prove(asked, cycles, pj)
        return self.proven[asked]

    def _checked(self, asked: Any, objective: str, said: Proof) -> Fraction:
        layer, chip = self.of(asked, static=objective == "cycles")
        checker, where = Checker(layer, objective, said.bound), f"the proof of {self.text(asked)}"
        try:
            same(said.bound, checker.proof((chip,), said.proof), "bound")
        except ProofError as err:
            raise ProofError(f"{where}, {objective}: {err}") from None
        self.parts += checker.parts
        return said.bound

    def bounds(self, proofs: Any, parts: Any) -> list[Fraction]:
        """Return the bounds of all parts of the space.

        Parameters
        ----------
        proofs, parts : object
            As the file says them.

        Raises
        ------
        ProofError
            A part is missing, or has another bound than is said, or a proof does not hold.
        """
        rows: tuple[Proven, ...] = read(tuple[Proven, ...], proofs, "proofs")
        self.said = {read(self.ASKED, row.asked, "proofs"): row for row in rows}
        if list(self.said) != sorted(self.said) or len(self.said) != len(rows):
            raise ProofError("proofs must be of each product once, the least first.")
        some, said = list(self.tilings()), read(tuple[Any, ...], parts, "parts")
        if len(said) != len(some):
            raise ProofError(f"parts has {len(said)} entries; {len(some)} tilings fit the chip.")
        self.parts += len(some)
        bounds = [
            self._part(tiling, each, f"parts[{i}]")
            for i, (tiling, each) in enumerate(zip(some, said, strict=True))
        ]
        if self.said:
            raise ProofError(f"proofs: no part needs that of {self.text(next(iter(self.said)))}.")
        return bounds

    def _part(self, tiling: Any, data: Any, where: str) -> Fraction:
        named, formula, said = take(data, where, ["tiling", "formula", "bound"])
        same(named, self.named(tiling), f"{where}.tiling")
        known = [*BOUNDS]
        if formula not in known:
            raise refuse(f"{where}.formula", formula, f"one of {', '.join(known)}")
        bound = self.bound(tiling, formula)
        same(said, floor(bound), f"{where}.bound")
        before = known[: known.index(formula)][-1:]
        if before and self.bound(tiling, before[0]) >= self.enough:
            raise ProofError(f"{where}.formula is {formula!r}, and {before[0]!r} is enough.")
        return bound


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


def check_blocks(top: dict[str, Any], kind: type[Blocks]) -> Verdict:
    """Check a certificate of a chain.

    Parameters
    ----------
    top : dict
        What its JSON says.
    kind : type

    Raises
    ------
    ProofError
        Something in it does not hold: it says what, in a sentence.
    """
    said = said_of(top, kind.NAME, f"{kind.NAME} {KEYS}")
    objective, lanes = said["objective"], said["lanes"]
    of = kind.of_data(said["chain"], lanes, said["chip"], objective)
    found, nests = of.scheduled(said["schedule"])
    derived = of.derived(found, nests)
    for name, entry in derived.items():
        same(said[name], entry, name)
    value, least = found.of(objective), read(Positive, said["bound"], "bound")
    others = read(tuple[Any, ...], said["others"], "others")
    if said["dataflows"] != 1 + len(others) or isinstance(said["dataflows"], bool):
        raise ProofError(
            f"others has {len(others)} entries; the chip has {said['dataflows']} dataflows in "
            "which it can fuse the chain, the schedule's and one for each entry."
        )
    sides, of.enough = [of], value
    bounds = [value, *of.bounds(said["proofs"], said["parts"])]
    for i, other in enumerate(others):
        chain, chip, figures, proofs, parts = take(other, f"others[{i}]", SIDE_KEYS.split())
        try:
            side = kind.of_data(chain, lanes, chip, objective)
            side.enough = value
            same(figures, side.figures(), "figures")
            bounds += side.bounds(proofs, parts)
        except ProofError as err:
            raise ProofError(f"others[{i}]: {err}") from None
        sides.append(side)
    same(least, min(bounds), "bound")
    about = of.line(), *chips_lines(side.near.whole for side in sides)
    return verdict(said, derived, value, sum(side.parts for side in sides), about)
