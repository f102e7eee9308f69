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
from ..figures import Work
from ..floor import COMPULSORY
from ..fused.near import Near
from ..fused.parts import Blocks, ProductOf
from ..fused.record import Lanes
from ..fused.room import Need
from ..fused.totals import Total
from ..record import Layer
from . import cut
from .record import Asked, Chain, Tiling
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

    CHAIN, ASKED, TILING = Chain, Asked, Tiling
    chain: Chain

    def __init__(self, chain: Chain, near: Near, lanes: Lanes, objective: str) -> None:
        super().__init__(chain, near, lanes, objective)
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
        """Return elements added; by layer results, groups, clocks and pJ of them all, and pixels.

        Clocks of as many lanes as there are, without whole ones. Pixels, in rows and columns: the
        first past those of the results' first tap; those to behind the last tap.
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
                    *(each.made[i] * each.stride[i] - each.padding[i] for i in (0, 1)),
                    *(each.kernel[i] * each.dilation[i] for i in (0, 1)),
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
            + bits_line(of.stored, of.stored.unit_pj)
            for of in self.chain.layers
        )
        return (
            f"chain: images {self.chain.images}, added {self.chain.added}; {'; then '.join(each)}"
        )

    def text(self, asked: Asked) -> str:
        """Return a product in words."""
        border = f", {asked.above} and {asked.below} of the border" if any(asked[2:]) else ""
        return f"convolution {asked.layer + 1} of a strip of {asked.rows} rows{border}"

    def every(self) -> Iterable[Tiling]:
        """Return every tiling of the space, whether it fits the chip or not."""
        return cut.tilings(self.chain)

    def cannot(self, tiling: Tiling) -> str | None:
        """Return what keeps strips from running, room aside, or None."""
        return cut.problem(self.chain, tiling, self.near)

    def needs(self, tiling: Tiling, unfinished: frozenset[Asked]) -> Iterable[Need]:
        """Return the tiles that lie in the near memories."""
        layers = frozenset(each.layer for each in unfinished)
        return cut.needs(self.chain, tiling, self.strips(tiling), layers)

    def asks(self, tiling: Tiling, product: ProductOf, *, walked: bool) -> tuple[int, Total, int]:
        """Return the clocks of a tiling's jobs, and what all images ask."""
        jobs = Jobs(self.chain, tiling, self.strips(tiling), self.near, self.lanes, product)
        return jobs.walk() if walked else jobs.sums(), jobs.total, 1

    def lowest_traffic(self) -> tuple[int, str, Fraction]:
        """Return the bits that no schedule undercuts, the formula, and all operands once."""
        once = cut.once_bits(self.chain)
        return ceil(once), COMPULSORY, once
