"""The record of a transformer family: what a ``model_type`` stands for, as data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from ..transformer.network import Kind
from ..transformer.part import Norm
from .facts import (
    AttentionFacts,
    CompressedFacts,
    ExpertFacts,
    ImageKeys,
    Keys,
    LatentFacts,
    MlpFacts,
    Window,
    all_names,
    rule_keys,
)
from .outputs import DECODER, Output, Rule
from .recurrent import RecurrentFacts

_LAYOUT_KEYS: Mapping[str, frozenset[str]] = {
    "usual": frozenset(),
    "blocks": frozenset({"layers_block_type", "layer_types", "hybrid_override_pattern"}),
    "shared_blocks": frozenset(
        {
            *("layers_block_type", "layer_types", "adapter_rank", "num_mem_blocks"),
            *("use_shared_attention_adapter", "attention_hidden_size"),
        }
    ),
    "mixes": frozenset({"attention_hidden_size"}),
}


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
    recurrent : DeltaFacts, StateFacts, ConvolutionFacts or DecayFacts, or None
        How the layers are built that do not attend.
    outputs : mapping of str to tuple of Output
        What stands behind the last layer, by the end of the class's name; the first by default.
    tied : bool
        Whether the head is the embedding unless a key says otherwise.
    tied_keys : tuple of str
        Other names of this key.
    tied_by_key : bool
        Whether the key is heeded.
    words_each : bool
        Whether encoder and decoder have tables of words of their own where the head is not tied.
    renamed : mapping of str to str
        Other names of keys, under which files give them too, with the names that are read.
    norms, final_norms, embedding_norms : int
        Norms in a layer, behind the last one and behind the embeddings.
    norms_behind : rule
        Whether there is one more behind each of a layer's two parts.
    layers_each : int
        Layers, of attention and what follows it, for each that the key of their number counts.
    parallel_norms : int or None
        Norms in a layer whose parts stand in parallel, where that is another number.
    parallel_norms_key, two_parallel_norms : str or None, rule
        The key of this number, and whether it is 2 where the key is left out.
    final_norm : rule
        Whether there are those behind the last layer.
    norm : {"rms_norm", "layer_norm"}
        Their kind.
    norm_key : str or None
        The key of another kind.
    norm_vectors : int
        1 for a norm with a scale, 2 for one with scale and shift.
    norm_shift : rule
        Whether norms have a shift beside a scale after all.
    norm_scaled : rule
        Whether norms have scale and shift at all.
    parallel : rule
        Whether attention and MLP read the same input.
    layout
        Of what a layer consists: a part that mixes tokens and what follows it (``usual``); a
        single part with a norm: attention, a state space, an MLP or experts, as
        ``layers_block_type`` or ``hybrid_override_pattern`` says (``blocks``); a state space,
        behind a block that some layers share (``shared_blocks``); a time mix and a channel mix
        (``mixes``).
    first_norms : int or None
        Norms in the first layer, where that is another number.
    groups_key : str or None
        Key of how many layers have weights of their own; the others share them.
    positions_learned, position_offset, positions_unused, token_types
        Which tables stand beside that of the words (the first by a rule); rows that positions have
        beyond the key's number, and rows of this number that no token takes.
    other_tokens : int
        Tokens of an image beside its patches.
    whole_patches : bool
        Whether patches must make up the image; else what is left over is not read.
    image_keys : ImageKeys
        Names under which the sizes of an image stand.
    patch_bias, mask_token, pooling : rule
        Of an image: whether the matrix of the patches has a bias, whether there is a vector in the
        place of hidden patches, and whether a learned query pools the tokens.
    layer_scales : int
        Vectors of the hidden width in a layer beside its norms.
    relative, relative_each_layer : str or None, bool
        Key of the rows of a table of relative positions, a score for each head; whether each layer
        has one.
    sound : bool
        Whether the input is a sound: two convolutions over its spectrum, a fixed number of tokens.
    encoder : Family or None
        What reads the source: a family whose keys stand beside this one's.
    cross : AttentionFacts or None
        The attention to the source.
    crossed : str or None
        Key of the numbers of layers that attend to an image alone, in the place of the text.
    words : bool
        Whether there is a table of words.
    more_words : int
        Rows of this table beyond the vocabulary.
    streams, layer_inputs : bool
        Whether a layer computes one of several streams, beside a low-rank residual (Gemma 3n);
        whether each token has a vector for each layer.
    connected : bool
        Whether each part reads one of several streams, and goes back into all (DeepSeek-V4).
    narrow_embedding : str or None
        Key of the words' own width: a matrix leads to the hidden width where they differ.
    narrow_head : bool
        Whether the head is as narrow, with a matrix back ahead of it.
    narrow_bias : bool
        Whether these matrices have biases.
    narrow_always : bool
        Whether there is one where the widths are equal, too.
    refused : tuple of str
        Keys that, when set, make another model than this.
    only : mapping
        Keys of which a single value can be read.
    plain : tuple of str
        Keys that say nothing about sizes, though they do in other families or look like mistyped.
    defaults : mapping
        Values of the class for keys that files leave out.
    sizes : mapping
        Values of the class for sizes, which only the configuration of a part leaves out.
    """

    kind: Kind = "decoder"
    keys: Keys = field(default_factory=Keys)
    attention: AttentionFacts | LatentFacts | CompressedFacts | None = field(
        default_factory=AttentionFacts
    )
    mlp: MlpFacts | None = field(default_factory=MlpFacts)
    recurrent: RecurrentFacts | None = None
    experts: ExpertFacts | None = None
    window: Window | None = None
    outputs: Mapping[str, tuple[Output, ...]] = field(default_factory=lambda: DECODER)
    tied: bool = False
    tied_keys: tuple[str, ...] = ()
    tied_by_key: bool = True
    words_each: bool = False
    renamed: Mapping[str, str] = field(default_factory=dict)
    norms: int = 2
    norms_behind: Rule = False
    layers_each: int = 1
    parallel_norms: int | None = None
    parallel_norms_key: str | None = None
    two_parallel_norms: Rule = False
    final_norms: int = 1
    embedding_norms: int = 0
    final_norm: Rule = True
    norm: Norm = "rms_norm"
    norm_key: str | None = None
    norm_vectors: int = 1
    norm_shift: Rule = False
    norm_scaled: Rule = True
    parallel: Rule = False
    layout: Literal["usual", "blocks", "shared_blocks", "mixes"] = "usual"
    positions_learned: Rule = False
    first_norms: int | None = None
    groups_key: str | None = None
    position_offset: int = 0
    positions_unused: int = 0
    token_types: bool = False
    other_tokens: int = 1
    whole_patches: bool = True
    image_keys: ImageKeys = field(default_factory=ImageKeys)
    patch_bias: Rule = True
    mask_token: Rule = False
    pooling: Rule = False
    layer_scales: int = 0
    relative: str | None = None
    relative_each_layer: bool = False
    sound: bool = False
    encoder: "Family | None" = None
    cross: AttentionFacts | None = None
    crossed: str | None = None
    words: bool = True
    more_words: int = 0
    streams: bool = False
    layer_inputs: bool = False
    connected: bool = False
    narrow_embedding: str | None = None
    narrow_head: bool = False
    narrow_bias: bool = False
    narrow_always: bool = False
    refused: tuple[str, ...] = ()
    only: Mapping[str, Any] = field(default_factory=dict)
    plain: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    sizes: Mapping[str, Any] = field(default_factory=dict)

    def read_keys(self) -> frozenset[str]:
        """Return the keys that the family's models are read from."""
        keys, found = (
            self.keys,
            {"architectures", "id2label", "num_labels", *self.defaults, *self.only},
        )
        found.update(all_names(keys.hidden, keys.layers, keys.heads, keys.inner))
        if self.kind != "vision":
            found |= {"vocab_size", "tie_word_embeddings", *self.tied_keys}
        found.update(rule_keys(self.positions_learned))
        if self.positions_learned and self.kind != "vision":
            found.update(all_names(keys.positions))
        found.update(all_names(self.narrow_embedding, self.parallel_norms_key, self.groups_key))
        found.update(all_names(self.norm_key))
        found.update(
            rule_keys(self.parallel, self.two_parallel_norms, self.final_norm, self.norm_shift)
        )
        found.update(rule_keys(self.norms_behind))
        found.update(rule_keys(self.norm_scaled))
        found.update(rule_keys(self.patch_bias, self.mask_token, self.pooling))
        if self.kind == "vision":
            found.update(self.image_keys.keys())
        found.update(
            output.outputs
            for outputs in self.outputs.values()
            for output in outputs
            if output.outputs.startswith(("projection", "output_"))
        )
        found.update(all_names(self.relative, self.crossed))
        if self.streams:
            found |= {"altup_num_inputs", "laurel_rank"}
        if self.connected:
            found |= {"hc_mult", "hc_sinkhorn_iters"}
        if self.layer_inputs:
            found |= {"hidden_size_per_layer_input", "vocab_size_per_layer_input"}
        if self.sound:
            found.add("num_mel_bins")
        found |= _LAYOUT_KEYS[self.layout]
        if self.encoder is not None:
            found |= self.encoder.read_keys()
        parts = (self.attention, self.mlp, self.experts, self.window, self.cross, self.recurrent)
        for facts in parts:
            if facts is not None:
                found.update(facts.keys())
        for output in (each for outputs in self.outputs.values() for each in outputs):
            found.update(rule_keys(output.bias))
        return frozenset(found)


def sizes(hidden: int, layers: int, heads: int, inner: int, words: int) -> dict[str, int]:
    """Return the sizes that a class takes where the configuration of a part leaves them out.

    Parameters
    ----------
    hidden, layers, heads, inner, words : int
        ``hidden_size``, ``num_hidden_layers``, ``num_attention_heads``, ``intermediate_size`` and
        ``vocab_size``.
    """
    return {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "intermediate_size": inner,
        "vocab_size": words,
    }
