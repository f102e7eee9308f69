"""What every part of a layer can tell: its weights, what it keeps between passes, its products."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Literal

from ..gemm import Gemm
from ..vector_step import Tensor, VectorStep
from .forward import Forward
from .matrix import ENTRY, Matrix, Product

Norm = Literal["rms_norm", "layer_norm"]
Activation = Literal["silu", "gelu", "relu", "relu2", "sigmoid", "tanh", "xielu", "linear"]


class Part(ABC):
    """A part of a layer, such as attention or an MLP: frozen sizes, and what follows from them.

    A subclass lists its matrices and yields its products; the rest is derived. A part reads what
    the part before it leaves (the layer's own input where the parts stand in parallel), and
    leaves the results of the products that ``exits`` names.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def exits(self) -> tuple[str, ...]:
        """Names of the products whose results the part leaves."""

    @abstractmethod
    def matrices(self) -> Iterator[tuple[Matrix, int]]:
        """Yield each weight matrix with the number of its instances (experts), in order."""

    @abstractmethod
    def products(self, run: Forward) -> Iterator[Product]:
        """Yield the products of a forward pass, in the order of execution."""

    def vector_steps(self, run: Forward) -> Iterator[VectorStep]:
        """Yield what stands between its products, as steps of a vector unit."""
        yield from ()

    @property
    def other_parameters(self) -> int:
        """Parameters that are neither a matrix nor its bias: norms, sinks."""
        return 0

    @property
    def rank(self) -> int:
        """Where products that layers do not share stand among those of other layers: low first."""
        return 0

    def cache_elements(self, context: int) -> int:
        """Return the elements kept of a sequence of ``context`` tokens, such as keys and values."""
        return 0

    def source_elements(self, source: int) -> int:
        """Return the elements kept of a sequence's source of ``source`` tokens."""
        return 0

    @property
    def state_elements(self) -> int:
        """Elements kept of a sequence, however long it is."""
        return 0

    def stored(self, layers: int) -> Iterator[tuple["Part", int]]:
        """Yield what is stored for so many layers that have it, each with its copies."""
        yield self, layers

    def weight_count(self) -> int:
        """Return the elements of all matrices."""
        return sum(matrix.elements * count for matrix, count in self.matrices())

    def parameter_count(self) -> int:
        """Return all parameters: matrices, biases, norms and what else is learned."""
        parameters = sum(matrix.parameters * count for matrix, count in self.matrices())
        return parameters + self.other_parameters


def linear(matrix: Matrix, run: Forward, inputs: tuple[str, ...] = (ENTRY,)) -> Product:
    """Return the product of a matrix with all tokens of a pass."""
    gemm = matrix.gemm(run.rows, run.equal_sequences)
    return Product(stage=matrix.stage, gemm=gemm, inputs=inputs)


def softmax(scores: Gemm, suffix: str = "") -> VectorStep:
    """Return the softmax of some scores, of those that the mask leaves; ``suffix`` of its name.

    Each of their independent products is a piece.
    """
    seen = Tensor(scores.macs // scores.k, scores.n, "attention")
    return VectorStep(
        name=f"softmax{suffix}",
        operations=("softmax",),
        rows=scores.m * scores.batch,
        elements=seen.elements,
        after=(scores.name,),
        pieces=scores.batch,
        reads=(seen,),
        writes=(seen._replace(operand="input"),),
    )


def into_cache(elements: int, rows: int, after: tuple[str, ...]) -> VectorStep:
    """Return what stores new elements of the cache as attention reads them, in ``rows``."""
    cached = Tensor(elements, elements // rows, "attention", "weight")
    return VectorStep(
        name="kv_cache",
        operations=(),
        rows=rows,
        elements=elements,
        after=after,
        streams=True,
        pieces=elements,
        makes=(cached,),
    )


def streamed(
    name: str,
    operation: str,
    elements: int,
    rows: int,
    after: tuple[str, ...],
    *,
    learned: int = 0,
) -> VectorStep:
    """Return an operation on results as they come: on single elements, or on short rows.

    Parameters
    ----------
    name, operation : str
    elements, rows : int
    after : tuple of str
        The products whose results they are.
    learned : int
        Numbers that a norm holds.
    """
    return VectorStep(
        name=name,
        operations=(operation,),
        rows=rows,
        elements=elements,
        after=after,
        streams=True,
        pieces=rows,
        learned=learned,
    )
