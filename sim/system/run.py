"""Results: what a model costs on a system of chips."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ... import __version__
from ...datatypes.base.notebook import frame, html
from ..run import Run, with_total
from .stages import Schedule

LINKS = "links"
"""The links among what takes energy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareRun:
    """Chips of a system that hold and do the same.

    Attributes
    ----------
    stage : int
        Their stage, from 0.
    chips : int
        How many.
    sequences : int
        Sequences of each.
    parameters : int
        What each stores.
    weight_bits, cache_bits : int
        Bits of these, and of the keys and values of its sequences.
    runs : tuple of (Run, int)
        Its share of a micro-batch on the plain chip, and how many are alike.
    """

    stage: int
    chips: int
    sequences: int
    parameters: int
    weight_bits: int
    cache_bits: int
    runs: tuple[tuple[Run, int], ...]

    @property
    def cycles(self) -> int:
        """Clocks in which a chip computes, in a step."""
        return sum(run.cycles * times for run, times in self.runs)

    @property
    def macs(self) -> int:
        """Entries of all products' operands multiplied in a step, masked ones too, by a chip."""
        return sum(
            layer.dense_macs * layer.count * times
            for run, times in self.runs
            for layer in run.layers
            if layer.unit is None
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        plain = {name: getattr(self, name) for name in self.__slots__ if name != "runs"}
        runs = [{"micro_batches": times, **run.to_dict()} for run, times in self.runs]
        return {**plain, "cycles": self.cycles, "runs": runs}


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectiveRun:
    """A collective of some chips; ``count`` equal ones run in a step of a group of chips.

    Attributes
    ----------
    name, kind, way : str
        As in `workloads.exchanges.Exchange`.
    stage : int
        The stage that it belongs to.
    chips : int
        Chips of a group.
    groups : int
        Groups that do the same beside each other.
    count : int
        How many in a step, one after the other, of one group.
    bits : int
        Of the vector.
    cycles : int
        Clocks of one.
    link_bits : int
        Bits over links of one, of all chips of the group.
    energy_pj : float
        Of one, all chips of the group.
    """

    name: str
    kind: str
    way: str
    stage: int
    chips: int
    groups: int
    count: int
    bits: int
    cycles: int
    link_bits: int
    energy_pj: float

    @property
    def total(self) -> dict[str, Any]:
        """What all of a step take: clocks of a group, bits and energy of all groups."""
        times = self.count * self.groups
        return {
            "cycles": self.cycles * self.count,
            "link_bits": self.link_bits * times,
            "energy_pj": self.energy_pj * times,
        }

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {**{name: getattr(self, name) for name in self.__slots__}, "total": self.total}


@dataclass(frozen=True, kw_only=True, repr=False)
class SystemRun:
    """Cost of a model on a system of chips.

    Attributes
    ----------
    system, arch, model : str
    phase, context, batch, fidelity, mapper
        As in `sim.run.Run`; the batch is that of all chips.
    clock_ghz : float
    chips : int
    parallel : mapping of str to int
        Degrees, and micro-batches of each chip.
    cycles : int
        Clocks of a step: until the last chip is done with the last sequence.
    interval_cycles : int
        Clocks between the starts of two steps that follow each other: less where stages work on
        several steps at once.
    stage_cycles : tuple of int
        Clocks in which each stage computes and exchanges in a step; of the slowest copy.
    tokens : int
        New tokens (images) of a step.
    first_token : bool
        As in `sim.run.Run`.
    shares : tuple of ShareRun
    collectives : tuple of CollectiveRun
    idle_pj : mapping of str to float
        What chips take while they wait: leakage, background of DRAM.
    replicated : mapping of str to int
        Parameters stored beyond once in each copy of the model, by matrix.
    area_um2 : dict of str to float
        Of all chips.
    notes : tuple of str
        What does not divide, is stored more than once, or does not fit, a sentence each.
    schedule : sequence of (int, sequence of StageClocks)
        Micro-batches of the slowest copy of the model, and what its stages do for each.
    """

    system: str
    arch: str
    model: str
    phase: str
    context: int | None
    batch: int
    fidelity: str
    mapper: str
    clock_ghz: float
    chips: int
    parallel: Mapping[str, int]
    cycles: int
    interval_cycles: int
    stage_cycles: tuple[int, ...]
    tokens: int
    first_token: bool
    shares: tuple[ShareRun, ...]
    collectives: tuple[CollectiveRun, ...]
    idle_pj: Mapping[str, float]
    area_um2: Mapping[str, float]
    replicated: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    schedule: Schedule = ()

    @property
    def seconds(self) -> float:
        """Time of a step."""
        return self.cycles / (self.clock_ghz * 1e9)

    @property
    def tokens_per_second(self) -> float:
        """New tokens (images) of all chips in a second, steps following as closely as they can."""
        return self.tokens / (self.interval_cycles / (self.clock_ghz * 1e9))

    @property
    def time_to_first_token_s(self) -> float | None:
        """Time until the last sequence has its first token; None where the run makes none."""
        return self.seconds if self.first_token else None

    @property
    def energy_per_token_pj(self) -> float:
        """Energy of a new token (image), of all chips."""
        return self.energy_pj["total"] / self.tokens

    @property
    def model_flops_utilization(self) -> float:
        """Multiply-accumulates over those that all arrays could do in a step.

        What several chips compute alike counts as often.
        """
        busy = math.fsum(
            run.utilization * run.cycles * times * each.chips
            for each in self.shares
            for run, times in each.runs
        )
        return busy / (self.cycles * self.chips)

    @cached_property
    def binds(self) -> dict[str, int]:
        """Clocks of all chips by what binds their layers, the most first; none while they wait."""
        total: dict[str, int] = {}
        for each in self.shares:
            for run, times in each.runs:
                for at, clocks in run.binds.items():
                    total[at] = total.get(at, 0) + clocks * times * each.chips
        return dict(sorted(total.items(), key=lambda item: -item[1]))

    @property
    def bubble(self) -> float:
        """Share of the stages' clocks in a step in which they have no micro-batch."""
        return 1 - sum(self.stage_cycles) / (len(self.stage_cycles) * self.cycles)

    @property
    def link_bits(self) -> int:
        """Bits over links in a step, of all chips."""
        return sum(each.total["link_bits"] for each in self.collectives)

    @cached_property
    def energy_pj(self) -> dict[str, float]:
        """Energy of a step on all chips by component, with its total."""
        runs = [(run, times * s.chips) for s in self.shares for run, times in s.runs]
        names = dict.fromkeys(name for run, _ in runs for name in run.energy_pj if name != "total")
        parts = {
            name: math.fsum(
                [self.idle_pj.get(name, 0.0), *(r.energy_pj.get(name, 0.0) * n for r, n in runs)]
            )
            for name in dict.fromkeys([*names, *self.idle_pj])
        }
        parts[LINKS] = math.fsum(each.total["energy_pj"] for each in self.collectives)
        return with_total(parts)

    @property
    def largest_share(self) -> ShareRun:
        """The chips with most to store."""
        return max(self.shares, key=lambda each: each.weight_bits + each.cache_bits)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "version": __version__,
            **_plain(
                self,
                ("system", "arch", "model", "phase", "context", "batch", "fidelity", "mapper"),
            ),
            **_plain(self, ("clock_ghz", "chips")),
            "parallel": dict(self.parallel),
            **_plain(self, ("cycles", "seconds", "interval_cycles", "tokens_per_second")),
            **({"time_to_first_token_s": self.seconds} if self.first_token else {}),
            **_plain(self, ("energy_per_token_pj", "model_flops_utilization")),
            **({"binds": self.binds} if self.binds else {}),
            "stage_cycles": list(self.stage_cycles),
            **_plain(self, ("tokens", "bubble", "link_bits", "energy_pj")),
            "idle_pj": dict(self.idle_pj),
            "area_um2": dict(self.area_um2),
            "replicated": dict(self.replicated),
            "notes": list(self.notes),
            "shares": [each.to_dict() for each in self.shares],
            "collectives": [each.to_dict() for each in self.collectives],
        }

    def to_json(self, indent: int | None = 2) -> str:
        """Return the run as JSON text."""
        return json.dumps(self.to_dict(), indent=indent)

    def rows(self) -> list[dict[str, Any]]:
        """Return one flat record for each kind of chip."""
        return [
            {
                "stage": each.stage,
                "chips": each.chips,
                "sequences": each.sequences,
                "parameters": each.parameters,
                "weights_mib": each.weight_bits / 8 / 2**20,
                "cache_mib": each.cache_bits / 8 / 2**20,
                "cycles": each.cycles,
                "busy": each.cycles / self.cycles,
            }
            for each in self.shares
        ]

    def to_frame(self) -> Any:
        """Return the kinds of chips as a pandas data frame, a row each."""
        return frame(self.rows())

    def __repr__(self) -> str:
        where = "" if self.context is None else f", context {self.context}"
        on = f"{self.model!r} on {self.system!r}, {self.phase}{where}, batch {self.batch}"
        return f"SystemRun({on}: {self.cycles:,} cycles)"

    def _repr_html_(self) -> str:
        facts = {"phase": self.phase, "batch": self.batch, "clocks": self.cycles}
        tables = (self.rows(), self.collective_rows())
        return html(f"{self.model} on {self.system}", facts, *tables)

    def collective_rows(self) -> list[dict[str, Any]]:
        """Return one flat record for each collective, with what all of a step take."""
        return [
            {
                "collective": each.name,
                "kind": each.kind,
                "stage": each.stage,
                "chips": each.chips,
                "groups": each.groups,
                "count": each.count,
                "kib": each.bits / 8 / 1024,
                "cycles": each.total["cycles"],
                "link_mib": each.total["link_bits"] / 8 / 2**20,
                "energy_uj": each.total["energy_pj"] / 1e6,
            }
            for each in self.collectives
        ]


def _plain(run: SystemRun, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(run, name) for name in names}
