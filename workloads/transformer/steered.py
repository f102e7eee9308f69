"""Blocks of DiT and PixArt: parts whose norms one vector scales and shifts, attention to a text."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..gemm import Gemm
from ..vector_step import VectorStep
from .attention import Attention
from .diffusion import adapted, gated, once, steering
from .forward import Forward
from .matrix import ENTRY, Matrix, Product
from .part import Part, linear, softmax


@dataclass(frozen=True, slots=True, kw_only=True)
class Steered(Part):
    """A part behind a norm that is scaled and shifted, and a gate (arXiv:2212.09748, section 3.2).

    Attributes
    ----------
    inner : Part
        Attention, or an MLP.
    hidden : int
        Width of a token.
    name : str
        Of its norm and gate.
    steer : tuple of Matrix
        Matrices that make scales, shifts and gates of one vector a sequence, in turn; none where
        another part's, or one of the whole model, do.
    vectors : int
        Parameters of tables beside them.
    """

    inner: Part
    hidden: int
    name: str
    steer: tuple[Matrix, ...] = ()
    vectors: int = 0

    @property
    def exits(self) -> tuple[str, ...]:
        """Names of the products whose results the part leaves."""
        return self.inner.exits

    @property
    def rank(self) -> int:
        """As that of the part within."""
        return self.inner.rank

    @property
    def other_parameters(self) -> int:
        """Parameters of the part within that are no matrices, and of tables."""
        return self.inner.other_parameters + self.vectors

    def matrices(self) -> Iterator[tuple[Matrix, int]]:
        """Yield each weight matrix with the number of its instances, in order."""
        for matrix in self.steer:
            yield matrix, 1
        yield from self.inner.matrices()

    def products(self, run: Forward) -> Iterator[Product]:
        """Yield the products of a forward pass, in the order of execution."""
        before: tuple[str, ...] = ()
        for matrix in self.steer:
            yield replace(once(matrix, run), inputs=before)
            before = (matrix.name,)
        for product in self.inner.products(run):
            reads = product.inputs == (ENTRY,)
            yield replace(product, inputs=(ENTRY, *before)) if reads else product

    def vector_steps(self, run: Forward) -> Iterator[VectorStep]:
        """Yield what steers, the norm, the steps of the part within, and the gate."""
        after = (self.steer[-1].name,) if self.steer else (ENTRY,)
        if self.steer:
            yield from steering(self.steer[-1].name, run.sequences, self.hidden)
        yield adapted(f"{self.name}_norm", run.rows, self.hidden, after)
        yield from (step for step in self.inner.vector_steps(run) if step.name != "kv_cache")
        yield gated(f"{self.name}_gate", run.rows, self.hidden, self.exits)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextAttention(Part):
    """Attention of an image's tokens to those of a text, whose keys and values each pass makes.

    Attributes
    ----------
    heads : Attention
        Its sizes, and names of the matrices.
    text, wide : int
        Tokens of the text, and their width.
    """

    heads: Attention
    text: int
    wide: int

    @property
    def exits(self) -> tuple[str, ...]:
        """Names of the products whose results the part leaves."""
        return self.heads.exits

    @property
    def _made(self) -> tuple[Matrix, Matrix, Matrix]:
        query, key, value = self.heads.inputs
        return query, replace(key, inputs=self.wide), replace(value, inputs=self.wide)

    def matrices(self) -> Iterator[tuple[Matrix, int]]:
        """Yield each weight matrix with the number of its instances, in order."""
        for matrix in (*self._made, self.heads.out):
            yield matrix, 1

    def _scores(self, run: Forward) -> Gemm:
        """Return queries times the keys of the text, head by head."""
        shared = self.heads.heads // self.heads.kv_heads
        return Gemm(
            name="attention_qk_text",
            m=shared * (run.rows // run.sequences),
            n=self.text,
            k=self.heads.head_dim,
            batch=run.sequences * self.heads.kv_heads,
            kind="attention_qk",
            stationary="kv_cache",
            rows_per_token=shared,
        )

    def products(self, run: Forward) -> Iterator[Product]:
        """Yield the products of a forward pass, in the order of execution."""
        query, key, value = self._made
        yield linear(query, run)
        for matrix in (key, value):
            gemm = matrix.gemm(self.text * run.sequences, run.equal_sequences)
            yield Product(stage=f"text_{matrix.stage}", gemm=gemm, inputs=())
        scores = self._scores(run)
        yield Product(stage="scores", gemm=scores, inputs=(query.name,), weights=(key.name,))
        mix = replace(
            scores,
            name="attention_av_text",
            n=self.heads.value_width,
            k=self.text,
            kind="attention_av",
        )
        yield Product(stage="mix", gemm=mix, inputs=(scores.name,), weights=(value.name,))
        yield linear(self.heads.out, run, (mix.name,))

    def vector_steps(self, run: Forward) -> Iterator[VectorStep]:
        """Yield the softmax of the scores."""
        yield softmax(self._scores(run), "_text")
