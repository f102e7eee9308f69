"""A group of layers as a chain on a chip: its sizes, bits, clocks, steps and best tiling."""

from collections.abc import Mapping
from dataclasses import dataclass

from ...arch.hierarchy import Hierarchy
from ...datatypes.base.errors import BitlatheError
from ...mapping.best import Objective
from ...mapping.fused.chain import SOFTMAX, Chain, Lanes, Mask, Steps, activation
from ...mapping.fused.cost import FusedCost
from ...mapping.fused.kept_results import best_fusion, fusion_cost, least_fusion
from ...mapping.fused.near import NearChip, near_chip, why_not
from ...mapping.fused.search import Found
from ...mapping.mappers import ORDERS
from ...mapping.operands import OperandBits
from ...workloads.gemm import Gemm
from ...workloads.vector_step import OPERATIONS, QUANTIZE
from ..chip import Chip
from ..layer_bits import LayerBits
from ..mapped import behind_decoders, nest_bits, nest_hierarchy
from ..policy import formats_of
from ..vector import group_size
from .groups import Group

Bits = Mapping[Gemm, LayerBits]
Total = tuple[float, float]
"""Clocks and energy."""
NO_BETTER = "the run is no better."
DECODED = "its weights pass decoders, whose table is loaded for a layer by itself."


def loads_table(bits: LayerBits) -> bool:
    """Return whether a layer's weights pass decoders that load a table."""
    return bits.decoder is not None and bits.decoder.entries > 0


def lanes_of(chip: Chip) -> Lanes:
    """Return a chip's vector unit as chains find it."""
    unit, factor = chip.vector, chip.arch.accounting.layout_factor
    lane = unit.lane(chip.arch.technology.node_nm)
    return Lanes(
        lanes=unit.lanes,
        special_cycles=lane.special_cycles,
        add_pj=factor * lane.add_pj,
        multiply_pj=factor * lane.multiply_pj,
        special_pj=factor * lane.special_pj,
        overlap=unit.overlap,
    )


def steps_of(chip: Chip, group: Group) -> Steps:
    """Return the steps of a group on a chip, what stores their results among them.

    Parameters
    ----------
    chip : Chip
    group : Group
        Its second product takes the results as its inputs, in the format of those.
    """
    steps = SOFTMAX if group.attends else activation(group.step.operations)
    formats = formats_of(chip.arch, "attention" if group.attends else "linear")
    if formats.input.label == formats.output.label:
        return steps
    width = group.out.k
    size = group_size(formats.input, width)
    return steps._replace(quantize=OPERATIONS[QUANTIZE], group=0 if size == width else size)


def chain_of(chip: Chip, group: Group, bits: Bits, hierarchy: Hierarchy) -> Chain | None:
    """Return a group as a chain on a chip, with the stored bits and clocks of its products.

    None where the products that make the middle are not alike in these (rules for single layers).

    Parameters
    ----------
    chip : Chip
    group : Group
    bits : mapping of Gemm to LayerBits
    hierarchy : Hierarchy
        The chip's memories.
    """

    def found(gemm: Gemm) -> tuple[OperandBits, float]:
        unit_pj = nest_hierarchy(chip, gemm, bits[gemm], hierarchy).unit_pj
        return nest_bits(chip, gemm, bits[gemm]), unit_pj

    first, *others = (found(gemm) for gemm in group.into)
    if any(other != first for other in others):
        return None
    into, out, second = group.into[0], group.out, found(group.out)
    mask = None
    if into.causal is not None:
        mask = Mask(
            rows_per_token=into.rows_per_token, before=into.visible_before, window=into.window
        )
    return Chain(
        m=into.m,
        middle=out.k,
        out=out.n,
        inner=into.k,
        instances=into.batch,
        matrices=sum(gemm.n for gemm in group.into) // out.k,
        first=first[0],
        second=second[0],
        first_pj=first[1],
        second_pj=second[1],
        steps=steps_of(chip, group),
        mask=mask,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fused:
    """A group's chain on a chip under its best tiling."""

    chain: Chain
    near: NearChip
    lanes: Lanes
    found: Found

    @property
    def cost(self) -> FusedCost:
        """What it costs, in closed form."""
        return fusion_cost(self.chain, self.near, self.lanes, self.found)


def best_of(
    chip: Chip, group: Group, bits: Bits, objective: Objective, apart: Total | None = None
) -> Fused | str:
    """Return a group under its best tiling over a chip's dataflows; where none fits, why.

    Where every tiling is known to take more clocks and more energy than the layers apart it is not
    searched.

    Parameters
    ----------
    chip : Chip
    group : Group
    bits : mapping of Gemm to LayerBits
    objective : {"cycles", "energy", "edp"}
        What is least.
    apart : (float, float), optional
        Clocks and energy of one instance of the layers apart.
    """
    if len({bits[gemm].split for gemm in group.gemms}) > 1:
        into = " and ".join(gemm.name for gemm in group.into)
        return f"multipliers split otherwise for {group.out.name} than for {into}."
    if any(map(loads_table, (bits[gemm] for gemm in group.gemms))):
        return DECODED
    chip = chip.split_for(bits[group.out].split)
    lanes, found, reasons = lanes_of(chip), list[Fused](), list[str]()
    some, better = list[tuple[Chain, NearChip]](), apart is None
    decoded = (behind_decoders(chip, bits[group.out], each) for each in chip.hierarchies)
    for hierarchy in decoded:
        reason = why_not(hierarchy)
        chain = chain_of(chip, group, bits, hierarchy)
        if reason is None and chain is None:
            names = " and ".join(gemm.name for gemm in group.into)
            reason = f"the operands of {names} are not stored alike"
        if reason is not None or chain is None:
            reasons.append(f"{reason}.")
            continue
        near = near_chip(hierarchy)
        try:
            least = (0.0, 0.0) if apart is None else least_fusion(chain, near, lanes)
        except BitlatheError as error:  # too small for the least blocks
            reasons.append(str(error).removeprefix("fusion: "))
            continue
        some.append((chain, near))
        better = better or apart is None or least[0] <= apart[0] or least[1] <= apart[1]
    if some and not better:
        return NO_BETTER
    for chain, near in some:
        try:
            best = best_fusion(chain, near, lanes, objective)
        except BitlatheError as error:  # too small for the least blocks, or for a product's tiles
            reasons.append(str(error).removeprefix("fusion: "))
            continue
        found.append(Fused(chain=chain, near=near, lanes=lanes, found=best))
    if not found:
        return reasons[0]
    if len(found) == 1:
        return found[0]
    rank, costs = ORDERS[objective], [each.cost for each in found]
    ranks = [rank(each.cycles, each.total_pj) for each in costs]
    return found[ranks.index(min(ranks))]
