"""A group of a model's layers that may be fused, on a chip: what `bitlathe map` shows of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..arch import Arch, resolve
from ..arch.schema import check_supported
from ..datatypes.base.errors import BitlatheError, unknown_name
from ..mapping.best import Best, Objective
from ..mapping.fused.certify import BUDGET, about_data, fused_certificate
from ..mapping.fused.chain import Chain
from ..mapping.fused.cost import cost_of
from ..mapping.fused.demand import demand
from ..mapping.fused.near import NearChip, near_chip, why_not
from ..mapping.fused.products import Asked, BlockProduct, block_product
from ..workloads import Model
from .chip import Chip
from .fused.chains import Fused, best_of, chain_of, lanes_of
from .fused.conv_chains import ConvGroup, conv_groups
from .fused.groups import Group, groups_of
from .fused.listed import edges_of
from .layer_bits import LayerBits
from .map_shown import about_each, cost_data, cost_lines, line_of, port_rows
from .map_strips import AskedStrips
from .policy import calibrated_caches, layer_bits, with_numbers
from .results import results_of
from .vector import check_operations

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedGroup:
    """A group on a chip under its best schedule.

    Attributes
    ----------
    group : Group
    fused : Fused
    objective : {"cycles", "energy", "edp"}
    others : tuple of (Chain, NearChip)
        The group in the chip's other dataflows.
    """

    group: Group
    fused: Fused
    objective: Objective
    others: tuple[tuple[Chain, NearChip], ...] = ()

    def nest(self) -> Rows:
        """Return blocks and what stays of them as rows."""
        tiling = self.fused.found.tiling.to_dict()
        return [{"tiling": name, "": value} for name, value in tiling.items()]

    def accesses(self) -> Rows:
        """Return the mapping of each product of the blocks, in a line."""
        return [
            {
                "product": "second" if asked.second else "first",
                "rows": asked.rows,
                "columns": asked.columns,
                "sums": "finished" if asked.finished else "unfinished",
                "cycles": best.cost.cycles,
                "mapping": line_of(asked.loops(self.fused.chain), best),
            }
            for asked, best in self.fused.found.products.items()
        ]

    def ports(self) -> Rows:
        """Return what goes through each port of all instances of one group."""
        return port_rows(self.fused.cost)

    def lines(self) -> list[str]:
        """Return clocks, energy and the search in a sentence each."""
        return cost_lines(self.fused.cost, self.fused.found)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data: the figures, the tiling, the mappings of its products."""
        return cost_data(self.group.names, self.fused.cost, self.fused.found)

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
        of = fused.chain, fused.near, fused.lanes
        return fused_certificate(
            *of,
            fused.found,
            objective=self.objective,
            budget=BUDGET if budget is None else budget,
            others=self.others,
        )

    def rung_cycles(self) -> int:
        """Return the clocks of the schedule with those of the cycle rung for its products."""
        from .cycle.nest.run import run_nest  # compiled: checking does without

        fused, found = self.fused, self.fused.found
        chain, near = fused.chain, fused.near

        def product(asked: Asked) -> BlockProduct:
            best: Best = found.products[asked]
            of = asked.loops(chain), asked.bits(chain), best.mapping, asked.chip(chain, near)
            return block_product(best, near, run_nest(*of).cycles)

        jobs = demand(chain, found.tiling, near, fused.lanes, product)
        return cost_of(chain, found.tiling, near, jobs).cycles


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedGroup:
    """A group to be fused on a chip, with the bits of its layers."""

    chip: Chip
    group: Group
    bits: Mapping[Any, LayerBits]

    def best(self, objective: Objective = "cycles") -> MappedGroup:
        """Return the group under its best schedule.

        Raises
        ------
        BitlatheError
            The chip cannot fuse it: why, and which memory is too small by how much.
        """
        fused = best_of(self.chip, self.group, self.bits, objective)
        if isinstance(fused, str):
            raise BitlatheError(f"{self.group.name} cannot be fused on this chip: {fused}")
        others = tuple(each for each in self._sides() if each[1] != fused.near)
        return MappedGroup(group=self.group, fused=fused, objective=objective, others=others)

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
        return about_each([about_data(*side, lanes) for side in sides])

    def _sides(self) -> Iterator[tuple[Chain, NearChip]]:
        """Yield the group on the chip, by dataflow in which it can be fused."""
        chip = self.chip.split_for(self.bits[self.group.out].split)
        for hierarchy in chip.hierarchies:
            chain = chain_of(chip, self.group, self.bits, hierarchy)
            if why_not(hierarchy) is None and chain is not None:
                yield chain, near_chip(hierarchy)


def group_on(
    arch: Arch,
    model: Model,
    name: str,
    phase: str = "prefill",
    context: int | None = None,
    batch: int = 1,
) -> AskedGroup | AskedStrips:
    """Return a group of a model's layers on a chip, as a simulation finds it.

    Parameters
    ----------
    arch : Arch
    model : Model
    name : str
        As runs name it, e.g. ``"attention_qk+av"``, ``"block2.expand+depthwise"``.
    phase : {"prefill", "decode"}
    context : int, optional
        Tokens; 256 for text models.
    batch : int
        Sequences at once.

    Raises
    ------
    BitlatheError
        The model has no such group, the chip no vector unit, or its keys or values have scales
        that a growing cache cannot have.
    """
    resolved, model = with_numbers(resolve(arch, phase=phase, model=model.name), model)
    check_supported(resolved)
    if resolved.vector_unit is None:
        raise BitlatheError(
            f"{name}: layers are fused around steps of a vector unit, and the chip has none "
            "(vector)."
        )
    staged = model.staged(phase, context, batch)
    gemms = model.products(staged)
    grows = phase == "decode"
    calibrated_caches(resolved, model, staged, grows=grows)
    results, staged = results_of(resolved, model, staged, grows=grows)
    steps = model.vector_steps(staged)
    edges = edges_of(model, staged)
    known: dict[str, Group | ConvGroup] = {
        group.name: group for group in reversed([*groups_of(gemms, steps, edges)])
    }
    alone = model.each_alone() or model
    if alone is not model:
        results, staged = results_of(resolved, alone, alone.staged(batch=batch))
    if not known:
        known = {each.name: each for _, _, each in conv_groups(staged.before, staged.steps)}
    if name not in known:
        if not known:
            raise BitlatheError(
                f"{name}: {model.name} has no attention, MLP or chain of convolutions that may be "
                "fused; give a layer."
            )
        raise BitlatheError(unknown_name("group of layers that may be fused", name, known) + ".")
    group, chip = known[name], Chip.of(resolved)
    bits = {gemm: layer_bits(resolved, gemm, None, results.of(gemm)) for gemm in group.gemms}
    if isinstance(group, ConvGroup):
        for each in (step for some in group.steps for step in some):
            check_operations(resolved, each)
        return AskedStrips(chip=chip, group=group, bits=bits)
    check_operations(resolved, group.step)
    return AskedGroup(chip=chip, group=group, bits=bits)
