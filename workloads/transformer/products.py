"""The matrix products of a forward pass, layer by layer and all layers together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from ...datatypes.base.hashed import Hashed, hashed_once
from ..gemm import Gemm
from ..vector_step import VectorStep
from .between import vector_steps
from .forward import Forward
from .matrix import ENTRY, SOURCE, Product
from .network import Layers, Transformer
from .part import Part


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerProducts:
    """The products of one of some layers that are alike, part by part."""

    layers: Layers
    parts: tuple[tuple[Product, ...], ...]

    @property
    def products(self) -> tuple[Product, ...]:
        """The products of all parts, in order."""
        return tuple(product for part in self.parts for product in part)

    @property
    def exits(self) -> tuple[str, ...]:
        """Names of the products whose results the layer leaves."""
        return _exits(self.layers.turns[-1]) if self.layers.parts else ()

    def resolved(
        self, left: tuple[str, ...], encoded: tuple[str, ...] = ()
    ) -> Iterator[tuple[Product, tuple[str, ...]]]:
        """Yield each product with the names of those it reads.

        The layer itself reads ``left``, and of an encoder ``encoded``.
        """
        known = {SOURCE: encoded}
        entry, each_part = left, iter(self.parts)
        for turn in self.layers.turns:
            for product in (product for _ in turn for product in next(each_part)):
                known[ENTRY] = entry
                sources = (known.get(each, (each,)) for each in product.inputs)
                yield product, tuple(name for each in sources for name in each)
            entry = _exits(turn)


def _exits(parts: Sequence[Part]) -> tuple[str, ...]:
    return tuple(name for part in parts for name in part.exits)


@hashed_once
@dataclass(frozen=True, slots=True, kw_only=True)
class Staged(Hashed):
    """The products of a pass: ahead of the first layer, of each kind of layers, behind the last.

    ``steps`` are those of a vector unit between them, of all layers together.
    """

    source: "Staged | None" = None
    before: tuple[Product, ...] = ()
    layers: tuple[LayerProducts, ...] = ()
    after: tuple[Product, ...] = ()
    steps: tuple[VectorStep, ...] = ()

    def gemms(self) -> tuple[Gemm, ...]:
        """Return all products in order, those that layers share once with their count.

        Layers of other kinds share what has the same stage, name and sizes. What they do not
        share stands where it runs: full attention ahead of windows, dense MLPs ahead of experts.
        """
        return _gemms(self)

    @property
    def exits(self) -> tuple[str, ...]:
        """Names of the products whose results the last layers leave."""
        last = tuple(name for layer in self.layers for name in layer.exits)
        return last or tuple(each.gemm.name for each in self.before)

    def edges(self) -> Iterator[tuple[str, str]]:
        """Yield the names of which product of a layer feeds which; layers feed the heads."""
        for product in self.before:
            yield from ((name, product.gemm.name) for name in product.inputs if name != ENTRY)
        first = tuple(each.gemm.name for each in self.before)
        encoded: tuple[str, ...] = ()
        if self.source:
            yield from self.source.edges()
            encoded = self.source.exits
        for layer in self.layers:
            for product, sources in layer.resolved(first, encoded):
                yield from ((name, product.gemm.name) for name in (*sources, *product.weights))
        for product in self.after:
            for source in product.inputs:
                names = self.exits if source == ENTRY else (source,)
                yield from ((name, product.gemm.name) for name in names)


_Key = tuple[str, Gemm]


@lru_cache(maxsize=64)
def _gemms(staged: Staged) -> tuple[Gemm, ...]:
    found: list[_Key] = []
    count: dict[_Key, int] = {}
    for each in sorted(staged.layers, key=lambda each: each.layers.rank):
        keys = []
        for product in each.products:
            key = product.stage, replace(product.gemm, count=1)
            count[key] = count.get(key, 0) + product.gemm.count * each.layers.count
            keys.append(key)
        found = _merged(found, keys)
    inside = (replace(gemm, count=count[stage, gemm]) for stage, gemm in found)
    before, after = (tuple(each.gemm for each in ends) for ends in (staged.before, staged.after))
    source = staged.source.gemms() if staged.source else ()
    return (*source, *before, *inside, *after)


def _merged(found: Sequence[_Key], more: Sequence[_Key]) -> list[_Key]:
    """Return ``found`` with what only ``more`` has, ahead of what both have next."""
    merged: list[_Key] = []
    waiting: list[_Key] = []
    place = 0
    for key in more:
        if key in found[place:]:
            stop = found.index(key, place)
            merged += [*found[place:stop], *waiting, key]
            place, waiting = stop + 1, []
        elif key not in found and key not in waiting:
            waiting.append(key)
    return [*merged, *found[place:], *waiting]


def _numbered(layers: Layers, part: Part, run: Forward) -> tuple[Product, ...]:
    """Return the products of a part, with the numbers of its layers where these are told apart."""
    found = tuple(part.products(run))
    if not layers.told_apart:
        return found
    return tuple(replace(each, gemm=replace(each.gemm, layers=layers.numbers)) for each in found)


def staged(shape: Transformer, run: Forward) -> Staged:
    """Return the products of a forward pass of a model."""
    source = None
    if shape.encoder is not None and run.sources:
        source = staged(shape.encoder, run.of_encoder())
    ahead: list[Product] = []
    for stem in (*((shape.patches,) if shape.patches else ()), *shape.stems):
        inputs = (ahead[-1].gemm.name,) if ahead and not stem.begins else (ENTRY,)
        gemm = stem.gemm(run.sequences)
        ahead.append(Product(stage=stem.matrix.stage, gemm=gemm, inputs=inputs))
    for matrix in shape.ahead:
        gemm = matrix.gemm(run.rows, run.equal_sequences)
        ahead.append(Product(stage=matrix.stage, gemm=gemm))
    inside = tuple(
        LayerProducts(
            layers=layers, parts=tuple(_numbered(layers, part, run) for part in layers.parts)
        )
        for layers in shape.layers
    )
    behind: list[Product] = []
    heads: dict[str, str] = {}
    for head in shape.heads:
        gemm = head.matrix.gemm(head.rows(run), run.equal_sequences)
        kind, _, branch = head.matrix.stage.partition(":")
        inputs = (ENTRY,) if kind == "head" else (heads[branch],)
        behind.append(Product(stage=head.matrix.stage, gemm=gemm, inputs=inputs))
        heads[branch] = gemm.name
    steps = (*(source.steps if source else ()), *vector_steps(shape, run))
    return Staged(
        source=source, before=tuple(ahead), layers=inside, after=tuple(behind), steps=steps
    )
