"""As whose operands the results of products are stored: of those that read them as they lie."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import NamedTuple

from .gemm import ROUTERS, Gemm, Operand
from .transformer.matrix import ENTRY, SOURCE, Product
from .transformer.products import LayerProducts, Staged
from .vector_step import Tensor, VectorStep


class Read(NamedTuple):
    """Results as an operand of a product that reads them."""

    gemm: Gemm
    operand: Operand

    @property
    def elements(self) -> int:
        """Elements of the operand as others leave them: of a feature map all, read or not."""
        if self.operand == "weight":
            return self.gemm.weight_elements
        rows, length = self.gemm.stored("input")
        return rows * length


Way = tuple[Read, ...]
"""Operands of products of one name, each of which reads a piece."""


class Share(NamedTuple):
    """Some of a product's results.

    Attributes
    ----------
    elements : int
    ways : tuple of Way
        How products read them. Empty where none does, or only what a step of the vector unit made
        of them: then they are plain results.
    stream : Tensor or None
        What layers add to, where a residual sum makes that of them as they leave.
    cached : bool
        Whether they are keys or values of the cache.
    made : bool
        Whether a step makes of them what is read, so that it stores them too (`VectorStep.makes`).
    """

    elements: int
    ways: tuple[Way, ...] = ()
    stream: Tensor | None = None
    cached: bool = False
    made: bool = False


Shares = tuple[Share, ...]


@dataclass(frozen=True, slots=True)
class Neighbours:
    """Products of which some read what others leave, in order, and the steps between them."""

    products: Sequence[Product]
    steps: Sequence[VectorStep]

    def shares(self) -> Iterator[tuple[Product, Shares]]:
        """Yield each product with the shares of its results, all of them together its results."""
        readers: dict[str, list[tuple[Product, Operand]]] = defaultdict(list)
        for product in self.products:
            for name in dict.fromkeys(_taken(product)):
                readers[name].append((product, "input"))
            for name in dict.fromkeys(product.weights):
                readers[name].append((product, "weight"))
        places = {product.gemm.name: i for i, product in enumerate(self.products)}
        behind: dict[str, list[VectorStep]] = defaultdict(list)
        for step in self.steps:
            for name in dict.fromkeys((*step.after, *(read.maker for read in step.reads))):
                behind[name].append(step)
        for product in self.products:
            name, gemm = product.gemm.name, product.gemm
            known: Sequence[tuple[Product, Operand]] = readers[name]
            if (gemm.keys or gemm.values) and not any(how == "weight" for _, how in known):
                roles = ("scores",) * bool(gemm.keys) + ("mix",) * bool(gemm.values)
                attending = (each for each in self.products if each.gemm.role in roles)
                known = [*known, *((each, "weight") for each in attending)]  # of a list: any
            yield product, _shares(product, known, behind[name], places)


@lru_cache(maxsize=64)
def read_as(staged: Staged) -> Mapping[Gemm, Counter[Shares]]:
    """Return how the results of each product are read, and in how many of its instances.

    Found once for a pass.

    Parameters
    ----------
    staged : Staged
        A pass, layer by layer.

    Returns
    -------
    mapping of Gemm to Counter
        By product with count 1; layers that have it may read it otherwise.
    """
    found: dict[Gemm, Counter[Shares]] = defaultdict(Counter)
    for products, count in _neighbours(staged):
        for product, shares in Neighbours(products, staged.steps).shares():
            found[replace(product.gemm, count=1)][shares] += product.gemm.count * count
    return dict(found)


def taken_by(products: Sequence[Product], step: VectorStep) -> Iterator[Gemm]:
    """Yield the products that may read what a step leaves in memory as it lies."""
    for product in products:
        if step.name in _taken(product) if product.takes else set(step.after) & set(product.inputs):
            yield product.gemm


class Around(NamedTuple):
    """The products around a step in some layers that are alike: what it works on, what reads it.

    ``attending`` have what it works on as their weight operand: keys and values.
    """

    makers: tuple[Gemm, ...]
    readers: tuple[Gemm, ...]
    layers: int
    attending: tuple[Gemm, ...] = ()


def around(staged: Staged, step: VectorStep) -> Iterator[Around]:
    """Yield the products around a step of a transformer, for each kind of layers that has it.

    What a layer's last part leaves is read by the first part of the next one, as a norm behind it
    is counted: the layer's own stands for it.

    Parameters
    ----------
    staged : Staged
        The pass.
    step : VectorStep
    """
    if staged.source is not None:
        yield from around(staged.source, step)
    if any(tensor.kind == "lm_head" for tensor in step.writes):
        yield Around((), tuple(p.gemm for p in staged.after if ENTRY in p.inputs), 1)
        return
    for each in staged.layers:
        makers = tuple(p.gemm for p in each.products if p.gemm.name in step.after)
        if makers:
            readers = [*taken_by(each.products, step)] or [*_next_turn(each, step.after)]
            attending = (p.gemm for p in each.products if set(p.weights) & set(step.after))
            yield Around(makers, tuple(readers), each.layers.count, tuple(attending))


def _next_turn(layer: LayerProducts, exits: Sequence[str]) -> Iterator[Gemm]:
    """Yield the products that read what a turn of parts leaves, whose results have some names."""
    parts = iter(layer.parts)
    turns = [(turn, [each for _ in turn for each in next(parts)]) for turn in layer.layers.turns]
    for (turn, _), (_, products) in zip(turns, (*turns[1:], turns[0]), strict=True):
        if any(name in exits for part in turn for name in part.exits):
            yield from (product.gemm for product in products if ENTRY in product.inputs)


def _neighbours(staged: Staged) -> Iterator[tuple[Sequence[Product], int]]:
    if staged.source is not None:
        yield from _neighbours(staged.source)
    yield staged.before, 1
    for layer in staged.layers:
        yield layer.products, layer.layers.count
    yield staged.after, 1


def _taken(product: Product) -> tuple[str, ...]:
    """Return names of the products whose results may be its inputs as they lie."""
    if product.takes is not None:
        return product.takes
    beside = {ENTRY, SOURCE} & set(product.inputs)  # what it reads besides is no input of its
    return () if beside else product.inputs


def _shares(
    maker: Product,
    readers: Sequence[tuple[Product, Operand]],
    steps: Sequence[VectorStep],
    places: Mapping[str, int],
) -> Shares:
    gemm, rows = maker.gemm, maker.gemm.m * maker.gemm.batch
    ways: dict[tuple[str, Operand], dict[Read, None]] = defaultdict(dict)
    for product, operand in readers:
        ways[product.gemm.name, operand][Read(replace(product.gemm, count=1), operand)] = None
    held = {key: tuple(way) for key, way in ways.items() if key[1] == "weight"}
    found = list[Share]()
    for role, many, other in (("scores", gemm.keys, gemm.values), ("mix", gemm.values, gemm.keys)):
        if many:
            own = (w for w in held.values() if not other or w[0].gemm.role == role)
            found.append(Share(rows * many, tuple(own), cached=True))
    others = rows * (gemm.n - gemm.keys - gemm.values)
    if not others:
        return tuple(found)
    streaming = [
        step for step in steps
        if step.streams and max(step.after, key=lambda name: places.get(name, -1)) == gemm.name
    ]  # fmt: skip
    made = [
        tensor for step in streaming for tensor in step.makes
        if tensor.operand == "input" and tensor.width % gemm.n == 0
    ]  # fmt: skip
    stream = next((tensor for tensor in made if tensor.kind == "norm"), None)
    if stream is not None:
        return (*found, Share(others, stream=stream))
    if gemm.name in ROUTERS or (maker.takes is None and _read_by_steps(gemm, steps, streaming)):
        return (*found, Share(others))
    left = [
        tuple(way) for (_, operand), way in ways.items()
        if (operand == "input" or not found) and _fits(gemm, others, tuple(way))
    ]  # fmt: skip
    sizes = [sum(each.elements for each in way) for way in left]
    if len(left) < 2 or sum(sizes) > others:  # each reads all of them
        whole = min(others, max(sizes, default=others))
        found.append(Share(whole, tuple(left), made=bool(made)))
        sizes = [whole]
    else:
        found += (Share(n, (way,)) for n, way in zip(sizes, left, strict=True))
    if sum(sizes) < others:
        found.append(Share(others - sum(sizes)))
    return tuple(found)


def _read_by_steps(
    gemm: Gemm, steps: Sequence[VectorStep], streaming: Sequence[VectorStep]
) -> bool:
    """Return whether a step takes a product's results from memory."""
    return any(
        (gemm.name in step.after and (not step.streams or (step not in streaming and step.reads)))
        or any(read.maker == gemm.name for read in step.reads)
        for step in steps
    )


def _fits(gemm: Gemm, others: int, way: Way) -> bool:
    """Return whether operands may be results as they lie, of which there are ``others``.

    Operands with more elements are these and others', row by row.
    """
    elements = sum(each.elements for each in way)
    if elements <= others or way[0].operand == "weight":
        return True
    return way[0].gemm.stored("input")[0] == gemm.stored("output")[0]
