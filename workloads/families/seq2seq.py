"""Families with an encoder and a decoder that attends to what it leaves."""

from collections.abc import Mapping
from dataclasses import replace

from .facts import AttentionFacts, Keys, MlpFacts
from .family import Family
from .outputs import SEQ2SEQ

_NONE = {"": ()}  # an encoder leaves no logits


def _projections(prefix: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(prefix + name for name in names)


def _attention(names: tuple[str, ...], like: AttentionFacts, prefix: str) -> AttentionFacts:
    """Return attention whose matrices have a prefix: three projections and the output."""
    *projections, output = _projections(prefix, names)
    suffix = f"_{prefix.rstrip('_')}" if prefix else ""
    return replace(like, projections=tuple(projections), output=output, suffix=suffix)


_T5_NAMES = ("q", "k", "v", "o")
_T5_LIKE = AttentionFacts(kv_heads=None, head_dim="d_kv", rotary=None)
_T5_MLP = MlpFacts(
    names=("wi_0", "wi_1", "wo"), plain_names=("wi", "wo"), gated_key="feed_forward_proj"
)
_T5_ENCODER = Family(
    kind="encoder",
    keys=Keys(hidden="d_model", layers="num_layers", heads="num_heads", inner="d_ff"),
    attention=_attention(_T5_NAMES, _T5_LIKE, "encoder_"),
    mlp=replace(
        _T5_MLP,
        names=_projections("encoder_", _T5_MLP.names),
        plain_names=_projections("encoder_", _T5_MLP.plain_names),
    ),
    outputs=_NONE,
    relative="relative_attention_num_buckets",
    words=False,
    defaults={"relative_attention_num_buckets": 32},
)
_T5 = Family(
    kind="encoder-decoder",
    keys=Keys(
        hidden="d_model",
        layers=("num_decoder_layers", "num_layers"),
        heads="num_heads",
        inner="d_ff",
    ),
    attention=_attention(_T5_NAMES, _T5_LIKE, ""),
    cross=_attention(_T5_NAMES, _T5_LIKE, "cross_"),
    mlp=_T5_MLP,
    encoder=_T5_ENCODER,
    outputs=SEQ2SEQ,
    tied=True,
    tied_by_key=False,
    norms=3,
    relative="relative_attention_num_buckets",
    plain=("is_gated_act", "dense_act_fn", "n_positions", "is_encoder_decoder"),
    defaults={
        "d_kv": 64,
        "relative_attention_num_buckets": 32,
        "feed_forward_proj": "relu",
    },
)
_MT5 = replace(_T5, defaults={**_T5.defaults, "feed_forward_proj": "gated-gelu"})

_BART_NAMES = ("q_proj", "k_proj", "v_proj", "out_proj")
_BART_LIKE = AttentionFacts(
    kv_heads=None, head_dim=None, rotary=None, qkv_bias=True, output_bias=True
)
_BART_MLP = MlpFacts(
    names=("fc1", "fc2"),
    gated=False,
    bias=True,
    activation="gelu",
    activation_keys=("activation_function",),
)
_BART_ENCODER = Family(
    kind="encoder",
    keys=Keys(
        hidden="d_model",
        layers="encoder_layers",
        heads="encoder_attention_heads",
        inner="encoder_ffn_dim",
    ),
    attention=_attention(_BART_NAMES, _BART_LIKE, "encoder_"),
    mlp=replace(_BART_MLP, names=_projections("encoder_", _BART_MLP.names)),
    outputs=_NONE,
    norm="layer_norm",
    norm_vectors=2,
    final_norms=0,
    embedding_norms=1,
    positions_learned=True,
    position_offset=2,
    words=False,
    defaults={"max_position_embeddings": 1024},
)
_BART = Family(
    kind="encoder-decoder",
    keys=Keys(
        hidden="d_model",
        layers="decoder_layers",
        heads="decoder_attention_heads",
        inner="decoder_ffn_dim",
    ),
    attention=_attention(_BART_NAMES, _BART_LIKE, ""),
    cross=_attention(_BART_NAMES, _BART_LIKE, "cross_"),
    mlp=_BART_MLP,
    encoder=_BART_ENCODER,
    outputs=SEQ2SEQ,
    tied=True,
    words_each=True,
    norms=3,
    norm="layer_norm",
    norm_vectors=2,
    final_norms=0,
    embedding_norms=1,
    positions_learned=True,
    position_offset=2,
    plain=("num_hidden_layers", "is_encoder_decoder", "num_attention_heads", "hidden_size"),
    defaults={"max_position_embeddings": 1024},
)


def _both(family: Family, encoder: Mapping[str, object], **decoder: object) -> Family:
    """Return a family with changes of its encoder and its decoder."""
    assert family.encoder is not None
    changed = replace(family.encoder, **encoder)  # type: ignore[arg-type]
    return replace(family, encoder=changed, **decoder)  # type: ignore[arg-type]


_WHISPER_LIKE = replace(_BART_LIKE, key_bias=False)
_BARE = {"embedding_norms": 0, "position_offset": 0}

SEQ2SEQ_FAMILIES: Mapping[str, Family] = {
    "t5": _T5,
    "mt5": _MT5,
    "umt5": _both(_MT5, {"relative_each_layer": True}, relative_each_layer=True),
    "bart": _BART,
    "mbart": _both(_BART, {"final_norms": 1}, final_norms=1),
    "pegasus": _both(_BART, {**_BARE, "final_norms": 1}, **_BARE, final_norms=1),
    "marian": _both(_BART, _BARE, **_BARE, only={"share_encoder_decoder_embeddings": True}),
    "m2m_100": _both(
        _BART,
        {**_BARE, "final_norms": 1, "positions_learned": False},
        **_BARE,
        final_norms=1,
        positions_learned=False,
    ),
    "whisper": _both(
        _BART,
        {
            **_BARE,
            "final_norms": 1,
            "sound": True,
            "keys": replace(_BART_ENCODER.keys, positions="max_source_positions"),
            "attention": _attention(_BART_NAMES, _WHISPER_LIKE, "encoder_"),
            "defaults": {"num_mel_bins": 80, "max_source_positions": 1500},
        },
        **_BARE,
        words_each=False,
        final_norms=1,
        keys=replace(_BART.keys, positions="max_target_positions"),
        attention=_attention(_BART_NAMES, _WHISPER_LIKE, ""),
        cross=_attention(_BART_NAMES, _WHISPER_LIKE, "cross_"),
        defaults={
            "num_mel_bins": 80,
            "max_source_positions": 1500,
            "max_target_positions": 448,
        },
    ),
}
