"""Check a certificate of fused attention, or of a fused MLP: two products with steps between them.

The schedule is walked block by block, its products counted from their loops (`proof.cost`); the
space of tilings is written down from chain and chip (`room`).
"""

from collections.abc import Iterable
from fractions import Fraction
from functools import cache
from typing import Any, ClassVar

from ..about import bits_line
from ..check import Verdict
from ..figures import Work
from ..record import Layer, chip_of
from . import room
from .floors import traffic_floor
from .jobs import Cut, Jobs
from .near import Near, near_of
from .parts import Blocks, ProductOf, check_blocks
from .record import Asked, Chain, Lanes, Tiling, asked_of, chain_of, lanes_of, tiling_of
from .totals import Total
from .walk import walk


class Fusion(Blocks):
    """A chain of two products on a chip.

    Parameters
    ----------
    chain : Chain
    near : Near
    lanes : Lanes
    objective : str
    """

    NAME = "fused_certificate"
    ABOUT = (
        "clocks of the analytic rung, those of the schedule of blocks (docs/mapping.md, Fused "
        "chains) or of the busiest port, and energy; not the clocks of the cycle rung"
    )
    SPACE: ClassVar[dict[str, str]] = {
        "blocks": "of rows, whole tokens, and of columns, the least for 1 to 8, 12, 16, 24, 32 ... "
        "blocks",
        "places": "one or two of what comes and leaves; the array ahead of the vector unit, where "
        "that works beside it, or not",
        "weights": "with every block, of one instance or of two held whole, or once with sums "
        "spilled",
        "products": "of each block every mapping on the near memories, as of the certificate of a "
        "product",
        "dataflows": "the chain on the chip, and each of others, one for each dataflow in which "
        "the chip can fuse it",
    }

    def __init__(self, chain: Chain, near: Near, lanes: Lanes, objective: str) -> None:
        super().__init__(near, lanes, objective)
        self.chain = chain
        self.cut = cache(lambda rows, columns: Cut(chain, rows, columns))

    def layer(self, asked: Asked) -> Layer:
        """Return a product of a block."""
        return self.chain.layer(asked)

    def unit_pj(self, asked: Asked) -> Fraction:
        """Return the energy of a unit in a clock of a product's steps."""
        return self.chain.products[asked.second].unit_pj

    def works(self) -> list[Work]:
        """Return both products of an instance, whole."""
        chain = self.chain
        return [
            Work(self.layer(asked), self.unit_pj(asked))
            for second in (False, True)
            for asked in [Asked(second, chain.m, chain.middle, finished=True)]
        ]

    def unit_figures(self) -> dict[str, Any]:
        """Return pairs seen, state and groups; clocks and pJ of each step on a row of the middle.

        Clocks of as many lanes as there are, without whole ones.
        """
        chain, lanes = self.chain, self.lanes
        return {
            "products": chain.instances * chain.matrices,
            "instances": chain.instances,
            "pairs_seen": chain.pairs_seen(),
            "state": chain.state * chain.m,
            "groups": str(Fraction(chain.middle, chain.group)) if chain.group else None,
            "steps": [
                [name, *lanes.figures(work[:3], chain.middle), *lanes.figures(work[3:], 1)]
                for name, work in chain.steps.items()
            ],
        }

    def line(self) -> str:
        """Return the chain in a line."""
        chain, (first, second) = self.chain, self.chain.products
        names = "m", "middle", "out", "inner", "instances", "matrices"
        sizes = ", ".join(f"{name} {getattr(chain, name)}" for name in names)
        mask = "" if chain.mask is None else f", mask {tuple(chain.mask)}"
        each = (
            bits_line(of.stored, of.partial, of.step_cycles, of.unit_pj) for of in (first, second)
        )
        return f"chain: {sizes}{mask}; {'; then '.join(each)}"

    def text(self, asked: Asked) -> str:
        """Return a product in words."""
        which = "the second product" if asked.second else "the first product"
        return f"{which} of a block of {asked.rows} x {asked.columns}"

    def asked_of(self, data: Any, where: str) -> Asked:
        """Return the product that plain data names."""
        return asked_of(data, where)

    def tiling_of(self, data: Any, where: str) -> Tiling:
        """Return the tiling of plain data."""
        return tiling_of(data, where)

    def tilings(self) -> Iterable[Tiling]:
        """Return every tiling of the space that fits the chip."""
        return room.tilings(self.chain, self.near, self.lanes)

    def named(self, tiling: Tiling) -> list[Any]:
        """Return a tiling as the parts of a certificate name it."""
        return list(tiling)

    def problem(self, tiling: Tiling, unfinished: frozenset[Asked]) -> str | None:
        """Return what keeps a tiling from running, or None."""
        if tiling.rows > self.chain.m or tiling.columns > self.chain.middle:
            return "its blocks have more rows or columns than the chain."
        return room.problem(self.chain, tiling, self.near, self.lanes, _which(unfinished))

    def taken(self, tiling: Tiling, unfinished: frozenset[Asked]) -> dict[str, list[int]]:
        """Return the bits, and the elements, that a tiling takes of each near memory."""
        return room.taken(room.needs(self.chain, tiling, _which(unfinished)), self.near)

    def jobs(self, tiling: Tiling, product: ProductOf) -> Jobs:
        """Return the jobs of a tiling whose products take what ``product`` says."""
        cut = self.cut(tiling.rows, tiling.columns)
        return Jobs(self.chain, cut, tiling, self.near, self.lanes, product)

    def asks(self, tiling: Tiling, product: ProductOf, *, walked: bool) -> tuple[int, Total, int]:
        """Return the clocks of a tiling's jobs, what one instance asks, and the instances."""
        jobs, times = self.jobs(tiling, product), self.chain.instances
        total = jobs.total()
        if walked:
            order = [
                (many, [(blocks, jobs.times(*kind)) for blocks, kind in runs])
                for many, runs in jobs.cut.order(tiling)
            ]
            return walk(order, tiling, self.near.outermost.latency, times), total, times
        beside = max(total.array, total.unit) if tiling.ahead else total.array + total.unit
        return beside * times, total, times

    def lowest_traffic(self) -> tuple[int, str, Fraction]:
        """Return the bits that no schedule undercuts, the formula, and all operands once."""
        return traffic_floor(self.chain, self.near.whole)


def _which(unfinished: frozenset[Asked]) -> frozenset[bool]:
    """Return the products of which finished results are sums before, as `room.needs` has them."""
    return frozenset(each.second for each in unfinished if each.finished)


def fusion_of(chain: Any, lanes: Any, chip: Any, objective: str) -> Fusion:
    """Return the chain on the chip of plain data.

    Parameters
    ----------
    chain, lanes, chip : object
        As the file says them.
    objective : str
    """
    return Fusion(chain_of(chain), near_of(chip_of(chip, "chip")), lanes_of(lanes), objective)


def check_fused(top: dict[str, Any]) -> Verdict:
    """Check a certificate of fused attention, or of an MLP.

    Raises
    ------
    ProofError
        Something in it does not hold: it says what, in a sentence.
    """
    return check_blocks(top, Fusion, fusion_of)
