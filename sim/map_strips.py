"""A chain of convolutions that may be fused, on a chip: what `bitlathe map` shows of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..datatypes.base.errors import BitlatheError
from ..mapping.best import Best, Objective
from ..mapping.fused.certify import BUDGET
from ..mapping.fused.certify_strips import strips_certificate, strips_data
from ..mapping.fused.cost import FusedCost
from ..mapping.fused.near import NearChip, near_chip, why_not
from ..mapping.fused.products import BlockProduct, block_product, inside_of
from ..mapping.fused.strip_cost import AskedRows
from ..mapping.fused.strip_search import fused_cost
from ..mapping.fused.strips import ConvChain
from .chip import Chip
from .fused.chains import lanes_of
from .fused.conv_chains import ConvGroup, FusedConvs, best_of, chain_of
from .layer_bits import LayerBits
from .map_shown import about_each, cost_data, cost_lines, line_of, port_rows

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedStrips:
    """A chain on a chip in its best strips.

    Attributes
    ----------
    group : ConvGroup
    fused : FusedConvs
    objective : {"cycles", "energy", "edp"}
    others : tuple of (ConvChain, NearChip)
        The chain in the chip's other dataflows.
    """

    group: ConvGroup
    fused: FusedConvs
    objective: Objective
    others: tuple[tuple[ConvChain, NearChip], ...] = ()

    @property
    def cost(self) -> FusedCost:
        """What the strips take."""
        fused = self.fused
        return fused_cost(fused.chain, fused.near, fused.lanes, fused.found)

    def nest(self) -> Rows:
        """Return strips and what stays of them as rows."""
        tiling = self.fused.found.tiling.to_dict()
        kept = ", ".join("yes" if each else "no" for each in tiling["kept"])
        return [
            {"tiling": name, "": value if name != "kept" else kept}
            for name, value in tiling.items()
        ]

    def accesses(self) -> Rows:
        """Return the mapping of each product of the strips, in a line."""
        return [
            {
                "product": self.group.gemms[asked.layer].name,
                "rows": asked.rows,
                "border": asked.above + asked.below,
                "cycles": best.cost.cycles,
                "mapping": line_of(asked.loops(self.fused.chain), best),
            }
            for asked, best in self.fused.found.products.items()
        ]

    def ports(self) -> Rows:
        """Return what goes through each port."""
        return port_rows(self.cost)

    def lines(self) -> list[str]:
        """Return clocks, energy and the search in a sentence each."""
        return cost_lines(self.cost, self.fused.found)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data: the figures, the tiling, the mappings of its products."""
        return cost_data(self.group.names, self.cost, self.fused.found)

    def certificate(self, budget: int | None = None) -> dict[str, Any]:
        """Return its certificate as plain data.

        Parameters
        ----------
        budget : int, optional
            Parts of a product's space to bound at most; `certify.BUDGET` if left out.

        Raises
        ------
        BitlatheError
            The chip has what certificates do not count.
        """
        fused = self.fused
        return strips_certificate(
            fused.chain,
            fused.near,
            fused.lanes,
            fused.found,
            objective=self.objective,
            budget=BUDGET if budget is None else budget,
            others=self.others,
        )

    def rung_cycles(self) -> int:
        """Return the clocks of the strips with those of the cycle rung for their products."""
        from .cycle.nest.run import run_nest  # compiled: checking does without

        fused, found = self.fused, self.fused.found
        chain, near = fused.chain, fused.near

        def product(asked: AskedRows) -> BlockProduct:
            best: Best = found.products[asked]
            layer = chain.layers[asked.layer]
            inside = inside_of(near, layer.unit_pj)
            played = run_nest(asked.loops(chain), layer.bits, best.mapping, inside)
            return block_product(best, near, played.cycles)

        return fused_cost(chain, near, fused.lanes, found, product).cycles


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedStrips:
    """A chain to be fused on a chip, with the bits of its layers."""

    chip: Chip
    group: ConvGroup
    bits: Mapping[Any, LayerBits]

    def best(self, objective: Objective = "cycles") -> MappedStrips:
        """Return the chain in its best strips.

        Raises
        ------
        BitlatheError
            The chip cannot fuse it: why, and which memory is too small by how much.
        """
        fused = best_of(self._split(), self.group, self.bits, objective)
        if isinstance(fused, str):
            raise BitlatheError(f"{self.group.name} cannot be fused on this chip: {fused}")
        others = tuple(each for each in self._sides() if each[1] != fused.near)
        return MappedStrips(group=self.group, fused=fused, objective=objective, others=others)

    def about(self) -> list[dict[str, Any]]:
        """Return what its certificate is about as plain data, by dataflow of the chip.

        Raises
        ------
        BitlatheError
            The chip cannot fuse it, or has what certificates do not count.
        """
        lanes, sides = lanes_of(self.chip), list(self._sides())
        if not sides:
            raise BitlatheError(f"{self.group.name} cannot be fused on this chip.")
        return about_each([strips_data(*side, lanes) for side in sides])

    def _sides(self) -> Iterator[tuple[ConvChain, NearChip]]:
        """Yield the chain on the chip, by dataflow in which it can be fused."""
        chip = self._split()
        for hierarchy in chip.hierarchies:
            if why_not(hierarchy) is None:
                yield chain_of(chip, self.group, self.bits, hierarchy), near_chip(hierarchy)

    def _split(self) -> Chip:
        splits = {self.bits[gemm].split for gemm in self.group.gemms}
        if len(splits) > 1:
            raise BitlatheError(
                f"{self.group.name} cannot be fused on this chip: multipliers split otherwise for "
                "one of its convolutions than for another."
            )
        return self.chip.split_for(splits.pop())
