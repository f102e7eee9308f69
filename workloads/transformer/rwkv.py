"""Time and channel mixes (RWKV-4, arXiv:2305.13048): a state of four numbers a channel."""

from collections.abc import Iterator
from dataclasses import dataclass

from ..vector_step import Tensor, VectorStep
from .forward import Forward
from .matrix import ENTRY, Matrix, Product
from .part import Part, linear


def _shifted(name: str, mixes: int, width: int, run: Forward) -> VectorStep:
    """Return the mixes of each token with the one before it, whose input is kept."""
    read = sum(g.sequences for g in run.groups if g.cached) * width
    stream = Tensor(run.rows * width, width)
    return VectorStep(
        name=name,
        operations=("weighted_sum",),
        rows=run.rows,
        elements=2 * mixes * run.rows * width,
        after=(ENTRY,),
        reads=(stream, *_kept(read, width)),
        writes=(
            *(stream._replace(operand="input"),) * mixes,
            *_kept(run.sequences * width, width),
        ),
    )


def _kept(elements: int, width: int) -> tuple[Tensor, ...]:
    return (Tensor(elements, width, kept=True),) if elements else ()


def _gate(name: str, gate: str, gated: str, width: int, run: Forward) -> VectorStep:
    """Return the product of what a matrix gives, or a recurrence, with the sigmoid of another."""
    vector = Tensor(run.rows * width, width)
    return VectorStep(
        name=name,
        operations=("sigmoid", "multiply"),
        rows=run.rows,
        elements=vector.elements,
        after=(gate, gated),
        reads=(vector, vector),
        writes=(vector._replace(operand="input"),),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeMix(Part):
    """Weighted means of all values before, of weights that decay, channel by channel.

    ``wkv`` of a token with key k and value v, of a numerator n, a denominator d and a maximum m
    that are kept (section 3.1 and appendix D of the paper): q = max(m, k + u), the result is
    (exp(m - q) n + exp(k + u - q) v) / (exp(m - q) d + exp(k + u - q)); the state takes the same
    with m + w for m and k for k + u.

    Attributes
    ----------
    hidden, inner : int
        Widths of a token, and of keys and values.
    """

    hidden: int
    inner: int

    @property
    def exits(self) -> tuple[str, ...]:
        """Names of the products whose results the part leaves."""
        return ("output",)

    @property
    def rank(self) -> int:
        """Ahead of the channel mix."""
        return 0

    @property
    def other_parameters(self) -> int:
        """Shares of three mixes, decays, and weights of the newest token."""
        return 3 * self.hidden + 2 * self.inner

    @property
    def state_elements(self) -> int:
        """The newest input; numerator, denominator and maximum of each channel."""
        return self.hidden + 3 * self.inner

    def matrices(self) -> Iterator[tuple[Matrix, int]]:
        """Yield each weight matrix with the number of its instances, in order."""
        for name in ("receptance", "key", "value"):
            yield Matrix(stage="state", name=name, outputs=self.inner, inputs=self.hidden), 1
        yield Matrix(stage="state_out", name="output", outputs=self.hidden, inputs=self.inner), 1

    def products(self, run: Forward) -> Iterator[Product]:
        """Yield the products of a forward pass, in the order of execution."""
        *made, (out, _) = self.matrices()
        for matrix, _ in made:
            yield linear(matrix, run)
        yield linear(out, run, tuple(matrix.name for matrix, _ in made))

    def vector_steps(self, run: Forward) -> Iterator[VectorStep]:
        """Yield the mixes with the token before, the recurrence, and its gate."""
        wide = run.rows * self.inner
        state = 3 * self.inner
        read = sum(g.sequences for g in run.groups if g.cached) * state
        yield _shifted("time_shift", 3, self.hidden, run)
        yield VectorStep(
            name="wkv",
            operations=("wkv",),
            rows=run.rows,
            elements=wide,
            after=("key", "value"),
            reads=(Tensor(2 * wide, self.inner), *_kept(read, self.inner)),
            writes=(Tensor(wide, self.inner), *_kept(run.sequences * state, self.inner)),
        )
        yield _gate("time_gate", "receptance", "value", self.inner, run)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelMix(Part):
    """An MLP with a squared ReLU, whose results a gate of the hidden width lets through.

    Attributes
    ----------
    hidden, inner : int
        Widths.
    """

    hidden: int
    inner: int

    @property
    def exits(self) -> tuple[str, ...]:
        """Names of the products whose results the part leaves."""
        return ("ffn_receptance", "ffn_value")

    @property
    def other_parameters(self) -> int:
        """Shares of two mixes."""
        return 2 * self.hidden

    @property
    def state_elements(self) -> int:
        """The newest input."""
        return self.hidden

    def matrices(self) -> Iterator[tuple[Matrix, int]]:
        """Yield each weight matrix with the number of its instances, in order."""
        yield Matrix(stage="mlp", name="ffn_key", outputs=self.inner, inputs=self.hidden), 1
        yield (
            Matrix(stage="gate", name="ffn_receptance", outputs=self.hidden, inputs=self.hidden),
            1,
        )
        yield Matrix(stage="down", name="ffn_value", outputs=self.hidden, inputs=self.inner), 1

    def products(self, run: Forward) -> Iterator[Product]:
        """Yield the products of a forward pass, in the order of execution."""
        (key, _), (gate, _), (value, _) = self.matrices()
        yield linear(key, run)
        yield linear(gate, run)
        yield linear(value, run, (key.name,))

    def vector_steps(self, run: Forward) -> Iterator[VectorStep]:
        """Yield the mixes with the token before, the activation, and the gate."""
        yield _shifted("channel_shift", 2, self.hidden, run)
        vector = Tensor(run.rows * self.inner, self.inner)
        yield VectorStep(
            name="ffn_activation",
            operations=("relu2",),
            rows=run.rows,
            elements=vector.elements,
            after=("ffn_key",),
            streams=True,
            pieces=vector.elements,
            makes=(vector._replace(operand="input"),),
        )
        yield _gate("channel_gate", "ffn_receptance", "ffn_value", self.hidden, run)
