"""A block of attention and an MLP whose weights several layers share, beside adapters of each."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..vector_step import Tensor, VectorStep
from .attention import Attention
from .forward import Forward
from .matrix import ENTRY, Matrix, Product
from .mlp import Mlp
from .part import Part, linear


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapters(Part):
    """Low-rank pairs of matrices and a matrix back, which each layer has for itself.

    ``pairs`` are by the name of the matrix to whose results they are added.
    """

    pairs: tuple[tuple[str, Matrix, Matrix], ...]
    back: Matrix

    @property
    def exits(self) -> tuple[str, ...]:
        """Names of the products whose results the part leaves."""
        return (self.back.name,)

    def matrices(self) -> Iterator[tuple[Matrix, int]]:
        """Yield each weight matrix with the number of its instances, in order."""
        for _, *pair in self.pairs:
            for matrix in pair:
                yield matrix, 1
        yield self.back, 1

    def products(self, run: Forward) -> Iterator[Product]:
        """Yield the products of a forward pass, in the order of execution."""
        for _, left, right in self.pairs:
            yield linear(left, run)
            yield linear(right, run, (left.name,))
        yield linear(self.back, run)


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedBlock(Part):
    """Attention to the layer's input beside the words, an MLP, a matrix back (arXiv:2411.15242).

    Attributes
    ----------
    attention : Attention
        It reads twice the hidden width.
    mlp : Mlp
    own : Adapters
        What each layer has for itself.
    blocks : int
        So many blocks of attention and MLP are stored, which layers take in turn.
    vectors : int
        Parameters of the norms ahead of attention and MLP.
    """

    attention: Attention
    mlp: Mlp
    own: Adapters
    blocks: int = 1
    vectors: int = 0

    @property
    def exits(self) -> tuple[str, ...]:
        """Names of the products whose results the part leaves."""
        return self.own.exits

    @property
    def rank(self) -> int:
        """As attention's."""
        return self.attention.rank

    @property
    def other_parameters(self) -> int:
        """Parameters of the norms."""
        return self.vectors

    def cache_elements(self, context: int) -> int:
        """Return the keys and values kept: each layer has its own."""
        return self.attention.cache_elements(context)

    def matrices(self) -> Iterator[tuple[Matrix, int]]:
        """Yield each weight matrix with the number of its instances, in order."""
        yield from self.attention.matrices()
        yield from self.mlp.matrices()
        yield from self.own.matrices()

    def stored(self, layers: int) -> Iterator[tuple[Part, int]]:
        """Yield what is stored for so many layers: blocks, and the adapters of each layer."""
        shared = min(self.blocks, layers)
        attention = replace(self.attention, vectors=self.attention.vectors + self.vectors)
        yield attention, shared
        yield self.mlp, shared
        yield self.own, layers

    def products(self, run: Forward) -> Iterator[Product]:
        """Yield the products of a forward pass, in the order of execution."""
        added = {name: (left, right) for name, left, right in self.own.pairs}
        sums = {name: (name, right.name) for name, _, right in self.own.pairs}
        entry: tuple[str, ...] = (ENTRY,)
        for part in (self.attention, self.mlp):
            for product in part.products(run):
                sources = entry if product.inputs == (ENTRY,) else product.inputs
                inputs, weights = (
                    tuple(each for name in names for each in sums.get(name, (name,)))
                    for names in (sources, product.weights)
                )
                yield replace(product, inputs=inputs, weights=weights)
                for i, matrix in enumerate(added.get(product.gemm.name, ())):
                    left = added[product.gemm.name][0].name
                    yield linear(matrix, run, (left,) if i else entry)
            entry = part.exits
        yield linear(self.own.back, run, entry)

    def vector_steps(self, run: Forward) -> Iterator[VectorStep]:
        """Yield both norms, and the steps of attention and MLP."""
        wide = self.attention.hidden
        yield _normed("shared_norm", run.rows, wide, (ENTRY,))
        yield from self.attention.vector_steps(run)
        yield _normed("shared_mlp_norm", run.rows, self.mlp.hidden, self.attention.exits)
        yield from self.mlp.vector_steps(run)


def _normed(name: str, rows: int, width: int, after: tuple[str, ...]) -> VectorStep:
    vector = Tensor(rows * width, width)
    return VectorStep(
        name=name,
        operations=("rms_norm",),
        rows=rows,
        elements=vector.elements,
        after=after,
        reads=(vector,),
        writes=(vector._replace(operand="input"),),
        learned=width,
    )
