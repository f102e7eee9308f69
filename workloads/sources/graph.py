"""Products as a graph is walked: their sizes from shapes, what feeds what, equal ones together.

What stands between the products (`Graph.step`) is noted behind the latest of those it reads.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from ...datatypes.base.errors import BitlatheError
from ..conv import conv_gemm
from ..conv_shape import ConvShape
from ..gemm import Gemm
from ..products import Entry, Products
from ..transformer.part import softmax
from ..vector_step import Tensor, VectorStep
from .passes import Noted, Operand, one_pass

G = TypeVar("G", Gemm, VectorStep)
CONSTANT, WEIGHT, INPUT = range(3)
"""What a tensor holds: what the program says, weights, or what depends on inputs."""
Sizes = tuple[int, int, int, int]
"""Rows, outputs, depth and independent products: m, n, k and batch."""
Name = Callable[[frozenset[str], str], str]
"""From the weights that a product has, and its kind, to its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a tensor comes from.

    Attributes
    ----------
    kind : int
        CONSTANT, WEIGHT or INPUT.
    weights : frozenset of str
        Names of the weights in it.
    sources : frozenset of int
        Places of the products whose results are in it.
    softmax : bool
        Whether a softmax lies between it and these.
    distinct : int
        Elements that are not copies of others.
    direct : bool
        Whether it is what the only one of its sources made, each element in its place, be it worked
        on there: nothing moved, joined, repeated or left out any.
    step : int or None
        Place of the step that made it, each element since in its place; None: none did.
    """

    kind: int
    weights: frozenset[str] = frozenset()
    sources: frozenset[int] = frozenset()
    softmax: bool = False
    distinct: int = 0
    direct: bool = False
    step: int | None = None

    def of_size(self, distinct: int) -> "Origin":
        """Return the origin of a tensor of so many elements."""
        return replace(self, distinct=distinct)

    @property
    def maker(self) -> int | None:
        """The place of the product whose results lie there, be they worked on as they left."""
        return max(self.sources) if self.direct and self.sources and not self.softmax else None

    def through_softmax(self) -> "Origin":
        """Return the origin of what a softmax makes of it."""
        return replace(self, softmax=True)


def joined(origins: Sequence[Origin], *, in_place: bool = False) -> Origin:
    """Return the origin of what is computed from tensors without a product.

    Parameters
    ----------
    origins : sequence of Origin
    in_place : bool
        Whether each element stands where those of all tensors with sources stood that it is made
        of, of which there are no more.
    """
    sources = frozenset[int]().union(*(each.sources for each in origins))
    made = [each for each in origins if each.sources]
    return Origin(
        kind=max((each.kind for each in origins), default=CONSTANT),
        weights=frozenset[str]().union(*(each.weights for each in origins)),
        sources=sources,
        softmax=any(each.softmax for each in origins),
        direct=in_place and len(sources) == 1 and all(each.direct for each in made),
        step=made[0].step if in_place and len(made) == 1 else None,
    )


@dataclass(slots=True)
class Graph:
    """The products found so far: each with the places of those that it reads."""

    _found: list[tuple[Gemm, Origin, Origin]] = field(default_factory=list)
    _weights: set[str] = field(default_factory=set)
    _leaving: set[int] = field(default_factory=set)
    _beside: dict[str, None] = field(default_factory=dict)
    _steps: list[Noted] = field(default_factory=list)
    _looked_at: set[int] = field(default_factory=set)

    @property
    def steps(self) -> int:
        """How many steps were noted so far."""
        return len(self._steps)

    def beside(self, operation: str) -> None:
        """Note an operation that works on what depends on inputs and multiplies no matrices."""
        self._beside[operation] = None

    def leave(self, origin: Origin) -> None:
        """Note that a tensor is an output of the graph: the results in it leave the model."""
        self._leaving |= origin.sources
        self.look_at(origin)

    def look_at(self, origin: Origin) -> None:
        """Note that something that is no product and no step reads what a step made."""
        if origin.step is not None:
            self._looked_at.add(origin.step)

    def product(self, name: Name, sizes: Sizes, left: Origin, right: Origin) -> Origin:
        """Add a matrix product; return the origin of its result.

        The weights are the stationary operand, whichever side they stand on; of two operands that
        depend on inputs the right one is, which is attention.

        Parameters
        ----------
        name : callable
        sizes : (int, int, int, int)
        left, right : Origin
            Of the (m, k) and the (k, n) operand.
        """
        m, n, k, batch = sizes
        swapped = left.kind < INPUT and right.kind == INPUT
        moving, held = (right, left) if swapped else (left, right)
        m, n = (n, m) if swapped else (m, n)
        copies = _copies(held, n * k * batch, batch)
        m, batch = m * copies, batch // copies
        if held.kind < INPUT:
            gemm = Gemm(name=name(held.weights, "matmul"), m=m, n=n, k=k, batch=batch)
        else:
            kind = "attention_av" if moving.softmax or held.softmax else "attention_qk"
            gemm = Gemm(
                name=name(frozenset(), kind),
                m=m,
                n=n,
                k=k,
                batch=batch,
                kind=kind,  # type: ignore[arg-type]
                stationary="kv_cache",
                rows_per_token=copies,
            )
        return self._add(gemm, moving, held)

    def attention(
        self,
        name: Name,
        sizes: Sizes,
        pairs: int,
        group: int,
        origins: Sequence[Origin],
        *,
        causal: bool,
    ) -> Origin:
        """Add scores and mix of scaled dot-product attention; return the origin of its result.

        Parameters
        ----------
        name : callable
        sizes : (int, int, int, int)
            Queries, keys, width of a key, width of a value.
        pairs : int
            Heads of keys, of all inputs together.
        group : int
            Heads of queries that share one.
        origins : sequence of Origin
            Of queries, keys and values.
        causal : bool
            Whether query i sees keys 0 to i only.
        """
        queries, keys, width, value_width = sizes
        asked, key, value = origins
        copies = _copies(key, keys * width * pairs, pairs)
        group, pairs = group * copies, pairs // copies
        scores = Gemm(
            name=name(frozenset(), "attention_qk"),
            m=group * queries,
            n=keys,
            k=width,
            batch=pairs,
            kind="attention_qk",
            stationary="kv_cache",
            causal="n" if causal else None,
            rows_per_token=group,
        )
        mix = replace(
            scores,
            name=name(frozenset(), "attention_av"),
            n=value_width,
            k=keys,
            kind="attention_av",
            causal="k" if causal else None,
        )
        made = self._add(scores, asked, key)
        between = softmax(scores)
        between = replace(between, name=name(frozenset(), between.name))
        self._steps.append(
            Noted(step=between, behind=_latest(made), makers=(_latest(made),), operands=())
        )
        return self._add(mix, made, value)

    def step(
        self,
        name: str,
        operations: tuple[str, ...],
        sizes: tuple[int, int, int],
        origins: Sequence[Origin],
        *,
        streams: bool,
        others: Sequence[int] = (),
        kept: Sequence[Origin] = (),
    ) -> None:
        """Add what a vector unit does between products; of weights and constants it is nothing.

        Parameters
        ----------
        name : str
            One that starts with a dot stands behind the name of the latest product.
        operations : tuple of str
            Of `vector_step.OPERATIONS`.
        sizes : (int, int, int)
            Elements worked on, rows of them, and elements of the results.
        origins : sequence of Origin
            Of what it reads; the results that stream, if any do, are those of the latest.
        streams : bool
            Whether it takes elements one by one as they come, and its results go on so.
        others : sequence of int
            Elements of each further operand, which lie in memory.
        kept : sequence of Origin
            Of what is read from memory, where that is known: of these, or unless it streams of the
            first operand and these.
        """
        origin = joined(origins)
        elements, rows, made = sizes
        if origin.kind < INPUT or not (elements and made):
            return
        read = (*others,) if streams else (elements, *others)
        step = VectorStep(
            name=name,
            operations=operations,
            rows=rows,
            elements=elements,
            after=(),
            streams=streams,
            pieces=rows if streams else 1,
            reads=tuple(Tensor(each, max(1, each // rows)) for each in read),
            writes=() if streams else (Tensor(made, max(1, made // rows), operand="input"),),
        )
        newest = max(origins, key=lambda each: max(each.sources, default=-1))
        step = replace(step, direct=newest.direct or not newest.sources)
        makers = (each.maker for each in kept) if len(kept) == len(read) else (None for _ in read)
        self._steps.append(
            Noted(
                step=step,
                behind=_latest(origin),
                makers=tuple(makers),
                operands=tuple(
                    Operand(each.maker, each.step) for each in origins if each.kind == INPUT
                ),
            )
        )

    def convolution(
        self,
        name: Name,
        x: tuple[int, ...],
        w: tuple[int, ...],
        how: Mapping[str, Sequence[int]],
        groups: int,
        *,
        transposed: bool,
        origins: tuple[Origin, Origin],
    ) -> Origin:
        """Add a convolution of one to three dimensions; return the origin of its result.

        A transposed one is the product of its pixels with all taps of the filters, whose results
        are then summed where they overlap.

        Parameters
        ----------
        name : callable
        x : (images, channels, ...) tuple of int
            Shape of the input.
        w : (filters, channels of a group, ...) tuple of int
            Shape of the filters; with the channels first where ``transposed``.
        how : mapping of str to sequence of int
            Stride, padding and dilation of each dimension.
        groups : int
        transposed : bool
        origins : (Origin, Origin)
            Of input and filters.
        """
        called = name(origins[1].weights, "conv")
        if transposed:
            n, k = w[1] * math.prod(w[2:]), x[1] // groups
            m = x[0] * math.prod(x[2:])
            gemm = Gemm(name=called, m=m, n=n, k=k, batch=groups, sequences=x[0], kind="conv")
        else:
            gemm = _convolution(called, x, w, how, groups)
        return self._add(gemm, *origins)

    def _add(self, gemm: Gemm, moving: Origin, held: Origin) -> Origin:
        place = len(self._found)
        self._found.append((gemm, moving, held))
        self._weights |= held.weights if gemm.stationary == "weight" else set()
        return Origin(kind=max(moving.kind, held.kind), sources=frozenset((place,)), direct=True)

    def products(self, sizes: Mapping[str, int], parameters: int) -> Products:
        """Return the products in their order, those alike in repeated layers under one name.

        Parameters
        ----------
        sizes : mapping of str to int
            Elements of each weight, by its name.
        parameters : int
            All parameters.

        Raises
        ------
        BitlatheError
            Raised if there is none.
        """
        if not self._found:
            raise BitlatheError("it multiplies no matrices: there is nothing to run.")
        gemms = [gemm for gemm, _, _ in self._found]
        names, own = shared_names(gemms), _own_names(gemms)
        noted, joins = self._passes()
        steps = _named(noted, own)
        alone = Products(
            entries=self._entries(own, joins),
            steps=tuple(
                replace(step, name=name)
                for step, name in zip(steps, _own_names(steps), strict=True)
            ),
        )
        return Products(
            entries=self._entries(names, joins),
            merged=True,
            beside=tuple(self._beside),
            weights=sum(sizes.get(name, 0) for name in self._weights),
            parameters=parameters,
            steps=_counted(noted, names),
            alone=alone,
        )

    def _passes(self) -> tuple[list[Noted], frozenset[int]]:
        """Return the steps as the unit makes them, and the places of products that read one."""
        reads, others = dict[int, int](), set(self._looked_at)
        for place, (gemm, moving, held) in enumerate(self._found):
            others |= {held.step} if held.step is not None else set()
            if moving.step is not None and gemm.role == "linear":
                reads[place] = moving.step
            elif moving.step is not None:
                others.add(moving.step)
        made = [gemm.output_elements for gemm, _, _ in self._found]
        return one_pass(self._steps, reads, others, made)

    def _entries(self, names: Sequence[str], joins: frozenset[int]) -> tuple[Entry, ...]:
        """Return the products under some names; those that read what one step made of others."""

        def named(places: frozenset[int]) -> tuple[str, ...]:
            return tuple(dict.fromkeys(names[place] for place in sorted(places)))

        return tuple(
            Entry(
                gemm=replace(gemm, name=name),
                inputs=named(read.sources),
                operands=named(held.sources),
                leaves=place in self._leaving,
                direct=read.direct or place in joins,
            )
            for place, (name, (gemm, read, held)) in enumerate(zip(names, self._found, strict=True))
        )


def _convolution(
    name: str,
    x: tuple[int, ...],
    w: tuple[int, ...],
    how: Mapping[str, Sequence[int]],
    groups: int,
) -> Gemm:
    """Return a convolution over one, two or three dimensions as a product."""
    axes = len(w) - 2
    all_axes = {key: tuple(values) * (axes // len(values)) for key, values in how.items()}
    lengths, taps = (1,) * (2 - axes) + x[2:], (1,) * (2 - axes) + w[2:]
    neutral = {"stride": 1, "padding": 0, "dilation": 1}
    given = {key: (neutral[key],) * (2 - axes) + all_axes[key] for key in neutral}
    if axes <= 2:
        shape = _shape(x[1], w[0], groups, lengths, taps, given)
        return conv_gemm(shape, name, x[0])
    alone = [
        _shape(1, 1, 1, (lengths[i], 1), (taps[i], 1), {
            key: (values[i], neutral[key]) for key, values in given.items()
        })
        for i in range(axes)
    ]  # fmt: skip
    inputs = x[1] // groups
    return Gemm(
        name=name,
        m=x[0] * math.prod(each.output_size[0] for each in alone),
        n=w[0] // groups,
        k=inputs * math.prod(taps),
        batch=groups,
        sequences=x[0],
        kind="conv",
        input_elements=x[0] * inputs * math.prod(each.touched_size[0] for each in alone),
    )


def _shape(
    inputs: int,
    outputs: int,
    groups: int,
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    given: Mapping[str, tuple[int, ...]],
) -> ConvShape:
    pairs = {key: (values[0], values[1]) for key, values in given.items()}
    return ConvShape(
        in_channels=inputs,
        out_channels=outputs,
        groups=groups,
        size=(size[0], size[1]),
        kernel=(kernel[0], kernel[1]),
        **pairs,
    )


def _copies(held: Origin, elements: int, batch: int) -> int:
    """Return how many of the independent products share one operand, of which they hold copies."""
    if not held.distinct or elements % held.distinct:
        return 1
    copies = elements // held.distinct
    return copies if batch % copies == 0 else 1


def _latest(origin: Origin) -> int | None:
    """Return the place of the latest product whose results are in a tensor."""
    return max(origin.sources, default=None)


def _named(found: Sequence[Noted], products: Sequence[str]) -> list[VectorStep]:
    """Return steps behind the products of these names."""
    return [
        replace(
            each.step,
            name=_behind(each.step.name, each.behind, products),
            after=tuple(products[place] for place in each.after),
            reads=tuple(
                read if maker is None else read._replace(maker=products[maker])
                for read, maker in zip(each.step.reads, each.makers, strict=True)
            ),
        )
        for each in found
    ]


def _counted(found: Sequence[Noted], products: Sequence[str]) -> tuple[VectorStep, ...]:
    """Return steps behind the products of these names, those alike in repeated layers once."""
    steps = _named(found, products)
    counts: dict[VectorStep, int] = {}
    for step, name in zip(steps, shared_names(steps), strict=True):
        one = replace(step, name=name)
        counts[one] = counts.get(one, 0) + 1
    return tuple(replace(step, count=count) for step, count in counts.items())


def _behind(name: str, place: int | None, products: Sequence[str]) -> str:
    """Return the name of a step behind a product, or of one that has a name of its own."""
    ahead = "" if place is None else products[place]
    return (ahead + name if name.startswith(".") else name).removeprefix(".")


def _own_names(some: Sequence[G]) -> list[str]:
    """Return a name for each, no two alike: with a number where there are several."""
    seen, names = dict[str, int](), list[str]()
    for each in some:
        seen[each.name] = seen.get(each.name, 0) + 1
        many = seen[each.name]
        names.append(each.name if many == 1 else f"{each.name}#{many}")
    return names


def without_numbers(name: str) -> str:
    """Return a name with a star for each number between dots."""
    return re.sub(r"(?<![^.])\d+(?![^.])", "*", name)


def shared_names(gemms: Sequence[G]) -> list[str]:
    """Return a name for each product: ``layers.*.up`` for those that differ in a number only."""
    starred = [without_numbers(gemm.name) for gemm in gemms]
    alike: dict[tuple[str, G], list[int]] = {}
    for place, (star, gemm) in enumerate(zip(starred, gemms, strict=True)):
        alike.setdefault((star, replace(gemm, name="")), []).append(place)
    kinds: dict[str, int] = {}
    for star, _ in alike:
        kinds[star] = kinds.get(star, 0) + 1
    names = [""] * len(gemms)
    for (star, _), places in alike.items():
        several = len({gemms[place].name for place in places}) > 1
        for place in places:
            names[place] = star if several and kinds[star] == 1 else gemms[places[0]].name
    return names
