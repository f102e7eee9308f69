"""What is run on a system: a model in a phase; shares of it on the plain chip, each run once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import ceil
from typing import Any

from ...arch import Arch, resolve
from ...arch.system import System
from ...datatypes.base.numbers import ceil_div
from ...workloads import Model, Step, Transformer
from ...workloads.exchanges import Exchange, exchanges, exchanges_of_list
from ...workloads.gemm import Gemm
from ...workloads.products import Products
from ...workloads.sharding import Place
from ...workloads.transformer import Forward
from ...workloads.transformer.products import staged
from ...workloads.vector_step import VectorStep
from ..chip import Chip
from ..policy import formats_of, with_numbers, without_numbers
from ..run import Run
from ..simulation import simulate
from .collectives import Cost, collective

Known = dict[tuple[tuple[Gemm, ...], tuple[VectorStep, ...], int], Run]
"""Runs of shares on the plain chip, by their products, steps between and sequences."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Asked:
    """A model on a system in a phase, or in a server's step."""

    system: System
    whole: Model
    phase: str
    context: int | None
    step: Step | None
    logits: str | None
    causal: bool
    options: Mapping[str, Any]
    known: Known = field(default_factory=dict)

    @cached_property
    def _resolved(self) -> tuple[Arch, Model]:
        """The chip as this phase and model find it; the model, layers told apart as rules ask."""
        found = resolve(self.system.arch, phase=self.chip_phase, model=self.whole.name)
        if self.system.parallel.pipeline > 1:
            found = without_numbers(found, "a system whose chips have some of the layers")
        return with_numbers(found, self.whole)

    @property
    def arch(self) -> Arch:
        """The chip as this phase and model find it."""
        return self._resolved[0]

    @property
    def model(self) -> Model:
        """The model whose shares are run."""
        return self._resolved[1]

    @cached_property
    def chip(self) -> Chip:
        """The same, its buffers looked up."""
        return Chip.of(self.arch)

    @property
    def chip_phase(self) -> str:
        """The phase for which the chip is arranged."""
        return self.phase if self.step is None else self.step.phase

    @property
    def generates(self) -> bool:
        """Whether the next step needs what this one makes."""
        return self.phase == "decode" if self.step is None else bool(self.step.decode)

    def forward(self, model: Model, sequences: int) -> Forward | None:
        """Return the pass of a share over so many sequences; None of a network without tokens."""
        if self.step is not None:
            return self.step.forward
        if not isinstance(model.shape, Transformer):
            return None
        logits = self.arch.accounting.logits if self.logits is None else self.logits
        return model.forward(self.phase, self.context, sequences, self.causal, logits)

    def run(self, model: Model, sequences: int) -> Run:
        """Return a share's run on the plain chip; equal work is run once."""
        given: dict[str, Any] = {"step": self.step}
        if self.step is None:
            given = {"phase": self.phase, "context": self.context, "batch": sequences}
            given |= {"causal": self.causal, "logits": self.logits}
        run = self.forward(model, sequences)
        if run is None or not isinstance(model.shape, Transformer):
            return simulate(self.system.arch, model, **given, **self.options)
        products = staged(model.shape, run)
        key = (products.gemms(), products.steps, sequences)
        if key not in self.known:
            self.known[key] = simulate(self.system.arch, model, **given, **self.options)
        return self.known[key]

    def exchanges(self, own: Model, place: Place, sequences: int) -> Iterator[Exchange]:
        """Yield what a chip with a share takes part in, in a pass of its sequences."""
        run = self.forward(own, sequences)
        if isinstance(own.shape, Products):
            yield from exchanges_of_list(own.shape, sequences)
        if run is not None:
            assert isinstance(self.model.shape, Transformer)
            assert isinstance(own.shape, Transformer)
            yield from exchanges(self.model.shape, own.shape, place, run)

    def bits(self, exchange: Exchange) -> int:
        """Return the bits of an exchange's vector, stored as results are."""
        kind = "lm_head" if exchange.kind == "all_gather" else "linear"
        stored = formats_of(self.arch, kind).output
        rows = ceil_div(exchange.elements, exchange.width)
        return ceil(exchange.elements * stored.bits_per_element(exchange.width, rows))

    def cost(self, exchange: Exchange) -> Cost:
        """Return the cost of an exchange among the chips that divide the model in its way."""
        chips = self.system.parallel.degrees[exchange.way]
        links, clock = self.system.links_of(exchange.way), self.arch.technology.clock_ghz
        return collective(exchange.kind, self.bits(exchange), chips, links, clock)
