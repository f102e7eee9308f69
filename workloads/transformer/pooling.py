"""Pooling of all tokens by attention: one learned query a sequence (arXiv:1810.00825, PMA)."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..gemm import Gemm
from ..vector_step import VectorStep
from .forward import Forward, Group
from .matrix import Matrix, Product
from .mlp import Mlp
from .part import Part, linear, softmax


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooling(Part):
    """Attention of one learned query to all tokens, and an MLP on what it gives (SigLIP).

    Attributes
    ----------
    hidden, heads : int
        Widths.
    mlp : Mlp
        What follows.
    """

    hidden: int
    heads: int
    mlp: Mlp

    @property
    def exits(self) -> tuple[str, ...]:
        """Names of the products whose results the part leaves."""
        return tuple(f"pool_{name}" for name in self.mlp.exits)

    @property
    def other_parameters(self) -> int:
        """The learned query."""
        return self.hidden

    def _matrix(self, name: str, outputs: int) -> Matrix:
        return Matrix(stage=name, name=name, outputs=outputs, inputs=self.hidden, bias=True)

    def _all(self) -> tuple[Matrix, ...]:
        attention = (
            self._matrix("pool_query", self.hidden),
            self._matrix("pool_key_value", 2 * self.hidden),
            self._matrix("pool_out", self.hidden),
        )
        return (*attention, *self.mlp.into_and_back("pool_mlp", "pool_"))

    def matrices(self) -> Iterator[tuple[Matrix, int]]:
        """Yield each weight matrix with the number of its instances, in order."""
        return ((matrix, 1) for matrix in self._all())

    def products(self, run: Forward) -> Iterator[Product]:
        """Yield the products of a forward pass, in the order of execution."""
        one = self._one(run)
        query, both, out, *rest = self._all()
        yield linear(query, one)
        yield linear(both, run)
        source = "pool_av"
        for group in run.groups:
            scores = self._scores(group)
            yield Product(stage="scores", gemm=scores, inputs=(query.name,), weights=(both.name,))
            mix = replace(scores, name=source, n=scores.k, k=scores.n, kind="attention_av")
            yield Product(
                stage="mix",
                gemm=mix,
                inputs=(scores.name,),
                weights=(both.name,),
                parts=len(run.groups),
            )
        for matrix in (out, *rest):
            yield linear(matrix, one, (source,))
            source = matrix.name

    def _one(self, run: Forward) -> Forward:
        """Return the pass of one token of each sequence."""
        groups = tuple(replace(group, new=1, cached=0) for group in run.groups)
        return replace(run, groups=groups)

    def _scores(self, group: Group) -> Gemm:
        return Gemm(
            name="pool_qk",
            m=1,
            n=group.seen,
            k=self.hidden // self.heads,
            batch=group.sequences * self.heads,
            kind="attention_qk",
            stationary="kv_cache",
        )

    def vector_steps(self, run: Forward) -> Iterator[VectorStep]:
        """Yield the softmax of the scores, and the activation of the MLP."""
        for group in run.groups:
            yield softmax(self._scores(group), "_pool")
        yield self.mlp.activated(run.sequences, "pool_")
