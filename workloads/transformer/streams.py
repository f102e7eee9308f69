"""Beside attention and MLP: several streams, low-rank residuals, inputs of each layer."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ..vector_step import Tensor, VectorStep
from .forward import Forward
from .matrix import ENTRY, Matrix, Product
from .part import Activation, Part, linear


@dataclass(frozen=True, slots=True, kw_only=True)
class AltUp(Part):
    """Alternating updates (arXiv:2301.13310, algorithm 1): of n streams a layer computes one.

    Ahead of the layer each stream is predicted of all of them, n x n coefficients a token; behind
    it each is corrected by what the layer changed. A router makes the coefficients, each time of
    the stream that the layer computes.

    Attributes
    ----------
    hidden, streams : int
        Width, and n.
    half : {"predict", "correct"}
        Which of both; the router is stored with the first.
    vectors : int
        Parameters of its norm, and scales.
    """

    hidden: int
    streams: int
    half: Literal["predict", "correct"]
    vectors: int = 0

    @property
    def exits(self) -> tuple[str, ...]:
        """Names of the products whose results the part leaves."""
        return (self.coefficients.name,)

    @property
    def other_parameters(self) -> int:
        """Parameters of its norm, and scales."""
        return self.vectors

    @property
    def router(self) -> Matrix:
        """The matrix that reads the stream which the layer computes."""
        return _matrix("altup_router", self.streams, self.hidden)

    @property
    def coefficients(self) -> Matrix:
        """The matrix that makes coefficients of what the router gives."""
        predicts = self.half == "predict"
        wide = self.streams * (self.streams if predicts else 1)
        return _matrix(f"altup_{self.half}", wide, self.streams)

    def matrices(self) -> Iterator[tuple[Matrix, int]]:
        """Yield each weight matrix with the number of its instances, in order."""
        if self.half == "predict":
            yield self.router, 1
        yield self.coefficients, 1

    def products(self, run: Forward) -> Iterator[Product]:
        """Yield the products of a forward pass, in the order of execution."""
        yield linear(self.router, run)
        yield linear(self.coefficients, run, (self.router.name,))

    def vector_steps(self, run: Forward) -> Iterator[VectorStep]:
        """Yield the sums of all streams, or what is added to each of them."""
        wide = run.rows * self.hidden * self.streams
        streams = Tensor(wide, self.hidden)
        yield VectorStep(
            name=f"altup_{self.half}_streams",
            operations=("weighted_sum",),
            rows=run.rows,
            elements=wide * (self.streams if self.half == "predict" else 1),
            after=(self.coefficients.name,),
            reads=(streams,),
            writes=(streams,),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LowRank(Part):
    """Two matrices with a narrow width between, beside the residual sum (arXiv:2411.07501)."""

    hidden: int
    inner: int

    @property
    def exits(self) -> tuple[str, ...]:
        """Names of the products whose results the part leaves."""
        return ("laurel_right",)

    def matrices(self) -> Iterator[tuple[Matrix, int]]:
        """Yield each weight matrix with the number of its instances, in order."""
        yield _matrix("laurel_left", self.inner, self.hidden), 1
        yield _matrix("laurel_right", self.hidden, self.inner), 1

    def products(self, run: Forward) -> Iterator[Product]:
        """Yield the products of a forward pass, in the order of execution."""
        source = ENTRY
        for matrix, _ in self.matrices():
            yield linear(matrix, run, (source,))
            source = matrix.name


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerInput(Part):
    """A token's own vector for each layer, gated by the stream and added to it (Gemma 3n)."""

    hidden: int
    inner: int
    activation: Activation = "gelu"

    @property
    def exits(self) -> tuple[str, ...]:
        """Names of the products whose results the part leaves."""
        return ("per_layer_projection",)

    def matrices(self) -> Iterator[tuple[Matrix, int]]:
        """Yield each weight matrix with the number of its instances, in order."""
        yield _matrix("per_layer_input_gate", self.inner, self.hidden), 1
        yield _matrix("per_layer_projection", self.hidden, self.inner), 1

    def products(self, run: Forward) -> Iterator[Product]:
        """Yield the products of a forward pass, in the order of execution."""
        source = ENTRY
        for matrix, _ in self.matrices():
            yield linear(matrix, run, (source,))
            source = matrix.name

    def vector_steps(self, run: Forward) -> Iterator[VectorStep]:
        """Yield the activation of the gate, and its product with the token's vector."""
        vector = Tensor(run.rows * self.inner, self.inner)
        yield VectorStep(
            name="per_layer_gate",
            operations=(self.activation, "multiply"),
            rows=run.rows,
            elements=vector.elements,
            after=("per_layer_input_gate",),
            streams=True,
            pieces=vector.elements,
            reads=(vector,),
            makes=(vector._replace(operand="input"),),
        )


def _matrix(name: str, outputs: int, inputs: int) -> Matrix:
    return Matrix(stage=name, name=name, outputs=outputs, inputs=inputs)
