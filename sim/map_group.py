"""A group of a model's layers that may be fused, on a chip: what `bitlathe map` shows of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..arch import Arch, resolve
from ..arch.schema import check_supported
from ..datatypes.base.errors import BitlatheError, unknown_name
from ..mapping.best import Best, Objective
from ..mapping.fused.certify import BUDGET, about_data, fused_certificate
from ..mapping.fused.cost import cost_of
from ..mapping.fused.demand import demand
from ..mapping.fused.near import near_chip, why_not
from ..mapping.fused.products import Asked, BlockProduct, block_product
from ..workloads import Model
from ..workloads.transformer import Transformer
from .chip import Chip
from .fused.chains import Fused, best_of, chain_of, lanes_of
from .fused.groups import Group, groups_of
from .layer_bits import LayerBits
from .policy import calibrated_caches, layer_bits, with_numbers
from .results import results_of

Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedGroup:
    """A group on a chip under its best schedule.

    Attributes
    ----------
    group : Group
    fused : Fused
    objective : {"cycles", "energy", "edp"}
    """

    group: Group
    fused: Fused
    objective: Objective

    def nest(self) -> Rows:
        """Return blocks and what stays of them as rows."""
        tiling = self.fused.best.found.tiling.to_dict()
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
                "mapping": self._line(asked, best),
            }
            for asked, best in self.fused.best.found.products.items()
        ]

    def _line(self, asked: Asked, best: Best) -> str:
        rows = best.mapping.rows(asked.loops(self.fused.chain).sizes)
        return "; ".join(f"{row.what} {row.detail}".strip() for row in rows)

    def ports(self) -> Rows:
        """Return what goes through each port of all instances of one group."""
        return [
            {"memory": at.memory, "port": at.port, "reads": reads, "writes": writes}
            for at, (reads, writes) in self.fused.best.cost.accesses.items()
        ]

    def lines(self) -> list[str]:
        """Return clocks, energy and the search in a sentence each."""
        cost, found = self.fused.best.cost, self.fused.best.found
        energy = ", ".join(f"{name} {pj / 1e6:,.3f}" for name, pj in cost.energy_pj.items())
        bits = ", ".join(f"{name} {float(b) / 8e6:,.3f}" for name, b in cost.outer_bits.items())
        return [
            f"clocks: {cost.cycles:,} (at least {cost.lower_bound_cycles:,} under this tiling); "
            f"steps {float(cost.compute_cycles):,.0f}",
            f"energy (uJ): {energy}",
            f"DRAM traffic (MB): {bits}",
            f"schedule: the best of {found.tilings:,} tilings, {found.tilings_costed:,} of them "
            f"costed in {found.search_seconds:.3f} s, the others bounded",
        ]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data: the figures, the tiling, the mappings of its products."""
        cost, found = self.fused.best.cost, self.fused.best.found
        return {
            "layers": list(self.group.names),
            "cycles": cost.cycles,
            "lower_bound_cycles": cost.lower_bound_cycles,
            "compute_cycles": float(cost.compute_cycles),
            "energy_pj": dict(cost.energy_pj),
            "dram_bits": {name: float(bits) for name, bits in cost.outer_bits.items()},
            "tilings": found.tilings,
            "tilings_costed": found.tilings_costed,
            "search_seconds": found.search_seconds,
            "tiling": found.tiling.to_dict(),
            "products": [
                {"asked": list(asked), "mapping": best.mapping.to_dict()}
                for asked, best in found.products.items()
            ],
            "ports": self.ports(),
        }

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
        about_data(*of)  # refused before the machine plays it
        return fused_certificate(
            *of,
            fused.best.found,
            objective=self.objective,
            budget=BUDGET if budget is None else budget,
            rung_cycles=self._rung_cycles(),
        )

    def _rung_cycles(self) -> int:
        """Return the clocks of the schedule with those of the cycle rung for its products."""
        from .cycle.nest.run import run_nest  # compiled: checking does without

        fused, found = self.fused, self.fused.best.found
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
        return MappedGroup(group=self.group, fused=fused, objective=objective)

    def about(self) -> list[dict[str, Any]]:
        """Return what its certificate is about as plain data, by dataflow of the chip.

        Raises
        ------
        BitlatheError
            The chip cannot fuse it, or has what certificates do not count.
        """
        chip = self.chip.split_for(self.bits[self.group.out].split)
        found = list[dict[str, Any]]()
        for hierarchy in chip.hierarchies:
            chain = chain_of(chip, self.group, self.bits, hierarchy)
            if why_not(hierarchy) is None and chain is not None:
                found.append(about_data(chain, near_chip(hierarchy), lanes_of(chip)))
        if not found:
            raise BitlatheError(f"{self.group.name} cannot be fused on this chip.")
        return found


def group_on(
    arch: Arch,
    model: Model,
    name: str,
    phase: str = "prefill",
    context: int | None = None,
    batch: int = 1,
) -> AskedGroup:
    """Return a group of a model's layers on a chip, as a simulation finds it.

    Parameters
    ----------
    arch : Arch
    model : Model
    name : str
        As runs name it, e.g. ``"attention_qk+av"``.
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
    edges = tuple(staged.edges()) if isinstance(model.shape, Transformer) else ()
    groups = {group.name: group for group in reversed([*groups_of(gemms, steps, edges)])}
    if name not in groups:
        if not groups:
            raise BitlatheError(
                f"{name}: {model.name} has no attention or MLP that may be fused; give a layer."
            )
        raise BitlatheError(unknown_name("group of layers that may be fused", name, groups) + ".")
    bits = {gemm: layer_bits(resolved, gemm, None, results.of(gemm)) for gemm in groups[name].gemms}
    chip = Chip.of(resolved)
    return AskedGroup(chip=chip, group=groups[name], bits=bits)
