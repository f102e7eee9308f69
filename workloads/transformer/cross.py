"""Attention of a decoder to its source: keys and values are made once of what an encoder leaves."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..gemm import Gemm
from ..vector_step import VectorStep
from .attention import Attention
from .forward import Forward, Group
from .matrix import SOURCE, Matrix, Product
from .part import Part, into_cache, linear, softmax


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossAttention(Part):
    """Attention whose keys and values are those of the source, kept for all tokens.

    Attributes
    ----------
    heads : Attention
        Its sizes and projections; queries, keys and values have a matrix each.
    """

    heads: Attention

    @property
    def exits(self) -> tuple[str, ...]:
        """Names of the products whose results the part leaves."""
        return self.heads.exits

    @property
    def other_parameters(self) -> int:
        """Parameters of norms."""
        return self.heads.other_parameters

    def matrices(self) -> Iterator[tuple[Matrix, int]]:
        """Yield each weight matrix with the number of its instances, in order."""
        yield from self.heads.matrices()

    def source_elements(self, source: int) -> int:
        """Return the keys and values kept of a sequence's source."""
        return self.heads.cache_elements(source)

    def products(self, run: Forward) -> Iterator[Product]:
        """Yield the products of a forward pass; keys and values where sources are read."""
        query, key, value = self.heads.inputs
        yield linear(query, run)
        if run.sources:
            rows = run.sources * run.source
            for matrix in (key, value):
                gemm = matrix.gemm(rows, run.sources)
                yield Product(stage=f"source_{matrix.stage}", gemm=gemm, inputs=(SOURCE,))
        for group in run.groups:
            scores = self._scores(group, run.source)
            yield Product(stage="scores", gemm=scores, inputs=(query.name,), weights=(key.name,))
            mix = replace(
                scores,
                name="attention_av_cross",
                n=self.heads.head_dim,
                k=run.source,
                kind="attention_av",
            )
            yield Product(
                stage="mix",
                gemm=mix,
                inputs=(scores.name,),
                weights=(value.name,),
                parts=len(run.groups),
            )
        yield linear(self.heads.out, run, ("attention_av_cross",))

    def _scores(self, group: Group, source: int) -> Gemm:
        """Return queries times all keys of the source, per key/value head."""
        shared = self.heads.heads // self.heads.kv_heads
        return Gemm(
            name="attention_qk_cross",
            m=shared * group.new,
            n=source,
            k=self.heads.head_dim,
            batch=group.sequences * self.heads.kv_heads,
            kind="attention_qk",
            stationary="kv_cache",
            rows_per_token=shared,
        )

    def vector_steps(self, run: Forward) -> Iterator[VectorStep]:
        """Yield the writing of the source's keys and values, and the softmax of the scores."""
        if run.sources:
            made = tuple(matrix.name for matrix in self.heads.inputs[1:])
            cached = 2 * run.sources * run.source * self.heads.kv_heads
            yield into_cache(cached * self.heads.head_dim, cached, made)
        for group in run.groups:
            yield softmax(self._scores(group, run.source), "_cross")
