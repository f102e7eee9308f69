"""Certificates of fused chains as plain data: the schedule, and a proof over all tilings.

The least promising tiling first: its floor is refined from sums of jobs to a walk of its schedule,
then to a walk with bounds that are proven of its products (`mapping.prove`), until none is below
what the schedule takes. What is checked is in `mapping.proof.fused`; here is decided only which
formula a tiling gets.
"""

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Any

from ...arch.hierarchy import OPERANDS, Hierarchy
from ..best import Best, Objective
from ..certify import chip_data, mapping_data, nest_of, number
from ..kept_results import best_mapping
from ..nest import Loops
from ..operands import OperandBits
from ..proof.check import VERSION
from ..proof.cost import cost
from ..proof.fused.check import Fusion
from ..proof.fused.parts import BOUNDS, Blocks
from ..proof.fused.record import STEPS
from ..proof.fused.totals import Made
from ..proof.record import DIMS, read
from ..prove import prove
from .chain import Chain, Lanes
from .near import NearChip
from .products import Asked
from .search import Found

BUDGET = 2000
FORMULAS = tuple(BOUNDS)
MapProduct = Callable[..., Best]
Product = tuple[Loops, OperandBits, Hierarchy]


def chain_data(chain: Chain, near: NearChip) -> dict[str, Any]:
    """Return a chain as plain data.

    Parameters
    ----------
    chain : Chain
    near : NearChip
        The chip, which says what a unit takes where the chain does not.
    """
    steps, mask = chain.steps, chain.mask
    sizes = ("m", "middle", "out", "inner", "instances", "matrices")
    masked = ("rows_per_token", "before", "window")
    return {
        **{name: getattr(chain, name) for name in sizes},
        "first": stored_data(chain.first, chain.first_pj, near),
        "second": stored_data(chain.second, chain.second_pj, near),
        "steps": {name: list(getattr(steps, name)) for name in STEPS},
        "state": steps.state,
        "group": steps.group,
        "mask": mask and {name: getattr(mask, name) for name in masked},
    }


def stored_data(bits: OperandBits, unit_pj: float | None, near: NearChip) -> dict[str, Any]:
    """Return the bits of a product's operands, and what its steps take, as plain data."""
    return {
        "bits": {operand: number(bits.of(operand)) for operand in OPERANDS},
        "code_bits": {operand: number(bits.code(operand)) for operand in OPERANDS},
        "partial_bits": number(bits.partial),
        "step_cycles": number(bits.step_cycles),
        "unit_pj": number(near.whole.unit_pj if unit_pj is None else unit_pj),
    }


def lanes_data(lanes: Lanes) -> dict[str, Any]:
    """Return a vector unit as plain data.

    Parameters
    ----------
    lanes : Lanes
    """
    prices = ("add_pj", "multiply_pj", "special_pj")
    return {
        "lanes": lanes.lanes,
        "special_cycles": lanes.special_cycles,
        **{name: number(getattr(lanes, name)) for name in prices},
        "overlap": lanes.overlap,
    }


def about_data(chain: Chain, near: NearChip, lanes: Lanes) -> dict[str, Any]:
    """Return what a certificate is about as plain data: chain, vector unit and chip.

    Parameters
    ----------
    chain : Chain
    near : NearChip
    lanes : Lanes
    """
    return {
        "chain": chain_data(chain, near),
        "lanes": lanes_data(lanes),
        "chip": chip_of_chain(near, "mnk"),
    }


def chip_of_chain(near: NearChip, dims: Iterable[str] = DIMS) -> dict[str, Any]:
    """Return the chip of a chain as plain data; what a unit takes stands with its products."""
    return {**chip_data(near.whole, dims), "unit_pj": 0}


def fused_certificate(
    chain: Chain,
    near: NearChip,
    lanes: Lanes,
    found: Found,
    *,
    objective: Objective = "cycles",
    budget: int = BUDGET,
    map_product: MapProduct = best_mapping,
    others: Sequence[tuple[Chain, NearChip]] = (),
) -> dict[str, Any]:
    """Return the certificate of a fused chain as plain data, to be written as JSON.

    Parameters
    ----------
    chain : Chain
    near : NearChip
        The chip.
    lanes : Lanes
        Its vector unit.
    found : Found
        The schedule: a tiling and the mappings of its products; it need not be the best.
    objective : {"cycles", "energy", "edp"}
        What is least.
    budget : int
        Parts of a product's space to bound at most, each time one is proven.
    map_product : callable
        Gives a product its mapping: loops, bits, hierarchy, objective.
    others : sequence of (Chain, NearChip)
        The same in the chip's other dataflows, of which none may be better either.

    Raises
    ------
    BitlatheError
        The chip has what certificates do not count.
    """
    return certified(
        [_side(each, on, lanes, objective) for each, on in ((chain, near), *others)],
        found,
        Asked,
        budget=budget,
        map_product=map_product,
    )


def _side(chain: Chain, near: NearChip, lanes: Lanes, objective: Objective) -> "Side":
    def product_of(asked: Asked) -> Product:
        return asked.loops(chain), asked.bits(chain), asked.chip(chain, near)

    about = about_data(chain, near, lanes)
    return Side(
        of=Fusion.of_data(**about, objective=objective),
        about=about,
        product_of=product_of,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A chain on a chip in one dataflow.

    Attributes
    ----------
    of : Blocks
        As the checker has it.
    about : dict
        Chain, vector unit and chip as plain data.
    product_of : callable
        Loops, bits and chip of a product of its blocks.
    """

    of: Blocks
    about: dict[str, Any]
    product_of: Callable[[Any], Product]

    def shown(self) -> dict[str, Any]:
        """Return chain and chip, without the vector unit that all sides share."""
        return {name: self.about[name] for name in ("chain", "chip")}


def certified(
    sides: Sequence[Side],
    found: Any,
    make: Callable[..., Any],
    *,
    budget: int,
    map_product: MapProduct,
) -> dict[str, Any]:
    """Return the certificate of a chain of any kind as plain data.

    Parameters
    ----------
    sides : sequence of Side
        That of the schedule first, then those of the chip's other dataflows.
    found : Found or FoundStrips
        The schedule.
    make : callable
        A product's name, as ``found.products`` has it, from its entries.
    budget, map_product
        As of `fused_certificate`.
    """
    of, about = sides[0].of, sides[0].about
    tiled = found.tiling.to_dict()
    products = [
        {"asked": list(asked), **mapping_data(best.mapping)}
        for asked, best in sorted(found.products.items(), key=lambda item: list(item[0]))
    ]
    own = {of.ASKED(*asked): best.mapping for asked, best in found.products.items()}
    nests = {asked: nest_of(mapping) for asked, mapping in sorted(own.items())}
    taken = of.cost(read(of.TILING, tiled, "tiling"), nests)
    proofs, bound = list[dict[str, Any]](), taken.of(of.objective)
    for side in sides:

        def best(asked: Any, aim: Objective, side: Side = side) -> Best:
            return map_product(*side.product_of(make(*asked)), aim)

        prover = _Prover(side.of, budget, best)
        parts, least = prover.run(taken.of(of.objective))
        some = sorted(prover.proofs, key=lambda proof: list(proof["asked"]))
        proofs.append({"proofs": some, "parts": parts})
        bound = min(bound, least)
    return {
        of.NAME: VERSION,
        "objective": of.objective,
        **about,
        "schedule": {"tiling": tiled, "products": products},
        **of.derived(taken, nests),
        "bound": str(bound),
        **proofs[0],
        "dataflows": len(sides),
        "others": [
            {**side.shown(), "figures": side.of.figures(), **proof}
            for side, proof in zip(sides[1:], proofs[1:], strict=True)
        ],
    }


class _Prover:
    def __init__(self, of: Blocks, budget: int, best: Callable[[Any, Objective], Best]) -> None:
        self.of, self.budget, self.best = of, budget, best
        self.proofs: list[dict[str, Any]] = []

    def run(self, value: Fraction) -> tuple[list[dict[str, Any]], Fraction]:
        """Return all parts, each with a formula and its bound, and the least of these and value."""
        of = self.of
        some = list(of.tilings())
        bounds = [of.bound(tiling, FORMULAS[0]) for tiling in some]
        formulas = [0] * len(some)
        heap = [(bound, i) for i, bound in enumerate(bounds)]
        heapq.heapify(heap)
        while heap and heap[0][0] < value and formulas[heap[0][1]] + 1 < len(FORMULAS):
            _, i = heapq.heappop(heap)
            formulas[i] += 1
            if FORMULAS[formulas[i]] == "products":
                of.asks(some[i], self._prove, walked=False)
            bounds[i] = of.bound(some[i], FORMULAS[formulas[i]])
            heapq.heappush(heap, (bounds[i], i))
        parts = [
            {"tiling": of.named(tiling), "formula": FORMULAS[formula], "bound": floor(bound)}
            for tiling, formula, bound in zip(some, formulas, bounds, strict=True)
        ]
        return parts, min([value, *bounds])

    def _prove(self, asked: Any) -> Made:
        """Prove what no mapping of a product undercuts, once."""
        of = self.of
        if asked not in of.proven:
            cycles = self._bound(asked, "cycles")
            energy = None if of.objective == "cycles" else self._bound(asked, "energy")
            pj = None if energy is None else Fraction(energy["bound"])
            of.prove(asked, Fraction(cycles["bound"]), pj)
            self.proofs.append({"asked": list(asked), "cycles": cycles, "energy": energy})
        return of.proven[asked]

    def _bound(self, asked: Any, objective: Objective) -> dict[str, Any]:
        layer, chip = self.of.of(asked, static=objective == "cycles")
        value = cost(layer, chip, nest_of(self.best(asked, objective).mapping)).of(objective)
        proof = prove(layer, [chip], objective, value, budget=self.budget)
        return {"bound": str(proof.bound), "proof": proof.data}
