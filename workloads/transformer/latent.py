"""Multi-head latent attention: keys and values of all heads made of one short vector a token."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..gemm import Gemm
from ..vector_step import VectorStep
from .forward import Forward, Group
from .matrix import Matrix, Product
from .part import Part, into_cache, linear, softmax, streamed


@dataclass(frozen=True, slots=True, kw_only=True)
class Indexer:
    """A small attention that chooses the ``top`` tokens which the large one sees (DeepSeek-V3.2).

    Attributes
    ----------
    heads, head_dim : int
        Query heads, and the width of each and of the one key of a token, which is cached.
    top : int
        Tokens chosen at most.
    shared : bool
        Whether the choice of the layer before is taken instead, and there is nothing to compute.
    """

    heads: int
    head_dim: int
    top: int
    shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentAttention(Part):
    """Latent attention (DeepSeek-V2, arXiv:2405.04434, section 2.1).

    What is cached of a token is its latent, ``rank`` elements, and a key of ``rope_dim`` elements
    that all heads share and positions turn. The matrix ``kv_b_proj`` makes a key of ``nope_dim``
    and a value of ``value_dim`` of a latent, for each head. Either it is applied to all tokens in
    view (expanded), or its halves to the new tokens' queries and mixes (absorbed), which then
    meet the latents themselves. A group of sequences takes the form with fewer
    multiply-accumulates: expanded for prompts, absorbed where few tokens follow many.

    Attributes
    ----------
    hidden, heads, nope_dim, rope_dim, value_dim, rank : int
        Widths.
    query_rank : int
        Width between the two matrices of the queries; 0: there is one matrix.
    bias : bool
        Whether the matrices that read or write the hidden width have biases.
    indexer : Indexer or None
        What chooses the tokens in view.
    turned : bool
        Whether positions turn the keys that heads share.
    """

    hidden: int
    heads: int
    nope_dim: int
    rope_dim: int
    value_dim: int
    rank: int
    query_rank: int = 0
    bias: bool = False
    indexer: Indexer | None = None
    turned: bool = True

    @property
    def exits(self) -> tuple[str, ...]:
        """Names of the products whose results the part leaves."""
        return ("o_proj",)

    @property
    def other_parameters(self) -> int:
        """Scales of the norms of latents, scale and shift of the norm of the indexer's keys."""
        return self.rank + self.query_rank + 2 * self._index_dim

    @property
    def cached_dim(self) -> int:
        """Elements that are cached of a token, its indexer's key not."""
        return self.rank + self.rope_dim

    def cache_elements(self, context: int) -> int:
        """Return the latents and keys kept of a sequence of ``context`` tokens."""
        return context * (self.cached_dim + self._index_dim)

    @property
    def _index_dim(self) -> int:
        """Width of the keys of an indexer of its own, 0 if it has none."""
        return 0 if self.indexer is None or self.indexer.shared else self.indexer.head_dim

    def _matrix(self, stage: str, name: str, outputs: int, inputs: int) -> Matrix:
        bias = self.bias and name in ("q_a_proj", "kv_a_proj_with_mqa", "o_proj")
        keys = self.cached_dim if name == "kv_a_proj_with_mqa" else 0
        return Matrix(stage=stage, name=name, outputs=outputs, inputs=inputs, bias=bias, keys=keys)

    @property
    def queries(self) -> tuple[Matrix, ...]:
        """The matrix, or the two, that make queries."""
        outputs = self.heads * (self.nope_dim + self.rope_dim)
        if not self.query_rank:
            return (self._matrix("query", "q_proj", outputs, self.hidden),)
        return (
            self._matrix("query", "q_a_proj", self.query_rank, self.hidden),
            self._matrix("query", "q_b_proj", outputs, self.query_rank),
        )

    @property
    def latents(self) -> Matrix:
        """The matrix that makes what is cached."""
        return self._matrix("query", "kv_a_proj_with_mqa", self.cached_dim, self.hidden)

    @property
    def expansion(self) -> Matrix:
        """The matrix that makes keys and values of latents."""
        outputs = self.heads * (self.nope_dim + self.value_dim)
        return self._matrix("value", "kv_b_proj", outputs, self.rank)

    @property
    def out(self) -> Matrix:
        """The matrix behind the mix."""
        return self._matrix("out", "o_proj", self.hidden, self.heads * self.value_dim)

    @property
    def indexing(self) -> tuple[Matrix, ...]:
        """The matrices of the indexer: of its queries, keys and the weights of its heads."""
        index = self.indexer
        if index is None or index.shared:
            return ()
        return (
            self._matrix("index", "index_q", index.heads * index.head_dim, self.query_rank),
            replace(
                self._matrix("index", "index_k", index.head_dim, self.hidden), keys=index.head_dim
            ),
            self._matrix("index", "index_weights", index.heads, self.hidden),
        )

    def matrices(self) -> Iterator[tuple[Matrix, int]]:
        """Yield each weight matrix with the number of its instances, in order."""
        for matrix in (*self.queries, self.latents, *self.indexing, self.expansion, self.out):
            yield matrix, 1

    def products(self, run: Forward) -> Iterator[Product]:
        """Yield the products of a forward pass, in the order of execution."""
        first, *second = self.queries
        yield linear(first, run)
        for matrix in second:
            yield linear(matrix, run, (first.name,))
        yield linear(self.latents, run)
        yield from self._indexed(run)
        expanded = [group for group in run.groups if not self.absorbs(group)]
        absorbed = [group for group in run.groups if self.absorbs(group)]
        if expanded:
            yield from self._expanded(expanded, run)
        if absorbed:
            yield from self._absorbed(absorbed, run)
        sources = ("attention_av",) * bool(expanded) + ("kv_b_proj_values",) * bool(absorbed)
        yield linear(self.out, run, sources)

    def absorbs(self, group: Group) -> bool:
        """Return whether a group's queries and mixes are transformed, rather than the latents."""
        pairs = self._scores("", group, self.heads, 1, causal=True).macs // self.heads
        lifted = self.rank * (self.nope_dim + self.value_dim)
        expanded = group.seen * lifted + pairs * (self.nope_dim + self.rope_dim + self.value_dim)
        absorbed = group.new * lifted + pairs * (self.cached_dim + self.rank)
        return absorbed < expanded

    def _expanded(self, groups: list[Group], run: Forward) -> Iterator[Product]:
        rows = sum(group.seen * group.sequences for group in groups)
        alike = run.equal_sequences if len(run.groups) == 1 else 1
        yield Product(
            stage="value",
            gemm=self.expansion.gemm(rows, alike),
            inputs=(self.latents.name,),
        )
        keys = (self.expansion.name, self.latents.name)
        head_dim = self.nope_dim + self.rope_dim
        for group in groups:
            scores = self._scores("attention_qk", group, 1, head_dim, causal=run.causal)
            scores = replace(scores, batch=self.heads * group.sequences)
            yield _product("scores", scores, (self.queries[-1].name,), keys)
            mix = _mix(scores, self.value_dim)
            yield _product("mix", mix, (scores.name,), (self.expansion.name,), len(groups))

    def _absorbed(self, groups: list[Group], run: Forward) -> Iterator[Product]:
        """Yield, for each head: queries onto latents, scores, mix of latents, latents to values."""
        rows = sum(group.rows for group in groups)
        query = Gemm(name="kv_b_proj_keys", m=rows, n=self.rank, k=self.nope_dim, batch=self.heads)
        yield _product("lift", query, (self.queries[-1].name,))
        cache = (self.latents.name,)
        for group in groups:
            width = self.cached_dim
            scores = self._scores("attention_qk", group, self.heads, width, causal=run.causal)
            sources = (query.name, self.queries[-1].name)
            yield _product("scores", scores, sources, cache)
            mix = _mix(scores, self.rank)
            yield _product("mix", mix, (scores.name,), cache, len(groups))
        value = replace(query, name="kv_b_proj_values", n=self.value_dim, k=self.rank)
        yield _product("lower", value, ("attention_av",))

    def vector_steps(self, run: Forward) -> Iterator[VectorStep]:
        """Yield norms of latents, rotation, what fills the cache, the indexer's choice, softmax."""
        query, latent = self.queries[-1].name, self.latents.name
        if self.query_rank:
            first = (self.queries[0].name,)
            yield _latent_norm("query_latent_norm", self.query_rank, run.rows, first)
        yield _latent_norm("latent_norm", self.rank, run.rows, (latent,))
        heads = run.rows * (self.heads + 1)
        if self.turned:
            yield streamed("rotary", "rotary", heads * self.rope_dim, heads, (query, latent))
        yield into_cache(run.rows * self.cached_dim, run.rows, (latent,))
        if self.indexing:
            yield from map(_chosen, self._index_scores(run))
        for group in run.groups:
            rows = self.heads if self.absorbs(group) else 1
            scores = self._scores("attention_qk", group, rows, self.rank, causal=run.causal)
            copies = self.heads // rows
            yield softmax(replace(scores, batch=scores.batch * copies))

    def _indexed(self, run: Forward) -> Iterator[Product]:
        """Yield what chooses the tokens in view: scores of all of them, summed over heads."""
        if not self.indexing or self.indexer is None:
            return
        queries, keys, weights = self.indexing
        yield linear(queries, run, (self.queries[0].name,))
        yield linear(keys, run)
        yield linear(weights, run)
        for scores in self._index_scores(run):
            yield _product("scores", scores, (queries.name, weights.name), (keys.name,))

    def _index_scores(self, run: Forward) -> Iterator[Gemm]:
        whole, index = replace(self, indexer=None), self.indexer
        assert index is not None
        for group in run.groups:
            yield whole._scores(
                "index_scores", group, index.heads, index.head_dim, causal=run.causal
            )

    def _scores(
        self, name: str, group: Group, rows_per_token: int, width: int, *, causal: bool
    ) -> Gemm:
        """Return queries times keys of one sequence, ``rows_per_token`` heads to a key.

        An indexer shows a token as many keys as a window of its ``top`` tokens would.
        """
        window = None if self.indexer is None else self.indexer.top
        low = 0 if window is None else max(0, group.cached - window + 1)
        masked = group.new > 1 and (causal or window is not None)
        return Gemm(
            name=name,
            m=rows_per_token * group.new,
            n=group.seen - low,
            k=width,
            batch=group.sequences,
            kind="attention_qk",
            stationary="kv_cache",
            causal="n" if masked else None,
            rows_per_token=rows_per_token,
            visible_before=group.cached - low,
            window=window if masked else None,
        )


def _latent_norm(name: str, rank: int, rows: int, after: tuple[str, ...]) -> VectorStep:
    return streamed(name, "rms_norm", rows * rank, rows, after, learned=rank)


def _mix(scores: Gemm, width: int) -> Gemm:
    """Return the mix of values of a width, by scores."""
    return replace(
        scores,
        name="attention_av",
        n=width,
        k=scores.n,
        kind="attention_av",
        causal=None if scores.causal is None else "k",
    )


def _chosen(scores: Gemm) -> VectorStep:
    """Return the indexer's work on its scores: none below 0, weighted sum over heads, choice."""
    return VectorStep(
        name="index_choice",
        operations=("relu", "weighted_sum"),
        rows=scores.m * scores.batch,
        elements=scores.macs // scores.k,
        after=(scores.name,),
        streams=True,
        pieces=scores.m * scores.batch,
    )


def _product(
    stage: str,
    gemm: Gemm,
    inputs: tuple[str, ...],
    weights: tuple[str, ...] = (),
    parts: int = 1,
) -> Product:
    return Product(stage=stage, gemm=gemm, inputs=inputs, weights=weights, parts=parts)
