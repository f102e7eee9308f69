"""Check a certificate of convolutions in strips.

The schedule is walked strip by strip (`walk`), its products counted from their loops; the space of
strips is written down from the chain (`cut`); parts and proofs are those of other chains
(`proof.fused.parts`).
"""

from collections.abc import Iterable
from fractions import Fraction
from functools import cache
from math import ceil
from typing import Any, ClassVar

from ..about import bits_line
from ..check import Verdict
from ..figures import Work
from ..fused.floors import ONCE
from ..fused.near import Near, near_of
from ..fused.parts import Blocks, ProductOf, check_blocks
from ..fused.record import Lanes, lanes_of
from ..fused.room import Need, overfull, taken
from ..fused.totals import Total
from ..record import Layer, chip_of
from . import cut
from .record import Asked, Chain, Tiling, asked_of, chain_of, tiling_of
from .walk import Jobs


class Strips(Blocks):
    """A chain of convolutions on a chip.

    Parameters
    ----------
    chain : Chain
    near : Near
    lanes : Lanes
    objective : str
    """

    NAME = "strips_certificate"
    ABOUT = (
        "clocks of the analytic rung, those of the schedule of strips (docs/mapping.md, Fused "
        "convolutions) or of the busiest port, and energy; not the clocks of the cycle rung"
    )
    SPACE: ClassVar[dict[str, str]] = {
        "strips": "rows of the last results that are the least for 1 to 8, 12, 16, 24, 32 ... "
        "strips",
        "halos": "of what each layer reads, rows that strips share stay, or come or are made again",
        "filters": "from the first strip to the last, or a layer's with every strip",
        "places": "one or two of inputs and results",
        "products": "of each strip every mapping on the near memories, as of the certificate of a "
        "product or a convolution",
        "dataflows": "the chain on the chip, and each of others, one for each dataflow in which "
        "the chip can fuse it",
    }

    def __init__(self, chain: Chain, near: Near, lanes: Lanes, objective: str) -> None:
        super().__init__(near, lanes, objective)
        self.chain = chain
        self.strips = cache(lambda tiling: cut.strips(chain, tiling))

    def layer(self, asked: Asked) -> Layer:
        """Return the product of a strip."""
        return self.chain.layers[asked.layer].layer(*asked[1:])

    def unit_pj(self, asked: Asked) -> Fraction:
        """Return the energy of a unit in a clock of a product's steps."""
        return self.chain.layers[asked.layer].stored.unit_pj

    def works(self) -> list[Work]:
        """Return the convolutions of an image, whole."""
        return [
            Work(each.layer(high, *each.border(0, high)), each.stored.unit_pj)
            for each in self.chain.layers
            for high in [each.made[0]]
        ]

    def unit_figures(self) -> dict[str, Any]:
        """Return elements added; by layer results, groups, clocks and pJ of them all.

        Clocks of as many lanes as there are, without whole ones.
        """
        chain, lanes = self.chain, self.lanes
        return {
            "added": chain.added * chain.images * chain.rows * chain.layers[-1].row_results,
            "layers": [
                [
                    results,
                    str(results * each.quantized),
                    *lanes.figures(each.work[:3], results),
                    *lanes.figures(each.work[3:], results),
                ]
                for each in chain.layers
                for results in [chain.images * each.made[0] * each.row_results]
            ],
        }

    def line(self) -> str:
        """Return the chain in a line."""
        each = (
            f"{of.channels} x {of.size[0]} x {of.size[1]} to {of.outputs} x {of.made[0]} x "
            f"{of.made[1]}, {of.groups} groups, kernel {of.kernel[0]} x {of.kernel[1]}; "
            + bits_line(one.stored, one.partial, one.step_cycles, one.unit_pj)
            for of in self.chain.layers
            for one in [of.stored]
        )
        return (
            f"chain: images {self.chain.images}, added {self.chain.added}; {'; then '.join(each)}"
        )

    def text(self, asked: Asked) -> str:
        """Return a product in words."""
        border = f", {asked.above} and {asked.below} of the border" if any(asked[2:]) else ""
        return f"convolution {asked.layer + 1} of a strip of {asked.rows} rows{border}"

    def asked_of(self, data: Any, where: str) -> Asked:
        """Return the product that plain data names."""
        return asked_of(data, where, self.chain.layers)

    def tiling_of(self, data: Any, where: str) -> Tiling:
        """Return the tiling of plain data."""
        return tiling_of(data, where, len(self.chain.layers))

    def tilings(self) -> Iterable[Tiling]:
        """Return every tiling of the space that fits the chip."""
        return (each for each in cut.tilings(self.chain) if not self.problem(each, frozenset()))

    def named(self, tiling: Tiling) -> list[Any]:
        """Return a tiling as the parts of a certificate name it."""
        return [tiling.rows, list(tiling.kept), tiling.places, tiling.held]

    def needs(self, tiling: Tiling, unfinished: frozenset[Asked]) -> Iterable[Need]:
        """Return the tiles that lie in the near memories."""
        layers = frozenset(each.layer for each in unfinished)
        return cut.needs(self.chain, tiling, self.strips(tiling), layers)

    def problem(self, tiling: Tiling, unfinished: frozenset[Asked]) -> str | None:
        """Return what keeps a tiling from running, or None."""
        wrong = cut.problem(self.chain, tiling, self.near)
        return wrong or overfull(self.needs(tiling, unfinished), self.near)

    def taken(self, tiling: Tiling, unfinished: frozenset[Asked]) -> dict[str, list[int]]:
        """Return the bits, and the elements, that a tiling takes of each near memory."""
        return taken(self.needs(tiling, unfinished), self.near)

    def asks(self, tiling: Tiling, product: ProductOf, *, walked: bool) -> tuple[int, Total, int]:
        """Return the clocks of a tiling's jobs, and what all images ask."""
        jobs = Jobs(self.chain, tiling, self.strips(tiling), self.near, self.lanes, product)
        return jobs.walk() if walked else jobs.sums(), jobs.total, 1

    def lowest_traffic(self) -> tuple[int, str, Fraction]:
        """Return the bits that no schedule undercuts, the formula, and all operands once."""
        once = cut.once_bits(self.chain)
        return ceil(once), ONCE, once


def strips_of(chain: Any, lanes: Any, chip: Any, objective: str) -> Strips:
    """Return the chain on the chip of plain data.

    Parameters
    ----------
    chain, lanes, chip : object
        As the file says them.
    objective : str
    """
    return Strips(chain_of(chain), near_of(chip_of(chip, "chip")), lanes_of(lanes), objective)


def check_strips(top: dict[str, Any]) -> Verdict:
    """Check a certificate of convolutions in strips.

    Raises
    ------
    ProofError
        Something in it does not hold: it says what, in a sentence.
    """
    return check_blocks(top, Strips, strips_of)
