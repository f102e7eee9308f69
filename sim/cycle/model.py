"""The cycle rung for layers that overlap: one machine runs a whole model, layer after layer.

A layer's clocks are those from the end of the layer before on the array to its own end; the last
one's, to the last result in DRAM. Layers that repeat are folded as tiles are.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from ...arch.schema import Arch
from ...mapping.keep import Kept, Placed, PlacedRepeat, Plan, placed_steps
from ...workloads.gemm import Gemm
from ..analytic import Demand, bound, demand_in, run_unmasked
from ..energy import ChipCosts
from ..layer_bits import LayerBits
from ..layout import Layout
from ..run import LayerRun
from .layer import DEFAULT_OPTIONS, layer_program, layout_to_run, new_machine, timed
from .machine import Machine, Mark
from .options import CycleOptions
from .program import Program

What = tuple[Gemm, Kept]


@dataclass(frozen=True, slots=True)
class Share:
    """A layer's part of the run: clocks, clocks with work, stall clocks (`Machine.stalls`)."""

    cycles: int
    busy: int
    stalls: tuple[int, ...]


class Walk:
    """A machine on its way through a plan."""

    def __init__(self, machine: Machine, programs: dict[What, Program]) -> None:
        self.machine = machine
        self.programs = programs
        # name of a layer: stores asked for up to its end, when its last results left the array
        self.results: dict[str, tuple[int, int]] = {}
        self.counts: dict[tuple[What, Share], int] = {}
        self.last: tuple[What, Share] | None = None

    def run(self, plan: Plan) -> None:
        """Run a plan."""
        for node in plan:
            if isinstance(node, Placed):
                self._layer(node)
            else:
                self._repeat(node)

    def finish(self) -> None:
        """Wait for the last results to be in DRAM; the last layer has the clocks."""
        machine, before = self.machine, self.machine.mark(0)
        end = machine.finish()
        if self.last is None:
            return
        what, share = self.last
        self._count(what, share, -1)
        tail = [a - b for a, b in zip(machine.stalls, before.stalls, strict=True)]
        stalls = tuple(a + b for a, b in zip(share.stalls, tail, strict=True))
        self._count(what, Share(share.cycles + end - before.end, share.busy, stalls), 1)

    def _count(self, what: What, share: Share, times: int) -> None:
        self.counts[what, share] = self.counts.get((what, share), 0) + times

    def _layer(self, placed: Placed) -> None:
        machine, step, kept = self.machine, placed.step, placed.kept
        what = step.gemm, kept
        program, before = self.programs[what], machine.mark(0)
        weights = [self.results[name] for name in step.weights if name in self.results]
        inputs = [self.results[name] for name in step.inputs if name in self.results]
        needs = max((stores for stores, _ in weights), default=0), 0
        kept_from = 0
        if kept.input:
            kept_from = max(left for _, left in inputs)
        else:
            needs = needs[0], max((stores for stores, _ in inputs), default=0)
        machine.begin(program, needs, kept_from)
        machine.run(program.nodes)
        machine.leave()
        self.results[step.gemm.name] = machine.pushed, max(machine.end, machine.drained)
        share = Share(
            machine.end - before.end,
            machine.busy - before.busy,
            tuple(a - b for a, b in zip(machine.stalls, before.stalls, strict=True)),
        )
        self.last = what, share
        self._count(what, share, 1)

    def _key(self) -> tuple[object, ...]:
        """Return all that what follows depends on, relative to the present."""
        machine = self.machine
        stored = machine.pushed - len(machine.stores)
        return (
            machine.key_between_layers(),
            *(
                (name, max(stores - stored, 0), max(left - machine.end, 0))
                for name, (stores, left) in sorted(self.results.items())
            ),
        )

    def _repeat(self, node: PlacedRepeat) -> None:
        seen: dict[tuple[object, ...], tuple[Mark, dict[str, tuple[int, int]], Counts]] = {}
        done = 0
        while done < node.count:
            key = self._key()
            if self.machine.fold and key in seen:
                before, results, counts = seen[key]
                self._skip((node.count - done) // (done - before.done), before, results, counts)
                for _ in range((node.count - done) % (done - before.done)):
                    self.run(node.body)
                return
            seen[key] = self.machine.mark(done), dict(self.results), dict(self.counts)
            self.run(node.body)
            done += 1

    def _skip(
        self, turns: int, before: Mark, results: dict[str, tuple[int, int]], counts: "Counts"
    ) -> None:
        machine = self.machine
        pushed = (machine.pushed - before.pushed) * turns
        shift = machine.skip_between_layers(turns, before)
        for name, (stores, left) in self.results.items():
            if results.get(name) != (stores, left):
                self.results[name] = stores + pushed, left + shift
        for what, times in list(self.counts.items()):
            self.counts[what] = times + (times - counts.get(what, 0)) * turns


Counts = dict[tuple[What, Share], int]


def walk(
    arch: Arch,
    plan: Plan,
    bits_of: Callable[[Gemm], LayerBits],
    mapper: str = "whole-buffer",
    options: CycleOptions = DEFAULT_OPTIONS,
) -> Walk:
    """Run a plan on one machine."""
    return walk_layouts(arch, plan, layouts_of(arch, plan, bits_of, mapper, options), options)


def layouts_of(
    arch: Arch,
    plan: Plan,
    bits_of: Callable[[Gemm], LayerBits],
    mapper: str,
    options: CycleOptions,
) -> dict[What, Layout]:
    """Return the layouts of a plan's layers, masked or not."""
    return {
        (gemm, kept): layout_to_run(arch, gemm, bits_of(gemm), mapper, options, kept)
        for gemm, kept in dict.fromkeys((p.step.gemm, p.kept) for p, _ in placed_steps(plan))
    }


def walk_layouts(
    arch: Arch, plan: Plan, layouts: dict[What, Layout], options: CycleOptions
) -> Walk:
    """Run a plan of layers that are laid out."""
    programs = {
        (gemm, kept): layer_program(layout, options, kept)
        for (gemm, kept), layout in layouts.items()
    }
    found = Walk(new_machine(arch, options), programs)
    found.run(plan)
    found.finish()
    return found


def run_overlapped(
    arch: Arch,
    plan: Plan,
    bits_of: Callable[[Gemm], LayerBits],
    costs: ChipCosts,
    mapper: str = "whole-buffer",
    options: CycleOptions = DEFAULT_OPTIONS,
) -> tuple[LayerRun, ...]:
    """Return the layers of a plan that runs on one machine, first operands beside the layer before.

    Reads go out in order across layers. What a layer reads that another one stored waits for the
    stores; weights wait for nothing but their place. Instances of a layer that take different
    clocks have a row each; rows times their counts add up to the run.
    """
    layouts = layouts_of(arch, plan, bits_of, mapper, options)
    found = walk_layouts(arch, plan, layouts, options)
    rows = []
    demands: dict[What, Demand] = {}
    for (what, share), times in found.counts.items():
        gemm, _ = what
        if not times:
            continue
        if what not in demands:
            demands[what] = demand_in(layouts[what], costs)
        base, ports = bound(demands[what], costs), demands[what].port_cycles
        if demands[what].layout.gemm != gemm:
            base = run_unmasked(gemm, base)
        assert share.busy == base.compute_cycles, (gemm, share)
        row = timed(arch, costs, base, share.cycles, share.stalls, ports)
        rows.append(replace(row, count=times))
    return tuple(rows)
