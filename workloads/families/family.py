"""The record of a transformer family: what a ``model_type`` stands for, as data.

A rule is true, false, or the key that says so with its default. Each record tells which keys of a
config.json it is read from.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

from ..transformer.network import Kind
from ..transformer.part import Norm
from .outputs import DECODER, Output

Rule = bool | tuple[str, bool]


def rule_keys(*rules: Rule) -> Iterator[str]:
    """Yield the keys that rules are read from."""
    yield from (rule[0] for rule in rules if isinstance(rule, tuple))


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """Names under which a family's config.json gives the sizes."""

    hidden: str = "hidden_size"
    layers: str = "num_hidden_layers"
    heads: str = "num_attention_heads"
    inner: str = "intermediate_size"
    positions: str = "max_position_embeddings"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionFacts:
    """How a family's attention is built.

    ``projections`` names the matrices of queries, keys and values, or the one that makes all;
    ``grouped``: the keys ``num_key_value_heads`` and ``head_dim`` are read. ``rotary``: the share
    of a head that is turned by its position, None where positions enter otherwise; ``rotary_key``
    is the key of another share. ``qk_norm``: a norm of each head of queries and keys.
    """

    projections: tuple[str, ...] = ("q_proj", "k_proj", "v_proj")
    output: str = "o_proj"
    grouped: bool = True
    rotary: Fraction | None = Fraction(1)
    rotary_key: str | None = None
    qkv_bias: Rule = False
    output_bias: Rule = False
    qk_norm: Rule = False

    def keys(self) -> Iterator[str]:
        """Yield the keys that it is read from."""
        if self.grouped:
            yield from ("num_key_value_heads", "head_dim")
        if self.rotary_key:
            yield from (self.rotary_key, "rope_parameters")
        yield from rule_keys(self.qkv_bias, self.output_bias, self.qk_norm)


@dataclass(frozen=True, slots=True, kw_only=True)
class MlpFacts:
    """How a family's MLP is built.

    ``names`` of the matrices, the last one leads back; ``factor`` times the hidden size is its
    width where no key gives it. ``activation`` is the class's, ``activation_keys`` those that give
    another: the first that is set.
    """

    names: tuple[str, ...] = ("gate_proj", "up_proj", "down_proj")
    gated: bool = True
    bias: Rule = False
    factor: int | None = None
    activation: str = "silu"
    activation_keys: tuple[str, ...] = ("hidden_act",)

    def keys(self) -> Iterator[str]:
        """Yield the keys that it is read from, but that of its width."""
        yield from self.activation_keys
        yield from rule_keys(self.bias)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertFacts:
    """Keys of a mixture of experts; ``stepped`` if some layers may be dense.

    The number of experts stands under either of two names, whichever a class calls its own.
    """

    total: str = "num_experts"
    other_total: str = "num_local_experts"
    active: str = "num_experts_per_tok"
    inner: str = "moe_intermediate_size"
    shared_inner: str | None = None
    stepped: bool = True

    def keys(self) -> Iterator[str]:
        """Yield the keys that it is read from."""
        yield from (self.total, self.other_total, self.active, self.inner)
        if self.shared_inner:
            yield self.shared_inner
        if self.stepped:
            yield from ("decoder_sparse_step", "mlp_only_layers")


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Which layers attend to a sliding window, and where its length stands.

    ``sliding_window`` gives the length, ``default`` is it where the key is left out. ``flag`` is
    a key that must be true. ``by_type``: ``layer_types`` decides where it is given. Otherwise
    ``layers`` says which layers i, counted from 0, with n from the key ``count_key``, or
    ``count``: all, those from n on, even ones below n, all but each n-th.
    """

    default: int | None = 4096
    flag: str | None = None
    by_type: bool = False
    layers: Literal["all", "from", "even_below", "but_each"] = "all"
    count_key: str | None = None
    count: int = 0

    def keys(self) -> Iterator[str]:
        """Yield the keys that it is read from."""
        yield "sliding_window"
        if self.by_type:
            yield "layer_types"
        yield from (key for key in (self.flag, self.count_key) if key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How the models of one ``model_type`` are built.

    Attributes
    ----------
    kind : {"decoder", "encoder", "vision"}
    keys : Keys
        Names of the sizes.
    attention, mlp, experts, window
        How the parts are built; ``experts`` stand in the place of the MLP.
    outputs : mapping of str to tuple of Output
        What stands behind the last layer, by the end of the class's name; the first by default.
    tied : bool
        Whether the head is the embedding unless a key says otherwise.
    norms, final_norms, embedding_norms : int
        Norms in a layer, behind the last one and behind the embeddings.
    norm : {"rms_norm", "layer_norm"}
        Their kind.
    norm_vectors : int
        1 for a norm with a scale, 2 for one with scale and shift.
    parallel : bool
        Whether attention and MLP read the same input.
    positions_learned, position_offset, token_types
        Which tables stand beside that of the words, and rows that positions leave unused.
    narrow_embedding : str or None
        Key of an embedding's own width.
    refused : tuple of str
        Keys that, when set, make another model than this.
    defaults : mapping
        Values of the class for keys that files leave out.
    """

    kind: Kind = "decoder"
    keys: Keys = Keys()
    attention: AttentionFacts = AttentionFacts()
    mlp: MlpFacts = MlpFacts()
    experts: ExpertFacts | None = None
    window: Window | None = None
    outputs: Mapping[str, tuple[Output, ...]] = field(default_factory=lambda: DECODER)
    tied: bool = False
    norms: int = 2
    norm: Norm = "rms_norm"
    norm_vectors: int = 1
    final_norms: int = 1
    embedding_norms: int = 0
    parallel: bool = False
    positions_learned: bool = False
    position_offset: int = 0
    token_types: bool = False
    narrow_embedding: str | None = None
    refused: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def read_keys(self) -> frozenset[str]:
        """Return the keys that the family's models are read from."""
        keys, found = self.keys, {"architectures", "id2label", "num_labels", *self.defaults}
        found |= {keys.hidden, keys.layers, keys.heads, keys.inner}
        if self.kind != "vision":
            found |= {"vocab_size", "tie_word_embeddings"}
        if self.positions_learned and self.kind != "vision":
            found.add(keys.positions)
        if self.narrow_embedding:
            found.add(self.narrow_embedding)
        for facts in (self.attention, self.mlp, self.experts, self.window):
            if facts is not None:
                found.update(facts.keys())
        return frozenset(found)
