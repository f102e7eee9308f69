"""One copy of a model on the chips of a system: its shares, their exchanges, its stages."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from typing import NamedTuple

from ...workloads import Model, Transformer
from ...workloads.exchanges import Exchange
from ...workloads.sharding import Place, held, shard
from ...workloads.slices import Slice, slices
from .asked import Asked
from .capacity import cache_bits, weight_bits
from .collectives import collective
from .loads import MicroBatch, Replica
from .run import CollectiveRun, ShareRun
from .stages import Batches, StageClocks, interval, machines, makespan

TOKEN_BITS = 32
"""A token's number, on its way from the last stage to the first."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Copy:
    """A copy of the model, and how many are alike."""

    asked: Asked
    replica: Replica
    copies: int

    def place(self, tensor: Slice, stage: Slice, expert: Slice, batch: MicroBatch) -> Place:
        """Return the place of a chip, for one micro-batch.

        Parameters
        ----------
        tensor, stage, expert : Slice
            Which of the chips.
        batch : MicroBatch
        """
        rows = Fraction(batch.all_sequences, batch.sequences[expert.index])
        return Place(tensor=tensor, stage=stage, expert=expert, group_rows=rows)

    def _share(self, place: Place) -> Model:
        return shard(self.asked.model, place)

    @cached_property
    def _slices(self) -> tuple[tuple[Slice, ...], tuple[Slice, ...], tuple[Slice, ...]]:
        parallel = self.asked.system.parallel
        return slices(parallel.tensor), slices(parallel.pipeline), slices(parallel.expert)

    @cached_property
    def _alike(self) -> Counter["_Chip"]:
        """The chips of a copy, each with how many have the same share of every micro-batch."""
        tensors, stages, experts = self._slices
        found: Counter[_Chip] = Counter()
        for stage in stages:
            for expert in experts:
                each = [
                    (batch.sequences[expert.index], times)
                    for batch, times in self.replica.micro_batches
                ]
                for tensor in tensors:
                    models = [
                        self._share(self.place(tensor, stage, expert, batch))
                        for batch, _ in self.replica.micro_batches
                    ]
                    found[_Chip(stage.index, tuple(models), tuple(each))] += 1
        return found

    @cached_property
    def shares(self) -> tuple[ShareRun, ...]:
        """The chips, those that hold and do the same once."""
        found: dict[tuple[int, ...], ShareRun] = {}
        for chip, count in self._alike.items():
            each = self._share_run(chip)
            plain = (each.stage, each.sequences, each.parameters, each.weight_bits)
            key = (*plain, each.cache_bits, *(id(run) for run, _ in each.runs))
            same, chips = found.get(key), count * self.copies
            found[key] = replace(each, chips=chips + (same.chips if same else 0))
        return tuple(found.values())

    def _share_run(self, chip: "_Chip") -> ShareRun:
        asked, own = self.asked, sum(sequences * times for sequences, times in chip.sequences)
        share = chip.models[0]
        every = asked.forward(share, own)
        cache = 0 if every is None else cache_bits(asked.arch, share, every, asked.chip_phase)
        return ShareRun(
            stage=chip.stage,
            chips=1,
            sequences=own if asked.step is None else asked.step.sequences,
            parameters=share.shape.parameter_count(),
            weight_bits=weight_bits(asked.arch, share),
            cache_bits=cache,
            runs=tuple(
                (asked.run(model, sequences), times)
                for model, (sequences, times) in zip(chip.models, chip.sequences, strict=True)
            ),
        )

    def _exchanges(self, stage: Slice, expert: Slice, batch: MicroBatch) -> Iterator[Exchange]:
        """Yield the exchanges of a micro-batch: of the first chip of those that share a layer."""
        place = self.place(self._slices[0][0], stage, expert, batch)
        share = self._share(place)
        yield from self.asked.exchanges(share, place, batch.sequences[expert.index])

    @cached_property
    def collectives(self) -> tuple[CollectiveRun, ...]:
        """What its chips exchange, what is alike once."""
        tensors, stages, experts = self._slices
        groups: Counter[CollectiveRun] = Counter()
        for stage in stages:
            for expert in experts:
                counts: Counter[CollectiveRun] = Counter()
                for batch, times in self.replica.micro_batches:
                    for exchange in self._exchanges(stage, expert, batch):
                        if exchange.way == "expert" and expert.index:
                            continue  # counted with the first of its chips, which has most tokens
                        counts[self._cost(exchange, stage)] += exchange.count * times
                beside = {"tensor": 1, "expert": len(tensors), "pipeline": len(tensors)}
                for one, count in counts.items():
                    groups[replace(one, count=count)] += beside[one.way] * self.copies
        return tuple(replace(one, groups=count) for one, count in groups.items())

    def _cost(self, exchange: Exchange, stage: Slice) -> CollectiveRun:
        cost, links = self.asked.cost(exchange), self.asked.system.links_of(exchange.way)
        return CollectiveRun(
            name=exchange.name,
            kind=exchange.kind,
            way=exchange.way,
            stage=stage.index,
            chips=2 if exchange.kind == "send" else self._chips(exchange),
            groups=1,
            count=1,
            bits=self.asked.bits(exchange),
            cycles=cost.cycles,
            link_bits=cost.link_bits,
            energy_pj=cost.link_bits * links.energy_pj_per_bit,
        )

    def _chips(self, exchange: Exchange) -> int:
        return self.asked.system.parallel.degrees[exchange.way]

    @cached_property
    def schedule(self) -> tuple[tuple[int, tuple[StageClocks, ...]], ...]:
        """Micro-batches in their order, and what each stage does for one."""
        computing = [self._computing(stage.index) for stage in self._slices[1]]
        found = []
        for i, (batch, times) in enumerate(self.replica.micro_batches):
            clocks = []
            for stage in self._slices[1]:
                cycles, bits = [0, 0], [0, 0]  # within the stage, and to the next
                for exchange in self._exchanges(stage, self._slices[2][0], batch):
                    cost, way = self.asked.cost(exchange), exchange.kind == "send"
                    cycles[way] += cost.cycles * exchange.count
                    bits[way] += cost.link_bits * exchange.count
                clocks.append(StageClocks(computing[stage.index][i], *cycles, *bits))
            found.append((times, tuple(clocks)))
        return tuple(found)

    @property
    def _machines(self) -> Batches:
        return machines(self.schedule)

    def _computing(self, stage: int) -> list[int]:
        """Return the clocks of a stage's slowest chip for each kind of micro-batch."""
        chips = [each.runs for each in self.shares if each.stage == stage]
        return [max(run.cycles for run, _ in runs) for runs in zip(*chips, strict=True)]

    @property
    def cycles(self) -> int:
        """Clocks until the last micro-batch has left the last stage."""
        return makespan(self._machines)

    @property
    def interval_cycles(self) -> int:
        """Clocks between the starts of two steps."""
        asked, parallel = self.asked, self.asked.system.parallel
        if not asked.generates or parallel.pipeline == 1:
            return interval(self._machines)
        run = asked.forward(asked.model, self.replica.micro_batches[0][0].sequences[0])
        links, clock = asked.system.links_of("pipeline"), asked.arch.technology.clock_ghz
        bits = TOKEN_BITS * (0 if run is None else run.logits)
        back = collective("send", bits, parallel.pipeline, links, clock)
        return interval(self._machines, back.cycles)

    @property
    def stage_cycles(self) -> tuple[int, ...]:
        """Clocks in which each stage computes and exchanges."""
        stages = range(0, len(self._machines[0][1]), 2)
        return tuple(sum(times * clocks[i] for times, clocks in self._machines) for i in stages)

    @property
    def micro_batches(self) -> int:
        """Micro-batches of each chip."""
        return sum(times for _, times in self.replica.micro_batches)

    @property
    def tokens(self) -> int:
        """New tokens, or images, of all copies alike."""
        asked = self.asked
        runs = [asked.forward(asked.model, each) for each in self.replica.sequences]
        shape = asked.model.shape
        if not isinstance(shape, Transformer) or shape.image is not None:
            return self.copies * sum(self.replica.sequences)
        return self.copies * sum(run.rows for run in runs if run is not None)

    def replicated(self) -> dict[str, int]:
        """Return the parameters that chips store beyond once, by matrix."""
        shape = self.asked.model.shape
        if not isinstance(shape, Transformer):
            every = sum(c.models[0].shape.parameter_count() * n for c, n in self._alike.items())
            beyond = every - shape.parameter_count()
            return {"vectors": beyond} if beyond else {}
        total: Counter[str] = Counter()
        for chip, count in self._alike.items():
            share = chip.models[0].shape
            assert isinstance(share, Transformer)
            total += Counter({name: n * count for name, n in held(share).items()})
        return dict(total - held(shape))


class _Chip(NamedTuple):
    """A chip: its stage; of each kind of micro-batch its share, its sequences, how many."""

    stage: int
    models: tuple[Model, ...]
    sequences: tuple[tuple[int, int], ...]


def merged(found: Iterable[CollectiveRun]) -> tuple[CollectiveRun, ...]:
    """Return collectives of several copies, what is alike once with all its groups."""
    groups: Counter[CollectiveRun] = Counter()
    for one in found:
        groups[replace(one, groups=1)] += one.groups
    return tuple(replace(one, groups=count) for one, count in groups.items())
