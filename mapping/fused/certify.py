"""Certificates of fused chains as plain data: the schedule, and a proof over all tilings.

The least promising tiling first: its floor is refined from sums of jobs to a walk of its schedule,
then to a walk with bounds that are proven of its products (`mapping.prove`), until none is below
what the schedule takes. What is checked is in `mapping.proof.fused`; here is decided only which
formula a tiling gets.
"""

import heapq
from collections.abc import Callable
from fractions import Fraction
from math import floor
from typing import Any

from ...arch.hierarchy import OPERANDS
from ..best import Best, Objective
from ..certify import chip_data, number
from ..kept_results import best_mapping
from ..operands import OperandBits
from ..proof.cost import cost
from ..proof.fused.check import ABOUT, BOUNDS, SPACE, VERSION, Fusion, traffic_data
from ..proof.fused.near import near_of
from ..proof.fused.record import STEPS, chain_of, lanes_of, tiling_of
from ..proof.fused.record import Asked as Proven
from ..proof.fused.room import tilings
from ..proof.record import chip_of, nest_of
from ..prove import prove
from .chain import Chain, Lanes
from .near import NearChip
from .products import Asked
from .search import Found

BUDGET = 2000
FORMULAS = tuple(BOUNDS)
MapProduct = Callable[..., Best]


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
        "first": _stored(chain.first, chain.first_pj, near),
        "second": _stored(chain.second, chain.second_pj, near),
        "steps": {name: list(getattr(steps, name)) for name in STEPS},
        "state": steps.state,
        "group": steps.group,
        "mask": mask and {name: getattr(mask, name) for name in masked},
    }


def _stored(bits: OperandBits, unit_pj: float | None, near: NearChip) -> dict[str, Any]:
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
        "chip": chip_data(near.whole),
    }


def fused_certificate(
    chain: Chain,
    near: NearChip,
    lanes: Lanes,
    found: Found,
    *,
    objective: Objective = "cycles",
    budget: int = BUDGET,
    rung_cycles: int | None = None,
    map_product: MapProduct = best_mapping,
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
    rung_cycles : int, optional
        Clocks of the schedule on the cycle rung.
    map_product : callable
        Gives a product its mapping: loops, bits, hierarchy, objective.

    Raises
    ------
    BitlatheError
        The chip has what certificates do not count.
    """
    about = about_data(chain, near, lanes)
    of = Fusion(
        chain_of(about["chain"]),
        near_of(chip_of(about["chip"], "chip")),
        lanes_of(about["lanes"]),
        objective,
    )
    products = [
        {"asked": list(asked), **best.mapping.to_dict()} for asked, best in found.products.items()
    ]
    tiled = found.tiling.to_dict()
    nests = {
        Proven(*asked): nest_of(best.mapping.to_dict()) for asked, best in found.products.items()
    }
    taken = of.cost(tiling_of(tiled), nests)
    prover = _Prover(chain, near, of, budget, map_product)
    parts, bound = prover.run(taken.of(objective))
    return {
        "fused_certificate": VERSION,
        "about": ABOUT,
        "objective": objective,
        **about,
        "space": SPACE,
        "schedule": {"tiling": tiled, "products": products},
        "cost": taken.data(),
        "bound": str(bound),
        "proofs": prover.proofs,
        "parts": parts,
        "traffic": traffic_data(taken, of),
        "cycle_rung_cycles": rung_cycles,
    }


class _Prover:
    def __init__(
        self, chain: Chain, near: NearChip, of: Fusion, budget: int, map_product: MapProduct
    ) -> None:
        self.chain, self.near, self.of, self.budget = chain, near, of, budget
        self.map_product = map_product
        self.proofs: list[dict[str, Any]] = []

    def run(self, value: Fraction) -> tuple[list[dict[str, Any]], Fraction]:
        """Return all parts, each with a formula and its bound, and the least of these and value."""
        of = self.of
        some = list(tilings(of.chain, of.near, of.lanes))
        bounds = [of.bound(tiling, FORMULAS[0]) for tiling in some]
        formulas = [0] * len(some)
        heap = [(bound, i) for i, bound in enumerate(bounds)]
        heapq.heapify(heap)
        while heap and heap[0][0] < value and formulas[heap[0][1]] + 1 < len(FORMULAS):
            _, i = heapq.heappop(heap)
            formulas[i] += 1
            if FORMULAS[formulas[i]] == "products":
                of.jobs(some[i], self._prove).total()
            bounds[i] = of.bound(some[i], FORMULAS[formulas[i]])
            heapq.heappush(heap, (bounds[i], i))
        parts = [
            {"tiling": list(tiling), "formula": FORMULAS[formula], "bound": floor(bound)}
            for tiling, formula, bound in zip(some, formulas, bounds, strict=True)
        ]
        return parts, min([value, *bounds])

    def _prove(self, asked: Proven) -> Any:
        """Prove what no mapping of a product undercuts, once."""
        of = self.of
        if asked not in of.proven:
            cycles = self._bound(asked, "cycles")
            energy = None if of.objective == "cycles" else self._bound(asked, "energy")
            pj = None if energy is None else Fraction(energy["bound"])
            of.prove(asked, Fraction(cycles["bound"]), pj)
            self.proofs.append({"asked": list(asked), "cycles": cycles, "energy": energy})
        return of.proven[asked]

    def _bound(self, asked: Proven, objective: Objective) -> dict[str, Any]:
        layer, chip = self.of.of(asked, static=objective == "cycles")
        own = Asked(*asked)
        best = self.map_product(
            own.loops(self.chain), own.bits(self.chain), own.chip(self.chain, self.near), objective
        )
        value = cost(layer, chip, nest_of(best.mapping.to_dict())).of(objective)
        proof = prove(layer, [chip], objective, value, budget=self.budget)
        return {"bound": str(proof.bound), "proof": proof.data}
