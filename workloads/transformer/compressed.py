"""Attention to a window and to compressed tokens before it, and streams beside it (DeepSeek-V4).

Each run of ``rate`` tokens leaves one entry, a sum weighed by gates of what a matrix makes of them.
A token sees the entries of the runs that are complete with it: all of them, or those that an
indexer chooses. The keys are the values. Structures follow the classes of DeepSeek-V4 in
transformers 5.24.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..gemm import Gemm
from ..vector_step import Tensor, VectorStep
from .attention import Attention
from .forward import Forward, Group
from .latent import Indexer
from .matrix import ENTRY, Matrix, Product
from .part import Part, into_cache, linear, softmax, streamed


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressedAttention(Part):
    """Attention of many heads to one head of keys, which are the values too.

    Attributes
    ----------
    hidden, heads, head_dim, query_rank : int
        Widths; ``query_rank`` between the two matrices of the queries.
    groups, output_rank : int
        Groups of heads, each with a matrix of its own to ``output_rank`` elements; a matrix of all
        of them leads back.
    window : int
        Tokens in view, the own one included.
    rotary_dim : int
        Elements of a head that positions turn, and turn back behind the mix.
    rate : int
        Tokens that become one entry; 0: there are none.
    overlap : bool
        Whether an entry is made of the run before its own, too.
    indexer : Indexer or None
        What chooses the entries in view.
    """

    hidden: int
    heads: int
    head_dim: int
    query_rank: int
    groups: int
    output_rank: int
    window: int
    rotary_dim: int = 0
    rate: int = 0
    overlap: bool = False
    indexer: Indexer | None = None

    @property
    def exits(self) -> tuple[str, ...]:
        """Names of the products whose results the part leaves."""
        return ("o_b_proj",)

    @property
    def rank(self) -> int:
        """By what becomes an entry."""
        return self.rate

    @property
    def _wide(self) -> int:
        return 1 + self.overlap

    @property
    def other_parameters(self) -> int:
        """Scales of norms, a sink for each head, and a vector for each place of a run."""
        found = self.query_rank + self.head_dim + self.heads
        if self.rate:
            found += self.head_dim * (1 + self.rate * self._wide)
        if self.indexer is not None:
            found += self.indexer.head_dim * (1 + self.rate * self._wide)
        return found

    @property
    def _queries(self) -> tuple[Matrix, Matrix]:
        rank = self.query_rank
        return (
            Matrix(stage="query", name="q_a_proj", outputs=rank, inputs=self.hidden),
            Matrix(stage="query", name="q_b_proj", outputs=self.heads * self.head_dim, inputs=rank),
        )

    @property
    def _keys(self) -> Matrix:
        width = self.head_dim
        return Matrix(stage="query", name="kv_proj", outputs=width, inputs=self.hidden, keys=width)

    @property
    def _entries(self) -> tuple[Matrix, ...]:
        """The matrices that make entries, and those of the indexer, its queries' last."""
        if not self.rate:
            return ()
        wide = self._wide * self.head_dim
        found = [("compressor_kv_proj", wide, self.hidden, "compress")]
        found += [("compressor_gate_proj", wide, self.hidden, "compress")]
        if self.indexer is not None:
            small = self._wide * self.indexer.head_dim
            found += [("index_kv_proj", small, self.hidden, "index")]
            found += [("index_gate_proj", small, self.hidden, "index")]
            found += [("index_weights_proj", self.indexer.heads, self.hidden, "index")]
            asked = self.indexer.heads * self.indexer.head_dim
            found += [("index_q_proj", asked, self.query_rank, "index")]
        return tuple(
            Matrix(stage=stage, name=name, outputs=outputs, inputs=inputs)
            for name, outputs, inputs, stage in found
        )

    @property
    def _out(self) -> tuple[Matrix, Matrix]:
        ranks = self.groups * self.output_rank
        heads = self.heads * self.head_dim // self.groups
        return (
            Matrix(stage="out", name="o_a_proj", outputs=ranks, inputs=heads),
            Matrix(stage="out", name="o_b_proj", outputs=self.hidden, inputs=ranks),
        )

    def matrices(self) -> Iterator[tuple[Matrix, int]]:
        """Yield each weight matrix with the number of its instances, in order."""
        for matrix in (*self._queries, self._keys, *self._entries, *self._out):
            yield matrix, 1

    def cache_elements(self, context: int) -> int:
        """Return what is kept of a window, and the entries and keys of the tokens before."""
        entries = context // self.rate if self.rate else 0
        small = 0 if self.indexer is None else self.indexer.head_dim
        return min(context, self.window) * self.head_dim + entries * (self.head_dim + small)

    @property
    def state_elements(self) -> int:
        """What is kept of runs that are not complete, and of the one before: values and gates."""
        small = 0 if self.indexer is None else self.indexer.head_dim
        return 2 * self.rate * (self._wide + self.overlap) * (self.head_dim + small)

    def _near(self, group: Group, *, causal: bool) -> Gemm:
        """Return the scores of the window."""
        one = Attention(
            hidden=self.hidden,
            heads=self.heads,
            kv_heads=1,
            head_dim=self.head_dim,
            window=self.window,
        )
        return one._scores("attention_qk", group, causal=causal)

    def _far(self, group: Group, name: str, heads: int, width: int, most: int | None, *,
             causal: bool) -> Iterator[Gemm]:  # fmt: skip
        """Yield scores of entries; tokens that see the same entries are a row's worth.

        The token at place p sees (p + 1) // rate of them: tokens up to the next complete run one
        number, those after it one more with each run.
        """
        last = group.seen // self.rate
        lead = min(group.new, -(group.cached + 1) % self.rate)
        if not causal and (most is None or last <= most):
            lead = group.new
        shown = last if lead == group.new and not causal else (group.cached + 1) // self.rate
        score = Gemm(
            name=name,
            m=1,
            n=1,
            k=width,
            batch=group.sequences,
            kind="attention_qk",
            stationary="kv_cache",
        )
        if lead and shown:
            seen = shown if most is None else min(shown, most)
            yield replace(score, m=heads * lead, n=seen, rows_per_token=heads)
        if group.new == lead:
            return
        first = (group.cached + lead + 1) // self.rate
        low = 0 if most is None else max(0, first - most)
        several = last > first
        yield replace(
            score,
            m=heads * (group.new - lead),
            n=last - low,
            rows_per_token=heads * self.rate,
            causal="n" if several else None,
            visible_before=first - 1 - low,
            window=most if several else None,
        )

    def _scores(self, run: Forward, name: str) -> list[Gemm]:
        """Return the scores of a kind of all groups: of windows, entries or the indexer."""
        if name == "attention_qk":
            return [self._near(group, causal=run.causal) for group in run.groups]
        if not self.rate:
            return []
        own = self.indexer
        sizes = (self.heads, self.head_dim, None if own is None else own.top)
        if name == "index_scores":
            if own is None:
                return []
            sizes = (own.heads, own.head_dim, None)
        pieces = (self._far(group, name, *sizes, causal=run.causal) for group in run.groups)
        return [gemm for each in pieces for gemm in each]

    def products(self, run: Forward) -> Iterator[Product]:
        """Yield the products of a forward pass, in the order of execution."""
        first, second = self._queries
        yield linear(first, run)
        yield linear(second, run, (first.name,))
        yield linear(self._keys, run)
        for matrix in self._entries:
            asked = matrix.name == "index_q_proj"
            yield linear(matrix, run, (first.name,) if asked else (ENTRY,))
        for gemm in self._scores(run, "index_scores"):
            small = ("index_kv_proj", "index_gate_proj")
            yield Product(stage="index", gemm=gemm, inputs=("index_q_proj",), weights=small)
        chosen = () if self.indexer is None else ("index_scores",)
        mixes = []
        made: dict[str, tuple[str, ...]] = {
            "attention_qk": (self._keys.name,),
            "attention_qk_compressed": ("compressor_kv_proj", "compressor_gate_proj"),
        }
        for name, keys in made.items():
            found, mixed = self._scores(run, name), name.replace("qk", "av")
            mixes += [mixed] if found else []
            for scores in found:
                read = (second.name, *(chosen if name != "attention_qk" else ()))
                yield Product(stage="scores", gemm=scores, inputs=read, weights=keys)
                mix = replace(
                    scores,
                    name=mixed,
                    n=self.head_dim,
                    k=scores.n,
                    kind="attention_av",
                    causal=None if scores.causal is None else "k",
                )
                parts = len(found)
                yield Product(stage="mix", gemm=mix, inputs=(name,), weights=keys, parts=parts)
        into, back = self._out
        grouped = replace(
            into.gemm(run.rows, run.equal_sequences), n=self.output_rank, batch=self.groups
        )
        yield Product(stage=into.stage, gemm=grouped, inputs=tuple(mixes))
        yield linear(back, run, (into.name,))

    def vector_steps(self, run: Forward) -> Iterator[VectorStep]:
        """Yield norms, rotation there and back, what fills the cache, entries, the softmax."""
        first, second = self._queries
        keys, heads = self._keys.name, run.rows * self.heads
        for name, rows, width in (
            (first.name, run.rows, self.query_rank),
            (second.name, heads, self.head_dim),  # without a scale
            (keys, run.rows, self.head_dim),
        ):
            held = 0 if name == second.name else width
            yield streamed(f"{name}_norm", "rms_norm", rows * width, rows, (name,), learned=held)
        if self.rotary_dim:
            both = heads + run.rows
            turned = (second.name, keys)
            yield streamed("rotary", "rotary", both * self.rotary_dim, both, turned)
        yield into_cache(run.rows * self.head_dim, run.rows, (keys,))
        yield from self._compressions(run)
        for gemm in self._scores(run, "index_scores"):
            assert self.indexer is not None
            scores = gemm.macs // gemm.k
            step = streamed("index_choice", "relu", scores, gemm.m * gemm.batch, (gemm.name,))
            yield replace(step, operations=("relu", "weighted_sum"))
        for name, suffix in (("attention_qk", ""), ("attention_qk_compressed", "_compressed")):
            yield from (softmax(scores, suffix) for scores in self._scores(run, name))
        if self.rotary_dim:
            mix = "attention_av"
            yield streamed("rotary_back", "rotary", heads * self.rotary_dim, heads, (mix,))

    def _compressions(self, run: Forward) -> Iterator[VectorStep]:
        """Yield what makes entries of runs: a softmax of gates, a sum of values, and its norm."""
        kinds = [("compressor", self.head_dim)] if self.rate else []
        kinds += [] if self.indexer is None else [("index", self.indexer.head_dim)]
        entries = sum(
            group.sequences * (group.seen // self.rate - group.cached // self.rate)
            for group in run.groups
            if self.rate
        )
        for name, width in kinds:
            if not entries:
                return
            elements = entries * width * self.rate * self._wide
            made = Tensor(entries * width, width, "attention", "weight")
            yield VectorStep(
                name=f"{name}_entries",
                operations=("add", "softmax", "weighted_sum", "rms_norm"),
                rows=entries * width,
                elements=elements,
                after=(f"{name}_kv_proj", f"{name}_gate_proj"),
                reads=(Tensor(2 * elements, width),),
                writes=(made,),
                learned=width,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class HyperConnection(Part):
    """Ahead of a part: of n streams one, and how what it leaves goes back into them.

    A matrix of all streams together makes (2 + n) n coefficients a token; n x n of them mix the
    streams, whose rows and columns a few rounds of division bring to sums of 1.

    Attributes
    ----------
    hidden, streams, rounds : int
    name : str
        Of its matrix.
    """

    hidden: int
    streams: int
    rounds: int
    name: str

    @property
    def _coefficients(self) -> int:
        return (2 + self.streams) * self.streams

    @property
    def exits(self) -> tuple[str, ...]:
        """Names of the products whose results the part leaves."""
        return (self.name,)

    @property
    def other_parameters(self) -> int:
        """A number for each coefficient, and a scale for each kind of them."""
        return self._coefficients + 3

    def matrices(self) -> Iterator[tuple[Matrix, int]]:
        """Yield each weight matrix with the number of its instances, in order."""
        wide = self.streams * self.hidden
        yield Matrix(stage=self.name, name=self.name, outputs=self._coefficients, inputs=wide), 1

    def products(self, run: Forward) -> Iterator[Product]:
        """Yield the products of a forward pass, in the order of execution."""
        for matrix, _ in self.matrices():
            yield linear(matrix, run)

    def vector_steps(self, run: Forward) -> Iterator[VectorStep]:
        """Yield the norm of the streams, the rounds of division, and the mixes of the streams."""
        many, rows, after = self.streams, run.rows, (self.name,)
        wide = rows * many * self.hidden
        streams = Tensor(wide, self.hidden)
        yield streamed(f"{self.name}_norm", "rms_norm", wide, rows, after)
        square = rows * many**2
        rounds = ("special", *("add", "multiply") * (2 * self.rounds - 1))
        mixed = streamed(f"{self.name}_rounds", "special", square, rows, after)
        yield replace(mixed, operations=rounds)
        yield VectorStep(
            name=f"{self.name}_streams",
            operations=("weighted_sum",),
            rows=rows,
            elements=wide * (2 + many),  # one of them, back into them, and among themselves
            after=after,
            reads=(streams,),
            writes=(streams,),
        )
