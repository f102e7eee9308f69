"""Facts of a family's parts: keys of sizes, and how attention, MLPs and experts are built.

A rule is true, false, or the key that says so with its default. Where a fact may stand under one
of several names, the first is the class's own. Each record tells the keys that it is read from.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from .outputs import Rule

Names = str | tuple[str, ...]


def all_names(*names: Names | None) -> Iterator[str]:
    """Yield every name."""
    for each in names:
        yield from (each,) if isinstance(each, str) else each or ()


def rule_keys(*rules: Rule) -> Iterator[str]:
    """Yield the keys that rules are read from."""
    yield from (rule[0] for rule in rules if isinstance(rule, tuple))


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Names under which a family's config.json gives the sizes."""

    hidden: Names = "hidden_size"
    layers: Names = "num_hidden_layers"
    heads: Names = "num_attention_heads"
    inner: Names | None = "intermediate_size"
    positions: Names = "max_position_embeddings"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionFacts:
    """How a family's attention is built.

    Attributes
    ----------
    projections : tuple of str
        The matrices of queries, keys and values, or the one that makes all.
    output : str
        The matrix behind the mix.
    value_dim : str or None
        Key of the width of a head of values, where that is another.
    kv_heads, head_dim : str or None
        Their keys; without one there are as many as heads, and hidden size / heads.
    one_kv_head, many_kv_heads : rule
        Whether there is a single key/value head, unless the other rule holds.
    rotary : Fraction or None
        The share of a head that is turned by its position; None where positions enter otherwise.
    rotary_key : str or None
        The key of another share, or of the number of elements (an integer).
    alibi : rule
        Whether positions enter as a bias of the scores instead.
    rotary_layers : {"all", "windowed", "windowed_or_dense", "thetas", "listed"}
        All layers turn; those with a window, where some have one; with a window or, where
        ``prefix_dense_sliding_window_pattern`` is 1, an MLP instead of experts
        (``windowed_or_dense``); those of which ``layer_rope_theta`` is not 0 (``thetas``); or
        those that ``no_rope_layers`` marks, by default all but each
        ``no_rope_layer_interval``-th (4).
    key_bias : rule or None
        Whether the matrix of the keys has a bias, where it is not as the others.
    suffix : str
        Behind the names of scores and mix.
    qk_norm : rule
        Whether queries and keys are normalized: over a ``head`` with one scale for all heads, over
        a head with a scale for ``each``, or over ``all`` heads together.
    qk_norm_vectors : int or None
        Its scale and shift; None: as the family's norms.
    sub_norm : bool
        Whether the mix is normalized ahead of the output matrix.
    sinks : bool
        Whether a learned score of each head takes part in the softmax.
    gated : bool
        Whether the matrix of the queries makes a gate of the mix too.
    gate : str or None
        The matrix that makes it, where it is another.
    uneven : bool
        Whether heads without a width of their own may leave some of the hidden width unused.
    windowed_kv_times, windowed_sinks : int, bool
        Layers with a window have so many times the key/value heads, and sinks.
    kept_key : str or None
        Key of how many layers, the last ones, take keys and values of the last layer before them
        that has the same window.
    full_head_dim, full_kv_heads, full_rotary : str or None, str or None, Fraction or None
        Keys of the width of a head and of the key/value heads of layers without a window, and the
        share of a head that they turn, where these differ from the others'.
    full_keys_only : rule
        Whether layers without a window have no matrix for values, which are the keys; their own
        number of key/value heads holds only then.
    disentangled : bool
        Whether scores are sums over contents and relative positions (DeBERTa).
    turned_where_given : bool
        Whether heads turn only where ``rope_parameters`` states a ``rope_theta``.
    turned_where : (str, object) or None
        A key, and its value without which no head turns.
    """

    projections: tuple[str, ...] = ("q_proj", "k_proj", "v_proj")
    output: str = "o_proj"
    kv_heads: str | None = "num_key_value_heads"
    head_dim: str | None = "head_dim"
    one_kv_head: Rule = False
    many_kv_heads: Rule = False
    rotary: Fraction | None = Fraction(1)
    rotary_key: str | None = None
    alibi: Rule = False
    rotary_layers: Literal["all", "windowed", "windowed_or_dense", "thetas", "listed"] = "all"
    qkv_bias: Rule = False
    output_bias: Rule = False
    key_bias: Rule | None = None
    suffix: str = ""
    qk_norm: Rule = False
    qk_norm_over: Literal["head", "each", "all"] = "head"
    value_dim: str | None = None
    qk_norm_vectors: int | None = None
    sub_norm: bool = False
    sinks: bool = False
    gated: bool = False
    gate: str | None = None
    uneven: bool = False
    windowed_kv_times: int = 1
    windowed_sinks: bool = False
    kept_key: str | None = None
    full_head_dim: str | None = None
    full_kv_heads: str | None = None
    full_rotary: Fraction | None = None
    full_keys_only: Rule = False
    disentangled: bool = False
    turned_where_given: bool = False
    turned_where: tuple[str, object] | None = None

    def keys(self) -> Iterator[str]:
        """Yield the keys that it is read from."""
        yield from all_names(self.kv_heads, self.head_dim, self.value_dim, self.kept_key)
        yield from all_names(self.full_head_dim, self.full_kv_heads)
        yield from rule_keys(self.full_keys_only)
        if self.disentangled:
            yield from ("relative_attention", "pos_att_type", "share_att_key", "norm_rel_ebd")
            yield from ("position_buckets", "max_relative_positions", "max_position_embeddings")
        if self.rotary_key or self.turned_where_given:
            yield from all_names(self.rotary_key, "rope_parameters")
        if self.turned_where is not None:
            yield self.turned_where[0]
        if self.rotary_layers == "listed":
            yield from ("no_rope_layers", "no_rope_layer_interval")
        if self.rotary_layers == "thetas":
            yield "layer_rope_theta"
        yield from rule_keys(self.one_kv_head, self.many_kv_heads, self.alibi)
        yield from rule_keys(self.qkv_bias, self.output_bias, self.qk_norm)


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentFacts:
    """How a family's latent attention is built; its sizes stand under the same keys everywhere.

    ``bias`` is a rule; ``indexed``: an indexer chooses the tokens in view, in all layers or in
    those that ``indexer_types`` calls full (``indexer_types``); ``turned``: whether positions turn
    the keys that heads share.
    """

    bias: Rule = ("attention_bias", False)
    indexed: bool = False
    indexer_types: bool = False
    turned: bool = True

    def keys(self) -> Iterator[str]:
        """Yield the keys that it is read from."""
        yield from ("q_lora_rank", "kv_lora_rank", "v_head_dim")
        yield from ("qk_nope_head_dim", "qk_rope_head_dim")
        yield from rule_keys(self.bias)
        if self.indexed:
            yield from ("index_n_heads", "index_head_dim", "index_topk")
        if self.indexer_types:
            yield from ("indexer_types", "index_topk_freq", "index_skip_topk_offset")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressedFacts:
    """Attention to compressed tokens; its sizes stand under the keys of DeepSeek-V4 alone."""

    def keys(self) -> Iterator[str]:
        """Yield the keys that it is read from."""
        yield from ("head_dim", "q_lora_rank", "o_groups", "o_lora_rank", "sliding_window")
        yield from ("layer_types", "compress_ratios", "compress_rates", "compress_rate_csa")
        yield from ("compress_rate_hca", "index_n_heads", "index_head_dim", "index_topk")
        yield from ("partial_rotary_factor", "qk_rope_head_dim")


@dataclass(frozen=True, slots=True, kw_only=True)
class MlpFacts:
    """How a family's MLP is built.

    ``names`` of the matrices, the last one leads back; ``factor`` times the hidden size is its
    width where no key gives it. ``activation`` is the class's, ``activation_keys`` those that give
    another: the first that is set. ``sub_norm``: a norm ahead of the matrix back. ``gated_key``: a
    key whose value starts with ``gated-`` where there is a gate, and then names the activation;
    ``plain_names`` are the matrices without it. ``adjusted``: the width is two thirds of the key's,
    times ``block_ffn_dim_multiplier``, up to a multiple of ``block_multiple_of``, unless
    ``block_auto_adjust_ff_dim`` is false (LFM2). ``listed``: the width's key may hold one a layer,
    and ``activation_sparsity_pattern`` says which layers cut their gates (Gemma 3n). ``doubled``:
    twice as wide where keys and values are another layer's. ``ratio``: a key of the width in
    hidden widths; ``gated_flag``: one by which the MLP has a gate, SiLU and two thirds of this
    width, up to a multiple of 8 (DINOv2).
    """

    names: tuple[str, ...] = ("gate_proj", "up_proj", "down_proj")
    gated: bool = True
    bias: Rule = False
    factor: int | None = None
    activation: str = "silu"
    activation_keys: tuple[str, ...] = ("hidden_act",)
    sub_norm: bool = False
    gated_key: str | None = None
    plain_names: tuple[str, ...] = ()
    adjusted: bool = False
    listed: bool = False
    doubled: Rule = False
    ratio: str | None = None
    gated_flag: str | None = None

    def keys(self) -> Iterator[str]:
        """Yield the keys that it is read from, but that of its width."""
        if self.adjusted:
            yield from ("block_multiple_of", "block_ffn_dim_multiplier")
            yield "block_auto_adjust_ff_dim"
        yield from all_names(self.gated_key, self.gated_flag, self.ratio)
        if self.listed:
            yield "activation_sparsity_pattern"
        yield from self.activation_keys
        yield from rule_keys(self.bias, self.doubled)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertFacts:
    """Where a mixture of experts is told, and how it is built.

    Attributes
    ----------
    total, active, inner
        Keys of the experts, of those that a token visits, and of the width of one.
    layers
        Which layers have experts: all; all, if ``num_local_experts`` is above 0 (``any``); each
        ``decoder_sparse_step``-th that ``mlp_only_layers`` does not name; those from
        ``first_k_dense_replace`` on, or as ``mlp_layer_types`` says; those from
        ``num_dense_layers`` on; those of ``moe_layers``, by default each
        ``interleave_moe_layer_step``-th; those at ``expert_layer_offset`` of each
        ``expert_layer_period``, if there are several; each ``moe_layer_interval``-th from
        ``moe_layer_start_index`` to ``moe_layer_end_index`` (``between``); if
        ``enable_moe_block``, all of them beside their MLP; or even ones beside their MLP.
    dense_inner : str or None
        Key of the width of dense layers, where it is not that of the family.
    shared_inner, shared_count : str or None
        Key of the width of the shared expert, or of how many times it is as wide as another.
    shared : int
        Shared experts where no key gives them.
    shared_gate : bool
        Whether the shared expert is weighed by a matrix of one output.
    router_bias, bias : bool
        Whether the router, and the experts, have biases.
    scaled : bool
        Whether the router scales its inputs, element by element, and what each expert gives.
    choice_bias : bool
        Whether a parameter of each expert is added where experts are chosen.
    idle : str or None
        Key of how many experts beside these give back what they get (LongCat-Flash).
    """

    total: Names = ("num_experts", "num_local_experts")
    active: Names = "num_experts_per_tok"
    inner: str = "moe_intermediate_size"
    layers: Literal[
        "all", "any", "stepped", "after_first", "after_dense", "interleaved", "periods",
        "between", "beside", "even_beside",
    ] = "all"  # fmt: skip
    dense_inner: str | None = None
    shared_inner: str | None = None
    shared_count: str | None = None
    shared: int = 0
    shared_gate: bool = False
    router_bias: bool = False
    bias: bool = False
    scaled: bool = False
    choice_bias: bool = False
    idle: str | None = None

    def keys(self) -> Iterator[str]:
        """Yield the keys that it is read from."""
        yield from all_names(self.total, self.active, self.inner, self.dense_inner)
        yield from all_names(self.shared_inner, self.shared_count, self.idle)
        yield from {
            "all": (),
            "even_beside": (),
            "any": (),
            "between": ("moe_layer_start_index", "moe_layer_end_index", "moe_layer_interval"),
            "stepped": ("decoder_sparse_step", "mlp_only_layers"),
            "after_first": ("first_k_dense_replace", "mlp_layer_types"),
            "after_dense": ("num_dense_layers",),
            "interleaved": ("moe_layers", "interleave_moe_layer_step"),
            "beside": ("enable_moe_block",),
            "periods": ("expert_layer_period", "expert_layer_offset"),
        }[self.layers]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Which layers see the tokens of a window only, and where its length stands.

    Attributes
    ----------
    key : str
        Its length in tokens.
    default : int or None
        The length where the key is left out.
    chunked : bool
        Whether positions are cut into chunks of this length, rather than each token seeing as many
        before it.
    both_ways : bool
        Whether half of the length is seen on each side, and the own token.
    before : str or None
        A key of the tokens ahead of the own one, by which files give the length too.
    flag : str or None
        A key that must be true.
    types : str or None
        A key that names the kind of each layer: it decides where it is given.
    layers
        Otherwise: which layers i, counted from 0, with n from the key ``count_key``, or ``count``:
        all, none, those from n on, even ones below n, all but each n-th, all but these and the last
        one or the first one, the same counted anew behind ``first_k_dense_replace`` layers
        (``but_each_behind_dense``, ahead of them with n from
        ``prefix_dense_sliding_window_pattern``), all but the first of each n, those whose heads
        are turned by positions, or those that are not.
    """

    key: str = "sliding_window"
    default: int | None = 4096
    chunked: bool = False
    both_ways: bool = False
    before: str | None = None
    flag: str | None = None
    types: str | None = None
    layers: Literal[
        "all",
        "none",
        "from",
        "even_below",
        "but_each",
        "but_each_and_last",
        "but_each_and_first",
        "but_each_behind_dense",
        "behind_each",
        "turned",
        "unturned",
    ] = "all"
    count_key: str | None = None
    count: int = 0

    def keys(self) -> Iterator[str]:
        """Yield the keys that it is read from."""
        yield from all_names(self.key, self.before, self.types, self.flag, self.count_key)
        if self.layers == "but_each_behind_dense":
            yield from ("prefix_dense_sliding_window_pattern", "first_k_dense_replace")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageKeys:
    """Names under which a family's config.json gives the sizes of an image.

    Attributes
    ----------
    channels : str
        Key of the channels of a pixel.
    frames : str or None
        Key of the frames that a patch takes: a still image is read so many times.
    positions : str or None
        Key of the rows of a table of positions, where these are not the tokens of the image.
    window, full : str or None
        Key of the side in pixels of windows that see nothing of each other, and of the layers that
        see the whole image.
    side : int or None
        Pixels of an image's side where its class takes images of any size, and no key states one.
    """

    channels: str = "num_channels"
    frames: str | None = None
    positions: str | None = None
    window: str | None = None
    full: str | None = None
    side: int | None = None

    def keys(self) -> Iterator[str]:
        """Yield the keys that it is read from."""
        yield from ("image_size", "patch_size", self.channels)
        yield from all_names(self.frames, self.positions, self.window, self.full)
        if self.side is not None:
            yield from ("spatial_merge_size", "out_hidden_size")
