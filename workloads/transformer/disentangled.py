"""Disentangled attention: of contents to contents, and to and from relative positions."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..gemm import Gemm
from ..vector_step import Tensor, VectorStep
from .attention import Attention
from .forward import Forward, Group
from .matrix import Matrix, Product
from .part import Part, linear, softmax


@dataclass(frozen=True, slots=True, kw_only=True)
class DisentangledAttention(Part):
    """Attention of DeBERTa (arXiv:2006.03654, eq. 4): scores are sums of up to three products.

    Queries meet keys; queries meet the keys of all relative positions, of which each pair of tokens
    takes one (``c2p``); and keys meet the queries of these positions (``p2c``). The positions' keys
    and queries are made anew in each layer, once a pass.

    Attributes
    ----------
    heads : Attention
        Its sizes and projections; queries, keys and values have a matrix each.
    positions : int
        Relative positions that are told apart; 0: none are.
    kinds : tuple of str
        Of ``"c2p"`` and ``"p2c"``, those that it has.
    shared : bool
        Whether the positions' keys and queries are made by the matrices of the contents'.
    """

    heads: Attention
    positions: int = 0
    kinds: tuple[str, ...] = ()
    shared: bool = False

    @property
    def exits(self) -> tuple[str, ...]:
        """Names of the products whose results the part leaves."""
        return self.heads.exits

    def _of_positions(self) -> tuple[Matrix, ...]:
        """Return the matrices that are applied to relative positions, by kind."""
        query, key, _ = self.heads.inputs
        by_kind = {
            "c2p": replace(key, name="pos_key_proj", stage="position", keys=0),
            "p2c": replace(query, name="pos_query_proj", stage="position"),
        }
        return tuple(by_kind[kind] for kind in self.kinds) if self.positions else ()

    def matrices(self) -> Iterator[tuple[Matrix, int]]:
        """Yield each weight matrix with the number of its instances, in order."""
        own = () if self.shared else self._of_positions()
        for matrix in (*self.heads.inputs, *own, self.heads.out):
            yield matrix, 1

    def products(self, run: Forward) -> Iterator[Product]:
        """Yield the products of a forward pass, in the order of execution."""
        query, key, value = self.heads.inputs
        for matrix in (query, key, value):
            yield linear(matrix, run)
        for matrix in self._of_positions():
            yield Product(stage="position", gemm=matrix.gemm(self.positions), inputs=())
        for group in run.groups:
            scores = self._scores(group)
            yield Product(stage="scores", gemm=scores, inputs=(query.name,), weights=(key.name,))
            for gemm, source, weight in self._to_positions(group):
                yield Product(stage="scores", gemm=gemm, inputs=(source,), weights=(weight,))
            mix = replace(scores, name="attention_av", n=scores.k, k=scores.n, kind="attention_av")
            made = (scores.name, *(gemm.name for gemm, _, _ in self._to_positions(group)))
            yield Product(
                stage="mix", gemm=mix, inputs=made, weights=(value.name,), parts=len(run.groups)
            )
        yield linear(self.heads.out, run, ("attention_av",))

    def _scores(self, group: Group) -> Gemm:
        """Return queries times keys of each head; all tokens see each other."""
        return Gemm(
            name="attention_qk",
            m=group.new,
            n=group.seen,
            k=self.heads.head_dim,
            batch=group.sequences * self.heads.heads,
            kind="attention_qk",
            stationary="kv_cache",
        )

    def _to_positions(self, group: Group) -> Iterator[tuple[Gemm, str, str]]:
        """Yield products with relative positions, each with what it reads and is multiplied by."""
        query, key, _ = self.heads.inputs
        read = {"c2p": query.name, "p2c": key.name}
        for kind, matrix in zip(self.kinds, self._of_positions(), strict=False):
            gemm = replace(self._scores(group), name=f"attention_{kind}", n=self.positions)
            yield gemm, read[kind], matrix.name

    def vector_steps(self, run: Forward) -> Iterator[VectorStep]:
        """Yield what picks and adds the scores of relative positions, and the softmax."""
        for group in run.groups:
            scores = self._scores(group)
            pairs = Tensor(scores.output_elements, scores.n, "attention")
            for gemm, _, _ in self._to_positions(group):
                yield VectorStep(
                    name=f"{gemm.name}_sum",
                    operations=("add",),
                    rows=scores.m * scores.batch,
                    elements=pairs.elements,
                    after=(gemm.name,),
                    reads=(pairs, pairs),
                    writes=(pairs,),
                )
            yield softmax(scores)
