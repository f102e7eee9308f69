"""Attention of query heads to keys and values that groups of them share."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from ..gemm import Gemm
from ..vector_step import Tensor, VectorStep
from .forward import Forward, Group
from .matrix import Matrix, Product
from .part import Norm, Part, into_cache, linear, softmax, streamed


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention(Part):
    """Multi-head, grouped-query or multi-query attention with its four projections.

    Attributes
    ----------
    hidden, heads, kv_heads, head_dim : int
        Widths; ``heads / kv_heads`` query heads share a key/value head.
    value_dim : int or None
        Width of a head of values, where that is another than that of queries and keys.
    left : int or None
        Width of what it leaves, where that is another than that of what it reads.
    projections : tuple of str
        Names of the matrices that make queries, keys and values, or of the one that makes all.
    output : str
        Name of the matrix behind the mix.
    window : int or None
        Tokens in view at most, the own one included.
    ahead : int
        Those of the window that stand behind the own one: 0 where attention looks back only.
    chunk : int or None
        Tokens of the chunks that positions are cut into: a token sees its own chunk up to itself.
    pieces : tuple of (int, int)
        Windows of an image that see nothing of each other: tokens, and how many of so many.
    qkv_bias, output_bias : bool
        Whether the projections have biases.
    key_bias : bool or None
        Whether that of the keys has one; None: as the others.
    rotary_dim : int
        Elements of a head of queries and keys that are turned by their position; 0: none.
    qk_norm : {"rms_norm", "layer_norm"} or None
        The norm of queries and keys.
    qk_norm_width : int
        Elements that it takes together: a head's, or those of all heads.
    vectors : int
        Parameters of its norms, and sinks.
    made : {"all", "keys", "none"}
        Which matrices there are beside that of the queries: of keys and values; of keys, which are
        the values too; or none: both are those of an earlier layer.
    gated : bool
        Whether the matrix of the queries makes a gate of the mix too.
    gate : str or None
        Name of the matrix that makes it, where it is another.
    suffix : str
        Behind the names of scores and mix where layers with other windows stand beside it.
    """

    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    value_dim: int | None = None
    left: int | None = None
    projections: tuple[str, ...] = ("q_proj", "k_proj", "v_proj")
    output: str = "o_proj"
    window: int | None = None
    ahead: int = 0
    chunk: int | None = None
    pieces: tuple[tuple[int, int], ...] = ()
    qkv_bias: bool = False
    output_bias: bool = False
    key_bias: bool | None = None
    rotary_dim: int = 0
    qk_norm: Norm | None = None
    qk_norm_width: int = 0
    vectors: int = 0
    made: Literal["all", "keys", "none"] = "all"
    gated: bool = False
    gate: str | None = None
    suffix: str = ""

    @property
    def value_width(self) -> int:
        """Width of a head of values."""
        return self.head_dim if self.value_dim is None else self.value_dim

    @property
    def exits(self) -> tuple[str, ...]:
        """Names of the products whose results the part leaves."""
        return (self.output,)

    @property
    def rank(self) -> int:
        """Full attention first, then by window or chunk."""
        return self.window or self.chunk or 0

    @property
    def other_parameters(self) -> int:
        """Parameters of norms, and sinks."""
        return self.vectors

    @property
    def inputs(self) -> tuple[Matrix, ...]:
        """The matrices that make queries, keys and values."""
        query, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        values = self.kv_heads * self.value_width
        one = Matrix(
            stage="query",
            name=self.projections[0],
            outputs=query * (1 + self.gated),
            inputs=self.hidden,
            bias=self.qkv_bias,
        )
        if len(self.projections) == 1:
            return (replace(one, outputs=one.outputs + kv + values, keys=kv, values=values),)
        if self.made == "none":
            return (one,)
        _, key, value = self.projections
        key_bias = self.qkv_bias if self.key_bias is None else self.key_bias
        of_keys = replace(one, name=key, outputs=kv, keys=kv, bias=key_bias)
        if self.made == "keys":
            return one, of_keys
        return one, of_keys, replace(one, stage="value", name=value, outputs=values, values=values)

    @property
    def out(self) -> Matrix:
        """The matrix behind the mix."""
        width = self.heads * self.value_width
        return Matrix(
            stage="out",
            name=self.output,
            outputs=self.hidden if self.left is None else self.left,
            inputs=width,
            bias=self.output_bias,
        )

    @property
    def gates(self) -> tuple[Matrix, ...]:
        """The matrix that makes a gate of the mix, where there is one."""
        if self.gate is None:
            return ()
        width = self.heads * self.value_width
        return (Matrix(stage="query", name=self.gate, outputs=width, inputs=self.hidden),)

    def matrices(self) -> Iterator[tuple[Matrix, int]]:
        """Yield each weight matrix with the number of its instances, in order."""
        for matrix in (*self.inputs, *self.gates, self.out):
            yield matrix, 1

    def cache_elements(self, context: int) -> int:
        """Return the keys and values kept of a sequence of ``context`` tokens.

        A window of W tokens needs the last W of them, the newest included; chunks of C tokens
        those since the last multiple of C.
        """
        if self.made == "none":
            return 0
        kept = context if self.window is None else min(context, self.window)
        if self.chunk is not None:
            kept = (context - 1) % self.chunk + 1
        return kept * self.kv_heads * (self.head_dim + self.value_width)

    def products(self, run: Forward) -> Iterator[Product]:
        """Yield the products of a forward pass, in the order of execution."""
        names = [matrix.name for matrix in self.inputs]
        query, key, value = names[0], names[min(1, len(names) - 1)], names[-1]
        keys, values = ((), ()) if self.made == "none" else ((key,), (value,))
        for matrix in (*self.inputs, *self.gates):
            yield linear(matrix, run)
        scores_name, mix_name = f"attention_qk{self.suffix}", f"attention_av{self.suffix}"
        groups = self._pieces(run)
        for group in groups:
            scores = self._scores(scores_name, group, causal=run.causal)
            yield Product(stage="scores", gemm=scores, inputs=(query,), weights=keys)
            mix = replace(
                scores,
                name=mix_name,
                n=self.value_width,
                k=scores.n,
                kind="attention_av",
                causal=None if scores.causal is None else "k",
            )
            parts = len(groups)
            yield Product(
                stage="mix",
                gemm=mix,
                inputs=(scores_name,),
                weights=values,
                parts=parts,
            )
        yield linear(self.out, run, (mix_name,))

    def _pieces(self, run: Forward) -> list[Group]:
        """Return the pieces of all groups that see nothing of each other."""
        return [piece for group in run.groups for piece in self._apart(group)]

    def _apart(self, group: Group) -> Iterator[Group]:
        """Yield the pieces of a group that see nothing of each other: chunks, windows of images."""
        for tokens, times in self.pieces:
            yield replace(group, new=tokens, sequences=group.sequences * times)
        if self.chunk is None:
            yield from () if self.pieces else (group,)
            return
        size, cached = self.chunk, group.cached % self.chunk
        first = min(group.new, size - cached)
        whole, last = divmod(group.new - first, size)
        pieces = Counter({(first, cached): 1})
        pieces += Counter({(size, 0): whole}) + Counter({(last, 0): last > 0})
        for (new, before), times in pieces.items():
            yield replace(group, new=new, cached=before, sequences=group.sequences * times)

    def vector_steps(self, run: Forward) -> Iterator[VectorStep]:
        """Yield norm and rotation of queries and keys, what fills the cache, and the softmax.

        The cache takes keys and values in the format in which attention reads it. Of a softmax
        each key/value head of each sequence is a piece.
        """
        made = tuple(matrix.name for matrix in self.inputs)
        turned = made[:2] if len(made) == 3 else made
        heads = run.rows * (self.heads + (self.kv_heads if self.made != "none" else 0))
        if self.qk_norm is not None:
            rows = heads if self.qk_norm_width == self.head_dim else 2 * run.rows
            wide = heads * self.head_dim
            yield streamed("qk_norm", self.qk_norm, wide, rows, turned, learned=self.vectors)
        if self.rotary_dim:
            yield streamed("rotary", "rotary", heads * self.rotary_dim, heads, turned)
        cached = run.rows * self.kv_heads
        if self.made != "none":
            both = self.head_dim + self.value_width
            yield into_cache(cached * both, 2 * cached, made)
        for group in self._pieces(run):
            name = f"attention_qk{self.suffix}"
            yield softmax(self._scores(name, group, causal=run.causal), self.suffix)
        if self.gated or self.gate:
            yield self._gate(run)

    def _gate(self, run: Forward) -> VectorStep:
        """Return the product of the mix with the sigmoid of the gate, which is read."""
        wide = run.rows * self.heads * self.value_width
        vector = Tensor(wide, self.heads * self.value_width)
        mixed = streamed("attention_gate", "sigmoid", wide, wide, (f"attention_av{self.suffix}",))
        return replace(
            mixed,
            operations=("sigmoid", "multiply"),
            reads=(vector,),
            makes=(vector._replace(operand="input"),),
        )

    def _scores(self, name: str, group: Group, *, causal: bool) -> Gemm:
        """Return queries times keys, per key/value head (HPCA 2025 model, form "v2").

        Of n new tokens behind c cached ones, the first sees from ``c - W + 1`` on under a window
        of W. One token sees all that it is given; several lie under a mask, if it is asked for,
        or if a window cuts a band or chunks cut triangles.
        """
        low = 0 if self.window is None else max(0, group.cached - self.window + 1)
        bounded = self.window is not None or self.chunk is not None
        masked = group.new > 1 and (causal or bounded)
        shared = self.heads // self.kv_heads
        return Gemm(
            name=name,
            m=shared * group.new,
            n=group.seen - low,
            k=self.head_dim,
            batch=group.sequences * self.kv_heads,
            kind="attention_qk",
            stationary="kv_cache",
            causal="n" if masked else None,
            rows_per_token=shared,
            visible_before=group.cached - low + self.ahead,
            window=self.window if masked else None,
        )
