"""Check a certificate of fused attention, or of a fused MLP: two products with steps between them.

The schedule is walked block by block, its products counted from their loops (`proof.cost`); the
space of tilings is written down from chain and chip (`room`).
"""

from collections.abc import Iterable
from fractions import Fraction
from functools import cache
from typing import Any, ClassVar

from ..about import bits_line
from ..figures import Work
from ..record import Layer
from . import room
from .floors import seen, traffic_floor
from .jobs import Cut, Jobs
from .near import Near
from .parts import Blocks, ProductOf
from .record import Asked, Chain, Lanes, Tiling
from .room import Need
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

    CHAIN, ASKED, TILING = Chain, Asked, Tiling
    chain: Chain

    def __init__(self, chain: Chain, near: Near, lanes: Lanes, objective: str) -> None:
        super().__init__(chain, near, lanes, objective)
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
            "pairs_seen": seen(chain)[2],
            "state": chain.state * chain.m,
            "groups": str(Fraction(chain.middle, chain.group)) if chain.group else None,
            "steps": [
                [name, *lanes.figures(work[:3], chain.middle), *lanes.figures(work[3:], 1)]
                for name, work in chain.steps.items()
            ],
        }

    def line(self) -> str:
        """Return the chain in a line."""
        chain = self.chain
        names = "m", "middle", "out", "inner", "instances", "matrices"
        sizes = ", ".join(f"{name} {getattr(chain, name)}" for name in names)
        mask = "" if chain.mask is None else f", mask {tuple(chain.mask)}"
        each = (bits_line(of, of.unit_pj) for of in chain.products)
        return f"chain: {sizes}{mask}; {'; then '.join(each)}"

    def text(self, asked: Asked) -> str:
        """Return a product in words."""
        which = "the second product" if asked.second else "the first product"
        return f"{which} of a block of {asked.rows} x {asked.columns}"

    def every(self) -> Iterable[Tiling]:
        """Return every tiling of the space, whether it fits the chip or not."""
        return room.tilings(self.chain)

    def cannot(self, tiling: Tiling) -> str | None:
        """Return what keeps a tiling from running, room aside, or None."""
        return room.problem(self.chain, tiling, self.lanes)

    def needs(self, tiling: Tiling, unfinished: frozenset[Asked]) -> Iterable[Need]:
        """Return the tiles that lie in the near memories."""
        which = frozenset(each.second for each in unfinished if each.finished)
        return room.needs(self.chain, tiling, which)

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
            return walk(order, tiling, self.near.outermost.latency_cycles, times), total, times
        beside = max(total.array, total.unit) if tiling.ahead else total.array + total.unit
        return beside * times, total, times

    def lowest_traffic(self) -> tuple[int, str, Fraction]:
        """Return the bits that no schedule undercuts, the formula, and all operands once."""
        return traffic_floor(self.chain, self.near.whole)
