"""The MLP of a layer: two matrices, or three with a gate."""

from collections.abc import Iterator
from dataclasses import dataclass

from ..vector_step import Tensor, VectorStep
from .forward import Forward
from .matrix import Matrix, Product
from .part import Activation, Part, linear


@dataclass(frozen=True, slots=True, kw_only=True)
class Mlp(Part):
    """Into a wider vector and back, for every token.

    Attributes
    ----------
    hidden, inner : int
        Widths.
    names : tuple of str
        Of the matrices: those into ``inner``, then the one back.
    gated : bool
        Whether two vectors of ``inner`` are made, one of which gates the other. One name for
        both: they are one matrix.
    bias : bool
        Whether the matrices have biases.
    activation : str
        The function between the matrices; all spellings of a GELU are ``"gelu"``.
    vectors : int
        Parameters of a norm within, and others.
    cut : bool
        Whether the gate's inputs below so many deviations over their mean are cut (Gemma 3n).
    """

    hidden: int
    inner: int
    names: tuple[str, ...] = ("gate_proj", "up_proj", "down_proj")
    gated: bool = True
    bias: bool = False
    activation: Activation = "silu"
    vectors: int = 0
    cut: bool = False

    @property
    def exits(self) -> tuple[str, ...]:
        """Names of the products whose results the part leaves."""
        return (self.names[-1],)

    @property
    def other_parameters(self) -> int:
        """Parameters of a norm within, and others."""
        return self.vectors

    def into_and_back(self, stage: str = "mlp", prefix: str = "") -> tuple[Matrix, ...]:
        """Return the matrices under ``prefix`` and the name; the last one leads back."""
        *into, out = self.names
        width = self.inner * (1 + self.gated) // len(into)  # a fused gate/up is double
        made = [
            Matrix(
                stage=stage,
                name=prefix + name,
                outputs=width,
                inputs=self.hidden,
                bias=self.bias,
            )
            for name in into
        ]
        back = Matrix(
            stage="down" if stage == "mlp" else f"{stage}_down",
            name=prefix + out,
            outputs=self.hidden,
            inputs=self.inner,
            bias=self.bias,
        )
        return (*made, back)

    def matrices(self) -> Iterator[tuple[Matrix, int]]:
        """Yield each weight matrix with the number of its instances, in order."""
        for matrix in self.into_and_back():
            yield matrix, 1

    def products(self, run: Forward) -> Iterator[Product]:
        """Yield the products of a forward pass, in the order of execution."""
        *into, back = self.into_and_back()
        for matrix in into:
            yield linear(matrix, run)
        yield linear(back, run, tuple(matrix.name for matrix in into))

    def vector_steps(self, run: Forward) -> Iterator[VectorStep]:
        """Yield the activation, and the product with the gate."""
        yield self.activated(run.rows)

    def activated(self, rows: int, prefix: str = "") -> VectorStep:
        """Return the activation of ``rows`` tokens, of matrices under ``prefix`` and the name.

        Of two matrices the first one's results are read from memory, the second's stream in.
        """
        into = tuple(prefix + name for name in self.names[:-1])
        vector = Tensor(rows * self.inner, self.inner)
        return VectorStep(
            name=f"{prefix}activation",
            operations=(
                *(("cutoff",) if self.cut else ()),
                self.activation,
                *(("multiply",) if self.gated else ()),
            ),
            rows=rows,
            elements=vector.elements,
            after=into,
            streams=True,
            pieces=vector.elements,
            reads=(vector,) * (len(into) - 1),
            makes=(vector._replace(operand="input"),),
        )
