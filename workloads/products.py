"""Lists of products: a model of which nothing is known but what it multiplies."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from ..datatypes.base.errors import BitlatheError
from .gemm import Gemm
from .sizes import check_size
from .slices import Slice
from .vector_step import VectorStep

Phase = Literal["prefill", "decode"]
DEFAULT_TOKENS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """An entry of a list.

    Attributes
    ----------
    gemm : Gemm
        The product for one input of the model; for one token where ``by_token``.
    inputs, operands : tuple of str
        Names of earlier products whose results are its input, and its stationary operand. Empty
        where they come from outside, or are not known.
    by_token : bool
        Whether its rows are the tokens of the run: all of the context in prefill, one in decode.
    leaves : bool
        Whether its results are some of the model's, whoever reads them besides.
    direct : bool
        As of `transformer.matrix.Product`.
    """

    gemm: Gemm
    inputs: tuple[str, ...] = ()
    operands: tuple[str, ...] = ()
    by_token: bool = False
    leaves: bool = False
    direct: bool = True

    def of(self, tokens: int, batch: int) -> Gemm:
        """Return the product of a run of ``batch`` inputs, of ``tokens`` tokens each.

        Inputs share the weights: their rows are stacked. What each input has for itself (a K/V
        cache, a causal mask) is one more independent product an input.
        """
        gemm = self.gemm
        rows = gemm.m * tokens if self.by_token else gemm.m
        if gemm.stationary == "kv_cache" or gemm.causal is not None:
            return replace(gemm, m=rows, batch=gemm.batch * batch)
        elements = gemm.input_elements
        return replace(
            gemm,
            m=rows * batch,
            sequences=gemm.sequences * batch,
            input_elements=None if elements is None else elements * batch,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Joint:
    """What chips that share a list put together behind a product, of one input of the model.

    ``elements`` is the vector that each chip ends with, ``width`` that of its rows, ``count`` how
    many are alike.
    """

    name: str
    kind: Literal["all_reduce", "all_gather"]
    elements: int
    width: int
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Products:
    """Products in the order in which they run.

    Attributes
    ----------
    entries : tuple of Entry
    phase : {None, "prefill", "decode"}
        The phase that they are listed for; None: any, for the list does not say.
    merged : bool
        Whether `Model.gemms` gives equal products of one name once, with a count.
    beside : tuple of str
        Operations of the graph that work between the products, by their names there: of what size
        is not known here, so that no unit is asked for them.
    weights, parameters : int or None
        Elements of all weight matrices, and all parameters, where the source of the list knows
        them. None: the weights of all products, each of which has its own.
    steps : tuple of VectorStep
        What stands between the products, of one input of the model, where the source of the list
        knows it.
    tokens_left : int
        Tokens of a prompt that an input becomes, where this is a tower beside a text model.
    joints : tuple of Joint
        Of a chip's share: what it and the others put together.
    alone : Products or None
        The same with each product, and each step, by itself under a name of its own, where the
        source of the list knows them: as chains of layers are found in it.
    divided : callable or None
        From a chip's place among those that share it to its share; None: it is not said how.
    """

    entries: tuple[Entry, ...]
    phase: Phase | None = None
    merged: bool = False
    beside: tuple[str, ...] = ()
    weights: int | None = None
    parameters: int | None = None
    steps: tuple[VectorStep, ...] = ()
    tokens_left: int = 0
    joints: tuple[Joint, ...] = ()
    alone: Products | None = field(default=None, compare=False, repr=False)
    divided: Callable[[Slice], Products] | None = field(default=None, compare=False, repr=False)

    @property
    def by_token(self) -> bool:
        """Whether some product has as many rows as there are tokens."""
        return any(entry.by_token for entry in self.entries)

    def context_of(self, context: int | None) -> int | None:
        """Return the tokens in view when ``context`` is asked for; None without tokens."""
        if not self.by_token:
            return None
        return DEFAULT_TOKENS if context is None else context

    def gemms(
        self, phase: str, context: int | None, batch: int, causal: bool = False
    ) -> tuple[Gemm, ...]:
        """Return the products of a run.

        Parameters
        ----------
        phase : {"prefill", "decode"}
            Decides the rows of products with a row a token; the others are as listed.
        context : int or None
            Tokens; None where no product has a row a token.
        batch : int
            Inputs at once.
        causal : bool
            Refused: each product of a list states its own mask.

        Raises
        ------
        BitlatheError
            Raised if the list is for the other phase, a context is given to a list without
            tokens, or a mask is asked for.
        """
        if self.phase not in (None, phase):
            raise BitlatheError(
                f"phase is {phase!r}, but its products are listed for {self.phase}: use phase "
                f"{self.phase!r}, or a list of what {phase} multiplies."
            )
        if context is not None and not self.by_token:
            raise BitlatheError(
                f"context is {context}, but a list of products has the sizes that it states. "
                "Leave context out, or write 'm: tokens' where the rows are the tokens."
            )
        if causal:
            raise BitlatheError(
                "causal=True masks a decoder's attention; in a list of products each states its "
                "own mask (causal: n or k). Leave causal out."
            )
        seen = check_size("context", self.context_of(context)) if self.by_token else 1
        tokens = seen if phase == "prefill" else 1
        return tuple(entry.of(tokens, batch) for entry in self.entries)

    def merge(self, gemms: tuple[Gemm, ...]) -> tuple[Gemm, ...]:
        """Return products as `Model.gemms` lists them: where ``merged``, equal ones once."""
        if not self.merged:
            return gemms
        counts: dict[Gemm, int] = {}
        for gemm in gemms:
            one = replace(gemm, count=1)
            counts[one] = counts.get(one, 0) + gemm.count
        return tuple(replace(one, count=count) for one, count in counts.items())

    def edges(self) -> Iterator[tuple[int, int]]:
        """Yield the places of a product and of one that reads its result, in `entries`."""
        for place, sources in enumerate(self.sources()):
            for source in sources:
                yield source, place

    def sources(self) -> Iterator[tuple[int, ...]]:
        """Yield for each product the places of those that it reads: the latest of each name."""
        latest: dict[str, int] = {}
        for place, entry in enumerate(self.entries):
            named = dict.fromkeys((*entry.inputs, *entry.operands))
            yield tuple(latest[name] for name in named if name in latest)
            latest[entry.gemm.name] = place

    def weight_count(self) -> int:
        """Elements of all weight matrices."""
        if self.weights is not None:
            return self.weights
        gemms = (entry.gemm for entry in self.entries)
        return sum(g.weight_elements * g.count for g in gemms if g.stationary == "weight")

    def parameter_count(self) -> int:
        """All parameters that are known: at least those of the matrices."""
        return self.weight_count() if self.parameters is None else self.parameters


def listed(gemms: Iterable[Gemm]) -> Products:
    """Return products as they are, one after the other, none of which reads another's results.

    Raises
    ------
    BitlatheError
        Raised if there is none.
    """
    found = Products(entries=tuple(Entry(gemm=gemm) for gemm in gemms))
    if not found.entries:
        raise BitlatheError("the list of products is empty; give at least one.")
    return found
