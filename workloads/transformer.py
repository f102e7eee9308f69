"""Transformers: from a configuration to sizes, and from sizes to matrix products."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ..datatypes.errors import BitlatheError
from .config import Config
from .families import Experts, Family
from .gemm import Gemm, check_size

DEFAULT_CONTEXT = 256

# Which stages of a layer feed which; "scores:x" and "mix:x" exist once per attention window.
_FLOW = (
    ("embed", "query"), ("embed", "value"), ("query", "scores"), ("scores", "mix"),
    ("value", "mix"), ("mix", "out"), ("out", "router"), ("out", "mlp"), ("out", "experts"),
    ("router", "experts"), ("mlp", "down"), ("experts", "experts_down"), ("down", "head"),
    ("experts_down", "head"),
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
    image : tuple of int
        Channels, side of the image, side of a patch; empty for text.
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
    experts: int = 0
    active_experts: int = 0
    expert_inner: int = 0
    shared_inner: int = 0
    classes: int = 0
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
        return (self.image[1] // self.image[2]) ** 2 if self.image else 0

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

    def weight_count(self) -> int:
        """Elements of all weight matrices: every expert, the head even if it is tied."""
        total = sum(n * k * count for _, _, n, k, count in self.matrices())
        total += self.experts * sum(n * k * c for _, _, n, k, c in self.expert_matrices())
        if self.family.kind == "decoder":
            total += self.vocabulary * self.hidden
        if self.family.pooler:
            total += self.hidden**2
        if self.image:
            total += self.hidden * self.image[0] * self.image[2] ** 2
        return total + self.classes * self.hidden

    def parameter_count(self) -> int:
        """All parameters: matrices, embeddings, norms and biases; a tied head once."""
        family, wide = self.family, self.hidden
        kv = self.kv_heads * self.head_dim
        embeddings = (self.vocabulary + self.positions + self.token_types) * wide
        if self.tied and family.kind == "decoder":
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
        biases += family.head_bias * self.vocabulary + family.pooler * wide + self.classes
        extra = family.qk_norm * 2 * self.head_dim * self.depth
        return (
            self.weight_count() + embeddings + norms * family.norm_vectors * wide + biases + extra
        )


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

    The mean over uniform, independent routing, E (1 - (1 - k/E)^t), rounded, and kept to what is
    possible: at least k, at most E and the t k visits.
    """
    mean = round(experts * (1 - (1 - active / experts) ** tokens))
    return min(max(mean, active), experts, tokens * active)


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
) -> tuple[tuple[str, Gemm], ...]:
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
        channels, _, patch = shape.image
        m, k = batch * shape.patches, channels * patch**2
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
    last = 1 if phase == "prefill" else rows
    if shape.family.kind == "decoder":
        head_rows = rows if logits == "all" else last
        linear("head", "lm_head", shape.vocabulary, shape.hidden, 1, head_rows)
    if shape.family.pooler:
        linear("head", "pooler", shape.hidden, shape.hidden, 1, last)
    if shape.classes:
        linear("head", "classifier", shape.classes, shape.hidden, 1, last)
    return tuple(found)


def edges(shape: Transformer, staged: tuple[tuple[str, Gemm], ...]) -> Iterator[tuple[Gemm, Gemm]]:
    """Yield which product of a layer feeds which."""
    flow = _PARALLEL_FLOW if shape.family.parallel else _FLOW
    fused = len(shape.family.projections) == 1
    for source, tail in staged:
        for target, head in staged:
            (a, _, left), (b, _, right) = source.partition(":"), target.partition(":")
            meets = not (a == "scores" and b == "mix") or left == right
            if meets and ((a, b) in flow or (fused and (a, b) == ("query", "mix"))):
                yield tail, head


def read_transformer(config: Config, family: Family) -> Transformer:
    """Read the sizes of a transformer from the object of its config.json."""
    keys = family.keys
    hidden = config.integer(keys.hidden)
    heads = config.integer(keys.heads)
    kv_heads = config.integer("num_key_value_heads", default=heads) if family.grouped else heads
    if heads % kv_heads:
        raise config.error(
            f"'num_key_value_heads' is {kv_heads}, which does not divide the {heads} heads of "
            f"{keys.heads!r}.",
            "num_key_value_heads",
        )
    if config.get("head_dim") is None and hidden % heads:
        raise config.error(
            f"{keys.hidden!r} is {hidden}, which the {heads} heads of {keys.heads!r} do not "
            "divide; change one of them or give 'head_dim'.",
            keys.hidden,
        )
    head_dim = config.integer("head_dim", default=max(hidden // heads, 1))
    factor = family.inner_factor
    experts = family.experts
    layers = _read_layers(config, family)
    needs_inner = any(not group.routed for group in layers)
    width = config.integer(keys.inner, default=factor * hidden if factor else None) if (
        needs_inner or experts is None or experts.inner == keys.inner
    ) else 0  # fmt: skip
    return Transformer(
        family=family,
        layers=layers,
        hidden=hidden,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        inner=width,
        tied=config.flag("tie_word_embeddings", default=family.tied),
        qkv_bias=_bias(config, family.qkv_bias),
        output_bias=_bias(config, family.output_bias),
        mlp_bias=_bias(config, family.mlp_bias),
        **_embeddings(config, family, hidden),
        **_expert_sizes(config, experts, any(group.routed for group in layers)),
    )


def _bias(config: Config, rule: bool | tuple[str, bool]) -> bool:
    return rule if isinstance(rule, bool) else config.flag(rule[0], default=rule[1])


def _embeddings(config: Config, family: Family, hidden: int) -> dict[str, Any]:
    if family.kind == "vision":
        channels = config.integer("num_channels")
        side, patch = config.integer("image_size"), config.integer("patch_size")
        if patch > side or side % patch:
            raise config.error(
                f"'patch_size' is {patch}, which does not divide the 'image_size' of {side}.",
                "patch_size",
            )
        labels = config.get("id2label")
        known = len(labels) if isinstance(labels, dict) else 0
        classes = config.integer("num_labels", default=known, least=0)
        tokens = (side // patch) ** 2 + 1
        return {"image": (channels, side, patch), "positions": tokens, "classes": classes}
    narrow = config.integer("word_embed_proj_dim", default=hidden)
    if narrow != hidden:
        raise config.error(
            f"'word_embed_proj_dim' is {narrow}; only {hidden}, the hidden size, is supported.",
            "word_embed_proj_dim",
        )
    learned = family.positions_learned
    positions = config.integer(family.keys.positions) + family.position_offset if learned else 0
    return {
        "vocabulary": config.integer("vocab_size"),
        "positions": positions,
        "token_types": config.integer("type_vocab_size", default=0, least=0),
    }


def _expert_sizes(config: Config, keys: Experts | None, routed: bool) -> dict[str, Any]:
    if keys is None or not routed:
        return {}
    total, active = config.integer(keys.total), config.integer(keys.active)
    if active > total:
        raise config.error(
            f"{keys.active!r} is {active}, more than the {total} experts of {keys.total!r}.",
            keys.active,
        )
    shared = keys.shared_inner
    return {
        "experts": total,
        "active_experts": active,
        "expert_inner": config.integer(keys.inner),
        "shared_inner": config.integer(shared, default=0, least=0) if shared else 0,
    }


def _read_layers(config: Config, family: Family) -> tuple[Layers, ...]:
    """Group the layers by attention window and by dense or routed MLP."""
    depth = config.integer(family.keys.layers)
    if depth > 100_000:
        raise config.error(
            f"{family.keys.layers!r} is {depth}; at most 100000 layers are supported.",
            family.keys.layers,
        )
    windows = _windows(config, family, depth)
    if family.experts is None:
        routed = [False] * depth
    else:
        step = config.integer("decoder_sparse_step", default=1)
        dense = config.items("mlp_only_layers")
        routed = [i not in dense and (i + 1) % step == 0 for i in range(depth)]
    alike = Counter(zip(windows, routed, strict=True))
    return tuple(Layers(count=c, window=w, routed=r) for (w, r), c in alike.items())


def _windows(config: Config, family: Family, depth: int) -> list[int | None]:
    if config.get("sliding_window") is None:
        return [None] * depth
    window = config.integer("sliding_window")
    types = config.items("layer_types")
    if types:
        if len(types) != depth:
            raise config.error(
                f"'layer_types' names {len(types)} layers, but there are {depth}.", "layer_types"
            )
        return [window if kind == "sliding_attention" else None for kind in types]
    if family.window_every:
        every = config.integer("sliding_window_pattern", default=family.window_every)
        return [None if (i + 1) % every == 0 else window for i in range(depth)]
    if family.window_flag:
        if not config.flag(family.window_flag, default=False):
            return [None] * depth
        first = config.integer("max_window_layers", default=0, least=0)
        return [window if i >= first else None for i in range(depth)]
    return [window] * depth
