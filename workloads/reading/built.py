"""Networks built layer by layer, as lists of products with what stands between them.

For models whose layers are neither a transformer's nor a convolution network's alone.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ..products import Joint, Products
from ..slices import WHOLE, Slice, check_enough
from ..sources.graph import INPUT, WEIGHT, Graph, Name, Origin, joined, without_numbers

Pair = tuple[int, int]
OUTSIDE = Origin(kind=INPUT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A tensor of one input of the model: channels of each pixel, or of each token.

    Attributes
    ----------
    channels : int
    size : tuple of int
        Height and width; or the tokens.
    origin : Origin
    """

    channels: int
    size: tuple[int, ...]
    origin: Origin = OUTSIDE

    @property
    def places(self) -> int:
        """Pixels, or tokens."""
        return math.prod(self.size)

    @property
    def elements(self) -> int:
        """Elements of the tensor."""
        return self.places * self.channels

    def beside(self, other: "Value") -> "Value":
        """Return both, the channels of one behind those of the other."""
        origin = joined((self.origin, other.origin))
        return replace(self, channels=self.channels + other.channels, origin=origin)


def _pair(size: int | Pair) -> Pair:
    return (size, size) if isinstance(size, int) else size


def _called(name: str) -> Name:
    """Return what calls products ``name``; of attention, whose products are two, by their kind."""
    return lambda weights, kind: name if weights else f"{name}.{kind}"


def divisible(build: Callable[[Slice], Products]) -> Products:
    """Return a network, and with it how each of several chips that share it builds its share.

    Parameters
    ----------
    build : callable
        From a chip's place among the chips to its share (`Net.tensor`).
    """
    return replace(build(WHOLE), divided=build)


class Net:
    """A network as it is built: its products in order, and its parameters.

    Parameters
    ----------
    tensor : Slice
        Which share of each product is built. Of a matrix a chip has some of the outputs, which are
        gathered behind it; or keeps them apart (``apart``) until one that has the same inputs and
        whose results all chips sum (``summed``), as in Megatron-LM (arXiv 1909.08053, section 3).
    """

    def __init__(self, tensor: Slice = WHOLE) -> None:
        self._graph, self._weights, self.vectors = Graph(), dict[str, int](), 0
        self.tensor, self._joints = tensor, Counter[Joint]()

    def linear(
        self,
        name: str,
        x: Value,
        outputs: int,
        *,
        bias: bool = True,
        apart: int = 0,
        summed: bool = False,
    ) -> Value:
        """Return a matrix times each pixel or token.

        Parameters
        ----------
        name : str
        x : Value
        outputs : int
            Channels of its results.
        bias : bool
        apart : int
            Equal parts of the results, heads say, of which each chip makes and keeps some; 0: all
            chips have all results.
        summed : bool
            Whether ``x`` is a chip's share, and the results are sums over all chips.

        Raises
        ------
        BitlatheError
            If there are fewer parts than chips.
        """
        own = self._own(name, outputs, apart, summed=summed)
        held = self._weight(name, own * x.channels, bias * own)
        sizes = (x.places, own, x.channels, 1)
        origin = self._graph.product(_called(name), sizes, x.origin, held)
        made = replace(x, channels=own, origin=origin)
        return made if apart else self._joined(name, made, outputs, summed=summed)

    def _own(self, name: str, outputs: int, apart: int, *, summed: bool) -> int:
        """Return how many of a matrix's outputs a chip makes.

        Raises
        ------
        BitlatheError
            If there are fewer parts than chips.
        """
        if apart:
            what = f"parts of {without_numbers(name)!r} (heads, groups of channels, channels)"
            check_enough("tensor", self.tensor.parts, apart, what)
            return self.tensor.of(apart) * (outputs // apart)
        return outputs if summed or outputs < self.tensor.parts else self.tensor.of(outputs)

    def _joined(self, name: str, made: Value, outputs: int, *, summed: bool) -> Value:
        """Return the results of all chips together, of which ``made`` is one's."""
        whole = replace(made, channels=outputs)
        if self.tensor.parts > 1 and (summed or made.channels < outputs):
            joint = Joint(
                name=f"{without_numbers(name)}_{'reduce' if summed else 'gather'}",
                kind="all_reduce" if summed else "all_gather",
                elements=whole.elements,
                width=outputs,
            )
            self._joints[joint] += 1
        return whole

    def convolution(
        self,
        name: str,
        x: Value,
        outputs: int,
        kernel: int | Pair,
        *,
        stride: int | Pair = 1,
        padding: int | Pair = 0,
        bias: bool = True,
        groups: int = 1,
        pieces: int = 1,
        apart: int = 0,
        summed: bool = False,
    ) -> Value:
        """Return a convolution over an image.

        Parameters
        ----------
        name : str
        x : Value
        outputs, groups : int
            Channels of its results, and in how many parts they see the channels.
        kernel, stride, padding : int or (int, int)
            Sizes of both axes, or of each.
        bias : bool
        pieces : int
            Images of this size, of which ``x`` is one and so is what is returned.
        apart, summed
            As in `linear`.

        Raises
        ------
        BitlatheError
            If there are fewer parts than chips.
        """
        taps, steps, ends = _pair(kernel), _pair(stride), _pair(padding)
        seen, own = x.channels // groups, self._own(name, outputs, apart, summed=summed)
        held = self._weight(name, own * seen * math.prod(taps), bias * own)
        origin = self._graph.convolution(
            _called(name),
            (pieces, x.channels, *x.size),
            (own, seen, *taps),
            {"stride": steps, "padding": ends, "dilation": (1, 1)},
            groups,
            transposed=False,
            origins=(x.origin, held),
        )
        axes = zip(x.size, taps, steps, ends, strict=True)
        size = tuple((length + 2 * end - tap) // step + 1 for length, tap, step, end in axes)
        made = Value(channels=own, size=size, origin=origin)
        return made if apart else self._joined(name, made, outputs, summed=summed)

    def attention(
        self,
        name: str,
        query: Value,
        key: Value,
        value: Value,
        heads: int,
        windows: int = 1,
        shared: int = 1,
    ) -> Value:
        """Return what heads of queries see of keys and values, in windows apart from each other.

        Parameters
        ----------
        name : str
        query, key, value : Value
            A chip's share of them.
        heads, windows : int
            How many of both, of all chips; windows are equal parts of the tokens.
        shared : int
            Heads of queries that share one of keys and values.
        """
        held = self.tensor.of(heads // shared)
        origin = self._graph.attention(
            _called(name),
            (query.places // windows, key.places // windows, query.channels // (held * shared),
             value.channels // held),
            held * windows,
            shared,
            (query.origin, key.origin, value.origin),
            causal=False,
        )  # fmt: skip
        return replace(query, channels=value.channels * shared, origin=origin)

    def scores(self, name: str, query: Value, key: Value, heads: int) -> Value:
        """Return the products of heads of queries with heads of keys, as attention has them.

        Parameters
        ----------
        name : str
        query, key : Value
        heads : int
        """
        sizes = (query.places, key.places, query.channels // heads, heads)
        origin = self._graph.product(_called(name), sizes, query.origin, key.origin)
        return replace(query, channels=key.places * heads, origin=origin)

    def each(self, name: str, operations: Sequence[str], x: Value, *others: Value) -> Value:
        """Return the results of operations on single elements, of ``x`` as it comes and others.

        Parameters
        ----------
        name : str
        operations : sequence of str
        x, *others : Value
        """
        origins = [each.origin for each in (x, *others)]
        sizes = (x.elements, x.places, x.elements)
        reads = [each.elements for each in others]
        self._graph.step(name, tuple(operations), sizes, origins, streams=True, others=reads)
        return replace(x, origin=joined(origins))

    def norm(
        self,
        name: str,
        operations: Sequence[str],
        x: Value,
        rows: int = 0,
        *,
        learned: bool = True,
        shift: bool = True,
    ) -> Value:
        """Return a norm, and what else is done with it.

        Parameters
        ----------
        name : str
        operations : sequence of str
        x : Value
        rows : int
            Each normed alone; 0: the pixels or tokens.
        learned, shift : bool
            Whether each channel has a scale, and with it a shift.
        """
        self.vectors += (1 + shift) * x.channels * learned
        sizes = (x.elements, rows or x.places, x.elements)
        self._graph.step(name, tuple(operations), sizes, (x.origin,), streams=False)
        return x

    def mean(self, name: str, x: Value) -> Value:
        """Return the mean of all pixels or tokens."""
        sizes = (x.elements, x.channels, x.channels)
        self._graph.step(name, ("add",), sizes, (x.origin,), streams=False)
        return replace(x, size=(1,))

    def pooled(self, name: str, x: Value, made: Value) -> Value:
        """Return the means of equal parts of an image, a pixel of ``made`` each."""
        sizes = (x.elements, made.elements, made.elements)
        self._graph.step(name, ("add",), sizes, (x.origin,), streams=False)
        return replace(made, origin=x.origin)

    def products(self, *left: Value) -> Products:
        """Return the network, which leaves these results."""
        for each in left:
            self._graph.leave(each.origin)
        whole = sum(self._weights.values())
        made = self._graph.products(self._weights, whole + self.vectors)
        joints = tuple(replace(one, count=count) for one, count in self._joints.items())
        return replace(made, phase="prefill", joints=joints)

    def _weight(self, name: str, elements: int, vectors: int) -> Origin:
        self._weights[name] = elements
        self.vectors += vectors
        return Origin(kind=WEIGHT, weights=frozenset((name,)))
