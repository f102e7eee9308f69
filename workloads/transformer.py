"""Transformers: from sizes to matrix products."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..datatypes.base.errors import BitlatheError
from .families import Family, Output
from .gemm import Gemm
from .sizes import check_size

DEFAULT_CONTEXT = 256

# Which stages of a layer feed which; "scores:x" and "mix:x" exist once per attention window, and
# a "tail:x" reads what "head:x" leaves, behind the last layer.
_FLOW = (
    ("embed", "query"), ("embed", "value"), ("query", "scores"), ("scores", "mix"),
    ("value", "mix"), ("mix", "out"), ("out", "router"), ("out", "mlp"), ("out", "experts"),
    ("router", "experts"), ("mlp", "down"), ("experts", "experts_down"), ("down", "head"),
    ("experts_down", "head"), ("head", "tail"),
)  # fmt: skip
_PARALLEL_FLOW = (*(edge for edge in _FLOW if edge[0] != "out"), ("out", "head"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """Layers that are alike: how many, their attention window in tokens, experts or not."""

    count: int
    window: int | None = None
    routed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Transformer:
    """The sizes of a transformer.

    Attributes
    ----------
    family : Family
        What the model's family fixes: names, norms, parallel or serial MLP.
    layers : tuple of Layers
        The layers, those alike in one entry.
    hidden, heads, kv_heads, head_dim, inner, vocabulary : int
        Widths; ``vocabulary`` is 0 for a model without word embeddings.
    positions : int
        Learned position embeddings, 0 if there are none.
    experts, active_experts, expert_inner, shared_inner : int
        Experts per routed layer, those a token visits, and widths; 0 if there are none.
    outputs : tuple of Output
        The matrices behind the last layer.
    labels : int
        Classes that a classifier tells apart.
    image : tuple of int
        Channels, height and width of the image, height and width of a patch; empty for text.
    """

    family: Family
    layers: tuple[Layers, ...]
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    inner: int
    vocabulary: int = 0
    positions: int = 0
    token_types: int = 0
    tied: bool = False
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    qk_norm: bool = False
    experts: int = 0
    active_experts: int = 0
    expert_inner: int = 0
    shared_inner: int = 0
    outputs: tuple[Output, ...] = ()
    labels: int = 0
    image: tuple[int, ...] = ()

    @property
    def depth(self) -> int:
        """Number of layers."""
        return sum(layers.count for layers in self.layers)

    @property
    def routed_depth(self) -> int:
        """Number of layers with a mixture of experts."""
        return sum(layers.count for layers in self.layers if layers.routed)

    @property
    def patches(self) -> int:
        """Patches of an image; 0 for text."""
        if not self.image:
            return 0
        _, high, wide, patch_high, patch_wide = self.image
        return (high // patch_high) * (wide // patch_wide)

    @property
    def patch_inputs(self) -> int:
        """Values of one patch; 0 for text."""
        return self.image[0] * self.image[3] * self.image[4] if self.image else 0

    @property
    def fixed_tokens(self) -> int | None:
        """Tokens of a vision model (its patches and the class token); None for text."""
        return self.patches + 1 if self.image else None

    @property
    def longest_context(self) -> int | None:
        """Most tokens the position embeddings allow; None without learned positions."""
        if self.image:
            return self.fixed_tokens
        return self.positions - self.family.position_offset if self.positions else None

    def matrices(self) -> Iterator[tuple[str, str, int, int, int]]:
        """Yield (stage, name, outputs, inputs, layers) of every matrix but those of experts."""
        names, family = self.family.projections, self.family
        query, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        if len(names) == 1:
            yield "query", names[0], query + 2 * kv, self.hidden, self.depth
        else:
            widths = (query, kv, kv)
            for stage, name, n in zip(("query", "query", "value"), names, widths, strict=True):
                yield stage, name, n, self.hidden, self.depth
        yield "out", family.output, self.hidden, query, self.depth
        yield from self._mlp("mlp", "down", "", self.inner, self.depth - self.routed_depth)
        if self.routed_depth:
            yield "router", "router", self.experts, self.hidden, self.routed_depth
            if self.shared_inner:
                yield from self._mlp(
                    "mlp", "down", "shared_expert_", self.shared_inner, self.routed_depth
                )
                yield "mlp", "shared_expert_gate", 1, self.hidden, self.routed_depth

    def _mlp(
        self, first: str, second: str, prefix: str, inner: int, count: int
    ) -> Iterator[tuple[str, str, int, int, int]]:
        if not count:
            return
        *into, out = self.family.mlp
        width = inner * (self.family.mlp_matrices - 1) // len(into)  # a fused gate/up is double
        for name in into:
            yield first, prefix + name, width, self.hidden, count
        yield second, prefix + out, self.hidden, inner, count

    def cached(self, name: str) -> tuple[int, int]:
        """Return how many outputs of a matrix are keys, and values."""
        names, width = self.family.projections, self.kv_heads * self.head_dim
        if name not in names:
            return 0, 0
        if len(names) == 1:
            return width, width
        return ((0, 0), (width, 0), (0, width))[names.index(name)]

    def expert_matrices(self) -> Iterator[tuple[str, str, int, int, int]]:
        """Yield the matrices of one routed expert, as `matrices` does."""
        yield from self._mlp(
            "experts", "experts_down", "expert_", self.expert_inner, self.routed_depth
        )

    def output_matrices(self) -> Iterator[tuple[Output, int, int]]:
        """Yield the matrices behind the last layer, with outputs and inputs."""
        widths = {
            **{"hidden": self.hidden, "vocabulary": self.vocabulary},
            **{"labels": self.labels, "pair": 2},
        }
        for output in self.outputs:
            if widths[output.outputs]:
                yield output, widths[output.outputs], self.hidden

    def weight_count(self) -> int:
        """Elements of all weight matrices: every expert, the head even if it is tied."""
        total = sum(n * k * count for _, _, n, k, count in self.matrices())
        total += self.experts * sum(n * k * c for _, _, n, k, c in self.expert_matrices())
        total += sum(n * k for _, n, k in self.output_matrices())
        return total + self.hidden * self.patch_inputs

    def parameter_count(self) -> int:
        """All parameters: matrices, embeddings, norms and biases; a tied head once."""
        family, wide = self.family, self.hidden
        kv = self.kv_heads * self.head_dim
        embeddings = (self.vocabulary + self.positions + self.token_types) * wide
        if self.tied and any(output.outputs == "vocabulary" for output in self.outputs):
            embeddings -= self.vocabulary * wide  # the head's matrix is the embedding
        if self.image:
            embeddings += wide + wide  # the class token, the patch projection's bias
        norms = family.norms * self.depth + family.final_norms + family.embedding_norms
        biases = self.depth * (
            self.qkv_bias * (self.heads * self.head_dim + 2 * kv) + self.output_bias * wide
        )
        if self.mlp_bias:
            into = self.inner * (family.mlp_matrices - 1)
            biases += (self.depth - self.routed_depth) * (into + wide)
        for output, n, _ in self.output_matrices():
            biases += output.bias * n
            norms += output.norm
        heads = self.qk_norm * 2 * self.head_dim * self.depth
        vectors = family.norm_vectors * (norms * wide + heads)
        return self.weight_count() + embeddings + vectors + biases


Staged = tuple[tuple[str, Gemm], ...]
"""Matrix products, each with the stage of the layer it belongs to."""


def _run_shape(shape: Transformer, phase: str, context: int | None) -> int:
    """Check phase and context against the model; return the number of tokens in view."""
    kind = shape.family.kind
    if phase == "decode" and kind != "decoder":
        raise BitlatheError(
            f"phase 'decode' needs a model that generates tokens; this one is {kind}-only and "
            "reads its whole input at once: use phase 'prefill'."
        )
    if shape.fixed_tokens is not None:
        if context is not None and context != shape.fixed_tokens:
            raise BitlatheError(
                f"context is {context}, but a vision model's is fixed by its image: "
                f"{shape.fixed_tokens} tokens. Leave context out."
            )
        return shape.fixed_tokens
    tokens = check_size("context", DEFAULT_CONTEXT if context is None else context)
    longest = shape.longest_context
    if longest is not None and tokens > longest:
        raise BitlatheError(
            f"context is {tokens}, but the model has learned positions for {longest} tokens only."
        )
    return tokens


def _attention(
    shape: Transformer, phase: str, tokens: int, batch: int, causal: bool
) -> Iterator[tuple[str, Gemm]]:
    """Yield scores and mix of every kind of attention window (HPCA 2025 model, form "v2")."""
    group = shape.heads // shape.kv_heads
    counts: Counter[int | None] = Counter()
    for layers in shape.layers:
        counts[layers.window] += layers.count
    for window, count in sorted(counts.items(), key=lambda item: item[0] or 0):
        seen = tokens if phase == "prefill" or window is None else min(tokens, window)
        suffix = "" if window is None or len(counts) == 1 else "_local"
        queries = tokens if phase == "prefill" else 1
        banded = phase == "prefill" and window is not None  # the window is part of the mask
        masked = banded or (causal and phase == "prefill")
        scores = Gemm(
            name=f"attention_qk{suffix}",
            m=group * queries,
            n=seen,
            k=shape.head_dim,
            batch=batch * shape.kv_heads,
            count=count,
            kind="attention_qk",
            stationary="kv_cache",
            causal="n" if masked else None,
            rows_per_token=group,
            visible_before=0 if phase == "prefill" else seen - 1,
            window=window if banded else None,
        )
        yield f"scores:{suffix}", scores
        yield (
            f"mix:{suffix}",
            replace(
                scores,
                name=f"attention_av{suffix}",
                n=shape.head_dim,
                k=seen,
                kind="attention_av",
                causal="k" if masked else None,
            ),
        )


def experts_in_use(experts: int, active: int, tokens: int) -> int:
    """Return how many experts ``tokens`` tokens reach, each of which visits ``active`` of them.

    The mean over uniform, independent routing, E (1 - (1 - k/E)^t), rounded: at least k and at
    most E and the t k visits, which errors of floats must not pass.
    """
    mean = experts * (1 - (1 - active / experts) ** tokens)
    return min(round(mean), tokens * active)


def _experts(shape: Transformer, tokens: int) -> Iterator[tuple[str, Gemm]]:
    """Yield the products of the routed experts: those that get one row more than others first.

    The visits are spread as evenly as they go: of t k visits to e experts, (t k mod e) experts
    get ceil(t k / e) rows and the others floor(t k / e).
    """
    visits = tokens * shape.active_experts
    busy = experts_in_use(shape.experts, shape.active_experts, tokens)
    rows, more = divmod(visits, busy)
    for m, instances in ((rows + 1, more), (rows, busy - more)):
        if instances:
            for stage, name, n, k, count in shape.expert_matrices():
                yield stage, Gemm(name=name, m=m, n=n, k=k, count=count * instances)


def staged_gemms(
    shape: Transformer,
    phase: str,
    context: int | None,
    batch: int,
    causal: bool,
    logits: str = "all",
) -> Staged:
    """Return the matrix products of a run, each with the stage of the layer it belongs to.

    Parameters
    ----------
    shape : Transformer
        The model.
    phase : {"prefill", "decode"}
        All tokens at once, or one more token behind ``context - 1`` cached ones.
    context : int or None
        Tokens in view; 256 by default, fixed for a vision model.
    batch : int
        Sequences or images.
    causal : bool
        Whether prefill skips what the causal mask hides; layers with a sliding window always do.
    logits : {"all", "last"}
        Tokens that the output head works on: all, or the last one of each sequence.

    Raises
    ------
    BitlatheError
        If the model has no such phase or no causal mask, or the context does not fit it.
    """
    if causal and shape.family.kind != "decoder":
        raise BitlatheError(
            f"causal=True needs a decoder; this {shape.family.kind} model attends both ways."
        )
    tokens = _run_shape(shape, phase, context)
    rows, sequences = (tokens, batch) if phase == "prefill" else (batch, 1)
    found: list[tuple[str, Gemm]] = []

    def linear(stage: str, name: str, n: int, k: int, count: int, rows: int = rows) -> None:
        keys, values = shape.cached(name)
        made = Gemm(
            name=name,
            m=rows * sequences,
            n=n,
            k=k,
            sequences=sequences,
            count=count,
            keys=keys,
            values=values,
        )
        found.append((stage, made))

    if shape.image:
        m, k = batch * shape.patches, shape.patch_inputs
        found.append(("embed", Gemm(
            name="patch_embedding", m=m, n=shape.hidden, k=k, sequences=batch, kind="conv",
            input_elements=m * k,
        )))  # fmt: skip
    for stage, *matrix in shape.matrices():
        if stage == "out":
            found.extend(_attention(shape, phase, tokens, batch, causal))
        linear(stage, *matrix)  # type: ignore[arg-type]
    if shape.routed_depth:
        found.extend(_experts(shape, rows * sequences))
    one = 1 if phase == "prefill" else rows  # a row of each sequence
    output_rows = {"all": rows, "one": one, "logits": one if logits == "last" else rows}
    for output, n, k in shape.output_matrices():
        linear(output.stage, output.name, n, k, 1, output_rows[output.tokens])
    return tuple(found)


def edges(shape: Transformer, staged: Staged) -> Iterator[tuple[Gemm, Gemm]]:
    """Yield which product of a layer feeds which."""
    flow = _PARALLEL_FLOW if shape.family.parallel else _FLOW
    fused = len(shape.family.projections) == 1
    for source, tail in staged:
        for target, head in staged:
            (a, _, left), (b, _, right) = source.partition(":"), target.partition(":")
            meets = (a, b) not in (("scores", "mix"), ("head", "tail")) or left == right
            if meets and ((a, b) in flow or (fused and (a, b) == ("query", "mix"))):
                yield tail, head
