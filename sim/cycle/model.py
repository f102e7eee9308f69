"""The cycle rung for layers that overlap: one machine runs a whole model, layer after layer.

A layer's clocks are those from the end of the layer before on the array to its own end; the last
one's, to the last result in DRAM. Layers that repeat are folded as tiles are.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ...mapping.keep import LayerKey, Placed, PlacedRepeat, Plan, layer_counts
from ...workloads.gemm import Gemm
from ..account import layer_run
from ..chip import Chip
from ..demand import Demand
from ..layer_bits import LayerBits
from ..layout import Layout, layouts
from ..run import LayerRun
from .layer import DEFAULT_OPTIONS, layout_to_run, new_machine, timed
from .lower import layer_program
from .machine import Machine, Mark
from .options import CycleOptions
from .program import Program


@dataclass(frozen=True, slots=True)
class Share:
    """A layer's part of the run: clocks, clocks with work, stall clocks (`Machine.stalls`)."""

    cycles: int
    busy: int
    stalls: tuple[int, ...]


class PlanRunner:
    """A machine on its way through a plan."""

    def __init__(self, machine: Machine, programs: dict[LayerKey, Program]) -> None:
        self.machine = machine
        self.programs = programs
        # name of a layer: stores asked for up to its end, when its last results left the array
        self.results: dict[str, tuple[int, int]] = {}
        self.counts: dict[tuple[LayerKey, Share], int] = {}
        self.last: tuple[LayerKey, Share] | None = None

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
        key, share = self.last
        self._count(key, share, -1)
        tail = [a - b for a, b in zip(machine.stalls, before.stalls, strict=True)]
        stalls = tuple(a + b for a, b in zip(share.stalls, tail, strict=True))
        self._count(key, Share(share.cycles + end - before.end, share.busy, stalls), 1)

    def _count(self, key: LayerKey, share: Share, times: int) -> None:
        self.counts[key, share] = self.counts.get((key, share), 0) + times

    def _layer(self, placed: Placed) -> None:
        machine, step, kept, key = self.machine, placed.step, placed.kept, placed.key
        program, before = self.programs[key], machine.mark(0)
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
        self.last = key, share
        self._count(key, share, 1)

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
        for key, times in list(self.counts.items()):
            self.counts[key] = times + (times - counts.get(key, 0)) * turns


Counts = dict[tuple[LayerKey, Share], int]


def layouts_of(
    chip: Chip, plan: Plan, bits: Mapping[Gemm, LayerBits], mapper: str, options: CycleOptions
) -> dict[LayerKey, Layout]:
    """Return the layouts of a plan's layers, with or without their masks.

    Parameters
    ----------
    chip : Chip
    plan : Plan
    bits : mapping of Gemm to LayerBits
    mapper : str
        As in `sim.layout.lay_out`.
    options : CycleOptions
        Those under which the fastest layout is sought.
    """
    return {
        key: layout_to_run(layouts(chip, key.gemm, bits[key.gemm], mapper, key.kept), options)
        for key in layer_counts(plan)
    }


def run_plan(
    chip: Chip, plan: Plan, laid_out: Mapping[LayerKey, Layout], options: CycleOptions
) -> PlanRunner:
    """Run a plan of layers that are laid out on one machine.

    Parameters
    ----------
    chip : Chip
    plan : Plan
    laid_out : mapping of LayerKey to Layout
        As `layouts_of` returns them.
    options : CycleOptions
    """
    programs = {key: layer_program(layout, options) for key, layout in laid_out.items()}
    found = PlanRunner(new_machine(chip, options), programs)
    found.run(plan)
    found.finish()
    return found


def run_overlapped(
    chip: Chip,
    plan: Plan,
    bits: Mapping[Gemm, LayerBits],
    mapper: str = "whole-buffer",
    options: CycleOptions = DEFAULT_OPTIONS,
) -> tuple[LayerRun, ...]:
    """Return the layers of a plan that runs on one machine, first operands beside the layer before.

    Reads go out in order across layers. What a layer reads that another one stored waits for the
    stores; weights wait for nothing but their place. Instances of a layer that take different
    clocks have a row each; rows times their counts add up to the run.

    Parameters
    ----------
    chip, plan, bits, mapper, options
        As in `layouts_of`.
    """
    laid_out = layouts_of(chip, plan, bits, mapper, options)
    found = run_plan(chip, plan, laid_out, options)
    demands = {key: Demand.of(layout) for key, layout in laid_out.items()}
    rows = []
    for (key, share), count in found.counts.items():
        if count:
            time = timed(
                demands[key],
                options,
                cycles=share.cycles,
                busy=share.busy,
                stalls=share.stalls,
            )
            rows.append(layer_run(key.gemm, demands[key], time, count=count))
    return tuple(rows)
